"""A SIP user agent for the length of one command: it sends requests, and answers what it is sent."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import click

from reginfo.cli import EXIT_FAILED, EXIT_PASSWORD, EXIT_UNREACHABLE, EXIT_USAGE, Failed
from reginfo.cli._remote import printable
from reginfo.config import Listener, load_config
from reginfo.fast import (
    Flow,
    Request,
    SipMessage,
    SipParseError,
    canonical_aor,
    parse_message,
    response_flow,
    write_headers,
    write_response,
)
from reginfo.model import Now, Outcome
from reginfo.net.connection import StreamLimits
from reginfo.net.stream import StreamServer
from reginfo.net.udp import UdpEndpoint
from reginfo.server.locator import Locator
from reginfo.sip.authorization import CHALLENGES, Account, Accounts
from reginfo.sip.client import Client
from reginfo.sip.locating import Target
from reginfo.sip.peers import Networks
from reginfo.sip.routing import Hop, next_hop
from reginfo.sip.timers import Timers
from reginfo.sip.transaction import REQUEST_TIMEOUT, SERVICE_UNAVAILABLE

TICK: Final = 0.05  # seconds: timers are exact to this
PORT_TRIES: Final = 16  # ports the system chose for UDP, before giving up on one that TCP can have too

T = TypeVar("T")

server_option = click.option(
    "--server", metavar="URI", help="SIP URI of the server; default: the first address of the configuration."
)


def aor_argument(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Return an address-of-record as a SIP URI; `alice@example.com` is taken for one."""
    if value is None:
        return None
    uri = value if value.lower().startswith(("sip:", "sips:")) else f"sip:{value}"
    try:
        canonical_aor(uri)
    except (SipParseError, UnicodeEncodeError) as error:
        raise click.BadParameter(getattr(error, "reason", "must be UTF-8")) from None
    return uri


def server_hop(server: str | None, file: Path | None, name: str = "--server") -> Hop:
    """Return where the server is: as the argument of this name says, or else where the configuration listens first."""
    if server is None:
        listeners = load_config(file).config.listeners
        first = next((listener for listener in listeners if listener.transport in ("udp", "tcp")), None)
        if first is None:
            raise Failed(f"the server is configured for neither UDP nor TCP: say where it is with {name}", EXIT_USAGE)
        return Hop(first.transport, first.host, first.port)
    uri = server if server.lower().startswith(("sip:", "sips:")) else f"sip:{server}"
    try:
        hop = next_hop(uri)
    except (SipParseError, UnicodeEncodeError) as error:
        raise Failed(f"{name} {server!r} is no SIP URI: {error}", EXIT_USAGE) from None
    if hop.transport not in ("sip", "udp", "tcp"):
        reason = "leads over neither UDP nor TCP, which is all these commands speak"
        raise Failed(f"{name} {server!r} {reason}", EXIT_USAGE)
    return hop


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine."""
    import uvloop

    # What goes wrong is the command's to say: without a handler, warnings of the log would stand beside it.
    logging.getLogger("reginfo.sip").addHandler(logging.NullHandler())
    result: T = uvloop.run(work)
    return result


class Agent:
    """A user agent on a port of its own, towards one server."""

    def __init__(
        self,
        hop: Hop,
        on_request: Callable[[SipMessage, Flow, Now], Outcome] | None = None,
        account: Account | None = None,
    ) -> None:
        """on_request answers what the server asks; without it every request gets 481."""
        self.hop = hop
        self.account = account
        self.timers = Timers()
        self.client = Client(lambda: secrets.token_hex(8), self.timers)
        if account is not None:
            accounts = Accounts()
            accounts.add(account, hop, Networks(()))
            self.client.authorizations.follow(accounts)
        self._on_request = on_request
        self._listener = Listener("udp", "127.0.0.1", 0)
        self._locator = Locator(("udp", "tcp"))
        self._lookups: set[asyncio.Task[None]] = set()

    @property
    def contact(self) -> str:
        """Contact URI of this agent."""
        transport = "" if self._transport == "udp" else f";transport={self._transport}"
        return f"sip:reginfo@{self._listener.sip_host}:{self._listener.port}{transport}"

    @staticmethod
    def now() -> Now:
        return Now(time.monotonic_ns() // 1_000_000, time.time())

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        targets = await self._locator.locate(self.hop)
        if not targets:
            raise Failed(f"{self.hop.host} is not found", EXIT_UNREACHABLE)
        first, local = targets[0]
        self._transport = first.transport
        await self._bind(local)
        self._take(self.hop, targets)
        self._ticker = self._loop.create_task(self._tick())
        return self

    async def _bind(self, host: str) -> None:
        for attempt in range(PORT_TRIES):
            self._datagrams = UdpEndpoint(self._loop, host, 0, self._on_batch, self._on_lost)
            await self._datagrams.start()
            self._streams = StreamServer(
                self._loop,
                host,
                self._datagrams.local[1],
                self._on_batch,
                self._on_lost,
                lambda error, flow: None,
                limits=StreamLimits(),
                is_pressed=lambda: False,
            )
            try:
                await self._streams.start()
                break
            except OSError:
                await self._datagrams.close()
                if attempt == PORT_TRIES - 1:
                    raise
        self._listener = Listener("udp", host, self._datagrams.local[1])
        self.client.bind([self._listener, self._listener._replace(transport="tcp")])

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ticker.cancel()
        for lookup in self._lookups:
            lookup.cancel()
        await self._datagrams.close()
        await self._streams.close()

    async def ask(
        self, method: str, uri: str, headers: list[tuple[str, str]], body: bytes = b"", *, identity: str = ""
    ) -> SipMessage:
        """Send a request outside any dialog and return its final response.

        Failed, with the exit code of an unreachable server, if there is none.
        """
        rows = [
            ("Max-Forwards", "70"),
            ("From", f"<{identity or uri}>;tag={secrets.token_hex(8)}"),
            *([] if any(name == "To" for name, _ in headers) else [("To", f"<{uri}>")]),
            ("Call-ID", secrets.token_hex(8)),
            ("CSeq", f"1 {method}"),
            *headers,
        ]
        answer = _Answer(Request(method, uri, write_headers(rows), body))
        self.client.send(self.hop, answer, answer)
        self.flush()
        status, response = await answer.future
        if response is None:
            raise silence(self.hop, status)
        return response

    def flush(self) -> None:
        """Send what is waiting to be sent."""
        while self.client.work(self.now()):
            pass
        self._send(self.client.take_output())
        for hop in self.client.take_lookups():
            task = self._loop.create_task(self._locate(hop))
            self._lookups.add(task)
            task.add_done_callback(self._lookups.discard)

    async def _locate(self, hop: Hop) -> None:
        self._take(hop, await self._locator.locate(hop))
        self.flush()

    def _take(self, hop: Hop, targets: list[tuple[Target, str]]) -> None:
        # It has the one address that its Contact names: what is reached from another one is not.
        mine = [(target, local) for target, local in targets if local == self._listener.host]
        self.client.located(hop, mine, self.now())

    def _send(self, output: list[tuple[bytes, Flow]]) -> None:
        self._datagrams.send([item for item in output if not item[1].reliable])
        self._streams.send([item for item in output if item[1].reliable])

    def _on_batch(self, batch: list[tuple[bytes, Flow]]) -> None:
        now = self.now()
        for octets, flow in batch:
            try:
                message = parse_message(octets, stream=flow.reliable)
                if not message.is_request:
                    self.client.receive(message, now)
                elif message.method != "ACK":
                    self._answer(message, flow, now)
            except SipParseError:
                continue  # whoever sent it repeats it, or does not care
        self.flush()

    def _answer(self, request: SipMessage, flow: Flow, now: Now) -> None:
        outcome = self._on_request(request, flow, now) if self._on_request else Outcome(481)
        octets = write_response(
            request, outcome.status, outcome.reason, to_tag=secrets.token_hex(8), source=flow, headers=outcome.headers
        )
        self._send([(octets, response_flow(request, flow))])

    def _on_lost(self, flow: Flow) -> None:
        self.client.lost(flow, self.now())
        self.flush()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self.timers.run(self.now())
            self.flush()


class _Answer:
    """One request that waits for its final response."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.future: asyncio.Future[tuple[int, SipMessage | None]] = asyncio.get_running_loop().create_future()

    def request(self, subject: object, now: Now) -> Request | None:
        return self._request

    def answered(self, subject: object, status: int, response: SipMessage | None, now: Now) -> None:
        if status >= 200 and not self.future.done():
            self.future.set_result((status, response))

    def renumbered(self, subject: object, cseq: int) -> None:
        """Forget it: nothing follows under this Call-ID."""


def refuse(response: SipMessage, account: Account | None) -> None:
    """Fail with what a server answered to somebody, unless it is a success."""
    if response.status >= 300:
        raise refusal(response, account)


def refusal(response: SipMessage, account: Account | None) -> Failed:
    """Return the failure that the final response of a server to somebody is."""
    if response.status in CHALLENGES:
        if account is None:
            return Failed("the server asks for a password: give --user", EXIT_PASSWORD)
        return Failed(f"the server does not take the password of {printable(account.username)}", EXIT_PASSWORD)
    text = f"the server answers {response.status} {printable(response.reason)}"
    if response.retry_after:
        text += f", try again after {response.retry_after} s"
    if response.min_expires:
        text += f", the shortest lifetime is {response.min_expires} s"
    return Failed(text, EXIT_UNREACHABLE if response.status == SERVICE_UNAVAILABLE else EXIT_FAILED)


def silence(hop: Hop, status: int) -> Failed:
    """Return the failure that a request without a final response is, by the status that stands for it."""
    reason = "does not answer" if status == REQUEST_TIMEOUT else "cannot be reached"
    return Failed(f"{hop} {reason}", EXIT_UNREACHABLE)
