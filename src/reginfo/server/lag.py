"""How late the event loop comes to what is due: what everybody waits for who has sent something meanwhile."""

from collections import deque
from typing import Final

SECONDS: Final = 10  # a look every few seconds misses nothing


class LoopLag:
    """The longest delay among those noted in the last seconds."""

    def __init__(self) -> None:
        self._worst: deque[tuple[int, int]] = deque(maxlen=SECONDS)  # second, milliseconds

    def note(self, lag_ms: int, now_ms: int) -> None:
        """Take note of one delay."""
        second = now_ms // 1000
        if self._worst and self._worst[-1][0] == second:
            lag_ms = max(lag_ms, self._worst.pop()[1])
        self._worst.append((second, lag_ms))

    def longest_ms(self, now_ms: int) -> int:
        """Return the longest delay of the last seconds, 0 if none was noted."""
        since = now_ms // 1000 - SECONDS
        return max((lag_ms for second, lag_ms in self._worst if second > since), default=0)
