"""Streamed answers of the HTTP server, and clients that do not read them."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Self

import pytest

from reginfo.admin import http
from reginfo.admin.http import HttpServer
from reginfo.admin.rest import NDJSON, Nothing, Route, Stream
from reginfo.admin.token import Token
from tests.server_fixture import PATIENCE

pytestmark = pytest.mark.network

TOKEN = "t" * 43
PIECE = b"x" * 65_536


class Endless:
    """An answer that never ends, unless somebody hangs up."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def handle(self, given: Nothing) -> Stream:
        return Stream(NDJSON, self._octets())

    async def _octets(self) -> AsyncGenerator[bytes]:
        try:
            while True:
                yield PIECE
                await asyncio.sleep(0)
        finally:
            self.ended.set()


@pytest.fixture
async def endless() -> Endless:
    return Endless()


@pytest.fixture
async def server(endless: Endless) -> AsyncIterator[HttpServer]:
    route = Route("GET", "/endless", "", endless.handle, Nothing, None, streams=((NDJSON, Nothing),))
    server = HttpServer("127.0.0.1", 0, Token(TOKEN), [route], {}, "0", {})
    await server.start()
    yield server
    await server.close()


class Client:
    """A connection that sends octets, and reads only when told."""

    def __init__(self, server: HttpServer) -> None:
        self._socket = socket.create_connection(server.local)
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def send(self, line: str, more: str = "\r\n") -> None:
        head = f"{line} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n{more}"
        await asyncio.get_running_loop().sock_sendall(self._socket, head.encode())

    async def receive(self) -> bytes:
        """Return what comes next, nothing at the end."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.get_running_loop().sock_recv(self._socket, 1024)
        except ConnectionResetError:
            return b""


async def test_a_stream_ends_with_its_client(server: HttpServer, endless: Endless) -> None:
    with Client(server) as client:
        await client.send("GET /endless")
        assert (await client.receive()).startswith(b"HTTP/1.1 200 ")
    async with asyncio.timeout(PATIENCE):
        await endless.ended.wait()


async def test_a_body_that_does_not_come_is_not_waited_for(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_SECONDS", 0.05)
    with Client(server) as client:
        await client.send("POST /RPC", "Content-Length: 9\r\n\r\n{")
        assert (await client.receive()).startswith(b"HTTP/1.1 408 ")


async def test_who_asks_for_nothing_is_hung_up_on(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_REQUEST_SECONDS", 0.05)
    with Client(server) as client:
        await client.send("GET /endless", "X-Never: ends\r\n")
        assert await client.receive() == b""


async def test_there_are_so_many_connections_at_most(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 1)
    with Client(server) as first:
        await first.send("GET /no/such")
        assert (await first.receive()).startswith(b"HTTP/1.1 404 ")
        with Client(server) as second:
            assert await second.receive() == b""


async def test_head_is_get_without_a_body(server: HttpServer) -> None:
    with Client(server) as client:
        await client.send("HEAD /openapi.json")
        head, _, body = (await client.receive()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert body == b""
