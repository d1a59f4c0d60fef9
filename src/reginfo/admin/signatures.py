"""Signatures of deliveries: the server writes them, receivers verify them.

`Reginfo-Signature: t=UNIX,v1=HEX`, where HEX is HMAC-SHA256 with the secret of the webhook over the time, a full
stop and the body.  A receiver that remembers the Idempotency-Keys of as many seconds as it tolerates takes no
delivery twice, whoever repeats it.
"""

import hashlib
import hmac
import re
import time
from typing import Final

HEADER: Final = "Reginfo-Signature"
TOLERANCE: Final = 300.0  # seconds between the clocks of server and receiver, travel included

# header = "t=" 1*15DIGIT ",v1=" 64HEXDIG
_HEADER = re.compile(r"t=([0-9]{1,15}),v1=([0-9a-f]{64})", re.ASCII)


def sign_webhook(body: bytes, secret: bytes, now: float) -> str:
    """Return the value of the header for a body that is sent now, a Unix time in seconds."""
    stamp = int(now)
    return f"t={stamp},v1={_digest(stamp, body, secret)}"


def verify_webhook(
    body: bytes, header: str, secret: bytes, *, now: float | None = None, tolerance: float = TOLERANCE
) -> bool:
    """Tell whether a body was signed with the secret, at most tolerance seconds from now.

    header is the value of Reginfo-Signature, empty if there was none; now is a Unix time, the clock's unless given.
    """
    match = _HEADER.fullmatch(header)
    if match is None:
        return False
    stamp = int(match[1])
    is_timely = abs((time.time() if now is None else now) - stamp) <= tolerance
    return hmac.compare_digest(_digest(stamp, body, secret), match[2]) and is_timely


def _digest(stamp: int, body: bytes, secret: bytes) -> str:
    return hmac.new(secret, b"%d." % stamp + body, hashlib.sha256).hexdigest()
