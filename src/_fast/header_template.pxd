"""Layout of header rows written once, for what fills in the values."""


cdef class HeaderTemplate:
    cdef list _parts            # the octets before, between and behind the values

    cdef bytes filled(self, tuple values)
