"""Shapes of published vulnerabilities against the running server; tests/corpora/sip-cve/MANIFEST.txt has the list.

Each file gets the answer listed for it, costs the server less than 10 ms of CPU, and the next request is
answered.
"""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.reference import sip_parser as reference
from tests.server_fixture import RunningServer, TcpPeer, UdpPeer, answer, probe, running_server, status_of, via_port

pytestmark = pytest.mark.network

FOLDER = Path(__file__).parent / "corpora" / "sip-cve"
DOMAIN = "localhost"
MAX_CPU = 0.010

DROPPED: tuple[int, ...] = ()
OWED: dict[str, tuple[int, ...]] = {
    "cve-2018-8828-from-tag": (200,),
    "cve-2018-7284-accept-x50": (400,),
    "cve-2020-28361-space-before-colon": (200,),
    "ast-2017-002-cseq-overflow": (400,),
    "ast-2017-003-multipart": (405,),
    "ghsa-c6j5-content-length-huge": (400,),
    "ghsa-jrqg-authorization-trunc-1": (400,),
    "ghsa-jrqg-authorization-trunc-2": (400,),
    "ghsa-jrqg-authorization-trunc-3": (400,),
    "ghsa-wxfg-via-truncated": (400,),
    "ghsa-qvj2-to-param": (400,),
    "ghsa-358f-uri": (400,),
    "log-injection": (400,),
    "whitespace-only": DROPPED,
    "keepalive-crlfcrlf": DROPPED,
    "nul-flood": DROPPED,
    "headers-5000": (400,),
    "fold-bomb": (400,),
    "contacts-2000": (403,),
    "cve-2026-57191-mwi-notify": (481,),
    "ghsa-8fj4-substate-terminated": (400, 481),
}
"Any of these is owed over UDP."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningServer, None, None]:
    """A server for the hosts of the corpus."""
    folder = tmp_path_factory.mktemp("cve")
    domains = (DOMAIN, "127.0.0.1", "one.example.com")
    with running_server(folder, domains, f'[store]\nurl = "memory:"\n[admin]\nsocket = "{folder}/c"\n') as running:
        with UdpPeer(running) as peer:
            # What is imported or made with the first request is not the price of a later one.
            fetch(peer, "warm")
        yield running


def octets_of(name: str) -> bytes:
    """Return the octets of a file of the corpus."""
    return (FOLDER / f"{name}.sip").read_bytes()


def cpu(server: RunningServer) -> float:
    """Return the CPU time of the server's event loop in seconds, finer than a clock tick."""
    return int(Path(f"/proc/{server.process.pid}/schedstat").read_text().split()[0]) / 1e9


def fetch(peer: UdpPeer | TcpPeer, user: str) -> list[reference.Contact]:
    """Return the contacts of an address-of-record."""
    peer.send(
        (
            f"REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: {peer.via};branch=z9hG4bK-f\r\n"
            f"From: <sip:{user}@{DOMAIN}>;tag=f\r\n"
            f"To: <sip:{user}@{DOMAIN}>\r\nCall-ID: fetch\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n"
        ).encode()
    )
    response = answer(peer.receive())
    assert response.status == 200
    return response.contacts


def test_every_file_is_here() -> None:
    """The list and the folder agree."""
    assert {path.stem for path in FOLDER.glob("*.sip")} == OWED.keys()


@pytest.mark.parametrize("name", OWED)
def test_answer_over_udp(server: RunningServer, name: str) -> None:
    """SEC-3, SEC-5, MSG-1 to MSG-18: the answer listed, and its price."""
    octets = octets_of(name)
    with UdpPeer(server, via_port(octets)) as peer:
        probe(peer, DOMAIN)
        before = cpu(server)
        peer.send(octets)
        if OWED[name] is not DROPPED:
            assert status_of(peer.receive()) in OWED[name]
        assert probe(peer, DOMAIN) == []
        spent = cpu(server) - before
    assert spent < MAX_CPU


@pytest.mark.parametrize("octets", [b"", b"\0", b"\r\n", b"\r", b" ", b"\xff" * 20])
def test_noise_is_ignored_over_udp(server: RunningServer, octets: bytes) -> None:
    """TRN-15: keep-alives, empty datagrams and what begins no message."""
    with UdpPeer(server) as peer:
        peer.send(octets)
        assert probe(peer, DOMAIN) == []


@pytest.mark.parametrize("name", OWED)
def test_server_goes_on_after_it_came_over_tcp(server: RunningServer, name: str) -> None:
    """TRN-8."""
    with TcpPeer(server) as peer:
        peer.send(octets_of(name))
    with TcpPeer(server) as peer:
        assert probe(peer, DOMAIN) == []


def test_huge_content_length_closes_the_connection(server: RunningServer) -> None:
    """TRN-8: a length beyond every limit is answered and ends the stream."""
    with TcpPeer(server) as peer:
        peer.send(octets_of("ghsa-c6j5-content-length-huge"))
        assert answer(peer.receive()).status in (400, 513)
        assert peer.at_end()


def test_keep_alive_is_answered_by_one_crlf(server: RunningServer) -> None:
    """TRN-15."""
    with TcpPeer(server) as peer:
        peer.send(octets_of("keepalive-crlfcrlf"))
        assert peer.socket.recv(100) == b"\r\n"


def test_too_many_contacts_leave_the_bindings_alone(server: RunningServer) -> None:
    """REG-11, REG-16: all or nothing."""
    with UdpPeer(server, 5099) as peer:
        before = fetch(peer, "1")
        peer.send(octets_of("contacts-2000"))
        assert answer(peer.receive()).status == 403
        after = fetch(peer, "1")
    assert [contact.uri for contact in after] == [contact.uri for contact in before]


def test_blank_before_the_colon_names_the_same_header(server: RunningServer) -> None:
    """MSG-4: the Contact is bound, and no policy sees another header than the parser."""
    octets = octets_of("cve-2020-28361-space-before-colon")
    with UdpPeer(server, via_port(octets)) as peer:
        peer.send(octets)
        response = answer(peer.receive())
    assert response.status == 200
    assert "sip:1@127.0.0.1:5099" in [contact.uri for contact in response.contacts]


def test_log_lines_stay_lines(server: RunningServer) -> None:
    """SEC-5: no octet of a message starts a line of the log, nor reaches a terminal."""
    octets = octets_of("log-injection")
    with UdpPeer(server, via_port(octets)) as peer:
        peer.send(octets)
        answer(peer.receive())
    logged = server.log.read_bytes()
    assert b"INFO fake line" not in logged
    assert all(octet >= 0x20 or octet == 0x0A for octet in logged)
