"""SIP over WebSocket (RFC 7118): one message in each, over the opening and the frames of RFC 6455.

Those are `websockets`' without its I/O; what is asked of them beyond it is here.
"""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from websockets.exceptions import InvalidMessage
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from reginfo.fast import SipParseError

logger = logging.getLogger(__name__)

SUBPROTOCOL: Final = Subprotocol("sip")  # RFC 7118 section 4
VERSION: Final = "13"
MAX_OPENING: Final = 16_384  # octets of the HTTP request, as of a header section (SEC-5)
MAX_FRAMES: Final = 512  # of one read, that some milliseconds are enough for; as many SIP messages fill it
ANY: Final = "*"

_PIECE: Final = 4_096  # octets of a read looked at before its frames are counted

_PING: Final = b"\r\n\r\n"
_PONG: Final = b"\r\n"

# Its lines would name peers and headers in its own form; what matters is logged here.
_library = logging.getLogger("websockets.server")
_library.setLevel(logging.WARNING)


class WebSocketFraming:
    """The octets of one connection to a browser."""

    __slots__ = ("_message", "_opened", "_protocol", "_reply", "error", "is_over", "partial")

    def __init__(self, max_message: int, origins: Sequence[str]) -> None:
        """origins are the web pages that may connect; who sends no Origin is no page, and may."""
        allowed = None if ANY in origins else [None, *map(Origin, origins)]
        self._protocol = ServerProtocol(
            origins=allowed, subprotocols=[SUBPROTOCOL], max_size=max_message, logger=_library
        )
        self._message: bytearray | None = None  # what has come of a fragmented one
        self._opened = 0  # octets of the opening handshake
        self._reply: list[bytes] = []
        self.partial = True
        self.error: SipParseError | None = None
        self.is_over = False

    @property
    def is_opening(self) -> bool:
        return self._protocol.state is State.CONNECTING

    @property
    def is_open(self) -> bool:
        return self._protocol.state is State.OPEN

    def feed(self, octets: bytes) -> list[bytes]:
        messages: list[bytes] = []
        frames = 0
        for at in range(0, len(octets), _PIECE):
            if self.is_over:
                break
            frames += self._feed(octets[at : at + _PIECE], messages, MAX_FRAMES - frames)
        return messages

    def _feed(self, octets: bytes, messages: list[bytes], limit: int) -> int:
        """Take octets in and return how many frames they complete; beyond the limit the connection is over."""
        protocol = self._protocol
        was_opening = self.is_opening
        protocol.receive_data(octets)
        events = protocol.events_received()
        for count, event in enumerate(events):
            if self.is_over:
                break
            if count >= limit:
                protocol.fail(CloseCode.POLICY_VIOLATION)
                break
            if isinstance(event, Request):
                self._open(event)
                events += protocol.events_received()  # frames may have come with it
            else:
                assert isinstance(event, Frame)
                self._take(event, messages)
        self._reply += protocol.data_to_send()
        if was_opening:
            self._still_opening(len(octets))
        self.partial = not events or self._message is not None
        self.is_over = self.is_over or protocol.state is State.CLOSED or protocol.close_expected()
        return len(events)

    def _open(self, request: Request) -> None:
        protocol = self._protocol
        if request.headers.get_all("Sec-WebSocket-Version") not in ([], [VERSION]):
            response = protocol.reject(HTTPStatus.UPGRADE_REQUIRED, "Only version 13 is spoken here.\n")
            response.headers["Sec-WebSocket-Version"] = VERSION  # RFC 6455 section 4.4
        else:
            response = protocol.accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            logger.info("websocket refused code=%d reason=%s", response.status_code, protocol.handshake_exc)
            self.is_over = True
        protocol.send_response(response)

    def _still_opening(self, octets: int) -> None:
        """Refuse what is no HTTP request, or a longer one than anybody needs."""
        self._opened += octets
        is_bad = isinstance(self._protocol.handshake_exc, InvalidMessage)
        if is_bad or (self.is_opening and self._opened > MAX_OPENING):
            status = HTTPStatus.BAD_REQUEST if is_bad else HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self._reply.append(self._protocol.reject(status, "This is no opening of a WebSocket.\n").serialize())
            self.is_over = True

    def _take(self, frame: Frame, messages: list[bytes]) -> None:
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            if frame.fin:
                self._give(frame.opcode, bytes(frame.data), messages)
            else:
                self._message = bytearray([frame.opcode]) + frame.data
        elif frame.opcode is Opcode.CONT and self._message is not None:
            self._message += frame.data
            if frame.fin:
                message, self._message = bytes(self._message), None
                self._give(Opcode(message[0]), message[1:], messages)

    def _give(self, opcode: Opcode, message: bytes, messages: list[bytes]) -> None:
        if opcode is Opcode.TEXT and not _is_text(message):
            self._protocol.fail(CloseCode.INVALID_DATA, "text is UTF-8")
            self.is_over = True
        elif message == _PING:
            self._reply.append(self.wrap(_PONG))
        elif message.strip(b"\r\n"):
            messages.append(message)

    def take_reply(self) -> bytes:
        reply, self._reply = self._reply, []
        return b"".join(reply)

    def wrap(self, message: bytes) -> bytes:
        """Return a frame of text, or of octets if it is none (TRN-13)."""
        return Frame(Opcode.TEXT if _is_text(message) else Opcode.BINARY, message).serialize(mask=False)

    def probe(self) -> bytes:
        """A browser cannot ask whether we are there, and need not speak for long (RFC 6455 section 5.5.2)."""
        return Frame(Opcode.PING, b"").serialize(mask=False) if self.is_open else b""

    def farewell(self) -> bytes:
        if not self.is_open:
            return b""
        self._protocol.send_close(CloseCode.GOING_AWAY)
        return b"".join(self._protocol.data_to_send())


def _is_text(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True
