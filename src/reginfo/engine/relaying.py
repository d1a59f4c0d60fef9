"""Relay mode composed: what is answered to the phone, and what is followed at the registrar behind this server."""

import logging

from reginfo.config import Config
from reginfo.engine.answers import Answers
from reginfo.engine.roles import FOLLOWED_EXPIRES
from reginfo.fast import PENDING, Flow, SipMessage, SipParseError, Transactions
from reginfo.model import Now, Outcome
from reginfo.roles.relay import Relay, Relayed
from reginfo.roles.subscriber import Subscriber, TooManyFollowed
from reginfo.sip.client import Client
from reginfo.sip.incoming import LATE_MS
from reginfo.sip.routing import Hop
from reginfo.sip.timers import Timers

logger = logging.getLogger(__name__)


class Relaying:
    """The relay of one engine under one configuration."""

    def __init__(
        self,
        config: Config,
        client: Client,
        timers: Timers,
        answers: Answers,
        transactions: Transactions,
        subscriber: Subscriber,
    ) -> None:
        self._answers = answers
        self._transactions = transactions
        self._subscriber = subscriber
        self._follows = config.pua_reginfo.subscribe_on_register
        self._has_proxy = bool(config.pua_reginfo.outbound_proxy)
        self.relay = Relay(
            config.registrar.upstream,
            config.own_hosts,
            client,
            timers,
            answer=self._answer,
            trying=lambda relayed: answers.trying(relayed.request, relayed.flow),
            registered=self._registered,
        )

    def take(self, request: SipMessage, flow: Flow, fingerprint: int, now: Now) -> Outcome | None:
        """Forward a REGISTER, or return why not."""
        outcome = self.relay.take(request, flow, fingerprint, now)
        if outcome is None and not flow.reliable:
            self._transactions.remember(fingerprint, PENDING, now.ms)
        return outcome

    def _answer(self, relayed: Relayed, outcome: Outcome, to_tag: str, body: bytes, now: Now) -> None:
        if now.ms - relayed.arrived_ms < LATE_MS:
            self._answers.respond(
                relayed.request, relayed.flow, relayed.fingerprint, outcome, now, to_tag=to_tag, body=body
            )

    def _registered(self, relayed: Relayed, hop: Hop, now: Now) -> None:
        if self._follows:
            aor = relayed.request.aor
            asked = None if self._has_proxy else hop
            try:
                self._subscriber.follow(aor, FOLLOWED_EXPIRES, now, keep=False, while_bound=True, hop=asked)
            except (SipParseError, TooManyFollowed) as error:
                logger.warning("not followed aor=%s reason=%s", aor, error)
