"""What a disturbance costs those who are not concerned: the rule of every line about latency.

A server has a core of its own, and everything else another one.  Pairs of a run without and one with the disturbance
are interleaved, and medians of the 99th percentile compared.  The generator offers REGISTERs at half of the highest
rate, which is looked for before each pair and after it: a virtual machine may be half as fast a minute later, and a
pair in which it changed its speed, or was hardly there, is measured again.  A bound by factor never binds below
FLOOR_MS, and the lag of the event loop has one of its own.
"""

import multiprocessing
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

import click
import numpy

from reginfo.admin.control import ControlClient
from reginfo.fast import LoadReport, RegisterLoad
from tests.server_fixture import RunningServer

FLOOR_MS = 5.0
MAX_LAG_MS = 20.0
FILL_SECONDS = 300.0
WINDOW = 512  # REGISTERs outstanding: phones do not wait for each other, and a smaller one makes them
TOP_REQUESTS = 100_000  # at full load, to find the highest rate
CALM_SECONDS = 4.0  # of each run without the disturbance
MOST_SECONDS = 8.0  # of each run with it: less than the server remembers the lag of its loop
SLICE_SECONDS = 0.5  # between two looks whether the disturbance is over
STEADY = 0.8  # of the highest rate is what it may have become in a pair
MOST_ATTEMPTS = 3  # times as many as pairs are wanted; then those of an unsteady machine count, too
LATE_MS = 2.0  # a slice in which the generator itself was later than that says nothing about the server
PATIENCE = 60.0  # seconds it may last when nobody else wants anything any more

T = TypeVar("T")


class Disturbance(NamedTuple):
    """Something that must not be felt by others."""

    name: str
    factor: float
    "How much longer the others may wait."
    happens: Callable[[], AbstractContextManager[Callable[[], bool]]]
    """Prepare it, begin it and give what tells whether it still lasts; leaving the block ends it, waits until nothing
    is left of it, and checks that it was what it should be.  It is entered once for each pair."""


class Felt(NamedTuple):
    """What the others felt, medians of the pairs."""

    name: str
    rate: float
    "Offered, a second."
    calm_ms: float
    disturbed_ms: float
    "99th percentiles."
    lag_ms: float
    bound_ms: float


class Waited(NamedTuple):
    """How long the others waited for their answers."""

    p99_ms: float
    is_telling: bool
    "Whether there were enough slices that say something about the server."


class _Pair(NamedTuple):
    """A run without the disturbance and one with it, as in Felt."""

    rate: float
    calm_ms: float
    disturbed_ms: float
    lag_ms: float


@contextmanager
def on_own_core(server: AbstractContextManager[T]) -> Iterator[T]:
    """Run a server on one core; this process, and what it starts meanwhile, has another if there is one."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        with server as running:
            os.sched_setaffinity(0, {max(before)})
            yield running
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def before_others() -> Iterator[None]:
    """Let this thread go before whatever shares its core, if it may: an instrument that waits measures itself."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))


@dataclass(frozen=True)
class Bystanders:
    """The phones that are not concerned, registered already."""

    load: RegisterLoad

    @classmethod
    def at(cls, server: RunningServer, aors: int, *, nonces: Sequence[str] = (), password: str = "") -> "Bystanders":
        """Register them, with credentials if they have nonces."""
        load = RegisterLoad(
            *server.udp, aors=aors, seed=secrets.randbits(64), window=WINDOW, nonces=nonces, password=password
        )
        _answered(load.run(aors, timeout=FILL_SECONDS))
        return cls(load)

    def half_rate(self) -> float:
        """Return half of the highest rate, a second, as it is now."""
        return _answered(self.load.run(TOP_REQUESTS, timeout=120.0)).rate / 2

    def waited(self, rate: float, seconds: float, lasts: Callable[[], bool] = lambda: True) -> "Waited":
        """Return how long 99 % of the answers took at most, for as long as it lasts and at most so many seconds.

        Slices in which the generator came late itself, or the host took a processor away, are left out unless nearly
        all are: they say nothing about the server.
        """
        until = time.monotonic() + seconds
        reports: list[LoadReport] = []
        undisturbed: list[LoadReport] = []
        late = taken_away = 0
        while not reports or (time.monotonic() < until and lasts()):
            before = stolen_ticks()
            with before_others():
                report = _answered(self.load.run(round(rate * SLICE_SECONDS), rate=rate))
            reports.append(report)
            is_late, is_stolen = report.late > LATE_MS / 1e3, stolen_ticks() > before
            late, taken_away = late + is_late, taken_away + is_stolen
            if not (is_late or is_stolen):
                undisturbed.append(report)
        if late or taken_away:
            said = f"generator late in {late}, processor taken away in {taken_away} of {len(reports)} slices"
            click.echo(f"  {said}", err=True)
        is_telling = len(undisturbed) >= len(reports) / 4
        counted = undisturbed if is_telling else reports
        return Waited(percentile_ms(numpy.sum([report.histogram for report in counted], axis=0), 99), is_telling)


def stolen_ticks() -> int:
    """Return for how long the host of a virtual machine has used its processors for others (proc(5): steal)."""
    return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8])


def _answered(report: LoadReport) -> LoadReport:
    if report.lost or report.failed:
        raise click.ClickException(f"{report.lost} REGISTERs lost, {report.failed} refused ({report.last_failure})")
    return report


def percentile_ms(histogram: "numpy.ndarray[tuple[int], numpy.dtype[numpy.int64]]", q: float) -> float:
    """Return LoadReport.percentile of several runs, whose buckets are linear up to 64 ns and then 32 to the octave."""
    reached = numpy.cumsum(histogram)
    bucket = int(numpy.searchsorted(reached, reached[-1] * (q / 100)))
    octave = max(0, bucket // 32 - 1)
    return ((bucket - 32 * octave) << octave) / 1e6


def loop_lag_ms(server: RunningServer) -> int:
    """Return the longest lag of the server's event loop in the last seconds."""
    with ControlClient(str(server.folder / "reginfo.sock")) as client:
        return int(client.call("stats.get_statistics", ["core:loop_lag_ms"])["core"]["loop_lag_ms"])


def disturbed(
    server: RunningServer,
    others: Bystanders,
    disturbance: Disturbance,
    pairs: int,
    *,
    calm_seconds: float = CALM_SECONDS,
) -> Felt:
    """Return what others felt of a disturbance."""
    steady: list[_Pair] = []
    unsteady: list[_Pair] = []
    rate = others.half_rate()
    while len(steady) < pairs and len(steady) + len(unsteady) < MOST_ATTEMPTS * pairs:
        calm = others.waited(rate, calm_seconds)
        with disturbance.happens() as lasts:
            with_it = others.waited(rate, MOST_SECONDS, lasts)
            lag = loop_lag_ms(server)
        pair = _Pair(rate, calm.p99_ms, with_it.p99_ms, lag)
        rate = others.half_rate()
        is_steady = min(rate, pair.rate) >= STEADY * max(rate, pair.rate) and calm.is_telling and with_it.is_telling
        (steady if is_steady else unsteady).append(pair)
        click.echo(
            f"  {disturbance.name}, {'pair' if is_steady else 'unsteady pair'} at {pair.rate:,.0f}/s, {rate:,.0f}/s "
            f"after it: p99 {calm.p99_ms:.3g} ms, disturbed {with_it.p99_ms:.3g} ms, lag {lag} ms",
            err=True,
        )
    name, told = disturbance.name, steady
    if len(steady) < pairs:
        name, told = f"{name} (on an unsteady machine)", steady + unsteady
    counted = _Pair(*map(median, zip(*told, strict=True)))
    bound = max(FLOOR_MS, disturbance.factor * counted.calm_ms)
    return Felt(name, counted.rate, counted.calm_ms, counted.disturbed_ms, counted.lag_ms, bound)


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Do work in a process that only runs while the generator does not; give what tells whether it still does.

    It has to be over some time after the block, and to have raised nothing.
    """
    process = multiprocessing.get_context("fork").Process(target=_in_idle_time, args=(work,), daemon=True)
    process.start()
    try:
        yield process.is_alive
        if process.is_alive() and process.pid is not None:
            with suppress(PermissionError):  # then it takes what time there is
                os.sched_setscheduler(process.pid, os.SCHED_OTHER, os.sched_param(0))
        process.join(PATIENCE)
        if process.exitcode != 0:
            raise click.ClickException("a disturbance did not come to its end")
    finally:
        process.kill()
        process.join()


def _in_idle_time(work: Callable[[], None]) -> None:
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    work()
