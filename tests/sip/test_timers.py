"""Timers: what is due is called, whatever becomes of what is due with it."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo.fast import NEVER_MS
from reginfo.model import Now
from reginfo.sip.timers import Timers


def test_one_that_raises_costs_itself_only(caplog: pytest.LogCaptureFixture) -> None:
    timers = Timers()
    called: list[object] = []

    def fail(subject: object, now: Now) -> None:
        raise KeyError(subject)

    for due_ms, action in ((100, fail), (100, lambda subject, now: called.append(subject)), (200, fail)):
        timers.at(due_ms, action, due_ms)
    with caplog.at_level(logging.ERROR):
        timers.run(Now(1_000, 1.0))
    assert called == [100]
    assert timers.next_due_ms is None
    assert [record.message for record in caplog.records] == ["timer failed"] * 2


def test_one_that_is_due_again_at_once_waits_for_the_next_run() -> None:
    timers = Timers()
    called: list[int] = []

    def again(subject: object, now: Now) -> None:
        called.append(now.ms)
        timers.at(0, again, subject)

    timers.at(0, again, None)
    timers.run(Now(1_000, 1.0))
    timers.run(Now(1_100, 1.1))
    assert called == [1_000, 1_100]


def test_what_is_never_due_is_not_called() -> None:
    timers = Timers()
    timers.at(NEVER_MS, lambda subject, now: pytest.fail("never"), None)
    timers.run(Now(1_000, 1.0))
    assert timers.next_due_ms is not None


@given(
    st.lists(
        st.tuples(st.sampled_from(["at", "run"]), st.integers(-40, 200)),
        max_size=60,
    )
)
def test_timers_call_what_a_sorted_list_would(steps: list[tuple[str, int]]) -> None:
    """Nothing before it is due, nothing later than the run after its 16 ms, in the order of time, then of at()."""
    timers = Timers()
    called: list[int] = []
    waiting: list[tuple[int, int]] = []
    clock = 1_000
    for number, (what, ms) in enumerate(steps):
        if what == "at":
            timers.at(clock + ms, lambda subject, now: called.append(subject), number)
            waiting.append((-(-(clock + ms) // 16), number))
        else:
            clock += abs(ms)
            due = sorted(one for one in waiting if one[0] * 16 <= clock)
            waiting = [one for one in waiting if one not in due]
            called.clear()
            timers.run(Now(clock, clock / 1000))
            assert called == [number for _, number in due]
        assert timers.next_due_ms == (min(waiting)[0] * 16 if waiting else None)
