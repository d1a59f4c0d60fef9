"""A server with its dashboard, and phones that register there."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

from tests.server_fixture import PATIENCE, RunningServer, UdpPeer, free_port, running_server, status_of

DOMAIN: Final = "example.com"

_numbers = count(1)


class Site:
    """A server that has a dashboard, at an address that a restart keeps."""

    def __init__(self, folder: Path, options: str = "") -> None:
        self.folder = folder
        self.host, self.port = self._address = ("127.0.0.1", free_port("127.0.0.1"))
        self._listen = f"127.0.0.1:{free_port('127.0.0.1')}"
        self._options = f'[admin]\nlisten = "{self._listen}"\n{options}'

    @property
    def origin(self) -> str:
        return f"http://{self._listen}"

    @property
    def token(self) -> str:
        return (self.folder / "reginfo.token").read_text().strip()

    @property
    def url(self) -> str:
        """The address that the server prints when it starts."""
        return f"{self.origin}/#token={self.token}"

    def ask(self, path: str) -> Any:
        """Return what the interface answers to a GET below /api/v1."""
        request = Request(f"{self.origin}/api/v1/{path}", headers={"Authorization": f"Bearer {self.token}"})
        with urlopen(request, timeout=PATIENCE) as response:
            return json.load(response)

    def contacts(self, aor: str) -> dict[str, Any]:
        """Return the contacts of an address-of-record by URI."""
        found = [one for one in self.ask("aors?limit=1000")["aors"] if one["aor"] == aor]
        return {contact["uri"]: contact for one in found for contact in one["contacts"]}

    @contextmanager
    def running(self) -> Generator[RunningServer, None, None]:
        """Run the server, or run it again."""
        with running_server(self.folder, [DOMAIN], self._options, self._address) as server:
            yield server


def register(
    server: RunningServer,
    user: str,
    contact: str | None = None,
    expires: int = 3600,
    user_agent: str = "Yealink SIP-T54W 96.86.0.100",
) -> None:
    """Send the REGISTER of a phone and take the 200; contact is the value of its Contact header."""
    number = next(_numbers)
    contact = contact or f"<sip:{user}@192.0.2.{number % 250 + 1}:5060>"
    with UdpPeer(server) as peer:
        peer.send(
            (
                f"REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: {peer.via};branch=z9hG4bK-page{number}\r\nMax-Forwards: 70\r\n"
                f"From: <sip:{user}@{DOMAIN}>;tag=d{number}\r\nTo: <sip:{user}@{DOMAIN}>\r\nCall-ID: page-{number}\r\n"
                f"CSeq: {number} REGISTER\r\nContact: {contact}\r\nExpires: {expires}\r\n"
                f"User-Agent: {user_agent}\r\nContent-Length: 0\r\n\r\n"
            ).encode()
        )
        answer = peer.receive()
        assert status_of(answer) == 200, answer
