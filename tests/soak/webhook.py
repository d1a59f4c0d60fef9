"""A receiver of webhooks that is down under load, and kill -9 of the server meanwhile.

    python -m tests.soak.webhook --seconds 60 --seed 1

The receiver is up, down for so many seconds, and up again, under registrations and removals all the time.  The
server is killed and started again while it is down; and while it is up, where there is room for all.  With room for
everything, what the receiver has heard makes the contacts that the phones know of, and it is every event the server
has counted, each AoR's in order.  With room for fifty, those it has not heard are exactly those the server says it
has dropped.  Exits 1 on the first difference.
"""

import argparse
import asyncio
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reginfo.admin.control import ControlClient
from tests.admin.receiver import SECRET, Receiver, receiving
from tests.server_fixture import free_port
from tests.soak.kill import Failure, Phones, Process

ROOM_FOR_ALL = 50_000
ROOM_FOR_FEW = 50
MOST_REQUESTS = 12_000  # each makes a few events at most: they fit however fast the machine is
UP_SECONDS = 1.0  # of load while the receiver is up, before and after
SAVED_SECONDS = 2.5  # in which what was acknowledged is on record, if the machine is slow
SETTLED_SECONDS = 120.0
BEAT = 0.1  # seconds; load fills a share of each
ENDS = {"expired", "deactivated", "probation", "unregistered", "rejected"}


@dataclass(frozen=True)
class Report:
    """What one run has come to."""

    events: int
    "What the server has counted, refreshes apart."
    heard: int
    "Different ones among those the receiver has acknowledged."
    again: int
    "What it has acknowledged more than once."
    dropped: int


@contextmanager
def up(receiver: Receiver, port: int) -> Iterator[None]:
    """Let a receiver listen in a thread of its own."""
    started, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with receiving(port, receiver):
            started.set()
            await asyncio.to_thread(stop.wait)
            receiver.answer = lambda event: 503  # acknowledged is only what gets its answer
            await asyncio.sleep(0.2)

    receiver.answer = lambda event: 204
    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    started.wait()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def start(folder: Path, phones: Phones) -> Process:
    process = Process(folder)
    phones.connect(process.port)
    phones.verify()
    return process


def load(phones: Phones, seconds: float, share: float) -> None:
    """Register and remove for a share of the time, as long as what comes of it all has room."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if phones.answered < MOST_REQUESTS:
            phones.load(share * BEAT)
        time.sleep((1 - share) * BEAT)


def run(seconds: float, seed: int, max_pending: int, share: float) -> Report:
    """Return what came of it; raise Failure if it cannot be true."""
    receiver, port = Receiver(), free_port("127.0.0.1")
    with tempfile.TemporaryDirectory() as name, closing(Phones(seed)) as phones:
        folder = Path(name)
        (folder / "hook.secret").write_text(SECRET)
        (folder / "reginfo.toml").write_text(
            f'[[webhook]]\nurl = "http://127.0.0.1:{port}/hook"\nsecret_file = "hook.secret"\n'
            f"max_pending = {max_pending}\n"
        )
        process = start(folder, phones)
        with up(receiver, port):
            load(phones, UP_SECONDS, share)
            if max_pending == ROOM_FOR_ALL:
                process.kill()
                process = start(folder, phones)
                load(phones, UP_SECONDS, share)
        load(phones, max(SAVED_SECONDS, seconds / 2), share)
        process.kill()
        process = start(folder, phones)
        load(phones, seconds / 2, share)
        with up(receiver, port):
            load(phones, UP_SECONDS, share)
            phones.verify()
            report = settled(folder, receiver)
        process.stop()
    check_order(receiver)
    if report.heard + report.dropped != report.events:
        raise Failure(f"events neither heard nor dropped, or both: {report}")
    if max_pending == ROOM_FOR_ALL:
        if report.dropped:
            raise Failure(f"dropped within the bound: {report}")
        check_contacts(receiver, phones)
    elif not report.dropped:
        raise Failure(f"nothing dropped beyond the bound: {report}")
    return report


def settled(folder: Path, receiver: Receiver) -> Report:
    """Wait until nothing is owed, and return the figures."""
    give_up = time.monotonic() + SETTLED_SECONDS
    while True:
        with ControlClient(str(folder / "control.sock")) as client:
            statistics, [webhook] = client.call("stats.get_statistics"), client.call("webhook.list")
        if not webhook["pending"] and not statistics["feed"]["lag"]:
            events = sum(count for event, count in statistics["events"].items() if event != "refreshed")
            keys = [event["id"] for event in receiver.acknowledged]
            report = Report(events, len(set(keys)), len(keys) - len(set(keys)), webhook["dropped"])
            if report.heard + report.dropped >= report.events or time.monotonic() > give_up:
                return report
        if time.monotonic() > give_up:
            raise Failure(f"still owed: {webhook}")
        time.sleep(0.1)


def unique(receiver: Receiver) -> list[dict[str, Any]]:
    """Return each event as it was heard first."""
    return list({event["id"]: event for event in reversed(receiver.acknowledged)}.values())[::-1]


def check_order(receiver: Receiver) -> None:
    last: dict[str, tuple[int, int]] = defaultdict(lambda: (0, -1))
    for event in unique(receiver):
        seq, _, index = event["id"].partition("-")
        key = (int(seq), int(index))
        if key <= last[event["aor"]]:
            raise Failure(f"{event['aor']}: {key} was heard after {last[event['aor']]}")
        last[event["aor"]] = key


def check_contacts(receiver: Receiver, phones: Phones) -> None:
    """What was heard, one event after the other, makes the contacts that are there."""
    bound: dict[str, set[str]] = defaultdict(set)
    for event in unique(receiver):
        contacts = bound[event["aor"]]
        (contacts.discard if event["event"] in ENDS else contacts.add)(event["contact"]["uri"])
    for line in phones.lines:
        heard = bound[f"sip:u{line.number}@example.com"]
        if heard != line.bound:
            raise Failure(f"line {line.number}: heard {heard}, bound {line.bound}")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for max_pending in (ROOM_FOR_ALL, ROOM_FOR_FEW):
        try:
            # Some ten thousand events, spread over the time.
            report = run(arguments.seconds, arguments.seed, max_pending, min(1.0, 3 / arguments.seconds))
        except Failure as failure:
            sys.exit(f"seconds={arguments.seconds:g} seed={arguments.seed} room={max_pending} FAILED: {failure}")
        print(f"seconds={arguments.seconds:g} seed={arguments.seed} room={max_pending} {report} lost=0")


if __name__ == "__main__":
    main()
