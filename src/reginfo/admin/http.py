"""HTTP for operators and their programs: resources, JSON-RPC, events, and the page that shows them.

Whoever has the token may do everything; without it there are only the page itself, which knows nothing, and what
monitoring asks for.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web

from reginfo.admin.control import MAX_REQUEST, BadArgument, Method, answer
from reginfo.admin.openapi import ACCEPT, HEADERS, JSON, PROBLEM, ProblemView, describe
from reginfo.admin.rest import EVENTS, Problem, Route, Stream
from reginfo.admin.token import Token
from reginfo.errors import ReginfoError, StoreUnavailable

logger = logging.getLogger(__name__)

_protocol = logging.getLogger(f"{__name__}.protocol")
_protocol.disabled = True  # what is no request is answered; it needs no line with a traceback each

MAX_CONNECTIONS: Final = 512
FIRST_REQUEST_SECONDS: Final = 10.0  # for a connection to say what it wants
KEEP_ALIVE_SECONDS: Final = 75.0
BODY_SECONDS: Final = 10.0  # for a body to arrive
UNREAD_SECONDS: Final = 30.0  # for a client to read what it is sent, so that none holds a place by not reading
FINISH_SECONDS: Final = 1.0  # for answers that are under way when the server closes

PAGE: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"Suffix of a file of the page -> its media type; other files are not served."

SECURITY: Final = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

NO_TOKEN: Final = "Authorization: Bearer TOKEN is needed, with the token in the file that admin.token_file names"
NO_RESOURCE: Final = "nothing is there; /openapi.json describes what is"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpServer:
    """Serves the administrative interface at one address."""

    def __init__(
        self,
        host: str,
        port: int,
        token: Token,
        routes: Sequence[Route],
        methods: Mapping[str, Method],
        version: str,
        open_paths: Mapping[str, Handler],
    ) -> None:
        """open_paths are answered to everybody, such as /metrics; port 0 takes a free one."""
        self._where = (host, port)
        self._token = token
        self._methods = methods
        self._open: set[Handler] = set(open_paths.values())
        self._description = msgspec.json.encode(describe(routes, version))
        self._app = web.Application(middlewares=[self._guard], client_max_size=MAX_REQUEST)
        self._app.on_response_prepare.append(_secure)
        for path, handler in open_paths.items():
            self._app.router.add_get(path, handler)
        self._add_page()
        self._app.router.add_post("/RPC", self._call)
        for route in routes:
            handler = self._handler(route)
            self._app.router.add_route(route.method, route.path, handler)
            if route.method == hdrs.METH_GET and route.result is not None:
                self._app.router.add_head(route.path, handler)
        self._runner = web.AppRunner(
            self._app,
            access_log=None,
            logger=_protocol,
            handle_signals=False,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            shutdown_timeout=FINISH_SECONDS,
            handler_cancellation=True,
        )
        self._listener: asyncio.Server | None = None
        self._silent: set[asyncio.BaseProtocol] = set()

    @property
    def local(self) -> tuple[str, int]:
        """(host, port): the bound one once started."""
        return self._where

    async def start(self) -> None:
        """Listen; OSError if the address cannot be had."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._connection, *self._where)
        for listening in self._listener.sockets:
            # Every connection has it from there; Linux counts a receiver without room as one that does not answer.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_SECONDS * 1000))
        self._where = self._listener.sockets[0].getsockname()[:2]

    async def close(self) -> None:
        """Stop listening and hang up."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()

    # -- connections ------------------------------------------------------------------------------------------

    def _connection(self) -> asyncio.BaseProtocol:
        assert self._runner.server is not None
        if len(self._runner.server.connections) >= MAX_CONNECTIONS:
            return _Refusal()
        connection = self._runner.server()
        self._silent.add(connection)
        asyncio.get_running_loop().call_later(FIRST_REQUEST_SECONDS, self._look, connection)
        return connection

    def _look(self, connection: web.RequestHandler) -> None:
        """Hang up on who has connected and asked for nothing."""
        if connection in self._silent:
            self._silent.discard(connection)
            if connection.transport is not None:
                connection.transport.abort()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._silent.discard(request.protocol)
        try:
            is_open = request.match_info.handler in self._open
            if not is_open and not self._token.is_shown_by(request.headers.get(hdrs.AUTHORIZATION, "")):
                return problem(401, NO_TOKEN, {hdrs.WWW_AUTHENTICATE: "Bearer"})
            return await handler(request)
        except web.HTTPException as error:
            allow = error.headers.get(hdrs.ALLOW)
            detail = NO_RESOURCE if error.status == HTTPStatus.NOT_FOUND else error.reason
            return problem(error.status, detail, {} if allow is None else {"Allow": allow})
        except Problem as error:
            return problem(error.status, str(error))
        except BadArgument as error:
            return problem(400, str(error))
        except StoreUnavailable as error:
            return problem(503, str(error), {hdrs.RETRY_AFTER: str(error.retry_after)})
        except ReginfoError as error:
            return problem(400, str(error))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            logger.exception("request failed path=%s", request.path)
            return problem(500, "internal error, see the log")

    # -- answers ------------------------------------------------------------------------------------------------

    def _handler(self, route: Route) -> Handler:
        names = route.inputs.__struct_fields__
        headers = [(name, HEADERS.get(name, name)) for name in names if name in HEADERS or name == ACCEPT]

        async def handle(request: web.Request) -> web.StreamResponse:
            given: dict[str, str] = {**request.query, **request.match_info}
            given |= {name: request.headers[header] for name, header in headers if header in request.headers}
            arguments = [_converted(given, route.inputs)]
            if route.body is not None:
                arguments.append(_decoded(await _body(request), route.body))
            result = await route.handler(*arguments)
            if isinstance(result, Stream):
                return await _stream(request, result)
            return web.Response(body=msgspec.json.encode(result), content_type=JSON)

        return handle

    async def _call(self, request: web.Request) -> web.Response:
        response = await answer(await _body(request), self._methods)
        if not response:
            return web.Response(status=HTTPStatus.NO_CONTENT)
        return web.Response(body=response, content_type=JSON)

    async def _describe(self, request: web.Request) -> web.Response:
        return web.Response(body=self._description, content_type=JSON)

    # -- the page -----------------------------------------------------------------------------------------------

    def _add_page(self) -> None:
        # Read once: no path that anybody asks for ever reaches a file system.
        page = {
            entry.name: (entry.read_bytes(), PAGE[suffix])
            for entry in files("reginfo.admin").joinpath("dashboard").iterdir()
            if (suffix := "." + entry.name.rpartition(".")[2]) in PAGE
        }

        async def serve(request: web.Request) -> web.Response:
            name = request.match_info.get("name", "index.html")
            if name not in page:
                raise web.HTTPNotFound
            octets, media = page[name]
            return web.Response(body=octets, headers={hdrs.CONTENT_TYPE: media})

        for path, handler in (("/", serve), ("/dashboard/{name}", serve), ("/openapi.json", self._describe)):
            self._open.add(handler)
            self._app.router.add_get(path, handler)


class _Refusal(asyncio.Protocol):
    """A connection for which there is no room."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return why a request was not done (RFC 9457)."""
    body = msgspec.json.encode(ProblemView(HTTPStatus(status).phrase, status, detail))
    return web.Response(status=status, body=body, headers={**(headers or {}), hdrs.CONTENT_TYPE: PROBLEM})


def _converted(given: Mapping[str, str], kind: type[msgspec.Struct]) -> Any:
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Problem(400, str(error)) from None


def _decoded(octets: bytes, kind: type[msgspec.Struct]) -> Any:
    try:
        return msgspec.json.decode(octets or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"body: {error}") from None


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        raise Problem(408, f"the body has not come within {BODY_SECONDS:.0f} seconds") from None


async def _stream(request: web.Request, stream: Stream) -> web.StreamResponse:
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: stream.content_type})
    if stream.content_type == EVENTS:
        response.headers["X-Accel-Buffering"] = "no"  # of a proxy in between
    async with aclosing(stream.octets) as pieces:
        await response.prepare(request)
        if request.method == hdrs.METH_HEAD:
            return response
        try:
            async for octets in pieces:
                await response.write(octets)
        except ReginfoError as error:
            # The status has been sent: all that tells the client of it is an end that is none.
            logger.warning("stream broke off path=%s reason=%s", request.path, error)
            if request.transport is not None:
                request.transport.abort()
            return response
    await response.write_eof()
    return response


async def _secure(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in SECURITY.items():
        response.headers.setdefault(name, value)
    response.headers.pop(hdrs.SERVER, None)
