"""Layout of the nonces, for the extension that checks credentials."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from reginfo._fast._index cimport Index, Link
from reginfo._fast._sha256 cimport Mac

cdef enum:      # what a nonce is
    FORGED = 0          # not of this server and realm
    EXPIRED             # ours, but too old, or its uses are forgotten
    UNUSED
    USED

cdef enum:
    NONCE_OCTETS = 32   # as text
    HASH_OCTETS = 32    # of SHA-256


cdef struct Use:
    Link link                       # link.hash is of the text
    uint32_t younger                # the nonce whose first use came next
    uint32_t highest                # nonce-count
    uint64_t seen                   # bit i: highest - i came
    uint64_t number
    uint8_t[NONCE_OCTETS] text


cdef class Nonces:
    cdef Index index
    cdef uint64_t[2] hash_key
    cdef Mac mac
    cdef uint8_t[HASH_OCTETS] realm_hash
    cdef uint32_t count             # of the nonces made; they differ also within a second
    cdef uint32_t capacity
    cdef uint32_t oldest            # by first use; 0 without one
    cdef uint32_t youngest
    cdef uint64_t horizon           # highest number whose uses are forgotten
    cdef int64_t lifetime_s
    cdef object sessions            # nonce -> the session begun with it, for the authenticator

    cdef bytes make(self, int64_t now_ms)
    cdef void write(self, uint64_t number, uint8_t* text) noexcept
    cdef int look(self, bytes nonce, int64_t now_ms) except -1
    cdef bint spend(self, bytes nonce, uint32_t nc, int64_t now_ms) except -1
    cdef bint is_over(self, uint64_t number, int64_t now_ms) noexcept
    cdef bint is_ending(self, bytes nonce, int64_t now_ms) except -1
    cdef uint32_t find(self, bytes nonce) noexcept
    cdef uint64_t number_of(self, bytes nonce) noexcept
    cdef bint is_ours(self, bytes nonce, uint64_t number) noexcept
    cdef int remember(self, bytes nonce, uint32_t nc, int64_t now_ms) except -1
    cdef int forget_oldest(self) except -1
