"""TCP connections on uvloop (standards.md: TRN-1, TRN-4, TRN-8, TRN-9, TRN-15, SEC-5; reliability.md: F16)."""

import asyncio
import logging
import resource
import socket
from collections.abc import Callable
from typing import Self, cast

import pytest

from reginfo.fast import Flow, SipParseError
from reginfo.net import turns
from reginfo.net.connection import StreamLimits
from reginfo.net.framing import Framing
from reginfo.net.stream import StreamServer
from reginfo.net.tls import Tls
from tests.net.loops import on_uvloop

network = pytest.mark.network

Batch = list[tuple[bytes, Flow]]

OPTIONS = (
    b"OPTIONS sip:example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\n"
    b"Max-Forwards: 70\r\n"
    b"From: <sip:a@example.com>;tag=1\r\n"
    b"To: <sip:example.com>\r\n"
    b"Call-ID: 1\r\n"
    b"CSeq: 1 OPTIONS\r\n"
    b"Content-Length: 3\r\n"
    b"\r\n"
    b"a\r\n"
)
DEFAULTS = StreamLimits()
UNFRAMED = OPTIONS.replace(b"Content-Length: 3", b"Content-Length: x")


class Site:
    """A stream server that keeps what it hears."""

    def __init__(
        self,
        limits: StreamLimits = DEFAULTS,
        answer_to_bad: bytes | None = b"SIP/2.0 400 Bad\r\n\r\n",
        transport: str = "tcp",
        tls: Tls | None = None,
        framing: Callable[[], Framing] | None = None,
    ) -> None:
        self.batches: asyncio.Queue[Batch] = asyncio.Queue()
        self.lost: asyncio.Queue[Flow] = asyncio.Queue()
        self.bad: list[SipParseError] = []
        self._answer_to_bad = answer_to_bad
        self.is_pressed = False
        "Whether datagrams have to wait."
        self.server = StreamServer(
            asyncio.get_running_loop(),
            "127.0.0.1",
            0,
            self.batches.put_nowait,
            self.lost.put_nowait,
            self._on_bad,
            limits=limits,
            is_pressed=lambda: self.is_pressed,
            transport=transport,
            tls=tls,
            framing=framing,
        )

    def _on_bad(self, error: SipParseError, flow: Flow) -> bytes | None:
        self.bad.append(error)
        return self._answer_to_bad

    async def __aenter__(self) -> Self:
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.close()

    async def take(self, number: int) -> Batch:
        items: Batch = []
        while len(items) < number:
            items += await self.batches.get()
        return items


class Client:
    """A plain connection to a site."""

    def __init__(self, site: Site) -> None:
        self._address = site.server.local

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(*self._address)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    @property
    def local(self) -> tuple[str, int]:
        return cast(tuple[str, int], self.writer.get_extra_info("sockname"))

    async def ended(self) -> bool:
        """Wait for the end of the connection; True if nothing came before it."""
        try:
            return await self.reader.read() == b""
        except ConnectionResetError:
            return True


@network
@on_uvloop
async def test_messages_are_whole_however_they_are_split_and_answers_go_back() -> None:
    """TRN-8: Content-Length frames; TRN-4: the answer takes the same connection."""
    async with Site() as site, Client(site) as client:
        for octet in OPTIONS:
            client.writer.write(bytes([octet]))
            await client.writer.drain()
        client.writer.write(OPTIONS + OPTIONS)
        got = await site.take(3)
        assert [octets for octets, _ in got] == [OPTIONS] * 3
        flow = got[0][1]
        assert (flow.transport, flow.local, flow.remote) == ("tcp", site.server.local, client.local)
        assert flow.connection > 0
        assert {flow for _, flow in got} == {flow}
        assert site.server.send([(b"one", flow), (b"two", flow)]) == []
        assert await client.reader.readexactly(6) == b"onetwo"


@network
@on_uvloop
async def test_connection_numbers_differ_between_servers() -> None:
    async with Site() as a, Site() as b, Client(a) as first, Client(b) as second:
        first.writer.write(OPTIONS)
        second.writer.write(OPTIONS)
        assert (await a.take(1))[0][1].connection != (await b.take(1))[0][1].connection


@network
@on_uvloop
async def test_connections_that_are_much_work_hold_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-5: when the time of a turn is over the others go on, and those not served come before who talks again."""
    monkeypatch.setattr(turns, "TURN_S", 0)
    loop = asyncio.get_running_loop()
    async with Site() as site, Client(site) as first, Client(site) as second, Client(site) as third:
        clients = {client.local: client for client in (first, second, third)}
        turn = 0

        def count() -> None:
            nonlocal turn
            turn += 1
            loop.call_soon(count)

        served: list[tuple[tuple[str, int], int]] = []

        def take(batch: Batch) -> None:
            remote = batch[0][1].remote
            served.append((remote, turn))
            clients[remote].writer.write(OPTIONS)  # and so on
            site.batches.put_nowait(batch)

        site.server.on_batch = take
        for client in clients.values():
            client.writer.write(OPTIONS)
        loop.call_soon(count)
        await site.take(9)
        assert {remote for remote, _ in served[:3]} == set(clients)
        times = [at for _, at in served]
        assert len(set(times)) == len(times)


@network
@on_uvloop
async def test_a_double_crlf_is_answered_with_one_at_once() -> None:
    """TRN-15: keep-alive between messages; it is no message."""
    async with Site() as site, Client(site) as client:
        client.writer.write(b"\r\n\r\n")
        assert await client.reader.readexactly(2) == b"\r\n"
        client.writer.write(OPTIONS + b"\r\n\r\n")
        assert await client.reader.readexactly(2) == b"\r\n"
        assert [octets for octets, _ in await site.take(1)] == [OPTIONS]


@network
@on_uvloop
async def test_lost_framing_is_answered_and_the_connection_closed() -> None:
    """TRN-8: what came whole before it is a message, what comes after it is not read."""
    async with Site() as site, Client(site) as client:
        client.writer.write(OPTIONS + UNFRAMED)
        client.writer.write(OPTIONS)
        got = await site.take(1)
        site.server.send([(b"late answer", got[0][1])])
        assert await client.reader.read() == b"SIP/2.0 400 Bad\r\n\r\nlate answer"
        assert len(site.bad) == 1
        assert await site.lost.get() == got[0][1]
        assert site.batches.empty()


@network
@on_uvloop
async def test_lost_framing_that_owes_nothing_closes_without_an_answer() -> None:
    """TRN-8: a response is never answered."""
    async with Site(answer_to_bad=None) as site, Client(site) as client:
        client.writer.write(UNFRAMED)
        assert await client.ended()


@network
@on_uvloop
async def test_half_a_close_still_gets_its_answer() -> None:
    """A client may close its side as soon as it has asked."""
    async with Site() as site, Client(site) as client:
        client.writer.write(OPTIONS)
        client.writer.write_eof()
        flow = (await site.take(1))[0][1]
        site.server.send([(b"answer", flow)])
        assert await client.reader.read() == b"answer"
        assert await site.lost.get() == flow


@network
@pytest.mark.parametrize(
    "limits", [StreamLimits(max_connections=2), StreamLimits(max_connections_per_address=2)], ids=["all", "address"]
)
def test_a_connection_beyond_the_limit_is_closed_and_an_ended_one_makes_room(limits: StreamLimits) -> None:
    """SEC-5: named limits, at n and n+1."""

    @on_uvloop
    async def check() -> None:
        async with Site(limits) as site, Client(site) as first:
            async with Client(site) as second:
                for client in (first, second):
                    client.writer.write(OPTIONS)
                await site.take(2)
                async with Client(site) as third:
                    assert await third.ended()
                assert (len(site.server), site.server.accepted, site.server.refused) == (2, 2, 1)
            await site.lost.get()
            async with Client(site) as fourth:
                fourth.writer.write(OPTIONS)
                await site.take(1)

    check()


@network
@on_uvloop
async def test_an_answer_for_a_gone_connection_comes_back_to_be_routed_again() -> None:
    """TRN-4: over a new connection to the port of its Via, which is then reused (TRN-9)."""
    async with Site() as site, Site() as phone:
        async with Client(site) as client:
            client.writer.write(OPTIONS)
            flow = (await site.take(1))[0][1]
        assert await site.lost.get() == flow
        assert site.server.send([(OPTIONS, flow)]) == [(OPTIONS, flow)]
        again = flow.reply(phone.server.local[1])
        assert site.server.send([(OPTIONS, again), (OPTIONS, again)]) == []
        got = await phone.take(2)
        assert got[0][1] == got[1][1]
        assert site.server.send([(OPTIONS, again)]) == []
        assert (await phone.take(1))[0][1] == got[0][1]
        assert len(site.server) == 1


@network
@on_uvloop
async def test_an_open_connection_to_the_address_is_reused() -> None:
    """TRN-9: accepted connections are indexed by their remote address as well."""
    async with Site() as site, Client(site) as client:
        client.writer.write(OPTIONS)
        flow = (await site.take(1))[0][1]
        assert site.server.send([(b"request", Flow("tcp", site.server.local, flow.remote))]) == []
        assert await client.reader.readexactly(7) == b"request"
        assert await site.server.connect(flow.reply(flow.port)) == flow


@network
@on_uvloop
async def test_connections_wanted_at_once_are_one() -> None:
    """TRN-9; the flow shows the listening address, for Via and Contact."""
    async with Site() as site, Site() as phone:
        wanted = Flow("tcp", site.server.local, phone.server.local)
        first, second = await asyncio.gather(site.server.connect(wanted), site.server.connect(wanted))
        assert first == second
        assert (first.local, first.remote) == (site.server.local, phone.server.local)
        assert len(site.server) == 1


@network
@on_uvloop
async def test_a_connection_that_cannot_be_made_is_told() -> None:
    """TRN-10: a failed connect is a transport error."""
    async with Site() as gone:
        address = gone.server.local
    async with Site() as site:
        wanted = Flow("tcp", site.server.local, address)
        with pytest.raises(OSError, match="Errno 111"):
            await site.server.connect(wanted)
        assert site.server.send([(OPTIONS, wanted)]) == []
        assert await site.lost.get() == wanted
        limited = Site(StreamLimits(max_connections=0))
        async with limited:
            with pytest.raises(ConnectionError, match="limit"):
                await limited.server.connect(Flow("tcp", limited.server.local, site.server.local))


@network
@on_uvloop
async def test_closing_lets_answers_leave_and_tells_no_loss() -> None:
    """A flow is not lost because its server leaves: its bindings stay (architecture: restart)."""
    async with Site() as site, Client(site) as client:
        client.writer.write(OPTIONS)
        flow = (await site.take(1))[0][1]
        site.server.send([(b"x" * 100_000, flow)])
        await site.server.close()
        assert await client.reader.read() == b"x" * 100_000
        assert site.lost.empty()
        assert site.server.send([(OPTIONS, flow.reply(1))]) == []


@network
@on_uvloop
async def test_connections_are_served_while_datagrams_are_pressed_and_afterwards() -> None:
    """SEC-5: each turn is followed by a rest, in which nobody spins; nothing is left behind."""
    async with Site(StreamLimits(half_message=0.2)) as site, Client(site) as first, Client(site) as second:
        site.is_pressed = True
        for _ in range(20):
            first.writer.write(OPTIONS)
            second.writer.write(OPTIONS)
            await site.take(2)
        async with Client(site) as late:
            late.writer.write(OPTIONS)
            await site.take(1)
            late.writer.write(OPTIONS[:10])
            assert await late.ended()  # cut off by the clocks
        first.writer.write(OPTIONS)
        [(_, flow)] = await site.take(1)
        site.server.send([(b"x" * 100_000, flow)])
        await site.server.close()  # whatever rests
        assert await first.reader.read() == b"x" * 100_000
    async with Site() as site, Client(site) as first:
        assert site.server._clocks._turns is site.server._turns  # an eighth of the time is for both
        site.is_pressed = True
        first.writer.write(OPTIONS)
        await site.take(1)
        site.is_pressed = False
        first.writer.write(OPTIONS)
        await site.take(1)


@network
@on_uvloop
async def test_without_descriptors_accepting_pauses_and_recovers(caplog: pytest.LogCaptureFixture) -> None:
    """F16: what is connected is served on, one warning is given, and nobody spins."""
    caplog.set_level(logging.WARNING, logger="reginfo.net.stream")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with Site() as site, Client(site) as client:
        waiting = [socket.socket() for _ in range(5)]
        with socket.socket() as probe:
            lowest_free = probe.fileno()
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
            for late in waiting:
                late.connect(site.server.local)
            while not caplog.records:
                client.writer.write(OPTIONS)
                await site.take(1)
            for _ in range(100):
                client.writer.write(OPTIONS)
                await site.take(1)
            assert len(site.server) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for late in waiting:
            late.sendall(OPTIONS)
        await site.take(5)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        for late in waiting:
            late.close()
