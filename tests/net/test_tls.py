"""SIP over TLS, against the standard library and `openssl` (standards.md: TRN-1, TRN-9, SEC-1, DNS-6; F15)."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from reginfo.config import TlsSection
from reginfo.errors import ConfigError
from reginfo.fast import Flow
from reginfo.net.connection import StreamLimits
from reginfo.net.tls import Tls
from tests.certificates import Authority
from tests.net.loops import on_uvloop
from tests.net.test_stream import DEFAULTS, OPTIONS, UNFRAMED, Site

pytestmark = pytest.mark.network


class Files(NamedTuple):
    """What the tests show each other."""

    folder: Path
    authority: Authority
    section: TlsSection
    client: tuple[Path, Path]
    stranger: tuple[Path, Path]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority(folder)
    certificate, key = authority.certify("server", "URI:sip:example.com,DNS:localhost")
    section = TlsSection(certificate=str(certificate), key=str(key), ca=str(authority.ca))
    client = authority.certify("client", "DNS:peer.example.net")
    return Files(folder, authority, section, client, Authority(folder, "other").certify("stranger"))


def secure(section: TlsSection, limits: StreamLimits = DEFAULTS) -> Site:
    return Site(limits, transport="tls", tls=Tls.load(section))


def trusting(files: Files, *, shown: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(files.authority.ca))
    if shown is not None:
        context.load_cert_chain(*shown)
    return context


def run(test: Callable[[], Awaitable[None]]) -> None:
    on_uvloop(test)()


async def opened(site: Site, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*site.server.local, ssl=context, server_hostname="localhost")


async def refused(site: Site, context: ssl.SSLContext) -> bool:
    """Tell whether a connection is not to be had; with TLS 1.3 that shows with the first octets only."""
    try:
        reader, writer = await opened(site, context)
        writer.write(OPTIONS)
        return await reader.read() == b""
    except (ssl.SSLError, ConnectionError):
        return True


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_messages_go_both_ways_over_tls(files: Files, version: ssl.TLSVersion) -> None:
    """SEC-1: 1.2 and 1.3; TRN-8, TRN-15: framed and kept alive as over TCP, also what is longer than a record."""

    async def check() -> None:
        context = trusting(files)
        context.minimum_version = context.maximum_version = version
        async with secure(files.section) as site:
            reader, writer = await opened(site, context)
            writer.write(OPTIONS[:100])
            await writer.drain()
            writer.write(OPTIONS[100:] + OPTIONS + b"\r\n\r\n")
            batch = await site.take(2)
            flow = batch[0][1]
            assert [octets for octets, _ in batch] == [OPTIONS, OPTIONS]
            assert (flow.transport, flow.local, flow.remote) == (
                "tls", site.server.local, writer.get_extra_info("sockname"),
            )  # fmt: skip
            assert await reader.readexactly(2) == b"\r\n"
            assert site.server.send([(b"x" * 500_000, flow), (b"end", flow)]) == []
            assert await reader.readexactly(500_003) == b"x" * 500_000 + b"end"
            assert site.server.identities(flow) == ()
            writer.close()
            assert await site.lost.get() == flow

    run(check)


@pytest.mark.parametrize(("option", "works"), [("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)])
@pytest.mark.parametrize("least", ["1.2", "1.3"])
def test_openssl_gets_what_is_allowed(files: Files, option: str, works: bool, least: str) -> None:
    """SEC-1: nothing below 1.2, and where that is wanted nothing below 1.3."""

    async def check() -> None:
        section = TlsSection(certificate=files.section.certificate, key=files.section.key, min_version=least)  # type: ignore[arg-type]
        async with secure(section) as site:
            command = [
                "openssl", "s_client", "-connect", f"127.0.0.1:{site.server.local[1]}", option, "-quiet",
                "-cipher", "DEFAULT@SECLEVEL=0",
            ]  # fmt: skip
            ask = partial(subprocess.run, command, input=OPTIONS + UNFRAMED, capture_output=True, timeout=10)
            answer = (await asyncio.get_running_loop().run_in_executor(None, ask)).stdout
            if works and (least, option) != ("1.3", "-tls1_2"):
                assert (await site.take(1))[0][0] == OPTIONS
                assert answer == b"SIP/2.0 400 Bad\r\n\r\n"
            else:
                assert answer == b""
                assert site.batches.empty()

    run(check)


@pytest.mark.parametrize(
    ("mode", "shown", "known"),
    [
        ("off", "client", ()),
        ("optional", None, ()),
        ("optional", "client", ("peer.example.net",)),
        ("required", "client", ("peer.example.net",)),
        ("optional", "stranger", None),
        ("required", "stranger", None),
        ("required", None, None),
    ],
)
def test_a_client_is_whom_its_certificate_proves(
    files: Files, mode: str, shown: str | None, known: tuple[str, ...] | None
) -> None:
    """TRN-1: mutual authentication; DNS-6: a flow has the identities of a verified certificate."""

    async def check() -> None:
        section = TlsSection(**{**{name: getattr(files.section, name) for name in ("certificate", "key", "ca")},
                                "verify_client": mode})  # fmt: skip
        context = trusting(files, shown=getattr(files, shown) if shown else None)
        async with secure(section) as site:
            if known is None:
                assert await refused(site, context)
                assert len(site.server) == 0
                assert site.lost.empty()
                return
            _, writer = await opened(site, context)
            writer.write(OPTIONS)
            flow = (await site.take(1))[0][1]
            assert site.server.identities(flow) == known
            writer.close()

    run(check)


def test_an_outgoing_connection_leads_to_its_domain_or_nowhere(files: Files) -> None:
    """DNS-6: whom the URI named is checked, not the address; a mismatch closes and is a transport error."""

    async def check() -> None:
        async with secure(files.section) as site, secure(files.section) as peer:
            local, remote = site.server.local, peer.server.local
            wrong = [Flow("tls", local, remote, domain=name) for name in ("localhost", "sip.example.com", "127.0.0.1")]
            for flow in (*wrong, Flow("tls", local, remote)):
                with pytest.raises(OSError, match=r"."):
                    await site.server.connect(flow)
                assert site.server.send([(OPTIONS, flow)]) == []
                assert await site.lost.get() == flow
            assert len(site.server) == 0
            right = Flow("tls", local, remote, domain="example.com")
            assert site.server.send([(OPTIONS, right)]) == []
            assert (await peer.take(1))[0][0] == OPTIONS
            made = await site.server.connect(right)
            assert site.server.identities(made) == ("example.com",)
            # Who has proved that may be called by its address, and under no other name (TRN-9).
            assert await site.server.connect(Flow("tls", local, remote, domain="127.0.0.1")) == made
            with pytest.raises(OSError, match=r"."):
                await site.server.connect(wrong[0])
            assert len(site.server) == 1

    run(check)


def test_a_server_nobody_vouches_for_is_not_connected_to(files: Files) -> None:
    """DNS-6: a certificate that names the domain proves nothing by itself; verify_server = false asks for none."""

    async def check() -> None:
        certificate, key = Authority(files.folder, "third").certify("forged", "URI:sip:example.com")
        forged = TlsSection(certificate=str(certificate), key=str(key))
        async with secure(forged) as peer:
            for verify in (True, False):
                section = TlsSection(certificate=files.section.certificate, key=files.section.key,
                                     ca=files.section.ca, verify_server=verify)  # fmt: skip
                async with secure(section) as site:
                    wanted = Flow("tls", site.server.local, peer.server.local, domain="example.com")
                    if verify:
                        with pytest.raises(ssl.SSLCertVerificationError):
                            await site.server.connect(wanted)
                    else:
                        await site.server.connect(wanted)

    run(check)


def test_an_accepted_connection_is_reused_for_the_domain_it_has_proved(files: Files) -> None:
    """TRN-9, DNS-6: RFC 5923."""

    async def check() -> None:
        section = TlsSection(certificate=files.section.certificate, key=files.section.key, ca=files.section.ca,
                             verify_client="required")  # fmt: skip
        async with secure(section) as site:
            reader, writer = await opened(site, trusting(files, shown=files.client))
            writer.write(OPTIONS)
            flow = (await site.take(1))[0][1]
            again = Flow("tls", site.server.local, flow.remote, domain="peer.example.net")
            assert site.server.send([(b"request", again)]) == []
            assert await reader.readexactly(7) == b"request"
            with pytest.raises(OSError, match=r"."):
                await site.server.connect(Flow("tls", site.server.local, flow.remote, domain="example.org"))
            writer.close()

    run(check)


def test_new_connections_get_new_certificates(files: Files) -> None:
    """SEC-1: those that are there go on under the old one."""

    async def check() -> None:
        def shown(writer: asyncio.StreamWriter) -> object:
            return writer.get_extra_info("peercert")["subjectAltName"]

        certificate, key = files.authority.certify("renewed", "DNS:localhost,DNS:renewed.example.com")
        async with secure(files.section) as site:
            _, first = await opened(site, trusting(files))
            site.server.tls = Tls.load(TlsSection(certificate=str(certificate), key=str(key)))
            _, second = await opened(site, trusting(files))
            assert shown(first) != shown(second)
            for writer in (first, second):
                writer.write(OPTIONS)
            assert len(await site.take(2)) == 2
            for writer in (first, second):
                writer.close()

    run(check)


def test_lost_framing_is_answered_and_what_is_no_tls_is_not(files: Files) -> None:
    """TRN-8, F15: and nobody hears of a connection that never was one."""

    async def check() -> None:
        async with secure(files.section) as site:
            reader, writer = await opened(site, trusting(files))
            writer.write(UNFRAMED)
            assert await reader.read() == b"SIP/2.0 400 Bad\r\n\r\n"
            writer.close()
            assert (await site.lost.get()).transport == "tls"
            for octets in (OPTIONS, b"\x16\x03\x01\xff\xff" + b"\0" * 100, b"GET / HTTP/1.1\r\n\r\n"):
                plain_reader, plain = await asyncio.open_connection(*site.server.local)
                plain.write(octets)
                with suppress(ConnectionError):
                    while await plain_reader.read(1024):
                        pass
                plain.close()
            assert site.lost.empty()
            assert site.batches.empty()
            assert len(site.server) == 0

    run(check)


def test_half_a_handshake_is_cut_off(files: Files) -> None:
    """SEC-5, F14: at the time for it, however slowly it drips; the clocks are tested in test_connection."""

    async def check() -> None:
        async with secure(files.section, StreamLimits(handshake=0.2)) as site:
            with socket.create_connection(site.server.local) as slow:
                slow.setblocking(False)
                slow.send(b"\x16\x03\x01")
                loop = asyncio.get_running_loop()
                with suppress(ConnectionResetError):
                    assert await loop.sock_recv(slow, 100) == b""
            assert site.server.cut == 1
            assert site.lost.empty()

    run(check)


def spoil(files: Files) -> dict[str, tuple[TlsSection, str]]:
    """Return what cannot be used, and what is said about it."""
    folder = files.folder
    good, key = Path(files.section.certificate), Path(files.section.key)
    text = folder / "text.pem"
    text.write_text("this is no certificate\n")
    broken = folder / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    over = files.authority.certify("over", "DNS:example.com", days=-1)
    locked = folder / "locked.key"
    subprocess.run(
        ["openssl", "ec", "-aes256", "-passout", "pass:x", "-in", str(key), "-out", str(locked)],
        check=True, capture_output=True,
    )  # fmt: skip
    other = files.client[1]

    def section(certificate: Path, key: Path, ca: str = "") -> TlsSection:
        return TlsSection(certificate=str(certificate), key=str(key), ca=ca)

    return {
        "absent": (section(folder / "absent.pem", key), r"tls.certificate .*absent.pem cannot be read: No such file"),
        "no key file": (section(good, folder / "absent"), r"tls.key .*absent cannot be read: No such file"),
        "text": (section(text, key), r"tls.certificate .*text.pem holds no certificate in PEM form"),
        "no key": (TlsSection(certificate=str(good)), r"tls.key .*server.pem holds no private key in PEM form"),
        "broken": (section(broken, key), r"tls.certificate .*broken.pem cannot be used: "),
        "other key": (section(good, other), r"tls.key .*client.key is not the key of .*server.pem"),
        "locked": (section(good, locked), r"tls.key .*locked.key is encrypted"),
        "over": (section(*over), r"tls.certificate .*over.pem is refused: certificate has expired"),
        "ca": (section(good, key, ca=str(text)), r"tls.ca .*text.pem holds no certificate that can be read"),
        "null": (TlsSection(certificate="a\0b"), r"tls.certificate 'a\\x00b' cannot be read: embedded null byte"),
        "no ca": (section(good, key, ca=str(folder / "no")), r"tls.ca .*no cannot be read: No such file"),
    }


@pytest.mark.parametrize(
    "case", ["absent", "no key file", "text", "no key", "broken", "other key", "locked", "over", "null", "ca", "no ca"]
)
def test_what_is_wrong_with_a_certificate_is_said(files: Files, case: str) -> None:
    """SEC-1: in words, with the key of the configuration and the file."""
    section, said = spoil(files)[case]
    with pytest.raises(ConfigError, match=said):
        Tls.load(section)


def test_whom_a_certificate_is_of_is_read(files: Files) -> None:
    """DNS-6, SEC-1: ours is known, so that it can be compared with our domains."""
    assert Tls.load(files.section).domains == ("example.com",)
