"""Mutated traffic at full rate against a live server: it stays alive, answers on, and its memory stays flat.

Messages from the torture tables, the sip-cve corpus and valid REGISTERs are damaged and sent over UDP and TCP as
fast as one process can.  Every second the traffic pauses until a REGISTER and an OPTIONS are answered.  Bindings
live for two seconds; what else grows is bounded: the fingerprints and answers of the last 64 s, at most.

    python -m tests.soak.mutate --seconds 60 [--seed N]
"""

import argparse
import random
import tempfile
import time
from pathlib import Path

from tests.server_fixture import RunningServer, TcpPeer, UdpPeer, answer, probe, running_server
from tests.torture import ROWS

CORPUS = Path(__file__).parent.parent / "corpora" / "sip-cve"
DOMAIN = "atlanta.example"
DOMAINS = (DOMAIN, "biloxi.example", "localhost")
PIECES = (
    *(bytes([octet]) for octet in b'\x00\t\n\r ",;:<>=?@[]\\%*/\x7f\x80\xff09a'),
    b"\r\n",
    b"\r\n ",
    b"\r\n\r\n",
    b"%00",
    b";;",
    b",,",
    b"sip:",
    b"99999999999",
    b"Contact: *\r\n",
    b"Expires: 0\r\n",
)
BURST = 64
"Datagrams between two looks at the clock."
OVER_TCP = 16
"One message in so many goes over TCP."
FIRST_PROBE = 1 << 30
"CSeq numbers of probes lie above those of the traffic."
TRIES = 8
"A full receive buffer drops probes too; a client retransmits (RFC 3261 17.1.2)."
SETTLED = 300.0
"Seconds after which every bounded table is as full as the traffic makes it; shorter runs see the ceiling only."
SLACK = 8 << 20
"Octets that RSS may move after that: allocator noise."
CEILING = 256 << 20
"Octets that RSS may reach at all; two full generations of fingerprints take about 64 MiB of it."

LIMITS = """\
[registrar]
min_expires = 1
default_expires = 2
max_expires = 2
[log]
level = "error"
"""


def register(user: int, number: int) -> bytes:
    """Return a valid REGISTER of one of few users."""
    return (
        f"REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP pc{user}.{DOMAIN};branch=z9hG4bK-{number};rport\r\n"
        f"From: <sip:u{user}@{DOMAIN}>;tag=m{number}\r\nTo: <sip:u{user}@{DOMAIN}>\r\nCall-ID: mutate-{user}\r\n"
        f'CSeq: {number} REGISTER\r\nContact: "U{user}" <sip:u{user}@192.0.2.{user % 250}>;q=0.5;expires=2,'
        f" <sip:u{user}@198.51.100.{user % 250};transport=tcp>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def mutate(octets: bytes, chance: random.Random) -> bytes:
    """Return octets with up to four pieces cut, overwritten, inserted, repeated or moved."""
    for _ in range(chance.randrange(5)):
        start = chance.randrange(len(octets) + 1)
        stop = start + chance.choice((0, 1, 1, 2, 5, 20))
        action = chance.randrange(5)
        if action == 0:
            octets = octets[:start] + octets[stop:]
        elif action == 1:
            octets = octets[:start] + chance.choice(PIECES) + octets[start:]
        elif action == 2:
            octets = octets[:start] + chance.choice(PIECES) + octets[stop:]
        elif action == 3:
            octets = octets[:stop] + octets[start:]
        else:
            other = chance.randrange(len(octets) + 1)
            octets = octets[:other] + octets[start:stop] + octets[other:]
    return octets


class Traffic:
    """The sender: one UDP socket, and a TCP connection as long as the server keeps it."""

    def __init__(self, server: RunningServer, seed: int) -> None:
        self.server = server
        self.chance = random.Random(seed)
        self.originals = [row.octets for row in ROWS]
        self.originals += [path.read_bytes()[:8192] for path in CORPUS.glob("*.sip")]
        self.udp = UdpPeer(server)
        self.tcp: TcpPeer | None = None
        self.sent = 0

    def burst(self) -> None:
        """Send some messages as fast as possible; refusals of the network are part of it."""
        chance = self.chance
        for _ in range(BURST):
            self.sent += 1
            if chance.randrange(2):
                octets = register(chance.randrange(1000), self.sent)
            else:
                octets = chance.choice(self.originals)
            octets = mutate(octets, chance)[:65_000]
            try:
                if self.sent % OVER_TCP:
                    self.udp.send(octets)
                else:
                    self._over_tcp(octets)
            except OSError:
                continue

    def _over_tcp(self, octets: bytes) -> None:
        if self.tcp is None or not self.chance.randrange(50):
            self.close_tcp()
            self.tcp = TcpPeer(self.server)
            self.tcp.socket.settimeout(0.2)
        try:
            self.tcp.socket.sendall(octets)
        except OSError:
            self.close_tcp()

    def close_tcp(self) -> None:
        """Give the connection up."""
        if self.tcp is not None:
            self.tcp.socket.close()
            self.tcp = None

    def close(self) -> None:
        """Close the sockets."""
        self.close_tcp()
        self.udp.socket.close()


def answered(server: RunningServer, number: int) -> None:
    """Have an OPTIONS over TCP and a REGISTER over UDP answered with 200."""
    with TcpPeer(server) as peer:
        assert probe(peer, DOMAIN) == []
    with UdpPeer(server) as peer:
        host, port = peer.socket.getsockname()
        octets = register(number, number).replace(b"SIP/2.0/UDP pc", f"SIP/2.0/UDP {host}:{port};x=pc".encode())
        peer.socket.settimeout(0.5)
        for _ in range(TRIES):
            peer.send(octets)
            try:
                response = answer(peer.receive())
            except TimeoutError:
                continue
            assert response.status == 200, response
            return
    raise AssertionError("a REGISTER was not answered")


def soak(server: RunningServer, seconds: float, seed: int) -> str:
    """Send for so long, check every second, and return the figures."""
    traffic = Traffic(server, seed)
    start = time.monotonic()
    elapsed = 0.0
    checks = 0
    filled = 0
    try:
        while elapsed < seconds:
            pause = time.monotonic() + 1.0
            while time.monotonic() < pause:
                traffic.burst()
            checks += 1
            answered(server, FIRST_PROBE + checks)
            elapsed = time.monotonic() - start
            if elapsed > SETTLED and not filled:
                filled = server.rss
    finally:
        traffic.close()
    rss = server.rss
    figures = (
        f"{traffic.sent} messages in {elapsed:.0f} s ({traffic.sent / elapsed:.0f}/s), seed {seed}, "
        f"{checks} times probed, {server.cpu:.1f} s of CPU, RSS {rss / (1 << 20):.1f} MiB"
    )
    if filled:
        figures += f", {(rss - filled) / (1 << 20):+.1f} MiB since {SETTLED:.0f} s"
    assert rss <= CEILING, f"too much memory: {figures}"
    assert not filled or rss - filled <= SLACK, f"memory grows: {figures}"
    return figures


def main() -> None:
    """Run the soak and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options = f'{LIMITS}[store]\nurl = "memory:"\n[admin]\nsocket = "{folder}/c"\n'
        with running_server(Path(folder), DOMAINS, options) as server:
            print(soak(server, arguments.seconds, arguments.seed))


if __name__ == "__main__":
    main()
