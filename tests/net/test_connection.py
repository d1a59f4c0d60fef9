"""The clocks of a connection (standards.md: TRN-8, TRN-9, TRN-14, SEC-5), on a loop whose time moves when told."""

import asyncio
import select
import socket
from collections.abc import Callable
from typing import cast

import pytest

from reginfo.fast import Flow
from reginfo.net.connection import StreamLimits
from reginfo.net.framing import Framing
from reginfo.net.stream import StreamServer
from reginfo.net.websocket import WebSocketFraming
from tests.net.test_stream import OPTIONS, UNFRAMED
from tests.net.test_websocket import PING, PONG, frame, opening


class StillLoop:
    """The part of an event loop that a connection's clocks use."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[StillTimer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> "StillTimer":
        self._timers.append(StillTimer(when, callback))
        return self._timers[-1]

    def call_soon(self, callback: Callable[[], None]) -> None:
        callback()

    def advance(self, seconds: float) -> None:
        """Move the clock, firing what becomes due on the way."""
        end = self.now + seconds
        while due := [timer for timer in self._timers if timer.live and timer.when() <= end]:
            timer = min(due, key=StillTimer.when)
            timer.live = False
            self.now = max(self.now, timer.when())
            timer.callback()
        self.now = end


class StillTimer:
    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self._when = when
        self.callback = callback
        self.live = True

    def when(self) -> float:
        return self._when

    def cancel(self) -> None:
        self.live = False


class Pipe:
    """A socket whose peer says what it is told to, and reads nothing unless it is made to."""

    def __init__(self) -> None:
        self.arrived = b""
        self.written = b""
        self.reads = False
        self.state = "open"

    def fileno(self) -> int:
        return 7 if self.state == "open" else -1

    def setsockopt(self, *_: int) -> None:
        """Take any option."""

    def send(self, octets: memoryview) -> int:
        if not self.reads:
            raise BlockingIOError
        self.written += octets
        return len(octets)

    def recv(self, limit: int) -> bytes:
        octets, self.arrived = self.arrived, b""
        return octets

    def close(self) -> None:
        self.state = "closed"


class Line:
    """A connection on such a socket."""

    def __init__(self, limits: StreamLimits, framing: Callable[[], Framing] | None = None) -> None:
        self.loop = StillLoop()
        self.server = StreamServer(
            cast(asyncio.AbstractEventLoop, self.loop),
            "192.0.2.9",
            5060,
            lambda _: None,
            lambda _: None,
            lambda *_: b"",
            limits=limits,
            is_pressed=lambda: False,
            transport="tcp" if framing is None else "ws",
            framing=framing,
        )
        self.pipe = Pipe()
        self.pipe.reads = True
        self._connection = self.server.hold(cast(socket.socket, self.pipe), ("192.0.2.1", 40000))

    def arrive(self, octets: bytes) -> None:
        self.pipe.arrived = octets
        self._connection.ready(select.EPOLLIN)

    def drain(self) -> None:
        self._connection.ready(select.EPOLLOUT)

    def send(self, octets: bytes) -> bool:
        return self.server.send([(octets, self._connection.flow)]) == []

    @property
    def flow(self) -> Flow:
        return self._connection.flow

    @property
    def is_cut(self) -> bool:
        assert (self.pipe.state == "closed") is (len(self.server) == 0)
        return self.pipe.state == "closed" and self.server.cut == 1


def test_a_silent_connection_is_cut_after_idle() -> None:
    """SEC-5, TRN-9: 120 s by default, which is more than 64*T1."""
    assert StreamLimits().idle > 32
    line = Line(StreamLimits(idle=40.0))
    line.loop.advance(39.9)
    line.arrive(b"\r\n")
    line.loop.advance(39.9)
    assert line.send(b"answer")
    line.loop.advance(39.9)
    assert line.pipe.state == "open"
    line.loop.advance(0.2)
    assert line.is_cut


@pytest.mark.parametrize("idle", [25.0, 40.0, 90.0])
def test_a_granted_connection_is_dead_after_what_it_was_granted(idle: float) -> None:
    """OUT-7: shorter or longer than others may be silent, from its last octet on; asked again, it is the same."""
    line = Line(StreamLimits(idle=40.0))
    line.loop.advance(20.0)
    line.arrive(b"\r\n\r\n")
    for _ in range(2):
        line.server.grant(line.flow, idle, True)
    line.server.grant(Flow("tcp", line.flow.local, line.flow.remote, line.flow.connection + 1), 1.0, True)
    line.loop.advance(idle - 0.1)
    assert line.pipe.state == "open"
    line.loop.advance(0.2)
    assert line.is_cut


@pytest.mark.parametrize(("granted", "idle"), [(25.0, 40.0), (150.0, 150.0)])
def test_a_connection_that_was_told_nothing_is_not_dead_any_sooner(granted: float, idle: float) -> None:
    """OUT-7: what a phone does by itself is no reason to cut it earlier than others."""
    line = Line(StreamLimits(idle=40.0))
    line.server.grant(line.flow, granted, False)
    line.loop.advance(idle - 0.1)
    assert line.pipe.state == "open"
    line.loop.advance(0.2)
    assert line.is_cut


def test_half_a_message_is_cut_after_its_time_however_slowly_it_drips() -> None:
    """SEC-5: 30 s for a message from its first octet to its last."""
    assert StreamLimits().half_message == 30.0
    line = Line(StreamLimits(half_message=30.0))
    line.loop.advance(100.0)
    for octet in OPTIONS[:29]:
        line.arrive(bytes([octet]))
        line.loop.advance(1.0)
    assert line.pipe.state == "open"
    line.arrive(OPTIONS[29:30])
    line.loop.advance(1.1)
    assert line.is_cut


def test_each_message_has_its_own_time() -> None:
    """The clock of a message begins with its first octet, not with the connection."""
    line = Line(StreamLimits(half_message=30.0))
    for _ in range(5):
        line.arrive(OPTIONS[:100])
        line.loop.advance(20.0)
        line.arrive(OPTIONS[100:])
        line.loop.advance(20.0)
    line.arrive(OPTIONS[:100])
    line.loop.advance(20.0)
    line.arrive(OPTIONS[100:] + OPTIONS[:100])
    line.loop.advance(29.0)
    assert line.pipe.state == "open"
    line.loop.advance(1.1)
    assert line.is_cut


@pytest.mark.parametrize("octets", [1000, 1001])
def test_a_peer_that_does_not_read_is_cut_off(octets: int) -> None:
    """Bounded everything: unread octets at n and n+1."""
    line = Line(StreamLimits(write_buffer=1000))
    line.pipe.reads = False
    assert line.send(b"x" * octets)
    assert line.is_cut is (octets > 1000)
    assert line.send(b"") is (octets <= 1000)


def test_after_lost_framing_the_connection_lingers_for_answers_then_closes() -> None:
    """TRN-8: answers to earlier requests still leave."""
    line = Line(StreamLimits())
    line.arrive(UNFRAMED)
    line.loop.advance(0.4)
    assert line.send(b"answer")
    line.loop.advance(0.2)
    assert (line.pipe.state, line.server.cut) == ("closed", 0)


def browser() -> WebSocketFraming:
    return WebSocketFraming(1000, [])


@pytest.mark.parametrize("opened", [b"", opening()[:-1]])
def test_the_opening_of_a_websocket_has_its_time(opened: bytes) -> None:
    """SEC-5, F14: half-open ones are cut off, however slowly they drip."""
    line = Line(StreamLimits(handshake=10.0), browser)
    for octet in opened[:9]:
        line.arrive(bytes([octet]))
        line.loop.advance(1.0)
    line.loop.advance(9.9 - len(opened[:9]))
    assert line.pipe.state == "open"
    line.loop.advance(0.2)
    assert line.is_cut


def test_a_frame_and_a_fragmented_message_have_the_time_of_a_message() -> None:
    """SEC-5, TRN-13: control frames between the fragments buy no time."""
    for slow in (frame(b"x" * 100)[:50], frame(b"x", fin=False)):
        line = Line(StreamLimits(half_message=30.0), browser)
        line.arrive(opening())
        line.loop.advance(100.0)
        line.arrive(slow)
        line.loop.advance(29.9)
        assert line.pipe.state == "open"
        if len(slow) < 50:
            line.arrive(frame(b"", PING))
        line.loop.advance(0.2)
        assert line.is_cut


def test_a_silent_browser_is_asked_before_it_is_cut() -> None:
    """TRN-14: it registers every ten minutes and cannot ask by itself (RFC 6455 section 5.5.2)."""
    line = Line(StreamLimits(idle=120.0), browser)
    line.arrive(opening())
    line.pipe.written = b""
    for _ in range(3):
        line.loop.advance(120.1)
        assert line.pipe.written == b"\x89\x00"
        line.pipe.written = b""
        line.arrive(frame(b"", PONG))
    line.loop.advance(240.0)
    assert line.pipe.state == "open"
    line.loop.advance(0.5)
    assert line.is_cut


def test_answers_that_a_slow_reader_is_owed_leave_before_the_end() -> None:
    """TRN-4: half a close ends the connection when everything was taken, or the peer takes nothing any more."""
    line = Line(StreamLimits(idle=40.0))
    line.pipe.reads = False
    line.send(b"answer")
    line.arrive(b"")
    line.loop.advance(10.0)
    assert line.pipe.state == "open"
    line.pipe.reads = True
    line.drain()
    line.loop.advance(1.0)
    assert (line.pipe.state, line.pipe.written, line.server.cut) == ("closed", b"answer", 0)
