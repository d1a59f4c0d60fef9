"""URIs: grammar, equality and the canonical AoR (URI-1 to URI-7, MSG-17)."""

import pytest

from reginfo.fast import SipParseError, canonical_aor, parse_uri, uris_equal

MALFORMED = [
    "",
    "sip",
    "sip:",
    "sip:@h",
    "sip:a@",
    "sip:a@h:",
    "sip:a@h:0",
    "sip:a@h:65536",
    "sip:a@h:99999999999999999999",
    "sip:a@h:5060x",
    "sip:a@h;",
    "sip:a@h;;lr",
    "sip:a@h;=x",
    "sip:a@h;x=",
    "sip:a@h;lr;LR",
    "sip:a@h?",
    "sip:a@h?x",
    "sip:a@h?x=1&",
    "sip:a b@h",
    "sip:a%4@h",
    "sip:a%zz@h",
    "sip:a@h%41",
    "sip:a@b@h",
    "sip:a@h..x",
    "sip:a@.h",
    "sip:a@1.2.3",
    "sip:a@1.2.3.256",
    "sip:a@1.2.3.4.5",
    "sip:a@[::1",
    "sip:a@::1",
    "sip:2001:db8::10",
    "<sip:a@h>",
    " sip:a@h",
    "sip:a@h ",
    "sip:\0@h",
    "sip:é@h",
    "urn:",
    "1x:y",
    "tel:+1 2",
]

IPV6 = [
    ("[::]", "[::]"),
    ("[::1]", "[::1]"),
    ("[1::]", "[1::]"),
    ("[2001:0DB8:0:0:1:0:0:1]", "[2001:db8::1:0:0:1]"),
    ("[2001:db8:0:1:1:1:1:1]", "[2001:db8:0:1:1:1:1:1]"),
    ("[1:0:0:2:0:0:0:3]", "[1:0:0:2::3]"),
    ("[1:2:3:4:5:6:7::]", "[1:2:3:4:5:6:7:0]"),
    ("[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]"),
    ("[64:ff9b::192.0.2.1]", "[64:ff9b::c000:201]"),
    ("[2001:db8:::192.0.2.1]", "[2001:db8::c000:201]"),
]

NOT_IPV6 = [
    "[]",
    "[:]",
    "[:::]",
    "[:1]",
    "[1:]",
    "[1:2]",
    "[1::2::3]",
    "[1:::2]",
    "[12345::]",
    "[g::]",
    "[1:2:3:4:5:6:7:8:9]",
    "[1:2:3:4:5:6:7::8]x",
    "[::1.2.3]",
    "[::1.2.3.4:5]",
    "[::256.2.3.4]",
    "[1:2:3:4:5:6:7:1.2.3.4]",
    "[fe80::1%eth0]",
]

# URI-5 and the examples of RFC 3261 19.1.4.
EQUAL = [
    ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
    (
        "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
        "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
    ),
    (
        "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
        "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
    ),
    ("SIP:a@h", "sip:a@h"),
    ("sip:a%3bb@h", "sip:a%3Bb@h"),
    ("sip:a@h;%6Cr", "sip:a@h;lr"),
    ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0:0:0:0:1]"),
    ("sip:a@192.0.2.1", "sip:a@192.0.2.001"),
    ("TEL:+1", "tel:+1"),
    ("not a URI", "not a URI"),
]

UNEQUAL = [
    ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
    ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
    ("sip:a@h", "sips:a@h"),
    ("sip:a@h", "sip:h"),
    ("sip:a:p@h", "sip:a@h"),
    ("sip:a:p@h", "sip:a:P@h"),
    ("sip:a%3Bb@h", "sip:a;b@h"),
    ("sip:a%2541@h", "sip:a%41@h"),
    ("sip:a%00@h", "sip:a@h"),
    ("sip:%00@h", "sip:%00%00@h"),
    ("sip:a@h;lr", "sip:a@h;lr=on"),
    ("sip:a@h", "sip:a@h;user=phone"),
    ("sip:a@h", "sip:a@h;ttl=1"),
    ("sip:a@h", "sip:a@h;method=INVITE"),
    ("sip:a@h", "sip:a@h;%6Daddr=1.2.3.4"),
    ("sip:a@h?x=1", "sip:a@h?x=1&x=1"),
    ("sip:a@h?call-id=A", "sip:a@h?call-id=a"),
    ("sip:a@192.0.2.1", "sip:a@[::ffff:192.0.2.1]"),
    ("tel:+1", "tel:+1;x"),
    ("mailto:A@h", "mailto:a@h"),
    ("not a URI", "not a uri"),
    ("sip:a@h", "not a URI"),
]

AORS = [
    ("sip:alice@Example.ORG", "sip:alice@example.org"),
    ("sips:alice@example.org", "sip:alice@example.org"),
    ("sip:alice@example.org:5060", "sip:alice@example.org:5060"),
    ("sip:alice@example.org:05060", "sip:alice@example.org:5060"),
    ("sip:%61lice@h;user=phone?Route=x", "sip:alice@h"),
    ("sip:Alice@h", "sip:Alice@h"),
    ("sip:example.org", "sip:example.org"),
    ("sip:a%40b@h", "sip:a%40b@h"),
    ("sip:a:pw@h", "sip:a%3Apw@h"),
    ("sip:a%3apw@h", "sip:a%3Apw@h"),
    ("sip:a%2541@h", "sip:a%2541@h"),
    ("sip:null-%00-null@h", "sip:null-%00-null@h"),
    ("sip:%0d%0a@h", "sip:%0D%0A@h"),
    ("sip:%c3%a9@h", "sip:%C3%A9@h"),
    ("sip:a%3Bb@h", "sip:a;b@h"),
    ("sip:%2B49(0)@h", "sip:+49(0)@h"),
    ("sip:a@001.002.003.004", "sip:a@1.2.3.4"),
]


def test_parts_are_as_written() -> None:
    """URI-1"""
    uri = parse_uri("sip:ali%63e;x=y:p$w@[2001:DB8::1]:5070;transport=TCP;lr?Subject=x&a=")
    assert uri.scheme == "sip"
    assert uri.user == "ali%63e;x=y"
    assert uri.password == "p$w"
    assert uri.host == "[2001:DB8::1]"
    assert uri.port == 5070
    assert uri.parameters == (("transport", "TCP"), ("lr", None))
    assert uri.headers == "Subject=x&a="
    assert str(uri) == uri.text


def test_absent_parts_are_none() -> None:
    """URI-1"""
    uri = parse_uri(b"sips:example.org")
    assert (uri.scheme, uri.user, uri.password, uri.port, uri.headers) == ("sips", None, None, None, None)
    assert uri.host == "example.org"
    assert uri.parameters == ()


def test_user_may_hold_what_looks_like_parameters() -> None:
    """URI-1: the semiuri row of RFC 4475."""
    uri = parse_uri("sip:user;par=u%40example.net@example.com")
    assert uri.user == "user;par=u%40example.net"
    assert uri.host == "example.com"
    assert uri.parameters == ()


def test_other_schemes_are_opaque() -> None:
    """URI-6"""
    uri = parse_uri("tel:+1-201-555-0123;phone-context=x")
    assert uri.scheme == "tel"
    assert uri.host is None
    assert uri.user is None
    assert uri.parameters == ()


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_uri_is_refused(text: str) -> None:
    """URI-1"""
    with pytest.raises(SipParseError) as caught:
        parse_uri(text)
    assert caught.value.status == 400
    assert 0 <= caught.value.offset <= len(text.encode())


@pytest.mark.parametrize("count", [64, 65])
def test_parameters_have_a_limit(count: int) -> None:
    """SEC-5: the search for duplicates stays cheap."""
    text = "sip:a@h" + "".join(f";p{i}" for i in range(count))
    if count == 64:
        assert len(parse_uri(text).parameters) == count
    else:
        with pytest.raises(SipParseError, match="too many"):
            parse_uri(text)


def test_text_that_is_no_unicode_is_refused() -> None:
    """URI-2"""
    with pytest.raises(SipParseError):
        parse_uri("sip:\udcff@h")


def test_something_else_than_text_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        uris_equal("sip:a@h", 5)  # type: ignore[arg-type]


@pytest.mark.parametrize(("written", "canonical"), IPV6)
def test_ipv6_is_shown_as_rfc_5952(written: str, canonical: str) -> None:
    """MSG-17"""
    assert parse_uri(f"sip:a@{written}").host == written
    assert canonical_aor(f"sip:a@{written}") == f"sip:a@{canonical}"
    assert uris_equal(f"sip:a@{written}", f"sip:a@{canonical}")


@pytest.mark.parametrize("host", NOT_IPV6)
def test_malformed_ipv6_is_refused(host: str) -> None:
    """MSG-17"""
    with pytest.raises(SipParseError):
        parse_uri(f"sip:a@{host}")


@pytest.mark.parametrize(("a", "b"), EQUAL)
def test_equal_uris(a: str, b: str) -> None:
    """URI-3, URI-5, URI-6"""
    assert uris_equal(a, b)
    assert uris_equal(b.encode(), a.encode())


@pytest.mark.parametrize(("a", "b"), UNEQUAL)
def test_unequal_uris(a: str, b: str) -> None:
    """URI-2, URI-3, URI-5, URI-6"""
    assert not uris_equal(a, b)
    assert not uris_equal(b, a)
    assert uris_equal(a, a)
    assert uris_equal(b, b)


def test_equality_is_not_transitive() -> None:
    """URI-4"""
    on, none, off = (f"sip:carol@chicago.com{tail}" for tail in (";security=on", "", ";security=off"))
    assert uris_equal(on, none)
    assert uris_equal(none, off)
    assert not uris_equal(on, off)


def test_operator_equality_is_octet_identity() -> None:
    """URI-4: a hash must not stand for RFC 3261 19.1.4."""
    assert parse_uri("sip:a@h") == parse_uri(b"sip:a@h")
    assert hash(parse_uri("sip:a@h")) == hash(parse_uri("sip:a@h"))
    assert parse_uri("sip:a@h") != parse_uri("sip:a@H")
    assert parse_uri("sip:a@h") != "sip:a@h"
    assert uris_equal(parse_uri("sip:a@h"), parse_uri("sip:a@H"))


@pytest.mark.parametrize(("uri", "aor"), AORS)
def test_canonical_aor(uri: str, aor: str) -> None:
    """URI-2, URI-7"""
    assert canonical_aor(uri) == aor
    assert canonical_aor(aor) == aor


@pytest.mark.parametrize("uri", ["tel:+1", "isbn:2983792873", "sip:", "alice@example.org"])
def test_aor_of_something_else_is_refused(uri: str) -> None:
    """REG-4, URI-7"""
    with pytest.raises(SipParseError):
        canonical_aor(uri)


def test_different_users_have_different_aors() -> None:
    """URI-7: the text is injective."""
    users = ["a", "A", "a%3Ab", "a%40b", "a%2541", "a%41", "a%00", "%00", "%00%00", "a%20", "a%FF"]
    assert len({canonical_aor(f"sip:{user}@h") for user in users}) == len(users)
