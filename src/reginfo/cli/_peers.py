"""Servers under test: started in a folder of their own, awaited, and watched from outside."""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from reginfo.errors import ReginfoError
from reginfo.fast import write_request

START_TIMEOUT = 20.0  # seconds a server may take until it answers
STOP_TIMEOUT = 20.0  # seconds it may take to leave; then it is killed
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Peer:
    """A server under test: where it listens and, if it was started here, its processes."""

    def __init__(self, name: str, host: str, port: int, pid: int | None = None) -> None:
        self.name = name
        self.host = host
        self.port = port
        self.pid = pid

    def cpu(self) -> float | None:
        """Return the CPU seconds of the process and its children, user and system."""
        if self.pid is None:
            return None
        return sum(float(fields[11]) + float(fields[12]) for fields in map(_stat, _tree(self.pid))) / TICKS

    def memory(self) -> float | None:
        """Return the octets it holds now, in a measure whose growth is that of its bindings."""
        if self.pid is None:
            return None
        return sum(int(_stat(pid)[21]) * PAGE for pid in _tree(self.pid))


def _stat(pid: int) -> list[str]:
    # The fields after the command, which may hold blanks and brackets itself (proc(5)).
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in _tree(int(child)))]


@contextmanager
def running(command: Sequence[str], folder: Path) -> Iterator[int]:
    """Run a server in a folder, its output in `log` there; yield its process id and stop it afterwards."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGINFO_")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a loopback port that UDP and TCP have free."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        stream.bind(("127.0.0.1", 0))
        datagrams.bind(stream.getsockname())
        return int(stream.getsockname()[1])


def await_answer(peer: Peer, folder: Path) -> None:
    """Return once the peer answers anything at all to an OPTIONS."""
    deadline = time.monotonic() + START_TIMEOUT
    token = secrets.token_hex(8)
    octets = write_request(
        "OPTIONS",
        f"sip:{peer.host}:{peer.port}",
        [
            ("Via", f"SIP/2.0/UDP load.invalid;rport;branch=z9hG4bK{token}"),
            ("Max-Forwards", "70"),
            ("From", f"<sip:load@load.invalid>;tag={token}"),
            ("To", f"<sip:{peer.host}:{peer.port}>"),
            ("Call-ID", f"{token}@load.invalid"),
            ("CSeq", "1 OPTIONS"),
        ],
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((peer.host, peer.port))
        client.settimeout(0.1)
        while True:
            try:
                client.send(octets)
                client.recv(65536)
                return
            except ConnectionRefusedError:
                time.sleep(0.05)
            except TimeoutError:
                pass
            if time.monotonic() > deadline or (peer.pid is not None and _stat(peer.pid)[0] == "Z"):
                log = folder / "log"
                raise ReginfoError(f"{peer.name} did not start: {log.read_text(errors='replace').strip()[-2000:]}")


@contextmanager
def registrar(durability: str, contacts: int = 1) -> Iterator[Peer]:
    """Run this project's registrar on loopback with an empty store."""
    with tempfile.TemporaryDirectory(prefix="reginfo-bench-") as scratch:
        folder = Path(scratch)
        port = free_port()
        store = "memory:" if durability == "memory" else "rocksdb:reginfo.db"
        (folder / "reginfo.toml").write_text(
            f'listen = ["udp:127.0.0.1:{port}", "tcp:127.0.0.1:{port}"]\ndomains = ["example.com"]\n'
            f"[registrar]\nmax_contacts = {max(10, contacts)}\n"
            f'[store]\nurl = "{store}"\ndurability = "{durability}"\n'
            '[admin]\nsocket = "reginfo.sock"\n'
            '[compositor]\npublishers = ["127.0.0.1"]\n'
        )
        with running([sys.executable, "-m", "reginfo", "serve", "-c", "reginfo.toml"], folder) as pid:
            peer = Peer(f"reginfo {durability}", "127.0.0.1", port, pid)
            await_answer(peer, folder)
            yield peer


@contextmanager
def echo_server() -> Iterator[Peer]:
    """Run the plain echo, the floor of what a datagram costs."""
    with tempfile.TemporaryDirectory(prefix="reginfo-bench-") as scratch:
        port = free_port()
        command = [sys.executable, "-m", "reginfo", "bench", "echo", "--listen", f"udp:127.0.0.1:{port}"]
        with running(command, Path(scratch)) as pid:
            peer = Peer("echo", "127.0.0.1", port, pid)
            await_answer(peer, Path(scratch))
            yield peer
