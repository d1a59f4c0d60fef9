"""Layout of what is not durable yet, for what changes often."""


cdef class Unsaved:
    cdef dict items

    cdef int keep(self, bytes key, bytes value) except -1
