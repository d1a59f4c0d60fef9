"""The roles of one engine beside the registrar, and what they have in common: the feed, time and durable state."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from reginfo.config import Config, Listener
from reginfo.fast import (
    PUBLICATION_AGENT,
    PUBLICATION_STATE,
    SUBSCRIPTION_STATE,
    Change,
    Flow,
    SipMessage,
    SipParseError,
    Transactions,
    Unsaved,
    canonical_aor,
)
from reginfo.model import Command, Now, StateItem
from reginfo.roles.compositor import STATE as COMPOSITOR_STATE
from reginfo.roles.compositor import Compositor
from reginfo.roles.notifier import TOLD as NOTIFIER_TOLD
from reginfo.roles.notifier import Notifier
from reginfo.roles.notify_handler import NotifyHandler
from reginfo.roles.publisher import Publisher
from reginfo.roles.subscriber import STATE as SUBSCRIBER_STATE
from reginfo.roles.subscriber import Subscriber, Subscription
from reginfo.sip.client import WILDCARDS, Client
from reginfo.sip.peers import Identities, Peers
from reginfo.sip.timers import Timers

logger = logging.getLogger(__name__)

FOLLOWED_EXPIRES: Final = 3600  # seconds of a subscription at another server

STATE_PREFIXES: Final = (
    SUBSCRIPTION_STATE,
    NOTIFIER_TOLD,
    PUBLICATION_AGENT,
    PUBLICATION_STATE,
    COMPOSITOR_STATE,
    SUBSCRIBER_STATE,
)
"Of the keys of role state, in the order Roles.restore() wants them."


class Roles:
    """Notifier, publisher, compositor, subscriber and NOTIFY handler under one configuration."""

    def __init__(
        self,
        config: Config,
        transactions: Transactions,
        client: Client,
        timers: Timers,
        token: Callable[[], str],
        command: Callable[[Command], None],
    ) -> None:
        """token returns text nobody can guess, never the same twice; command() puts a change in line."""
        self._config = config
        self.identities: Identities = lambda flow: ()
        "Asked for the domains that the other side of a flow has proved to be."
        self._token = token
        self.unsaved = Unsaved()
        "What the roles want to be durable before their next requests leave."
        self._peers = peers = self._known_peers()
        self.notifier = Notifier(
            config.notifier,
            config.domains,
            peers,
            client,
            timers,
            self.unsaved,
            transactions.tag,
            self._chance,
        )
        self.publisher = Publisher(config.pua_reginfo, peers, client, timers, self.unsaved, token, self._chance)
        self.compositor = Compositor(config.compositor, config.domains, peers, timers, token, command)
        self.handler = NotifyHandler(command)
        self.subscriber = Subscriber(
            config.pua_reginfo, peers, client, timers, self.unsaved, token, self._chance, self._stale, _refused
        )

    def _known_peers(self) -> Peers:
        return Peers(self._config.peer, self._config.domains, lambda flow: self.identities(flow))

    def follow(self, config: Config, now: Now) -> None:
        """Go on under another configuration."""
        before, self._config = self._config.pua_reginfo.subscribe, config
        self._peers = peers = self._known_peers()
        self.notifier.follow(config.notifier, config.domains, peers)
        self.publisher.follow(config.pua_reginfo, peers)
        self.compositor.follow(config.compositor, config.domains, peers)
        self.subscriber.configure(config.pua_reginfo, peers)
        wanted = config.pua_reginfo.subscribe
        for uri in before:
            if uri not in wanted:
                self.subscriber.unfollow(uri, now)
        self._follow_all([uri for uri in wanted if uri not in before], now)

    def is_trusted(self, request: SipMessage, flow: Flow) -> bool:
        """Tell whether the address or certificate behind a SUBSCRIBE or PUBLISH says enough about who it is from.

        That of a peer does for what it may speak for: beyond that its From would be believed (AUT-7).
        """
        method = request.method
        if method == "PUBLISH" and self.compositor.trusts(flow.host):
            return True
        peer = self._peers.by(flow) if method in ("SUBSCRIBE", "PUBLISH") else None
        if peer is None:
            return False
        if method == "SUBSCRIBE" and request.to.tag is not None:
            return True  # the tags of its dialog tell
        try:
            return peer.speaks_for(canonical_aor(request.request_uri))
        except SipParseError:
            return False

    def bind(self, listeners: Sequence[Listener], now: Now) -> None:
        """Take the addresses this server is reached at, and begin to follow what the configuration names."""
        first = listeners[0]
        here = "" if first.host in WILDCARDS else f"sip:reginfo@{first.sip_host}:{first.port}"
        self.subscriber.identity = self.subscriber.contact = here
        self._follow_all(self._config.pua_reginfo.subscribe, now)

    def _follow_all(self, uris: Iterable[str], now: Now) -> None:
        for uri in uris:
            self.subscriber.follow(uri, FOLLOWED_EXPIRES, now, keep=False)

    def _chance(self) -> float:
        """Draw from 0 to 1."""
        return int(self._token(), 16) / 2**64

    def _stale(self, subscription: Subscription) -> None:
        aors = {subscription.aor, *(registration.aor for registration in subscription.view.registrations)}
        self.handler.end(aors, subscription.origin)

    # -- the feed ---------------------------------------------------------------------------------------

    def read(self, changes: Sequence[Change], now: Now) -> None:
        """Take committed changes, in feed order."""
        self.notifier.read(changes)
        self.publisher.read(changes, now)

    def settled(self, seq: int) -> int:
        """Return up to which change, at most seq, everybody has been told."""
        return min(self.notifier.settled(seq), self.publisher.settled(seq))

    def followed(self) -> Iterator[str]:
        """Yield the AoRs that somebody was told about, for recall()."""
        yield from self.notifier.followed()
        yield from self.publisher.followed()

    def recall(self, aor: str, record: bytes | None, seq: int, now: Now) -> None:
        """Compare what was told about an AoR with its record; seq is the last change there was to read."""
        self.notifier.recall(aor, record, seq, now)
        self.publisher.recall(aor, record, seq, now)

    # -- what survives ----------------------------------------------------------------------------------

    def restore(self, prefix: bytes, items: Iterable[StateItem], now: Now) -> None:
        """Go on with the state of the last run under one of STATE_PREFIXES; the feed and recall() follow."""
        if prefix in (SUBSCRIPTION_STATE, NOTIFIER_TOLD):
            self.notifier.restore(items, now)
        elif prefix in (PUBLICATION_AGENT, PUBLICATION_STATE):
            self.publisher.restore(items, now)
        elif prefix == COMPOSITOR_STATE:
            self.compositor.restore(items)
        else:
            self.subscriber.restore(items, now)


def _refused(subscription: Subscription, status: int, response: SipMessage | None) -> None:
    """Tell the operator once that there is nothing to learn at a server; it is tried again more and more seldom."""
    if not subscription.failures:
        reason = "no answer" if response is None else response.reason
        logger.warning(
            "not followed aor=%s at=%s code=%d reason=%s", subscription.aor, subscription.hop, status, reason
        )
