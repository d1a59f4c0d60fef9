"""One TCP connection: framing, keep-alives and its clocks (RFC 3261 section 18.3, RFC 5626 section 4.4.1)."""

import asyncio
import logging
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final, cast

from reginfo.fast import Flow, SipParseError, StreamFramer

if TYPE_CHECKING:
    from reginfo.net.stream import StreamServer

logger = logging.getLogger(__name__)

LINGER: Final = 0.5  # seconds in which answers still leave after the peer's last octet or first fault

_numbers = count(1)  # connections have their number once in the life of the process


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What one listener grants its peers (SEC-5, TRN-9)."""

    max_connections: int = 4096
    "Connections at once; a further one is closed as soon as it is accepted."
    max_connections_per_address: int = 64
    "The same for one remote address."
    max_message: int = 262_144
    "Octets of one message; beyond it 513 is owed."
    half_message: float = 30.0
    "Seconds a message may take from its first octet to its last."
    idle: float = 120.0
    "Seconds a connection may be silent both ways; RFC 3261 section 18 asks for 64*T1 at least."
    write_buffer: int = 1 << 20
    "Octets a peer may leave unread before it is cut off."


class Connection(asyncio.Protocol):
    """One TCP connection: octets in, whole messages out, and the clocks that bound it."""

    flow: Flow

    def __init__(self, server: "StreamServer", remote: tuple[str, int]) -> None:
        self.remote = remote
        "Kept apart from the socket: a peer that is gone already has no address there."
        self._server = server
        self._framer = StreamFramer(server.limits.max_message)
        self._transport: asyncio.Transport | None = None
        self._ending = False  # answers may leave, nothing more is read
        self._idle = server.limits.idle
        self._active = 0.0
        self._partial_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def was_made(self) -> bool:
        """Tell whether there ever was a connection."""
        return self._transport is not None

    @property
    def is_open(self) -> bool:
        """Tell whether octets can be written."""
        return self._transport is not None and not self._transport.is_closing()

    def write(self, octets: bytes) -> bool:
        """Queue octets; False if the connection is gone.  A peer that leaves too much unread is cut off."""
        if self._transport is None or self._transport.is_closing():
            return False
        self._active = self._server.loop.time()
        self._transport.write(octets)
        if self._transport.get_write_buffer_size() > self._server.limits.write_buffer:
            self._cut("peer does not read")
        return True

    def grant(self, idle: float) -> None:
        """Take another bound of silence than that of the listener."""
        if idle != self._idle:
            self._idle = idle
            if self._timer is not None and not self._ending and self._timer.when() > self._active + idle:
                self._arm(self._active + idle)

    def close(self) -> None:
        """Close once the write buffer is empty."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now; what was not sent is lost."""
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        local = transport.get_extra_info("sockname")
        self.flow = Flow(
            "tcp",
            (local[0].partition("%")[0], self._server.local[1]),
            self.remote,
            next(_numbers),
        )
        self._active = self._server.loop.time()
        self._server.made(self)
        self._arm(self._active + self._idle)

    def data_received(self, data: bytes) -> None:
        self._active = self._server.loop.time()
        if self._ending:
            return
        error: SipParseError | None
        try:
            messages = self._framer.feed(data)
            error = self._framer.error
        except SipParseError as raised:
            messages, error = [], raised
        pings = self._framer.take_pings()
        if pings:
            self.write(b"\r\n" * pings)
        if messages:
            flow = self.flow
            self._server.on_batch([(message, flow) for message in messages])
        if error is not None:
            self._refuse(error)
        elif not self._framer.partial:
            self._partial_since = None
        elif messages or self._partial_since is None:
            self._partial_since = self._active
            deadline = self._active + self._server.limits.half_message
            if self._timer is not None and self._timer.when() > deadline:
                self._arm(deadline)

    def eof_received(self) -> bool:
        # Half a close: the answers to what was asked may still be on their way.
        self._end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._server.lost(self)

    # -- ends -------------------------------------------------------------------------------------------

    def _refuse(self, error: SipParseError) -> None:
        logger.debug("framing lost flow=%s reason=%s", self.flow.text, error.reason)
        answer = self._server.on_bad(error, self.flow)
        if answer:
            self.write(answer)
        self._end()

    def _end(self) -> None:
        # Closing at once would lose the answers to earlier requests, and with octets unread reset the last one.
        self._ending = True
        self._arm(self._server.loop.time() + LINGER)

    def _cut(self, reason: str) -> None:
        logger.info("connection cut flow=%s reason=%s", self.flow.text, reason)
        self._server.cut += 1
        self.abort()

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._server.loop.call_at(when, self._check)

    def _check(self) -> None:
        # Traffic only moves _active and _partial_since; the timer finds out when it fires.
        now = self._server.loop.time()
        limits = self._server.limits
        due = self._active + self._idle
        if self._partial_since is not None:
            due = min(due, self._partial_since + limits.half_message)
        if self._ending:
            self.close()
        elif now < due:
            self._arm(due)
        elif self._partial_since is not None and now >= self._partial_since + limits.half_message:
            self._cut("half a message")
        else:
            self._cut("idle")
