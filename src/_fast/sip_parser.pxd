"""Layout of parsed messages, for extensions that read spans without making objects.

Every span of a SipMessage counts from the start of its octets: `base(message)`.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t

from reginfo._fast._cursor cimport Cursor, Span
from reginfo._fast.uri cimport SipUri

cdef enum:
    MAX_HEADERS = 128           # rows of one message
    MAX_HEADER_SECTION = 16384  # octets of the start line and all rows
    MAX_VIAS = 70
    MAX_CONTACTS = 32           # contacts held of one message; the others are checked and counted
    MAX_CALL_ID = 256

cdef enum:
    FEW_HEADERS = 32            # rows and contacts a message holds in itself; one with more allocates
    FEW_CONTACTS = 2

cdef enum:
    Q_UNSPECIFIED = 0xFFFF

# Headers the parser knows.  The order is that of _NAMES in sip_parser.pyx.
cdef enum:     # HeaderId
    HEADER_UNKNOWN = 0
    HEADER_VIA
    HEADER_FROM
    HEADER_TO
    HEADER_CALL_ID
    HEADER_CSEQ
    HEADER_MAX_FORWARDS
    HEADER_CONTACT
    HEADER_EXPIRES
    HEADER_CONTENT_LENGTH
    HEADER_CONTENT_TYPE
    HEADER_USER_AGENT
    HEADER_AUTHORIZATION
    HEADER_SUPPORTED
    HEADER_ALLOW
    HEADER_ROUTE
    HEADER_RECORD_ROUTE
    HEADER_PATH
    HEADER_SERVICE_ROUTE
    HEADER_REQUIRE
    HEADER_PROXY_REQUIRE
    HEADER_UNSUPPORTED
    HEADER_ACCEPT
    HEADER_ACCEPT_ENCODING
    HEADER_ACCEPT_LANGUAGE
    HEADER_EVENT
    HEADER_ALLOW_EVENTS
    HEADER_SUBSCRIPTION_STATE
    HEADER_SIP_ETAG
    HEADER_SIP_IF_MATCH
    HEADER_MIN_EXPIRES
    HEADER_RETRY_AFTER
    HEADER_WWW_AUTHENTICATE
    HEADER_PROXY_AUTHENTICATE
    HEADER_PROXY_AUTHORIZATION
    HEADER_AUTHENTICATION_INFO
    HEADER_CONTENT_ENCODING
    HEADER_CONTENT_LANGUAGE
    HEADER_CONTENT_DISPOSITION
    HEADER_DATE
    HEADER_SUBJECT
    HEADER_TIMESTAMP
    HEADER_SERVER
    HEADER_WARNING
    HEADER_FLOW_TIMER
    HEADER_COUNT

# Methods of RFC 3261, 3262, 3311, 3428, 3515, 3903, 6086 and 6665.  The order is that of _METHODS in sip_parser.pyx.
cdef enum:     # MethodId
    METHOD_UNKNOWN = 0
    METHOD_REGISTER
    METHOD_SUBSCRIBE
    METHOD_NOTIFY
    METHOD_PUBLISH
    METHOD_OPTIONS
    METHOD_INVITE
    METHOD_ACK
    METHOD_BYE
    METHOD_CANCEL
    METHOD_MESSAGE
    METHOD_INFO
    METHOD_PRACK
    METHOD_UPDATE
    METHOD_REFER
    METHOD_COUNT


cdef struct HeaderRow:
    Span name                   # as written
    Span value                  # without LWS around it; folds are still in it
    int id                      # HeaderId


cdef struct ViaValue:
    Span value                  # the whole via-parm
    Span transport
    Span host                   # an IPv6 reference with its brackets
    Span branch
    Span received
    Span maddr
    Span params                 # from the first ";" on
    int32_t port                # -1 absent
    int32_t rport               # -1 absent, 0 without value
    int32_t ttl                 # -1 absent


cdef struct NameAddrValue:
    Span value                  # the whole name-addr or addr-spec with its parameters
    Span display                # as written, a quoted-string with its quotes
    Span uri                    # without the angle brackets
    Span params                 # from the first ";" on
    Span tag


cdef struct Parameter:
    Span name
    Span value                  # a quoted-string with its quotes
    bint valued


cdef struct ContactValue:
    Span value
    Span display                # as written, a quoted-string with its quotes
    Span uri                    # without the angle brackets
    Span params                 # from the first ";" on, q and expires included
    Span instance               # the URN within "<...>" of +sip.instance
    uint32_t expires            # RFC 3261 10.2.1: malformed is 3600, overlarge is 2**32-1
    uint32_t reg_id             # 0 absent
    uint16_t q                  # thousandths, or Q_UNSPECIFIED
    uint8_t has_expires
    uint8_t kind                # SCHEME_* of the URI
    uint8_t is_bulk             # the URI has a parameter bnc (RFC 6140 section 5.1)


cdef class SipMessage:
    cdef bytes _data                            # owns every span below
    cdef readonly bint is_request
    cdef readonly bint contact_star
    cdef readonly bint has_require
    cdef readonly bint salvaged                 # made by salvage(): only the rows are to be trusted
    cdef readonly int contact_count             # may exceed MAX_CONTACTS
    cdef readonly int via_count
    cdef readonly int status                    # 0 in a request
    cdef int method_id                          # MethodId; of a response that of its CSeq
    cdef int row_count
    cdef int max_forwards_value                 # -1 absent
    cdef bint has_expires
    cdef uint32_t expires_value                 # RFC 3261 10.2.1 as for contacts
    cdef readonly uint32_t cseq
    cdef Span method_span                       # of a response that of its CSeq
    cdef Span version_span
    cdef Span reason_span
    cdef Span call_id_span
    cdef Span body_span
    cdef SipUri request_uri_value
    cdef SipUri to_uri
    cdef ViaValue via                           # the topmost
    cdef NameAddrValue from_value
    cdef NameAddrValue to_value
    cdef uint8_t[HEADER_COUNT] first            # 1 + index of the first row of each header, 0 without one
    cdef HeaderRow* row                         # row_count of them
    cdef ContactValue* contact                  # contact_count of them, at most MAX_CONTACTS
    cdef HeaderRow[FEW_HEADERS] few_rows
    cdef ContactValue[FEW_CONTACTS] few_contacts

    cdef str canonical_to(self)
    cdef bint contacts_are_plain(self) noexcept     # has_plain_contacts


cdef inline const unsigned char* base(SipMessage message) noexcept:
    return <const unsigned char*>PyBytes_AS_STRING(message._data)


# Every contact-param of contact[i] but q, expires, GRUUs and, unless it counts, reg-id, as written but for LWS:
# b";a=b;c", a record's params.
cdef bytes contact_params(SipMessage message, int i, bint with_reg_id)

# A span with each fold made one SP.
cdef bytes unfolded(const unsigned char* octets, Py_ssize_t n)

# Whether an option-tag is in Supported.
cdef bint is_supported(SipMessage message, const char* tag, Py_ssize_t n) noexcept

# Whether every URI of a list of addresses (Path) is a loose router's, with ;lr.  SipParseError for what is no list.
cdef bint is_loose(SipMessage message, int header) except -1

# What parse_message does.
cdef SipMessage message_of(bytes data, bint stream)

# A quoted-string without its quotes and backslashes; anything else as it is but for folds.
cdef bytes unquoted(const unsigned char* octets, Span span)

# Take the next parameter of credentials or a challenge.  NULL, or the reason.
cdef const char* next_auth_param(Cursor* cur, Parameter* out) noexcept nogil
