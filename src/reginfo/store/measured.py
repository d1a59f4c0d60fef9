"""How long a store takes for what a turn waits for."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from reginfo.errors import StoreUnavailable
from reginfo.fast import Change, Histogram
from reginfo.model import StateItem

BOUNDS_US: Final = (
    *(10, 25, 50, 100, 250, 500),
    *(1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000),
    *(1_000_000, 5_000_000, 10_000_000),
)
OPERATIONS: Final = ("load", "commit")
RESULTS: Final = ("ok", "conflict", "failed")


class Records(Protocol):
    """What a turn needs of a store; store.base describes both."""

    async def load(self, aors: Sequence[str]) -> list[bytes | None]:
        """Return the record of each address-of-record."""

    async def commit(self, changes: Sequence[Change], state: Sequence[StateItem] = ()) -> list[int]:
        """Make changes and role state durable as one, and return the indices of refused changes."""


class MeasuredRecords:
    """The records of a store, with a clock held to each call; a call is for all of a turn."""

    def __init__(self, store: Records) -> None:
        self._store = store
        self.durations: Mapping[str, Histogram] = {operation: Histogram(BOUNDS_US) for operation in OPERATIONS}
        "Microseconds by operation."
        self.calls: Counter[tuple[str, str]] = Counter(
            {(operation, result): 0 for operation in OPERATIONS for result in RESULTS}
        )
        "By operation and result."

    async def load(self, aors: Sequence[str]) -> list[bytes | None]:
        begun = time.perf_counter_ns()
        try:
            records = await self._store.load(aors)
        except StoreUnavailable:
            self._count("load", "failed", begun)
            raise
        self._count("load", "ok", begun)
        return records

    async def commit(self, changes: Sequence[Change], state: Sequence[StateItem] = ()) -> list[int]:
        begun = time.perf_counter_ns()
        try:
            refused = await self._store.commit(changes, state)
        except StoreUnavailable:
            self._count("commit", "failed", begun)
            raise
        self._count("commit", "conflict" if refused else "ok", begun)
        return refused

    def _count(self, operation: str, result: str, begun_ns: int) -> None:
        self.durations[operation].add((time.perf_counter_ns() - begun_ns) // 1000)
        self.calls[operation, result] += 1
