"""`reginfo bench parse`, `store`: what the parts of a server cost in this process, without a network."""

import asyncio
import csv
import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from reginfo.cli._measurements import pyplot_for_files
from reginfo.cli._remote import json_option, print_json
from reginfo.fast import Binding, Change, Draft, parse_message, parse_reginfo, write_request
from reginfo.store.base import Durability, Store
from reginfo.store.levels import open_store

BATCH = 64  # changes of one commit: the datagrams of one batch


@dataclass(frozen=True, slots=True)
class Cost:
    """What one operation takes."""

    operation: str
    operations: int
    us: float
    "Microseconds for each, all of them taken together."
    p99_us: float
    "Microseconds that 99 of 100 calls kept within; a call is what is done at once."
    batch: int
    "Operations of a call."


_csv = click.option("--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write CSV.")
_plot = click.option("--plot", "plot_file", type=click.Path(dir_okay=False, path_type=Path), help="Also draw a plot.")

REGISTER = write_request(
    "REGISTER",
    "sip:example.com",
    [
        ("Via", "SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK776asdhds"),
        ("Max-Forwards", "70"),
        ("From", "<sip:alice@example.com>;tag=456248"),
        ("To", "<sip:alice@example.com>"),
        ("Call-ID", "843817637684230@998sdasdh09"),
        ("CSeq", "1826 REGISTER"),
        ("Contact", '<sip:alice@192.0.2.10:5060>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"'),
        ("Expires", "3600"),
        ("User-Agent", "Phone/1.0"),
    ],
)
REGINFO = (
    b'<?xml version="1.0"?><reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="full">'
    b'<registration aor="sip:alice@example.com" id="a7" state="active">'
    b'<contact id="76" state="active" event="registered" duration-registered="7322" expires="3600">'
    b"<uri>sip:alice@192.0.2.10:5060</uri></contact></registration></reginfo>"
)


@click.command()
@click.option("--rounds", default=200, show_default=True, type=click.IntRange(1, 1_000_000), help="Of 1000 each.")
@json_option
@_csv
@_plot
def parse(rounds: int, as_json: bool, csv_file: Path | None, plot_file: Path | None) -> None:
    """Measure what it takes to read a REGISTER and a reginfo document.

    \b
    Examples:
      reginfo bench parse
    """

    def register() -> None:
        parse_message(REGISTER).contacts[0]

    costs = [
        _timed("parse a REGISTER", register, rounds, 1000),
        _timed("parse a reginfo document", lambda: parse_reginfo(REGINFO), rounds, 1000),
    ]
    _report(costs, as_json, csv_file, plot_file)


@click.command()
@click.option(
    "--durability", type=click.Choice([level.value for level in Durability]), default="committed", show_default=True
)
@click.option("--aors", default=100_000, show_default=True, type=click.IntRange(BATCH, 10_000_000))
@json_option
@_csv
@_plot
def store(durability: str, aors: int, as_json: bool, csv_file: Path | None, plot_file: Path | None) -> None:
    """Measure what it takes to bind contacts in a store, 64 in a commit, to refresh them and to load them.

    \b
    Examples:
      reginfo bench store --durability synced --aors 10000
    """
    with tempfile.TemporaryDirectory(prefix="reginfo-bench-") as scratch:
        costs = asyncio.run(_measure_store(Durability(durability), Path(scratch) / "reginfo.db", aors))
    _report(costs, as_json, csv_file, plot_file)


async def _measure_store(durability: Durability, folder: Path, aors: int) -> list[Cost]:
    opened = open_store(durability, folder)
    try:
        costs = []
        for operation, now_ms in (("bind", 1), ("refresh", 60_000)):
            calls = [await _commit(opened, batch, now_ms) for batch in _batches(aors)]
            costs.append(_cost(f"{operation} in a store ({durability})", calls, BATCH))
        calls = []
        for batch in _batches(aors):
            began = time.perf_counter()
            await opened.load(batch)
            calls.append(time.perf_counter() - began)
        costs.append(_cost("load from a store", calls, BATCH))
    finally:
        await opened.close()
    return costs


def _batches(aors: int) -> Iterator[list[str]]:
    for start in range(0, aors - BATCH + 1, BATCH):
        yield [f"sip:u{n}@example.com" for n in range(start, start + BATCH)]


async def _commit(opened: Store, aors: Sequence[str], now_ms: int) -> float:
    """Bind a contact of each AoR, in one commit; return the seconds that the store took for it."""
    changes: list[Change] = []
    for aor, record in zip(aors, await opened.load(aors), strict=True):
        draft = Draft(aor, record, now_ms)
        draft.add(Binding(uri=f"{aor};transport=udp", call_id=aor, cseq=now_ms, expires_at=now_ms + 3_600_000))
        change = draft.finish("register")
        assert change is not None
        changes.append(change)
    began = time.perf_counter()
    refused = await opened.commit(changes)
    seconds = time.perf_counter() - began
    assert not refused
    return seconds


def _timed(operation: str, call: Callable[[], object], rounds: int, batch: int) -> Cost:
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(batch):
            call()
        seconds.append(time.perf_counter() - began)
    return _cost(operation, seconds, batch)


def _cost(operation: str, calls: Sequence[float], batch: int) -> Cost:
    ordered = sorted(calls)
    p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return Cost(operation, len(calls) * batch, sum(calls) / (len(calls) * batch) * 1e6, p99 * 1e6, batch)


def _report(costs: Sequence[Cost], as_json: bool, csv_file: Path | None, plot_file: Path | None) -> None:
    for cost in costs:
        if as_json:
            print_json(dataclasses.asdict(cost))
        else:
            click.echo(f"{cost.operation:<32}{cost.us:8.2f} us  p99 {cost.p99_us / 1000:.3f} ms for {cost.batch}")
    if csv_file is not None:
        with csv_file.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Cost)])
            writer.writeheader()
            writer.writerows(dataclasses.asdict(cost) for cost in costs)
    if plot_file is not None:
        pyplot = pyplot_for_files()
        figure, axes = pyplot.subplots(figsize=(8, 1.5 + 0.45 * len(costs)))
        axes.barh([cost.operation for cost in costs], [cost.us for cost in costs], color="#c44e52")
        axes.set_xlabel("us each")
        axes.invert_yaxis()
        figure.tight_layout()
        figure.savefig(plot_file, dpi=120)
        pyplot.close(figure)
