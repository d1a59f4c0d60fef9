"""The counter `loop_lag_ms`: a sliding maximum, of bounded size."""

from hypothesis import given
from hypothesis import strategies as st

from reginfo.server.lag import SECONDS, LoopLag


@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 500)), max_size=60), st.integers(0, 20_000))
def test_the_longest_of_the_last_seconds_is_told_and_no_older_one(steps: list[tuple[int, int]], later: int) -> None:
    lag = LoopLag()
    now_ms = 1_000_000
    noted: list[tuple[int, int]] = []
    for pause, lag_ms in steps:
        now_ms += pause
        lag.note(1_000 * lag_ms, now_ms)
        noted.append((now_ms // 1000, lag_ms))
    now_ms += later
    expected = [lag_ms for second, lag_ms in noted if second > now_ms // 1000 - SECONDS]
    assert lag.longest_ms(now_ms) == max(expected, default=0)
