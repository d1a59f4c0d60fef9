"""SIP and SIPS URIs: grammar, equality and the canonical address-of-record (RFC 3261 19.1, 25.1 and 10.3).

Scanning yields spans and moves no octet.  Nothing is ever unescaped twice, and "%00" is an octet like any other:
every string here carries its length.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport uint16_t
from libc.string cimport memcmp, memset

from reginfo._fast._chars cimport (
    ALPHA,
    DIGIT,
    HEX,
    HNV,
    HOST,
    PARAM,
    PASSWORD,
    RESERVED,
    SCHEME,
    URIC,
    USER,
    hex_value,
    lower,
    octet_is,
    same_ignoring_case,
)
from reginfo._fast._cursor cimport (
    Cursor,
    Span,
    accept,
    at_end,
    cursor_of,
    cursor_over,
    left,
    look,
    move_to,
    offset,
    peek,
    run,
    seek,
    skip,
    span_of,
    span_since,
    take,
    up_to_here,
)
from reginfo._fast._writer cimport Writer, put, put_octet, put_unsigned, writer_free, writer_init, writer_take

from reginfo._fast.errors import SipParseError

cdef enum:
    ESCAPED = 256   # marks a unit that was written as an escape of a reserved octet


cdef int _fail(const char* reason, Py_ssize_t where) except -1:
    raise SipParseError((<bytes>reason).decode("ascii"), offset=where)


# Hosts

cdef bint _parse_ipv4(Cursor* cur, unsigned char* address) noexcept nogil:
    # IPv4address = 1*3DIGIT "." 1*3DIGIT "." 1*3DIGIT "." 1*3DIGIT   RFC 3261 25.1
    cdef int i, value, digits
    for i in range(4):
        if i and not accept(cur, c"."):
            return False
        value = digits = 0
        while octet_is(<unsigned char>peek(cur), DIGIT) and not at_end(cur):
            if digits == 3:
                return False
            value = value * 10 + (take(cur) - 0x30)
            digits += 1
        if digits == 0 or value > 255:
            return False
        address[i] = <unsigned char>value
    return True


cdef bint _parse_ipv6(Cursor* cur, unsigned char* address) noexcept nogil:
    # IPv6address of RFC 3986, which RFC 5954 4.1 puts in place of RFC 3261's, and nothing after it.
    # lenient: "::" ":" IPv4address, which RFC 3261's grammar allowed by mistake (RFC 5118 4.10)
    cdef unsigned char[4] tail
    cdef uint16_t[8] group
    cdef int count = 0
    cdef int gap = -1       # groups before the "::"
    cdef int i, value, digits
    cdef Cursor ahead
    cdef bint stray = False

    if peek(cur) == c":":
        take(cur)
        if not accept(cur, c":"):
            return False
        gap = 0
        stray = accept(cur, c":")
    while not at_end(cur):
        ahead = cur[0]
        if count <= 6 and _parse_ipv4(&ahead, tail) and at_end(&ahead):
            group[count] = <uint16_t>(tail[0] << 8 | tail[1])
            group[count + 1] = <uint16_t>(tail[2] << 8 | tail[3])
            count += 2
            break
        if stray or count == 8:
            return False
        value = digits = 0
        while not at_end(cur) and octet_is(<unsigned char>peek(cur), HEX):
            if digits == 4:
                return False
            value = value << 4 | hex_value(<unsigned char>take(cur))
            digits += 1
        if digits == 0:
            return False
        group[count] = <uint16_t>value
        count += 1
        if at_end(cur):
            break
        if not accept(cur, c":") or at_end(cur):
            return False
        if accept(cur, c":"):
            if gap >= 0:
                return False
            gap = count
            stray = accept(cur, c":")
    if stray and (count < 2 or at_end(cur)):
        return False
    if gap < 0 and count != 8 or gap >= 0 and count > 7:
        return False
    memset(address, 0, 16)
    for i in range(count):
        # Groups after the gap count from the end; count <= 8 keeps both octets inside.
        value = 2 * (i if gap < 0 or i < gap else 8 - count + i) & 15
        address[value] = <unsigned char>(group[i] >> 8)
        address[value + 1] = <unsigned char>(group[i] & 255)
    return True


cdef const char* find_host_fault(Cursor* cur, Host* out) noexcept nogil:
    # host = hostname / IPv4address / IPv6reference   RFC 3261 25.1
    # lenient: "_" and digits anywhere in a label, seen in every network; a name of digits only is an address
    cdef Py_ssize_t start = offset(cur)
    cdef Py_ssize_t label
    cdef Cursor inner
    cdef int octet
    cdef bint digits
    if accept(cur, c"["):
        inner = cur[0]
        if not seek(cur, c"]"):
            return b"host: IPv6 reference without closing bracket"
        inner = up_to_here(&inner, cur)
        take(cur)
        if not _parse_ipv6(&inner, out.address):
            return b"host: malformed IPv6 address"
        out.kind = HOST_IPV6
        out.text = span_since(cur, start)
        return NULL
    if octet_is(<unsigned char>peek(cur), DIGIT):
        inner = cur[0]
        if _parse_ipv4(&inner, out.address) and not octet_is(<unsigned char>peek(&inner), HOST):
            move_to(cur, &inner)
            out.kind = HOST_IPV4
            out.text = span_since(cur, start)
            return NULL
    # Letters and digits of the last label decide; a dot may end the name.
    label = 0
    digits = True
    while octet_is(<unsigned char>peek(cur), HOST):
        octet = take(cur)
        if octet == c".":
            if label == 0:
                return b"host: empty label"
            label = 0
            continue
        if label == 0:
            digits = True
        if not octet_is(<unsigned char>octet, DIGIT):
            digits = False
        label += 1
    if digits:
        return b"host: missing or malformed"
    out.text = span_since(cur, start)
    out.kind = HOST_NAME
    return NULL


# Grammar

cdef inline bint _run_escaped(Cursor* cur, int classes) noexcept nogil:
    # Step over octets of these classes and escapes ("%" HEXDIG HEXDIG); False at a malformed escape.
    while True:
        run(cur, classes)
        if peek(cur) != c"%":
            return True
        if left(cur) < 3 or not octet_is(<unsigned char>look(cur, 1), HEX):
            return False
        if not octet_is(<unsigned char>look(cur, 2), HEX):
            return False
        skip(cur, 3)


cdef struct Pair:
    Span name
    Span value
    bint valued


cdef bint _next_parameter(Cursor* cur, Pair* pair) noexcept nogil:
    # uri-parameter = ";" pname [ "=" pvalue ]   RFC 3261 25.1
    cdef Py_ssize_t start
    if not accept(cur, c";"):
        return False
    start = offset(cur)
    if not _run_escaped(cur, PARAM) or offset(cur) == start:
        return False
    pair.name = span_since(cur, start)
    pair.value = span_of(offset(cur), offset(cur))
    pair.valued = accept(cur, c"=")
    if pair.valued:
        start = offset(cur)
        if not _run_escaped(cur, PARAM) or offset(cur) == start:
            return False
        pair.value = span_since(cur, start)
    return True


cdef bint _next_header(Cursor* cur, Pair* pair) noexcept nogil:
    # header = hname "=" hvalue   RFC 3261 25.1; the caller steps over "&"
    cdef Py_ssize_t start = offset(cur)
    if not _run_escaped(cur, HNV) or offset(cur) == start:
        return False
    pair.name = span_since(cur, start)
    if not accept(cur, c"="):
        return False
    start = offset(cur)
    if not _run_escaped(cur, HNV):
        return False
    pair.value = span_since(cur, start)
    pair.valued = True
    return True


cdef const char* _find_tail_fault(Cursor* cur, SipUri* out) noexcept nogil:
    # uri-parameters [ headers ] up to the end
    cdef Span[MAX_PARAMETERS] name
    cdef Pair pair
    cdef Py_ssize_t start = offset(cur)
    cdef int count = 0
    cdef int i
    while peek(cur) == c";":
        if not _next_parameter(cur, &pair):
            return b"URI: malformed parameter"
        if count == MAX_PARAMETERS:
            return b"URI: too many parameters"
        for i in range(count):
            if _units_equal(cur.base, name[i], cur.base, pair.name, True):
                return b"URI: parameter given twice"
        name[count] = pair.name
        count += 1
    out.params = span_since(cur, start)
    if accept(cur, c"?"):
        start = offset(cur)
        count = 0
        while True:
            if not _next_header(cur, &pair):
                return b"URI: malformed header component"
            count += 1
            if count > MAX_PARAMETERS:
                return b"URI: too many header components"
            if not accept(cur, c"&"):
                break
        out.headers = span_since(cur, start)
        out.has_headers = True
    if not at_end(cur):
        return b"URI: unexpected octet"
    return NULL


cdef inline int _scheme_kind(const unsigned char* p, Py_ssize_t n) noexcept nogil:
    if n == 3 and same_ignoring_case(p, b"sip", 3):
        return SCHEME_SIP
    if n == 4 and same_ignoring_case(p, b"sips", 4):
        return SCHEME_SIPS
    return SCHEME_OTHER


cdef const char* _find_fault(Cursor* cur, SipUri* out) noexcept nogil:
    # SIP-URI = "sip:" [ userinfo ] hostport uri-parameters [ headers ]   RFC 3261 25.1
    # Any other scheme: scheme ":" 1*uric, opaque.
    cdef Py_ssize_t start = offset(cur)
    cdef const char* reason
    cdef Cursor user
    cdef int port

    memset(out, 0, sizeof(SipUri))
    out.port = -1
    out.text = span_of(start, start + left(cur))
    if left(cur) > MAX_URI:
        return b"URI: too long"
    if not octet_is(<unsigned char>peek(cur), ALPHA) or at_end(cur):
        return b"URI: scheme missing"
    run(cur, SCHEME)
    out.scheme = span_since(cur, start)
    if not accept(cur, c":"):
        return b"URI: scheme missing"
    out.kind = <unsigned char>_scheme_kind(cur.base + out.scheme.start, out.scheme.length)
    if out.kind == SCHEME_OTHER:
        if at_end(cur) or not _run_escaped(cur, URIC) or not at_end(cur):
            return b"URI: malformed"
        return NULL

    user = cur[0]
    if seek(cur, c"@"):
        # "@" is in no other part, so the first is the only one a valid URI has.
        user = up_to_here(&user, cur)
        take(cur)
        start = offset(&user)
        if not _run_escaped(&user, USER) or offset(&user) == start:
            move_to(cur, &user)
            return b"URI: malformed user"
        out.user = span_since(&user, start)
        out.has_user = True
        if accept(&user, c":"):
            start = offset(&user)
            _run_escaped(&user, PASSWORD)
            out.password = span_since(&user, start)
            out.has_password = True
        if not at_end(&user):
            move_to(cur, &user)
            return b"URI: malformed userinfo"
    reason = find_host_fault(cur, &out.host)
    if reason != NULL:
        return reason
    if accept(cur, c":"):
        port = take_port(cur)
        if port < 0:
            return b"URI: malformed port"
        out.port = port
    if at_end(cur):
        return NULL
    return _find_tail_fault(cur, out)


cdef int take_port(Cursor* cur) noexcept nogil:
    # port = 1*DIGIT; outside 1-65535 there is none: -1
    cdef int port = 0
    while not at_end(cur) and octet_is(<unsigned char>peek(cur), DIGIT):
        port = port * 10 + (take(cur) - 0x30)
        if port > 65535:
            return -1
    return port if port else -1


cdef const char* find_uri_fault(
    const unsigned char* base, Py_ssize_t start, Py_ssize_t stop, SipUri* out, Py_ssize_t* fault
) noexcept nogil:
    cdef Cursor cur = cursor_over(base, start, stop)
    cdef const char* reason = _find_fault(&cur, out)
    if reason != NULL:
        fault[0] = offset(&cur)
    return reason


cdef int scan_uri(const unsigned char* p, Py_ssize_t n, SipUri* out) except -1:
    cdef Py_ssize_t fault = 0
    cdef const char* reason = find_uri_fault(p, 0, n, out, &fault)
    if reason != NULL:
        return _fail(reason, fault)
    return 0


# Equality

cdef inline int _next_unit(Cursor* cur) noexcept nogil:
    # The next octet of a scanned URI, an escape counting as its octet; an escaped reserved octet is not the
    # octet itself (RFC 3261 19.1.4).  -1 at the end.
    cdef int octet = take(cur)
    if octet != c"%":
        return octet
    octet = hex_value(<unsigned char>take(cur)) << 4
    octet |= hex_value(<unsigned char>take(cur))
    return octet | ESCAPED if octet_is(<unsigned char>octet, RESERVED) else octet


cdef bint _units_equal(
    const unsigned char* a, Span s, const unsigned char* b, Span t, bint ignoring_case
) noexcept nogil:
    cdef Cursor x, y
    cdef int u, v
    if s.length == t.length and memcmp(a + s.start, b + t.start, s.length) == 0:
        return True
    x = cursor_of(a, s)
    y = cursor_of(b, t)
    while True:
        u = _next_unit(&x)
        v = _next_unit(&y)
        if u != v:
            if not ignoring_case or u < 0 or v < 0 or (u ^ v) & ESCAPED:
                return False
            if lower(<unsigned char>u) != lower(<unsigned char>v):
                return False
        elif u < 0:
            return True


cdef bint _is_decisive(const unsigned char* base, Span name) noexcept nogil:
    # Parameters that make two URIs differ when only one has them.  RFC 3261 19.1.4 names user, ttl, method and
    # maddr; by its examples transport is one of them.
    cdef Span word
    cdef const char* text = b"transportmethodmaddruserttl"
    cdef const char* lengths = b"\x09\x06\x05\x04\x03"
    cdef int i
    word.start = 0
    for i in range(5):
        word.length = lengths[i]
        if _units_equal(base, name, <const unsigned char*>text, word, True):
            return True
        word.start += word.length
    return False


cdef int _read_parameters(const unsigned char* base, const SipUri* uri, Pair* pairs) noexcept nogil:
    cdef Cursor cur = cursor_of(base, uri.params)
    cdef int count = 0
    while count < MAX_PARAMETERS and _next_parameter(&cur, &pairs[count]):
        count += 1
    return count


cdef bint _parameters_equal(
    const unsigned char* a, const SipUri* s, const unsigned char* b, const SipUri* t
) noexcept nogil:
    cdef Pair[MAX_PARAMETERS] x
    cdef Pair[MAX_PARAMETERS] y
    cdef bint[MAX_PARAMETERS] met
    cdef int n = _read_parameters(a, s, x)
    cdef int m = _read_parameters(b, t, y)
    cdef int i, j
    cdef bint found
    for j in range(m):
        met[j] = False
    for i in range(n):
        found = False
        for j in range(m):
            if not met[j] and _units_equal(a, x[i].name, b, y[j].name, True):
                if x[i].valued != y[j].valued or not _units_equal(a, x[i].value, b, y[j].value, True):
                    return False
                found = met[j] = True
                break
        if not found and _is_decisive(a, x[i].name):
            return False
    for j in range(m):
        if not met[j] and _is_decisive(b, y[j].name):
            return False
    return True


cdef int _read_headers(const unsigned char* base, const SipUri* uri, Pair* pairs) noexcept nogil:
    cdef Cursor cur = cursor_of(base, uri.headers)
    cdef int count = 0
    while count < MAX_PARAMETERS and _next_header(&cur, &pairs[count]):
        count += 1
        accept(&cur, c"&")
    return count


cdef bint _headers_equal(
    const unsigned char* a, const SipUri* s, const unsigned char* b, const SipUri* t
) noexcept nogil:
    # The same header components on both sides, in any order.  Values compare without case (RFC 3261 7.3.1)
    # but for Call-ID, which is compared octet by octet (20.8).
    cdef Pair[MAX_PARAMETERS] x
    cdef Pair[MAX_PARAMETERS] y
    cdef bint[MAX_PARAMETERS] met
    cdef int n = _read_headers(a, s, x)
    cdef int m = _read_headers(b, t, y)
    cdef int i, j
    cdef bint found, ignoring_case
    if n != m:
        return False
    for j in range(m):
        met[j] = False
    for i in range(n):
        ignoring_case = not _units_equal(
            a, x[i].name, <const unsigned char*>b"call-id", span_of(0, 7), True
        )
        found = False
        for j in range(m):
            if met[j] or not _units_equal(a, x[i].name, b, y[j].name, True):
                continue
            if _units_equal(a, x[i].value, b, y[j].value, ignoring_case):
                found = met[j] = True
                break
        if not found:
            return False
    return True


cdef bint _hosts_equal(
    const unsigned char* a, const Host* s, const unsigned char* b, const Host* t
) noexcept nogil:
    # Names are not resolved; addresses compare by value (RFC 5954 4.2).
    if s.kind != t.kind:
        return False
    if s.kind != HOST_NAME:
        return memcmp(s.address, t.address, 4 if s.kind == HOST_IPV4 else 16) == 0
    return s.text.length == t.text.length and same_ignoring_case(
        a + s.text.start, b + t.text.start, s.text.length
    )


cdef bint uri_octets_equal(
    const unsigned char* a, Py_ssize_t n, const unsigned char* b, Py_ssize_t m
) noexcept nogil:
    cdef SipUri s, t
    cdef Py_ssize_t fault = 0
    if n == m and memcmp(a, b, n) == 0:
        return True
    if find_uri_fault(a, 0, n, &s, &fault) != NULL or find_uri_fault(b, 0, m, &t, &fault) != NULL:
        return False
    if s.kind != t.kind:
        return False
    if s.kind == SCHEME_OTHER:
        # Opaque but for the scheme's case.
        return (
            n == m
            and s.scheme.length == t.scheme.length
            and same_ignoring_case(a, b, s.scheme.length)
            and memcmp(a + s.scheme.length, b + s.scheme.length, n - s.scheme.length) == 0
        )
    if s.has_user != t.has_user or s.has_password != t.has_password or s.port != t.port:
        return False
    if s.has_headers != t.has_headers or not _hosts_equal(a, &s.host, b, &t.host):
        return False
    if s.has_user and not _units_equal(a, s.user, b, t.user, False):
        return False
    if s.has_password and not _units_equal(a, s.password, b, t.password, False):
        return False
    if (s.params.length or t.params.length) and not _parameters_equal(a, &s, b, &t):
        return False
    return not s.has_headers or _headers_equal(a, &s, b, &t)


# The address-of-record

cdef int _put_ipv6(Writer* w, const unsigned char* address) except -1:
    # RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups as "::", and the
    # IPv4 part of an IPv4-mapped address in digits (section 5).
    cdef int[8] group
    cdef int i, j, start = -1, length = 1, shift, value
    cdef int groups = 8
    for i in range(8):
        group[i] = address[2 * i] << 8 | address[2 * i + 1]
    if memcmp(address, b"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0:
        groups = 6
    i = 0
    while i < groups:
        j = i
        while j < groups and group[j] == 0:
            j += 1
        if j - i > length:
            start = i
            length = j - i
        i = j + 1
    i = 0
    while i < groups:
        if i == start:
            put(w, b"::", 2)
            i += length
            continue
        if i and i != start + length or i and start < 0:
            put_octet(w, c":")
        value = 0
        for shift in range(12, -4, -4):
            value |= group[i] >> shift
            if value or shift == 0:
                put_octet(w, b"0123456789abcdef"[group[i] >> shift & 15])
        i += 1
    if groups == 6:
        for i in range(12, 16):
            put_octet(w, c":" if i == 12 else c".")
            put_unsigned(w, address[i])
    return 0


cdef int _put_host(Writer* w, const Host* host, const unsigned char* base) except -1:
    cdef Py_ssize_t i
    if host.kind == HOST_IPV6:
        put_octet(w, c"[")
        _put_ipv6(w, host.address)
        put_octet(w, c"]")
    elif host.kind == HOST_IPV4:
        for i in range(4):
            if i:
                put_octet(w, c".")
            put_unsigned(w, host.address[i])
    else:
        for i in range(host.text.start, <Py_ssize_t>host.text.start + host.text.length):
            put_octet(w, lower(base[i]))
    return 0


cdef int _put_user(Writer* w, const unsigned char* base, Span span, int raw) except -1:
    # Unescape once, then escape all but the octets of class raw.
    cdef Cursor cur = cursor_of(base, span)
    cdef int octet
    while not at_end(&cur):
        octet = _next_unit(&cur) & 255
        if octet_is(<unsigned char>octet, raw):
            put_octet(w, <unsigned char>octet)
        else:
            put_octet(w, c"%")
            put_octet(w, b"0123456789ABCDEF"[octet >> 4])
            put_octet(w, b"0123456789ABCDEF"[octet & 15])
    return 0


cdef int _put_aor(Writer* w, const SipUri* uri, const unsigned char* base) except -1:
    put(w, b"sip:", 4)
    if uri.has_user:
        _put_user(w, base, uri.user, USER)
        if uri.has_password:
            # The password is part of the user: ":" and what follows, escaped like any other octet.
            put(w, b"%3A", 3)
            _put_user(w, base, uri.password, USER)
        put_octet(w, c"@")
    _put_host(w, &uri.host, base)
    if uri.port >= 0:
        put_octet(w, c":")
        put_unsigned(w, uri.port)
    return 0


cdef bytes aor_octets(const SipUri* uri, const unsigned char* base):
    cdef Writer w
    writer_init(&w)
    try:
        _put_aor(&w, uri, base)
        return writer_take(&w)
    finally:
        writer_free(&w)


cdef str aor_text(const SipUri* uri, const unsigned char* base):
    cdef Writer w
    writer_init(&w)
    try:
        _put_aor(&w, uri, base)
        return PyUnicode_DecodeASCII(<const char*>w.data, w.size, NULL)
    finally:
        writer_free(&w)


cdef bytes host_octets(const Host* host, const unsigned char* base):
    cdef Writer w
    writer_init(&w)
    try:
        _put_host(&w, host, base)
        return writer_take(&w)
    finally:
        writer_free(&w)


# Python

@cython.final
cdef class Uri:
    """A URI as it was written, with its parts (RFC 3261 19.1.1).

    SIP and SIPS URIs have parts; any other scheme is opaque, and host is None.  Parts are as written: nothing is
    unescaped or lower-cased.  `==` is identity of the text; `uris_equal` is the equality of RFC 3261 19.1.4.
    """

    cdef bytes _data    # owns every span below
    cdef SipUri _uri

    def __init__(self) -> None:
        raise TypeError("use parse_uri()")

    cdef str _text(self, Span span):
        # The grammar is ASCII.
        return self._data[span.start:<Py_ssize_t>span.start + span.length].decode("ascii")

    @property
    def text(self) -> str:
        """The whole URI."""
        return self._text(self._uri.text)

    @property
    def scheme(self) -> str:
        """The scheme as written."""
        return self._text(self._uri.scheme)

    @property
    def user(self) -> str | None:
        """The user, parameters such as `;x=y` before the `@` included."""
        return self._text(self._uri.user) if self._uri.has_user else None

    @property
    def password(self) -> str | None:
        """What follows `:` in the userinfo."""
        return self._text(self._uri.password) if self._uri.has_password else None

    @property
    def host(self) -> str | None:
        """The host, an IPv6 reference with its brackets."""
        return self._text(self._uri.host.text) if self._uri.kind != SCHEME_OTHER else None

    @property
    def port(self) -> int | None:
        """The port, if one is written."""
        return self._uri.port if self._uri.port >= 0 else None

    @property
    def parameters(self) -> tuple[tuple[str, str | None], ...]:
        """URI parameters in order; None for one without value."""
        cdef Pair[MAX_PARAMETERS] pairs
        cdef const unsigned char* base = <const unsigned char*>PyBytes_AS_STRING(self._data)
        cdef int i, n = _read_parameters(base, &self._uri, pairs)
        return tuple([
            (self._text(pairs[i].name), self._text(pairs[i].value) if pairs[i].valued else None)
            for i in range(n)
        ])

    @property
    def headers(self) -> str | None:
        """The header components, what follows `?`."""
        return self._text(self._uri.headers) if self._uri.has_headers else None

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Uri({self.text!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Uri):
            return NotImplemented
        return self._data == (<Uri>other)._data

    def __hash__(self) -> int:
        return hash(self._data)


cdef bytes _octets(object text):
    if isinstance(text, bytes):
        return <bytes>text
    if isinstance(text, Uri):
        return (<Uri>text)._data
    if isinstance(text, str):
        try:
            return (<str>text).encode()
        except UnicodeEncodeError as error:
            raise SipParseError("URI: not Unicode text", offset=error.start) from None
    raise TypeError(f"expected str, bytes or Uri, got {type(text).__name__}")


def parse_uri(text: str | bytes) -> Uri:
    """Return the parts of a URI of any scheme (RFC 3261 25.1); SipParseError if it is malformed."""
    cdef Uri uri = Uri.__new__(Uri)
    uri._data = _octets(text)
    scan_uri(<const unsigned char*>PyBytes_AS_STRING(uri._data), PyBytes_GET_SIZE(uri._data), &uri._uri)
    return uri


def uris_equal(a: str | bytes | Uri, b: str | bytes | Uri) -> bool:
    """Say whether two URIs are equal (RFC 3261 19.1.4, RFC 5954 4.2).

    Not transitive: URIs without a parameter equal those with any value of it.  URIs that are not SIP or SIPS are
    opaque but for the scheme's case; what is no URI at all equals only itself.
    """
    cdef bytes x = _octets(a)
    cdef bytes y = _octets(b)
    return uri_octets_equal(
        <const unsigned char*>PyBytes_AS_STRING(x), PyBytes_GET_SIZE(x),
        <const unsigned char*>PyBytes_AS_STRING(y), PyBytes_GET_SIZE(y),
    )


def canonical_aor(uri: str | bytes | Uri) -> str:
    """Return the canonical address-of-record of a SIP or SIPS URI (RFC 3261 10.3 step 5).

    `sip:user@host[:port]`: without parameters and headers, the user unescaped and escaped anew so that one user
    has one text, the host in lower case.  Printable ASCII whatever the user holds.
    """
    cdef bytes octets = _octets(uri)
    cdef const unsigned char* base = <const unsigned char*>PyBytes_AS_STRING(octets)
    cdef SipUri parts
    scan_uri(base, PyBytes_GET_SIZE(octets), &parts)
    if parts.kind == SCHEME_OTHER:
        _fail(b"URI: an address-of-record is a SIP or SIPS URI", 0)
    return aor_octets(&parts, base).decode("ascii")


cdef inline str _lower_text(const unsigned char* base, Span span):
    return (base + span.start)[:span.length].decode("ascii").lower()    # as the grammar is


def hop_parts(uri: str) -> tuple[bool, str, str, int]:
    """Return what a SIP URI says of where a request goes: whether it is SIPS, transport, host, and port (RFC 3263 4).

    The transport is the value of its parameter in lower case, empty without one; the host that of maddr if there is
    one, in lower case, an IPv6 address without brackets; the port 0 if none is written.  SipParseError for what is no
    URI, and with status 416 for a URI that is neither SIP nor SIPS.
    """
    cdef bytes octets = _octets(uri)
    cdef const unsigned char* base = <const unsigned char*>PyBytes_AS_STRING(octets)
    cdef SipUri parts
    cdef Pair pair
    cdef Span host
    cdef Cursor cur
    cdef str transport = ""
    scan_uri(base, PyBytes_GET_SIZE(octets), &parts)
    if parts.kind == SCHEME_OTHER:
        raise SipParseError("URI: neither SIP nor SIPS", status=416)
    host = parts.host.text
    cur = cursor_of(base, parts.params)
    while _next_parameter(&cur, &pair):
        if not pair.valued:
            continue
        if pair.name.length == 9 and same_ignoring_case(base + pair.name.start, b"transport", 9):
            transport = _lower_text(base, pair.value)
        elif pair.name.length == 5 and same_ignoring_case(base + pair.name.start, b"maddr", 5):
            host = pair.value
    if host.length and base[host.start] == c"[":
        host.start += 1
        host.length -= 1
    if host.length and base[host.start + host.length - 1] == c"]":
        host.length -= 1
    return parts.kind == SCHEME_SIPS, transport, _lower_text(base, host), max(0, parts.port)
