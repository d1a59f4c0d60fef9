"""Layout of the timers, for what has many of them."""

from libc.stdint cimport int64_t


cdef class TimerQueue:
    cdef dict slots     # by slot, an action and its subject, the next action and its subject: no object for the pair
    cdef list order     # a heap of the slots

    cdef int put(self, int64_t due_ms, object action, object subject) except -1
