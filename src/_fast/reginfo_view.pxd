"""Layout of the tables of a subscription, for what hears its NOTIFYs."""

from libc.stdint cimport int64_t

from reginfo._fast.reginfo_xml cimport Reginfo, ReginfoRegistration


cdef class ReginfoView:
    cdef int64_t _version
    cdef dict _registrations            # id and AoR -> ReginfoRegistration; None while there is none


# Whether a document can be applied that tells of one registration, and says nothing of any other by leaving it out.
cdef bint is_next_about(ReginfoRegistration told, Reginfo document, ReginfoView view) except -1

# Apply a document that is neither stale nor said to be a gap; SipParseError as apply_reginfo().
cdef int take_document(Reginfo document, ReginfoView view) except -1
