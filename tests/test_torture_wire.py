"""Every row of RFC 4475 and RFC 5118 against the running server, over UDP and TCP, with the answer it is owed.

Each row is a message of our own; the originals of the RFCs run too where they are at hand.  An OPTIONS after the
message shows that nothing more than the owed answer came, and that the server goes on.
"""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.reference import sip_parser as reference
from tests.server_fixture import RunningServer, TcpPeer, UdpPeer, answer, probe, running_server, status_of, via_port
from tests.torture import ROWS, Row, rfc4475
from tests.torture.row import Stream

pytestmark = pytest.mark.network

OWN_DOMAINS = (
    "atlanta.example",
    "biloxi.example",
    "[2001:db8:5::10]",
    "[2001:db8:5::10:5082]",
    "[2001:db8:5::203.0.113.9]",
)
ORIGINAL_DOMAINS = (
    "example.com",
    "example.net",
    "example.org",
    "example.edu",
    "company.com",
    "chair-dnrc.example.com",
    "registrar.example.com",
    "host.example.net",
    "[2001:db8::10]",
    "[2001:db8::10:5070]",
    "[2001:db8::192.0.2.1]",
)
ORIGINAL_CONTACTS = {
    "escnull": ("<sip:%00@host5.example.com>", "<sip:%00%00@host5.example.com>"),
    "dblreq": ("<sip:j.user@host.example.com>",),
    "cparam01": ("<sip:+19725552222@gw1.example.net>;unknownparam",),
    "cparam02": ("<sip:+19725552222@gw1.example.net;unknownparam>",),
    "regescrt": ("<sip:user@example.com?Route=%3Csip:sip.example.com%3E>",),
    **dict.fromkeys(("ipv6-good", "port-ambiguous", "port-unambiguous"), ('"Caller" <sip:caller@[2001:db8::1]>',)),
}
ORIGINAL_UNSUPPORTED = {"bext01": ("nothingSupportsThis", "nothingSupportsThisEither")}
METHODS = {"OPTIONS", "REGISTER"}
"What Allow has to name at least (UAS-4)."


def options(folder: Path) -> str:
    """Return the configuration: state in memory, an impatient stream."""
    return f'[store]\nurl = "memory:"\n[admin]\nsocket = "{folder}/c"\n[limits]\nstream_message_timeout = 1.0\n'


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningServer, None, None]:
    """A server for the hosts of our own messages."""
    folder = tmp_path_factory.mktemp("own")
    with running_server(folder, OWN_DOMAINS, options(folder)) as server:
        yield server


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, corpora: Path) -> Generator[RunningServer, None, None]:
    """A server for the hosts of the originals."""
    folder = tmp_path_factory.mktemp("published")
    with running_server(folder, ORIGINAL_DOMAINS, options(folder)) as server:
        yield server


def original(row: Row, corpora: Path, *, stream: bool = False) -> Row:
    """Return the row with the RFC's own message."""
    folder = "rfc4475" if row in rfc4475.ROWS else "rfc5118"
    octets = (corpora / folder / f"{row.name}.dat").read_bytes()
    waits = row.stream
    if stream and row.name == "baddn":
        # The archive's message has no empty line at its end.
        waits = Stream.WAITS
    if stream and waits is Stream.OPEN:
        # Some transcriptions carry more than they say; a stream would take the rest for another message.
        octets = b"".join(reference.frame(octets)[0])
    return Row(
        row.name,
        row.oddity,
        octets,
        row.status,
        waits,
        () if waits is Stream.WAITS else row.answers,
        ORIGINAL_CONTACTS.get(row.name, ()),
        ORIGINAL_UNSUPPORTED.get(row.name, ()),
    )


def check(row: Row, response: reference.Message) -> None:
    """Check what any answer has to carry (MSG-19, TRN-3, MSG-12), and what this row's has to."""
    values = {name: response.values(name) for name in (b"contact", b"allow", b"unsupported", b"content-length")}
    assert values[b"content-length"] == [b"0"]
    assert response.to is not None
    assert response.to.tag
    received = response.vias[0].received
    assert received is None or "[" not in received
    assert response.call_id.encode() in row.octets
    assert str(response.cseq).encode() in row.octets
    if response.status in (405, 501):
        assert {value.decode() for value in values[b"allow"]} >= METHODS
    if response.status == 420:
        assert tuple(value.decode() for value in values[b"unsupported"]) == row.unsupported
    if response.status == 200 and row.contacts:
        assert sorted(map(listed, response.contacts)) == sorted(
            listed(reference.contact(value.encode())) for value in row.contacts
        )
        assert all(contact.expires for contact in response.contacts)


def listed(contact: reference.Contact) -> str:
    """Return a contact without its expiry, comparable."""
    return repr((contact.display_name, contact.uri, contact.q, contact.parameters))


def exchange(peer: UdpPeer | TcpPeer, row: Row, owed: tuple[int, ...]) -> None:
    """Send the row and check each answer it is owed."""
    peer.send(row.octets)
    # Answers to different transactions may overtake each other.
    received = sorted([peer.receive() for _ in owed], key=status_of)
    assert tuple(map(status_of, received)) == owed
    for octets in received:
        # A 400 repeats what was malformed.
        if status_of(octets) not in (400, 505):
            check(row, answer(octets))


def forget(server: RunningServer, row: Row) -> None:
    """Unregister all contacts of the AoR whose bindings the row's answer lists: rows share AoRs."""
    if not row.contacts:
        return
    to = reference.parse_message(row.octets).to
    assert to is not None
    domain = to.uri.rpartition("@")[2]
    with UdpPeer(server) as peer:
        port = peer.socket.getsockname()[1]
        peer.send(
            (
                f"REGISTER sip:{domain} SIP/2.0\r\nVia: {peer.via};branch=z9hG4bK-forget\r\nFrom: <{to.uri}>;tag=f\r\n"
                f"To: <{to.uri}>\r\nCall-ID: forget-{port}\r\nCSeq: 1 REGISTER\r\nContact: *\r\nExpires: 0\r\n"
                "Content-Length: 0\r\n\r\n"
            ).encode()
        )
        assert status_of(peer.receive()) == 200


def over_udp(server: RunningServer, row: Row, domain: str) -> None:
    """Play one row over UDP."""
    forget(server, row)
    with UdpPeer(server, via_port(row.octets)) as peer:
        exchange(peer, row, row.owed)
        assert probe(peer, domain) == []


def over_tcp(server: RunningServer, row: Row, domain: str) -> None:
    """Play one row over TCP."""
    forget(server, row)
    with TcpPeer(server) as peer:
        exchange(peer, row, row.owed_over_stream)
        if row.stream is Stream.OPEN:
            assert probe(peer, domain) == []
        else:
            assert peer.at_end()
    with TcpPeer(server) as peer:
        assert probe(peer, domain) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row_over_udp(own: RunningServer, row: Row) -> None:
    """Section 16: RFC 4475 and RFC 5118 over UDP."""
    over_udp(own, row, OWN_DOMAINS[0])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row_over_tcp(own: RunningServer, row: Row) -> None:
    """Section 16, TRN-8: RFC 4475 and RFC 5118 over TCP."""
    over_tcp(own, row, OWN_DOMAINS[0])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_original_over_udp(published: RunningServer, corpora: Path, row: Row) -> None:
    """Section 16: the RFCs' own messages over UDP."""
    over_udp(published, original(row, corpora), ORIGINAL_DOMAINS[0])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_original_over_tcp(published: RunningServer, corpora: Path, row: Row) -> None:
    """Section 16, TRN-8: the RFCs' own messages over TCP."""
    over_tcp(published, original(row, corpora, stream=True), ORIGINAL_DOMAINS[0])
