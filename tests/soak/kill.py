"""kill -9 at random moments under load: what was answered 200 is there after the restart, what was removed is gone.

    python -m tests.soak.kill --kills 100 --seed 1

Each round starts the server on the same store, drives registrations and removals at it, kills it within half
a second, starts it again and compares every AoR with what was answered.  A request in flight at the kill may
have happened or not.  At last the metrics consumer's gauges, rebuilt from its cursor and the feed, are compared
with the table.  Exits 1 on the first difference.
"""

import argparse
import contextlib
import json
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from reginfo.fast import SipMessage, parse_message

AORS = 400
CONTACTS = 3
WINDOW = 64
ANSWER_TIMEOUT = 10.0  # seconds


@dataclass
class Line:
    """One AoR as its phone knows it."""

    number: int
    cseq: int = 0
    bound: set[str] = field(default_factory=set)
    "Contacts answered 200."
    attempt: set[str] | None = None
    "Contacts there will be once the request in flight is answered."

    def request(self, contacts: str) -> bytes:
        self.cseq += 1
        return (
            f"REGISTER sip:example.com SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:5999;rport;branch=z9hG4bK{self.number}.{self.cseq}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:u{self.number}@example.com>;tag=f\r\n"
            f"To: <sip:u{self.number}@example.com>\r\nCall-ID: {self.number}\r\n"
            f"CSeq: {self.cseq} REGISTER\r\n{contacts}Content-Length: 0\r\n\r\n"
        ).encode()

    def act(self, chance: random.Random) -> bytes:
        """Return a request that binds, removes or clears, and note what it would lead to."""
        contact = f"sip:u{self.number}@192.0.2.{chance.randrange(CONTACTS)}"
        kind = chance.random()
        if kind < 0.1:
            self.attempt = set()
            return self.request("Contact: *\r\nExpires: 0\r\n")
        if kind < 0.4:
            self.attempt = self.bound - {contact}
            return self.request(f"Contact: <{contact}>;expires=0\r\n")
        self.attempt = self.bound | {contact}
        return self.request(f"Contact: <{contact}>;expires=3600\r\n")


class Failure(Exception):
    """What was answered and what is there differ."""


class Phones:
    """Drives all lines from one socket."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.lines = [Line(number) for number in range(AORS)]
        self.answered = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def connect(self, port: int) -> None:
        self._socket.connect(("127.0.0.1", port))

    def close(self) -> None:
        self._socket.close()

    def load(self, seconds: float) -> None:
        """Keep a window of requests outstanding, on idle lines, for some time; not a line waits for long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            idle = [line for line in self.lines if line.attempt is None]
            free = WINDOW - (len(self.lines) - len(idle))
            for line in self.chance.sample(idle, min(free, len(idle))):
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    self._socket.send(line.act(self.chance))
            self._collect(0.01)

    def _collect(self, timeout: float) -> None:
        for answer in self._answers(timeout):
            line = self.lines[int(answer.call_id)]
            if answer.cseq == line.cseq and line.attempt is not None:
                if answer.status != 200:
                    raise Failure(f"line {line.number}: answered {answer.status} {answer.reason}")
                line.bound, line.attempt = line.attempt, None
                self.answered += 1

    def _answers(self, timeout: float) -> list[SipMessage]:
        answers = []
        while select.select([self._socket], [], [], timeout)[0]:
            timeout = 0.0
            with contextlib.suppress(ConnectionError):  # the server is gone
                answers.append(parse_message(self._socket.recv(65_535)))
        return answers

    def verify(self) -> None:
        """Fetch every AoR and compare; a request in flight at the kill may have happened or not."""
        self._answers(0.0)
        missing = {}
        for line in self.lines:
            missing[line.number] = line.request("")
        give_up = time.monotonic() + ANSWER_TIMEOUT
        while missing:
            if time.monotonic() > give_up:
                raise Failure(f"{len(missing)} fetches without answer")
            for octets in list(missing.values())[:WINDOW]:
                self._socket.send(octets)
            for answer in self._answers(0.2):
                number = int(answer.call_id)
                if answer.cseq == self.lines[number].cseq and number in missing:
                    del missing[number]
                    self._compare(self.lines[number], {contact.uri for contact in answer.contacts})

    @staticmethod
    def _compare(line: Line, found: set[str]) -> None:
        if found not in (line.bound, line.attempt):
            raise Failure(f"line {line.number}: answered {line.bound}, in flight {line.attempt}, found {found}")
        line.bound, line.attempt = found, None


class Process:
    """The server as a child, on one store folder."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "control.sock"
        command = [sys.executable, "-m", "reginfo", "serve", "--listen", "udp:127.0.0.1:0"]
        command += ["--store", f"rocksdb:{folder / 'store'}", "--durability", "committed"]
        environment = {
            "REGINFO_ADMIN__SOCKET": str(self._socket),
            "REGINFO_LOG__LEVEL": "warning",
            "PATH": "/usr/bin:/bin",
        }
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=folder, text=True)
        assert self._child.stdout is not None
        self.port = 0
        for row in self._child.stdout:
            if "udp:127.0.0.1:" in row and not self.port:
                self.port = int(row.split("udp:127.0.0.1:")[1].split(",")[0])
                break
        if not self.port:
            raise Failure("the server did not start")

    def kill(self) -> None:
        self._child.send_signal(signal.SIGKILL)
        self._child.communicate()

    def stop(self) -> None:
        self._child.send_signal(signal.SIGTERM)
        self._child.communicate(timeout=30)
        if self._child.returncode:
            raise Failure(f"the server ended with {self._child.returncode}")

    def statistics(self) -> dict[str, dict[str, int]]:
        command = [sys.executable, "-m", "reginfo", "stats", "--json", "--socket", str(self._socket)]
        done = subprocess.run(command, capture_output=True, check=True, timeout=30)
        statistics: dict[str, dict[str, int]] = json.loads(done.stdout)
        return statistics


def check_consumers(process: Process, phones: Phones) -> None:
    """The gauges that the metrics consumer keeps from the feed equal the table, and the phones' view."""
    give_up = time.monotonic() + ANSWER_TIMEOUT
    while True:
        statistics = process.statistics()
        feed, table = statistics["feed"], statistics["usrloc"]
        seen = (feed["registered_aors"], feed["contacts"])
        if seen == (table["registered_aors"], table["contacts"]):
            break
        if time.monotonic() > give_up:
            raise Failure(f"consumer and table differ: {feed} {table}")
    bound = [len(line.bound) for line in phones.lines]
    if seen != (sum(count > 0 for count in bound), sum(bound)):
        raise Failure(f"table and phones differ: {seen} {sum(bound)}")


def run(kills: int, seed: int) -> int:
    """Return the number of answered requests over all rounds; raise Failure on a difference."""
    phones = Phones(seed)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(kills):
            process = Process(Path(folder))
            phones.connect(process.port)
            phones.verify()
            check_consumers(process, phones)
            phones.load(phones.chance.uniform(0.0, 0.5))
            process.kill()
        process = Process(Path(folder))
        phones.connect(process.port)
        phones.verify()
        check_consumers(process, phones)
        process.stop()
    return phones.answered


def main(description: str, run: Callable[[int, int], int], verdict: str) -> None:
    """Run a soak test from the command line; what it is to find is printed behind what was answered."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    try:
        answered = run(arguments.kills, arguments.seed)
    except Failure as failure:
        sys.exit(f"kills={arguments.kills} seed={arguments.seed} FAILED: {failure}")
    print(f"kills={arguments.kills} seed={arguments.seed} answered={answered} {verdict}")


if __name__ == "__main__":
    main(__doc__, run, "lost=0 resurrected=0")
