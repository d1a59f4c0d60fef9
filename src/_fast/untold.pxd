"""Layout of what somebody has not been told yet, for what tells it."""

from libc.stdint cimport int64_t

from reginfo._fast.binding cimport Change


cdef class Untold:
    cdef readonly str aor
    cdef readonly int64_t revision
    cdef readonly bytes record      # as of revision, until clear()
    cdef int64_t read_to            # the newest revision of which the change was read
    cdef list ended                 # of revisions and rows, in order
    cdef dict documents
    cdef int64_t made_ms            # when the first of them was made

    cdef int take(self, Change change) except -1
    cdef bytes shared(
        self, object since, int64_t told, object peer, int64_t now_ms, object mint, object identities
    )
    cdef int64_t reach(self, object since) except -1
    cdef bint has_news(self, int64_t since, object peer, bint home) except -1
    cdef bytes state(
        self, object since, int64_t told, object peer, int64_t now_ms, bint home, object mint, object identities
    )
    cdef bytes ended_after(self, int64_t since)
    cdef int let_go(self) except -1
