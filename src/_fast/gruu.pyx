"""GRUUs (RFC 5627): the numbers that temporary ones are good under, and GRUUs written as contact parameters.

The instance of a contact has an index, kept in each of its rows.  A temporary GRUU is made of the index, and is good as
long as a row has it; a new index makes all former ones bad at once.  How the index is hidden in it is the caller's.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp

cdef extern from "string.h" nogil:
    void* memrchr(const void* octets, int octet, size_t n)  # GNU

from reginfo._fast._chars cimport PARAM, octet_is, same_ignoring_case
from reginfo._fast._record cimport (
    CALL_ID,
    PARAMS,
    URI,
    record_head,
    record_rows,
    row_gruu,
    row_has_gruu,
    row_head,
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

cdef enum:
    INDEXES_PER_MS = 100        # 48 bits of them last to the year 2059

cdef uint64_t INDEX_MASK = <uint64_t>0xFFFFFFFFFFFF


@cython.final
@cython.auto_pickle(False)
cdef class GruuIndexes:
    """Numbers of 48 bits that never come twice, also after a restart.

    They come from engine time, which has moved on by then, and count on where more than 100 are drawn in a millisecond.
    """

    def __cinit__(self) -> None:
        self._last = 0

    def next(self, now_ms: int64_t) -> int:
        """Draw a number."""
        return self.draw(now_ms)

    cdef uint64_t draw(self, int64_t now_ms) noexcept:
        self._last = max(self._last + 1, <uint64_t>max(now_ms, <int64_t>0) * INDEXES_PER_MS)
        return self._last & INDEX_MASK


cdef const uint8_t* newest_of(const uint8_t* record, const uint8_t* row) noexcept nogil:
    # The row of the same index that was registered last: its Call-ID and CSeq have made the newest temporary GRUU.
    # Within a millisecond it is any of them, but the same for all.
    cdef const uint8_t* other = record_rows(record)
    cdef const uint8_t* newest = NULL
    cdef uint64_t index = row_gruu(row).index
    cdef int left = record_head(record).rows
    while left:
        if row_has_gruu(other) and row_gruu(other).index == index:
            if newest == NULL or row_head(other).updated_at >= row_head(newest).updated_at:
                newest = other
        other = &other[row_size(other)]
        left -= 1
    return newest


cdef int put_gr(Writer* w, const uint8_t* urn, Py_ssize_t n) except -1:
    # pvalue = 1*paramchar, paramchar = param-unreserved / unreserved / escaped   RFC 3261 25.1
    cdef Py_ssize_t i
    for i in range(n):
        if octet_is(urn[i], PARAM):
            put_octet(w, urn[i])
        else:
            put_octet(w, 0x25)
            put_octet(w, b"0123456789ABCDEF"[urn[i] >> 4])
            put_octet(w, b"0123456789ABCDEF"[urn[i] & 15])
    return 0


cdef bytes gruu_params(
    const uint8_t* record, const uint8_t* row, const uint8_t* identity, Py_ssize_t n, object mint, bint for_watchers
):
    cdef const uint8_t* aor
    cdef const uint8_t* host
    cdef const uint8_t* newest
    cdef const uint8_t* call_id
    cdef bint secure = row_head(row).lengths[URI] > 5 and same_ignoring_case(row_text(row, URI), b"sips:", 5)
    cdef bytes scheme = b"sips:" if secure else b"sip:"     # RFC 5630 section 5.2.1
    cdef bytes user
    cdef Writer w
    if n < 4 or memcmp(identity, b"sip:", 4) != 0:
        return b""
    aor = identity + 4
    n -= 4
    host = <const uint8_t*>memrchr(aor, 0x40, n)
    host = aor if host == NULL else host + 1
    writer_init(&w)
    try:
        put(&w, b';pub-gruu="', 11)
        put(&w, <const char*>scheme, len(scheme))
        put(&w, aor, n)
        put(&w, b";gr=", 4)
        put_gr(&w, &row_text(row, PARAMS)[row_head(row).instance_start], row_head(row).instance_length)
        put_octet(&w, 0x22)
        if mint is not None:
            newest = newest_of(record, row)
            call_id = row_text(newest, CALL_ID)
            user = mint(row_gruu(row).index, call_id[:row_head(newest).lengths[CALL_ID]], row_head(newest).cseq)
            put(&w, b';temp-gruu="', 12)
            put(&w, <const char*>scheme, len(scheme))
            put(&w, <const char*>user, len(user))
            put_octet(&w, 0x40)
            put(&w, host, aor + n - host)
            put(&w, b';gr"', 4)
            if for_watchers:
                put(&w, b";temp-gruu-cseq=", 16)
                put_unsigned(&w, row_gruu(row).first_cseq)
        return writer_take(&w)
    finally:
        writer_free(&w)
