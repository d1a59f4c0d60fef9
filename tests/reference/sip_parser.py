"""SIP messages by the book: RFC 3261 7, 20 and 25, with the verdicts of RFC 4475 and RFC 5118.

A message is cut into unfolded rows first; every value is then matched against its grammar.  What a request
needs to be answered is checked at once, everything else when it is read.
"""

import re
from contextlib import suppress
from dataclasses import dataclass, field

from tests.reference import uri as uris
from tests.reference.uri import Refused, Uri

TOKEN = rb"[A-Za-z0-9\-.!%*_+`'~]+"
UTF8 = (
    rb"[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
QUOTED = rb'"(?:[\t\r \x21\x23-\x5b\x5d-\x7e]|' + UTF8 + rb'|\\[\x00-\x09\x0b\x0c\x0e-\x7f])*"'
WORD = rb"[A-Za-z0-9\-.!%*_+`'~()<>:\\\"/\[\]?{}]+"
VALUE = rb"[A-Za-z0-9\-.!%*_+`'~:\[\]]+"
CREDENTIAL = rb"[A-Za-z0-9\-.!%*_+`'~()\[\]/:&$?=@]+"
FOLD = b"\r"
"Stands for a fold in a value: no CR occurs anywhere else in it."
BLANKS = b" \t" + FOLD
SWS = rb"[ \t\r]*"
LWS = rb"[ \t\r]+"

Parameters = tuple[tuple[str, str | None], ...]

METHODS = frozenset(
    [
        "ACK",
        "BYE",
        "CANCEL",
        "INFO",
        "INVITE",
        "MESSAGE",
        "NOTIFY",
        "OPTIONS",
        "PRACK",
        "PUBLISH",
        "REFER",
        "REGISTER",
        "SUBSCRIBE",
        "UPDATE",
    ]
)
"Methods registered with IANA: 405 or better for these, 501 for all others."

LONG_NAMES = {
    b"v": b"via",
    b"f": b"from",
    b"t": b"to",
    b"i": b"call-id",
    b"m": b"contact",
    b"l": b"content-length",
    b"c": b"content-type",
    b"e": b"content-encoding",
    b"k": b"supported",
    b"s": b"subject",
    b"o": b"event",
    b"u": b"allow-events",
}
ONCE = frozenset(
    b"to from call-id cseq max-forwards expires min-expires content-length content-type event subscription-state"
    b" sip-etag sip-if-match date".split()
)
LISTS = frozenset(
    b"via contact route record-route path service-route supported require proxy-require unsupported allow"
    b" allow-events accept accept-encoding accept-language".split()
)

MAX_HEADERS = 128
MAX_HEAD = 16 * 1024
MAX_VIAS = 70
MAX_CALL_ID = 256
MAX_CONTACTS = 32
MAX_MESSAGE = 256 * 1024
DELTA_MAX = 2**32 - 1
DELTA_DEFAULT = 3600


@dataclass(frozen=True)
class NameAddr:
    """A URI with its display name and header parameters."""

    display_name: str | None
    uri: str
    parameters: Parameters
    tag: str | None = None


@dataclass(frozen=True)
class Contact:
    """A Contact value of a REGISTER, or of any other message."""

    display_name: str | None
    uri: str
    q: int | None
    expires: int | None
    instance: str | None
    reg_id: int | None
    parameters: Parameters


@dataclass(frozen=True)
class Via:
    """One hop."""

    transport: str
    host: str
    port: int | None
    branch: str | None
    received: str | None
    rport: int | None
    maddr: str | None
    ttl: int | None
    parameters: Parameters


@dataclass(frozen=True)
class Event:
    """The Event header."""

    package: str
    id: str | None
    parameters: Parameters


@dataclass(frozen=True)
class SubscriptionState:
    """The Subscription-State header."""

    state: str
    reason: str | None
    expires: int | None
    retry_after: int | None


@dataclass(frozen=True)
class DigestCredentials:
    """Credentials or a challenge; only Digest has parameters."""

    scheme: str
    params: dict[str, str]


@dataclass
class Message:
    """A message that may be processed."""

    is_request: bool
    rows: list[tuple[bytes, bytes]]
    body: bytes
    method: str = ""
    request_uri: str = ""
    status: int = 0
    phrase: bytes = b""
    vias: list[Via] = field(default_factory=list)
    from_: NameAddr | None = None
    to: NameAddr | None = None
    call_id: str = ""
    cseq: int = 0
    cseq_method: str = ""
    max_forwards: int | None = None
    contact_count: int = 0
    contacts: list[Contact] = field(default_factory=list)
    contact_star: bool = False

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a header in order; lists are cut at their commas."""
        found = [value for row, value in self.rows if row == name]
        if name not in LISTS:
            return found
        return [item for value in found for item in split(value, b",")]

    def single(self, name: bytes) -> str | None:
        """Return the first row of a header as it is written, folds made blanks."""
        found = [value for row, value in self.rows if row == name]
        return text(found[0]) if found else None

    @property
    def reason(self) -> str:
        """The reason phrase."""
        return text(self.phrase)

    @property
    def row_values(self) -> list[tuple[str, str]]:
        """Rows by lower-case long name."""
        return [(text(name), text(value)) for name, value in self.rows]

    @property
    def request_scheme(self) -> str:
        """Scheme of the Request-URI in lower case."""
        return uris.parse(self.request_uri.encode()).scheme.lower()

    @property
    def request_host(self) -> str:
        """Host of the Request-URI, spelt as an address-of-record spells it."""
        target = uris.parse(self.request_uri.encode())
        return uris.host_text(uris.host_key(target.host)) if target.is_sip else ""

    @property
    def request_port(self) -> int | None:
        """Port of the Request-URI."""
        return uris.parse(self.request_uri.encode()).port

    @property
    def expires(self) -> int | None:
        """The Expires header (REG-8)."""
        found = self.values(b"expires")
        return delta_seconds(found[0]) if found else None

    @property
    def min_expires(self) -> int | None:
        """The Min-Expires header."""
        found = self.values(b"min-expires")
        return optional_seconds(found[0]) if found else None

    @property
    def retry_after(self) -> int | None:
        """The delta-seconds of Retry-After; a comment and parameters may follow."""
        found = self.values(b"retry-after")
        if not found:
            return None
        match = re.match(rb"[0-9]*", found[0])
        return optional_seconds(match[0]) if match else None

    @property
    def content_type(self) -> str | None:
        """The Content-Type header."""
        return self.single(b"content-type")

    @property
    def user_agent(self) -> str | None:
        """The User-Agent header; not worth a refusal."""
        try:
            return self.single(b"user-agent")
        except Refused:
            return None

    @property
    def sip_etag(self) -> str | None:
        """The SIP-ETag header."""
        return self.single(b"sip-etag")

    @property
    def sip_if_match(self) -> str | None:
        """The SIP-If-Match header."""
        return self.single(b"sip-if-match")

    @property
    def aor(self) -> str:
        """The canonical address-of-record of To."""
        assert self.to is not None
        return uris.canonical_aor(self.to.uri.encode())

    @property
    def event(self) -> Event | None:
        """The Event header."""
        found = self.values(b"event")
        if not found:
            return None
        package, *pieces = split(found[0], b";")
        if not re.fullmatch(TOKEN, package):
            raise Refused("Event")
        listed = parameters(pieces)
        ids = [value for name, value in listed if name.lower() == "id"]
        return Event(text(package), ids[0] if ids else None, listed)

    @property
    def subscription_state(self) -> SubscriptionState | None:
        """The Subscription-State header."""
        found = self.values(b"subscription-state")
        if not found:
            return None
        state, *pieces = split(found[0], b";")
        if not re.fullmatch(TOKEN, state):
            raise Refused("Subscription-State")
        known = {name.lower(): value for name, value in parameters(pieces)}
        return SubscriptionState(
            text(state).lower(),
            known.get("reason"),
            optional_seconds((known.get("expires") or "").encode()),
            optional_seconds((known.get("retry-after") or "").encode()),
        )

    @property
    def authorization(self) -> list[DigestCredentials]:
        """The Authorization headers."""
        return [digest(value) for value in self.values(b"authorization")]

    @property
    def server_challenges(self) -> list[dict[str, str]]:
        """What WWW-Authenticate asks for."""
        return understood(self.values(b"www-authenticate"))

    @property
    def proxy_challenges(self) -> list[dict[str, str]]:
        """What Proxy-Authenticate asks for."""
        return understood(self.values(b"proxy-authenticate"))

    @property
    def authentication_info(self) -> dict[str, str]:
        """The parameters of the first Authentication-Info."""
        found = understood([b"Digest " + value for value in self.values(b"authentication-info")[:1]])
        return found[0] if found else {}

    @property
    def routes(self) -> list[NameAddr]:
        """The Route values."""
        return self.name_addrs(b"route")

    @property
    def record_routes(self) -> list[NameAddr]:
        """The Record-Route values."""
        return self.name_addrs(b"record-route")

    @property
    def path(self) -> list[NameAddr]:
        """The Path values."""
        return self.name_addrs(b"path")

    @property
    def service_route(self) -> list[NameAddr]:
        """The Service-Route values."""
        return self.name_addrs(b"service-route")

    @property
    def supported(self) -> list[str]:
        """The option tags of Supported."""
        return self.items(b"supported")

    @property
    def require(self) -> list[str]:
        """The option tags of Require."""
        return self.items(b"require")

    @property
    def proxy_require(self) -> list[str]:
        """The option tags of Proxy-Require."""
        return self.items(b"proxy-require")

    @property
    def allow_events(self) -> list[str]:
        """The packages of Allow-Events."""
        return self.items(b"allow-events")

    @property
    def accept(self) -> list[str]:
        """The media ranges of Accept, as written."""
        return self.items(b"accept")

    def tokens(self, name: bytes) -> list[str]:
        """Return the items of a list of tokens, which must be one."""
        for value in self.values(name):
            if not re.fullmatch(TOKEN, value):
                raise Refused("not a token")
        return self.items(name)

    def items(self, name: bytes) -> list[str]:
        """Return the items of a list, empty ones left out."""
        return [text(item) for row, value in self.rows if row == name for item in loose(value) if item]

    def name_addrs(self, name: bytes) -> list[NameAddr]:
        """Return a list of name-addrs, such as Route."""
        return [name_addr(item) for item in self.values(name)]


def optional_seconds(value: bytes) -> int | None:
    """Return delta-seconds, None if malformed, the largest ones if larger."""
    return min(int(value), DELTA_MAX) if re.fullmatch(rb"[0-9]+", value) else None


def delta_seconds(value: bytes) -> int:
    """Return delta-seconds; what is malformed counts as 3600, what is too large as the largest (REG-8)."""
    return min(int(value), DELTA_MAX) if re.fullmatch(rb"[0-9]+", value) else DELTA_DEFAULT


def split(value: bytes, separator: bytes) -> list[bytes]:
    """Cut value at a separator outside quoted strings and angle brackets, and trim the pieces."""
    pieces, start, position, inside = [], 0, 0, False
    while position < len(value):
        octet = value[position : position + 1]
        if octet == b'"' and not inside:
            quoted = re.compile(QUOTED).match(value, position)
            if not quoted:
                raise Refused("quoted string")
            position = quoted.end()
            continue
        if octet == b"<":
            inside = True
        elif octet == b">":
            inside = False
        elif octet == separator and not inside:
            pieces.append(value[start:position])
            start = position + 1
        position += 1
    pieces.append(value[start:])
    return [piece.strip(BLANKS) for piece in pieces]


def loose(value: bytes) -> list[bytes]:
    """Cut a list that nobody has checked at its commas, as far as quotes and brackets can be told."""
    items, quoted, bracketed, escaped = [b""], False, False, False
    for octet in value:
        if octet == ord(",") and not quoted and not bracketed:
            items.append(b"")
            continue
        items[-1] += bytes([octet])
        if quoted:
            quoted = escaped or octet != ord('"')
            escaped = not escaped and octet == ord("\\")
        elif octet == ord('"'):
            quoted = True
        elif octet in b"<>":
            bracketed = octet == ord("<")
    return [item.strip(BLANKS) for item in items]


def text(octets: bytes) -> str:
    """Decode a value that is needed; a fold is a blank."""
    try:
        return octets.replace(FOLD, b" ").decode()
    except UnicodeDecodeError:
        raise Refused("not UTF-8") from None


def parameters(pieces: list[bytes], empty: frozenset[bytes] = frozenset()) -> Parameters:
    """Return generic-params as written; those named in empty may lack the value after their `=`."""
    found: list[tuple[str, str | None]] = []
    for piece in pieces:
        match = re.fullmatch(
            rb"(" + TOKEN + rb")(?:" + SWS + rb"(=)" + SWS + rb"(" + QUOTED + rb"|" + VALUE + rb")?)?", piece
        )
        if not match or (match[2] and match[3] is None and match[1].lower() not in empty):
            raise Refused("parameter")
        value = None if not match[2] else text(match[3] or b"")
        found.append((text(match[1]), value))
    names = [name.lower() for name, _ in found]
    if len(set(names)) != len(names) or len(names) > uris.MAX_PARAMETERS:
        raise Refused("repeated parameter, or too many")
    return tuple(found)


def unquote(quoted: bytes) -> bytes:
    """Return what a quoted-string says."""
    return re.sub(rb"\\(.)", rb"\1", quoted[1:-1], flags=re.DOTALL)


def address(value: bytes) -> tuple[str | None, bytes, list[bytes]]:
    """Return display name, URI and parameters of a name-addr or an addr-spec (MSG-13)."""
    match = re.fullmatch(
        rb"(" + QUOTED + rb"|(?:" + TOKEN + rb"(?:[ \t\r]+|(?=<)))*)" + SWS + rb"<([^<>]*)>(.*)", value, re.DOTALL
    )
    if match:
        display, uri, rest = match[1].strip(BLANKS), match[2], match[3].strip(BLANKS)
        if rest and not rest.startswith(b";"):
            raise Refused("octets after >")
        pieces = split(rest, b";")[1:] if rest else []
        name = text(unquote(display) if display.startswith(b'"') else display) if display else None
    else:
        uri, *pieces = split(value, b";")
        name = None
        if re.search(rb"[?,<>\"]", uri):
            raise Refused("addr-spec that needs angle brackets")
    uris.parse(uri)
    return name, uri, pieces


def name_addr(value: bytes) -> NameAddr:
    """Return a From, To, Route or the like."""
    display, uri, pieces = address(value)
    found = parameters(pieces)
    tag = None
    for name, content in found:
        if name.lower() == "tag":
            if content is None or content.startswith('"'):
                raise Refused("tag")
            tag = content
    return NameAddr(display, text(uri), found, tag)


def contact(value: bytes) -> Contact:
    """Return one Contact value."""
    display, uri, pieces = address(value)
    found = parameters(pieces, frozenset({b"expires"}))
    q = expires = instance = reg_id = None
    others = []
    for name, content in found:
        lower = name.lower()
        if lower == "q":
            match = re.fullmatch(r"(0)(?:\.(\d{0,3}))?|(1)(?:\.0{0,3})?", content or "")
            if not match:
                raise Refused("q")
            q = 1000 if match[3] else int((match[2] or "").ljust(3, "0"))
        elif lower == "expires":
            expires = delta_seconds((content or "").encode())
        elif lower == "+sip.instance":
            match = re.fullmatch(r'"<([A-Za-z0-9\-_.!~*\'()%`;/?:@&=+$,\[\]#]+)>"', content or "")
            instance = match[1] if match else None
        elif lower == "reg-id":
            if not re.fullmatch("[0-9]+", content or "") or not 0 < int(content or "") < 2**31:
                raise Refused("reg-id")
            reg_id = int(content or "")
        else:
            others.append((name, content))
    return Contact(display, text(uri), q, expires, instance, reg_id, tuple(others))


def via(value: bytes) -> Via:
    """Return one Via value; what an earlier hop says of itself is taken as it is."""
    match = re.fullmatch(
        TOKEN
        + SWS
        + rb"/"
        + SWS
        + TOKEN
        + SWS
        + rb"/"
        + SWS
        + rb"("
        + TOKEN
        + rb")"
        + LWS
        + rb"(\[[^\]]*\]|[A-Za-z0-9\-._]+)(?:"
        + SWS
        + rb":"
        + SWS
        + rb"([0-9]+))?"
        + SWS
        + rb"((?:;.*)?)",
        value,
        re.DOTALL,
    )
    if not match:
        raise Refused("Via")
    host = uris.check_host(match[2])
    port = uris.check_port(match[3]) if match[3] is not None else None
    found = parameters(split(match[4], b";")[1:])
    known = {name.lower(): content for name, content in found}
    if "branch" in known and (known["branch"] or '"').startswith('"'):
        raise Refused("branch")
    rport = ttl = None
    if "rport" in known:
        content = known["rport"]
        rport = 0 if content is None else uris.check_port(content.encode())
    if "ttl" in known:
        content = known["ttl"] or ""
        if not re.fullmatch("[0-9]+", content) or int(content) > 255:
            raise Refused("ttl")
        ttl = int(content)
    return Via(
        text(match[1]),
        text(host),
        port,
        known.get("branch"),
        known.get("received"),
        rport,
        known.get("maddr"),
        ttl,
        found,
    )


def digest(value: bytes) -> DigestCredentials:
    """Return credentials; those of a scheme other than Digest are not looked into."""
    match = re.match(rb"(" + TOKEN + rb")(" + LWS + rb")?", value)
    if not match:
        raise Refused("Authorization")
    if match[1].lower() != b"digest":
        return DigestCredentials(text(match[1]), {})
    if not match[2]:
        raise Refused("Authorization: Digest without parameters")
    found: dict[str, str] = {}
    for piece in re.findall(rb"(?:" + QUOTED + rb'|[^",])+|\A(?=,)|(?<=,)(?=,|\Z)|"', value[match.end() :]) or [b""]:
        pair = re.fullmatch(
            SWS + rb"(" + TOKEN + rb")" + SWS + rb"=" + SWS + rb"(" + QUOTED + rb"|" + CREDENTIAL + rb")" + SWS, piece
        )
        if not pair or pair[1].lower().decode() in found:
            raise Refused("Authorization: Digest")
        content = unquote(pair[2]) if pair[2].startswith(b'"') else pair[2]
        found[pair[1].lower().decode()] = text(content)
    if len(found) > uris.MAX_PARAMETERS:
        raise Refused("Authorization: Digest has too many parameters")
    return DigestCredentials(text(match[1]), found)


def understood(values: list[bytes]) -> list[dict[str, str]]:
    """Return the parameters of the Digest challenges that are well-formed."""
    found = []
    for value in values:
        with suppress(Refused):
            challenge = digest(value)
            if challenge.scheme.lower() == "digest":
                found.append(challenge.params)
    return found


def media_type(value: bytes) -> None:
    """Check a Content-Type."""
    if not re.fullmatch(TOKEN + SWS + rb"/" + SWS + TOKEN + rb"(?:" + SWS + rb";.*)?", value, re.DOTALL):
        raise Refused("Content-Type")
    parameters(split(value, b";")[1:])


def media_range(value: bytes) -> None:
    """Check a value of Accept."""
    if not re.fullmatch(TOKEN + SWS + rb"/" + SWS + TOKEN + rb"(?:" + SWS + rb";.*)?", value, re.DOTALL):
        raise Refused("Accept")
    parameters(split(value, b";")[1:])


def head_of(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """Return start line, rows (long lower-case name, value) and the octets after the empty line."""
    blank = len(data) - len(re.sub(rb"\A(?:\r\n)+", b"", data))
    start, _, block = data[blank:].partition(b"\r\n")
    head, empty, rest = (b"\r\n" + block).partition(b"\r\n\r\n")
    too_long = len(data) - len(rest) > MAX_HEAD if empty else len(data) > MAX_HEAD
    rows: list[tuple[bytes, bytes]] = []
    # What lies beyond a cap is not looked at.
    lines = re.split(rb"\r\n(?![ \t])", head[: MAX_HEAD - blank - len(start)][2:]) if head else []
    for line in lines[: -1 if too_long else None]:
        match = re.fullmatch(rb"(" + TOKEN + rb")[ \t]*:(.*)", line, re.DOTALL)
        if not match or b"\n" in line.replace(b"\r\n", b""):
            raise Refused("not a header")
        if len(rows) == MAX_HEADERS:
            too_long = True
            break
        name = match[1].lower()
        value = re.sub(rb"(?:[ \t]*\r\n[ \t]+)+", FOLD, match[2]).strip(BLANKS)
        rows.append((LONG_NAMES.get(name, name), value))
    if too_long:
        contacts = sum(name == b"contact" for name, _ in rows)
        raise Refused("header section beyond its caps", 403 if contacts > MAX_CONTACTS else 400)
    if not empty:
        raise Refused("no empty line")
    if re.search(rb"\r(?!\n)|(?<!\r)\n", start + head):
        raise Refused("bare CR or LF")
    return start, rows, rest


def parse_message(data: bytes, *, stream: bool = False) -> Message:
    """Return the message, or raise Refused with the status it is owed."""
    begins = re.match(rb"(?:\r\n)*(?:(SIP/)|(ACK )|" + TOKEN + rb" )", data, re.IGNORECASE)
    if len(data) > MAX_MESSAGE:
        raise Refused("message too large", 513)
    if not begins:
        raise Refused("nothing to answer", None)
    try:
        return _response(data, stream) if begins[1] else _request(data, stream)
    except Refused as error:
        silent = begins[1] or (begins[2] or b"").startswith(b"ACK")
        raise Refused(str(error), None if silent else error.status) from None


def _response(data: bytes, stream: bool) -> Message:
    start, rows, rest = head_of(data)
    match = re.fullmatch(rb"SIP/[0-9]+\.[0-9]+ ([0-9]{3})(?: (.*))?", start, re.IGNORECASE | re.DOTALL)
    if not match or not 100 <= int(match[1]) <= 699:
        raise Refused("status line")
    message = Message(False, rows, b"", status=int(match[1]), phrase=match[2] or b"")
    _common(message, rest, stream)
    return message


def _request(data: bytes, stream: bool) -> Message:
    line = re.match(rb"(?:\r\n)*([^\n]*)\r\n", data)
    match = re.fullmatch(rb"(" + TOKEN + rb") ([^ ]+) (SIP/[0-9]+\.[0-9]+)", line[1], re.IGNORECASE) if line else None
    if not match:
        raise Refused("request line")
    target: Uri = uris.parse(match[2])
    if target.headers is not None:
        raise Refused("headers in the Request-URI")
    if match[3].upper() != b"SIP/2.0":
        raise Refused("version", 505)
    _, rows, rest = head_of(data)
    message = Message(True, rows, b"", method=text(match[1]), request_uri=text(match[2]))
    _common(message, rest, stream)
    return message


def _common(message: Message, rest: bytes, stream: bool) -> None:
    for name in ONCE:
        if sum(row == name for row, _ in message.rows) > 1:
            raise Refused("repeated header")
    for needed in (b"to", b"from", b"call-id", b"cseq", b"via"):
        if all(row != needed for row, _ in message.rows):
            raise Refused("missing header")
    _cseq(message)
    message.vias = [via(item) for item in message.values(b"via")]
    if len(message.vias) > MAX_VIAS:
        raise Refused("too many Vias")
    message.from_ = name_addr(message.values(b"from")[0])
    message.to = name_addr(message.values(b"to")[0])
    call_id = message.values(b"call-id")[0]
    if not re.fullmatch(WORD + rb"(?:@" + WORD + rb")?", call_id) or len(call_id) > MAX_CALL_ID:
        raise Refused("Call-ID")
    message.call_id = text(call_id)
    if hops := message.values(b"max-forwards"):
        if not re.fullmatch(rb"[0-9]+", hops[0]) or int(hops[0]) > 255:
            raise Refused("Max-Forwards")
        message.max_forwards = int(hops[0])
    _contacts(message)
    _body(message, rest, stream)
    if not message.is_request:
        return
    message.tokens(b"require")
    for value in message.values(b"authorization"):
        digest(value)
    if message.body:
        types = message.values(b"content-type")
        if not types:
            raise Refused("body without Content-Type")
        media_type(types[0])
    if message.method == "SUBSCRIBE":
        for value in message.values(b"accept"):
            media_range(value)


def _cseq(message: Message) -> None:
    match = re.fullmatch(rb"([0-9]+)" + LWS + rb"(" + TOKEN + rb")", message.values(b"cseq")[0])
    if not match or int(match[1]) > 2**32 - 1:
        raise Refused("CSeq")
    message.cseq, message.cseq_method = int(match[1]), text(match[2])
    if message.is_request and message.cseq_method != message.method:
        raise Refused("CSeq method", 400 if message.method in METHODS else 501)


def _contacts(message: Message) -> None:
    values = message.values(b"contact")
    if b"*" in values:
        if len(values) > 1:
            raise Refused("Contact: * is not alone")
        message.contact_star = True
        return
    message.contact_count = len(values)
    message.contacts = [contact(item) for item in values][:MAX_CONTACTS]


def _body(message: Message, rest: bytes, stream: bool) -> None:
    lengths = message.values(b"content-length")
    if not lengths:
        if stream:
            raise Refused("no Content-Length")
        message.body = rest
        return
    if not re.fullmatch(rb"[0-9]+", lengths[0]):
        raise Refused("Content-Length")
    length = int(lengths[0])
    if length > len(rest) or (stream and length != len(rest)):
        raise Refused("Content-Length differs from the body")
    message.body = rest[:length]


def frame(octets: bytes) -> tuple[list[bytes], int, int | str | None]:
    """Cut a stream: whole messages, keep-alives, and the status of what ends it, "none" while it goes on (TRN-8)."""
    messages: list[bytes] = []
    pings = 0
    while True:
        blank = re.match(rb"(?:\r\n)*", octets)
        assert blank is not None
        pings += len(blank[0]) // 4
        octets = octets[blank.end() :]
        head, empty, rest = octets.partition(b"\r\n\r\n")
        if len(head) + 4 > MAX_HEAD:
            return messages, pings, 400
        if not empty:
            return messages, pings, "none"
        if re.search(rb"\r(?!\n)|(?<!\r)\n", head):
            return messages, pings, 400
        lengths = re.findall(
            rb"(?<=\n)(?:content-length|l)[ \t]*:((?:[^\r]|\r\n[ \t])*)\r\n", head + b"\r\n", re.IGNORECASE
        )
        if len(lengths) != 1 or not re.fullmatch(rb"[0-9]+", lengths[0].strip()):
            return messages, pings, 400
        length = int(lengths[0])
        size = len(head) + 4 + length
        if size > MAX_MESSAGE:
            return messages, pings, 513
        if length > len(rest):
            return messages, pings, "none"
        messages.append(octets[:size])
        octets = octets[size:]
