"""Layout of documents, for what compares and applies them."""

from libc.stdint cimport int8_t, int16_t, int64_t, uint32_t


cdef class ReginfoContact:
    cdef readonly str id
    cdef readonly str uri
    cdef readonly str call_id           # None without one
    cdef readonly str display_name      # None without one
    cdef readonly str params            # ";name=value" for each unknown-param, as Binding.params
    cdef readonly str pub_gruu          # None without one
    cdef readonly str temp_gruu         # None without one
    cdef readonly str path              # of the extension, or of Kamailio's attributes; empty without one
    cdef readonly str received
    cdef readonly str user_agent
    cdef readonly str flow
    cdef int64_t _expires               # -1 absent, like all numbers here
    cdef int64_t _retry_after
    cdef int64_t _duration
    cdef int64_t _cseq
    cdef int64_t _first_cseq
    cdef int64_t _age
    cdef int16_t _q
    cdef int8_t _event
    cdef readonly bint active
    cdef bint has_event

    cdef tuple fields(self)


cdef class ReginfoRegistration:
    cdef readonly str aor
    cdef readonly str id
    cdef readonly tuple contacts
    cdef int8_t _state


cdef class Reginfo:
    cdef readonly uint32_t version
    cdef readonly bint full
    cdef readonly tuple registrations


cdef ReginfoRegistration new_registration(str aor, str id, int state, tuple contacts)

# What parse_reginfo does.
cdef Reginfo read_reginfo(bytes data, Py_ssize_t max_octets)

# What reginfo_tail does.
cdef bytes tail_of(
    bytes record,
    str aor,
    int64_t now_ms,
    object since,
    bytes ended,
    str audience,
    bint extensions,
    bint kamailio,
    bint temp_gruu,
    object mint,
    object identities,
)

# What reginfo_is_newer does.
cdef bint any_newer(bytes record, int64_t since, bytes ended, str audience) except -1
