"""`reginfo webhook`: what is owed to the applications that are told of contact events, and a receiver to try it."""

import asyncio
import secrets
import signal
import sys
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from reginfo.admin.signatures import HEADER, verify_webhook
from reginfo.cli import EXIT_UNREACHABLE, Failed
from reginfo.cli._agent import aor_argument, run
from reginfo.cli._remote import config_option, connected, json_option, print_json, printable, socket_option
from reginfo.errors import ReginfoError
from reginfo.fast import canonical_aor
from reginfo.model import ContactEvent

if TYPE_CHECKING:
    from aiohttp import web

LOOK_SECONDS: Final = 5.0  # between two looks whether the server still knows of the receiver
MAX_BODY: Final = 1 << 20  # octets of a delivery
REMEMBERED: Final = 4096  # keys of deliveries that are not shown twice


@click.group()
def webhook() -> None:
    """Applications that are told of contact events by HTTP."""


@webhook.command("list")
@json_option
@socket_option
@config_option
def list_(as_json: bool, socket: str | None, file: Path | None) -> None:
    """Show the webhooks of the running server: what they are owed, and what went wrong.

    \b
    Examples:
      reginfo webhook list
      reginfo webhook list --json
    """
    with connected(socket, file) as call:
        webhooks = call("webhook.list", [])
        if not webhooks:
            click.echo("there is no webhook; docs/webhooks.md says how to have one", err=True)
        for one in webhooks:
            if as_json:
                print_json(one)
                continue
            counts = "  ".join(f"{name} {one[name]}" for name in ("pending", "delivered", "failed", "dropped"))
            error = "" if one["last_error"] is None else f"  last error: {one['last_error']}"
            later = "" if one["next_try"] is None else f"  next try in {one['next_try']} s"
            click.echo(printable(f"{one['name']}  {counts}{error}{later}"))


@webhook.command()
@click.argument("aor", required=False, callback=aor_argument)
@click.option(
    "--event",
    "events",
    multiple=True,
    type=click.Choice([str(event) for event in ContactEvent]),
    help="Be told of these alone; may be repeated.  Default: all but refreshed.",
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after so many events.")
@json_option
@socket_option
@config_option
def listen(
    aor: str | None,
    events: tuple[str, ...],
    count: int | None,
    as_json: bool,
    socket: str | None,
    file: Path | None,
) -> None:
    """Be a webhook of the running server until Ctrl-C, and print what is delivered.

    AOR may hold `*` for any text; without it, all are told.  Signatures are verified.

    \b
    Examples:
      reginfo webhook listen
      reginfo webhook listen '*@example.com' --event registered --count 1
    """
    name, secret = f"listen-{secrets.token_hex(4)}", secrets.token_hex(32)
    receiver = Receiver(secret.encode(), as_json, count)

    def ask(method: str, params: dict[str, Any]) -> Any:
        with connected(socket, file) as call:
            return call(method, params)

    def begin(port: int) -> None:
        wanted = {"aors": [canonical_aor(aor)] if aor else [], "events": list(events)}
        ask("webhook.add", {"name": name, "url": f"http://127.0.0.1:{port}/", "secret": secret, **wanted})
        click.echo(f"listening as webhook {name}", err=True)

    def is_known() -> bool:
        return any(one["name"] == name for one in ask("webhook.list", {}))

    def end() -> None:
        with suppress(ReginfoError):  # the server is gone, or has removed it
            ask("webhook.remove", {"name": name})

    run(_listen(receiver, begin, is_known, end))


async def _listen(
    receiver: "Receiver", begin: Callable[[int], None], is_known: Callable[[], bool], end: Callable[[], None]
) -> None:
    from aiohttp import web

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, receiver.done.set)
    application = web.Application(client_max_size=MAX_BODY)
    application.router.add_post("/", receiver.receive)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await asyncio.to_thread(begin, runner.addresses[0][1])
        try:
            while not receiver.done.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await receiver.done.wait()
                        break
                if not await asyncio.to_thread(is_known):
                    raise Failed("the server has removed the webhook", EXIT_UNREACHABLE)
        finally:
            await asyncio.to_thread(end)
    finally:
        await runner.cleanup()
    if receiver.failure is not None:
        raise receiver.failure


class Receiver:
    """Takes deliveries, verifies them and prints each event once."""

    def __init__(self, secret: bytes, as_json: bool, count: int | None) -> None:
        self._secret = secret
        self._as_json = as_json
        self._left = count
        self._seen: OrderedDict[str, None] = OrderedDict()
        self.done = asyncio.Event()
        self.failure: OSError | None = None

    async def receive(self, request: "web.Request") -> "web.Response":
        """Answer a delivery."""
        from aiohttp import web

        body = await request.read()
        if not verify_webhook(body, request.headers.get(HEADER, ""), self._secret):
            click.echo("a delivery with a wrong signature was refused", err=True)
            return web.Response(status=401)
        if self.done.is_set():
            return web.Response(status=503)
        event = msgspec.json.decode(body)
        if event["id"] not in self._seen:
            self._seen[event["id"]] = None
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
            try:
                self._show(event)
            except OSError as error:  # whoever reads has left, or the disk is full
                self.failure = error
                self.done.set()
        return web.Response(status=204)

    def _show(self, event: dict[str, Any]) -> None:
        if self._as_json:
            print_json(event)
        else:
            contact = event["contact"]
            ends = ContactEvent(event["event"]).terminates
            left = "" if ends else f"  expires {contact['expires']}"
            clock = event["time"][11:19]
            shown = f"{clock}  {event['aor']}  {event['event']:<12} {contact['uri']}{left}"
            click.echo(printable(shown))
        sys.stdout.flush()
        if self._left is not None:
            self._left -= 1
            if not self._left:
                self.done.set()
