"""How far back the feed reaches: the ring in memory, and the extent of the journal on disk."""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

from reginfo.fast import Change, hold_changes

RING_CHANGES = 1 << 16
"Changes held in memory, refreshes included: some seconds of the highest load, an hour of a usual one."

JOURNAL_RECORDS = 200_000
"Records the journal on disk holds at most: reading on from there is still quicker than a full state."

JOURNAL_STEP = 1024
"Records removed from the journal at once; a range costs RocksDB the same whatever its length."


class Ring:
    """The newest changes, every one of them, by sequence number."""

    def __init__(self, last_seq: int = 0, size: int = RING_CHANGES) -> None:
        self.last_seq = last_seq
        "Sequence number of the newest change that may be read."
        self.oldest = last_seq + 1
        "Sequence number of the oldest change held; last_seq + 1 if none is."
        self.size = size
        self._slots: list[Change] = []
        self._origin = last_seq + 1

    def extend(self, changes: Iterable[Change]) -> None:
        """Number changes, and hold them in place of the oldest ones when the ring is full."""
        self.last_seq = hold_changes(changes, self.last_seq, self._slots, self.size, self._origin)
        self.oldest = self.last_seq + 1 - len(self._slots)

    def after(self, seq: int, limit: int) -> list[Change] | None:
        """Return at most limit changes that follow seq, None if the ring does not reach back to it."""
        if seq + 1 < self.oldest:
            return None
        count = min(limit, self.last_seq - seq)
        if count <= 0:
            return []
        start = (seq + 1 - self._origin) % self.size
        stop = start + count
        if stop <= self.size:
            return self._slots[start:stop]
        return self._slots[start:] + self._slots[: stop - self.size]


class JournalExtent:
    """Where the journal on disk begins and how many records it has; remembers every STEP-th of them."""

    def __init__(self, first: int, seqs: Iterable[int], bound: int = JOURNAL_RECORDS, step: int = JOURNAL_STEP) -> None:
        self.first = first
        "What follows first - 1 is complete."
        self.count = 0
        self._bound = bound
        self._step = step
        self._marks: deque[int] = deque()
        ahead = iter(seqs)
        while some := list(islice(ahead, step)):
            self.extend(some)

    def extend(self, seqs: Sequence[int]) -> None:
        """Take in the numbers of records that are added, in order."""
        self._marks.extend(seqs[-self.count % self._step :: self._step])
        self.count += len(seqs)

    def cut(self, done: int) -> bool:
        """Give up whole steps that all consumers have done or that exceed the bound; tell if any."""
        before = self.first
        while len(self._marks) > 1 and (self._marks[1] <= done + 1 or self.count > self._bound):
            self._marks.popleft()
            self.count -= self._step
            self.first = self._marks[0]
        return self.first != before
