"""HEPv3 packets, chunk by chunk, and their way to a collector."""

import asyncio
import socket
import struct

import pytest

from reginfo.model import TracedMessage
from reginfo.net.collector import MAX_QUEUED, Collector
from reginfo.net.hep import MAX_PACKET, Hep
from tests.net.loops import on_uvloop

MESSAGE = b"OPTIONS sip:example.com SIP/2.0\r\nCall-ID: abc@192.0.2.1\r\nContent-Length: 0\r\n\r\n"


def traced(octets: bytes = MESSAGE, transport: str = "udp", time: float = 1_700_000_000.25) -> TracedMessage:
    return TracedMessage(time, False, transport, ("192.0.2.1", 5061), ("192.0.2.9", 5060), octets)


def chunks(packet: bytes) -> dict[int, bytes]:
    """Return the chunks of a packet by type; each stands once, and all are of vendor 0."""
    assert packet[:4] == b"HEP3"
    assert struct.unpack_from("!H", packet, 4) == (len(packet),)
    found: dict[int, bytes] = {}
    at = 6
    while at < len(packet):
        vendor, kind, length = struct.unpack_from("!HHH", packet, at)
        assert (vendor, kind in found) == (0, False)
        found[kind] = packet[at + 6 : at + length]
        at += length
    assert at == len(packet)
    return found


def test_every_chunk_says_what_the_specification_gives_it_for() -> None:
    """HEP3 specification, generic chunks."""
    assert chunks(Hep(2001, "edge", "secret").encode(traced())) == {
        1: b"\x02",
        2: b"\x11",
        3: bytes([192, 0, 2, 1]),
        4: bytes([192, 0, 2, 9]),
        7: (5061).to_bytes(2),
        8: (5060).to_bytes(2),
        9: (1_700_000_000).to_bytes(4),
        10: (250_000).to_bytes(4),
        11: b"\x01",
        12: (2001).to_bytes(4),
        14: b"secret",
        15: MESSAGE,
        17: b"abc@192.0.2.1",
        19: b"edge",
    }


def test_ipv6_has_chunks_of_its_own() -> None:
    """HEP3 specification: chunks 5 and 6, family AF_INET6."""
    message = traced()._replace(source=("2001:db8::1", 5061), destination=("::1", 5060))
    found = chunks(Hep(1, "edge", "").encode(message))
    assert (found[1], found[5], found[6]) == (
        b"\x0a",
        socket.inet_pton(socket.AF_INET6, "2001:db8::1"),
        socket.inet_pton(socket.AF_INET6, "::1"),
    )
    assert not {3, 4, 14} & found.keys()


@pytest.mark.parametrize(("transport", "protocol"), [("udp", 17), ("tcp", 6), ("tls", 6), ("ws", 6), ("wss", 6)])
def test_every_connection_is_tcp(transport: str, protocol: int) -> None:
    """What is in the packet is SIP without TLS and WebSocket; below those there is TCP."""
    assert chunks(Hep(1, "edge", "").encode(traced(transport=transport)))[2] == bytes([protocol])


def test_a_time_just_below_a_second_is_the_next_one() -> None:
    """A million microseconds would be no valid chunk 10."""
    found = chunks(Hep(1, "edge", "").encode(traced(time=9.999_999_9)))
    assert (found[9], found[10]) == ((10).to_bytes(4), bytes(4))


@pytest.mark.parametrize(
    ("octets", "call_id"),
    [
        (b"BAD\r\ni: short@x\r\n", b"short@x"),
        (b"BAD\r\nCALL-id :\r\n folded\r\n", b"folded"),
        (b"BAD\r\nX-Call-ID: other\r\n", None),
        (b"\xff\xfe", None),
    ],
)
def test_malformed_messages_are_related_as_far_as_they_can_be(octets: bytes, call_id: bytes | None) -> None:
    """RFC 3261 section 20.8: the compact form, folded, in any case."""
    assert chunks(Hep(1, "edge", "").encode(traced(octets))).get(17) == call_id


@pytest.mark.parametrize("more", [-1, 0, 1, 100_000])
def test_a_packet_fits_a_datagram(more: int) -> None:
    """What is longer is cut off at its end."""
    room = MAX_PACKET - len(Hep(1, "edge", "").encode(traced(b"")))
    packet = Hep(1, "edge", "").encode(traced(b"x" * (room + more)))
    assert len(packet) == MAX_PACKET + min(more, 0)
    assert chunks(packet)[15] == b"x" * (room + min(more, 0))


@pytest.mark.network
@on_uvloop
async def test_the_collector_gets_packets_in_order() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(10)
        loop = asyncio.get_running_loop()
        collector = Collector(loop, "127.0.0.1", listening.getsockname()[1], Hep(1, "edge", ""))
        for number in range(100):
            collector.take(traced(b"%d" % number))
        collector.close()
        assert [chunks(listening.recv(65536))[15] for _ in range(100)] == [b"%d" % number for number in range(100)]
        assert (collector.sent, collector.dropped) == (100, 0)


@pytest.mark.network
@on_uvloop
async def test_a_dead_collector_costs_packets_and_nothing_else() -> None:
    """News of a closed port comes with the next packet (ICMP); the server goes on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    collector = Collector(asyncio.get_running_loop(), "127.0.0.1", port, Hep(1, "edge", ""))
    for _ in range(4):
        collector.take(traced())
    collector.close()
    assert collector.sent + collector.dropped == 4
    assert collector.dropped > 0


@pytest.mark.network
@on_uvloop
async def test_the_queue_of_a_collector_has_an_end() -> None:
    """What is traced faster than packets leave is dropped and counted."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        collector = Collector(asyncio.get_running_loop(), "127.0.0.1", listening.getsockname()[1], Hep(1, "edge", ""))
        for _ in range(MAX_QUEUED + 5):
            collector.take(traced(b""))
        assert collector.dropped == 5
        while collector.sent + collector.dropped < MAX_QUEUED + 5:
            await asyncio.sleep(0)
        collector.close()
