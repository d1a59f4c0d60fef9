"""The control methods of a running server over HTTP: what the command line calls where there is no Unix socket."""

import http.client
import ssl
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import msgspec

from reginfo.admin.control import CLIENT_TIMEOUT, MAX_RESPONSE, Params, RpcError, result_of
from reginfo.errors import ReginfoError, ServerUnreachable

UNAUTHORIZED: Final = 401


class HttpControlClient:
    """Calls methods at `http://HOST:PORT/#token=TOKEN`, as a server prints it, or `...#token-file=PATH`."""

    def __init__(self, url: str, *, timeout: float = CLIENT_TIMEOUT) -> None:
        """Take the address; nothing is sent before the first call.  ReginfoError for no such URL or token file."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ReginfoError(f"{url.partition('#')[0]}: {error}") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ReginfoError(f"{url.partition('#')[0]}: no HTTP URL")
        self._name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._path = f"{parts.path.rstrip('/')}/RPC"
        self._headers = {"Content-Type": "application/json", **_authorization(parts.fragment)}
        self._last_id = 0
        if parts.scheme == "https":
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=timeout, context=ssl.create_default_context()
            )
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=timeout)

    def call(self, method: str, params: Params | None = None) -> Any:
        """Return the result of a method as JSON decodes; raises RpcError or ServerUnreachable."""
        self._last_id += 1
        request = {"jsonrpc": "2.0", "method": method, "params": params or [], "id": self._last_id}
        try:
            self._connection.request("POST", self._path, msgspec.json.encode(request), self._headers)
            response = self._connection.getresponse()
            body = response.read(MAX_RESPONSE)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise ServerUnreachable(f"no server at {self._name}: {error}") from error
        if response.status in (UNAUTHORIZED, 403):
            raise RpcError(UNAUTHORIZED, f"the server at {self._name} wants its token: add #token-file=PATH to the URL")
        if response.status >= 500 and not body.startswith(b"{"):
            raise ServerUnreachable(f"the server at {self._name} answers {response.status}")
        return result_of(body, self._name)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _authorization(fragment: str) -> dict[str, str]:
    """Return the header for the token in the fragment of a URL, or in the file it names; the fragment is never sent."""
    given = parse_qs(fragment)
    token = given.get("token", [""])[0]
    if "token-file" in given:
        token = Path(given["token-file"][0]).read_text(encoding="ascii", errors="replace").strip()
    if not token.isascii() or not token.isprintable():
        raise ReginfoError("the token is no printable ASCII text")
    return {"Authorization": f"Bearer {token}"} if token else {}
