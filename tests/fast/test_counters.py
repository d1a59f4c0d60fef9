"""Counters against the obvious dict."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo._fast.counters import Counters

NAMES = ("alpha", "beta", "gamma")


@given(st.lists(st.tuples(st.integers(0, len(NAMES) - 1), st.integers(0, 2**32))))
def test_counts_equal_a_dict(steps: list[tuple[int, int]]) -> None:
    counters, oracle = Counters(NAMES), dict.fromkeys(NAMES, 0)
    for slot, count in steps:
        counters.add(slot, count)
        oracle[NAMES[slot]] += count
    assert counters.totals() == oracle
    assert [counters[slot] for slot in range(len(counters))] == list(oracle.values())


def test_a_count_without_an_amount_is_one() -> None:
    counters = Counters(NAMES)
    counters.add(1)
    assert counters.totals() == {"alpha": 0, "beta": 1, "gamma": 0}
    assert counters.names == NAMES


@pytest.mark.parametrize("slot", [-1, 3, 2**62])
def test_a_slot_beyond_the_row_is_an_error(slot: int) -> None:
    counters = Counters(NAMES)
    with pytest.raises(IndexError):
        counters.add(slot)
    with pytest.raises(IndexError):
        counters[slot]


@pytest.mark.parametrize("count", [-1, 2**64])
def test_counters_only_go_up(count: int) -> None:
    with pytest.raises(OverflowError):
        Counters(NAMES).add(0, count)


def test_a_row_has_room_for_every_status_code_and_no_more() -> None:
    """SEC-5: the row is bounded."""
    assert len(Counters([str(number) for number in range(1024)])) == 1024
    with pytest.raises(ValueError, match="at most 1024"):
        Counters([str(number) for number in range(1025)])
