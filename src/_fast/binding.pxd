"""The record behind a registration, for what writes it down, and the row of a contact, for what learns one."""

from libc.stdint cimport uint8_t

from reginfo._fast._record cimport RowHead


cdef class Registration:
    cdef bytes _record
    cdef bint _terminated


cdef class Binding:
    cdef bytes _owner               # owns the octets below
    cdef const uint8_t* _row

    cdef int fill(
        self,
        RowHead* head,
        str uri,
        str quoted,
        str call_id,
        str params,
        str path,
        str received,
        str flow,
        str user_agent,
        str origin,
    ) except -1


cdef Binding learned_binding(
    RowHead* head,
    str uri,
    str display_name,
    str call_id,
    str params,
    str path,
    str received,
    str flow,
    str user_agent,
    str origin,
)
