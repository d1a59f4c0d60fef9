"""The HTTP server without a SIP server around it: connections, and streams that break off."""

import asyncio
import gc
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from reginfo.admin import http
from reginfo.admin.http import HttpServer
from reginfo.admin.rest import EVENTS, Nothing, Route, Stream
from reginfo.admin.token import Token
from reginfo.errors import StoreUnavailable
from tests.server_fixture import PATIENCE

pytestmark = pytest.mark.network

TOKEN = "0123456789abcdef"


async def _say(request: web.Request) -> web.StreamResponse:
    return web.Response(text="well")


@asynccontextmanager
async def serving(octets: Callable[[], AsyncGenerator[bytes]]) -> AsyncIterator[HttpServer]:
    async def stream(given: Nothing) -> Stream:
        return Stream(EVENTS, octets())

    routes = [Route("GET", "/stream", "Stream", stream, Nothing, None)]
    server = HttpServer("127.0.0.1", 0, Token(TOKEN), routes, {}, "1", {"/healthz": _say})
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def nothing() -> AsyncGenerator[bytes]:
    yield b""


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


async def in_time(wanted: Awaitable[bytes]) -> bytes:
    async with asyncio.timeout(PATIENCE):
        return await wanted


async def test_nothing_is_kept_of_connections_that_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_REQUEST_SECONDS", 0.05)
    async with serving(nothing) as server:
        reader, writer = await asyncio.open_connection(*server.local)
        looked = asyncio.get_running_loop().time() + 0.2
        while asyncio.get_running_loop().time() < looked:
            writer.write(request("/healthz"))
            await in_time(reader.readuntil(b"well"))
        serving_it = server._runner.server
        assert serving_it is not None
        protocol = next(iter(serving_it.connections))
        writer.close()
        await until(lambda: not serving_it.connections)
        kind = type(protocol)
        del protocol
        gc.collect()
        assert not [one for one in gc.get_objects() if type(one) is kind]


async def test_who_says_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_REQUEST_SECONDS", 0.05)
    async with serving(nothing) as server:
        reader, writer = await asyncio.open_connection(*server.local)
        writer.write(request("/healthz")[:-2])
        assert await in_time(reader.read()) == b""
        writer.close()


async def test_a_client_that_does_not_read_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield bytes(65_536)
        finally:
            ended.set()

    monkeypatch.setattr(http, "UNREAD_SECONDS", 0.5)
    async with serving(endless) as server:
        with socket.create_connection(server.local) as client:
            client.sendall(request("/stream"))
            async with asyncio.timeout(PATIENCE):
                await ended.wait()


async def test_a_stream_that_fails_breaks_off(caplog: pytest.LogCaptureFixture) -> None:
    async def failing() -> AsyncGenerator[bytes]:
        yield b"piece\n"
        raise StoreUnavailable("the disk is full", retry_after=5)

    async with serving(failing) as server:
        reader, writer = await asyncio.open_connection(*server.local)
        writer.write(request("/stream"))
        answer = b""
        try:
            while piece := await in_time(reader.read(4096)):
                answer += piece
        except ConnectionResetError:
            pass
        writer.close()
    assert (answer.count(b"HTTP/1.1"), answer.endswith(b"0\r\n\r\n")) == (1, False)
    assert [record.getMessage() for record in caplog.records] == [
        "stream broke off path=/stream reason=the disk is full"
    ]
