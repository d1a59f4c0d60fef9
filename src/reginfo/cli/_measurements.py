"""What a run of calls came to, and how it is shown: the words of RFC 6076 and RFC 7501, table, CSV, plot."""

import csv
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from reginfo.errors import ReginfoError


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of a generator against one server."""

    server: str
    generator: str
    phase: str
    """What a call is: "register" (one REGISTER, new bindings), "refresh", "watch" (a subscription), "publish"."""
    aors: int
    offered: float
    "Calls a second offered; 0 when the generator keeps a window full instead."
    requests: int
    rate: float
    "Calls a second that ended well; of REGISTERs the Registration Rate."
    cpu_us: float | None
    "CPU time of the server per call that ended well, in microseconds."
    lost: int
    failed: int
    retransmissions: int
    p50_ms: float
    "Delay that half of the calls kept within; of REGISTERs the Registration Request Delay (RRD)."
    p99_ms: float
    p999_ms: float
    bytes_per_binding: float | None
    generator_drops: int
    "Answers the generator's own socket had no room for."

    @property
    def ineffective(self) -> float:
        """Return Ineffective Registration Attempts (IRA), in percent."""
        return 100 * (self.lost + self.failed) / self.requests if self.requests else 0.0


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


COLUMNS = {
    "server": "server",
    "generator": "generator",
    "phase": "phase",
    "aors": "AoRs",
    "offered": "offered/s",
    "rate": "calls/s",
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


def pyplot_for_files() -> Any:
    """Return matplotlib's pyplot, which draws to files only; ReginfoError without the extra `bench`."""
    try:
        import matplotlib
    except ImportError:
        raise ReginfoError("--plot needs matplotlib: pip install 'reginfo[bench]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def write_plot(path: Path, measurements: Sequence[Measurement], title: str) -> None:
    """Draw rate and CPU time for each server and number of AoRs; needs the extra `bench`."""
    pyplot = pyplot_for_files()
    labels = [f"{run.server}\n{run.generator}, {run.aors:,} AoRs, {run.phase}" for run in measurements]
    figure, (rates, costs) = pyplot.subplots(1, 2, figsize=(14, 1.5 + 0.45 * len(labels)), sharey=True)
    rates.barh(labels, [run.rate for run in measurements], color="#4c72b0")
    rates.set_xlabel("calls/s")
    costs.barh(labels, [run.cpu_us or 0.0 for run in measurements], color="#c44e52")
    costs.set_xlabel("CPU us per call")
    rates.invert_yaxis()
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
