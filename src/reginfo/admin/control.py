"""Control of a running server: JSON-RPC 2.0 over a Unix socket, one message per line.

Who may open the socket may do everything, so it is readable by its owner only.  Nothing here is ever one
giant document: what can be large is asked for page by page, with a cursor.
"""

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from reginfo.errors import ReginfoError, ServerUnreachable, StoreUnavailable

logger = logging.getLogger(__name__)

MAX_CLIENTS: Final = 16  # operators and scripts; each holds one buffer of MAX_REQUEST
MAX_REQUEST: Final = 65_536  # octets of a request line; an AoR and a contact take some hundred
MAX_RESPONSE: Final = 1 << 26  # octets of a response line a client reads: a page of the longest records
IDLE_TIMEOUT: Final = 60.0  # seconds: a forgotten client must not keep a place
CLIENT_TIMEOUT: Final = 10.0  # seconds a client waits for the socket

PARSE_ERROR: Final = -32700  # JSON-RPC 2.0 section 5.1
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
TOO_MANY_CLIENTS: Final = -32000
NOT_FOUND: Final = 404  # as Kamailio's ul.lookup
UNAVAILABLE: Final = 503

Json = bool | int | float | str | msgspec.Raw | Sequence["Json"] | Mapping[str, "Json"] | None
Params = list[Any] | dict[str, Any]
"Positional or named, as it came: nothing about it is checked yet."
Method = Callable[[Params], Awaitable[Json]]


class RpcError(ReginfoError):
    """A call that was answered with an error."""

    def __init__(self, code: int, message: str, data: Json = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class BadArgument(RpcError):
    """Something that was given is not what it should be."""

    def __init__(self, message: str) -> None:
        super().__init__(INVALID_PARAMS, message)


class _Request(msgspec.Struct, frozen=True):
    jsonrpc: str
    method: str
    params: Params = []
    id: int | float | str | msgspec.UnsetType | None = msgspec.UNSET


class _Error(msgspec.Struct, frozen=True):
    code: int
    message: str
    data: Any = None


class _Response(msgspec.Struct, frozen=True):
    result: Any = None
    error: _Error | None = None


class ControlServer:
    """Serves `methods` on a Unix socket at `path`, or nowhere if that is empty."""

    def __init__(self, path: str, methods: Mapping[str, Method]) -> None:
        self._path = Path(path)
        self._wanted = bool(path)
        self._methods = methods
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; raises ReginfoError if another server answers at the path or it is no socket."""
        if not self._wanted:
            return
        await asyncio.to_thread(_clear, self._path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # On Linux the socket file is born with the mode of the socket: at no instant is it open to others.
            os.fchmod(listener.fileno(), 0o600)
            listener.bind(str(self._path))
        except OSError as error:
            listener.close()
            raise ReginfoError(f"admin.socket {self._path}: {error.strerror or error}") from error
        self._inode = self._path.stat().st_ino
        self._server = await asyncio.start_unix_server(self._welcome, sock=listener, limit=MAX_REQUEST)

    async def close(self) -> None:
        """Stop listening, hang up and remove the socket if it is still ours."""
        if self._server is None:
            return
        self._server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self._server = None
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MAX_CLIENTS:
            writer.write(_failure(None, RpcError(TOO_MANY_CLIENTS, f"more than {MAX_CLIENTS} clients")))
            writer.close()
            return
        client = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(IDLE_TIMEOUT):
                    line = await reader.readline()
                if not line.endswith(b"\n"):
                    break  # the client has hung up
                if response := await answer(line, self._methods):
                    writer.write(response)
                    async with asyncio.timeout(IDLE_TIMEOUT):
                        await writer.drain()
        except ValueError:
            # readline's word for a line beyond the limit; where the next one begins is unknown.
            writer.write(_failure(None, RpcError(INVALID_REQUEST, f"a request is at most {MAX_REQUEST} octets")))
        except (TimeoutError, ConnectionError):
            pass
        finally:
            writer.close()


async def answer(line: bytes, methods: Mapping[str, Method]) -> bytes:
    """Return the response line to a request line; empty for a notification."""
    identifier: int | float | str | None = None
    wanted = True
    try:
        request = _decode(line)
        wanted = request.id is not msgspec.UNSET
        identifier = None if isinstance(request.id, msgspec.UnsetType) else request.id
        method = methods.get(request.method)
        if method is None:
            raise RpcError(METHOD_NOT_FOUND, f"no method {request.method}; system.listMethods names all")
        result = await method(request.params)
    except RpcError as error:
        return _failure(identifier, error) if wanted else b""
    except StoreUnavailable as error:
        refusal = RpcError(UNAVAILABLE, str(error), {"retry_after": error.retry_after})
        return _failure(identifier, refusal) if wanted else b""
    except Exception:
        logger.exception("control method failed")
        return _failure(identifier, RpcError(INTERNAL_ERROR, "internal error, see the log")) if wanted else b""
    return _encode({"jsonrpc": "2.0", "result": result, "id": identifier}) if wanted else b""


def _decode(line: bytes) -> _Request:
    try:
        document = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RpcError(PARSE_ERROR, f"not JSON: {error}") from None
    try:
        request = msgspec.convert(document, _Request)
    except msgspec.ValidationError as error:
        # Batches too: a line is a request, so a client that has several sends several lines.
        raise RpcError(INVALID_REQUEST, f"not a JSON-RPC 2.0 request: {error}") from None
    if request.jsonrpc != "2.0":
        raise RpcError(INVALID_REQUEST, 'jsonrpc must be "2.0"')
    return request


def _failure(identifier: float | str | None, error: RpcError) -> bytes:
    body: dict[str, Json] = {"code": error.code, "message": str(error)}
    if error.data is not None:
        body["data"] = error.data
    return _encode({"jsonrpc": "2.0", "error": body, "id": identifier})


def _encode(document: Json) -> bytes:
    return msgspec.json.encode(document) + b"\n"


def _clear(path: Path) -> None:
    """Remove a socket nobody listens on any more; whatever else is there stays and is an error."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ReginfoError(f"admin.socket {path} exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(CLIENT_TIMEOUT)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ReginfoError(f"admin.socket {path}: {error.strerror or error}") from error
        else:
            raise ReginfoError(f"admin.socket {path}: another server answers there")


class ControlClient:
    """A connection to a running server, for the command line: blocking, with a timeout."""

    def __init__(self, path: str, *, timeout: float = CLIENT_TIMEOUT) -> None:
        """Connect; raises ServerUnreachable."""
        self._path = path
        self._last_id = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise ServerUnreachable(f"no server at {path}: {error.strerror or error}") from error
        self._lines = self._socket.makefile("rb")

    def call(self, method: str, params: Params | None = None) -> Any:
        """Return the result of a method as JSON decodes; raises RpcError or ServerUnreachable."""
        self._last_id += 1
        request = {"jsonrpc": "2.0", "method": method, "params": params or [], "id": self._last_id}
        try:
            self._socket.sendall(_encode(request))
            line = self._lines.readline(MAX_RESPONSE)
        except OSError as error:
            raise ServerUnreachable(f"the server at {self._path} does not answer: {error}") from error
        if not line.endswith(b"\n"):
            raise ServerUnreachable(f"the server at {self._path} hung up")
        return result_of(line, self._path)

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def result_of(octets: bytes, where: str) -> Any:
    """Return the result in a response from somewhere; RpcError if it is an error, ServerUnreachable if it is none."""
    try:
        response = msgspec.json.decode(octets, type=_Response)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ServerUnreachable(f"what answers at {where} is no reginfo server") from error
    if response.error is not None:
        raise RpcError(response.error.code, response.error.message, response.error.data)
    return response.result
