"""Layout of the screen, for the intake."""

from reginfo._fast.sip_parser cimport SipMessage
from reginfo._fast.uri cimport Host

cdef enum:
    GO_ON_
    NO_ANSWER_
    UNKNOWN_METHOD_
    METHOD_NOT_ALLOWED_
    URI_TOO_LONG_
    UNSUPPORTED_SCHEME_
    FOREIGN_DOMAIN_
    UNKNOWN_EXTENSION_
    AOR_NOT_SIP_
    AOR_OF_OTHER_DOMAIN_


cdef class Screen:
    cdef frozenset _methods
    cdef frozenset _domains
    cdef frozenset _hosts
    cdef frozenset _extensions
    cdef Py_ssize_t _max_uri
    cdef bytes _written                 # a host as it was written last
    cdef bytes _canonical               # the same in canonical form

    cdef bytes host(self, const Host* host, const unsigned char* octets)

    cdef int verdict(self, SipMessage request, bytes here=*) except -1
