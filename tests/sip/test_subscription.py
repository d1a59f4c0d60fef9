"""How long a client waits: OUT-9, SUB-15."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo.fast import refresh_delay_ms
from reginfo.sip.subscription import back_off_s


@pytest.mark.parametrize(
    ("failures", "base_s", "longest"),
    [(0, 30, 30), (1, 30, 60), (3, 30, 240), (5, 30, 960), (6, 30, 1800), (0, 90, 90), (4, 90, 1440), (5, 90, 1800)],
)
def test_a_back_off_doubles_up_to_half_an_hour(failures: int, base_s: int, longest: int) -> None:
    """OUT-9: 30 s after all flows failed, 90 s if one works; half to all of it, by chance."""
    assert back_off_s(failures, 0.0, base_s) == longest / 2
    assert back_off_s(failures, 0.5, base_s) == longest * 0.75
    assert back_off_s(failures, 1.0, base_s) == longest


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_no_number_of_failures_waits_longer_than_half_an_hour(failures: int, chance: float) -> None:
    """OUT-9"""
    assert 15 <= back_off_s(failures, chance) <= 1800


@pytest.mark.parametrize(("granted", "delay"), [(3600, 3_568_000), (64, 32_000), (63, 31_500), (1, 500), (0, 0)])
def test_a_refresh_is_in_time(granted: int, delay: int) -> None:
    """SUB-15"""
    assert refresh_delay_ms(granted) == delay
