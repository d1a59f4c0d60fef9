"""Compare this registrar with Kamailio under the same loads, and both with a plain echo.

Every server runs alone, with an empty table, on loopback.  SIPp offers REGISTERs at rising rates until one is lost or
repeated; the own generator keeps a window full, because one SIPp process ends before the server does.  This registrar
is asked what watchers and publishers ask, too: a call of SIPp is then a subscription or a publication from beginning
to end.  Rounds are interleaved and medians shown: a machine that changes its pace changes it for all.

    python -m benchmarks.sipp_table [--rounds 3] [--aors 10000 --aors 100000] [--requests 200000]
"""

import csv
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import click

from reginfo.cli._measurements import Measurement, markdown, middle, write_csv, write_plot
from reginfo.cli._peers import Peer, await_answer, echo_server, free_port, registrar, running
from reginfo.cli.bench import Bench

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
STEP_SECONDS = 2  # at each rate
SIPP_USERS = 10_000
PASSWORD = "secret"
SIPP_TIMEOUT = 30  # seconds one step may take in all
KAMAILIO_MEMORY = 2048  # MiB of shared memory: enough for a million AoRs

Server = Callable[[], AbstractContextManager[Peer]]


class Scenario(NamedTuple):
    """What SIPp says in each of its calls."""

    phase: str
    file: str
    rates: tuple[int, ...]
    "Calls a second, offered one after the other."


REGISTER = Scenario(
    "refresh", "register.xml", (5_000, 10_000, 15_000, 20_000, 25_000, 30_000, 35_000, 40_000, 45_000, 50_000)
)
WATCHER = Scenario("watch", "watcher.xml", (500, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 8_000, 10_000, 12_000))
PUBLISHER = Scenario("publish", "publisher.xml", WATCHER.rates)
AUTHENTICATE = Scenario("authenticate", "authenticate.xml", WATCHER.rates)
EVENTS = (WATCHER, PUBLISHER)
"Only of this registrar: Kamailio needs a database and modules of its own for them."

PHASES = ("register", *(scenario.phase for scenario in (REGISTER, *EVENTS)))


class KamailioPeer(Peer):
    """Kamailio: its bindings live in shared memory taken at the start, so its own count is asked for."""

    def __init__(self, port: int, pid: int, control: Path) -> None:
        super().__init__("Kamailio", "127.0.0.1", port, pid)
        self._control = control

    def memory(self) -> float | None:
        """Return the octets of shared memory in use."""
        for line in self._ask("core.shmmem"):
            name, _, value = line.partition(":")
            if name.strip() == "real_used":
                return float(value)
        return None

    def contacts(self) -> int:
        """Return how many contacts are bound."""
        lines = (line.partition(" = ") for line in self._ask("stats.get_statistics", "usrloc:"))
        return {name: int(value) for name, _, value in lines}["usrloc:location_contacts"]

    def _ask(self, *words: str) -> list[str]:
        command = ["kamcmd", "-s", f"unix:{self._control}", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


@contextmanager
def kamailio(users: Path | None = None) -> Iterator[Peer]:
    """Run Kamailio as a registrar with its table in memory and one worker; with users it asks for MD5 credentials."""
    with tempfile.TemporaryDirectory(prefix="reginfo-bench-") as scratch:
        folder = Path(scratch)
        (folder / "run").mkdir()
        port = free_port()
        configuration = folder / "kamailio.cfg"
        text = (HERE / "kamailio.cfg").read_text()
        configuration.write_text(text.replace("@PORT@", str(port)).replace("@DIR@", scratch))
        command = ["kamailio", "-DD", "-E", "-f", str(configuration), "-P", f"{scratch}/kamailio.pid"]
        command += ["-m", str(KAMAILIO_MEMORY), "-w", scratch, "-Y", f"{scratch}/run"]
        if users is not None:
            shutil.copy(users, folder / "subscriber.db")
            command += ["-A", "WITH_AUTH"]
        with running(command, folder) as pid:
            peer = KamailioPeer(port, pid, folder / "ctl")
            await_answer(peer, folder)
            yield peer


def sipp_users(names: Sequence[str] = ()) -> list[str]:
    """Return the rows of users as SIPp reads them; the passwords are for the scenarios that need them."""
    names = names or [f"s{number:06}" for number in range(SIPP_USERS)]
    return [f"{name};[authentication username={name} password={PASSWORD}]" for name in names]


def sipp_step(peer: Peer, rate: int, scenario: Scenario = REGISTER) -> Measurement:
    """Let SIPp offer that many calls a second and return what came of them."""
    with tempfile.TemporaryDirectory(prefix="reginfo-bench-") as scratch:
        folder = Path(scratch)
        (folder / "users.csv").write_text("\n".join(["SEQUENTIAL", *sipp_users()]) + "\n")
        command = ["sipp", f"{peer.host}:{peer.port}", "-sf", str(HERE / "sipp" / scenario.file), "-inf", "users.csv"]
        command += ["-i", "127.0.0.1", "-p", str(free_port()), "-r", str(rate), "-m", str(rate * STEP_SECONDS)]
        command += ["-l", "50000", "-nostdin", "-trace_stat", "-stf", "out.csv", "-fd", "1"]
        command += ["-timeout", f"{SIPP_TIMEOUT}s", "-buff_size", str(4 << 20)]
        before = peer.cpu()
        with (folder / "log").open("wb") as log:
            subprocess.run(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=2 * SIPP_TIMEOUT,
                check=False,
            )
        after = peer.cpu()
        if not (folder / "out.csv").exists():
            raise click.ClickException(f"sipp did not run: {(folder / 'log').read_text(errors='replace')[-1000:]}")
        with (folder / "out.csv").open(newline="") as file:
            last = list(csv.DictReader(file, delimiter=";"))[-1]
    answered = int(last["SuccessfulCall(C)"])
    requests = int(last["TotalCallCreated"])
    used = None if before is None or after is None or not answered else after - before
    return Measurement(
        server=peer.name,
        generator="SIPp",
        phase=scenario.phase,
        aors=SIPP_USERS,
        offered=rate,
        requests=requests,
        rate=float(last["CallRate(C)"]),
        cpu_us=None if used is None else used / answered * 1e6,
        lost=requests - answered,
        failed=0,
        retransmissions=int(last["Retransmissions(C)"]),
        p50_ms=sipp_percentile(last, 50),
        p99_ms=sipp_percentile(last, 99),
        p999_ms=sipp_percentile(last, 99.9),
        bytes_per_binding=None,
        generator_drops=0,
    )


def sipp_percentile(row: dict[str, str], q: float) -> float:
    """Return the bound in milliseconds below which q percent of the answers came; SIPp counts in classes."""
    name = "ResponseTimeRepartition1_<"
    classes = [
        (float(key.removeprefix(name)), int(value)) for key, value in row.items() if key and key.startswith(name)
    ]
    total = sum(int(value) for key, value in row.items() if key and key.startswith("ResponseTimeRepartition1_"))
    below = 0
    for bound, number in classes:
        below += number
        if total and below >= total * q / 100:
            return bound
    return float("inf") if total else float("nan")


def loss_free(run: Measurement) -> bool:
    """Tell whether a step kept its rate without losing or repeating a request."""
    return run.lost == 0 and run.retransmissions == 0 and run.rate >= 0.95 * run.offered


def ramp(peer: Peer, scenario: Scenario = REGISTER) -> list[Measurement]:
    """Raise SIPp's rate until a step is not loss-free, which is the last one returned."""
    sipp_step(peer, REGISTER.rates[0])  # fills the table and warms the server
    return climb(peer, scenario)


def climb(peer: Peer, scenario: Scenario) -> list[Measurement]:
    """Return the steps of a ramp at a server that is warm."""
    steps = []
    for rate in scenario.rates:
        steps.append(sipp_step(peer, rate, scenario))
        if not loss_free(steps[-1]):
            break
    return steps


def measure(server: Server, aors: Sequence[int], requests: int, scenarios: Sequence[Scenario]) -> Iterator[Measurement]:
    """Yield one round of one server: SIPp's ramps, then each table size under the own generator."""
    for scenario in scenarios:
        with server() as peer:
            yield from ramp(peer, scenario)
    for number in aors:
        with server() as peer:
            bench = Bench(peer, number)
            yield bench.fill()
            yield bench.refresh(requests)


def scenarios(server: str) -> tuple[Scenario, ...]:
    """Return what SIPp asks of a server."""
    if server == "echo":
        return ()
    return (REGISTER, *EVENTS) if server.startswith("reginfo") else (REGISTER,)


def table(runs: Sequence[Measurement]) -> list[Measurement]:
    """Return the medians over the rounds, SIPp's with the highest rate that was loss-free in every round."""
    order = {run.server: index for index, run in reversed(list(enumerate(runs)))}

    def key(run: Measurement) -> tuple[int, str, int, int, float]:
        return (order[run.server], run.generator, run.aors, PHASES.index(run.phase), run.offered)

    rows = [middle(list(group)) for _, group in groupby(sorted(runs, key=key), key)]
    kept = []
    for _, group in groupby(rows, lambda run: (run.server, run.generator, run.generator == "SIPp" and run.phase)):
        several = list(group)
        if several[0].generator == "SIPp":
            several = [run for run in several if loss_free(run)][-1:] or several[:1]
        kept += several
    return kept


def program_version(*command: str) -> str:
    """Return the first line a program prints about its version."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return next((line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()), "unknown")


def circumstances(skipped: Sequence[str]) -> list[str]:
    """Return what the figures depend on, one line each."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")), "")
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True, check=False
    ).stdout.strip()
    lines = [
        f"Machine: {model or platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}, "
        f"load {os.getloadavg()[0]:.1f} at the start",
        f"reginfo {version('reginfo')} at {commit or 'unknown'}, Python {platform.python_version()}",
    ]
    lines += [program_version(program, "-v") for program in ("kamailio", "sipp") if shutil.which(program)]
    return lines + [f"Skipped: {reason}" for reason in skipped]


@click.command()
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 20))
@click.option("--aors", default=(10_000, 100_000), show_default=True, multiple=True, type=click.IntRange(1, 1_000_000))
@click.option("--requests", default=200_000, show_default=True, type=click.IntRange(1), help="Refreshes of each run.")
def main(rounds: int, aors: tuple[int, ...], requests: int) -> None:
    """Print the table as Markdown; write CSV and a plot to benchmarks/results."""
    skipped = []
    servers: dict[str, Server] = {
        "echo": echo_server,
        "reginfo memory": lambda: registrar("memory"),
        "reginfo committed": lambda: registrar("committed"),
    }
    if shutil.which("kamailio"):
        servers["Kamailio"] = kamailio
    else:
        skipped.append("Kamailio, which is not installed (apt install kamailio)")
    with_sipp = shutil.which("sipp") is not None
    if not with_sipp:
        skipped.append("SIPp, which is not installed (apt install sip-tester)")
    about = circumstances(skipped)
    runs: list[Measurement] = []
    for number in range(1, rounds + 1):
        for name, server in servers.items():
            click.echo(f"round {number} of {rounds}: {name}", err=True)
            runs += measure(server, aors, requests, scenarios(name) if with_sipp else ())
    rows = table(runs)
    click.echo("\n".join(f"{line}  " for line in about))
    click.echo(f"Medians of {rounds} rounds; SIPp's rows show the highest rate without loss or repetition.\n")
    click.echo(markdown(rows))
    RESULTS.mkdir(exist_ok=True)
    write_csv(RESULTS / "bench-sipp.csv", runs)
    write_plot(RESULTS / "bench-sipp.png", rows, about[1])
    click.echo(f"\nwritten: {RESULTS / 'bench-sipp.csv'} and {RESULTS / 'bench-sipp.png'}", err=True)


if __name__ == "__main__":
    sys.exit(main())
