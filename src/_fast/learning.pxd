"""What a document says, for what decides works."""

from libc.stdint cimport int64_t

from reginfo._fast.reginfo_xml cimport ReginfoRegistration

# What learn_registration does.
cdef int learn_in(
    object draft, ReginfoRegistration said, str origin, bint full, int64_t until_ms, int64_t now_ms, bint mirror
) except -1
