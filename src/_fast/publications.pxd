"""Layout of publications, for what changes them."""

from libc.stdint cimport int64_t

from reginfo._fast.exchanges cimport Exchanges
from reginfo._fast.sip_parser cimport SipMessage
from reginfo._fast.timer_queue cimport TimerQueue
from reginfo._fast.unsaved cimport Unsaved
from reginfo._fast.untold cimport Untold


cdef class Publication(Untold):
    cdef public str entity_tag          # what the compositor calls the state it has, if any (RFC 3903 section 3)
    cdef public int64_t expires_at      # when the compositor forgets it
    cdef public int64_t refresh_at
    cdef public int64_t granted         # seconds the compositor keeps it
    cdef public int64_t timer_at        # when somebody looks what time has done to it
    cdef public int64_t told            # revision the compositor has accepted
    cdef public bint told_empty         # it showed no contact
    cdef public int64_t sent            # revision in the PUBLISH that is outstanding
    cdef public bint sent_empty
    cdef public bint has_body           # that PUBLISH has a document; a refresh has none
    cdef public bint is_ending          # that PUBLISH removes it
    cdef public int64_t seq             # number of the first change the compositor has not accepted
    cdef public bint is_news            # there is something newer than what was told; the record is held then
    cdef public bint is_due             # it has to be refreshed
    cdef public bint is_busy            # a PUBLISH is outstanding or waits for its place; there is one at most (EPA-1)
    cdef readonly bint is_gone          # it was let go of
    cdef public int64_t not_before      # when the next PUBLISH may be sent after one that was refused
    cdef public int failures
    cdef public int64_t min_expires     # what the compositor asked for with 423

    cdef bytes document(self, object peer, int64_t now_ms)
    cdef int64_t expires(self, int64_t now_ms) except -1
    cdef int accept(self, str entity_tag, int64_t expires, int64_t now_ms) except -1


cdef class Publications:
    cdef Exchanges client
    cdef readonly TimerQueue timers
    cdef readonly Unsaved unsaved
    cdef object token
    cdef object encode
    cdef object when_due
    cdef readonly object outage
    cdef readonly dict by_aor
    # Those with news that is not accepted, oldest first: an OrderedDict, as a dict is slow to find its first of many.
    cdef readonly object untold
    cdef readonly set removals      # whose removal is not answered yet
    cdef readonly dict publishes    # how many have come to each final answer
    cdef public object hop          # of the compositor; None if nothing is published
    cdef public object peer         # that the compositor is, if it is one
    cdef public str agent           # what this side is known by at its compositors; empty until it is

    cdef Publication at(self, str aor)
    cdef int news(self, Publication publication, int64_t seq, object now) except -1
    cdef bint advance_one(self, Publication publication, object now) except -1
    cdef int arm_one(self, Publication publication, int64_t now_ms) except -1
    cdef str call_id(self, str aor)
    cdef int accepted(self, Publication publication) except -1
