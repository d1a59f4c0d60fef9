"""How the tests call the command line: in process through its entry point, or as a process of its own."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from reginfo.admin.control import ControlServer, Method
from reginfo.cli import main


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]
Serve = Callable[[dict[str, Method]], None]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep configuration and control socket of the working directory and the environment out."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("REGINFO_")]:
        monkeypatch.delenv(name)


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
def spawn() -> Iterator[Callable[..., subprocess.Popen[str]]]:
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
