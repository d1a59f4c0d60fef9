"""The binding table as a dict and a sorted list: slow, obvious, the oracle of reginfo._fast.binding_table."""

from bisect import insort

from tests.reference.records import NEVER, aor_of, next_expiry_of, rows_of

TICK_MS = 100
RETRY_MS = 1000


class ReferenceTable:
    """What BindingTable does, with the expiry of every AoR in one sorted list."""

    def __init__(self, now_ms: int = 0) -> None:
        self.records: dict[str, bytes] = {}
        self.present = max(now_ms, 0) // TICK_MS * TICK_MS
        self._by_time: list[tuple[int, str]] = []
        self._time_of: dict[str, int] = {}

    def get(self, aor: str) -> bytes | None:
        return self.records.get(aor)

    def load(self, aors: list[str]) -> list[bytes | None]:
        return [self.records.get(aor) for aor in aors]

    def put(self, record: bytes) -> None:
        aor = aor_of(record)
        self.records[aor] = record
        self._time(aor, next_expiry_of(record))

    def remove(self, aor: str) -> bool:
        self._time(aor, NEVER)
        return self.records.pop(aor, None) is not None

    def __len__(self) -> int:
        return len(self.records)

    @property
    def contacts(self) -> int:
        return sum(map(rows_of, self.records.values()))

    def overdue(self, now_ms: int) -> tuple[set[str], set[str]]:
        """Return the AoRs that have to be reported now and those that may be: reported before and left as they are."""
        self.present = max(self.present, now_ms // TICK_MS * TICK_MS)
        must = {aor for at, aor in self._by_time if at <= self.present}
        return must, {aor for aor, record in self.records.items() if next_expiry_of(record) <= self.present}

    def report(self, aors: list[str]) -> None:
        """Note that these AoRs were reported: they have to be again in a second."""
        for aor in aors:
            self._time(aor, self.present + RETRY_MS)

    def next_due_ms(self) -> int | None:
        return self._by_time[0][0] if self._by_time else None

    def _time(self, aor: str, at: int) -> None:
        old = self._time_of.pop(aor, None)
        if old is not None:
            self._by_time.remove((old, aor))
        if at != NEVER:
            insort(self._by_time, (at, aor))
            self._time_of[aor] = at
