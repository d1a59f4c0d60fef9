"""The publisher: EPA-1 to EPA-3 and KAM-1, against a compositor made by hand and our own."""

from typing import Any

import pytest
from msgspec import structs

from reginfo.config import CompositorSection, PeerSection, PuaReginfoSection
from reginfo.fast import Binding, Reginfo, SipMessage, parse_reginfo, write_response
from reginfo.model import Command
from reginfo.sip import outage
from tests.harness import House
from tests.network import Network, Peer, cut
from tests.scenes import ALICE, OTHER, SERVER, A, B, Phone, watch

COMPOSITOR = ("192.0.2.80", 5080)
PROXY = PuaReginfoSection(outbound_proxy="sip:192.0.2.80:5080")


class Compositor(Peer):
    """Answers PUBLISH as told, and keeps what it was told."""

    def __init__(self) -> None:
        super().__init__(COMPOSITOR)
        self.status = 200
        self.headers: tuple[tuple[str, str], ...] = ()
        self.expires: int | None = None
        "What is granted, if not what was asked for."
        self.tag = 0
        self.answer = self._answer

    def _answer(self, request: SipMessage) -> bytes | None:
        if not self.status:
            return None
        headers = self.headers
        if self.status == 200:
            match = request.sip_if_match
            if match is not None and match != f"t{self.tag}":
                return write_response(request, 412)
            self.tag += 1
            granted = request.expires if self.expires is None else self.expires
            headers = (("SIP-ETag", f"t{self.tag}"), ("Expires", str(granted)), *headers)
        return write_response(request, self.status, to_tag="c", headers=headers)

    @property
    def publishes(self) -> list[SipMessage]:
        """Distinct PUBLISHes, repetitions left out."""
        return list({one.top_via.branch: one for one in self.requests("PUBLISH")}.values())

    @property
    def documents(self) -> list[Reginfo]:
        return [parse_reginfo(one.body) for one in self.publishes if one.body]

    def told(self) -> set[str]:
        """Return the contacts of the last document."""
        [registration] = self.documents[-1].registrations
        return {one.uri for one in registration.contacts if one.active}


class Scene:
    def __init__(self, pua_reginfo: PuaReginfoSection = PROXY, **sections: Any) -> None:
        self.net = Network()
        self.house = self.net.serve(House(pua_reginfo=pua_reginfo, **sections))
        self.compositor = Compositor()
        self.net.add(self.compositor)
        self.phone = Phone()
        self.net.add(self.phone)

    def register(self, *rows: str) -> None:
        self.phone.register(*rows)
        self.net.run(0.1)
        assert self.phone.last.status == 200


@pytest.fixture
def scene() -> Scene:
    return Scene()


def shape(request: SipMessage) -> tuple[bool, bool]:
    """Return (has a body, has SIP-If-Match): RFC 3903 section 4's table of operations."""
    return bool(request.body), request.sip_if_match is not None


INITIAL, MODIFY, REFRESH = (True, False), (True, True), (False, True)


def test_every_change_is_published_whole(scene: Scene) -> None:
    """KAM-1, EPA-1, EPA-3: initial, then modify under each new entity-tag; one full document about one AoR."""
    scene.register(f"{A};expires=600;q=0.5")
    scene.register(f"{B};expires=900")
    scene.register(f"{A};expires=0")
    scene.register(f"{B};expires=0")
    requests = scene.compositor.publishes
    assert [shape(one) for one in requests] == [INITIAL, MODIFY, MODIFY, MODIFY]
    assert [one.sip_if_match for one in requests] == [None, "t1", "t2", "t3"]
    assert [one.expires for one in requests] == [601, 901, 900, 60]
    assert len({one.from_.tag for one in requests}) == 4
    for one in requests:
        assert one.request_uri == one.to.uri == one.from_.uri == ALICE
        assert one.header("Event") == "reg"
        assert one.header("Content-Type") == "application/reginfo+xml"
        assert one.max_forwards == 70
        assert one.to.tag is None
    told = []
    for document in scene.compositor.documents:
        [registration] = document.registrations
        told.append((document.state, registration.state, [(one.uri, one.event) for one in registration.contacts]))
    assert told == [
        ("full", "active", [(A, "registered")]),
        ("full", "active", [(A, "registered"), (B, "registered")]),
        ("full", "active", [(A, "unregistered"), (B, "registered")]),
        ("full", "terminated", [(B, "unregistered")]),
    ]


@pytest.mark.parametrize(
    "section",
    [PuaReginfoSection(), PuaReginfoSection(publish_reginfo=False, outbound_proxy="sip:192.0.2.80:5080")],
)
def test_nothing_is_published_where_nothing_is_to_be(section: PuaReginfoSection) -> None:
    """The domain is served here and there is no proxy, or it is switched off."""
    scene = Scene(section)
    scene.register(A)
    scene.net.run(5)
    assert scene.compositor.received == []


def test_expiry_and_operators_are_published(scene: Scene) -> None:
    """REV-8, KAM defect 7"""
    scene.register(f"{A};expires=60", f"{B};expires=600")
    scene.net.run(61)
    scene.house.engine.command(Command(ALICE, lambda draft, now_ms: draft.remove(None, "rejected"), "operator"))
    scene.net.run(1)
    events = [[(one.uri, one.event) for one in doc.registrations[0].contacts] for doc in scene.compositor.documents]
    assert events[1:] == [[(A, "expired"), (B, "registered")], [(B, "rejected")]]


def test_one_is_in_flight_and_the_newest_state_waits(scene: Scene) -> None:
    """EPA-1, KAM defect 10: two quick updates never race."""
    scene.compositor.status = 0
    scene.register(A)
    scene.register(B)
    scene.register(f"{A};expires=0")
    assert len(scene.compositor.publishes) == 1
    scene.compositor.status = 200
    scene.net.run(4)
    assert [shape(one) for one in scene.compositor.publishes] == [INITIAL, MODIFY]
    assert scene.compositor.told() == {B}


def test_a_publication_is_refreshed_before_it_ends(scene: Scene) -> None:
    """EPA-1: without a body, 32 s ahead; nobody is told of anything."""
    scene.compositor.expires = 100
    scene.register(f"{A};expires=600")
    scene.net.run(67)
    assert len(scene.compositor.publishes) == 1
    scene.net.run(2)
    assert shape(scene.compositor.publishes[-1]) == REFRESH
    scene.net.run(69)
    assert [shape(one) for one in scene.compositor.publishes] == [INITIAL, REFRESH, REFRESH]
    scene.net.run(5000)
    assert scene.compositor.documents[-1].registrations[0].state == "terminated"
    count = len(scene.compositor.publishes)
    scene.net.run(5000)
    assert len(scene.compositor.publishes) == count
    assert len(scene.house.roles.publisher) == 0


def test_412_is_followed_by_one_initial_publish(scene: Scene) -> None:
    """EPA-2, KAM defect 10"""
    scene.register(A)
    scene.compositor.tag = 77
    scene.register(B)
    assert [shape(one) for one in scene.compositor.publishes] == [INITIAL, MODIFY, INITIAL]
    assert scene.compositor.told() == {A, B}
    scene.compositor.status = 412
    scene.register(f"{A};expires=0")
    count = len(scene.compositor.publishes)
    scene.net.run(14)
    assert len(scene.compositor.publishes) == count == 5
    scene.compositor.status = 200
    scene.net.run(20)
    assert [shape(one) for one in scene.compositor.publishes][3:] == [MODIFY, INITIAL, INITIAL]
    assert scene.compositor.told() == {B}


def test_412_to_a_refresh_publishes_the_state_anew(scene: Scene) -> None:
    """EPA-2"""
    scene.compositor.expires = 100
    scene.register(A)
    scene.compositor.tag = 77
    scene.net.run(70)
    assert [shape(one) for one in scene.compositor.publishes] == [INITIAL, REFRESH, INITIAL]
    assert scene.compositor.told() == {A}


def test_423_raises_the_interval(scene: Scene) -> None:
    """EPA-2"""
    scene.compositor.status, scene.compositor.headers = 423, (("Min-Expires", "1200"),)
    scene.phone.register(f"{A};expires=600")
    scene.net.send(scene.phone.local, scene.phone.take([], 0))
    original = scene.compositor.answer

    def once(request: SipMessage) -> bytes | None:
        octets = original(request)
        scene.compositor.status, scene.compositor.headers = 200, ()
        return octets

    scene.compositor.answer = once
    scene.net.run(1)
    assert [one.expires for one in scene.compositor.publishes] == [601, 1200]


@pytest.mark.parametrize("status", [400, 403, 404, 500, 504, 600])
def test_refusals_are_retried_with_back_off(scene: Scene, status: int) -> None:
    """EPA-2, F7: 30 s, doubled each time, half to all of it; the newest state at last."""
    scene.compositor.status = status
    scene.register(A)
    scene.net.run(14)
    assert len(scene.compositor.publishes) == 1
    scene.net.run(17)
    assert len(scene.compositor.publishes) == 2
    scene.register(B)
    scene.net.run(28)
    assert len(scene.compositor.publishes) == 2
    scene.compositor.status = 200
    scene.net.run(35)
    assert len(scene.compositor.publishes) == 3
    assert scene.compositor.told() == {A, B}


@pytest.mark.parametrize("status", [413, 415, 489])
def test_what_will_not_be_taken_is_not_offered_again_soon(scene: Scene, status: int) -> None:
    """EPA-2"""
    scene.compositor.status = status
    scene.register(A)
    scene.register(B)
    scene.net.run(1000)
    assert len(scene.compositor.publishes) == 1


def test_retry_after_is_obeyed_by_all(scene: Scene) -> None:
    """TX-11, F7: 503 with Retry-After holds every publication, and one probe goes first."""
    scene.compositor.status, scene.compositor.headers = 503, (("Retry-After", "100"),)
    scene.register(A)
    bob = Phone(local=("192.0.2.12", 5060), aor="sip:bob@example.com")
    scene.net.add(bob)
    bob.register("sip:bob@192.0.2.12")
    scene.net.run(99)
    assert len(scene.compositor.publishes) == 1
    scene.net.run(2)
    assert len(scene.compositor.publishes) == 2
    scene.compositor.status, scene.compositor.headers = 200, ()
    scene.net.run(101)
    assert len(scene.compositor.publishes) == 4
    assert {one.request_uri for one in scene.compositor.publishes[-2:]} == {ALICE, "sip:bob@example.com"}


def test_a_success_that_does_not_say_what_it_is_counts_for_nothing(scene: Scene) -> None:
    """EPA-2: 2xx without SIP-ETag or Expires."""
    scene.compositor.answer = lambda request: write_response(request, 200, headers=(("Expires", "60"),))
    scene.register(A)
    scene.net.run(31)
    assert [shape(one) for one in scene.compositor.publishes] == [INITIAL, INITIAL]


def test_a_timeout_is_never_forgotten(scene: Scene) -> None:
    """EPA-2, F7, KAM defect 10: modify, since the state is unknown; then 412 and initial."""
    scene.register(A)
    fault = cut(SERVER, COMPOSITOR)
    scene.net.faults.append(fault)
    scene.register(B)
    scene.net.run(120)
    scene.net.faults.remove(fault)
    scene.compositor.tag = 99
    scene.net.run(240)
    assert scene.compositor.told() == {A, B}
    assert [shape(one) for one in scene.compositor.publishes][-2:] == [MODIFY, INITIAL]


@pytest.mark.parametrize("releases", [outage.RELEASES, 7])
def test_after_an_outage_each_aor_is_told_once_or_twice(monkeypatch: pytest.MonkeyPatch, releases: int) -> None:
    """F7: what changed meanwhile, and nothing more, in at most 3 PUBLISHes for each AoR."""
    monkeypatch.setattr(outage, "RELEASES", releases)
    scene = Scene()
    phones = [Phone(local=("192.0.2.10", 6000 + n), aor=f"sip:u{n}@example.com") for n in range(200)]
    for phone in phones:
        scene.net.add(phone)
        phone.register(f"sip:u@192.0.2.10:{phone.local[1]}")
    scene.net.run(1)
    assert len(scene.compositor.publishes) == 200
    fault = cut(SERVER, COMPOSITOR)
    scene.net.faults.append(fault)
    for phone in phones[::2]:
        phone.register(f"sip:u@192.0.2.99:{phone.local[1]}")
        phone.register(f"sip:u@192.0.2.98:{phone.local[1]}")
    scene.net.run(60)
    scene.net.faults.remove(fault)
    scene.compositor.received.clear()
    scene.net.run(130)
    counts: dict[str, int] = {}
    for one in scene.compositor.publishes:
        counts[one.request_uri] = counts.get(one.request_uri, 0) + 1
    assert set(counts) == {phone.aor for phone in phones[::2]}
    assert max(counts.values()) <= 3
    assert all(len(document.registrations[0].contacts) == 3 for document in scene.compositor.documents)


# ---- restart


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_a_change_just_before_a_crash_is_published_after_it(scene: Scene, seconds: float) -> None:
    """Nothing is ever forgotten: a new AoR, a refresh and an end, none of them acknowledged."""
    phones = [Phone(local=("192.0.2.10", 6000 + n), aor=f"sip:u{n}@example.com") for n in range(3)]
    for phone in phones:
        scene.net.add(phone)
    for phone in phones[1:]:
        phone.register("sip:u@192.0.2.10")
    scene.net.run(2)
    scene.compositor.status = 0
    phones[0].register("sip:u@192.0.2.10")
    phones[1].register("sip:u@192.0.2.10")
    phones[2].register("sip:u@192.0.2.10;expires=0")
    scene.net.run(0.1)
    scene.net.run(seconds)
    scene.compositor.status = 200
    scene.compositor.received.clear()
    scene.house.crash()
    scene.net.run(1)
    told = {doc.registrations[0].aor: doc.registrations[0] for doc in scene.compositor.documents}
    assert {aor: one.state for aor, one in told.items()} == {
        "sip:u0@example.com": "active",
        "sip:u1@example.com": "active",
        "sip:u2@example.com": "terminated",
    }
    assert told["sip:u1@example.com"].contacts[0].event == "refreshed"


def test_what_was_published_is_not_published_again_after_a_restart(scene: Scene) -> None:
    """Publications survive with their entity-tags; a refresh comes when it is due."""
    scene.compositor.expires = 100
    scene.register(A)
    scene.net.run(2)
    scene.house.crash()
    scene.net.run(60)
    assert len(scene.compositor.publishes) == 1
    scene.net.run(10)
    assert [shape(one) for one in scene.compositor.publishes] == [INITIAL, REFRESH]
    assert scene.compositor.publishes[-1].expires == 100  # 0 would take it away
    scene.register(B)
    assert shape(scene.compositor.publishes[-1]) == MODIFY


def test_a_lost_entity_tag_leaves_no_orphan_at_our_compositor() -> None:
    """A PUBLISH was accepted and the answer never read: after the crash its successor replaces it."""
    net = Network()
    net.serve(House(pua_reginfo=PuaReginfoSection(outbound_proxy="sip:127.0.0.2:5060")))
    house = net.nodes[SERVER].house  # type: ignore[attr-defined]
    other = net.serve(House(local=OTHER, compositor=CompositorSection(publishers=("127.0.0.1",))))
    phone = Phone()
    net.add(phone)
    phone.register(A)
    net.run(1)
    net.faults.append(lambda sender, receiver, octets: 0 if sender == OTHER else 1)
    phone.register(B)
    net.run(0.2)
    house.crash()
    net.faults.clear()
    net.run(2)
    phone.register(f"{A};expires=0")
    net.run(5)
    assert [(one.uri, one.origin) for one in other.bound().bindings] == [(B, other.bound().bindings[0].origin)]
    assert len(other.roles.compositor) == 1


# ---- who is told what


def test_a_muted_change_is_not_published(scene: Scene) -> None:
    """reginfo_disable_publish: the current message only; the next change tells the whole state."""
    scene.house.engine.hook = lambda request, flow: scene.house.engine.mute()
    scene.register(A)
    scene.net.run(5)
    assert scene.compositor.publishes == []
    scene.house.engine.hook = None
    scene.register(B)
    assert scene.compositor.told() == {A, B}


def test_a_change_muted_while_another_is_published_is_as_if_known(scene: Scene) -> None:
    """reginfo_disable_publish: nobody waits for it, and it is not told after a restart either."""
    scene.compositor.status = 0
    scene.register(A)
    scene.house.engine.hook = lambda request, flow: scene.house.engine.mute()
    scene.register(B)
    scene.compositor.status = 200
    scene.net.run(5)
    assert scene.compositor.told() == {A}
    assert scene.house.roles.publisher.settled(10**6) == 10**6
    told = len(scene.compositor.publishes)
    scene.house.save()
    scene.house.crash()
    scene.net.run(5)
    assert len(scene.compositor.publishes) == told


def test_what_a_peer_said_is_not_published_to_anybody() -> None:
    """RIC-7: no transit."""
    scene = Scene(peers=(PeerSection(name="east", uri="sip:192.0.2.80:5080"),))

    def learn(draft: Any, now_ms: int) -> int:
        verdict: int = draft.learn(Binding(uri=B, origin="peer:east", expires_at=now_ms + 600_000))
        return verdict

    scene.house.engine.command(Command(ALICE, learn, "notify", origin="peer:east"))
    scene.net.run(1)
    assert scene.compositor.publishes == []
    scene.register(A)
    assert scene.compositor.told() == {A}


def test_a_kamailio_peer_gets_its_own_profile() -> None:
    """KAM-1, KAM-2: expires="0" on what ended, attributes without a namespace."""
    scene = Scene(peers=(PeerSection(name="old", uri="sip:192.0.2.80:5080", profile="kamailio"),))
    path = [("Path", "<sip:p.example.com;lr>"), ("Supported", "path")]
    scene.phone.register(A, headers=[("User-Agent", "Phone & Co"), *path])
    scene.net.run(0.1)
    body = scene.compositor.publishes[-1].body
    assert b'path="&lt;sip:p.example.com;lr&gt;" user_agent="Phone &amp; Co"' in body
    assert b"urn:reginfo" not in body
    scene.register(f"{A};expires=0")
    assert b'state="terminated" event="unregistered" expires="0"' in scene.compositor.publishes[-1].body


def test_a_default_peer_gets_the_extension_and_a_stranger_does_not() -> None:
    """SEC-7: path and user agent are for configured peers only."""
    for peers, told in (((PeerSection(name="east", uri="sip:192.0.2.80:5080"),), True), ((), False)):
        scene = Scene(peers=peers)
        scene.phone.register(A, headers=[("User-Agent", "Phone")])
        scene.net.run(0.1)
        assert (b"urn:reginfo:xml:ns:binding" in scene.compositor.publishes[-1].body) == told


def chain(**sections: Any) -> tuple[Network, House, House]:
    """Return a registrar that publishes to a compositor."""
    net = Network()
    registrar = net.serve(House(pua_reginfo=PuaReginfoSection(outbound_proxy="sip:127.0.0.2:5060"), **sections))
    compositor = net.serve(House(local=OTHER, compositor=CompositorSection(publishers=("127.0.0.1",))))
    return net, registrar, compositor


def test_from_phone_to_watcher_over_our_own_compositor() -> None:
    """REGISTER -> PUBLISH -> compositor -> NOTIFY."""
    net, _, compositor = chain()
    watcher = watch(net, compositor)
    phone = Phone()
    net.add(phone)
    for rows in ([A], [B], [f"{A};expires=0"], [f"{B};expires=0"]):
        phone.register(*rows)
        net.run(6)
    assert watcher.events()[1:] == [
        [(A, "registered")],
        [(B, "registered")],
        [(A, "unregistered")],
        [(B, "unregistered")],
    ]


@pytest.mark.parametrize("stays", [True, False])
def test_a_publish_whose_answer_was_lost_is_put_right_after_a_crash(stays: bool) -> None:
    """EPA-2: whether the compositor has taken it nobody knows any more."""
    net, registrar, compositor = chain()
    phone = Phone()
    net.add(phone)
    net.run(2)
    net.faults.append(lambda sender, receiver, _: 0 if (sender, receiver) == (OTHER, SERVER) else 1)
    phone.register(A)
    net.run(0.1)
    assert compositor.contacts() == [A]
    if not stays:
        phone.register(f"{A};expires=0")
    net.run(0.1)
    registrar.crash()
    net.faults.clear()
    net.run(5)
    assert compositor.contacts() == registrar.contacts()
    assert len(compositor.roles.compositor) == 1


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("crash", [True, False])
def test_what_has_ended_since_a_publish_whose_answer_was_lost_is_taken_back(known: bool, crash: bool) -> None:
    """EPA-2, ESC-4: neither silence nor 412 says that the compositor has nothing."""
    net, registrar, compositor = chain()
    phone = Phone()
    net.add(phone)
    if known:
        phone.register(B)
    net.run(2)
    net.faults.append(lambda sender, receiver, _: 0 if (sender, receiver) == (OTHER, SERVER) else 1)
    phone.register(A)
    net.run(0.1)
    assert A in compositor.contacts()
    if crash:
        compositor.crash()  # a repetition is a request like any other to it then
    phone.register(f"{A};expires=0")
    phone.register(f"{B};expires=0")
    net.run(0.1 if crash else 40)
    net.faults.clear()
    net.run(200)
    assert compositor.contacts() == registrar.contacts() == []


@pytest.mark.parametrize("fault", ["crash", "cut", "412"])
def test_after_any_outage_the_compositor_ends_with_the_true_state(fault: str) -> None:
    """EPA-2, ESC-4"""
    net, registrar, compositor = chain()
    phones = [Phone(local=("192.0.2.10", 6000 + n), aor=f"sip:u{n}@example.com") for n in range(50)]
    for phone in phones:
        net.add(phone)
        phone.register("sip:u@192.0.2.10;expires=3600")
    net.run(2)
    lost = cut(SERVER, OTHER)
    net.faults.append(lost)
    for number, phone in enumerate(phones):
        phone.register(f"sip:u@192.0.2.{11 + number % 2}" if number % 3 else "sip:u@192.0.2.10;expires=0")
        if number % 2:
            phone.register("sip:u@192.0.2.10;expires=0")
    net.run(60)
    if fault == "crash":
        compositor.crash()
    elif fault == "412":
        compositor = net.serve(House(local=OTHER, compositor=CompositorSection(publishers=("127.0.0.1",))))
    net.faults.remove(lost)
    net.run(130)
    for phone in phones:
        assert sorted(compositor.contacts(phone.aor)) == sorted(registrar.contacts(phone.aor))


@pytest.mark.parametrize("status", [500, 503])
def test_no_retry_after_is_longer_than_an_hour(scene: Scene, status: int) -> None:
    """TX-11: one answer with 2^32 - 1 seconds does not end publication for good"""
    scene.compositor.status, scene.compositor.headers = status, (("Retry-After", "4294967295"),)
    scene.phone.register(A, expires=36000)
    scene.net.run(1)
    scene.compositor.status, scene.compositor.headers = 200, ()
    scene.net.run(3620)
    assert len(scene.compositor.publishes) == 2


def test_a_publication_may_end_while_its_refresh_has_no_answer(scene: Scene) -> None:
    """ESC-4, EPA-2: granted for less than 64*T1, it has lapsed before the refresh is given up"""
    scene.compositor.expires = 10
    scene.register(A)
    scene.compositor.status = 0
    scene.net.run(40)
    assert [shape(one) for one in scene.compositor.publishes] == [INITIAL, REFRESH]
    scene.compositor.status, scene.compositor.expires = 200, None
    scene.net.run(31)
    assert [shape(one) for one in scene.compositor.publishes][2:] == [INITIAL]


def test_a_document_that_is_too_large_stops_its_own_publication_only(scene: Scene) -> None:
    """EPA-2, RFC 3261 21.4.11: a phone with long contacts does not silence those of everybody else"""
    answer = scene.compositor.answer

    def refuse_alice(request: SipMessage) -> bytes | None:
        return write_response(request, 413) if request.request_uri == ALICE else answer(request)

    scene.compositor.answer = refuse_alice
    scene.register(A)
    bob = Phone(local=("192.0.2.12", 5060), aor="sip:bob@example.com")
    scene.net.add(bob)
    bob.register("sip:bob@192.0.2.12;x=1")
    scene.net.run(100)
    assert [one.request_uri for one in scene.compositor.publishes] == [ALICE, "sip:bob@example.com"]


def test_an_entity_tag_that_is_no_text_counts_for_nothing(scene: Scene) -> None:
    """EPA-2: it is tried again after a back-off, like a success without one"""
    answer = scene.compositor.answer
    scene.compositor.answer = lambda request: (answer(request) or b"").replace(b"SIP-ETag: t", b"SIP-ETag: \xe9")
    scene.register(A)
    scene.net.run(31)
    assert [shape(one) for one in scene.compositor.publishes] == [INITIAL, INITIAL]
    assert scene.house.engine.statistics()["errors"]["malformed"] == 0


def test_patience_with_one_compositor_is_not_kept_for_another(scene: Scene) -> None:
    """EPA-2, OUT-9: a configuration that is read again names the one that has taken over"""
    scene.compositor.status = 0
    scene.register(A)
    scene.net.run(3600)
    other = Compositor()
    other.local = ("192.0.2.81", 5080)
    scene.net.add(other)
    proxy = PuaReginfoSection(outbound_proxy="sip:192.0.2.81:5080")
    scene.register(B)
    scene.house.engine.follow(structs.replace(scene.house.config, pua_reginfo=proxy), scene.house.now())
    scene.net.run(70)  # a probe may be on its way still
    assert other.told() == {B}  # A has expired


def test_what_is_published_no_longer_keeps_no_change_waiting(scene: Scene) -> None:
    """A journal is kept up to the first change somebody has to be told of, and nobody has."""
    scene.compositor.status = 0
    scene.register(A)
    scene.house.engine.follow(
        structs.replace(scene.house.config, pua_reginfo=PuaReginfoSection(publish_reginfo=False)), scene.house.now()
    )
    scene.register(B)
    last = scene.house.store.last_seq
    assert scene.house.roles.settled(last) == last


def test_a_publication_is_removed_when_the_server_leaves_for_good(scene: Scene) -> None:
    """RFC 3903 section 4.5: Expires 0 under the last entity-tag, without a body; whatever the answer, it is over."""
    scene.register(f"{A};expires=600")
    publisher = scene.house.roles.publisher
    publisher.remove(ALICE, scene.house.now())
    assert publisher.removing == 1
    scene.net.run(0.1)
    removal = scene.compositor.publishes[-1]
    assert (shape(removal), removal.sip_if_match, removal.expires) == (REFRESH, "t1", 0)
    assert (len(publisher), publisher.removing) == (0, 0)
    scene.net.run(700)
    assert len(scene.compositor.publishes) == 2


def test_a_removal_waits_for_the_publish_that_is_outstanding(scene: Scene) -> None:
    """EPA-1"""
    scene.compositor.status = 0
    scene.register(f"{A};expires=600")
    publisher = scene.house.roles.publisher
    publisher.remove(ALICE, scene.house.now())
    scene.register(f"{B};expires=600")
    assert (len(scene.compositor.publishes), publisher.removing) == (1, 1)
    scene.compositor.status = 200
    scene.net.run(1)
    assert [one.expires for one in scene.compositor.publishes] == [601, 0]
    assert (len(publisher), publisher.removing) == (0, 0)


def test_a_removal_that_is_refused_is_over_too(scene: Scene) -> None:
    scene.register(f"{A};expires=600")
    scene.compositor.status = 500
    scene.house.roles.publisher.remove(ALICE, scene.house.now())
    scene.net.run(0.1)
    assert (len(scene.house.roles.publisher), scene.house.roles.publisher.removing) == (0, 0)


def test_what_was_let_go_of_during_an_outage_is_not_published_after_it(scene: Scene) -> None:
    """EPA-1: somebody else may have begun the AoR's publication again by then."""
    bob = Phone(local=("192.0.2.10", 6001), aor="sip:bob@example.com")
    scene.net.add(bob)
    scene.compositor.status = 0
    scene.register(A)
    scene.net.run(33)
    bob.register(B)
    scene.net.run(0.1)
    scene.house.roles.publisher.remove(bob.aor, scene.house.now())
    assert [one.aor for one in scene.house.roles.publisher] == [ALICE]
    scene.compositor.status = 200
    scene.net.run(400)
    assert scene.compositor.told() == {A}
    assert {one.request_uri for one in scene.compositor.publishes} == {ALICE}
