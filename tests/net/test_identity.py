"""Whose a certificate is (standards.md: DNS-6; RFC 5922 section 7)."""

import pytest

from reginfo.net.identity import identities, matches

CN = ((("countryName", "DE"),), (("commonName", "cn.example.com"),))


@pytest.mark.parametrize(
    ("alternatives", "known"),
    [
        ((("URI", "sip:example.com"),), ("example.com",)),
        ((("DNS", "host.example.com"), ("URI", "sip:example.com")), ("example.com",)),
        ((("URI", "SIP:Example.COM."),), ("example.com",)),
        ((("URI", "sip:example.com:5061;transport=tls"),), ("example.com",)),
        ((("URI", "sip:[2001:db8::1]:5061"),), ("[2001:db8::1]",)),
        ((("URI", "sip:alice@example.com"), ("DNS", "example.net")), ("example.net",)),
        ((("URI", "sip:alice@example.com"),), ()),
        ((("URI", "sips:example.com"), ("URI", "https://example.com"), ("DNS", "a.example")), ("a.example",)),
        ((("DNS", "a.example"), ("DNS", "b.example"), ("DNS", "A.example")), ("a.example", "b.example")),
        ((("email", "root@example.com"),), ()),
        ((("IP Address", "192.0.2.1"),), ()),
        ((), ("cn.example.com",)),
    ],
)
def test_whose_a_certificate_is(alternatives: tuple[tuple[str, str], ...], known: tuple[str, ...]) -> None:
    """DNS-6: a sip URI without a user first, else DNS, the common name only without alternative names."""
    assert identities({"subject": CN, "subjectAltName": alternatives}) == known
    assert identities({}) == ()


@pytest.mark.parametrize(
    ("known", "domain", "same"),
    [
        (("example.com",), "example.com", True),
        (("example.com",), "EXAMPLE.com.", True),
        (("a.example", "example.com"), "example.com", True),
        (("example.com",), "sip.example.com", False),
        (("sip.example.com",), "example.com", False),
        (("*.example.com",), "sip.example.com", False),
        (("*.example.com",), "*.example.com", False),
        (("*",), "example.com", False),
        ((), "example.com", False),
        (("",), "", False),
    ],
)
def test_a_domain_is_the_whole_name(known: tuple[str, ...], domain: str, same: bool) -> None:
    """DNS-6: no wildcard and no suffix."""
    assert matches(known, domain) is same
