"""Timers: what is due is called, whatever becomes of what is due with it."""

import logging

import pytest

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
