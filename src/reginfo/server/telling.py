"""Telling others: the feed into the roles, their state into the store, and where they had come to at a restart."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from reginfo.engine.roles import STATE_PREFIXES, Roles
from reginfo.errors import FeedGap, StoreUnavailable
from reginfo.fast import Registration
from reginfo.model import Now
from reginfo.store.base import Store
from reginfo.store.reader import RECORDS_PER_PAGE

logger = logging.getLogger(__name__)

NAME: Final = "roles"
"Key of the cursor: everything up to it has been told to everybody."

PUMP_SECONDS: Final = 0.001  # of changes read in one go
CHANGES_PER_READ: Final = 64  # some 150 microseconds
LAPSES: Final = 64  # subscriptions ended at once
TOLD_PER_SAVE: Final = 256  # subscriptions in one write: about a millisecond


class Telling:
    """Takes the roles of one engine along the feed of one store."""

    def __init__(self, roles: Roles, store: Store, now: Callable[[], Now]) -> None:
        self._roles = roles
        self._store = store
        self._now = now
        self._seq = 0
        self._saved = -1

    @property
    def lag(self) -> int:
        """Changes the roles have not read yet."""
        return self._store.last_seq - self._seq

    async def attach(self) -> None:
        """Go on where the last run ended; nothing is sent before the next work()."""
        store = self._store
        cursor = await store.attach(NAME, False)
        for prefix in STATE_PREFIXES:
            self._roles.restore(prefix, await store.scan_state(prefix), self._now())
        if cursor is None:
            await self._recall(everything=True)
            await self._save_cursor()  # so that the next start reads what this run has changed, however short it is
            return
        self._seq = self._saved = cursor[0]
        try:
            await self._read(float("inf"))
        except FeedGap as gap:
            self._warn(gap)
            await self._recall(everything=True)
        else:
            await self._recall(everything=False)

    def pass_over(self) -> None:
        """Go on behind what is committed, of which nobody is told."""
        self._seq = self._store.last_seq

    async def read(self) -> None:
        """Read on for about a millisecond; a store that cannot be read now is asked again next time."""
        if not self.lag:
            return
        try:
            await self._read(PUMP_SECONDS)
        except FeedGap as gap:
            self._warn(gap)
            await self._recall(everything=True)
        except StoreUnavailable:
            return

    async def recall(self) -> None:
        """Give the roles the records they ask for."""
        await self._lapse()
        aors = self._roles.publisher.take_recalls()
        if aors:
            try:
                self._recall_records(zip(aors, await self._store.load(aors), strict=True), self._seq)
            except StoreUnavailable:
                self._roles.publisher.put_back_recalls(aors)

    async def _lapse(self) -> None:
        notifier = self._roles.notifier
        lapsed = notifier.take_lapsed(LAPSES)
        if not lapsed:
            return
        try:
            records = await self._store.load([subscription.watched.aor for subscription in lapsed])
        except StoreUnavailable:
            notifier.put_back_lapsed(lapsed, self._now())
            return
        now = self._now()
        for subscription, record in zip(lapsed, records, strict=True):
            notifier.lapse(subscription, record, now)

    async def _read(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self.lag:
            changes = await self._store.changes(self._seq, CHANGES_PER_READ)
            if not changes:
                self._seq = self._store.last_seq  # nothing but refreshes that the journal does not hold
                return
            self._roles.read(changes, self._now())
            self._seq = changes[-1].seq
            if time.monotonic() >= until:
                return

    def _warn(self, gap: FeedGap) -> None:
        logger.warning("feed gap consumer=%s after=%d oldest=%d", NAME, self._seq, gap.oldest)

    async def _recall(self, everything: bool) -> None:
        """Compare what was told with the records as they are: refreshes are not in the journal."""
        seq = self._seq = self._store.last_seq
        aors = list(self._roles.followed())
        for start in range(0, len(aors), RECORDS_PER_PAGE):
            page = aors[start : start + RECORDS_PER_PAGE]
            self._recall_records(zip(page, await self._store.load(page), strict=True), seq)
        cursor = 0
        while everything:
            cursor, records = await self._store.page(cursor, RECORDS_PER_PAGE)
            self._recall_records([(Registration(record).aor, record) for record in records], seq)
            if not cursor:
                break

    def _recall_records(self, records: Iterable[tuple[str, bytes | None]], seq: int) -> None:
        now = self._now()
        for aor, record in records:
            self._roles.recall(aor, record, seq, now)

    async def keep_state(self) -> None:
        """Make durable what the roles want to be durable before their next requests leave."""
        state = self._roles.unsaved.take()
        if state:
            try:
                await self._store.commit((), state)
            except StoreUnavailable:
                self._roles.unsaved.put_back(state)

    async def save(self) -> bool:
        """Save some of what was told to whom, and after the last of it how far everybody has been told.

        True if more is to be saved; a failing store is asked again next time.
        """
        told = self._roles.notifier.take_told(TOLD_PER_SAVE)
        more = len(told) == TOLD_PER_SAVE
        try:
            if told:
                await self._store.commit((), told)
            if not more:
                await self._save_cursor()
        except StoreUnavailable as error:
            self._roles.unsaved.put_back(told)
            logger.warning("cursor not saved consumer=%s reason=%s", NAME, error)
            return False
        return more

    async def _save_cursor(self) -> None:
        seq = self._roles.settled(self._seq)
        if seq != self._saved:
            await self._store.save_cursor(NAME, seq)
            self._saved = seq
