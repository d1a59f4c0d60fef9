"""The UDP edge: a datagram socket in an event loop (RFC 3261 section 18)."""

import asyncio
import logging
import select
import time
from collections.abc import Callable

from reginfo.fast import DatagramSocket, Flow
from reginfo.net.addresses import carries

logger = logging.getLogger(__name__)

MAX_BATCH = 64  # datagrams of one system call
MAX_READS = 16  # batches of one turn, while there are more: what has come in during some milliseconds of other work
MOST_SECONDS = 0.005  # of reading in one turn, so that a turn of the engine can begin
BUSY = 8  # datagrams within PACE_SECONDS: from there on they are fetched together
PACE_SECONDS = 0.001
LATE_SECONDS = 0.002  # the clock of the loop counts in milliseconds, and may be late by one of them
MAX_BACKLOG = 16384  # answers kept while the socket is full; a peer that misses one repeats its request


class UdpEndpoint:
    """Hand the datagrams of one local address to a callback, and send the answers.

    `on_batch(batch)` gets up to MAX_BATCH `(octets, flow)` in order of arrival, up to MAX_READS times per turn
    of the loop, for MOST_SECONDS, while there are more.  A busy socket is read once in PACE_SECONDS, as a network
    card does not interrupt for each packet: a turn of few datagrams costs nearly as much as one of many.  While other
    work has it read later than that, it is read in each turn.  `on_error(flow)` gets each flow whose peer was reported
    unreachable (RFC 3261 section 18.4).  Neither is called from within send().  The host is an IP literal; port 0
    takes a free one.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        host: str,
        port: int,
        on_batch: Callable[[list[tuple[bytes, Flow]]], None],
        on_error: Callable[[Flow], None],
        *,
        max_backlog: int = MAX_BACKLOG,
    ) -> None:
        self._loop = loop
        self._where = (host, port)
        self._on_batch = on_batch
        self._on_error = on_error
        self._max_backlog = max_backlog
        self._socket: DatagramSocket | None = None
        self._poll: select.epoll | None = None
        self._backlog: list[tuple[bytes, Flow]] = []
        self._notices = 0
        self.is_busy = False
        "Whether so much comes in that the clock says when to read, and not the socket."
        self.is_pressed = False
        "Whether it was read LATE_SECONDS after its time, because there was other work."
        self._due = 0.0
        self._since = 0.0
        self._taken = 0
        "Datagrams, since then."
        self.overflowed = 0
        "Answers dropped because the backlog was full."

    @property
    def local(self) -> tuple[str, int]:
        """Return (host, port): the bound one once started."""
        return self._where

    @property
    def socket(self) -> DatagramSocket:
        """Return the socket, for its counters; it exists once started."""
        if self._socket is None:
            raise RuntimeError("endpoint was never started")
        return self._socket

    @property
    def backlog(self) -> int:
        """Return how many answers wait for the socket to take them."""
        return len(self._backlog)

    def carries(self, flow: Flow) -> bool:
        """Tell whether an answer by that flow leaves from here."""
        return carries(self._where, flow)

    async def start(self) -> None:
        """Bind and begin to read; OSError if the address cannot be had."""
        self._socket = DatagramSocket(*self._where)
        self._where = self._socket.local
        # The loop watches an epoll descriptor with the socket inside, not the socket: libuv drops a watched
        # descriptor for good at its first POLLERR, and here that is only the news of an ICMP error.
        self._poll = select.epoll()
        self._poll.register(self._socket.fileno(), select.EPOLLIN)
        self._loop.add_reader(self._poll.fileno(), self._ready)

    async def close(self) -> None:
        """Stop reading, try the backlog once more and give the address back."""
        if self._poll is None or self._socket is None:
            return
        self._loop.remove_reader(self._poll.fileno())
        self._poll.close()
        self._poll = None
        self.is_busy = self.is_pressed = False
        self._socket.send(self._backlog)
        self._backlog = []
        self._socket.close()

    def send(self, batch: list[tuple[bytes, Flow]]) -> None:
        """Send in order; what the socket does not take now is kept, within max_backlog, until it is writable."""
        if self._poll is None:
            return
        done = 0 if self._backlog else self.socket.send(batch)
        if done < len(batch):
            kept = batch[done : done + max(0, self._max_backlog - len(self._backlog))]
            self._backlog += kept
            self.overflowed += len(batch) - done - len(kept)
            self._watch()
        self._hear()

    def _watch(self) -> None:
        if self._poll is not None:
            wanted = (0 if self.is_busy else select.EPOLLIN) | (select.EPOLLOUT if self._backlog else 0)
            self._poll.modify(self.socket.fileno(), wanted)

    def _ready(self) -> None:
        if self._backlog:
            done = self.socket.send(self._backlog)
            del self._backlog[:done]
            if not self._backlog:
                self._watch()
        taken = self._read()
        if self.is_busy:
            return
        now = time.monotonic()
        if now - self._since > PACE_SECONDS:
            self._since, self._taken = now, 0
        self._taken += taken
        if self._taken >= BUSY:
            self.is_busy = True
            self._watch()
            self._wait(0.0)

    def _wait(self, late: float) -> None:
        self._due = time.monotonic() + PACE_SECONDS
        if late > PACE_SECONDS:
            self._loop.call_soon(self._pace)  # what else there is to do takes the time in which more comes in
        else:
            self._loop.call_later(PACE_SECONDS, self._pace)

    def _pace(self) -> None:
        if self._poll is None:
            return
        taken = 0
        late = time.monotonic() - self._due
        try:
            taken = self._read()
        finally:  # whatever a callback raises, the socket is read again
            self.is_busy = taken >= BUSY
            self.is_pressed = self.is_busy and late > LATE_SECONDS
            if self.is_busy:
                self._wait(late)
            else:
                self._watch()

    def _read(self) -> int:
        taken = 0
        receive = self.socket.receive
        until = time.monotonic() + MOST_SECONDS
        for _ in range(MAX_READS):
            batch = receive(MAX_BATCH)
            taken += len(batch)
            if batch:
                self._on_batch(batch)
            if len(batch) < MAX_BATCH or time.monotonic() >= until:
                break
        self._hear()
        return taken

    def _hear(self) -> None:
        if self.socket.notices != self._notices:
            self._notices = self.socket.notices
            self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        if self._poll is None:
            return
        for flow in self.socket.take_errors():
            logger.debug("peer unreachable flow=%s", flow.text)
            self._on_error(flow)
        self._notices = self.socket.notices
