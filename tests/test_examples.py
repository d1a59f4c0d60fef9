"""The documented uses, run as docs/examples.md says."""

import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.interop.kamailio import eventually
from tests.server_fixture import PATIENCE, free_port, loopback_address, running_server

EXAMPLES = ROOT / "docs" / "examples"

pytestmark = pytest.mark.network


@contextmanager
def program(
    folder: Path, *arguments: str | Path, patience: float = 3 * PATIENCE
) -> Generator["subprocess.Popen[str]", None, None]:
    """Run a Python program for the length of a block, patience seconds at most; end it the way an operator does."""
    with subprocess.Popen([sys.executable, *arguments], cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        hangs = threading.Timer(patience, process.kill)
        hangs.start()
        try:
            yield process
        finally:
            hangs.cancel()
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def lines_until(process: "subprocess.Popen[str]", word: str) -> None:
    while word not in (found := line(process)):
        assert process.poll() is None, found


def reginfo(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "reginfo", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_servers_in_sync(tmp_path: Path) -> None:
    def shown_by(server: str) -> str:
        return reginfo(tmp_path, "ul", "dump", "--socket", f"{server}.sock")

    def register(server: str, *options: str) -> None:
        reginfo(tmp_path, "register", "alice@example.com", *options, "--server", f"{server}:5060")

    with (
        program(tmp_path, "-m", "reginfo", "serve", "-c", EXAMPLES / "east.toml") as east,
        program(tmp_path, "-m", "reginfo", "serve", "-c", EXAMPLES / "west.toml") as west,
    ):
        for server in (east, west):
            lines_until(server, "listening")
        register("127.0.5.1", "sip:desk@192.0.2.10")
        register("127.0.5.2", "sip:mobile@192.0.2.11")
        eventually(lambda: "sip:mobile@" in shown_by("east"))
        eventually(lambda: "sip:desk@" in shown_by("west"))
        register("127.0.5.1", "sip:desk@192.0.2.10", "--expires", "0")
        eventually(lambda: "sip:desk@" not in shown_by("west"))
        assert "sip:mobile@192.0.2.11" in shown_by("east")


def test_an_application_hears_that_a_user_came_online(tmp_path: Path) -> None:
    host = loopback_address()
    at = f"{host}:{free_port(host)}"

    def register(*options: str) -> None:
        reginfo(tmp_path, "register", "alice@example.com", *options, "--server", at)

    with program(tmp_path, EXAMPLES / "came_online.py", f"udp:{at}") as application:
        assert line(application).startswith("listening")
        register("sip:a@192.0.2.10")
        register("sip:b@192.0.2.11")
        assert line(application) == "sip:alice@example.com came online"
        register("*", "--expires", "0")
        assert line(application) == "sip:alice@example.com went offline"
        register("sip:a@192.0.2.10")
        assert line(application) == "sip:alice@example.com came online"
        application.kill()
    with program(tmp_path, EXAMPLES / "came_online.py", f"udp:{at}") as application:
        assert line(application).startswith("listening")
        register("*", "--expires", "0")
        # What was heard just before the kill may be heard again.
        lines_until(application, "went offline")


def test_a_client_learns_that_it_was_unregistered(tmp_path: Path) -> None:
    phone = "sip:alice@192.0.2.10"
    with running_server(tmp_path, ["example.com"], "[notifier]\nmin_notify_interval = 0\n") as server:
        at = "{}:{}".format(*server.udp)
        with program(tmp_path, EXAMPLES / "stay_registered.py", "alice@example.com", phone, at) as client:
            assert line(client) == "registered"
            reginfo(tmp_path, "deactivate", "--yes", "alice@example.com", phone)
            assert line(client) == "deactivated"
            assert line(client) == "registered"
            reginfo(tmp_path, "probation", "--yes", "alice@example.com", phone, "--retry-after", "1")
            assert line(client) == "probation"
            assert line(client) == "registered"
            reginfo(tmp_path, "reject", "--yes", "alice@example.com", phone)
            assert line(client) == "rejected"
            assert client.wait(PATIENCE) == 0
