"""What every answer keeps to, whatever the request: REG-3, REG-18, REG-19, UAS-3, UAS-5, URI-8, TX-7, SEC-6."""

import logging

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reginfo.config import Config, LimitsSection
from reginfo.fast import Flow, SipMessage
from tests.harness import LOCAL, PHONE, House, contact, request

REGISTRAR_STATUS = {200, 400, 403, 404, 413, 415, 416, 420, 423, 482, 500, 501, 503}
"What this registrar may answer a REGISTER with while it authenticates nobody (REG-19)."

A = "sip:alice@192.0.2.10:5060"
ROWS = (
    contact(A, 600),
    contact(A, 5),
    contact(A, 0),
    contact("sips:alice@192.0.2.10", 600),
    contact("tel:+15551234", 600),
    contact(A, 600, ";q=9"),
    "Contact: *",
    "Contact: <sip:",
    *(contact(f"sip:alice@198.51.100.{number}", 600) for number in range(4)),
    "Expires: 0",
    "Expires: never",
    "Require: path, outbound",
    "Proxy-Require: privacy",
    "Supported: path, gruu, outbound",
    "Path: <sip:edge.example.com;lr>",
    "Path: nonsense<",
    "Content-Type: application/sdp",
    "Content-Encoding: gzip",
    "Max-Forwards: 70",
    "User-Agent: \x7f",
)
URIS = ("sip:example.com", "sips:example.com", "sip:example.net", "tel:+1555", "sip:alice@example.com")


@given(
    rows=st.lists(st.sampled_from(ROWS), max_size=6),
    uri=st.sampled_from(URIS),
    user=st.sampled_from(["alice", "%00"]),
    cseq=st.integers(0, 3),
    body=st.sampled_from([b"", b"v=0\r\n"]),
)
@example(rows=[ROWS[0]] * 2, uri=URIS[0], user="alice", cseq=1, body=b"")
def test_a_registrar_answers_with_its_own_status_codes(
    rows: list[str], uri: str, user: str, cseq: int, body: bytes
) -> None:
    """REG-18: no redirect; REG-19; UAS-3: no 421; UAS-5: no 6xx."""
    house = House(max_contacts=2)
    for call_id in ("one", "two", "one"):
        answer = house.register(*rows, uri=uri, user=user, cseq=cseq, call_id=call_id, body=body)
        assert answer.status in REGISTRAR_STATUS


def test_no_extension_is_promised_that_is_not_there() -> None:
    """REG-18, UAS-2, UAS-3: whatever a phone could do."""
    answer = House().register(contact(A, 600), "Supported: path, gruu, outbound")
    assert answer.status == 200
    assert (answer.supported, answer.require) == (["path", "outbound"], [])


def test_anybody_may_register_for_anybody_while_nobody_is_authenticated() -> None:
    """REG-3: without a mechanism From is the identity, and third parties are refused nothing yet."""
    house = House()
    octets = request("REGISTER", contact(A, 600)).replace(b"From: <sip:alice@", b"From: <sip:secretary@")
    assert house.ask(octets).status == 200
    assert house.contacts("sip:alice@example.com") == [A]
    assert house.contacts("sip:secretary@example.com") == []


def test_header_parts_of_a_contact_are_kept_and_honoured_nowhere() -> None:
    """URI-8: neither in the answer to its REGISTER nor in a later listing."""
    house = House()
    forged = ["Call-ID=forged", "From=%3Csip:m%40x%3E", "Via=x", "Route=%3Csip:x%3E", "Record-Route=%3Csip:x%3E"]
    uri = f"{A}?{'&'.join(forged)}"
    house.register(contact(uri, 600))
    listing = house.register(cseq=2)
    assert [found.uri for found in listing.contacts] == [uri]
    assert (listing.call_id, listing.from_.uri, len(listing.vias)) == ("call-1", "sip:alice@example.com", 1)
    assert (listing.header("Route"), listing.header("Record-Route")) == (None, None)


def tag_and_status(answer: SipMessage) -> tuple[str | None, int]:
    return answer.to.tag, answer.status


@pytest.mark.parametrize("row", [contact(A, 600), contact(A, 5), "Require: foo"])
def test_what_was_decided_stays_decided_for_the_life_of_the_transaction(row: str) -> None:
    """TX-7: a registrar keeps state: the tag and the verdict of a request outlive what happened since."""
    house = House()
    octets = request("REGISTER", row, cseq=5)
    first = house.ask(octets)
    house.register("Contact: *", "Expires: 0", cseq=9)
    house.sleep(30)
    assert tag_and_status(house.ask(octets)) == tag_and_status(first)
    assert house.contacts() == []


@pytest.mark.parametrize("octets", [request("REGISTER", contact(A, 600)), request("OPTIONS"), request("FLY")])
def test_the_server_header_is_what_the_operator_says(octets: bytes) -> None:
    """SEC-6: nothing is told of the software unless it is configured."""
    house = House()
    assert house.ask(octets).header("Server") is None
    house.engine.follow(Config(server_header="gate 7"), house.now())
    assert house.ask(octets.replace(b"branch=", b"branch=z9hG4bKagain")).header("Server") == "gate 7"


@pytest.mark.parametrize("fault", ["", 'Contact: "open <sip:a@b>', "Expires: never", "CSeq: 1 OPTIONS"])
def test_no_secret_reaches_the_log(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """SEC-6: credentials are not logged, not even at debug and not even of a malformed request."""
    secret = "edb6bf8a7da0fa3ceba59f4ebd1c9f1e"
    row = f'Authorization: Digest username="alice",realm="example.com",nonce="n",uri="sip:x",response="{secret}"'
    with caplog.at_level(logging.DEBUG):
        House().send(request("REGISTER", contact(A, 600), row, *([fault] if fault else [])))
        House().send(request("REGISTER", row[:-1], contact(A, 600)))
    assert secret not in caplog.text


def filled(octets: int, *rows: str) -> bytes:
    """Return a REGISTER of exactly so many octets."""
    short = request("REGISTER", contact(A, 600), *rows, "X: ", branch="z9hG4bKfilled")
    return short.replace(b"X: ", b"X: " + b"x" * (octets - len(short)))


@pytest.mark.parametrize("rows", [(), ("Require: foo",)])
def test_a_datagram_at_its_limit_and_beyond(rows: tuple[str, ...]) -> None:
    """SEC-5, UAS order step 1: 513 beyond max_message, whatever else is wrong; streams have a limit of their own."""
    house = House(limits=LimitsSection(max_message=600))
    usual = 420 if rows else 200
    assert house.ask(filled(600, *rows)).status == usual
    answer = house.ask(filled(601, *rows))
    assert (answer.status, answer.call_id) == (513, "call-1")
    assert house.ask(filled(601, *rows), Flow("tcp", LOCAL, PHONE.remote, 1)).status == usual


@pytest.mark.parametrize(("limits", "status"), [({"max_body": 5}, 415), ({"max_body": 4}, 413), ({"max_uri": 64}, 414)])
def test_the_configured_limits_are_those_that_hold(limits: dict[str, int], status: int) -> None:
    """SEC-5: 413 and 414 by configuration."""
    house = House(limits=LimitsSection(**limits))
    uri = "sip:example.com" if "max_body" in limits else "sip:example.com;x=" + "y" * 64
    assert house.register(contact(A, 600), "Content-Type: a/b", uri=uri, body=b"hello").status == status
