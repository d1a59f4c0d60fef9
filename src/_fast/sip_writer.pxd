"""Writing messages, for extensions that answer and ask many, and values that documents show as well."""

from libc.stdint cimport int64_t

from reginfo._fast._writer cimport Writer
from reginfo._fast.datagrams cimport Flow
from reginfo._fast.sip_parser cimport SipMessage

# What write_response does; reason, source and listing may be None.
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
)

# The status line of a response and the rows that it has of its request.
cdef int put_copied(
    Writer* w, SipMessage request, int code, str reason, str to_tag, Flow source, bint is_granted
) except -1

# What write_request_rows does.
cdef bytes request_of(str method, str uri, str via, bytes rows, bytes body)

# Content-Length, the empty line and the body.
cdef int put_end(Writer* w, bytes body) except -1

# What received_uri does.
cdef str received_uri_(SipMessage request, Flow source)

# A qvalue of so many thousandths, without trailing zeros.
cdef int put_q(Writer* w, int thousandths) except -1
