"""The clocks of thousands of connections, on a loop whose time moves when told."""

import asyncio
from typing import cast

from reginfo.net.clocks import Clocks
from reginfo.net.connection import Connection
from reginfo.net.turns import TURN_S, Turns
from tests.net.test_connection import StillLoop

LOOKS = 8  # in a turn


class Watch:
    """What time it is for turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def read(self) -> float:
        return self.now


class Idle:
    """What the clocks ask of a connection, which is over once it has been looked at when it was due."""

    def __init__(self, due: float, watch: Watch) -> None:
        self.due = due
        self.looked_at = 0
        self.is_gone = False
        self._watch = watch

    def look(self, now: float) -> None:
        self.is_gone = now >= self.due
        self._watch.now += TURN_S / LOOKS


class TurningLoop(StillLoop):
    """A loop that can be stopped after one turn."""

    def turn(self, seconds: float) -> None:
        """Move the clock, and fire what is due then, but not what that sets."""
        self.now += seconds
        for timer in [timer for timer in self._timers if timer.live and timer.when() <= self.now]:
            timer.live = False
            timer.callback()


def test_a_crowd_that_is_due_together_is_looked_at_in_turns() -> None:
    """SEC-5: as many as one turn has time for, n and n + 1; what is not due yet waits for its own time."""
    for count, turns in [(LOOKS, 1), (LOOKS + 1, 2), (3 * LOOKS, 3)]:
        loop = TurningLoop()
        watch = Watch()
        clocks = Clocks(cast(asyncio.AbstractEventLoop, loop), Turns(lambda: False, watch.read))
        crowd = [Idle(loop.now + 1.0, watch) for _ in range(count)]
        late = Idle(loop.now + 2.0, watch)
        for one in (*crowd, late):
            clocks.watch(cast(Connection, one))
        seen: list[int] = []
        while not all(one.is_gone for one in crowd):
            loop.turn(1.0 if not seen else 0.0)
            seen.append(sum(one.is_gone for one in crowd))
        assert seen == [min(count, LOOKS * turn) for turn in range(1, turns + 1)]
        assert not late.is_gone
        loop.advance(1.1)
        assert late.is_gone
