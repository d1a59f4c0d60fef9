"""What it takes to move a whole location service: out into Kamailio's table, in from it, and compared.

python -m benchmarks.transfer [--bindings 1000000]

One server exports its contacts to SQLite, another one imports them, and both are compared in the end: nothing may
differ.  Memory is the peak of the command's process, and what the importing server holds for each contact; lag is that
of the server's event loop meanwhile, the longest there was.
"""

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import click

from benchmarks.events import own
from benchmarks.latency import FILL_SECONDS, loop_lag_ms
from reginfo.fast import RegisterLoad
from tests.server_fixture import RunningServer

LIFETIME: Final = 86_400  # seconds, more than it all takes
LAG_SECONDS: Final = 2.0  # between two looks at the lag of a loop, which remembers it longer
LOOK_SECONDS: Final = 0.05  # between two looks at the memory of a process, whose peak the last one tells


class Moved(NamedTuple):
    """What one command took."""

    command: str
    seconds: float
    peak_mib: float
    lag_ms: int


def transfer(bindings: int) -> list[Moved]:
    """Export, import and compare; raises ClickException if anything is lost on the way."""
    with own("") as (source, _), own("") as (target, _):
        load = RegisterLoad(*source.udp, aors=bindings, seed=1, expires=LIFETIME)
        answered = load.run(bindings, timeout=FILL_SECONDS).answered
        if answered != bindings:
            raise click.ClickException(f"{answered} of {bindings} registered")
        table = f"sqlite:{target.folder / 'location.sqlite'}"
        moved = [
            run(source, "ul", "export", table, "--yes"),
            run(target, "ul", "import", table),
        ]
        sockets = [str(server.folder / "reginfo.sock") for server in (source, target)]
        moved.append(run(target, "compare", *sockets))
        click.echo(f"{target.rss / 2**20:.0f} MiB held by the importing server", err=True)
        return moved


def run(server: RunningServer, *arguments: str) -> Moved:
    """Run a command beside a server, in its folder."""
    process = subprocess.Popen(
        [sys.executable, "-m", "reginfo", *arguments], cwd=server.folder, stdout=subprocess.DEVNULL
    )
    began = time.monotonic()
    peak = lag = looked = 0.0
    while process.poll() is None:
        with suppress(IndexError):
            peak = max(peak, peak_mib(process.pid))
        if time.monotonic() - looked >= LAG_SECONDS:
            lag, looked = max(lag, loop_lag_ms(server)), time.monotonic()
        time.sleep(LOOK_SECONDS)
    seconds = time.monotonic() - began
    if process.returncode:
        raise click.ClickException(f"{' '.join(arguments)}: exit {process.returncode}")
    name = " ".join(one for one in arguments if one.isalpha())
    return Moved(name, seconds, peak, int(max(lag, loop_lag_ms(server))))


def peak_mib(pid: int) -> float:
    """Return how much memory a process has held at most; IndexError once it has ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@click.command()
@click.option("--bindings", default=1_000_000, show_default=True, type=click.IntRange(1, 2_000_000))
def main(bindings: int) -> None:
    """Move a location service, and print what each command took."""
    click.echo("| command | seconds | peak MiB | loop late by ms |\n|---|---|---|---|")
    for moved in transfer(bindings):
        click.echo(f"| {moved.command} | {moved.seconds:.1f} | {moved.peak_mib:.0f} | {moved.lag_ms} |")


if __name__ == "__main__":
    main()
