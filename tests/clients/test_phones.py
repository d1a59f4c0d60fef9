"""Phones that others have written, registered here while a watcher of ours looks on."""

import json
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clients import baresip
from tests.certificates import Authority
from tests.server_fixture import PATIENCE, Address, RunningServer, running_server

DOMAIN = "example.com"
PASSWORD = "correct-horse"

OPTIONS = """\
store = {{ url = "memory:" }}
auth = {{ enabled = true, algorithms = ["MD5"] }}
notifier = {{ allow = ["*"], min_notify_interval = 0 }}
tls = {{ certificate = "{certificate}", key = "{key}" }}
websocket = {{ origins = ["*"] }}
peer = [{{ name = "watcher", uri = "sip:127.0.0.1" }}]
"""

pytestmark = pytest.mark.network


class Watcher:
    """`reginfo watch --json`, document by document."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self._lines = process.stdout

    def contacts(self) -> list[dict[str, Any]]:
        """Return the contacts that the next document tells of."""
        contacts: list[dict[str, Any]] = json.loads(self._lines.readline())["contacts"]
        return contacts

    def contact(self) -> dict[str, Any]:
        """Return the next contact that is told, and is the only one."""
        [contact] = self.contacts()
        return contact


@contextmanager
def watcher(server: Address, aor: str) -> Generator[Watcher, None, None]:
    """Watch an AoR for the length of a block, from when there is nothing to see."""
    command = [sys.executable, "-m", "reginfo", "watch", aor, "--json", "--server", "{}:{}".format(*server)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        hangs = threading.Timer(3 * PATIENCE, process.kill)
        hangs.start()
        try:
            found = Watcher(process)
            assert found.contacts() == []
            yield found
        finally:
            hangs.cancel()
            process.terminate()
            process.wait(PATIENCE)


@contextmanager
def asking_server(folder: Path) -> Generator[RunningServer, None, None]:
    """Serve DOMAIN over UDP, TCP, TLS, WS and WSS to whoever knows the password of a user; everybody may watch."""
    folder.mkdir()
    certificate, key = Authority(folder).certify(DOMAIN, f"DNS:{DOMAIN},IP:127.0.0.1")
    options = OPTIONS.format(certificate=certificate, key=key)
    (folder / "users.toml").write_text(f'domains = ["{DOMAIN}"]\n{options}')
    command = [sys.executable, "-m", "reginfo", "user", "add", "alice", "--password-stdin", "-c", "users.toml"]
    subprocess.run(command, cwd=folder, input=PASSWORD, text=True, check=True, capture_output=True)
    with running_server(folder, [DOMAIN], options, also=("tls", "ws", "wss")) as server:
        yield server


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_baresip_comes_and_goes(transport: str, installed_baresip: Path, tmp_path: Path) -> None:
    """TRN-1, AUT-2, OUT-4, REG-12, REV-1: registered as it comes, unregistered as it goes, both told."""
    with (
        asking_server(tmp_path / "server") as server,
        watcher(server.udp, f"sip:alice@{DOMAIN}") as watch,
    ):
        where = server.addresses[transport]
        authority = str(tmp_path / "server" / "ca.pem")
        phone = baresip.phone(
            tmp_path / "phone", where, transport, "alice", DOMAIN, password=PASSWORD, authority=authority
        )
        with phone:
            came = watch.contact()
            assert (came["state"], came["event"]) == ("active", "registered")
            assert came["uri"].startswith("sip:alice-")
            assert "+sip.instance" in came["params"] and "reg-id" in came["params"]
        gone = watch.contact()
        assert (gone["state"], gone["event"], gone["uri"]) == ("terminated", "unregistered", came["uri"])


def test_sipsak_registers(sipsak: str, tmp_path: Path) -> None:
    """REG-10: what sipsak binds is told, and it takes our answer for a success; it looks its domain up."""
    (tmp_path / "server").mkdir()
    with (
        running_server(tmp_path / "server", ["localhost"], 'store = { url = "memory:" }') as server,
        watcher(server.udp, "sip:bob@localhost") as watch,
    ):
        contact = "sip:bob@192.0.2.7:5080"
        command = [sipsak, "-U", "-s", "sip:bob@localhost", "-p", "{}:{}".format(*server.udp), "-C", contact]
        done = subprocess.run([*command, "-x", "600"], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        came = watch.contact()
        assert (came["uri"], came["event"]) == (contact, "registered")
        subprocess.run([*command, "-x", "0"], capture_output=True, timeout=PATIENCE, check=True)
        assert watch.contact()["event"] == "unregistered"
