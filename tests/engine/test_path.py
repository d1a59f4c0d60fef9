"""Path and Service-Route: PTH-1 to PTH-3, SVR-1, REG-18, UAS-2 (RFC 3327 section 5, RFC 3608)."""

import pytest

from reginfo.config import RegistrarSection
from reginfo.fast import Binding, SipMessage
from reginfo.sip.routing import target_of
from tests.harness import House, contact, request

PHONE = "sip:desk@192.0.2.10:5060"
OTHER = "sip:cell@192.0.2.11:5060"
EDGE = "<sip:edge.example.net;lr>"
INNER = "<sip:token;x=1@inner.example.com;transport=tcp;lr;ob>"
KNOWS = "Supported: path"


@pytest.fixture
def house() -> House:
    return House()


def path_of(answer: SipMessage) -> list[str]:
    return [value for name, value in answer.rows() if name == "Path"]


def test_path_is_kept_with_each_contact_and_repeated_as_it_came(house: House) -> None:
    """PTH-1: that of this request, in its order, whatever the other contacts have."""
    answer = house.register(contact(PHONE), KNOWS, f"Path: {INNER}", f"Path: {EDGE}", call_id="a")
    assert (answer.status, path_of(answer)) == (200, [INNER, EDGE])
    answer = house.register(contact(OTHER), KNOWS, f"Path: {EDGE}", call_id="b")
    assert path_of(answer) == [EDGE]
    assert [binding.path for binding in house.bound().bindings] == [f"{INNER}, {EDGE}", EDGE]


def test_a_refresh_by_another_way_replaces_the_path(house: House) -> None:
    """PTH-1: also the way without any proxy."""
    house.register(contact(PHONE), KNOWS, f"Path: {INNER}, {EDGE}")
    house.register(contact(PHONE), cseq=2)
    [binding] = house.bound().bindings
    assert binding.path == ""


@pytest.mark.parametrize("rows", [(), ("Contact: *", "Expires: 0"), (contact(PHONE, 0),)])
def test_path_of_a_request_that_binds_nothing_is_repeated(house: House, rows: tuple[str, ...]) -> None:
    """PTH-1: RFC 3327 section 5.3 asks it of every 200."""
    house.register(contact(PHONE))
    answer = house.register(*rows, KNOWS, f"Path: {EDGE}", cseq=2)
    assert (answer.status, path_of(answer)) == (200, [EDGE])


def test_a_retransmission_gets_the_same_path(house: House) -> None:
    """PTH-1, TX-3."""
    octets = request("REGISTER", contact(PHONE), KNOWS, f"Path: {EDGE}")
    assert house.ask(octets).octets == house.ask(octets).octets


@pytest.mark.parametrize(
    "path",
    [
        "<sip:edge.example.net>",
        f"{EDGE}, <sip:edge.example.net;lrx>",
        "<sip:lr@edge.example.net>",
        "<tel:+1;lr>",
        "<sip:edge.example.net>;lr",
        "nonsense<",
        f"{EDGE} {EDGE}",
    ],
)
def test_a_path_without_lr_is_400(house: House, path: str) -> None:
    """PTH-1: and so is what is no list of addresses; nothing changes."""
    assert house.register(contact(PHONE), KNOWS, f"Path: {path}").status == 400
    assert house.contacts() == []


@pytest.mark.parametrize("parameter", ["lr", "LR", "lr=on", "transport=tcp;lr", "lr;ob"])
def test_lr_however_it_is_written(house: House, parameter: str) -> None:
    """PTH-1."""
    assert house.register(contact(PHONE), KNOWS, f"Path: <sip:edge.example.net;{parameter}>").status == 200


@pytest.mark.parametrize("rows", [(), ("Supported: gruu, pathology",)])
def test_path_for_a_phone_that_does_not_know_it_is_420(house: House, rows: tuple[str, ...]) -> None:
    """PTH-2, REG-19."""
    answer = house.register(contact(PHONE), *rows, f"Path: {EDGE}")
    assert (answer.status, answer.headers("Unsupported")) == (420, ["path"])
    assert house.contacts() == []


@pytest.mark.parametrize("row", ["Supported: gruu, PATH", "k: path", "Supported: ,path,"])
def test_supported_however_it_is_written(house: House, row: str) -> None:
    """PTH-2, MSG-5, MSG-6."""
    assert house.register(contact(PHONE), row, f"Path: {EDGE}").status == 200


def test_lenient_policy_takes_a_path_from_every_phone() -> None:
    """PTH-2: path_mode."""
    answer = House(path_mode="lazy").register(contact(PHONE), f"Path: {EDGE}")
    assert (answer.status, path_of(answer)) == (200, [EDGE])
    assert RegistrarSection().path_mode == "strict"


def test_path_may_be_required(house: House) -> None:
    """UAS-2, REG-18: what is required and known passes, what is not is named alone."""
    assert house.register(contact(PHONE), "Require: path", KNOWS).supported == ["path", "outbound"]
    answer = house.register(contact(PHONE), "Require: path, gin, gruu", cseq=2)
    assert (answer.status, answer.headers("Unsupported")) == (420, ["gin", "gruu"])
    options = house.ask(request("OPTIONS", "Require: path"))
    assert (options.status, options.supported) == (200, ["path", "outbound"])


# -- what leads to a contact


def binding(path: str = "", uri: str = PHONE) -> Binding:
    return Binding(uri=uri, expires_at=1, path=path, received="sip:198.51.100.7:1024", flow="udp:a:b", q=0.5)


def test_a_request_to_a_contact_goes_by_its_path() -> None:
    """PTH-3: top first, the Request-URI is the Contact."""
    target = target_of(binding(f'{INNER}, "A, B" <sip:q.example.com;lr>;x=1,{EDGE}'))
    assert target.uri == PHONE
    assert target.routes == (INNER, '"A, B" <sip:q.example.com;lr>;x=1', EDGE)
    assert (target.received, target.flow, target.q) == ("sip:198.51.100.7:1024", "udp:a:b", 0.5)
    assert target_of(binding()).routes == ()


def test_routes_of_a_dialog_lead_to_a_gruu_instead_of_the_path() -> None:
    """PTH-3, GRU-6: RFC 5627 section 6.1."""
    assert target_of(binding(EDGE), routed=True).routes == ()


def test_what_a_request_uri_has_not_is_left_behind() -> None:
    """PTH-3, URI-8."""
    assert (
        target_of(binding(uri="sip:desk@192.0.2.10;method=INVITE;ob?Route=%3Csip:x%3E")).uri == "sip:desk@192.0.2.10;ob"
    )


# -- Service-Route


def test_service_route_is_told_in_every_granted_register() -> None:
    """SVR-1: in the order of travel, one per AoR, also to a fetch."""
    routes = ("sip:p2.example.com;lr", "sip:home.example.com;transport=tcp;lr")
    house = House(service_route=routes)
    for answer in (house.register(contact(PHONE)), house.register(cseq=2), house.register(contact(PHONE, 0), cseq=3)):
        assert [hop.uri for hop in answer.service_route] == list(routes)
    assert house.register(contact(PHONE, 5), cseq=4).service_route == []
    assert House().register(contact(PHONE)).service_route == []
