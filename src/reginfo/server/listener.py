"""Callbacks of programs that embed the server: each committed change, in order, one after the other."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from reginfo.errors import FeedGap, StoreUnavailable
from reginfo.fast import Change
from reginfo.store.base import Store

logger = logging.getLogger(__name__)

OnChange = Callable[[Change], Awaitable[None]]

CHANGES_PER_READ: Final = 64
SAVE_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 1.0  # after a store that could not be read, or a callback that raised
PREFIX: Final = "listener:"
"Of the names of cursors, so that none is that of a part of the server."


class ChangeListener:
    """Hands the feed to one callback, which may take its time: nobody waits for it."""

    def __init__(self, store: Store, callback: OnChange, name: str | None) -> None:
        """With a name, what the callback has not returned from is handed to it again after a restart."""
        self._store = store
        self._callback = callback
        self._name = None if name is None else PREFIX + name
        self._seq = store.last_seq
        self._saved = -1
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Say that there may be changes."""
        self._news.set()

    async def run(self) -> None:
        """Listen until cancelled; what was handled by then is remembered."""
        if self._name is not None:
            cursor = await self._store.attach(self._name, True)
            if cursor is not None:
                self._seq = self._saved = cursor[0]
        try:
            while True:
                self._news.clear()
                await self._read()
                await self._save()
                try:
                    async with asyncio.timeout(SAVE_SECONDS):
                        await self._news.wait()
                except TimeoutError:
                    continue
        finally:
            await self._save()

    async def _read(self) -> None:
        while self._seq < self._store.last_seq:
            try:
                changes = await self._store.changes(self._seq, CHANGES_PER_READ, refreshes=self._name is not None)
            except FeedGap as gap:
                logger.warning("feed gap consumer=%s after=%d oldest=%d", self._name, self._seq, gap.oldest)
                self._seq = gap.oldest - 1
                continue
            except StoreUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for change in changes:
                try:
                    await self._callback(change)
                except Exception:  # one that fails once would fail again and again, and nothing behind it be heard
                    logger.exception("change callback failed seq=%d aor=%s", change.seq, change.aor)
                self._seq = change.seq
            if not changes:
                return

    async def _save(self) -> None:
        if self._name is None or self._seq == self._saved:
            return
        seq = self._seq
        try:
            await self._store.save_cursor(self._name, seq)
        except StoreUnavailable as error:
            logger.warning("cursor not saved consumer=%s reason=%s", self._name, error)
        else:
            self._saved = seq
