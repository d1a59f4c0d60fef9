"""Hypothesis strategies: SIP messages from the grammar of RFC 3261 25, and what goes wrong with them.

Well-formed messages vary in everything the grammar leaves open: case, compact forms, blanks around
separators, folding, one row or several for a list.  `mutated` damages octets of whatever it is given.
"""

from hypothesis import strategies as st

TOKEN_OCTETS = "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-.!%*_+`'~"
USER_OCTETS = "abcdefghijABCXYZ0123456789-_.!~*'()&=+$,;?/"
METHODS = ("REGISTER", "OPTIONS", "INVITE", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "BYE", "ACK", "CANCEL")
COMPACT = {
    "Via": "v",
    "From": "f",
    "To": "t",
    "Call-ID": "i",
    "Contact": "m",
    "Content-Length": "l",
    "Content-Type": "c",
    "Supported": "k",
    "Subject": "s",
    "Event": "o",
    "Allow-Events": "u",
    "Content-Encoding": "e",
}


def _join(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


def _seldom(usual: st.SearchStrategy[str], odd: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    # 17 is no bound of the range: Hypothesis draws bounds more often.
    return st.integers(0, 40).flatmap(lambda drawn: odd if drawn == 17 else usual)


def _maybe(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(st.just(""), part)


tokens = st.text(TOKEN_OCTETS, min_size=1, max_size=8)
escapes = st.integers(0, 255).map(lambda octet: f"%{octet:02X}") | st.integers(0, 255).map(lambda o: f"%{o:02x}")
digits = _seldom(
    st.integers(0, 70_000).map(str) | st.sampled_from(["0", "007", "4294967295"]),
    st.sampled_from(["4294967296", "9" * 30]),
)

swallowable = st.sampled_from(["", "", "", "", " ", "\t", "  ", "\r\n ", " \r\n\t"])
"SWS: may be left out."
blanks = st.sampled_from([" ", " ", " ", "\t", "   ", "\r\n ", " \r\n\t "])
"LWS: at least one blank."

users = st.lists(st.text(USER_OCTETS, min_size=1, max_size=5) | escapes, min_size=1, max_size=4).map("".join)
labels = st.text("abcxyzABC019-_", min_size=1, max_size=6).map(lambda label: f"a{label}z")
names = st.lists(labels, min_size=1, max_size=3).map(".".join)
hosts = st.one_of(
    names,
    st.sampled_from(["example.com", "EXAMPLE.com", "example.com.", "localhost", "h0", "a.b1"]),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.ip_addresses(v=6).map(lambda address: f"[{address.exploded.upper()}]"),
    st.sampled_from(["[::1]", "[2001:db8::192.0.2.1]", "[2001:db8:::192.0.2.1]", "[::ffff:192.0.2.10]", "[::]"]),
)
"Hosts as they are written; numeric labels at the end are left to `odd_hosts`."
odd_hosts = st.sampled_from(
    [
        "256.1.1.1",
        "1.2.3",
        "1",
        "-a",
        "a-",
        "a..b",
        "",
        "[::1",
        "::1",
        "[1.2.3.4]",
        "[fe80::1%25eth0]",
        "a.1",
        "1.2.3.4.5",
    ]
)
ports = _seldom(
    st.integers(1, 65535).map(lambda port: f":{port}") | st.sampled_from([":5060", ":05060"]),
    st.sampled_from([":0", ":65536", ":"]),
)
hostports = _join(_seldom(hosts, odd_hosts), _maybe(ports))

param_values = st.lists(st.text("abcXYZ019-_.!~*'()[]/:&+$", min_size=1, max_size=4) | escapes, min_size=1, max_size=2)
uri_parameters = st.one_of(
    st.sampled_from(
        [
            ";transport=tcp",
            ";transport=TCP",
            ";transport=udp",
            ";lr",
            ";user=phone",
            ";method=INVITE",
            ";maddr=192.0.2.9",
            ";ttl=4",
            ";newparam=5",
            ";security=on",
            ";security=off",
            ";l%72",
            ";ob",
            ";gr=urn:uuid:1",
        ]
    ),
    _join(st.just(";"), param_values.map("".join), _maybe(param_values.map(lambda value: "=" + "".join(value)))),
)
header_parts = st.lists(st.text("abcXYZ019-_.!~*'()[]/?:+$", min_size=1, max_size=4) | escapes, min_size=1, max_size=2)
uri_headers = st.lists(
    st.one_of(
        st.sampled_from(["Subject=x", "subject=x", "Subject=y", "to=sip%3Aa%40b", "Route=%3Csip:a%3E", "x="]),
        _join(header_parts.map("".join), st.just("="), header_parts.map("".join)),
    ),
    min_size=1,
    max_size=3,
).map(lambda pairs: "?" + "&".join(pairs))
schemes = st.sampled_from(["sip:", "sip:", "sip:", "SIP:", "sips:", "sIp:"])
userinfos = _join(
    users, _maybe(st.just(":") | users.map(lambda word: ":" + word.translate({59: 36, 63: 36, 47: 36})))
).map(lambda info: info + "@")
sip_uris = _join(
    schemes,
    _maybe(userinfos),
    hostports,
    st.lists(uri_parameters, max_size=3).map("".join),
    st.integers(0, 9).flatmap(lambda drawn: uri_headers if drawn == 5 else st.just("")),
)
other_uris = st.sampled_from(
    [
        "tel:+15550100",
        "mailto:ned@biloxi.example",
        "urn:service:sos",
        "http://example.com/a?b=c",
        "TEL:+15550100",
        "x:%41",
    ]
)
uris = sip_uris | sip_uris | sip_uris | other_uris
"""URIs, most of them well-formed."""

quoted_pairs = st.sampled_from(['\\"', "\\\\", "\\a", "\\\x00", "\\\x07", "\\\x7f"])
quoted = st.lists(st.text("abc XYZ,;<>@:=()'\t", max_size=6) | quoted_pairs | st.just("žö終"), max_size=3).map(
    lambda parts: '"' + "".join(parts) + '"'
)
displays = st.one_of(
    st.just(""),
    tokens,
    _join(quoted, swallowable),
    st.lists(tokens, min_size=1, max_size=3).map(lambda words: " ".join(words) + " "),
)
values = tokens | quoted | hosts
parameters = st.one_of(
    _join(swallowable, st.just(";"), swallowable, tokens),
    _join(swallowable, st.just(";"), swallowable, tokens, swallowable, st.just("="), swallowable, values),
)
"Header parameters with whatever blanks their separators may have."


def _name_of(parameter: str) -> str:
    # Repeated names are refused; mutations and the URIs' parameters produce enough of them.
    return parameter.strip("; \t\r\n").partition("=")[0].strip().lower()


def _with_parameters(
    base: st.SearchStrategy[str], known: st.SearchStrategy[str], size: int = 3
) -> st.SearchStrategy[str]:
    return _join(base, st.lists(known | parameters, max_size=size, unique_by=_name_of).map("".join))


name_addrs = _join(displays, st.just("<"), uris, st.just(">"))
addr_specs = _join(schemes, _maybe(userinfos), hostports)
addresses = name_addrs | name_addrs | name_addrs | addr_specs
tags = st.one_of(st.just(";tag=a1"), _join(swallowable, st.just("; tag ="), swallowable, tokens), st.just(";TAG=Q"))
from_to = _with_parameters(addresses, tags, 2)
contact_parameters = _seldom(
    st.sampled_from(
        [
            ";q=0.5",
            ";q=1",
            ";q=1.000",
            ";q=0.",
            ";expires=60",
            ";expires=0",
            ";EXPIRES=99999999999",
            ";expires=-1",
            ";expires=",
            ";expires",
            ";expires=abc",
            ';expires="60"',
            ";reg-id=1",
            ";reg-id=0",
            ";reg-id=x",
            ";reg-id=4294967296",
            ';+sip.instance="<urn:uuid:0-1>"',
            ";+sip.instance=plain",
            ';+SIP.INSTANCE="<>"',
            ";ob",
        ]
    ),
    st.sampled_from([";q=0.1234", ";q=2", ";Q=.5", ";q", ";q=1.001"]),
)
contacts = _with_parameters(addresses, contact_parameters)
via_parameters = _seldom(
    st.sampled_from(
        [
            ";branch=z9hG4bK-1",
            ";branch=z9hG4bK",
            ";Branch=old",
            ";rport",
            ";rport=5062",
            ";received=192.0.2.1",
            ";received=[2001:db8::1]",
            ";received=2001:db8::1",
            ";ttl=1",
            ";maddr=224.0.1.75",
        ]
    ),
    st.sampled_from(
        [";rport=", ";rport=99999", ";received=name", ";ttl=256", ";ttl", ";maddr", ";branch", ";received="]
    ),
)
vias = _with_parameters(
    _join(
        st.sampled_from(["SIP", "SIP", "sip"]),
        swallowable,
        st.just("/"),
        swallowable,
        _seldom(st.just("2.0"), st.just("2.1")),
        st.just("/"),
        swallowable,
        st.sampled_from(["UDP", "TCP", "tls", "WSS", "SCTP"]) | tokens,
        blanks,
        hosts,
        _maybe(_join(swallowable, st.just(":"), swallowable, st.integers(1, 65535).map(str))),
    ),
    via_parameters,
)
words = st.text("abcXYZ019-.!%*_+`'~()<>:\\\"/[]?{}", min_size=1, max_size=10)
call_ids = _join(words, _maybe(words.map(lambda word: "@" + word)))
digests = st.one_of(
    st.sampled_from(
        [
            'Digest username="ned", realm="biloxi.example", nonce="n", uri="sip:biloxi.example", response="00"',
            "Digest username=ned,nc=00000001,qop=auth",
            'digest a="x\\"y" , b=""',
            "Digest",
            "Digest username",
            'Digest nonce="',
            "Digest ,",
            "Basic bmVkOm5lZA==",
            "Handshake firm=yes",
            "",
        ]
    ),
    st.lists(_join(tokens, swallowable, st.just("="), swallowable, tokens | quoted), min_size=1, max_size=3).map(
        lambda pairs: "Digest " + ",".join(pairs)
    ),
)
media = _join(tokens, swallowable, st.just("/"), swallowable, tokens | st.just("*"), _maybe(parameters))
events = _with_parameters(tokens, st.sampled_from([";id=1", ";id"]), 1)
states = _with_parameters(
    st.sampled_from(["active", "pending", "terminated", "Active"]) | tokens,
    st.sampled_from([";expires=60", ";reason=timeout", ";retry-after=9", ";expires=x"]),
    2,
)
free_text = st.text("abc XYZ,;<>\"'()=\t終\x00\x7f", max_size=12)

_LISTS = {
    "Contact": contacts,
    "Route": name_addrs,
    "Record-Route": name_addrs,
    "Path": name_addrs,
    "Service-Route": name_addrs,
    "Supported": tokens,
    "Require": tokens,
    "Proxy-Require": tokens,
    "Allow-Events": tokens,
    "Accept": media,
}
_SINGLES = {
    "Expires": digits | st.sampled_from(["-1", "abc", ""]),
    "Min-Expires": digits,
    "Max-Forwards": _seldom(st.sampled_from(["70", "0", "255", "0068"]), st.sampled_from(["256", "-1", "x", "9" * 20])),
    "Event": events,
    "Subscription-State": states,
    "User-Agent": free_text,
    "Subject": free_text,
    "Authorization": digests,
    "WWW-Authenticate": digests,
    "Proxy-Authenticate": digests,
    "Authentication-Info": digests | digests.map(lambda value: value.removeprefix("Digest ")),
    "SIP-ETag": tokens,
    "SIP-If-Match": tokens,
    "Retry-After": _join(digits, _maybe(st.just(" (soon)")), _maybe(st.just(";duration=9"))),
    "X-Unknown": free_text,
    "Date": st.sampled_from(["Mon, 02 Mar 2026 08:00:00 GMT", "Mon, 02 Mar 2026 09:00:00 CET", "never"]),
}


@st.composite
def spellings(draw: st.DrawFn, name: str) -> str:
    """Return a header name as somebody may write it, with its colon."""
    spelling = draw(st.sampled_from([name, name, name.upper(), name.lower(), name.swapcase(), COMPACT.get(name, name)]))
    return spelling + draw(st.sampled_from([": ", ":", " :", "\t: ", ":  ", ":\r\n "]))


@st.composite
def _rows(draw: st.DrawFn, name: str, items: list[str]) -> list[str]:
    """Return the rows of a list header: its items joined by commas here, in rows of their own there."""
    rows: list[str] = []
    while items:
        taken = draw(st.integers(1, len(items)))
        separator = draw(st.sampled_from([",", ", ", " , ", ",\r\n "]))
        rows.append(draw(spellings(name)) + separator.join(items[:taken]))
        items = items[taken:]
    return rows


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Return a message; most are well-formed, some break one rule of the grammar or another."""
    request = draw(st.integers(0, 9)) != 5
    method = draw(st.sampled_from(METHODS) | tokens)
    if request:
        version = draw(_seldom(st.sampled_from(["SIP/2.0", "sip/2.0"]), st.sampled_from(["SIP/3.0", "HTTP/1.1"])))
        start = f"{method} {draw(uris)} {version}"
    else:
        code = draw(_seldom(st.integers(100, 699).map(str), st.sampled_from(["099", "700", "20", "4294967496"])))
        start = f"SIP/2.0 {code}" + draw(st.sampled_from([" OK", " ", " で", ""]))
    rows: list[list[str]] = [
        draw(_rows("Via", draw(st.lists(vias, min_size=1, max_size=3)))),
        [draw(spellings("From")) + draw(from_to)],
        [draw(spellings("To")) + draw(from_to)],
        [draw(spellings("Call-ID")) + draw(call_ids)],
        [draw(spellings("CSeq")) + draw(digits) + draw(blanks) + draw(_seldom(st.just(method), st.just("INFO")))],
    ]
    lists = draw(st.lists(st.sampled_from(sorted(_LISTS)), max_size=3, unique=True))
    rows += [draw(_rows(name, draw(st.lists(_LISTS[name], min_size=1, max_size=3)))) for name in lists]
    if draw(st.integers(0, 20)) == 17:
        rows.append([draw(spellings("Contact")) + "*"])
    singles = draw(st.lists(st.sampled_from(sorted(_SINGLES)), max_size=3, unique=draw(st.integers(0, 20)) != 17))
    rows += [[draw(spellings(name)) + draw(_SINGLES[name])] for name in singles]
    body = draw(st.sampled_from([b"", b"", b"v=0\r\n", bytes(range(256))]))
    if body or draw(st.booleans()):
        rows.append([draw(spellings("Content-Type")) + draw(media)])
    length = draw(_seldom(st.just(str(len(body))), st.sampled_from(["0", "-1", "+1", "", f"{len(body):05}", "9" * 11])))
    if draw(st.integers(0, 9)) != 5:
        rows.append([draw(spellings("Content-Length")) + length])
    if draw(st.integers(0, 60)) == 17:
        rows.pop(draw(st.integers(0, len(rows) - 1)))
    order = draw(st.permutations(rows))
    lines = [start, *(row for group in order for row in group)]
    return "\r\n".join([*lines, "", ""]).encode() + body


_SPECIALS = [bytes([octet]) for octet in b'\x00\t\n\r ",;:<>=?@[]\\%*/\x7f\x80\xc3\xff0a'] + [
    b"\r\n",
    b"\r\n ",
    b"\r\n\r\n",
    b"%00",
    b";;",
    b",,",
    b"sip:",
    b"\xc3\xa9",
    b"99999999999",
]


@st.composite
def mutated(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """Return an original with one to four pieces cut, overwritten, inserted, repeated or moved."""
    octets = draw(originals)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(octets)))
        stop = min(len(octets), start + draw(st.sampled_from([0, 1, 1, 2, 5, 20])))
        other = draw(st.integers(0, len(octets)))
        octets = draw(
            st.sampled_from(
                [
                    octets[:start] + octets[stop:],
                    octets[:start] + draw(st.sampled_from(_SPECIALS)) + octets[start:],
                    octets[:start] + draw(st.sampled_from(_SPECIALS)) + octets[stop:],
                    octets[:stop] + octets[start:],
                    octets[:other] + octets[start:stop] + octets[other:],
                ]
            )
        )
    return octets


@st.composite
def splits(draw: st.DrawFn, octets: bytes) -> list[bytes]:
    """Return octets in pieces."""
    cuts = sorted(draw(st.lists(st.integers(0, len(octets)), max_size=6)))
    return [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]


@st.composite
def uri_pairs(draw: st.DrawFn) -> tuple[str, str]:
    """Return two URIs, more often than not equal or all but equal."""
    first = draw(uris)
    second = first
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(second)))
        stop = min(len(second), start + 1)
        octet = second[start:stop]
        second = draw(
            st.sampled_from(
                [
                    second[:start] + octet.swapcase() + second[stop:],
                    second[:start] + "".join(f"%{code:02X}" for code in octet.encode()) + second[stop:],
                    second[:start] + "".join(f"%{code:02x}" for code in octet.encode()) + second[stop:],
                    second.lower(),
                    second.upper(),
                    second + draw(uri_parameters),
                    draw(uri_parameters).join(second.rsplit(";", 1)),
                    ";".join([*second.split(";")[:1], *reversed(second.split(";")[1:])]),
                    "?" + "&".join(reversed(second.partition("?")[2].split("&"))),
                    second.partition("?")[0],
                    draw(uris),
                ]
            )
        )
    return first, second
