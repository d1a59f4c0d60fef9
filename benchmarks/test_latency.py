"""The rule of every line about latency is computed right."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy
import pytest

from benchmarks import latency
from benchmarks.latency import FLOOR_MS, Bystanders, Disturbance, Waited, disturbed, percentile_ms
from reginfo.cli._peers import registrar
from reginfo.fast import RegisterLoad
from tests.server_fixture import running_server


def test_the_percentile_of_one_histogram_is_that_of_its_report() -> None:
    with registrar("memory") as peer:
        load = RegisterLoad(peer.host, peer.port, aors=200, seed=1)
        report = load.run(2_000)
    for q in (1, 50, 99, 100):
        assert round(percentile_ms(numpy.array(report.histogram), q) * 1e6) == round(report.percentile(q) * 1e9)


class Machine(latency.Core):
    """A core that is as fast, and as much there, as a test says at each look: it is looked at once before a run."""

    def __init__(self, *, is_full: Sequence[bool] = (), is_given: Sequence[bool] = ()) -> None:
        self._is_full = iter(is_full)
        self._is_given = iter(is_given)

    def is_at_full_speed(self) -> bool:
        return next(self._is_full, True)

    def is_given(self) -> bool:
        return next(self._is_given, True)

    def wait_for_full_speed(self, most_looks: int) -> None:
        pass


def test_runs_without_and_with_a_disturbance_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disturbance lasts as long as it says, and its bound never binds below 5 ms."""
    monkeypatch.setattr(latency, "TOP_REQUESTS", 500)
    monkeypatch.setattr(latency, "LATE_MS", 1e6)
    events: list[str] = []

    @contextmanager
    def happens() -> Iterator[Callable[[], bool]]:
        events.append("begin")
        yield lambda: False
        events.append("end")

    with running_server(tmp_path, ["example.com"], 'store = { url = "memory:" }\n') as server:
        load = RegisterLoad(*server.udp, aors=100, seed=2)
        others = Bystanders(load, Machine())
        felt = disturbed(server, others, Disturbance("nothing", 0.001, happens), 2, calm_seconds=0.1)
    assert events == ["begin", "end"] * 2
    assert felt.bound_ms == FLOOR_MS
    assert felt.disturbed_ms > 0


def test_a_pair_in_which_the_machine_was_slow_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many times at most; then all of them count.  Before it a run without the disturbance is tried more often."""
    monkeypatch.setattr(latency, "MOST_CALMS", 2)

    class Phones:
        def __init__(self, *runs: tuple[float, bool]) -> None:
            self.runs = iter(runs)

        def half_rate(self) -> float:
            return 45.0

        def waited(self, rate: float, seconds: float, lasts: object = None) -> Waited:
            return Waited(*next(self.runs))

    @contextmanager
    def happens() -> Iterator[Callable[[], bool]]:
        yield lambda: False

    monkeypatch.setattr(latency, "loop_lag_ms", lambda server: 1)
    disturbance = Disturbance("nothing", 2.0, happens)
    phones = Phones((50.0, False), (1.0, True), (60.0, False), (3.0, True), (4.0, True), (5.0, True), (8.0, True))
    assert disturbed(None, phones, disturbance, 2) == ("nothing", 45.0, 4.0, 6.0, 1, 8.0)  # type: ignore[arg-type]
    phones = Phones(*[(9.0, False)] * 3 * latency.MOST_ATTEMPTS)
    felt = disturbed(None, phones, disturbance, 1)  # type: ignore[arg-type]
    assert felt == ("nothing (on an unsteady machine)", 45.0, 9.0, 9.0, 1, 18.0)
    assert next(phones.runs, None) is None


def test_slices_that_say_nothing_about_the_server_are_left_out() -> None:
    """The generator was late, a processor was taken away, or the core was slower before or after."""

    class Report:
        lost = failed = 0

        def __init__(self, late: float, bucket: int) -> None:
            self.late = late
            self.histogram = numpy.bincount([bucket], minlength=64)

    class Load:
        turn = 0

        def run(self, number: int, rate: float) -> Report:
            self.turn += 1
            return Report(*slices[self.turn - 1])

    def waited(machine: Machine) -> Waited:
        load = Load()
        return Bystanders(load, machine).waited(10.0, 3600.0, lambda: load.turn < len(slices))  # type: ignore[arg-type]

    slices = [(0.0, 1), (1.0, 60), (0.0, 50), (0.0, 3)]
    assert waited(Machine(is_given=[True, True, True, False, True])) == (3e-6, True)
    slices = [(0.0, 60), (0.0, 61), (0.0, 4), (0.0, 5)]
    assert waited(Machine(is_full=[True, False, True, True, True])) == (5e-6, True)
    slices = [(0.0, 60), (0.0, 61), (0.0, 5)]
    assert waited(Machine(is_full=[True, False, True, True])) == (5e-6, False)
    assert waited(Machine(is_full=[False] * 4)) == (61e-6, False)


def test_a_core_is_at_full_speed_when_it_is_as_fast_as_it_has_ever_been(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([2.0, 1.0, 1.25, 1.26, 1.0, 1.3, 1.0, 1.0, 2.0])
    monkeypatch.setattr("timeit.repeat", lambda *_, **__: [9.0, next(times)])
    monkeypatch.setattr(latency, "LOOKS", 2)
    monkeypatch.setattr("time.sleep", lambda _: None)
    core = latency.Core()
    assert [core.is_at_full_speed() for _ in range(2)] == [True, False]
    core.wait_for_full_speed(4)
    core.wait_for_full_speed(1)
    assert next(times, None) is None
    assert core.is_given()
