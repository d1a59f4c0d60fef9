"""A compositor that is away for a while, and ten thousand registrations that change meanwhile.

REGISTER -> PUBLISH -> compositor -> NOTIFY, under a virtual clock.  EPA-2, ESC-4, TX-11, SUB-9.
"""

from collections import Counter
from collections.abc import Iterable

import pytest

from reginfo.config import CompositorSection, NotifierSection, PuaReginfoSection
from reginfo.fast import Flow, ReginfoView, apply_reginfo, parse_message, parse_reginfo, write_response
from tests.harness import House, request
from tests.network import Address, Network, cut
from tests.scenes import OTHER, SERVER

AORS = 10_000
PHONES = ("192.0.2.10", 5060)
WATCHERS = ("192.0.2.50", 5060)
MINUTE = 60


class Phones:
    """One phone for each AoR, behind one address."""

    local = PHONES

    def __init__(self) -> None:
        self.cseq = 0
        self.outbox: list[tuple[bytes, Flow]] = []
        self.refused: Counter[int] = Counter()

    def register(self, users: Iterable[int], expires: int) -> None:
        """Let phones register, or (0) unregister."""
        self.cseq += 1
        for user in users:
            octets = request(
                "REGISTER",
                f"Contact: <sip:u{user}@192.0.2.10>;expires={expires}",
                user=f"u{user}",
                call_id=f"phone-{user}",
                cseq=self.cseq,
            )
            self.outbox.append((octets, Flow("udp", PHONES, SERVER)))

    def take(self, batch: list[tuple[bytes, Flow]], now_ms: int) -> list[tuple[bytes, Flow]]:
        self.refused.update(int(octets[8:11]) for octets, _ in batch if not octets.startswith(b"SIP/2.0 200"))
        sent, self.outbox = self.outbox, []
        return sent


class Watchers:
    """One watcher for each AoR at the compositor, behind one address."""

    local = WATCHERS

    def __init__(self) -> None:
        self.outbox: list[tuple[bytes, Flow]] = []
        self.views: dict[str, ReginfoView] = {}
        self.notifies: Counter[str] = Counter()

    def subscribe(self, users: Iterable[int]) -> None:
        for user in users:
            octets = request(
                "SUBSCRIBE",
                "Event: reg",
                "Expires: 36000",
                "Contact: <sip:watcher@192.0.2.50>",
                uri=f"sip:u{user}@example.com",
                user=f"u{user}",
                call_id=f"watcher-{user}",
                via="192.0.2.50:5060",
            )
            self.views[f"watcher-{user}"] = ReginfoView()
            self.outbox.append((octets, Flow("udp", WATCHERS, OTHER)))

    def take(self, batch: list[tuple[bytes, Flow]], now_ms: int) -> list[tuple[bytes, Flow]]:
        for octets, flow in batch:
            if octets.startswith(b"NOTIFY "):
                notify = parse_message(octets)
                self.notifies[notify.call_id] += 1
                apply_reginfo(parse_reginfo(notify.body), self.views[notify.call_id])
                self.outbox.append((write_response(notify, 200), flow))
        sent, self.outbox = self.outbox, []
        return sent

    def contacts(self, user: int) -> set[str]:
        registrations = self.views[f"watcher-{user}"].registrations
        return {contact.uri for registration in registrations for contact in registration.contacts}


class Busy:
    """What stands where the compositor was, and asks for patience."""

    local = OTHER

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after

    def take(self, batch: list[tuple[bytes, Flow]], now_ms: int) -> list[tuple[bytes, Flow]]:
        rows = (("Retry-After", str(self.retry_after)),)
        return [
            (write_response(parse_message(octets), 503, headers=rows), flow)
            for octets, flow in batch
            if octets.startswith(b"PUBLISH ")
        ]


def compositor() -> House:
    return House(
        local=OTHER,
        compositor=CompositorSection(publishers=(SERVER[0],)),
        notifier=NotifierSection(min_notify_interval=0),
    )


@pytest.mark.parametrize("fault", ["killed", "cut", "412", "503"])
def test_after_an_outage_every_watcher_knows_the_truth(fault: str) -> None:
    net = Network()
    registrar = net.serve(House(pua_reginfo=PuaReginfoSection(outbound_proxy="sip:127.0.0.2:5060")))
    house = net.serve(compositor())
    phones, watchers = Phones(), Watchers()
    net.add(phones)
    net.add(watchers)
    everybody = range(AORS)
    phones.register(everybody, 3600)
    watchers.subscribe(everybody)
    net.run(10)
    assert all(watchers.contacts(user) for user in everybody)

    away = net.nodes[OTHER]
    lost = cut(SERVER, OTHER)
    if fault == "503":
        net.add(Busy(30))
    else:
        net.faults.append(lost)
    leaving = range(0, AORS, 3)
    phones.register(everybody, 3600)
    net.run(MINUTE / 2)
    phones.register(leaving, 0)
    phones.register(range(1, AORS, 3), 1800)
    net.run(MINUTE / 2)
    if fault == "killed":
        house.crash()
    net.faults.clear()
    net.nodes[OTHER] = away
    if fault == "412":
        net.serve(compositor())  # one that has lost everything it knew, its watchers too
        watchers.subscribe(everybody)
    publishes: Counter[bytes] = Counter()

    def count(sender: Address, receiver: Address, octets: bytes) -> int:
        if octets.startswith(b"PUBLISH "):
            publishes[octets.split(b" ", 2)[1]] += 1
        return 1

    net.faults.append(count)
    watchers.notifies.clear()
    net.run(3 * MINUTE)

    assert not phones.refused
    for user in everybody:
        truth = set(registrar.contacts(f"sip:u{user}@example.com"))
        assert truth == (set() if user in leaving else {f"sip:u{user}@192.0.2.10"})
        assert watchers.contacts(user) == truth
    assert max(watchers.notifies.values()) <= 2
    assert max(publishes.values()) <= 3
