"""URIs by the book: RFC 3261 19.1 and 25.1, with the address grammar of RFC 5954."""

import ipaddress
import re
from dataclasses import dataclass

UNRESERVED = rb"A-Za-z0-9\-_.!~*'()"
ESCAPED = rb"%[0-9A-Fa-f]{2}"
RESERVED = b";/?:@&=+$,"

_SCHEME = re.compile(rb"([A-Za-z][A-Za-z0-9+\-.]*):")
_OPAQUE = re.compile(rb"(?:[" + UNRESERVED + rb";/?:@&=+$,\[\]#]|" + ESCAPED + rb")+")
_USER = re.compile(rb"(?:[" + UNRESERVED + rb"&=+$,;?/]|" + ESCAPED + rb")+")
_PASSWORD = re.compile(rb"(?:[" + UNRESERVED + rb"&=+$,]|" + ESCAPED + rb")*")
_PARAM = re.compile(rb"(?:[" + UNRESERVED + rb"\[\]/:&+$]|" + ESCAPED + rb")+")
_HEADER = re.compile(rb"(?:[" + UNRESERVED + rb"\[\]/?:+$]|" + ESCAPED + rb")*")
_LABEL = re.compile(rb"[A-Za-z0-9_\-]+")
_KEPT = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()&=+$,;?/")

MAX_URI = 65_535
MAX_PARAMETERS = 64

MUST_AGREE = (b"user", b"ttl", b"method", b"maddr", b"transport")
"URI parameters that cannot be in one URI alone (RFC 3261 19.1.4)."


class Refused(ValueError):
    """The input is malformed; status is the answer it is owed, None for none."""

    def __init__(self, reason: str, status: int | None = 400) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Uri:
    """A URI taken apart, as written; everything but scheme and text stays empty unless it is sip or sips."""

    scheme: str
    text: str
    user: str | None = None
    password: str | None = None
    host: str | None = None
    port: int | None = None
    parameters: tuple[tuple[str, str | None], ...] = ()
    headers: str | None = None

    @property
    def is_sip(self) -> bool:
        """Whether it is a SIP or SIPS URI."""
        return self.scheme.lower() in ("sip", "sips")


def ipv6(text: bytes) -> bytes | None:
    """Return the 16 octets of an IPv6 address without brackets, or None; `:::` counts as `::` (MSG-17)."""
    if not re.fullmatch(rb"[0-9A-Fa-f:.]+", text):
        return None
    start, colon, tail = re.sub(rb":::(?=[0-9]+\.)", b"::", text).rpartition(b":")
    address = ipv4(tail)
    if address:
        tail = b".".join(b"%d" % octet for octet in address)
    try:
        return ipaddress.IPv6Address((start + colon + tail).decode()).packed
    except ValueError:
        return None


def ipv4(text: bytes) -> bytes | None:
    """Return the 4 octets of a dotted quad, or None."""
    if not re.fullmatch(rb"\d{1,3}(?:\.\d{1,3}){3}", text):
        return None
    octets = [int(part) for part in text.split(b".")]
    return bytes(octets) if max(octets) < 256 else None


def check_host(text: bytes) -> bytes:
    """Return text if it is a host: name, dotted quad or bracketed IPv6 address."""
    if text.startswith(b"["):
        if text.endswith(b"]") and ipv6(text[1:-1]):
            return text
        raise Refused("host: not an IPv6 reference")
    name = text[:-1] if text.endswith(b".") else text
    labels = name.split(b".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise Refused("host: not a host name")
    if labels[-1].isdigit() and ipv4(text) is None:
        raise Refused("host: not an IPv4 address")
    return text


def check_port(text: bytes) -> int:
    """Return the port of 1*DIGIT; there is no port 0."""
    if not re.fullmatch(rb"[0-9]+", text) or not 0 < int(text) < 65536:
        raise Refused("port: not a port")
    return int(text)


def split_host(text: bytes) -> tuple[bytes, int | None]:
    """Return the host and port of `host[:port]`."""
    if text.startswith(b"["):
        host, bracket, rest = text.partition(b"]")
        host += bracket
    else:
        host, colon, rest = text.partition(b":")
        rest = colon + rest
    if not rest:
        return check_host(host), None
    if not rest.startswith(b":"):
        raise Refused("host: octets after the address")
    return check_host(host), check_port(rest[1:])


def parse(data: bytes) -> Uri:
    """Take a URI apart, or raise Refused."""
    if len(data) > MAX_URI:
        raise Refused("uri: too long")
    scheme = _SCHEME.match(data)
    if not scheme:
        raise Refused("uri: no scheme")
    name = scheme[1].decode()
    rest = data[scheme.end() :]
    if name.lower() not in ("sip", "sips"):
        if not _OPAQUE.fullmatch(rest):
            raise Refused("uri: octets that no URI has")
        return Uri(name, data.decode())
    userinfo, at, rest = rest.rpartition(b"@")
    user: bytes | None = None
    password: bytes | None = None
    if at:
        user, colon, after = userinfo.partition(b":")
        password = after if colon else None
        if not _USER.fullmatch(user):
            raise Refused("uri: user")
        if password is not None and not _PASSWORD.fullmatch(password):
            raise Refused("uri: password")
    rest, question, headers = rest.partition(b"?")
    hostport, *pieces = rest.split(b";")
    host, port = split_host(hostport)
    parameters: list[tuple[str, str | None]] = []
    for piece in pieces:
        pname, equals, pvalue = piece.partition(b"=")
        if not _PARAM.fullmatch(pname) or (equals and not _PARAM.fullmatch(pvalue)):
            raise Refused("uri: parameter")
        parameters.append((pname.decode(), pvalue.decode() if equals else None))
    names = [plain(pname.encode()).lower() for pname, _ in parameters]
    if len(set(names)) != len(names) or len(names) > MAX_PARAMETERS:
        raise Refused("uri: repeated parameter, or too many")
    if question:
        if headers.count(b"&") >= MAX_PARAMETERS:
            raise Refused("uri: too many headers")
        for piece in headers.split(b"&"):
            hname, equals, hvalue = piece.partition(b"=")
            if not hname or not equals or not _HEADER.fullmatch(hname) or not _HEADER.fullmatch(hvalue):
                raise Refused("uri: header")
    return Uri(
        name,
        data.decode(),
        user.decode() if user is not None else None,
        password.decode() if password is not None else None,
        host.decode(),
        port,
        tuple(parameters),
        headers.decode() if question else None,
    )


def unescape(text: bytes) -> bytes:
    """Undo %HH, exactly once (URI-2)."""
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), text)


def plain(text: bytes) -> bytes:
    """Return a form in which two components are octet-equal when RFC 3261 19.1.4 calls them equal.

    An escaped reserved character keeps an escape that no URI can hold raw, so that it stays apart from the
    character itself, and from one that only looks escaped once its %25 is undone.
    """

    def one(found: re.Match[bytes]) -> bytes:
        octet = bytes([int(found[1], 16)])
        return b"\xff\xff" + octet if octet in RESERVED else octet

    return re.sub(rb"%([0-9A-Fa-f]{2})", one, text)


def host_key(host: str | None) -> bytes:
    """Return a form in which equal hosts are octet-equal: binary addresses, lower-case names."""
    octets = (host or "").encode()
    if octets.startswith(b"["):
        return b"6" + (ipv6(octets[1:-1]) or b"")
    address = ipv4(octets)
    return b"4" + address if address else b"n" + octets.lower()


def host_text(key: bytes) -> str:
    """Return the one spelling of a host: lower case, RFC 5952 in brackets, plain digits."""
    kind, octets = key[:1], key[1:]
    if kind == b"6":
        address = ipaddress.IPv6Address(octets)
        mapped = address.ipv4_mapped
        return f"[::ffff:{mapped}]" if mapped else f"[{address.compressed}]"
    if kind == b"4":
        return str(ipaddress.IPv4Address(octets))
    return octets.decode()


def _userinfo(part: str | None) -> bytes | None:
    return None if part is None else plain(part.encode())


def _parameters(uri: Uri) -> dict[bytes, bytes | None]:
    return {
        plain(name.encode()).lower(): None if value is None else plain(value.encode()).lower()
        for name, value in uri.parameters
    }


def _headers(uri: Uri) -> list[tuple[bytes, bytes]]:
    if uri.headers is None:
        return []
    pairs = (piece.partition(b"=") for piece in uri.headers.encode().split(b"&"))
    named = ((plain(name).lower(), plain(value)) for name, _, value in pairs)
    return sorted((name, value if name == b"call-id" else value.lower()) for name, value in named)


def equal(a: bytes, b: bytes) -> bool:
    """Compare by RFC 3261 19.1.4 (URI-3); what does not parse is compared as octets."""
    try:
        left, right = parse(a), parse(b)
    except Refused:
        return a == b
    if left.scheme.lower() != right.scheme.lower():
        return False
    if not left.is_sip:
        return left.text.partition(":")[2] == right.text.partition(":")[2]
    if _userinfo(left.user) != _userinfo(right.user) or _userinfo(left.password) != _userinfo(right.password):
        return False
    if host_key(left.host) != host_key(right.host) or left.port != right.port:
        return False
    ours, theirs = _parameters(left), _parameters(right)
    if any((name in ours) != (name in theirs) for name in MUST_AGREE):
        return False
    if any(ours[name] != theirs[name] for name in ours.keys() & theirs.keys()):
        return False
    return _headers(left) == _headers(right)


def aor_key(data: bytes) -> tuple[bytes | None, bytes, int | None]:
    """Return (user, host, port): what makes two addresses-of-record one (URI-7)."""
    uri = parse(data)
    if not uri.is_sip or uri.host is None:
        raise Refused("aor: neither sip nor sips")
    userinfo = uri.user
    if userinfo is not None and uri.password is not None:
        userinfo += ":" + uri.password
    return None if userinfo is None else unescape(userinfo.encode()), host_key(uri.host), uri.port


def canonical_aor(data: bytes) -> str:
    """Return the one spelling of an address-of-record."""
    user, host, port = aor_key(data)
    text = "sip:"
    if user is not None:
        text += "".join(chr(octet) if octet in _KEPT else f"%{octet:02X}" for octet in user) + "@"
    text += host_text(host)
    return text + (f":{port}" if port is not None else "")


def hop_parts(data: bytes) -> tuple[bool, str, str, int]:
    """Return whether a URI is SIPS, the transport it names, maddr or host, and the port, 0 for none."""
    uri = parse(data)
    if not uri.is_sip or uri.host is None:
        raise Refused("neither SIP nor SIPS", 416)
    named = {name.lower(): value for name, value in uri.parameters}
    host = (named.get("maddr") or uri.host).removeprefix("[").removesuffix("]")
    return uri.scheme.lower() == "sips", (named.get("transport") or "").lower(), host.lower(), uri.port or 0
