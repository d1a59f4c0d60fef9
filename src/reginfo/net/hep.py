"""HEP version 3, in which capture agents send traced messages to HOMER and others (HEP3 specification, revision 12).

A packet is "HEP3" and its length, then chunks: vendor, type and length of sixteen bits each, and the value.
"""

import re
from ipaddress import ip_address
from struct import pack
from typing import Final

from reginfo.model import TracedMessage

FAMILIES: Final = {4: 2, 6: 10}  # AF_INET and AF_INET6 of Linux
UDP: Final = 17
TCP: Final = 6
SIP: Final = 1

MAX_PACKET: Final = 65_507  # octets of a datagram; a longer message is cut off

# Generic chunks, of vendor 0.
_FAMILY: Final = 1
_PROTOCOL: Final = 2
_ADDRESSES: Final = {4: (3, 4), 6: (5, 6)}
_SOURCE_PORT: Final = 7
_DESTINATION_PORT: Final = 8
_SECONDS: Final = 9
_MICROSECONDS: Final = 10
_PAYLOAD_TYPE: Final = 11
_CAPTURE_ID: Final = 12
_PASSWORD: Final = 14
_PAYLOAD: Final = 15
_CORRELATION_ID: Final = 17
_NODE: Final = 19

# Call-ID = ( "Call-ID" / "i" ) HCOLON callid   RFC 3261 25.1; asked of malformed messages as well
_CALL_ID: Final = re.compile(rb"(?i)(?:^|[\r\n])(?:call-id|i)[ \t]*:[ \t]*(?:\r\n[ \t]+)?([^\s]{1,1024})")


class Hep:
    """What one agent calls itself in its packets."""

    def __init__(self, capture_id: int, node: str, password: str) -> None:
        """password is sent as it is; empty: none."""
        self._agent = _chunk(_CAPTURE_ID, pack("!I", capture_id)) + _chunk(_NODE, node.encode())
        if password:
            self._agent += _chunk(_PASSWORD, password.encode())

    def encode(self, message: TracedMessage) -> bytes:
        """Return the packet of a message, MAX_PACKET octets at most; it is related to others by its Call-ID."""
        source, destination = ip_address(message.source[0]), ip_address(message.destination[0])
        from_, to = _ADDRESSES[source.version]
        # To the nearest microsecond in one go, so that 0.9999999 s is not a million of them.
        seconds, microseconds = divmod(round(message.time * 1_000_000), 1_000_000)
        head = [
            _chunk(_FAMILY, bytes([FAMILIES[source.version]])),
            _chunk(_PROTOCOL, bytes([UDP if message.transport == "udp" else TCP])),
            _chunk(from_, source.packed),
            _chunk(to, destination.packed),
            _chunk(_SOURCE_PORT, pack("!H", message.source[1])),
            _chunk(_DESTINATION_PORT, pack("!H", message.destination[1])),
            _chunk(_SECONDS, pack("!I", seconds)),
            _chunk(_MICROSECONDS, pack("!I", microseconds)),
            _chunk(_PAYLOAD_TYPE, bytes([SIP])),
            self._agent,
        ]
        call_id = _CALL_ID.search(message.octets)
        if call_id is not None:
            head.append(_chunk(_CORRELATION_ID, call_id[1]))
        chunks = b"".join(head)
        room = MAX_PACKET - len(_framed(chunks + _chunk(_PAYLOAD, b"")))
        return _framed(chunks + _chunk(_PAYLOAD, message.octets[:room]))


def _chunk(kind: int, value: bytes) -> bytes:
    return pack("!HHH", 0, kind, 6 + len(value)) + value


def _framed(chunks: bytes) -> bytes:
    return b"HEP3" + pack("!H", 6 + len(chunks)) + chunks
