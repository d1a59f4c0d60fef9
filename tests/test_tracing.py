"""A whole server that is traced: what a phone says over each transport, as it is read and as a collector gets it."""

import asyncio
import socket
import sqlite3
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from reginfo.config import AuthSection, TlsSection, TraceSection, WebsocketSection
from reginfo.errors import ConfigError
from reginfo.fast import digest_response, parse_message
from reginfo.model import TracedMessage
from reginfo.server import Server
from tests.certificates import Authority
from tests.harness import contact, request
from tests.net.test_hep import chunks
from tests.test_server import serving

pytestmark = pytest.mark.network

ALICE = "sip:alice@example.com"
HA1 = md5(b"alice:example.com:secret").hexdigest()
TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")


@dataclass
class Phone:
    """What a phone needs of its transport, and what went over it."""

    transport: str
    local: tuple[str, int]
    remote: tuple[str, int]
    write: Callable[[bytes], Awaitable[None]]
    read: Callable[[], Awaitable[bytes]]
    passed: list[tuple[bool, bytes]] = field(default_factory=list)
    "Whether the server sent it, and the octets."

    async def send(self, octets: bytes) -> None:
        octets = octets.replace(b"SIP/2.0/UDP", b"SIP/2.0/" + self.transport.upper().encode())
        self.passed.append((False, octets))
        await self.write(octets)

    async def receive(self) -> bytes:
        octets = await self.read()
        self.passed.append((True, octets))
        return octets


@asynccontextmanager
async def phone(server: Server, transport: str, context: ssl.SSLContext | None) -> AsyncIterator[Phone]:
    """Reach a server over one of its transports."""
    remote = next((one.host, one.port) for one in server.listeners if one.transport == transport)
    loop = asyncio.get_running_loop()
    if transport == "udp":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.setblocking(False)
            datagrams.connect(remote)

            async def write(octets: bytes) -> None:
                await loop.sock_sendall(datagrams, octets)

            yield Phone(transport, datagrams.getsockname(), remote, write, lambda: loop.sock_recv(datagrams, 65536))
        return
    tls = {"ssl": context, "server_hostname": "localhost"} if transport in ("tls", "wss") else {}
    if transport in ("ws", "wss"):
        uri = f"{transport}://127.0.0.1:{remote[1]}/"
        async with connect(uri, subprotocols=["sip"], **tls) as browser:  # type: ignore[list-item, arg-type]
            yield Phone(transport, browser.local_address, remote, browser.send, lambda: browser.recv(decode=False))
        return
    reader, writer = await asyncio.open_connection(*remote, **tls)  # type: ignore[arg-type]

    async def put(octets: bytes) -> None:
        writer.write(octets)

    async def get() -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().rpartition(b"\r\ncontent-length:")[2].split(b"\r\n")[0])
        return head + await reader.readexactly(length)

    try:
        yield Phone(transport, writer.get_extra_info("sockname"), remote, put, get)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def credentials(method: str, uri: str, challenge: bytes, nc: int) -> str:
    """Return the Authorization of alice."""
    nonce = challenge.partition(b'nonce="')[2].partition(b'"')[0].decode()
    count = f"{nc:08x}"
    response = digest_response("MD5", HA1, method, uri, nonce, qop="auth", nc=count, cnonce="c")
    return (
        f'Authorization: Digest username="alice",realm="example.com",nonce="{nonce}",uri="{uri}",algorithm=MD5,'
        f'qop=auth,nc={count},cnonce="c",response="{response}"'
    )


async def talk(it: Phone) -> None:
    """Register with a password, then watch oneself."""
    host, port = it.local
    here = f"sip:alice@{host}:{port};transport={it.transport}"
    via = f"{host}:{port};rport"
    call_id = f"call-{it.transport}"
    await it.send(request("REGISTER", contact(here), via=via, call_id=call_id))
    challenge = await it.receive()
    assert challenge.startswith(b"SIP/2.0 401 ")
    proof = credentials("REGISTER", "sip:example.com", challenge, 1)
    await it.send(request("REGISTER", contact(here), proof, via=via, call_id=call_id, cseq=2))
    assert (await it.receive()).startswith(b"SIP/2.0 200 ")
    proof = credentials("SUBSCRIBE", ALICE, challenge, 2)
    rows = ("Event: reg", "Expires: 600", f"Contact: <{here}>", proof)
    await it.send(request("SUBSCRIBE", *rows, uri=ALICE, via=via, call_id=f"watch-{it.transport}"))
    assert (await it.receive()).startswith(b"SIP/2.0 200 ")
    notify = await it.receive()
    assert notify.startswith(b"NOTIFY ")
    echoed = [
        row for row in notify.split(b"\r\n") if row.startswith((b"Via:", b"From:", b"To:", b"Call-ID:", b"CSeq:"))
    ]
    await it.send(b"\r\n".join([b"SIP/2.0 200 OK", *echoed, b"Content-Length: 0", b"", b""]))


@asynccontextmanager
async def traced_server(folder: Path, hep: str) -> AsyncIterator[tuple[Server, ssl.SSLContext]]:
    """Run a server on every transport that knows alice and sends traces to a collector."""
    with sqlite3.connect(folder / "users.db") as users:
        users.execute("CREATE TABLE subscriber(username TEXT, domain TEXT, password TEXT, ha1 TEXT, ha1b TEXT)")
        users.execute("INSERT INTO subscriber VALUES ('alice', 'example.com', '', ?, '')", (HA1,))
    authority = Authority(folder)
    certificate, key = authority.certify("server", "DNS:localhost")
    async with serving(
        folder,
        listen=tuple(f"{transport}:127.0.0.1:0" for transport in TRANSPORTS),
        auth=AuthSection(enabled=True, algorithms=("MD5",), db_url=f"sqlite:///{folder}/users.db"),
        tls=TlsSection(certificate=str(certificate), key=str(key)),
        websocket=WebsocketSection(origins=("*",)),
        trace=TraceSection(hep=hep, capture_id=77),
    ) as server:
        yield server, ssl.create_default_context(cafile=str(authority.ca))


def shown(octets: bytes) -> bytes:
    """Return a message as a trace shows it."""
    for name in (b'response="', b'rspauth="'):
        head, mark, rest = octets.partition(name)
        octets = head + mark + b"*" * 32 + rest[32:] if mark else octets
    return octets


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_every_message_is_traced_as_it_passed(tmp_path: Path, transport: str) -> None:
    """REGISTER, 401, REGISTER, 200, SUBSCRIBE, 200, NOTIFY, 200: SIP without TLS and WebSocket, both ways, in order."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(10)
        before = time.time()
        where = f"udp:127.0.0.1:{collector.getsockname()[1]}"
        async with asyncio.timeout(30), traced_server(tmp_path, where) as (server, context):
            id = server.traces.start("alice@example.com", 60, 8, True).id
            async with phone(server, transport, context) as it:
                await talk(it)
                messages: list[TracedMessage] = []
                while len(messages) < 8:
                    found = await server.traces.read(id, len(messages), 5)
                    assert found is not None
                    messages += found[2]
        assert [(one.is_sent, one.octets) for one in messages] == [(sent, shown(octets)) for sent, octets in it.passed]
        first_lines = [one.octets.split(b" ")[0 if one.octets[:4] != b"SIP/" else 1] for one in messages]
        assert first_lines == [b"REGISTER", b"401", b"REGISTER", b"200", b"SUBSCRIBE", b"200", b"NOTIFY", b"200"]
        for message in messages:
            ends = (it.remote, it.local) if message.is_sent else (it.local, it.remote)
            assert (message.transport, message.source, message.destination) == (transport, *ends)
            packet = chunks(collector.recv(65536))
            assert packet[2] == (b"\x11" if transport == "udp" else b"\x06")
            assert packet[15] == message.octets
            assert packet[17] == parse_message(message.octets).call_id.encode()
            assert (packet[3], packet[7]) == (socket.inet_aton(ends[0][0]), ends[0][1].to_bytes(2))
            assert (packet[4], packet[8]) == (socket.inet_aton(ends[1][0]), ends[1][1].to_bytes(2))
            assert packet[12] == (77).to_bytes(4)
            at = int.from_bytes(packet[9]) + int.from_bytes(packet[10]) / 1e6
            assert before - 0.001 <= at == pytest.approx(message.time, abs=1e-6)
        assert messages == sorted(messages, key=lambda one: one.time)


async def test_what_is_malformed_or_comes_again_is_traced_too(tmp_path: Path) -> None:
    """A datagram that is no SIP, one that is sent twice with its two answers, and a stream that loses its framing."""
    async with asyncio.timeout(30), serving(tmp_path, listen=("udp:127.0.0.1:0", "tcp:127.0.0.1:0")) as server:
        id = server.traces.start("127.0.0.0/8", 60, 100, False).id
        again = request("REGISTER", contact(), via="127.0.0.1:5060;rport")
        async with phone(server, "udp", None) as it:
            await it.write(b"\xffnonsense")
            await it.write(b"\r\n\r\n")
            for _ in range(2):
                await it.write(again)
                assert (await it.receive()).startswith(b"SIP/2.0 200 ")
        bad = request("OPTIONS", via="127.0.0.1:5060").replace(b"Content-Length: 0", b"Content-Length: -1")
        async with phone(server, "tcp", None) as it:
            await it.write(bad.replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP"))
            assert (await it.receive()).startswith(b"SIP/2.0 400 ")
        found = await server.traces.read(id, 0, 5)
        assert found is not None
        assert [(one.is_sent, one.transport, one.octets[:9]) for one in found[2]] == [
            (False, "udp", b"\xffnonsense"),
            (False, "udp", b"REGISTER "),
            (True, "udp", b"SIP/2.0 2"),
            (False, "udp", b"REGISTER "),
            (True, "udp", b"SIP/2.0 2"),
            (False, "tcp", b"OPTIONS s"),
            (True, "tcp", b"SIP/2.0 4"),
        ]


async def test_without_a_trace_nothing_is_kept(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        async with phone(server, "udp", None) as it:
            await it.write(request("REGISTER", contact(), via="127.0.0.1:5060;rport"))
            await it.receive()
        assert server.statistics()["trace"] == {"running": 0, "messages": 0, "exported": 0, "export_drops": 0}


async def test_a_collector_that_cannot_be_is_a_configuration_error(tmp_path: Path) -> None:
    section = TraceSection(hep="udp:127.0.0.1:9060", password_file=str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match=r"trace\.password_file: .*missing: No such file"):
        async with serving(tmp_path, trace=section):
            pass


@pytest.mark.parametrize("hep", ["127.0.0.1:9060", "tcp:127.0.0.1:9060", "udp:127.0.0.1:0", "udp:collector:9060"])
def test_a_collector_is_an_address_over_udp(hep: str) -> None:
    with pytest.raises(ConfigError, match=r"trace\.hep .* must be udp:ADDRESS:PORT"):
        TraceSection(hep=hep)


def test_a_password_is_for_somebody() -> None:
    with pytest.raises(ConfigError, match=r"trace\.password_file needs trace\.hep"):
        TraceSection(password_file="secret")
