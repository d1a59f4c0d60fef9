"""One row of a torture table: the octets, and the answer they are owed."""

from dataclasses import dataclass
from enum import StrEnum
from textwrap import dedent


class Stream(StrEnum):
    """What becomes of a connection after the message."""

    OPEN = "open"
    "Framing is intact: the next message is answered."
    CLOSED = "closed"
    "Framing is lost (TRN-8): the answer, then the end of the connection."
    WAITS = "waits"
    "The message is incomplete: no answer until the rest arrives."


@dataclass(frozen=True, slots=True)
class Row:
    """A message that exercises one oddity, and its verdict."""

    name: str
    "Name of the row in the RFC's table."
    oddity: str
    "What makes the message hard."
    octets: bytes
    "The message as it is sent."
    status: int | None
    "Status owed over UDP; None when nothing may be answered."
    stream: Stream = Stream.OPEN
    "What a stream does with it; WAITS owes no status there."
    answers: tuple[int, ...] | None = None
    "Statuses owed over a stream, where it differs from UDP."
    contacts: tuple[str, ...] = ()
    "Contact values, without expires, that the answer has to list."
    unsupported: tuple[str, ...] = ()
    "Option tags the answer's Unsupported has to list, exactly."

    @property
    def owed(self) -> tuple[int, ...]:
        """Return the statuses owed over UDP, in order."""
        return () if self.status is None else (self.status,)

    @property
    def owed_over_stream(self) -> tuple[int, ...]:
        """Return the statuses owed over a stream, in order."""
        return self.owed if self.answers is None else self.answers


def sip(text: str, body: bytes = b"") -> bytes:
    """Return the octets of a message: margin removed, CRLF line ends, `{length}` the size of body."""
    head = dedent(text).replace("{length}", str(len(body)))
    return head.replace("\n", "\r\n").encode() + body


SDP = b"\r\n".join(
    (
        b"v=0",
        b"o=rosa 771 771 IN IP4 198.51.100.20",
        b"s=torture",
        b"c=IN IP4 198.51.100.20",
        b"t=0 0",
        b"m=audio 40000 RTP/AVP 8",
        b"",
    )
)
"A session description; its content is never looked at."
