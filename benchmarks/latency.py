"""What a disturbance costs those who are not concerned: the rule of every line about latency.

A server has a core of its own, and everything else another one.  Pairs of a run without and one with the disturbance
are interleaved, and medians of the 99th percentile compared.  The generator offers REGISTERs at half of the highest
rate, which is looked for before each pair.  A virtual machine may have half of its speed a second later, and half of
the highest rate is all it can do then: load is offered in slices, highest rate included, and only those count in which
the core of the server had its full speed and the host took no processor away.  A pair in which most are of the others
is replaced.  A bound by factor never binds below FLOOR_MS, and the lag of the event loop has one of its own.
"""

import multiprocessing
import os
import secrets
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
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
TOP_REQUESTS = 10_000  # in a slice at full load, to find the highest rate
CALM_SECONDS = 4.0  # of each run without the disturbance
MOST_SECONDS = 8.0  # of each run with it: less than the server remembers the lag of its loop
SLICE_SECONDS = 0.1  # between two looks at the machine, and whether the disturbance is over
TOP_SLICES = 6  # at full load that tell something
MOST_SLICES = 300  # of a run
MOST_CALMS = 10  # times a run without the disturbance is tried
WORK = 5_000  # additions, to see how fast a core is: a quarter of a millisecond, as nobody is served meanwhile
FULL_SPEED = 1.25  # times the shortest that the work has ever taken, at most
LOOK_SECONDS = 0.05
LOOKS = 40  # in a row at which a core has its full speed, before a pair is begun
MOST_LOOKS = 1_200  # for them: a minute
MOST_ATTEMPTS = 4  # times as many as pairs are wanted; then those of an unsteady machine count, too
LATE_MS = 2.0  # a slice in which the generator itself was later than that says nothing about the server
PATIENCE = 60.0  # seconds it may last when nobody else wants anything any more

SERVER_CORE = min(os.sched_getaffinity(0))

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
    "Whether most slices say something about the server."


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
    os.sched_setaffinity(0, {SERVER_CORE})
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


class Core:
    """The core that a server has to itself, unless the host of a virtual machine thinks otherwise."""

    def __init__(self) -> None:
        self._shortest = float("inf")
        self.wait_for_full_speed(LOOKS)
        self._stolen = stolen_ticks()

    def is_at_full_speed(self) -> bool:
        """Return whether it is as fast as it has ever been."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {SERVER_CORE})
        try:
            now = min(timeit.repeat("x += 1", "x = 0", number=WORK, repeat=3))
        finally:
            os.sched_setaffinity(0, before)
        self._shortest = min(now, self._shortest)
        return now <= FULL_SPEED * self._shortest

    def wait_for_full_speed(self, most_looks: int) -> None:
        """Return once it has it for some seconds, or after so many looks."""
        in_a_row = 0
        while in_a_row < LOOKS and (most_looks := most_looks - 1) >= 0:
            time.sleep(LOOK_SECONDS)
            in_a_row = in_a_row + 1 if self.is_at_full_speed() else 0

    def is_given(self) -> bool:
        """Return whether the host has taken no processor away since this was asked."""
        before, self._stolen = self._stolen, stolen_ticks()
        return self._stolen == before


@dataclass(frozen=True)
class Bystanders:
    """The phones that are not concerned, registered already."""

    load: RegisterLoad
    core: Core = field(default_factory=Core)

    @classmethod
    def at(cls, server: RunningServer, aors: int, *, nonces: Sequence[str] = (), password: str = "") -> "Bystanders":
        """Register them, with credentials if they have nonces."""
        load = RegisterLoad(
            *server.udp, aors=aors, seed=secrets.randbits(64), window=WINDOW, nonces=nonces, password=password
        )
        _answered(load.run(aors, timeout=FILL_SECONDS))
        return cls(load)

    def half_rate(self) -> float:
        """Look for half of the highest rate, a second, when the core has its full speed."""
        self.core.wait_for_full_speed(MOST_LOOKS)
        reports, _ = self._slices(TOP_REQUESTS, 0.0, lambda telling: telling < TOP_SLICES)
        return sum(report.rate for report in reports) / len(reports) / 2

    def waited(self, rate: float, seconds: float, lasts: Callable[[], bool] = lambda: True) -> Waited:
        """Return how long 99 % of the answers took at most, for as long as it lasts and at most so many seconds."""
        until = time.monotonic() + seconds
        number = round(rate * SLICE_SECONDS)
        reports, is_telling = self._slices(number, rate, lambda _: time.monotonic() < until and lasts())
        return Waited(percentile_ms(numpy.sum([report.histogram for report in reports], axis=0), 99), is_telling)

    def _slices(self, number: int, rate: float, goes_on: Callable[[int], bool]) -> tuple[list[LoadReport], bool]:
        """Offer slices of load for as long as it goes on, by how many of them tell something about the server.

        Those are returned if there are any, and whether they are most; otherwise all are returned.
        """
        seen: list[LoadReport] = []
        telling: list[LoadReport] = []
        late = slow = taken = 0
        was_full = self.core.is_at_full_speed()
        self.core.is_given()
        while not seen or (goes_on(len(telling)) and len(seen) < MOST_SLICES):
            with before_others() if rate else nullcontext():
                report = _answered(self.load.run(number, rate=rate))
                is_full = self.core.is_at_full_speed()
            is_late, is_slow = report.late > LATE_MS / 1e3, not (was_full and is_full)
            is_taken = not self.core.is_given()
            late, slow, taken, was_full = late + is_late, slow + is_slow, taken + is_taken, is_full
            seen.append(report)
            if not (is_late or is_slow or is_taken):
                telling.append(report)
        if len(telling) < len(seen):
            said = f"generator late in {late}, core slower in {slow}, processor taken away in {taken}"
            click.echo(f"    {len(telling)} of {len(seen)} slices tell something: {said}", err=True)
        return telling or seen, 2 * len(telling) >= len(seen)


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
    while len(steady) < pairs and len(steady) + len(unsteady) < MOST_ATTEMPTS * pairs:
        for _ in range(MOST_CALMS):
            rate = others.half_rate()
            calm = others.waited(rate, calm_seconds)
            if calm.is_telling:
                break
        with disturbance.happens() as lasts:
            with_it = others.waited(rate, MOST_SECONDS, lasts)
            lag = loop_lag_ms(server)
        is_steady = calm.is_telling and with_it.is_telling
        (steady if is_steady else unsteady).append(_Pair(rate, calm.p99_ms, with_it.p99_ms, lag))
        click.echo(
            f"  {disturbance.name}, {'pair' if is_steady else 'unsteady pair'} at {rate:,.0f}/s: "
            f"p99 {calm.p99_ms:.3g} ms, disturbed {with_it.p99_ms:.3g} ms, lag {lag} ms",
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
