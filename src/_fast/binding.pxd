"""The record behind a registration, for what writes it down."""


cdef class Registration:
    cdef bytes _record
    cdef bint _terminated
