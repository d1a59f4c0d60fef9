from libc.stdint cimport uint16_t, uint64_t

from reginfo._fast._sockets cimport Address

cdef enum Transport:
    UDP
    TCP
    TLS
    WS
    WSS

cdef class Flow:
    cdef Address remote_address         # where answers go: the kernel's own form, scope included
    cdef Address local_address          # where the message came in
    cdef char host_octets[46]           # remote host as text, NUL-terminated, no brackets (RFC 5952)
    cdef unsigned char host_length
    cdef unsigned char kind             # a Transport
    cdef uint16_t remote_port           # host order
    cdef readonly uint64_t connection
    cdef str name                       # domain of a TLS connection to be made, None for any
