"""Layout of subscriptions to what is registered here, and of what they are told."""

from libc.stdint cimport int8_t, int64_t, uint32_t

from reginfo._fast.counters cimport Histogram
from reginfo._fast.exchanges cimport Exchanges
from reginfo._fast.sip_parser cimport SipMessage
from reginfo._fast.timer_queue cimport TimerQueue
from reginfo._fast.unsaved cimport Unsaved
from reginfo._fast.untold cimport Untold


cdef class Watched(Untold):
    cdef readonly list subscriptions
    cdef readonly set behind        # not told of the newest revision, or owing an answer to it; None: nobody is
    cdef public int64_t seq         # number of the first change that somebody has not been told
    cdef public int64_t changed_ms  # when the first change was made since everybody was looked at last
    cdef public object fan          # iterates over who has yet to be looked at since the last change, or None

    cdef int fall_behind(self, Notified subscription) except -1
    cdef bint catch_up(self, Notified subscription) except -1


cdef class Notified:
    cdef readonly str id
    cdef readonly Watched watched
    cdef public bytes octets            # what a restart needs of it
    cdef public object way              # how the NOTIFY gets there that waits for its place
    cdef public object flow             # connection of its watcher, where that has to carry what it is told (TRN-14)
    cdef public str ending              # reason for which it is terminated, until it has answered to that (SUB-10)
    cdef public int64_t expires_at
    cdef public int64_t lapse_at        # when somebody looks whether it has lapsed
    cdef public int64_t not_before
    cdef public int64_t owes_since_ms   # when the first change was made that it has not been told of; 0: not known
    cdef public int64_t told            # revision of the AoR in the last NOTIFY that was answered 2xx
    cdef int64_t sent_revision          # of the AoR in the last NOTIFY, or NONE
    cdef public uint32_t reserved       # numbers below it may have been used
    cdef public uint32_t cseq           # of the last NOTIFY
    cdef public uint32_t version        # of the next document
    cdef public uint32_t taken_cseq     # of the last SUBSCRIBE in its dialog, also of one that is not settled (12.2.2)
    cdef public uint32_t place          # among the subscriptions to what is watched
    cdef public uint32_t failures
    cdef public int8_t owes             # what it is to be told next: OWES_
    cdef public bint is_held            # it is one of the subscriptions there are
    cdef public bint is_busy            # a NOTIFY is outstanding; there is one at most
    cdef public bint is_timed
    cdef public bint told_empty         # that NOTIFY showed an AoR without contacts
    cdef public bint sent_empty


cdef class Notifications:
    cdef Exchanges client
    cdef readonly TimerQueue timers
    cdef readonly Unsaved unsaved
    cdef object decode
    cdef uint32_t spare_numbers
    cdef object when_due
    cdef readonly dict moved        # subscriptions that were told something since that was saved
    # Watched AoRs that have changed, and those of whose changes somebody has not been told: OrderedDicts, as a dict
    # whose first entries were taken looks at all of their places to find its first one.
    cdef readonly object dirty
    cdef readonly object untold
    cdef readonly dict notifies     # how many, by subscription state and final answer
    cdef readonly Histogram delays  # ms from a change to the NOTIFY that tells it, for each subscription told
    cdef public int64_t interval_ms
    cdef public object peers
    cdef public object mint         # makes temporary GRUUs for who may register the AoR (XML-11); None without GRUUs
    cdef public object ims          # who is told with whom, and may watch whom; None outside IMS

    cdef int look(self, Notified subscription, object now) except -1
    cdef int tell(self, Notified subscription, int owes, object now) except -1
    cdef int advance_one(self, Notified subscription, object now) except -1
    cdef int accepted(self, Notified subscription) except -1
    cdef int caught_up_one(self, Watched watched, Notified subscription) except -1
    cdef bint count_on(self, Notified subscription, object now) except -1
