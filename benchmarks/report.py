"""Every figure this project promises, measured in one go: table, CSV and plots, each line with its bound.

Servers take turns within each round, and medians over the rounds are shown, so that a machine that changes its pace
changes it for all.  CPU is user and system time of the server for each unit of work.

What others feel of a disturbance is measured in as many pairs, after the rounds; so are servers at sizes of the table
about which nothing is promised, once.

    python -m benchmarks.report [--rounds 5] [--aors 100000] [--large 1000000]
"""

import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
from math import nan
from pathlib import Path
from typing import Any

import click

from benchmarks import authentication, chain, events, growth, mixed
from benchmarks.disturbances import WORKS
from benchmarks.growth import REFRESHES, SERVERS, Point
from benchmarks.latency import Felt, before_others, on_own_core
from benchmarks.promises import FEW, Samples, lines, markdown
from benchmarks.sipp_table import HERE, REGISTER, RESULTS, circumstances, loss_free, ramp
from reginfo.cli._peers import Peer, await_answer, free_port, registrar, running
from reginfo.cli.bench import Bench
from reginfo.errors import ReginfoError

MIXED_REQUESTS = 100_000
ROOT = HERE.parent
PLOT = "refreshes.png"
BEGIN, END = "<!-- report -->", "<!-- end of the report -->"
FAST = REGISTER._replace(rates=REGISTER.rates[3:])


def used(value: float | None) -> float:
    assert value is not None
    return value


# --- REGISTER


def add_point(samples: Samples, found: Point) -> None:
    samples.add(f"refresh us, {found.server}, {found.aors} AoRs", found.cpu_us)
    samples.add(f"refresh rate, {found.server}, {found.aors} AoRs", found.rate)


def points(samples: Samples) -> list[Point]:
    """Return every server at every size of the table that was measured."""
    return [
        Point(name, aors, samples[rate], samples[cost])
        for name in SERVERS
        for aors in growth.SIZES
        for cost, rate in [(f"refresh us, {name}, {aors} AoRs", f"refresh rate, {name}, {aors} AoRs")]
        if rate in samples
    ]


def refreshes(samples: Samples, aors: int) -> None:
    """Add one round of refreshes at every server, each with an empty table that is filled once."""
    for name in SERVERS:
        for number in (FEW, aors) if name == "memory" else (aors,):
            found = growth.point(name, number)
            assert found is not None
            add_point(samples, found)
    with on_own_core(SERVERS["committed"]()) as peer:
        load = Bench(peer, aors)
        load.fill()
        top = load.refresh(REFRESHES).rate
        calm = Bench(peer, aors, rate=top / 2)
        with before_others():
            samples.add("delay p99 ms, committed, half load", calm.refresh(REFRESHES).p99_ms)


LARGER: dict[str, dict[str, Any]] = {
    "three contacts": {"contacts": 3},
    "IMS": {"parameters": mixed.IMS_PARAMETERS, "rows": mixed.IMS_ROWS},
}


def kinds(samples: Samples, aors: int, seed: int) -> None:
    """Add one round of other REGISTERs than the plain one."""
    offered = mixed.traffic(aors, MIXED_REQUESTS, seed)
    for name in ("memory", "Kamailio"):
        with SERVERS[name]() as peer:
            samples.add(f"REGISTER us, {name}, mixed traffic", mixed.measure(peer, offered).cpu_us)
        for kind, options in LARGER.items():
            with SERVERS[name]() as peer:
                load = Bench(peer, aors, **options)
                load.fill()
                run = load.refresh(REFRESHES // 2)
            samples.add(f"REGISTER us, {name}, {kind}", used(run.cpu_us))


def refreshes_of_many(samples: Samples, large: int) -> None:
    """Add the cost and the memory of a large table."""
    with registrar("memory") as peer:
        empty = used(peer.memory())
        load = Bench(peer, large)
        load.fill()
        run = load.refresh(large)
        add_point(samples, Point("memory", large, run.rate, used(run.cpu_us)))
        samples.add("bytes per AoR", (used(peer.memory()) - empty) / large)


def restarts(samples: Samples, large: int, times: int) -> None:
    """Add how long it takes to serve again with a large table in the store, several times."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        port = free_port()
        (folder / "reginfo.toml").write_text(
            f'listen = ["udp:127.0.0.1:{port}"]\ndomains = ["example.com"]\n[store]\nurl = "rocksdb:reginfo.db"\n'
        )
        command = [sys.executable, "-m", "reginfo", "serve", "-c", "reginfo.toml"]
        with running(command, folder) as pid:
            peer = Peer("committed", "127.0.0.1", port, pid)
            await_answer(peer, folder)
            Bench(peer, large).fill()
        for _ in range(times):
            began = time.monotonic()
            with running(command, folder) as pid:
                await_answer(Peer("committed", "127.0.0.1", port, pid), folder)
                samples.add("restart s", time.monotonic() - began)


def sipp(samples: Samples) -> None:
    """Add the cost at SIPp's highest rate without loss."""
    for name in ("memory", "Kamailio"):
        with SERVERS[name]() as peer:
            steps = [run for run in ramp(peer, FAST) if loss_free(run)] or [run for run in ramp(peer) if loss_free(run)]
        if steps:
            samples.add(f"SIPp us, {name}", used(steps[-1].cpu_us))
            samples.add(f"SIPp rate, {name}", steps[-1].rate)


# --- documents and messages


def parsers(samples: Samples) -> None:
    """Add the medians of the benchmarks of parser and documents."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "benchmarks.json"
        command = [sys.executable, "-m", "pytest", "-q", "benchmarks/test_parse.py", "benchmarks/test_reginfo.py"]
        command += ["-k", "read_7_values or (1_contact and (serialize or test_parse))"]
        subprocess.run([*command, f"--benchmark-json={file}"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        for one in json.loads(file.read_text())["benchmarks"]:
            samples.add(f"{one['name']} us", one["stats"]["median"] * 1e6)


# --- registration events


def notifications(samples: Samples) -> None:
    for result in [*events.notifies_applied(20_000, 1), *events.notifies_applied_by_kamailio(20_000, 1)]:
        samples.add(f"{result.work} us, {result.server}", result.cpu_us)


def chains(samples: Samples) -> None:
    pairs = (("reginfo", chain.own), ("Kamailio", lambda folder: chain.kamailio(chain.KAMAILIO_MEMORY[-1], folder)))
    for name, pair in pairs:
        with tempfile.TemporaryDirectory() as folder, pair(Path(folder)) as two:
            run = chain.run(two, 20_000)
        samples.add(f"REGISTER and PUBLISH us, {name}", run.registrar_us)
        samples.add(f"PUBLISH taken us, {name}", run.compositor_us)
        samples.add(f"AoRs not current, {name}", 20_000 - run.current)
        samples.add(f"documents too many, {name}", max(0, run.documents - 20_000))


def watchers(samples: Samples, changes: int) -> None:
    for result in events.one_change_many_watchers(100_000, changes):
        samples.add(f"{result.work} us", result.cpu_us)
        samples.add(f"{result.work} s", result.seconds)
        if result.bytes_each is not None:
            samples.add("bytes per subscription", result.bytes_each)


def told(samples: Samples) -> None:
    for result in events.register_to_notify(5_000):
        samples.add("REGISTER to NOTIFY p99 ms", used(result.p99_ms))


def feel(name: str, pairs: int) -> Felt:
    """Return what others felt; what could not be measured misses its bounds, and the report goes on."""
    try:
        return WORKS[name](pairs)
    except (click.ClickException, AssertionError, ReginfoError) as error:
        click.echo(f"  {name}: {error}", err=True)
        return Felt(name, nan, nan, nan, nan, nan)


# --- the report


def costs(found: Samples, aors: int) -> str:
    """Return in words what a refresh costs at each server."""
    each = [f"{found[f'refresh us, {name}, {aors} AoRs']:.1f} {where}" for name, where in PLACES.items()]
    return f"In microseconds of CPU, at {aors:,} AoRs, a REGISTER refresh costs {', '.join(each[:-1])}, and {each[-1]}."


PLACES = {"echo": "at the echo", "memory": "in `memory`", "committed": "`committed`", "Kamailio": "at Kamailio"}


def put_into_readme(text: str) -> None:
    """Replace what the last report said there."""
    readme = ROOT / "README.md"
    before, begin, rest = readme.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, BEGIN
    assert end, END
    readme.write_text(f"{before}{begin}\n{text}\n{end}{after}")


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 20))
@click.option("--aors", default=100_000, show_default=True, type=click.IntRange(1_000, 1_000_000))
@click.option("--large", default=1_000_000, show_default=True, type=click.IntRange(1_000, 10_000_000))
@click.option("--publish", is_flag=True, help="Put the table into README.md and the plot into docs, too.")
def main(rounds: int, aors: int, large: int, publish: bool) -> None:
    """Print the table as Markdown; write it, CSV and plots to benchmarks/results."""
    about = circumstances(())
    found = Samples()
    began = time.monotonic()
    for number in range(1, rounds + 1):
        click.echo(f"round {number} of {rounds}, {time.monotonic() - began:.0f} s", err=True)
        refreshes(found, aors)
        kinds(found, FEW, number)
        sipp(found)
        authentication.measure(found)
        notifications(found)
        chains(found)
        parsers(found)
        refreshes_of_many(found, large)
        told(found)
    click.echo(f"what is measured {rounds} times in a row, {time.monotonic() - began:.0f} s", err=True)
    restarts(found, large, rounds)
    watchers(found, rounds)
    felt = [feel(name, rounds) for name in WORKS]
    click.echo(f"sizes of the table, {time.monotonic() - began:.0f} s", err=True)
    for one in growth.missing(points(found), large):
        add_point(found, one)
    text = "\n".join(
        [
            *(f"{line}  " for line in about),
            f"Medians of {rounds} rounds.",
            "",
            markdown(lines(found, felt, aors, large)),
        ]
    )
    click.echo(text)
    click.echo(f"took {time.monotonic() - began:.0f} s", err=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "report.md").write_text(text + "\n")
    with (RESULTS / "report.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([name, *values] for name, values in found.rows())
    growth.write_csv(RESULTS / "refreshes.csv", points(found))
    growth.plot(RESULTS / PLOT, points(found), about[1])
    if publish:
        put_into_readme(text)
        shutil.copy(RESULTS / PLOT, ROOT / "docs" / PLOT)


if __name__ == "__main__":
    main()
