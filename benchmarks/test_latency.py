"""The rule of every line about latency is computed right."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy
import pytest

from benchmarks import latency
from benchmarks.latency import FLOOR_MS, Bystanders, Disturbance, disturbed, percentile_ms
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
