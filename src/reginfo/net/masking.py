"""What a trace does not show: whoever has the response to a challenge can guess the password behind it at leisure."""

import re
from typing import Final

# response = "response" EQUAL DQUOTE 32*64LHEX DQUOTE   RFC 7616 section 3.4; cut short or unquoted it is masked as well
_DIGEST: Final = re.compile(rb'(?i)\b(?:response|rspauth)\s*=\s*"?([0-9a-f]{8,})')

# Credentials of the schemes that send the secret itself   RFC 7617, RFC 6750
_SECRET: Final = re.compile(rb"(?i)\bauthorization\s*:\s*(?:basic|bearer)\s+([^\s,]+)")


def masked(octets: bytes) -> bytes:
    """Return a message of the same length with `*` for every octet of such a response, wherever it stands."""
    for secret in (_DIGEST, _SECRET):
        octets = secret.sub(_stars, octets)
    return octets


def _stars(found: re.Match[bytes]) -> bytes:
    start = found.start(1) - found.start()
    return found[0][:start] + b"*" * len(found[1])
