"""Who watches which registration, and what each of them is told, when (RFC 6665 section 4.2, RFC 3680 section 4).

    SUBSCRIBE  -> take -> decide -> (commit, 200) -> settle ─┐
    changes    -> read -> work (fan out) ────────────────────┤
    time       -> lapse, interval, back-off ─────────────────┴-> client.send -> request (NOTIFY) -> answered

A NOTIFY says what is true when it leaves: changes wait, merged, for the outstanding one, the interval and the window.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from msgspec import structs

from reginfo.config import NotifierSection
from reginfo.fast import (
    NEVER_MS,
    OWES_RETRY,
    STORE_WAIT_MS,
    SUBSCRIPTION_STATE,
    Change,
    Draft,
    Flow,
    Histogram,
    Notifications,
    SipMessage,
    SipParseError,
    Unsaved,
)
from reginfo.model import Now, Outcome, StateItem
from reginfo.roles.notifier.plan import Plan, plan_of
from reginfo.roles.notifier.policy import (
    NO_SUBSCRIPTION,
    NOT_YOURS,
    OLD_CSEQ,
    SHARED_DIALOG,
    Policy,
    watched_aor,
)
from reginfo.roles.notifier.subscription import TOLD, Subscription, decode, encode
from reginfo.roles.notifier.subscriptions import WEBSOCKETS, Subscriptions
from reginfo.sip.authorization import MAX_CHALLENGES
from reginfo.sip.client import Client
from reginfo.sip.dialog import Way, way_along
from reginfo.sip.incoming import Incoming
from reginfo.sip.peers import Peers, Sender
from reginfo.sip.routing import next_hop, way_back
from reginfo.sip.subscription import ALLOW_EVENTS, BAD_EVENT, ENDS_SUBSCRIPTION, PACKAGE, back_off_s
from reginfo.sip.timers import Timers
from reginfo.sip.transaction import REQUEST_TIMEOUT, SERVICE_UNAVAILABLE, retry_after_ms

logger = logging.getLogger(__name__)

DELAY_BOUNDS_MS: Final = (1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000)
MAX_UNREACHABLE: Final = 3  # failures in a row, 45 s at least: longer than a NOTIFY waits for its answer


class Notifier(Notifications):
    """All subscriptions to registrations of this server."""

    def __init__(
        self,
        section: NotifierSection,
        domains: Iterable[str],
        peers: Peers,
        client: Client,
        timers: Timers,
        unsaved: Unsaved,
        tag: Callable[[int], str],
        chance: Callable[[], float],
    ) -> None:
        """tag makes a local tag of the fingerprint of a SUBSCRIBE; chance draws from 0 to 1."""
        super().__init__(client, timers, unsaved, decode, Histogram(DELAY_BOUNDS_MS), MAX_CHALLENGES)
        self._when_over = self._lapse  # mentioned once, for all timers
        self._tag = tag
        self._chance = chance
        self._subscriptions = Subscriptions()
        self._lapsed: deque[Subscription] = deque()
        self.follow(section, domains, peers)

    def follow(self, section: NotifierSection, domains: Iterable[str], peers: Peers) -> None:
        """Grant by other rules from now on."""
        self._policy = Policy(section, domains, peers)
        self.peers = peers
        self.interval_ms = round(section.min_notify_interval * 1000)

    def __len__(self) -> int:
        """Return the number of subscriptions."""
        return len(self._subscriptions)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._subscriptions)

    def of_aor(self, aor: str) -> Sequence[Subscription]:
        """Return the subscriptions to an address-of-record."""
        watched = self._subscriptions.find(aor)
        return () if watched is None else watched.subscriptions

    @property
    def is_busy(self) -> bool:
        """Whether work() has something to do."""
        return bool(self.dirty) or self._subscriptions.has_cut or bool(self._lapsed)

    # -- SUBSCRIBE --------------------------------------------------------------------------------------

    def take(self, request: SipMessage, flow: Flow, sender: Sender) -> Outcome | str:
        """Return the address-of-record whose turn decides a SUBSCRIBE, or the refusal it gets at once (SUB-2)."""
        event = request.event
        if event is None or event.package != PACKAGE:
            return BAD_EVENT
        if request.to.tag is not None:
            return self._take_in_dialog(request, event.id, sender)
        aor = self._policy.refuse(request, flow, sender, self.ims) or watched_aor(request)
        if isinstance(aor, Outcome):
            return aor
        if self.ims is not None:
            aor = self.ims.home(aor)
        watched = self._subscriptions.find(aor)
        return (
            self._policy.refuse_more(
                request,
                total=len(self._subscriptions),
                of_aor=len(watched.subscriptions) if watched is not None else 0,
                of_watcher=self._subscriptions.of_watcher(sender.identity),
            )
            or aor
        )

    def _take_in_dialog(self, request: SipMessage, event_id: str | None, sender: Sender) -> Outcome | str:
        subscription = self._subscriptions.get(request.to.tag or "")
        if subscription is None or subscription.ending is not None:
            return NO_SUBSCRIPTION
        saved = subscription.saved
        if saved.call_id != request.call_id or saved.remote_tag != (request.from_.tag or ""):
            return NO_SUBSCRIPTION
        if sender.is_stranger_to(saved.watcher):
            return NOT_YOURS
        if request.cseq < max(saved.remote_cseq, subscription.taken_cseq):
            return OLD_CSEQ
        subscription.taken_cseq = request.cseq  # what follows in the same turn is compared with it
        if event_id != saved.event_id:
            return SHARED_DIALOG  # SUB-12
        return self._policy.refuse_time(request) or saved.aor

    def decide(self, work: Incoming, draft: Draft, now: Now) -> None:
        """Grant what take() let pass, in its turn among the changes of the AoR."""
        request = work.request
        granted = self._policy.granted(request)
        id = request.to.tag or self._tag(work.fingerprint)
        known = self._subscriptions.get(id)
        if request.to.tag is not None and (known is None or known.ending is not None):
            work.outcome = NO_SUBSCRIPTION  # it ended while this one waited
            return
        if self.ims is not None and (refusal := self._policy.refuse_unbound(work, draft, self.ims)):
            work.outcome = refusal
            return
        peer = "" if work.sender.asserted else self._policy.peer_name(work.flow, work.aor)
        plan = work.plan = plan_of(work, id, known, granted, peer, draft.record, now)
        if granted:
            work.state = ((SUBSCRIPTION_STATE + id.encode(), plan.octets),)
        elif known is not None:
            work.state = ((known.key, None), (known.told_key, None))
        work.outcome = Outcome(
            200,
            headers=(
                ("Expires", str(granted)),
                ("Contact", plan.saved.contact),
                *(("Record-Route", route) for route in plan.saved.routes),
                ALLOW_EVENTS,
            ),
        )

    def settle(self, work: Incoming, now: Now) -> None:
        """Let the subscription begin, go on or end as answered, and tell it the full state (SUB-5)."""
        plan = work.plan
        if work.outcome.status != 200 or not isinstance(plan, Plan):
            return
        saved = plan.saved
        subscription = self._subscriptions.get(plan.id)
        if subscription is None and work.request.to.tag is not None:
            self._forget(plan.id)  # its watcher gave it up while the refresh was on its way
            return
        watched = self._subscriptions.watch(saved.aor)
        watched.see(plan.record)
        if subscription is None:
            subscription = Subscription(plan.id, plan.octets, saved.expires_at, saved.reserved, 0, watched)
            subscription.told = watched.revision  # what ended before is not its business
            self._subscriptions.add(subscription, saved.watcher)
        else:
            subscription.expires_at = saved.expires_at
            subscription.octets = plan.octets
            subscription.way = None  # its Contact may have moved
            if subscription.reserved != saved.reserved:
                self.save(subscription)
        self._subscriptions.carry(subscription, work.flow)
        if plan.expires:
            self._arm_lapse(subscription)
        else:
            subscription.ending = "timeout"  # SUB-7
            self.moved.pop(subscription, None)
        self.tell_all(subscription, now)

    def remove(self, subscription: Subscription) -> None:
        """Let go of a subscription, and of what is kept of it."""
        if not self._subscriptions.remove(subscription):
            return
        self.moved.pop(subscription, None)
        self._forget(subscription.id)
        watched = subscription.watched
        self.caught_up(watched, subscription)
        if not watched.subscriptions:
            self.drop(watched)

    def _forget(self, id: str) -> None:
        self.unsaved.put(SUBSCRIPTION_STATE + id.encode(), None)
        self.unsaved.put(TOLD + id.encode(), None)

    # -- time -------------------------------------------------------------------------------------------

    def _arm_lapse(self, subscription: Subscription) -> None:
        # However often it is refreshed there is one timer, and one more only for an end that is sooner.
        if subscription.expires_at < subscription.lapse_at:
            subscription.lapse_at = subscription.expires_at
            self.timers.at(subscription.expires_at, self._when_over, subscription)

    def _lapse(self, subscription: Subscription, now: Now) -> None:
        if subscription.lapse_at > now.ms:
            return
        subscription.lapse_at = NEVER_MS
        if subscription.expires_at > now.ms:
            self._arm_lapse(subscription)
        else:
            self._lapsed.append(subscription)

    def take_lapsed(self, limit: int) -> list[Subscription]:
        """Return subscriptions that were not refreshed in time, each to be answered by lapse() or put_back_lapsed()."""
        return [self._lapsed.popleft() for _ in range(min(limit, len(self._lapsed)))]

    def put_back_lapsed(self, subscriptions: Iterable[Subscription], now: Now) -> None:
        """Take back subscriptions without a record now; take_lapsed() returns them again some time later."""
        for subscription in subscriptions:
            subscription.lapse_at = now.ms + STORE_WAIT_MS
            self.timers.at(subscription.lapse_at, self._when_over, subscription)

    def lapse(self, subscription: Subscription, record: bytes | None, now: Now) -> None:
        """End a subscription unless it has been refreshed after all (SUB-8); its last NOTIFY tells the record."""
        if subscription.expires_at > now.ms:
            self._arm_lapse(subscription)
        elif subscription.is_held:
            subscription.watched.see(record)
            self.terminate(subscription, "timeout", now)

    def terminate(self, subscription: Subscription, reason: str, now: Now) -> None:
        """End a subscription from this side; it is told so, and gone when it has answered."""
        if subscription.is_held and subscription.ending is None:
            self.end(subscription, reason)
            self.tell_all(subscription, now)

    def leave(self, aor: str, record: bytes | None, now: Now) -> None:
        """End all subscriptions to an AoR, whose record this is: there may be another server for them (SUB-11)."""
        watched = self._subscriptions.find(aor)
        if watched is not None:
            watched.see(record)
            for subscription in list(watched.subscriptions):
                self.terminate(subscription, "deactivated", now)

    def end(self, subscription: Subscription, reason: str) -> None:
        """Have the next NOTIFY be the last one, for this reason (SUB-10)."""
        subscription.ending = reason
        self.moved.pop(subscription, None)
        self._forget(subscription.id)

    def on_time(self, subscription: Subscription, now: Now) -> None:
        """Tell a subscription what it was owed before it might be told."""
        subscription.is_timed = False
        self.advance(subscription, now)

    # -- changes ----------------------------------------------------------------------------------------

    def read(self, changes: Sequence[Change]) -> None:
        """Take committed changes, in feed order."""
        if not self._subscriptions:
            return
        find = self._subscriptions.find
        for change in changes:
            watched = find(change.aor)
            if watched is not None:
                self.read_one(watched, change)

    def work(self, now: Now, limit: int) -> bool:
        """Have limit subscriptions at most look at what changed; True if more could."""
        while limit > 0 and (subscription := self._subscriptions.take_cut()) is not None:
            self._give_up(subscription, "connection lost")
            limit -= 1
        limit = self.fan_out(limit, now)
        return limit <= 0 or bool(self._lapsed)

    def lost(self, flow: Flow) -> None:
        """Take note that a connection has ended: who can be told over it alone is told no more (RFC 6665 4.2.2)."""
        self._subscriptions.lost(flow)

    def _give_up(self, subscription: Subscription, reason: str) -> None:
        logger.info("subscription ended aor=%s reason=%s", subscription.watched.aor, reason)
        self.remove(subscription)

    # -- NOTIFY -----------------------------------------------------------------------------------------

    def save(self, subscription: Subscription, **changed: str) -> None:
        """Have what a restart needs kept, with these fields changed."""
        subscription.octets = encode(structs.replace(subscription.saved, reserved=subscription.reserved, **changed))
        self.unsaved.put(subscription.key, subscription.octets)

    def way_to(self, subscription: Subscription) -> Way:
        """Return how the next NOTIFY gets there."""
        saved = subscription.saved
        way = way_along(saved.target, saved.routes)
        return way if subscription.flow is None else structs.replace(way, hop=way_back(way.hop, subscription.flow))

    def failed(self, subject: Subscription, status: int, response: SipMessage | None, now: Now) -> None:
        """Take the end of a NOTIFY that was not accepted (SUB-9)."""
        if status in ENDS_SUBSCRIPTION or status == REQUEST_TIMEOUT:
            self._give_up(subject, str(status))
        elif status == SERVICE_UNAVAILABLE and response is None and self._is_out_of_reach(subject):
            self._give_up(subject, "unreachable")
        else:
            subject.owes = max(subject.owes, OWES_RETRY)
            wait_ms = retry_after_ms(response) or round(1000 * back_off_s(subject.failures, self._chance()))
            subject.failures += 1
            subject.not_before = now.ms + wait_ms
            subject.sent = None
            self.advance(subject, now)

    def _is_out_of_reach(self, subject: Subscription) -> bool:
        """Tell whether no later NOTIFY will get through either, after one that could not be sent."""
        if subject.failures + 1 >= MAX_UNREACHABLE:
            return True
        return subject.flow is None and self.way_to(subject).hop.transport in WEBSOCKETS

    def retarget(self, subscription: Subscription, response: SipMessage) -> None:
        """Follow the Contact of the answer to a NOTIFY (DLG-6); one that leads nowhere is ignored."""
        target = response.contacts[0].uri
        if target != subscription.saved.target:
            with suppress(SipParseError):
                next_hop(target)
                self.save(subscription, target=target)

    # -- what survives ----------------------------------------------------------------------------------

    def take_told(self, limit: int) -> list[StateItem]:
        """Return what was told and not taken yet, of so many subscriptions at most."""
        moved = (self.moved.popitem()[0] for _ in range(min(limit, len(self.moved))))
        return [(subscription.told_key, subscription.told_octets()) for subscription in moved]

    def restore(self, items: Iterable[StateItem], now: Now) -> None:
        """Go on with the subscriptions of the last run, then with what they were told.

        Those that have lapsed meanwhile are over (SUB-8).
        """
        for key, octets in items:
            assert octets is not None
            id = key[len(SUBSCRIPTION_STATE) :].decode()
            if key.startswith(TOLD):
                known = self._subscriptions.get(id)
                if known is not None:
                    known.take_told(octets)
                continue
            saved = decode(octets)
            if saved.expires_at <= now.ms:
                self._forget(id)
                continue
            watched = self._subscriptions.watch(saved.aor)
            subscription = Subscription(id, octets, saved.expires_at, saved.reserved, saved.reserved, watched)
            self._subscriptions.add(subscription, saved.watcher)
            self._arm_lapse(subscription)

    def followed(self) -> Iterator[str]:
        """Yield the watched addresses-of-record, for recall()."""
        yield from self._subscriptions.watched()

    def recall(self, aor: str, record: bytes | None, seq: int, now: Now) -> None:
        """Compare what the watchers of an AoR were told with its record, after a restart or a gap in the feed.

        seq is the last change of the feed there was to read.
        """
        watched = self._subscriptions.find(aor)
        if watched is None:
            return
        watched.see(record)
        for subscription in watched.subscriptions:
            told, told_empty = subscription.told, subscription.told_empty
            is_outstanding = False
            if subscription.is_busy and subscription.sent is not None:  # what it says is as good as told
                is_outstanding = True
                told, told_empty = subscription.sent, subscription.sent_empty
            if told_empty if record is None else told == watched.revision:
                continue
            self.begin(watched, seq)
            if is_outstanding:
                subscription.owes = max(subscription.owes, OWES_RETRY)  # the full state, once it is answered
            else:
                subscription.sent = None
            self.tell_change(subscription, now)
