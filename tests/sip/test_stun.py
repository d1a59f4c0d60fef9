"""STUN keep-alive: TRN-15 with the transaction id, addresses and responses of RFC 5769, and what is dropped."""

import struct
from ipaddress import ip_address
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo.fast import Flow
from reginfo.sip.stun import answer
from tests.harness import LOCAL, House

COOKIE = bytes.fromhex("2112a442")
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
REQUEST = b"\0\1\0\0" + COOKIE + TRANSACTION


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def binding(*attributes: bytes, kind: int = 1, cookie: bytes = COOKIE) -> bytes:
    body = b"".join(attributes)
    return struct.pack("!HH", kind, len(body)) + cookie + TRANSACTION + body


def fingerprinted(*attributes: bytes) -> bytes:
    """End a request with FINGERPRINT, whose own 8 octets the length counts (RFC 8489 14.7)."""
    whole = binding(*attributes, attribute(0x8028, bytes(4)))
    return whole[:-4] + struct.pack("!I", crc32(whole[:-8]) ^ 0x5354554E)


@pytest.mark.parametrize(
    ("host", "mapped"),
    [
        # XOR-MAPPED-ADDRESS of RFC 5769 sections 2.2 and 2.3
        ("192.0.2.1", "002000080001a147e112a643"),
        ("2001:db8:1234:5678:11:2233:4455:6677", "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"),
    ],
)
def test_binding_request_is_told_its_source(host: str, mapped: str) -> None:
    """TRN-15"""
    value = bytes.fromhex(mapped)
    assert answer(REQUEST, host, 32853) == b"\x01\x01" + struct.pack("!H", len(value)) + COOKIE + TRANSACTION + value


@given(st.ip_addresses(), st.integers(0, 65535), st.binary(min_size=12, max_size=12))
def test_whoever_asks_can_undo_the_exclusive_or(source: object, port: int, transaction: bytes) -> None:
    """TRN-15, against a reading of the answer that shares nothing with its writing."""
    response = answer(b"\0\1\0\0" + COOKIE + transaction, str(source), port)
    assert response is not None
    assert response[8:20] == transaction
    masked_port, address = struct.unpack("!H", response[26:28])[0], response[28:]
    mask = int.from_bytes((COOKIE + transaction)[: len(address)], "big")
    assert masked_port ^ 0x2112 == port
    unmasked = (int.from_bytes(address, "big") ^ mask).to_bytes(len(address), "big")
    assert ip_address(unmasked) == ip_address(str(source))


def test_what_may_be_ignored_is_ignored() -> None:
    """TRN-15: SOFTWARE, of a length that is padded, and a FINGERPRINT that holds."""
    assert answer(binding(attribute(0x8022, b"phone")), "192.0.2.1", 5060) is not None
    assert answer(fingerprinted(attribute(0x8022, b"phone")), "192.0.2.1", 5060) is not None
    assert answer(fingerprinted(), "192.0.2.1", 5060) is not None


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\0",
        b"\1\1",
        REQUEST[:19],
        REQUEST + b"\0",
        REQUEST + bytes(4),
        binding(kind=0x0011),  # an indication
        binding(kind=0x0101),  # a response: never answered, or two servers could be set on each other
        binding(kind=0x0111),
        binding(kind=0x0003),
        binding(cookie=bytes(4)),  # RFC 3489
        b"\0\1\0\4" + COOKIE + TRANSACTION,
        binding(attribute(0x0006, b"user")),  # has to be understood
        binding(attribute(0x0003, bytes(4))),  # CHANGE-REQUEST: an answer from elsewhere
        b"\0\1\0\4" + COOKIE + TRANSACTION + b"\x80\x22\x00\x01",
        b"\0\1\0\2" + COOKIE + TRANSACTION + b"\x80\x22",
        fingerprinted()[:-1] + b"\0",
        binding(fingerprinted()[20:], attribute(0x8022, b"")),  # FINGERPRINT is not the last
        binding(attribute(0x8028, b"")),
    ],
)
def test_bad_stun_is_dropped(octets: bytes) -> None:
    """TRN-15"""
    assert answer(octets, "192.0.2.1", 5060) is None


@given(st.binary(max_size=64))
def test_no_octets_are_answered_with_an_error(noise: bytes) -> None:
    """TRN-15: whatever comes, there is an answer or none."""
    assert answer(b"\0\1" + noise, "192.0.2.1", 5060) in (None, answer(REQUEST[:8] + noise[6:18], "192.0.2.1", 5060))


@pytest.mark.parametrize(("host", "size"), [("192.0.2.1", 32), ("2001:db8::1", 44)])
def test_an_answer_amplifies_little(host: str, size: int) -> None:
    """TRN-15: whatever the request asks for, its answer is the one address."""
    for request in (REQUEST, fingerprinted(*[attribute(0x8022, bytes(200))] * 5)):
        octets = answer(request, host, 5060)
        assert octets is not None
        assert len(octets) == size


def test_the_sip_port_answers_without_state() -> None:
    """TRN-15: over UDP, at once, to where it came from; on a stream STUN is noise."""
    house = House()
    phone = Flow("udp", LOCAL, ("192.0.2.1", 32853))
    house.engine.receive([(REQUEST, phone), (binding(kind=0x0101), phone), (REQUEST, phone)], house.now())
    assert not house.engine.has_works
    assert house.engine.take_output() == [(answer(REQUEST, "192.0.2.1", 32853), phone)] * 2
    house.engine.receive([(REQUEST, Flow("tcp", LOCAL, ("192.0.2.1", 32853), 1))], house.now())
    assert house.engine.take_output() == []
    assert sum(house.engine.statistics()["errors"].values()) == 0
