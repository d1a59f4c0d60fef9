"""How messages stand in the octets of a connection: on a stream by their Content-Length (RFC 3261 section 18.3)."""

from typing import Protocol

from reginfo.fast import SipParseError, StreamFramer


class Framing(Protocol):
    """What a connection asks of the way its messages are framed; sans I/O."""

    partial: bool
    "Whether something has begun and is not whole: a message, or the handshake before the first."
    error: SipParseError | None
    "Why the framing is lost, if an answer may be owed."
    is_over: bool
    "Whether nothing more is to be read: the connection is closed once its answers have left."

    @property
    def is_opening(self) -> bool:
        """Tell whether the handshake before the first message is not over."""

    @property
    def is_open(self) -> bool:
        """Tell whether messages can be sent."""

    def feed(self, octets: bytes) -> list[bytes]:
        """Take octets in and return the messages they complete."""

    def take_reply(self) -> bytes:
        """Return what is to be sent at once and is no message: keep-alives, control frames."""

    def wrap(self, message: bytes) -> bytes:
        """Return a message as it is sent."""

    def probe(self) -> bytes:
        """Return what a silent peer has to answer; empty if there is no such thing."""

    def farewell(self) -> bytes:
        """Return what is said last before the connection is closed from here."""


class StreamFraming:
    """Messages one behind the other, each as long as its Content-Length says (TRN-8)."""

    __slots__ = ("_framer", "_pings", "error", "is_over", "partial")

    is_opening = False
    is_open = True

    def __init__(self, max_message: int) -> None:
        self._framer = StreamFramer(max_message)
        self._pings = 0
        self.partial = False
        self.error: SipParseError | None = None
        self.is_over = False

    def feed(self, octets: bytes) -> list[bytes]:
        try:
            messages = self._framer.feed(octets)
            self.error = self._framer.error
        except SipParseError as raised:
            messages, self.error = [], raised
        self._pings += self._framer.take_pings()
        self.partial = self._framer.partial
        self.is_over = self.error is not None
        return messages

    def take_reply(self) -> bytes:
        pings, self._pings = self._pings, 0
        return b"\r\n" * pings

    def wrap(self, message: bytes) -> bytes:
        return message

    def probe(self) -> bytes:
        return b""  # RFC 5626 section 4.4.1 has the client ask

    def farewell(self) -> bytes:
        return b""
