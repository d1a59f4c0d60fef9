"""A watcher for the length of a command: one subscription at one server, and what is heard by it."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Final

import click

from reginfo.cli import EXIT_FAILED, EXIT_UNREACHABLE, Failed
from reginfo.cli._agent import Agent, refusal, silence
from reginfo.cli._remote import printable
from reginfo.config import PuaReginfoSection
from reginfo.fast import Flow, SipMessage, Unsaved
from reginfo.model import Now, Outcome
from reginfo.roles.subscriber import Heard, State, Subscriber, Subscription
from reginfo.sip.authorization import Account
from reginfo.sip.peers import Peers
from reginfo.sip.routing import Hop
from reginfo.sip.subscription import Renewal, renewal_after

MAX_OCTETS: Final = 1 << 20  # of one document: whoever watches has asked for it
FIRST_NOTIFY_MS: Final = 33_000  # timer N of RFC 6665 section 4.1.2, and a second for timer F to speak first
GOODBYE_SECONDS: Final = 2.0  # for the server to take note of the end

Show = Callable[[Heard], None]


class Watcher:
    """One subscription, and what is heard by it."""

    def __init__(self, hop: Hop, show: Show, *, once: bool = False, account: Account | None = None) -> None:
        """show() gets each document that says something new; with once, the first one is the last."""
        self._show = show
        self._once = once
        self.done = asyncio.Event()
        self.agent = Agent(hop, self._on_request, account)
        self._failure: Exception | None = None

    async def run(self, aor: str, identity: str, expires: int) -> None:
        """Watch until done is set, then unsubscribe; raises Failed if the server does not have it."""
        agent = self.agent
        self._subscriber = Subscriber(
            PuaReginfoSection(),
            Peers((), ()),
            agent.client,
            agent.timers,
            Unsaved(),
            lambda: secrets.token_hex(8),
            lambda: secrets.randbelow(1000) / 1000,
            lambda subscription: None,
            self._on_refused,
        )
        self._subscriber.identity, self._subscriber.contact = identity, agent.contact
        [subscription] = self._subscriber.follow(aor, expires, agent.now(), hop=agent.hop)
        agent.timers.at(agent.now().ms + FIRST_NOTIFY_MS, self._on_silence, subscription)
        agent.flush()
        await self.done.wait()
        self._subscriber.unfollow(aor, agent.now())
        agent.flush()
        if subscription.dialog is not None:
            try:
                async with asyncio.timeout(GOODBYE_SECONDS):
                    while len(self._subscriber):
                        await asyncio.sleep(0.01)
            except TimeoutError:
                pass
        if self._failure is not None:
            raise self._failure

    def _fail(self, failure: Exception) -> None:
        """End with this failure, unless there was one before."""
        self._failure = self._failure or failure
        self.done.set()

    def _on_request(self, request: SipMessage, flow: Flow, now: Now) -> Outcome:
        if request.method != "NOTIFY":
            return Outcome(405, headers=(("Allow", "NOTIFY"),))
        heard = self._subscriber.receive(request, flow, now, MAX_OCTETS)
        if isinstance(heard, Outcome):
            if heard.status >= 300:
                click.echo(f"NOTIFY refused: {heard.status} {printable(heard.reason or '')}", err=True)
            else:
                self._follow_state(request)
            return heard
        if heard.is_news and heard.subscription.state is not State.ENDING:
            try:
                self._show(heard)
            except OSError as error:  # whoever reads has left, or the disk is full
                self._fail(error)
            if self._once:
                self.done.set()
        self._follow_state(request)
        return Outcome(200)

    def _follow_state(self, request: SipMessage) -> None:
        """Say that a NOTIFY has ended the subscription, and end with it unless it is begun again (SUB-18)."""
        state = request.subscription_state
        if self.done.is_set() or state is None or state.state != "terminated":
            return
        text = "the server has ended the subscription" + (f": {printable(state.reason)}" if state.reason else "")
        if renewal_after(state)[0] is Renewal.NEVER:
            self._fail(Failed(text, EXIT_FAILED))
        else:
            click.echo(f"{text}; trying again", err=True)

    def _on_silence(self, subscription: Subscription, now: Now) -> None:
        if subscription.is_busy:  # at the next server, where the first one is silent
            self.agent.timers.at(now.ms + FIRST_NOTIFY_MS, self._on_silence, subscription)
        elif subscription.dialog is None and not subscription.has_lived:
            self._fail(Failed(f"{subscription.hop} sends no NOTIFY", EXIT_UNREACHABLE))

    def _on_refused(self, subscription: Subscription, status: int, response: SipMessage | None) -> None:
        failure = silence(subscription.hop, status) if response is None else refusal(response, self.agent.account)
        if subscription.has_lived:
            click.echo(f"{failure}; trying again", err=True)
        else:
            self._fail(failure)
