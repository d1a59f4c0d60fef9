"""Engine time beside a wall clock that is set."""

import pytest

from reginfo.store.clock import Clock


def test_clock_ignores_a_set_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """F9: engine time goes on; the offset carries the step to the next start."""
    wall, elapsed = [1_000_000_000_000], [5_000]
    monkeypatch.setattr("reginfo.store.clock.time.time_ns", lambda: wall[0] * 1_000_000)
    monkeypatch.setattr("reginfo.store.clock.time.clock_gettime_ns", lambda _: elapsed[0] * 1_000_000)
    clock = Clock()
    start = clock.now().ms
    assert not clock.stepped()
    wall[0] += 3_600_000 + 1_000
    elapsed[0] += 1_000
    assert clock.stepped()
    assert clock.now().ms == start + 1_000
    assert Clock(clock.offset_ms).now().ms == clock.now().ms
