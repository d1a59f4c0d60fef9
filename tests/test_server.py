"""The server in its event loop, over real sockets on loopback."""

import asyncio
import errno
import random
import re
import resource
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from reginfo.config import AdminSection, Config, NotifierSection, RegistrarSection, StoreSection
from reginfo.errors import StoreUnavailable
from reginfo.fast import Draft, Flow, SipMessage, StreamFramer, parse_message, write_response
from reginfo.model import Command, ContactEvent, Now
from reginfo.net.stream import StreamServer
from reginfo.server import Server
from reginfo.server.server import LOOK
from tests.harness import House, contact, request, visible

pytestmark = pytest.mark.network

AORS = ("alice", "bob", "carol")
MEMORY = StoreSection(url="memory:")
NO_JITTER = RegistrarSection(expires_jitter=0.0)
PROMPT = NotifierSection(min_notify_interval=0.0)


@asynccontextmanager
async def serving(
    folder: Path,
    store: StoreSection = MEMORY,
    listen: tuple[str, ...] = ("udp:127.0.0.1:0",),
    registrar: RegistrarSection = NO_JITTER,
    notifier: NotifierSection = PROMPT,
    **sections: Any,
) -> AsyncIterator[Server]:
    """Run a server on free ports until the block ends."""
    config = Config(
        listen=listen,
        registrar=registrar,
        notifier=notifier,
        admin=AdminSection(socket=str(folder / "control.sock")),
        store=store,
        **sections,
    )
    server = Server(config)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


class UdpPhone(asyncio.DatagramProtocol):
    """Sends requests and collects answers by branch."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.news = asyncio.Event()
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.answers[branch_of(data)] = data
        self.news.set()
        message = parse_message(data)
        if message.is_request:
            self.transport.sendto(write_response(message, 200, to_tag="w"), addr)

    async def ask(self, octets: bytes) -> SipMessage:
        self.transport.sendto(octets)
        await self.wait([octets])
        return parse_message(self.answers[branch_of(octets)])

    async def wait(self, requests: Sequence[bytes]) -> None:
        async with asyncio.timeout(10):
            while not all(branch_of(octets) in self.answers for octets in requests):
                self.news.clear()
                await self.news.wait()


def branch_of(octets: bytes) -> str:
    branch = parse_message(octets).top_via.branch
    assert branch is not None
    return branch


@asynccontextmanager
async def udp_phone(server: Server) -> AsyncIterator[UdpPhone]:
    port = next(listener.port for listener in server.listeners if listener.transport == "udp")
    loop = asyncio.get_running_loop()
    transport, phone = await loop.create_datagram_endpoint(UdpPhone, remote_addr=("127.0.0.1", port))
    try:
        yield phone
    finally:
        transport.close()


async def stream_answers(server: Server, requests: Sequence[bytes]) -> dict[str, bytes]:
    """Send requests over one TCP connection; return the answers by branch."""
    port = next(listener.port for listener in server.listeners if listener.transport == "tcp")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    framer = StreamFramer()
    answers: dict[str, bytes] = {}
    for octets in requests:
        writer.write(octets)
        if random.random() < 0.3:
            await asyncio.sleep(0)
    async with asyncio.timeout(10):
        while len(answers) < len(requests):
            for octets in framer.feed(await reader.read(65_536)):
                answers[branch_of(octets)] = octets
    writer.close()
    await writer.wait_closed()
    return answers


def some_requests(chance: random.Random, count: int, label: str) -> list[bytes]:
    requests = []
    for number in range(count):
        row = contact(f"sip:x@198.51.100.{chance.randrange(4)}", chance.choice([0, 600, 900]))
        octets = request("REGISTER", row, user=chance.choice(AORS), call_id=label, cseq=number + 1)
        requests.append(octets)
    return requests


@pytest.mark.parametrize("seed", range(3))
async def test_udp_and_tcp_at_once_equal_the_sequential_replay(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REG-2, TRN-1: over two UDP sockets, two connections and an operator at once, all answers and the final
    state are those of the order that the engine took; per socket that is the order of sending."""
    chance = random.Random(seed)
    async with serving(tmp_path) as server, udp_phone(server) as first, udp_phone(server) as second:
        order: list[tuple[bytes, Flow] | str] = []
        engine = server._engine
        receive, command, clock = engine.receive, engine.command, server._clock
        frozen = clock.now()
        monkeypatch.setattr(clock, "now", lambda: frozen)

        def recorded_receive(batch: list[tuple[bytes, Flow]], now: Now) -> None:
            order.extend(batch)
            receive(batch, now)

        def recorded_command(work: Command) -> None:
            order.append(work.aor)
            command(work)

        monkeypatch.setattr(engine, "receive", recorded_receive)
        monkeypatch.setattr(engine, "command", recorded_command)
        loads = {name: some_requests(chance, 60, name) for name in ("u1", "u2", "t1", "t2")}

        async def send(phone: UdpPhone, requests: Sequence[bytes]) -> dict[str, bytes]:
            for octets in requests:
                phone.transport.sendto(octets)
                await asyncio.sleep(0)
            await phone.wait(requests)
            return phone.answers

        async def operate() -> dict[str, bytes]:
            for _ in range(20):
                await server.location.end(f"sip:{chance.choice(AORS)}@example.com", None, ContactEvent.DEACTIVATED)
            return {}

        answered = await asyncio.gather(
            send(first, loads["u1"]),
            send(second, loads["u2"]),
            stream_answers(server, loads["t1"]),
            stream_answers(server, loads["t2"]),
            operate(),
        )
        for name, requests in loads.items():
            taken = [item[0] for item in order if not isinstance(item, str) and parse_message(item[0]).call_id == name]
            assert taken == requests

        house = House(transactions=engine._transactions)
        house.now_ms = frozen.ms
        replayed: dict[str, bytes] = {}
        for item in order:
            if isinstance(item, str):
                house.command(Command(item, lambda draft, now_ms: draft.remove(None, "deactivated"), "operator"))
                continue
            engine._transactions.forget(engine._transactions.fingerprint(*item))
            house.engine.receive([item], frozen)
            house.settle()
            for octets, _ in house.engine.take_output():
                replayed[branch_of(octets)] = octets
        for answers in answered:
            for branch, octets in answers.items():
                assert undated(octets) == undated(replayed[branch])
        for user in AORS:
            aor = f"sip:{user}@example.com"
            assert visible(await server.location.lookup(aor)) == visible(house.registration(aor))


def undated(octets: bytes) -> list[bytes]:
    return [row for row in octets.split(b"\r\n") if not row.startswith(b"Date:")]


async def test_restart_keeps_bindings_and_removals(tmp_path: Path) -> None:
    """What was answered is there after a restart, with its remaining time; what was removed is gone."""
    store = StoreSection(url=f"rocksdb:{tmp_path / 'store'}")
    async with serving(tmp_path, store=store) as server, udp_phone(server) as phone:
        await phone.ask(request("REGISTER", contact("sip:alice@192.0.2.1", 600)))
        await phone.ask(request("REGISTER", contact("sip:alice@192.0.2.2", 600), cseq=2))
        answer = await phone.ask(request("REGISTER", contact("sip:alice@192.0.2.1", 0), cseq=3))
        assert answer.status == 200
        before = await server.location.lookup("sip:alice@example.com")
    async with serving(tmp_path, store=store) as server:
        after = await server.location.lookup("sip:alice@example.com")
        assert before is not None
        assert after is not None
        assert after.octets == before.octets
        assert server.statistics()["feed"]["contacts"] == 1


async def read_answer(reader: asyncio.StreamReader) -> SipMessage:
    framer = StreamFramer()
    async with asyncio.timeout(10):
        while True:
            for octets in framer.feed(await reader.read(65_536)):
                return parse_message(octets)


def flow_contact(reg_id: int = 1) -> str:
    return contact(extra=f';+sip.instance="<urn:uuid:00000000-0000-1000-8000-aabbccddeeff>";reg-id={reg_id}')


async def test_a_contact_ends_with_its_connection_and_the_watcher_hears_of_it(tmp_path: Path) -> None:
    """OUT-6, OUT-7, REV-8: over real sockets; one that a new connection has taken over does not."""
    policy = RegistrarSection(expires_jitter=0.0, flow_timer=60)
    async with serving(tmp_path, registrar=policy) as server, udp_phone(server) as watcher:
        port = next(listener.port for listener in server.listeners if listener.transport == "tcp")
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for cseq, (reg_id, (reader, writer)) in enumerate(zip((1, 2, 2), connections, strict=True), 1):
            writer.write(request("REGISTER", flow_contact(reg_id), "Supported: outbound", cseq=cseq))
            answer = await read_answer(reader)
            assert (answer.status, answer.require, answer.header("Flow-Timer")) == (200, ["outbound"], "60")
        [streams] = server._sockets.streams
        assert [connection._idle for connection in streams._connections.values()] == [90, 90, 90]

        where = watcher.transport.get_extra_info("sockname")
        rows = ("Event: reg", "Expires: 600", f"Contact: <sip:w@{where[0]}:{where[1]}>")
        await watcher.ask(request("SUBSCRIBE", *rows, uri="sip:alice@example.com", call_id="watch"))
        for _, writer in connections[:2]:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(10):
            while not any(b'event="expired"' in octets for octets in watcher.answers.values()):
                watcher.news.clear()
                await watcher.news.wait()
        registration = await server.location.lookup("sip:alice@example.com")
        assert registration is not None
        assert [binding.reg_id for binding in registration.bindings] == [2]
        connections[2][1].close()


async def test_a_restart_ends_what_came_over_a_connection(tmp_path: Path) -> None:
    """OUT-6: before anybody can register anew; what came by a UDP flow stays."""
    store = StoreSection(url=f"rocksdb:{tmp_path / 'store'}")
    async with serving(tmp_path, store=store) as server, udp_phone(server) as phone:
        await phone.ask(request("REGISTER", flow_contact(1), "Supported: outbound"))
        await stream_answers(server, [request("REGISTER", flow_contact(2), "Supported: outbound", cseq=2)])
        async with asyncio.timeout(10):
            while server._engine.flows.ending or server._engine.pending or len(server._engine.flows) > 1:
                await asyncio.sleep(0)
        await stream_answers(server, [request("REGISTER", contact("sip:alice@192.0.2.7"), cseq=3)])
        port = next(listener.port for listener in server.listeners if listener.transport == "tcp")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("REGISTER", flow_contact(2), "Supported: outbound", cseq=4))
        assert (await read_answer(reader)).contact_count == 3
    writer.close()
    async with serving(tmp_path, store=store) as server:
        registration = await server.location.lookup("sip:alice@example.com")
        assert registration is not None
        assert [(one.reg_id, one.flow[:4]) for one in registration.bindings] == [(1, "udp:"), (None, "")]
        async with asyncio.timeout(10):
            while server.statistics()["events"]["expired"] != 1:
                await asyncio.sleep(0.01)


async def test_stun_is_answered_where_sip_is(tmp_path: Path) -> None:
    """TRN-15: over IPv4 and IPv6, with the address the request came from."""
    cookie, transaction = bytes.fromhex("2112a442"), bytes(range(12))
    async with serving(tmp_path, listen=("udp:127.0.0.1:0", "udp:[::1]:0")) as server:
        for listener in server.listeners[::2]:
            family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as phone:
                phone.setblocking(False)
                phone.bind((listener.host, 0))
                phone.connect((listener.host, listener.port))
                phone.send(b"\0\1\0\0" + cookie + transaction)
                async with asyncio.timeout(10):
                    octets = await asyncio.get_running_loop().sock_recv(phone, 100)
                source = socket.inet_pton(family, listener.host)
                masked = bytes(a ^ b for a, b in zip(source, cookie + transaction, strict=False))
                port = (phone.getsockname()[1] ^ 0x2112).to_bytes(2, "big")
                assert octets[8:20] == transaction
                assert octets[26:] == port + masked


async def test_binding_expires_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """REG-17: the row leaves when its time is reached, and the feed says expired."""
    async with serving(tmp_path) as server, udp_phone(server) as phone:
        await phone.ask(request("REGISTER", contact("sip:alice@192.0.2.1", 60)))
        later = server._clock.now
        monkeypatch.setattr(server._clock, "now", lambda: Now(later().ms + 60_001, later().wall))
        async with asyncio.timeout(10):
            while server.statistics()["events"]["expired"] == 0:
                await asyncio.sleep(0.02)
        assert await server.location.lookup("sip:alice@example.com") is None


async def test_operator_adds_and_removes(tmp_path: Path) -> None:
    """An operator's contact is `created`; it is listed to phones and can be removed by URI."""
    async with serving(tmp_path) as server, udp_phone(server) as phone:
        await server.location.create("sip:alice@example.com", "sip:alice@192.0.2.9", 300, 0.5)
        answer = await phone.ask(request())
        assert [(found.uri, found.q) for found in answer.contacts] == [("sip:alice@192.0.2.9", 500)]
        registration = await server.location.lookup("sip:alice@example.com")
        assert registration is not None
        assert registration.bindings[0].event == "created"
        assert await server.location.end("sip:alice@example.com", "sip:alice@192.0.2.9", ContactEvent.DEACTIVATED) == 1
        assert await server.location.end("sip:alice@example.com", None, ContactEvent.DEACTIVATED) == 0


async def test_a_change_whose_caller_gave_up_is_no_fault(tmp_path: Path) -> None:
    """asyncio.timeout() around a change by hand: the change is committed all the same, and nothing raises."""
    async with serving(tmp_path) as server:
        change = asyncio.create_task(server.location.create("sip:alice@example.com", "sip:alice@192.0.2.9", 300, 0.5))
        await asyncio.sleep(0)
        change.cancel()
        async with asyncio.timeout(10):
            while await server.location.lookup("sip:alice@example.com") is None:
                await asyncio.sleep(0.01)
        assert server.statistics()["errors"]["internal"] == 0


async def test_every_group_of_counters_is_documented(tmp_path: Path) -> None:
    """What `reginfo stats` prints has a row in docs/command-line.md, and no row is of the past."""
    text = (Path(__file__).parents[1] / "docs/command-line.md").read_text()
    table = text.partition("## Counters")[2].partition("\n## ")[0]
    async with serving(tmp_path) as server:
        statistics = server.statistics()
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(statistics)
    assert all(f"`{name}`" in table for group in ("core", "errors") for name in statistics[group])


async def test_draining_answers_503_and_finishes(tmp_path: Path) -> None:
    """SIGTERM's road: new requests get 503 with Retry-After."""
    async with serving(tmp_path) as server, udp_phone(server) as phone:
        server._engine.drain(10)
        answer = await phone.ask(request("REGISTER", contact()))
        assert (answer.status, answer.retry_after) == (503, 10)


async def test_free_ports_are_free_for_both_transports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRN-1: the port the system gave to UDP may be somebody else's TCP port; then another one is taken.
    A further listener gets a port of its own."""
    taken: list[int] = []
    start = StreamServer.start

    async def first_is_taken(streams: StreamServer) -> None:
        if not taken:
            taken.append(streams.local[1])
            raise OSError(errno.EADDRINUSE, "in use")
        await start(streams)

    monkeypatch.setattr(StreamServer, "start", first_is_taken)
    async with serving(tmp_path, listen=("udp:127.0.0.1:0", "tcp:127.0.0.2:0")) as server:
        udp, tcp, other = server.listeners
        assert (udp.transport, udp.host, udp.port) == ("udp", tcp.host, tcp.port)
        assert taken[0] != 0
        assert (tcp.transport, other.transport, other.host) == ("tcp", "tcp", "127.0.0.2")
        async with udp_phone(server) as phone:
            assert (await phone.ask(request("OPTIONS"))).status == 200


@pytest.mark.parametrize(
    ("limits", "connections", "raised"),
    [
        ((64, 64), 16, []),
        ((64, 4096), 1920, [4096]),
        ((1024, 524_288), 4096, [8448]),
        ((524_288, 524_288), 4096, []),
        ((1024, resource.RLIM_INFINITY), 4096, [8448]),
    ],
)
async def test_connections_leave_descriptors_to_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], connections: int, raised: list[int]
) -> None:
    """F16: strangers who connect do not take the descriptors by which registrations are kept."""
    soft: list[int] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: soft.append(wanted[0]))
    async with serving(tmp_path, listen=("udp:127.0.0.1:0", "tcp:127.0.0.2:0")) as server:
        assert [streams.limits.max_connections for streams in server._sockets.streams] == [connections] * 2
        assert soft == raised


async def test_a_taken_port_is_an_error(tmp_path: Path) -> None:
    """TRN-1: a port that was asked for is not replaced by another one; the error names the address."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{other.getsockname()[1]}"
        server = Server(Config(listen=(f"udp:{address}",), admin=AdminSection(socket=""), store=MEMORY))
        try:
            with pytest.raises(OSError, match=f"bind {address}"):
                await server.start()
        finally:
            await server.close()


async def test_a_lost_connection_is_replaced_from_the_listener_it_came_to(tmp_path: Path) -> None:
    """TRN-4: of several listeners the one that took the request connects to the sent-by port of its Via."""
    arrived: asyncio.Future[tuple[str, bytes]] = asyncio.get_running_loop().create_future()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set_result((writer.get_extra_info("peername")[0], await reader.readuntil(b"\r\n")))
        writer.close()

    phone = await asyncio.start_server(take, "127.0.0.3", 0)
    port = phone.sockets[0].getsockname()[1]
    async with serving(tmp_path, listen=("tcp:127.0.0.1:0", "tcp:127.0.0.2:0")) as server:
        octets = request("OPTIONS", via=f"127.0.0.3:{port}")
        local = ("127.0.0.2", server.listeners[1].port)
        server._on_batch([(octets, Flow("tcp", local, ("127.0.0.3", 9), 999_999_999))])
        async with asyncio.timeout(10):
            assert await arrived == ("127.0.0.2", b"SIP/2.0 200 OK\r\n")
        phone.close()


async def test_a_store_that_cannot_save_the_clock_does_not_end_expiry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F3 and F9 at once: bindings expire on, and the step of the wall clock is saved when the disk is back."""
    async with serving(tmp_path) as server, udp_phone(server) as phone:
        failures = 0
        save = server._store.save_clock_offset

        async def failing(offset_ms: int) -> None:
            nonlocal failures
            failures += 1
            if failures == 1:
                raise StoreUnavailable("the disk is failing", retry_after=1)
            await save(offset_ms)

        monkeypatch.setattr(server._store, "save_clock_offset", failing)
        monkeypatch.setattr("reginfo.server.server.SAVE_MS", 0)
        await phone.ask(request("REGISTER", contact("sip:alice@192.0.2.1", 60)))
        server._clock._anchor_ms -= 3_600_000  # as if the wall clock was set forward by an hour
        later = server._clock.now
        monkeypatch.setattr(server._clock, "now", lambda: Now(later().ms + 3_660_001, later().wall))
        async with asyncio.timeout(10):
            while server.statistics()["events"]["expired"] == 0 or server._store.clock_offset == 0:
                await asyncio.sleep(0.02)
        assert failures == 2
        assert abs(server._store.clock_offset - 3_600_000) < 1_000


async def test_one_failing_tick_does_not_end_expiry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """REG-17: a fault of ours in one tick is logged, and the next tick expires what is due."""
    async with serving(tmp_path) as server, udp_phone(server) as phone:
        failures = 0
        due = server._store.due

        async def failing(now_ms: int, limit: int) -> list[str]:
            nonlocal failures
            failures += 1
            if failures == 1:
                raise RuntimeError("a fault")
            return await due(now_ms, limit)

        monkeypatch.setattr(server._store, "due", failing)
        await phone.ask(request("REGISTER", contact("sip:alice@192.0.2.1", 60)))
        later = server._clock.now
        monkeypatch.setattr(server._clock, "now", lambda: Now(later().ms + 60_001, later().wall))
        async with asyncio.timeout(10):
            while server.statistics()["events"]["expired"] == 0:
                await asyncio.sleep(0.02)


async def test_the_loop_is_late_also_where_its_own_tick_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as server:

        def slow(now: Now) -> None:
            monkeypatch.undo()
            time.sleep(2.5 * LOOK)

        monkeypatch.setattr(server._engine, "tick", slow)
        async with asyncio.timeout(10):
            while server.statistics()["core"]["loop_lag_ms"] < 1400 * LOOK:
                await asyncio.sleep(0.01)


def test_draft_is_what_commands_change() -> None:
    """A command's function gets the working copy of its AoR."""
    house = House()
    seen: list[Draft] = []

    def look(draft: Draft, now_ms: int) -> int:
        seen.append(draft)
        return 0

    house.command(Command("sip:alice@example.com", look, "operator"))
    assert seen[0].count == 0
