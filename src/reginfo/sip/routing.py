"""Where messages go: to a contact, the next hop of a request (RFC 3263), a response without its connection.

Every request gets `received` when its Via names anything but its source (TRN-3): what the Via names is looked up only
for a response whose connection is gone and cannot be made again (TRN-5).
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from reginfo.config.values import PORTS
from reginfo.fast import Binding, Flow, SipMessage, SipParseError, hop_parts

# A value of a list header: commas within quotes and angle brackets do not split (MSG-6).
_LISTED: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*"|<[^>]*>|[^,"<])+')

# name-addr or addr-spec up to the next comma   RFC 3261 25.1; without backtracking, as anybody may have written it
_ADDRESS: Final = re.compile(
    r'\s*+(?:(?:"(?:[^"\\]|\\.)*+"|[^",<])*+<(?P<within>[^>]*)>|(?P<bare>[^,;"<\s][^,;"<]*+))[^,]*+,?'
)


class Hop(msgspec.Struct, frozen=True, gc=False):
    """The place a request is sent to next."""

    transport: str
    "udp, tcp, tls, ws or wss; for a name also sip or sips: any that DNS has for this scheme (RFC 3263 section 4.1)."
    host: str
    "An IP address without brackets, or a name."
    port: int
    "0 for a name whose port DNS says (RFC 3263 section 4.2)."
    flow: Flow | None = None
    "The connection it takes, and no other: that of a peer behind a WebSocket, who cannot be called (TRN-14)."

    @property
    def where(self) -> str:
        """Host and port as in a URI."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host

    def __str__(self) -> str:
        return f"{self.transport}:{self.where}"


def parse_hop(text: str) -> Hop:
    """Return the hop that str() made this text of."""
    transport, _, where = text.partition(":")
    host, colon, port = where.rpartition(":")
    return Hop(transport, host.strip("[]"), int(port)) if colon else Hop(transport, where, 0)


def is_literal(host: str) -> bool:
    """Tell an IP address from a name, whose last label is no number (RFC 1123 section 2.1)."""
    return ":" in host or host.rpartition(".")[2].isdigit()


def default_port(transport: str) -> int:
    """Return the port of a transport where nothing names one (TRN-1)."""
    return PORTS.get(transport, PORTS["tcp"])


class ContactTarget(NamedTuple):
    """What leads to one contact: where a request for it goes, and through whom."""

    uri: str
    "Request-URI: the Contact without what a Request-URI has not (URI-8)."
    routes: tuple[str, ...]
    "Route values, the first one first (RFC 3327 section 5.1)."
    received: str
    "Where the request is sent if there is no Route and the Contact cannot be reached; empty: to the Request-URI."
    flow: str
    "The flow it is sent on; empty: on any."
    q: float | None


def next_hop(uri: str) -> Hop:
    """Return where a request goes whose first Route, or else whose Request-URI, is this one (DNS-1 to DNS-3).

    SipParseError for a URI that is neither SIP nor SIPS, or names a transport that is not known.
    """
    is_secure, transport, host, port = hop_parts(uri)
    if transport and transport not in PORTS:
        raise SipParseError("URI: transport is not known")
    is_found = not port and not is_literal(host)
    if not transport and is_found:
        return Hop("sips" if is_secure else "sip", host, 0)
    transport = transport or "udp"
    if is_secure:
        transport = {"udp": "tls", "tcp": "tls", "ws": "wss"}.get(transport, transport)
    return Hop(transport, host, 0 if is_found else port or default_port(transport))


def way_back(hop: Hop, flow: Flow | None) -> Hop:
    """Return where a later request goes to a peer whose own came by flow: by it, if it is a connection kept for that.

    A peer behind a WebSocket has no address; one behind TLS is known by its connection (TRN-14, RFC 5626 section 5.3).
    """
    return hop if flow is None else Hop(flow.transport, flow.host, flow.port, flow)


def kept_for_requests(flow: Flow) -> bool:
    """Tell whether later requests to a peer take the connection that its own came by."""
    return flow.transport in ("tls", "ws", "wss")


def request_uri(contact: str) -> str:
    """Return a Contact URI as a Request-URI: without method= and header fields (URI-8, RFC 3261 19.1.5)."""
    if "?" not in contact and ";method=" not in contact.lower():  # nearly none has
        return contact
    head, at, tail = contact.rpartition("@")  # before the @ a ? or a ; belongs to the user (RFC 3261 section 25.1)
    bare, mark, _ = tail.partition("?")
    if not mark and ";method=" not in bare.lower():
        return contact
    host, *parameters = bare.split(";")
    kept = [one for one in parameters if one.partition("=")[0].lower() != "method"]
    return head + at + ";".join([host, *kept])


def target_of(binding: Binding, *, routed: bool = False) -> ContactTarget:
    """Return what leads to a contact (PTH-3).

    routed says that a request inside a dialog names its GRUU and has Route values left: those lead there, not the
    Path that was registered (RFC 5627 section 6.1).
    """
    path = [] if routed else [value.strip() for value in _LISTED.findall(binding.path) if value.strip()]
    return ContactTarget(request_uri(binding.uri), tuple(path), binding.received, binding.flow, binding.q)


def addresses(rows: Iterable[str]) -> Iterator[str]:
    """Yield the URI of every address in rows of a header, as far as they are well-formed."""
    for row in rows:
        at = 0
        while found := _ADDRESS.match(row, at):
            yield (found["within"] or found["bare"] or "").strip()
            at = found.end()


def own_contact(flow: Flow, *, secure: bool = False) -> str:
    """Return our Contact for a peer that came by flow: a GRUU of our own making (SUB-12, RFC 5627 section 4.3)."""
    return f"<{_own_scheme(flow, secure=secure)}:{_own_address(flow)};gr>"


def own_route(flow: Flow) -> str:
    """Return the Path value that leads back to us and on by flow's address (RFC 3327 section 5.2)."""
    return f"<{_own_scheme(flow)}:{_own_address(flow)};lr>"


def own_host(flow: Flow) -> str:
    """Return the address that flow came to, as the host of a SIP URI."""
    host = flow.local[0]
    return f"[{host}]" if ":" in host else host


def _own_scheme(flow: Flow, *, secure: bool = False) -> str:
    # transport=tls is not written any more (RFC 5630 section 3.1.4): what leads over TLS is sips.
    return "sips" if secure or flow.transport == "tls" else "sip"


def _own_address(flow: Flow) -> str:
    where = f"{own_host(flow)}:{flow.local[1]}"
    if flow.transport in ("udp", "tls"):
        return where
    return f"{where};transport={'ws' if flow.transport == 'wss' else flow.transport}"  # RFC 7118 section 5.4


def fallback_flow(response: SipMessage, flow: Flow) -> Flow:
    """Return where to connect (TRN-4): received, at the port of the Via or the default one.

    Over TLS whoever is there has to be the host of the Via.
    """
    via = response.top_via
    port = via.port or default_port(via.transport.lower())
    if flow.transport == "tls":
        return Flow("tls", flow.local, (flow.host, port), domain=via.host.strip("[]").lower())
    return flow.reply(port)


def sent_by(response: SipMessage) -> Hop:
    """Return where to look for whoever cannot be connected to at received (TRN-5, RFC 3263 section 5)."""
    via = response.top_via
    transport = via.transport.lower()
    host = via.host.strip("[]").lower()
    return Hop(transport, host, via.port or (default_port(transport) if is_literal(host) else 0))
