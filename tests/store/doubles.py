"""A store that answers late, refuses or fails when told to: for tests of what happens in between."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from reginfo.errors import StoreUnavailable
from reginfo.model import StateItem
from reginfo.store.base import Cursor, Store

if TYPE_CHECKING:
    from reginfo.fast import Change

Point = Literal["load", "commit", "committed"]
"Where a call can be held: before load, before commit, and after commit but before it returns."


class DelayedStore:
    """Wraps a store; load and commit wait for held futures and for a number of loop turns.

    Every call passes through, in the order in which the waits end: an earlier call that is held can be
    overtaken by a later one, as on a network.
    """

    def __init__(self, inner: Store, turns: Callable[[], int] = lambda: 0) -> None:
        self.inner = inner
        self.turns = turns
        "Gives the number of loop turns that the next load or commit waits, at each of its points."
        self.in_flight = 0
        "Calls of commit that have begun and not returned."
        self.calls: list[tuple[Point, tuple[str, ...]]] = []
        "Every point passed, with the addresses-of-record of the call."
        self._held: dict[Point, deque[asyncio.Future[None]]] = defaultdict(deque)
        self._refused: set[str] = set()
        self._failures: deque[int] = deque()

    def find_gruu(self, index: int) -> str | None:
        return self.inner.find_gruu(index)

    def hold(self, point: Point) -> asyncio.Future[None]:
        """Hold the next call that comes to point until the returned future has a result.

        An exception set on the future is raised in the held call.
        """
        held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held[point].append(held)
        return held

    def refuse(self, aor: str) -> None:
        """Refuse all changes of aor in the next commit that has one, as if another node was faster."""
        self._refused.add(aor)

    def fail(self, times: int = 1, retry_after: int = 1) -> None:
        """Make the next commits raise StoreUnavailable; the store beneath never sees them."""
        self._failures.extend([retry_after] * times)

    async def _pass(self, point: Point, aors: tuple[str, ...]) -> None:
        if self._held[point]:
            await self._held[point].popleft()
        for _ in range(self.turns()):
            await asyncio.sleep(0)
        self.calls.append((point, aors))

    async def load(self, aors: Sequence[str]) -> list[bytes | None]:
        await self._pass("load", tuple(aors))
        return await self.inner.load(aors)

    async def commit(self, changes: Sequence["Change"], state: Sequence[StateItem] = ()) -> list[int]:
        aors = tuple(change.aor for change in changes)
        self.in_flight += 1
        try:
            await self._pass("commit", aors)
            if self._failures:
                raise StoreUnavailable("told to fail", retry_after=self._failures.popleft())
            kept = [index for index, aor in enumerate(aors) if aor not in self._refused]
            refused = [index for index, aor in enumerate(aors) if aor in self._refused]
            self._refused.difference_update(aors)
            inner = await self.inner.commit([changes[index] for index in kept], state)
            await self._pass("committed", aors)
            return sorted(refused + [kept[index] for index in inner])
        finally:
            self.in_flight -= 1

    async def changes(self, after_seq: int, limit: int, *, refreshes: bool = False) -> list["Change"]:
        return await self.inner.changes(after_seq, limit, refreshes=refreshes)

    @property
    def last_seq(self) -> int:
        return self.inner.last_seq

    @property
    def takes_changes(self) -> bool:
        return self.inner.takes_changes

    def changed_ms(self, seq: int) -> int | None:
        return self.inner.changed_ms(seq)

    @property
    def clock_offset(self) -> int:
        return self.inner.clock_offset

    @property
    def contacts(self) -> int:
        return self.inner.contacts

    def __len__(self) -> int:
        return len(self.inner)

    async def due(self, now_ms: int, limit: int) -> list[str]:
        return await self.inner.due(now_ms, limit)

    def next_due_ms(self) -> int | None:
        return self.inner.next_due_ms()

    async def page(self, cursor: int, n: int) -> tuple[int, list[bytes]]:
        return await self.inner.page(cursor, n)

    async def flows(self) -> list[tuple[str, str]]:
        return await self.inner.flows()

    async def attach(self, name: str, wants_refreshes: bool) -> Cursor | None:
        return await self.inner.attach(name, wants_refreshes)

    async def cursor(self, name: str) -> Cursor | None:
        return await self.inner.cursor(name)

    async def save_cursor(self, name: str, seq: int, state: bytes = b"") -> None:
        await self.inner.save_cursor(name, seq, state)

    async def get_state(self, key: bytes) -> bytes | None:
        return await self.inner.get_state(key)

    async def scan_state(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        return await self.inner.scan_state(prefix)

    async def save_clock_offset(self, offset_ms: int) -> None:
        await self.inner.save_clock_offset(offset_ms)

    async def sync(self) -> None:
        await self.inner.sync()

    async def close(self) -> None:
        await self.inner.close()
