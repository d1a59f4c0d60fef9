"""Consumers of the feed, each with a durable cursor.

Every change is read in order, after it is durable, by all who want to know of it; this is the only way they
learn.  Delivery is at least once: a consumer that dies between reading and saving reads again.
"""

import logging
import time
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from reginfo.errors import FeedGap, StoreUnavailable
from reginfo.fast import Change, Registration, piece_end
from reginfo.store.base import Store

logger = logging.getLogger(__name__)

CHANGES_PER_READ = 256
CHANGES_AT_ONCE = 16  # half a millisecond where each of them is a line of the log
PUMP_SECONDS = 0.0005  # a consumer that fell behind gives the loop back in between
MOST_PUMP_SECONDS = 0.008
LAG_STEP = 4_096  # changes: so far behind, it may take PUMP_SECONDS more, so that the feed does not end before it
RECORDS_PER_PAGE = 1_000


class Consumer(Protocol):
    """Reads the feed; does no I/O of its own."""

    name: str
    "Key of its cursor."
    wants_refreshes: bool
    "Whether refreshes that happened while it was away matter to it."

    @property
    def passes_over(self) -> Container[str] | None:
        """Causes whose refreshes cost it next to nothing; None for all causes."""

    def read(self, changes: Sequence[Change]) -> None:
        """Take changes that follow those read before."""

    def state(self) -> bytes:
        """Return what restore() needs to go on after the last change read."""

    def restore(self, state: bytes) -> None:
        """Go on from a saved state."""

    def reset(self, registrations: Iterable[Registration]) -> None:
        """Begin anew with the full state: there is no cursor, or the feed no longer reaches back to it."""


class FeedCursor:
    """The place of one consumer in the feed of one store."""

    def __init__(self, store: Store, name: str | None, wants_refreshes: bool) -> None:
        """Begin behind what is committed now; without a name the place is not durable."""
        self._store = store
        self._name = name
        self._wants_refreshes = wants_refreshes
        self.seq = store.last_seq
        "Sequence number of the last change that was read; who reads moves it."
        self._saved = (-1, b"")

    @property
    def lag(self) -> int:
        """Changes that were not read yet."""
        return self._store.last_seq - self.seq

    async def attach(self) -> bytes | None:
        """Go to the place that was saved, and return the state saved with it; None if nothing was."""
        if self._name is None:
            return None
        cursor = await self._store.attach(self._name, self._wants_refreshes)
        if cursor is None:
            return None
        self._saved = cursor
        self.seq, state = cursor
        return state

    async def next(self, limit: int) -> list[Change]:
        """Return at most limit changes that follow, none at the end; raises FeedGap and StoreUnavailable."""
        last = self._store.last_seq
        try:
            changes = await self._changes(limit)
        except FeedGap as gap:
            logger.warning("feed gap consumer=%s after=%d oldest=%d", self._name, self.seq, gap.oldest)
            raise
        if not changes:
            self.seq = last  # nothing but refreshes, which the journal does not hold for it
        return changes

    async def _changes(self, limit: int) -> list[Change]:
        if self._wants_refreshes:
            # Those that came before anybody wanted them were not kept; what else happened then was.
            with suppress(FeedGap):
                return await self._store.changes(self.seq, limit, refreshes=True)
        return await self._store.changes(self.seq, limit)

    async def save(self, seq: int, state: bytes = b"") -> None:
        """Save a place and a state unless they are saved; a store that cannot now is asked again next time."""
        if self._name is None or (seq, state) == self._saved:
            return
        try:
            await self._store.save_cursor(self._name, seq, state)
        except StoreUnavailable as error:
            logger.warning("cursor not saved consumer=%s reason=%s", self._name, error)
        else:
            self._saved = (seq, state)


class FeedReader:
    """Takes one consumer along the feed of one store."""

    def __init__(self, store: Store, consumer: Consumer) -> None:
        self._store = store
        self._consumer = consumer
        self._cursor = FeedCursor(store, consumer.name, consumer.wants_refreshes)
        self._cursor.seq = 0

    @property
    def lag(self) -> int:
        """Changes the consumer has not read yet."""
        return self._cursor.lag

    async def attach(self) -> None:
        """Restore the consumer from its cursor, or give it the full state."""
        state = await self._cursor.attach()
        if state is None:
            await self._reset()
        else:
            self._consumer.restore(state)

    async def pump(self, seconds: float | None = None) -> None:
        """Read on for so long at most; a store that cannot be read now is asked again next time.

        Unless told, a consumer reads the longer the further it is behind: where the feed does not reach back any more
        everything is read anew, and everybody waits for that.
        """
        if seconds is None:
            seconds = min(MOST_PUMP_SECONDS, PUMP_SECONDS * (1 + self.lag // LAG_STEP))
        until = time.monotonic() + seconds
        while self.lag:
            try:
                changes = await self._cursor.next(CHANGES_PER_READ)
            except FeedGap:
                await self._reset()
                return
            except StoreUnavailable:
                return
            if not changes:
                return
            start = 0
            while start < len(changes):
                stop = piece_end(changes, start, CHANGES_AT_ONCE, self._consumer.passes_over)
                self._consumer.read(changes[start:stop])
                self._cursor.seq = changes[stop - 1].seq
                start = stop
                if time.monotonic() >= until:
                    return

    async def save(self) -> None:
        """Save the cursor if it has moved; a store that cannot now is asked again next time."""
        await self._cursor.save(self._cursor.seq, self._consumer.state())

    async def _reset(self) -> None:
        self._cursor.seq = self._store.last_seq
        registrations = []
        cursor = 0
        while True:
            cursor, records = await self._store.page(cursor, RECORDS_PER_PAGE)
            registrations += [Registration(record) for record in records]
            if not cursor:
                break
        self._consumer.reset(registrations)
