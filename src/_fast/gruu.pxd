"""GRUU state of an instance, for what binds contacts, and its GRUUs as contact parameters, for what tells them."""

from libc.stdint cimport int64_t, uint64_t, uint8_t


cdef class GruuIndexes:
    cdef uint64_t _last

    cdef uint64_t draw(self, int64_t now_ms) noexcept


# The GRUUs of a row (with ROW_GRUU) of a record as contact parameters, for an identity that has its contacts, mostly
# the AoR itself: pub-gruu, and, with a mint, temp-gruu; for_watchers adds temp-gruu-cseq, the CSeq that made the oldest
# good one (RFC 5628 section 5.2).  Nothing for what is no SIP URI.
cdef bytes gruu_params(
    const uint8_t* record, const uint8_t* row, const uint8_t* identity, Py_ssize_t n, object mint, bint for_watchers
)
