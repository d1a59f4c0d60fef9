"""Patience with a place that does not answer: everything waits but one probe after each back-off."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from reginfo.model import Now
from reginfo.sip.subscription import back_off_s
from reginfo.sip.timers import Timers

RELEASES: Final = 1024  # at once: one or two milliseconds

T = TypeVar("T")


class Outage(Generic[T]):
    """Whether one place answers, and what waits until it does."""

    def __init__(self, timers: Timers, chance: Callable[[], float], release: Callable[[T, Now], bool]) -> None:
        """release lets go of what has waited: one subject as a probe, all of them when it was answered.

        It returns False of a subject that has nothing to say any more, which would be a probe without an answer.
        """
        self._timers = timers
        self._chance = chance
        self._release = release
        self._held: OrderedDict[T, None] = OrderedDict()  # a dict is slow to find its first of many
        self._probe: T | None = None
        self._failures = 0
        self._until = 0
        self.is_down = False
        "Whether nothing but the probe may be sent."
        self.down_since_ms = 0
        "Since when, while it is down."

    def holds(self, subject: T) -> bool:
        """Tell whether a subject has to wait; it is released when it need not any more."""
        if not self.is_down or subject is self._probe:
            return False
        self._held[subject] = None
        return True

    def forget(self, subject: T, now: Now) -> None:
        """Take note that a subject has nothing to say any more; if it was the probe, the next one is."""
        self._held.pop(subject, None)
        if subject is self._probe:
            self._probe = None
            self._try(None, now)

    def reset(self) -> None:
        """Take note that it is another place from now on: the next probe goes at once."""
        self._failures = 0
        self._until = 0
        self._timers.at(0, self._try, None)

    @property
    def waiting(self) -> int:
        """Subjects that wait."""
        return len(self._held)

    def begin(self, retry_after_ms: int, now: Now) -> bool:
        """Take note that a request was not answered, or with a wish for patience; True if that was news (TX-11)."""
        self._probe = None
        if self.is_down and now.ms < self._until:
            return False  # it was on its way when the place went
        first = not self.is_down
        wait_ms = retry_after_ms or round(1000 * back_off_s(self._failures, self._chance()))
        if first:
            self.down_since_ms = now.ms
        self.is_down = True
        self._failures += 1
        self._until = now.ms + wait_ms
        self._timers.at(self._until, self._try, None)
        return first

    def end(self, now: Now) -> bool:
        """Take note that the place has answered; True if that was news."""
        self._probe = None
        if not self.is_down:
            return False
        self.is_down = False
        self._failures = 0
        self._let_go(None, now)
        return True

    def _let_go(self, _subject: None, now: Now) -> None:
        """Release what has waited, a mass of it at several ticks: the place has just come back."""
        if self._held:
            self._timers.at(now.ms, self._let_go, None)
        for _ in range(RELEASES):
            if self.is_down or not self._held:
                break
            self._release(self._held.popitem(last=False)[0], now)

    def _try(self, _subject: None, now: Now) -> None:
        if not self.is_down or now.ms < self._until or self._probe is not None:
            return
        while self._held:
            subject, _ = self._held.popitem(last=False)
            self._probe = subject
            if self._release(subject, now) or self._probe is not subject:
                return
            self._probe = None
        self.is_down = False  # nothing waits: the next request finds out
