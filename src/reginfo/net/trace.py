"""Traces: copies of the messages of one address-of-record, address or network, while somebody wants to look at them.

Off, a trace costs one look at `is_on` for each batch.  On, every message of a batch is asked of each filter, and what
matches is kept in a ring for those who read it, and handed to a collector.  Nobody who reads is waited for, and every
trace ends by itself.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from reginfo.fast import Flow
from reginfo.model import TracedMessage, TraceStatus
from reginfo.net.collector import Collector
from reginfo.net.masking import masked
from reginfo.net.trace_filter import TraceFilter, parse_trace_filter

MAX_TRACES: Final = 8  # at once; each is asked about every message
MAX_KEPT: Final = 1_000  # messages of a trace that nobody has read yet; the oldest go first
MAX_KEPT_OCTETS: Final = 4 << 20
MAX_READ: Final = 100  # messages read at once
MAX_READ_OCTETS: Final = 1 << 18  # beyond which no further message is read at once
LINGER: Final = 30.0  # seconds in which the last messages of an ended trace may still be read


class Trace:
    """One trace: whose messages, until when, and those nobody has read yet."""

    def __init__(self, id: int, wanted: TraceFilter, until: float, count: int, is_exported: bool) -> None:
        self.id = id
        self.wanted = wanted
        self.until = until
        self.count = count
        self.is_exported = is_exported
        self.is_running = True
        self.messages = 0
        "Matched so far."
        self.kept: deque[TracedMessage] = deque()
        "The last of them."
        self.news = asyncio.Event()
        self.timer: asyncio.TimerHandle | None = None
        "Of its end; once that is over, of its being forgotten."
        self._octets = 0

    def keep(self, message: TracedMessage) -> None:
        """Take a message, and let go of the oldest beyond the bounds."""
        self.messages += 1
        self.kept.append(message)
        self._octets += len(message.octets)
        while len(self.kept) > MAX_KEPT or (self._octets > MAX_KEPT_OCTETS and len(self.kept) > 1):
            self._octets -= len(self.kept.popleft().octets)
        self.news.set()

    def after(self, number: int) -> tuple[int, list[TracedMessage]]:
        """Return the number of the last of the messages behind that number, as many as are read at once, and them."""
        first = self.messages - len(self.kept)
        found: list[TracedMessage] = []
        octets = 0
        begin = min(max(number, first), self.messages)
        for message in islice(self.kept, begin - first, begin - first + MAX_READ):
            found.append(message)
            octets += len(message.octets)
            if octets > MAX_READ_OCTETS:
                break
        return begin + len(found), found


class Traces:
    """All traces of a server."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, collector: Collector | None, wall: Callable[[], float] = time.time
    ) -> None:
        """wall is the clock that messages are stamped by."""
        self._loop = loop
        self._collector = collector
        self._wall = wall
        self._last_id = 0
        self._traces: dict[int, Trace] = {}
        self._running: list[Trace] = []
        self.is_on = False
        "Whether received() and sent() have anything to do."
        self.messages = 0
        "Messages of any trace so far."

    def __len__(self) -> int:
        """Return the number of traces that run."""
        return len(self._running)

    @property
    def exported(self) -> int:
        """Return how many packets the collector was sent."""
        return 0 if self._collector is None else self._collector.sent

    @property
    def dropped(self) -> int:
        """Return how many packets the collector was not sent, because they could not leave."""
        return 0 if self._collector is None else self._collector.dropped

    # -- messages ---------------------------------------------------------------------------------------

    def received(self, batch: Sequence[tuple[bytes, Flow]]) -> None:
        """Take messages that came."""
        self._see(batch, is_sent=False)

    def sent(self, batch: Sequence[tuple[bytes, Flow]]) -> None:
        """Take messages that have left."""
        self._see(batch, is_sent=True)

    def _see(self, batch: Sequence[tuple[bytes, Flow]], *, is_sent: bool) -> None:
        now = self._wall()
        for octets, flow in batch:
            message = None
            for trace in self._running:
                if trace.wanted.matches(octets, flow) and not _is_keep_alive(octets):
                    message = message or _message(octets, flow, now, is_sent=is_sent)
                    trace.keep(message)
            if message is not None:
                self._count(message)

    def _count(self, message: TracedMessage) -> None:
        """Let the collector have a message that somebody exports, once, and end what has had enough."""
        self.messages += 1
        found = [trace for trace in self._running if trace.kept and trace.kept[-1] is message]
        if self._collector is not None and any(trace.is_exported for trace in found):
            self._collector.take(message)
        for trace in found:
            if trace.messages >= trace.count:
                self._end(trace)

    # -- what operators do ------------------------------------------------------------------------------

    def start(self, wanted: str, seconds: int, count: int, is_exported: bool) -> TraceStatus:
        """Begin a trace that ends after so many seconds or messages.

        ValueError for what is neither an AoR nor an address nor a network, beyond MAX_TRACES, and for one that is to be
        exported where no collector is configured.
        """
        found = parse_trace_filter(wanted)
        if is_exported and self._collector is None:
            raise ValueError("no collector is configured: trace.hep is empty")
        if len(self._running) >= MAX_TRACES:
            raise ValueError(f"{MAX_TRACES} traces run already; one has to be stopped")
        self._last_id += 1
        trace = Trace(self._last_id, found, self._loop.time() + seconds, count, is_exported)
        self._traces[trace.id] = trace
        self._wait(trace, seconds, self._end)
        self._running.append(trace)
        self.is_on = True
        return self._status(trace)

    def stop(self, id: int) -> bool:
        """End a trace and forget it; False if there is none of that id."""
        trace = self._traces.get(id)
        if trace is None:
            return False
        self._end(trace)
        self._forget(trace)
        return True

    def status(self) -> list[TraceStatus]:
        """Return every trace that runs, and those that have ended of late."""
        return [self._status(trace) for trace in self._traces.values()]

    async def read(self, id: int, after: int, wait: float) -> tuple[TraceStatus, int, list[TracedMessage]] | None:
        """Return how a trace stands, the next number to ask with, and messages behind number `after`, 0 to begin.

        Waits so many seconds for one.  None if there is no trace of that id, or no more.
        """
        until = self._loop.time() + wait
        while (trace := self._traces.get(id)) is not None:
            number, messages = trace.after(after)
            left = until - self._loop.time()
            if messages or left <= 0 or not trace.is_running:
                return self._status(trace), number, messages
            trace.news.clear()
            try:
                async with asyncio.timeout(left):
                    await trace.news.wait()
            except TimeoutError:
                continue
        return None

    def close(self) -> None:
        """End every trace, and send the collector what is left."""
        for trace in list(self._traces.values()):
            self._end(trace)
            self._forget(trace)
        if self._collector is not None:
            self._collector.close()

    def _status(self, trace: Trace) -> TraceStatus:
        left = max(0, round(trace.until - self._loop.time())) if trace.is_running else 0
        text = trace.wanted.text
        return TraceStatus(trace.id, text, trace.is_running, left, trace.count, trace.messages, trace.is_exported)

    def _end(self, trace: Trace) -> None:
        if not trace.is_running:
            return
        trace.is_running = False
        self._running = [one for one in self._running if one is not trace]
        self.is_on = bool(self._running)
        self._wait(trace, LINGER, self._forget)
        trace.news.set()
        ended = [one for one in self._traces.values() if not one.is_running]
        if len(ended) > MAX_TRACES:
            self._forget(ended[0])

    def _forget(self, trace: Trace) -> None:
        self._traces.pop(trace.id, None)
        if trace.timer is not None:
            trace.timer.cancel()
        trace.news.set()

    def _wait(self, trace: Trace, seconds: float, then: Callable[[Trace], None]) -> None:
        if trace.timer is not None:
            trace.timer.cancel()
        trace.timer = self._loop.call_later(seconds, then, trace)


def _message(octets: bytes, flow: Flow, now: float, *, is_sent: bool) -> TracedMessage:
    here, there = flow.local, flow.remote
    source, destination = (here, there) if is_sent else (there, here)
    return TracedMessage(now, is_sent, flow.transport, source, destination, masked(octets))


def _is_keep_alive(octets: bytes) -> bool:
    """Tell a keep-alive from a message: blank lines, or STUN, which has 0 or 1 in front (RFC 5626 section 8)."""
    return octets[:1] < b"\x02" or not octets.strip(b"\r\n\0")
