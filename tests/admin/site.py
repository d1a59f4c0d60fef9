"""A server with its HTTP interface, and programs that ask it."""

import json
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple

from tests.server_fixture import PATIENCE, free_port


class Answer(NamedTuple):
    status: int
    media: str
    body: Any
    headers: dict[str, str]


class Site:
    """A server and its HTTP interface."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port("127.0.0.1")
        self.options = f'[admin]\nlisten = "127.0.0.1:{self.port}"\n'

    @property
    def token(self) -> str:
        return (self.folder / "reginfo.token").read_text().strip()

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        token: str | None = "",
    ) -> tuple[HTTPConnection, HTTPResponse]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        shown = {} if token is None else {"Authorization": f"Bearer {token or self.token}"}
        octets = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        connection.request(method, path, octets, {**shown, **(headers or {})})
        return connection, connection.getresponse()

    def ask(self, method: str, path: str, body: object = None, **options: Any) -> Answer:
        connection, response = self.request(method, path, body, **options)
        octets = response.read()
        connection.close()
        media = response.headers.get_content_type()
        content = json.loads(octets) if media.endswith(("/json", "+json")) and octets else octets
        return Answer(response.status, media, content, dict(response.headers))

    def rpc(self, method: str, params: object = ()) -> Any:
        """Return the result of a method."""
        call = {"jsonrpc": "2.0", "method": method, "params": params, "id": 1}
        return self.ask("POST", "/RPC", call).body["result"]

    def events(self, query: str = "", last: str = "") -> tuple[HTTPConnection, HTTPResponse]:
        headers = {"Last-Event-ID": last} if last else {}
        return self.request("GET", f"/api/v1/events{query}", headers=headers)


def next_event(response: HTTPResponse) -> dict[str, str]:
    """Return the fields of the next event that has data."""
    fields: dict[str, str] = {}
    while True:
        line = response.readline().decode().rstrip("\n")
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            return fields
        else:
            fields = {}
