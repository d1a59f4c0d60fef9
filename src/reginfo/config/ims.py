"""Public user identities, and the sets of them that are registered together (3GPP TS 23.228 section 4.3.3.4)."""

import re
from typing import NamedTuple

from reginfo.errors import ConfigError
from reginfo.fast import SipParseError, canonical_aor

# tel-URI; what is behind the number is compared as written
_TEL = re.compile(r"tel:\+?[0-9A-Fa-f*#().-]+(?:;[!-~]+)?", re.IGNORECASE)

# sip:user!regular expression!user@host   TS 23.003 section 13.4B
_WILDCARD = re.compile(r"(?P<scheme>sips?:)(?P<before>[^!@]*)!(?P<range>[^!@]+)!(?P<behind>[^!@]*)(?P<host>@[^@]+)")


class PublicIdentity(NamedTuple):
    """One identity of a user, or a range of them."""

    uri: str
    "Canonical; of a wildcarded identity one that it covers."
    wildcard: str = ""
    "With an extended regular expression between two exclamation marks; empty for one identity."


class ImplicitSet(NamedTuple):
    """Identities that are registered as soon as one of them is, the first one explicitly."""

    identities: tuple[PublicIdentity, ...]
    barred: frozenset[str] = frozenset()
    "Those of them that nobody is told of, and that watch nothing."

    @property
    def home(self) -> str:
        """The address-of-record that has the contacts of all."""
        return self.identities[0].uri

    @property
    def told(self) -> tuple[PublicIdentity, ...]:
        """All but the barred ones; the first one is the default identity."""
        return tuple(one for one in self.identities if one.uri not in self.barred)


def parse_identity(text: str, key: str) -> PublicIdentity:
    """Return the identity that a SIP, SIPS or tel URI names, or the wildcard behind a URI that it covers."""
    uri, _, wildcard = text.partition(" ")
    if _TEL.fullmatch(uri) and not wildcard:
        return PublicIdentity(uri)
    try:
        identity = PublicIdentity(canonical_aor(uri), wildcard)
    except SipParseError as error:
        raise ConfigError(f"{key}: {uri!r} is neither a SIP nor a tel URI: {error.reason}", key=key) from None
    if wildcard and not covering(wildcard, key).fullmatch(identity.uri):
        raise ConfigError(f"{key}: {wildcard!r} does not cover {uri!r}", key=key)
    return identity


def covering(wildcard: str, key: str) -> re.Pattern[str]:
    """Return what matches the canonical addresses-of-record that a wildcard covers."""
    parts = _WILDCARD.fullmatch(wildcard)
    if parts is None:
        raise ConfigError(f"{key}: {wildcard!r} must be a SIP URI with !regular expression! in its user", key=key)
    try:
        return re.compile(
            f"sip:{re.escape(parts['before'])}(?:{parts['range']}){re.escape(parts['behind'])}"
            f"{re.escape(parts['host'].lower())}"
        )
    except re.error as error:
        raise ConfigError(f"{key}: {wildcard!r}: {error}", key=key) from None
