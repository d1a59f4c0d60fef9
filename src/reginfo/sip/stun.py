"""STUN on the SIP port: the Binding request a phone keeps its NAT mapping alive with (RFC 5626 section 8, RFC 8489).

Pure: octets and where they came from go in, the answer comes out, and nothing is remembered.  What is no Binding
request of the plainest kind is dropped: an error response is of no use to whoever keeps a mapping alive.
"""

import struct
from ipaddress import ip_address
from typing import Final
from zlib import crc32

_BINDING_REQUEST: Final = 0x0001
_BINDING_SUCCESS: Final = 0x0101
_MAGIC_COOKIE: Final = 0x2112A442
_XOR_MAPPED_ADDRESS: Final = 0x0020
_FINGERPRINT: Final = 0x8028
_FINGERPRINT_MASK: Final = 0x5354554E
_FIRST_OPTIONAL: Final = 0x8000  # an attribute below has to be understood (RFC 8489 section 14)

_HEADER: Final = struct.Struct("!HHI12s")
_ATTRIBUTE: Final = struct.Struct("!HH")
_FAMILY: Final = {4: 1, 6: 2}


def answer(octets: bytes, host: str, port: int) -> bytes | None:
    """Return the success response to a Binding request from an address; None for anything else (TRN-15).

    It holds XOR-MAPPED-ADDRESS and nothing more, so it is 32 octets to IPv4 and 44 to IPv6.
    """
    if len(octets) < _HEADER.size:
        return None
    kind, length, cookie, transaction = _HEADER.unpack_from(octets)
    if kind != _BINDING_REQUEST or cookie != _MAGIC_COOKIE or length != len(octets) - _HEADER.size:
        return None
    if not _are_sound_attributes(octets):
        return None
    source = ip_address(host)
    mask = octets[4:20]  # cookie and transaction id
    address = bytes(a ^ b for a, b in zip(source.packed, mask, strict=False))
    mapped = struct.pack("!HHBBH", _XOR_MAPPED_ADDRESS, 4 + len(address), 0, _FAMILY[source.version], port ^ 0x2112)
    return _HEADER.pack(_BINDING_SUCCESS, len(mapped) + len(address), _MAGIC_COOKIE, transaction) + mapped + address


def _are_sound_attributes(octets: bytes) -> bool:
    """Tell whether the attributes fill the message, none asks for what we do not do, and FINGERPRINT holds."""
    at = _HEADER.size
    while at < len(octets):
        if at + _ATTRIBUTE.size > len(octets):
            return False
        kind, length = _ATTRIBUTE.unpack_from(octets, at)
        if kind < _FIRST_OPTIONAL:
            return False
        if kind == _FINGERPRINT:  # over all before it, and the last one (RFC 8489 section 14.7)
            checksum = (crc32(octets[:at]) ^ _FINGERPRINT_MASK).to_bytes(4, "big")
            return octets[at:] == _ATTRIBUTE.pack(_FINGERPRINT, 4) + checksum
        at += _ATTRIBUTE.size + (length + 3) // 4 * 4
    return at == len(octets)
