"""Who another server or watcher is: by what it has proven, by its certificate, by its address, or by its URI."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

from reginfo.config import PeerSection
from reginfo.fast import Flow, Proof, SipMessage, SipParseError, canonical_aor, parse_uri
from reginfo.sip.routing import Hop, next_hop

_Network = IPv4Network | IPv6Network


class Patterns:
    """Texts in which `*` stands for any text."""

    def __init__(self, patterns: Iterable[str]) -> None:
        alternatives = [_expression(pattern) for pattern in patterns]
        self._pattern = re.compile("|".join(alternatives), re.DOTALL) if alternatives else None

    def match(self, text: str) -> bool:
        """Tell whether one of the patterns is the whole text."""
        return self._pattern is not None and self._pattern.fullmatch(text) is not None


def _expression(pattern: str) -> str:
    """Return a regular expression that takes the first place where each piece fits, and never tries another.

    If the rest fits behind a later place, it fits behind the first one: to try them all takes a time that grows with
    a power of the length of the text, for each `*` one more.
    """
    first, *pieces = map(re.escape, pattern.split("*"))
    if not pieces:
        return first
    *inner, last = pieces
    return first + "".join(f"(?>.*?{piece})" for piece in inner if piece) + ".*" + last


class Networks:
    """A set of addresses."""

    def __init__(self, networks: Iterable[_Network]) -> None:
        self._networks = tuple(networks)
        self.match = lru_cache(maxsize=4096)(self._match)
        "Tell whether an IP address is one of them."

    @property
    def is_empty(self) -> bool:
        return not self._networks

    def _match(self, host: str) -> bool:
        if not self._networks:
            return False
        address = ip_address(host)
        return any(address in network for network in self._networks)


class Peer:
    """A configured server."""

    def __init__(self, section: PeerSection, served: Sequence[str]) -> None:
        self.name = section.name
        self.uri = section.uri
        self.origin = f"peer:{section.name}"
        self.mirrors = section.mode == "mirror"
        self.is_kamailio = section.profile == "kamailio"
        self.stale_grace_ms = section.stale_grace * 1000
        self.networks = Networks(section.networks)
        self.tls_name = section.tls_name
        self._domains = frozenset(section.domains or served)

    def speaks_for(self, aor: str) -> bool:
        """Tell whether it may say anything about a canonical AoR (RIC-10)."""
        return domain_of(aor) in self._domains


Identities = Callable[[Flow], Sequence[str]]
"Domains that the other side of a flow has proved to be, by a certificate (RFC 5922 section 7.1)."


class Peers:
    """All configured servers."""

    def __init__(
        self, sections: Sequence[PeerSection], served: Sequence[str], identities: Identities = lambda flow: ()
    ) -> None:
        self._identities = identities
        self._by_tls_name = {section.tls_name: section.name for section in sections if section.tls_name}
        self._peers = [Peer(section, served) for section in sections]
        self._by_name = {peer.name: peer for peer in self._peers}
        self.at = lru_cache(maxsize=4096)(self._at)
        "Return the peer recognised by an IP address, None if it is nobody's."

    def by(self, flow: Flow) -> Peer | None:
        """Return the peer at the other side of a flow: whose name its certificate proves, else whose address it is."""
        if self._by_tls_name and flow.connection:
            for domain in self._identities(flow):
                if domain in self._by_tls_name:
                    return self._by_name[self._by_tls_name[domain]]
        return self.at(flow.host)

    def _at(self, host: str) -> Peer | None:
        return next((peer for peer in self._peers if peer.networks.match(host)), None)

    def may_be(self, peer: Peer, flow: Flow) -> bool:
        """Tell whether a peer may be at the other side of a flow; nobody knows of one without address and TLS name."""
        if peer.tls_name and peer.tls_name in self._identities(flow):
            return True
        return peer.networks.match(flow.host) or (peer.networks.is_empty and not peer.tls_name)

    def named(self, name: str) -> Peer | None:
        """Return the peer of a name."""
        return self._by_name.get(name)

    def at_hop(self, hop: Hop) -> Peer | None:
        """Return the peer whose URI leads to this place."""
        return next((peer for peer in self._peers if next_hop(peer.uri) == hop), None)

    def speaking_for(self, aor: str) -> list[Peer]:
        """Return the peers that may say something about a canonical AoR."""
        return [peer for peer in self._peers if peer.speaks_for(aor)]


def domain_of(aor: str) -> str:
    """Return the host of a canonical AoR."""
    _, at, host = aor.rpartition("@")
    return host if at and ":" not in host else parse_uri(aor).host or ""


def identity_of(request: SipMessage) -> str:
    """Return who a request says it comes from: From as a canonical AoR, or as it is if it is no SIP URI (REG-3)."""
    uri = request.from_.uri
    try:
        return canonical_aor(uri)
    except SipParseError:
        return uri


class Sender:
    """Who a request is from: as proven, or as it says where nobody is asked for a proof."""

    __slots__ = ("asserted", "identity", "owns", "proven")

    def __init__(self, request: SipMessage, proof: Proof | None, asserted: str | None = None) -> None:
        """asserted is who a trusted peer says it is."""
        self.asserted = asserted is not None
        if asserted is not None:
            self.identity = asserted
        else:
            self.identity = identity_of(request) if proof is None else proof.identity
        "A canonical address-of-record, as far as it is one."
        self.owns = self.identity.__eq__ if proof is None else proof.owns
        "Tell whether a canonical address-of-record is the sender's own (AUT-7)."
        self.proven = proof is not None or self.asserted

    def is_stranger_to(self, identity: str) -> bool:
        """Tell whether it has proven to be somebody else."""
        return self.proven and identity != self.identity and not self.owns(identity)
