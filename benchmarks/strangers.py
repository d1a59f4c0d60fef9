"""What others must not feel of strangers: a flood of REGISTERs from everywhere, and connections that lead nowhere.

The others are phones whose REGISTERs are authenticated, with a nonce used again.  The report has a sample of ten
seconds of the flood:

    python -m benchmarks.strangers [--seconds 60] [--pairs 1]
"""

import itertools
import os
import random
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import click

from benchmarks.authentication import NAMES, authenticating, nonces, user_table
from benchmarks.latency import Bystanders, Disturbance, Felt, disturbed, meanwhile, on_own_core
from benchmarks.promises import felt_lines, markdown
from benchmarks.sipp_table import PASSWORD
from tests.interop.kamailio import DOMAIN
from tests.server_fixture import Address, RunningServer

FLOOD_SECONDS = 10.0
FLOOD_RATE = 10_000  # REGISTERs a second: some 6 MB/s, beside the half of what the server can do that others ask for
SILENCE_SECONDS = 2.0  # after a flood, in which a retransmission would come: four times T1
BURST = 64  # datagrams sent at most before answers are read
SMALL = 640  # octets that any answer may have
MAX_GROWTH = 2 << 20  # octets of the server's memory, by one flood
IP_PKTINFO = 8  # ip(7); socket has no name for it

CONNECTIONS = 4_096
PER_ADDRESS = 64
"What the server allows unless told otherwise."
LORIS_SECONDS = 10.0
MESSAGE_SECONDS = 2  # until a message that is not complete ends its connection
SLICES = 64  # of a second
PATIENCE = 30.0


@contextmanager
def phones(options: str = "") -> Iterator[tuple[RunningServer, Bystanders]]:
    """Run a server on a core of its own with phones that have proven who they are."""
    with user_table() as users, on_own_core(authenticating(users, options=options)) as server:
        held = nonces(server.udp, NAMES)
        yield server, Bystanders.at(server, len(NAMES), nonces=held, password=PASSWORD)


# --- a flood


class Flood:
    """REGISTERs that each come from another address, user and dialog, every other one with made-up credentials.

    Each answer has to be a small 401, and has to come once.
    """

    def __init__(self, server: Address) -> None:
        self.server = server
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
        self.socket.bind(("0.0.0.0", 0))
        self.port = self.socket.getsockname()[1]
        self.random = random.Random()
        self.waiting: dict[bytes, int] = {}
        "Octets of what has not been answered, by branch."
        self.sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self) -> None:
        token = self.random.randbytes(12).hex()
        source = bytes([127, *self.random.randbytes(2), self.random.randint(1, 254)])
        octets = request(token, socket.inet_ntoa(source), self.port, forged=bool(self.sent % 2))
        control = (socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=I4s4s", 0, source, bytes(4)))
        self.socket.sendmsg([octets], [control], 0, self.server)
        self.waiting[token.encode()] = len(octets)
        self.sent += 1

    def take(self, seconds: float) -> bool:
        """Check one answer; False if there is none in time."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return False
        octets = self.socket.recv(65_536)
        asked = self.waiting.pop(octets.partition(b"branch=z9hG4bK")[2][:24], None)
        assert asked is not None, f"an answer to nothing, or one more: {octets!r}"
        assert octets.startswith(b"SIP/2.0 401 "), octets
        assert len(octets) <= max(SMALL, 1.5 * asked), f"{len(octets)} octets for {asked}"
        return True

    def run(self, seconds: float) -> None:
        before = time.monotonic()
        until = before + seconds
        due = 0.0
        while (now := time.monotonic()) < until:
            # Who comes late, since the machine has other work, does not make up for it.
            due = min(float(BURST), due + (now - before) * FLOOD_RATE)
            before = now
            while due >= 1:
                self.send()
                due -= 1
            while self.take(0.001):
                pass
        until = time.monotonic() + SILENCE_SECONDS
        while (left := until - time.monotonic()) > 0:
            self.take(left)
        answered = self.sent - len(self.waiting)
        click.echo(f"  {self.sent} REGISTERs of strangers, {answered} answered", err=True)
        assert answered > seconds * FLOOD_RATE / 4, "that was no flood"


def request(token: str, host: str, port: int, forged: bool) -> bytes:
    credentials = (
        f'Authorization: Digest username="{token}",realm="{DOMAIN}",nonce="{token}{token[:8]}",uri="sip:{DOMAIN}",'
        f'response="{token}{token[:8]}",algorithm=MD5,cnonce="c",qop=auth,nc=00000001\r\n'
    )
    return (
        f"REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{token};rport\r\n"
        f"From: <sip:{token}@{DOMAIN}>;tag={token[:8]}\r\nTo: <sip:{token}@{DOMAIN}>\r\nCall-ID: {token}\r\n"
        f"CSeq: 1 REGISTER\r\nContact: <sip:{token}@{host}>\r\nMax-Forwards: 70\r\n"
        f"{credentials if forged else ''}Content-Length: 0\r\n\r\n"
    ).encode()


def pour(server: Address, seconds: float) -> None:
    with Flood(server) as strangers:
        strangers.run(seconds)


def growth(server: RunningServer, seconds: float) -> int:
    """Return by how many octets the memory of a server has grown after a flood that it was alone with."""
    pour(server.udp, 1.0)  # allocators and caches have what they need then
    before = server.rss
    pour(server.udp, seconds)
    grown = server.rss - before
    click.echo(f"  memory of the server: {before >> 10} KiB, {grown >> 10:+} by the flood", err=True)
    return grown


def flood(pairs: int, seconds: float = FLOOD_SECONDS) -> Felt:
    """Flood the server with REGISTERs of nobody."""
    with phones() as (server, others):
        assert growth(server, seconds) <= MAX_GROWTH

        @contextmanager
        def strangers() -> Iterator[Callable[[], bool]]:
            with meanwhile(lambda: pour(server.udp, seconds)) as lasts:
                yield lasts

        return disturbed(server, others, Disturbance("flood of strangers", 2.0, strangers), pairs)


# --- connections that lead nowhere


def loiter(server: Address, seconds: float) -> None:
    """Fill the server with connections: one half is silent, each of the other says an octet of a request a second."""
    with open_connections(server, CONNECTIONS) as clients:
        slow = itertools.cycle(range(0, CONNECTIONS, 2))
        closed = 0
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for number in itertools.islice(slow, CONNECTIONS // 2 // SLICES):
                try:
                    clients[number].send(b"R")
                except ConnectionError:
                    closed += 1
                    clients[number].close()
                    clients[number] = connect(server, number)
            time.sleep(1 / SLICES)
        click.echo(f"  {closed} connections closed by the server", err=True)
        assert closed, "no slow client was ever cut off"


@contextmanager
def open_connections(server: Address, number: int) -> Iterator[list[socket.socket]]:
    clients: list[socket.socket] = []
    try:
        clients += [connect(server, one) for one in range(number)]
        yield clients
    finally:
        for client in clients:
            client.close()


def connect(server: Address, number: int) -> socket.socket:
    """Connect from an address that has no more connections than it may."""
    return socket.create_connection(
        server, timeout=PATIENCE, source_address=(f"127.0.1.{1 + number // PER_ADDRESS}", 0)
    )


def open_files(server: RunningServer) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def slow(pairs: int, seconds: float = LORIS_SECONDS) -> Felt:
    """Occupy every connection the server allows."""
    options = f"[limits]\nstream_message_timeout = {MESSAGE_SECONDS}\n"
    with phones(options) as (server, others):

        @contextmanager
        def strangers() -> Iterator[Callable[[], bool]]:
            files = open_files(server)
            with meanwhile(lambda: loiter(server.tcp, seconds)) as lasts:
                yield lasts
                assert open_files(server) - files > CONNECTIONS / 2, "the server was not full"
            until = time.monotonic() + PATIENCE
            while open_files(server) > files:
                assert time.monotonic() < until, "connections were left behind"
                time.sleep(0.1)

        return disturbed(server, others, Disturbance("slow and silent connections", 1.5, strangers), pairs)


@click.command()
@click.option("--seconds", default=60.0, show_default=True, type=click.FloatRange(1, 600), help="Of the flood.")
@click.option("--pairs", default=1, show_default=True, type=click.IntRange(1, 20))
def main(seconds: float, pairs: int) -> None:
    """Measure what others feel of a flood, and what the server keeps of it."""
    click.echo(markdown(felt_lines([flood(pairs, seconds)])))


if __name__ == "__main__":
    main()
