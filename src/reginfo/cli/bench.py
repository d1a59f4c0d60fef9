"""`reginfo bench`: what a REGISTER costs, in the words of RFC 6076 and RFC 7501."""

import csv
import dataclasses
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click

from reginfo.errors import ReginfoError
from reginfo.fast import LoadReport, RegisterLoad

START_TIMEOUT = 20.0  # seconds a server may take until it answers
STOP_TIMEOUT = 20.0  # seconds it may take to leave; then it is killed
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of a generator against one server."""

    server: str
    generator: str
    phase: str
    '"register" (new bindings) or "refresh".'
    aors: int
    offered: float
    "REGISTERs a second offered; 0 when the generator keeps a window full instead."
    requests: int
    rate: float
    "Registration Rate: answers with 200 a second."
    cpu_us: float | None
    "CPU time of the server per REGISTER answered, in microseconds."
    lost: int
    failed: int
    retransmissions: int
    p50_ms: float
    "Registration Request Delay (RRD) that half of the requests kept within."
    p99_ms: float
    p999_ms: float
    bytes_per_binding: float | None
    generator_drops: int
    "Answers the generator's own socket had no room for."

    @property
    def ineffective(self) -> float:
        """Return Ineffective Registration Attempts (IRA), in percent."""
        return 100 * (self.lost + self.failed) / self.requests if self.requests else 0.0


class Peer:
    """A server under test: where it listens and, if it was started here, its processes."""

    def __init__(self, name: str, host: str, port: int, pid: int | None = None) -> None:
        self.name = name
        self.host = host
        self.port = port
        self.pid = pid

    def cpu(self) -> float | None:
        """Return the CPU seconds of the process and its children, user and system."""
        if self.pid is None:
            return None
        return sum(float(fields[11]) + float(fields[12]) for fields in map(_stat, _tree(self.pid))) / TICKS

    def memory(self) -> float | None:
        """Return the octets it holds now, in a measure whose growth is that of its bindings."""
        if self.pid is None:
            return None
        return sum(int(_stat(pid)[21]) * PAGE for pid in _tree(self.pid))


def _stat(pid: int) -> list[str]:
    # The fields after the command, which may hold blanks and brackets itself (proc(5)).
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in _tree(int(child)))]


@contextmanager
def running(command: Sequence[str], folder: Path) -> Iterator[int]:
    """Run a server in a folder, its output in `log` there; yield its process id and stop it afterwards."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGINFO_")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a loopback port that UDP and TCP have free."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        stream.bind(("127.0.0.1", 0))
        datagrams.bind(stream.getsockname())
        return int(stream.getsockname()[1])


def await_answer(peer: Peer, folder: Path) -> None:
    """Return once the peer answers anything at all to an OPTIONS."""
    deadline = time.monotonic() + START_TIMEOUT
    token = secrets.token_hex(8)
    octets = (
        f"OPTIONS sip:{peer.host}:{peer.port} SIP/2.0\r\nVia: SIP/2.0/UDP load.invalid;rport;branch=z9hG4bK{token}\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:load@load.invalid>;tag={token}\r\nTo: <sip:{peer.host}:{peer.port}>\r\n"
        f"Call-ID: {token}@load.invalid\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    ).encode("ascii")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((peer.host, peer.port))
        client.settimeout(0.1)
        while True:
            try:
                client.send(octets)
                client.recv(65536)
                return
            except ConnectionRefusedError:
                time.sleep(0.05)
            except TimeoutError:
                pass
            if time.monotonic() > deadline or (peer.pid is not None and _stat(peer.pid)[0] == "Z"):
                log = folder / "log"
                raise ReginfoError(f"{peer.name} did not start: {log.read_text(errors='replace').strip()[-2000:]}")


@contextmanager
def registrar(durability: str, contacts: int = 1) -> Iterator[Peer]:
    """Run this project's registrar on loopback with an empty store."""
    with tempfile.TemporaryDirectory(prefix="reginfo-bench-") as scratch:
        folder = Path(scratch)
        port = free_port()
        store = "memory:" if durability == "memory" else "rocksdb:reginfo.db"
        (folder / "reginfo.toml").write_text(
            f'listen = ["udp:127.0.0.1:{port}", "tcp:127.0.0.1:{port}"]\ndomains = ["example.com"]\n'
            f"[registrar]\nmax_contacts = {max(10, contacts)}\n"
            f'[store]\nurl = "{store}"\ndurability = "{durability}"\n'
            '[admin]\nsocket = "reginfo.sock"\n'
        )
        with running([sys.executable, "-m", "reginfo", "serve", "-c", "reginfo.toml"], folder) as pid:
            peer = Peer(f"reginfo {durability}", "127.0.0.1", port, pid)
            await_answer(peer, folder)
            yield peer


@contextmanager
def echo_server() -> Iterator[Peer]:
    """Run the plain echo, the floor of what a datagram costs."""
    with tempfile.TemporaryDirectory(prefix="reginfo-bench-") as scratch:
        port = free_port()
        command = [sys.executable, "-m", "reginfo", "bench", "echo", "--listen", f"udp:127.0.0.1:{port}"]
        with running(command, Path(scratch)) as pid:
            peer = Peer("echo", "127.0.0.1", port, pid)
            await_answer(peer, Path(scratch))
            yield peer


class Bench:
    """The own generator against one peer: fill its table once, then refresh it as often as wanted."""

    def __init__(
        self, peer: Peer, aors: int, *, window: int = 128, contacts: int = 1, rate: float = 0.0, timeout: float = 120.0
    ) -> None:
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


def middle(runs: Sequence[Measurement]) -> Measurement:
    """Return the medians of several runs of one kind; losses and repetitions are the sums."""
    cpu = [run.cpu_us for run in runs if run.cpu_us is not None]
    memory = [run.bytes_per_binding for run in runs if run.bytes_per_binding is not None]
    return dataclasses.replace(
        runs[0],
        offered=median(run.offered for run in runs),
        requests=sum(run.requests for run in runs),
        rate=median(run.rate for run in runs),
        cpu_us=median(cpu) if cpu else None,
        lost=sum(run.lost for run in runs),
        failed=sum(run.failed for run in runs),
        retransmissions=sum(run.retransmissions for run in runs),
        p50_ms=median(run.p50_ms for run in runs),
        p99_ms=median(run.p99_ms for run in runs),
        p999_ms=median(run.p999_ms for run in runs),
        bytes_per_binding=median(memory) if memory else None,
        generator_drops=sum(run.generator_drops for run in runs),
    )


COLUMNS = {
    "server": "server",
    "generator": "generator",
    "phase": "phase",
    "aors": "AoRs",
    "offered": "offered/s",
    "rate": "REGISTER/s",
    "cpu_us": "CPU us",
    "lost": "lost",
    "failed": "failed",
    "retransmissions": "retransmitted",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "p999_ms": "p99.9 ms",
    "bytes_per_binding": "bytes/binding",
    "generator_drops": "generator drops",
}
"Field of a Measurement -> heading of its column."


def cell(field: str, value: object) -> str:
    """Return the text of one field for people."""
    if value is None or value != value or (field == "offered" and value == 0):
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if field in {"offered", "rate", "bytes_per_binding"} else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def markdown(measurements: Sequence[Measurement]) -> str:
    """Return a Markdown table of measurements, its columns aligned."""
    rows = [list(COLUMNS.values())]
    rows += [[cell(field, getattr(measured, field)) for field in COLUMNS] for measured in measurements]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def write_csv(path: Path, measurements: Sequence[Measurement]) -> None:
    """Write one row for each measurement, with the names of its fields."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Measurement)])
        writer.writeheader()
        writer.writerows(dataclasses.asdict(measured) for measured in measurements)


def write_plot(path: Path, measurements: Sequence[Measurement], title: str) -> None:
    """Draw rate and CPU time for each server and number of AoRs; needs the extra `bench`."""
    try:
        import matplotlib
    except ImportError:
        raise ReginfoError("--plot needs matplotlib: pip install 'reginfo[bench]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels = [f"{run.server}\n{run.generator}, {run.aors:,} AoRs, {run.phase}" for run in measurements]
    figure, (rates, costs) = pyplot.subplots(1, 2, figsize=(14, 1.5 + 0.45 * len(labels)), sharey=True)
    rates.barh(labels, [run.rate for run in measurements], color="#4c72b0")
    rates.set_xlabel("REGISTER/s")
    costs.barh(labels, [run.cpu_us or 0.0 for run in measurements], color="#c44e52")
    costs.set_xlabel("CPU us per REGISTER")
    rates.invert_yaxis()
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _address(text: str) -> tuple[str, int]:
    transport, _, rest = text.partition(":")
    host, _, port = rest.rpartition(":")
    if transport != "udp" or not host or not port.isdigit():
        raise click.BadParameter(f"{text!r} is not udp:ADDRESS:PORT")
    return host.strip("[]"), int(port)


@click.group()
def bench() -> None:
    """Measure what a REGISTER costs."""


@bench.command()
@click.option("--target", metavar="udp:ADDRESS:PORT", help="A server that runs already; default: start a registrar.")
@click.option("--durability", default="committed", show_default=True, help="Of the registrar that is started.")
@click.option("--aors", default=10_000, show_default=True, type=click.IntRange(1, 10_000_000))
@click.option("--contacts", default=1, show_default=True, type=click.IntRange(1, 32), help="In each REGISTER.")
@click.option("--requests", default=200_000, show_default=True, type=click.IntRange(1), help="Refreshes in each round.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 100), help="The medians are shown.")
@click.option("--window", default=128, show_default=True, type=click.IntRange(1, 65_536), help="Outstanding requests.")
@click.option("--rate", default=0.0, help="Offer so many a second (open loop) instead of keeping the window full.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write CSV.")
@click.option("--plot", "plot_file", type=click.Path(dir_okay=False, path_type=Path), help="Also draw a plot.")
def server(
    target: str | None,
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
    """Register AoRs at a server over UDP and refresh them; exit 1 if any attempt was ineffective."""
    if target is None:
        with registrar(durability, contacts) as peer:
            measured = _measure(peer, aors, contacts, requests, rounds, window, rate)
    else:
        measured = _measure(Peer(target, *_address(target)), aors, contacts, requests, rounds, window, rate)
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


def report(measured: Sequence[Measurement]) -> str:
    """Return the figures of one server for people, in the words of the RFCs."""
    blocks = []
    for run in measured:
        lines = {
            "Registration Rate (RFC 7501)": f"{run.rate:,.0f}/s",
            "CPU of the server": "-" if run.cpu_us is None else f"{run.cpu_us:.2f} us per REGISTER",
            "Registration Request Delay (RFC 6076)": (
                f"p50 {run.p50_ms:.3f} ms, p99 {run.p99_ms:.3f} ms, p99.9 {run.p999_ms:.3f} ms"
            ),
            "Ineffective Registration Attempts (RFC 6076)": (
                f"{run.ineffective:.3g} % ({run.lost} lost, {run.failed} failed)"
            ),
            "Retransmissions": f"{run.retransmissions}",
            "Drops at the generator": f"{run.generator_drops}",
        }
        if run.bytes_per_binding is not None:
            lines["Memory"] = f"{run.bytes_per_binding:,.0f} bytes per binding"
        blocks.append(f"{run.server}: {run.phase}, {run.aors:,} AoRs, {run.requests:,} requests")
        blocks += [f"  {name:<45}{value}" for name, value in lines.items()]
    return "\n".join(blocks)


@bench.command()
@click.option("--listen", default="udp:127.0.0.1:0", show_default=True, metavar="udp:ADDRESS:PORT")
def echo(listen: str) -> None:
    """Send every datagram back until stopped: the floor of what a server can cost."""
    from reginfo.fast import echo as echo_datagrams

    host, port = _address(listen)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        bound.bind((host, port))
        click.echo(f"udp:{host}:{bound.getsockname()[1]}")
        echo_datagrams(bound.fileno())
