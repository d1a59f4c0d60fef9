"""`reginfo bench`: what a REGISTER costs, over a network and beside it."""

import dataclasses
import json
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

import click

from reginfo.cli import HelpfulGroup
from reginfo.cli._measurements import Measurement, middle, report, write_csv, write_plot
from reginfo.cli._peers import Peer, registrar
from reginfo.cli.bench_local import parse, store
from reginfo.config import Listener, parse_listener
from reginfo.errors import ConfigError
from reginfo.fast import LoadReport, RegisterLoad


class Bench:
    """The own generator against one peer: fill its table once, then refresh it as often as wanted."""

    def __init__(
        self,
        peer: Peer,
        aors: int,
        *,
        window: int = 512,
        contacts: int = 1,
        rate: float = 0.0,
        timeout: float = 120.0,
        parameters: str = "",
        rows: Sequence[str] = (),
        nonces: Sequence[str] = (),
        password: str = "",
    ) -> None:
        """parameters follow each Contact, rows are further headers: `Supported: path`; nonces as in RegisterLoad."""
        self.peer = peer
        self.aors = aors
        self._contacts = contacts
        self._rate = rate
        self._timeout = timeout
        self._load = RegisterLoad(
            peer.host,
            peer.port,
            aors=aors,
            seed=secrets.randbits(64),
            window=window,
            contacts=contacts,
            echo=peer.name == "echo",
            parameters=parameters,
            rows=rows,
            nonces=nonces,
            password=password,
        )

    def fill(self) -> Measurement:
        """Register every AoR once; the memory this takes is that of its bindings."""
        before = self.peer.memory()
        measured = self._run("register", self.aors, 0.0)
        after = self.peer.memory()
        if before is None or after is None or not self.aors:
            return measured
        return dataclasses.replace(measured, bytes_per_binding=(after - before) / (self.aors * self._contacts))

    def refresh(self, requests: int) -> Measurement:
        """Refresh AoRs round and round."""
        return self._run("refresh", requests, self._rate)

    def _run(self, phase: str, requests: int, rate: float) -> Measurement:
        before = self.peer.cpu()
        report = self._load.run(requests, rate=rate, timeout=self._timeout)
        after = self.peer.cpu()
        used = None if before is None or after is None or not report.answered else after - before
        return Measurement(
            server=self.peer.name,
            generator="own",
            phase=phase,
            aors=self.aors,
            offered=rate,
            requests=report.requests,
            rate=report.rate,
            cpu_us=None if used is None else used / report.answered * 1e6,
            lost=report.lost,
            failed=report.failed,
            retransmissions=report.retransmissions,
            p50_ms=_milliseconds(report, 50),
            p99_ms=_milliseconds(report, 99),
            p999_ms=_milliseconds(report, 99.9),
            bytes_per_binding=None,
            generator_drops=report.receive_drops,
        )


def _milliseconds(report: LoadReport, q: float) -> float:
    return report.percentile(q) * 1e3


def udp_address(ctx: click.Context, param: click.Parameter, value: str | None) -> Listener | None:
    """Read an address as the configuration has it, but for UDP only."""
    if value is None:
        return None
    try:
        listener = parse_listener(value)
    except ConfigError:
        listener = None
    if listener is None or listener.transport != "udp":
        raise click.BadParameter(f"{value!r} is not udp:ADDRESS:PORT", ctx, param)
    return listener


@click.group(cls=HelpfulGroup)
def bench() -> None:
    """Measure what a REGISTER costs, and the parts it goes through."""


@bench.command()
@click.option(
    "--target",
    callback=udp_address,
    metavar="udp:ADDRESS:PORT",
    help="A server that runs already; default: start a registrar.",
)
@click.option("--durability", default="committed", show_default=True, help="Of the registrar that is started.")
@click.option("--aors", default=10_000, show_default=True, type=click.IntRange(1, 10_000_000))
@click.option("--contacts", default=1, show_default=True, type=click.IntRange(1, 32), help="In each REGISTER.")
@click.option("--requests", default=200_000, show_default=True, type=click.IntRange(1), help="Refreshes in each round.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 100), help="The medians are shown.")
@click.option("--window", default=512, show_default=True, type=click.IntRange(1, 65_536), help="Outstanding requests.")
@click.option("--rate", default=0.0, help="Offer so many a second (open loop) instead of keeping the window full.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write CSV.")
@click.option("--plot", "plot_file", type=click.Path(dir_okay=False, path_type=Path), help="Also draw a plot.")
def server(
    target: Listener | None,
    durability: str,
    aors: int,
    contacts: int,
    requests: int,
    rounds: int,
    window: int,
    rate: float,
    as_json: bool,
    csv_file: Path | None,
    plot_file: Path | None,
) -> None:
    """Register AoRs at a server over UDP and refresh them; exit 1 if any attempt was ineffective.

    \b
    Examples:
      reginfo bench server
      reginfo bench server --target udp:192.0.2.1:5060 --csv figures.csv
    """
    if target is None:
        with registrar(durability, contacts) as peer:
            measured = _measure(peer, aors, contacts, requests, rounds, window, rate)
    else:
        measured = _measure(Peer(str(target), target.host, target.port), aors, contacts, requests, rounds, window, rate)
    if as_json:
        click.echo(json.dumps([{**dataclasses.asdict(run), "ineffective": run.ineffective} for run in measured]))
    else:
        click.echo(report(measured))
    if csv_file is not None:
        write_csv(csv_file, measured)
    if plot_file is not None:
        write_plot(plot_file, measured, f"{contacts} contacts, window {window}")
    if any(run.ineffective for run in measured):
        raise click.exceptions.Exit(1)


def _measure(
    peer: Peer, aors: int, contacts: int, requests: int, rounds: int, window: int, rate: float
) -> list[Measurement]:
    load = Bench(peer, aors, window=window, contacts=contacts, rate=rate)
    filled = load.fill()
    return [filled, middle([load.refresh(requests) for _ in range(rounds)])]


@bench.command()
@click.option(
    "--listen", callback=udp_address, default="udp:127.0.0.1:0", show_default=True, metavar="udp:ADDRESS:PORT"
)
def echo(listen: Listener) -> None:
    """Send every datagram back until stopped: the floor of what a server can cost.

    \b
    Examples:
      reginfo bench echo --listen udp:127.0.0.1:5070
    """
    from reginfo.fast import echo as echo_datagrams

    with socket.socket(socket.AF_INET6 if ":" in listen.host else socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        bound.bind((listen.host, listen.port))
        click.echo(listen._replace(port=bound.getsockname()[1]))
        echo_datagrams(bound.fileno())


bench.add_command(parse)
bench.add_command(store)
