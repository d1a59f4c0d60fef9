"""Non-INVITE client transactions on a virtual clock."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo.sip.transaction import (
    STATUS_OF,
    Action,
    ClientTransaction,
    Event,
    State,
    begin,
    event_of,
    next_due_ms,
    step,
    timer_due,
    unavailable_until,
)

START = 1_000_000


@dataclass
class Line:
    """A shell in small: it sends nothing, but notes when it would."""

    transaction: ClientTransaction
    now_ms: int = START
    log: list[tuple[int, Action]] = field(default_factory=list)

    @classmethod
    def open(cls, *, reliable: bool = False) -> Line:
        transaction, actions = begin("z9hG4bKa1", "NOTIFY", reliable=reliable, now_ms=START)
        return cls(transaction, log=[(0, action) for action in actions])

    def happen(self, event: Event) -> None:
        self.transaction, actions = step(self.transaction, event, self.now_ms)
        self.log += [(self.now_ms - START, action) for action in actions]

    def run(self, until_ms: int, late_ms: int = 0) -> None:
        """Let the timers run out up to an instant after the start, each noticed late_ms too late."""
        while (due := next_due_ms(self.transaction)) is not None and due + late_ms <= START + until_ms:
            self.now_ms = due + late_ms
            while event := timer_due(self.transaction, self.now_ms):
                self.happen(event)
        self.now_ms = START + until_ms

    def times(self, action: Action) -> list[int]:
        return [at for at, done in self.log if done is action]


@pytest.mark.parametrize("late_ms", [0, 1, 40])
def test_an_unanswered_request_is_sent_eleven_times_and_times_out_after_32_s(late_ms: int) -> None:
    # TX-1, timers E and F
    line = Line.open()
    line.run(60_000, late_ms)
    expected = [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]
    assert line.times(Action.SEND) == [at + late_ms if at else 0 for at in expected]
    assert line.times(Action.TIME_OUT) == [32_000 + late_ms]
    assert STATUS_OF[Action.TIME_OUT] == 408
    assert line.transaction.state is State.TERMINATED
    assert next_due_ms(line.transaction) is None


def test_a_reliable_transport_sends_once_and_times_out_all_the_same() -> None:
    # TX-1
    line = Line.open(reliable=True)
    line.run(60_000)
    assert line.log == [(0, Action.SEND), (32_000, Action.TIME_OUT)]


def test_after_a_provisional_response_the_request_is_resent_every_four_seconds() -> None:
    # TX-1, timer E: the running interval ends first, then T2
    line = Line.open()
    line.run(600)
    line.happen(Event.PROVISIONAL)
    line.run(60_000)
    assert line.transaction.state is State.TERMINATED
    assert line.times(Action.SEND) == [0, 500, 1_500, *range(5_500, 32_000, 4_000)]
    assert line.times(Action.DELIVER) == [600]
    assert line.times(Action.TIME_OUT) == [32_000]


def test_every_provisional_response_reaches_the_user() -> None:
    # TX-1
    line = Line.open()
    line.happen(Event.PROVISIONAL)
    line.happen(Event.PROVISIONAL)
    assert line.transaction.state is State.PROCEEDING
    assert line.times(Action.DELIVER) == [0, 0]


@pytest.mark.parametrize("first", [[], [Event.PROVISIONAL]])
def test_a_final_response_reaches_the_user_once_and_its_copies_are_absorbed_for_5_s(first: list[Event]) -> None:
    # TX-1, timer K
    line = Line.open()
    for event in first:
        line.happen(event)
    delivered = len(line.times(Action.DELIVER))
    line.run(200)
    for event in (Event.FINAL, Event.FINAL, Event.PROVISIONAL):
        line.happen(event)
    assert line.transaction.state is State.COMPLETED
    line.run(5_199)
    assert line.transaction.state is State.COMPLETED
    line.happen(Event.FINAL)
    assert len(line.times(Action.DELIVER)) == delivered + 1
    assert line.times(Action.SEND) == [0]
    line.run(5_200)
    assert line.transaction.state is State.TERMINATED


def test_a_final_response_over_a_reliable_transport_ends_the_transaction_at_once() -> None:
    # TX-1: timer K is zero
    line = Line.open(reliable=True)
    line.happen(Event.FINAL)
    assert line.log == [(0, Action.SEND), (0, Action.DELIVER)]
    assert line.transaction.state is State.TERMINATED


@pytest.mark.parametrize("first", [[], [Event.PROVISIONAL]])
def test_a_transport_error_ends_the_transaction_as_503(first: list[Event]) -> None:
    # TX-1, TRN-10
    line = Line.open()
    for event in first:
        line.happen(event)
    line.happen(Event.TRANSPORT_ERROR)
    assert line.times(Action.FAIL) == [0]
    assert STATUS_OF[Action.FAIL] == 503
    assert line.transaction.state is State.TERMINATED


def test_a_transport_error_after_the_final_response_changes_nothing() -> None:
    # TX-1
    line = Line.open()
    line.happen(Event.FINAL)
    completed = line.transaction
    line.happen(Event.TRANSPORT_ERROR)
    assert line.transaction is completed


def test_a_shell_that_stood_still_resends_once_and_not_for_every_missed_timer() -> None:
    # TX-1, timer E
    line = Line.open()
    line.now_ms = START + 10_000
    line.happen(Event.TIMER_E)
    assert timer_due(line.transaction, line.now_ms) is None
    assert next_due_ms(line.transaction) == START + 11_000
    line.now_ms = START + 40_000
    assert timer_due(line.transaction, line.now_ms) is Event.TIMER_F


IMPOSSIBLE = [
    ([], Event.TIMER_K),
    ([Event.PROVISIONAL], Event.TIMER_K),
    ([Event.FINAL], Event.TIMER_E),
    ([Event.FINAL], Event.TIMER_F),
    *(([Event.TRANSPORT_ERROR], event) for event in Event),
]


@pytest.mark.parametrize(("history", "event"), IMPOSSIBLE)
def test_an_event_that_cannot_happen_is_an_error(history: list[Event], event: Event) -> None:
    # TX-1
    line = Line.open()
    for past in history:
        line.happen(past)
    with pytest.raises(ValueError, match="cannot happen"):
        line.happen(event)


def test_timer_e_on_a_reliable_transport_is_an_error() -> None:
    # TX-1
    with pytest.raises(ValueError, match="reliable"):
        Line.open(reliable=True).happen(Event.TIMER_E)


@pytest.mark.parametrize(
    ("branch", "method"),
    [("a1", "NOTIFY"), ("z9hG4bK", "NOTIFY"), ("Z9HG4BKa1", "NOTIFY"), ("z9hG4bKa1", "INVITE"), ("z9hG4bKa1", "ACK")],
)
def test_a_request_this_machine_is_not_for_is_refused(branch: str, method: str) -> None:
    # MSG-12, TX-1
    with pytest.raises(ValueError, match=r"z9hG4bK|non-INVITE"):
        begin(branch, method, reliable=False, now_ms=START)


@given(
    reliable=st.booleans(),
    happenings=st.lists(
        st.tuples(st.integers(0, 9_000), st.sampled_from([Event.PROVISIONAL, Event.FINAL, Event.TRANSPORT_ERROR]))
    ),
)
def test_whatever_happens_the_user_hears_one_end_and_the_transaction_terminates(
    reliable: bool, happenings: list[tuple[int, Event]]
) -> None:
    # TX-1: the end is a final response, a timeout or a failure, within 32 s
    line = Line.open(reliable=reliable)
    finals = 0
    at = 0
    for pause, event in happenings:
        at += pause
        line.run(at)
        if line.transaction.state is State.TERMINATED:
            break
        finals += event is Event.FINAL and line.transaction.state is not State.COMPLETED
        line.happen(event)
    line.run(at + 40_000)
    assert line.transaction.state is State.TERMINATED
    ends = line.times(Action.TIME_OUT) + line.times(Action.FAIL)
    assert finals + len(ends) == 1
    assert all(moment <= 32_000 for moment, _ in line.log)
    assert len(line.times(Action.SEND)) <= (1 if reliable else 11)


@pytest.mark.parametrize(
    ("status", "event"), [(100, Event.PROVISIONAL), (199, Event.PROVISIONAL), (200, Event.FINAL), (699, Event.FINAL)]
)
def test_a_status_is_provisional_below_200(status: int, event: Event) -> None:
    # TX-1
    assert event_of(status) is event


@pytest.mark.parametrize(
    ("status", "retry_after", "until"),
    [(503, 30, START + 30_000), (503, 0, START), (503, None, None), (500, 30, None), (480, 30, None)],
)
def test_only_503_with_retry_after_keeps_requests_from_a_server(
    status: int, retry_after: int | None, until: int | None
) -> None:
    # TX-11
    assert unavailable_until(status, retry_after, START) == until
