"""How long a store takes to commit what a turn has decided."""

import time
from collections.abc import Sequence
from typing import Final, Protocol

from reginfo.fast import Change, Counters, Histogram
from reginfo.model import StateItem

BOUNDS_US: Final = (
    *(10, 25, 50, 100, 250, 500),
    *(1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000),
    *(1_000_000, 5_000_000, 10_000_000),
)
RESULTS: Final = ("ok", "conflict", "failed")
_OK, _CONFLICT, _FAILED = range(len(RESULTS))


class Records(Protocol):
    """What a turn needs of a store; store.base describes both."""

    async def load(self, aors: Sequence[str]) -> list[bytes | None]:
        """Return the record of each address-of-record."""

    async def commit(self, changes: Sequence[Change], state: Sequence[StateItem] = ()) -> list[int]:
        """Make changes and role state durable as one, and return the indices of refused changes."""


class MeasuredRecords:
    """The records of a store, with a clock held to each commit, which is for all of a turn."""

    def __init__(self, store: Records) -> None:
        self.load = store.load
        self._commit = store.commit
        self.durations = Histogram(BOUNDS_US)
        "Of commits, in microseconds."
        self.commits = Counters(RESULTS)
        "By result."

    async def commit(self, changes: Sequence[Change], state: Sequence[StateItem] = ()) -> list[int]:
        result = _FAILED
        begun = time.perf_counter_ns()
        try:
            refused = await self._commit(changes, state)
            result = _CONFLICT if refused else _OK
        finally:
            self.durations.add((time.perf_counter_ns() - begun) // 1000)
            self.commits.add(result)
        return refused
