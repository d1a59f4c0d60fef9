"""SIP over WebSocket, without sockets and with them (standards.md: TRN-12, TRN-13, TRN-14, SEC-5)."""

import asyncio
import ssl
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from reginfo.config import TlsSection
from reginfo.net.tls import Tls
from reginfo.net.websocket import MAX_FRAMES, MAX_OPENING, WebSocketFraming
from tests.certificates import Authority
from tests.net.loops import on_uvloop
from tests.net.test_stream import OPTIONS, Site

LIMIT = 1000
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\x37\xfa\x21\x3d"
TEXT, BINARY, CONT, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
MESSAGE = b"MESSAGE sip:example.com SIP/2.0\r\n\r\n"


def opening(
    *headers: str,
    line: str = "GET / HTTP/1.1",
    without: tuple[str, ...] = (),
) -> bytes:
    """Write what a browser sends first; headers replace those of the same name."""
    usual = {
        "Host": "example.com",
        "Upgrade": "websocket",
        "Connection": "keep-alive, Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "sip",
    }
    for header in headers:
        name, _, value = header.partition(": ")
        usual[name] = value
    rows = [f"{name}: {value}" for name, value in usual.items() if name not in without]
    return "\r\n".join([line, *rows, "", ""]).encode()


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """Write a frame of a client (RFC 6455 section 5.2)."""
    head = bytes([fin << 7 | reserved | opcode])
    size = len(payload)
    bit = masked << 7
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    return head + MASK + bytes(octet ^ MASK[i % 4] for i, octet in enumerate(payload))


def framing(*origins: str) -> WebSocketFraming:
    return WebSocketFraming(LIMIT, origins)


def opened() -> WebSocketFraming:
    one = framing()
    assert one.feed(opening()) == []
    assert one.take_reply().startswith(b"HTTP/1.1 101 ")
    return one


def test_the_opening_of_the_rfc_is_answered_as_it_says() -> None:
    """TRN-12: the vector of RFC 6455 section 1.3, and the sub-protocol (RFC 7118 section 4.2)."""
    one = framing()
    assert one.partial
    assert one.is_opening
    assert not one.is_open
    assert one.feed(opening()) == []
    head = one.take_reply().decode().split("\r\n")
    assert head[0] == "HTTP/1.1 101 Switching Protocols"
    assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
    assert "Sec-WebSocket-Protocol: sip" in head
    assert "Upgrade: websocket" in head
    assert "Connection: Upgrade" in head
    assert (one.partial, one.is_opening, one.is_open, one.is_over) == (False, False, True, False)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (opening("Sec-WebSocket-Protocol: chat, sip"), 101),
        (opening("Upgrade: WebSocket"), 101),
        (opening(line="GET /sip?x=1 HTTP/1.1"), 101),
        (opening(without=("Sec-WebSocket-Protocol",)), 400),
        (opening("Sec-WebSocket-Protocol: chat"), 400),
        (opening("Sec-WebSocket-Protocol: ;;"), 400),
        (opening(without=("Sec-WebSocket-Key",)), 400),
        (opening("Sec-WebSocket-Key: AAAA"), 400),
        (opening("Sec-WebSocket-Key: not base64"), 400),
        (opening(without=("Sec-WebSocket-Version",)), 400),
        (opening("Sec-WebSocket-Version: 8"), 426),
        (opening("Sec-WebSocket-Version: 14"), 426),
        (opening(without=("Upgrade",)), 426),
        (opening("Connection: close"), 426),
        (opening(line="POST / HTTP/1.1"), 405),
        (opening(line="GET / HTTP/1.0"), 505),
        (opening(line="GET / HTTP/2"), 400),
        (opening(line="GET /"), 400),
        (opening("Content-Length: 5"), 400),
        (opening("Transfer-Encoding: chunked"), 400),
        (opening("Origin: https://evil.example"), 403),
        (OPTIONS, 400),
        (b"\x16\x03\x01\x02\x00\x01\n", 400),
        (opening(line="GET /" + "x" * 9000 + " HTTP/1.1"), 414),
        (opening("Cookie: " + "x" * 9000), 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 300 + b"\r\n", 431),
    ],
)
def test_an_opening_gets_its_status(request_: bytes, status: int) -> None:
    """TRN-12: and nothing is read any more where it is not 101, also not what came with it."""
    one = framing()
    messages = one.feed(request_ + frame(MESSAGE))
    reply = one.take_reply()
    assert reply.startswith(f"HTTP/1.1 {status} ".encode())
    assert (messages, one.is_over) == (([MESSAGE], False) if status == 101 else ([], True))
    if status == 426 and b"Version: 1" not in request_.replace(b"13", b""):
        assert b"Upgrade: websocket\r\n" in reply or b"Sec-WebSocket-Version: 13\r\n" in reply


def test_an_opening_that_never_ends_is_refused() -> None:
    """SEC-5: as long as a header section may be, and not an octet longer."""
    start = opening()[:-2]
    rows = b"".join(b"X: " + b"y" * 1000 + b"\r\n" for _ in range(15))
    start += rows + b"X: " + b"y" * (MAX_OPENING - len(start) - len(rows) - 3)
    assert len(start) == MAX_OPENING
    one = framing()
    for octet in start:
        assert one.feed(bytes([octet])) == []
    assert (one.take_reply(), one.is_over) == (b"", False)
    one.feed(b"y")
    assert one.take_reply().startswith(b"HTTP/1.1 431 ")
    assert one.is_over


@pytest.mark.parametrize(
    ("origins", "origin", "status"),
    [
        ((), None, 101),
        ((), "https://phone.example.com", 403),
        ((), "null", 403),
        (("https://phone.example.com",), "https://phone.example.com", 101),
        (("https://phone.example.com",), "http://phone.example.com", 403),
        (("https://phone.example.com",), "https://phone.example.com:8443", 403),
        (("https://phone.example.com",), "https://phone.example.com.evil.example", 403),
        (("https://phone.example.com",), None, 101),
        (("*",), "https://anybody.example", 101),
    ],
)
def test_only_listed_pages_may_connect(origins: tuple[str, ...], origin: str | None, status: int) -> None:
    """TRN-12: Origin is checked; what sends none is no page."""
    one = framing(*origins)
    one.feed(opening(*([] if origin is None else [f"Origin: {origin}"])))
    assert one.take_reply().startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_text_and_octets_are_messages(opcode: int) -> None:
    """TRN-13: one SIP message in each, and Content-Length is nobody's business here."""
    one = opened()
    assert one.feed(frame(MESSAGE, opcode) + frame(OPTIONS, opcode)) == [MESSAGE, OPTIONS]
    assert one.take_reply() == b""


def test_what_is_sent_is_text_if_it_can_be() -> None:
    """TRN-13: any octet that is not UTF-8 makes it binary; frames of a server are not masked."""
    one = opened()
    assert one.wrap("é".encode()) == b"\x81\x02" + "é".encode()
    assert one.wrap(b"\xff") == b"\x82\x01\xff"
    assert one.wrap(b"x" * 200) == b"\x81\x7e\x00\xc8" + b"x" * 200


def test_keep_alives_are_answered() -> None:
    """TRN-13, TRN-15: CRLFCRLF gets CRLF, a ping its pong, and neither is a message."""
    one = opened()
    assert one.feed(frame(b"\r\n\r\n")) == []
    assert one.take_reply() == b"\x81\x02\r\n"
    assert one.feed(frame(b"\r\n")) == []
    assert one.take_reply() == b""
    assert one.feed(frame(b"hello", PING)) == []
    assert one.take_reply() == b"\x8a\x05hello"
    assert one.feed(frame(b"", PONG)) == []
    assert (one.take_reply(), one.partial) == (b"", False)
    assert one.probe() == b"\x89\x00"


NOT_TEXT = b"\xff\xfe"


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (frame(MESSAGE, masked=False), 1002),
        (frame(b"", PING, masked=False), 1002),
        (frame(MESSAGE, 3), 1002),
        (frame(MESSAGE, 11), 1002),
        (frame(MESSAGE, reserved=0x40), 1002),
        (frame(MESSAGE, reserved=0x10), 1002),
        (frame(MESSAGE, CONT), 1002),
        (frame(b"a", fin=False) + frame(b"b"), 1002),
        (frame(b"a", PING, fin=False), 1002),
        (frame(b"a" * 126, PING), 1002),
        (frame(b"a", CLOSE), 1002),
        (frame((999).to_bytes(2, "big"), CLOSE), 1002),
        (frame(NOT_TEXT), 1007),
        (frame(b"a\xc3", fin=False) + frame(b"a", CONT), 1007),
        (frame((1000).to_bytes(2, "big") + NOT_TEXT, CLOSE), 1007),
        (frame(b"x" * (LIMIT + 1)), 1009),
        (frame(b"x" * LIMIT, fin=False) + frame(b"x", CONT), 1009),
        (b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff" + MASK, 1009),
        (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff" + MASK, 1009),
        (frame((1000).to_bytes(2, "big"), CLOSE), 1000),
        (frame(b"", CLOSE), None),
    ],
)
def test_hostile_frames_close_with_their_code(octets: bytes, code: int | None) -> None:
    """TRN-13: unmasked 1002, no UTF-8 in text 1007, too large 1009; what follows is not read."""
    one = opened()
    assert one.feed(frame(MESSAGE) + octets + frame(MESSAGE)) == [MESSAGE]
    reply = one.take_reply()
    assert reply[0] == 0x88
    assert (int.from_bytes(reply[2:4], "big") if code else None) == code
    assert len(reply) == 2 + reply[1]
    assert one.is_over
    assert one.feed(frame(MESSAGE)) == []


def test_as_long_as_allowed_is_not_too_long() -> None:
    """TRN-13: the cap at n; n+1 is above."""
    one = opened()
    assert one.feed(frame(b"x" * LIMIT)) == [b"x" * LIMIT]
    assert one.feed(frame(b"x" * (LIMIT - 1), fin=False) + frame(b"x", CONT)) == [b"x" * LIMIT]


def test_empty_fragments_cost_nothing() -> None:
    """SEC-5: their number has no bound, so they must not be kept."""
    one = opened()
    one.feed(frame(b"a", fin=False))
    for _ in range(1000):
        assert one.feed(frame(b"", CONT, fin=False)) == []
    assert one.partial
    assert one.feed(frame(b"b", CONT)) == [b"ab"]
    assert not one.partial


@pytest.mark.parametrize(
    "small", [frame(b"", PING), frame(b"\r\n\r\n"), frame(b"x")], ids=["ping", "crlf", "one octet"]
)
def test_a_flood_of_small_frames_is_cut_off(small: bytes) -> None:
    """SEC-5: each costs microseconds, and one read may bring ten thousand."""
    one = opened()
    one.feed(small * MAX_FRAMES)
    assert not one.is_over
    one.feed(small * MAX_FRAMES)  # another read
    assert not one.is_over
    one.take_reply()
    one.feed(small * (MAX_FRAMES + 1))
    assert one.is_over
    assert one.take_reply().endswith(b"\x88\x02\x03\xf0")  # 1008
    taken = len(one.feed(small * 10_000))
    assert taken == 0


@given(
    message=st.text(min_size=1, max_size=60).map(str.encode).filter(lambda octets: octets.strip(b"\r\n")),
    opcode=st.sampled_from([TEXT, BINARY]),
    cuts=st.lists(st.integers(0, 240), max_size=6),
    step=st.integers(1, 40),
    pinged=st.booleans(),
)
def test_however_a_message_is_fragmented_it_is_the_same(
    message: bytes, opcode: int, cuts: list[int], step: int, pinged: bool
) -> None:
    """TRN-13: fragments at any octet, also inside a character, with control frames between, in reads of any size."""
    edges = [0, *sorted({cut for cut in cuts if cut < len(message)}), len(message)]
    pieces = [message[a:b] for a, b in pairwise(edges)]
    octets = b""
    for i, piece in enumerate(pieces):
        octets += frame(piece, opcode if i == 0 else CONT, fin=i == len(pieces) - 1)
        if pinged and i < len(pieces) - 1:
            octets += frame(b"p", PING)
    one = opened()
    got = [whole for at in range(0, len(octets), step) for whole in one.feed(octets[at : at + step])]
    assert got == [message]
    assert one.take_reply() == (b"\x8a\x01p" * (len(pieces) - 1) if pinged else b"")
    assert not one.partial


def test_every_cut_of_an_opening_and_a_message() -> None:
    """TRN-12, TRN-13: whatever the boundaries of the reads."""
    octets = opening() + frame(MESSAGE[:5], fin=False) + frame(MESSAGE[5:], CONT)
    for cut in range(len(octets) + 1):
        one = framing()
        assert one.feed(octets[:cut]) + one.feed(octets[cut:]) == [MESSAGE]


@given(st.binary(max_size=300))
def test_any_octets_end_in_messages_or_a_close(octets: bytes) -> None:
    """F14: nothing raises, before and after the opening."""
    one = opened()
    one.feed(octets)
    one.take_reply()
    fresh = framing()
    fresh.feed(octets)
    assert fresh.feed(b"\r\n\r\n") == []
    fresh.take_reply()
    assert one.farewell() == b"" or one.farewell() == b""


# -- over sockets ---------------------------------------------------------------------------------------


async def _converse(site: Site, uri: str, tls: ssl.SSLContext | None) -> None:
    transport = uri.partition(":")[0]
    async with connect(uri, subprotocols=["sip"], ssl=tls, origin="https://phone.example.com") as phone:  # type: ignore[list-item, arg-type]
        assert phone.subprotocol == "sip"
        await phone.send(OPTIONS.decode())
        await phone.send([OPTIONS[:50], OPTIONS[50:]])
        batch = await site.take(2)
        flow = batch[1][1]
        assert [octets for octets, _ in batch] == [OPTIONS, OPTIONS]
        assert (flow.transport, flow.reliable, flow.stream) == (transport, True, False)
        assert site.server.send([(b"text", flow), (b"\xff" * 100_000, flow)]) == []
        assert await phone.recv() == "text"
        assert await phone.recv() == b"\xff" * 100_000
        await (await phone.ping())
    assert await site.lost.get() == flow
    assert site.server.send([(b"late", flow)]) == [(b"late", flow)]


@pytest.mark.network
@on_uvloop
async def test_a_phone_in_a_browser_is_served_over_ws() -> None:
    """TRN-12, TRN-13, TRN-14: what is sent to it takes its connection, or comes back."""
    allowed = lambda: WebSocketFraming(262_144, ["https://phone.example.com"])  # noqa: E731
    async with Site(transport="ws", framing=allowed) as site:
        await _converse(site, f"ws://127.0.0.1:{site.server.local[1]}/", None)


@pytest.mark.network
def test_a_phone_in_a_browser_is_served_over_wss(tmp_path: Path) -> None:
    """TRN-14: the certificate follows the rules of HTTPS (RFC 7118 section 9.1)."""
    authority = Authority(tmp_path)
    certificate, key = authority.certify("web", "DNS:localhost")
    context = ssl.create_default_context(cafile=str(authority.ca))

    @on_uvloop
    async def check() -> None:
        site = Site(
            transport="wss",
            tls=Tls.load(TlsSection(certificate=str(certificate), key=str(key))),
            framing=lambda: WebSocketFraming(262_144, ["*"]),
        )
        async with site:
            await _converse(site, f"wss://localhost:{site.server.local[1]}/", context)

    check()


@pytest.mark.network
@on_uvloop
async def test_the_server_says_that_it_leaves() -> None:
    """RFC 6455 section 7.4.1: 1001."""
    async with Site(transport="ws", framing=lambda: WebSocketFraming(LIMIT, [])) as site:
        reader, writer = await asyncio.open_connection(*site.server.local)
        writer.write(opening())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(MESSAGE))
        await site.take(1)
        await site.server.close()
        assert await reader.read() == b"\x88\x02\x03\xe9"
        writer.close()


@pytest.mark.network
@on_uvloop
async def test_a_refused_page_is_told_and_the_connection_closed() -> None:
    """TRN-12: 403 leaves before the end."""
    async with Site(transport="ws", framing=lambda: WebSocketFraming(LIMIT, [])) as site:
        reader, writer = await asyncio.open_connection(*site.server.local)
        writer.write(opening("Origin: https://evil.example"))
        assert (await reader.read()).startswith(b"HTTP/1.1 403 ")
        writer.close()
        await site.lost.get()
        assert site.batches.empty()
