"""A request of this side: who says it, and how it counts on."""

import re
from typing import Any, Final, Protocol

from reginfo.fast import LAST_CSEQ, Request, SipMessage
from reginfo.model import Now

# As write_headers() writes it.
_CSEQ: Final = re.compile(rb"^CSeq: ([0-9]+)", re.MULTILINE)


class Sender(Protocol):
    """Whoever has something to say to a place.  No method raises what the other side caused."""

    def request(self, subject: Any, now: Now) -> Request | None:
        """Return what is to be sent now about subject; None if nothing is any more."""

    def answered(self, subject: Any, status: int, response: SipMessage | None, now: Now) -> None:
        """Take a response, or a status without one: 408 a timeout, 503 a transport error (RFC 3261 8.1.3.1).

        Provisional responses but 100 come here as well.
        """

    def renumbered(self, subject: Any, cseq: int) -> None:
        """Take note that the request about subject goes again under this CSeq, with a password (RFC 3261 22.2)."""


def renumbered(request: Request) -> tuple[Request, int] | None:
    """Return the same request under its next CSeq, and that number; None if there is none (RFC 3261 22.2)."""
    match = _CSEQ.search(request.rows)
    number = int(match[1]) + 1 if match is not None else 0
    if match is None or number > LAST_CSEQ:
        return None
    rows = b"%bCSeq: %d%b" % (request.rows[: match.start()], number, request.rows[match.end() :])
    return Request(request.method, request.uri, rows, request.body, request.vias), number
