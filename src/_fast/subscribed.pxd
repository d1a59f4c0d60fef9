"""Layout of subscriptions at other servers, for the intake of their NOTIFYs."""

from libc.stdint cimport int64_t, uint32_t

from reginfo._fast.datagrams cimport Flow
from reginfo._fast.reginfo_view cimport ReginfoView
from reginfo._fast.reginfo_xml cimport Reginfo
from reginfo._fast.sip_parser cimport SipMessage

cdef enum:
    REFRESH_AHEAD = 32_000      # milliseconds: a refresh may take all of 64*T1 and still be in time


# What refresh_delay_ms does.
cdef inline int64_t refresh_delay(int64_t granted) noexcept:
    return 1000 * granted - REFRESH_AHEAD if 1000 * granted >= 2 * REFRESH_AHEAD else 500 * granted


cdef class Subscribed:
    cdef readonly str uri           # that the SUBSCRIBE is for
    cdef readonly str aor           # the same, canonical
    cdef readonly str origin        # whose rows are what is said here
    cdef readonly bint mirrors      # a local binding whose REGISTER was earlier gives way
    cdef readonly ReginfoView view
    cdef bint is_entitled           # the server may say something about the AoR (RIC-10)
    cdef int64_t stale_grace_ms

    cdef public str tag             # of To in its NOTIFYs: ours
    cdef public bint is_active
    cdef public bint is_busy        # a SUBSCRIBE is outstanding or waits for its place
    cdef public bint refetched      # the full state was asked for since the last document that could be used (RIC-8)
    cdef public int64_t expires     # seconds asked for
    cdef public uint32_t remote_cseq        # of the last NOTIFY in the dialog
    cdef str remote_tag             # None outside a dialog
    cdef str remote_target
    cdef str host                   # from where NOTIFYs in the dialog are taken over UDP, as far as is known

    cdef public int64_t expires_at
    cdef public int64_t refresh_at
    cdef public int64_t retry_at
    cdef public int64_t timer_n
    cdef public int64_t ended_at    # since when nothing is heard of it; what was learned is kept for a while (RIC-9)
    cdef public int64_t timer_at    # when somebody looks what time has done to it

    cdef int64_t first_due(self) noexcept
    cdef int64_t timer_n_due_(self) noexcept
    cdef int64_t stale(self) noexcept
    cdef int64_t told_seconds(self, SipMessage request, Flow flow) except -2
    cdef Reginfo hear(self, SipMessage request, int64_t seconds, int64_t now_ms, Py_ssize_t max_octets)
