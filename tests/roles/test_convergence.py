"""Whatever happens on the way, everybody who is told of registrations ends with the registrar's state.

A registrar publishes to a compositor; one server follows each of the two; two more watchers only listen.  Phones,
operators, the clock, the network and crashes do as they please.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from reginfo.config import CompositorSection, NotifierSection, PeerSection, PuaReginfoSection
from reginfo.model import Command
from tests.harness import House
from tests.network import Network, Watcher, cut, lossy
from tests.scenes import Phone

REGISTRAR = ("127.0.0.1", 5060)
COMPOSITOR = ("127.0.0.2", 5060)
FOLLOWER = ("127.0.0.3", 5060)
FAR_FOLLOWER = ("127.0.0.4", 5060)
LINKS = ((REGISTRAR, COMPOSITOR), (REGISTRAR, FOLLOWER), (COMPOSITOR, FAR_FOLLOWER))
AORS = ("sip:alice@example.com", "sip:bob@example.com")
CONTACTS = ("sip:a@192.0.2.10", "sip:b@192.0.2.11:5062", "sip:c@192.0.2.12:5070")
PATIENCE_S = 4000
"What the longest back-off may take, which follows on an outage of a quarter of an hour."

aors = st.sampled_from(AORS)
contacts = st.sampled_from(CONTACTS)


def section(local: tuple[str, int]) -> PeerSection:
    return PeerSection(name=local[0].replace(".", "-"), uri="sip:{}:{}".format(*local))


class Convergence(RuleBasedStateMachine):
    """REV-3, REV-10, SUB-18, RIC-2, RIC-3, EPA-2, ESC-4"""

    @initialize(seed=st.integers(0, 1 << 32), interval=st.sampled_from([0, 5]))
    def begin(self, seed: int, interval: int) -> None:
        self.net = Network(seed)
        told: dict[str, Any] = {"notifier": NotifierSection(min_notify_interval=interval)}
        self.registrar = House(
            local=REGISTRAR,
            pua_reginfo=PuaReginfoSection(outbound_proxy="sip:{}:{}".format(*COMPOSITOR)),
            peers=(section(FOLLOWER), section(COMPOSITOR)),
            **told,
        )
        self.compositor = House(
            local=COMPOSITOR,
            compositor=CompositorSection(publishers=(REGISTRAR[0],)),
            peers=(section(FAR_FOLLOWER),),
            **told,
        )
        self.follower = House(local=FOLLOWER, peers=(section(REGISTRAR),))
        self.far_follower = House(local=FAR_FOLLOWER, peers=(section(COMPOSITOR),))
        self.houses = (self.registrar, self.compositor, self.follower, self.far_follower)
        for house in self.houses:
            self.net.serve(house)
        self.phones: dict[str, Phone] = {}
        self.watchers: list[tuple[House, Watcher]] = []
        for number, aor in enumerate(AORS):
            self.phones[aor] = Phone(REGISTRAR, ("192.0.2.10", 6000 + number), aor)
            self.net.add(self.phones[aor])
            for house in (self.follower, self.far_follower):
                house.roles.subscriber.follow(aor, 600, house.now())
            for house in (self.registrar, self.compositor):
                watcher = Watcher(("192.0.2.50", 7000 + len(self.watchers)), house.local, aor)
                self.net.add(watcher)
                watcher.subscribe(1_000_000)
                self.watchers.append((house, watcher))
        self.net.run(0.2)

    @rule(aor=aors, contact=contacts, expires=st.sampled_from([0, 60, 61, 600, 3600]))
    def register(self, aor: str, contact: str, expires: int) -> None:
        self.phones[aor].register(f"{contact};expires={expires}")
        self.net.flow()

    @rule(aor=aors)
    def unregister_all(self, aor: str) -> None:
        self.phones[aor].register("*", expires=0)
        self.net.flow()

    @rule(aor=aors, contact=contacts, event=st.sampled_from(["deactivated", "probation", "rejected"]))
    def remove(self, aor: str, contact: str, event: str) -> None:
        self.registrar.command(Command(aor, lambda draft, _: draft.remove(contact, event), "operator"))

    @rule(aor=aors, contact=contacts | st.none(), seconds=st.integers(1, 100))
    def shorten(self, aor: str, contact: str | None, seconds: int) -> None:
        self.registrar.command(Command(aor, lambda draft, _: draft.shorten(contact, seconds), "operator"))

    @rule(seconds=st.sampled_from([0.1, 0.1, 1, 6, 61]))
    def wait(self, seconds: float) -> None:
        self.net.run(seconds)

    @rule(link=st.sampled_from(LINKS), share=st.sampled_from([0.1, 0.4, 1]))
    def lose(self, link: tuple[tuple[str, int], tuple[str, int]], share: float) -> None:
        """Lose and repeat some of what passes a link, or all of it."""
        broken = cut(*link)
        some = lossy(self.net.chance, share)
        self.net.faults.append(
            lambda sender, receiver, octets: (
                1 if broken(sender, receiver, octets) else 0 if share == 1 else some(sender, receiver, octets)
            )
        )

    @rule()
    def reorder(self) -> None:
        chance = self.net.chance
        self.net.delay_ms = lambda: chance.choice([0, 0, 100, 1500])

    @rule()
    def heal(self) -> None:
        self.net.faults.clear()
        self.net.delay_ms = lambda: 0

    @rule(number=st.integers(0, 3))
    def crash(self, number: int) -> None:
        self.houses[number].crash()

    def differences(self) -> list[str]:
        found = []
        for aor in AORS:
            truth = {row.uri: row for row in self.bindings(self.registrar, aor)}
            for house in self.houses[1:]:
                rows = {row.uri: row for row in self.bindings(house, aor)}
                if rows.keys() != truth.keys():
                    found.append(f"{house.local[0]} {aor} has {set(rows)}, not {set(truth)}")
                for uri in rows.keys() & truth.keys():
                    one, other = rows[uri], truth[uri]
                    if (one.call_id, one.cseq) != (other.call_id, other.cseq):
                        found.append(f"{house.local[0]} {uri} is of {one.call_id} {one.cseq}")
                    if abs(one.expires_at - other.expires_at) > 2500:
                        found.append(f"{house.local[0]} {uri} ends {one.expires_at - other.expires_at} ms late")
            for house, watcher in self.watchers:
                if watcher.aor == aor and watcher.contacts() != truth.keys():
                    found.append(f"watcher at {house.local[0]} {aor} has {watcher.contacts()}, not {set(truth)}")
        return found

    def bindings(self, house: House, aor: str) -> list[Any]:
        registration = house.registration(aor)
        return [] if registration is None else [row for row in registration.bindings if not row.hidden]

    def teardown(self) -> None:
        self.heal()
        end_ms = self.net.now_ms + PATIENCE_S * 1000
        self.net.run(6)
        while self.differences() and self.net.now_ms < end_ms:
            self.net.run(5)
        assert self.differences() == []
        self.net.run(12)  # and so it stays
        assert self.differences() == []
        for _, watcher in self.watchers:
            assert all(state.startswith("active") for state in watcher.states), watcher.states
            assert not watcher.documents or watcher.documents[0].full


TestConvergence = Convergence.TestCase
TestConvergence.settings = settings(max_examples=max(20, settings().max_examples // 5), stateful_step_count=30)
