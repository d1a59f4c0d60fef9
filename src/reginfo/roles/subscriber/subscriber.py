"""Following the registrations of other servers: SUBSCRIBE, refresh, NOTIFY (RFC 6665 section 4.1, SUB-13 to SUB-24).

follow ─┐
time ───┴-> client.send -> request (SUBSCRIBE) -> answered
NOTIFY  -> receive -> Heard (a document, and what it means to the tables of the subscription) -> notify_handler
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

from reginfo.config import PuaReginfoSection
from reginfo.fast import (
    GAP,
    NEVER_MS,
    STALE_DOCUMENT,
    Flow,
    Reginfo,
    ReginfoDelta,
    Request,
    SipMessage,
    SipParseError,
    SubscriptionState,
    Unsaved,
    apply_reginfo,
    canonical_aor,
    parse_reginfo,
)
from reginfo.model import Now, Outcome, StateItem
from reginfo.roles.subscriber.policy import NO_CONTACT, refuse
from reginfo.roles.subscriber.subscribe import subscribe_rows
from reginfo.roles.subscriber.subscription import STATE, State, Subscription, TooManyFollowed
from reginfo.sip.client import Client
from reginfo.sip.dialog import Dialog, dialog_of, refreshed, target_of, way_of
from reginfo.sip.outage import Outage
from reginfo.sip.peers import Peer, Peers
from reginfo.sip.routing import Hop, next_hop, parse_hop
from reginfo.sip.subscription import (
    ENDS_SUBSCRIPTION,
    TIMER_N_MS,
    Renewal,
    back_off_s,
    renewal_after,
)
from reginfo.sip.timers import Timers
from reginfo.sip.transaction import REQUEST_TIMEOUT, SERVICE_UNAVAILABLE, retry_after_ms

logger = logging.getLogger(__name__)

MAX_FOLLOWED: Final = 1_000_000  # subscriptions of this server at others
TOO_BRIEF: Final = 423

OK: Final = Outcome(200)


class Heard(NamedTuple):
    """A NOTIFY that says something."""

    subscription: Subscription
    document: Reginfo
    delta: ReginfoDelta
    is_news: bool
    "False for a document that is older than, or as old as, what is known (RIC-2)."


class Subscriber:
    """All subscriptions of this server at others."""

    def __init__(
        self,
        section: PuaReginfoSection,
        peers: Peers,
        client: Client,
        timers: Timers,
        unsaved: Unsaved,
        token: Callable[[], str],
        chance: Callable[[], float],
        on_stale: Callable[[Subscription], None],
        on_refused: Callable[[Subscription, int, SipMessage | None], None] = lambda subscription, status, response: (
            None
        ),
    ) -> None:
        """token makes tags and Call-IDs.

        on_stale hears of what was learned and is not kept any longer (RIC-9), on_refused of a SUBSCRIBE that came to
        nothing and is tried again later.
        """
        self._client = client
        self._timers = timers
        self._when_due = self._on_time  # mentioned once, for all timers
        self._unsaved = unsaved
        self._token = token
        self._chance = chance
        self._on_stale = on_stale
        self._on_refused = on_refused
        self._subscriptions: dict[str, Subscription] = {}
        self.dialogs: dict[str, Subscription] = {}
        "Subscriptions by Call-ID of their NOTIFYs."
        self._outages: dict[Hop, Outage[Subscription]] = {}
        self.identity = self.contact = "sip:reginfo@localhost"
        "From and Contact of its SUBSCRIBEs, unless it is configured; empty: the address they leave from."
        self.configure(section, peers)

    def configure(self, section: PuaReginfoSection, peers: Peers) -> None:
        """Subscribe by another configuration from now on."""
        self._named = section.server_address
        self._peers = peers
        self._proxy = next_hop(section.outbound_proxy) if section.outbound_proxy else None

    def __len__(self) -> int:
        """Return the number of subscriptions."""
        return len(self._subscriptions)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._subscriptions.values())

    def of_aor(self, aor: str) -> list[Subscription]:
        """Return the subscriptions to an address-of-record, at whatever servers."""
        # Every server that was ever subscribed at has an outage, and there are few servers.
        found = (self._subscriptions.get(_key(aor, hop)) for hop in self._outages)
        return [one for one in found if one is not None]

    def down_since_ms(self, hop: Hop) -> int | None:
        """Return since when a server does not answer; None if it does, or nothing was asked of it."""
        outage = self._outages.get(hop)
        return outage.down_since_ms if outage is not None and outage.is_down else None

    # -- following --------------------------------------------------------------------------------------

    def follow(
        self, uri: str, expires: int, now: Now, *, keep: bool = True, while_bound: bool = False, hop: Hop | None = None
    ) -> list[Subscription]:
        """Subscribe to the registration of uri, or refresh what there is, and return the subscriptions.

        The SUBSCRIBE goes to hop, to outbound_proxy, to every peer that speaks for the AoR, or to where the URI leads,
        whichever comes first.  With keep it is begun again after a restart; with while_bound it ends by itself once
        nothing is bound there.  SipParseError for a URI that is none, TooManyFollowed beyond a million.
        """
        aor = canonical_aor(uri)
        found = []
        for target, peer in self._targets(uri, aor, hop):
            key = _key(aor, target)
            subscription = self._subscriptions.get(key)
            if subscription is None:
                if len(self._subscriptions) >= MAX_FOLLOWED:
                    raise TooManyFollowed(f"{MAX_FOLLOWED} subscriptions already")
                subscription = Subscription(key, uri, aor, target, peer, expires)
                subscription.while_bound = while_bound
                self._subscriptions[key] = subscription
            subscription.expires = expires
            subscription.while_bound &= while_bound  # who asked for it by name keeps it
            if keep:
                self._unsaved.put(STATE + key.encode(), f"{expires} {uri}".encode())
            if subscription.state in (State.WAITS, State.ENDING):
                self._begin(subscription, now)
            elif not while_bound:
                self._refresh(subscription, now)
            found.append(subscription)
        return found

    def unfollow(self, uri: str, now: Now) -> int:
        """End every subscription to the registration of uri; return how many there were."""
        found = self.of_aor(canonical_aor(uri))
        for subscription in found:
            self._unsaved.put(STATE + subscription.key.encode(), None)
            if subscription.dialog is None:
                self._drop(subscription)
                continue
            subscription.state = State.ENDING
            subscription.wants_refresh = True
            subscription.retry_at = NEVER_MS
            self._ask(subscription, now)
        return len(found)

    def _targets(self, uri: str, aor: str, hop: Hop | None) -> list[tuple[Hop, Peer | None]]:
        hop = hop or self._proxy
        if hop is not None:
            return [(hop, self._peers.at_hop(hop))]
        peers = self._peers.speaking_for(aor)
        if peers:
            return [(next_hop(peer.uri), peer) for peer in peers]
        return [(next_hop(uri), None)]

    def _begin(self, subscription: Subscription, now: Now) -> None:
        """Subscribe in a new dialog (SUB-13)."""
        self._leave(subscription)
        subscription.call_id = self._token()
        subscription.tag = self._token()
        subscription.cseq = 0
        subscription.state = State.PENDING
        subscription.began_at = now.ms
        subscription.retry_at = NEVER_MS
        subscription.wants_refresh = True
        self.dialogs[subscription.call_id] = subscription
        self._ask(subscription, now)

    def _leave(self, subscription: Subscription) -> None:
        """Be in no dialog: what still comes for the last one gets 481."""
        if self.dialogs.get(subscription.call_id) is subscription:
            del self.dialogs[subscription.call_id]
        subscription.dialog = None
        subscription.leave()

    def _drop(self, subscription: Subscription) -> None:
        self._leave(subscription)
        self._subscriptions.pop(subscription.key, None)

    def _refresh(self, subscription: Subscription, now: Now) -> None:
        subscription.refresh_at = NEVER_MS
        subscription.wants_refresh = True
        self._ask(subscription, now)

    def _ask(self, subscription: Subscription, now: Now) -> bool:
        """Have a SUBSCRIBE sent if one is wanted and none is outstanding; False if there is none to come."""
        if subscription.is_busy or not subscription.wants_refresh or self._outage(subscription.hop).holds(subscription):
            return subscription.is_busy
        subscription.is_busy = True
        hop = subscription.hop if subscription.dialog is None else way_of(subscription.dialog).hop
        self._client.send(hop, self, subscription)
        return True

    def _outage(self, hop: Hop) -> Outage[Subscription]:
        outage = self._outages.get(hop)
        if outage is None:
            outage = self._outages[hop] = Outage(self._timers, self._chance, self._ask)
        return outage

    # -- time -------------------------------------------------------------------------------------------

    def arm(self, subscription: Subscription) -> None:
        """Have time look at a subscription when its first timer is due; however often that moves there is one look."""
        due = subscription.next_due
        if due < subscription.timer_at:
            subscription.timer_at = due
            self._timers.at(due, self._when_due, subscription)

    def _on_time(self, subscription: Subscription, now: Now) -> None:
        if subscription.timer_at > now.ms or self._subscriptions.get(subscription.key) is not subscription:
            return
        subscription.timer_at = NEVER_MS
        if subscription.next_due <= now.ms:
            self._take_time(subscription, now)
        if subscription.key in self._subscriptions:
            self.arm(subscription)

    def _take_time(self, subscription: Subscription, now: Now) -> None:
        if now.ms >= min(subscription.timer_n_due, subscription.expires_at):
            if subscription.state is State.ENDING:
                self._drop(subscription)
                return
            self._renew(subscription, Renewal.NOW if subscription.dialog else Renewal.LATER, 0, now)
        elif now.ms >= subscription.refresh_at:
            if subscription.while_bound and not any(one.contacts for one in subscription.view.registrations):
                self._drop(subscription)
                return
            self._refresh(subscription, now)
        if now.ms >= subscription.retry_at:
            self._begin(subscription, now)
        if now.ms >= subscription.stale_at:
            subscription.ended_at = NEVER_MS
            self._on_stale(subscription)
            subscription.view.reset()
            if subscription.retry_at == NEVER_MS and subscription.state is State.WAITS:
                self._drop(subscription)

    def _renew(self, subscription: Subscription, renewal: Renewal, retry_after_s: int, now: Now) -> None:
        """Begin again in a new dialog, now or later or never (SUB-16, SUB-18)."""
        self._leave(subscription)
        subscription.state = State.WAITS
        subscription.wants_refresh = False
        if subscription.ended_at == NEVER_MS:
            subscription.ended_at = now.ms
        if renewal is Renewal.NEVER:
            logger.warning("subscription over aor=%s at=%s", subscription.aor, subscription.hop)
            self._unsaved.put(STATE + subscription.key.encode(), None)
            return
        if now.ms - subscription.began_at >= TIMER_N_MS:
            subscription.failures = 0  # it has lived
        wait_s: float = retry_after_s
        if not wait_s and (renewal is Renewal.LATER or subscription.failures):
            wait_s = back_off_s(subscription.failures, self._chance())
        subscription.failures += 1
        subscription.retry_at = now.ms + round(1000 * wait_s)

    # -- SUBSCRIBE --------------------------------------------------------------------------------------

    def request(self, subject: Subscription, now: Now) -> Request | None:
        """Return the SUBSCRIBE that is wanted."""
        if self._subscriptions.get(subject.key) is not subject or not subject.wants_refresh:
            subject.is_busy = False
            self._outage(subject.hop).forget(subject, now)
            return None
        if self._outage(subject.hop).holds(subject):
            subject.is_busy = False
            return None
        subject.wants_refresh = False
        subject.asked = subject.call_id
        subject.cseq += 1
        if subject.timer_n == NEVER_MS:
            subject.timer_n = now.ms + TIMER_N_MS
        way = None if subject.dialog is None else way_of(subject.dialog)
        hop = subject.hop if way is None else way.hop
        here = partial(self._client.here, hop)
        rows = subscribe_rows(subject, way, self._named or self.identity, self._named, self.contact, here)
        self.arm(subject)
        return Request("SUBSCRIBE", subject.uri if way is None else way.uri, rows)

    def answered(self, subject: Subscription, status: int, response: SipMessage | None, now: Now) -> None:
        """Take the answer to a SUBSCRIBE, or its end without one."""
        if status < 200:
            return
        subject.is_busy = False
        outage = self._outage(subject.hop)
        if status in (REQUEST_TIMEOUT, SERVICE_UNAVAILABLE):
            outage.begin(retry_after_ms(response), now)
        elif outage.end(now):
            logger.info("server answers again at=%s", subject.hop)
        if self._subscriptions.get(subject.key) is not subject:
            return  # its answer is news of the server still, for which others may wait
        if subject.asked != subject.call_id:
            pass  # it was sent in a dialog that is over
        elif status < 300:
            self._granted(subject, response, now)
        elif status == TOO_BRIEF and response is not None and (response.min_expires or 0) > subject.expires:
            subject.expires = response.min_expires or 0
            subject.wants_refresh = True
        else:
            self._refused(subject, status, response, now)
        self._ask(subject, now)
        if subject.key in self._subscriptions:
            self.arm(subject)

    def renumbered(self, subject: Subscription, cseq: int) -> None:
        """Count on from the CSeq that the outstanding SUBSCRIBE has now, if its dialog is still the one."""
        if subject.asked == subject.call_id:
            subject.cseq = cseq

    def _granted(self, subscription: Subscription, response: SipMessage | None, now: Now) -> None:
        if response is not None and response.status == 204:
            subscription.timer_n = NEVER_MS  # RFC 5839: no NOTIFY follows
        elif subscription.timer_n <= now.ms:
            subscription.timer_n = now.ms + TIMER_N_MS  # it was not the first server that took it
        if subscription.state is not State.ENDING and response is not None and response.expires:
            subscription.lasts(response.expires, now.ms)

    def _refused(self, subscription: Subscription, status: int, response: SipMessage | None, now: Now) -> None:
        if subscription.state is State.ENDING:
            self._drop(subscription)
        elif subscription.dialog is None:
            subscription.timer_n = NEVER_MS
            self._on_refused(subscription, status, response)
            self._renew(subscription, Renewal.LATER, retry_after_ms(response) // 1000, now)
        elif status in ENDS_SUBSCRIPTION:
            self._renew(subscription, Renewal.NOW, 0, now)  # SUB-16
        else:
            # It lives until its known end; a refresh is tried again half way there.
            if status != REQUEST_TIMEOUT:
                subscription.timer_n = NEVER_MS
            left_ms = max(0, subscription.expires_at - now.ms)
            subscription.refresh_at = now.ms + max(1000, retry_after_ms(response) or left_ms // 2)

    # -- NOTIFY -----------------------------------------------------------------------------------------

    def receive(self, request: SipMessage, flow: Flow, now: Now, max_octets: int) -> Outcome | Heard:
        """Return what a NOTIFY says, or the answer it gets if that is nothing (SUB-17); nothing of its body is looked
        at before it is known to belong to a subscription."""
        subscription = self.dialogs.get(request.call_id)
        refusal = refuse(request, flow, subscription, self._peers)
        if refusal is not None:
            return refusal
        assert subscription is not None
        state = request.subscription_state
        assert state is not None
        if not self._enter(subscription, subscription.dialog, request, flow):
            return NO_CONTACT
        outcome: Outcome | Heard = OK
        if request.body:
            outcome = self._hear(subscription, request, now, max_octets)
        self._follow_state(subscription, state, now)
        if subscription.key in self._subscriptions:
            self.arm(subscription)
        return outcome

    def enter_dialog(self, subscription: Subscription, request: SipMessage, flow: Flow) -> None:
        """Enter the dialog that a NOTIFY outside of one begins, if nothing is said against it (SUB-14)."""
        with suppress(SipParseError):  # receive() reads that header again, and it is answered 400
            if refuse(request, flow, subscription, self._peers) is None:
                self._enter(subscription, subscription.dialog, request, flow)

    def _enter(self, subscription: Subscription, dialog: Dialog | None, request: SipMessage, flow: Flow) -> bool:
        """Be in the dialog that a NOTIFY belongs to; False if no request could be sent in it (SUB-14, DLG-3)."""
        if dialog is None or target_of(request, dialog.target) != dialog.target:
            try:
                entered = dialog_of(request, subscription.tag) if dialog is None else refreshed(dialog, request)
                way_of(entered)
            except SipParseError:
                return False
            if dialog is None:
                subscription.view.restart()
                subscription.state = State.ACTIVE
            subscription.dialog = dialog = entered
        host = None if flow.connection else flow.host
        subscription.enter(dialog.remote_tag, dialog.target, request.cseq, host)
        return True

    def _hear(self, subscription: Subscription, request: SipMessage, now: Now, max_octets: int) -> Outcome | Heard:
        try:
            document = parse_reginfo(request.body, max_octets=max_octets)
            delta = apply_reginfo(document, subscription.view)
        except SipParseError as error:
            logger.warning("document refused aor=%s reason=%s", subscription.aor, error.reason)
            self._refetch(subscription, now)
            return Outcome(error.status or 400, error.reason)
        if delta.verdict == GAP:
            self._refetch(subscription, now)
        elif delta.verdict != STALE_DOCUMENT:
            subscription.refetched = False
        return Heard(subscription, document, delta, delta.verdict != STALE_DOCUMENT)

    def _refetch(self, subscription: Subscription, now: Now) -> None:
        """Ask for the full state, once until it has come (RIC-2, RIC-8)."""
        if not subscription.refetched:
            subscription.refetched = True
            self._refresh(subscription, now)

    def lost(self, subscription: Subscription, now: Now) -> None:
        """Take note that what a NOTIFY said could not be stored: the full state is asked for again."""
        if self._subscriptions.get(subscription.key) is subscription and subscription.dialog is not None:
            subscription.view.reset()
            subscription.refetched = False
            self._refetch(subscription, now)
            self.arm(subscription)

    def _follow_state(self, subscription: Subscription, state: SubscriptionState, now: Now) -> None:
        subscription.timer_n = NEVER_MS
        if state.state == "terminated":
            if subscription.state is State.ENDING:
                self._drop(subscription)
                subscription.ended_at = now.ms
            else:
                self._renew(subscription, *renewal_after(state), now)
            return
        subscription.ended_at = NEVER_MS
        if state.expires is not None and subscription.state is State.ACTIVE:
            subscription.lasts(state.expires, now.ms)
        elif subscription.state is State.ACTIVE and subscription.expires_at == NEVER_MS:
            # Neither it nor an answer says for how long; what was asked for is the longest it can be (RFC 6665 3.1.1).
            subscription.lasts(subscription.expires, now.ms)

    # -- what survives ----------------------------------------------------------------------------------

    def restore(self, items: Iterable[StateItem], now: Now) -> None:
        """Follow what was followed in the last run."""
        for key, value in items:
            assert value is not None
            expires, _, uri = value.decode().partition(" ")
            _, _, hop = key.decode().partition(" ")
            self.follow(uri, int(expires), now, hop=parse_hop(hop))


def _key(aor: str, hop: Hop) -> str:
    return f"{aor} {hop}"
