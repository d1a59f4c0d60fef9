"""A request of this side: what it says, who has it said, and how it stands at one server."""

import re
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from msgspec import structs

from reginfo.fast import SipMessage
from reginfo.model import Now
from reginfo.sip.destinations import Destination, Place
from reginfo.sip.transaction import ClientTransaction

if TYPE_CHECKING:
    from reginfo.sip.authorization import Attempt

LAST_CSEQ: Final = 2**31 - 1  # MSG-10

# As write_headers() writes it.
_CSEQ: Final = re.compile(rb"^CSeq: ([0-9]+)", re.MULTILINE)


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request but for its Via, which is the client's."""

    method: str
    uri: str
    rows: bytes
    "Every header but Via and Content-Length, as write_headers() gives them."
    body: bytes = b""
    vias: int = 1
    "Via values its responses have: ours, and those of the hops before us among the rows."

    def renumbered(self) -> tuple["Request", int] | None:
        """Return the same request under its next CSeq, and that number; None if there is none (RFC 3261 22.2)."""
        match = _CSEQ.search(self.rows)
        number = int(match[1]) + 1 if match is not None else 0
        if match is None or number > LAST_CSEQ:
            return None
        rows = b"%bCSeq: %d%b" % (self.rows[: match.start()], number, self.rows[match.end() :])
        return structs.replace(self, rows=rows), number


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


class Exchange(msgspec.Struct, eq=False):
    """One request at one server, from its first transmission to its last answer."""

    branch: str
    began_ms: int
    request: Request
    octets: bytes
    sender: Sender
    subject: object
    destination: Destination
    place: Place
    further: tuple[Place, ...]
    "Where it goes if this server fails."
    fallback: Place | None
    "Where it goes if no connection can be made."
    attempt: "Attempt | None"
    "What it was authorized with, if it was."
    transaction: ClientTransaction | None = None
    "Made when it has to step: most requests are answered before anything else happens to them."
    is_windowed: bool = True
    "Whether it holds one of the places of its destination."
    is_over: bool = False
