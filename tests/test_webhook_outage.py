"""A receiver of webhooks that is down under load, and kill -9 meanwhile; `make soak` has a minute of it."""

import pytest

from tests.soak.webhook import ROOM_FOR_ALL, ROOM_FOR_FEW, run

pytestmark = pytest.mark.network


def test_nothing_is_lost_within_the_bound_and_order_is_kept() -> None:
    report = run(seconds=1.0, seed=1, max_pending=ROOM_FOR_ALL, share=0.1)
    assert (report.heard, report.dropped) == (report.events, 0)


def test_beyond_the_bound_what_is_not_heard_is_counted() -> None:
    report = run(seconds=1.0, seed=2, max_pending=ROOM_FOR_FEW, share=0.1)
    assert report.heard + report.dropped == report.events
    assert report.dropped
