"""Whose a certificate is, in the sense of SIP (RFC 5922 section 7): pure functions of what `getpeercert()` returns."""

from collections.abc import Mapping, Sequence
from typing import Any

_DOMAIN_SCHEME = "sip:"


def identities(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the SIP domains of a verified certificate, in lower case (RFC 5922 section 7.1).

    A URI of scheme sip without a user names one; only without any do the DNS names count, and the common name only in
    a certificate without alternative names.
    """
    alternatives: Sequence[tuple[str, str]] = certificate.get("subjectAltName", ())
    if alternatives:
        domains = [_domain(value) for kind, value in alternatives if kind == "URI"]
        names = [domain for domain in domains if domain] or [value for kind, value in alternatives if kind == "DNS"]
    else:
        subject = certificate.get("subject", ())
        names = [value for names in subject for kind, value in names if kind == "commonName"]
    return tuple(dict.fromkeys(map(_canonical, names)))


def matches(known: Sequence[str], domain: str) -> bool:
    """Tell whether a domain is one of these, as a whole: no wildcard, no suffix (RFC 5922 section 7.2)."""
    wanted = _canonical(domain)
    return wanted != "" and "*" not in wanted and wanted in known


def _domain(uri: str) -> str:
    """Return the host of a sip URI that stands for a domain; empty for any other URI."""
    if uri[: len(_DOMAIN_SCHEME)].lower() != _DOMAIN_SCHEME or "@" in uri:
        return ""
    host = uri[len(_DOMAIN_SCHEME) :].partition(";")[0].partition("?")[0]
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


def _canonical(name: str) -> str:
    return name.lower().removesuffix(".")
