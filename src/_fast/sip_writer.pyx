"""Messages out: responses made from their requests, requests made from parts.

What a response owes to its request is copied as octets and not understood (RFC 3261 section 8.2.6.2); that works
for requests which could not be parsed, too.  Whatever a caller gives is refused if it could end a line, and what is
copied is unfolded, so that no value can become a header.
"""

from collections.abc import Callable, Sequence

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeASCII
from libc.stdint cimport UINT32_MAX, int64_t, uint8_t
from libc.string cimport memchr, memcmp

from reginfo._fast._chars cimport TOKEN, same_ignoring_case
from reginfo._fast._cursor cimport (
    Cursor,
    Span,
    accept,
    at_end,
    cursor_over,
    offset,
    peek,
    run,
    seek,
    skip_lws,
    span_since,
    take,
)
from reginfo._fast._record cimport (
    DISPLAY_NAME,
    PARAMS,
    Q_UNSPECIFIED,
    URI,
    record_head,
    record_is_sound,
    record_rows,
    row_has_gruu,
    row_head,
    row_is_hidden,
    row_is_local,
    row_is_published,
    row_size,
    row_text,
)
from reginfo._fast._writer cimport (
    Writer,
    put,
    put_octet,
    put_unsigned,
    writer_free,
    writer_init,
    writer_take,
)
from reginfo._fast.datagrams cimport UDP, Flow
from reginfo._fast.gruu cimport gruu_params
from reginfo._fast.sip_parser cimport (
    HEADER_CALL_ID,
    HEADER_CSEQ,
    HEADER_FROM,
    HEADER_PATH,
    HEADER_TIMESTAMP,
    HEADER_TO,
    HEADER_VIA,
    HeaderRow,
    SipMessage,
    base,
    is_supported,
    unfolded,
)
from reginfo._fast.uri cimport Host, find_host_fault, host_octets

# Default reason phrases: RFC 3261 section 21, and the RFCs that added a code.
_REASONS: dict[int, str] = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    204: "No Notification",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    412: "Conditional Request Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    421: "Extension Required",
    423: "Interval Too Brief",
    430: "Flow Failed",
    439: "First Hop Lacks Outbound Support",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    493: "Undecipherable",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
}

# A code without a phrase of its own is its class's x00 (RFC 3261 section 8.1.3.2), and so is its phrase.
cdef list _STATUS_LINES = [
    f"SIP/2.0 {status} {_REASONS.get(status) or _REASONS[status // 100 * 100]}\r\n".encode() if status >= 100 else None
    for status in range(700)
]


cdef int refuse_line_end(const char* octets, Py_ssize_t n, str what) except -1:
    if memchr(octets, 0x0D, n) != NULL or memchr(octets, 0x0A, n) != NULL or memchr(octets, 0, n) != NULL:
        raise ValueError(f"{what}: CR, LF or NUL")
    return 0


cdef int put_text(Writer* w, str text, str what) except -1:
    # What a caller gave.
    cdef Py_ssize_t n
    cdef const char* octets = PyUnicode_AsUTF8AndSize(text, &n)
    refuse_line_end(octets, n, what)
    return put(w, octets, n)


cdef int put_token(Writer* w, str text, str what) except -1:
    cdef Py_ssize_t n
    cdef const char* octets = PyUnicode_AsUTF8AndSize(text, &n)
    cdef Cursor cur = cursor_over(<const uint8_t*>octets, 0, n)
    run(&cur, TOKEN)
    if n == 0 or not at_end(&cur):
        raise ValueError(f"{what}: not a token")
    return put(w, octets, n)


cdef inline bint has_line_end(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    return memchr(p, 0x0D, n) != NULL or memchr(p, 0x0A, n) != NULL


cdef inline int put_copy(Writer* w, const uint8_t* p, Py_ssize_t n) except -1:
    # What a message says, in one line.
    if has_line_end(p, n):
        return put_unfolded(w, p, n)
    return put(w, p, n)


cdef int put_unfolded(Writer* w, const uint8_t* p, Py_ssize_t n) except -1:
    cdef bytes text = unfolded(p, n)
    # A row that was never validated may hold line ends that are no folds.
    if has_line_end(<const uint8_t*>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)):
        text = text.replace(b"\r", b" ").replace(b"\n", b" ")
    return put(w, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


cdef int put_headers(Writer* w, headers: Sequence[tuple[str, str]]) except -1:
    cdef str name, value
    for name, value in headers:
        if len(name) == 14 and name.lower() == "content-length":
            raise ValueError("Content-Length is the writer's")
        put_token(w, name, "header name")
        put(w, b": ", 2)
        put_text(w, value, name)
        put(w, b"\r\n", 2)
    return 0


cdef int put_end(Writer* w, bytes body) except -1:
    put(w, b"Content-Length: ", 16)
    put_unsigned(w, PyBytes_GET_SIZE(body))
    put(w, b"\r\n\r\n", 4)
    return put(w, PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))


# -- contacts ----------------------------------------------------------------------------------------------

cdef int put_q(Writer* w, int thousandths) except -1:
    # qvalue without trailing zeros.
    if thousandths >= 1000:
        return put_octet(w, 0x31)
    put_octet(w, 0x30)
    if thousandths == 0:
        return 0
    put_octet(w, 0x2E)
    put_octet(w, <unsigned char>(0x30 + thousandths // 100))
    if thousandths % 100:
        put_octet(w, <unsigned char>(0x30 + thousandths // 10 % 10))
        if thousandths % 10:
            put_octet(w, <unsigned char>(0x30 + thousandths % 10))
    return 0


cdef bint is_listed(const uint8_t* record, const uint8_t* peer_row, int64_t now_ms) noexcept nogil:
    # Whether a row of another origin is the one that speaks for its contact: a peer's, not behind a tombstone, with no
    # local row of that contact and none of a peer that was told later.
    cdef const uint8_t* row = record_rows(record)
    cdef int left = record_head(record).rows
    if row_is_published(peer_row) or row_is_hidden(peer_row):
        return False
    while left:
        if (
            row != peer_row
            and row_head(row).contact_id == row_head(peer_row).contact_id
            and row_head(row).expires_at > now_ms
            and not row_is_published(row)
            and not row_is_hidden(row)
            and (
                row_is_local(row)
                or row_head(row).updated_at > row_head(peer_row).updated_at
                or (row_head(row).updated_at == row_head(peer_row).updated_at and row < peer_row)
            )
        ):
            return False
        row = &row[row_size(row)]
        left -= 1
    return True


cdef int write_contacts(Writer* w, bytes record, int64_t now_ms, str aor, object mint) except -1:
    # One Contact row per contact that lives here or at a peer, with the seconds it has left (RFC 3261 section 10.3
    # step 8), and with its GRUUs for the AoR of the request if they are asked for (RFC 5627 section 5.3).
    cdef const uint8_t* octets = <const uint8_t*>PyBytes_AS_STRING(record)
    cdef const uint8_t* row
    cdef int left
    cdef int64_t seconds
    cdef bytes gruus
    cdef Py_ssize_t identity_length = 0
    cdef const uint8_t* identity = NULL
    if mint is not None:
        identity = <const uint8_t*>PyUnicode_AsUTF8AndSize(aor, &identity_length)
    if not record_is_sound(octets, PyBytes_GET_SIZE(record)):
        raise ValueError("corrupt record")
    row = record_rows(octets)
    left = record_head(octets).rows
    while left:
        if row_head(row).expires_at > now_ms and (row_is_local(row) or is_listed(octets, row, now_ms)):
            seconds = (row_head(row).expires_at - now_ms - 1) // 1000 + 1
            put(w, b"Contact: ", 9)
            if row_head(row).lengths[DISPLAY_NAME]:
                put_copy(w, row_text(row, DISPLAY_NAME), row_head(row).lengths[DISPLAY_NAME])
                put_octet(w, 0x20)
            put_octet(w, 0x3C)
            put_copy(w, row_text(row, URI), row_head(row).lengths[URI])
            put(w, b">;expires=", 10)
            put_unsigned(w, min(seconds, <int64_t>UINT32_MAX))
            if row_head(row).q != Q_UNSPECIFIED:
                put(w, b";q=", 3)
                put_q(w, row_head(row).q)
            put_copy(w, row_text(row, PARAMS), row_head(row).lengths[PARAMS])
            if mint is not None and row_has_gruu(row):
                gruus = gruu_params(octets, row, identity, identity_length, mint, False)
                put(w, PyBytes_AS_STRING(gruus), PyBytes_GET_SIZE(gruus))
            put(w, b"\r\n", 2)
        row = &row[row_size(row)]
        left -= 1
    return 0


# -- Via and To --------------------------------------------------------------------------------------------

cdef bint seek_outside_quotes(Cursor* cur, int octet, int other) noexcept nogil:
    # Move to the next of two octets that is not part of a quoted-string; without one, to the end.
    cdef int found
    while not at_end(cur):
        found = peek(cur)
        if found == octet or found == other:
            return True
        take(cur)
        if found == 0x22:
            while not at_end(cur):
                found = take(cur)
                if found == 0x22:
                    break
                if found == 0x5C:
                    take(cur)
    return False


cdef bint is_source(const uint8_t* p, Span host, Flow source):
    # True if this sent-by host is the address the packet came from, whatever its spelling.
    cdef Cursor cur
    cdef Host parsed
    cdef bytes canonical
    if host.length and p[host.start] == 0x5B:
        cur = cursor_over(p, host.start, host.start + host.length)
        if find_host_fault(&cur, &parsed) != NULL:
            return False
        canonical = host_octets(&parsed, p)
        return canonical[1 : len(canonical) - 1] == source.host_octets[: source.host_length]
    return host.length == source.host_length and memcmp(&p[host.start], source.host_octets, host.length) == 0


cdef int put_top_via(Writer* w, SipMessage request, Span value, Flow source) except -1:
    # RFC 3261 section 18.2.1 and RFC 3581 section 4: received and rport say where the request came from.
    cdef const uint8_t* p = base(request)
    cdef Py_ssize_t stop = value.start + value.length
    cdef Py_ssize_t start, via_stop, after_name
    cdef Span name
    cdef Cursor cur
    if request.salvaged:
        cur = cursor_over(p, value.start, stop)
        seek_outside_quotes(&cur, 0x2C, 0x2C)
        via_stop = offset(&cur)
    else:
        via_stop = request.via.value.start + request.via.value.length
        if request.via.rport != 0 and is_source(p, request.via.host, source):
            return put_copy(w, &p[value.start], value.length)
    cur = cursor_over(p, value.start, via_stop)
    seek_outside_quotes(&cur, 0x3B, 0x3B)
    put_copy(w, &p[value.start], offset(&cur) - value.start)
    while not at_end(&cur):
        start = offset(&cur)
        take(&cur)
        skip_lws(&cur)
        name.start = <unsigned int>offset(&cur)
        run(&cur, TOKEN)
        name = span_since(&cur, name.start)
        skip_lws(&cur)
        after_name = offset(&cur)
        seek_outside_quotes(&cur, 0x3B, 0x3B)
        if name.length == 8 and same_ignoring_case(&p[name.start], b"received", 8):
            continue    # the sender cannot know; ours follows
        if name.length == 5 and offset(&cur) == after_name and same_ignoring_case(&p[name.start], b"rport", 5):
            put(w, b";rport=", 7)
            put_unsigned(w, source.remote_port)
            continue
        put_copy(w, &p[start], offset(&cur) - start)
    put(w, b";received=", 10)
    put(w, source.host_octets, source.host_length)
    return put_copy(w, &p[via_stop], stop - via_stop)


cdef bint has_tag(SipMessage request, Span value) noexcept:
    # Whether this To row carries a tag, also where the parser gave up on it.
    cdef const uint8_t* p = base(request)
    cdef Py_ssize_t stop = value.start + value.length
    cdef Cursor cur
    cdef Py_ssize_t start
    if not request.salvaged:
        return request.to_value.tag.length != 0
    cur = cursor_over(p, value.start, stop)
    # After the angle brackets if there are any: a ";" within them belongs to the URI.
    if seek_outside_quotes(&cur, 0x3C, 0x3C):
        seek(&cur, 0x3E)
    else:
        cur = cursor_over(p, value.start, stop)
    while seek_outside_quotes(&cur, 0x3B, 0x3B):
        take(&cur)
        skip_lws(&cur)
        start = offset(&cur)
        run(&cur, TOKEN)
        if offset(&cur) - start == 3 and same_ignoring_case(&p[start], b"tag", 3):
            skip_lws(&cur)
            if accept(&cur, 0x3D):
                return True
    return False


# -- messages ----------------------------------------------------------------------------------------------

def received_uri(request: SipMessage, source: Flow) -> str:
    """Return the source of a request as a SIP URI if its top Via names another host, else an empty string."""
    return received_uri_(request, source)


cdef str received_uri_(SipMessage request, Flow source):
    cdef Writer w
    cdef bint six
    if is_source(base(request), request.via.host, source):
        return ""
    six = memchr(source.host_octets, c":", source.host_length) != NULL
    writer_init(&w)     # nothing of this is longer than what it holds in itself
    put(&w, b"sip:[", 5 if six else 4)
    put(&w, source.host_octets, source.host_length)
    put(&w, b"]:" if six else b":", 2 if six else 1)
    put_unsigned(&w, source.remote_port)
    where = PyUnicode_DecodeASCII(<const char*>w.data, w.size, NULL)
    return where if source.kind == UDP else f"{where};transport={source.transport}"


def write_response(
    request: SipMessage,
    status: int,
    reason: str | None = None,
    *,
    to_tag: str = "",
    source: Flow | None = None,
    headers: Sequence[tuple[str, str]] = (),
    listing: bytes | None = None,
    now_ms: int64_t = 0,
    date: bytes = b"",
    body: bytes = b"",
    granted: bytes | None = None,
    mint: Callable[[int, bytes, int], bytes] | None = None,
) -> bytes:
    """Return the response to a request (RFC 3261 section 8.2.6).

    Every Via, From, To, Call-ID and CSeq are the request's; the top Via says where the request came from if source
    is given, and To gains to_tag if it has no tag and the response is not a 100.  listing is a record whose local
    bindings are listed as of now_ms.  granted says that a REGISTER is granted, which repeats its Path (RFC 3327
    section 5.3), and holds the rows of write_headers() that every such response has.  mint(index, Call-ID, CSeq)
    returns the user of a temporary GRUU, and GRUUs are listed for who says Supported: gruu.  ValueError for a value
    that holds CR, LF or NUL.
    """
    return response_to(request, status, reason, to_tag, source, headers, listing, now_ms, date, body, granted, mint)


cdef int put_copied(
    Writer* w, SipMessage request, int code, str reason, str to_tag, Flow source, bint is_granted
) except -1:
    cdef const uint8_t* p = base(request)
    cdef const HeaderRow* row
    cdef Span value
    cdef unsigned int seen = 0      # bits of the single headers copied: a response has one of each
    cdef bint top = True
    cdef bytes line
    cdef int i
    cdef int header
    if not request.is_request:
        raise ValueError("a response answers a request")
    if not 100 <= code <= 699:
        raise ValueError("status: not between 100 and 699")
    if reason is None:
        line = _STATUS_LINES[code]
        put(w, PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line))
    else:
        put(w, b"SIP/2.0 ", 8)
        put_unsigned(w, code)
        put_octet(w, 0x20)
        put_text(w, reason, "reason")
        put(w, b"\r\n", 2)
    for i in range(request.row_count):
        row = &request.row[i]
        header = row.id
        value = row.value
        if header == HEADER_VIA:
            put(w, b"Via: ", 5)
            if top and source is not None:
                put_top_via(w, request, value, source)
            else:
                put_copy(w, &p[value.start], value.length)
            top = False
        elif header == HEADER_FROM or header == HEADER_CALL_ID or header == HEADER_CSEQ or header == HEADER_TO:
            if seen & 1 << header:
                continue
            seen |= 1 << header
            if header == HEADER_FROM:
                put(w, b"From: ", 6)
            elif header == HEADER_TO:
                put(w, b"To: ", 4)
            elif header == HEADER_CALL_ID:
                put(w, b"Call-ID: ", 9)
            else:
                put(w, b"CSeq: ", 6)
            put_copy(w, &p[value.start], value.length)
            if header == HEADER_TO and code != 100 and to_tag and not has_tag(request, value):
                put(w, b";tag=", 5)
                put_token(w, to_tag, "to_tag")
        elif header == HEADER_PATH and is_granted:
            put(w, b"Path: ", 6)
            put_copy(w, &p[value.start], value.length)
        elif header == HEADER_TIMESTAMP and code == 100:
            put(w, b"Timestamp: ", 11)
            put_copy(w, &p[value.start], value.length)
        else:
            continue
        put(w, b"\r\n", 2)
    return 0


cdef bytes response_to(
    SipMessage request,
    int code,
    str reason,
    str to_tag,
    Flow source,
    object headers,
    bytes listing,
    int64_t now_ms,
    bytes date,
    bytes body,
    bytes granted,
    object mint,
):
    cdef Writer w
    writer_init(&w)
    try:
        put_copied(&w, request, code, reason, to_tag, source, granted is not None)
        if listing is not None:
            if mint is not None and is_supported(request, b"gruu", 4):
                write_contacts(&w, listing, now_ms, request.canonical_to(), mint)
            else:
                write_contacts(&w, listing, now_ms, None, None)
        if date:
            refuse_line_end(PyBytes_AS_STRING(date), PyBytes_GET_SIZE(date), "Date")
            put(&w, b"Date: ", 6)
            put(&w, PyBytes_AS_STRING(date), PyBytes_GET_SIZE(date))
            put(&w, b"\r\n", 2)
        if granted is not None:
            put(&w, PyBytes_AS_STRING(granted), PyBytes_GET_SIZE(granted))
        put_headers(&w, headers)
        put_end(&w, body)
        return writer_take(&w)
    finally:
        writer_free(&w)


cdef int put_request_line(Writer* w, str method, str uri) except -1:
    cdef Py_ssize_t n, i
    cdef const char* octets = PyUnicode_AsUTF8AndSize(uri, &n)
    if n == 0:
        raise ValueError("uri: empty")
    for i in range(n):
        if <uint8_t>octets[i] <= 0x20 or octets[i] == 0x7F:
            raise ValueError("uri: blank or control octet")
    put_token(w, method, "method")
    put_octet(w, 0x20)
    put(w, octets, n)
    return put(w, b" SIP/2.0\r\n", 10)


def write_headers(headers: Sequence[tuple[str, str]]) -> bytes:
    """Return header rows in the order given, for write_request_rows(); ValueError for a CR, LF or NUL in a value."""
    cdef Writer w
    writer_init(&w)
    try:
        put_headers(&w, headers)
        return writer_take(&w)
    finally:
        writer_free(&w)


def write_request_rows(method: str, uri: str, via: str, rows: bytes, body: bytes = b"") -> bytes:
    """Return a request made of its Via and the rows of write_headers(), which can serve several requests.

    ValueError for a via that holds CR, LF or NUL, and for a method or URI that is more than one word.
    """
    return request_of(method, uri, via, rows, body)


cdef bytes request_of(str method, str uri, str via, bytes rows, bytes body):
    cdef Writer w
    writer_init(&w)
    try:
        put_request_line(&w, method, uri)
        put(&w, b"Via: ", 5)
        put_text(&w, via, "Via")
        put(&w, b"\r\n", 2)
        put(&w, PyBytes_AS_STRING(rows), PyBytes_GET_SIZE(rows))
        put_end(&w, body)
        return writer_take(&w)
    finally:
        writer_free(&w)


def write_request(
    method: str,
    uri: str,
    headers: Sequence[tuple[str, str]],
    body: bytes = b"",
) -> bytes:
    """Return a request made of its parts, headers in the order given (RFC 3261 section 7.1).

    ValueError for a value that holds CR, LF or NUL, and for a method or URI that is more than one word.
    """
    cdef Writer w
    writer_init(&w)
    try:
        put_request_line(&w, method, uri)
        put_headers(&w, headers)
        put_end(&w, body)
        return writer_take(&w)
    finally:
        writer_free(&w)
