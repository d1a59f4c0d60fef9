"""SIP messages: one pass from octets to spans, values decoded when they are read (RFC 3261 7, 20 and 25.1).

`parse_message` checks everything a UAS acts on, so that an attribute read later does not fail; headers nobody acts
on are only found.  Malformed input raises SipParseError, with status None where nothing may be answered (responses,
ACK, what has no start line).  `salvage` finds the rows of a request that does not parse, for the answer to it.
`StreamFramer` cuts messages out of a stream.

Inside a row CR and LF occur only as part of a fold: the index refuses them elsewhere, and every helper below may
take the four LWS octets for blanks.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_Clear
from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from reginfo._fast._chars cimport (
    DIGIT,
    HNV,
    LWS,
    PARAM,
    QUOTED,
    TOKEN,
    URIC,
    VALUE,
    WORD,
    eight_at,
    equal_to,
    is_any,
    is_word,
    octet_is,
    same_ignoring_case,
    unprintable,
)
from reginfo._fast._cursor cimport (
    Cursor,
    Span,
    accept,
    at_end,
    behind,
    cursor_of,
    cursor_over,
    left,
    look,
    move_to,
    no_span,
    offset,
    peek,
    run,
    seek,
    skip,
    skip_lws,
    span_of,
    span_since,
    take,
    trim_blanks,
    trim_lws,
    up_to_here,
)
from reginfo._fast._writer cimport Writer, allocate, put, put_octet, writer_free, writer_init, writer_take
from reginfo._fast.uri cimport (
    MAX_PARAMETERS,
    SCHEME_OTHER,
    SCHEME_SIP,
    SCHEME_SIPS,
    Host,
    SipUri,
    aor_text,
    find_host_fault,
    find_uri_fault,
    host_octets,
    take_port,
)

from reginfo._fast.errors import SipParseError

cdef extern from "Python.h":
    # Declared with a bare pointer so that the error is handled where it happens, without a try block.
    PyObject* _decode_utf8 "PyUnicode_DecodeUTF8"(const char* octets, Py_ssize_t n, const char* errors) noexcept
    void Py_DECREF(PyObject* thing)

cdef enum:
    MAX_MESSAGE = 262144            # the largest any transport takes
    DEFAULT_EXPIRES = 3600          # what RFC 3261 10.2.1 makes of a malformed expiry
    MAX_EXPIRES = 0xFFFFFFFF

ctypedef const unsigned char* Octets

# By HeaderId.
cdef tuple _NAMES = (
    "header", "Via", "From", "To", "Call-ID", "CSeq", "Max-Forwards", "Contact", "Expires", "Content-Length",
    "Content-Type", "User-Agent", "Authorization", "Supported", "Allow", "Route", "Record-Route", "Path",
    "Service-Route", "Require", "Proxy-Require", "Unsupported", "Accept", "Accept-Encoding", "Accept-Language",
    "Event", "Allow-Events", "Subscription-State", "SIP-ETag", "SIP-If-Match", "Min-Expires", "Retry-After",
    "WWW-Authenticate", "Proxy-Authenticate", "Proxy-Authorization", "Authentication-Info", "Content-Encoding",
    "Content-Language", "Content-Disposition", "Date", "Subject", "Timestamp", "Server", "Warning", "Flow-Timer",
)

# RFC 3261 7.3.3 and RFC 6665 8.4.
cdef dict _COMPACT = {
    "v": HEADER_VIA, "f": HEADER_FROM, "t": HEADER_TO, "i": HEADER_CALL_ID, "m": HEADER_CONTACT,
    "l": HEADER_CONTENT_LENGTH, "c": HEADER_CONTENT_TYPE, "e": HEADER_CONTENT_ENCODING, "k": HEADER_SUPPORTED,
    "s": HEADER_SUBJECT, "o": HEADER_EVENT, "u": HEADER_ALLOW_EVENTS,
}

cdef frozenset _SINGLE = frozenset((
    HEADER_FROM, HEADER_TO, HEADER_CALL_ID, HEADER_CSEQ, HEADER_MAX_FORWARDS, HEADER_EXPIRES,
    HEADER_CONTENT_LENGTH, HEADER_CONTENT_TYPE, HEADER_EVENT, HEADER_SUBSCRIPTION_STATE, HEADER_SIP_ETAG,
    HEADER_SIP_IF_MATCH, HEADER_MIN_EXPIRES, HEADER_DATE,
))

# Their values are comma-separated.
cdef frozenset _LISTS = frozenset((
    HEADER_VIA, HEADER_CONTACT, HEADER_SUPPORTED, HEADER_ALLOW, HEADER_ROUTE, HEADER_RECORD_ROUTE, HEADER_PATH,
    HEADER_SERVICE_ROUTE, HEADER_REQUIRE, HEADER_PROXY_REQUIRE, HEADER_UNSUPPORTED, HEADER_ACCEPT,
    HEADER_ACCEPT_ENCODING, HEADER_ACCEPT_LANGUAGE, HEADER_ALLOW_EVENTS, HEADER_CONTENT_ENCODING,
    HEADER_CONTENT_LANGUAGE, HEADER_WARNING,
))

# By MethodId.
cdef tuple _METHODS = (
    "", "REGISTER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "OPTIONS", "INVITE", "ACK", "BYE", "CANCEL", "MESSAGE",
    "INFO", "PRACK", "UPDATE", "REFER",
)

# The same tables as C arrays, filled once below; the pointers are into _octets_of_tables.
cdef list _octets_of_tables = []
cdef Octets[HEADER_COUNT] _name
cdef uint8_t[HEADER_COUNT] _name_length
cdef uint8_t[HEADER_COUNT] _single
cdef uint8_t[256] _slot             # HeaderId by _name_hash: perfect for the names above
cdef uint8_t[128] _compact          # HeaderId by the only octet of the name, lower case
cdef Octets[METHOD_COUNT] _method
cdef uint8_t[METHOD_COUNT] _method_length


cdef inline uint8_t _name_hash(const unsigned char* p, Py_ssize_t n) noexcept nogil:
    # | 0x20 folds the case of letters and leaves "-" alone.
    return <uint8_t>(n + 2 * (p[0] | 0x20) + 11 * (p[n - 1] | 0x20))


cdef int _fill_tables() except -1:
    cdef int i
    cdef bytes octets
    cdef uint8_t slot
    for i in range(1, HEADER_COUNT):
        octets = _NAMES[i].lower().encode("ascii")
        _octets_of_tables.append(octets)
        _name[i] = <const unsigned char*>PyBytes_AS_STRING(octets)
        _name_length[i] = <uint8_t>len(octets)
        _single[i] = i in _SINGLE
        slot = _name_hash(_name[i], len(octets))
        assert _slot[slot] == 0, "header names collide"
        _slot[slot] = <uint8_t>i
    for letter, i in _COMPACT.items():
        _compact[<int>ord(letter)] = <uint8_t>i
    for i in range(1, METHOD_COUNT):
        octets = _METHODS[i].encode("ascii")
        _octets_of_tables.append(octets)
        _method[i] = <const unsigned char*>PyBytes_AS_STRING(octets)
        _method_length[i] = <uint8_t>len(octets)
    return 0


_fill_tables()


cdef int _header_id(const unsigned char* p, Py_ssize_t n) noexcept nogil:
    # HeaderId of a name of n > 0 octets, case-insensitive, long or compact; what is found is made of token octets.
    cdef int candidate
    if n == 1:
        return _compact[p[0] & 0x7F | 0x20]
    candidate = _slot[_name_hash(p, n)]
    if _name_length[candidate] == n and is_word(p, _name[candidate], n):
        return candidate
    return HEADER_UNKNOWN


cdef int _method_id(const unsigned char* p, Py_ssize_t n) noexcept nogil:
    # MethodId; methods are case-sensitive (RFC 3261 7.1).
    cdef int i
    for i in range(1, METHOD_COUNT):
        if _method_length[i] == n and memcmp(_method[i], p, n) == 0:
            return i
    return METHOD_UNKNOWN


# Errors

cdef int _fail(str reason, Py_ssize_t where, object status=400) except -1:
    raise SipParseError(reason, offset=where, status=status)


cdef int _fail_in(int header, const char* reason, Py_ssize_t where) except -1:
    raise SipParseError(f"{_NAMES[header]}: {(<bytes>reason).decode('ascii')}", offset=where)


# Text

cdef inline str _text(const unsigned char* octets, Py_ssize_t n):
    cdef PyObject* text = _decode_utf8(<const char*>octets, n, NULL)
    cdef str result
    if text == NULL:
        PyErr_Clear()
        _fail("header value: not UTF-8", 0)
    result = <str>text
    Py_DECREF(text)
    return result


cdef inline str _span_text(const unsigned char* octets, Span span):
    # Text of a span that cannot hold a fold.
    return _text(octets + span.start, span.length)


cdef bytes unfolded(const unsigned char* octets, Py_ssize_t n):
    # LWS with a line break in it is one SP (RFC 3261 7.3.1).
    cdef Writer w
    cdef Cursor cur
    cdef Py_ssize_t start, stop
    if memchr(octets, c"\r", n) == NULL:
        return PyBytes_FromStringAndSize(<const char*>octets, n)
    cur = cursor_over(octets, 0, n)
    writer_init(&w)
    try:
        while not at_end(&cur):
            if not octet_is(<unsigned char>peek(&cur), LWS):
                put_octet(&w, <unsigned char>take(&cur))
                continue
            start = offset(&cur)
            skip_lws(&cur)
            stop = offset(&cur)
            if memchr(octets + start, c"\r", stop - start) == NULL:
                put(&w, octets + start, stop - start)
            else:
                put_octet(&w, c" ")
        return writer_take(&w)
    finally:
        writer_free(&w)


cdef str _unfolded_text(const unsigned char* octets, Span span):
    cdef bytes plain
    if memchr(octets + span.start, c"\r", span.length) == NULL:
        return _span_text(octets, span)
    plain = unfolded(octets + span.start, span.length)
    return _text(<const unsigned char*>PyBytes_AS_STRING(plain), PyBytes_GET_SIZE(plain))


cdef bytes unquoted(const unsigned char* octets, Span span):
    cdef const unsigned char* p = octets + span.start
    cdef bytes plain
    cdef Cursor cur
    cdef Writer w
    cdef int octet
    if span.length < 2 or p[0] != c'"':
        return unfolded(p, span.length)
    if memchr(p, c"\\", span.length) == NULL:
        return unfolded(p + 1, span.length - 2)
    plain = unfolded(p, span.length)
    p = <const unsigned char*>PyBytes_AS_STRING(plain)
    cur = cursor_over(p, 1, PyBytes_GET_SIZE(plain) - 1)
    writer_init(&w)
    try:
        while not at_end(&cur):
            octet = take(&cur)
            if octet == c"\\" and not at_end(&cur):
                octet = take(&cur)
            put_octet(&w, <unsigned char>octet)
        return writer_take(&w)
    finally:
        writer_free(&w)


cdef str _unquoted_text(const unsigned char* octets, Span span):
    cdef bytes plain = unquoted(octets, span)
    return _text(<const unsigned char*>PyBytes_AS_STRING(plain), PyBytes_GET_SIZE(plain))


# Lexical elements

cdef inline bint _is(const unsigned char* octets, Span span, const char* word, Py_ssize_t n) noexcept nogil:
    return span.length == n and is_word(octets + span.start, <const unsigned char*>word, n)


cdef bint _take_utf8_tail(Cursor* cur, int lead) noexcept nogil:
    # The octets after the first of a UTF-8 sequence (RFC 3629 section 4).
    cdef int low = 0x80, high = 0xBF, more, octet
    if 0xC2 <= lead <= 0xDF:
        more = 1
    elif 0xE0 <= lead <= 0xEF:
        more = 2
        if lead == 0xE0:
            low = 0xA0
        elif lead == 0xED:
            high = 0x9F
    elif 0xF0 <= lead <= 0xF4:
        more = 3
        if lead == 0xF0:
            low = 0x90
        elif lead == 0xF4:
            high = 0x8F
    else:
        return False
    while more:
        octet = take(cur)
        if octet < low or octet > high:
            return False
        low = 0x80
        high = 0xBF
        more -= 1
    return True


cdef inline void _skip_text(Cursor* cur) noexcept nogil:
    # Step over text of a quoted-string, eight octets at a time; what is left is looked at one by one.
    cdef uint64_t octets
    while left(cur) >= 8:
        octets = eight_at(cur.pos)
        if is_any(unprintable(octets) | equal_to(octets, c'"') | equal_to(octets, c"\\")):
            return
        skip(cur, 8)


cdef bint _take_quoted(Cursor* cur) noexcept nogil:
    # quoted-string = DQUOTE *(qdtext / quoted-pair ) DQUOTE   RFC 3261 25.1
    cdef int octet
    take(cur)
    while True:
        _skip_text(cur)
        run(cur, QUOTED | LWS)
        octet = take(cur)
        if octet == c'"':
            return True
        if octet == c"\\":
            octet = take(cur)
            if octet < 0 or octet > 0x7F or octet == c"\r" or octet == c"\n":
                return False
        elif octet < 0x80 or not _take_utf8_tail(cur, octet):
            return False


cdef bint _take_unsigned(Cursor* cur, uint64_t limit, uint64_t* out) noexcept nogil:
    # 1*DIGIT; a value above limit (at most 2**32) is left at limit + 1.
    cdef uint64_t value = 0
    if at_end(cur) or not octet_is(<unsigned char>peek(cur), DIGIT):
        return False
    while not at_end(cur) and octet_is(<unsigned char>peek(cur), DIGIT):
        value = value * 10 + <uint64_t>(take(cur) - 0x30)
        if value > limit:
            value = limit + 1
    out[0] = value
    return True


cdef struct Seen:
    int count
    Span[MAX_PARAMETERS] name


cdef const char* _next_parameter(Cursor* cur, Parameter* out, Seen* seen) noexcept nogil:
    # SEMI generic-param, generic-param = token [ EQUAL gen-value ]   RFC 3261 25.1; also steps over LWS behind it.
    # An empty value is left to the caller.
    cdef Py_ssize_t start
    cdef int i
    take(cur)
    skip_lws(cur)
    start = offset(cur)
    if run(cur, TOKEN) == 0:
        return b"malformed parameter"
    out.name = span_since(cur, start)
    for i in range(seen.count):
        if seen.name[i].length == out.name.length and same_ignoring_case(
            cur.base + seen.name[i].start, cur.base + start, out.name.length
        ):
            return b"parameter given twice"
    if seen.count == MAX_PARAMETERS:
        return b"too many parameters"
    seen.name[seen.count] = out.name
    seen.count += 1
    skip_lws(cur)
    out.valued = accept(cur, c"=")
    out.value = no_span()
    if out.valued:
        skip_lws(cur)
        start = offset(cur)
        if peek(cur) == c'"':
            if not _take_quoted(cur):
                return b"malformed quoted string"
        else:
            run(cur, VALUE)
        out.value = span_since(cur, start)
        skip_lws(cur)
    return NULL


cdef inline bint _is_empty(const Parameter* parameter) noexcept nogil:
    return parameter.valued and parameter.value.length == 0


cdef inline bint _is_quoted(const unsigned char* octets, Span value) noexcept nogil:
    return value.length and octets[value.start] == c'"'


# Via

cdef const char* _take_via(Cursor* cur, ViaValue* out) noexcept nogil:
    # via-parm = sent-protocol LWS sent-by *( SEMI via-params )   RFC 3261 25.1; up to the comma or the end
    cdef Py_ssize_t start
    cdef Host host
    cdef Parameter parameter
    cdef Seen seen
    cdef Cursor digits
    cdef const char* reason
    cdef uint64_t value = 0
    skip_lws(cur)
    start = offset(cur)
    out.port = out.rport = out.ttl = -1
    out.branch = out.received = out.maddr = no_span()
    for _ in range(2):
        # protocol-name SLASH protocol-version SLASH
        if run(cur, TOKEN) == 0:
            return b"malformed protocol"
        skip_lws(cur)
        if not accept(cur, c"/"):
            return b"malformed protocol"
        skip_lws(cur)
    out.transport.start = <uint32_t>offset(cur)
    out.transport.length = <uint32_t>run(cur, TOKEN)
    if out.transport.length == 0 or run(cur, LWS) == 0:
        return b"malformed transport"
    if find_host_fault(cur, &host) != NULL:
        return b"malformed sent-by"
    out.host = host.text
    out.value = span_since(cur, start)
    skip_lws(cur)
    if accept(cur, c":"):
        skip_lws(cur)
        out.port = take_port(cur)
        if out.port < 0:
            return b"malformed port"
        out.value = span_since(cur, start)
        skip_lws(cur)
    out.params = span_of(offset(cur), offset(cur))
    seen.count = 0
    while peek(cur) == c";":
        reason = _next_parameter(cur, &parameter, &seen)
        if reason != NULL:
            return reason
        if _is_empty(&parameter):
            return b"empty parameter value"
        if parameter.name.length == 6 and _is(cur.base, parameter.name, b"branch", 6):
            if not parameter.valued or _is_quoted(cur.base, parameter.value):
                return b"malformed branch"
            out.branch = parameter.value
        elif _is(cur.base, parameter.name, b"received", 8):
            out.received = parameter.value
        elif _is(cur.base, parameter.name, b"maddr", 5):
            out.maddr = parameter.value
        elif _is(cur.base, parameter.name, b"rport", 5):
            out.rport = 0
            if parameter.valued:
                digits = cursor_of(cur.base, parameter.value)
                out.rport = take_port(&digits)
                if out.rport < 0 or not at_end(&digits):
                    return b"malformed rport"
        elif _is(cur.base, parameter.name, b"ttl", 3):
            digits = cursor_of(cur.base, parameter.value)
            if not _take_unsigned(&digits, 255, &value) or value > 255 or not at_end(&digits):
                return b"malformed ttl"
            out.ttl = <int32_t>value
        out.params.length = span_since(cur, out.params.start).length
    if out.params.length:
        out.value = span_since(cur, start)
    return NULL


# Addresses

cdef const char* _take_address(
    Cursor* cur, Span* display, Span* uri, SipUri* parts, Py_ssize_t* fault
) noexcept nogil:
    # name-addr / addr-spec, without parameters, and LWS around it   RFC 3261 20.10, 25.1
    cdef Py_ssize_t start
    cdef int octet
    skip_lws(cur)
    display[0] = no_span()
    start = offset(cur)
    if peek(cur) == c'"':
        if not _take_quoted(cur):
            return b"malformed quoted string"
        display[0] = span_since(cur, start)
        skip_lws(cur)
    elif run(cur, TOKEN) and peek(cur) == c":":
        # Without brackets the URI ends at the first of these, and what follows ";" are header parameters.
        while True:
            octet = peek(cur)
            if octet < 0 or octet == c";" or octet == c"," or octet_is(<unsigned char>octet, LWS):
                break
            if octet == c"?":
                return b"header components in a URI without angle brackets"
            take(cur)
        uri[0] = span_since(cur, start)
        skip_lws(cur)
        return find_uri_fault(cur.base, start, <Py_ssize_t>uri.start + uri.length, parts, fault)
    else:
        while True:
            display[0] = span_since(cur, start)
            skip_lws(cur)
            if run(cur, TOKEN) == 0:
                break
    if not accept(cur, c"<"):
        return b"malformed display name or address"
    start = offset(cur)
    if not seek(cur, c">"):
        return b"angle bracket without end"
    uri[0] = span_since(cur, start)
    take(cur)
    skip_lws(cur)
    return find_uri_fault(cur.base, start, <Py_ssize_t>uri.start + uri.length, parts, fault)


cdef const char* _take_name_addr(
    Cursor* cur, NameAddrValue* out, SipUri* parts, Py_ssize_t* fault
) noexcept nogil:
    # ( name-addr / addr-spec ) *( SEMI generic-param ), up to the comma or the end
    cdef Parameter parameter
    cdef Seen seen
    cdef const char* reason
    cdef Py_ssize_t start
    skip_lws(cur)
    start = offset(cur)
    out.tag = no_span()
    reason = _take_address(cur, &out.display, &out.uri, parts, fault)
    if reason != NULL:
        return reason
    out.params = span_of(offset(cur), offset(cur))
    seen.count = 0
    while peek(cur) == c";":
        reason = _next_parameter(cur, &parameter, &seen)
        if reason != NULL:
            return reason
        if _is_empty(&parameter):
            return b"empty parameter value"
        if parameter.name.length == 3 and _is(cur.base, parameter.name, b"tag", 3):
            if not parameter.valued or _is_quoted(cur.base, parameter.value):
                return b"malformed tag"
            out.tag = parameter.value
        out.params.length = span_since(cur, out.params.start).length
    out.value = span_since(cur, start)
    return NULL


# Contact

cdef uint32_t _delta_seconds(Cursor* cur) noexcept nogil:
    # delta-seconds = 1*DIGIT; malformed is 3600, overlarge 2**32-1 (RFC 3261 10.2.1, 20.19)
    cdef uint64_t value = 0
    if not _take_unsigned(cur, MAX_EXPIRES, &value) or not at_end(cur):
        return DEFAULT_EXPIRES
    return <uint32_t>(value if value <= MAX_EXPIRES else MAX_EXPIRES)


cdef bint _take_q(Cursor* cur, uint16_t* out) noexcept nogil:
    # qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )   RFC 3261 25.1
    cdef int value, scale = 100
    cdef int octet = take(cur)
    if octet != c"0" and octet != c"1":
        return False
    value = 1000 * (octet - 0x30)
    if accept(cur, c"."):
        while not at_end(cur) and scale:
            octet = take(cur)
            if not octet_is(<unsigned char>octet, DIGIT):
                return False
            value += scale * (octet - 0x30)
            scale //= 10
    out[0] = <uint16_t>value
    return at_end(cur) and value <= 1000


cdef Span _urn_within(const unsigned char* octets, Span value) noexcept nogil:
    # The URN of instance-val = DQUOTE "<" urn ">" DQUOTE (RFC 5626 10); absent if it has another form.
    cdef Cursor cur = cursor_of(octets, value)
    cdef Py_ssize_t start
    cdef Span urn
    if not accept(&cur, c'"') or not accept(&cur, c"<"):
        return no_span()
    start = offset(&cur)
    run(&cur, URIC | TOKEN)
    urn = span_since(&cur, start)
    if not accept(&cur, c">") or not accept(&cur, c'"') or not at_end(&cur):
        return no_span()
    return urn


cdef bint _has_uri_parameter(
    const unsigned char* octets, Span params, const char* name, Py_ssize_t n
) noexcept nogil:
    # uri-parameters = *( ";" pname [ "=" pvalue ] )   RFC 3261 25.1
    cdef Cursor cur = cursor_of(octets, params)
    cdef Py_ssize_t start
    while accept(&cur, c";"):
        start = offset(&cur)
        run(&cur, TOKEN)
        if _is(octets, span_since(&cur, start), name, n) and (at_end(&cur) or peek(&cur) in (c";", c"=")):
            return True
        if not seek(&cur, c";"):
            break
    return False


cdef const char* _take_contact(Cursor* cur, ContactValue* out, Py_ssize_t* fault) noexcept nogil:
    # contact-param = (name-addr / addr-spec) *(SEMI contact-params)   RFC 3261 25.1, up to the comma or the end
    cdef SipUri parts
    cdef Parameter parameter
    cdef Seen seen
    cdef Cursor value
    cdef const char* reason
    cdef Py_ssize_t start
    cdef uint64_t number = 0
    skip_lws(cur)
    start = offset(cur)
    out.q = Q_UNSPECIFIED
    out.expires = out.reg_id = 0
    out.has_expires = False
    out.instance = no_span()
    reason = _take_address(cur, &out.display, &out.uri, &parts, fault)
    if reason != NULL:
        return reason
    out.kind = parts.kind
    out.is_bulk = parts.kind != SCHEME_OTHER and _has_uri_parameter(cur.base, parts.params, b"bnc", 3)
    out.params = span_of(offset(cur), offset(cur))
    seen.count = 0
    while peek(cur) == c";":
        reason = _next_parameter(cur, &parameter, &seen)
        if reason != NULL:
            return reason
        value = cursor_of(cur.base, parameter.value)
        if _is(cur.base, parameter.name, b"expires", 7):
            out.expires = _delta_seconds(&value)
            out.has_expires = True
        elif _is_empty(&parameter):
            return b"empty parameter value"
        elif _is(cur.base, parameter.name, b"q", 1):
            if not _take_q(&value, &out.q):
                return b"malformed q"
        elif _is(cur.base, parameter.name, b"+sip.instance", 13):
            out.instance = _urn_within(cur.base, parameter.value)
        elif _is(cur.base, parameter.name, b"reg-id", 6):
            if not _take_unsigned(&value, 0x7FFFFFFF, &number) or not at_end(&value):
                return b"malformed reg-id"
            if number == 0 or number > 0x7FFFFFFF:
                return b"reg-id out of range"
            out.reg_id = <uint32_t>number
        out.params.length = span_since(cur, out.params.start).length
    out.value = span_since(cur, start)
    return NULL


cdef bint _is_gruu(const unsigned char* octets, Span name) noexcept nogil:
    # What the registrar alone says of a contact (RFC 5627 section 5.1, and how a record may hold first-cseq).
    return (
        _is(octets, name, b"pub-gruu", 8)
        or _is(octets, name, b"temp-gruu", 9)
        or _is(octets, name, b"temp-gruu-cseq", 14)
    )


cdef bytes contact_params(SipMessage message, int i, bint with_reg_id):
    cdef const unsigned char* octets = base(message)
    cdef Cursor cur = cursor_of(octets, message.contact[i].params)
    cdef Parameter parameter
    cdef Seen seen
    cdef Writer w
    seen.count = 0
    writer_init(&w)
    try:
        while peek(&cur) == c";" and _next_parameter(&cur, &parameter, &seen) == NULL:
            if _is(octets, parameter.name, b"expires", 7) or _is(octets, parameter.name, b"q", 1):
                continue
            if not with_reg_id and _is(octets, parameter.name, b"reg-id", 6):
                continue
            if _is_gruu(octets, parameter.name):
                continue
            put_octet(&w, c";")
            put(&w, octets + parameter.name.start, parameter.name.length)
            if parameter.valued:
                put_octet(&w, c"=")
                if memchr(octets + parameter.value.start, c"\r", parameter.value.length) == NULL:
                    put(&w, octets + parameter.value.start, parameter.value.length)
                else:
                    plain = unfolded(octets + parameter.value.start, parameter.value.length)
                    put(&w, PyBytes_AS_STRING(plain), PyBytes_GET_SIZE(plain))
        return writer_take(&w)
    finally:
        writer_free(&w)


# Rows

cdef const char* _next_row(Cursor* cur, HeaderRow* row) noexcept nogil:
    # message-header CRLF with its folds   RFC 3261 7.3.1, 25.1
    cdef Py_ssize_t start = offset(cur)
    cdef Cursor value = cur[0]
    if not seek(cur, c":"):
        return b"malformed name"
    value = up_to_here(&value, cur)
    trim_blanks(&value)
    row.name = span_of(start, start + left(&value))
    row.id = HEADER_UNKNOWN
    if left(&value):
        row.id = _header_id(cur.base + start, left(&value))
    if row.id == HEADER_UNKNOWN and (run(&value, TOKEN) == 0 or not at_end(&value)):
        move_to(cur, &value)
        return b"malformed name"
    take(cur)
    start = offset(cur)
    while True:
        if not seek(cur, c"\n"):
            return b"section without end"
        if behind(cur) != c"\r":
            return b"line not ended by CRLF"
        take(cur)
        if peek(cur) != c" " and peek(cur) != c"\t":
            break
    value = cursor_over(cur.base, start, offset(cur))
    skip_lws(&value)
    trim_lws(&value)
    row.value = span_of(offset(&value), offset(&value) + left(&value))
    return NULL


cdef inline bint _has_bare_cr(const unsigned char* octets, Py_ssize_t n) noexcept nogil:
    # Say whether some CR is not followed by LF.  Without a branch in the loop it runs at 16 octets a step.
    cdef Py_ssize_t i
    cdef uint8_t bare = 0
    for i in range(n - 1):
        bare |= (octets[i] == c"\r") & (octets[i + 1] != c"\n")
    return bare or n > 0 and octets[n - 1] == c"\r"


cdef bint _has_stray_line_end(const unsigned char* octets, Py_ssize_t n) noexcept nogil:
    # Say whether a CR or an LF stands without the other.
    cdef Py_ssize_t i
    if _has_bare_cr(octets, n) or n > 0 and octets[0] == c"\n":
        return True
    for i in range(1, n):
        if octets[i] == c"\n" and octets[i - 1] != c"\r":
            return True
    return False


cdef int _add_row(SipMessage self, const HeaderRow* row) except -1:
    # The caller keeps row_count below MAX_HEADERS.
    if self.row_count == FEW_HEADERS:
        self.row = <HeaderRow*>allocate(MAX_HEADERS * sizeof(HeaderRow))
        memcpy(self.row, self.few_rows, sizeof(self.few_rows))
    self.row[self.row_count] = row[0]
    self.row_count += 1
    if self.first[row.id] == 0:
        self.first[row.id] = <uint8_t>self.row_count
    return 0


cdef int _fail_beyond(SipMessage self, Py_ssize_t where, str what) except -1:
    # A cap is passed.  More contacts than one request may hold are refused as such (403), whatever cap came first.
    cdef int i, contacts = 0
    for i in range(self.row_count):
        contacts += self.row[i].id == HEADER_CONTACT
    if contacts > MAX_CONTACTS:
        return _fail("Contact: too many in one request", where, 403)
    return _fail(what, where)


cdef int _index(SipMessage self, Cursor* cur) except -1:
    # Find all rows; the cursor ends behind the empty line.
    cdef Py_ssize_t start = offset(cur)
    cdef bint capped = left(cur) > MAX_HEADER_SECTION - start
    cdef Cursor head
    cdef HeaderRow row
    cdef const char* reason
    head = cursor_over(cur.base, start, MAX_HEADER_SECTION if capped else start + left(cur))
    while not (peek(&head) == c"\r" and look(&head, 1) == c"\n"):
        reason = _next_row(&head, &row)
        if reason != NULL:
            if capped and (at_end(&head) or not seek(&head, c"\n")):
                return _fail_beyond(self, offset(&head), "header section: too long")
            return _fail_in(HEADER_UNKNOWN, reason, offset(&head))
        if self.row_count == MAX_HEADERS:
            return _fail_beyond(self, row.name.start, "header section: too many headers")
        if _single[row.id] and self.first[row.id]:
            return _fail_in(row.id, b"given twice", row.name.start)
        _add_row(self, &row)
    if _has_bare_cr(cur.base, offset(&head)):
        return _fail("header section: CR outside a line end", start)
    skip(&head, 2)
    skip(cur, offset(&head) - start)
    return 0


# Start line

cdef int _start_line(SipMessage self, Cursor* cur) except -1:
    # Request-Line = Method SP Request-URI SP SIP-Version CRLF
    # Status-Line = SIP-Version SP Status-Code SP Reason-Phrase CRLF   RFC 3261 25.1
    cdef Py_ssize_t start, fault = 0
    cdef Cursor line
    cdef const char* reason
    cdef uint64_t code = 0
    while peek(cur) == c"\r" and look(cur, 1) == c"\n":
        # RFC 3261 7.5
        skip(cur, 2)
    start = offset(cur)
    line = cur[0]
    if run(&line, TOKEN) == 0:
        return _fail("start line: missing", start, None)
    self.method_span = span_since(&line, start)
    if peek(&line) == c"/" and _is(cur.base, self.method_span, b"sip", 3):
        self.is_request = False
    elif not accept(&line, c" "):
        return _fail("start line: missing", start, None)
    if not seek(cur, c"\n") or behind(cur) != c"\r":
        return _fail("start line: not ended by CRLF", start)
    line = cursor_over(cur.base, offset(&line), offset(cur) - 1)    # up to the CR
    take(cur)

    if not self.is_request:
        line = cursor_over(cur.base, start, offset(&line) + left(&line))
        if not _take_version(self, &line) or not accept(&line, c" "):
            return _fail("status line: malformed", offset(&line))
        start = offset(&line)
        if not _take_unsigned(&line, 999, &code) or offset(&line) - start != 3:
            return _fail("status line: malformed status code", start)
        # lenient: a status line may end with its code
        if code < 100 or code > 699 or not (at_end(&line) or accept(&line, c" ")):
            return _fail("status line: malformed status code", start)
        self.status = <int>code
        self.reason_span = span_of(offset(&line), offset(&line) + left(&line))
        return 0

    self.method_id = _method_id(cur.base + self.method_span.start, self.method_span.length)
    start = offset(&line)
    if not seek(&line, c" "):
        return _fail("request line: SIP version missing", start)
    reason = find_uri_fault(cur.base, start, offset(&line), &self.request_uri_value, &fault)
    if reason != NULL:
        return _fail("request line: malformed Request-URI", fault)
    if self.request_uri_value.has_headers:
        return _fail("request line: header components in the Request-URI", start)
    take(&line)
    if not _take_version(self, &line) or not at_end(&line):
        return _fail("request line: malformed SIP version", offset(&line))
    if not _is(cur.base, self.version_span, b"sip/2.0", 7):
        return _fail("request line: SIP version not supported", self.version_span.start, 505)
    return 0


cdef bint _take_version(SipMessage self, Cursor* line) noexcept nogil:
    # SIP-Version = "SIP" "/" 1*DIGIT "." 1*DIGIT
    cdef Py_ssize_t start = offset(line)
    if run(line, TOKEN) != 3 or not _is(line.base, span_since(line, start), b"sip", 3):
        return False
    if not accept(line, c"/") or run(line, DIGIT) == 0 or not accept(line, c"."):
        return False
    if run(line, DIGIT) == 0:
        return False
    self.version_span = span_since(line, start)
    return True


# Headers a UAS acts on

cdef inline Cursor _row_cursor(SipMessage self, int i) noexcept:
    return cursor_of(base(self), self.row[i].value)


cdef inline Cursor _first_cursor(SipMessage self, int header) noexcept:
    return _row_cursor(self, self.first[header] - 1)


cdef int _check_cseq(SipMessage self) except -1:
    # CSeq = 1*DIGIT LWS Method; the number is below 2**32 (RFC 3261 8.1.1.5, 20.16)
    cdef Cursor cur = _first_cursor(self, HEADER_CSEQ)
    cdef uint64_t value = 0
    cdef Py_ssize_t start
    cdef Span method
    if not _take_unsigned(&cur, MAX_EXPIRES, &value) or run(&cur, LWS) == 0:
        return _fail_in(HEADER_CSEQ, b"malformed", offset(&cur))
    if value > MAX_EXPIRES:
        return _fail_in(HEADER_CSEQ, b"number too large", offset(&cur))
    start = offset(&cur)
    if run(&cur, TOKEN) == 0 or not at_end(&cur):
        return _fail_in(HEADER_CSEQ, b"malformed method", offset(&cur))
    self.cseq = <uint32_t>value
    method = span_since(&cur, start)
    if not self.is_request:
        self.method_span = method
        self.method_id = _method_id(cur.base + method.start, method.length)
    elif method.length != self.method_span.length or memcmp(
        cur.base + method.start, cur.base + self.method_span.start, method.length
    ):
        return _fail(
            "CSeq: method differs from the request line", start,
            501 if self.method_id == METHOD_UNKNOWN else 400,
        )
    return 0


cdef int _check_vias(SipMessage self) except -1:
    # Via = ( "Via" / "v" ) HCOLON via-parm *(COMMA via-parm), in any number of rows
    cdef int i
    cdef Cursor cur
    cdef ViaValue other
    cdef const char* reason
    for i in range(self.first[HEADER_VIA] - 1, self.row_count):
        if self.row[i].id != HEADER_VIA:
            continue
        cur = _row_cursor(self, i)
        while True:
            reason = _take_via(&cur, &other if self.via_count else &self.via)
            if reason != NULL:
                return _fail_in(HEADER_VIA, reason, offset(&cur))
            self.via_count += 1
            if self.via_count > MAX_VIAS:
                return _fail_in(HEADER_VIA, b"too many", offset(&cur))
            if at_end(&cur):
                break
            if not accept(&cur, c","):
                return _fail_in(HEADER_VIA, b"malformed", offset(&cur))
    return 0


cdef int _check_name_addr(SipMessage self, int header, NameAddrValue* out, SipUri* parts) except -1:
    cdef Cursor cur = _first_cursor(self, header)
    cdef Py_ssize_t fault = -1
    cdef const char* reason = _take_name_addr(&cur, out, parts, &fault)
    if reason != NULL:
        return _fail_in(header, reason, offset(&cur) if fault < 0 else fault)
    if not at_end(&cur):
        return _fail_in(header, b"unexpected octet", offset(&cur))
    return 0


cdef int _check_call_id(SipMessage self) except -1:
    # callid = word [ "@" word ]   RFC 3261 25.1
    cdef Cursor cur = _first_cursor(self, HEADER_CALL_ID)
    self.call_id_span = self.row[self.first[HEADER_CALL_ID] - 1].value
    if self.call_id_span.length > MAX_CALL_ID:
        return _fail_in(HEADER_CALL_ID, b"too long", offset(&cur))
    if run(&cur, WORD) == 0 or accept(&cur, c"@") and run(&cur, WORD) == 0 or not at_end(&cur):
        return _fail_in(HEADER_CALL_ID, b"malformed", offset(&cur))
    return 0


cdef int _check_numbers(SipMessage self) except -1:
    # Max-Forwards = 1*DIGIT, 0-255; Expires = delta-seconds, never refused (RFC 3261 20.22, 10.2.1)
    cdef Cursor cur
    cdef uint64_t value = 0
    if self.first[HEADER_MAX_FORWARDS]:
        cur = _first_cursor(self, HEADER_MAX_FORWARDS)
        if not _take_unsigned(&cur, 255, &value) or not at_end(&cur) or value > 255:
            return _fail_in(HEADER_MAX_FORWARDS, b"malformed", offset(&cur))
        self.max_forwards_value = <int>value
    if self.first[HEADER_EXPIRES]:
        cur = _first_cursor(self, HEADER_EXPIRES)
        self.expires_value = _delta_seconds(&cur)
        self.has_expires = True
    return 0


cdef int _check_contacts(SipMessage self) except -1:
    # Contact = ("Contact" / "m" ) HCOLON ( STAR / (contact-param *(COMMA contact-param)))   RFC 3261 25.1
    cdef int i, stars = 0
    cdef Cursor cur
    cdef ContactValue value
    cdef const char* reason
    cdef Py_ssize_t fault
    for i in range(self.first[HEADER_CONTACT] - 1, self.row_count):
        if self.row[i].id != HEADER_CONTACT:
            continue
        cur = _row_cursor(self, i)
        if peek(&cur) == c"*" and left(&cur) == 1:
            self.contact_star = True
            stars += 1
            continue
        while True:
            fault = -1
            reason = _take_contact(&cur, &value, &fault)
            if reason != NULL:
                return _fail_in(HEADER_CONTACT, reason, offset(&cur) if fault < 0 else fault)
            if self.contact_count == FEW_CONTACTS:
                self.contact = <ContactValue*>allocate(MAX_CONTACTS * sizeof(ContactValue))
                memcpy(self.contact, self.few_contacts, sizeof(self.few_contacts))
            if self.contact_count < MAX_CONTACTS:
                self.contact[self.contact_count] = value
            self.contact_count += 1
            if at_end(&cur):
                break
            if not accept(&cur, c","):
                return _fail_in(HEADER_CONTACT, b"malformed", offset(&cur))
    if self.contact_star:
        if stars + self.contact_count > 1:
            return _fail_in(HEADER_CONTACT, b"'*' beside another contact", offset(&cur))
    return 0


cdef int _check_body(SipMessage self, Cursor* rest, bint stream) except -1:
    # RFC 3261 18.3: a datagram's surplus is dropped and a short one refused; a stream was framed by its length.
    cdef Cursor cur
    cdef uint64_t length = 0
    cdef Py_ssize_t start = offset(rest)
    self.body_span = span_of(start, start + left(rest))
    if self.first[HEADER_CONTENT_LENGTH]:
        cur = _first_cursor(self, HEADER_CONTENT_LENGTH)
        if not _take_unsigned(&cur, MAX_MESSAGE, &length) or not at_end(&cur):
            return _fail_in(HEADER_CONTENT_LENGTH, b"malformed", offset(&cur))
        if length > <uint64_t>left(rest):
            return _fail_in(HEADER_CONTENT_LENGTH, b"more than there is", offset(&cur))
        if stream and length < <uint64_t>left(rest):
            return _fail_in(HEADER_CONTENT_LENGTH, b"less than there is", offset(&cur))
        self.body_span.length = <uint32_t>length
    elif stream:
        return _fail_in(HEADER_CONTENT_LENGTH, b"missing", start)
    return 0


cdef bint _take_media_range(Cursor* cur) noexcept nogil:
    # m-type SLASH m-subtype *( SEMI generic-param )   RFC 3261 25.1; "*" is a token octet
    cdef Parameter parameter
    cdef Seen seen
    skip_lws(cur)
    if run(cur, TOKEN) == 0:
        return False
    skip_lws(cur)
    if not accept(cur, c"/"):
        return False
    skip_lws(cur)
    if run(cur, TOKEN) == 0:
        return False
    skip_lws(cur)
    seen.count = 0
    while peek(cur) == c";":
        if _next_parameter(cur, &parameter, &seen) != NULL or _is_empty(&parameter):
            return False
    return True


cdef int _check_media(SipMessage self) except -1:
    # Content-Type where there is a body (RFC 3261 20.15); Accept where it decides (RFC 6665 4.2.1.1)
    cdef int i
    cdef Cursor cur
    if self.body_span.length:
        if not self.first[HEADER_CONTENT_TYPE]:
            return _fail_in(HEADER_CONTENT_TYPE, b"missing", self.body_span.start)
        cur = _first_cursor(self, HEADER_CONTENT_TYPE)
        if not _take_media_range(&cur) or not at_end(&cur):
            return _fail_in(HEADER_CONTENT_TYPE, b"malformed", offset(&cur))
    if self.method_id != METHOD_SUBSCRIBE or not self.first[HEADER_ACCEPT]:
        return 0
    for i in range(self.first[HEADER_ACCEPT] - 1, self.row_count):
        if self.row[i].id != HEADER_ACCEPT:
            continue
        cur = _row_cursor(self, i)
        while left(&cur):
            if not _take_media_range(&cur):
                return _fail_in(HEADER_ACCEPT, b"malformed", offset(&cur))
            if not at_end(&cur) and (not accept(&cur, c",") or at_end(&cur)):
                return _fail_in(HEADER_ACCEPT, b"malformed", offset(&cur))
    return 0


# Digest

cdef const char* next_auth_param(Cursor* cur, Parameter* out) noexcept nogil:
    # auth-param = auth-param-name EQUAL ( token / quoted-string )   RFC 3261 25.1; also steps over LWS behind it.
    # lenient: unquoted values may hold what URIs and base64 hold, since quoting is mistaken in both directions
    cdef Py_ssize_t start
    skip_lws(cur)
    start = offset(cur)
    if run(cur, TOKEN) == 0:
        return b"malformed parameter"
    out.name = span_since(cur, start)
    skip_lws(cur)
    if not accept(cur, c"="):
        return b"parameter without value"
    skip_lws(cur)
    start = offset(cur)
    if peek(cur) == c'"':
        if not _take_quoted(cur):
            return b"malformed quoted string"
    else:
        while run(cur, TOKEN | PARAM | HNV) or accept(cur, c"=") or accept(cur, c"@"):
            pass
        if offset(cur) == start:
            return b"empty parameter value"
    out.value = span_since(cur, start)
    skip_lws(cur)
    return NULL


cdef const char* _find_digest_fault(Cursor cur, Span* scheme, bint* digest) noexcept nogil:
    # credentials = ("Digest" LWS digest-response) / other-response   RFC 3261 25.1; others are not looked into
    cdef Py_ssize_t start = offset(&cur)
    digest[0] = False
    if run(&cur, TOKEN) == 0:
        return b"scheme missing"
    scheme[0] = span_since(&cur, start)
    if not _is(cur.base, scheme[0], b"digest", 6):
        return NULL
    digest[0] = True
    if run(&cur, LWS) == 0:
        return b"parameters missing"
    return _find_auth_params_fault(cur)


cdef const char* _find_auth_params_fault(Cursor cur) noexcept nogil:
    # auth-param *(COMMA auth-param), up to the end; each name once
    cdef Parameter parameter
    cdef Seen seen
    cdef const char* reason
    cdef int i
    seen.count = 0
    while True:
        reason = next_auth_param(&cur, &parameter)
        if reason != NULL:
            return reason
        for i in range(seen.count):
            if seen.name[i].length == parameter.name.length and same_ignoring_case(
                cur.base + seen.name[i].start, cur.base + parameter.name.start, parameter.name.length
            ):
                return b"parameter given twice"
        if seen.count == MAX_PARAMETERS:
            return b"too many parameters"
        seen.name[seen.count] = parameter.name
        seen.count += 1
        if at_end(&cur):
            return NULL
        if not accept(&cur, c","):
            return b"malformed parameter"


cdef int _check_authorization(SipMessage self) except -1:
    cdef int i
    cdef Span scheme
    cdef bint digest = False
    cdef const char* reason
    for i in range(self.first[HEADER_AUTHORIZATION] - 1, self.row_count):
        if self.row[i].id == HEADER_AUTHORIZATION:
            reason = _find_digest_fault(_row_cursor(self, i), &scheme, &digest)
            if reason != NULL:
                return _fail_in(HEADER_AUTHORIZATION, reason, self.row[i].value.start)
    return 0


cdef int _check_require(SipMessage self) except -1:
    # Require = "Require" HCOLON option-tag *(COMMA option-tag), option-tag = token   RFC 3261 25.1
    cdef int i
    cdef Cursor cur
    for i in range(self.first[HEADER_REQUIRE] - 1, self.row_count):
        if self.row[i].id != HEADER_REQUIRE:
            continue
        cur = _row_cursor(self, i)
        while True:
            skip_lws(&cur)
            if run(&cur, TOKEN) == 0:
                return _fail_in(HEADER_REQUIRE, b"malformed", offset(&cur))
            skip_lws(&cur)
            if at_end(&cur):
                break
            if not accept(&cur, c","):
                return _fail_in(HEADER_REQUIRE, b"malformed", offset(&cur))
    return 0


cdef int _parse(SipMessage self, bint stream) except -1:
    cdef Cursor cur = cursor_over(base(self), 0, PyBytes_GET_SIZE(self._data))
    cdef SipUri parts
    cdef int header
    if left(&cur) > MAX_MESSAGE:
        return _fail("message: too large", 0, 513)
    _start_line(self, &cur)
    _index(self, &cur)
    for header in range(HEADER_VIA, HEADER_CSEQ + 1):
        if self.first[header] == 0:
            return _fail_in(header, b"missing", offset(&cur))
    _check_cseq(self)
    _check_vias(self)
    _check_name_addr(self, HEADER_FROM, &self.from_value, &parts)
    _check_name_addr(self, HEADER_TO, &self.to_value, &self.to_uri)
    _check_call_id(self)
    _check_numbers(self)
    if self.first[HEADER_CONTACT]:
        _check_contacts(self)
    _check_body(self, &cur, stream)
    self.has_require = self.first[HEADER_REQUIRE] != 0
    if self.is_request:
        if self.has_require:
            _check_require(self)
        _check_media(self)
        if self.first[HEADER_AUTHORIZATION]:
            _check_authorization(self)
    return 0


# Values

@cython.final
@cython.freelist(16)
cdef class Via:
    """One via-parm (RFC 3261 20.42, RFC 3581)."""

    cdef bytes _data    # owns every span below
    cdef ViaValue _value

    def __init__(self) -> None:
        raise TypeError("read from a SipMessage")

    @property
    def transport(self) -> str:
        """The transport as written: UDP, TCP, TLS, WS ..."""
        return _span_text(<const unsigned char*>PyBytes_AS_STRING(self._data), self._value.transport)

    @property
    def host(self) -> str:
        """The sent-by host, an IPv6 reference with its brackets."""
        return _span_text(<const unsigned char*>PyBytes_AS_STRING(self._data), self._value.host)

    @property
    def port(self) -> int | None:
        """The sent-by port, if one is written."""
        return self._value.port if self._value.port >= 0 else None

    @property
    def branch(self) -> str | None:
        """The branch; None from a peer of RFC 2543."""
        return _optional_text(self._data, self._value.branch)

    @property
    def received(self) -> str | None:
        """The source address an earlier hop saw, as written."""
        return _optional_text(self._data, self._value.received)

    @property
    def rport(self) -> int | None:
        """None without the parameter, 0 if it has no value, else the port (RFC 3581 section 4)."""
        return self._value.rport if self._value.rport >= 0 else None

    @property
    def maddr(self) -> str | None:
        """The address responses are to go to (RFC 3261 18.2.2)."""
        return _optional_text(self._data, self._value.maddr)

    @property
    def ttl(self) -> int | None:
        """The multicast time-to-live."""
        return self._value.ttl if self._value.ttl >= 0 else None

    @property
    def parameters(self) -> tuple[tuple[str, str | None], ...]:
        """All parameters in order, values as written."""
        return _parameters(self._data, self._value.params)

    def __str__(self) -> str:
        return _unfolded_text(<const unsigned char*>PyBytes_AS_STRING(self._data), self._value.value)

    def __repr__(self) -> str:
        return f"Via({str(self)!r})"


@cython.final
@cython.freelist(16)
cdef class NameAddr:
    """A name-addr or addr-spec with its header parameters: To, From, Route, Path ... (RFC 3261 20.10)."""

    cdef bytes _data    # owns every span below
    cdef NameAddrValue _value

    def __init__(self) -> None:
        raise TypeError("read from a SipMessage")

    @property
    def display_name(self) -> str | None:
        """The display name without quotes and backslashes."""
        return _display_name(self._data, self._value.display)

    @property
    def uri(self) -> str:
        """The URI as written, without angle brackets."""
        return _span_text(<const unsigned char*>PyBytes_AS_STRING(self._data), self._value.uri)

    @property
    def tag(self) -> str | None:
        """The tag parameter."""
        return _optional_text(self._data, self._value.tag)

    @property
    def parameters(self) -> tuple[tuple[str, str | None], ...]:
        """All header parameters in order, values as written."""
        return _parameters(self._data, self._value.params)

    def __str__(self) -> str:
        return _unfolded_text(<const unsigned char*>PyBytes_AS_STRING(self._data), self._value.value)

    def __repr__(self) -> str:
        return f"NameAddr({str(self)!r})"


@cython.final
@cython.freelist(16)
cdef class Contact:
    """One contact of a Contact header (RFC 3261 20.10, RFC 5626 section 10)."""

    cdef bytes _data    # owns every span below
    cdef ContactValue _value

    def __init__(self) -> None:
        raise TypeError("read from a SipMessage")

    @property
    def display_name(self) -> str | None:
        """The display name without quotes and backslashes."""
        return _display_name(self._data, self._value.display)

    @property
    def uri(self) -> str:
        """The URI as written, without angle brackets."""
        return _span_text(<const unsigned char*>PyBytes_AS_STRING(self._data), self._value.uri)

    @property
    def q(self) -> int | None:
        """The preference in thousandths, None if unspecified."""
        return self._value.q if self._value.q != Q_UNSPECIFIED else None

    @property
    def expires(self) -> int | None:
        """Delta-seconds asked for; a malformed value reads 3600, an overlarge one 2**32-1 (RFC 3261 10.2.1)."""
        return self._value.expires if self._value.has_expires else None

    @property
    def instance(self) -> str | None:
        """The URN of +sip.instance without quotes and brackets."""
        return _optional_text(self._data, self._value.instance)

    @property
    def reg_id(self) -> int | None:
        """The reg-id, 1 to 2**31-1."""
        return self._value.reg_id if self._value.reg_id else None

    @property
    def parameters(self) -> tuple[tuple[str, str | None], ...]:
        """All other parameters in order, values as written, quotes included."""
        return tuple([
            (name, value)
            for name, value in _parameters(self._data, self._value.params)
            if name.lower() not in ("q", "expires", "+sip.instance", "reg-id")
        ])

    def __str__(self) -> str:
        return _unfolded_text(<const unsigned char*>PyBytes_AS_STRING(self._data), self._value.value)

    def __repr__(self) -> str:
        return f"Contact({str(self)!r})"


@cython.final
cdef class Event:
    """The value of an Event header (RFC 6665 8.2.1).  Package and id are compared octet by octet."""

    cdef readonly str package
    cdef readonly str id
    cdef readonly tuple parameters

    def __init__(self) -> None:
        raise TypeError("read from a SipMessage")

    def __repr__(self) -> str:
        return f"Event(package={self.package!r}, id={self.id!r})"


@cython.final
cdef class SubscriptionState:
    """The value of a Subscription-State header (RFC 6665 8.2.3)."""

    cdef readonly str state
    cdef readonly str reason
    cdef readonly object expires
    cdef readonly object retry_after

    def __init__(self) -> None:
        raise TypeError("read from a SipMessage")

    def __repr__(self) -> str:
        return f"SubscriptionState(state={self.state!r}, reason={self.reason!r}, expires={self.expires!r})"


@cython.final
cdef class DigestCredentials:
    """Credentials or a challenge: a scheme and its parameters (RFC 3261 20.7, 20.44)."""

    cdef readonly str scheme
    cdef readonly dict params

    def __init__(self) -> None:
        raise TypeError("read from a SipMessage")

    def __repr__(self) -> str:
        return f"DigestCredentials(scheme={self.scheme!r})"


cdef inline str _optional_text(bytes data, Span span):
    return _span_text(<const unsigned char*>PyBytes_AS_STRING(data), span) if span.length else None


cdef str _display_name(bytes data, Span display):
    if display.length == 0:
        return None
    return _unquoted_text(<const unsigned char*>PyBytes_AS_STRING(data), display)


cdef tuple _parameters(bytes data, Span params):
    cdef const unsigned char* octets = <const unsigned char*>PyBytes_AS_STRING(data)
    cdef Cursor cur = cursor_of(octets, params)
    cdef Parameter parameter
    cdef Seen seen
    cdef list result = []
    seen.count = 0
    while peek(&cur) == c";" and _next_parameter(&cur, &parameter, &seen) == NULL:
        result.append((
            _span_text(octets, parameter.name),
            _unfolded_text(octets, parameter.value) if parameter.valued else None,
        ))
    return tuple(result)


cdef NameAddr _name_addr(bytes data, const NameAddrValue* value):
    cdef NameAddr result = NameAddr.__new__(NameAddr)
    result._data = data
    result._value = value[0]
    return result


cdef Span _next_item(Cursor* cur) noexcept nogil:
    # The next item of a comma-separated list, without LWS; commas within quotes and angle brackets do not split.
    cdef Cursor item
    cdef Py_ssize_t start
    cdef int octet
    cdef bint quoted = False, bracketed = False
    skip_lws(cur)
    start = offset(cur)
    while not at_end(cur):
        octet = peek(cur)
        if quoted:
            if octet == c"\\":
                take(cur)
            elif octet == c'"':
                quoted = False
        elif octet == c'"':
            quoted = True
        elif octet == c"<":
            bracketed = True
        elif octet == c">":
            bracketed = False
        elif octet == c"," and not bracketed:
            break
        take(cur)
    item = cursor_over(cur.base, start, offset(cur))
    trim_lws(&item)
    accept(cur, c",")
    return span_of(start, start + left(&item))


cdef object _optional_seconds(bytes data, Span span):
    # delta-seconds, None if malformed; overlarge is 2**32-1
    cdef Cursor cur = cursor_of(<const unsigned char*>PyBytes_AS_STRING(data), span)
    cdef uint64_t value = 0
    if not _take_unsigned(&cur, MAX_EXPIRES, &value) or not at_end(&cur):
        return None
    return min(value, <uint64_t>MAX_EXPIRES)


# The message

cdef Span _value_of(SipMessage self, int header) noexcept:
    return self.row[self.first[header] - 1].value if self.first[header] else no_span()


cdef str _text_of(SipMessage self, int header):
    if self.first[header] == 0:
        return None
    return _unfolded_text(base(self), self.row[self.first[header] - 1].value)


cdef list _items_of(SipMessage self, int header):
    cdef list result = []
    cdef Cursor cur
    cdef Span item
    cdef int i
    if self.first[header] == 0:
        return result
    for i in range(self.first[header] - 1, self.row_count):
        if self.row[i].id == header:
            cur = _row_cursor(self, i)
            while not at_end(&cur):
                item = _next_item(&cur)
                if item.length:
                    result.append(_unfolded_text(base(self), item))
    return result


cdef bint is_supported(SipMessage message, const char* tag, Py_ssize_t n) noexcept:
    cdef Cursor cur
    cdef Span item
    cdef int i
    if message.first[HEADER_SUPPORTED] == 0:
        return False
    for i in range(message.first[HEADER_SUPPORTED] - 1, message.row_count):
        if message.row[i].id == HEADER_SUPPORTED:
            cur = _row_cursor(message, i)
            while not at_end(&cur):
                item = _next_item(&cur)
                if <Py_ssize_t>item.length == n and _is(base(message), item, tag, n):
                    return True
    return False


cdef bint _take_listed(Cursor* cur, int header, NameAddrValue* out, SipUri* parts) except -1:
    # One address of a row of many; whether another one follows.
    cdef Py_ssize_t fault = -1
    cdef const char* reason = _take_name_addr(cur, out, parts, &fault)
    if reason != NULL:
        _fail_in(header, reason, offset(cur) if fault < 0 else fault)
    if at_end(cur):
        return False
    if not accept(cur, c","):
        _fail_in(header, b"malformed", offset(cur))
    return True


cdef bint is_loose(SipMessage message, int header) except -1:
    cdef Cursor cur
    cdef NameAddrValue value
    cdef SipUri parts
    cdef bint more
    cdef int i
    for i in range(message.first[header] - 1, message.row_count):
        if message.row[i].id != header:
            continue
        cur = _row_cursor(message, i)
        more = True
        while more:
            more = _take_listed(&cur, header, &value, &parts)
            if parts.kind == SCHEME_OTHER or not _has_uri_parameter(base(message), parts.params, b"lr", 2):
                return False
    return True


cdef list _addresses_of(SipMessage self, int header):
    cdef list result = []
    cdef Cursor cur
    cdef NameAddrValue value
    cdef SipUri parts
    cdef bint more
    cdef int i
    if self.first[header] == 0:
        return result
    for i in range(self.first[header] - 1, self.row_count):
        if self.row[i].id != header:
            continue
        cur = _row_cursor(self, i)
        more = True
        while more:
            more = _take_listed(&cur, header, &value, &parts)
            result.append(_name_addr(self._data, &value))
    return result


cdef list _credentials_of(SipMessage self, int header):
    cdef list result = []
    cdef const unsigned char* octets = base(self)
    cdef DigestCredentials credentials
    cdef Cursor cur
    cdef Span scheme
    cdef bint digest = False
    cdef const char* reason
    cdef int i
    if self.first[header] == 0:
        return result
    for i in range(self.first[header] - 1, self.row_count):
        if self.row[i].id != header:
            continue
        cur = _row_cursor(self, i)
        reason = _find_digest_fault(cur, &scheme, &digest)
        if reason != NULL:
            _fail_in(header, reason, offset(&cur))
        credentials = DigestCredentials.__new__(DigestCredentials)
        credentials.scheme = _span_text(octets, scheme)
        result.append(credentials)
        skip(&cur, scheme.length)
        credentials.params = _auth_params(octets, &cur) if digest else {}
    return result


cdef dict _auth_params(const unsigned char* octets, Cursor* cur):
    # Of a row in which nothing is malformed.
    cdef dict params = {}
    cdef Parameter parameter
    while next_auth_param(cur, &parameter) == NULL:
        params[_span_text(octets, parameter.name).lower()] = _unquoted_text(octets, parameter.value)
        accept(cur, c",")
    return params


cdef list _challenges_of(SipMessage self, int header):
    # What is malformed, or not in UTF-8, is not understood.
    cdef list result = []
    cdef Cursor cur
    cdef Span scheme
    cdef bint digest = False
    cdef int i
    if self.first[header] == 0:
        return result
    for i in range(self.first[header] - 1, self.row_count):
        if self.row[i].id != header:
            continue
        cur = _row_cursor(self, i)
        if _find_digest_fault(cur, &scheme, &digest) != NULL or not digest:
            continue
        skip(&cur, scheme.length)
        try:
            result.append(_auth_params(base(self), &cur))
        except SipParseError:
            continue
    return result


cdef tuple _tail_parameters(SipMessage self, Cursor* cur, int header, Py_ssize_t word):
    # The parameters behind a leading token, up to the end of the row.
    cdef Cursor probe
    cdef Parameter parameter
    cdef Seen seen
    cdef const char* reason
    skip_lws(cur)
    probe = cur[0]
    seen.count = 0
    if word == 0:
        _fail_in(header, b"malformed", offset(cur))
    while peek(&probe) == c";":
        reason = _next_parameter(&probe, &parameter, &seen)
        if reason != NULL:
            _fail_in(header, reason, offset(&probe))
    if not at_end(&probe):
        _fail_in(header, b"malformed", offset(&probe))
    return _parameters(self._data, span_of(offset(cur), offset(&probe)))


cdef int _find(SipMessage self, str name) except -2:
    # Index of the first row of this name, or -1.
    cdef bytes octets = name.encode()
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(octets)
    cdef Py_ssize_t n = PyBytes_GET_SIZE(octets)
    cdef Cursor cur = cursor_over(p, 0, n)
    cdef int i
    if run(&cur, TOKEN) == 0 or not at_end(&cur):
        return -1
    i = _header_id(p, n)
    if i != HEADER_UNKNOWN:
        return self.first[i] - 1
    for i in range(self.row_count):
        if _is_named(self, i, p, n):
            return i
    return -1


cdef bint _is_named(SipMessage self, int i, const unsigned char* p, Py_ssize_t n) noexcept:
    return self.row[i].name.length == n and same_ignoring_case(base(self) + self.row[i].name.start, p, n)


@cython.final
@cython.freelist(64)
cdef class SipMessage:
    """One SIP message: its octets and where its parts are (RFC 3261 section 7).

    Attributes are decoded when they are read, each time anew; keep a value that is read twice.  Text is strict
    UTF-8: reading a header nobody checked raises SipParseError if it is not.
    """

    def __cinit__(self):
        self.row = self.few_rows
        self.contact = self.few_contacts
        self.request_uri_value.port = self.max_forwards_value = -1

    def __init__(self) -> None:
        raise TypeError("use parse_message()")

    def __dealloc__(self):
        if self.row != self.few_rows:
            PyMem_Free(self.row)
        if self.contact != self.few_contacts:
            PyMem_Free(self.contact)

    @property
    def octets(self) -> bytes:
        """The octets given to parse_message."""
        return self._data

    @property
    def method(self) -> str:
        """The method; of a response that of its CSeq."""
        if self.method_id:
            return <str>_METHODS[self.method_id]
        return _span_text(base(self), self.method_span)

    @property
    def request_uri(self) -> str:
        """The Request-URI as written; empty in a response."""
        return _span_text(base(self), self.request_uri_value.text)

    @property
    def request_scheme(self) -> str:
        """The scheme of the Request-URI in lower case."""
        if self.request_uri_value.kind == SCHEME_SIP:
            return "sip"
        if self.request_uri_value.kind == SCHEME_SIPS:
            return "sips"
        return _span_text(base(self), self.request_uri_value.scheme).lower()

    @property
    def request_host(self) -> str:
        """The host of the Request-URI in lower case, IPv6 as RFC 5952 in brackets; empty unless SIP or SIPS."""
        if self.request_uri_value.kind == SCHEME_OTHER:
            return ""
        return host_octets(&self.request_uri_value.host, base(self)).decode("ascii")

    @property
    def request_port(self) -> int | None:
        """The port of the Request-URI, if one is written."""
        return self.request_uri_value.port if self.request_uri_value.port > 0 else None

    @property
    def reason(self) -> str:
        """The reason phrase; empty in a request."""
        return _span_text(base(self), self.reason_span)

    @property
    def version(self) -> str:
        """The SIP version in upper case."""
        return _span_text(base(self), self.version_span).upper()

    @property
    def top_via(self) -> Via:
        """The topmost Via value."""
        cdef Via via
        if self.via_count == 0:
            _fail_in(HEADER_VIA, b"missing", 0)
        via = Via.__new__(Via)
        via._data = self._data
        via._value = self.via
        return via

    @property
    def vias(self) -> list[Via]:
        """All Via values in order."""
        cdef list result = []
        cdef Via via
        cdef Cursor cur
        cdef int i
        if self.via_count == 0:
            return result
        for i in range(self.first[HEADER_VIA] - 1, self.row_count):
            if self.row[i].id == HEADER_VIA:
                cur = _row_cursor(self, i)
                while True:
                    via = Via.__new__(Via)
                    via._data = self._data
                    if _take_via(&cur, &via._value) != NULL:
                        break
                    result.append(via)
                    if not accept(&cur, c","):
                        break
        return result

    @property
    def from_(self) -> NameAddr:
        """The From value."""
        if self.from_value.uri.length == 0:
            _fail_in(HEADER_FROM, b"missing", 0)
        return _name_addr(self._data, &self.from_value)

    @property
    def to(self) -> NameAddr:
        """The To value."""
        if self.to_value.uri.length == 0:
            _fail_in(HEADER_TO, b"missing", 0)
        return _name_addr(self._data, &self.to_value)

    @property
    def aor(self) -> str:
        """The canonical address-of-record of To (RFC 3261 10.3 step 5); SipParseError if that is no SIP URI."""
        return self.canonical_to()

    cdef str canonical_to(self):
        if self.to_uri.kind == SCHEME_OTHER:
            _fail_in(HEADER_TO, b"not a SIP or SIPS URI", self.to_uri.text.start)
        return aor_text(&self.to_uri, base(self))

    @property
    def call_id(self) -> str:
        """The Call-ID, compared octet by octet."""
        return _span_text(base(self), self.call_id_span)

    @property
    def cseq_method(self) -> str:
        """The method of the CSeq."""
        return self.method

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards, None without one."""
        return self.max_forwards_value if self.max_forwards_value >= 0 else None

    @property
    def has_sips_contact(self) -> bool:
        """Whether a contact (of those held) is a SIPS URI."""
        cdef int i
        for i in range(min(self.contact_count, <int>MAX_CONTACTS)):
            if self.contact[i].kind == SCHEME_SIPS:
                return True
        return False

    @property
    def has_reg_id(self) -> bool:
        """Whether a contact (of those held) has a reg-id (RFC 5626 section 4.2)."""
        cdef int i
        for i in range(min(self.contact_count, <int>MAX_CONTACTS)):
            if self.contact[i].reg_id:
                return True
        return False

    @property
    def has_plain_contacts(self) -> bool:
        """Whether no contact (of those held) is a SIPS URI or has a reg-id."""
        return self.contacts_are_plain()

    cdef bint contacts_are_plain(self) noexcept:
        cdef int i
        for i in range(min(self.contact_count, <int>MAX_CONTACTS)):
            if self.contact[i].kind == SCHEME_SIPS or self.contact[i].reg_id:
                return False
        return True

    @property
    def unbinds(self) -> bool:
        """Whether a REGISTER asks for contacts to be taken away and for nothing else (RFC 3261 10.2.2)."""
        cdef ContactValue* contact
        cdef int i
        if self.contact_star:
            return True
        for i in range(min(self.contact_count, <int>MAX_CONTACTS)):
            contact = &self.contact[i]
            if contact.expires if contact.has_expires else self.expires_value or not self.has_expires:
                return False
        return self.contact_count > 0

    @property
    def contacts(self) -> list[Contact]:
        """The contacts in order, at most 32 of them: `contact_count` says how many there are."""
        cdef list result = []
        cdef Contact contact
        cdef int i
        for i in range(min(self.contact_count, <int>MAX_CONTACTS)):
            contact = Contact.__new__(Contact)
            contact._data = self._data
            contact._value = self.contact[i]
            result.append(contact)
        return result

    @property
    def expires(self) -> int | None:
        """The Expires header; malformed reads 3600, overlarge 2**32-1 (RFC 3261 10.2.1)."""
        return self.expires_value if self.has_expires else None

    @property
    def min_expires(self) -> int | None:
        """The Min-Expires header (RFC 3261 20.23), None if absent or malformed."""
        return _optional_seconds(self._data, _value_of(self, HEADER_MIN_EXPIRES))

    @property
    def retry_after(self) -> int | None:
        """The delta-seconds of Retry-After (RFC 3261 20.33), None if absent or malformed."""
        cdef Cursor cur = cursor_of(base(self), _value_of(self, HEADER_RETRY_AFTER))
        cdef Py_ssize_t start = offset(&cur)
        run(&cur, DIGIT)
        return _optional_seconds(self._data, span_since(&cur, start))

    @property
    def event(self) -> Event | None:
        """The Event header; SipParseError if it is malformed."""
        cdef const unsigned char* octets = base(self)
        cdef Cursor cur
        cdef Event event
        cdef Span package
        if self.first[HEADER_EVENT] == 0:
            return None
        cur = _first_cursor(self, HEADER_EVENT)
        package.start = <uint32_t>offset(&cur)
        package.length = <uint32_t>run(&cur, TOKEN)
        event = Event.__new__(Event)
        event.package = _span_text(octets, package)
        event.parameters = _tail_parameters(self, &cur, HEADER_EVENT, package.length)
        event.id = {name.lower(): value for name, value in event.parameters}.get("id")
        return event

    @property
    def subscription_state(self) -> SubscriptionState | None:
        """The Subscription-State header; SipParseError if it is malformed."""
        cdef Cursor cur
        cdef SubscriptionState state
        cdef Span word
        cdef dict parameters
        if self.first[HEADER_SUBSCRIPTION_STATE] == 0:
            return None
        cur = _first_cursor(self, HEADER_SUBSCRIPTION_STATE)
        word.start = <uint32_t>offset(&cur)
        word.length = <uint32_t>run(&cur, TOKEN)
        state = SubscriptionState.__new__(SubscriptionState)
        state.state = _span_text(base(self), word).lower()
        parameters = {
            name.lower(): value
            for name, value in _tail_parameters(self, &cur, HEADER_SUBSCRIPTION_STATE, word.length)
        }
        state.reason = parameters.get("reason")
        state.expires = _seconds_of(parameters.get("expires"))
        state.retry_after = _seconds_of(parameters.get("retry-after"))
        return state

    @property
    def routes(self) -> list[NameAddr]:
        """The Route values in order; SipParseError if one is malformed."""
        return _addresses_of(self, HEADER_ROUTE)

    @property
    def record_routes(self) -> list[NameAddr]:
        """The Record-Route values in order; SipParseError if one is malformed."""
        return _addresses_of(self, HEADER_RECORD_ROUTE)

    @property
    def path(self) -> list[NameAddr]:
        """The Path values in order (RFC 3327); SipParseError if one is malformed."""
        return _addresses_of(self, HEADER_PATH)

    @property
    def service_route(self) -> list[NameAddr]:
        """The Service-Route values in order (RFC 3608); SipParseError if one is malformed."""
        return _addresses_of(self, HEADER_SERVICE_ROUTE)

    @property
    def supported(self) -> list[str]:
        """The option tags of Supported."""
        return _items_of(self, HEADER_SUPPORTED)

    @property
    def require(self) -> list[str]:
        """The option tags of Require."""
        return _items_of(self, HEADER_REQUIRE)

    @property
    def proxy_require(self) -> list[str]:
        """The option tags of Proxy-Require."""
        return _items_of(self, HEADER_PROXY_REQUIRE)

    @property
    def allow_events(self) -> list[str]:
        """The event packages of Allow-Events."""
        return _items_of(self, HEADER_ALLOW_EVENTS)

    @property
    def accept(self) -> list[str]:
        """The media ranges of Accept with their parameters."""
        return _items_of(self, HEADER_ACCEPT)

    @property
    def authorization(self) -> list[DigestCredentials]:
        """The credentials of every Authorization row; only Digest has parameters."""
        return _credentials_of(self, HEADER_AUTHORIZATION)

    @property
    def www_authenticate(self) -> list[DigestCredentials]:
        """The challenges of every WWW-Authenticate row; SipParseError if a Digest one is malformed."""
        return _credentials_of(self, HEADER_WWW_AUTHENTICATE)

    def challenges(self, proxy: bool) -> list[dict[str, str]]:
        """The parameters of each Digest challenge, of a proxy or else of the server; malformed ones are left out."""
        return _challenges_of(self, HEADER_PROXY_AUTHENTICATE if proxy else HEADER_WWW_AUTHENTICATE)

    @property
    def authentication_info(self) -> dict[str, str]:
        """The parameters of Authentication-Info (RFC 7616 section 3.5), empty if it is missing or malformed."""
        cdef Cursor cur
        if self.first[HEADER_AUTHENTICATION_INFO] == 0:
            return {}
        cur = _row_cursor(self, self.first[HEADER_AUTHENTICATION_INFO] - 1)
        if _find_auth_params_fault(cur) != NULL:
            return {}
        try:
            return _auth_params(base(self), &cur)
        except SipParseError:
            return {}

    @property
    def content_type(self) -> str | None:
        """The Content-Type with its parameters."""
        return _text_of(self, HEADER_CONTENT_TYPE)

    @property
    def user_agent(self) -> str | None:
        """The User-Agent; None also if it is not UTF-8, since nothing depends on it."""
        try:
            return _text_of(self, HEADER_USER_AGENT)
        except SipParseError:
            return None

    @property
    def sip_etag(self) -> str | None:
        """The entity-tag of SIP-ETag (RFC 3903)."""
        return _text_of(self, HEADER_SIP_ETAG)

    @property
    def sip_if_match(self) -> str | None:
        """The entity-tag of SIP-If-Match (RFC 3903)."""
        return _text_of(self, HEADER_SIP_IF_MATCH)

    @property
    def body(self) -> bytes:
        """The body."""
        return PyBytes_FromStringAndSize(
            <const char*>base(self) + self.body_span.start, self.body_span.length
        )

    def header(self, name: str) -> str | None:
        """Return the value of the first row of this name, long or compact, unfolded."""
        cdef int i = _find(self, name)
        return _unfolded_text(base(self), self.row[i].value) if i >= 0 else None

    def headers(self, name: str) -> list[str]:
        """Return the values of all rows of this name, unfolded; those of a list header split at its commas."""
        cdef int i = _find(self, name)
        cdef bytes octets
        cdef list result = []
        if i < 0:
            return result
        if self.row[i].id in _LISTS:
            return _items_of(self, self.row[i].id)
        octets = name.encode()
        for i in range(i, self.row_count):
            if self.row[i].id == HEADER_UNKNOWN:
                if not _is_named(self, i, <const unsigned char*>PyBytes_AS_STRING(octets), len(octets)):
                    continue
            elif self.row[i].id != _header_id(<const unsigned char*>PyBytes_AS_STRING(octets), len(octets)):
                continue
            result.append(_unfolded_text(base(self), self.row[i].value))
        return result

    def rows(self) -> list[tuple[str, str]]:
        """Return all header rows in order: the name as written and the value unfolded."""
        cdef int i
        return [
            (_span_text(base(self), self.row[i].name), _unfolded_text(base(self), self.row[i].value))
            for i in range(self.row_count)
        ]

    def __repr__(self) -> str:
        if self.is_request:
            return f"<SipMessage {self.method}, {len(self._data)} octets>"
        return f"<SipMessage {self.status}, {len(self._data)} octets>"


cdef object _seconds_of(str text):
    if text is None or not text.isdecimal() or not text.isascii():
        return None
    return min(int(text[:20]), <uint64_t>MAX_EXPIRES)


def parse_message(data: bytes, *, stream: bool = False) -> SipMessage:
    """Return the message the octets hold; SipParseError says what is wrong and which status is owed.

    A datagram's octets beyond Content-Length are dropped and a body without it runs to the end (RFC 3261 18.3);
    with stream=True Content-Length must be present and exact.  One pass; nothing is decoded yet.
    """
    return message_of(data, stream)


cdef SipMessage message_of(bytes data, bint stream):
    cdef SipMessage message = SipMessage.__new__(SipMessage)
    message._data = data
    message.is_request = True
    try:
        _parse(message, stream)
    except SipParseError as error:
        if not message.is_request or message.method_id == METHOD_ACK:
            error.status = None
        raise
    return message


def salvage(data: bytes) -> SipMessage | None:
    """Return what rows a malformed request has, for the answer to it; None where none may be sent.

    Nothing is checked but what copying needs: rows with a stray CR or a NUL are left out.  top_via, to, from_ and
    cseq are there as far as they parse.
    """
    cdef SipMessage message = SipMessage.__new__(SipMessage)
    cdef Cursor cur
    cdef HeaderRow row
    cdef SipUri parts
    cdef Py_ssize_t start, fault = 0
    cdef uint64_t number = 0
    message._data = data
    message.is_request = message.salvaged = True
    cur = cursor_over(base(message), 0, min(PyBytes_GET_SIZE(data), <Py_ssize_t>MAX_HEADER_SECTION))
    while peek(&cur) == c"\r" and look(&cur, 1) == c"\n":
        skip(&cur, 2)
    start = offset(&cur)
    if run(&cur, TOKEN) == 0 or peek(&cur) != c" ":
        return None
    message.method_span = span_since(&cur, start)
    message.method_id = _method_id(base(message) + start, message.method_span.length)
    if message.method_id == METHOD_ACK or not seek(&cur, c"\n"):
        return None
    take(&cur)
    while not at_end(&cur) and message.row_count < MAX_HEADERS:
        if peek(&cur) == c"\r" and look(&cur, 1) == c"\n":
            break
        if _next_row(&cur, &row) != NULL:
            if not seek(&cur, c"\n"):
                break
            take(&cur)
        elif _is_clean(base(message), row.value):
            _add_row(message, &row)
    if message.first[HEADER_VIA]:
        cur = _first_cursor(message, HEADER_VIA)
        if _take_via(&cur, &message.via) == NULL:
            message.via_count = 1
    if message.first[HEADER_FROM]:
        cur = _first_cursor(message, HEADER_FROM)
        if _take_name_addr(&cur, &message.from_value, &parts, &fault) != NULL:
            message.from_value.uri = message.from_value.tag = no_span()
    if message.first[HEADER_TO]:
        cur = _first_cursor(message, HEADER_TO)
        if _take_name_addr(&cur, &message.to_value, &message.to_uri, &fault) != NULL:
            message.to_value.uri = message.to_value.tag = no_span()
    if message.first[HEADER_CSEQ]:
        cur = _first_cursor(message, HEADER_CSEQ)
        if _take_unsigned(&cur, MAX_EXPIRES, &number) and number <= MAX_EXPIRES:
            message.cseq = <uint32_t>number
    if message.first[HEADER_CALL_ID]:
        message.call_id_span = message.row[message.first[HEADER_CALL_ID] - 1].value
    return message


cdef bint _is_clean(const unsigned char* octets, Span value) noexcept nogil:
    # No NUL, and CR LF only together.
    if memchr(octets + value.start, 0, value.length) != NULL:
        return False
    return not _has_bare_cr(octets + value.start, value.length)


# Streams

@cython.final
cdef class StreamFramer:
    """Cut messages out of a stream by their Content-Length (RFC 3261 18.3), whatever the reads' boundaries.

    Once the framing is lost nothing behind it can be trusted: `feed` raises what is to be answered (400, or 513 for
    a message larger than max_message), now and ever after, and the connection is to be closed.  Messages that were
    whole before are returned first; then `error` is set and the next call raises.
    """

    cdef bytearray _buffer
    cdef Py_ssize_t _max_message
    cdef Py_ssize_t _searched   # octets of the buffer known not to start the end of the header section
    cdef Py_ssize_t _need       # octets of the message at the start of the buffer; 0 while unknown
    cdef int _crlfs             # CRLFs since the last message or ping
    cdef int _pings
    cdef readonly object error

    def __cinit__(self, max_message: int = MAX_MESSAGE):
        self._buffer = bytearray()
        self._max_message = max_message

    @property
    def partial(self) -> bool:
        """Say whether a message has begun and is not whole."""
        return len(self._buffer) > 0

    def take_pings(self) -> int:
        """Return the CRLFCRLF keep-alives seen since the last call (RFC 5626 4.4.1); each is owed one CRLF."""
        cdef int pings = self._pings
        self._pings = 0
        return pings

    def feed(self, data: bytes) -> list[bytes]:
        """Take octets in and return the messages they complete, each exactly its octets."""
        cdef list messages = []
        if self.error is not None:
            raise self.error
        self._buffer += data
        try:
            while self._advance():
                messages.append(bytes(self._buffer[:self._need]))
                del self._buffer[:self._need]
                self._need = self._searched = 0
        except SipParseError as error:
            self.error = error
            self._buffer.clear()
            if not messages:
                raise
        return messages

    cdef bint _advance(self) except -1:
        # True once a whole message of _need octets starts the buffer.
        cdef Py_ssize_t end
        if self._need == 0:
            self._eat_crlfs()
            end = self._buffer.find(b"\r\n\r\n", self._searched, MAX_HEADER_SECTION)
            if end < 0:
                if len(self._buffer) >= MAX_HEADER_SECTION:
                    self._fail("header section: too long", bytes(self._buffer[:MAX_HEADER_SECTION]), 400)
                self._searched = max(len(self._buffer) - 3, 0)
                return False
            self._need = self._message_length(bytes(self._buffer[:end + 4]))
        return len(self._buffer) >= self._need

    cdef int _eat_crlfs(self) except -1:
        # CRLFs before a start line are no part of it (RFC 3261 7.5); two in a row are a keep-alive.
        cdef Py_ssize_t n = 0
        while self._buffer.startswith(b"\r\n", n):
            n += 2
            self._crlfs += 1
            if self._crlfs == 2:
                self._crlfs = 0
                self._pings += 1
        if n:
            del self._buffer[:n]
        if len(self._buffer) > 1:
            self._crlfs = 0
        return 0

    cdef Py_ssize_t _message_length(self, bytes head) except -1:
        cdef Cursor cur = cursor_over(<const unsigned char*>PyBytes_AS_STRING(head), 0, PyBytes_GET_SIZE(head))
        cdef Cursor digits
        cdef HeaderRow row
        cdef uint64_t length = 0
        cdef bint found = False
        if _has_stray_line_end(cur.base, PyBytes_GET_SIZE(head)):
            # Where its lines end, another reader may see other rows: two lengths, two framings.
            self._fail("header section: CR or LF outside a line end", head, 400)
        seek(&cur, c"\n")
        take(&cur)
        while peek(&cur) != c"\r":
            if _next_row(&cur, &row) != NULL:
                # Not a row: the parser will say so, unless the framing is lost as well.
                seek(&cur, c"\n")
                take(&cur)
                continue
            if row.id != HEADER_CONTENT_LENGTH:
                continue
            if found:
                self._fail("Content-Length: given twice", head, 400)
            digits = cursor_of(cur.base, row.value)
            if not _take_unsigned(&digits, MAX_EXPIRES, &length) or not at_end(&digits):
                self._fail("Content-Length: malformed", head, 400)
            found = True
        if not found:
            self._fail("Content-Length: missing", head, 400)
        if length > <uint64_t>self._max_message or PyBytes_GET_SIZE(head) + <Py_ssize_t>length > self._max_message:
            self._fail("message: too large", head, 513)
        return PyBytes_GET_SIZE(head) + <Py_ssize_t>length

    cdef int _fail(self, str reason, bytes head, object status) except -1:
        raise SipParseError(reason, status=status, head=head)
