"""The UDP endpoint on uvloop (standards.md: TRN-1, TRN-4, TRN-10)."""

import asyncio
from types import SimpleNamespace
from typing import Self

import pytest

from reginfo.fast import DatagramSocket, Flow
from reginfo.net import udp
from reginfo.net.udp import UdpEndpoint
from tests.net.loops import on_uvloop

pytestmark = pytest.mark.network

Batch = list[tuple[bytes, Flow]]


class Peer:
    """An endpoint that keeps what it hears."""

    def __init__(self, max_backlog: int = udp.MAX_BACKLOG) -> None:
        self.batches: asyncio.Queue[Batch] = asyncio.Queue()
        self.errors: asyncio.Queue[Flow] = asyncio.Queue()
        self.endpoint = UdpEndpoint(
            asyncio.get_running_loop(),
            "127.0.0.1",
            0,
            self.batches.put_nowait,
            self.errors.put_nowait,
            max_backlog=max_backlog,
        )

    async def __aenter__(self) -> Self:
        await self.endpoint.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.endpoint.close()

    def flow_to(self, other: "Peer") -> Flow:
        return Flow("udp", self.endpoint.local, other.endpoint.local)

    async def take(self, number: int) -> Batch:
        """Return that many datagrams once they are there."""
        items: Batch = []
        while len(items) < number:
            items += await self.batches.get()
        return items


@on_uvloop
async def test_what_has_come_in_meanwhile_is_read_in_one_turn_of_the_loop_up_to_a_bound() -> None:
    """TRN-10: after some milliseconds of other work a queue of more than one batch is not left for later turns."""
    async with Peer() as a, Peer() as b:
        for waiting in (200, udp.MAX_READS * udp.MAX_BATCH + 1):
            a.endpoint.send([(b"%d" % number, a.flow_to(b)) for number in range(waiting)])
            first = await b.batches.get()
            rest = [b.batches.get_nowait() for _ in range(b.batches.qsize())]
            in_one_turn = sum(map(len, [first, *rest]))
            assert in_one_turn == min(waiting, udp.MAX_READS * udp.MAX_BATCH)
            await b.take(waiting - in_one_turn)


@on_uvloop
async def test_reading_ends_after_a_time_so_that_those_who_came_first_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TRN-10: also while each batch is much work, as one of strangers' credentials is."""
    time = SimpleNamespace(now=1.0)
    monkeypatch.setattr(udp, "time", SimpleNamespace(monotonic=lambda: time.now))
    async with Peer() as a, Peer() as b:
        a.endpoint.send([(b"x", a.flow_to(b))] * (4 * udp.MAX_BATCH))
        taken: list[int] = []

        def work(batch: Batch) -> None:
            taken.append(len(batch))
            time.now += udp.MOST_SECONDS / 2

        monkeypatch.setattr(b.endpoint, "_on_batch", work)
        b.endpoint._read()
        assert taken == [udp.MAX_BATCH] * 2


@on_uvloop
async def test_a_busy_socket_is_read_by_the_clock_until_it_is_calm_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "time", SimpleNamespace(monotonic=lambda: 1.0))  # all of it comes at one moment
    async with Peer() as a, Peer() as b:
        for _ in range(3):
            a.endpoint.send([(b"x", a.flow_to(b))] * udp.BUSY)
            await b.take(udp.BUSY)
            assert b.endpoint.is_busy
            a.endpoint.send([(b"y", a.flow_to(b))] * udp.BUSY)
            await b.take(udp.BUSY)
            async with asyncio.timeout(10):
                while b.endpoint.is_busy:
                    await asyncio.sleep(0)
            a.endpoint.send([(b"z", a.flow_to(b))])
            assert [octets for octets, _ in await b.take(1)] == [b"z"]


@on_uvloop
async def test_a_socket_is_pressed_while_other_work_has_it_read_late(monkeypatch: pytest.MonkeyPatch) -> None:
    time = SimpleNamespace(now=1.0)
    monkeypatch.setattr(udp, "time", SimpleNamespace(monotonic=lambda: time.now))
    monkeypatch.setattr(udp, "PACE_SECONDS", 3600.0)  # the test is the clock
    async with Peer() as a, Peer() as b:
        a.endpoint.send([(b"x", a.flow_to(b))] * udp.BUSY)
        await b.take(udp.BUSY)
        for datagrams, late, pressed in [
            (udp.BUSY, udp.LATE_SECONDS / 2, False),
            (udp.BUSY, udp.LATE_SECONDS * 2, True),
            (udp.BUSY, 0.0, False),
            (udp.BUSY, udp.LATE_SECONDS * 2, True),
            (udp.BUSY - 1, udp.LATE_SECONDS * 2, False),  # it is not busy any more
        ]:
            assert b.endpoint.is_busy
            a.endpoint.send([(b"x", a.flow_to(b))] * datagrams)
            time.now += udp.PACE_SECONDS + late
            b.endpoint._pace()
            assert b.endpoint.is_pressed == pressed
        assert not b.endpoint.is_busy


@on_uvloop
async def test_a_busy_socket_that_was_read_late_is_read_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other work takes the time in which a batch comes together; waiting for the clock as well would be for nothing."""
    time = SimpleNamespace(now=1.0)
    monkeypatch.setattr(udp, "time", SimpleNamespace(monotonic=lambda: time.now))
    monkeypatch.setattr(udp, "PACE_SECONDS", 3600.0)  # the clock never says so
    async with Peer() as a, Peer() as b:
        a.endpoint.send([(b"x", a.flow_to(b))] * udp.BUSY)
        await b.take(udp.BUSY)
        a.endpoint.send([(b"x", a.flow_to(b))] * udp.BUSY)
        time.now += 3 * udp.PACE_SECONDS
        b.endpoint._pace()
        a.endpoint.send([(b"y", a.flow_to(b))] * udp.BUSY)
        async with asyncio.timeout(10):
            assert len(await b.take(2 * udp.BUSY)) == 2 * udp.BUSY


@on_uvloop
async def test_a_closed_socket_is_neither_busy_nor_pressed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "time", SimpleNamespace(monotonic=lambda: 1.0))
    async with Peer() as a, Peer() as b:
        a.endpoint.send([(b"x", a.flow_to(b))] * udp.BUSY)
        await b.take(udp.BUSY)
        assert b.endpoint.is_busy
    assert not b.endpoint.is_busy
    assert not b.endpoint.is_pressed


@on_uvloop
async def test_a_busy_socket_sends_its_backlog_tells_errors_and_can_be_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = DatagramSocket("127.0.0.1", 0)
    address = gone.local
    gone.close()
    async with Peer() as a:
        monkeypatch.setattr(udp, "DatagramSocket", NarrowSocket)
        monkeypatch.setattr(udp, "time", SimpleNamespace(monotonic=lambda: 1.0))
        async with Peer() as b:
            with monkeypatch.context() as patch:
                patch.setattr(udp, "PACE_SECONDS", 3600.0)  # the clock never says so
                a.endpoint.send([(b"x", a.flow_to(b))] * udp.BUSY)
                await b.take(udp.BUSY)
            b.endpoint.send([(b"%d" % number, b.flow_to(a)) for number in range(9)])
            assert [octets for octets, _ in await a.take(9)] == [b"%d" % number for number in range(9)]
            dead = b.flow_to(a).with_remote(*address)
            b.endpoint.send([(b"lost", dead)])
            assert await b.errors.get() == dead
            assert b.endpoint.is_busy


@on_uvloop
async def test_a_busy_socket_is_read_again_whatever_its_callback_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "time", SimpleNamespace(monotonic=lambda: 1.0))
    loop = asyncio.get_running_loop()
    faults: list[object] = []
    loop.set_exception_handler(lambda _loop, context: faults.append(context["exception"]))
    async with Peer() as a, Peer() as b:
        take = b.endpoint._on_batch

        def fault(batch: Batch) -> None:
            monkeypatch.setattr(b.endpoint, "_on_batch", take)
            raise KeyError("a fault of ours")

        a.endpoint.send([(b"x", a.flow_to(b))] * udp.BUSY)
        await b.take(udp.BUSY)
        assert b.endpoint.is_busy
        monkeypatch.setattr(b.endpoint, "_on_batch", fault)
        a.endpoint.send([(b"lost", a.flow_to(b))])
        async with asyncio.timeout(10):
            while not faults:
                await asyncio.sleep(0)
        a.endpoint.send([(b"y", a.flow_to(b))])
        assert [octets for octets, _ in await b.take(1)] == [b"y"]


@on_uvloop
async def test_a_batch_comes_with_its_flows_and_the_answers_go_back() -> None:
    """TRN-4: an answer leaves from the address and port of the request."""
    async with Peer() as a, Peer() as b:
        a.endpoint.send([(b"%d" % number, a.flow_to(b)) for number in range(200)])
        got = await b.take(200)
        assert [octets for octets, _ in got] == [b"%d" % number for number in range(200)]
        assert {flow for _, flow in got} == {b.flow_to(a)}
        b.endpoint.send([(b"answer " + octets, flow) for octets, flow in got])
        assert [octets for octets, _ in await a.take(200)] == [b"answer %d" % number for number in range(200)]


@on_uvloop
async def test_reading_goes_on_after_an_unreachable_peer_was_told() -> None:
    """TRN-10: libuv gives up a descriptor at the error condition an ICMP message leaves; the endpoint does not."""
    gone = DatagramSocket("127.0.0.1", 0)
    address = gone.local
    gone.close()
    async with Peer() as a, Peer() as b:
        for number in range(20):
            dead = a.flow_to(b).with_remote(*address)
            a.endpoint.send([(b"lost", dead)])
            assert await a.errors.get() == dead
            b.endpoint.send([(b"%d" % number, b.flow_to(a))])
            assert (await a.take(1))[0][0] == b"%d" % number


@on_uvloop
async def test_callbacks_are_not_called_from_within_send() -> None:
    """An unreachable peer is told in a later turn of the loop."""
    async with Peer() as a, Peer() as b:
        flow = a.flow_to(b)
        a.endpoint.send([(b"x" * 65508, flow)])
        assert a.errors.empty()
        assert await a.errors.get() == flow


class NarrowSocket:
    """A socket that takes two datagrams a call, as one whose buffer is full again after two."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = DatagramSocket(host, port)
        self.local = self._socket.local

    @property
    def notices(self) -> int:
        return self._socket.notices

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self, limit: int) -> Batch:
        return self._socket.receive(limit)

    def take_errors(self) -> list[Flow]:
        return self._socket.take_errors()

    def send(self, batch: Batch) -> int:
        return self._socket.send(batch[:2])

    def close(self) -> None:
        self._socket.close()


@on_uvloop
async def test_what_the_socket_does_not_take_is_sent_later_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Peer() as b:
        monkeypatch.setattr(udp, "DatagramSocket", NarrowSocket)
        async with Peer() as a:
            a.endpoint.send([(b"%d" % number, a.flow_to(b)) for number in range(5)])
            a.endpoint.send([(b"%d" % number, a.flow_to(b)) for number in range(5, 9)])
            assert a.endpoint.backlog == 7
            assert [octets for octets, _ in await b.take(9)] == [b"%d" % number for number in range(9)]
            assert (a.endpoint.backlog, a.endpoint.overflowed) == (0, 0)


@pytest.mark.parametrize(("number", "overflowed"), [(5, 0), (6, 1)])
def test_the_backlog_is_bounded(monkeypatch: pytest.MonkeyPatch, number: int, overflowed: int) -> None:
    """Bounded everything: two are sent at once, three are kept, the next is dropped and counted."""

    @on_uvloop
    async def check() -> None:
        async with Peer() as b:
            monkeypatch.setattr(udp, "DatagramSocket", NarrowSocket)
            async with Peer(max_backlog=3) as a:
                a.endpoint.send([(b"%d" % index, a.flow_to(b)) for index in range(number)])
                assert (a.endpoint.backlog, a.endpoint.overflowed) == (3, overflowed)
                assert [octets for octets, _ in await b.take(5)] == [b"0", b"1", b"2", b"3", b"4"]

    check()


@on_uvloop
async def test_a_closed_endpoint_sends_nothing_and_its_address_is_free() -> None:
    peer = Peer()
    async with peer:
        local = peer.endpoint.local
    peer.endpoint.send([(b"late", Flow("udp", local, local))])
    await peer.endpoint.close()
    DatagramSocket(*local).close()


@pytest.mark.parametrize(
    ("bound", "local", "carried"),
    [
        ("192.0.2.9", ("192.0.2.9", 5060), True),
        ("192.0.2.9", ("192.0.2.8", 5060), False),
        ("192.0.2.9", ("192.0.2.9", 5061), False),
        ("0.0.0.0", ("192.0.2.9", 5060), True),
        ("0.0.0.0", ("2001:db8::9", 5060), False),
        ("::", ("2001:db8::9", 5060), True),
        ("::", ("192.0.2.9", 5060), False),
    ],
)
def test_an_endpoint_knows_the_flows_it_carries(bound: str, local: tuple[str, int], carried: bool) -> None:
    """TRN-4: a wildcard socket hears at, and answers from, each address of its family."""

    @on_uvloop
    async def check() -> None:
        endpoint = UdpEndpoint(asyncio.get_running_loop(), bound, 5060, print, print)
        assert endpoint.carries(Flow("udp", local, local)) is carried

    check()


@on_uvloop
async def test_an_address_in_use_is_an_error_at_the_start() -> None:
    async with Peer() as a:
        other = UdpEndpoint(asyncio.get_running_loop(), *a.endpoint.local, print, print)
        with pytest.raises(OSError, match="in use"):
            await other.start()


@on_uvloop
async def test_an_endpoint_that_was_never_started_has_no_socket() -> None:
    endpoint = UdpEndpoint(asyncio.get_running_loop(), "127.0.0.1", 0, print, print)
    with pytest.raises(RuntimeError, match="never started"):
        _ = endpoint.socket
    await endpoint.close()
