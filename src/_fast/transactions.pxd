"""Layout of the absorbed transactions, for the intake."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t

from reginfo._fast._index cimport Index, Link
from reginfo._fast.datagrams cimport Flow

cdef struct Entry:
    Link link           # link.hash is the lower half of the fingerprint
    uint32_t upper
    uint32_t value


cdef struct Answer:
    PyObject* octets    # owned, or NULL
    uint64_t fingerprint


cdef class Transactions:
    cdef Index[2] generations
    cdef int current
    cdef int64_t started_at     # of the current generation
    cdef uint32_t capacity
    cdef uint32_t answers
    cdef uint32_t next_answer
    cdef uint32_t oldest_answer
    cdef int64_t room               # octets that answers may still take
    cdef Answer* ring
    cdef uint64_t[2] source_key
    cdef uint64_t[2] tag_key
    cdef uint64_t tokens            # given out

    cdef str tag_of(self, uint64_t number)
    cdef uint64_t digest(self, bytes octets, Flow flow) noexcept
    cdef void expect(self, const uint64_t* numbers, Py_ssize_t n) noexcept nogil
    cdef object known(self, uint64_t number, int64_t now_ms)
    cdef int keep_answer(self, uint64_t number, object answer, int64_t now_ms) except -1
    cdef void rotate(self) noexcept
    cdef void turn(self, int64_t now_ms) noexcept
    cdef uint32_t keep(self, bytes octets, uint64_t fingerprint)
    cdef int drop(self, uint32_t place) except -1
