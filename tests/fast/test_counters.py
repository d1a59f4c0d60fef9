"""Counters against the obvious dict, histograms against the list of all values."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo._fast.counters import Counters, Histogram, RequestCounters
from tests.reference import histogram as reference

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


BOUNDS = st.lists(st.integers(-10, 2**40), unique=True, max_size=32).map(sorted)


@given(BOUNDS, st.data())
def test_a_histogram_equals_the_list_of_its_values(bounds: list[int], data: st.DataObject) -> None:
    near = st.sampled_from(bounds).flatmap(lambda bound: st.integers(bound - 1, bound + 1)) if bounds else st.nothing()
    steps = data.draw(st.lists(st.tuples(near | st.integers(-(2**40), 2**41), st.integers(0, 5)), max_size=30))
    histogram, oracle = Histogram(bounds), reference.Histogram(bounds)
    for value, n in steps:
        histogram.add(value, n)
        oracle.add(value, n)
        assert histogram.buckets() == oracle.buckets()
        assert (len(histogram), histogram.sum) == (len(oracle), oracle.sum)


@pytest.mark.parametrize("bounds", [(1, 1), (2, 1), range(33)])
def test_bounds_that_do_not_rise_or_are_too_many_are_refused(bounds: Sequence[int]) -> None:
    with pytest.raises(ValueError, match="bounds"):
        Histogram(bounds)


def test_what_is_no_number_of_64_bits_is_refused() -> None:
    with pytest.raises(OverflowError):
        Histogram([2**63])
    histogram = Histogram([1])
    for arguments in ((2**63,), (1, -1)):
        with pytest.raises(OverflowError):
            histogram.add(*arguments)
    assert len(histogram) == 0


def test_request_counters_need_a_method() -> None:
    with pytest.raises(ValueError, match="no methods"):
        RequestCounters([], ["udp"])
    counters = RequestCounters(["REGISTER", "other"], ["udp", "tcp"])
    for method in ("REGISTER", "FOO", "other"):
        counters.count(method, "tcp")
    assert counters.totals() == {
        ("REGISTER", "udp"): 0,
        ("other", "udp"): 0,
        ("REGISTER", "tcp"): 1,
        ("other", "tcp"): 2,
    }
    with pytest.raises(KeyError):
        counters.count("REGISTER", "sctp")
