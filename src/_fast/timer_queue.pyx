"""Instants at which something is owed, without a clock: whoever has one asks what is due."""

from collections.abc import Callable
from heapq import heappop, heappush

cimport cython
from libc.stdint cimport int64_t


cdef enum:
    SLOT = 16           # milliseconds: what is due within one slot is due together; a heap of slots stays small


@cython.auto_pickle(False)
cdef class TimerQueue:
    """Actions by the instant they are due; nothing is ever taken back, an action finds out what still holds."""

    def __cinit__(self) -> None:
        self.slots = {}
        self.order = []

    def failed(self) -> None:
        """Take note that an action has raised; called where its exception is handled, for whoever extends this."""

    def at(self, due_ms: int64_t, action: Callable[[object, object], None], subject: object) -> None:
        """Have action(subject, now) called at the first run() that is not before due_ms.

        A bound method is a new object at each mention: who has one called for many subjects had better mention it once.
        """
        self.put(due_ms, action, subject)

    cdef int put(self, int64_t due_ms, object action, object subject) except -1:
        cdef int64_t slot = due_ms // SLOT + (due_ms % SLOT > 0)     # cdivision: toward zero
        cdef list waiting = self.slots.get(slot)
        if waiting is None:
            waiting = self.slots[slot] = []
            heappush(self.order, slot)
        waiting.append(action)
        waiting.append(subject)
        return 0

    @property
    def next_due_ms(self) -> int | None:
        """Instant of the first action; None if there is none."""
        return self.order[0] * SLOT if self.order else None

    def run(self, now: object) -> None:
        """Call what is due, in the order of time, then of at(); what becomes due by that is for the next run."""
        cdef int64_t now_ms = now.ms
        cdef list due = []
        cdef Py_ssize_t i
        while self.order and <int64_t>self.order[0] <= now_ms // SLOT:
            due += self.slots.pop(heappop(self.order))
        for i in range(0, len(due), 2):
            try:
                due[i](due[i + 1], now)
            except Exception:   # what is due with it is taken off already, and would never come
                self.failed()
