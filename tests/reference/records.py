"""Records of AoRs put together octet by octet from the layout, without the compiled code that reads them."""

import struct
from collections.abc import Iterable
from hashlib import blake2b

NEVER = 2**63 - 1

_HEAD = struct.Struct("<BBHHHQQ")
_ROW = struct.Struct("<IIqqqQQIIHBBHH9H")


def make_record(aor: str, expiries: Iterable[int] = (), *, revision: int = 1, call_id: str = "a84b4c76e66710") -> bytes:
    """Return a record with one row per expiry."""
    name = aor.encode()
    rows = [_row(number, at, revision, call_id) for number, at in enumerate(expiries)]
    identity = int.from_bytes(blake2b(name, digest_size=8).digest(), "little")
    return _HEAD.pack(1, 0, len(name), len(rows), 0, revision, identity) + name + b"".join(rows)


def _row(number: int, expires_at: int, revision: int, call_id: str) -> bytes:
    uri = f"sip:192.0.2.{number % 256}:5060"
    texts = [text.encode() for text in (uri, "", call_id, "", "", "", "udp:192.0.2.1:5060", "", "")]
    size = _ROW.size + sum(map(len, texts))
    head = _ROW.pack(
        size, 1, 0, 0, expires_at, number + 1, revision, 3600, 0, 0xFFFF, 0, 0, 0, 0, *(len(text) for text in texts)
    )
    return head + b"".join(texts)


def aor_of(record: bytes) -> str:
    """Return the AoR a record is about."""
    length = _HEAD.unpack_from(record)[2]
    return record[_HEAD.size : _HEAD.size + length].decode()


def rows_of(record: bytes) -> int:
    """Return the number of rows of a record."""
    rows: int = _HEAD.unpack_from(record)[3]
    return rows


def identity_of(record: bytes) -> int:
    """Return the registration id of a record."""
    identity: int = _HEAD.unpack_from(record)[6]
    return identity


def next_expiry_of(record: bytes) -> int:
    """Return the earliest expiry of a record, or NEVER."""
    at = _HEAD.size + _HEAD.unpack_from(record)[2]
    earliest = NEVER
    while at < len(record):
        row = _ROW.unpack_from(record, at)
        earliest = min(earliest, row[4])
        at += row[0]
    return earliest
