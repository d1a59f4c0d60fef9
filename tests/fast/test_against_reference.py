"""What is compiled agrees with the slow reference: on messages from the grammar, on damaged ones, on URIs."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reginfo._fast import sip_parser, uri
from reginfo._fast.errors import SipParseError
from tests import strategies
from tests.reference import sip_parser as reference
from tests.reference import uri as reference_uri
from tests.torture import ROWS

View = dict[str, object]

MESSAGES = [row.octets for row in ROWS]
URIS = strategies.uris.map(str.encode)
WIRE = st.one_of(
    strategies.messages(),
    strategies.messages(),
    strategies.mutated(strategies.messages()),
    strategies.mutated(st.sampled_from(MESSAGES)),
)

_ONE_VALUE = ("max_forwards", "expires", "min_expires", "retry_after", "content_type", "user_agent", "sip_etag")
_REQUEST_ONLY = ("method", "request_uri", "request_scheme", "request_host", "request_port")
_ADDRESSES = ("routes", "record_routes", "path", "service_route")
_TOKENS = ("supported", "require", "proxy_require", "allow_events", "accept")
_NAME_ADDR = ("display_name", "uri", "tag", "parameters")
_VIA = ("transport", "host", "port", "branch", "received", "rport", "maddr", "ttl", "parameters")
_CONTACT = ("display_name", "uri", "q", "expires", "instance", "reg_id", "parameters")


def outcome(read: Callable[[], object]) -> object:
    """Return what read gives, or the status it is refused with."""
    try:
        return read()
    except (SipParseError, reference_uri.Refused) as error:
        return ("refused", error.status)


def fields(value: object, names: tuple[str, ...]) -> object:
    """Return the named attributes of value, None for None."""
    return None if value is None else tuple(outcome(partial(getattr, value, name)) for name in names)


def view(message: Any) -> View:
    """Return everything a message says, in values both implementations have."""

    def read(name: str) -> object:
        return outcome(lambda: getattr(message, name))

    def each(name: str, names: tuple[str, ...]) -> object:
        return outcome(lambda: [fields(value, names) for value in getattr(message, name)])

    seen: View = {name: read(name) for name in ("is_request", "call_id", "cseq", "cseq_method", "contact_star", "body")}
    seen |= {name: read(name) for name in (*_ONE_VALUE, *_TOKENS, "sip_if_match")}
    seen |= {name: read(name) for name in (_REQUEST_ONLY if message.is_request else ("status", "reason"))}
    seen |= {name: each(name, _NAME_ADDR) for name in _ADDRESSES}
    seen["from"] = fields(message.from_, _NAME_ADDR)
    seen["to"] = fields(message.to, _NAME_ADDR)
    seen["aor"] = read("aor")
    seen["vias"] = each("vias", _VIA)
    seen["contacts"] = each("contacts", _CONTACT)
    seen["contact_count"] = read("contact_count")
    seen["event"] = outcome(lambda: fields(message.event, ("package", "id", "parameters")))
    seen["subscription_state"] = outcome(
        lambda: fields(message.subscription_state, ("state", "reason", "expires", "retry_after"))
    )
    seen["authorization"] = each("authorization", ("scheme", "params"))
    seen |= {name: read(name) for name in ("server_challenges", "proxy_challenges", "authentication_info")}
    seen["rows"] = read("row_values")
    return seen


def compiled(data: bytes, *, stream: bool = False) -> object:
    """Return the view of the compiled parser, or the status it refuses with."""
    return outcome(lambda: view(Rows(sip_parser.parse_message(data, stream=stream))))


def expected(data: bytes, *, stream: bool = False) -> object:
    """Return the view of the reference, or the status it refuses with."""
    return outcome(lambda: view(reference.parse_message(data, stream=stream)))


class Rows:
    """A compiled message that also tells its rows the way the reference does."""

    def __init__(self, message: sip_parser.SipMessage) -> None:
        self._message = message

    def __getattr__(self, name: str) -> object:
        return getattr(self._message, name)

    @property
    def server_challenges(self) -> list[dict[str, str]]:
        return self._message.challenges(False)

    @property
    def proxy_challenges(self) -> list[dict[str, str]]:
        return self._message.challenges(True)

    @property
    def row_values(self) -> list[tuple[str, str]]:
        """Rows by lower-case long name."""
        long = {short.decode(): name.decode() for short, name in reference.LONG_NAMES.items()}
        return [(long.get(name.lower(), name.lower()), value) for name, value in self._message.rows()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_torture_messages_parse_alike(row: Any) -> None:
    """MSG-1 to MSG-18."""
    assert compiled(row.octets) == expected(row.octets)
    assert compiled(row.octets, stream=True) == expected(row.octets, stream=True)


def with_row(row: bytes, method: bytes = b"OPTIONS", version: bytes = b"2.0") -> bytes:
    """Return a request with one row more than it needs."""
    return (
        method + b" sip:h SIP/" + version + b"\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK-1\r\nFrom: <sip:a@h>;tag=1\r\n"
        b"To: <sip:a@h>\r\nCall-ID: 1\r\nCSeq: 1 " + method + b"\r\n" + row + b"\r\nContent-Length: 0\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (with_row(b"Require: \0"), 400),
        (with_row(b"Require: \xff"), 400),
        (with_row(b"Require:"), 400),
        (with_row(b"Require: a,"), 400),
        (with_row(b"Accept: a/b,", b"SUBSCRIBE"), 400),
        (with_row(b"Accept: a/", b"SUBSCRIBE"), 400),
        (with_row(b"Accept: a/b;x=", b"SUBSCRIBE"), 400),
        (with_row(b"X: \r"), 400),
        (with_row(b"X: a\nContent-Length: 5"), 400),
        (with_row(b"X: 1", version=b"2.1"), 505),
        (with_row(b"X: 1", version=b"2."), 400),
        (with_row(b'Authorization: Digest a="b'), 400),
        (with_row(b"Contact: <sip:a>" + b",<sip:a>" * 40, b"REGISTER"), None),
        (with_row(b"\r\n".join([b"Contact: <sip:a>"] * 130), b"REGISTER"), 403),
        (with_row(b"\r\n".join([b"X: 1"] * 130)), 400),
    ],
)
def test_what_was_found_once_stays_found(data: bytes, status: int | None) -> None:
    """MSG-1, MSG-2, MSG-8, SEC-5: None is a message that parses."""
    assert compiled(data) == expected(data)
    assert (status is None) == isinstance(compiled(data), dict)
    assert status is None or compiled(data) == ("refused", status)


@pytest.mark.parametrize(
    "row",
    [b"\r,\r\nContent-Length: 9", b"X: a\nContent-Length: 9", b"Content-Length: 0", b"Content-Length: 9", b"l: 9"],
)
def test_no_second_length_hides_from_the_framer(row: bytes) -> None:
    """TRN-8: two readers of one stream see the same messages, or the stream ends."""
    assert framed([with_row(row)]) == ([], 0, 400, with_row(row))


@given(WIRE)
def test_messages_parse_alike(data: bytes) -> None:
    """MSG-1 to MSG-18: both refuse with the same status, or both see the same message."""
    assert compiled(data) == expected(data)


@given(WIRE)
def test_messages_of_a_stream_parse_alike(data: bytes) -> None:
    """TRN-8."""
    assert compiled(data, stream=True) == expected(data, stream=True)


@given(strategies.messages() | st.sampled_from(MESSAGES), st.booleans())
def test_every_prefix_parses_or_raises_one_error(data: bytes, stream: bool) -> None:
    """MSG-1, SEC-5: nothing but SipParseError escapes, wherever the input ends."""
    for end in range(len(data)):
        outcome(partial(sip_parser.parse_message, data[:end], stream=stream))
        sip_parser.salvage(data[:end])


@given(st.binary(max_size=200))
def test_octets_of_any_kind_parse_or_raise_one_error(data: bytes) -> None:
    """MSG-1."""
    assert compiled(data) == expected(data)
    sip_parser.salvage(data)


def framed(pieces: list[bytes]) -> tuple[list[bytes], int, object, bytes]:
    """Return messages, pings, the error's status and head of a stream that arrives in these pieces."""
    framer = sip_parser.StreamFramer()
    found: list[bytes] = []
    status: object = "none"
    head = b""
    for piece in pieces:
        try:
            found += framer.feed(piece)
        except SipParseError as error:
            status, head = error.status, error.head
            break
        if framer.error is not None:
            status, head = framer.error.status, framer.error.head
            break
    return found, framer.take_pings(), status, head


STREAMS = st.lists(
    st.one_of(
        strategies.messages(),
        strategies.mutated(st.sampled_from(MESSAGES)),
        st.sampled_from(MESSAGES),
        st.sampled_from([b"\r\n", b"\r\n\r\n", b"\r\n\r\n\r\n\r\n", b"\r"]),
    ),
    min_size=1,
    max_size=4,
).map(b"".join)


@given(st.data())
def test_every_split_of_a_stream_gives_the_same_messages(data: st.DataObject) -> None:
    """TRN-8, TRN-15."""
    octets = data.draw(STREAMS)
    pieces = data.draw(strategies.splits(octets))
    assert framed(pieces) == framed([octets])


@given(STREAMS)
def test_a_stream_octet_by_octet_gives_the_same_messages(octets: bytes) -> None:
    """TRN-8, TRN-15."""
    assert framed([octets[i : i + 1] for i in range(len(octets))]) == framed([octets])


@given(STREAMS)
def test_framed_messages_agree_with_the_reference(octets: bytes) -> None:
    """TRN-8."""
    found, pings, status, _ = framed([octets])
    messages, expected_pings, expected_status = reference.frame(octets)
    assert (found, pings, status) == (messages, expected_pings, expected_status)


@given(URIS | strategies.mutated(URIS))
@example(b"sip:rosa:@[::FFFF:192.0.2.1]:05060;lr?x=%25")
@example(b"sip:a@h;lr;l%72")
def test_uris_parse_alike(data: bytes) -> None:
    """URI-1, URI-2, MSG-17."""
    names = ("scheme", "text", "user", "password", "host", "port", "parameters", "headers")
    ours = outcome(lambda: fields(uri.parse_uri(data), names))
    assert ours == outcome(lambda: fields(reference_uri.parse(data), names))


@given(strategies.uri_pairs())
@example(("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"))
@example(("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"))
@example(("sip:a@h", "sip:a@h:5060"))
@example(("sip:a%2540@h", "sip:a%40@h"))
@example(("sip:a@[::1]", "sip:a@[0:0:0:0:0:0:0:1]"))
@example(("sip:a@h?Call-ID=x", "sip:a@h?call-id=X"))
def test_uri_equality_is_symmetric_and_as_the_reference(pair: tuple[str, str]) -> None:
    """URI-3, URI-5, URI-6."""
    first, second = pair
    equal = uri.uris_equal(first, second)
    assert equal == uri.uris_equal(second, first)
    assert equal == reference_uri.equal(first.encode(), second.encode())
    assert uri.uris_equal(first, first)


@given(strategies.sip_uris)
def test_canonical_aor_is_idempotent_and_as_the_reference(text: str) -> None:
    """URI-7."""
    aor = outcome(lambda: uri.canonical_aor(text))
    assert aor == outcome(lambda: reference_uri.canonical_aor(text.encode()))
    if isinstance(aor, str):
        assert uri.canonical_aor(aor) == aor
        assert aor.isascii()
        assert aor.isprintable()


@given(strategies.uris)
@example("SIPS:a@H;Transport=TCP;MADDR=[::F]:9")
@example("sip:[2001:DB8::1]:5070;maddr")
@example("sip:h;maddr=[;transport")
@example("sip:h;maddr=]")
@example("tel:+1")
def test_hop_parts_are_as_the_reference(text: str) -> None:
    """DNS-1, DNS-2"""
    assert outcome(lambda: uri.hop_parts(text)) == outcome(lambda: reference_uri.hop_parts(text.encode()))


@given(strategies.uri_pairs())
@example(("sip:a%3Ab@h", "sip:a:b@h"))
@example(("sip:a%2540@h", "sip:a%40@h"))
@example(("sip:a%40h@h", "sip:a@h"))
def test_canonical_aor_tells_apart_what_the_key_tells_apart(pair: tuple[str, str]) -> None:
    """URI-7: one text per (user, host, port), and one (user, host, port) per text."""
    keys = [outcome(partial(reference_uri.aor_key, text.encode())) for text in pair]
    texts = [outcome(partial(uri.canonical_aor, text)) for text in pair]
    assert (texts[0] == texts[1]) == (keys[0] == keys[1])
