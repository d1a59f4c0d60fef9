"""What is delivered when, under a virtual clock: order, retries, the bound, and what a restart does to them."""

from collections import defaultdict
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo.admin.delivery import FIRST_DELAY, MAX_RETRY_AFTER, Entry, Key, Outbox

ALICE, BOB, CAROL = "sip:alice@example.com", "sip:bob@example.com", "sip:carol@example.com"


def outbox(max_pending: int = 100, max_in_flight: int = 4, chance: float = 1.0) -> Outbox[str]:
    return Outbox(max_pending, max_in_flight, lambda: chance)


def fill(box: Outbox[str], *aors: str, first: int = 1) -> None:
    for seq, aor in enumerate(aors, first):
        box.add((seq, 0), aor, f"event {seq}")


def taken(box: Outbox[str], now: float = 0.0) -> Iterator[Entry[str]]:
    while (entry := box.take(now)) is not None:
        yield entry


def keys(box: Outbox[str], now: float = 0.0) -> list[int]:
    return [entry.key[0] for entry in taken(box, now)]


def one(box: Outbox[str], now: float = 0.0) -> Entry[str]:
    entry = box.take(now)
    assert entry is not None
    return entry


def test_aors_go_at_once_and_each_in_order() -> None:
    box = outbox()
    fill(box, ALICE, ALICE, BOB, ALICE)
    first, other = taken(box)
    assert (first.key, other.key) == ((1, 0), (3, 0))
    box.delivered(first)
    second = one(box)
    assert second.key == (2, 0)
    box.delivered(other)
    assert box.take(0.0) is None
    box.delivered(second)
    assert keys(box) == [4]
    assert box.counts.delivered == 3


def test_so_many_are_under_way_and_no_more() -> None:
    box = outbox(max_in_flight=2)
    fill(box, ALICE, BOB, CAROL)
    first, _ = taken(box)
    assert box.next_take(0.0) is None
    box.delivered(first)
    assert box.next_take(0.0) == 0.0
    assert keys(box) == [3]


def test_a_refusal_is_final_and_the_next_one_follows() -> None:
    box = outbox()
    fill(box, ALICE, ALICE)
    box.refused(one(box))
    assert keys(box) == [2]
    assert (box.counts.failed, box.counts.delivered) == (1, 0)


def test_a_failure_is_tried_again_later_each_time_and_before_what_follows_it() -> None:
    box = outbox()
    fill(box, ALICE, ALICE)
    now, delays = 0.0, []
    for _ in range(9):
        entry = one(box, now)
        assert entry.key == (1, 0)
        box.failed(entry, now)
        due = box.next_take(now)
        assert due is not None
        assert box.take(due - 0.001) is None
        delays.append(due - now)
        now = due
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    box.delivered(one(box, now))
    assert keys(box, now) == [2]
    assert (box.counts.retried, box.counts.delivered) == (9, 1)


@pytest.mark.parametrize(("chance", "delay"), [(0.0, FIRST_DELAY / 2), (0.5, FIRST_DELAY * 0.75)])
def test_delays_are_spread(chance: float, delay: float) -> None:
    box = outbox(chance=chance)
    fill(box, ALICE)
    box.failed(one(box), 0.0)
    assert box.next_take(0.0) == delay


def test_after_a_failure_one_at_a_time_finds_out_whether_the_receiver_is_back() -> None:
    box = outbox()
    fill(box, *(f"sip:u{number}@example.com" for number in range(8)))
    under_way = list(taken(box))
    assert len(under_way) == 4
    for entry in under_way:
        box.failed(entry, 1.0)
    assert box.next_take(1.0) == 1.0 + FIRST_DELAY  # four at once are one failure
    assert box.take(1.2) is None
    probe = one(box, 2.0)
    assert probe.key == (5, 0)  # not the same again: it may be the event that is at fault
    assert box.take(2.0) is None
    box.delivered(probe)
    assert len(keys(box, 2.0)) == 4


def test_an_event_that_always_fails_holds_up_its_own_aor_only() -> None:
    box = outbox(max_pending=10_000)
    now, delivered = 0.0, 0
    for seq in range(1, 200):
        box.add((seq, 0), ALICE if seq % 50 == 1 else f"sip:u{seq}@example.com", "")
        now += 1.0
        for entry in list(taken(box, now)):
            if entry.aor == ALICE:
                box.failed(entry, now)
            else:
                box.delivered(entry)
                delivered += 1
    assert delivered > 180
    assert box.counts.retried < 20
    assert len(box) < 20


@pytest.mark.parametrize(("asked", "granted"), [(5.0, 5.0), (0.0, FIRST_DELAY), (1e9, MAX_RETRY_AFTER)])
def test_a_receiver_is_left_alone_as_long_as_it_asks(asked: float, granted: float) -> None:
    box = outbox()
    fill(box, ALICE, BOB)
    first, second = taken(box)
    box.failed(first, 0.0, asked)
    box.delivered(second)
    fill(box, CAROL, first=3)
    assert box.take(granted - 0.01) is None
    assert box.next_take(0.0) == granted
    assert box.take(granted) is not None


def test_the_oldest_is_given_up_beyond_the_bound_and_counted() -> None:
    box = outbox(max_pending=3)
    fill(box, ALICE, BOB, ALICE)
    assert (len(box), box.counts.dropped) == (3, 0)
    fill(box, CAROL, ALICE, first=4)
    assert (len(box), box.counts.dropped) == (3, 2)
    first, second = taken(box)
    assert {first.key[0], second.key[0]} == {3, 4}


def test_what_is_under_way_is_not_given_up_and_takes_no_room() -> None:
    """The receiver may have it; it would be told and counted as dropped."""
    box = outbox(max_pending=1)
    fill(box, ALICE)
    first = one(box)
    fill(box, BOB, first=2)
    assert (len(box), box.counts.dropped) == (2, 0)
    fill(box, CAROL, first=3)
    assert (len(box), box.counts.dropped) == (2, 1)
    box.delivered(first)
    assert keys(box) == [3]


def test_what_was_under_way_and_failed_is_given_up_where_there_is_no_room() -> None:
    box = outbox(max_pending=1)
    fill(box, ALICE)
    first = one(box)
    fill(box, BOB, first=2)
    box.failed(first, 0.0)
    assert (len(box), box.counts.dropped) == (1, 1)
    assert keys(box, 60.0) == [2]


def test_a_receiver_that_is_down_for_long_costs_no_more_than_the_bound() -> None:
    box = outbox(max_pending=10)
    for seq in range(1, 5_000):
        box.add((seq, 0), f"sip:u{seq}@example.com", "")
    assert box.counts.dropped == 4_989
    assert len(box._ready) < 100
    assert len(box._lines) == 10


def test_the_cursor_is_behind_the_oldest_event_that_is_owed() -> None:
    box = outbox()
    assert box.cursor(7) == 7
    fill(box, ALICE, BOB, first=8)
    first, second = taken(box)
    assert box.cursor(20) == 7
    box.delivered(second)
    assert box.cursor(20) == 7
    box.delivered(first)
    assert box.cursor(20) == 20


def test_a_restart_takes_again_what_was_owed_and_nothing_else() -> None:
    box = outbox()
    fill(box, ALICE, BOB, CAROL, ALICE)
    first, second, _third = taken(box)
    box.delivered(second)
    box.failed(first, 0.0)
    state, cursor = box.snapshot(6), box.cursor(6)
    assert cursor == 0

    again = outbox()
    again.restore(state)
    for seq, aor in enumerate((ALICE, BOB, CAROL, ALICE), 1):
        if again.takes((seq, 0)):
            again.add((seq, 0), aor, "")
    assert again.takes((7, 0)) is None
    assert keys(again) == [1, 3]
    assert (again.counts.delivered, again.counts.dropped) == (1, 0)


def test_what_was_owed_and_cannot_be_read_any_more_is_counted_as_dropped() -> None:
    box = outbox()
    fill(box, ALICE, BOB, CAROL)
    again = outbox()
    again.restore(box.snapshot(3))
    again.forget_before((3, 0))
    assert again.counts.dropped == 2
    assert again.takes((3, 0)) is True


def test_a_snapshot_before_everything_was_read_again_forgets_nothing() -> None:
    box = outbox()
    fill(box, ALICE, BOB, CAROL)
    again = outbox()
    again.restore(box.snapshot(9))
    assert again.takes((1, 0))
    again.add((1, 0), ALICE, "")
    assert again.cursor(1) == 0
    once_more = outbox()
    once_more.restore(again.snapshot(1))
    for seq in (1, 2, 3):
        assert once_more.takes((seq, 0)) is True
        once_more.add((seq, 0), ALICE, "")
    assert once_more.takes((9, 0)) is False


def test_what_is_no_state_is_refused() -> None:
    with pytest.raises(ValueError, match=r"."):
        outbox().restore(b"\x93\x01")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("event"), st.integers(0, 3)),
        st.tuples(st.sampled_from(["take", "deliver", "refuse", "fail", "save", "crash"]), st.integers(0, 5)),
    ),
    max_size=80,
)


@given(steps=STEPS, max_pending=st.integers(1, 6))
def test_every_event_is_delivered_in_order_or_counted(steps: list[tuple[str, int]], max_pending: int) -> None:
    """Whatever happens: nothing is both unknown and uncounted, and an AoR's events are never out of order.

    A crash goes back to what was saved last and reads the feed again from there.
    """
    feed: list[str] = []
    box = outbox(max_pending, 2)
    saved, cursor, read = box.snapshot(0), 0, 0
    acknowledged: dict[str, list[Key]] = defaultdict(list)
    under_way: list[Entry[str]] = []
    now = 0.0

    def follow() -> None:
        nonlocal read
        while read < len(feed):
            read += 1
            takes = box.takes((read, 0))
            if takes is None or takes:
                box.add((read, 0), feed[read - 1], "")
        box.forget_before((read + 1, 0))

    for step, number in [*steps, ("save", 0)]:
        now += 40.0
        if step == "event":
            feed.append(f"sip:u{number}@example.com")
            follow()
        elif step == "take":
            under_way += taken(box, now)
        elif step == "save":
            saved, cursor = box.snapshot(read), box.cursor(read)
        elif step == "crash":
            box = outbox(max_pending, 2)
            box.restore(saved)
            read, under_way = cursor, []
            follow()
        elif under_way:
            entry = under_way.pop(number % len(under_way))
            if step == "deliver":
                acknowledged[entry.aor].append(entry.key)
                box.delivered(entry)
            elif step == "refuse":
                box.refused(entry)
            else:
                box.failed(entry, now)
    counts = box.counts
    assert counts.delivered + counts.failed + counts.dropped + len(box) == len(feed)
    for told in acknowledged.values():
        first_times = list(dict.fromkeys(told))
        assert first_times == sorted(first_times)
    assert len({key for told in acknowledged.values() for key in told}) >= counts.delivered
    assert len(box) <= max_pending + len(under_way)


def test_what_was_settled_behind_an_event_that_always_fails_is_let_go() -> None:
    box = outbox(max_pending=10_000, max_in_flight=64)
    fill(box, ALICE)
    now = 0.0
    for seq in range(2, 5_000):
        box.add((seq, 0), BOB, "")
        now += 1.0
        for entry in list(taken(box, now)):
            if entry.aor == ALICE:
                box.failed(entry, now)
            else:
                box.delivered(entry)
    assert box.counts.delivered > 4_000
    assert len(box._entries) <= len(box) + 1024
    assert box.cursor(5_000) == 0
