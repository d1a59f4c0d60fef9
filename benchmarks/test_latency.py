"""The rule of every line about latency is computed right."""

from collections.abc import Callable, Iterator
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


def test_runs_without_and_with_a_disturbance_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disturbance lasts as long as it says, and its bound never binds below 5 ms."""
    monkeypatch.setattr(latency, "TOP_REQUESTS", 500)
    monkeypatch.setattr(latency, "STEADY", 0.0)  # so few do not tell
    monkeypatch.setattr(latency, "LATE_MS", 1e6)
    monkeypatch.setattr(latency, "stolen_ticks", lambda: 0)
    events: list[str] = []

    @contextmanager
    def happens() -> Iterator[Callable[[], bool]]:
        events.append("begin")
        yield lambda: False
        events.append("end")

    with running_server(tmp_path, ["example.com"], 'store = { url = "memory:" }\n') as server:
        load = RegisterLoad(*server.udp, aors=100, seed=2)
        felt = disturbed(server, Bystanders(load), Disturbance("nothing", 0.001, happens), 2, calm_seconds=0.1)
    assert events == ["begin", "end"] * 2
    assert felt.bound_ms == FLOOR_MS
    assert felt.disturbed_ms > 0


def test_a_pair_in_which_the_machine_changed_its_speed_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many times at most; then all of them count."""
    rates = iter([100.0, 81.0, 40.0, 45.0, 45.0, *[90.0] * 3, *[90.0, 45.0] * 2])
    delays = iter([*[1.0, 2.0], *[50.0, 60.0], *[3.0, 4.0], *[5.0, 6.0], *[70.0, 80.0], *[7.0, 8.0], *[9.0, 9.0] * 3])
    telling = iter([True] * 8 + [True, False])

    class Phones:
        def half_rate(self) -> float:
            return next(rates)

        def waited(self, rate: float, seconds: float, lasts: object = None) -> Waited:
            return Waited(next(delays), next(telling, True))

    @contextmanager
    def happens() -> Iterator[Callable[[], bool]]:
        yield lambda: False

    monkeypatch.setattr(latency, "loop_lag_ms", lambda server: 1)
    disturbance = Disturbance("nothing", 2.0, happens)
    felt = disturbed(None, Phones(), disturbance, 3)  # type: ignore[arg-type]
    assert felt == ("nothing", 45.0, 3.0, 4.0, 1, 6.0)
    felt = disturbed(None, Phones(), disturbance, 1)  # type: ignore[arg-type]
    assert felt == ("nothing", 90.0, 7.0, 8.0, 1, 14.0)
    felt = disturbed(None, Phones(), disturbance, 1)  # type: ignore[arg-type]
    assert felt == ("nothing (on an unsteady machine)", 90.0, 9.0, 9.0, 1, 18.0)
    assert next(delays, None) is None


def test_slices_that_say_nothing_about_the_server_are_left_out_unless_nearly_all_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Report:
        lost = failed = 0

        def __init__(self, late: float, bucket: int) -> None:
            self.late = late
            self.histogram = numpy.bincount([bucket], minlength=64)

    class Load:
        def run(self, number: int, rate: float) -> Report:
            late, bucket, _ = slices[self.turn]
            self.turn += 1
            return Report(late, bucket)

        turn = 0

    def waited() -> Waited:
        load = Load()
        monkeypatch.setattr(latency, "stolen_ticks", lambda: sum(stolen for _, _, stolen in slices[: load.turn]))
        return Bystanders(load).waited(10.0, 3600.0, lambda: load.turn < len(slices))  # type: ignore[arg-type]

    slices = [(0.0, 1, 0), (1.0, 60, 0), (0.0, 50, 1), (0.0, 3, 0)]
    assert waited() == (3e-6, True)
    slices = [(1.0, 60, 0)] * 3 + [(0.0, 5, 0)]
    assert waited() == (5e-6, True)
    slices = [(1.0, 60, 0)] * 4 + [(0.0, 5, 0)]
    assert waited() == (60e-6, False)
