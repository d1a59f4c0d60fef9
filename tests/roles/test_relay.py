"""Relay mode: RFC 3261 section 16 for REGISTER, Path (PTH-1), and following what was registered (KAM)."""

from typing import Any

import pytest

from reginfo.config import PeerSection, PuaReginfoSection
from reginfo.fast import Flow, SipMessage, write_response
from reginfo.model import Outcome
from reginfo.sip.outbound import judge
from tests.harness import House, request
from tests.network import Network, Peer
from tests.scenes import ALICE, OTHER, SERVER, A, B, Phone

UPSTREAM = ("192.0.2.90", 5060)


class Upstream(Peer):
    """A registrar by hand."""

    def __init__(self) -> None:
        super().__init__(UPSTREAM)
        self.status = 200
        self.headers: tuple[tuple[str, str], ...] = (("Contact", f"<{A}>;expires=600"), ("X-Note", "kept"))
        self.answer = lambda request: (
            write_response(request, self.status, "Its own words", to_tag="up", headers=self.headers, body=b"note")
            if self.status
            else None
        )


class Scene:
    def __init__(self, **section: Any) -> None:
        self.net = Network()
        self.house = self.net.serve(
            House(mode="relay", upstream="sip:192.0.2.90", pua_reginfo=PuaReginfoSection(**section))
        )
        self.upstream = Upstream()
        self.net.add(self.upstream)
        self.phone = Phone()
        self.net.add(self.phone)

    def register(self, *rows: str, headers: Any = ()) -> SipMessage | None:
        self.phone.received.clear()
        self.phone.register(*rows, headers=headers)
        self.net.run(0.2)
        return self.phone.received[-1] if self.phone.received else None


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_register_goes_on_with_path_and_comes_back_as_it_is(scene: Scene) -> None:
    """PTH-1, RFC 3261 16.6, 16.7"""
    answer = scene.register(
        A,
        headers=[
            ("Path", "<sip:edge.example.com;lr>"),
            ("Supported", "path, gruu"),
            ("Require", "gruu"),
            ("X-Own", "1"),
        ],
    )
    [request] = scene.upstream.requests("REGISTER")
    assert request.request_uri == "sip:example.com"
    assert [via.host for via in request.vias] == ["127.0.0.1", "192.0.2.10"]
    assert [hop.uri for hop in request.path] == ["sip:127.0.0.1:5060;lr", "sip:edge.example.com;lr"]
    assert request.max_forwards == 69
    assert (request.call_id, request.cseq, request.from_.tag) == (scene.phone.call_id, 1, "p")
    assert request.contacts[0].uri == A
    assert (request.header("X-Own"), request.require) == ("1", ["gruu"])
    assert answer is not None
    assert (answer.status, answer.reason, answer.to.tag) == (200, "Its own words", "up")
    assert [via.host for via in answer.vias] == ["192.0.2.10"]
    assert [one.uri for one in answer.contacts] == [A]
    assert (answer.header("X-Note"), answer.body) == ("kept", b"note")
    assert scene.house.registration() is None


def test_no_outbound_is_claimed_for_a_phone(scene: Scene) -> None:
    """OUT-8: nothing is routed by our Path, so it holds neither `ob` nor a token; a registrar then answers 439."""
    flow = f'{A};+sip.instance="<urn:uuid:00000000-0000-1000-8000-aabbccddeeff>";reg-id=1'
    scene.upstream.status = 439
    answer = scene.register(flow, headers=[("Supported", "path, outbound")])
    [request] = scene.upstream.requests("REGISTER")
    assert [hop.uri for hop in request.path] == ["sip:127.0.0.1:5060;lr"]
    verdict = judge(request)
    assert isinstance(verdict, Outcome)
    assert verdict.status == 439
    assert answer is not None
    assert answer.status == 439


def test_a_flow_timer_of_the_registrar_is_passed_on_and_means_nothing_here(scene: Scene) -> None:
    """OUT-7: what it says is for the phone, whatever it is; our connections are not granted anything by it."""
    scene.upstream.headers += (("Flow-Timer", "soon"),)
    octets = request("REGISTER", f"Contact: <{A}>;expires=600")
    scene.phone.outbox.append((octets, Flow("tcp", scene.phone.local, SERVER)))
    scene.net.run(0.2)
    assert (scene.phone.last.status, scene.phone.last.header("Flow-Timer")) == (200, "soon")
    assert scene.house.engine.flows.take_granted() == []
    assert scene.house.engine.statistics()["errors"]["internal"] == 0


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (301, (("Contact", "<sip:other.example.com>"),)),
        (302, (("Contact", "<sip:other.example.com>"),)),
        (401, (("WWW-Authenticate", 'Digest realm="x",nonce="y"'),)),
        (407, (("Proxy-Authenticate", 'Digest realm="x",nonce="y"'),)),
        (403, ()),
        (404, ()),
        (423, (("Min-Expires", "3600"),)),
        (500, ()),
        (503, (("Retry-After", "60"),)),
        (600, ()),
    ],
)
def test_other_answers_pass(scene: Scene, status: int, headers: tuple[tuple[str, str], ...]) -> None:
    """RFC 3261 16.7"""
    scene.upstream.status, scene.upstream.headers = status, headers
    answer = scene.register(A)
    assert answer is not None
    assert answer.status == status
    for name, value in headers:
        assert answer.header(name) == value


def test_nothing_waits_for_a_registrar_that_asked_for_a_pause(scene: Scene) -> None:
    """TX-11: everybody hears at once for how long."""
    scene.upstream.status, scene.upstream.headers = 503, (("Retry-After", "60"),)
    scene.register(A)
    scene.upstream.status, scene.upstream.headers = 200, (("Contact", f"<{A}>;expires=600"),)
    scene.net.run(20)
    answer = scene.register(A)
    assert answer is not None
    assert answer.status == 503
    assert 38 <= (answer.retry_after or 0) <= 40
    assert len(scene.upstream.requests("REGISTER")) == 1
    scene.net.run(41)
    answer = scene.register(A)
    assert answer is not None
    assert answer.status == 200


def test_503_without_retry_after_is_not_our_own(scene: Scene) -> None:
    """RFC 3261 16.7 step 6: we are not unavailable."""
    scene.upstream.status, scene.upstream.headers = 503, ()
    answer = scene.register(A)
    assert answer is not None
    assert answer.status == 500


def test_a_provisional_answer_is_each_hops_own(scene: Scene) -> None:
    """TX-6: no 1xx but 100, and that only after 3.5 s."""
    scene.upstream.status = 100
    scene.upstream.headers = ()
    assert scene.register(A) is None
    scene.net.run(3)
    assert scene.phone.received == []
    scene.net.run(0.5)
    assert [one.status for one in scene.phone.received] == [100]


def test_a_timeout_is_answered_with_silence(scene: Scene) -> None:
    """TX-6: no 408, and nothing after the client has given up."""
    scene.upstream.status = 0
    scene.register(A)
    scene.net.run(40)
    assert [one.status for one in scene.phone.received] == [100]
    assert scene.house.engine.pending == 0


def test_a_registrar_that_cannot_be_reached(scene: Scene) -> None:
    """TRN-10: as 503."""
    scene.upstream.status = 0
    scene.register(A)
    scene.house.engine.lost(Flow("udp", SERVER, UPSTREAM), scene.house.now())
    scene.net.run(0.2)
    assert scene.phone.last.status == 503
    assert scene.phone.last.retry_after == 30


def test_late_repeated_and_forked_answers_do_no_harm(scene: Scene) -> None:
    """TX-1, TX-2: the first final answer counts."""
    scene.upstream.status = 0
    scene.register(A)
    [request] = scene.upstream.requests("REGISTER")
    flow = Flow("udp", UPSTREAM, SERVER)
    for status, tag in ((403, "a"), (200, "b"), (403, "a"), (100, "c"), (200, "d")):
        scene.net.send(UPSTREAM, [(write_response(request, status, to_tag=tag), flow)])
    scene.net.run(5)
    assert [(one.status, one.to.tag) for one in scene.phone.received] == [(403, "a")]


def test_a_retransmission_is_not_relayed_again(scene: Scene) -> None:
    """TX-3"""
    scene.phone.register(A)
    [(octets, flow)] = scene.phone.take([], 0)
    for _ in range(3):
        scene.net.send(scene.phone.local, [(octets, flow)])
        scene.net.run(1)
    assert len(scene.upstream.requests("REGISTER")) == 1
    assert len({one.octets for one in scene.phone.received}) == 1
    assert len(scene.phone.received) == 3


@pytest.mark.parametrize(
    ("row", "status"), [(("Proxy-Require", "foo"), 420), (("Max-Forwards", "0"), 483), (("Max-Forwards", "1"), 200)]
)
def test_what_a_proxy_refuses(scene: Scene, row: tuple[str, str], status: int) -> None:
    """RFC 3261 16.3"""
    scene.phone.register(A)
    [(octets, flow)] = scene.phone.take([], 0)
    rows = octets.replace(b"Max-Forwards: 70\r\n", f"{row[0]}: {row[1]}\r\n".encode())
    scene.net.send(scene.phone.local, [(rows, flow)])
    scene.net.run(0.2)
    assert scene.phone.last.status == status


def test_a_route_to_us_is_taken_off(scene: Scene) -> None:
    """RFC 3261 16.4"""
    scene.register(A, headers=[("Route", "<sip:127.0.0.1:5060;lr>, <sip:next.example.com;lr>")])
    [request] = scene.upstream.requests("REGISTER")
    assert [route.uri for route in request.routes] == ["sip:next.example.com;lr"]


# ---- following


def test_a_200_starts_a_subscription_upstream(scene: Scene) -> None:
    scene = Scene(subscribe_on_register=True)
    scene.register(A)
    [subscribe] = scene.upstream.requests("SUBSCRIBE")
    assert subscribe.request_uri == ALICE
    assert subscribe.expires == 3600
    scene.register(A)
    assert len({one.top_via.branch for one in scene.upstream.requests("SUBSCRIBE")}) == 1


@pytest.mark.parametrize(("status", "headers"), [(401, ()), (200, ())])
def test_nothing_else_does(status: int, headers: tuple[tuple[str, str], ...]) -> None:
    """Not a refusal, and not a 200 that leaves no contact."""
    scene = Scene(subscribe_on_register=True)
    scene.upstream.status, scene.upstream.headers = status, headers
    scene.register(A)
    assert scene.upstream.requests("SUBSCRIBE") == []


def test_in_front_of_our_own_registrar_the_location_service_follows() -> None:
    """REGISTER through the relay, NOTIFY from the registrar; a subscription nobody needs ends by itself."""
    net = Network()
    net.serve(House(local=OTHER, path_mode="lazy", peers=(PeerSection(name="edge", uri="sip:127.0.0.1:5060"),)))
    relay = net.serve(
        House(
            mode="relay",
            upstream="sip:127.0.0.2:5060",
            pua_reginfo=PuaReginfoSection(subscribe_on_register=True),
            peers=(PeerSection(name="core", uri="sip:127.0.0.2:5060"),),
        )
    )
    phone = Phone()
    net.add(phone)
    phone.register(f"{A};expires=600")
    net.run(1)
    assert relay.contacts() == [A]
    [row] = relay.bound().bindings
    assert row.origin == "peer:core"
    assert row.path == "<sip:127.0.0.1:5060;lr>"
    phone.register(f"{B};expires=600")
    net.run(6)
    assert set(relay.contacts()) == {A, B}
    phone.register("*", expires=0)
    net.run(6)
    assert relay.contacts() == []
    net.run(3700)
    assert len(relay.roles.subscriber) == 0


def latin(octets: bytes) -> bytes:
    return octets.replace(b"X-Own: 1", b"X-Own: \xe9")


def test_a_register_that_is_no_text_is_refused(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """RFC 3261 25.1: 400 at once; a 503 would have the phone come back, and the log a traceback for each time"""
    scene.phone.register(A, headers=[("X-Own", "1")])
    [(octets, flow)] = scene.phone.outbox
    scene.phone.outbox = [(latin(octets), flow)]
    scene.net.run(0.2)
    assert scene.phone.last.status == 400
    assert scene.upstream.received == []
    assert not [record for record in caplog.records if record.exc_info]


def test_an_answer_that_is_no_text_is_a_bad_gateway(scene: Scene) -> None:
    """RFC 3261 21.5.3: the phone would wait for 32 seconds, and its retransmissions with it"""
    scene.upstream.headers = (("X-Own", "1"),)
    answer = scene.upstream.answer
    scene.upstream.answer = lambda request: latin(answer(request) or b"")
    found = scene.register(A)
    assert found is not None
    assert found.status == 502
