"""`reginfo demo`: a server, some phones and a watcher in one process, for ten seconds."""

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import click

from reginfo.cli import EXIT_FAILED, Failed
from reginfo.cli._agent import refuse, run
from reginfo.cli._remote import printable
from reginfo.cli._watcher import Watcher
from reginfo.cli.register import bind
from reginfo.cli.watch import Printer
from reginfo.config import AdminSection, Config, NotifierSection, RegistrarSection, StoreSection
from reginfo.fast import ReginfoRegistration
from reginfo.model import ContactEvent
from reginfo.roles.subscriber import Heard
from reginfo.server import Server
from reginfo.sip.routing import Hop

if TYPE_CHECKING:
    from rich.table import Table

ALICE: Final = "sip:alice@example.com"
BOB: Final = "sip:bob@example.com"
CAROL: Final = "sip:carol@example.com"
DESK: Final = "sip:desk@192.0.2.10"
MOBILE: Final = "sip:mobile@192.0.2.11"
PAUSE_SECONDS: Final = 1.0  # between two steps: what one can follow
PATIENCE_SECONDS: Final = 5.0  # for the last NOTIFYs

Told = dict[str, tuple[ReginfoRegistration, ...]]
Tell = Callable[[str], None]


@click.command()
def demo() -> None:
    """Show what watchers are told while phones come and go, and operators interfere.

    Nothing outside this process is used, and nothing is left behind.  Exits with 0 if in the end the watcher knows what
    the registrar knows, with 1 otherwise.

    \b
    Examples:
      reginfo demo
    """
    told: Told = {}
    printer = Printer(as_json=False, full=False)
    if not sys.stdout.isatty():
        run(_demo(told, printer, lambda text: click.echo(f"          {text}")))
        return
    from rich.live import Live

    step = ""
    with Live(_table(told, step), auto_refresh=False) as live:

        def say(text: str) -> None:
            nonlocal step
            step = text
            live.update(_table(told, step), refresh=True)

        run(_demo(told, lambda heard: live.update(_table(told, step), refresh=True), say))


async def _demo(told: Told, show: Callable[[Heard], None], tell: Tell) -> None:
    config = Config(
        listen=("udp:127.0.0.1:0",),
        domains=("example.com",),
        store=StoreSection(url="memory:"),
        admin=AdminSection(socket=""),
        registrar=RegistrarSection(min_expires=1),
        notifier=NotifierSection(min_notify_interval=0),
    )
    server = Server(config)
    try:
        await server.start()
        [first, *_] = server.listeners
        hop = Hop(first.transport, first.host, first.port)

        def heard(news: Heard) -> None:
            told[news.subscription.aor] = news.subscription.view.registrations
            show(news)

        watchers = {aor: Watcher(hop, heard) for aor in (ALICE, BOB, CAROL)}
        async with asyncio.TaskGroup() as group:
            for aor, watcher in watchers.items():
                group.create_task(_watch(watcher, aor))
            await _play(server, hop, tell)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while not await _is_true(server, told):
                        await asyncio.sleep(0.05)
            except TimeoutError:
                raise Failed("the watcher was not told the truth", EXIT_FAILED) from None
            finally:
                for watcher in watchers.values():
                    watcher.done.set()
        tell("The watcher knows what the registrar knows.")
    except* Failed as failures:
        raise failures.exceptions[0] from None
    finally:
        await server.close()


async def _watch(watcher: Watcher, aor: str) -> None:
    async with watcher.agent:
        await watcher.run(aor, aor, 600)


async def _play(server: Server, hop: Hop, tell: Tell) -> None:
    async def register(text: str, aor: str, contact: str, expires: int = 600) -> None:
        await asyncio.sleep(PAUSE_SECONDS)
        tell(text)
        refuse(await bind(hop, aor, contact, expires, None), None)

    async def end(text: str, aor: str, event: ContactEvent, retry_after: int = 0) -> None:
        await asyncio.sleep(PAUSE_SECONDS)
        tell(text)
        await server.location.end(aor, None, event, retry_after)

    await register("Alice's desk phone registers.", ALICE, DESK)
    await register("Her mobile registers for three seconds only.", ALICE, MOBILE, 3)
    await register("Bob registers.", BOB, DESK)
    await end("An operator deactivates Bob: he is to register again at once.", BOB, ContactEvent.DEACTIVATED)
    await register("So he does.", BOB, DESK)
    await register("Carol registers.", CAROL, DESK)
    await end("An operator rejects Carol.", CAROL, ContactEvent.REJECTED)
    await register("Alice's desk phone unregisters.", ALICE, DESK, 0)
    while await server.location.lookup(ALICE):  # until her mobile has expired
        await asyncio.sleep(0.05)
    await asyncio.sleep(PAUSE_SECONDS)


async def _is_true(server: Server, told: Told) -> bool:
    for aor in (ALICE, BOB, CAROL):
        truth = await server.location.lookup(aor)
        known = {contact.uri for registration in told.get(aor, ()) for contact in registration.contacts}
        if known != ({binding.uri for binding in truth.bindings} if truth else set()):
            return False
    return True


def _table(told: Told, step: str) -> "Table":
    from rich.table import Table

    table = Table(title="what the watcher knows", title_justify="left", caption=step, caption_justify="left")
    for column in ("address-of-record", "contact", "event", "expires"):
        table.add_column(column, min_width=12, overflow="fold")
    for aor in (ALICE, BOB, CAROL):
        contacts = [contact for registration in told.get(aor, ()) for contact in registration.contacts]
        for contact in contacts:
            table.add_row(*map(printable, (aor, contact.uri, contact.event, contact.expires)))
        if not contacts:
            table.add_row(aor, "[dim]nothing is bound[/dim]", "", "")
    return table
