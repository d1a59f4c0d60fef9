"""A network of servers, watchers and phones under one virtual clock: octets travel, are lost, and time passes.

net = Network(); east = net.add(House(local=("192.0.2.1", 5060))); watcher = net.add(Watcher(...))
watcher.subscribe(...); net.run(5)
"""

import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Protocol

from reginfo.fast import (
    Flow,
    Reginfo,
    ReginfoDelta,
    ReginfoView,
    SipMessage,
    apply_reginfo,
    parse_message,
    parse_reginfo,
    write_request,
    write_response,
)
from tests.harness import START_MS, House, finish

STEP_MS = 100
SAVE_STEPS = 10

Address = tuple[str, int]


class Node(Protocol):
    """Whoever sends and receives."""

    local: Address

    def take(self, batch: list[tuple[bytes, Flow]], now_ms: int) -> list[tuple[bytes, Flow]]:
        """Take what has arrived (perhaps nothing) at this time; return what is sent."""


class Server:
    """A House as a node."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.local = house.local
        self.steps = 0

    def take(self, batch: list[tuple[bytes, Flow]], now_ms: int) -> list[tuple[bytes, Flow]]:
        house = self.house
        later = now_ms != house.now_ms
        house.now_ms = now_ms
        if later:
            house.engine.tick(house.now())
            due = finish(house.store.due(now_ms, 100_000))
            if due:
                house.engine.expire(due)
            self.steps += 1
            if self.steps % SAVE_STEPS == 0:
                house.save()
        for start in range(0, len(batch), 64):
            house.engine.receive(batch[start : start + 64], house.now())
        return house.pump()


class Network:
    """Delivers datagrams at once and in order, unless a fault says otherwise; streams never tear."""

    def __init__(self, seed: int = 0) -> None:
        self.now_ms = START_MS
        self.chance = random.Random(seed)
        self.nodes: dict[Address, Node] = {}
        self.faults: list[Callable[[Address, Address, bytes], int]] = []
        "Each returns how many copies of a datagram arrive; the least counts, more than one only if all agree."
        self.seen: list[SipMessage] = []
        "What was sent, if watching."
        self.is_watching = False
        self.sent: Counter[tuple[Address, str]] = Counter()
        "Datagrams sent, by sender and method or status class."
        self.delay_ms: Callable[[], int] = lambda: 0
        "How much later than at once a datagram arrives: what is delayed is overtaken."
        self._wire: deque[tuple[Address, Address, str, bytes]] = deque()
        self._delayed: list[tuple[int, int, Address, bytes, Flow]] = []
        self._order = itertools.count()

    def serve(self, house: House) -> House:
        """Put a server on the network."""
        house.now_ms = self.now_ms
        self.nodes[house.local] = Server(house)
        return house

    def add(self, node: Node) -> None:
        self.nodes[node.local] = node

    def send(self, sender: Address, items: Sequence[tuple[bytes, Flow]]) -> None:
        """Put on the wire what a node sends."""
        for octets, flow in items:
            self._wire.append((sender, flow.remote, flow.transport, octets))

    def flow(self) -> None:
        """Let everything arrive that is on its way, and everything that follows from it at this instant."""
        while True:
            arrived: dict[Address, list[tuple[bytes, Flow]]] = {}
            while self._wire:
                sender, receiver, transport, octets = self._wire.popleft()
                self.sent[sender, _kind(octets)] += 1
                if self.is_watching:
                    self.seen.append(parse_message(octets))
                copies = min([fault(sender, receiver, octets) for fault in self.faults], default=1)
                if receiver not in self.nodes:
                    continue
                flow = Flow(transport, receiver, sender, 0 if transport == "udp" else 1)
                for _ in range(copies):
                    delay_ms = self.delay_ms() if transport == "udp" else 0
                    if delay_ms:
                        item = (self.now_ms + delay_ms, next(self._order), receiver, octets, flow)
                        heapq.heappush(self._delayed, item)
                    else:
                        arrived.setdefault(receiver, []).append((octets, flow))
            while self._delayed and self._delayed[0][0] <= self.now_ms:
                _, _, receiver, octets, flow = heapq.heappop(self._delayed)
                arrived.setdefault(receiver, []).append((octets, flow))
            if not arrived:
                return
            for receiver, batch in arrived.items():
                self.send(receiver, self.nodes[receiver].take(batch, self.now_ms))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.flow()
        end = self.now_ms + round(seconds * 1000)
        while self.now_ms < end:
            self.now_ms = min(end, self.now_ms + STEP_MS)
            for address, node in list(self.nodes.items()):
                self.send(address, node.take([], self.now_ms))
            self.flow()


def _kind(octets: bytes) -> str:
    word = octets[:12].split(b" ")
    return word[1][:1].decode() + "xx" if word[0] == b"SIP/2.0" else word[0].decode()


def cut(one: Address, other: Address) -> Callable[[Address, Address, bytes], int]:
    """Let nothing pass between two nodes."""
    return lambda sender, receiver, octets: 0 if {sender, receiver} == {one, other} else 1


def lossy(chance: random.Random, share: float) -> Callable[[Address, Address, bytes], int]:
    """Lose a share of all datagrams and repeat as many."""

    def fault(sender: Address, receiver: Address, octets: bytes) -> int:
        drawn = chance.random()
        return 0 if drawn < share else 2 if drawn < 2 * share else 1

    return fault


class Peer:
    """A node made by hand: what it receives is kept, what it answers is said by a function."""

    def __init__(self, local: Address) -> None:
        self.local = local
        self.received: list[SipMessage] = []
        self.outbox: list[tuple[bytes, Flow]] = []
        self.answer: Callable[[SipMessage], bytes | None] = lambda request: write_response(
            request, 200, to_tag="peer-tag"
        )
        self._numbers = itertools.count(1)

    def take(self, batch: list[tuple[bytes, Flow]], now_ms: int) -> list[tuple[bytes, Flow]]:
        for octets, flow in batch:
            message = parse_message(octets)
            self.received.append(message)
            if message.is_request:
                answer = self.answer(message)
                if answer is not None:
                    self.outbox.append((answer, flow))
        sent, self.outbox = self.outbox, []
        return sent

    def request(
        self,
        server: Address,
        method: str,
        uri: str,
        *headers: tuple[str, str],
        from_: str,
        to: str = "",
        call_id: str = "",
        cseq: int = 1,
        body: bytes = b"",
    ) -> None:
        """Send a request."""
        number = next(self._numbers)
        host, port = self.local
        via = f"SIP/2.0/UDP {host}:{port};rport;branch=z9hG4bK{host}.{number}"
        rows = [
            ("Via", via),
            ("Max-Forwards", "70"),
            ("From", from_),
            ("To", to or f"<{uri}>"),
            ("Call-ID", call_id or f"{number}@{host}"),
            ("CSeq", f"{cseq} {method}"),
            *headers,
        ]
        self.outbox.append((write_request(method, uri, rows, body), Flow("udp", self.local, server)))

    def statuses(self, method: str) -> list[int]:
        """Return the answers to requests of a method."""
        return [one.status for one in self.received if not one.is_request and one.cseq_method == method]

    def requests(self, method: str) -> list[SipMessage]:
        return [one for one in self.received if one.is_request and one.method == method]


class Watcher(Peer):
    """Watches one AoR at one server, and adds up what it is told."""

    def __init__(self, local: Address, server: Address, aor: str, *, who: str = "") -> None:
        super().__init__(local)
        self.server = server
        self.aor = aor
        self.who = who or aor
        self.call_id = f"watch-{local[0]}-{local[1]}"
        self.cseq = 0
        self.to = f"<{aor}>"
        self.target = aor
        self.view = ReginfoView()
        self.documents: list[Reginfo] = []
        self.deltas: list[ReginfoDelta] = []
        self.states: list[str] = []
        self.status = 200
        "What NOTIFYs are answered; 0: nothing."
        self.headers: tuple[tuple[str, str], ...] = ()
        "Of that answer."
        self.answer = self._answer

    def subscribe(self, expires: int | None = 600, *headers: tuple[str, str], contact: str = "") -> None:
        """Subscribe, or refresh."""
        self.cseq += 1
        host, port = self.local
        rows = [("Contact", contact or f"<sip:watcher@{host}:{port}>"), ("Event", "reg"), *headers]
        if expires is not None:
            rows.append(("Expires", str(expires)))
        self.request(
            self.server,
            "SUBSCRIBE",
            self.target,
            *rows,
            from_=f"<{self.who}>;tag=w1",
            to=self.to,
            call_id=self.call_id,
            cseq=self.cseq,
        )

    def _answer(self, request: SipMessage) -> bytes | None:
        if not self.status:
            return None
        if request.call_id != self.call_id:
            return write_response(request, 481)
        if self.status < 300 and request.body:
            document = parse_reginfo(request.body)
            self.documents.append(document)
            self.deltas.append(apply_reginfo(document, self.view))
        state = request.subscription_state
        assert state is not None
        self.states.append(request.header("Subscription-State") or "")
        self.to = f"<{self.aor}>;tag={request.from_.tag}"
        self.target = request.contacts[0].uri
        return write_response(request, self.status, headers=self.headers)

    def contacts(self) -> set[str]:
        """Return the contacts that are bound, as told."""
        return {contact.uri for registration in self.view.registrations for contact in registration.contacts}

    @property
    def notifies(self) -> list[SipMessage]:
        return self.requests("NOTIFY")

    def events(self) -> list[list[tuple[str, str | None]]]:
        """Return (URI, event) of each document."""
        return [
            [
                (contact.uri, contact.event)
                for registration in document.registrations
                for contact in registration.contacts
            ]
            for document in self.documents
        ]
