"""How late the event loop comes to what is due: what everybody waits for who has sent something meanwhile."""

from collections import deque
from typing import Final

from reginfo.fast import Histogram

SECONDS: Final = 10  # a look every few seconds misses nothing
BOUNDS_US: Final = (1_000, 2_500, 5_000, 10_000, 20_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000)


class LoopLag:
    """The longest delay among those noted in the last seconds, and all of them as a histogram."""

    def __init__(self) -> None:
        self._worst: deque[tuple[int, int]] = deque(maxlen=SECONDS)  # second, microseconds
        self._ticked_ms = 0
        self.delays = Histogram(BOUNDS_US)
        "In microseconds."

    def note(self, lag_us: int, now_ms: int) -> None:
        """Take note of one delay."""
        self.delays.add(lag_us)
        second = now_ms // 1000
        if self._worst and self._worst[-1][0] == second:
            lag_us = max(lag_us, self._worst.pop()[1])
        self._worst.append((second, lag_us))

    def longest_ms(self, now_ms: int) -> int:
        """Return the longest delay of the last seconds, 0 if none was noted."""
        since = now_ms // 1000 - SECONDS
        return max((round(lag_us / 1000) for second, lag_us in self._worst if second > since), default=0)

    def tick(self, now_ms: int) -> None:
        """Take note that what is due is being done."""
        self._ticked_ms = now_ms

    def is_ticking(self, now_ms: int) -> bool:
        """Tell whether that was so in the last seconds: nothing runs out any more if it was not."""
        return now_ms - self._ticked_ms < 1000 * SECONDS
