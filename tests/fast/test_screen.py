"""Screening: the order of RFC 3261 section 8.2 (UAS order, MSG-3, URI-7, REG-1, REG-4, SEC-5)."""

import pytest

from reginfo import fast
from reginfo.fast import Screen, parse_message
from tests.harness import request

METHODS = ("REGISTER", "OPTIONS")
DOMAINS = ["example.com", "example.org", "[2001:db8::1]"]
SCREEN = Screen(METHODS, DOMAINS, ["127.0.0.1", "[::1]"], 64, ["path", "gruu"])


def verdict(method: str = "REGISTER", *rows: str, uri: str = "sip:example.com", to: str = "sip:a@example.com") -> int:
    octets = request(method, *rows, uri=uri).replace(b"To: <sip:alice@example.com>", f"To: <{to}>".encode())
    return SCREEN.check(parse_message(octets))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("REGISTER", fast.GO_ON),
        ("OPTIONS", fast.GO_ON),
        ("ACK", fast.NO_ANSWER),
        ("INVITE", fast.METHOD_NOT_ALLOWED),
        ("BYE", fast.METHOD_NOT_ALLOWED),
        ("UPDATE", fast.METHOD_NOT_ALLOWED),
        ("FLY", fast.UNKNOWN_METHOD),
        ("register", fast.UNKNOWN_METHOD),
        ("Options", fast.UNKNOWN_METHOD),
    ],
)
def test_methods(method: str, expected: int) -> None:
    """Step 4, MSG-3: method names are case-sensitive."""
    assert verdict(method) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sip:example.com", fast.GO_ON),
        ("SIPS:EXAMPLE.com;transport=tcp", fast.GO_ON),
        ("sip:ignored@example.com:5070", fast.GO_ON),
        ("sip:127.0.0.1", fast.GO_ON),
        ("sip:[0:0::1]:5060", fast.GO_ON),
        ("sip:example.net", fast.FOREIGN_DOMAIN),
        ("sip:sub.example.com", fast.FOREIGN_DOMAIN),
        ("tel:+1555", fast.UNSUPPORTED_SCHEME),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_the_request_uri_names_this_server(method: str, uri: str, expected: int) -> None:
    """Step 5, REG-1."""
    assert verdict(method, uri=uri) == expected


@pytest.mark.parametrize(
    ("to", "uri", "expected"),
    [
        ("sip:a@example.com", "sip:example.com", fast.GO_ON),
        ("sips:a@EXAMPLE.org:5070;user=phone", "sip:example.org", fast.GO_ON),
        ("sip:a@example.org", "sip:example.com", fast.AOR_OF_OTHER_DOMAIN),
        ("sip:a@example.org", "sip:127.0.0.1", fast.GO_ON),
        ("sip:a@example.org", "sip:[2001:db8::1]", fast.GO_ON),
        ("sip:a@[2001:DB8:0::1]", "sip:[2001:db8::1]", fast.GO_ON),
        ("sip:a@127.0.0.1", "sip:127.0.0.1", fast.AOR_OF_OTHER_DOMAIN),
        ("sip:a@example.net", "sip:example.com", fast.AOR_OF_OTHER_DOMAIN),
        ("tel:+1555", "sip:example.com", fast.AOR_NOT_SIP),
    ],
)
def test_the_aor_belongs_to_the_domain_that_was_asked(to: str, uri: str, expected: int) -> None:
    """REG-4: an address in the Request-URI names the server, whatever it serves; OPTIONS has no AoR."""
    assert verdict(to=to, uri=uri) == expected
    assert verdict("OPTIONS", to=to, uri=uri) == fast.GO_ON


def test_the_first_of_several_reasons_is_told() -> None:
    """The order of section 8.2, whatever else is wrong."""
    rows = ("Require: foo",)
    long = "sip:" + "x" * 100 + "@example.net"
    assert verdict("FLY", *rows, uri=long, to="tel:1") == fast.UNKNOWN_METHOD
    assert verdict("REGISTER", *rows, uri=long, to="tel:1") == fast.URI_TOO_LONG
    assert verdict("REGISTER", *rows, uri="urn:x", to="tel:1") == fast.UNSUPPORTED_SCHEME
    assert verdict("REGISTER", *rows, uri="sip:example.net", to="tel:1") == fast.FOREIGN_DOMAIN
    assert verdict("REGISTER", *rows, to="tel:1") == fast.UNKNOWN_EXTENSION
    assert verdict("REGISTER", to="tel:1") == fast.AOR_NOT_SIP


@pytest.mark.parametrize(("octets", "expected"), [(64, fast.GO_ON), (65, fast.URI_TOO_LONG)])
def test_the_request_uri_at_its_limit_and_beyond(octets: int, expected: int) -> None:
    """SEC-5: 414 at n and n+1."""
    tail = "@example.com"
    assert verdict(uri="sip:" + "u" * (octets - 4 - len(tail)) + tail) == expected


@pytest.mark.parametrize(("octets", "expected"), [(64, fast.GO_ON), (65, fast.AOR_OF_OTHER_DOMAIN)])
def test_the_aor_at_its_limit_and_beyond(octets: int, expected: int) -> None:
    """SEC-5."""
    tail = "@example.com"
    assert verdict(to="sip:" + "u" * (octets - 4 - len(tail)) + tail) == expected


@pytest.mark.parametrize(
    ("rows", "unknown"),
    [
        (("Require: path",), []),
        (("Require: PATH, gruu",), []),
        (("Require: path, outbound",), ["outbound"]),
        (("Require: foo", "Require: gruu, bar,foo"), ["foo", "bar"]),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_require_is_compared_with_what_is_supported(method: str, rows: tuple[str, ...], unknown: list[str]) -> None:
    """UAS-2: tokens in any case; what is unknown is named once, in the order of the request."""
    message = parse_message(request(method, *rows))
    assert SCREEN.unknown(message) == unknown
    assert SCREEN.check(message) == (fast.UNKNOWN_EXTENSION if unknown else fast.GO_ON)


def test_extensions_of_register_are_required_of_register_alone() -> None:
    """UAS-2."""
    screen = Screen(["SUBSCRIBE"], DOMAINS, [], 64, ["path"])
    assert screen.check(parse_message(request("SUBSCRIBE", "Require: path"))) == fast.UNKNOWN_EXTENSION
