"""`kill -9` in front of ten thousand watchers and a compositor: SUB-8, DLG-5, XML-4, EPA-2."""

import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from reginfo.fast import (
    APPLIED,
    ReginfoView,
    SipMessage,
    apply_reginfo,
    parse_message,
    parse_reginfo,
    write_response,
)
from tests.server_fixture import PATIENCE, Address, RunningServer, loopback_address

pytestmark = pytest.mark.network

WATCHED = 10_000
CHANGED = 500  # just before the kill
WINDOW = 100  # requests of ours without an answer
SAVED_SECONDS = 2.0
SILENCE_SECONDS = 1.0


class World:
    """Everybody around the server, at one socket: phones, watchers, and a compositor."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.socket.bind((loopback_address(), 0))
        self.at = "{}:{}".format(*self.socket.getsockname())
        self.server: Address = ("", 0)
        self.waiting: set[str] = set()
        "Call-ID and CSeq of what has no answer yet."
        self.views: dict[str, ReginfoView] = {}
        self.states: dict[str, list[str]] = {}
        "Full or partial, document by document."
        self.numbers: dict[str, tuple[int, int]] = {}
        "CSeq and version of the last NOTIFY, by Call-ID."
        self.published: dict[str, tuple[str, set[str]]] = {}
        "Entity-tag and contacts by AoR."
        self.publishes: Counter[str] = Counter()
        self._seen: set[str | None] = set()

    def send(self, method: str, user: int, cseq: int, *headers: str) -> None:
        domain = "sip:example.com" if method == "REGISTER" else f"sip:u{user}@example.com"
        key = f"{method}-{user}"
        rows = [
            f"{method} {domain} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.at};branch=z9hG4bK{key}-{cseq}",
            "Max-Forwards: 70",
            f"From: <sip:u{user}@example.com>;tag=f",
            f"To: <sip:u{user}@example.com>",
            f"Call-ID: {key}",
            f"CSeq: {cseq} {method}",
            *headers,
            "Content-Length: 0",
        ]
        self.socket.sendto("\r\n".join(rows).encode() + b"\r\n\r\n", self.server)
        self.waiting.add(f"{key}/{cseq}")
        self.until(lambda: len(self.waiting) < WINDOW)

    def register(self, users: Iterable[int], cseq: int) -> None:
        for user in users:
            self.send("REGISTER", user, cseq, f"Contact: <sip:u{user}@192.0.2.{cseq}>;expires=3600")
        self.until(lambda: not self.waiting)

    def subscribe(self, users: Iterable[int]) -> None:
        for user in users:
            self.views[f"SUBSCRIBE-{user}"] = ReginfoView()
            self.states[f"SUBSCRIBE-{user}"] = []
            self.send("SUBSCRIBE", user, 1, f"Contact: <sip:{self.at}>", "Event: reg", "Expires: 3600")
        self.until(lambda: not self.waiting)

    def until(self, look: Callable[[], bool]) -> None:
        """Take what arrives until something holds."""
        while not look():
            assert self.take(PATIENCE), "silence"
            while self.take(0):
                pass

    def take(self, timeout: float) -> bool:
        """Take what has arrived; False if nothing does within so many seconds."""
        if not select.select([self.socket], [], [], timeout)[0]:
            return False
        octets, source = self.socket.recvfrom(65_536)
        message = parse_message(octets)
        if not message.is_request:
            assert message.status == 200, octets
            self.waiting.remove(f"{message.call_id}/{message.cseq}")
        elif message.method == "NOTIFY":
            self._notify(message)
            self.socket.sendto(write_response(message, 200), source)
        else:
            self.socket.sendto(self._publish(message), source)
        return True

    def _notify(self, message: SipMessage) -> None:
        key = message.call_id
        document = parse_reginfo(message.body)
        number, version = message.cseq, document.version
        if message.top_via.branch in self._seen:
            return
        self._seen.add(message.top_via.branch)
        if key in self.numbers:
            assert number > self.numbers[key][0]
            assert version > self.numbers[key][1]
        self.numbers[key] = number, version
        self.states[key].append(document.state)
        assert apply_reginfo(document, self.views[key]).verdict == APPLIED

    def _publish(self, message: SipMessage) -> bytes:
        aor = message.request_uri
        known = self.published.get(aor)
        if message.sip_if_match != (known and known[0]):
            return write_response(message, 412)
        self.publishes[aor] += 1
        contacts = known[1] if known else set()
        if message.body:
            document = parse_reginfo(message.body)
            contacts = {one.uri for registration in document.registrations for one in registration.contacts}
        entity_tag = f"{self.publishes[aor]}.{aor[4:-12]}"
        self.published[aor] = entity_tag, contacts
        return write_response(message, 200, headers=[("SIP-ETag", entity_tag), ("Expires", "3600")])

    def told(self, user: int) -> set[str]:
        registrations = self.views[f"SUBSCRIBE-{user}"].registrations
        return {contact.uri for registration in registrations for contact in registration.contacts}

    def has_published(self, user: int, contacts: set[str]) -> bool:
        return self.published.get(f"sip:u{user}@example.com", ("", set()))[1] == contacts


def bound(user: int, *cseqs: int) -> set[str]:
    return {f"sip:u{user}@192.0.2.{cseq}" for cseq in cseqs}


def test_ten_thousand_watchers_over_a_kill(tmp_path: Path) -> None:
    world = World()
    options = (
        'store = { url = "rocksdb:reginfo.db" }\n[notifier]\nmin_notify_interval = 0\n'
        f'[pua_reginfo]\noutbound_proxy = "sip:{world.at}"\n'
        "[registrar]\nexpires_jitter = 0.0\n"
    )
    everybody, late, few = range(WATCHED), range(CHANGED), range(CHANGED, 2 * CHANGED)
    server = RunningServer(tmp_path, ["example.com"], options)
    try:
        world.server = server.udp
        world.register(everybody, 1)
        world.subscribe(everybody)
        world.until(lambda: all(world.told(user) == bound(user, 1) for user in everybody))
        world.until(lambda: all(world.has_published(user, bound(user, 1)) for user in everybody))
        time.sleep(SAVED_SECONDS)  # which is what a restart may not know of

        server.kill()
        server = RunningServer(tmp_path, ["example.com"], options, server.udp)
        publishes = world.publishes.copy()
        assert not world.take(SILENCE_SECONDS)

        # Changes of which nobody can have been told: the 200 is hardly out.
        world.register(late, 2)
        server.kill()
        while world.take(0):
            pass
        server = RunningServer(tmp_path, ["example.com"], options, server.udp)
        world.until(lambda: all(world.told(user) == bound(user, 1, 2) for user in late))
        world.until(lambda: all(world.has_published(user, bound(user, 1, 2)) for user in late))

        # From then on everybody gets the full state once, and then what changes.
        world.register(range(CHANGED, WATCHED), 2)
        world.until(lambda: all(world.told(user) == bound(user, 1, 2) for user in everybody))
        world.until(lambda: all(world.has_published(user, bound(user, 1, 2)) for user in everybody))
        world.register(few, 3)
        world.until(lambda: all(world.told(user) == bound(user, 1, 2, 3) for user in few))
        for user in everybody:
            states = world.states[f"SUBSCRIBE-{user}"]
            if user in late:  # told once or twice: just before the kill, and after it
                assert states[1:] in (["full"], ["full", "full"])
            else:
                assert states[1:] == (["full", "partial"] if user in few else ["full"])
            assert world.publishes[f"sip:u{user}@example.com"] - publishes[f"sip:u{user}@example.com"] <= 3
    finally:
        server.stop()
        world.socket.close()
