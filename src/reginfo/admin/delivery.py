"""What is delivered when: order, retries and the bound of one webhook, without clock, chance or socket.

Events of one address-of-record are delivered one after the other, those of several at once.  Whatever fails is
tried again, its address-of-record later each time; meanwhile one delivery at a time finds out whether the receiver
is back.  What waits is bounded: the oldest event is given up for a new one, and counted.

An event is known by its key, sequence number and index of the contact.  `snapshot` and `restore` carry over a
restart which events are still owed: after it the feed is read again from `cursor`, and of what had been read
before, only those that were owed then are taken.
"""

import heapq
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import msgspec

FIRST_DELAY: Final = 0.5  # seconds before what failed once is tried again; twice as long each time
MAX_DELAY: Final = 30.0  # seconds: a receiver that is back is noticed this soon
MAX_RETRY_AFTER: Final = 3600.0  # seconds: what a receiver may ask for

Key = tuple[int, int]
"Sequence number of a change, index of the contact in it."

SETTLED_ENTRIES: Final = 1024  # kept behind one that is not settled, at most
INDEX_BITS: Final = 20  # of the number of an event; an AoR has no more contacts

T = TypeVar("T")


def _number(key: Key) -> int:
    """Return a key as one number of the same order."""
    return key[0] << INDEX_BITS | key[1]


class Counts(msgspec.Struct):
    """What became of the events that one webhook wants, since it has its name."""

    delivered: int = 0
    "Acknowledged with 2xx."
    failed: int = 0
    "Refused by the receiver; not tried again."
    dropped: int = 0
    "Given up, because more waited than may, or because the journal no longer holds them."
    retried: int = 0
    "Attempts that failed and are, or were, to be made again."


class _Snapshot(msgspec.Struct, array_like=True):
    counts: Counts
    seen: int
    "Sequence number of the last change that was read."
    pending: bytes
    "Of 8 octets each, the numbers of events that are owed."


@dataclass(slots=True, eq=False)
class Entry(Generic[T]):
    """An event that is owed, until it is settled."""

    key: Key
    number: int
    "The key as one number of the same order."
    aor: str
    content: T
    started: float = -1.0
    "Time at which the attempt under way began; negative while it waits."
    attempts: int = 0
    "Attempts that failed."
    is_settled: bool = False


@dataclass(slots=True, eq=False)
class _Line(Generic[T]):
    """The events owed about one AoR.  It is under way, or waits in `_ready` or `_later`, once."""

    entries: list[Entry[T]]


class Outbox(Generic[T]):
    """The events one receiver is owed."""

    def __init__(self, max_pending: int, max_in_flight: int, chance: Callable[[], float]) -> None:
        """At most max_pending events wait, and max_in_flight are under way at once; chance() is in [0, 1)."""
        self._max_pending = max_pending
        self._max_in_flight = max_in_flight
        self._chance = chance
        self.counts = Counts()
        self._entries: deque[Entry[T]] = deque()  # those owed, and among them some that are settled; the first is owed
        self._pending = 0
        self._lines: dict[str, _Line[T]] = {}
        self._ready: deque[_Line[T]] = deque()
        self._later: list[tuple[float, int, _Line[T]]] = []
        self._in_flight = 0
        self._failures = 0
        self._failed_at = -1.0
        self._resume_at = 0.0
        self._seen = 0
        self._owed: deque[int] = deque()

    def __len__(self) -> int:
        """Number of events owed, those under way included."""
        return self._pending

    # -- the feed -------------------------------------------------------------------------------------------

    def takes(self, key: Key) -> bool | None:
        """Tell whether an event is owed, as known from before a restart; None if it was not read before.

        It is asked in the order of the feed.  What should have come before and did not is given up.
        """
        if key[0] > self._seen:
            return None
        self.forget_before(key)
        return bool(self._owed) and self._owed[0] == _number(key)

    def add(self, key: Key, aor: str, content: T) -> None:
        """Owe an event, which follows all that were added before; the oldest is given up if there are too many."""
        number = _number(key)
        if self._owed and self._owed[0] == number:
            self._owed.popleft()
        entry = Entry(key, number, aor, content)
        self._entries.append(entry)
        self._pending += 1
        line = self._lines.get(aor)
        if line is None:
            line = self._lines[aor] = _Line([entry])
            self._ready.append(line)
        else:
            line.entries.append(entry)
        if self._pending - self._in_flight > self._max_pending:
            self._drop_oldest()

    def forget_before(self, key: Key) -> None:
        """Give up what is still owed from before a restart and comes before an event that was, or can be, read."""
        while self._owed and self._owed[0] < _number(key):
            self._owed.popleft()
            self.counts.dropped += 1

    def cursor(self, seq: int) -> int:
        """Return up to where everything is settled, where the feed was read up to seq."""
        return min(seq, self._entries[0].key[0] - 1) if self._entries else seq

    def snapshot(self, seq: int) -> bytes:
        """Return what restore() needs, where the feed was read up to seq."""
        pending = array("q", [entry.number for entry in self._entries if not entry.is_settled])
        pending.extend(self._owed)
        return msgspec.msgpack.encode(_Snapshot(self.counts, max(seq, self._seen), pending.tobytes()))

    def restore(self, state: bytes) -> None:
        """Go on from a snapshot, before anything is added; raises ValueError if it is none."""
        saved = msgspec.msgpack.decode(state, type=_Snapshot)
        pending = array("q")
        pending.frombytes(saved.pending)
        self.counts, self._seen, self._owed = saved.counts, saved.seen, deque(pending)

    def _drop_oldest(self) -> None:
        """Give up the oldest event that is not under way: what is, may have been received."""
        entry = next(one for one in self._entries if one.started < 0 and not one.is_settled)
        line = self._lines[entry.aor]
        line.entries.remove(entry)
        self._end_if_empty(entry.aor, line)
        self._settle(entry)
        self.counts.dropped += 1
        if len(self._ready) > 2 * len(self._lines) + 64:  # lines whose events were all given up
            self._ready = deque(line for line in self._ready if line.entries)

    def _end_if_empty(self, aor: str, line: _Line[T]) -> bool:
        if line.entries:
            return False
        del self._lines[aor]
        return True

    # -- deliveries -----------------------------------------------------------------------------------------

    def take(self, now: float) -> Entry[T] | None:
        """Return an event to deliver now; what becomes of it is owed to delivered(), refused() or failed()."""
        while self._later and self._later[0][0] <= now:
            self._ready.append(heapq.heappop(self._later)[2])
        if now < self._resume_at or self._in_flight >= (1 if self._failures else self._max_in_flight):
            return None
        while self._ready:
            line = self._ready.popleft()
            if line.entries:  # else all its events were given up
                entry = line.entries[0]
                entry.started = now
                self._in_flight += 1
                return entry
        return None

    def next_take(self, now: float) -> float | None:
        """Return when take() may have something; None if that depends on what is under way, or comes yet."""
        if self._in_flight >= (1 if self._failures else self._max_in_flight):
            return None
        if any(line.entries for line in self._ready):
            return max(now, self._resume_at)
        return max(self._later[0][0], self._resume_at) if self._later else None

    def delivered(self, entry: Entry[T]) -> None:
        """Take note that the receiver has an event."""
        self.counts.delivered += 1
        self._answered(entry)

    def refused(self, entry: Entry[T]) -> None:
        """Take note that the receiver will never take an event."""
        self.counts.failed += 1
        self._answered(entry)

    def failed(self, entry: Entry[T], now: float, retry_after: float = 0.0) -> None:
        """Take note that an attempt failed; retry_after is how many seconds the receiver wants to be left alone."""
        self._in_flight -= 1
        self.counts.retried += 1
        entry.attempts += 1
        if entry.started >= self._failed_at:  # else it began before another one failed, and says nothing new
            self._failures += 1
            self._failed_at = now
            self._resume_at = now + self._delay(self._failures)
        self._resume_at = max(self._resume_at, now + min(retry_after, MAX_RETRY_AFTER))
        entry.started = -1.0
        due = now + self._delay(entry.attempts)
        heapq.heappush(self._later, (due, entry.key[0], self._lines[entry.aor]))
        if self._pending - self._in_flight > self._max_pending:
            self._drop_oldest()

    def _answered(self, entry: Entry[T]) -> None:
        self._failures = 0
        self._in_flight -= 1
        line = self._lines[entry.aor]
        del line.entries[0]
        if not self._end_if_empty(entry.aor, line):
            self._ready.append(line)
        self._settle(entry)

    def _settle(self, entry: Entry[T]) -> None:
        entry.is_settled = True
        self._pending -= 1
        entries = self._entries
        while entries and entries[0].is_settled:
            entries.popleft()
        if len(entries) > self._pending + SETTLED_ENTRIES:
            self._entries = deque(one for one in entries if not one.is_settled)

    def _delay(self, failures: int) -> float:
        """Return a back-off: twice as long each time, between half of it and all of it."""
        longest = min(MAX_DELAY, FIRST_DELAY * (1 << min(failures - 1, 16)))
        return longest * (0.5 + 0.5 * self._chance())
