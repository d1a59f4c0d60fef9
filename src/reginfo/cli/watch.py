"""`reginfo watch`: the registration of an address-of-record at any RFC 3680 server, as it changes."""

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reginfo.cli._agent import aor_argument, run, server_hop, server_option
from reginfo.cli._password import account_of, account_options
from reginfo.cli._remote import config_option, json_option, print_json, printable
from reginfo.cli._watcher import Show, Watcher
from reginfo.fast import ReginfoContact, ReginfoRegistration
from reginfo.roles.subscriber import Heard

if TYPE_CHECKING:
    from rich.table import Table


@click.command()
@click.argument("aor", callback=aor_argument)
@server_option
@click.option(
    "--from", "identity", callback=aor_argument, metavar="URI", help="Who watches; default: the owner, AOR itself."
)
@click.option("--expires", type=click.IntRange(1, 2**32 - 1), default=3600, show_default=True, metavar="SECONDS")
@click.option("--full", is_flag=True, help="Print the whole state after each change, not only what changed.")
@click.option("--once", is_flag=True, help="Print the state as it is, and exit.")
@account_options
@json_option
@config_option
def watch(
    aor: str,
    server: str | None,
    identity: str | None,
    expires: int,
    full: bool,
    once: bool,
    user: str | None,
    from_stdin: bool,
    as_json: bool,
    file: Path | None,
) -> None:
    """Subscribe to the registration of AOR, and print what becomes of it until Ctrl-C.

    On a terminal that is a table; otherwise one line per contact and change, or with --json one object per change.

    \b
    Examples:
      reginfo watch alice@example.com
      reginfo watch alice@example.com --server sip:example.com --json
    """
    account = account_of(user, from_stdin)
    if once or as_json or full or not sys.stdout.isatty():
        show: Show = Printer(as_json, full)
        run(_watch(Watcher(server_hop(server, file), show, once=once, account=account), aor, identity or aor, expires))
        return
    from rich.live import Live

    with Live(table_of(aor, ()), auto_refresh=False) as live:

        def draw(heard: Heard) -> None:
            live.update(table_of(aor, heard.subscription.view.registrations), refresh=True)

        run(_watch(Watcher(server_hop(server, file), draw, once=once, account=account), aor, identity or aor, expires))


async def _watch(watcher: Watcher, aor: str, identity: str, expires: int) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, watcher.done.set)
    async with watcher.agent:
        await watcher.run(aor, identity, expires)


class Printer:
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


def table_of(aor: str, registrations: tuple[ReginfoRegistration, ...]) -> "Table":
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
