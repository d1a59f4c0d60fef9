"""Configured values that have a grammar of their own: listeners, domains, URIs, networks."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Literal, NamedTuple, cast
from urllib.parse import parse_qs, urlsplit

from reginfo.errors import ConfigError
from reginfo.fast import SipParseError, parse_uri

Transport = Literal["udp", "tcp", "tls", "ws", "wss"]

PORTS: dict[str, int] = {"udp": 5060, "tcp": 5060, "tls": 5061, "ws": 80, "wss": 443}
"Those of RFC 3261 19.1.2, and of RFC 7118 as RFC 6455 has them."


MAX_URL = 2048
_URL = re.compile(r"[!-~]+")


class Listener(NamedTuple):
    """One address to accept SIP on."""

    transport: Transport
    host: str
    "IP address, IPv6 without brackets, in its canonical text."
    port: int
    "0 lets the system choose."

    @property
    def is_loopback(self) -> bool:
        return ip_address(self.host).is_loopback

    @property
    def is_secure(self) -> bool:
        return self.transport in ("tls", "wss")

    @property
    def sip_host(self) -> str:
        """The address as the host of a SIP URI: IPv6 in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    def __str__(self) -> str:
        return f"{self.transport}:{self.sip_host}:{self.port}"


# listen = transport ":" ( IPv4address / "[" IPv6address "]" ) [ ":" port ]
_LISTEN = re.compile(r"(?P<transport>[a-z]+):(?:\[(?P<six>[^\]]+)\]|(?P<four>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?")

# hostname = *( domainlabel "." ) toplabel [ "." ]   RFC 3261 25.1
_HOSTNAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z](?:[a-z0-9-]*[a-z0-9])?\.?")


def parse_listener(text: str) -> Listener:
    """Return the address that `udp:192.0.2.1:5060` or `tcp:[2001:db8::1]` names."""
    match = _LISTEN.fullmatch(text)
    if match and match["transport"] in PORTS and (port := int(match["port"] or PORTS[match["transport"]])) <= 0xFFFF:
        try:
            host = ip_address(match["six"] or match["four"])
        except ValueError:
            pass
        else:
            # A zone is no part of an address in SIP (RFC 3261 25.1).
            if (host.version == 6) == bool(match["six"]) and "%" not in text:
                return Listener(cast(Transport, match["transport"]), str(host), port)
    raise ConfigError(
        f"listen {text!r} must be TRANSPORT:ADDRESS:PORT with udp, tcp, tls, ws or wss and an IP address, IPv6 in "
        "brackets (udp:127.0.0.1:5060, tls:[::1]:5061)",
        key="listen",
    )


def parse_address(text: str, key: str) -> tuple[str, int]:
    """Return the host and port that `127.0.0.1:8080` or `[::1]:8080` names."""
    try:
        where = parse_listener(f"tcp:{text}")
    except ConfigError:
        where = None
    if where is None or not text.endswith(f":{where.port}"):
        raise ConfigError(f"{key} {text!r} must be ADDRESS:PORT, IPv6 in brackets (127.0.0.1:8080)", key=key)
    return where.host, where.port


def canonical_domain(text: str) -> str:
    """Return a domain as the host of a canonical AoR is written: lower case, IPv6 in brackets."""
    domain = text.lower()
    if _HOSTNAME.fullmatch(domain):
        return domain
    try:
        if "%" in domain:
            raise ValueError("a zone is no part of an address in SIP")
        address = ip_address(domain.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ConfigError(f"domains: {text!r} is neither a host name nor an address", key="domains") from None
    return f"[{address}]" if address.version == 6 else str(address)


def check_uri(text: str, key: str) -> None:
    """Refuse what is no SIP or SIPS URI."""
    try:
        uri = parse_uri(text)
    except SipParseError as error:
        raise ConfigError(f"{key}: {text!r} is not a SIP URI: {error.reason}", key=key) from None
    if uri.scheme not in ("sip", "sips"):
        raise ConfigError(f"{key}: {text!r} is not a SIP or SIPS URI", key=key)


def check_database(url: str, key: str) -> None:
    """Refuse what names no database of users, or carries a secret that --print-config would show."""
    try:
        parts = urlsplit(url)
        secret = parts.password is not None or "password" in parse_qs(parts.query)
    except ValueError:
        parts, secret = urlsplit(""), False
    known = parts.scheme in ("postgresql", "postgres") or (
        url.startswith("sqlite:///") and len(url) > len("sqlite:///")
    )
    if not known or not url.isprintable():
        # What is malformed may hold a password as well: it is not repeated.
        raise ConfigError(
            f'{key} must be "sqlite:///FILE" (an absolute path has four slashes) or "postgresql://USER@HOST/DATABASE"',
            key=key,
        )
    if secret:
        raise ConfigError(
            f"{key} must not hold a password: give it in PGPASSWORD or in the file PGPASSFILE names (~/.pgpass)",
            key=key,
        )


def check_url(text: str, key: str) -> None:
    """Refuse what is no address of an HTTP server, or carries a password that --print-config would show."""
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known or len(text) > MAX_URL or not _URL.fullmatch(text):
        raise ConfigError(
            f'{key} must be "https://HOST/PATH" or "http://HOST/PATH", and no longer than {MAX_URL}', key=key
        )
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ConfigError(f"{key} must hold neither a password nor a fragment", key=key)


def endpoint_of(url: str) -> str:
    """Return host, port and path of a checked URL."""
    parts = urlsplit(url)
    return f"{parts.netloc.lower()}{parts.path.rstrip('/')}"


def check_route(text: str, key: str) -> None:
    """Refuse what is not the URI of a loose router (RFC 3261 section 19.1.1)."""
    check_uri(text, key)
    uri = parse_uri(text)
    if not any(name.lower() == "lr" for name, _ in uri.parameters) or uri.headers is not None:
        raise ConfigError(f"{key}: {text!r} needs ;lr, and no header fields", key=key)


def is_network(text: str) -> bool:
    """Tell a network from the pattern of a URI, which begins with its scheme."""
    return text[:1].isdigit() or text.startswith("[") or ":" not in text


def parse_network(text: str, key: str) -> IPv4Network | IPv6Network:
    """Return the addresses that `192.0.2.1`, `192.0.2.0/24` or `2001:db8::/32` names."""
    try:
        return ip_network(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ConfigError(f"{key}: {text!r} is neither an IP address nor a network (192.0.2.0/24)", key=key) from None
