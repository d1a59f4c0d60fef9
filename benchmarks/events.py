"""What registration events cost: NOTIFYs taken and sent, watchers kept, and the way from a REGISTER to a watcher.

One process plays everybody around the server, over one socket with a window of requests; CPU and memory are those of
the server's process.

    python -m benchmarks.events [--only WORK]
"""

import select
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import click

from benchmarks.latency import on_own_core
from benchmarks.window import pour
from reginfo.cli._peers import Peer
from reginfo.fast import DatagramSocket, Flow, SipMessage, parse_message, write_request, write_response
from tests.interop.documents import contact, document, registration
from tests.interop.kamailio import DOMAIN, registrar
from tests.server_fixture import Address, RunningServer, loopback_address, running_server

WINDOW = 64  # requests without an answer, of those that are written while others are answered
POURED = 512  # of those that have been written before
PATIENCE = 30  # seconds
STORE = 'store = { url = "rocksdb:reginfo.db" }\n'
KAMAILIO_MEMORY = 1024  # MiB
SETTLE_SECONDS = 40  # until no retransmission is kept any more


@dataclass(frozen=True)
class Result:
    """One work done by one server."""

    server: str
    work: str
    count: int
    seconds: float
    cpu_us: float
    "Of the server, for each."
    bytes_each: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None


class World:
    """Everybody around a server, at one socket."""

    def __init__(self) -> None:
        self.socket = DatagramSocket(loopback_address(), 0, receive_buffer=1 << 23)
        self.host, self.port = self.socket.local
        self.uri = f"sip:{self.host}:{self.port}"
        self.outstanding = 0
        self.on_request: Callable[[SipMessage], bytes | None] = lambda request: write_response(request, 200)
        self.taken = 0
        "Requests of the server."
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def request(
        self, server: Address, method: str, uri: str, rows: list[tuple[str, str]], body: bytes = b"", cseq: int = 1
    ) -> None:
        """Send a request once there is room in the window."""
        while self.outstanding >= WINDOW:
            self.take(PATIENCE)
        self.socket.send([(self.write(method, uri, rows, body, cseq), self._way(server))])
        self.outstanding += 1

    def write(self, method: str, uri: str, rows: list[tuple[str, str]], body: bytes = b"", cseq: int = 1) -> bytes:
        """Return a request in a transaction of its own."""
        self._number += 1
        via = f"SIP/2.0/UDP {self.host}:{self.port};branch=z9hG4bK{self._number}.{self.port}"
        head = [("Via", via), ("Max-Forwards", "70"), *rows, ("CSeq", f"{cseq} {method}")]
        return write_request(method, uri, head, body)

    def pour(self, server: Address, requests: Sequence[bytes]) -> None:
        """Send requests as quickly as they are answered."""
        pour(self.socket, self._way(server), requests, POURED)

    def _way(self, server: Address) -> Flow:
        return Flow("udp", self.socket.local, server)

    def skip(self, requests: int) -> None:
        """Leave numbers to requests that a copy of this world sends."""
        self._number += requests

    def take(self, timeout: float) -> bool:
        """Take one datagram; False if there is none in time."""
        if not select.select([self.socket.fileno()], [], [], timeout)[0]:
            return False
        [(octets, flow)] = self.socket.receive(1)
        message = parse_message(octets)
        if message.is_request:
            self.taken += 1
            answer = self.on_request(message)
            if answer is not None:
                self.socket.send([(answer, flow)])
        else:
            assert 200 <= message.status < 300, octets
            self.outstanding -= 1
        return True

    def until(self, look: Callable[[], bool]) -> None:
        while not look():
            if not self.take(PATIENCE):
                raise click.ClickException("the server is silent")

    def idle(self) -> None:
        """Wait for the last answers."""
        self.until(lambda: not self.outstanding)


def cpu(peer: Peer) -> float:
    used = peer.cpu()
    assert used is not None
    return used


def memory(peer: Peer) -> float:
    held = peer.memory()
    assert held is not None
    return held


@contextmanager
def own(options: str, domains: Sequence[str] = (DOMAIN,)) -> Iterator[tuple[RunningServer, Peer]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(Path(folder), domains, f'{STORE}[log]\nlevel = "warning"\n{options}') as server,
    ):
        yield server, Peer("reginfo", *server.udp, server.process.pid)


def aor_of(user: int) -> str:
    return f"sip:u{user}@{DOMAIN}"


# --- NOTIFYs taken


def notify_rows(aor: str, to: str, from_tag: str, call_id: str, here: str) -> list[tuple[str, str]]:
    return [
        ("From", f"<{aor}>;tag={from_tag}"),
        ("To", to),
        ("Call-ID", call_id),
        ("Contact", f"<{here}>"),
        ("Event", "reg"),
        ("Subscription-State", "active;expires=3600"),
        ("Content-Type", "application/reginfo+xml"),
    ]


def one_contact(aor: str, user: int, version: int) -> bytes:
    told = contact(f"sip:u{user}@192.0.2.1:5060", expires=3600 - version, cseq=version + 1, call_id=f"c{user}")
    return document(registration(aor, told, id=f"r{user}"), version=version)


def notifies_applied(aors: int, rounds: int) -> Iterator[Result]:
    """Yield what a NOTIFY with one contact costs inside subscriptions, the contact new and then known."""
    with World() as world:
        subscribes: dict[str, SipMessage] = {}

        def accept(request: SipMessage) -> bytes:
            subscribes[request.request_uri] = request
            rows = [("Expires", "3600"), ("Contact", f"<{world.uri}>")]
            return write_response(request, 200, to_tag="t", headers=rows)

        world.on_request = accept
        followed = ", ".join(f'"{aor_of(user)}"' for user in range(aors))
        options = f'[[peer]]\nname = "east"\nuri = "{world.uri}"\n[pua_reginfo]\nsubscribe = [{followed}]\n'
        with on_own_core(own(options)) as (server, peer):
            world.until(lambda: len(subscribes) == aors)
            for version in range(rounds + 1):
                notifies = []
                for user in range(aors):
                    subscribe = subscribes[aor_of(user)]
                    to = f"<{subscribe.from_.uri}>;tag={subscribe.from_.tag}"
                    rows = notify_rows(aor_of(user), to, "t", subscribe.call_id, world.uri)
                    body = one_contact(aor_of(user), user, version)
                    notifies.append(world.write("NOTIFY", subscribe.contacts[0].uri, rows, body, version + 1))
                began, before = time.monotonic(), cpu(peer)
                world.pour(server.udp, notifies)
                used = (cpu(peer) - before) / aors * 1e6
                work = "NOTIFY applied, known contact" if version else "NOTIFY applied, new contact"
                yield Result("reginfo", work, aors, time.monotonic() - began, used)


def notifies_applied_by_kamailio(aors: int, rounds: int) -> Iterator[Result]:
    """Yield the same of reginfo_handle_notify, which takes any NOTIFY."""
    with (
        World() as world,
        tempfile.TemporaryDirectory() as folder,
        on_own_core(registrar(Path(folder), (world.host, world.port), publish=False, memory=KAMAILIO_MEMORY)) as server,
    ):
        peer = Peer("Kamailio", *server.address, server.process.pid)
        for version in range(rounds + 1):
            notifies = []
            for user in range(aors):
                rows = notify_rows(aor_of(user), f"<{server.uri('reginfo')}>;tag=w", "t", f"n{user}", world.uri)
                body = one_contact(aor_of(user), user, version)
                notifies.append(world.write("NOTIFY", server.uri("reginfo"), rows, body, version + 1))
            began, before = time.monotonic(), cpu(peer)
            world.pour(server.address, notifies)
            used = (cpu(peer) - before) / aors * 1e6
            work = "NOTIFY applied, known contact" if version else "NOTIFY applied, new contact"
            yield Result("Kamailio", work, aors, time.monotonic() - began, used)


# --- NOTIFYs sent


def subscribe(world: World, server: Address, user: int, aor: str) -> None:
    rows = [
        ("From", f"<{aor}>;tag=f{user}"),
        ("To", f"<{aor}>"),
        ("Call-ID", f"w{user}"),
        ("Contact", f"<{world.uri}>"),
        ("Event", "reg"),
        ("Expires", "36000"),
    ]
    world.request(server, "SUBSCRIBE", aor, rows)


def register(world: World, server: Address, aor: str, cseq: int) -> None:
    rows = [
        ("From", f"<{aor}>;tag=p"),
        ("To", f"<{aor}>"),
        ("Call-ID", "phone"),
        ("Contact", f"<sip:phone@192.0.2.1>;expires={3600 - cseq % 100}"),
    ]
    world.request(server, "REGISTER", f"sip:{DOMAIN}", rows, cseq=cseq)


def one_change_many_watchers(watchers: int, rounds: int) -> Iterator[Result]:
    """Yield what a subscription holds, and what a NOTIFY and its 200 cost when one AoR changes that all watch."""
    limits = "".join(f"{name} = {watchers}\n" for name in LIMITS)
    with World() as world, own(f"[notifier]\nmin_notify_interval = 0\n{limits}") as (server, peer):
        aor = aor_of(0)
        register(world, server.udp, aor, 1)
        world.idle()
        empty = memory(peer)
        began, before = time.monotonic(), cpu(peer)
        for user in range(watchers):
            subscribe(world, server.udp, user, aor)
        world.idle()
        world.until(lambda: world.taken == watchers)
        used = (cpu(peer) - before) / watchers * 1e6
        seconds = time.monotonic() - began
        time.sleep(SETTLE_SECONDS)
        held = (memory(peer) - empty) / watchers
        yield Result("reginfo", "SUBSCRIBE and its first NOTIFY", watchers, seconds, used, held)
        for cseq in range(2, rounds + 2):
            world.taken = 0
            began, before = time.monotonic(), cpu(peer)
            register(world, server.udp, aor, cseq)
            world.until(lambda: world.taken == watchers)
            world.idle()
            used = (cpu(peer) - before) / watchers * 1e6
            yield Result("reginfo", "one change, NOTIFY and 200", watchers, time.monotonic() - began, used)


LIMITS = ("max_subscriptions", "max_subscriptions_per_aor", "max_subscriptions_per_watcher")


def register_to_notify(count: int) -> Iterator[Result]:
    """Yield how long it takes from a REGISTER until the watcher here has the NOTIFY."""
    arrivals: list[float] = []

    def note(request: SipMessage) -> bytes:
        arrivals.append(time.perf_counter())
        return write_response(request, 200)

    with World() as world, own("[notifier]\nmin_notify_interval = 0\n") as (server, peer):
        world.on_request = note
        subscribe(world, server.udp, 0, aor_of(0))
        world.until(lambda: bool(arrivals))
        delays = []
        began, before = time.monotonic(), cpu(peer)
        for cseq in range(1, count + 1):
            arrivals.clear()
            sent = time.perf_counter()
            register(world, server.udp, aor_of(0), cseq)
            world.until(lambda: bool(arrivals) and not world.outstanding)
            delays.append(arrivals[0] - sent)
        used = (cpu(peer) - before) / count * 1e6
        delays.sort()
        p50, p99 = (1000 * delays[int(count * share)] for share in (0.5, 0.99))
        yield Result("reginfo", "REGISTER to NOTIFY", count, time.monotonic() - began, used, None, p50, p99)


WORKS: dict[str, Callable[[int], Iterator[Result]]] = {
    "applied": lambda rounds: notifies_applied(20_000, rounds),
    "applied-kamailio": lambda rounds: notifies_applied_by_kamailio(20_000, rounds),
    "watchers": lambda rounds: one_change_many_watchers(100_000, rounds),
    "delay": lambda _rounds: register_to_notify(5_000),
}


def table(results: list[Result]) -> str:
    rows = [
        "| server | work | count | a second | CPU us | bytes | p50 ms | p99 ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        rate = one.count / one.seconds
        more = ["-" if value is None else f"{value:,.4g}" for value in (one.bytes_each, one.p50_ms, one.p99_ms)]
        rows.append(
            f"| {one.server} | {one.work} | {one.count:,} | {rate:,.0f} | {one.cpu_us:.1f} | {' | '.join(more)} |"
        )
    return "\n".join(rows)


@click.command()
@click.option("--only", type=click.Choice(list(WORKS)), multiple=True)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 20))
def main(only: tuple[str, ...], rounds: int) -> None:
    """Measure each work and print a table."""
    results: list[Result] = []
    for name, work in WORKS.items():
        if not only or name in only:
            click.echo(name, err=True)
            results += work(rounds)
    click.echo(table(results))


if __name__ == "__main__":
    main()
