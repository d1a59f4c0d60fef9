"""What `reginfo serve` tells the service manager, by the protocol of sd_notify(3)."""

import asyncio
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reginfo.server.notify_socket import NotifySocket
from tests.cli.conftest import Spawn

pytestmark = pytest.mark.network

PATIENCE = 30  # seconds: a start beside others takes its time


class Manager:
    """The end of the socket that systemd holds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        self._socket.settimeout(PATIENCE)

    def told(self) -> dict[str, str]:
        """Return the assignments of the next datagram."""
        return dict(line.split("=", 1) for line in self._socket.recv(65_536).decode().split("\n"))

    def told_but_life(self) -> dict[str, str]:
        """Return the next datagram that is no sign of life."""
        while "WATCHDOG" in (told := self.told()):
            pass
        return told

    def waiting(self) -> int:
        """Return how many datagrams are there now, and drop them."""
        count = 0
        while select.select([self._socket], [], [], 0)[0]:
            self._socket.recv(65_536)
            count += 1
        return count

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """A service manager that listens where a path says, or in the abstract namespace."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@{tmp_path}"
    manager = Manager(name)
    yield manager
    manager.close()


def test_a_server_says_that_it_serves_reads_again_and_leaves(
    spawn: Spawn, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.name)
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    file = Path("reginfo.toml")
    file.write_text('domains = ["example.com"]\n[store]\nurl = "memory:"')
    process = spawn("serve", "--listen", "udp:127.0.0.1:0")

    ready = manager.told()
    assert ready["READY"] == "1"
    _, port = ready["STATUS"].split(", ")[0].rsplit(":", 1)
    assert ready["STATUS"] == f"serving udp:127.0.0.1:{port}, tcp:127.0.0.1:{port}"
    assert [manager.told() for _ in range(3)] == [{"WATCHDOG": "1"}] * 3

    for text, status in (
        ('domains = ["example.net"]\n[store]\nurl = "memory:"', "configuration read again"),
        ("domans = []", 'configuration kept: reginfo.toml line 1: unknown key domans, did you mean "domains"?'),
    ):
        file.write_text(text)
        before = time.monotonic_ns() // 1000
        process.send_signal(signal.SIGHUP)
        reloading = manager.told_but_life()
        assert reloading["RELOADING"] == "1"
        assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        assert manager.told_but_life() == {"READY": "1", "STATUS": status}

    process.send_signal(signal.SIGTERM)
    assert manager.told_but_life() == {"STOPPING": "1", "STATUS": "finishing what is pending"}
    assert process.wait(PATIENCE) == 0


def test_a_server_that_cannot_start_never_says_that_it_is_ready(
    spawn: Spawn, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.name)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        listen = f"udp:127.0.0.1:{holder.getsockname()[1]}"
        assert spawn("serve", "--listen", listen, "--store", "memory:").wait(PATIENCE) == 1
    assert manager.waiting() == 0


async def test_a_stuck_loop_gives_no_sign_of_life(manager: Manager) -> None:
    told = NotifySocket({"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "20000"})
    told.watch(asyncio.get_running_loop())
    assert manager.waiting() == 1
    time.sleep(0.1)  # the loop is stuck for five times what the manager allows
    assert manager.waiting() == 0
    await asyncio.sleep(0.1)
    assert manager.waiting() >= 1


@pytest.mark.parametrize(
    ("watchdog", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),  # another process is watched
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_time(watchdog: dict[str, str], seconds: float) -> None:
    assert NotifySocket({"NOTIFY_SOCKET": "@nobody", **watchdog}).watchdog_interval == seconds
    assert NotifySocket(watchdog).watchdog_interval == 0.0


@pytest.mark.parametrize("name", ["relative", "vsock:2:1234"])
def test_a_socket_of_another_kind_is_logged_and_never_used(name: str, caplog: pytest.LogCaptureFixture) -> None:
    told = NotifySocket({"NOTIFY_SOCKET": name})
    told.ready("serving")
    assert [record.getMessage() for record in caplog.records] == [
        "service manager not told: NOTIFY_SOCKET is neither a path nor abstract"
    ]


def test_a_manager_that_is_not_there_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    NotifySocket({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready("serving")
    assert caplog.records[0].levelno == logging.WARNING
    assert (
        caplog.records[0].getMessage()
        == "service manager not told state=READY=1 reason=[Errno 2] No such file or directory"
    )


def test_nothing_is_told_where_there_is_no_manager(caplog: pytest.LogCaptureFixture) -> None:
    told = NotifySocket({})
    told.ready("serving")
    told.reloading()
    told.stopping("leaving")
    assert not caplog.records
