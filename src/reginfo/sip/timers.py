"""Instants at which something is owed, without a clock: whoever has one asks what is due."""

import heapq
import logging
from collections.abc import Callable
from typing import Any, Final

from reginfo.model import Now

logger = logging.getLogger(__name__)

SLOT_MS: Final = 16  # what is due within one slot is due together: a heap of slots stays small


class Timers:
    """Actions by the instant they are due; nothing is ever taken back, an action finds out what still holds."""

    def __init__(self) -> None:
        self._slots: dict[int, list[Any]] = {}
        "By slot, an action and its subject, the next action and its subject: no object for the pair."
        self._order: list[int] = []

    def at(self, due_ms: int, action: Callable[[Any, Now], None], subject: object) -> None:
        """Have action(subject, now) called at the first run() that is not before due_ms.

        A bound method is a new object at each mention: who has one called for many subjects had better mention it once.
        """
        slot = -(-due_ms // SLOT_MS)
        waiting = self._slots.get(slot)
        if waiting is None:
            waiting = self._slots[slot] = []
            heapq.heappush(self._order, slot)
        waiting += (action, subject)

    @property
    def next_due_ms(self) -> int | None:
        """Instant of the first action; None if there is none."""
        return self._order[0] * SLOT_MS if self._order else None

    def run(self, now: Now) -> None:
        """Call what is due, in the order of time, then of at(); what becomes due by that is for the next run."""
        due = []
        while self._order and self._order[0] * SLOT_MS <= now.ms:
            due.append(self._slots.pop(heapq.heappop(self._order)))
        for waiting in due:
            one_by_one = iter(waiting)
            for action, subject in zip(one_by_one, one_by_one, strict=True):
                try:
                    action(subject, now)
                except Exception:  # what is due with it is taken off already, and would never come
                    logger.exception("timer failed")
