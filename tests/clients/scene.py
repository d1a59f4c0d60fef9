"""A server that asks for a password, and a watcher that tells what becomes of its only user."""

import json
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.certificates import Authority
from tests.server_fixture import PATIENCE, Address, RunningServer, running_server

DOMAIN: Final = "example.com"
PASSWORD: Final = "correct-horse"

_OPTIONS: Final = """\
store = {{ url = "memory:" }}
auth = {{ enabled = true, algorithms = ["MD5"] }}
notifier = {{ min_notify_interval = 0 }}
tls = {{ certificate = "{certificate}", key = "{key}" }}
websocket = {{ origins = ["{origin}"] }}
peer = [{{ name = "watcher", uri = "sip:127.0.0.1" }}]
"""
"MD5 alone: baresip gives up on a challenge for SHA-256."


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
def asking_server(folder: Path, origin: str = "https://phone.example.com") -> Generator[RunningServer, None, None]:
    """Serve DOMAIN over UDP, TCP, TLS, WS and WSS to alice and her password.

    Watchers from the address of the server are trusted; origin is that of the pages that may connect.
    """
    folder.mkdir()
    certificate, key = Authority(folder).certify(DOMAIN, f"DNS:{DOMAIN},IP:127.0.0.1")
    options = _OPTIONS.format(certificate=certificate, key=key, origin=origin)
    (folder / "users.toml").write_text(f'domains = ["{DOMAIN}"]\n{options}')
    command = [sys.executable, "-m", "reginfo", "user", "add", "alice", "--password-stdin", "-c", "users.toml"]
    subprocess.run(command, cwd=folder, input=PASSWORD, text=True, check=True, capture_output=True)
    with running_server(folder, [DOMAIN], options, also=("tls", "ws", "wss")) as server:
        yield server
