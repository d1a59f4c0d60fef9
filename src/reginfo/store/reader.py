"""Consumers of the feed, each with a durable cursor.

Every change is read in order, after it is durable, by all who want to know of it; this is the only way they
learn.  Delivery is at least once: a consumer that dies between reading and saving reads again.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from reginfo.errors import FeedGap, StoreUnavailable
from reginfo.fast import Change, Registration
from reginfo.store.base import Store

logger = logging.getLogger(__name__)

CHANGES_PER_READ = 16  # some 2 ms where each of them is a line of the log
PUMP_SECONDS = 0.001  # a consumer that fell far behind gives the loop back in between
RECORDS_PER_PAGE = 1_000


class Consumer(Protocol):
    """Reads the feed; does no I/O of its own."""

    name: str
    "Key of its cursor."
    wants_refreshes: bool
    "Whether refreshes that happened while it was away matter to it."

    def read(self, changes: Sequence[Change]) -> None:
        """Take changes that follow those read before."""

    def state(self) -> bytes:
        """Return what restore() needs to go on after the last change read."""

    def restore(self, state: bytes) -> None:
        """Go on from a saved state."""

    def reset(self, registrations: Iterable[Registration]) -> None:
        """Begin anew with the full state: there is no cursor, or the feed no longer reaches back to it."""


class FeedReader:
    """Takes one consumer along the feed of one store."""

    def __init__(self, store: Store, consumer: Consumer) -> None:
        self._store = store
        self._consumer = consumer
        self._seq = 0
        self._saved = -1

    @property
    def lag(self) -> int:
        """Changes the consumer has not read yet."""
        return self._store.last_seq - self._seq

    async def attach(self) -> None:
        """Restore the consumer from its cursor, or give it the full state."""
        consumer = self._consumer
        cursor = await self._store.attach(consumer.name, consumer.wants_refreshes)
        if cursor is None:
            await self._reset()
        else:
            self._seq, state = cursor
            self._saved = self._seq
            consumer.restore(state)

    async def pump(self, seconds: float = PUMP_SECONDS) -> None:
        """Read on for so long at most; a store that cannot be read now is asked again next time."""
        until = time.monotonic() + seconds
        while self.lag:
            last = self._store.last_seq
            try:
                changes = await self._store.changes(
                    self._seq, CHANGES_PER_READ, refreshes=self._consumer.wants_refreshes
                )
            except FeedGap as gap:
                logger.warning("feed gap consumer=%s after=%d oldest=%d", self._consumer.name, self._seq, gap.oldest)
                await self._reset()
                return
            except StoreUnavailable:
                return
            if not changes:
                self._seq = last  # nothing but refreshes, which the journal does not hold for it
                return
            self._consumer.read(changes)
            self._seq = changes[-1].seq
            if time.monotonic() >= until:
                return

    async def save(self) -> None:
        """Save the cursor if it has moved; a store that cannot now is asked again next time."""
        if self._seq == self._saved:
            return
        seq = self._seq
        try:
            await self._store.save_cursor(self._consumer.name, seq, self._consumer.state())
        except StoreUnavailable as error:
            logger.warning("cursor not saved consumer=%s reason=%s", self._consumer.name, error)
        else:
            self._saved = seq

    async def _reset(self) -> None:
        self._seq = self._store.last_seq
        registrations = []
        cursor = 0
        while True:
            cursor, records = await self._store.page(cursor, RECORDS_PER_PAGE)
            registrations += [Registration(record) for record in records]
            if not cursor:
                break
        self._consumer.reset(registrations)
