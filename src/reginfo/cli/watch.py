"""`reginfo watch`: the registration of an address-of-record at any RFC 3680 server, as it changes."""

import asyncio
import secrets
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from reginfo.cli import EXIT_FAILED, EXIT_UNREACHABLE, Failed
from reginfo.cli._agent import Agent, aor_argument, refusal, run, server_hop, server_option, silence
from reginfo.cli._remote import config_option, json_option, print_json, printable
from reginfo.config import PuaReginfoSection
from reginfo.fast import Flow, ReginfoContact, ReginfoRegistration, SipMessage
from reginfo.model import Now, Outcome
from reginfo.roles.subscriber import Heard, State, Subscriber, Subscription
from reginfo.sip.peers import Peers
from reginfo.sip.routing import Hop
from reginfo.sip.subscription import Renewal, renewal_after
from reginfo.sip.unsaved import Unsaved

if TYPE_CHECKING:
    from rich.table import Table

MAX_OCTETS: Final = 1 << 20  # of one document: whoever watches has asked for it
FIRST_NOTIFY_MS: Final = 33_000  # timer N of RFC 6665 section 4.1.2, and a second for timer F to speak first
GOODBYE_SECONDS: Final = 2.0  # for the server to take note of the end

Show = Callable[[Heard], None]


@click.command()
@click.argument("aor", callback=aor_argument)
@server_option
@click.option(
    "--from", "identity", callback=aor_argument, metavar="URI", help="Who watches; default: the owner, AOR itself."
)
@click.option("--expires", type=click.IntRange(1, 2**32 - 1), default=3600, show_default=True, metavar="SECONDS")
@click.option("--full", is_flag=True, help="Print the whole state after each change, not only what changed.")
@click.option("--once", is_flag=True, help="Print the state as it is, and exit.")
@json_option
@config_option
def watch(
    aor: str,
    server: str | None,
    identity: str | None,
    expires: int,
    full: bool,
    once: bool,
    as_json: bool,
    file: Path | None,
) -> None:
    """Subscribe to the registration of AOR, and print what becomes of it until Ctrl-C.

    On a terminal that is a table; otherwise one line per contact and change, or with --json one object per change.
    """
    if once or as_json or full or not sys.stdout.isatty():
        show: Show = _Printer(as_json, full)
        run(_watch(server_hop(server, file), aor, identity or aor, expires, once, show))
        return
    from rich.live import Live

    with Live(_table(aor, ()), auto_refresh=False) as live:

        def draw(heard: Heard) -> None:
            live.update(_table(aor, heard.subscription.view.registrations), refresh=True)

        run(_watch(server_hop(server, file), aor, identity or aor, expires, once, draw))


async def _watch(hop: Hop, aor: str, identity: str, expires: int, once: bool, show: Show) -> None:
    watcher = _Watcher(hop, show, once)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, watcher.done.set)
    async with watcher.agent:
        await watcher.run(aor, identity, expires)


class _Watcher:
    """One subscription, and what is heard by it."""

    def __init__(self, hop: Hop, show: Show, once: bool) -> None:
        self._show = show
        self._once = once
        self.done = asyncio.Event()
        self.agent = Agent(hop, self._on_request)
        self._failure: Exception | None = None

    async def run(self, aor: str, identity: str, expires: int) -> None:
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
        if subscription.dialog is None and not subscription.has_lived:
            self._fail(Failed(f"{subscription.hop} sends no NOTIFY", EXIT_UNREACHABLE))

    def _on_refused(self, subscription: Subscription, status: int, response: SipMessage | None) -> None:
        failure = silence(subscription.hop, status) if response is None else refusal(response)
        if subscription.has_lived:
            click.echo(f"{failure}; trying again", err=True)
        else:
            self._fail(failure)


class _Printer:
    """Prints changes, a line each."""

    def __init__(self, as_json: bool, full: bool) -> None:
        self._as_json = as_json
        self._full = full

    def __call__(self, heard: Heard) -> None:
        registrations = heard.subscription.view.registrations if self._full else heard.document.registrations
        for registration in registrations:
            if self._as_json:
                self._print_json(heard, registration)
            else:
                self._print_lines(registration)
        sys.stdout.flush()

    def _print_json(self, heard: Heard, registration: ReginfoRegistration) -> None:
        print_json(
            {
                "ts": round(time.time(), 3),
                "aor": registration.aor,
                "version": heard.document.version,
                "document": "full" if self._full else heard.document.state,
                "registration": registration.state,
                "contacts": [contact_fields(contact) for contact in registration.contacts],
            }
        )

    def _print_lines(self, registration: ReginfoRegistration) -> None:
        clock = time.strftime("%H:%M:%S")
        if not registration.contacts:
            click.echo(f"{clock}  {printable(registration.aor)}  {registration.state}")
        for contact in registration.contacts:
            left = "" if contact.expires is None or not contact.active else f"  expires {contact.expires}"
            later = "" if contact.retry_after is None else f"  retry after {contact.retry_after}"
            event = contact.event or contact.state
            click.echo(f"{clock}  {printable(registration.aor)}  {event:<12} {printable(contact.uri)}{left}{later}")


def contact_fields(contact: ReginfoContact) -> dict[str, Any]:
    """Return a contact as JSON; what a document does not say is null."""
    return {
        "id": contact.id,
        "uri": contact.uri,
        "state": contact.state,
        "event": contact.event,
        "expires": contact.expires,
        "retry_after": contact.retry_after,
        "duration_registered": contact.duration_registered,
        "q": contact.q,
        "callid": contact.call_id,
        "cseq": contact.cseq,
        "display_name": contact.display_name,
        "params": contact.params or None,
        "pub_gruu": contact.pub_gruu,
        "path": contact.path or None,
        "received": contact.received or None,
        "user_agent": contact.user_agent or None,
    }


def _table(aor: str, registrations: tuple[ReginfoRegistration, ...]) -> "Table":
    from rich.table import Table

    table = Table(title=f"{printable(aor)}   (Ctrl-C ends)", title_justify="left")
    for column in ("contact", "event", "expires", "q", "user agent"):
        table.add_column(column, overflow="fold")
    for registration in registrations:
        for contact in registration.contacts:
            table.add_row(
                *map(
                    printable,
                    (contact.uri, contact.event, contact.expires, contact.q, contact.user_agent or None),
                )
            )
    if not any(registration.contacts for registration in registrations):
        table.add_row("[dim]nothing is bound[/dim]")
    return table
