"""The record of one AoR: its layout and the one check that makes it safe to read.

A record is what the table holds, what a commit carries and what lies on disk: a header, the AoR, and the rows
one after another, each a fixed head followed by its texts in the order of the TEXT numbers and, in rows with GRUUs
only, by their state.  All numbers are little-endian and unaligned.  A record of unknown origin is read only after
record_is_sound() accepted it.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from reginfo._fast._siphash cimport siphash

cdef extern from *:
    """
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "records are little-endian and are read in place"
    #endif
    """

cdef enum:
    RECORD_FORMAT = 1
    Q_UNSPECIFIED = 0xFFFF
    EVENTS = 9              # registered ... rejected, in the order of reginfo.model.ContactEvent
    MAX_ROWS = 0xFFFF
    MAX_TEXT = 0xFFFF

cdef enum:                  # bits of RowHead.flags
    ROW_HIDDEN = 1          # another origin's row behind a tombstone: neither listed nor told until it is news again
    ROW_GRUU = 2            # a GruuTail follows the texts

cdef enum:                  # the texts of a row, in their order
    URI
    DISPLAY_NAME            # as written: tokens or a quoted string
    CALL_ID
    PARAMS                  # every contact parameter but q and expires, as written: ";a=b;c"
    PATH
    RECEIVED
    FLOW
    USER_AGENT
    ORIGIN                  # empty: registered here; "peer:NAME" or "publication:ID"
    TEXTS


cdef packed struct RecordHead:
    uint8_t format
    uint8_t reserved
    uint16_t aor_length
    uint16_t rows
    uint16_t reserved2
    uint64_t revision
    uint64_t id


cdef packed struct RowHead:
    uint32_t size                   # of the whole row
    uint32_t cseq
    int64_t registered_at
    int64_t updated_at
    int64_t expires_at
    uint64_t contact_id
    uint64_t revision               # of the AoR, as this row changed last
    uint32_t requested              # delta-seconds asked for; of one in probation, those until it may come back
    uint32_t reg_id                 # 0: none
    uint16_t q                      # thousandths, or Q_UNSPECIFIED
    uint8_t event
    uint8_t flags                   # ROW_HIDDEN, ROW_GRUU
    uint16_t instance_start         # +sip.instance inside PARAMS, with its quotes
    uint16_t instance_length        # 0: none
    uint16_t[TEXTS] lengths


cdef packed struct GruuTail:        # of an instance, the same in all its rows (RFC 5627 section 5.1)
    uint64_t index                  # what its temporary GRUUs are good under
    uint32_t first_cseq             # of the REGISTER that made the oldest good one


cdef inline const RecordHead* record_head(const uint8_t* record) noexcept nogil:
    return <const RecordHead*>record


cdef inline const uint8_t* record_aor(const uint8_t* record) noexcept nogil:
    return &record[sizeof(RecordHead)]


cdef inline const uint8_t* record_rows(const uint8_t* record) noexcept nogil:
    # The first row; the next one is at row[row_size(row)].
    return &record[sizeof(RecordHead) + (<const RecordHead*>record).aor_length]


cdef inline const RowHead* row_head(const uint8_t* row) noexcept nogil:
    return <const RowHead*>row


cdef inline Py_ssize_t row_size(const uint8_t* row) noexcept nogil:
    return (<const RowHead*>row).size


cdef inline const uint8_t* row_text(const uint8_t* row, int which) noexcept nogil:
    cdef Py_ssize_t start = sizeof(RowHead)
    cdef int i
    for i in range(which):
        start += (<const RowHead*>row).lengths[i]
    return &row[start]


cdef inline bint row_is_local(const uint8_t* row) noexcept nogil:
    return (<const RowHead*>row).lengths[ORIGIN] == 0


cdef inline bint row_is_hidden(const uint8_t* row) noexcept nogil:
    return (<const RowHead*>row).flags & ROW_HIDDEN != 0


cdef inline bint row_has_gruu(const uint8_t* row) noexcept nogil:
    return (<const RowHead*>row).flags & ROW_GRUU != 0


cdef inline const GruuTail* row_gruu(const uint8_t* row) noexcept nogil:
    # Of a row that has it.
    return <const GruuTail*>&row[(<const RowHead*>row).size - sizeof(GruuTail)]


cdef inline bint row_is_published(const uint8_t* row) noexcept nogil:
    # Among the origins only that of a publication begins so: "publication:ID", "peer:NAME".
    return (
        (<const RowHead*>row).lengths[ORIGIN] > 2
        and row_text(row, ORIGIN)[1] == 0x75
    )


cdef inline int64_t record_next_expiry(const uint8_t* record) noexcept nogil:
    # The earliest instant at which a row ends; INT64_MAX without rows.
    cdef const uint8_t* row = record_rows(record)
    cdef int64_t earliest = INT64_MAX
    cdef int left = (<const RecordHead*>record).rows
    while left:
        if row_head(row).expires_at < earliest:
            earliest = row_head(row).expires_at
        row = &row[row_size(row)]
        left -= 1
    return earliest


cdef inline bint row_is_sound(const uint8_t* row, Py_ssize_t available) noexcept nogil:
    # True if a whole row lies within the octets available.
    cdef const RowHead* head = <const RowHead*>row
    cdef Py_ssize_t size = sizeof(RowHead)
    cdef int i
    if available < size or head.size > available:
        return False
    for i in range(TEXTS):
        size += head.lengths[i]
    if head.flags & ROW_GRUU:
        size += sizeof(GruuTail)
    return (
        head.size == size
        and head.event < EVENTS
        and <uint32_t>head.instance_start + head.instance_length <= head.lengths[PARAMS]
    )


cdef inline bint record_is_sound(const uint8_t* record, Py_ssize_t size) noexcept nogil:
    # True if every length in it is true; nothing is said about what the texts say.
    cdef const RecordHead* head = <const RecordHead*>record
    cdef Py_ssize_t at = sizeof(RecordHead)
    cdef int left
    if size < at or head.format != RECORD_FORMAT or size - at < head.aor_length:
        return False
    at += head.aor_length
    left = head.rows
    while left:
        if not row_is_sound(&record[at], size - at):
            return False
        at += row_size(&record[at])
        left -= 1
    return at == size


cdef inline uint64_t registration_id(const uint8_t* aor, Py_ssize_t n) noexcept nogil:
    # A hash, so that it is stable without a counter; its key is a constant because equal identifiers on every node
    # matter more here than secrecy.
    return siphash(<uint64_t>0x7265672D72656769, <uint64_t>0x7374722D69640001, aor, n)
