"""Outbound in the registrar (RFC 5626 section 6): OUT-1 to OUT-5, OUT-7."""

from typing import Any

import pytest

from reginfo.fast import Flow, SipMessage
from tests.harness import LOCAL, House, contact, request

URN = "urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF"
PHONE = "sip:alice@192.0.2.10:5060"
SUPPORTED = "Supported: path, outbound"
TCP = Flow("tcp", LOCAL, ("192.0.2.10", 40000), 1)
PROXY = "Via: SIP/2.0/UDP 192.0.2.99;branch=z9hG4bKproxy"


def flow_contact(uri: str = PHONE, reg_id: int = 1, expires: int = 600, urn: str = URN) -> str:
    return contact(uri, expires, f';+sip.instance="<{urn}>";reg-id={reg_id}')


def behind_proxy(*headers: str, path: tuple[str, ...] = (), **parts: Any) -> bytes:
    """Write a REGISTER that a proxy has passed on."""
    octets = request("REGISTER", SUPPORTED, *headers, *(f"Path: {value}" for value in path), **parts)
    return octets.replace(b"\r\n", f"\r\n{PROXY}\r\n".encode(), 1)


def requires_outbound(answer: SipMessage) -> bool:
    return "outbound" in answer.require


@pytest.fixture
def house() -> House:
    return House()


def test_a_phone_without_a_proxy_registers_its_flow(house: House) -> None:
    """OUT-1, OUT-4: one Via is a direct flow; the answer says that outbound is used."""
    answer = house.register(flow_contact(), SUPPORTED)
    assert answer.status == 200
    assert answer.require == ["outbound"]
    [listed] = answer.contacts
    assert (listed.instance, listed.reg_id, listed.expires) == (URN, 1, 600)
    assert house.bound().bindings[0].reg_id == 1


def test_a_retransmission_is_told_the_same(house: House) -> None:
    """OUT-4, TX-3"""
    octets = request("REGISTER", flow_contact(), SUPPORTED, branch="z9hG4bKsame")
    first, second = house.ask(octets), house.ask(octets)
    assert requires_outbound(second)
    assert first.octets == second.octets


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ((), 439),
        (("<sip:edge.example.com;lr>",), 439),
        (("<sip:edge.example.com;lr;ob>",), 200),
        (("<sip:edge.example.com;lr;OB>",), 200),
        (("<sip:edge.example.com;lr>;ob",), 439),  # a parameter of the header, not of the URI
        (("<sip:inner.example.com;lr;ob>, <sip:edge.example.com;lr>",), 439),  # not the first hop's
        (("<sip:inner.example.com;lr>", "<sip:edge.example.com;lr;ob>"), 200),
    ],
)
def test_a_first_hop_has_to_know_outbound(house: House, path: tuple[str, ...], status: int) -> None:
    """OUT-1, OUT-2: the entry nearest the phone is the last one."""
    answer = house.ask(behind_proxy(flow_contact(), path=path))
    assert answer.status == status
    assert requires_outbound(answer) == (status == 200)
    if status == 439:
        assert answer.reason == "First Hop Lacks Outbound Support"
        assert house.registration() is None


@pytest.mark.parametrize("anywhere", [False, True])
def test_ob_on_any_path_may_do(anywhere: bool) -> None:
    """OUT-1: Kamailio looks at the topmost one."""
    house = House(ob_on_any_path=anywhere)
    path = ("<sip:inner.example.com;lr;ob>, <sip:edge.example.com;lr>",)
    assert house.ask(behind_proxy(flow_contact(), path=path)).status == (200 if anywhere else 439)


@pytest.mark.parametrize(
    "headers",
    [
        (flow_contact(),),
        (flow_contact(), "Supported: path"),
        (contact(PHONE, 600, ";reg-id=1"), SUPPORTED),
        (contact(PHONE, 600, f';+sip.instance="<{URN}>"'), SUPPORTED),
    ],
)
@pytest.mark.parametrize("proxied", [False, True])
def test_what_is_no_outbound_is_bound_by_its_uri(house: House, headers: tuple[str, ...], proxied: bool) -> None:
    """OUT-2, OUT-3, OUT-4: the reg-id is ignored, and nothing is required of anybody."""
    octets = request("REGISTER", *headers)
    answer = house.ask(octets.replace(b"\r\n", f"\r\n{PROXY}\r\n".encode(), 1) if proxied else octets)
    assert answer.status == 200
    assert not answer.require
    [listed] = answer.contacts
    assert listed.reg_id is None
    assert house.bound().bindings[0].flow == ""


def test_a_fetch_requires_nothing(house: House) -> None:
    """OUT-4: outbound has not been applied to anything."""
    house.register(flow_contact(), SUPPORTED)
    answer = house.register(SUPPORTED, cseq=2)
    assert (answer.contact_count, answer.require) == (1, [])


def test_outbound_may_be_required_of_a_registrar(house: House) -> None:
    """UAS-2, REG-18: it is among what is supported, and requiring it is no sign that the phone supports it."""
    answer = house.register(flow_contact(), SUPPORTED, "Require: outbound")
    assert requires_outbound(answer)
    assert "outbound" in answer.supported
    assert not requires_outbound(house.register(flow_contact(), "Require: outbound", cseq=2))


def test_option_tags_have_no_case(house: House) -> None:
    """OUT-2, MSG-3"""
    assert requires_outbound(house.register(flow_contact(), "Supported: Outbound"))


@pytest.mark.parametrize(
    ("contacts", "status"),
    [
        ((flow_contact(), contact("sip:alice@192.0.2.11")), 400),
        ((flow_contact(reg_id=1), flow_contact(reg_id=2)), 400),
        ((flow_contact(reg_id=1), flow_contact(reg_id=2, expires=0)), 200),
        ((flow_contact(expires=0), contact("sip:alice@192.0.2.11")), 200),
    ],
)
def test_one_flow_is_registered_at_a_time(house: House, contacts: tuple[str, ...], status: int) -> None:
    """OUT-3: others may be removed with it."""
    assert house.register(*contacts, SUPPORTED).status == status
    assert (house.registration() is None) == (status == 400)


def test_expires_of_the_header_counts_for_that_too(house: House) -> None:
    """OUT-3, REG-7"""
    flow, other = flow_contact().replace(";expires=600", ""), contact("sip:alice@192.0.2.11", None)
    assert house.register(flow, other, SUPPORTED, "Expires: 600").status == 400
    assert house.register(flow, other, SUPPORTED).status == 400
    assert house.register(flow, other, SUPPORTED, "Expires: 0").status == 200


def test_each_flow_of_an_instance_is_listed(house: House) -> None:
    """OUT-4, OUT-5: the URI is not compared, and the case of a UUID does not matter."""
    house.register(flow_contact(reg_id=1), SUPPORTED)
    answer = house.register(flow_contact(reg_id=2, urn=URN.lower()), SUPPORTED, cseq=2)
    assert [one.reg_id for one in answer.contacts] == [1, 2]
    moved = house.register(flow_contact("sip:alice@198.51.100.1", reg_id=1, urn=URN.upper()), SUPPORTED, cseq=3)
    assert [(one.uri, one.reg_id) for one in moved.contacts] == [(PHONE, 2), ("sip:alice@198.51.100.1", 1)]
    gone = house.register(flow_contact("sip:alice@203.0.113.1", reg_id=2, expires=0), SUPPORTED, cseq=4)
    assert [one.reg_id for one in gone.contacts] == [1]


def test_a_limit_of_contacts_counts_flows() -> None:
    """OUT-4, REG-16: one that moves to another URI is none more."""
    house = House(max_contacts=2)
    for cseq, reg_id in enumerate((1, 2), 1):
        house.register(flow_contact(reg_id=reg_id), SUPPORTED, cseq=cseq)
    assert house.register(flow_contact("sip:alice@198.51.100.1", reg_id=2), SUPPORTED, cseq=3).status == 200
    assert house.register(flow_contact(reg_id=3), SUPPORTED, cseq=4).status == 403


@pytest.mark.parametrize(
    ("flow", "local"),
    [
        (Flow("udp", LOCAL, ("192.0.2.10", 5060)), "udp:192.0.2.10:5060/127.0.0.1:5060"),
        (TCP, "tcp:192.0.2.10:40000#1"),
        (Flow("tls", LOCAL, ("2001:db8::1", 40000), 9), "tls:[2001:db8::1]:40000#9"),
    ],
)
def test_the_identity_of_a_direct_flow_is_kept(house: House, flow: Flow, local: str) -> None:
    """OUT-6"""
    house.register(flow_contact(), SUPPORTED, flow=flow)
    assert house.bound().bindings[0].flow == local


def test_a_flow_behind_a_proxy_is_the_proxys(house: House) -> None:
    """OUT-6: it is not stored, and its end would say nothing about the phone."""
    house.ask(behind_proxy(flow_contact(), path=("<sip:edge.example.com;lr;ob>",)), TCP)
    assert house.bound().bindings[0].flow == ""


@pytest.mark.parametrize(
    ("transport", "kept"), [("udp", False), ("tcp", False), ("tls", False), ("ws", True), ("wss", True)]
)
def test_a_websocket_is_the_only_way_to_its_phone(house: House, transport: str, kept: bool) -> None:
    """OUT-6, TRN-14: flow-bound without outbound."""
    house.register(contact(), flow=Flow(transport, LOCAL, ("192.0.2.10", 40000), 3 if transport != "udp" else 0))
    assert bool(house.bound().bindings[0].flow) == kept


@pytest.mark.parametrize(
    ("policy", "uri", "flow", "kept"),
    [
        (True, "sip:alice@10.0.0.1", TCP, True),
        (True, "sip:alice@host.example.com;transport=tcp", TCP, True),
        (True, "sip:alice@192.0.2.10;transport=tcp", TCP, False),
        (True, "sip:alice@[2001:DB8::1]", Flow("tcp", LOCAL, ("2001:db8::1", 1), 4), False),
        (True, "sip:alice@10.0.0.1", Flow("udp", LOCAL, ("192.0.2.10", 40000)), False),
        (False, "sip:alice@10.0.0.1", TCP, False),
    ],
)
def test_a_contact_behind_a_nat_may_end_with_its_connection(policy: bool, uri: str, flow: Flow, kept: bool) -> None:
    """OUT-6: by policy only, and never over UDP."""
    house = House(end_with_connection_behind_nat=policy)
    house.register(contact(uri), flow=flow)
    assert bool(house.bound().bindings[0].flow) == kept


@pytest.mark.parametrize("timer", [0, 120])
def test_flow_timer_is_told_of_a_direct_flow(timer: int) -> None:
    """OUT-7: with Require: outbound only."""
    house = House(flow_timer=timer)
    wanted = str(timer) if timer else None
    assert house.register(flow_contact(), SUPPORTED).header("Flow-Timer") == wanted
    assert house.register(flow_contact(), cseq=2, call_id="2").header("Flow-Timer") is None
    proxied = house.ask(behind_proxy(flow_contact(), path=("<sip:edge.example.com;lr;ob>",), cseq=3))
    assert requires_outbound(proxied)
    assert proxied.header("Flow-Timer") is None


def test_a_granted_connection_may_be_silent_for_the_timer_and_a_grace() -> None:
    """OUT-7: a connection that nothing was said about keeps the bound of its listener."""
    house = House(flow_timer=120)
    house.register(flow_contact(), SUPPORTED)
    house.register(contact(), flow=TCP, cseq=2)
    assert house.engine.flows.take_granted() == []
    house.register(flow_contact(), SUPPORTED, flow=TCP, cseq=3)
    assert house.engine.flows.take_granted() == [(TCP, 150, True)]
    assert house.engine.flows.take_granted() == []


def test_a_connection_that_was_told_no_timer_may_wait_for_the_phones_own(house: House) -> None:
    """OUT-7: 95 to 120 s, and a grace."""
    house.register(flow_contact(), SUPPORTED, flow=TCP)
    assert house.engine.flows.take_granted() == [(TCP, 150, False)]


def test_a_refused_request_grants_nothing() -> None:
    """OUT-4, REG-11"""
    house = House(flow_timer=120)
    house.register(flow_contact(), SUPPORTED, flow=TCP, cseq=2)
    house.engine.flows.take_granted()
    answer = house.register(flow_contact(), SUPPORTED, flow=TCP, cseq=1)
    assert (answer.status, answer.require, house.engine.flows.take_granted()) == (500, [], [])
