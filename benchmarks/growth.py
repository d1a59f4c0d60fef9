"""Rate and cost of a REGISTER refresh against the number of AoRs, at each server: CSV and the plot of the README."""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from benchmarks.sipp_table import kamailio
from reginfo.cli._peers import Peer, echo_server, registrar
from reginfo.cli.bench import Bench

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
REFRESHES = 200_000
FILL_SECONDS = 90.0  # a table that is not full by then is left out

Server = Callable[[], AbstractContextManager[Peer]]
SERVERS: dict[str, Server] = {
    "echo": echo_server,
    "memory": lambda: registrar("memory"),
    "committed": lambda: registrar("committed"),
    "Kamailio": kamailio,
}


class Point(NamedTuple):
    """What refreshes are at one size of the table."""

    server: str
    aors: int
    rate: float
    cpu_us: float


def point(name: str, aors: int) -> Point | None:
    """Measure refreshes at a table that is filled once; None if that takes too long."""
    with SERVERS[name]() as peer:
        load = Bench(peer, aors, timeout=FILL_SECONDS)
        if load.fill().lost:
            return None
        run = load.refresh(REFRESHES)
    assert run.cpu_us is not None
    return Point(name, aors, run.rate, run.cpu_us)


def missing(known: Sequence[Point], largest: int) -> Iterator[Point]:
    """Yield a point for every server and size of which there is none yet."""
    have = {(one.server, one.aors) for one in known}
    for aors in (size for size in SIZES if size <= largest):
        for name in SERVERS:
            if (name, aors) not in have and (found := point(name, aors)) is not None:
                yield found


def write_csv(path: Path, points: Sequence[Point]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Point._fields)
        writer.writerows(points)


LOOKS = {
    "echo": ("UDP echo, the floor", "#7f7f7f", "s", ":"),
    "memory": ("reginfo, memory", "#1f77b4", "o", "-"),
    "committed": ("reginfo, committed", "#0b3c6d", "D", "-"),
    "Kamailio": ("Kamailio, memory, one worker", "#d95f02", "^", "--"),
}
"Server -> label, colour, marker, line."


def plot(path: Path, points: Sequence[Point], machine: str) -> None:
    """Draw both, one beside the other."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (rates, costs) = pyplot.subplots(1, 2, figsize=(10, 4.4))
    for name, (label, colour, marker, line) in LOOKS.items():
        mine = sorted(one for one in points if one.server == name)
        sizes = [one.aors for one in mine]
        look = {"color": colour, "marker": marker, "linestyle": line, "label": label}
        rates.plot(sizes, [one.rate / 1000 for one in mine], **look)
        costs.plot(sizes, [one.cpu_us for one in mine], **look)
    rates.set_title("REGISTER refreshes, thousands a second")
    costs.set_title("CPU of a REGISTER refresh, microseconds")
    sizes = sorted({one.aors for one in points})
    for axes in (rates, costs):
        axes.set_xscale("log")
        axes.set_xticks(sizes, [short(size) for size in sizes])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_xlabel("AoRs in the table")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *rates.get_legend_handles_labels(), loc="lower center", bbox_to_anchor=(0.5, 0.035), ncols=4, frameon=False
    )
    figure.text(0.995, 0.005, machine, ha="right", va="bottom", fontsize=6, color="#666666")
    figure.tight_layout(rect=(0, 0.11, 1, 1))
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def short(count: int) -> str:
    """Return 30k for 30,000 and 1M for a million."""
    return f"{count / 1e6:g}M" if count >= 1_000_000 else f"{count / 1000:g}k"
