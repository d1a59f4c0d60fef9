"""What phones feel of whoever looks: a scrape a second, a dump of everything and a hundred listeners, all at once."""

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection

import click

from benchmarks.events import own
from benchmarks.latency import PATIENCE, Bystanders, Disturbance, Felt, disturbed, meanwhile, on_own_core
from tests.server_fixture import RunningServer, free_port

LISTENERS = 100
SCRAPE_SECONDS = 1.0
CHUNK = 1 << 16


def administration(pairs: int, bindings: int = 1_000_000) -> Felt:
    """Scrape, dump and listen by HTTP."""
    address = f"127.0.0.1:{free_port('127.0.0.1')}"
    with on_own_core(own(f'[admin]\nlisten = "{address}"\n')) as (server, _):
        others = Bystanders.at(server, bindings)
        watchers = Watchers(server, address)

        @contextmanager
        def look() -> Iterator[Callable[[], bool]]:
            with meanwhile(lambda: watchers.look(bindings)) as lasts:
                yield lasts

        name = f"scrapes, a dump of {bindings:,} and {LISTENERS} listeners"
        return disturbed(server, others, Disturbance(name, 1.5, look), pairs)


class Watchers:
    """Those who look at one server."""

    def __init__(self, server: RunningServer, address: str) -> None:
        self.address = address
        self.token = (server.folder / "reginfo.token").read_text().strip()
        self.headers = {"Authorization": f"Bearer {self.token}"}

    def look(self, bindings: int) -> None:
        """Read the whole table while others listen and scrape."""
        with ExitStack() as stack:
            listeners = [stack.enter_context(self.listener()) for _ in range(LISTENERS)]
            done = threading.Event()
            scraping = threading.Thread(target=self.scrape, args=(done, listeners))
            scraping.start()
            try:
                found = self.dump()
            finally:
                done.set()
                scraping.join(PATIENCE)
            assert found == bindings, found

    def dump(self) -> int:
        connection = HTTPConnection(self.address, timeout=PATIENCE)
        connection.request("GET", "/api/v1/aors", headers={**self.headers, "Accept": "application/x-ndjson"})
        response = connection.getresponse()
        found = 0
        while octets := response.read1(CHUNK):
            found += octets.count(b"\n")
        connection.close()
        return found

    def scrape(self, done: threading.Event, listeners: list[socket.socket]) -> None:
        """Read the metrics each second, and whatever the listeners were sent."""
        while not done.is_set():
            began = time.monotonic()
            connection = HTTPConnection(self.address, timeout=PATIENCE)
            connection.request("GET", "/metrics")
            assert b"reginfo_contacts" in connection.getresponse().read()
            connection.close()
            for listener in select.select(listeners, [], [], 0)[0]:
                assert listener.recv(CHUNK), "a listener was cut off"
            done.wait(max(0.0, SCRAPE_SECONDS - (time.monotonic() - began)))

    @contextmanager
    def listener(self) -> Iterator[socket.socket]:
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as listener:
            request = (
                f"GET /api/v1/events HTTP/1.1\r\nHost: {self.address}\r\nAuthorization: Bearer {self.token}\r\n\r\n"
            )
            listener.sendall(request.encode())
            assert listener.recv(CHUNK).startswith(b"HTTP/1.1 200 ")
            yield listener


@click.command()
@click.option("--pairs", default=5, show_default=True, type=click.IntRange(1, 20))
@click.option("--bindings", default=1_000_000, show_default=True, type=click.IntRange(100, 2_000_000))
def main(pairs: int, bindings: int) -> None:
    """Measure what phones feel."""
    felt = administration(pairs, bindings)
    click.echo(f"{felt.name}: {felt.disturbed_ms:.3g} ms, else {felt.calm_ms:.3g}, bound {felt.bound_ms:.3g}")


if __name__ == "__main__":
    main()
