"""Layout of requests under way."""

from libc.stdint cimport int64_t

from reginfo._fast.counters cimport Counters, RequestCounters
from reginfo._fast.datagrams cimport Flow
from reginfo._fast.sip_parser cimport SipMessage
from reginfo._fast.timer_queue cimport TimerQueue

cdef enum:
    HIGHEST_CSEQ = 0x7FFFFFFF   # MSG-10


cdef class Request:
    cdef readonly str method
    cdef readonly str uri
    cdef readonly bytes rows        # every header but Via and Content-Length, as write_headers() gives them
    cdef readonly bytes body
    cdef readonly int vias          # its responses have: ours, and those of the hops before us among the rows


cdef class Place:
    cdef readonly Flow flow
    cdef readonly tuple address     # transport and remote address
    cdef readonly str via           # of requests to it, but for the branch
    cdef readonly dict exchanges    # by branch
    cdef public Place twin          # the same server over TCP
    cdef public bint is_current     # requests still begin here
    cdef str local_host
    cdef int local_port

    cdef bint sends_as(self, SipMessage response) except -1


cdef class Destination:
    cdef readonly object hop
    cdef public tuple places
    cdef public int64_t good_until      # when they have to be looked for again
    cdef readonly object waiting        # sender, subject, sender, subject: no object for the pair
    cdef readonly int underway
    cdef readonly int windowed
    cdef public int64_t paused_until


cdef class Exchange:
    cdef readonly str branch
    cdef readonly int64_t began_ms
    cdef public Request request
    cdef readonly bytes octets
    cdef readonly object sender
    cdef readonly object subject
    cdef readonly Destination destination
    cdef readonly Place place
    cdef readonly tuple further         # places where it goes if this server fails
    cdef readonly Place fallback        # where it goes if no connection can be made
    cdef public object attempt          # what it was authorized with, if it was
    cdef public object transaction      # made when it has to step
    cdef readonly bint is_windowed      # it counts in the window of its destination
    cdef readonly bint is_over


cdef class Exchanges:
    cdef object token
    cdef readonly TimerQueue timers
    cdef int64_t t1_ms
    cdef int64_t timer_f_ms
    cdef readonly object when_due   # on_timer(), mentioned once for all timers
    cdef dict by_hop                # destinations
    cdef Destination latest         # of by_hop, or None
    cdef dict by_branch             # exchanges
    cdef list output
    # Destinations at which something may begin: an OrderedDict, as a dict is slow to find its first of many.
    cdef readonly object ready
    cdef readonly object authorizations     # who this side is where it is asked
    cdef readonly RequestCounters requests  # begun, each at every server it is tried at
    cdef readonly Counters responses        # received and waited for, by status

    cdef Destination destination_at(self, object hop)
    cdef int ask(self, object hop, object sender, object subject) except -1
    cdef Exchange open(
        self,
        str branch,
        Request request,
        bytes rows,
        object sender,
        object subject,
        Destination destination,
        Place place,
        tuple further,
        Place fallback,
        object attempt,
        int64_t now_ms,
        bint at_any_size,
    )
    cdef int begin_at(
        self,
        Request request,
        object sender,
        object subject,
        Destination destination,
        tuple places,
        int64_t now_ms,
        bint at_any_size,
        object attempt,
    ) except -1
    cdef Exchange awaiting(self, SipMessage response)
    cdef int close(self, Exchange exchange) except -1
    cdef int leave(self, Exchange exchange) except -1
