"""What phones that stay connected cost: octets each, idle CPU, and how long it takes when all of them are gone.

    python -m benchmarks.connections [--tcp 15000] [--tls 3000] [--seconds 5] [-o FILE]

A server of its own registers one phone on each connection, first over TCP, then over TLS in another process, and is
left alone for some seconds; then every phone closes at once.  The certificate is made for the run by `openssl`.
"""

import argparse
import json
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

PATIENCE = 60.0  # seconds until what does not come is a failure
WINDOW = 200  # phones that register at once
PER_ADDRESS = 1000  # phones at one address of the loopback network
LEFT = 300  # descriptors of a process without phones
BOUNDS = {"tcp": 8192, "tls": 61_440}  # octets of one connection and its registration
LOSS_SECONDS = 5.0


class Outcome(NamedTuple):
    """What one transport showed."""

    connections: int
    octets_each: int
    idle_cpu_percent: float
    seconds_to_lose: float
    cpu_to_lose: float
    cpu_us_to_register: float


class Process:
    """The server, seen from outside."""

    def __init__(self, folder: Path, listen: str) -> None:
        (folder / "reginfo.toml").write_text(
            f'listen = ["{listen}"]\n'
            "[limits]\nmax_connections = 100000\nmax_connections_per_address = 100000\n"
            'idle_timeout = 600\n[store]\nurl = "memory:"\n'
            '[log]\nlevel = "warning"\n[tls]\ncertificate = "server.pem"\n'
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REGINFO_")}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "reginfo", "serve", "-c", "reginfo.toml"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if found := re.search(r"listening .*?:([\d.]+):(\d+)", line):
                self.address = (found[1], int(found[2]))
                return
        raise SystemExit("the server did not start")

    @property
    def rss(self) -> int:
        pages = int(Path(f"/proc/{self._child.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def cpu(self) -> float:
        times = Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self._child.pid}/fd"))

    def stop(self) -> None:
        self._child.send_signal(signal.SIGTERM)
        self._child.communicate(timeout=PATIENCE)


@contextmanager
def running(folder: Path, listen: str) -> Iterator[Process]:
    process = Process(folder, listen)
    try:
        yield process
    finally:
        process.stop()


def make_certificate(folder: Path) -> None:
    """Make a certificate that is good for a day, with its key behind it."""
    target = folder / "server.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=example.com",
         "-addext", "subjectAltName=DNS:example.com", "-keyout", "key.pem", "-out", target.name],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    target.write_text(target.read_text() + (folder / "key.pem").read_text())


def register(number: int, transport: str) -> bytes:
    return (
        "REGISTER sip:example.com SIP/2.0\r\n"
        f"Via: SIP/2.0/{transport.upper()} phone{number}.invalid;branch=z9hG4bK{number};rport\r\n"
        f"From: <sip:user{number}@example.com>;tag={number}\r\nTo: <sip:user{number}@example.com>\r\n"
        f"Call-ID: {number}\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n"
        f"Contact: <sip:user{number}@phone{number}.invalid;transport={transport}>;expires=3600\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()


def connect(process: Process, transport: str, number: int) -> socket.socket:
    source = f"127.0.{1 + number // PER_ADDRESS}.1"
    phone = socket.create_connection(process.address, timeout=PATIENCE, source_address=(source, 0))
    if transport == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        phone = context.wrap_socket(phone)
    phone.sendall(register(number, transport))
    return phone


def registered(process: Process, transport: str, count: int) -> list[socket.socket]:
    phones: list[socket.socket] = []
    for first in range(0, count, WINDOW):
        window = [connect(process, transport, number) for number in range(first, min(first + WINDOW, count))]
        for phone in window:
            answer = phone.recv(4096)
            assert answer.startswith(b"SIP/2.0 200 "), answer[:200]
        phones += window
    return phones


def measure(folder: Path, transport: str, count: int, seconds: float) -> Outcome:
    with running(folder, f"{transport}:127.0.0.1:0") as process:
        for phone in registered(process, transport, 10):  # what is imported and allocated once
            phone.close()
        time.sleep(1.0)
        empty, held, before = process.rss, process.descriptors, process.cpu
        phones = registered(process, transport, count)
        each = (process.rss - empty) // count
        registering = process.cpu - before
        time.sleep(1.0)
        before = process.cpu
        time.sleep(seconds)
        idle = (process.cpu - before) / seconds
        before, begun = process.cpu, time.monotonic()
        for phone in phones:
            phone.close()
        while process.descriptors > held + 5:
            assert time.monotonic() - begun < PATIENCE, "connections are kept that are gone"
            time.sleep(0.05)
        lost = time.monotonic() - begun
        return Outcome(
            count, each, round(100 * idle, 2), round(lost, 2), round(process.cpu - before, 2),
            round(1e6 * registering / count, 1),
        )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tcp", type=int, default=15_000, help="phones over TCP")
    parser.add_argument("--tls", type=int, default=3_000, help="phones over TLS")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long the server is left alone")
    parser.add_argument("-o", "--output", type=Path, help="write the figures there as JSON")
    given = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(given.tcp, given.tls) + LEFT
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(f"{wanted} descriptors are needed, {hard} are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    outcomes: dict[str, Outcome] = {}
    with TemporaryDirectory() as folder:
        make_certificate(Path(folder))
        for transport, count in (("tcp", given.tcp), ("tls", given.tls)):
            if count:
                outcomes[transport] = outcome = measure(Path(folder), transport, count, given.seconds)
                print(transport, *(f"{name}={value}" for name, value in outcome._asdict().items()), flush=True)
    if given.output:
        given.output.write_text(json.dumps({name: one._asdict() for name, one in outcomes.items()}, indent=1) + "\n")
    return any(one.octets_each > BOUNDS[name] or one.seconds_to_lose > LOSS_SECONDS for name, one in outcomes.items())


if __name__ == "__main__":
    sys.exit(main())
