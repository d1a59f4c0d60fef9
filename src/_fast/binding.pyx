"""Bindings of an address-of-record: the record, the rules that change it, and what a change is.

    record --Draft--> bind / clear / expire / remove / evict_oldest / add --finish--> Change(record, ended)

A record (layout in _record.pxd) is immutable bytes, shared by the table, the store and every view of it.  A Draft
decides on top of one.  It never edits rows in place: each row of the record has a slot that says where the row as
committed is, where the row as decided since is, and how it ended.  Giving up is forgetting the slots; finishing
copies the rows that live into one new record and those that ended beside it.

Instants are engine time in milliseconds, durations are seconds.
"""

from collections.abc import Container, Iterable, Sequence

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport INT64_MAX, UINT32_MAX, int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

cdef extern from * nogil:
    void __builtin_prefetch(const void*)

cdef extern from "Python.h":
    PyObject* PyList_GET_ITEM(object, Py_ssize_t)   # borrowed

cdef extern from "string.h" nogil:
    void* memmem(const void* octets, size_t n, const void* wanted, size_t m)    # GNU and POSIX 2024

from reginfo._fast._chars cimport (
    DIGIT,
    TOKEN,
    VALUE,
    is_word,
    octet_is,
    same_ignoring_case,
)
from reginfo._fast._cursor cimport (
    Cursor,
    Span,
    accept,
    at_end,
    cursor_over,
    no_span,
    offset,
    run,
    span_of,
    span_since,
    take,
)
from reginfo._fast._record cimport (
    CALL_ID,
    DISPLAY_NAME,
    EVENTS,
    FLOW,
    MAX_ROWS,
    MAX_TEXT,
    ORIGIN,
    PARAMS,
    PATH,
    Q_UNSPECIFIED,
    RECEIVED,
    RECORD_FORMAT,
    ROW_GRUU,
    ROW_HIDDEN,
    TEXTS,
    URI,
    USER_AGENT,
    GruuTail,
    RecordHead,
    RowHead,
    record_aor,
    record_head,
    record_is_sound,
    record_next_expiry,
    record_rows,
    registration_id,
    row_gruu,
    row_has_gruu,
    row_head,
    row_is_hidden,
    row_is_local,
    row_is_published,
    row_is_sound,
    row_size,
    row_text,
)
from reginfo._fast._siphash cimport (
    SipHash,
    load_u64,
    siphash_finish,
    siphash_octet,
    siphash_start,
    siphash_update,
)
from reginfo._fast._urn cimport same_urn
from reginfo._fast._writer cimport (
    Writer,
    put,
    writer_free,
    writer_grow,
    writer_init,
    writer_take,
)
from reginfo._fast.gruu cimport GruuIndexes
from reginfo._fast.sip_parser cimport (
    HEADER_PATH,
    HEADER_USER_AGENT,
    MAX_CONTACTS,
    ContactValue,
    SipMessage,
    base,
    contact_params,
    is_loose,
    is_supported,
    unfolded,
)
from reginfo._fast.uri cimport (
    SCHEME_OTHER,
    SipUri,
    aor_octets,
    find_uri_fault,
    scan_uri,
    uri_octets_equal,
)

from reginfo._fast.errors import SipParseError

# What became of one contact.
cdef enum Verdict:
    ADDED_ = 0
    REFRESHED_
    REMOVED_
    UNCHANGED_
    STALE_

ADDED: int = ADDED_          # a new binding
REFRESHED: int = REFRESHED_  # an existing one, with what this request says
REMOVED: int = REMOVED_
UNCHANGED: int = UNCHANGED_  # the committed state says so already, or there was nothing to remove
STALE: int = STALE_          # same Call-ID and CSeq not higher: the request fails (RFC 3261 section 10.3)

# Contact events of RFC 3680 section 5.2, as rows hold them.
cdef enum:                      # what becomes of a whole REGISTER
    GRANTED_ = 0
    TOO_BRIEF_
    OUT_OF_ORDER_
    STAR_WITHOUT_ZERO_
    TOO_MANY_
    TOO_MANY_AT_ONCE_
    PATH_UNSUPPORTED_
    PATH_STRICT_
    CONTACT_LOOPS_
    BULK_CONTACT_

GRANTED: int = GRANTED_
TOO_BRIEF: int = TOO_BRIEF_                     # 423: an expiry below the minimum
OUT_OF_ORDER: int = OUT_OF_ORDER_               # 500: a CSeq that is not higher
STAR_WITHOUT_ZERO: int = STAR_WITHOUT_ZERO_     # 400: `Contact: *` without Expires: 0
TOO_MANY: int = TOO_MANY_                       # 403: more bindings than an AoR may have
TOO_MANY_AT_ONCE: int = TOO_MANY_AT_ONCE_       # 403: more contacts than a request may have
PATH_UNSUPPORTED: int = PATH_UNSUPPORTED_       # 420: a Path, and the phone does not know what that is
PATH_STRICT: int = PATH_STRICT_                 # 400: a Path whose URI is no loose router's
CONTACT_LOOPS: int = CONTACT_LOOPS_             # 403: an instance whose contact is the AoR, a GRUU, or no SIP URI
BULK_CONTACT: int = BULK_CONTACT_               # 400: a contact for many numbers (bnc) of an extension nobody required

cdef enum:
    ONE_HOUR = 3600             # seconds; an expiry of that is never too brief (RFC 3261 10.3 step 7)
    SPREADS = 65536

cdef enum Event:
    LIVE = -1
    REGISTERED = 0
    CREATED
    REFRESHED_EVENT
    SHORTENED
    EXPIRED
    DEACTIVATED
    PROBATION
    UNREGISTERED
    REJECTED

_EVENT_NAMES: tuple[str, ...] = (
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

cdef enum:
    ABSENT = -1
    FEW_SLOTS = 12              # rows a draft holds without allocation
    AHEAD = 4                   # changes whose memory is fetched before they are let go
    SAME_MS = 2000              # two expiries as near as that are one: both were rounded, and one has travelled
    CHANGE_FORMAT = 1
    ONLY_REFRESHES = 1          # bits of ChangeHead.flags
    MUTED = 2

# As of registration_id, in _record.pxd.
cdef uint64_t CONTACT_KEY_0 = <uint64_t>0x7265672D636F6E74
cdef uint64_t CONTACT_KEY_1 = <uint64_t>0x6163742D69640001


cdef struct Slot:               # one row of a draft: as committed, as decided since, and how it ended
    Py_ssize_t before           # offset of the committed row in the record, or ABSENT
    Py_ssize_t fresh            # offset in the arena of the row as decided since, or ABSENT
    Py_ssize_t told             # offset in the arena of what is told of a row that was hidden since, or ABSENT
    int8_t ended                # the event that ended it, or LIVE
    bint seen                   # its origin has spoken of it in this decision


cdef struct Texts:              # where the texts of a row to be written lie
    const uint8_t* octets[TEXTS]
    Py_ssize_t lengths[TEXTS]
    GruuTail gruu               # of a row with ROW_GRUU


cdef struct Key:                # what a binding with outbound is bound by instead of its URI (RFC 5626 section 6)
    uint32_t reg_id             # 0: it is bound by its URI
    const uint8_t* instance
    Py_ssize_t length


cdef packed struct ChangeHead:  # then: AoR (without a record), cause, origin, record, ended rows
    uint8_t format
    uint8_t flags
    uint16_t aor_length
    uint16_t cause_length
    uint16_t origin_length
    uint32_t record_length
    uint32_t ended_length
    uint64_t base_revision
    uint64_t revision
    int64_t at_ms


# -- octets ------------------------------------------------------------------------------------------------

cdef inline const uint8_t* octets_of(bytes data) noexcept:
    return <const uint8_t*>PyBytes_AS_STRING(data)


cdef inline str decoded(const uint8_t* octets, Py_ssize_t n):
    return PyUnicode_DecodeUTF8(<const char*>octets, n, NULL)


cdef inline str text_of(const uint8_t* row, int which):
    return decoded(row_text(row, which), row_head(row).lengths[which])


cdef inline void set_text(Texts* texts, int which, const uint8_t* octets, Py_ssize_t n) noexcept nogil:
    texts.octets[which] = octets
    texts.lengths[which] = n


cdef inline bint has_text(const uint8_t* row, int which, const uint8_t* octets, Py_ssize_t n) noexcept nogil:
    return row_head(row).lengths[which] == n and memcmp(row_text(row, which), octets, n) == 0


cdef inline bint same_text(const uint8_t* a, const uint8_t* b, int which) noexcept nogil:
    return has_text(a, which, row_text(b, which), row_head(b).lengths[which])


cdef inline bint same_call_id(const uint8_t* a, const uint8_t* b) noexcept nogil:
    return same_text(a, b, CALL_ID)


cdef bint says_the_same(const uint8_t* known, const uint8_t* told) noexcept nogil:
    # Whether what is told adds nothing to what is known; seconds that are counted down are off by some.
    cdef int64_t later = row_head(told).expires_at - row_head(known).expires_at
    cdef int i
    if row_head(known).cseq != row_head(told).cseq or row_head(known).q != row_head(told).q:
        return False
    for i in range(TEXTS):
        if not same_text(known, told, i):
            return False
    return -SAME_MS <= later <= SAME_MS


cdef uint8_t first_event(const uint8_t* told) noexcept nogil:
    # What a contact is told as that is new here: a peer's has been created (RFC 3680 5.2 knows no other word for it),
    # one that is published here is registered unless its publisher says that it was created.
    if not row_is_published(told) or row_head(told).event == CREATED:
        return CREATED
    return REGISTERED


cdef void set_instance(RowHead* head, const Texts* texts, const uint8_t* urn, Py_ssize_t n) noexcept nogil:
    # Where in the params the URN stands; if it stands there twice, the first is as good.
    cdef const uint8_t* found
    if n == 0 or texts.lengths[PARAMS] > MAX_TEXT:
        return
    found = <const uint8_t*>memmem(texts.octets[PARAMS], texts.lengths[PARAMS], urn, n)
    if found != NULL:
        head.instance_start = <uint16_t>(found - texts.octets[PARAMS])
        head.instance_length = <uint16_t>n


cdef inline const uint8_t* row_instance(const uint8_t* row) noexcept nogil:
    return &row_text(row, PARAMS)[row_head(row).instance_start]


cdef inline Key key_of(const uint8_t* row) noexcept nogil:
    return Key(row_head(row).reg_id, row_instance(row), row_head(row).instance_length)


cdef inline bint has_key(const uint8_t* row, const Key* key) noexcept nogil:
    # Whether a row is bound by this reg-id of this instance, or neither by any.
    return row_head(row).reg_id == key.reg_id and (
        key.reg_id == 0 or same_urn(row_instance(row), row_head(row).instance_length, key.instance, key.length)
    )


cdef inline void set_texts(Texts* texts, const uint8_t* row) noexcept nogil:
    # The texts of an existing row.
    cdef Py_ssize_t start = sizeof(RowHead)
    cdef int i
    for i in range(TEXTS):
        set_text(texts, i, &row[start], row_head(row).lengths[i])
        start += row_head(row).lengths[i]
    if row_has_gruu(row):
        texts.gruu = row_gruu(row)[0]


cdef int set_str(Texts* texts, int which, str name, str value) except -1:
    # A text given by a Python caller, who keeps it alive; nothing that could end a line gets into a record.
    cdef Py_ssize_t n
    cdef const char* octets = PyUnicode_AsUTF8AndSize(value, &n)
    if memchr(octets, 0x0D, n) != NULL or memchr(octets, 0x0A, n) != NULL or memchr(octets, 0, n) != NULL:
        raise ValueError(f"{name}: CR, LF or NUL")
    set_text(texts, which, <const uint8_t*>octets, n)
    return 0


cdef bint is_utf8(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    # RFC 3629 section 4: no overlong form, no surrogate, nothing above U+10FFFF.
    cdef Py_ssize_t i = 0
    cdef int more, k
    cdef uint8_t lowest, highest
    while i < n:
        if n - i >= 8 and load_u64(&p[i]) & <uint64_t>0x8080808080808080 == 0:
            i += 8
            continue
        if p[i] < 0x80:
            i += 1
            continue
        lowest = 0x80
        highest = 0xBF
        if 0xC2 <= p[i] <= 0xDF:
            more = 1
        elif 0xE0 <= p[i] <= 0xEF:
            more = 2
            if p[i] == 0xE0:
                lowest = 0xA0
            elif p[i] == 0xED:
                highest = 0x9F
        elif 0xF0 <= p[i] <= 0xF4:
            more = 3
            if p[i] == 0xF0:
                lowest = 0x90
            elif p[i] == 0xF4:
                highest = 0x8F
        else:
            return False
        if n - i <= more or not lowest <= p[i + 1] <= highest:
            return False
        for k in range(2, more + 1):
            if p[i + k] & 0xC0 != 0x80:
                return False
        i += more + 1
    return True


cdef Py_ssize_t put_row(Writer* arena, RowHead* head, const Texts* texts) except -1:
    # Append a row and return its offset in the arena.
    cdef Py_ssize_t start = arena.size
    cdef Py_ssize_t size = sizeof(RowHead)
    cdef int i
    for i in range(TEXTS):
        if texts.lengths[i] > MAX_TEXT:
            raise ValueError("a text of a binding is limited to 65,535 octets")
        head.lengths[i] = <uint16_t>texts.lengths[i]
        size += texts.lengths[i]
    if head.flags & ROW_GRUU:
        size += sizeof(GruuTail)
    head.size = <uint32_t>size
    if arena.capacity - arena.size < size:
        writer_grow(arena, size)
    put(arena, head, sizeof(RowHead))
    for i in range(TEXTS):
        put(arena, texts.octets[i], texts.lengths[i])
    if head.flags & ROW_GRUU:
        put(arena, &texts.gruu, sizeof(GruuTail))
    return start


cdef const char* find_params_fault(
    const uint8_t* p, Py_ssize_t n, Span* instance, uint32_t* reg_id
) noexcept nogil:
    # contact-params = *(SEMI token [EQUAL (token / host / quoted-string)])  RFC 3261 25.1, without LWS.
    # Finds the URN of +sip.instance="<urn>" and reg-id (RFC 5626 section 11.1) on the way.
    cdef Cursor cur = cursor_over(p, 0, n)
    cdef Py_ssize_t start, i
    cdef Span name
    cdef int octet
    cdef uint64_t number
    instance[0] = no_span()
    reg_id[0] = 0
    while not at_end(&cur):
        if not accept(&cur, 0x3B):
            return "params: ';' expected"
        start = offset(&cur)
        if run(&cur, TOKEN) == 0:
            return "params: name expected"
        name = span_since(&cur, start)
        if (name.length == 1 and same_ignoring_case(&p[name.start], b"q", 1)) or (
            name.length == 7 and same_ignoring_case(&p[name.start], b"expires", 7)
        ):
            return "params: q and expires have their own place"
        if not accept(&cur, 0x3D):
            continue
        start = offset(&cur)
        if not accept(&cur, 0x22):
            if run(&cur, VALUE) == 0:
                return "params: value expected"
            if name.length == 6 and same_ignoring_case(&p[name.start], b"reg-id", 6):
                number = 0
                for i in range(start, offset(&cur)):
                    if not octet_is(p[i], DIGIT) or number > UINT32_MAX // 10:
                        return "params: reg-id is no number"
                    number = number * 10 + (p[i] - 0x30)
                if number > 0x7FFFFFFF:
                    return "params: reg-id is no number"
                reg_id[0] = <uint32_t>number
            continue
        while True:
            octet = take(&cur)
            if octet == 0x22:
                break
            if octet == 0x5C:
                octet = take(&cur)
            if octet < 0:
                return "params: quote without end"
        if name.length == 13 and same_ignoring_case(&p[name.start], b"+sip.instance", 13):
            if offset(&cur) - start > 4 and p[start + 1] == 0x3C and p[offset(&cur) - 2] == 0x3E:
                instance[0] = span_of(start + 2, offset(&cur) - 2)
    return NULL


cdef inline uint64_t contact_hash(
    const uint8_t* aor, Py_ssize_t aor_length, const uint8_t* uri, Py_ssize_t n, uint32_t reg_id
) noexcept nogil:
    # The flows of one instance may all have the same URI: reg-id keeps them apart.
    cdef SipHash h
    cdef int shift
    siphash_start(&h, CONTACT_KEY_0, CONTACT_KEY_1)
    siphash_update(&h, aor, aor_length)
    siphash_octet(&h, 0)
    siphash_update(&h, uri, n)
    if reg_id != 0:
        siphash_octet(&h, 0)
        for shift in range(0, 32, 8):
            siphash_octet(&h, <uint8_t>(reg_id >> shift))
    return siphash_finish(&h)


cdef int event_number(object event) except -1:
    if event not in _EVENT_NAMES:
        raise ValueError(f"no contact event: {str(event)!r}")
    return _EVENT_NAMES.index(event)


cdef inline int64_t seconds_left(int64_t expires_at, int64_t now_ms) noexcept nogil:
    # Whole seconds, rounded up: a contact that still lives never shows 0.
    if expires_at <= now_ms:
        return 0
    return (expires_at - now_ms - 1) // 1000 + 1


# -- views -------------------------------------------------------------------------------------------------

cdef str quoted_name(str display_name):
    # Plain text as the quoted-string of a header; empty for none.
    return '"' + display_name.replace("\\", "\\\\").replace('"', '\\"') + '"' if display_name else ""


cdef Binding learned_binding(
    RowHead* head,
    str uri,
    str display_name,
    str call_id,
    str params,
    str path,
    str received,
    str flow,
    str user_agent,
    str origin,
):
    # As Binding(), for compiled callers; head has the numbers.
    cdef Binding binding = Binding.__new__(Binding)
    binding.fill(head, uri, quoted_name(display_name), call_id, params, path, received, flow, user_agent, origin)
    return binding


cdef inline Binding binding_at(bytes owner, const uint8_t* row):
    cdef Binding binding = Binding.__new__(Binding)
    binding._owner = owner
    binding._row = row
    return binding


@cython.final
@cython.auto_pickle(False)
cdef class Binding:
    """One contact bound to an AoR; an immutable view of its row.

    The texts are as registered: params holds every contact parameter but q and expires (";a=b;c"), path the Path
    values of the request, and origin is empty for what was registered here.
    """

    def __init__(
        self,
        *,
        uri: str,
        expires_at: int64_t,
        call_id: str = "",
        cseq: uint32_t = 0,
        q: float | None = None,
        params: str = "",
        display_name: str = "",
        path: str = "",
        received: str = "",
        flow: str = "",
        user_agent: str = "",
        origin: str = "",
        event: object = "created",      # str would refuse ContactEvent, which is one
        requested: uint32_t = 0,
        registered_at: int64_t = 0,
        updated_at: int64_t = 0,
        contact_id: str = "",
    ) -> None:
        """Make a binding that no REGISTER made; ValueError for what a record must not hold.

        Without contact_id it gets one where it is added; display_name is plain text.
        """
        cdef RowHead head
        quoted = quoted_name(display_name)
        memset(&head, 0, sizeof(head))
        head.cseq = cseq
        head.registered_at = registered_at
        head.updated_at = updated_at
        head.expires_at = expires_at
        head.contact_id = int(contact_id, 16) if contact_id else 0
        head.requested = requested
        head.q = Q_UNSPECIFIED if q is None else thousandths(q)
        head.event = <uint8_t>event_number(event)
        self.fill(&head, uri, quoted, call_id, params, path, received, flow, user_agent, origin)

    cdef int fill(
        self,
        RowHead* head,
        str uri,
        str quoted,
        str call_id,
        str params,
        str path,
        str received,
        str flow,
        str user_agent,
        str origin,
    ) except -1:
        # Be the row of a head and its texts, the display name as it stands in a header; ValueError or SipParseError
        # for what a record must not hold.
        cdef Texts texts
        cdef Writer w
        cdef SipUri parsed
        cdef Span instance
        cdef uint32_t reg_id
        cdef const char* fault
        set_str(&texts, URI, "uri", uri)
        set_str(&texts, DISPLAY_NAME, "display_name", quoted)
        set_str(&texts, CALL_ID, "call_id", call_id)
        set_str(&texts, PARAMS, "params", params)
        set_str(&texts, PATH, "path", path)
        set_str(&texts, RECEIVED, "received", received)
        set_str(&texts, FLOW, "flow", flow)
        set_str(&texts, USER_AGENT, "user_agent", user_agent)
        set_str(&texts, ORIGIN, "origin", origin)
        scan_uri(texts.octets[URI], texts.lengths[URI], &parsed)
        fault = find_params_fault(texts.octets[PARAMS], texts.lengths[PARAMS], &instance, &reg_id)
        if fault != NULL:
            raise ValueError((<bytes>fault).decode())
        if texts.lengths[PARAMS] > MAX_TEXT:
            raise ValueError("a text of a binding is limited to 65,535 octets")
        head.reg_id = reg_id
        head.instance_start = <uint16_t>instance.start
        head.instance_length = <uint16_t>instance.length
        writer_init(&w)
        try:
            put_row(&w, head, &texts)
            self._owner = writer_take(&w)
        finally:
            writer_free(&w)
        self._row = octets_of(self._owner)
        return 0

    @property
    def contact_id(self) -> str:
        """16 hexadecimal digits, the same as long as the contact is bound (RFC 3680 section 5.3); empty if unset."""
        return f"{row_head(self._row).contact_id:016x}" if row_head(self._row).contact_id else ""

    @property
    def uri(self) -> str:
        return text_of(self._row, URI)

    @property
    def call_id(self) -> str:
        return text_of(self._row, CALL_ID)

    @property
    def cseq(self) -> int:
        return row_head(self._row).cseq

    @property
    def q(self) -> float | None:
        return None if row_head(self._row).q == Q_UNSPECIFIED else row_head(self._row).q / 1000.0

    @property
    def instance(self) -> str | None:
        """The URN of +sip.instance (RFC 5626 section 4.1)."""
        cdef const RowHead* head = row_head(self._row)
        if head.instance_length == 0:
            return None
        return decoded(&row_text(self._row, PARAMS)[head.instance_start], head.instance_length)

    @property
    def reg_id(self) -> int | None:
        return row_head(self._row).reg_id or None

    @property
    def gruu(self) -> tuple[int, int] | None:
        """Index of the temporary GRUUs of the instance, and the CSeq that made the oldest good one (RFC 5627 5.1)."""
        return (row_gruu(self._row).index, row_gruu(self._row).first_cseq) if row_has_gruu(self._row) else None

    @property
    def params(self) -> str:
        return text_of(self._row, PARAMS)

    @property
    def display_name(self) -> str:
        """Plain text, without quotes and escapes."""
        return unquoted(text_of(self._row, DISPLAY_NAME))

    @property
    def path(self) -> str:
        return text_of(self._row, PATH)

    @property
    def received(self) -> str:
        return text_of(self._row, RECEIVED)

    @property
    def flow(self) -> str:
        return text_of(self._row, FLOW)

    @property
    def user_agent(self) -> str:
        return text_of(self._row, USER_AGENT)

    @property
    def origin(self) -> str:
        return text_of(self._row, ORIGIN)

    @property
    def registered_at(self) -> int:
        return row_head(self._row).registered_at

    @property
    def updated_at(self) -> int:
        return row_head(self._row).updated_at

    @property
    def expires_at(self) -> int:
        return row_head(self._row).expires_at

    @property
    def requested(self) -> int:
        """The delta-seconds asked for, what was granted is expires_at; of one in probation when to come back."""
        return row_head(self._row).requested

    @property
    def event(self) -> str:
        """The last contact event (RFC 3680 section 5.2)."""
        return _EVENT_NAMES[row_head(self._row).event]

    @property
    def revision(self) -> int:
        """Revision of the AoR as this contact changed last."""
        return row_head(self._row).revision

    @property
    def hidden(self) -> bool:
        """True for what another origin has bound and somebody here has removed: neither listed nor told."""
        return row_is_hidden(self._row)

    def expires(self, now_ms: int64_t) -> int:
        """Return the seconds left, rounded up; 0 when its time is over."""
        return seconds_left(row_head(self._row).expires_at, now_ms)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Binding):
            return NotImplemented
        cdef const uint8_t* theirs = (<Binding>other)._row
        return row_size(self._row) == row_size(theirs) and memcmp(self._row, theirs, row_size(self._row)) == 0

    def __hash__(self) -> int:
        return hash(PyBytes_FromStringAndSize(<const char*>self._row, row_size(self._row)))

    def __repr__(self) -> str:
        return (
            f"Binding(uri={self.uri!r}, call_id={self.call_id!r}, cseq={self.cseq}, "
            f"expires_at={self.expires_at}, event={self.event!r})"
        )


cdef uint16_t thousandths(q: float) except? 0xFFFE:
    # qvalue = ("0" ["." 0*3DIGIT]) / ("1" ["." 0*3("0")])  RFC 3261 25.1
    if not 0 <= q <= 1:
        raise ValueError(f"q: {q!r} is not between 0 and 1")
    return round(q * 1000)


cdef str unquoted(str text):
    cdef list kept = []
    cdef bint escaped = False
    if not text.startswith('"'):
        return text
    for character in text[1 : len(text) - 1]:
        if character == "\\" and not escaped:
            escaped = True
        else:
            escaped = False
            kept.append(character)
    return "".join(kept)


cdef Registration registration_over(bytes record, bint terminated):
    cdef Registration registration = Registration.__new__(Registration)
    registration._record = record
    registration._terminated = terminated
    return registration


@cython.final
@cython.auto_pickle(False)
cdef class Registration:
    """All bindings of one AoR; an immutable view of its record."""

    def __init__(self, record: bytes) -> None:
        """Look at a record; ValueError if it is corrupt."""
        check_record(record)
        self._record = record
        self._terminated = False

    @property
    def aor(self) -> str:
        return aor_of(self._record)

    @property
    def id(self) -> str:
        """16 hexadecimal digits that depend on the AoR alone."""
        return f"{record_head(octets_of(self._record)).id:016x}"

    @property
    def revision(self) -> int:
        return record_head(octets_of(self._record)).revision

    @property
    def state(self) -> str:
        """State of RFC 3680 section 4.5.1: active with bindings, terminated right after the last one, else init."""
        if record_head(octets_of(self._record)).rows:
            return "active"
        return "terminated" if self._terminated else "init"

    @property
    def bindings(self) -> tuple[Binding, ...]:
        cdef const uint8_t* octets = octets_of(self._record)
        cdef const uint8_t* row = record_rows(octets)
        cdef list found = []
        for _ in range(record_head(octets).rows):
            found.append(binding_at(self._record, row))
            row = &row[row_size(row)]
        return tuple(found)

    @property
    def octets(self) -> bytes:
        return self._record

    @property
    def next_expiry_ms(self) -> int | None:
        """The instant at which the first binding ends; None without bindings."""
        cdef int64_t earliest = record_next_expiry(octets_of(self._record))
        return None if earliest == INT64_MAX else earliest

    def __len__(self) -> int:
        return record_head(octets_of(self._record)).rows

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Registration):
            return NotImplemented
        return self._record == (<Registration>other)._record

    def __hash__(self) -> int:
        return hash(self._record)

    def __repr__(self) -> str:
        return f"Registration(aor={self.aor!r}, state={self.state!r}, bindings={len(self)})"


cdef int check_record(bytes record) except -1:
    if not record_is_sound(octets_of(record), PyBytes_GET_SIZE(record)):
        raise ValueError("corrupt record")
    return 0


cdef str aor_of(bytes record):
    cdef const uint8_t* octets = octets_of(record)
    return decoded(record_aor(octets), record_head(octets).aor_length)


def record_revision(record: bytes) -> int:
    """Return the revision of a record; ValueError if it is corrupt."""
    return revision_of(record)


cdef int64_t revision_of(bytes record) except -1:
    if PyBytes_GET_SIZE(record) < <Py_ssize_t>sizeof(RecordHead):
        raise ValueError("corrupt record")
    return record_head(octets_of(record)).revision


cdef str registration_id_text(str aor):
    # The id that documents give the registration of an AoR.
    cdef Py_ssize_t n
    cdef const uint8_t* octets = <const uint8_t*>PyUnicode_AsUTF8AndSize(aor, &n)
    return f"{registration_id(octets, n):016x}"


cdef int64_t last_expiry(bytes record) except -2:
    # The instant at which the last contact at home here ends, registered or published; -1 without one.
    cdef const uint8_t* octets = octets_of(record)
    cdef const uint8_t* row
    cdef int64_t latest = -1
    check_record(record)
    row = record_rows(octets)
    for _ in range(record_head(octets).rows):
        if (row_is_local(row) or row_is_published(row)) and not row_is_hidden(row):
            latest = max(latest, row_head(row).expires_at)
        row = &row[row_size(row)]
    return latest


def bound_flows(record: bytes) -> list[str]:
    """Return the flows that the local bindings of a record end with, each once per binding; none for no record."""
    cdef const uint8_t* octets = octets_of(record)
    cdef const uint8_t* row
    cdef list found = []
    if PyBytes_GET_SIZE(record) == 0:
        return found
    check_record(record)
    row = record_rows(octets)
    for _ in range(record_head(octets).rows):
        if row_head(row).lengths[FLOW] and row_is_local(row):
            found.append(text_of(row, FLOW))
        row = &row[row_size(row)]
    return found


# -- changes -----------------------------------------------------------------------------------------------

@cython.final
@cython.auto_pickle(False)
cdef class Change:
    """A transition of one AoR: its record afterwards, and the contacts that ended.

    Made by Draft.finish; it has its place in the order of all changes (seq) once a store committed it.  record is
    empty when the last contact is gone, before is known only where the change was made, and base_revision is 0
    when the AoR had no record.  A muted one is not published.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise TypeError("changes are made by Draft.finish and Change.from_octets")

    @property
    def seq(self) -> int:
        """Sequence number in the journal; 0 until committed, settable once."""
        return self._seq

    @seq.setter
    def seq(self, value: uint64_t) -> None:
        if self._seq != 0 and self._seq != value:
            raise ValueError("seq is set once")
        self._seq = value

    @property
    def aor(self) -> str:
        if self._aor is None:
            self._aor = aor_of(self.record)
        return self._aor

    cdef bint removes(self) noexcept:
        # Whether its own phone took a contact away; others may have run out in the same change.
        cdef const uint8_t* octets = octets_of(self.ended)
        cdef Py_ssize_t at = 0
        while at < PyBytes_GET_SIZE(self.ended):     # C-only loop
            if row_head(&octets[at]).event == UNREGISTERED:
                return True
            at += row_size(&octets[at])
        return False

    @property
    def contacts(self) -> list[tuple[Binding, str]]:
        """What happened to which contact: those that ended, then those that changed and live."""
        cdef list found = []
        cdef const uint8_t* octets = octets_of(self.ended)
        cdef Py_ssize_t at = 0
        while at < PyBytes_GET_SIZE(self.ended):
            found.append((binding_at(self.ended, &octets[at]), _EVENT_NAMES[row_head(&octets[at]).event]))
            at += row_size(&octets[at])
        if PyBytes_GET_SIZE(self.record) == 0:
            return found
        octets = octets_of(self.record)
        cdef const uint8_t* row = record_rows(octets)
        for _ in range(record_head(octets).rows):
            if row_head(row).revision == self.revision and not row_is_hidden(row):
                found.append((binding_at(self.record, row), _EVENT_NAMES[row_head(row).event]))
            row = &row[row_size(row)]
        return found

    @property
    def after(self) -> Registration:
        """The registration after the change; terminated when the last contact is gone."""
        if PyBytes_GET_SIZE(self.record):
            return registration_over(self.record, False)
        cdef Py_ssize_t n
        cdef const char* aor = PyUnicode_AsUTF8AndSize(self._aor, &n)
        cdef uint64_t id = registration_id(<const uint8_t*>aor, n)
        return registration_over(new_record(<const uint8_t*>aor, n, id, 0, self.revision, 0), True)

    def to_octets(self) -> bytes:
        """Return the change as the journal holds it: all but seq and before."""
        cdef ChangeHead head
        cdef Py_ssize_t aor_length = 0
        cdef Py_ssize_t cause_length
        cdef Py_ssize_t origin_length
        cdef const char* aor = b""
        cdef const char* cause = PyUnicode_AsUTF8AndSize(self.cause, &cause_length)
        cdef const char* origin = PyUnicode_AsUTF8AndSize(self.origin, &origin_length)
        cdef Py_ssize_t record_length = PyBytes_GET_SIZE(self.record)
        cdef Py_ssize_t ended_length = PyBytes_GET_SIZE(self.ended)
        if record_length == 0:
            aor = PyUnicode_AsUTF8AndSize(self._aor, &aor_length)
        if max(cause_length, origin_length) > MAX_TEXT or max(record_length, ended_length) > <Py_ssize_t>UINT32_MAX:
            raise ValueError("change too large for the journal")
        head.format = CHANGE_FORMAT
        head.flags = (ONLY_REFRESHES if self.only_refreshes else 0) | (MUTED if self.muted else 0)
        head.aor_length = <uint16_t>aor_length
        head.cause_length = <uint16_t>cause_length
        head.origin_length = <uint16_t>origin_length
        head.record_length = <uint32_t>record_length
        head.ended_length = <uint32_t>ended_length
        head.base_revision = self.base_revision
        head.revision = self.revision
        head.at_ms = self.at_ms
        cdef bytes octets = PyBytes_FromStringAndSize(
            NULL, sizeof(head) + aor_length + cause_length + origin_length + record_length + ended_length
        )
        cdef uint8_t* out = <uint8_t*>PyBytes_AS_STRING(octets)
        cdef Py_ssize_t at = sizeof(head)
        memcpy(out, &head, sizeof(head))
        memcpy(&out[at], aor, aor_length)
        at += aor_length
        memcpy(&out[at], cause, cause_length)
        at += cause_length
        memcpy(&out[at], origin, origin_length)
        at += origin_length
        memcpy(&out[at], octets_of(self.record), record_length)
        at += record_length
        memcpy(&out[at], octets_of(self.ended), ended_length)
        return octets

    @staticmethod
    def from_octets(seq: uint64_t, octets: bytes) -> Change:
        """Return the change that to_octets() wrote; ValueError if the octets are corrupt."""
        cdef const ChangeHead* head = <const ChangeHead*>octets_of(octets)
        cdef const uint8_t* p = octets_of(octets)
        cdef Py_ssize_t at = sizeof(ChangeHead)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(octets)
        cdef Py_ssize_t end
        if size < at or head.format != CHANGE_FORMAT or size != (
            at + head.aor_length + head.cause_length + head.origin_length
            + <Py_ssize_t>head.record_length + <Py_ssize_t>head.ended_length
        ):
            raise ValueError("corrupt change")
        if head.flags & ONLY_REFRESHES and (head.record_length == 0 or head.ended_length):
            raise ValueError("corrupt change: a refresh leaves a record, and ends nothing")
        cdef Change change = Change.__new__(Change)
        change._seq = seq
        change.base_revision = head.base_revision
        change.revision = head.revision
        change.at_ms = head.at_ms
        change.only_refreshes = head.flags & ONLY_REFRESHES != 0
        change.muted = head.flags & MUTED != 0
        change._aor = decoded(&p[at], head.aor_length) if head.record_length == 0 else None
        at += head.aor_length
        change.cause = decoded(&p[at], head.cause_length)
        at += head.cause_length
        change.origin = decoded(&p[at], head.origin_length)
        at += head.origin_length
        change.record = octets[at : at + head.record_length]
        at += head.record_length
        change.ended = octets[at:]
        if head.record_length:
            check_record(change.record)
        at = 0
        end = PyBytes_GET_SIZE(change.ended)
        p = octets_of(change.ended)
        while at < end:
            if not row_is_sound(&p[at], end - at):
                raise ValueError("corrupt change")
            at += row_size(&p[at])
        return change

    def __repr__(self) -> str:
        return f"Change(seq={self._seq}, aor={self.aor!r}, revision={self.revision}, cause={self.cause!r})"


cdef bytes new_record(
    const uint8_t* aor, Py_ssize_t aor_length, uint64_t id, Py_ssize_t rows, uint64_t revision, Py_ssize_t rows_size
):
    # A record whose rows are yet to be written.
    cdef RecordHead head
    cdef bytes record
    head.format = RECORD_FORMAT
    head.reserved = 0
    head.aor_length = <uint16_t>aor_length
    head.rows = <uint16_t>rows
    head.reserved2 = 0
    head.revision = revision
    head.id = id
    record = PyBytes_FromStringAndSize(NULL, sizeof(head) + aor_length + rows_size)
    memcpy(PyBytes_AS_STRING(record), &head, sizeof(head))
    memcpy(<uint8_t*>PyBytes_AS_STRING(record) + sizeof(head), aor, aor_length)
    return record


def beyond_refreshes(
    changes: Sequence[Change], causes: Container[str] | None = None
) -> tuple[int, list[Change]]:
    """Return how many contacts were refreshed by changes that did nothing else, and the other changes, in order.

    With causes, those that have another one are among the other changes whatever they did.
    """
    cdef Change change
    cdef const uint8_t* row
    cdef Py_ssize_t refreshed = 0
    cdef list others = []
    for change in changes:
        if not change.only_refreshes or (causes is not None and change.cause not in causes):
            others.append(change)
            continue
        row = record_rows(octets_of(change.record))
        for _ in range(record_head(octets_of(change.record)).rows):
            refreshed += row_head(row).revision == change.revision and not row_is_hidden(row)
            row = &row[row_size(row)]
    return refreshed, others


def tally_contacts(changes: Sequence[Change]) -> tuple[list[int], int, int, list[tuple[str, int]]]:
    """Count what changes did to contacts.

    Returns how often each contact event was, in their order; by how many the AoRs with a contact are more, and the
    contacts whose URI is sip and says nothing of a transport; the URIs of other contacts, with 1 where one has come and
    -1 where one has gone.
    """
    cdef Change change
    cdef const uint8_t* row
    cdef const uint8_t* octets
    cdef Py_ssize_t at
    cdef int64_t[EVENTS] events
    cdef int64_t aors = 0
    cdef int64_t plain = 0
    cdef list others = []
    memset(events, 0, sizeof(events))
    for change in changes:
        octets = octets_of(change.ended)
        at = 0
        while at < PyBytes_GET_SIZE(change.ended):
            tally_row(&octets[at], events, &plain, others)
            at += row_size(&octets[at])
        if PyBytes_GET_SIZE(change.record):
            octets = octets_of(change.record)
            row = record_rows(octets)
            for _ in range(record_head(octets).rows):
                if row_head(row).revision == change.revision and not row_is_hidden(row):
                    tally_row(row, events, &plain, others)
                row = &row[row_size(row)]
        aors += (PyBytes_GET_SIZE(change.record) > 0) - (change.base_revision > 0)
    return [events[event] for event in range(EVENTS)], aors, plain, others


cdef int tally_row(const uint8_t* row, int64_t* events, int64_t* plain, list others) except -1:
    cdef int event = row_head(row).event
    cdef int more = 1 if event <= CREATED else -1 if event >= EXPIRED else 0
    events[event] += 1
    if more and says_no_transport(row_text(row, URI), row_head(row).lengths[URI]):
        plain[0] += more
    elif more:
        others.append((text_of(row, URI), more))
    return 0


cdef bint says_no_transport(const uint8_t* uri, Py_ssize_t n) noexcept nogil:
    # Of a sip URI that cannot have the parameter, also not in escapes, whatever the rest of it is.
    cdef Py_ssize_t i
    if n < 4 or memcmp(uri, b"sip:", 4) != 0:
        return False
    if memchr(uri, c"%", n) != NULL:
        return False
    for i in range(4, n - 8):
        if uri[i] | 0x20 == c"t" and is_word(&uri[i], <const uint8_t*>b"transport", 9):
            return False
    return True


def piece_end(
    changes: list[Change], start: cython.Py_ssize_t, n: cython.Py_ssize_t, causes: Container[str] | None = None
) -> int:
    """Return where a piece of changes ends that beyond_refreshes() leaves n others of at most."""
    cdef Change change
    cdef Py_ssize_t i
    for i in range(start, len(changes)):
        change = changes[i]
        if not change.only_refreshes or (causes is not None and change.cause not in causes):
            if n == 0:
                return i
            n -= 1
    return len(changes)


def kept_items(
    changes: Iterable[Change], after: uint64_t, row: bytes, journal: bytes, refreshes: cython.bint
) -> tuple[list[tuple[bytes, bytes | None]], list[int], int]:
    """Return what a store writes of changes that are numbered behind after: keys with their values, None for none; the
    numbers that the journal has; the last number.

    The key of a row is row and the AoR, that of a journal record is journal and its number in 8 octets, the highest
    first.  Without refreshes the journal leaves out changes that do nothing else.  Journal records follow the rows, in
    order: a store that keeps its keys sorted need not look for the place of the next one.
    """
    cdef Change change
    cdef uint64_t seq = after
    cdef list rows = []
    cdef list journal_records = []
    cdef list journalled = []
    for change in changes:
        seq += 1
        rows.append((row + change.aor.encode(), change.record or None))
        if refreshes or not change.only_refreshes:
            journal_records.append((journal_key_of(journal, seq), change.to_octets()))
            journalled.append(seq)
    rows.extend(journal_records)
    return rows, journalled, seq


cdef bytes journal_key_of(bytes journal, uint64_t seq):
    cdef uint8_t[8] octets
    cdef int i
    for i in range(8):
        octets[i] = <uint8_t>(seq >> (56 - 8 * i))
    return journal + octets[:8]


def hold_changes(
    changes: Iterable[Change], after: uint64_t, slots: list[Change], size: cython.Py_ssize_t, origin: uint64_t
) -> int:
    """Number changes, behind that of after, and put them into the ring of so many slots whose first change is origin.

    Returns the last number; ValueError for a change that has another number already.
    """
    cdef Change change
    cdef uint64_t seq = after
    cdef Py_ssize_t place
    cdef PyObject* oldest
    for change in changes:
        seq += 1
        change.seq = seq
        if len(slots) < size:
            slots.append(change)
            continue
        place = <Py_ssize_t>((seq - origin) % <uint64_t>size)
        if place + 2 * AHEAD < size:    # what goes has not been used for so long that no cache has it
            __builtin_prefetch(PyList_GET_ITEM(slots, place + 2 * AHEAD))
            oldest = PyList_GET_ITEM(slots, place + AHEAD)
            __builtin_prefetch(<PyObject*>(<Change>oldest).before)
            __builtin_prefetch(<PyObject*>(<Change>oldest).record)
        slots[place] = change
    return seq


# -- what is granted ---------------------------------------------------------------------------------------

@cython.final
@cython.auto_pickle(False)
cdef class RegisterPolicy:
    """What a registrar grants: expiries in seconds, and how many contacts."""

    cdef uint32_t default_expires
    cdef uint32_t min_expires
    cdef uint32_t max_expires
    cdef double jitter
    cdef Py_ssize_t max_contacts
    cdef bint replaces_oldest
    cdef int max_contacts_per_request
    cdef bint lazy_path
    cdef GruuIndexes gruus      # None: no GRUUs

    def __init__(
        self,
        *,
        default_expires: uint32_t = 3600,
        min_expires: uint32_t = 60,
        max_expires: uint32_t = 7200,
        jitter: float = 0.0,
        max_contacts: cython.Py_ssize_t = 10,
        replaces_oldest: bool = False,
        max_contacts_per_request: cython.int = MAX_CONTACTS,
        lazy_path: bool = False,
        gruus: GruuIndexes | None = None,
    ) -> None:
        """jitter is the share of the granted time that chance may take off; 32 contacts fit a request.

        lazy_path takes a Path also where Supported does not say that the phone knows of it (RFC 3327 section 5.3); with
        gruus every instance has GRUUs.
        """
        if not 1 <= max_contacts_per_request <= <int>MAX_CONTACTS:
            raise ValueError("max_contacts_per_request is 1 to 32")
        self.default_expires = default_expires
        self.min_expires = min_expires
        self.max_expires = max_expires
        self.jitter = jitter
        self.max_contacts = max_contacts
        self.replaces_oldest = replaces_oldest
        self.max_contacts_per_request = max_contacts_per_request
        self.lazy_path = lazy_path
        self.gruus = gruus

    cdef uint32_t granted(self, uint32_t requested, uint32_t spread) noexcept nogil:
        # Never more than asked (RFC 3261 10.3 step 7), spread so that refreshes do not herd, never below the minimum.
        cdef uint32_t most = min(requested, self.max_expires)
        cdef uint32_t shortened = most - <uint32_t>(most * self.jitter * (spread % SPREADS) / SPREADS)
        return max(shortened, min(most, self.min_expires))


# -- the working copy --------------------------------------------------------------------------------------

@cython.final
@cython.auto_pickle(False)
@cython.freelist(8)     # one lives at a time, and it is large
cdef class Draft:
    """The working copy of one AoR's bindings, on which decisions chain.

    Between two finish calls it is one decision: CSeq is compared with what was there at its beginning, and
    rollback() forgets it as a whole (RFC 3261 section 10.3 step 7).  A binding whose time is over is never
    matched: it leaves as `expired` and a contact that comes back is a new binding.
    """

    cdef readonly str aor
    cdef readonly bytes record  # as of the last finish; None while the AoR has no row
    cdef int64_t _now_ms
    cdef uint64_t _last_revision
    cdef Slot* _slots
    cdef Py_ssize_t _used
    cdef Py_ssize_t _capacity
    cdef Slot _few[FEW_SLOTS]
    cdef Writer _arena          # rows decided since the last finish

    def __cinit__(self) -> None:
        self._slots = self._few
        self._capacity = FEW_SLOTS
        writer_init(&self._arena)

    def __dealloc__(self) -> None:
        writer_free(&self._arena)
        if self._slots != self._few:
            PyMem_Free(self._slots)

    def __init__(self, aor: str, record: bytes | None, now_ms: int64_t, ended: uint64_t = 0) -> None:
        """Begin with a record, or without one; ValueError if it is corrupt or that of another AoR.

        ended is the highest revision under which a record has ended: one that begins is above it.
        """
        self._open(aor, record, now_ms, ended)

    cdef int _open(self, str aor, bytes record, int64_t now_ms, uint64_t ended) except -1:
        cdef Py_ssize_t n
        cdef const char* octets = PyUnicode_AsUTF8AndSize(aor, &n)
        if n > MAX_TEXT:
            raise ValueError("an AoR is limited to 65,535 octets")
        if now_ms < 0:
            raise ValueError("engine time is not negative")
        if record is not None:
            check_record(record)
            if record_head(octets_of(record)).aor_length != n or memcmp(record_aor(octets_of(record)), octets, n) != 0:
                raise ValueError("the record is that of another AoR")
        self.aor = aor
        self.record = record
        self._now_ms = now_ms
        self._last_revision = ended
        self._begin()
        return 0

    cdef int _begin(self) except -1:
        # One slot per committed row, nothing decided.
        cdef const uint8_t* octets
        cdef Py_ssize_t at
        self._used = 0
        self._arena.size = 0
        if self.record is None:
            return 0
        octets = octets_of(self.record)
        at = sizeof(RecordHead) + record_head(octets).aor_length
        for _ in range(record_head(octets).rows):
            self._open_slot(at, ABSENT)
            at += row_size(&octets[at])
        return 0

    cdef int _open_slot(self, Py_ssize_t before, Py_ssize_t fresh) except -1:
        cdef Slot* larger
        if self._used == self._capacity:
            larger = <Slot*>PyMem_Malloc(2 * self._capacity * sizeof(Slot))
            if larger == NULL:
                raise MemoryError
            memcpy(larger, self._slots, self._used * sizeof(Slot))
            if self._slots != self._few:
                PyMem_Free(self._slots)
            self._slots = larger
            self._capacity *= 2
        self._slots[self._used].before = before
        self._slots[self._used].fresh = fresh
        self._slots[self._used].told = ABSENT
        self._slots[self._used].ended = LIVE
        self._slots[self._used].seen = False
        self._used += 1
        return 0

    cdef inline const uint8_t* _row(self, const Slot* slot) noexcept:
        # The row as it is now, or as it was when it ended; NULL for one that came and went undecided.
        if slot.fresh != ABSENT:
            return self._arena.data + slot.fresh
        if slot.before != ABSENT:
            return &octets_of(self.record)[slot.before]
        return NULL

    cdef inline bint _lives(self, const Slot* slot) noexcept:
        return slot.ended == LIVE and (slot.fresh != ABSENT or slot.before != ABSENT)

    cdef inline bint _is_local(self, const Slot* slot) noexcept:
        return row_is_local(self._row(slot))

    cdef inline bint _touches_flow(self, const Slot* slot) noexcept:
        # Whether the row is bound to a flow, or was as committed.
        return row_head(self._row(slot)).lengths[FLOW] != 0 or (
            slot.before != ABSENT and row_head(&octets_of(self.record)[slot.before]).lengths[FLOW] != 0
        )

    cdef inline bint _is_visible(self, const Slot* slot) noexcept:
        return self._lives(slot) and not row_is_hidden(self._row(slot))

    cdef inline void _end(self, Slot* slot, int event) noexcept:
        # A row nobody has seen leaves no trace.
        if slot.before == ABSENT:
            slot.fresh = ABSENT
        slot.ended = <int8_t>event

    cdef int _expire(self, int64_t now_ms) except -1:
        cdef Py_ssize_t i
        cdef int expired = 0
        if now_ms > self._now_ms:
            self._now_ms = now_ms
        for i in range(self._used):
            if self._lives(&self._slots[i]) and row_head(self._row(&self._slots[i])).expires_at <= now_ms:
                self._end(&self._slots[i], EXPIRED)
                expired += 1
        return expired

    cdef Py_ssize_t _find(
        self, const uint8_t* uri, Py_ssize_t n, const uint8_t* origin, Py_ssize_t origin_length, const Key* key
    ) noexcept:
        # The slot this URI means, or ABSENT.  Equality is not transitive (RFC 3261 section 19.1.4), so more than
        # one may be equal: the one with the same octets wins, then the oldest.  A row removed by this very
        # decision is still there to be compared with.  With a reg-id the URI counts only for what others have told:
        # there an id may move to another URI (RFC 3680 section 5.3 knows contacts by URI), here it never does.
        cdef const uint8_t* row
        cdef Slot* slot
        cdef Py_ssize_t i
        cdef Py_ssize_t removed = ABSENT
        cdef bint same_octets
        if key.reg_id != 0 and origin_length == 0:
            for i in range(self._used):
                slot = &self._slots[i]
                row = self._row(slot)
                if row != NULL and row_is_local(row) and has_key(row, key):
                    if slot.ended == LIVE:
                        return i
                    if slot.ended == UNREGISTERED and removed == ABSENT:
                        removed = i
            return removed
        for same_octets in (True, False):
            for i in range(self._used):
                slot = &self._slots[i]
                row = self._row(slot)
                if row == NULL or (slot.ended != LIVE and slot.ended != UNREGISTERED):
                    continue
                if not has_text(row, ORIGIN, origin, origin_length) or not has_key(row, key):
                    continue
                if same_octets:
                    if has_text(row, URI, uri, n):
                        return i
                elif uri_octets_equal(row_text(row, URI), row_head(row).lengths[URI], uri, n):
                    return i
        return ABSENT

    cdef uint64_t _new_id(self, const uint8_t* uri, Py_ssize_t n, const Key* key) noexcept:
        # One id per contact: that of a live row of another origin that means the same one, else one that no row has,
        # also among those that end now: one document may tell of both.
        cdef Py_ssize_t i
        cdef const uint8_t* row
        cdef Py_ssize_t aor_length
        cdef const char* aor = PyUnicode_AsUTF8AndSize(self.aor, &aor_length)
        cdef uint64_t contact_id
        for i in range(self._used):
            if self._lives(&self._slots[i]):
                row = self._row(&self._slots[i])
                if has_key(row, key) and uri_octets_equal(row_text(row, URI), row_head(row).lengths[URI], uri, n):
                    return row_head(row).contact_id
        contact_id = contact_hash(<const uint8_t*>aor, aor_length, uri, n, key.reg_id)
        while contact_id == 0 or self._has_id(contact_id):
            contact_id += 1
        return contact_id

    cdef bint _has_id(self, uint64_t contact_id) noexcept:
        cdef Py_ssize_t i
        cdef const uint8_t* row
        for i in range(self._used):
            row = self._row(&self._slots[i])
            if row != NULL and row_head(row).contact_id == contact_id:
                return True
        return False

    cdef int _check_room(self) except -1:
        cdef Py_ssize_t i
        cdef Py_ssize_t rows = 0
        if self._used < MAX_ROWS:
            return 0
        for i in range(self._used):
            rows += self._lives(&self._slots[i])
        if rows >= MAX_ROWS:
            raise ValueError("an AoR is limited to 65,535 bindings")
        return 0

    cdef const uint8_t* _row_with_room(self, const Slot* slot, Py_ssize_t extra) except NULL:
        # The row of a slot, with room in the arena for it and extra octets more: the arena moves while it grows.
        cdef Py_ssize_t n = row_size(self._row(slot)) + extra
        if self._arena.capacity - self._arena.size < n:
            writer_grow(&self._arena, n)
        return self._row(slot)

    cdef int _unregister(
        self, Slot* slot, const uint8_t* call_id, Py_ssize_t n, uint32_t cseq, int64_t now_ms
    ) except -1:
        # The contact leaves with the Call-ID and CSeq of the request that removed it (RFC 3680 section 5.3).
        return self._end_by(slot, UNREGISTERED, call_id, n, cseq, 0, now_ms)

    cdef int _end_by(
        self,
        Slot* slot,
        int event,
        const uint8_t* call_id,
        Py_ssize_t n,
        uint32_t cseq,
        uint32_t retry_after,
        int64_t now_ms,
    ) except -1:
        # End a row that was committed in words that say who ended it.
        cdef RowHead head
        cdef Texts texts
        cdef const uint8_t* row
        if slot.before != ABSENT and not row_is_hidden(self._row(slot)):
            row = self._row_with_room(slot, n)
            head = row_head(row)[0]
            head.cseq = cseq
            head.updated_at = now_ms
            if event == PROBATION:
                head.requested = retry_after
            set_texts(&texts, row)
            set_text(&texts, CALL_ID, call_id, n)
            slot.fresh = put_row(&self._arena, &head, &texts)
        self._end(slot, event)
        return 0

    cdef int _hide(
        self, Slot* slot, int event, const uint8_t* call_id, Py_ssize_t n, uint32_t cseq, uint32_t retry_after
    ) except -1:
        # Put another origin's row behind a tombstone, and tell its end.  A request of our own (call_id not NULL) has
        # ended the contact here: peers hear of that like of the end of a local row.
        cdef RowHead head
        cdef Texts texts
        cdef const uint8_t* row
        if slot.before != ABSENT:
            row = self._row_with_room(slot, n)
            head = row_head(row)[0]
            set_texts(&texts, row)
            head.updated_at = self._now_ms
            if event == PROBATION:
                head.requested = retry_after
            if call_id != NULL:
                set_text(&texts, CALL_ID, call_id, n)
                set_text(&texts, ORIGIN, b"", 0)
                head.cseq = cseq
            slot.told = put_row(&self._arena, &head, &texts)
            (<RowHead*>(self._arena.data + slot.told)).event = <uint8_t>event
        row = self._row_with_room(slot, 0)
        head = row_head(row)[0]
        set_texts(&texts, row)
        head.flags |= ROW_HIDDEN
        head.event = <uint8_t>event
        if call_id != NULL and has_text(row, CALL_ID, call_id, n) and head.cseq < cseq:
            head.cseq = cseq
        slot.fresh = put_row(&self._arena, &head, &texts)
        return 0

    cdef int _hide_learned(
        self, const uint8_t* uri, Py_ssize_t length, const Key* key, const uint8_t* call_id, Py_ssize_t n, uint32_t cseq
    ) except -1:
        # Hide what peers say of this URI, or of this flow (NULL: of any), unless it is later than this request; the
        # number hidden.
        cdef Py_ssize_t i
        cdef const uint8_t* row
        cdef int hidden = 0
        for i in range(self._used):
            if not self._is_visible(&self._slots[i]) or self._is_local(&self._slots[i]):
                continue
            row = self._row(&self._slots[i])
            if row_is_published(row) or (has_text(row, CALL_ID, call_id, n) and cseq <= row_head(row).cseq):
                continue
            if uri == NULL or has_key(row, key) and (
                key.reg_id != 0 or uri_octets_equal(row_text(row, URI), row_head(row).lengths[URI], uri, length)
            ):
                self._hide(&self._slots[i], UNREGISTERED, call_id, n, cseq, 0)
                hidden += 1
        return hidden

    def bind(
        self,
        request: SipMessage,
        index: cython.Py_ssize_t,
        seconds: uint32_t,
        requested: uint32_t,
        received: str,
        now_ms: int64_t,
        flow: str = "",
        outbound: bool = False,
        gruus: GruuIndexes | None = None,
    ) -> int:
        """Bind, refresh or remove contact index of a REGISTER and return what became of it.

        seconds is what is granted, 0 removes; requested is what was asked for.  flow is the identity of the flow with
        which the binding ends, empty if with none; without outbound a reg-id is ignored, and not kept (RFC 5626
        section 6).  ADDED, REFRESHED, REMOVED, UNCHANGED or STALE; STALE has done nothing and fails the request
        (RFC 3261 section 10.3 step 7).
        """
        return self._bind(request, index, seconds, requested, received, now_ms, flow, outbound, gruus)

    cdef int _bind(
        self,
        SipMessage request,
        Py_ssize_t index,
        uint32_t seconds,
        uint32_t requested,
        str received,
        int64_t now_ms,
        str flow,
        bint outbound,
        GruuIndexes gruus,
    ) except -1:
        cdef const uint8_t* octets = base(request)
        cdef const uint8_t* call_id = &octets[request.call_id_span.start]
        cdef Py_ssize_t call_id_length = request.call_id_span.length
        cdef const ContactValue* contact
        cdef const uint8_t* row
        cdef Slot* slot = NULL
        cdef Slot* moved = NULL
        cdef Py_ssize_t at
        cdef RowHead head
        cdef Texts texts
        cdef Key key
        cdef bytes params, display_name, path, user_agent   # own the texts that are not in the message
        if not 0 <= index < min(request.contact_count, MAX_CONTACTS) or request.contact_star:
            raise IndexError("no such contact in the request")
        contact = &request.contact[index]
        set_text(&texts, URI, &octets[contact.uri.start], contact.uri.length)
        set_str(&texts, FLOW, "flow", flow)
        key = Key(
            contact.reg_id if outbound and contact.instance.length else 0,
            &octets[contact.instance.start],
            contact.instance.length,
        )
        self._expire(now_ms)
        at = self._find(texts.octets[URI], texts.lengths[URI], b"", 0, &key)
        if at == ABSENT and seconds == 0:
            if self._hide_learned(texts.octets[URI], texts.lengths[URI], &key, call_id, call_id_length, request.cseq):
                return REMOVED_
            return UNCHANGED_
        params = contact_params(request, <int>index, contact.reg_id == key.reg_id)
        if at != ABSENT:
            slot = &self._slots[at]
            if slot.before != ABSENT:
                row = &octets_of(self.record)[slot.before]
                if (
                    has_text(row, CALL_ID, call_id, call_id_length)
                    and request.cseq <= row_head(row).cseq
                ):
                    # The committed state may be the work of this very request, sent again.
                    if (
                        seconds != 0
                        and request.cseq == row_head(row).cseq
                        and requested == row_head(row).requested
                        and contact.q == row_head(row).q
                        and has_text(row, PARAMS, octets_of(params), PyBytes_GET_SIZE(params))
                        and (key.reg_id == 0 or has_text(row, URI, texts.octets[URI], texts.lengths[URI]))
                    ):
                        if has_text(row, FLOW, texts.octets[FLOW], texts.lengths[FLOW]):
                            return UNCHANGED_
                        # Sent again over another flow: the binding moves there.
                    else:
                        return STALE_
            if seconds == 0:
                if slot.ended != UNREGISTERED:
                    self._unregister(slot, call_id, call_id_length, request.cseq, now_ms)
                    self._hide_learned(
                        texts.octets[URI], texts.lengths[URI], &key, call_id, call_id_length, request.cseq
                    )
                return REMOVED_
            row = self._row(slot)
            if key.reg_id != 0 and not uri_octets_equal(
                row_text(row, URI), row_head(row).lengths[URI], texts.octets[URI], texts.lengths[URI]
            ):
                # Contacts are told by their URI (RFC 3680 section 5.3): one leaves and another comes.
                if slot.ended != UNREGISTERED:
                    moved = slot
                slot = NULL

        if not is_utf8(octets_of(params), PyBytes_GET_SIZE(params)):
            raise SipParseError("contact: parameter is not UTF-8", offset=contact.params.start)
        memset(&head, 0, sizeof(head))
        display_name = set_span(&texts, DISPLAY_NAME, request, contact.display)
        set_text(&texts, CALL_ID, call_id, call_id_length)
        set_text(&texts, PARAMS, octets_of(params), PyBytes_GET_SIZE(params))
        path = set_header(&texts, PATH, request, HEADER_PATH)
        set_str(&texts, RECEIVED, "received", received)
        user_agent = set_header(&texts, USER_AGENT, request, HEADER_USER_AGENT)
        set_text(&texts, ORIGIN, b"", 0)
        head.cseq = request.cseq
        head.registered_at = now_ms
        head.updated_at = now_ms
        head.expires_at = now_ms + <int64_t>seconds * 1000
        head.requested = requested
        head.reg_id = key.reg_id
        head.q = contact.q
        head.event = REGISTERED
        if slot == NULL:
            set_instance(&head, &texts, &octets[contact.instance.start], contact.instance.length)
            self._check_room()
            head.contact_id = self._new_id(texts.octets[URI], texts.lengths[URI], &key)
            self._set_gruu(&head, &texts, gruus)    # the instance is still there, where it moves
            if moved != NULL:
                self._unregister(moved, call_id, call_id_length, request.cseq, now_ms)
            self._open_slot(ABSENT, put_row(&self._arena, &head, &texts))
            keep_alive(display_name, path, user_agent)
            return ADDED_
        row = self._row(slot)
        head.contact_id = row_head(row).contact_id
        head.registered_at = row_head(row).registered_at
        if slot.before != ABSENT:
            head.event = REFRESHED_EVENT
        if has_text(row, PARAMS, octets_of(params), PyBytes_GET_SIZE(params)):
            head.instance_start = row_head(row).instance_start
            head.instance_length = row_head(row).instance_length
        else:
            set_instance(&head, &texts, &octets[contact.instance.start], contact.instance.length)
        self._set_gruu(&head, &texts, gruus)
        slot.fresh = put_row(&self._arena, &head, &texts)
        slot.ended = LIVE
        keep_alive(display_name, path, user_agent)
        return REFRESHED_ if slot.before != ABSENT else ADDED_

    cdef int _set_gruu(self, RowHead* head, Texts* texts, GruuIndexes gruus) except -1:
        # Give a row about to be written the index of its instance.  Without a contact of the instance there is a new
        # one, and so there is for a Call-ID other than that of the last REGISTER for the instance (and reg-id): all
        # its rows have it then, and no temporary GRUU made before is good any more (RFC 5627 section 5.1).
        cdef const uint8_t* urn = texts.octets[PARAMS] + head.instance_start
        cdef const uint8_t* row
        cdef const uint8_t* last = NULL
        cdef bint known = False
        cdef Py_ssize_t i
        cdef RowHead other
        cdef Texts others
        if gruus is None or head.instance_length == 0:
            return 0
        head.flags |= ROW_GRUU
        for i in range(self._used):
            if not self._is_of(&self._slots[i], urn, head.instance_length):
                continue
            row = self._row(&self._slots[i])
            if row_has_gruu(row):
                texts.gruu = row_gruu(row)[0]
                known = True
            if row_head(row).reg_id == head.reg_id:
                if last == NULL or row_head(row).updated_at >= row_head(last).updated_at:
                    last = row
        if known and (last == NULL or has_text(last, CALL_ID, texts.octets[CALL_ID], texts.lengths[CALL_ID])):
            return 0
        texts.gruu.index = gruus.draw(self._now_ms)
        texts.gruu.first_cseq = head.cseq
        for i in range(self._used):
            if self._is_of(&self._slots[i], urn, head.instance_length):
                row = self._row_with_room(&self._slots[i], sizeof(GruuTail))
                other = row_head(row)[0]
                set_texts(&others, row)
                other.flags |= ROW_GRUU
                others.gruu = texts.gruu
                self._slots[i].fresh = put_row(&self._arena, &other, &others)
        return 0

    cdef bint _is_of(self, const Slot* slot, const uint8_t* urn, Py_ssize_t n) noexcept:
        # Whether a slot is a contact of an instance, bound here.
        cdef const uint8_t* row = self._row(slot)
        return self._lives(slot) and row_is_local(row) and same_urn(
            &row_text(row, PARAMS)[row_head(row).instance_start], row_head(row).instance_length, urn, n
        )

    cdef bint _loops(self, SipMessage request, const ContactValue* contact) except -1:
        # Whether a contact leads back to its AoR, be it by a GRUU, or is no SIP URI (RFC 5627 section 5.1).
        cdef const uint8_t* p = &base(request)[contact.uri.start]
        cdef Py_ssize_t fault, n
        cdef SipUri uri
        cdef bytes meant, aor
        if contact.kind == SCHEME_OTHER or find_uri_fault(p, 0, contact.uri.length, &uri, &fault) != NULL:
            return True
        meant = aor_octets(&uri, p)
        aor = <bytes>PyUnicode_AsUTF8AndSize(self.aor, &n)
        return meant == aor or (meant.startswith(b"sip:tgruu.") and meant.partition(b"@")[2] == aor.rpartition(b"@")[2])

    def register(
        self,
        request: SipMessage,
        policy: RegisterPolicy,
        spread: uint32_t,
        received: str,
        now_ms: int64_t,
        flow: str = "",
        outbound: bool = False,
    ) -> int:
        """Bind, refresh or remove what a REGISTER asks for: all of it, or nothing (RFC 3261 section 10.3).

        spread is drawn from 0 to 65,535 for this request and places the granted time inside the policy's jitter; flow
        and outbound are those of bind().  Returns GRANTED, or the verdict that leaves the draft as it was.
        """
        return self._register(request, policy, spread, received, now_ms, flow, outbound)

    cdef int _register(
        self,
        SipMessage request,
        RegisterPolicy policy,
        uint32_t spread,
        str received,
        int64_t now_ms,
        str flow,
        bint outbound,
    ) except -1:
        cdef uint32_t requested
        cdef int bound, i
        cdef bint added = False
        cdef Py_ssize_t excess
        if request.first[HEADER_PATH]:
            if not policy.lazy_path and not is_supported(request, b"path", 4):
                return PATH_UNSUPPORTED_
            if not is_loose(request, HEADER_PATH):
                return PATH_STRICT_
        if request.contact_count == 0:
            return self._clear_all(request) if request.contact_star else GRANTED_   # nothing asked: a fetch
        if request.contact_count > policy.max_contacts_per_request:
            return TOO_MANY_AT_ONCE_
        for i in range(request.contact_count):
            requested = policy.default_expires
            if request.contact[i].has_expires:
                requested = request.contact[i].expires
            elif request.has_expires:
                requested = request.expires_value
            if 0 < requested < policy.min_expires and requested < ONE_HOUR:
                self._begin()
                return TOO_BRIEF_
            if request.contact[i].is_bulk:
                self._begin()
                return BULK_CONTACT_
            if policy.gruus is not None and request.contact[i].instance.length and requested:
                if self._loops(request, &request.contact[i]):
                    self._begin()
                    return CONTACT_LOOPS_
            bound = self._bind(
                request,
                i,
                policy.granted(requested, spread),
                requested,
                received,
                now_ms,
                flow,
                outbound,
                policy.gruus,
            )
            if bound == STALE_:
                self._begin()
                return OUT_OF_ORDER_
            if bound == ADDED_:
                added = True
        excess = self.count - policy.max_contacts if added else 0
        if excess > 0 and not (policy.replaces_oldest and self.evict_oldest(excess) == excess):
            self._begin()
            return TOO_MANY_
        return GRANTED_

    cdef int _clear_all(self, SipMessage request) except -1:
        # `Contact: *`, which the parser lets stand alone only, needs an Expires header of 0 (10.3 step 6).
        cdef const uint8_t* call_id = &base(request)[request.call_id_span.start]
        if not request.has_expires or request.expires_value != 0:
            return STAR_WITHOUT_ZERO_
        if self.clear(PyBytes_FromStringAndSize(<const char*>call_id, request.call_id_span.length), request.cseq) < 0:
            self._begin()
            return OUT_OF_ORDER_
        return GRANTED_

    def clear(self, call_id: str | bytes, cseq: uint32_t) -> int:
        """Remove every binding for `Contact: *`; the number removed, or -1 if a local one is stale.

        Stale (same Call-ID and CSeq not higher) means that nothing is removed (RFC 3261 section 10.3 step 6).  What
        peers say of the AoR is hidden until it is news again.
        """
        cdef bytes octets = call_id if isinstance(call_id, bytes) else (<str?>call_id).encode()
        cdef const uint8_t* p = octets_of(octets)
        cdef Py_ssize_t n = PyBytes_GET_SIZE(octets)
        cdef const uint8_t* row
        cdef Py_ssize_t i
        cdef int removed = 0
        self._expire(self._now_ms)
        for i in range(self._used):
            if not self._lives(&self._slots[i]) or self._slots[i].before == ABSENT:
                continue
            row = &octets_of(self.record)[self._slots[i].before]
            if (
                row_head(row).lengths[ORIGIN] == 0
                and has_text(row, CALL_ID, p, n)
                and cseq <= row_head(row).cseq
            ):
                return -1
        for i in range(self._used):
            if self._lives(&self._slots[i]) and self._is_local(&self._slots[i]):
                self._unregister(&self._slots[i], p, n, cseq, self._now_ms)
                removed += 1
        return removed + self._hide_learned(NULL, 0, NULL, p, n, cseq)

    def expire(self, now_ms: int64_t) -> int:
        """End every binding whose time is over (`expired`); return how many."""
        return self._expire(now_ms)

    def end_flow(self, flow: str) -> int:
        """End every local binding that is bound to a flow (`expired`); return how many (RFC 5626 section 6).

        flow is the whole identity, or of a UDP flow the part before "/": its remote address.
        """
        cdef Py_ssize_t i, n
        cdef const uint8_t* octets = <const uint8_t*>PyUnicode_AsUTF8AndSize(flow, &n)
        cdef const uint8_t* row
        cdef int ended = 0
        for i in range(self._used):
            if not self._lives(&self._slots[i]) or not self._is_local(&self._slots[i]):
                continue
            row = self._row(&self._slots[i])
            if row_head(row).lengths[FLOW] < n or n == 0 or memcmp(row_text(row, FLOW), octets, n) != 0:
                continue
            if row_head(row).lengths[FLOW] == n or row_text(row, FLOW)[n] == 0x2F:
                self._end(&self._slots[i], EXPIRED)
                ended += 1
        return ended

    def remove(self, contact: str | None, event: object, retry_after: uint32_t = 0) -> int:
        """End the bindings with this contact id or an equal URI, or all (None), with event; return how many.

        retry_after, in seconds, is told of one in `probation`.  What another origin has bound is hidden until it is
        news again.
        """
        cdef int number = event_number(event)
        cdef Py_ssize_t i, n = 0
        cdef const uint8_t* row
        cdef const uint8_t* p = NULL
        cdef Slot* slot
        cdef int removed = 0
        if number < EXPIRED:
            raise ValueError(f"{str(event)!r} does not end a contact")
        if contact is not None:
            p = <const uint8_t*>PyUnicode_AsUTF8AndSize(contact, &n)
        for i in range(self._used):
            slot = &self._slots[i]
            if not self._is_visible(slot) or not self._is_meant(slot, p, n):
                continue
            if not self._is_local(slot):
                self._hide(slot, number, NULL, 0, 0, retry_after)
            elif number == PROBATION:
                row = self._row_with_room(slot, row_head(self._row(slot)).lengths[CALL_ID])
                self._end_by(
                    slot,
                    number,
                    row_text(row, CALL_ID),
                    row_head(row).lengths[CALL_ID],
                    row_head(row).cseq,
                    retry_after,
                    self._now_ms,
                )
            else:
                self._end(slot, number)
            removed += 1
        return removed

    cdef bint _is_meant(self, const Slot* slot, const uint8_t* contact, Py_ssize_t n) noexcept:
        # By its contact id or an equal URI; NULL means every one.
        cdef const uint8_t* row = self._row(slot)
        cdef uint64_t contact_id
        if contact == NULL:
            return True
        contact_id = contact_number(contact, n)
        if contact_id != 0 and contact_id == row_head(row).contact_id:
            return True
        return uri_octets_equal(row_text(row, URI), row_head(row).lengths[URI], contact, n)

    def shorten(self, contact: str | None, seconds: uint32_t) -> int:
        """Let the local bindings meant, as for remove(), end after so many seconds; return how many last longer now.

        They are told as `shortened` (RFC 3680 section 5.2).
        """
        cdef int64_t expires_at = self._now_ms + <int64_t>seconds * 1000
        cdef Py_ssize_t i, n = 0
        cdef const uint8_t* row
        cdef const uint8_t* p = NULL
        cdef Slot* slot
        cdef RowHead head
        cdef Texts texts
        cdef int shortened = 0
        if contact is not None:
            p = <const uint8_t*>PyUnicode_AsUTF8AndSize(contact, &n)
        self._expire(self._now_ms)
        for i in range(self._used):
            slot = &self._slots[i]
            if not self._lives(slot) or not self._is_local(slot) or not self._is_meant(slot, p, n):
                continue
            row = self._row_with_room(slot, 0)
            if row_head(row).expires_at <= expires_at:
                continue
            head = row_head(row)[0]
            head.expires_at = expires_at
            if slot.before != ABSENT:
                head.event = SHORTENED
            set_texts(&texts, row)
            slot.fresh = put_row(&self._arena, &head, &texts)
            shortened += 1
        return shortened

    def evict_oldest(self, n: cython.Py_ssize_t) -> int:
        """End the n local bindings refreshed longest ago (`deactivated`), none of this decision; return how many."""
        cdef Slot* oldest
        cdef Slot* slot
        cdef Py_ssize_t i
        cdef int evicted = 0
        while evicted < n:
            oldest = NULL
            for i in range(self._used):
                slot = &self._slots[i]
                if slot.fresh != ABSENT or not self._lives(slot) or not self._is_local(slot):
                    continue
                if oldest == NULL or row_head(self._row(slot)).updated_at < row_head(self._row(oldest)).updated_at:
                    oldest = slot
            if oldest == NULL:
                break
            self._end(oldest, DEACTIVATED)
            evicted += 1
        return evicted

    def add(self, binding: Binding) -> int:
        """Bind what no REGISTER brought, replacing an equal URI of the same origin; 1 if it is new, else 0.

        Replacing keeps contact id and registered_at, and is told as `shortened` if it ends earlier than before,
        else as `refreshed` (RFC 3680 section 5.2).
        """
        cdef const uint8_t* given = binding._row
        cdef const uint8_t* row
        cdef Py_ssize_t at
        cdef RowHead head = row_head(given)[0]
        cdef Key key = key_of(given)
        cdef Texts texts
        set_texts(&texts, given)
        self._expire(self._now_ms)
        at = self._find(texts.octets[URI], texts.lengths[URI], texts.octets[ORIGIN], texts.lengths[ORIGIN], &key)
        if head.updated_at == 0:
            head.updated_at = self._now_ms
        if at != ABSENT and self._slots[at].ended == LIVE:
            row = self._row(&self._slots[at])
            head.contact_id = row_head(row).contact_id
            head.registered_at = row_head(row).registered_at
            if self._slots[at].before != ABSENT:
                head.event = SHORTENED if head.expires_at < row_head(row).expires_at else REFRESHED_EVENT
            self._slots[at].fresh = put_row(&self._arena, &head, &texts)
            return 0
        if head.registered_at == 0:
            head.registered_at = self._now_ms
        self._check_room()
        if head.contact_id == 0 or self._has_id(head.contact_id):
            head.contact_id = self._new_id(texts.octets[URI], texts.lengths[URI], &key)
        self._open_slot(ABSENT, put_row(&self._arena, &head, &texts))
        return 1

    def learn(self, binding: Binding, mirror: bool = False) -> int:
        """Take what another origin says of a contact bound there; ADDED, REFRESHED, UNCHANGED or STALE.

        STALE is what an earlier REGISTER had said (same Call-ID, lower CSeq).  A row behind a tombstone comes back
        only by news.  With mirror, a local binding whose REGISTER was earlier gives way.
        """
        return self._learn(binding, mirror)

    cdef int _learn(self, Binding binding, bint mirror) except -1:
        cdef const uint8_t* given = binding._row
        cdef const uint8_t* row
        cdef Py_ssize_t at
        cdef Slot* slot
        cdef RowHead head = row_head(given)[0]
        cdef Key key = key_of(given)
        cdef Texts texts
        set_texts(&texts, given)
        if texts.lengths[ORIGIN] == 0:
            raise ValueError("what is learned has an origin")
        self._expire(self._now_ms)
        if head.updated_at == 0:
            head.updated_at = self._now_ms
        if head.registered_at == 0:
            head.registered_at = self._now_ms
        if mirror:
            self._give_way(given, UNREGISTERED)
        at = self._find(texts.octets[URI], texts.lengths[URI], texts.octets[ORIGIN], texts.lengths[ORIGIN], &key)
        if at == ABSENT or self._slots[at].ended != LIVE:
            self._check_room()
            head.event = first_event(given)
            head.contact_id = self._new_id(texts.octets[URI], texts.lengths[URI], &key)
            self._open_slot(ABSENT, put_row(&self._arena, &head, &texts))
            self._slots[self._used - 1].seen = True
            return ADDED_
        slot = &self._slots[at]
        slot.seen = True
        row = self._row(slot)
        head.contact_id = row_head(row).contact_id
        head.registered_at = row_head(row).registered_at
        if row_is_hidden(row):
            if same_call_id(row, given) and head.cseq <= row_head(row).cseq:
                return UNCHANGED_
            head.event = first_event(given)
            head.registered_at = head.updated_at
            slot.fresh = put_row(&self._arena, &head, &texts)
            return ADDED_
        if same_call_id(row, given) and head.cseq < row_head(row).cseq:
            return STALE_
        if says_the_same(row, given):
            return UNCHANGED_
        if slot.before == ABSENT:
            head.event = row_head(row).event
        elif head.event != SHORTENED:
            head.event = REFRESHED_EVENT
        slot.fresh = put_row(&self._arena, &head, &texts)
        return REFRESHED_

    def unlearn(self, binding: Binding, mirror: bool = False) -> int:
        """Take what another origin says of a contact that has ended there, with its event; REMOVED or UNCHANGED.

        With mirror, a local binding whose REGISTER was earlier ends as well.
        """
        cdef const uint8_t* given = binding._row
        cdef const RowHead* head = row_head(given)
        cdef Key key = key_of(given)
        cdef Py_ssize_t at
        cdef bint removed = False
        if head.lengths[ORIGIN] == 0:
            raise ValueError("what is learned has an origin")
        if head.event < EXPIRED:
            raise ValueError("an event that does not end a contact")
        self._expire(self._now_ms)
        if mirror:
            removed = self._give_way(given, head.event)
        at = self._find(
            row_text(given, URI), head.lengths[URI], row_text(given, ORIGIN), head.lengths[ORIGIN], &key
        )
        if at == ABSENT or self._slots[at].ended != LIVE:
            return REMOVED_ if removed else UNCHANGED_
        self._slots[at].seen = True
        self._end_by(
            &self._slots[at],
            head.event,
            row_text(given, CALL_ID),
            head.lengths[CALL_ID],
            head.cseq,
            head.requested,
            self._now_ms,
        )
        return REMOVED_

    cdef bint _give_way(self, const uint8_t* given, int event) except -1:
        # End the local binding of this URI if its REGISTER was earlier: by CSeq in one Call-ID, else by time.
        cdef const uint8_t* row
        cdef const RowHead* head = row_head(given)
        cdef Key key = key_of(given)
        cdef Py_ssize_t at = self._find(row_text(given, URI), head.lengths[URI], b"", 0, &key)
        cdef bint earlier
        if at == ABSENT or self._slots[at].ended != LIVE:
            return False
        row = self._row(&self._slots[at])
        if same_call_id(row, given):
            earlier = row_head(row).cseq < head.cseq
        else:
            earlier = row_head(row).updated_at < head.updated_at
        if earlier:
            self._end_by(
                &self._slots[at],
                event,
                row_text(given, CALL_ID),
                head.lengths[CALL_ID],
                head.cseq,
                head.requested,
                self._now_ms,
            )
        return earlier

    def end_unseen(self, origin: str, event: object) -> int:
        """End every row of an origin that learn() and unlearn() did not hear of in this decision; return how many.

        One that is due within a second has expired: documents count in whole seconds.
        """
        return self._end_unseen(origin, event_number(event))

    cdef int _end_unseen(self, str origin, int number) except -1:
        cdef const uint8_t* row
        cdef Py_ssize_t i, n
        cdef const uint8_t* octets = <const uint8_t*>PyUnicode_AsUTF8AndSize(origin, &n)
        cdef Slot* slot
        cdef int ended = 0
        if number < EXPIRED:
            raise ValueError(f"{_EVENT_NAMES[number]!r} does not end a contact")
        if n == 0:
            raise ValueError("what is learned has an origin")
        for i in range(self._used):
            slot = &self._slots[i]
            row = self._row(slot)
            if self._lives(slot) and not slot.seen and has_text(row, ORIGIN, octets, n):
                self._end(slot, EXPIRED if row_head(row).expires_at < self._now_ms + 1000 else number)
                ended += 1
        return ended

    @property
    def count(self) -> int:
        """Number of contacts as decided so far that a REGISTER is answered with: local ones and those of peers."""
        cdef Py_ssize_t i
        cdef Py_ssize_t found = 0
        for i in range(self._used):
            if self._is_visible(&self._slots[i]) and not row_is_published(self._row(&self._slots[i])):
                found += self._is_local(&self._slots[i]) or not self._has_equal_before(i)
        return found

    cdef bint _has_equal_before(self, Py_ssize_t peer) noexcept:
        # Whether the contact of a peer's row is counted by another row: a local one, or an earlier one of a peer.
        cdef Py_ssize_t i
        cdef uint64_t contact_id = row_head(self._row(&self._slots[peer])).contact_id
        for i in range(self._used):
            if (
                i != peer
                and self._is_visible(&self._slots[i])
                and row_head(self._row(&self._slots[i])).contact_id == contact_id
                and not row_is_published(self._row(&self._slots[i]))
                and (i < peer or self._is_local(&self._slots[i]))
            ):
                return True
        return False

    @property
    def changed(self) -> bool:
        """True if finish() would make a change."""
        cdef Py_ssize_t i
        for i in range(self._used):
            if self._slots[i].fresh != ABSENT or (self._slots[i].before != ABSENT and self._slots[i].ended != LIVE):
                return True
        return False

    def rollback(self) -> None:
        """Forget everything decided since the last finish."""
        self._begin()

    def finish(self, cause: str, origin: str = "", muted: bool = False) -> Change | None:
        """Return what was decided since the last finish as a change, None if that is nothing, and go on from it."""
        return self._finish(cause, origin, muted)

    cdef Change _finish(self, str cause, str origin, bint muted):
        cdef Py_ssize_t i, n
        cdef Slot* slot
        cdef const uint8_t* row
        cdef Py_ssize_t rows = 0, size = 0, ended_size = 0, touched = 0
        cdef bint only_refreshes = True
        cdef bint touches_flows = False
        cdef Change change
        cdef uint64_t id
        cdef uint8_t* out
        cdef uint8_t* ended
        cdef const char* aor
        for i in range(self._used):
            slot = &self._slots[i]
            row = self._row(slot)
            if row == NULL:
                continue
            if slot.told != ABSENT:
                ended_size += row_size(self._arena.data + slot.told)
                only_refreshes = False
            if slot.ended != LIVE:
                if not row_is_hidden(row):  # else its end was told when it was hidden
                    ended_size += row_size(row)
                only_refreshes = False
                touched += 1
                if self._touches_flow(slot):
                    touches_flows = True
                continue
            rows += 1
            size += row_size(row)
            if slot.fresh != ABSENT:
                touched += 1
                if row_head(row).event != REFRESHED_EVENT:
                    only_refreshes = False
                if self._touches_flow(slot):
                    touches_flows = True
        if touched == 0:
            self._begin()
            return None

        change = Change.__new__(Change)
        change.before = self.record
        change.base_revision = 0
        if self.record is not None:
            change.base_revision = self._last_revision = record_head(octets_of(self.record)).revision
        # Revisions of an AoR never repeat, and rise: the first one comes from the clock, in microseconds, but an AoR
        # may end and come back within one of its milliseconds.
        change.revision = self._last_revision + 1
        if self.record is None and change.revision < <uint64_t>self._now_ms * 1000:
            change.revision = <uint64_t>self._now_ms * 1000
        change.cause = cause
        change.origin = origin
        change.at_ms = self._now_ms
        change.only_refreshes = only_refreshes
        change.muted = muted
        change.touches_flows = touches_flows
        change._aor = self.aor
        change.record = b""
        change.ended = PyBytes_FromStringAndSize(NULL, ended_size) if ended_size else b""
        aor = PyUnicode_AsUTF8AndSize(self.aor, &n)
        if self.record is None:
            id = registration_id(<const uint8_t*>aor, n)
        else:
            id = record_head(octets_of(self.record)).id
        if rows:
            change.record = new_record(<const uint8_t*>aor, n, id, rows, change.revision, size)
        out = <uint8_t*>octets_of(change.record) + (sizeof(RecordHead) + n if rows else 0)
        ended = <uint8_t*>octets_of(change.ended)
        for i in range(self._used):
            slot = &self._slots[i]
            row = self._row(slot)
            if row == NULL:
                continue
            if slot.told != ABSENT:
                n = row_size(self._arena.data + slot.told)
                memcpy(ended, self._arena.data + slot.told, n)
                (<RowHead*>ended).revision = change.revision
                ended = &ended[n]
            n = row_size(row)
            if slot.ended != LIVE:
                if not row_is_hidden(row):
                    memcpy(ended, row, n)
                    (<RowHead*>ended).event = <uint8_t>slot.ended
                    (<RowHead*>ended).revision = change.revision
                    ended = &ended[n]
                continue
            memcpy(out, row, n)
            if slot.fresh != ABSENT:
                (<RowHead*>out).revision = change.revision
            out = &out[n]
        self._last_revision = change.revision
        self.record = change.record if rows else None
        self._begin()
        return change


cdef object draft_of(str aor, bytes record, int64_t now_ms, uint64_t ended):
    cdef Draft draft = Draft.__new__(Draft)
    draft._open(aor, record, now_ms, ended)
    return draft


cdef int register_in(
    object draft, SipMessage request, object policy, uint32_t spread, str received, int64_t now_ms
) except -1:
    return (<Draft?>draft)._register(request, <RegisterPolicy?>policy, spread, received, now_ms, "", False)


cdef Change finished(object draft, str cause, str origin, bint muted):
    return (<Draft?>draft)._finish(cause, origin, muted)


cdef int learned_in(object draft, Binding binding, bint mirror) except -1:
    return (<Draft?>draft)._learn(binding, mirror)


cdef int unseen_ended_in(object draft, str origin, int event) except -1:
    return (<Draft?>draft)._end_unseen(origin, event)


cdef bytes drafted(object draft):
    return (<Draft?>draft).record


cdef inline void keep_alive(object one, object two, object three) noexcept:
    # Pointers into these are in use up to here.
    pass


cdef bytes set_span(Texts* texts, int which, SipMessage message, Span span):
    # A text nobody depends on: dropped if it is not UTF-8.  Returns what owns it if the message does not.
    cdef const uint8_t* p = &base(message)[span.start]
    cdef bytes text
    if not is_utf8(p, span.length):
        set_text(texts, which, p, 0)
        return None
    if memchr(p, 0x0D, span.length) == NULL and memchr(p, 0x0A, span.length) == NULL:
        set_text(texts, which, p, span.length)
        return None
    text = unfolded(p, span.length)
    set_text(texts, which, octets_of(text), PyBytes_GET_SIZE(text))
    return text


cdef bytes set_header(Texts* texts, int which, SipMessage message, int header):
    # All rows of a list header as one list.
    cdef bytes text, one
    cdef int i = message.first[header] - 1
    if i < 0:
        set_text(texts, which, b"", 0)
        return None
    text = set_span(texts, which, message, message.row[i].value)
    for i in range(i + 1, message.row_count):
        if <int>message.row[i].id != header:
            continue
        one = PyBytes_FromStringAndSize(<const char*>texts.octets[which], texts.lengths[which])
        text = set_span(texts, which, message, message.row[i].value)
        text = one + b", " + PyBytes_FromStringAndSize(<const char*>texts.octets[which], texts.lengths[which])
        set_text(texts, which, octets_of(text), PyBytes_GET_SIZE(text))
    return text


cdef uint64_t contact_number(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    # The number behind 16 hexadecimal digits, 0 for any other text.
    cdef uint64_t number = 0
    cdef uint8_t octet
    cdef Py_ssize_t i
    if n != 16:
        return 0
    for i in range(16):
        octet = p[i]
        if 0x30 <= octet <= 0x39:
            number = number << 4 | (octet - 0x30)
        elif 0x61 <= octet <= 0x66:
            number = number << 4 | (octet - 0x57)
        else:
            return 0
    return number


# -- differences -------------------------------------------------------------------------------------------

@cython.final
@cython.auto_pickle(False)
cdef class ContactDelta:
    """What differs between two sets of bindings; contacts are the same if their URIs are equal, and their flows."""

    cdef readonly tuple added
    cdef readonly tuple changed
    cdef readonly tuple removed

    def __init__(
        self,
        added: Iterable[Binding] = (),
        changed: Iterable[tuple[Binding, Binding]] = (),
        removed: Iterable[Binding] = (),
    ) -> None:
        self.added = tuple(added)
        self.changed = tuple(changed)
        self.removed = tuple(removed)

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ContactDelta):
            return NotImplemented
        cdef ContactDelta theirs = other
        return (self.added, self.changed, self.removed) == (theirs.added, theirs.changed, theirs.removed)

    def __hash__(self) -> int:
        return hash((self.added, self.changed, self.removed))

    def __repr__(self) -> str:
        return f"ContactDelta(added={self.added!r}, changed={self.changed!r}, removed={self.removed!r})"


cdef bytes index_key(const uint8_t* row):
    # Equal URIs have equal keys: user, host and port of a SIP URI.  The rest of 19.1.4 is asked pairwise.
    cdef SipUri uri
    cdef Py_ssize_t fault
    cdef const uint8_t* p = row_text(row, URI)
    cdef Py_ssize_t n = row_head(row).lengths[URI]
    if find_uri_fault(p, 0, n, &uri, &fault) == NULL and uri.kind != SCHEME_OTHER:
        return aor_octets(&uri, p) + flow_key(row)
    return PyBytes_FromStringAndSize(<const char*>p, n).lower() + flow_key(row)


cdef bytes flow_key(const uint8_t* row):
    # What keeps the flows of one URI apart; the same instance may be written in another case.
    if row_head(row).reg_id == 0:
        return b""
    cdef bytes instance = PyBytes_FromStringAndSize(<const char*>row_instance(row), row_head(row).instance_length)
    return b"\0%d\0%b" % (row_head(row).reg_id, instance.lower())


cdef bytes identity_key(const uint8_t* row):
    # The same URI octets from the same origin.
    cdef Py_ssize_t n = row_head(row).lengths[URI]
    return (
        PyBytes_FromStringAndSize(<const char*>row_text(row, ORIGIN), row_head(row).lengths[ORIGIN])
        + b"\0"
        + PyBytes_FromStringAndSize(<const char*>row_text(row, URI), n)
        + flow_key(row)
    )


def diff_contacts(before: Sequence[Binding], after: Sequence[Binding]) -> ContactDelta:
    """Return the delta that turns before into after.

    Contacts are paired one to one: first those with the same URI octets and origin, then those with equal URIs
    (RFC 3261 section 19.1.4), each in the order given.
    """
    cdef Binding binding, other
    cdef dict known = {}
    cdef dict partners = {}         # index in after -> index in before
    cdef list left = []             # indices in after without partner
    cdef dict index
    cdef Py_ssize_t i, j
    for i, binding in enumerate(before):
        known.setdefault(identity_key(binding._row), []).append(i)
    for i, binding in enumerate(after):
        same = known.get(identity_key(binding._row))
        if same:
            partners[i] = same.pop(0)
        else:
            left.append(i)
    cdef set taken = set(partners.values())
    if left and len(taken) < len(before):
        index = {}
        for i, binding in enumerate(before):
            if i not in taken:
                index.setdefault(index_key(binding._row), []).append(i)
        for i in left:
            binding = after[i]
            candidates = index.get(index_key(binding._row), ())
            for j in candidates:
                other = before[j]
                if uri_octets_equal(
                    row_text(other._row, URI),
                    row_head(other._row).lengths[URI],
                    row_text(binding._row, URI),
                    row_head(binding._row).lengths[URI],
                ):
                    partners[i] = j
                    taken.add(j)
                    candidates.remove(j)
                    break
    return ContactDelta(
        [binding for i, binding in enumerate(after) if i not in partners],
        [(before[partners[i]], binding) for i, binding in enumerate(after)
         if i in partners and before[partners[i]] != binding],
        [binding for i, binding in enumerate(before) if i not in taken],
    )


def apply_delta(before: Sequence[Binding], delta: ContactDelta) -> list[Binding]:
    """Return before with the delta applied: changed in place, added at the end."""
    cdef dict fate = {}
    for old, new in delta.changed:
        fate.setdefault(old, []).append(new)
    for old in delta.removed:
        fate.setdefault(old, []).append(None)
    cdef list after = []
    for binding in before:
        if not fate.get(binding):
            after.append(binding)
            continue
        new = fate[binding].pop(0)
        if new is not None:
            after.append(new)
    after.extend(delta.added)
    return after
