"""The record behind a registration, for what writes it down, the row of a contact, for what learns one, a change, for
what counts them, and what a draft does, for what decides."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from reginfo._fast._record cimport RowHead
from reginfo._fast.sip_parser cimport SipMessage


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


cdef class Change:
    cdef readonly str cause
    cdef readonly str origin
    cdef readonly bytes record
    cdef readonly bytes ended
    cdef readonly bytes before
    cdef readonly uint64_t base_revision
    cdef readonly uint64_t revision
    cdef readonly int64_t at_ms
    cdef readonly bint only_refreshes
    cdef readonly bint muted
    cdef readonly bint touches_flows    # a binding of a flow came, moved or ended; False once read back
    cdef str _aor
    cdef uint64_t _seq

    cdef bint removes(self) noexcept


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


# Draft(), register() of a contact that ends with no flow, learn(), end_unseen(), finish() and record, without the calls
# of Python.
cdef object draft_of(str aor, bytes record, int64_t now_ms, uint64_t ended)
cdef int register_in(
    object draft, SipMessage request, object policy, uint32_t spread, str received, int64_t now_ms
) except -1
cdef int learned_in(object draft, Binding binding, bint mirror) except -1
cdef int unseen_ended_in(object draft, str origin, int event) except -1
cdef Change finished(object draft, str cause, str origin, bint muted)
cdef bytes drafted(object draft)

# What record_revision does, the id that documents give the registration of an AoR, and the instant at which the last
# contact at home here ends, -1 without one.
cdef int64_t revision_of(bytes record) except -1
cdef str registration_id_text(str aor)
cdef int64_t last_expiry(bytes record) except -2
