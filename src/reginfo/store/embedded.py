"""The embedded store: the table in memory decides, RocksDB beneath it remembers.

One call of commit is one write batch.  Here a change becomes visible once the operating system has it; in
store.batched before that, in store.synced once the disk has it.

When a write fails, memory stays as it is and keeps answering; a task opens the database again and makes
it agree with memory.  Until then nothing is accepted.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from rocksdict import WriteBatch

from reginfo.errors import FeedGap, StoreRefused, StoreUnavailable
from reginfo.fast import BindingTable, Change, kept_items
from reginfo.model import StateItem
from reginfo.store.base import Cursor
from reginfo.store.disk import (
    CURSOR,
    CURSOR_END,
    JOURNAL,
    JOURNAL_END,
    RETRY_AFTER,
    ROW,
    STATE,
    STATE_END,
    Disk,
    journal_key,
)
from reginfo.store.feed import (
    JOURNAL_RECORDS,
    JOURNAL_STEP,
    RING_CHANGES,
    JournalExtent,
    Ring,
)
from reginfo.store.folder import StoreFolder
from reginfo.store.table import TableStore

logger = logging.getLogger(__name__)

_LAST_SEQ = b"mseq"
_FIRST_SEQ = b"mfirst"
_REFRESHES_FROM = b"mrefreshes"
_CLOCK_OFFSET = b"mclock"


def _octets(number: int) -> bytes:
    return number.to_bytes(8, "big", signed=True)


def _put(batch: WriteBatch, items: Iterable[tuple[bytes, bytes | None]]) -> None:
    put, delete = batch.put, batch.delete
    for key, value in items:
        if value is None:
            delete(key)
        else:
            put(key, value)


class EmbeddedStore(TableStore):
    """A store whose changes are with the operating system before commit returns (committed)."""

    def __init__(
        self,
        path: Path,
        wall_ms: int = 0,
        *,
        ring: int = RING_CHANGES,
        journal: int = JOURNAL_RECORDS,
        journal_step: int = JOURNAL_STEP,
        retry_s: float = RETRY_AFTER,
    ) -> None:
        """Open the folder and read all of it; raise StoreRefused if it is not ours or is damaged.

        wall_ms is the wall time, and only makes the first due() quicker.
        """
        super().__init__(ring=ring)
        self._journal_limits = (journal, journal_step)
        self._retry_s = retry_s
        # Accepted by a call that has not ended: the revision each AoR will have (0: no record).
        self._ahead: dict[str, int] = {}
        # Keys whose value on disk may differ from the one in memory.
        self._stale_rows: set[str] = set()
        self._stale_state: set[bytes] = set()
        self._positions: dict[str, int] = {}
        self._wants_refreshes = False
        self._recovery: asyncio.Task[None] | None = None
        self._syncs: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()
        self._folder = StoreFolder(path)
        try:
            self._disk = Disk(self._folder.database, create=self._folder.is_empty)
            try:
                if self._folder.is_empty:
                    self._create()
                self._read(wall_ms, ring)
            except BaseException:
                self._disk.close()
                raise
        except BaseException:
            self._folder.release()
            raise

    def _create(self) -> None:
        batch = WriteBatch(raw_mode=True)
        batch.put(_LAST_SEQ, _octets(0))
        batch.put(_FIRST_SEQ, _octets(1))
        self._disk.write(batch)
        self._disk.sync()
        self._folder.created()

    def _read(self, wall_ms: int, ring: int) -> None:
        try:
            last_seq = self._disk.number(_LAST_SEQ)
            if last_seq is None:
                raise StoreRefused(f"{self._folder.database} is not the database of a store")
            self._clock_offset = self._disk.number(_CLOCK_OFFSET) or 0
            # Since this change the journal has refreshes too; None if it has not.
            self._refreshes_from = self._disk.number(_REFRESHES_FROM)
            self._table = BindingTable(max(0, wall_ms - self._clock_offset))
            for record in self._disk.values(ROW, STATE):
                self._table.put(record)
            for key, value in self._disk.items(STATE, STATE_END):
                self._state[key[1:]] = value
            for key, value in self._disk.items(CURSOR, CURSOR_END):
                cursor = int.from_bytes(value[:8], "big"), value[8:]
                self._cursors[key[len(CURSOR) :].decode()] = cursor
            self._measure_journal(last_seq)
        except (StoreUnavailable, ValueError) as error:
            raise StoreRefused(f"{self._folder.path} is damaged: {error}") from error
        self._ring = Ring(last_seq, ring)
        self._written = last_seq

    def _measure_journal(self, last_seq: int) -> None:
        first = self._disk.number(_FIRST_SEQ) or 1
        keys = self._disk.keys(journal_key(first), journal_key(last_seq + 1))
        seqs = (int.from_bytes(key[1:], "big") for key in keys)
        self._extent = JournalExtent(first, seqs, *self._journal_limits)

    # Writing

    async def commit(self, changes: Sequence[Change], state: Sequence[StateItem] = ()) -> list[int]:
        self._check_disk()
        accepted, refused = self._table.accept(changes, self._ahead)
        if accepted or state:
            await self._keep(accepted, state)
        return refused

    async def _keep(self, changes: Sequence[Change], state: Sequence[StateItem]) -> None:
        """Make accepted changes durable and visible, in the order of the durability level."""
        self._write(changes, state)
        self._apply(changes, state)
        self._ahead.clear()

    @property
    def takes_changes(self) -> bool:
        return self._recovery is None and not self._closing.is_set()

    def _check_disk(self) -> None:
        if self._recovery is not None:
            raise StoreUnavailable("the store's disk is failing", retry_after=RETRY_AFTER)
        if self._closing.is_set():
            raise StoreUnavailable("the store is closing", retry_after=RETRY_AFTER)

    def _write(self, changes: Iterable[Change], state: Iterable[StateItem]) -> None:
        batch = WriteBatch(raw_mode=True)
        self._put_changes(batch, changes)
        _put(batch, [(STATE + key, value) for key, value in state])
        try:
            self._disk.write(batch)
        except StoreUnavailable as error:
            self._fail(changes, state, error)
            raise

    def _put_changes(self, batch: WriteBatch, changes: Iterable[Change]) -> None:
        """Add rows, journal records and the last sequence number of changes to a batch."""
        items, journalled, seq = kept_items(changes, self._written, ROW, JOURNAL, self._wants_refreshes)
        if seq == self._written:
            return
        _put(batch, items)
        self._extent.extend(journalled)
        if self._refreshes_from is not None and len(journalled) < seq - self._written:
            self._refreshes_from = None
            batch.delete(_REFRESHES_FROM)
        self._written = seq
        batch.put(_LAST_SEQ, _octets(seq))
        first = self._extent.first
        if self._extent.cut(min(self._positions.values(), default=0)):
            batch.delete_range(journal_key(first), journal_key(self._extent.first))
            batch.put(_FIRST_SEQ, _octets(self._extent.first))

    def _put_now(self, key: bytes, value: bytes) -> None:
        """Write one value of the store's own; never ahead of the changes it may speak of."""
        self._check_disk()
        batch = WriteBatch(raw_mode=True)
        batch.put(key, value)
        try:
            self._disk.write(batch)
        except StoreUnavailable as error:
            self._fail((), (), error)
            raise

    # Failure and recovery

    def _fail(self, changes: Iterable[Change], state: Iterable[StateItem], error: StoreUnavailable) -> None:
        """Remember what a failed batch may have left on the disk, and begin to recover."""
        self._stale_rows.update(change.aor for change in changes)
        self._stale_state.update(key for key, _ in state)
        if self._recovery is None:
            logger.error("store failed reason=%s", error)
            self._recovery = asyncio.get_running_loop().create_task(self._recover())

    async def _recover(self) -> None:
        loop = asyncio.get_running_loop()
        await self._settle()
        reason = ""
        while True:
            try:
                # Nothing is committed meanwhile, so another thread may read the memory.
                await loop.run_in_executor(None, self._restore)
            except (StoreUnavailable, StoreRefused) as error:
                if str(error) != reason:
                    reason = str(error)
                    logger.warning("store cannot be opened again yet reason=%s", error)
            else:
                logger.info("store recovered last_seq=%d", self.last_seq)
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._retry_s)
                break
        self._ahead.clear()
        self._recovery = None

    async def sync(self) -> None:
        self._check_disk()
        syncing = asyncio.get_running_loop().create_task(self._sync_disk())
        self._syncs.add(syncing)
        syncing.add_done_callback(self._syncs.discard)
        await asyncio.shield(syncing)  # a caller that is cancelled leaves the thread at work

    async def _sync_disk(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._disk.sync)
        except StoreUnavailable as error:
            self._fail((), (), error)
            raise

    async def _settle(self) -> None:
        """Wait until nothing uses the database, so that it can be closed."""
        if self._syncs:
            await asyncio.wait(self._syncs)

    def _restore(self) -> None:
        """Open the database again, and write what it missed or holds against our word from memory."""
        self._disk.reopen()
        on_disk = self._disk.number(_LAST_SEQ) or 0
        missing = self._ring.after(on_disk, self.last_seq)
        if missing is None:
            raise StoreUnavailable("the disk lost more than memory holds", retry_after=RETRY_AFTER)
        self._written = self.last_seq - len(missing)
        self._measure_journal(self._written)
        batch = WriteBatch(raw_mode=True)
        batch.delete_range(journal_key(self._written + 1), JOURNAL_END)
        self._put_changes(batch, missing)
        _put(batch, [(ROW + aor.encode(), self._table.get(aor)) for aor in self._stale_rows])
        _put(batch, [(STATE + key, self._state.get(key)) for key in self._stale_state])
        for name, (seq, saved) in self._cursors.items():
            batch.put(CURSOR + name.encode(), _octets(seq) + saved)
        since = self._refreshes_from
        _put(batch, [(_REFRESHES_FROM, None if since is None else _octets(since))])
        batch.put(_CLOCK_OFFSET, _octets(self._clock_offset))
        batch.put(_LAST_SEQ, _octets(self.last_seq))
        self._disk.write(batch)
        self._disk.sync()
        self._stale_rows.clear()
        self._stale_state.clear()

    async def close(self) -> None:
        self._closing.set()
        if self._recovery is not None:
            await self._recovery
        await self._settle()
        if self._written < self.last_seq:
            lost = self.last_seq - self._written
            logger.error("store closed on a failing disk unwritten_changes=%d", lost)
        await asyncio.get_running_loop().run_in_executor(None, self._disk.close)
        self._folder.release()

    # The feed and its consumers

    async def changes(self, after_seq: int, limit: int, *, refreshes: bool = False) -> list[Change]:
        found = self._ring.after(after_seq, limit)
        if found is not None:
            return found
        first = self._extent.first
        if refreshes:
            since = self._written if self._refreshes_from is None else self._refreshes_from
            first = max(first, since + 1)
        oldest = self._ring.oldest
        if after_seq + 1 < first:
            raise FeedGap(min(first, oldest))
        self._check_disk()
        found = []
        for key, value in self._disk.items(journal_key(after_seq + 1), journal_key(oldest)):
            found.append(Change.from_octets(int.from_bytes(key[1:], "big"), value))
            if len(found) == limit:
                return found
        return found + (self._ring.after(oldest - 1, limit - len(found)) or [])

    async def attach(self, name: str, wants_refreshes: bool) -> Cursor | None:
        cursor = self._cursors.get(name)
        if wants_refreshes and self._refreshes_from is None:
            since = max(self.last_seq, self._written)
            self._put_now(_REFRESHES_FROM, _octets(since))
            self._refreshes_from = since
        self._wants_refreshes |= wants_refreshes
        self._positions[name] = self.last_seq if cursor is None else cursor[0]
        return cursor

    async def save_cursor(self, name: str, seq: int, state: bytes = b"") -> None:
        self._put_now(CURSOR + name.encode(), _octets(seq) + state)
        self._cursors[name] = (seq, state)
        if name in self._positions:
            self._positions[name] = seq

    async def save_clock_offset(self, offset_ms: int) -> None:
        self._put_now(_CLOCK_OFFSET, _octets(offset_ms))
        self._clock_offset = offset_ms
