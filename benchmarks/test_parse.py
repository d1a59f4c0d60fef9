"""Parsing a REGISTER of ten headers and reading seven of its values: ours, the reference, and sipmessage."""

from collections.abc import Callable

import pytest
import sipmessage
from pytest_benchmark.fixture import BenchmarkFixture

from reginfo.fast import SipMessage, StreamFramer, parse_message
from tests.reference import sip_parser as reference

pytestmark = pytest.mark.benchmark(group="parse", min_time=0.001)  # a round, or the clock would count

REGISTER = (
    b"REGISTER sip:example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.10:5060;rport;branch=z9hG4bK776asdhds\r\n"
    b"Max-Forwards: 70\r\n"
    b"From: Alice <sip:alice@example.com>;tag=1928301774\r\n"
    b"To: Alice <sip:alice@example.com>\r\n"
    b"Call-ID: a84b4c76e66710@192.0.2.10\r\n"
    b"CSeq: 314159 REGISTER\r\n"
    b"Contact: <sip:alice@192.0.2.10:5060;transport=udp>;q=0.8;expires=600\r\n"
    b"Expires: 3600\r\n"
    b"User-Agent: phone/1.0\r\n"
    b"Content-Length: 0\r\n\r\n"
)
RESULT = ("192.0.2.10", "1928301774", "sip:alice@example.com", "a84b4c76e66710@192.0.2.10", 314159, 600, 3600)


def ours(octets: bytes) -> tuple[object, ...]:
    message = parse_message(octets)
    return (
        message.top_via.host,
        message.from_.tag,
        message.to.uri,
        message.call_id,
        message.cseq,
        message.contacts[0].expires,
        message.expires,
    )


def slow(octets: bytes) -> tuple[object, ...]:
    message = reference.parse_message(octets)
    assert message.from_ is not None
    assert message.to is not None
    return (
        message.vias[0].host,
        message.from_.tag,
        message.to.uri,
        message.call_id,
        message.cseq,
        message.contacts[0].expires,
        message.expires,
    )


def peer(octets: bytes) -> tuple[object, ...]:
    message = sipmessage.Message.parse(octets)
    return (
        message.via[0].host,
        message.from_address.parameters["tag"],
        str(message.to_address.uri),
        message.call_id,
        message.cseq.sequence,
        int(message.contact[0].parameters["expires"] or 0),
        int(message.headers.get("Expires") or 0),
    )


@pytest.mark.parametrize("parser", [ours, slow, peer], ids=["reginfo", "reference", "sipmessage"])
def test_parse_register_10_headers_and_read_7_values(
    benchmark: BenchmarkFixture, parser: Callable[[bytes], tuple[object, ...]]
) -> None:
    assert benchmark(parser, REGISTER) == RESULT


@pytest.mark.parametrize("parser", [parse_message, reference.parse_message], ids=["reginfo", "reference"])
def test_parse_register_10_headers(
    benchmark: BenchmarkFixture, parser: Callable[[bytes], SipMessage | reference.Message]
) -> None:
    assert benchmark(parser, REGISTER).method == "REGISTER"


def test_frame_100_registers(benchmark: BenchmarkFixture) -> None:
    octets = REGISTER * 100

    def frame() -> list[bytes]:
        return StreamFramer().feed(octets)

    assert benchmark(frame) == [REGISTER] * 100
