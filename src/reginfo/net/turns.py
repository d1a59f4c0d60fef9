"""How much of the time connections take from datagrams, which share the loop with them."""

import time
from collections.abc import Callable
from typing import Final

TURN_S: Final = 0.0005  # seconds of a turn: a handshake takes one
REST: Final = 7  # turns that datagrams have after each, while they are pressed
LEAST_S: Final = 0.001  # seconds of a rest: what the clock of the loop can tell
MOST_S: Final = 0.005  # the same, after a turn in which the machine did something else


class Turns:
    """Work on connections is done in turns.

    While datagrams have to wait for it, it rests after each and has an eighth of the time: a crowd that connects or is
    cut off is hardly felt by others.
    """

    def __init__(self, is_pressed: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        """is_pressed tells of the datagrams; the clock is in seconds, that of the loop counts in milliseconds."""
        self._is_pressed = is_pressed
        self._clock = clock
        self._began = 0.0
        self._free = 0.0  # when the next one may begin

    @property
    def wait(self) -> float:
        """Return for how many seconds no turn may begin, LEAST_S or more; 0 if one may."""
        left = self._free - self._clock()
        return max(left, LEAST_S) if left > 0 and self._is_pressed() else 0.0

    def begin(self) -> None:
        """Begin a turn."""
        self._began = self._clock()

    @property
    def is_over(self) -> bool:
        """Whether nothing more should be begun in this turn."""
        return self._clock() >= self._began + TURN_S

    def end(self) -> None:
        """End a turn, which may have taken longer."""
        if self._is_pressed():
            now = self._clock()
            self._free = now + min(MOST_S, REST * (now - self._began))
