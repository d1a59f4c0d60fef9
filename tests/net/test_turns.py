"""Connections leave datagrams their time (architecture: one loop for all)."""

import pytest

from reginfo.net.turns import LEAST_S, MOST_S, REST, TURN_S, Turns


class Datagrams:
    """A clock, and whether datagrams are pressed."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.pressed = False
        self.turns = Turns(lambda: self.pressed, lambda: self.now)

    def work(self, seconds: float) -> None:
        self.turns.begin()
        assert not self.turns.is_over
        self.now += seconds
        assert self.turns.is_over
        self.turns.end()


def test_connections_have_all_the_time_there_is_otherwise() -> None:
    datagrams = Datagrams()
    datagrams.work(TURN_S)
    assert datagrams.turns.wait == 0


@pytest.mark.parametrize("seconds", [TURN_S, MOST_S / REST])
def test_while_datagrams_are_pressed_connections_have_an_eighth_of_the_time(seconds: float) -> None:
    datagrams = Datagrams()
    datagrams.pressed = True
    began = datagrams.now
    datagrams.work(seconds)
    assert datagrams.turns.wait == pytest.approx(REST * seconds)
    datagrams.now += datagrams.turns.wait
    assert datagrams.turns.wait == 0
    assert datagrams.now - began == pytest.approx(8 * seconds)


def test_no_rest_is_long_and_none_outlasts_the_pressure() -> None:
    """SEC-5: the machine may stand still in a turn; connections are not made to wait seven times as long for that."""
    datagrams = Datagrams()
    datagrams.pressed = True
    datagrams.work(30.0)
    assert datagrams.turns.wait == pytest.approx(MOST_S)
    datagrams.pressed = False
    assert datagrams.turns.wait == 0


def test_a_rest_is_one_that_the_clock_of_a_loop_can_tell() -> None:
    datagrams = Datagrams()
    datagrams.pressed = True
    datagrams.work(TURN_S)
    datagrams.now += REST * TURN_S - LEAST_S / 10
    assert datagrams.turns.wait == LEAST_S
