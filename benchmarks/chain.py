"""REGISTER -> PUBLISH -> compositor under full load: this project's pair of servers and Kamailio's.

Every AoR registers once and then a second time, as fast as the registrar answers; then the compositor is asked what it
has.  Both pairs keep their state where they keep it by default: this project's in the embedded store, `committed`;
Kamailio's registrar in memory, its presence server in SQLite.

    python -m benchmarks.chain [--aors 20000]
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from reginfo.admin.control import ControlClient
from reginfo.cli._peers import Peer
from reginfo.cli.bench import Bench
from reginfo.fast import parse_reginfo
from tests.interop.kamailio import DOMAIN, presence_server, registrar
from tests.server_fixture import RunningServer, free_port, loopback_address, running_server

STORE = 'store = { url = "rocksdb:reginfo.db" }\n[log]\nlevel = "warning"\n'
PATIENCE = 120  # seconds until what has not arrived is lost
LOOK_SECONDS = 0.5
KAMAILIO_MEMORY = (64, 1024)  # MiB of shared memory: its default, and enough


@dataclass(frozen=True)
class Chain:
    """Two servers, and how to learn what the second one has."""

    name: str
    registrar: Peer
    compositor: Peer
    newest: Callable[[], list[tuple[str, int]]]
    "AoR and CSeq of the contact of each document or registration there; an AoR may have several documents."


@dataclass(frozen=True)
class Run:
    """What became of one chain."""

    name: str
    registers: float
    "A second, while PUBLISHes are sent."
    registrar_us: float
    "CPU for each REGISTER with its PUBLISH."
    compositor_us: float
    "CPU for each REGISTER at the compositor."
    behind: float
    "Seconds until the compositor had all there was to come."
    documents: int
    current: int
    "AoRs of which the compositor has the state after the second REGISTER."


def cseqs(server: RunningServer) -> list[tuple[str, int]]:
    """Return every AoR with the CSeq of its first contact."""
    found: list[tuple[str, int]] = []
    cursor = 0
    with ControlClient(str(server.folder / "reginfo.sock")) as client:
        while True:
            page: dict[str, Any] = client.call("ul.dump", {"cursor": cursor, "limit": 1000})
            found += [(each["AoR"], each["Contacts"][0]["CSeq"]) for each in page["AoRs"]]
            cursor = page["Cursor"]
            if not cursor:
                return found


@contextmanager
def own(folder: Path) -> Iterator[Chain]:
    host = loopback_address()
    address = (host, free_port(host))
    there, here = folder / "compositor", folder / "registrar"
    there.mkdir()
    here.mkdir()
    with (
        running_server(there, [DOMAIN], f'{STORE}[compositor]\npublishers = ["127.0.0.1"]\n', address) as compositor,
        running_server(here, [DOMAIN], f'{STORE}[pua_reginfo]\noutbound_proxy = "sip:{host}:{address[1]}"\n') as first,
    ):
        yield Chain(
            "reginfo",
            Peer("reginfo", *first.udp, first.process.pid),
            Peer("compositor", *address, compositor.process.pid),
            lambda: cseqs(compositor),
        )


@contextmanager
def kamailio(memory: int, folder: Path) -> Iterator[Chain]:
    (folder / "presence").mkdir()
    (folder / "registrar").mkdir()
    with (
        presence_server(folder / "presence", memory=memory) as presence,
        registrar(folder / "registrar", presence.address, memory=memory) as first,
    ):

        def newest() -> list[tuple[str, int]]:
            documents = [parse_reginfo(one.body) for one in presence.presentities()]
            return [
                (registration.aor, contact.cseq or 0)
                for document in documents
                for registration in document.registrations
                for contact in registration.contacts[:1]
            ]

        yield Chain(
            f"Kamailio, {memory} MiB",
            Peer("Kamailio", *first.address, first.process.pid),
            Peer("presence", *presence.address, presence.process.pid),
            newest,
        )


def current(found: list[tuple[str, int]]) -> int:
    """Return of how many AoRs there is the state after the second REGISTER."""
    return len({aor for aor, cseq in found if cseq >= 2})


def run(chain: Chain, aors: int) -> Run:
    """Register every AoR twice, and wait until the compositor does not change any more."""
    load = Bench(chain.registrar, aors)
    before = chain.registrar.cpu(), chain.compositor.cpu()
    first, second = load.fill(), load.refresh(aors)
    began = time.monotonic()
    found: list[tuple[str, int]] = []
    changed = began
    while time.monotonic() - began < PATIENCE:
        told = chain.newest()
        if told != found:
            found, changed = told, time.monotonic()
        if current(found) >= aors or time.monotonic() - changed > 40:
            break
        time.sleep(LOOK_SECONDS)
    after = chain.registrar.cpu(), chain.compositor.cpu()
    spent = [((one or 0) - (other or 0)) / (2 * aors) * 1e6 for one, other in zip(after, before, strict=True)]
    return Run(
        chain.name,
        2 * aors / (aors / first.rate + aors / second.rate),
        spent[0],
        spent[1],
        changed - began,
        len(found),
        current(found),
    )


def table(runs: list[Run], aors: int) -> str:
    rows = [
        "| pair | REGISTER/s | registrar us | compositor us | behind s | documents | of them current | lost |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {one.name} | {one.registers:,.0f} | {one.registrar_us:.0f} | {one.compositor_us:.0f} | {one.behind:.1f} "
        f"| {one.documents:,} | {one.current:,} | {aors - one.current:,} |"
        for one in runs
    ]
    return "\n".join(rows)


@click.command()
@click.option("--aors", default=20_000, show_default=True, type=click.IntRange(1, 1_000_000))
@click.option("--only", type=click.Choice(["reginfo", "kamailio"]))
def main(aors: int, only: str | None) -> None:
    """Measure both chains and print a table; exit 1 if this project's lost anything."""
    runs = []
    pairs: list[tuple[str, Callable[[Path], AbstractContextManager[Chain]]]] = [
        ("reginfo", own),
        *(("kamailio", partial(kamailio, memory)) for memory in KAMAILIO_MEMORY),
    ]
    for name, pair in pairs:
        if only in (None, name):
            with tempfile.TemporaryDirectory() as folder, pair(Path(folder)) as chain:
                runs.append(run(chain, aors))
    click.echo(table(runs, aors))
    if any(one.name == "reginfo" and one.current < aors for one in runs):
        raise click.exceptions.Exit(1)


if __name__ == "__main__":
    main()
