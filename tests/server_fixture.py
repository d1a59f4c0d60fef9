"""A registrar in a process of its own, and the sockets that talk to it."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from tests.reference import sip_parser as reference

Address = tuple[str, int]

PATIENCE = 10.0
"Seconds until a missing answer is a failure; answers take milliseconds."


_LISTENER = re.compile(r"(udp|tcp|tls|ws|wss):([\d.]+):(\d+)")


class RunningServer:
    """`reginfo serve` as a child process in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        domains: Sequence[str],
        options: str = "",
        address: Address = ("127.0.0.1", 0),
        also: Sequence[str] = (),
    ) -> None:
        """Listen on a port the system chooses, unless the address has one; also over those transports."""
        self.folder = folder
        self.log = folder / "server.log"
        host, port = address
        listed = ", ".join(f'"{domain}"' for domain in domains)
        listen = ", ".join([f'"udp:{host}:{port}", "tcp:{host}:{port}"', *(f'"{one}:{host}:0"' for one in also)])
        (folder / "reginfo.toml").write_text(f"listen = [{listen}]\ndomains = [{listed}]\n{options}")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REGINFO_")}
        # The folder must not shadow the package, nor be shadowed.
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reginfo", "serve", "-c", "reginfo.toml"],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        try:
            self.addresses = self._listeners()
            "By transport."
            self.udp, self.tcp = self.addresses["udp"], self.addresses["tcp"]
        except BaseException:
            self.stop()
            raise

    def _listeners(self) -> dict[str, Address]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip().startswith(b"listening"):
                return {name: (host, int(port)) for name, host, port in _LISTENER.findall(line.decode())}
        raise AssertionError(f"the server did not start: {self.log.read_text()}")

    @property
    def rss(self) -> int:
        """Resident octets."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def cpu(self) -> float:
        """Seconds of CPU used so far."""
        times = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End the server without a chance to save anything."""
        self.process.kill()
        self.process.communicate()

    def stop(self) -> int:
        """End the server the way an operator does, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        return self.process.returncode


@contextmanager
def running_server(
    folder: Path,
    domains: Sequence[str],
    options: str = "",
    address: Address = ("127.0.0.1", 0),
    also: Sequence[str] = (),
) -> Generator[RunningServer, None, None]:
    """Run a server for the length of a block; it has to survive it and end without an error in its log."""
    server = RunningServer(folder, domains, options, address, also)
    try:
        yield server
        assert server.process.poll() is None, f"the server died: {server.log.read_text()[-2000:]}"
        assert server.stop() == 0, server.log.read_text()[-2000:]
        assert "Traceback" not in server.log.read_text(errors="replace"), server.log.read_text()[-2000:]
    finally:
        server.stop()


def loopback_address() -> str:
    """Return an address of the loopback network that nobody else uses.

    Answers go to the port that the top Via names (RFC 3261 18.2.2).  On an address of one's own any port is free.
    """
    return f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"


def free_port(host: str) -> int:
    """Return a port of an address that is free for UDP and TCP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, socket.socket() as stream:
            datagrams.bind((host, 0))
            port: int = datagrams.getsockname()[1]
            with suppress(OSError):
                stream.bind((host, port))
                return port


def via_port(octets: bytes) -> int:
    """Return the port that the first Via of a message names, 5060 without one."""
    via = re.search(rb"^v(?:ia)?[ \t]*:(?:[^\r]|\r\n[ \t])*", octets, re.IGNORECASE | re.MULTILINE)
    if via is None:
        return 5060
    port = re.match(rb"[^;,]*?(?:\]|[A-Za-z0-9])[ \t]*:[ \t]*(\d{1,5})[ \t]*(?:[;,\r]|\Z)", via[0].partition(b":")[2])
    return int(port[1]) if port and 0 < int(port[1]) < 65536 else 5060


def answer(octets: bytes) -> reference.Message:
    """Return a response, which has to be well-formed."""
    message = reference.parse_message(octets)
    assert not message.is_request
    return message


class UdpPeer:
    """A UDP socket on an address and port of its own."""

    def __init__(self, server: RunningServer, port: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((loopback_address(), port))
        self.socket.connect(server.udp)
        self.socket.settimeout(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> None:
        """Send one datagram."""
        self.socket.send(octets)

    def receive(self) -> bytes:
        """Return the next datagram."""
        return self.socket.recv(65_536)

    @property
    def via(self) -> str:
        """Where answers reach this peer."""
        host, port = self.socket.getsockname()
        return f"SIP/2.0/UDP {host}:{port}"


class TcpPeer:
    """A TCP connection."""

    def __init__(self, server: RunningServer) -> None:
        self.socket = socket.create_connection(server.tcp, timeout=PATIENCE)
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> None:
        """Send octets; a server that has already closed the connection is no error here."""
        with suppress(ConnectionError):
            self.socket.sendall(octets)

    def receive(self) -> bytes:
        """Return the next message, b"" at the end of the connection."""
        while b"\r\n\r\n" not in self._received:
            if not self._more():
                return b""
        head, _, rest = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"^Content-Length: *(\d+)", head, re.IGNORECASE | re.MULTILINE)
        assert length is not None, head
        size = len(head) + 4 + int(length[1])
        while len(self._received) < size:
            assert self._more(), rest
        message, self._received = self._received[:size], self._received[size:]
        return message

    def _more(self) -> bool:
        try:
            received = self.socket.recv(65_536)
        except ConnectionResetError:
            return False
        self._received += received
        return bool(received)

    def at_end(self) -> bool:
        """Wait for the server to close; True unless it sent anything before."""
        return self.receive() == b"" and not self._received

    @property
    def via(self) -> str:
        """What a Via of this peer says."""
        host, port = self.socket.getsockname()
        return f"SIP/2.0/TCP {host}:{port}"


_probes = iter(range(1, 1_000_000_000))


def status_of(octets: bytes) -> int:
    """Return the status of a response, also of one that repeats what is malformed in its request."""
    return int(octets.split(b" ", 2)[1])


def probe(peer: UdpPeer | TcpPeer, domain: str) -> list[bytes]:
    """Send an OPTIONS and return what arrives before its 200, which has to arrive."""
    number = next(_probes)
    peer.send(
        (
            f"OPTIONS sip:{domain} SIP/2.0\r\nVia: {peer.via};branch=z9hG4bK-probe{number}\r\n"
            f"From: <sip:probe@{domain}>;tag=p{number}\r\nTo: <sip:{domain}>\r\nCall-ID: probe-{number}\r\n"
            f"CSeq: {number} OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        ).encode()
    )
    before: list[bytes] = []
    while True:
        received = peer.receive()
        assert received, "the connection ended before the probe was answered"
        if f"Call-ID: probe-{number}\r\n".encode() in received:
            assert answer(received).status == 200
            return before
        before.append(received)
