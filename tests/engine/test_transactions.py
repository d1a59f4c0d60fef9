"""Requests, retransmissions and refusals through the engine: TX-*, UAS-*, TRN-*."""

import pytest

from reginfo.config import CompositorSection
from reginfo.fast import Flow, parse_message
from tests.harness import LOCAL, PHONE, House, contact, request

OTHER_PHONE = Flow("udp", LOCAL, ("192.0.2.99", 5060))
STREAM = Flow("tcp", LOCAL, ("192.0.2.10", 40000), 1)


@pytest.fixture
def house() -> House:
    return House()


def test_retransmission_gets_the_same_status_and_tag_and_changes_nothing(house: House) -> None:
    """TX-3: re-answered until J; the listing is as it stands now."""
    octets = request("REGISTER", contact(expires=600))
    first = house.ask(octets)
    before = house.bound().octets
    house.sleep(10)
    again = house.ask(octets)
    assert (again.status, again.to.tag) == (200, first.to.tag)
    assert again.contacts[0].expires == 590
    assert house.bound().octets == before


def test_retransmission_after_removal_does_not_register_again(house: House) -> None:
    """TX-3: the transaction is asked before the registrar."""
    octets = request("REGISTER", contact(expires=600))
    house.send(octets)
    house.register(contact(expires=0), cseq=2)
    assert house.ask(octets).contact_count == 0
    assert house.contacts() == []


def test_retransmission_of_a_refused_request_gets_the_same_octets(house: House) -> None:
    """TX-3."""
    octets = request("REGISTER", contact(expires=5))
    house.engine.receive([(octets, PHONE)], house.now())
    house.settle()
    first = house.engine.take_output()
    house.engine.receive([(octets, PHONE)], house.now())
    assert house.engine.take_output() == first


def test_same_octets_from_another_source_are_another_request(house: House) -> None:
    """TX-4: an answer is never repeated to who did not ask."""
    octets = request("REGISTER", contact(expires=600))
    tag = house.ask(octets).to.tag
    assert house.ask(octets, OTHER_PHONE).to.tag != tag


def test_retransmission_is_forgotten_after_timer_j(house: House) -> None:
    """TX-3: beyond 64*T1 the request is judged anew; equal to the state it is still a 200."""
    octets = request("REGISTER", contact(expires=600))
    house.send(octets)
    house.register(contact(expires=900), cseq=2)
    house.sleep(70)
    assert house.ask(octets).status == 500


def test_copies_in_one_batch_are_absorbed(house: House) -> None:
    """TX-3: while the first is in progress its copies are discarded."""
    octets = request("REGISTER", contact(expires=600))
    assert len(house.send_all([octets, octets, octets])) == 1


def test_merged_request_is_482(house: House) -> None:
    """TX-5: same From tag, Call-ID and CSeq on another branch while the first is ongoing."""
    answers = house.send_all([request("REGISTER", contact()), request("REGISTER", contact())])
    assert sorted(answer.status for answer in answers) == [200, 482]


def test_cancel_without_its_request_is_481(house: House) -> None:
    """TX-8."""
    assert house.ask(request("CANCEL")).status == 481


def test_cancel_of_a_request_in_flight_is_200_and_has_no_effect(house: House) -> None:
    """TX-8."""
    octets = request("REGISTER", contact(), branch="z9hG4bKsame")
    cancel = request("CANCEL", branch="z9hG4bKsame")
    answers = house.send_all([octets, cancel])
    assert [(answer.cseq_method, answer.status) for answer in answers] == [("CANCEL", 200), ("REGISTER", 200)]


def test_ack_and_stray_responses_get_nothing(house: House) -> None:
    """TX-8, TRN-6."""
    assert house.send(request("ACK")) is None
    answer = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
    answer += b"To: <sip:a@b>;tag=2\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    assert house.send(answer) is None


@pytest.mark.parametrize("noise", [b"\r\n\r\n", b"\r\n", b"\0", b"\0" * 5000, b" " * 1400, b"\x00\x01\x00\x00"])
def test_noise_gets_nothing(house: House, noise: bytes) -> None:
    """TRN-15."""
    assert house.send(noise) is None


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("INVITE", 405),
        ("MESSAGE", 405),
        ("BYE", 405),
        ("FLY", 501),
        ("register", 501),
    ],
)
def test_other_methods(house: House, method: str, status: int) -> None:
    """UAS order step 4, MSG-3: both with Allow."""
    answer = house.ask(request(method))
    assert answer.status == status
    assert "REGISTER" in answer.headers("Allow")


def test_options_tells_what_is_served(house: House) -> None:
    """UAS-4."""
    answer = house.ask(request("OPTIONS"))
    assert answer.status == 200
    assert answer.header("Allow") == "REGISTER, SUBSCRIBE, NOTIFY, PUBLISH, OPTIONS, CANCEL"
    assert answer.header("Allow-Events") == "reg"
    assert answer.header("Accept") == "application/reginfo+xml"


def test_without_a_compositor_publish_is_not_allowed() -> None:
    """UAS-4: each method as it is enabled."""
    house = House(compositor=CompositorSection(enabled=False))
    answer = house.ask(request("PUBLISH", "Event: reg"))
    assert answer.status == 405
    assert answer.header("Allow") == "REGISTER, SUBSCRIBE, NOTIFY, OPTIONS, CANCEL"


def test_notify_and_tagged_requests_without_a_dialog_are_481(house: House) -> None:
    """SUB-17, DLG-7."""
    assert house.ask(request("NOTIFY", "Event: reg", "Subscription-State: active")).status == 481
    tagged = request("OPTIONS").replace(b"To: <sip:alice@example.com>", b"To: <sip:alice@example.com>;tag=t")
    assert house.ask(tagged).status == 481


def test_unknown_extension_is_420_with_exactly_the_unknown_tags(house: House) -> None:
    """UAS-2: Proxy-Require is none of ours."""
    answer = house.register(contact(), "Require: foo, bar", "Proxy-Require: baz")
    assert answer.status == 420
    assert answer.header("Unsupported") == "foo, bar"
    assert house.contacts() == []


@pytest.mark.parametrize(("uri", "status"), [("tel:+1555", 416), ("urn:service:sos", 416), ("sip:elsewhere.net", 404)])
def test_request_uri_must_be_ours(house: House, uri: str, status: int) -> None:
    """UAS order step 5."""
    assert house.ask(request("OPTIONS", uri=uri)).status == status


def test_malformed_request_is_answered_with_what_can_be_copied(house: House) -> None:
    """UAS order step 1, MSG-19."""
    answer = house.ask(request("REGISTER", contact(), 'Contact: "open <sip:a@b>'))
    assert answer.status == 400
    assert answer.call_id == "call-1"
    assert answer.to.tag


@pytest.mark.parametrize(
    ("via", "source", "port"),
    [
        ("192.0.2.10:5060;rport", ("192.0.2.10", 41000), 41000),
        ("192.0.2.10:5062", ("192.0.2.10", 41000), 5062),
        ("192.0.2.10", ("192.0.2.10", 41000), 5060),
        ("phone.invalid:5070", ("192.0.2.10", 41000), 5070),
    ],
)
def test_response_goes_to_rport_or_the_via_port(house: House, via: str, source: tuple[str, int], port: int) -> None:
    """TRN-4: sent to the source address in every case."""
    octets = request("OPTIONS", via=via)
    house.engine.receive([(octets, Flow("udp", LOCAL, source))], house.now())
    [(_, flow)] = house.engine.take_output()
    assert (flow.host, flow.port) == ("192.0.2.10", port)


@pytest.mark.parametrize("maddr", ["[fe80::1%lo]", "fe80::1%lo", "[fe80::1%25lo]"])
@pytest.mark.parametrize("method", ["REGISTER", "OPTIONS", "FOO"])
def test_maddr_with_a_zone_does_not_cost_the_turn(house: House, method: str, maddr: str) -> None:
    """TRN-4: a zone is local to the sender and no part of an IPv6address; the answer goes to the source, and what
    came in the same batch and what follows for the AoR is answered too."""
    odd = request(method, via=f"192.0.2.10:5062;maddr={maddr}")
    also = request("REGISTER", contact(), cseq=2)
    assert [answer.cseq_method for answer in house.send_all([odd, also])] == [method, "REGISTER"]
    assert house.contacts() == ["sip:alice@192.0.2.10:5060"]
    assert house.register(cseq=3).status == 200
    assert house.engine.pending == 0


def test_maddr_takes_the_response(house: House) -> None:
    """TRN-4 (1)."""
    octets = request("OPTIONS", via="192.0.2.10:5062;maddr=192.0.2.20")
    house.engine.receive([(octets, PHONE)], house.now())
    [(_, flow)] = house.engine.take_output()
    assert flow.remote == ("192.0.2.20", 5062)


@pytest.mark.parametrize(
    ("via", "received", "rport"),
    [
        ("192.0.2.10:5060", None, None),
        ("192.0.2.10:5060;rport", "192.0.2.10", 5060),
        ("phone.example.net", "192.0.2.10", None),
        ("10.0.0.1;rport", "192.0.2.10", 5060),
    ],
)
def test_received_and_rport_are_set(house: House, via: str, received: str | None, rport: int | None) -> None:
    """TRN-3."""
    top = house.ask(request("OPTIONS", via=via)).top_via
    assert (top.received, top.rport) == (received, rport)


def test_stream_requests_are_answered_on_their_connection(house: House) -> None:
    """TRN-4: and never absorbed as datagrams are."""
    octets = request("REGISTER", contact(expires=600))
    for _ in range(2):
        house.engine.receive([(octets, STREAM)], house.now())
        house.settle()
        [(answer, flow)] = house.engine.take_output()
        assert flow is STREAM
        assert parse_message(answer).status == 200


def test_pending_works_at_the_limit_and_beyond(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-3: beyond the limit a REGISTER is 503 with Retry-After."""
    monkeypatch.setattr("reginfo.engine.engine.MAX_PENDING", 3)
    monkeypatch.setattr("reginfo.engine.methods.MAX_PENDING", 3)
    batch = [request("REGISTER", contact(), user=f"u{n}", call_id=f"c{n}") for n in range(4)]
    answers = house.send_all(batch)
    assert sorted(answer.status for answer in answers) == [200, 200, 200, 503]
    assert next(answer for answer in answers if answer.status == 503).retry_after is not None


def test_retransmissions_and_expiries_are_bounded_like_requests(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-3: while a commit hangs both come again and again; beyond the limit they are dropped, to come again."""
    octets = request("REGISTER", contact(expires=600))
    house.send(octets)
    monkeypatch.setattr("reginfo.engine.engine.MAX_PENDING", 3)
    monkeypatch.setattr("reginfo.engine.methods.MAX_PENDING", 3)
    house.engine.receive([(octets, PHONE)] * 2, house.now())
    assert house.engine.pending == 2
    house.engine.expire([f"sip:u{number}@example.com" for number in range(5)])
    assert house.engine.pending == 3
    house.engine.receive([(octets, PHONE)], house.now())
    assert house.engine.pending == 3
    house.settle()
    assert len(house.engine.take_output()) == 2
    assert house.ask(octets).status == 200


def test_draining_refuses_what_is_new(house: House) -> None:
    """Requests that arrive after drain() get 503 + Retry-After; their state is untouched."""
    house.engine.drain(10)
    assert house.register(contact()).status == 503
    assert house.contacts() == []
