"""RFC 3263 with sockets: DNS, servers that are dead, and a watcher that finds the other one (DNS-*, TRN-5)."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from reginfo.cli._agent import Agent
from reginfo.cli._watcher import Watcher
from reginfo.config import AdminSection, Config, StoreSection
from reginfo.fast import Flow, SipMessage, parse_message, write_response
from reginfo.net import resolver
from reginfo.net.connection import StreamLimits
from reginfo.net.stream import StreamServer
from reginfo.roles.subscriber import Heard
from reginfo.server import Server
from reginfo.server.fallback import MAX_FALLBACKS, MAX_SEEKING, Fallback
from reginfo.server.locator import Locator
from reginfo.sip.locating import Target
from reginfo.sip.routing import Hop, next_hop
from tests.dns_server import DnsServer, dead_port
from tests.harness import contact, request
from tests.server_fixture import PATIENCE

pytestmark = pytest.mark.network

DOMAIN = "example.test"


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DnsServer]:
    async with DnsServer() as server:
        monkeypatch.setattr(resolver, "system_dns", server.resolver)
        yield server


class Cut:
    """Cuts the connection that a request came by, before it is answered."""

    server: Server
    on = False

    def __call__(self, request: SipMessage, flow: Flow) -> None:
        if self.on:
            self.server._sockets.streams[0]._connections[flow.connection].close()


@pytest.fixture
def cut() -> Cut:
    return Cut()


@pytest.fixture
async def server(names: DnsServer, cut: Cut, tmp_path: Path) -> AsyncIterator[Server]:
    """A registrar for example.com on a port of 127.0.0.1, UDP and TCP."""
    config = Config(
        listen=("udp:127.0.0.1:0",),
        store=StoreSection(url="memory:"),
        admin=AdminSection(socket=str(tmp_path / "control")),
    )
    cut.server = server = Server(config, on_request=cut)
    try:
        await server.start()
        yield server
    finally:
        await server.close()


@pytest.fixture
def dead() -> int:
    return dead_port()


async def test_a_watcher_finds_the_server_that_lives(names: DnsServer, server: Server, dead: int) -> None:
    """DNS-2 to DNS-5: NAPTR, SRV with a dead server first, the hosts file; the second one is watched."""
    names.add(DOMAIN, "NAPTR", f'10 10 "s" "SIP+D2U" "" _sip._udp.{DOMAIN}.')
    names.add(f"_sip._udp.{DOMAIN}", "SRV", f"1 0 {dead} localhost.", f"2 0 {server.listeners[0].port} localhost.")
    heard: list[Heard] = []
    watcher = Watcher(next_hop(f"sip:{DOMAIN}"), heard.append, once=True)
    async with asyncio.timeout(PATIENCE), watcher.agent:
        await watcher.run("sip:alice@example.com", "sip:alice@example.com", 60)
    assert len(heard) == 1
    assert {kind for _, kind in names.asked} == {"NAPTR", "SRV"}  # localhost is the system's


async def test_the_dead_server_costs_once(names: DnsServer, server: Server) -> None:
    """DNS-5: a server that takes everything and says nothing is asked first once, and last from then on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.setblocking(False)
        names.add(
            f"_sip._udp.{DOMAIN}",
            "SRV",
            f"1 0 {silent.getsockname()[1]} localhost.",
            f"2 0 {server.listeners[0].port} localhost.",
        )
        async with asyncio.timeout(PATIENCE), Agent(next_hop(f"sip:{DOMAIN};transport=udp")) as agent:
            asked = asyncio.create_task(agent.ask("OPTIONS", "sip:example.com", []))
            while True:  # 64*T1 pass at once, as soon as the request is there
                await asyncio.sleep(0)
                try:
                    first = parse_message(silent.recv(65_536))
                    break
                except BlockingIOError:
                    await asyncio.sleep(0.001)
            ahead = agent.now()._replace(ms=agent.now().ms + 32_000)
            agent.timers.run(ahead)  # timer E, once more
            agent.timers.run(ahead)
            agent.flush()
            assert (await asked).status == 200
            while True:
                try:
                    assert parse_message(silent.recv(65_536)).top_via.branch == first.top_via.branch
                except BlockingIOError:
                    break
            began = time.monotonic()
            assert (await agent.ask("OPTIONS", "sip:example.com", [])).status == 200
            assert time.monotonic() - began < 5
            with pytest.raises(BlockingIOError):
                silent.recv(65_536)


async def test_a_server_publishes_to_the_one_that_lives(names: DnsServer, server: Server, dead: int) -> None:
    """DNS-5, TRN-10: reginfo_subscribe at a name of two servers, the first of which the kernel says is not there."""
    names.add(f"_sip._udp.{DOMAIN}", "SRV", f"1 0 {dead} localhost.", f"2 0 {server.listeners[0].port} localhost.")
    await server.reginfo_subscribe(f"sip:bob@{DOMAIN}")
    async with asyncio.timeout(PATIENCE):
        while not server.statistics()["requests"]["SUBSCRIBE"]:
            await asyncio.sleep(0.01)
    [(_, where, _, _)] = server.followed()
    assert where == f"sip:{DOMAIN}"


async def _answer_at(listener: socket.socket) -> SipMessage:
    """Return the first message that somebody connects for."""
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    async with asyncio.timeout(PATIENCE):
        connection, _ = await loop.sock_accept(listener)
        with closing(connection):
            return parse_message(await loop.sock_recv(connection, 65_536), stream=True)


def _refuse_at(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = StreamServer.connect

    async def refuse(self: StreamServer, flow: Flow) -> Flow:
        if flow.host == host:
            raise ConnectionRefusedError
        return await connect(self, flow)

    monkeypatch.setattr(StreamServer, "connect", refuse)


@pytest.mark.parametrize("how", ["received", "name and port", "name"])
async def test_an_answer_finds_another_way_when_its_connection_is_gone(
    names: DnsServer, server: Server, cut: Cut, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """TRN-4, TRN-5: at received first; if nobody is there, by the Via: a name and port, or a name by SRV."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        nobody = dead_port(socket.SOCK_STREAM)
        names.add(f"_sip._tcp.{DOMAIN}", "SRV", f"1 0 {nobody} localhost.", f"2 0 {port} localhost.")
        via, source = {
            "received": (f"192.0.2.1:{port}", "127.0.0.1"),
            "name and port": (f"localhost:{port}", "127.0.0.2"),
            "name": (DOMAIN, "127.0.0.2"),
        }[how]
        _refuse_at("127.0.0.2", monkeypatch)  # where somebody else may listen at port 5060
        cut.on = True
        _, writer = await asyncio.open_connection(*server.listeners[0][1:], local_addr=(source, 0))
        writer.write(request("REGISTER", contact(), via=via).replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP"))
        answer = await _answer_at(listener)
        assert (answer.status, answer.cseq_method) == (200, "REGISTER")
        writer.close()


class Stuck(StreamServer):
    """Connects to nobody, for ever."""

    tries = 0

    def carries(self, flow: Flow) -> bool:
        return True

    async def connect(self, flow: Flow) -> Flow:
        self.tries += 1
        await asyncio.Event().wait()
        return flow


async def test_answers_that_look_for_a_way_are_bounded() -> None:
    """TRN-5, SEC-3: who asks and leaves, again and again, has so many answers looked after and no more."""
    streams = Stuck(
        asyncio.get_running_loop(),
        "127.0.0.1",
        0,
        lambda batch: None,
        lambda flow: None,
        lambda error, flow: None,
        limits=StreamLimits(),
        is_pressed=lambda: False,
    )
    fallback = Fallback([streams], Locator(("tcp",)))
    octets = write_response(parse_message(request(via="192.0.2.1")), 200)
    for number in range(MAX_FALLBACKS + 1):
        fallback.send(octets, Flow("tcp", ("127.0.0.1", 5060), ("192.0.2.9", 40000), 1 + number))
        await asyncio.sleep(0)
        assert streams.tries == min(number + 1, MAX_FALLBACKS)
    fallback.close()
    await asyncio.sleep(0)


class Slow(Locator):
    """Its name servers do not answer."""

    asked = 0

    async def locate(self, hop: Hop) -> list[tuple[Target, str]]:
        self.asked += 1
        await asyncio.Event().wait()
        return []


class Closed(Stuck):
    """Nobody listens."""

    async def connect(self, flow: Flow) -> Flow:
        raise ConnectionError


async def test_names_in_the_vias_of_strangers_leave_room_for_others() -> None:
    """TRN-5, SEC-3: names that nobody answers for would keep every thread that looks up hosts."""
    streams = Closed(
        asyncio.get_running_loop(),
        "127.0.0.1",
        0,
        lambda batch: None,
        lambda flow: None,
        lambda error, flow: None,
        limits=StreamLimits(),
        is_pressed=lambda: False,
    )
    locator = Slow(("tcp",))
    fallback = Fallback([streams], locator)
    for number in range(MAX_SEEKING + 1):
        octets = write_response(parse_message(request(via=f"h{number}.test")), 200)
        fallback.send(octets, Flow("tcp", ("127.0.0.1", 5060), ("192.0.2.9", 40000), 1 + number))
        for _ in range(3):
            await asyncio.sleep(0)
        assert locator.asked == min(number + 1, MAX_SEEKING)
    fallback.close()
    await asyncio.sleep(0)
