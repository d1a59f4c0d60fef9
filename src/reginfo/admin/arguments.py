"""What operators give by hand, as this project writes it."""

from reginfo.admin.control import BadArgument
from reginfo.fast import SipParseError, canonical_aor, parse_uri


def aor_of(text: str) -> str:
    """Return the canonical AoR; `alice@example.com` is taken for a SIP URI.  Raises BadArgument."""
    uri = text if text.lower().startswith(("sip:", "sips:")) else f"sip:{text}"
    try:
        return canonical_aor(uri)
    except SipParseError as error:
        raise BadArgument(f"aor: {error.reason}") from None


def contact_of(text: str) -> str:
    """Return the text of a contact URI.  Raises BadArgument."""
    try:
        return parse_uri(text).text
    except SipParseError as error:
        raise BadArgument(f"contact: {error.reason}") from None
