"""Engine time, which the instants in rows are written in."""

import time

from reginfo.model import Now


class Clock:
    """Engine time: a clock that never jumps, anchored to wall time once and kept over restarts.

    Wall time is engine time plus an offset.  The offset is nil at first; when the wall clock is set, the
    offset moves and engine time does not, so no binding ends early or late.
    """

    def __init__(self, offset_ms: int = 0) -> None:
        self.offset_ms = offset_ms
        self._anchor_ms = time.time_ns() // 1_000_000 - offset_ms - self._elapsed_ms()

    def now(self) -> Now:
        elapsed_us = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000
        # As Now() does, without the call between: a turn asks for the time again and again.
        return tuple.__new__(Now, (self._anchor_ms + elapsed_us // 1_000, time.time(), elapsed_us % 1_000))

    def stepped(self) -> bool:
        """Take note of a set wall clock; True if the offset has moved by more than a second."""
        offset_ms = time.time_ns() // 1_000_000 - self._anchor_ms - self._elapsed_ms()
        if abs(offset_ms - self.offset_ms) <= 1_000:
            return False
        self.offset_ms = offset_ms
        return True

    @staticmethod
    def _elapsed_ms() -> int:
        # Counts suspended time too: a binding lapses while the machine sleeps.
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
