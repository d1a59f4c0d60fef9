"""Other servers that state is exchanged with: `[[peer]]`."""

import re
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

import msgspec

from reginfo.config.section import Seconds, Section
from reginfo.config.values import canonical_domain, check_uri, parse_network
from reginfo.errors import ConfigError
from reginfo.fast import parse_uri

# It is part of an origin and of keys; a dot ends it there.
_PEER_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


def _literal_host(uri: str) -> str | None:
    """Return the host of a URI if it is an IP address."""
    host = parse_uri(uri).host or ""
    bare = host.removeprefix("[").removesuffix("]")
    try:
        parse_network(bare, "peer.uri")
    except ConfigError:
        return None
    return bare


class PeerSection(Section, frozen=True, kw_only=True):
    """Another server that state is exchanged with."""

    name: str
    "1 to 32 letters, digits, `-` or `_`; what was learned from it has the origin `peer:NAME`."
    uri: str
    "Its SIP URI; with a host name, give `addresses`."
    profile: Literal["default", "kamailio"] = "default"
    "What is sent to it: documents after the schema, or what `pua_reginfo` reads."
    mode: Literal["follow", "mirror"] = "follow"
    "What is registered here always wins, or the newer REGISTER wins on all sides."
    domains: tuple[str, ...] = ()
    "What it may speak for; empty: every domain served here."
    addresses: tuple[str, ...] = ()
    "Addresses and networks it is recognised by; empty, without `tls_name`: the address in `uri`."
    tls_name: str = ""
    "SIP domain that its certificate proves; it is recognised by that, from wherever it comes."
    stale_grace: Seconds = 600
    "Seconds that what was learned from it outlives the end of a subscription."
    username: str = ""
    "Who this server is there, when it is asked for a password."
    password_file: str = ""
    "File whose first line is the password."
    realm: str = ""
    "Realm that the password is for; empty: whichever asks there."

    def __post_init__(self) -> None:
        if not _PEER_NAME.fullmatch(self.name):
            raise ConfigError(f"peer.name {self.name!r} must be 1 to 32 letters, digits, - or _", key="peer.name")
        check_uri(self.uri, "peer.uri")
        msgspec.structs.force_setattr(self, "domains", tuple(map(canonical_domain, self.domains)))
        for address in self.addresses:
            parse_network(address, "peer.addresses")
        if self.tls_name:
            msgspec.structs.force_setattr(self, "tls_name", canonical_domain(self.tls_name))
        if bool(self.username) != bool(self.password_file):
            raise ConfigError("peer.username and peer.password_file go together", key="peer.username")
        if not self.username.isprintable() or ":" in self.username:
            raise ConfigError("peer.username must be printable text without a colon", key="peer.username")

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The addresses it is recognised by: those configured, else the one its URI names if it has no TLS name."""
        named = self.addresses
        if not named and not self.tls_name:
            named = tuple(filter(None, [_literal_host(self.uri)]))
        return tuple(parse_network(address, "peer.addresses") for address in named)
