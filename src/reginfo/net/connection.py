"""One connection: its octets, its keep-alives and its clocks (RFC 3261 section 18.3, RFC 5626 section 4.4.1).

It lives on a non-blocking socket of its own and on the clocks and the poll of its server: what an idle phone costs is
this object, its socket and its framing.  TLS is the same on an `SSLSocket`, whose buffers OpenSSL gives back whenever
they are empty; an event loop's own TLS transport keeps hundreds of kilobytes for as long as the connection lasts.
"""

import logging
import select
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

from reginfo.fast import Flow, SipParseError
from reginfo.net.framing import Framing
from reginfo.net.identity import identities, matches

if TYPE_CHECKING:
    from reginfo.net.stream import StreamServer

logger = logging.getLogger(__name__)

LINGER: Final = 0.5  # seconds in which answers still leave after the peer's last octet or first fault
READ: Final = 65_536  # octets of one read: more than a TLS record holds, so that none of it stays behind unseen
PIECE: Final = 65_536  # octets of one write

_LATER: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

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
    handshake: float = 10.0
    "Seconds in which a connection has to be made: TLS, and the opening of a WebSocket."
    idle: float = 120.0
    "Seconds a connection may be silent both ways; RFC 3261 section 18 asks for 64*T1 at least."
    write_buffer: int = 1 << 20
    "Octets a peer may leave unread before it is cut off."


class Connection:
    """One connection: octets in, whole messages out, and the clocks that bound it."""

    __slots__ = (
        "_active",
        "_deadline",
        "_ending",
        "_framing",
        "_idle",
        "_probed",
        "_server",
        "_socket",
        "_unsent",
        "domain",
        "flow",
        "identities",
        "is_shaking",
        "looked_at",
        "watched",
    )

    def __init__(
        self, server: "StreamServer", peer: socket.socket, remote: tuple[str, int], framing: Framing, domain: str = ""
    ) -> None:
        """domain is whom a connection made from here has to lead to over TLS (RFC 5922 section 4)."""
        self.flow = Flow(server.transport, server.local, remote, next(_numbers))
        self.domain = domain
        self.identities: tuple[str, ...] = ()
        "SIP domains of the other side's verified certificate."
        self.is_shaking = isinstance(peer, ssl.SSLSocket)
        "Whether TLS is not there yet."
        self.looked_at = 0
        self.watched = 0
        "When the clocks of the server look at it next, and what its poll waits for: theirs to write."
        self._server = server
        self._socket = peer
        self._framing = framing
        self._unsent: bytearray | None = None
        self._ending = False  # answers may leave, nothing more is read
        self._probed = False  # it was asked whether it is there, and has not answered
        self._idle = server.limits.idle
        self._active = server.loop.time()
        self._deadline: float | None = None  # of what has begun: handshake, message, or the end
        if self.is_shaking or framing.partial:
            self._deadline = self._active + server.limits.handshake

    def fileno(self) -> int:
        """Return the descriptor; -1 once it is closed."""
        return self._socket.fileno()

    @property
    def is_gone(self) -> bool:
        return self._socket.fileno() < 0

    @property
    def is_open(self) -> bool:
        """Tell whether messages can be sent."""
        return not self.is_shaking and self._framing.is_open and not self.is_gone

    @property
    def due(self) -> float:
        """When somebody has to look()."""
        silent = self._active + self._idle
        return silent if self._deadline is None else min(silent, self._deadline)

    # -- out --------------------------------------------------------------------------------------------

    def write(self, message: bytes) -> None:
        """Queue a message for flush()."""
        self._queue(self._framing.wrap(message))

    def _queue(self, octets: bytes) -> None:
        if self._unsent is None:
            self._unsent = bytearray()
        self._unsent += octets

    def flush(self) -> None:
        """Send what is queued, as far as it is taken.  A peer that leaves too much unread is cut off."""
        if self._unsent is None or self.is_shaking or self.is_gone:
            return
        self._active = self._server.loop.time()
        try:
            while self._unsent:
                # In pieces, because TLS does not tell how much of one has left before all of it has.
                with memoryview(self._unsent) as unsent, unsent[:PIECE] as piece:
                    sent = self._socket.send(piece)
                del self._unsent[:sent]
        except _LATER:
            if len(self._unsent) > self._server.limits.write_buffer:
                self._cut("peer does not read")
            else:
                self._server.watch(self, select.EPOLLIN | select.EPOLLOUT)
        except OSError as error:
            self._fail(error)
        else:
            self._unsent = None
            self._server.watch(self, select.EPOLLIN)

    def grant(self, idle: float) -> None:
        """Take another bound of silence than that of the listener."""
        self._idle = idle
        self._server.look_sooner(self)

    # -- in ---------------------------------------------------------------------------------------------

    def ready(self, events: int) -> None:
        """Go on where the socket can."""
        if self.is_shaking:
            self._shake()
            return
        if self._ending and events & (select.EPOLLHUP | select.EPOLLERR):
            self._fail(None)
            return
        if events & ~select.EPOLLOUT:
            self._read()
        if events & select.EPOLLOUT:
            self.flush()

    def _shake(self) -> None:
        assert isinstance(self._socket, ssl.SSLSocket)
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            self._server.watch(self, select.EPOLLIN)
        except ssl.SSLWantWriteError:
            self._server.watch(self, select.EPOLLOUT)
        except (OSError, ValueError) as error:
            self._server.faults.tell("tls handshake failed", self.flow, error)
            self._fail(error)
        else:
            self._shaken(self._socket)

    def _shaken(self, peer: ssl.SSLSocket) -> None:
        self.identities = identities(peer.getpeercert() or {})
        if self.domain and not matches(self.identities, self.domain):
            logger.warning("tls peer is somebody else flow=%s domain=%s", self.flow.text, self.domain)
            self._fail(ConnectionError(f"the certificate is not one of {self.domain}"))
            return
        self.is_shaking = False
        if not self._framing.partial:
            self._deadline = None
        self._server.made(self)
        self._server.watch(self, select.EPOLLIN)

    def _read(self) -> None:
        try:
            octets = self._socket.recv(READ)
        except _LATER:
            return
        except OSError as error:
            self._fail(error)
            return
        if octets:
            self._received(octets)
        else:
            # Half a close: the answers to what was asked may still be on their way.
            self._end()

    def _received(self, octets: bytes) -> None:
        self._active = self._server.loop.time()
        self._probed = False
        if self._ending:
            return
        framing = self._framing
        messages = framing.feed(octets)
        reply = framing.take_reply()
        if reply:
            self._queue(reply)
        if messages:
            flow = self.flow
            self._server.on_batch([(message, flow) for message in messages])
        if framing.error is not None:
            self._refuse(framing.error)
        self.flush()
        if framing.is_over:
            self._end()
        elif not framing.partial:
            self._deadline = None
        elif messages or self._deadline is None:
            self._deadline = self._active + self._server.limits.half_message
            self._server.look_sooner(self)

    def _refuse(self, error: SipParseError) -> None:
        logger.debug("framing lost flow=%s reason=%s", self.flow.text, error.reason)
        answer = self._server.on_bad(error, self.flow)
        if answer:
            self.write(answer)

    # -- ends -------------------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """Do what the clocks ask for."""
        if self._deadline is not None and now >= self._deadline:
            if self._ending and self._unsent is not None and now < self._active + self._idle:
                self._deadline = now + LINGER
            elif self._ending:
                self.close()
            elif self.is_shaking or self._framing.is_opening:
                self._cut("no handshake in time")
            else:
                self._cut("half a message")
        elif now >= self._active + self._idle:
            probe = b"" if self._probed else self._framing.probe()
            if probe:
                self._probed = True
                self._queue(probe)
                self.flush()
            else:
                self._cut("idle")

    def finish(self) -> None:
        """Let what is queued leave, then close."""
        if self._unsent is None:
            self.close()
        else:
            self._end()

    def close(self) -> None:
        """Say farewell and close; what was not sent is lost."""
        farewell = b"" if self.is_shaking else self._framing.farewell()
        with suppress(OSError, ValueError):
            if farewell and self._unsent is None:
                self._socket.send(farewell)
            if isinstance(self._socket, ssl.SSLSocket) and not self.is_shaking:
                self._socket.unwrap()  # which sends close_notify, and does not wait for theirs
        self._fail(None)

    def _end(self) -> None:
        # Closing at once would lose the answers to earlier requests, and with octets unread reset the last one.
        if self._ending or self.is_gone:
            # Nothing is left to come: reading on would find the same end again and again.
            self._server.watch(self, self.watched & ~select.EPOLLIN)
            return
        self._ending = True
        self._deadline = self._server.loop.time() + LINGER
        self._server.look_sooner(self)

    def _cut(self, reason: str) -> None:
        self._server.faults.tell("connection cut", self.flow, reason)
        self._server.cut += 1
        self._fail(None)

    def _fail(self, error: Exception | None) -> None:
        if not self.is_gone:
            self._server.leave(self, error)
            self._socket.close()
            self._unsent = None
