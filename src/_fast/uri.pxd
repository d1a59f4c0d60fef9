"""SIP URIs for other extensions: scanning to spans, equality, the canonical AoR."""

from libc.stdint cimport int32_t, uint8_t

from reginfo._fast._cursor cimport Cursor, Span

cdef enum:
    MAX_URI = 65535         # octets of one URI, which keeps every span in range
    MAX_PARAMETERS = 64     # of one URI (header components alike) or value: bounds the search for duplicates

cdef enum:
    SCHEME_OTHER = 0
    SCHEME_SIP = 1
    SCHEME_SIPS = 2

cdef enum:
    HOST_NAME = 0
    HOST_IPV4 = 1
    HOST_IPV6 = 2


cdef struct Host:
    Span text                   # as written, an IPv6 reference with its brackets
    uint8_t kind                # HOST_*
    unsigned char[16] address   # network order: 4 octets of IPv4, 16 of IPv6


cdef struct SipUri:
    Span text                   # the whole URI
    Span scheme
    Span user                   # as written, ";x=y" included, without the password
    Span password
    Host host
    Span params                 # from the first ";" on, empty without parameters
    Span headers                # after the "?"
    int32_t port                # -1 absent
    uint8_t kind                # SCHEME_*; of SCHEME_OTHER only text and scheme are set
    uint8_t has_user
    uint8_t has_password
    uint8_t has_headers


# Scan the n octets at p as one URI; spans count from p.  Raises SipParseError (status 400).
cdef int scan_uri(const unsigned char* p, Py_ssize_t n, SipUri* out) except -1

# The same with spans counted from base: base[start:stop] is the URI.  Returns NULL, or the reason, with its place
# in *fault.
cdef const char* find_uri_fault(
    const unsigned char* base, Py_ssize_t start, Py_ssize_t stop, SipUri* out, Py_ssize_t* fault
) noexcept nogil

# port = 1*DIGIT at the cursor; -1 outside 1-65535.
cdef int take_port(Cursor* cur) noexcept nogil

# Scan a host at the cursor and step over it.  NULL, or the reason.
cdef const char* find_host_fault(Cursor* cur, Host* out) noexcept nogil

# RFC 3261 section 19.1.4; never raises: octet identity first, and all there is for what does not scan.
cdef bint uri_octets_equal(
    const unsigned char* a, Py_ssize_t n, const unsigned char* b, Py_ssize_t m
) noexcept nogil

# The canonical AoR `sip:user@host[:port]` of a SIP or SIPS URI; base is what the spans count from.
cdef bytes aor_octets(const SipUri* uri, const unsigned char* base)
cdef str aor_text(const SipUri* uri, const unsigned char* base)

# Host as an AoR shows it: lower case, IPv4 in plain digits, IPv6 in RFC 5952 form within brackets.
cdef bytes host_octets(const Host* host, const unsigned char* base)
