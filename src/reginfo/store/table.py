"""The state in memory: all of a store without durability, and the authority of one with it."""

from collections.abc import Sequence

from reginfo.errors import FeedGap
from reginfo.fast import BindingTable, Change
from reginfo.model import StateItem
from reginfo.store.base import Cursor
from reginfo.store.feed import RING_CHANGES, Ring


class TableStore:
    """A store that forgets everything at its end (durability "memory")."""

    def __init__(self, now_ms: int = 0, *, ring: int = RING_CHANGES) -> None:
        """Begin empty; now_ms is an engine time that has been, and only makes the first due() quicker."""
        self._table = BindingTable(now_ms)
        self._ring = Ring(0, ring)
        self._state: dict[bytes, bytes] = {}
        self._cursors: dict[str, Cursor] = {}
        self._clock_offset = 0

    @property
    def last_seq(self) -> int:
        return self._ring.last_seq

    @property
    def takes_changes(self) -> bool:
        return True

    def changed_ms(self, seq: int) -> int | None:
        found = self._ring.after(seq - 1, 1)
        return found[0].at_ms if found else None

    @property
    def clock_offset(self) -> int:
        return self._clock_offset

    @property
    def contacts(self) -> int:
        return self._table.contacts

    def __len__(self) -> int:
        return len(self._table)

    async def load(self, aors: Sequence[str]) -> list[bytes | None]:
        return self._table.load(aors)

    async def commit(self, changes: Sequence[Change], state: Sequence[StateItem] = ()) -> list[int]:
        refused = self._table.commit(changes)
        lost = set(refused)
        accepted = [change for index, change in enumerate(changes) if index not in lost] if lost else changes
        self._tell(accepted, state)
        return refused

    async def changes(self, after_seq: int, limit: int, *, refreshes: bool = False) -> list[Change]:
        found = self._ring.after(after_seq, limit)
        if found is None:
            raise FeedGap(self._ring.oldest)
        return found

    async def due(self, now_ms: int, limit: int) -> list[str]:
        return self._table.due(now_ms, limit)

    def next_due_ms(self) -> int | None:
        return self._table.next_due_ms()

    def find_gruu(self, index: int) -> str | None:
        return self._table.find_gruu(index)

    async def page(self, cursor: int, n: int) -> tuple[int, list[bytes]]:
        return self._table.page(cursor, n)

    async def flows(self) -> list[tuple[str, str]]:
        return self._table.flows()

    async def attach(self, name: str, wants_refreshes: bool) -> Cursor | None:
        return self._cursors.get(name)

    async def cursor(self, name: str) -> Cursor | None:
        return self._cursors.get(name)

    async def save_cursor(self, name: str, seq: int, state: bytes = b"") -> None:
        self._cursors[name] = (seq, state)

    async def get_state(self, key: bytes) -> bytes | None:
        return self._state.get(key)

    async def scan_state(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        return sorted(item for item in self._state.items() if item[0].startswith(prefix))

    async def save_clock_offset(self, offset_ms: int) -> None:
        self._clock_offset = offset_ms

    async def sync(self) -> None:
        """Do nothing: this is all there is."""

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    def _apply(self, changes: Sequence[Change], state: Sequence[StateItem]) -> None:
        """Make accepted changes visible: table first, then the feed."""
        self._table.apply(changes)
        self._tell(changes, state)

    def _tell(self, changes: Sequence[Change], state: Sequence[StateItem]) -> None:
        self._ring.extend(changes)
        for key, value in state:
            if value is None:
                self._state.pop(key, None)
            else:
                self._state[key] = value
