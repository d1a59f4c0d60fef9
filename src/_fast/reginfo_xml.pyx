"""Registration state as XML: documents of RFC 3680 out of records, and in as immutable values.

Out: what follows the version number of a document (its tail) is written straight from a record, so that one tail serves
every subscription that is told the same; REGINFO_HEAD, the version and the tail are the document.

In: after caps on octets, depth, elements and attributes were kept, plain documents become a tree in plain_xml; lxml,
hardened, parses all others.  Either tree is walked in C over the struct fields of lxml's public C interface.  Whatever
is not a reginfo document is a SipParseError.

Two namespaces of extensions are written and read: RFC 5628 (GRUUs) and one of this project, for what another server
needs to reach a contact: path, received, user agent, flow, and the age of its last REGISTER.  One of 3GPP TS 24.229
section 7.10.2 (wildcarded identities) is written only.
"""

from collections.abc import Callable, Sequence

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport INT64_MAX, int8_t, int16_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset, strcmp, strlen
from lxml.includes.tree cimport (
    XML_CDATA_SECTION_NODE,
    XML_COMMENT_NODE,
    XML_ELEMENT_NODE,
    XML_PI_NODE,
    XML_TEXT_NODE,
    xmlAttr,
    xmlNode,
)

from reginfo._fast._chars cimport (
    DIGIT,
    TOKEN,
    VALUE,
    eight_at,
    equal_to,
    is_any,
    octet_is,
    same_ignoring_case,
    unprintable,
)
from reginfo._fast._cursor cimport (
    Cursor,
    accept,
    at_end,
    cursor_over,
    left,
    look,
    offset,
    peek,
    run,
    seek,
    skip,
    skip_lws,
    take,
    trim_lws,
)
from reginfo._fast._record cimport (
    CALL_ID,
    DISPLAY_NAME,
    FLOW,
    ORIGIN,
    PARAMS,
    PATH,
    Q_UNSPECIFIED,
    RECEIVED,
    URI,
    USER_AGENT,
    record_aor,
    record_head,
    record_is_sound,
    record_rows,
    registration_id,
    row_has_gruu,
    row_head,
    row_is_hidden,
    row_is_local,
    row_is_published,
    row_is_sound,
    row_size,
    row_text,
)
from reginfo._fast._writer cimport (
    Writer,
    allocate,
    put,
    put_hex,
    put_octet,
    put_unsigned,
    writer_free,
    writer_init,
    writer_take,
)
from reginfo._fast.binding cimport Registration
from reginfo._fast.gruu cimport gruu_params
from reginfo._fast.plain_xml cimport MAX_ATTRIBUTES, MAX_DEPTH, MAX_ELEMENTS, Arena, arena_free, plain_tree
from reginfo._fast.sip_writer cimport put_q

from reginfo._fast.errors import SipParseError

cdef extern from "lxml-version.h":
    const char* LXML_VERSION_STRING

cdef extern from "etree.h":
    ctypedef struct LxmlElement "struct LxmlElement":
        xmlNode* _c_node

REGINFO_HEAD = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="'
)

cdef const char* REGINFO = "urn:ietf:params:xml:ns:reginfo"
cdef const char* GRUUINFO = "urn:ietf:params:xml:ns:gruuinfo"
cdef const char* BINDING = "urn:reginfo:xml:ns:binding"

cdef enum:                      # of a document that is read; beyond them it is refused (SEC-4)
    MAX_OCTETS = 131072
    MAX_REGISTRATIONS = 256
    MAX_CONTACTS = 1024
    MAX_URI = 1024              # octets of an AoR or a contact
    MAX_TEXT = 4096             # octets of any other text

MAX_DOCUMENT_OCTETS: int = MAX_OCTETS
MAX_DOCUMENT_DEPTH: int = MAX_DEPTH
MAX_DOCUMENT_ELEMENTS: int = MAX_ELEMENTS
MAX_ELEMENT_ATTRIBUTES: int = MAX_ATTRIBUTES
MAX_DOCUMENT_REGISTRATIONS: int = MAX_REGISTRATIONS
MAX_DOCUMENT_CONTACTS: int = MAX_CONTACTS
MAX_DOCUMENT_URI: int = MAX_URI
MAX_DOCUMENT_TEXT: int = MAX_TEXT

cdef enum:
    REGISTERED = 0              # as rows hold the events, in the order of _EVENTS
    CREATED = 1
    PROBATION = 6
    UNREGISTERED = 7
    EVENTS = 9
    UNKNOWN_EVENT = -1
    ABSENT = -1
    LINEAR = 16                 # contacts found by walking over them; more get a hash index

_EVENTS: tuple[str, ...] = (
    "registered",
    "created",
    "refreshed",
    "shortened",
    "expired",
    "deactivated",
    "probation",
    "unregistered",
    "rejected",
)
cdef list _EVENT_OCTETS = [event.encode() for event in _EVENTS]
cdef tuple _STATE_OCTETS = (b"init", b"active", b"terminated")

_ITSELF = ((None, ""),)         # the identities of an AoR that is in no set

_STATES: tuple[str, ...] = ("init", "active", "terminated")

cdef enum:                      # of a registration, in the order of _STATES
    INIT = 0
    ACTIVE
    TERMINATED


cdef inline const uint8_t* octets_of(bytes data) noexcept:
    return <const uint8_t*>PyBytes_AS_STRING(data)


# -- out: text ---------------------------------------------------------------------------------------------

cdef enum Place:
    IN_TEXT = 0
    IN_ATTRIBUTE
    IN_URI                  # element or attribute: what XML cannot hold is escaped as RFC 3986 does


cdef inline bint is_plain(uint8_t octet) noexcept nogil:
    # Printable ASCII but the characters that XML gives a meaning.
    return 0x20 <= octet < 0x7F and octet != 0x26 and octet != 0x3C and octet != 0x3E and octet != 0x22


cdef inline bint has_markup(uint64_t octets) noexcept nogil:
    # Whether one of eight octets is not plain.
    return is_any(
        unprintable(octets)
        | equal_to(octets, 0x26)
        | equal_to(octets, 0x3C)
        | equal_to(octets, 0x3E)
        | equal_to(octets, 0x22)
    )


cdef int put_escaped(Writer* w, const uint8_t* p, Py_ssize_t n, Place place) except -1:
    # Text of a record, which is UTF-8.
    cdef Py_ssize_t i = 0, start
    cdef uint8_t octet
    while i < n:
        start = i
        while n - i >= 8 and not has_markup(eight_at(&p[i])):
            i += 8
        while i < n and is_plain(p[i]):
            i += 1
        if i > start:
            put(w, &p[start], i - start)
        if i == n:
            break
        octet = p[i]
        i += 1
        if octet == 0x26:
            put(w, b"&amp;", 5)
        elif octet == 0x3C:
            put(w, b"&lt;", 4)
        elif octet == 0x3E:
            put(w, b"&gt;", 4)
        elif octet == 0x22:
            put(w, b"&quot;", 6)
        elif octet == 0xEF and n - i >= 2 and p[i] == 0xBF and p[i + 1] >= 0xBE and place != IN_URI:
            put(w, b"\xef\xbf\xbd", 3)      # U+FFFE and U+FFFF are no characters of XML
            i += 2
        elif octet >= 0x20 and not (place == IN_URI and octet >= 0x7F):
            put_octet(w, octet)
        elif place == IN_URI:
            put_octet(w, 0x25)
            put_octet(w, b"0123456789ABCDEF"[octet >> 4])
            put_octet(w, b"0123456789ABCDEF"[octet & 15])
        elif octet == 0x09 or octet == 0x0A or octet == 0x0D:
            put(w, b"&#", 2)
            put_unsigned(w, octet)
            put_octet(w, 0x3B)
        else:
            put(w, b"\xef\xbf\xbd", 3)
    return 0


cdef int put_unquoted(Writer* w, const uint8_t* p, Py_ssize_t n, Place place) except -1:
    # A quoted-string without its quotes and escapes; anything else as it is.
    cdef Py_ssize_t i, start
    if n < 2 or p[0] != 0x22:
        return put_escaped(w, p, n, place)
    start = i = 1
    n -= 1
    while i < n:
        if p[i] == 0x5C and i + 1 < n:
            put_escaped(w, &p[start], i - start, place)
            start = i + 1
            i += 1
        i += 1
    return put_escaped(w, &p[start], n - start, place)


cdef inline int put_text_attribute(Writer* w, const char* name, Py_ssize_t name_length, const uint8_t* row, int which) \
        except -1:
    # A text of a row as an attribute, if it has one.
    put(w, name, name_length)
    put_escaped(w, row_text(row, which), row_head(row).lengths[which], IN_ATTRIBUTE)
    return put_octet(w, 0x22)


# -- out: contacts -----------------------------------------------------------------------------------------

cdef struct Parameter:          # one entry of a row's PARAMS
    const uint8_t* name
    Py_ssize_t name_length
    const uint8_t* value        # as written, quotes included
    Py_ssize_t value_length     # ABSENT without "="


cdef bint next_parameter(Cursor* cur, Parameter* out) noexcept nogil:
    # Step over ";name[=value]"; False at the end.  Rows hold what was checked when they were written.
    cdef Py_ssize_t start
    cdef int octet
    if not accept(cur, 0x3B):
        return False
    start = offset(cur)
    run(cur, TOKEN)
    out.name = &cur.base[start]
    out.name_length = offset(cur) - start
    out.value = NULL
    out.value_length = ABSENT
    if accept(cur, 0x3D):
        start = offset(cur)
        if accept(cur, 0x22):
            while True:
                octet = take(cur)
                if octet == 0x5C:
                    take(cur)
                elif octet == 0x22 or octet < 0:
                    break
        else:
            run(cur, VALUE)
        out.value = &cur.base[start]
        out.value_length = offset(cur) - start
    return True


cdef inline bint is_named(const Parameter* parameter, const char* name, Py_ssize_t n) noexcept nogil:
    return parameter.name_length == n and same_ignoring_case(parameter.name, <const uint8_t*>name, n)


cdef struct Gruus:              # what the parameters of a row say of GRUUs (RFC 5628)
    Parameter public
    Parameter temporary
    Parameter first_cseq


cdef bint take_gruu(const Parameter* parameter, Gruus* gruus) noexcept nogil:
    # Keep a parameter that has an element of its own.
    if is_named(parameter, "pub-gruu", 8):
        gruus.public = parameter[0]
    elif is_named(parameter, "temp-gruu", 9):
        gruus.temporary = parameter[0]
    elif is_named(parameter, "temp-gruu-cseq", 14):
        gruus.first_cseq = parameter[0]
    else:
        return False
    return True


cdef int put_parameters(Writer* w, const uint8_t* row, Gruus* gruus) except -1:
    # unknown-param for each contact parameter (RFC 3680 section 5.3.2), but for what has an element of its own.
    cdef Cursor cur = cursor_over(row_text(row, PARAMS), 0, row_head(row).lengths[PARAMS])
    cdef Parameter parameter
    memset(gruus, 0, sizeof(gruus[0]))
    while next_parameter(&cur, &parameter):
        if not take_gruu(&parameter, gruus):
            put(w, b'<unknown-param name="', 21)
            put_escaped(w, parameter.name, parameter.name_length, IN_ATTRIBUTE)
            put(w, b'">', 2)
            if parameter.value_length > 0:
                put_escaped(w, parameter.value, parameter.value_length, IN_TEXT)
            put(w, b"</unknown-param>", 16)
    return 0


cdef bint is_number(const Parameter* parameter) noexcept nogil:
    # Whether a value is digits and fits 64 bits: a REGISTER may say anything.
    cdef Py_ssize_t i
    if not 0 < parameter.value_length < 20:
        return False
    for i in range(parameter.value_length):
        if not octet_is(parameter.value[i], DIGIT):
            return False
    return True


cdef int read_gruus(bytes params, Gruus* gruus) except -1:
    # Those of a row that is at home here go before what its parameters say.
    cdef Cursor cur = cursor_over(octets_of(params), 0, PyBytes_GET_SIZE(params))
    cdef Parameter parameter
    while next_parameter(&cur, &parameter):
        take_gruu(&parameter, gruus)
    return 0


cdef int put_gruus(Writer* w, const Gruus* gruus, bint temporary) except -1:
    if gruus.public.value_length > 0:
        put(w, b'<gr:pub-gruu xmlns:gr="urn:ietf:params:xml:ns:gruuinfo" uri="', 61)
        put_unquoted(w, gruus.public.value, gruus.public.value_length, IN_URI)
        put(w, b'"/>', 3)
    if temporary and gruus.temporary.value_length > 0 and is_number(&gruus.first_cseq):
        put(w, b'<gr:temp-gruu xmlns:gr="urn:ietf:params:xml:ns:gruuinfo" uri="', 62)
        put_unquoted(w, gruus.temporary.value, gruus.temporary.value_length, IN_URI)
        put(w, b'" first-cseq="', 14)
        put(w, gruus.first_cseq.value, gruus.first_cseq.value_length)
        put(w, b'"/>', 3)
    return 0


cdef int put_binding(Writer* w, const uint8_t* row, int64_t now_ms) except -1:
    # What another server needs of a contact beyond RFC 3680.
    cdef int64_t age = now_ms - row_head(row).updated_at
    put(w, b'<b:binding xmlns:b="urn:reginfo:xml:ns:binding" age="', 53)
    put_unsigned(w, <uint64_t>max(<int64_t>0, age))
    put_octet(w, 0x22)
    if row_head(row).lengths[PATH]:
        put_text_attribute(w, b' path="', 7, row, PATH)
    if row_head(row).lengths[RECEIVED]:
        put_text_attribute(w, b' received="', 11, row, RECEIVED)
    if row_head(row).lengths[USER_AGENT]:
        put_text_attribute(w, b' user-agent="', 13, row, USER_AGENT)
    if row_head(row).lengths[FLOW]:
        put_text_attribute(w, b' flow="', 7, row, FLOW)
    return put(w, b"/>", 2)


cdef int put_contact(
    Writer* w,
    const uint8_t* record,
    const uint8_t* row,
    bint ended,
    int64_t now_ms,
    bint extensions,
    bint kamailio,
    bint temporary,
    object mint,
    const uint8_t* identity,
    Py_ssize_t identity_length,
    uint64_t implicit,
) except -1:
    # implicit is the id of the registration it is in, if that is of another identity than the record: ids are unique
    # in a document (RFC 3680 section 5.3.2), and nobody registered it there.
    cdef int64_t seconds
    cdef bytes own                  # owns what is read of it
    cdef bytes event = _EVENT_OCTETS[CREATED if implicit and row_head(row).event == REGISTERED else row_head(row).event]
    cdef Gruus gruus
    put(w, b'<contact id="', 13)
    put_hex(w, row_head(row).contact_id ^ implicit, 16)
    if ended:
        put(w, b'" state="terminated" event="', 28)
    else:
        put(w, b'" state="active" event="', 24)
    put(w, PyBytes_AS_STRING(event), PyBytes_GET_SIZE(event))
    if not ended:
        seconds = row_head(row).expires_at - now_ms
        put(w, b'" expires="', 11)
        put_unsigned(w, 0 if seconds <= 0 else <uint64_t>((seconds - 1) // 1000 + 1))
    elif kamailio:
        put(w, b'" expires="0', 12)      # its consumer skips a contact without
    if ended and row_head(row).event == PROBATION:
        put(w, b'" retry-after="', 15)
        put_unsigned(w, row_head(row).requested)
    put(w, b'" duration-registered="', 23)
    put_unsigned(w, <uint64_t>max(<int64_t>0, (now_ms - row_head(row).registered_at) // 1000))
    if row_head(row).q != Q_UNSPECIFIED:
        put(w, b'" q="', 5)
        put_q(w, row_head(row).q)
    if row_head(row).lengths[CALL_ID]:
        put(w, b'" callid="', 10)
        put_escaped(w, row_text(row, CALL_ID), row_head(row).lengths[CALL_ID], IN_ATTRIBUTE)
        put(w, b'" cseq="', 8)
        put_unsigned(w, row_head(row).cseq)
    put_octet(w, 0x22)
    if kamailio:
        if row_head(row).lengths[RECEIVED]:
            put_text_attribute(w, b' received="', 11, row, RECEIVED)
        if row_head(row).lengths[PATH]:
            put_text_attribute(w, b' path="', 7, row, PATH)
        if row_head(row).lengths[USER_AGENT]:
            put_text_attribute(w, b' user_agent="', 13, row, USER_AGENT)
    put(w, b"><uri>", 6)
    put_escaped(w, row_text(row, URI), row_head(row).lengths[URI], IN_URI)
    put(w, b"</uri>", 6)
    if row_head(row).lengths[DISPLAY_NAME]:
        put(w, b"<display-name>", 14)
        put_unquoted(w, row_text(row, DISPLAY_NAME), row_head(row).lengths[DISPLAY_NAME], IN_TEXT)
        put(w, b"</display-name>", 15)
    if row_head(row).lengths[PARAMS]:
        put_parameters(w, row, &gruus)
        if implicit:
            memset(&gruus, 0, sizeof(gruus))    # they are those of the AoR (RFC 5627)
        if row_has_gruu(row) and not ended:
            own = gruu_params(record, row, identity, identity_length, mint if temporary else None, True)
            read_gruus(own, &gruus)
        put_gruus(w, &gruus, temporary)
    if extensions:
        put_binding(w, row, now_ms)
    return put(w, b"</contact>", 10)


# -- out: who is told what ---------------------------------------------------------------------------------

cdef struct Told:               # one contact, by its id
    uint64_t contact_id
    uint64_t newest             # revision of the newest row of it, ended ones included
    const uint8_t* live         # the row that speaks for it, or NULL
    const uint8_t* ended        # how it ended last, or NULL


cdef struct Tally:              # the contacts of one registration
    Told* told
    Py_ssize_t count
    Py_ssize_t capacity
    uint32_t* index             # 1 + place in told by contact id, open addressing; NULL for few
    Py_ssize_t mask
    Told[LINEAR] few


cdef int tally_open(Tally* tally, Py_ssize_t most) except -1:
    cdef Py_ssize_t size = 64
    tally.count = 0
    tally.told = tally.few
    tally.index = NULL
    if most > <Py_ssize_t>LINEAR:
        while size < 2 * most:
            size *= 2
        tally.told = <Told*>allocate(most * sizeof(Told))
        tally.index = <uint32_t*>allocate(size * sizeof(uint32_t))
        memset(tally.index, 0, size * sizeof(uint32_t))
        tally.mask = size - 1
    return 0


cdef void tally_close(Tally* tally) noexcept:
    if tally.told != tally.few:
        PyMem_Free(tally.told)
    if tally.index != NULL:
        PyMem_Free(tally.index)


cdef Told* told_of(Tally* tally, uint64_t contact_id) noexcept nogil:
    # The entry of a contact, made if it is the first row of it.
    cdef Py_ssize_t i
    cdef Py_ssize_t slot = 0
    cdef Told* told
    if tally.index == NULL:
        for i in range(tally.count):
            if tally.told[i].contact_id == contact_id:
                return &tally.told[i]
    else:
        slot = <Py_ssize_t>(contact_id & <uint64_t>tally.mask)
        while tally.index[slot]:
            if tally.told[tally.index[slot] - 1].contact_id == contact_id:
                return &tally.told[tally.index[slot] - 1]
            slot = (slot + 1) & tally.mask
    told = &tally.told[tally.count]
    tally.count += 1
    if tally.index != NULL:
        tally.index[slot] = <uint32_t>tally.count
    told.contact_id = contact_id
    told.newest = 0
    told.live = NULL
    told.ended = NULL
    return told


cdef struct Audience:
    bint everybody
    const char* name            # of a configured peer; empty for another one that is told of what is at home here
    Py_ssize_t length


cdef bint is_for(const Audience* audience, const uint8_t* row) noexcept nogil:
    # Peers are told of contacts whose home is this server, and not of those they have published themselves (RIC-7).
    cdef Py_ssize_t n
    cdef const uint8_t* origin
    if row_is_hidden(row):
        return False
    if audience.everybody or row_is_local(row):
        return True
    if not row_is_published(row):
        return False
    origin = row_text(row, ORIGIN)
    n = row_head(row).lengths[ORIGIN]
    # publication:NAME.ID
    return not (
        audience.length
        and n > 13 + audience.length
        and memcmp(&origin[12], audience.name, audience.length) == 0
        and origin[12 + audience.length] == 0x2E
    )


cdef inline int rank(const uint8_t* row) noexcept nogil:
    return 0 if row_is_local(row) else 2 if row_is_published(row) else 1


cdef inline bint speaks_rather(const uint8_t* row, const uint8_t* other) noexcept nogil:
    # Of rows of one contact: local, then what a peer, then what a publication said last.
    if rank(row) != rank(other):
        return rank(row) < rank(other)
    return row_head(row).updated_at > row_head(other).updated_at


cdef int tally_rows(Tally* tally, const uint8_t* record, const uint8_t* ended, Py_ssize_t n, const Audience* audience) \
        except -1:
    cdef const uint8_t* row
    cdef Told* told
    cdef Py_ssize_t at = 0
    if record != NULL:
        row = record_rows(record)
        for _ in range(record_head(record).rows):
            if is_for(audience, row):
                told = told_of(tally, row_head(row).contact_id)
                told.newest = max(told.newest, row_head(row).revision)
                if told.live == NULL or speaks_rather(row, told.live):
                    told.live = row
            row = &row[row_size(row)]
    while at < n:
        row = &ended[at]
        if is_for(audience, row):
            told = told_of(tally, row_head(row).contact_id)
            told.newest = max(told.newest, row_head(row).revision)
            told.ended = row
        at += row_size(row)
    return 0


cdef Py_ssize_t ended_rows(const uint8_t* ended, Py_ssize_t n) except -1:
    # How many there are; ValueError if they are corrupt.
    cdef Py_ssize_t at = 0, rows = 0
    while at < n:
        if not row_is_sound(&ended[at], n - at):
            raise ValueError("corrupt rows")
        at += row_size(&ended[at])
        rows += 1
    return rows


cdef int put_registration(
    Writer* w,
    bytes record,
    str aor,
    bytes ended,
    int64_t since,
    const Audience* audience,
    int64_t now_ms,
    bint extensions,
    bint kamailio,
    bint temporary,
    object mint,
    str identity,
    str wildcard,
) except -1:
    # Returns the number of contacts written; with since (>= 0) those that are newer only.  identity is whose they are
    # told as if not the AoR's (None), wildcard what covers it if anything (not empty).
    cdef const uint8_t* octets = NULL
    cdef const uint8_t* gone = octets_of(ended)
    cdef Py_ssize_t most = ended_rows(gone, PyBytes_GET_SIZE(ended))
    cdef const uint8_t* name
    cdef Py_ssize_t n, i
    cdef uint64_t id
    cdef uint64_t implicit = 0
    cdef Tally tally
    cdef Told* told
    cdef int state = INIT
    cdef int written = 0
    if record is not None:
        octets = octets_of(record)
        if not record_is_sound(octets, PyBytes_GET_SIZE(record)):
            raise ValueError("corrupt record")
        most += record_head(octets).rows
        name = record_aor(octets)
        n = record_head(octets).aor_length
        id = record_head(octets).id
    else:
        name = <const uint8_t*>PyUnicode_AsUTF8AndSize(aor, &n)
        id = registration_id(name, n)
    if identity is not None:
        name = <const uint8_t*>PyUnicode_AsUTF8AndSize(identity, &n)
        implicit = id = registration_id(name, n)
    tally_open(&tally, most)
    try:
        tally_rows(&tally, octets, gone, PyBytes_GET_SIZE(ended), audience)
        for i in range(tally.count):
            told = &tally.told[i]
            if told.live != NULL:
                state = ACTIVE
            elif state == INIT and <int64_t>told.newest > since:
                state = TERMINATED
        put(w, b'<registration aor="', 19)
        put_escaped(w, name, n, IN_URI)
        put(w, b'" id="', 6)
        put_hex(w, id, 16)
        if state == ACTIVE:
            put(w, b'" state="active">', 17)
        elif state == TERMINATED:
            put(w, b'" state="terminated">', 21)
        else:
            put(w, b'" state="init">', 15)
        # What ended comes first: who keeps contacts by URI alone then keeps the one that replaced it.
        for i in range(tally.count):
            told = &tally.told[i]
            if told.live == NULL and <int64_t>told.newest > since:
                put_contact(
                    w, octets, told.ended, True, now_ms, extensions, kamailio, temporary, mint, name, n, implicit
                )
                written += 1
        for i in range(tally.count):
            told = &tally.told[i]
            if told.live != NULL and <int64_t>told.newest > since:
                put_contact(
                    w, octets, told.live, False, now_ms, extensions, kamailio, temporary, mint, name, n, implicit
                )
                written += 1
        if wildcard:
            put(w, b'<wildcardedIdentity xmlns="urn:3gpp:ns:extRegExp:1.0">', 54)
            name = <const uint8_t*>PyUnicode_AsUTF8AndSize(wildcard, &n)
            put_escaped(w, name, n, IN_URI)
            put(w, b"</wildcardedIdentity>", 21)
        put(w, b"</registration>", 15)
    finally:
        tally_close(&tally)
    return written


cdef int set_audience(Audience* out, str audience) except -1:
    out.everybody = audience is None
    out.name = ""
    out.length = 0
    if audience is not None:
        out.name = PyUnicode_AsUTF8AndSize(audience, &out.length)
    return 0


def reginfo_tail(
    record: bytes | None,
    aor: str,
    *,
    now_ms: int64_t,
    since: int | None = None,
    ended: bytes = b"",
    audience: str | None = None,
    extensions: bool = False,
    kamailio: bool = False,
    temp_gruu: bool = False,
    mint: Callable[[int, bytes, int], bytes] | None = None,
    identities: Sequence[tuple[str, str]] | None = None,
) -> bytes:
    """Return what follows the version number of a document about one AoR: the full state, or what is newer than since.

    record is that of the AoR, None if it has no contact; ended are rows of contacts that ended (Change.ended), since is
    a revision.  audience is the name of a configured peer, who is told of contacts at home here only (RIC-7); empty for
    one without a name, None for everybody else.  extensions adds what a peer needs to reach a contact, kamailio says it
    as pua_reginfo does, temp_gruu tells temporary GRUUs, which only who may register the AoR may know (XML-11);
    mint(index, Call-ID, CSeq) returns the user of one that is good here.  identities are told instead of the AoR, each
    with its wildcard, empty for most: other ones than the AoR have the same contacts, as created where they were
    registered, under ids and with GRUUs of their own (TS 24.229 section 5.4.2.1.2).

    Empty if there is nothing newer than since.  ValueError for a record or rows that are corrupt.
    """
    return tail_of(record, aor, now_ms, since, ended, audience, extensions, kamailio, temp_gruu, mint, identities)


cdef bytes tail_of(
    bytes record,
    str aor,
    int64_t now_ms,
    object since,
    bytes ended,
    str audience,
    bint extensions,
    bint kamailio,
    bint temp_gruu,
    object mint,
    object identities,
):
    cdef Writer w
    cdef Audience told
    cdef int64_t newer = -1
    cdef int written = 0
    cdef str identity, wildcard
    set_audience(&told, audience)
    writer_init(&w)
    try:
        if since is None:
            put(&w, b'" state="full">', 15)
        else:
            newer = since
            put(&w, b'" state="partial">', 18)
        for identity, wildcard in _ITSELF if identities is None else identities:
            if identity == aor:
                identity = None
            written += put_registration(
                &w, record, aor, ended, newer, &told, now_ms, extensions, kamailio, temp_gruu, mint, identity, wildcard
            )
        if written == 0 and since is not None:
            return b""
        put(&w, b"</reginfo>", 10)
        return writer_take(&w)
    finally:
        writer_free(&w)


def reginfo_is_newer(record: bytes | None, since: int, *, ended: bytes = b"", audience: str | None = None) -> bool:
    """Tell whether reginfo_tail() would have something to say that is newer than since."""
    return any_newer(record, since, ended, audience)


cdef bint any_newer(bytes record, int64_t since, bytes ended, str audience) except -1:
    cdef Audience told
    cdef const uint8_t* octets
    set_audience(&told, audience)
    ended_rows(octets_of(ended), PyBytes_GET_SIZE(ended))
    if is_any_newer(octets_of(ended), PyBytes_GET_SIZE(ended), since, &told):
        return True
    if record is None:
        return False
    octets = octets_of(record)
    if not record_is_sound(octets, PyBytes_GET_SIZE(record)):
        raise ValueError("corrupt record")
    return is_any_newer(
        record_rows(octets), PyBytes_GET_SIZE(record) - (record_rows(octets) - octets), since, &told
    )


cdef bint is_any_newer(const uint8_t* rows, Py_ssize_t n, int64_t since, const Audience* audience) noexcept nogil:
    # Whether one of these rows, which are sound, is news for an audience.
    cdef Py_ssize_t at = 0
    while at < n:
        if <int64_t>row_head(&rows[at]).revision > since and is_for(audience, &rows[at]):
            return True
        at += row_size(&rows[at])
    return False


def serialize_reginfo(
    registrations: Sequence[Registration],
    *,
    version: uint32_t,
    now_ms: int64_t,
    since: int | None = None,
    audience: str | None = None,
    extensions: bool = False,
    kamailio: bool = False,
    temp_gruu: bool = False,
    mint: Callable[[int, bytes, int], bytes] | None = None,
) -> bytes:
    """Return a document about registrations, as reginfo_tail() tells of each (RFC 3680 section 5)."""
    cdef Writer w
    cdef Audience told
    cdef Registration registration
    cdef int64_t newer = -1 if since is None else since
    set_audience(&told, audience)
    writer_init(&w)
    try:
        put(&w, PyBytes_AS_STRING(REGINFO_HEAD), PyBytes_GET_SIZE(REGINFO_HEAD))
        put_unsigned(&w, version)
        if since is None:
            put(&w, b'" state="full">', 15)
        else:
            put(&w, b'" state="partial">', 18)
        for registration in registrations:
            put_registration(
                &w, registration._record, None, b"", newer, &told, now_ms, extensions, kamailio, temp_gruu, mint,
                None, "",
            )
        put(&w, b"</reginfo>", 10)
        return writer_take(&w)
    finally:
        writer_free(&w)


# -- in: values --------------------------------------------------------------------------------------------

@cython.final
@cython.auto_pickle(False)
cdef class ReginfoContact:
    """A contact element (RFC 3680 section 5.3.2); immutable."""

    def __init__(self) -> None:
        raise TypeError("read by parse_reginfo()")

    @property
    def state(self) -> str:
        """active or terminated."""
        return "active" if self.active else "terminated"

    @property
    def event(self) -> str | None:
        """One of the nine events of RFC 3680 section 5.2; None for any other word."""
        return None if self._event == UNKNOWN_EVENT else _EVENTS[self._event]

    @property
    def expires(self) -> int | None:
        """Seconds left."""
        return None if self._expires == ABSENT else self._expires

    @property
    def retry_after(self) -> int | None:
        """Seconds after which a contact in probation may come back."""
        return None if self._retry_after == ABSENT else self._retry_after

    @property
    def duration_registered(self) -> int | None:
        """Seconds since it was bound first."""
        return None if self._duration == ABSENT else self._duration

    @property
    def cseq(self) -> int | None:
        return None if self._cseq == ABSENT else self._cseq

    @property
    def first_cseq(self) -> int | None:
        """CSeq of the REGISTER that made the oldest temporary GRUU which still is good (RFC 5628 section 5.2)."""
        return None if self._first_cseq == ABSENT else self._first_cseq

    @property
    def age_ms(self) -> int | None:
        """Milliseconds since its last REGISTER (extension)."""
        return None if self._age == ABSENT else self._age

    @property
    def q(self) -> float | None:
        return None if self._q == ABSENT else self._q / 1000.0

    cdef tuple fields(self):
        return (
            self.id, self.uri, self.active, self._event, self._expires, self._retry_after, self._duration, self._q,
            self.call_id, self._cseq, self.display_name, self.params, self.pub_gruu, self.temp_gruu, self._first_cseq,
            self.path, self.received, self.user_agent, self.flow, self._age,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ReginfoContact):
            return NotImplemented
        return self.fields() == (<ReginfoContact>other).fields()

    def __hash__(self) -> int:
        return hash(self.fields())

    def __repr__(self) -> str:
        return f"ReginfoContact(id={self.id!r}, uri={self.uri!r}, state={self.state!r}, event={self.event!r})"


@cython.final
@cython.no_gc               # nothing it holds leads back to it
@cython.auto_pickle(False)
cdef class ReginfoRegistration:
    """A registration element (RFC 3680 section 5.3.1); immutable."""

    def __init__(self) -> None:
        raise TypeError("read by parse_reginfo()")

    @property
    def state(self) -> str:
        """init, active or terminated."""
        return _STATES[self._state]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ReginfoRegistration):
            return NotImplemented
        cdef ReginfoRegistration theirs = other
        return (self.aor, self.id, self._state, self.contacts) == (
            theirs.aor, theirs.id, theirs._state, theirs.contacts
        )

    def __hash__(self) -> int:
        return hash((self.aor, self.id, self._state, self.contacts))

    def __repr__(self) -> str:
        return f"ReginfoRegistration(aor={self.aor!r}, state={self.state!r}, contacts={len(self.contacts)})"


cdef ReginfoRegistration new_registration(str aor, str id, int state, tuple contacts):
    cdef ReginfoRegistration registration = ReginfoRegistration.__new__(ReginfoRegistration)
    registration.aor = aor
    registration.id = id
    registration._state = <int8_t>state
    registration.contacts = contacts
    return registration


@cython.final
@cython.no_gc               # nothing it holds leads back to it
@cython.auto_pickle(False)
cdef class Reginfo:
    """A reginfo document (RFC 3680 section 5); immutable."""

    def __init__(self) -> None:
        raise TypeError("read by parse_reginfo()")

    @property
    def state(self) -> str:
        """full or partial."""
        return "full" if self.full else "partial"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reginfo):
            return NotImplemented
        cdef Reginfo theirs = other
        return (self.version, self.full, self.registrations) == (theirs.version, theirs.full, theirs.registrations)

    def __hash__(self) -> int:
        return hash((self.version, self.full, self.registrations))

    def __repr__(self) -> str:
        return f"Reginfo(version={self.version}, state={self.state!r}, registrations={len(self.registrations)})"


# -- in: before lxml ---------------------------------------------------------------------------------------

cdef const char* find_document_fault(const uint8_t* p, Py_ssize_t n, Py_ssize_t* fault) noexcept nogil:
    # What lxml is not to be troubled with: a DTD, another encoding, too much of anything.  This only counts; whether
    # the document is well-formed is lxml's to say.
    cdef Cursor cur = cursor_over(p, 0, n)
    cdef Py_ssize_t depth = 0, elements = 0, attributes
    cdef int octet
    cdef bint is_empty
    if seek(&cur, 0):
        fault[0] = offset(&cur)
        return "document: NUL"
    while seek(&cur, 0x3C):
        fault[0] = offset(&cur)
        take(&cur)
        octet = peek(&cur)
        if octet == 0x21:
            if look(&cur, 1) == 0x2D and look(&cur, 2) == 0x2D:
                skip(&cur, 3)
                if not skip_past(&cur, b"-->"):
                    return "document: comment without end"
            elif left(&cur) > 8 and memcmp(cur.pos, b"![CDATA[", 8) == 0:
                skip(&cur, 8)
                if not skip_past(&cur, b"]]>"):
                    return "document: CDATA without end"
            else:
                return "document: has a DTD"
            continue
        if octet == 0x3F:
            if not skip_past(&cur, b"?>"):
                return "document: instruction without end"
            continue
        if octet == 0x2F:
            depth -= 1
            if not seek(&cur, 0x3E):
                return "document: tag without end"
            continue
        elements += 1
        depth += 1
        attributes = 0
        is_empty = False
        if elements > MAX_ELEMENTS:
            return "document: too many elements"
        if depth > MAX_DEPTH:
            return "document: nested too deeply"
        while True:
            octet = take(&cur)
            if octet == 0x3E:
                break
            if octet < 0:
                return "document: tag without end"
            is_empty = octet == 0x2F
            if octet == 0x3D:
                attributes += 1
                if attributes > MAX_ATTRIBUTES:
                    return "document: too many attributes"
            elif octet == 0x22 or octet == 0x27:
                if not seek(&cur, octet):
                    return "document: value without end"
                take(&cur)
        if is_empty:
            depth -= 1
    if elements == 0:
        fault[0] = 0
        return "document: empty"
    return NULL


cdef bint skip_past(Cursor* cur, const char* mark) noexcept nogil:
    # Stand behind the next occurrence of a mark; without one, say False.
    cdef Py_ssize_t n = strlen(mark)
    while seek(cur, mark[0]):
        if left(cur) >= n and memcmp(cur.pos, mark, n) == 0:
            return skip(cur, n)
        take(cur)
    return False


# -- in: the tree ------------------------------------------------------------------------------------------

cdef inline bint is_in(const xmlNode* node, const char* namespace) noexcept nogil:
    return node.ns != NULL and node.ns.href != NULL and strcmp(<const char*>node.ns.href, namespace) == 0


cdef inline bint is_element(const xmlNode* node, const char* namespace, const char* name) noexcept nogil:
    return (
        node.type == XML_ELEMENT_NODE
        and strcmp(<const char*>node.name, name) == 0
        and is_in(node, namespace)
    )


cdef int _fail(str reason) except -1:
    raise SipParseError(reason, status=400)


cdef int put_content(Writer* w, const xmlNode* node) except -1:
    # The character data among siblings, comments and instructions left out.
    while node != NULL:
        if node.type == XML_TEXT_NODE or node.type == XML_CDATA_SECTION_NODE:
            if node.content != NULL:
                put(w, node.content, strlen(<const char*>node.content))
        elif node.type != XML_COMMENT_NODE and node.type != XML_PI_NODE:
            _fail("document: element or entity where text belongs")
        node = node.next
    return 0


cdef inline bint is_simple(const xmlNode* node) noexcept nogil:
    # Whether all character data is the content of one node.
    return node != NULL and node.next == NULL and node.type == XML_TEXT_NODE and node.content != NULL


cdef inline Cursor cursor_in(const xmlNode* node, bytes content) noexcept:
    # Over character data without blanks around it; content is what is_simple() does not hold for, else None.
    cdef Cursor cur
    if content is None:
        cur = cursor_over(node.content, 0, strlen(<const char*>node.content))
    else:
        cur = cursor_over(octets_of(content), 0, PyBytes_GET_SIZE(content))
    skip_lws(&cur)
    trim_lws(&cur)
    return cur


cdef inline bint is_all(const Cursor* cur, const char* word, Py_ssize_t n) noexcept nogil:
    return left(cur) == n and memcmp(cur.pos, word, n) == 0


cdef int which_of(object words, const xmlNode* node) except -2:
    # The place among words, octets, of what a node says; -1 for none of them.
    cdef bytes content = None if is_simple(node) else content_of(node)
    cdef Cursor cur = cursor_in(node, content)
    cdef bytes word
    cdef int i = 0
    for word in words:
        if is_all(&cur, PyBytes_AS_STRING(word), PyBytes_GET_SIZE(word)):
            return i
        i += 1
    return -1


cdef bytes content_of(const xmlNode* node):
    cdef Writer w
    if node == NULL:
        return b""
    writer_init(&w)
    try:
        put_content(&w, node)
        return writer_take(&w)
    finally:
        writer_free(&w)


cdef str text_of(const xmlNode* node, Py_ssize_t most):
    # Character data as it is; None if it is too long.
    cdef bytes content
    cdef Py_ssize_t n
    if is_simple(node):
        n = strlen(<const char*>node.content)
        return PyUnicode_DecodeUTF8(<const char*>node.content, n, NULL) if n <= most else None
    content = content_of(node)
    return content.decode() if len(content) <= most else None


cdef str uri_of(const xmlNode* node, str what, bint in_attribute):
    # An anyURI without the blanks it may have been wrapped with; nothing that could end a line.
    cdef bytes content = None if is_simple(node) else content_of(node)
    cdef const uint8_t* p = <const uint8_t*>node.content if content is None else octets_of(content)
    cdef Py_ssize_t n = strlen(<const char*>p) if content is None else PyBytes_GET_SIZE(content)
    cdef Py_ssize_t i = 0
    cdef bint has_blank = False
    while i < n:
        if n - i >= 8 and not is_any(unprintable(eight_at(p + i)) | equal_to(eight_at(p + i), 0x20)):
            i += 8
            continue
        if p[i] == 0x20 or (not in_attribute and (p[i] == 0x0A or p[i] == 0x09)):
            has_blank = True
        elif p[i] < 0x20 or p[i] == 0x7F:
            raise SipParseError(f"{what}: control character", status=400)
        i += 1
    if has_blank:
        content = (<bytes>p[:n]).replace(b" ", b"").replace(b"\n", b"").replace(b"\t", b"")
        p = octets_of(content)
        n = PyBytes_GET_SIZE(content)
    if n == 0:
        raise SipParseError(f"{what}: empty", status=400)
    if n > MAX_URI:
        raise SipParseError(f"{what}: too long", status=400)
    return PyUnicode_DecodeUTF8(<const char*>p, n, NULL)


cdef int64_t number_of(const xmlNode* node) except? -2:
    # An xs:unsignedLong, cut off at 2**63 - 1; ABSENT for what is none.
    cdef bytes content = None if is_simple(node) else content_of(node)
    cdef Cursor cur = cursor_in(node, content)
    cdef uint64_t number = 0
    cdef int octet
    accept(&cur, 0x2B)
    if not octet_is(<uint8_t>max(0, peek(&cur)), DIGIT):
        return ABSENT
    while not at_end(&cur) and octet_is(<uint8_t>peek(&cur), DIGIT):
        octet = take(&cur) - 0x30
        number = INT64_MAX if number > (<uint64_t>INT64_MAX - 9) // 10 else number * 10 + <uint64_t>octet
    return <int64_t>number if at_end(&cur) else ABSENT


cdef int16_t q_of(const xmlNode* node) except? -2:
    try:
        q = float(content_of(node).strip())
    except ValueError:
        return ABSENT
    return <int16_t>round(q * 1000) if 0 <= q <= 1 else ABSENT


cdef int put_parameter(Writer* w, const xmlNode* node) except -1:
    # One unknown-param as ";name=value"; what could not be a contact parameter is left out (XML-10).
    cdef const xmlAttr* attribute = node.properties
    cdef bytes name = b"", value
    cdef const uint8_t* p
    cdef Py_ssize_t n, i
    cdef Cursor cur
    while attribute != NULL:
        if attribute.ns == NULL and strcmp(<const char*>attribute.name, "name") == 0:
            name = content_of(attribute.children).strip()
        attribute = attribute.next
    n = PyBytes_GET_SIZE(name)
    cur = cursor_over(octets_of(name), 0, n)
    run(&cur, TOKEN)
    if n == 0 or n > MAX_TEXT or not at_end(&cur) or name.lower() in (b"q", b"expires"):
        return 0
    value = content_of(node.children).strip()
    p = octets_of(value)
    n = PyBytes_GET_SIZE(value)
    if n > MAX_TEXT:
        return 0
    for i in range(n):
        if p[i] < 0x20 or p[i] == 0x7F:
            return 0
    put_octet(w, 0x3B)
    put(w, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
    if n == 0:
        return 0
    put_octet(w, 0x3D)
    cur = cursor_over(p, 0, n)
    run(&cur, VALUE)
    if at_end(&cur) or is_quoted_string(p, n):
        return put(w, p, n)
    put_octet(w, 0x22)
    for i in range(n):
        if p[i] == 0x22 or p[i] == 0x5C:
            put_octet(w, 0x5C)
        put_octet(w, p[i])
    return put_octet(w, 0x22)


cdef bint is_quoted_string(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    cdef Cursor cur = cursor_over(p, 0, n)
    cdef int octet
    if not accept(&cur, 0x22):
        return False
    while True:
        octet = take(&cur)
        if octet == 0x22:
            return at_end(&cur)
        if octet == 0x5C:
            octet = take(&cur)
        if octet < 0:
            return False


cdef inline bint is_attribute(const xmlAttr* attribute, const char* name) noexcept nogil:
    return attribute.name[0] == name[0] and strcmp(<const char*>attribute.name, name) == 0


cdef int read_contact_attribute(ReginfoContact contact, const xmlAttr* attribute, bint* has_state) except -1:
    cdef const xmlNode* value = attribute.children
    cdef int state
    if is_attribute(attribute, "id"):
        contact.id = text_of(value, MAX_TEXT)
    elif is_attribute(attribute, "state"):
        state = which_of(_STATE_OCTETS, value)
        has_state[0] = state == ACTIVE or state == TERMINATED
        contact.active = state == ACTIVE
    elif is_attribute(attribute, "event"):
        contact._event = <int8_t>which_of(_EVENT_OCTETS, value)
        contact.has_event = True
    elif is_attribute(attribute, "expires"):
        contact._expires = number_of(value)
    elif is_attribute(attribute, "retry-after"):
        contact._retry_after = number_of(value)
    elif is_attribute(attribute, "duration-registered"):
        contact._duration = number_of(value)
    elif is_attribute(attribute, "callid"):
        contact.call_id = text_of(value, MAX_TEXT)
    elif is_attribute(attribute, "cseq"):
        contact._cseq = number_of(value)
    elif is_attribute(attribute, "q"):
        contact._q = q_of(value)
    # What Kamailio adds without a namespace.
    elif is_attribute(attribute, "received"):
        contact.received = text_of(value, MAX_TEXT) or ""
    elif is_attribute(attribute, "path"):
        contact.path = text_of(value, MAX_TEXT) or ""
    elif is_attribute(attribute, "user_agent"):
        contact.user_agent = text_of(value, MAX_TEXT) or ""
    return 0


cdef int read_binding(ReginfoContact contact, const xmlNode* node) except -1:
    cdef const xmlAttr* attribute = node.properties
    while attribute != NULL:
        if attribute.ns == NULL:
            if is_attribute(attribute, "path"):
                contact.path = text_of(attribute.children, MAX_TEXT) or ""
            elif is_attribute(attribute, "received"):
                contact.received = text_of(attribute.children, MAX_TEXT) or ""
            elif is_attribute(attribute, "user-agent"):
                contact.user_agent = text_of(attribute.children, MAX_TEXT) or ""
            elif is_attribute(attribute, "flow"):
                contact.flow = text_of(attribute.children, MAX_TEXT) or ""
            elif is_attribute(attribute, "age"):
                contact._age = number_of(attribute.children)
        attribute = attribute.next
    return 0


cdef int read_gruu(ReginfoContact contact, const xmlNode* node) except -1:
    cdef const xmlAttr* attribute = node.properties
    cdef str uri = None
    cdef int64_t first_cseq = ABSENT
    while attribute != NULL:
        if attribute.ns == NULL:
            if is_attribute(attribute, "uri"):
                uri = uri_of(attribute.children, "gruu", True)
            elif is_attribute(attribute, "first-cseq"):
                first_cseq = number_of(attribute.children)
        attribute = attribute.next
    if uri is None:
        return 0
    if strcmp(<const char*>node.name, "pub-gruu") == 0:
        contact.pub_gruu = uri
    elif strcmp(<const char*>node.name, "temp-gruu") == 0 and first_cseq != ABSENT:
        contact.temp_gruu = uri
        contact._first_cseq = first_cseq
    return 0


cdef ReginfoContact contact_of(const xmlNode* element):
    cdef ReginfoContact contact = ReginfoContact.__new__(ReginfoContact)
    cdef const xmlAttr* attribute = element.properties
    cdef const xmlNode* node = element.children
    cdef Writer params
    cdef bint has_state = False
    contact._event = UNKNOWN_EVENT
    contact._expires = contact._retry_after = contact._duration = contact._cseq = contact._first_cseq = ABSENT
    contact._age = ABSENT
    contact._q = ABSENT
    contact.params = contact.path = contact.received = contact.user_agent = contact.flow = ""
    while attribute != NULL:
        if attribute.ns == NULL:
            read_contact_attribute(contact, attribute, &has_state)
        attribute = attribute.next
    if not contact.id:
        raise SipParseError("contact: id is missing or too long", status=400)
    if not has_state:
        raise SipParseError("contact: state is neither active nor terminated", status=400)
    if not contact.has_event:
        raise SipParseError("contact: event is missing", status=400)
    writer_init(&params)
    try:
        while node != NULL:
            if node.type == XML_ELEMENT_NODE:
                if is_in(node, REGINFO):
                    if strcmp(<const char*>node.name, "uri") == 0:
                        contact.uri = uri_of(node.children, "uri", False)
                    elif strcmp(<const char*>node.name, "display-name") == 0:
                        contact.display_name = text_of(node.children, MAX_TEXT)
                    elif strcmp(<const char*>node.name, "unknown-param") == 0:
                        put_parameter(&params, node)
                elif is_in(node, GRUUINFO):
                    read_gruu(contact, node)
                elif is_in(node, BINDING) and strcmp(<const char*>node.name, "binding") == 0:
                    read_binding(contact, node)
            node = node.next
        if params.size:
            contact.params = PyUnicode_DecodeUTF8(<const char*>params.data, params.size, NULL)
    finally:
        writer_free(&params)
    if contact.uri is None:
        raise SipParseError("contact: uri is missing", status=400)
    return contact


cdef ReginfoRegistration registration_of(const xmlNode* element, Py_ssize_t* contacts):
    cdef const xmlAttr* attribute = element.properties
    cdef const xmlNode* node = element.children
    cdef str aor = None, id = None
    cdef int state = ABSENT
    cdef dict found = None
    cdef ReginfoContact contact, only = None
    while attribute != NULL:
        if attribute.ns == NULL:
            if is_attribute(attribute, "aor"):
                aor = uri_of(attribute.children, "aor", True)
            elif is_attribute(attribute, "id"):
                id = text_of(attribute.children, MAX_TEXT)
            elif is_attribute(attribute, "state"):
                state = which_of(_STATE_OCTETS, attribute.children)
        attribute = attribute.next
    if aor is None:
        raise SipParseError("registration: aor is missing", status=400)
    if not id:
        raise SipParseError("registration: id is missing or too long", status=400)
    if state == ABSENT:
        raise SipParseError("registration: state is none of init, active, terminated", status=400)
    while node != NULL:
        if is_element(node, REGINFO, "contact"):
            contacts[0] += 1
            if contacts[0] > MAX_CONTACTS:
                raise SipParseError("document: too many contacts", status=400)
            contact = contact_of(node)
            if only is None:
                only = contact
            else:
                if found is None:
                    found = {only.id: only}
                found.pop(contact.id, None)     # of two with one id, the last one counts
                found[contact.id] = contact
        node = node.next
    if found is not None:
        return new_registration(aor, id, state, tuple(found.values()))
    return new_registration(aor, id, state, () if only is None else (only,))


cdef list merged(list registrations):
    # One registration per AoR (RFC 3680 section 5.1): Kamailio's presence server concatenates what several published.
    cdef dict by_aor = {}
    cdef dict contacts_of = {}          # AoR -> contacts by id, of the AoRs that are there more than once
    cdef dict contacts
    cdef ReginfoRegistration registration, known
    cdef ReginfoContact contact
    for registration in registrations:
        known = by_aor.get(registration.aor)
        if known is None:
            by_aor[registration.aor] = registration
            continue
        contacts = contacts_of.get(registration.aor)
        if contacts is None:
            contacts = contacts_of[registration.aor] = {contact.id: contact for contact in known.contacts}
        for contact in registration.contacts:
            contacts[contact.id] = contact
        by_aor[registration.aor] = new_registration(
            known.aor, known.id, ACTIVE if known._state == ACTIVE else registration._state, known.contacts
        )
    for aor, contacts in contacts_of.items():
        known = by_aor[aor]
        by_aor[aor] = new_registration(known.aor, known.id, known._state, tuple(contacts.values()))
    return list(by_aor.values())


cdef Reginfo document_of(const xmlNode* root):
    cdef Reginfo document = Reginfo.__new__(Reginfo)
    cdef const xmlAttr* attribute = root.properties
    cdef const xmlNode* node = root.children
    cdef int64_t version = ABSENT
    cdef int state = ABSENT
    cdef list registrations = []
    cdef Py_ssize_t contacts = 0
    if not is_element(root, REGINFO, "reginfo"):
        raise SipParseError("document: not a reginfo document", status=400)
    while attribute != NULL:
        if attribute.ns == NULL:
            if is_attribute(attribute, "version"):
                version = number_of(attribute.children)
            elif is_attribute(attribute, "state"):
                state = which_of((b"partial", b"full"), attribute.children)
        attribute = attribute.next
    if not 0 <= version < <int64_t>1 << 32:
        raise SipParseError("reginfo: version is no number of 32 bits", status=400)
    if state == ABSENT:
        raise SipParseError("reginfo: state is neither full nor partial", status=400)
    while node != NULL:
        if is_element(node, REGINFO, "registration"):
            if len(registrations) == MAX_REGISTRATIONS:
                raise SipParseError("document: too many registrations", status=400)
            registrations.append(registration_of(node, &contacts))
        node = node.next
    document.version = <uint32_t>version
    document.full = state == 1
    document.registrations = tuple(merged(registrations) if len(registrations) > 1 else registrations)
    return document


cdef object _feed = None
cdef object _close = None
cdef object _syntax_error = None


cdef int load_lxml() except -1:
    # Late, because it takes longer to load than everything here; the structs read below are those of one version.
    global _feed, _close, _syntax_error
    from lxml import etree

    compiled = LXML_VERSION_STRING.decode()
    if etree.__version__ != compiled:
        raise ImportError(f"reginfo was compiled for lxml {compiled}, not {etree.__version__}")
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        huge_tree=False,
        collect_ids=False,
        recover=False,
    )
    _syntax_error = etree.XMLSyntaxError
    _feed, _close = parser.feed, parser.close   # quicker by a quarter than making a parser context for each document
    return 0


def parse_reginfo(data: bytes, *, max_octets: cython.Py_ssize_t = MAX_OCTETS) -> Reginfo:
    """Return a document; SipParseError if it is none (status 400) or has more than max_octets (413).

    Elements and attributes of other namespaces, and unknown ones, are ignored (RFC 3680 section 5.3).  Of contacts with
    one id in a registration the last one counts; registrations of one AoR are merged.
    """
    return read_reginfo(data, max_octets)


cdef Reginfo read_reginfo(bytes data, Py_ssize_t max_octets):
    cdef Py_ssize_t fault = 0
    cdef const char* reason
    cdef Py_ssize_t n = PyBytes_GET_SIZE(data)
    cdef const xmlNode* root
    cdef Arena arena
    memset(&arena, 0, sizeof(arena))
    if n > max_octets:
        raise SipParseError("document: too large", offset=max_octets, status=413)
    try:
        root = plain_tree(octets_of(data), n, &arena)
        if root != NULL:
            return document_of(root)
    finally:
        arena_free(&arena)
    reason = find_document_fault(octets_of(data), n, &fault)
    if reason != NULL:
        raise SipParseError((<bytes>reason).decode(), offset=fault, status=400)
    return document_of_lxml(data)


cdef Reginfo document_of_lxml(bytes data):
    if _feed is None:
        load_lxml()
    try:
        _feed(data)
        root = _close()
    except _syntax_error as error:
        raise SipParseError("document: not well-formed", offset=place_of(data, error.position), status=400) from None
    except (ValueError, LookupError) as error:
        raise SipParseError("document: not well-formed", status=400) from error
    return document_of((<LxmlElement*><PyObject*>root)._c_node)


cdef Py_ssize_t place_of(bytes data, object position) except -1:
    # The octet at a line and column, as near as that can be told.
    cdef Cursor cur = cursor_over(octets_of(data), 0, PyBytes_GET_SIZE(data))
    cdef Py_ssize_t line, column
    line, column = position
    while line > 1:
        if not seek(&cur, 0x0A):
            return PyBytes_GET_SIZE(data)
        take(&cur)
        line -= 1
    return min(offset(&cur) + max(0, column - 1), PyBytes_GET_SIZE(data))
