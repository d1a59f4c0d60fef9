"""Layout of works and their queues, for the intake."""

from libc.stdint cimport int64_t, uint64_t

from reginfo._fast.binding cimport Change
from reginfo._fast.datagrams cimport Flow
from reginfo._fast.reginfo_xml cimport Reginfo
from reginfo._fast.sip_parser cimport SipMessage
from reginfo._fast.subscribed cimport Subscribed


cdef class Outcome:
    cdef readonly int status
    cdef readonly str reason        # None for the phrase that belongs to the status
    cdef readonly tuple headers     # of (name, value)


cdef class Received:
    cdef readonly SipMessage request
    cdef readonly str aor
    cdef readonly Flow flow
    cdef readonly uint64_t fingerprint
    cdef readonly int64_t arrived_ms
    cdef readonly int arrived_us    # beyond arrived_ms
    cdef public bint trying         # a 100 has gone out
    cdef public bint muted          # what it changes is not published
    cdef public str info            # Authentication-Info of its 200, None or empty without one
    cdef public bint moves_flow     # what it changes has to do with flows that bindings end with
    cdef public Outcome outcome
    cdef public Change change
    cdef bint is_claimed            # it is in a turn
    cdef bint is_alone              # its AoR has no other work in that turn


cdef class Registering(Received):
    cdef public bint repeated       # an absorbed retransmission: only the listing is rendered again
    cdef public bytes listing


cdef class Hearing(Received):
    cdef readonly Subscribed subscription
    cdef Reginfo document           # of one registration
    cdef int64_t until_ms           # a contact is believed of which no time is told


cdef int receive(
    Received work, SipMessage request, str aor, Flow flow, uint64_t fingerprint, int64_t arrived_ms, int arrived_us
) except -1


cdef class Turn:
    cdef readonly list works
    cdef readonly list aors         # each once


cdef class WorkQueues:
    cdef dict queues                # AoR -> the only work, or a list of all in order
    cdef list arrivals              # works that can be decided now
    cdef readonly Py_ssize_t pending

    cdef bint is_idle(self, str aor) except -1
    cdef int begin(self, Received work) except -1
