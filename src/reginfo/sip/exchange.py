"""A request of this side: what it says, who has it said, and how it stands at one server."""

from typing import Any, NamedTuple, Protocol

from reginfo.fast import SipMessage
from reginfo.model import Now
from reginfo.sip.destinations import Destination, Place
from reginfo.sip.transaction import ClientTransaction


class Request(NamedTuple):
    """A request but for its Via, which is the client's."""

    method: str
    uri: str
    rows: bytes
    "Every header but Via and Content-Length, as write_headers() gives them."
    body: bytes = b""
    vias: int = 1
    "Via values its responses have: ours, and those of the hops before us among the rows."


class Sender(Protocol):
    """Whoever has something to say to a place.  Neither method raises what the other side caused."""

    def request(self, subject: Any, now: Now) -> Request | None:
        """Return what is to be sent now about subject; None if nothing is any more."""

    def answered(self, subject: Any, status: int, response: SipMessage | None, now: Now) -> None:
        """Take a response, or a status without one: 408 a timeout, 503 a transport error (RFC 3261 8.1.3.1).

        Provisional responses but 100 come here as well.
        """


class Exchange:
    """One request at one server, from its first transmission to its last answer."""

    __slots__ = (
        "branch",
        "destination",
        "fallback",
        "further",
        "is_windowed",
        "octets",
        "place",
        "request",
        "sender",
        "subject",
        "transaction",
    )

    def __init__(
        self,
        transaction: ClientTransaction,
        request: Request,
        octets: bytes,
        sender: Sender,
        subject: object,
        destination: Destination,
        place: Place,
        further: tuple[Place, ...],
        fallback: Place | None,
    ) -> None:
        self.branch = transaction.branch
        self.transaction: ClientTransaction | None = transaction  # None once it is over
        self.request = request
        self.octets = octets
        self.sender = sender
        self.subject = subject
        self.destination = destination
        self.place = place
        self.further = further  # where it goes if this server fails
        self.fallback = fallback  # where it goes if no connection can be made
        self.is_windowed = True
