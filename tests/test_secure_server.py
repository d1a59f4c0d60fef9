"""A whole server over TLS and WebSocket (standards.md: TRN-11, TRN-14, DNS-6, SEC-1, SUB-17)."""

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace
from websockets.asyncio.client import connect

from reginfo.config import Config, NotifierSection, PeerSection, PuaReginfoSection, TlsSection, WebsocketSection
from reginfo.errors import ConfigError
from reginfo.fast import SipMessage, parse_message, parse_reginfo
from reginfo.server import Server
from tests.certificates import Authority
from tests.harness import contact, request
from tests.test_server import serving

pytestmark = pytest.mark.network

DOCUMENT = (
    b'<?xml version="1.0"?><reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="full">'
    b'<registration aor="sip:alice@example.com" id="r" state="active"><contact id="c" state="active" '
    b'event="registered"><uri>sip:alice@192.0.2.7</uri></contact></registration></reginfo>'
)

_ECHOED = re.compile("(?:Via|From|To|Call-ID|CSeq):")


@dataclass
class Files:
    """Whom the tests trust, and their server's certificate."""

    authority: Authority
    tls: TlsSection

    def client(self, name: str = "", alternatives: str = "") -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.ca))
        if name:
            context.load_cert_chain(*self.authority.certify(name, alternatives))
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    authority = Authority(tmp_path)
    certificate, key = authority.certify("server", "DNS:localhost")
    return Files(
        authority,
        TlsSection(certificate=str(certificate), key=str(key), ca=str(authority.ca), verify_client="optional"),
    )


class TlsPhone:
    """A client over TLS, one message at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self) -> SipMessage:
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        return parse_message(head + await self._reader.readexactly(length))

    async def ask(self, octets: bytes) -> SipMessage:
        self._writer.write(octets.replace(b"SIP/2.0/UDP", b"SIP/2.0/TLS"))
        return await self.receive()

    def send(self, octets: bytes) -> None:
        self._writer.write(octets)


@asynccontextmanager
async def tls_phone(server: Server, context: ssl.SSLContext) -> AsyncIterator[TlsPhone]:
    port = next(listener.port for listener in server.listeners if listener.transport == "tls")
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    yield TlsPhone(reader, writer)
    writer.close()


def subscribe(where: str) -> bytes:
    return request("SUBSCRIBE", "Event: reg", "Expires: 600", f"Contact: <{where}>", uri="sip:alice@example.com")


async def test_a_watcher_in_a_browser_is_told_over_its_own_connection(tmp_path: Path) -> None:
    """TRN-11, TRN-14: its hosts are made up and never asked for; Via says WS, our Contact transport=ws."""
    async with (
        asyncio.timeout(10),
        serving(tmp_path, listen=("ws:127.0.0.1:0",), websocket=WebsocketSection(origins=("*",))) as server,
        connect(f"ws://127.0.0.1:{server.listeners[0].port}/", subprotocols=["sip"]) as browser,  # type: ignore[list-item]
    ):

        async def receive() -> SipMessage:
            return parse_message(await browser.recv(decode=False))

        async def take_notify() -> tuple[SipMessage, str]:
            octets = await browser.recv(decode=False)
            rows = [row for row in octets.decode().split("\r\n\r\n")[0].split("\r\n") if _ECHOED.match(row)]
            return parse_message(octets), "\r\n".join(["SIP/2.0 200 OK", *rows, "", ""])

        def over_ws(octets: bytes) -> str:
            bare = octets.replace(b"SIP/2.0/UDP 192.0.2.10:5060", b"SIP/2.0/WS df7jal23ls0d.invalid")
            return bare.replace(b"Content-Length: 0\r\n", b"").decode()

        await browser.send(over_ws(request("REGISTER", contact("sip:alice@df7jal23ls0d.invalid;transport=ws"))))
        assert (await receive()).status == 200
        await browser.send(over_ws(subscribe("sip:x@df7jal23ls0d.invalid;transport=ws")))
        accepted = await receive()
        assert accepted.status == 200
        assert accepted.contacts[0].uri.endswith(";transport=ws;gr")
        for cseq in (1, 2):
            notify, answer = await take_notify()
            assert (notify.method, notify.top_via.transport) == ("NOTIFY", "WS")
            assert notify.request_uri == "sip:x@df7jal23ls0d.invalid;transport=ws"
            await browser.send(answer)
            if cseq == 1:  # a refresh in the dialog is told as well
                to = f"To: <sip:alice@example.com>;tag={accepted.to.tag}"
                again = subscribe("sip:x@df7jal23ls0d.invalid;transport=ws").replace(
                    b"To: <sip:alice@example.com>", to.encode()
                )
                await browser.send(over_ws(again.replace(b"CSeq: 1", b"CSeq: 2")))
                assert (await receive()).status == 200
        await asyncio.sleep(0)
        assert server.statistics()["subscriptions"]["notifier"] == 1
        await browser.close()
        while server.statistics()["subscriptions"]["notifier"]:  # it can be told no more
            await asyncio.sleep(0.01)


async def test_a_watcher_over_tls_is_told_over_its_connection(tmp_path: Path, files: Files) -> None:
    """TRN-11, RFC 5626 section 5.3: whatever its Contact says; ours is a sips URI."""
    async with (
        asyncio.timeout(10),
        serving(tmp_path, listen=("tls:127.0.0.1:0",), tls=files.tls) as server,
        tls_phone(server, files.client()) as phone,
    ):
        accepted = await phone.ask(subscribe("sip:x@192.0.2.1:5061;transport=tls"))
        assert accepted.status == 200
        assert accepted.contacts[0].uri == f"sips:127.0.0.1:{server.listeners[0].port};gr"
        notify = await phone.receive()
        assert (notify.method, notify.top_via.transport) == ("NOTIFY", "TLS")


async def test_a_peer_is_known_by_its_certificate(tmp_path: Path, files: Files) -> None:
    """DNS-6, SUB-17: what it proves to be counts, not where it comes from."""

    def publish() -> bytes:
        return request(
            "PUBLISH", "Event: reg", "Expires: 60", "Content-Type: application/reginfo+xml",
            uri="sip:alice@example.com", body=DOCUMENT,
        )  # fmt: skip

    peer = PeerSection(name="west", uri="sip:127.0.0.1:5099", tls_name="West.example.net")
    async with (
        asyncio.timeout(10),
        serving(tmp_path, listen=("tls:127.0.0.1:0", "tcp:127.0.0.1:0"), tls=files.tls, peer=(peer,)) as server,
    ):
        async with tls_phone(server, files.client("west", "URI:sip:west.example.net")) as phone:
            assert (await phone.ask(publish())).status == 200
        for context in (files.client(), files.client("east", "DNS:east.example.net")):
            async with tls_phone(server, context) as phone:
                assert (await phone.ask(publish())).status == 403


async def test_another_server_is_followed_over_tls(
    tmp_path: Path, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    """DNS-6: only whose certificate is of the host of the URI is asked; the NOTIFYs come by the connection of that."""
    certificate, key = files.authority.certify("other", "DNS:other.example")
    impostor = TlsSection(certificate=str(certificate), key=str(key))
    folders = [tmp_path / name for name in ("known", "impostor", "follower")]
    for folder in folders:
        folder.mkdir()
    over_tls = ("tls:127.0.0.1:0",)
    async with (
        asyncio.timeout(20),
        serving(folders[0], listen=over_tls, tls=files.tls, notifier=NotifierSection(allow=("*",))) as known,
        serving(folders[1], listen=over_tls, tls=impostor) as other,
    ):
        async with tls_phone(known, files.client()) as phone:
            assert (await phone.ask(request("REGISTER", contact()))).status == 200
        uris = [f"sips:localhost:{server.listeners[0].port}" for server in (known, other)]
        peers = (
            PeerSection(name="west", uri=uris[0], domains=("example.com",), tls_name="localhost"),
            PeerSection(name="east", uri=uris[1], domains=("example.org",)),
        )
        silent = PuaReginfoSection(publish_reginfo=False)
        async with serving(folders[2], listen=over_tls, tls=files.tls, peer=peers, pua_reginfo=silent) as follower:
            await follower.reginfo_subscribe("sip:alice@example.com")
            while await follower.location.lookup("sip:alice@example.com") is None:
                await asyncio.sleep(0.01)
            await follower.reginfo_subscribe("sip:alice@example.org")
            while "tls peer is somebody else" not in caplog.text:
                await asyncio.sleep(0.01)
            states = {aor: state for aor, _, state, _ in follower.followed()}
            assert states["sip:alice@example.com"] == "active"
            assert states["sip:alice@example.org"] != "active"
            assert other.statistics()["requests"]["SUBSCRIBE"] == 0


async def test_certificates_are_read_again(tmp_path: Path, files: Files, caplog: pytest.LogCaptureFixture) -> None:
    """SEC-1: SIGHUP; what cannot be used is named and the old ones stay."""
    caplog.set_level(logging.INFO, logger="reginfo.server.sockets")

    async def serial(server: Server) -> object:
        port = server.listeners[0].port
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=files.client(), server_hostname="localhost")
        certificate = writer.get_extra_info("peercert")
        writer.close()
        return certificate["serialNumber"]

    async with asyncio.timeout(10), serving(tmp_path, listen=("tls:127.0.0.1:0",), tls=files.tls) as server:
        first = await serial(server)
        files.authority.certify("server", "DNS:localhost,DNS:example.com")
        server.reload(server.config)
        second = await serial(server)
        assert second != first
        Path(files.tls.certificate).write_text("half of a f")
        server.reload(server.config)
        assert await serial(server) == second
        assert [one.levelname for one in caplog.records if one.name == "reginfo.server.sockets"] == ["INFO", "ERROR"]
        assert "certificate is of none of our domains names=localhost" in caplog.text
        assert "server.pem holds no certificate in PEM form" in caplog.text


async def test_a_server_without_a_usable_certificate_does_not_start(tmp_path: Path, files: Files) -> None:
    """SEC-1: before anything listens."""
    broken = replace(files.tls, certificate=str(tmp_path / "absent.pem"))
    with pytest.raises(ConfigError, match=r"absent\.pem cannot be read"):
        async with serving(tmp_path, listen=("tls:127.0.0.1:0",), tls=broken):
            pass
    with pytest.raises(ConfigError, match=r"needs tls\.certificate"):
        Config(listen=("wss:127.0.0.1:0",))


def test_the_document_of_these_tests_can_be_read() -> None:
    assert parse_reginfo(DOCUMENT).registrations[0].aor == "sip:alice@example.com"
