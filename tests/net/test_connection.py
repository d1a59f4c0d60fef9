"""The clocks of a TCP connection (standards.md: TRN-8, TRN-9, SEC-5), on a loop whose time moves when told."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from reginfo.fast import Flow
from reginfo.net.connection import Connection, StreamLimits
from reginfo.net.stream import StreamServer
from tests.net.test_stream import OPTIONS, UNFRAMED


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
    """A transport whose peer reads nothing."""

    def __init__(self) -> None:
        self.written = b""
        self.state = "open"

    def get_extra_info(self, name: str) -> tuple[str, int]:
        assert name == "sockname"
        return ("192.0.2.9", 5060)

    def write(self, octets: bytes) -> None:
        self.written += octets

    def get_write_buffer_size(self) -> int:
        return len(self.written)

    def is_closing(self) -> bool:
        return self.state != "open"

    def close(self) -> None:
        self.state = "closed"

    def abort(self) -> None:
        self.state = "aborted"


def still(limits: StreamLimits) -> tuple[StillLoop, Connection, Pipe, StreamServer]:
    loop = StillLoop()
    server = StreamServer(
        cast(asyncio.AbstractEventLoop, loop),
        "192.0.2.9",
        5060,
        lambda _: None,
        lambda _: None,
        lambda *_: b"",
        limits=limits,
    )
    connection, pipe = Connection(server, ("192.0.2.1", 40000)), Pipe()
    connection.connection_made(cast(asyncio.BaseTransport, pipe))
    return loop, connection, pipe, server


def test_a_silent_connection_is_cut_after_idle() -> None:
    """SEC-5, TRN-9: 120 s by default, which is more than 64*T1."""
    assert StreamLimits().idle > 32
    loop, connection, pipe, server = still(StreamLimits(idle=40.0))
    loop.advance(39.9)
    connection.data_received(b"\r\n")
    loop.advance(39.9)
    assert connection.write(b"answer")
    loop.advance(39.9)
    assert (pipe.state, server.cut) == ("open", 0)
    loop.advance(0.2)
    assert (pipe.state, server.cut) == ("aborted", 1)


@pytest.mark.parametrize("idle", [25.0, 40.0, 90.0])
def test_a_granted_connection_is_dead_after_what_it_was_granted(idle: float) -> None:
    """OUT-7: shorter or longer than others may be silent, from its last octet on; asked again, it is the same."""
    loop, connection, pipe, server = still(StreamLimits(idle=40.0))
    server.made(connection)
    loop.advance(20.0)
    connection.data_received(b"\r\n\r\n")
    for _ in range(2):
        server.grant(connection.flow, idle, True)
    server.grant(Flow("tcp", ("192.0.2.9", 5060), ("192.0.2.1", 40000), connection.flow.connection + 1), 1.0, True)
    loop.advance(idle - 0.1)
    assert pipe.state == "open"
    loop.advance(0.2)
    assert (pipe.state, server.cut) == ("aborted", 1)


@pytest.mark.parametrize(("granted", "idle"), [(25.0, 40.0), (150.0, 150.0)])
def test_a_connection_that_was_told_nothing_is_not_dead_any_sooner(granted: float, idle: float) -> None:
    """OUT-7: what a phone does by itself is no reason to cut it earlier than others."""
    loop, connection, pipe, server = still(StreamLimits(idle=40.0))
    server.made(connection)
    server.grant(connection.flow, granted, False)
    loop.advance(idle - 0.1)
    assert pipe.state == "open"
    loop.advance(0.2)
    assert pipe.state == "aborted"


def test_half_a_message_is_cut_after_its_time_however_slowly_it_drips() -> None:
    """SEC-5: 30 s for a message from its first octet to its last."""
    assert StreamLimits().half_message == 30.0
    loop, connection, pipe, server = still(StreamLimits(half_message=30.0))
    loop.advance(100.0)
    for octet in OPTIONS[:29]:
        connection.data_received(bytes([octet]))
        loop.advance(1.0)
    assert pipe.state == "open"
    connection.data_received(OPTIONS[29:30])
    loop.advance(1.1)
    assert (pipe.state, server.cut) == ("aborted", 1)


def test_each_message_has_its_own_time() -> None:
    """The clock of a message begins with its first octet, not with the connection."""
    loop, connection, pipe, _ = still(StreamLimits(half_message=30.0))
    for _ in range(5):
        connection.data_received(OPTIONS[:100])
        loop.advance(20.0)
        connection.data_received(OPTIONS[100:])
        loop.advance(20.0)
    connection.data_received(OPTIONS[:100])
    loop.advance(20.0)
    connection.data_received(OPTIONS[100:] + OPTIONS[:100])
    loop.advance(29.0)
    assert pipe.state == "open"
    loop.advance(1.1)
    assert pipe.state == "aborted"


@pytest.mark.parametrize(("octets", "state"), [(1000, "open"), (1001, "aborted")])
def test_a_peer_that_does_not_read_is_cut_off(octets: int, state: str) -> None:
    """Bounded everything: unread octets at n and n+1."""
    _, connection, pipe, server = still(StreamLimits(write_buffer=1000))
    assert connection.write(b"x" * octets)
    assert (pipe.state, server.cut) == (state, int(state == "aborted"))
    assert connection.write(b"") is (state == "open")


def test_after_lost_framing_the_connection_lingers_for_answers_then_closes() -> None:
    """TRN-8: answers to earlier requests still leave."""
    loop, connection, pipe, server = still(StreamLimits())
    connection.data_received(UNFRAMED)
    loop.advance(0.4)
    assert connection.write(b"answer")
    loop.advance(0.2)
    assert (pipe.state, server.cut) == ("closed", 0)
