"""The TCP edge: a listener, the index of its connections, and their limits (RFC 3261 section 18)."""

import asyncio
import errno
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Final

from reginfo.fast import Flow, SipParseError
from reginfo.net.addresses import carries, is_wildcard
from reginfo.net.connection import Connection, StreamLimits

logger = logging.getLogger(__name__)

BACKLOG: Final = 1024  # connections the kernel completes ahead of us
ACCEPTS: Final = 64  # connections taken in one turn of the loop
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
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.on_batch = on_batch
        self.on_bad = on_bad
        self._on_lost = on_lost
        self._where = (host, port)
        self._listener: socket.socket | None = None
        self._closing = False
        self._exhausted = False
        self._slots: Counter[str] = Counter()  # remote host -> connections held, accepted and made
        self._connections: dict[int, Connection] = {}
        self._by_remote: dict[tuple[str, int], Connection] = {}
        self._opening: dict[tuple[str, int], asyncio.Task[Flow]] = {}
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
        """Return (host, port): the bound one once started."""
        return self._where

    def __len__(self) -> int:
        return len(self._connections)

    def carries(self, flow: Flow) -> bool:
        """Tell whether a flow is one of this listener."""
        return carries(self._where, flow)

    async def start(self) -> None:
        """Bind and begin to accept; OSError if the address cannot be had."""
        host, port = self._where
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise OSError(error.errno, f"bind {host}:{port}: {os.strerror(error.errno or 0)}") from error
        self._listener = listener
        self._where = (host, listener.getsockname()[1])
        self._resume()

    async def close(self) -> None:
        """Stop accepting, let buffers empty for a second, close every connection."""
        self._closing = True
        if self._listener is not None:
            self.loop.remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None
        for task in (*self._opening.values(), *self._tasks):
            task.cancel()
        for connection in list(self._connections.values()):
            connection.close()
        if self._connections:
            self._empty.clear()
            try:
                async with asyncio.timeout(CLOSE_GRACE):
                    await self._empty.wait()
            except TimeoutError:
                for connection in list(self._connections.values()):
                    connection.abort()

    def send(self, batch: Sequence[tuple[bytes, Flow]]) -> list[tuple[bytes, Flow]]:
        """Write to connections and return what could not be: its connection is gone, or its way is not from here.

        What is returned may be sent again with `flow.reply(port)`, the sent-by port of its Via (TRN-4).  A flow
        without a connection takes an open one to its remote address, or has one made (TRN-9).
        """
        gone = []
        for octets, flow in batch:
            if not flow.connection and not self.carries(flow):
                gone.append((octets, flow))
                continue
            known = self._connections.get(flow.connection) if flow.connection else self._by_remote.get(flow.remote)
            if known is not None and known.write(octets):
                continue
            if flow.connection:
                gone.append((octets, flow))
            elif len(self._tasks) < MAX_DELIVERIES and not self._closing:
                self._spawn(self._deliver(octets, flow))
            else:
                self.loop.call_soon(self._on_lost, flow)
        return gone

    async def connect(self, flow: Flow) -> Flow:
        """Return the flow of an open connection to the remote address of flow, making one if there is none.

        Raises OSError if it cannot be made.
        """
        connection = self._by_remote.get(flow.remote)
        if connection is not None and connection.is_open:
            return connection.flow
        task = self._opening.get(flow.remote)
        if task is None:
            task = self.loop.create_task(self._open(flow))
            self._opening[flow.remote] = task
            task.add_done_callback(lambda _: self._opening.pop(flow.remote, None))
        return await asyncio.shield(task)

    def grant(self, flow: Flow, idle: float, is_exact: bool) -> None:
        """Let a connection, if it is one of this listener, be silent for so many seconds, or for no less.

        RFC 5626 section 4.4.1.
        """
        connection = self._connections.get(flow.connection)
        if connection is not None:
            connection.grant(idle if is_exact else max(idle, self.limits.idle))

    # -- what a connection tells ------------------------------------------------------------------------

    def made(self, connection: Connection) -> None:
        """Take a connection into the index; the newest one to an address is the one that is reused."""
        self._connections[connection.flow.connection] = connection
        self._by_remote[connection.flow.remote] = connection

    def lost(self, connection: Connection) -> None:
        """Forget a connection and tell its end."""
        flow = connection.flow
        del self._connections[flow.connection]
        if self._by_remote.get(flow.remote) is connection:
            del self._by_remote[flow.remote]
        self._release(connection.remote[0])
        if not self._connections:
            self._empty.set()
        if not self._closing:
            self._on_lost(flow)

    # -- accepting --------------------------------------------------------------------------------------

    def _resume(self) -> None:
        if self._listener is not None:
            self.loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        if self._listener is None:
            return
        for _ in range(ACCEPTS):
            try:
                peer, address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._pause(error)
                    return
                continue  # news of a connection that died while it waited (accept(2))
            self._exhausted = False
            remote = (address[0].partition("%")[0], address[1])
            if not self._reserve(remote[0]):
                self.refused += 1
                peer.close()
                continue
            self.accepted += 1
            peer.setblocking(False)
            self._spawn(self._adopt(peer, remote))

    def _pause(self, error: OSError) -> None:
        # The waiting connection keeps the listener readable: without a pause the loop would spin on it.
        assert self._listener is not None
        self.loop.remove_reader(self._listener.fileno())
        self.loop.call_later(ACCEPT_PAUSE, self._resume)
        if not self._exhausted:
            self._exhausted = True
            logger.warning("accept paused local=%s:%d reason=%s", *self._where, error.strerror)

    async def _adopt(self, peer: socket.socket, remote: tuple[str, int]) -> None:
        connection = Connection(self, remote)
        try:
            await self.loop.connect_accepted_socket(lambda: connection, peer)
        except OSError as error:
            logger.debug("accepted connection failed remote=%s:%d reason=%s", *remote, error)
        finally:
            if not connection.was_made:
                peer.close()
                self._release(remote[0])

    def _reserve(self, host: str) -> bool:
        if (
            self._slots.total() >= self.limits.max_connections
            or self._slots[host] >= self.limits.max_connections_per_address
        ):
            return False
        self._slots[host] += 1
        return True

    def _release(self, host: str) -> None:
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
        host, port = flow.remote
        if not self._reserve(host):
            raise ConnectionError("connection limit reached")
        connection = Connection(self, flow.remote)
        local = None if is_wildcard(self._where[0]) else (self._where[0], 0)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self.loop.create_connection(lambda: connection, host, port, local_addr=local)
        finally:
            if not connection.was_made:
                self._release(host)
        return connection.flow
