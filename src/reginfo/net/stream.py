"""The edge of streams: a listener, the index of its connections, and their limits (RFC 3261 section 18).

TCP, TLS, WS and WSS differ in the socket and in the framing of a connection, and in nothing here.
"""

import asyncio
import errno
import logging
import os
import select
import socket
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Final

from reginfo.fast import Flow, SipParseError
from reginfo.net.addresses import carries, is_wildcard
from reginfo.net.clocks import Clocks
from reginfo.net.connection import Connection, StreamLimits
from reginfo.net.fault_log import FaultLog
from reginfo.net.framing import Framing, StreamFraming
from reginfo.net.identity import matches
from reginfo.net.tls import Tls
from reginfo.net.trace import Traces
from reginfo.net.turns import Turns

logger = logging.getLogger(__name__)

BACKLOG: Final = 1024  # connections the kernel completes ahead of us
EVENTS: Final = 256  # sockets served in one turn of the loop, while there is time
ACCEPT_PAUSE: Final = 0.5  # seconds without accepting when descriptors have run out
CONNECT_TIMEOUT: Final = 5.0  # seconds a connection may take to be made
CLOSE_GRACE: Final = 1.0  # seconds in which buffers may empty when the server closes
MAX_DELIVERIES: Final = 1024  # messages waiting for connections to be made
EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class StreamServer:
    """Hand the messages of the connections at one local address to a callback, and send the answers.

    `on_batch(batch)` gets the whole messages of one read as `(octets, flow)`, in order.  `on_lost(flow)` tells of
    every connection that ended, and of one that could not be made (its flow has connection 0); close() tells nothing.
    `on_bad(error, flow)` is asked when framing is lost: the octets it returns are sent, if any, then the connection is
    closed (TRN-8).  None of them is called from within send().

    A flow's local address is the listening one, also for connections made from here; connection numbers are unique
    in the process.  The host is an IP literal; port 0 takes a free one.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        host: str,
        port: int,
        on_batch: Callable[[list[tuple[bytes, Flow]]], None],
        on_lost: Callable[[Flow], None],
        on_bad: Callable[[SipParseError, Flow], bytes | None],
        *,
        limits: StreamLimits,
        is_pressed: Callable[[], bool],
        transport: str = "tcp",
        tls: Tls | None = None,
        framing: Callable[[], Framing] | None = None,
        traces: Traces | None = None,
    ) -> None:
        """transport tls and wss need tls; ws and wss their framing, and make no connections.

        is_pressed tells whether datagrams wait for connections; traces is told what was written.
        """
        self.loop = loop
        self.limits = limits
        self.transport = transport
        self.on_batch = on_batch
        self.on_bad = on_bad
        self.tls = tls
        "For connections from now on."
        self.faults = FaultLog(loop.time)
        self._framing = framing or (lambda: StreamFraming(limits.max_message))
        self._traces = traces
        self._on_lost = on_lost
        self._where = (host, port)
        self._listener: socket.socket | None = None
        self._closing = False
        self._exhausted = False
        self._poll: select.epoll | None = None
        self._ready: deque[tuple[int, int]] = deque()  # found by the poll and not served yet
        self._turns = Turns(is_pressed)
        self._clocks = Clocks(loop, self._turns)
        self._slots: Counter[str] = Counter()  # remote host -> connections held, accepted and made
        self._held = 0  # the sum of them
        self._sockets: dict[int, Connection] = {}  # by descriptor, also those whose TLS is not there yet
        self._connections: dict[int, Connection] = {}
        self._by_remote: dict[tuple[str, int, str], Connection] = {}  # host, port, and whom it was made to lead to
        self._ended: list[Flow] = []  # not told yet
        self._opening: dict[Flow, asyncio.Task[Flow]] = {}
        self._shaking: dict[Connection, asyncio.Future[Flow]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self.accepted = 0
        "Connections accepted and kept."
        self.refused = 0
        "Connections closed at once because of a limit."
        self.cut = 0
        "Connections cut off: idle, half a message, or a peer that does not read."

    @property
    def local(self) -> tuple[str, int]:
        """(host, port): the bound one once started."""
        return self._where

    def __len__(self) -> int:
        return len(self._connections)

    def carries(self, flow: Flow) -> bool:
        """Tell whether a flow is one of this listener."""
        return flow.transport == self.transport and carries(self._where, flow)

    def identities(self, flow: Flow) -> tuple[str, ...]:
        """Return the SIP domains that the other side of a connection has proved to be (RFC 5922 section 7.1)."""
        connection = self._connections.get(flow.connection)
        return () if connection is None else connection.identities

    async def start(self) -> None:
        """Bind and begin to accept; OSError if the address cannot be had."""
        host, port = self._where
        listener = _stream_socket(host)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if listener.family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise OSError(error.errno, f"bind {host}:{port}: {os.strerror(error.errno or 0)}") from error
        self._listener = listener
        self._where = (host, listener.getsockname()[1])
        self._poll = select.epoll()
        self._resume()
        self._listen()

    async def close(self) -> None:
        """Stop accepting, let buffers empty for a second, close every connection."""
        self._closing = True
        if self._listener is not None:
            self._listener.close()  # which takes it out of the poll
            self._listener = None
        for task in (*self._opening.values(), *self._tasks):
            task.cancel()
        for connection in list(self._sockets.values()):
            connection.finish()
        if self._sockets:
            self._empty.clear()
            try:
                async with asyncio.timeout(CLOSE_GRACE):
                    await self._empty.wait()
            except TimeoutError:
                for connection in list(self._sockets.values()):
                    connection.close()
        self._clocks.stop()
        if self._poll is not None:
            self.loop.remove_reader(self._poll.fileno())
            self._poll.close()
            self._poll = None

    def send(self, batch: Sequence[tuple[bytes, Flow]]) -> list[tuple[bytes, Flow]]:
        """Write to connections and return what could not be: its connection is gone, or its way is not from here.

        What is returned may be sent again with `flow.reply(port)`, the sent-by port of its Via (TRN-4).  A flow
        without a connection takes an open one to its remote address, or has one made (TRN-9).
        """
        gone = []
        written: dict[Connection, None] = {}
        traced: list[tuple[bytes, Flow]] | None = None
        if self._traces is not None and self._traces.is_on:
            traced = []
        for octets, flow in batch:
            if not flow.connection and not self.carries(flow):
                gone.append((octets, flow))
                continue
            known = self._connections.get(flow.connection) if flow.connection else self._reusable(flow)
            if known is not None and known.is_open:
                known.write(octets)
                written[known] = None
                if traced is not None:
                    traced.append((octets, known.flow))
            elif flow.connection:
                gone.append((octets, flow))
            elif len(self._tasks) < MAX_DELIVERIES and not self._closing:
                self._spawn(self._deliver(octets, flow))
            else:
                self._tell_lost(flow)
        if self._traces is not None and traced:
            self._traces.sent(traced)
        for connection in written:
            connection.flush()
        return gone

    async def connect(self, flow: Flow) -> Flow:
        """Return the flow of an open connection to the remote address of flow, making one if there is none.

        Over TLS it leads to the domain of flow.  Raises OSError if it cannot be made.
        """
        connection = self._reusable(flow)
        if connection is not None and connection.is_open:
            return connection.flow
        task = self._opening.get(flow)
        if task is None:
            task = self.loop.create_task(self._open(flow))
            self._opening[flow] = task
            task.add_done_callback(lambda _: self._opening.pop(flow, None))
        return await asyncio.shield(task)

    def grant(self, flow: Flow, idle: float, is_exact: bool) -> None:
        """Let a connection, if it is one of this listener, be silent for so many seconds, or for no less.

        RFC 5626 section 4.4.1.
        """
        connection = self._connections.get(flow.connection)
        if connection is not None:
            connection.grant(idle if is_exact else max(idle, self.limits.idle))

    def _reusable(self, flow: Flow) -> Connection | None:
        """Return the connection to a remote address, over TLS one that is known to lead to the domain wanted."""
        host, port = flow.remote
        domain = flow.domain if self._is_verifying else ""
        connection = self._by_remote.get((host, port, domain))
        if connection is None and domain:
            connection = self._by_remote.get((host, port, ""))
            if connection is not None and not matches(connection.identities, domain):
                return None
        return connection

    @staticmethod
    def _places(connection: Connection) -> Iterator[tuple[str, int, str]]:
        host, port = connection.flow.remote
        yield host, port, connection.domain
        if connection.domain and connection.domain != host:
            yield host, port, host  # whoever has proved who it is may be called by its address

    @property
    def _is_verifying(self) -> bool:
        return self.tls is not None and self.tls.verify_server

    # -- what a connection tells ------------------------------------------------------------------------

    def made(self, connection: Connection) -> None:
        """Take a connection into the index; the newest one to an address is the one that is reused."""
        flow = connection.flow
        self._connections[flow.connection] = connection
        for key in self._places(connection):
            self._by_remote[key] = connection
        waiting = self._shaking.pop(connection, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(flow)

    def leave(self, connection: Connection, error: Exception | None) -> None:
        """Forget a connection that is about to be closed and tell its end."""
        flow = connection.flow
        self._sockets.pop(connection.fileno(), None)
        if self._poll is not None:
            self._poll.unregister(connection.fileno())
        self._clocks.forget(connection)
        self._release(flow.host)
        if not self._sockets:
            self._empty.set()
        waiting = self._shaking.pop(connection, None)
        if waiting is not None and not waiting.done():
            waiting.set_exception(error if isinstance(error, OSError) else ConnectionError("no handshake"))
        if self._connections.pop(flow.connection, None) is None:
            return  # nobody heard of it
        for key in self._places(connection):
            if self._by_remote.get(key) is connection:
                del self._by_remote[key]
        if not self._closing:
            self._tell_lost(flow)

    def watch(self, connection: Connection, events: int) -> None:
        """Have a connection told when its socket can do what it waits for."""
        if events != connection.watched and not connection.is_gone and self._poll is not None:
            connection.watched = events
            self._poll.modify(connection.fileno(), events)

    def look_sooner(self, connection: Connection) -> None:
        """Mind that a connection is due earlier than it was."""
        self._clocks.sooner(connection)

    def _tell_lost(self, flow: Flow) -> None:
        if not self._ended:
            self.loop.call_soon(self._tell_ended)
        self._ended.append(flow)

    def _tell_ended(self) -> None:
        ended, self._ended = self._ended, []
        for flow in ended:
            self._on_lost(flow)

    def _resume(self) -> None:
        if self._poll is not None:
            self.loop.add_reader(self._poll.fileno(), self._serve)

    def _serve(self) -> None:
        if self._poll is None:
            return
        if not self._turns.wait:
            self._turns.begin()
            try:
                self._serve_some(self._poll)
            finally:
                self._turns.end()
        wait = self._turns.wait
        if wait:
            self.loop.remove_reader(self._poll.fileno())
            self.loop.call_later(wait, self._resume)

    def _serve_some(self, poll: select.epoll) -> None:
        if not self._ready:
            self._ready.extend(poll.poll(0, EVENTS))
        while self._ready:
            descriptor, events = self._ready.popleft()
            if descriptor in self._sockets:  # it may have ended because of another one
                self._sockets[descriptor].ready(events)
            elif self._listener is not None and descriptor == self._listener.fileno():
                while self._accept(self._listener) and not self._turns.is_over:
                    pass
            if self._turns.is_over:
                break

    def hold(
        self, peer: socket.socket, remote: tuple[str, int], *, domain: str = "", connects: bool = False
    ) -> Connection:
        """Take a connected socket in, for which there is a reservation; OSError if it is gone already."""
        try:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is not None:
                peer = self.tls.wrap(peer, domain, connects=connects)
        except (OSError, ValueError) as error:
            peer.close()
            self._release(remote[0])
            raise ConnectionError(str(error)) from error
        connection = Connection(self, peer, remote, self._framing(), domain if self._is_verifying else "")
        self._sockets[peer.fileno()] = connection
        if self._poll is not None:
            # Whoever connects speaks first, in TLS as well.
            connection.watched = select.EPOLLOUT if connection.is_shaking and connects else select.EPOLLIN
            self._poll.register(peer.fileno(), connection.watched)
        self._clocks.watch(connection)
        if not connection.is_shaking:
            self.made(connection)
        return connection

    # -- accepting --------------------------------------------------------------------------------------

    def _listen(self) -> None:
        if self._listener is None or self._poll is None:
            return
        try:
            self._poll.register(self._listener.fileno(), select.EPOLLIN)
        except OSError as error:
            logger.warning("accept paused local=%s:%d reason=%s", *self._where, error.strerror)
            self.loop.call_later(ACCEPT_PAUSE, self._listen)

    def _accept(self, listener: socket.socket) -> bool:
        """Take a connection that waits, or close it at once; False if none waits, or none can be had now."""
        try:
            peer, address = listener.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno in EXHAUSTED:
                self._pause(listener, error)
                return False
            return True  # news of a connection that died while it waited (accept(2))
        self._exhausted = False
        remote = (address[0].partition("%")[0], address[1])
        if not self._reserve(remote[0]):
            self.refused += 1
            peer.close()
            return True
        self.accepted += 1
        peer.setblocking(False)
        try:
            self.hold(peer, remote)
        except OSError as error:
            logger.debug("accepted connection failed remote=%s:%d reason=%s", *remote, error)
        return True

    def _pause(self, listener: socket.socket, error: OSError) -> None:
        # The waiting connection keeps the listener readable: without a pause the loop would spin on it.
        if self._poll is not None:
            self._poll.unregister(listener.fileno())
        self.loop.call_later(ACCEPT_PAUSE, self._listen)
        if not self._exhausted:
            self._exhausted = True
            logger.warning("accept paused local=%s:%d reason=%s", *self._where, error.strerror)

    def _reserve(self, host: str) -> bool:
        if self._held >= self.limits.max_connections or self._slots[host] >= self.limits.max_connections_per_address:
            return False
        self._slots[host] += 1
        self._held += 1
        return True

    def _release(self, host: str) -> None:
        self._held -= 1
        self._slots[host] -= 1
        if not self._slots[host]:
            del self._slots[host]

    # -- connecting -------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, octets: bytes, flow: Flow) -> None:
        try:
            opened = await self.connect(flow)
        except OSError as error:
            logger.debug("connection not made flow=%s reason=%s", flow.text, error)
            self._on_lost(flow)
        else:
            if self.send([(octets, opened)]):
                self._on_lost(flow)

    async def _open(self, flow: Flow) -> Flow:
        if self.transport not in ("tcp", "tls"):
            raise ConnectionError("nobody is called over a WebSocket")  # RFC 7118 section 5: its hosts are made up
        if self._is_verifying and not flow.domain:
            raise ConnectionError("no domain that its certificate could be of")
        if not self._reserve(flow.host):
            raise ConnectionError("connection limit reached")
        peer = _stream_socket(flow.host)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                if not is_wildcard(self._where[0]):
                    peer.bind((self._where[0], 0))
                await self.loop.sock_connect(peer, flow.remote)
        except BaseException:
            peer.close()
            self._release(flow.host)
            raise
        connection = self.hold(peer, flow.remote, domain=flow.domain, connects=True)
        if not connection.is_shaking:
            return connection.flow
        waiting: asyncio.Future[Flow] = self.loop.create_future()
        self._shaking[connection] = waiting
        return await waiting


def _stream_socket(host: str) -> socket.socket:
    peer = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    peer.setblocking(False)
    return peer
