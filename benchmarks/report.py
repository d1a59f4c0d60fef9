"""Every figure this project promises, measured in one go: table, CSV and a plot, each line with its bound.

Servers take turns within each round, and medians over the rounds are shown, so that a machine that changes its pace
changes it for all.  CPU is user and system time of the server for each unit of work.

    python -m benchmarks.report [--rounds 5] [--aors 100000] [--large 1000000]
"""

import csv
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks import chain, events
from benchmarks.sipp_table import HERE, RESULTS, circumstances, kamailio, loss_free, ramp
from reginfo.cli._peers import Peer, await_answer, echo_server, free_port, registrar, running
from reginfo.cli.bench import Bench

FEW = 10_000
REFRESHES = 200_000

Server = Callable[[], AbstractContextManager[Peer]]
SERVERS: dict[str, Server] = {
    "echo": echo_server,
    "memory": lambda: registrar("memory"),
    "committed": lambda: registrar("committed"),
    "Kamailio": kamailio,
}


@dataclass(frozen=True)
class Line:
    """One figure and what it must not exceed."""

    work: str
    figure: float
    unit: str
    bound: float

    @property
    def holds(self) -> bool:
        return self.figure <= self.bound


class Samples:
    """Measurements by name; the median of each counts."""

    def __init__(self) -> None:
        self._values: defaultdict[str, list[float]] = defaultdict(list)

    def add(self, name: str, value: float) -> None:
        self._values[name].append(value)
        click.echo(f"  {name}: {value:.4g}", err=True)

    def __getitem__(self, name: str) -> float:
        return median(self._values[name])

    def rows(self) -> list[tuple[str, list[float]]]:
        return list(self._values.items())


def used(value: float | None) -> float:
    assert value is not None
    return value


# --- REGISTER


def refreshes(samples: Samples, aors: int) -> None:
    """Add one round of refreshes at every server, each with an empty table that is filled once."""
    for name, server in SERVERS.items():
        for number in (FEW, aors) if name == "memory" else (aors,):
            with server() as peer:
                load = Bench(peer, number)
                load.fill()
                run = load.refresh(REFRESHES)
            samples.add(f"refresh us, {name}, {number} AoRs", used(run.cpu_us))
    with SERVERS["committed"]() as peer:
        load = Bench(peer, aors)
        load.fill()
        top = load.refresh(REFRESHES).rate
        calm = Bench(peer, aors, rate=top / 2)
        samples.add("delay p99 ms, committed, half load", calm.refresh(REFRESHES).p99_ms)


# What a phone of an IMS network sends: 1.4 kB, half of them parameters.
IMS_PARAMETERS = (
    ';+sip.instance="<urn:gsma:imei:35625205-011234-0>";+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel"'
    ";+g.3gpp.smsip;+g.3gpp.mid-call;+g.3gpp.srvcc-alerting;audio;video;q=1.0"
)
IMS_ROWS = (
    "Path: <sip:term@pcscf1.visited.example.org:5060;lr>",
    "Supported: path, gruu, 100rel, timer",
    'P-Visited-Network-ID: "visited.example.org"',
    "P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=2341001234567890abcdef",
    "P-Charging-Vector: icid-value=1234bc9876e0f2d4;icid-generated-at=192.0.6.8;orig-ioi=visited.example.org",
    "Security-Verify: ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;spi-c=983227540;spi-s=427023956;port-c=31000",
    "Security-Client: ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;spi-c=12345678;spi-s=87654321;port-c=8000;port-s=8001",
    "Allow: INVITE, ACK, CANCEL, BYE, UPDATE, MESSAGE, OPTIONS, REFER, INFO, PRACK, NOTIFY",
    "Accept: application/sdp, application/3gpp-ims+xml, message/sip",
    "X-Padding: " + "p" * 86,
)
KINDS: dict[str, dict[str, Any]] = {
    "three contacts": {"contacts": 3},
    "IMS": {"parameters": IMS_PARAMETERS, "rows": IMS_ROWS},
}
"Other REGISTERs than the plain one, by what is different."


def kinds(samples: Samples, aors: int) -> None:
    """Add one round of refreshes with larger REGISTERs."""
    for name in ("memory", "Kamailio"):
        for kind, options in KINDS.items():
            with SERVERS[name]() as peer:
                load = Bench(peer, aors, **options)
                load.fill()
                run = load.refresh(REFRESHES // 2)
            samples.add(f"refresh us, {name}, {kind}", used(run.cpu_us))


def refreshes_of_many(samples: Samples, large: int) -> None:
    """Add the cost and the memory of a large table."""
    with registrar("memory") as peer:
        empty = used(peer.memory())
        load = Bench(peer, large)
        load.fill()
        run = load.refresh(large)
        samples.add(f"refresh us, memory, {large} AoRs", used(run.cpu_us))
        samples.add("bytes per AoR", (used(peer.memory()) - empty) / large)


def restart(samples: Samples, large: int) -> None:
    """Add how long it takes to serve again with a large table in the store."""
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
        began = time.monotonic()
        with running(command, folder) as pid:
            await_answer(Peer("committed", "127.0.0.1", port, pid), folder)
            samples.add("restart s", time.monotonic() - began)


def sipp(samples: Samples) -> None:
    """Add the cost at SIPp's highest rate without loss."""
    for name in ("memory", "Kamailio"):
        with SERVERS[name]() as peer:
            steps = [run for run in ramp(peer) if loss_free(run)]
        if steps:
            samples.add(f"SIPp us, {name}", used(steps[-1].cpu_us))
            samples.add(f"SIPp rate, {name}", steps[-1].rate)


# --- documents and messages


def parsers(samples: Samples) -> None:
    """Add the medians of the benchmarks of parser and documents."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "benchmarks.json"
        command = [sys.executable, "-m", "pytest", "-q", "benchmarks/test_parse.py", "benchmarks/test_reginfo.py"]
        subprocess.run([*command, f"--benchmark-json={file}"], cwd=HERE.parent, stdout=subprocess.DEVNULL, check=True)
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


def watchers(samples: Samples) -> None:
    for result in events.one_change_many_watchers(100_000, 1):
        samples.add(f"{result.work} us", result.cpu_us)
        samples.add(f"{result.work} s", result.seconds)
        if result.bytes_each is not None:
            samples.add("bytes per subscription", result.bytes_each)
    for result in events.register_to_notify(5_000):
        samples.add("REGISTER to NOTIFY p99 ms", used(result.p99_ms))


# --- the report


def lines(found: Samples, aors: int, large: int) -> list[Line]:
    """Return every promise with what was measured."""
    memory, committed = (found[f"refresh us, {name}, {aors} AoRs"] for name in ("memory", "committed"))
    echo, peer = (found[f"refresh us, {name}, {aors} AoRs"] for name in ("echo", "Kamailio"))
    read = "test_parse_register_10_headers_and_read_7_values"
    parse, build = found["test_parse[1_contact] us"], found["test_serialize[1_contact] us"]
    plain = found[f"refresh us, memory, {FEW} AoRs"]
    others = [
        line
        for kind in KINDS
        for line in (
            Line(f"REGISTER refresh, {kind}", found[f"refresh us, memory, {kind}"] / plain, "of the plain one", 2.0),
            Line(
                f"REGISTER refresh, {kind}",
                found[f"refresh us, memory, {kind}"] / found[f"refresh us, Kamailio, {kind}"],
                "of Kamailio",
                1.0,
            ),
        )
    ]
    return [
        *others,
        Line("REGISTER refresh, memory", memory / echo, "of the echo", 3.0),
        Line("REGISTER refresh, memory", memory / peer, "of Kamailio", 1 / 4),
        Line("REGISTER refresh, committed", committed / echo, "of the echo", 5.0),
        Line("REGISTER, committed, at half load", found["delay p99 ms, committed, half load"], "ms p99", 5.0),
        Line(
            f"the same at {large:,} AoRs",
            found[f"refresh us, memory, {large} AoRs"] / found[f"refresh us, memory, {FEW} AoRs"],
            f"of {FEW:,}",
            1.3,
        ),
        Line(
            "SIPp's highest rate without loss",
            found["SIPp us, memory"] / found["SIPp us, Kamailio"],
            "of Kamailio",
            1 / 3,
        ),
        Line(f"memory per AoR at {large:,}", found["bytes per AoR"], "bytes", 450),
        Line(f"restart with {large:,} bindings", found["restart s"], "s", 6),
        Line("REGISTER parsed, 7 values read", found[f"{read}[reginfo] us"], "us", 1.5),
        Line(
            "REGISTER parsed", found[f"{read}[reginfo] us"] / found[f"{read}[sipmessage] us"], "of sipmessage", 1 / 30
        ),
        Line("document of one contact written", build, "us", 1),
        Line("document of one contact written", build / found["test_serialize_lxml[1_contact] us"], "of lxml", 1 / 10),
        Line("document of one contact read", parse, "us", 7),
        Line(
            "document of one contact read",
            parse / found["test_parse_lxml_walk[1_contact] us"],
            "of lxml walked",
            1 / 1.7,
        ),
        Line(
            "NOTIFY applied",
            found["NOTIFY applied, known contact us, reginfo"] / found["NOTIFY applied, known contact us, Kamailio"],
            "of Kamailio",
            1 / 3,
        ),
        Line(
            "REGISTER with PUBLISH",
            found["REGISTER and PUBLISH us, reginfo"] / found["REGISTER and PUBLISH us, Kamailio"],
            "of Kamailio",
            1 / 5,
        ),
        Line(
            "PUBLISH taken",
            found["PUBLISH taken us, reginfo"] / found["PUBLISH taken us, Kamailio"],
            "of Kamailio",
            1 / 4,
        ),
        Line("AoRs lost on the way", found["AoRs not current, reginfo"], "AoRs", 0),
        Line("one change, 100,000 watchers", found["one change, NOTIFY and 200 us"], "us each", 40),
        Line("one change, 100,000 watchers", found["one change, NOTIFY and 200 s"], "s", 10),
        Line("subscription", found["bytes per subscription"], "bytes", 1_500),
        Line("REGISTER to NOTIFY", found["REGISTER to NOTIFY p99 ms"], "ms p99", 5),
    ]


def markdown(promises: list[Line]) -> str:
    rows = ["| work | measured | | at most | |", "|---|---|---|---|---|"]
    rows += [
        f"| {one.work} | {one.figure:,.3g} | {one.unit} | {one.bound:,.3g} | {'yes' if one.holds else 'no'} |"
        for one in promises
    ]
    return "\n".join(rows)


def plot(found: Samples, aors: int, path: Path) -> None:
    """Draw what a refresh costs at each server."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(SERVERS)
    figure, axes = pyplot.subplots(figsize=(7, 3))
    axes.barh(names, [found[f"refresh us, {name}, {aors} AoRs"] for name in names], color="#4c72b0")
    axes.invert_yaxis()
    axes.set_xlabel(f"CPU us for a REGISTER refresh, {aors:,} AoRs")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 20))
@click.option("--aors", default=100_000, show_default=True, type=click.IntRange(1_000, 1_000_000))
@click.option("--large", default=1_000_000, show_default=True, type=click.IntRange(1_000, 10_000_000))
def main(rounds: int, aors: int, large: int) -> None:
    """Print the table as Markdown; write it, CSV and a plot to benchmarks/results."""
    about = circumstances(())
    found = Samples()
    for number in range(1, rounds + 1):
        click.echo(f"round {number} of {rounds}", err=True)
        refreshes(found, aors)
        kinds(found, FEW)
        sipp(found)
        notifications(found)
        chains(found)
        parsers(found)
        refreshes_of_many(found, large)
        restart(found, large)
        watchers(found)
    promises = lines(found, aors, large)
    text = "\n".join([*(f"{line}  " for line in about), f"Medians of {rounds} rounds.", "", markdown(promises)])
    click.echo(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "report.md").write_text(text + "\n")
    with (RESULTS / "report.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([name, *values] for name, values in found.rows())
    plot(found, aors, RESULTS / "report.png")


if __name__ == "__main__":
    main()
