"""What the watchers of registrations are told, NOTIFY by NOTIFY (RFC 6665 section 4.2.2, RFC 3680 section 4).

Here is what happens to nearly every one of them: a change, a NOTIFY, a 2xx.  What seldom happens is left to whoever
extends Notifications.
"""

from collections import OrderedDict
from collections.abc import Callable

cimport cython
from libc.stdint cimport INT64_MAX, int64_t, uint32_t

from reginfo._fast.binding cimport Change
from reginfo._fast.counters cimport Histogram
from reginfo._fast.exchanges cimport HIGHEST_CSEQ, Exchanges, Request
from reginfo._fast.header_template cimport HeaderTemplate
from reginfo._fast.sip_parser cimport SipMessage
from reginfo._fast.timer_queue cimport TimerQueue
from reginfo._fast.unsaved cimport Unsaved
from reginfo._fast.untold cimport Untold

from reginfo._fast.reginfo_xml import REGINFO_HEAD as _HEAD
from reginfo._fast.sip_writer import write_headers

cdef enum:
    NONE = -1
    NUMBERS_AHEAD = 16              # numbers left when a block is asked for: more than are used until it is durable
    BLOCK_SIZE = 1_000      # CSeq and version numbers reserved at once: a restart goes on behind them (XML-4)
    STORE_WAIT = 100        # milliseconds until a store that fails is asked again

SUBSCRIPTION_STATE = b"s/"  # prefix of the key of a subscription in the role state; its id follows
NUMBER_BLOCK = BLOCK_SIZE
STORE_WAIT_MS = STORE_WAIT

cdef uint32_t LAST_VERSION = 0xFFFFFFFF     # of a document (XML-4)

cdef enum:                  # what a subscription is to be told next
    OWES_NOTHING = 0
    OWES_CHANGE             # what changed, not sooner than the interval between two NOTIFYs (REV-6)
    RETRY_OWED              # the full state after a NOTIFY that failed, when its back-off is over (SUB-9)
    OWES_STATE              # the full state at once: a SUBSCRIBE asked for it, or it is the last NOTIFY (SUB-5)


OWES_RETRY = RETRY_OWED

cdef HeaderTemplate ROWS = HeaderTemplate(
    [
        ("Max-Forwards", "70"),
        ("From", "<{}>;tag={}"),
        ("To", "<{}>{}"),
        ("Call-ID", "{}"),
        ("CSeq", "{} NOTIFY"),
        ("Contact", "{}"),
        ("Event", "reg{}"),
        ("Subscription-State", "{}"),
        ("Content-Type", "application/reginfo+xml"),
    ]
)


@cython.final
@cython.auto_pickle(False)
cdef class Watched(Untold):
    """An address-of-record with at least one subscription."""

    def __init__(self, aor: str) -> None:
        self.aor = aor
        self.subscriptions = []

    def add(self, subscription: Notified) -> None:
        """Take in a subscription."""
        subscription.place = len(self.subscriptions)
        if subscription.place:
            self.subscriptions.append(subscription)
        else:
            self.subscriptions = [subscription]     # no room for others: most AoRs have one watcher

    def remove(self, subscription: Notified) -> None:
        """Let go of a subscription; the last one takes its place, so that it costs the same however many there are."""
        cdef Notified last = self.subscriptions.pop()
        if last is not subscription:
            self.subscriptions[subscription.place] = last
            last.place = subscription.place

    cdef int fall_behind(self, Notified subscription) except -1:
        # Take note that a subscription has something to be told.
        if self.behind is None:
            self.behind = set()
        self.behind.add(subscription)
        return 0

    cdef bint catch_up(self, Notified subscription) except -1:
        # Take note that a subscription knows the newest revision; True if there is none left that does not.
        if subscription is not None and self.behind is not None:
            self.behind.discard(subscription)
        if self.behind or self.fan is not None:
            return False
        self.behind = None
        self.let_go()
        return True


@cython.auto_pickle(False)
cdef class Notified:
    """What the NOTIFYs of one subscription read and move.  Instants are milliseconds of engine time."""

    def __init__(
        self, id: str, octets: bytes, expires_at: int64_t, reserved: uint32_t, number: uint32_t, watched: Watched
    ) -> None:
        """id is the local tag of its dialog; number was used last, for the CSeq of a NOTIFY and for a document."""
        self.id = id
        self.octets = octets
        self.expires_at = expires_at
        self.lapse_at = INT64_MAX
        self.reserved = reserved
        self.cseq = self.version = number
        self.watched = watched
        self.sent_revision = NONE
        self.told_empty = self.sent_empty = True

    @property
    def key(self) -> bytes:
        """Key of its octets in the role state."""
        return SUBSCRIPTION_STATE + self.id.encode()

    @property
    def sent(self) -> int | None:
        """Revision of the AoR in the last NOTIFY; without one the next is full."""
        return None if self.sent_revision == NONE else self.sent_revision

    @sent.setter
    def sent(self, revision: int | None) -> None:
        self.sent_revision = NONE if revision is None else revision


@cython.auto_pickle(False)
cdef class Notifications:
    """Changes on their way from the feed to watchers, and the NOTIFYs that tell them.

    A NOTIFY says what is true when it leaves: changes wait, merged, for the outstanding one, the interval and the
    window.
    """

    def __init__(
        self,
        client: Exchanges,
        timers: TimerQueue,
        unsaved: Unsaved,
        decode: Callable[[bytes], object],
        delays: Histogram,
        spare_numbers: uint32_t,
    ) -> None:
        """decode makes of the octets of a subscription what a restart needs of it: an object with aor, watcher, peer,
        local_uri, remote_uri, remote_tag, call_id, contact and event_id.

        spare_numbers are those that a NOTIFY may use beyond its own, where it is asked for a password.
        """
        self.client = client
        self.timers = timers
        self.unsaved = unsaved
        self.decode = decode
        self.delays = delays
        self.spare_numbers = spare_numbers
        self.when_due = self.on_time    # mentioned once, for all timers
        self.moved = {}
        self.dirty = OrderedDict()
        self.untold = OrderedDict()
        self.notifies = {}

    # -- what seldom happens ------------------------------------------------------------------------------

    def on_time(self, subscription: Notified, now: object) -> None:
        """Tell a subscription what it was owed before it might be told; also called for what is gone by then."""
        raise NotImplementedError

    def way_to(self, subscription: Notified) -> object:
        """Return how its next NOTIFY gets to a watcher: Request-URI, Route values and hop, as uri, routes and hop."""
        raise NotImplementedError

    def save(self, subscription: Notified) -> None:
        """Have the numbers kept that a subscription has reserved."""
        raise NotImplementedError

    def end(self, subscription: Notified, reason: str) -> None:
        """Have the NOTIFY that is being written be the last one, for this reason (SUB-10)."""
        raise NotImplementedError

    def remove(self, subscription: Notified) -> None:
        """Let go of a subscription whose last NOTIFY is answered."""
        raise NotImplementedError

    def retarget(self, subscription: Notified, response: SipMessage) -> None:
        """Take a 2xx with a Contact."""
        raise NotImplementedError

    def failed(self, subscription: Notified, status: int, response: SipMessage | None, now: object) -> None:
        """Take the end of a NOTIFY that was not accepted, in a subscription that goes on."""
        raise NotImplementedError

    # -- changes ------------------------------------------------------------------------------------------

    def read_one(self, watched: Watched, change: Change) -> None:
        """Take a committed change."""
        watched.take(change)
        self.begin(watched, change._seq)
        if watched not in self.dirty:
            watched.changed_ms = change.at_ms
        watched.fan = iter(watched.subscriptions[:])
        self.dirty[watched] = None

    def begin(self, watched: Watched, seq: int64_t) -> None:
        """Take note that somebody has not been told of change seq, nor of what follows."""
        if watched not in self.untold:
            watched.seq = seq
            self.untold[watched] = None

    def fan_out(self, limit: cython.int, now: object) -> int:
        """Have limit subscriptions at most look at what changed; return how many more could have."""
        cdef Watched watched
        cdef Notified subscription
        while limit > 0 and self.dirty:
            watched = next(iter(self.dirty))
            for subscription in watched.fan:
                if subscription.is_held:    # it may have ended since the change
                    self.look(subscription, now)
                limit -= 1
                if limit <= 0:
                    return 0
            watched.fan = None
            self.dirty.pop(watched, None)
            self.caught_up_one(watched, None)
        return limit

    def caught_up(self, watched: Watched, subscription: Notified | None) -> None:
        """Take note that a subscription knows the newest revision, or that all have looked at it."""
        self.caught_up_one(watched, subscription)

    cdef int caught_up_one(self, Watched watched, Notified subscription) except -1:
        if watched.catch_up(subscription):
            self.untold.pop(watched, None)
        return 0

    def drop(self, watched: Watched) -> None:
        """Owe nothing to an AoR that nobody watches any more."""
        self.dirty.pop(watched, None)
        self.untold.pop(watched, None)

    def settled(self, seq: int64_t) -> int:
        """Return up to which change, at most seq, every watcher has been told (and need not be told again)."""
        cdef Watched watched
        for watched in self.untold:     # the first one has waited longest
            return min(seq, watched.seq - 1)
        return seq

    cdef int look(self, Notified subscription, object now) except -1:
        cdef int64_t known = subscription.sent_revision
        if known == NONE:
            known = subscription.told
        if known < subscription.watched.revision:
            if subscription.owes == OWES_NOTHING:
                subscription.owes_since_ms = subscription.watched.changed_ms
            self.tell(subscription, OWES_CHANGE, now)
        return 0

    def tell_change(self, subscription: Notified, now: object) -> None:
        """Tell a subscription what it does not know."""
        self.tell(subscription, OWES_CHANGE, now)

    def tell_all(self, subscription: Notified, now: object) -> None:
        """Tell a subscription the full state, at once."""
        self.tell(subscription, OWES_STATE, now)

    cdef int tell(self, Notified subscription, int owes, object now) except -1:
        subscription.watched.fall_behind(subscription)
        subscription.owes = max(subscription.owes, owes)
        return self.advance_one(subscription, now)

    def advance(self, subscription: Notified, now: object) -> None:
        """Ask for the next NOTIFY if one is owed and may be sent (REV-6, SUB-9)."""
        self.advance_one(subscription, now)

    cdef int advance_one(self, Notified subscription, object now) except -1:
        if subscription.is_busy or subscription.owes == OWES_NOTHING:
            return 0
        if subscription.owes != OWES_STATE and subscription.not_before and now.ms < subscription.not_before:
            if not subscription.is_timed:
                subscription.is_timed = True
                self.timers.put(subscription.not_before, self.when_due, subscription)
            return 0
        subscription.is_busy = True
        subscription.way = self.way_to(subscription)
        return self.client.ask(subscription.way.hop, self, subscription)

    # -- NOTIFY -------------------------------------------------------------------------------------------

    def request(self, subject: Notified, now: object) -> Request | None:
        """Return the NOTIFY a subscription is owed (SUB-6); None if what changed is none of its business."""
        cdef int64_t now_ms = now.ms
        cdef Watched watched = subject.watched
        cdef object saved, home, peer, identities, since, way
        cdef bytes tail, rows
        cdef str state, event_id, remote_tag
        if not subject.is_held:
            return None
        saved = self.decode(subject.octets)
        since = subject.sent if subject.owes == OWES_CHANGE else None
        home = saved.watcher if self.ims is None else self.ims.home(saved.watcher)
        peer = self.peers.named(saved.peer) if saved.peer else None     # nearly nobody is one
        identities = None if self.ims is None else self.ims.of(saved.aor).told
        tail = watched.shared(
            since, subject.told, peer, now_ms, self.mint if home == saved.aor else None, identities
        )
        if not tail:
            subject.is_busy = False
            subject.owes = OWES_NOTHING
            subject.sent_revision = watched.reach(since)
            self.accepted(subject)
            return None
        if not self.count_on(subject, now):
            subject.is_busy = False
            return None
        if subject.owes == OWES_CHANGE and subject.owes_since_ms:
            self.delays.count(now_ms - subject.owes_since_ms, 1)
        subject.owes_since_ms = 0
        subject.sent_revision = watched.reach(since)
        subject.sent_empty = watched.record is None
        subject.owes = OWES_NOTHING
        subject.not_before = now_ms + self.interval_ms
        if self.ims is not None and watched.record is None and subject.ending is None:
            self.end(subject, "noresource")     # IMS-3: nobody is registered any more
        way = self.way_to(subject) if subject.way is None else subject.way
        subject.way = None
        if subject.ending is None:
            state = f"active;expires={max(<int64_t>0, subject.expires_at - now_ms) // 1000}"
        else:
            state = f"terminated;reason={subject.ending}"
        event_id = "" if saved.event_id is None else f";id={saved.event_id}"
        remote_tag = f";tag={saved.remote_tag}" if saved.remote_tag else ""
        rows = ROWS.filled(
            (
                saved.local_uri,
                subject.id,
                saved.remote_uri,
                remote_tag,
                saved.call_id,
                str(subject.cseq),
                saved.contact,
                event_id,
                state,
            )
        )
        if way.routes:
            rows = write_headers([("Route", route) for route in way.routes]) + rows
        body = <bytes>_HEAD + str(subject.version).encode() + tail
        subject.version += 1
        return Request("NOTIFY", way.uri, rows, body)

    cdef bint count_on(self, Notified subscription, object now) except -1:
        # Give the next NOTIFY its CSeq; False while no number may be used that a restart would use again.
        if subscription.ending is None:
            if subscription.version >= LAST_VERSION or subscription.cseq >= HIGHEST_CSEQ:
                self.end(subscription, "deactivated")   # the watcher comes back in a new dialog, which counts from 0
            elif subscription.cseq + NUMBERS_AHEAD >= subscription.reserved:
                subscription.reserved += BLOCK_SIZE
                self.save(subscription)
            # What challenges make of the next CSeq is of the block, too, that was reserved last.
            elif (
                subscription.cseq + 1 + self.spare_numbers + BLOCK_SIZE >= subscription.reserved
                and subscription.key in self.unsaved
            ):
                subscription.is_timed = True
                self.timers.put(now.ms + STORE_WAIT, self.when_due, subscription)
                return False
        subscription.cseq += 1
        return True

    def answered(self, subject: Notified, status: cython.int, response: SipMessage | None, now: object) -> None:
        """Take the answer to a NOTIFY, or its end without one (SUB-9)."""
        if status < 200 or not subject.is_held:
            return
        key = ("terminated" if subject.ending else "active", status)
        self.notifies[key] = self.notifies.get(key, 0) + 1
        subject.is_busy = False
        if subject.ending is not None and subject.owes == OWES_NOTHING:
            self.remove(subject)    # SUB-10, whatever the answer
        elif status < 300:
            if response is not None and response.contact_count == 1:
                self.retarget(subject, response)
            self.accepted(subject)
            self.advance_one(subject, now)
        else:
            self.failed(subject, status, response, now)

    def renumbered(self, subject: Notified, cseq: uint32_t) -> None:
        """Count on from the CSeq that the outstanding NOTIFY has now."""
        subject.cseq = cseq

    cdef int accepted(self, Notified subscription) except -1:
        # Take note that a subscription knows what it was sent.
        subscription.failures = 0
        subscription.told = subscription.sent_revision
        subscription.told_empty = subscription.sent_empty
        if subscription.ending is None:
            self.moved[subscription] = None
        if subscription.told >= subscription.watched.revision and subscription.owes == OWES_NOTHING:
            self.caught_up_one(subscription.watched, subscription)
        return 0
