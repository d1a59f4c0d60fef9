"""kill -9 at random moments of a registrar, of its compositor, or of both, under load: EPA-2, ESC-4.

    python -m tests.soak.chain --kills 100 --seed 1

Phones register and unregister at the registrar, which publishes every change; now and then a server is killed and
started again on its store.  In the end both have the same contacts for every AoR, those the phones were answered, and
it takes the compositor no longer than the longest back-off after so short an outage.  Exits 1 otherwise.
"""

import random
import tempfile
import time
from pathlib import Path
from typing import Any

from reginfo.admin.control import ControlClient
from tests.server_fixture import Address, RunningServer, free_port
from tests.soak.kill import Failure, Phones, main

PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.5


class Node:
    """A server that is killed and started again."""

    def __init__(self, folder: Path, name: str, address: Address, options: str) -> None:
        self._folder = folder / name
        self._folder.mkdir()
        self._address = address
        self._options = f'store = {{ url = "rocksdb:store" }}\n[log]\nlevel = "warning"\n{options}'
        self.start()

    def start(self) -> None:
        self.server = RunningServer(self._folder, ["example.com"], self._options, self._address)

    def restart(self) -> None:
        self.server.kill()
        self.start()

    def stop(self) -> None:
        if self.server.stop() or b"Traceback" in self.server.log.read_bytes():
            raise Failure(self.server.log.read_text()[-2000:])

    def contacts(self) -> dict[str, set[str]]:
        """Return what is bound, by AoR."""
        found: dict[str, set[str]] = {}
        cursor = 0
        with ControlClient(str(self._folder / "reginfo.sock")) as client:
            while True:
                page: dict[str, Any] = client.call("ul.dump", {"cursor": cursor, "limit": 1000})
                for each in page["AoRs"]:
                    found[each["AoR"]] = {one["Address"] for one in each["Contacts"]}
                cursor = page["Cursor"]
                if not cursor:
                    return found


def run(kills: int, seed: int) -> int:
    """Return the number of answered requests; raise Failure on a difference."""
    chance = random.Random(seed)
    phones = Phones(seed)
    here, there = ("127.0.0.1", free_port("127.0.0.1")), ("127.0.6.2", free_port("127.0.6.2"))
    with tempfile.TemporaryDirectory() as folder:
        compositor = Node(Path(folder), "compositor", there, '[compositor]\npublishers = ["127.0.0.1"]\n')
        proxy = "sip:{}:{}".format(*there)
        registrar = Node(Path(folder), "registrar", here, f'[pua_reginfo]\noutbound_proxy = "{proxy}"\n')
        try:
            phones.connect(here[1])
            for _ in range(kills):
                phones.load(chance.uniform(0.1, 0.6))
                victims = chance.choice([(registrar,), (compositor,), (registrar, compositor)])
                for node in victims:
                    node.restart()
                if registrar in victims:
                    phones.verify()
            phones.load(1.0)
            phones.verify()
            _converge(registrar, compositor)
            told = {int(aor[5:].partition("@")[0]): uris for aor, uris in registrar.contacts().items()}
            for line in phones.lines:
                if told.get(line.number, set()) != line.bound:
                    raise Failure(f"line {line.number}: answered {line.bound}, bound {told.get(line.number)}")
        finally:
            registrar.stop()
            compositor.stop()
    return phones.answered


def _converge(registrar: Node, compositor: Node) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while (truth := registrar.contacts()) != (told := compositor.contacts()):
        if time.monotonic() > give_up:
            differing = [aor for aor in truth.keys() | told.keys() if truth.get(aor) != told.get(aor)]
            raise Failure(f"{len(differing)} AoRs differ, such as {differing[:3]}")
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    main(__doc__, run, "differing=0")
