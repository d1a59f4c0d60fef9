"""Counting from C: one addition."""

from libc.stdint cimport int64_t, uint64_t

cdef enum:
    MAX_COUNTERS = 1024   # room for one per SIP status code; 8 KiB inside the object
    MAX_BOUNDS = 32


cdef class Counters:
    cdef readonly tuple names
    cdef Py_ssize_t _size
    cdef uint64_t[MAX_COUNTERS] _values


cdef class RequestCounters:
    cdef dict slots         # by method
    cdef dict rows          # Counters by transport

    cdef int add(self, str method, str transport) except -1


cdef class Histogram:
    cdef Py_ssize_t _size
    cdef int64_t[MAX_BOUNDS] _bounds
    cdef uint64_t[MAX_BOUNDS + 1] _counts     # the last one is of what is above all bounds
    cdef readonly uint64_t sum

    cdef void count(self, int64_t value, uint64_t n) noexcept
