"""How the tests call the command line: in process through its entry point, or as a process of its own."""

import asyncio
import io
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from reginfo.admin.control import ControlServer, Method
from reginfo.cli import main
from reginfo.cli._agent import Agent
from reginfo.model import Now
from tests.server_fixture import RunningServer, free_port, running_server


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]
Serve = Callable[[dict[str, Method]], None]
Spawn = Callable[..., subprocess.Popen[str]]

OPTIONS = """
[store]
url = "memory:"
[notifier]
min_notify_interval = 0
allow = ["*"]
[compositor]
publishers = ["127.0.0.1"]
"""
"Of a server that anybody may watch, that tells every change at once, and that takes what this host publishes."


class Registrar(NamedTuple):
    """A real server that the commands of a module talk to."""

    udp: str
    tcp: str
    socket: str


@pytest.fixture(scope="module")
def registrar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registrar]:
    """Run a server for example.com and example.net; each test has addresses-of-record of its own."""
    with running_server(tmp_path_factory.mktemp("server"), ["example.com", "example.net"], OPTIONS) as server:
        yield reached(server)


def reached(server: RunningServer) -> Registrar:
    """Return how the commands reach a server."""
    (host, port), (_, stream) = server.udp, server.tcp
    return Registrar(f"sip:{host}:{port}", f"sip:{host}:{stream};transport=tcp", str(server.folder / "reginfo.sock"))


@pytest.fixture
def silent() -> Iterator[str]:
    """Give the SIP URI of a port that takes datagrams and answers none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"sip:127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def closed() -> str:
    """Give the SIP URI of a port that nothing listens on."""
    return f"sip:127.0.0.1:{free_port('127.0.0.1')}"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep configuration and control socket of the working directory and the environment out."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("REGINFO_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _log_state() -> Iterator[None]:
    """Keep what a command logs to from those that follow: its standard error is gone by then."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process."""

    def call(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as exit_:
            main(list(arguments))
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Ran(int(exit_.value.code or 0), out, err)

    return call


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start the command line as a process of its own."""
    started: list[subprocess.Popen[str]] = []
    watchdogs: list[threading.Timer] = []

    def call(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "reginfo", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        # A test that reads from a silent process ends with its output instead of waiting for ever.
        watchdogs.append(threading.Timer(60, process.kill))
        watchdogs[-1].start()
        return process

    yield call
    for watchdog in watchdogs:
        watchdog.cancel()
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve methods on ./reginfo.sock, where the command line looks for a server."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    servers: list[ControlServer] = []

    def start(methods: dict[str, Method]) -> None:
        server = ControlServer("reginfo.sock", methods)
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        servers.append(server)

    yield start
    for server in servers:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


class Typed(io.StringIO):
    """Standard input with somebody at it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a user agent's time pass a hundred times as fast: it gives up after a third of a second."""
    begun = time.monotonic()

    def now() -> Now:
        return Now(round((time.monotonic() - begun) * 100_000), time.time())

    monkeypatch.setattr(Agent, "now", staticmethod(now))
