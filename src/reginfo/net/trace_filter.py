"""Whose messages a trace shows: those of an address-of-record, or those exchanged with an address or a network."""

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, Protocol

from reginfo.fast import Flow, SipMessage, SipParseError, canonical_aor, parse_message

HOSTS: Final = 4096  # addresses whose answer is remembered by a network


class TraceFilter(Protocol):
    """What tells whether a message is of a trace."""

    text: str
    "As it is shown."

    def matches(self, octets: bytes, flow: Flow) -> bool:
        """Tell whether a message that came or left by a flow is one of those."""


def parse_trace_filter(text: str) -> TraceFilter:
    """Return what `alice@example.com`, `192.0.2.1`, `192.0.2.1:5060`, `[2001:db8::1]:5060` or `192.0.2.0/24` names.

    ValueError for anything else.
    """
    if "@" in text or text.lower().startswith(("sip:", "sips:")):
        return AorFilter(text)
    host, _, port = text.rpartition(":")
    if port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536 and (":" not in host or host[:1] == "["):
        return AddressFilter(host, int(port))
    return NetworkFilter(text)


class AorFilter:
    """The messages that name an address-of-record in Request-URI, From or To, and malformed ones that hold its text."""

    def __init__(self, text: str) -> None:
        scheme = text.lower().startswith(("sip:", "sips:"))
        try:
            self.text = canonical_aor(text if scheme else f"sip:{text}")
        except SipParseError as error:
            raise ValueError(f"{text!r} is no address-of-record: {error.reason}") from None
        bare = self.text.partition(":")[2]
        user, at, _ = bare.rpartition("@")
        self._bare = bare.lower().encode()
        # What has to be in every message that names it, so that most are not parsed; an escaped user has many texts.
        self._hint = user.encode() if at and "%" not in user else b""

    def matches(self, octets: bytes, flow: Flow) -> bool:
        """Tell whether it is named."""
        if self._hint not in octets and b"%" not in octets:
            return False
        try:
            return self.text in _aors(parse_message(octets))
        except SipParseError:
            return self._bare in octets.lower()


class AddressFilter:
    """The messages exchanged with one port of one address."""

    def __init__(self, host: str, port: int) -> None:
        self._remote = (_address(host), port)
        self.text = f"[{self._remote[0]}]:{port}" if ":" in self._remote[0] else f"{self._remote[0]}:{port}"

    def matches(self, octets: bytes, flow: Flow) -> bool:
        """Tell whether the other side is there."""
        return flow.remote == self._remote


class NetworkFilter:
    """The messages exchanged with a network, or with every port of one address."""

    def __init__(self, text: str) -> None:
        try:
            network = ip_network(text.removeprefix("[").removesuffix("]"))
        except ValueError as error:
            raise ValueError(
                f"{text!r} is neither an address-of-record (alice@example.com) nor an address or a network "
                f"(192.0.2.1, 192.0.2.1:5060, 192.0.2.0/24): {error}"
            ) from None
        is_one = network.prefixlen == network.max_prefixlen
        self.text = str(network.network_address) if is_one else str(network)
        self._has = lru_cache(HOSTS)(lambda host: _is_of(host, network))

    def matches(self, octets: bytes, flow: Flow) -> bool:
        """Tell whether the other side is of it."""
        return self._has(flow.host)


def _aors(message: SipMessage) -> set[str]:
    uris = [message.from_.uri, message.to.uri]
    if message.is_request:
        uris.append(message.request_uri)
    found = set()
    for uri in uris:
        try:
            found.add(canonical_aor(uri))
        except SipParseError:
            continue
    return found


def _address(host: str) -> str:
    try:
        return str(ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise ValueError(f"{host!r} is no IP address") from None


def _is_of(host: str, network: IPv4Network | IPv6Network) -> bool:
    return ip_address(host) in network
