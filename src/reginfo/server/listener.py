"""Who follows the feed in a task of its own, and takes its time: nobody waits for it."""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from reginfo.errors import FeedGap, StoreUnavailable
from reginfo.fast import Change
from reginfo.store.base import Store
from reginfo.store.reader import CHANGES_AT_ONCE, PUMP_SECONDS, FeedCursor

logger = logging.getLogger(__name__)

OnChange = Callable[[Change], Awaitable[None]]

SAVE_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 1.0  # after a store that could not be read, or a callback that raised
PAUSE_SECONDS: Final = 0.005  # for everybody else, while a listener that fell behind reads on
PREFIX: Final = "listener:"
"Of the names of cursors, so that none is that of a part of the server."


class FeedListener(ABC):
    """Follows the feed of one store."""

    def __init__(self, store: Store, name: str | None, wants_refreshes: bool) -> None:
        """With a name, what was not dealt with is read again after a restart."""
        self.cursor = FeedCursor(store, name, wants_refreshes)
        self._news = asyncio.Event()
        self._attached = False

    def wake(self) -> None:
        """Say that there may be changes."""
        self._news.set()

    async def attach(self) -> None:
        """Go where the last run has come to; run() does unless it is done."""
        if not self._attached:
            self.restore(await self.cursor.attach())
            self._attached = True

    async def run(self) -> None:
        """Listen until cancelled; what was dealt with by then is remembered."""
        await self.attach()
        save_at = 0.0
        try:
            while True:
                self._news.clear()
                await self._read()
                if time.monotonic() >= save_at:
                    await self._save()
                    save_at = time.monotonic() + SAVE_SECONDS
                try:
                    async with asyncio.timeout(SAVE_SECONDS):
                        await self._news.wait()
                except TimeoutError:
                    continue
        finally:
            await self._save()

    @abstractmethod
    def restore(self, state: bytes | None) -> None:
        """Go on from the state that was saved, None if there is none."""

    @abstractmethod
    async def take(self, changes: Sequence[Change]) -> None:
        """Take changes that follow those taken before, and move the cursor."""

    @abstractmethod
    def place(self) -> tuple[int, bytes]:
        """Return up to where everything has been dealt with, and the state to be saved with it."""

    @abstractmethod
    def miss(self, oldest: int) -> None:
        """Take note that the feed is held no longer up to a change, which is the next one that is taken."""

    async def _save(self) -> None:
        await self.cursor.save(*self.place())

    async def _read(self) -> None:
        until = time.monotonic() + PUMP_SECONDS
        while self.cursor.lag:
            try:
                changes = await self.cursor.next(CHANGES_AT_ONCE)
            except FeedGap as gap:
                self.miss(gap.oldest)
                self.cursor.seq = gap.oldest - 1
                continue
            except StoreUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if not changes:
                return
            await self.take(changes)
            if time.monotonic() >= until:
                await asyncio.sleep(PAUSE_SECONDS)
                until = time.monotonic() + PUMP_SECONDS


class ChangeListener(FeedListener):
    """Hands each change to the callback of a program that embeds the server, one after the other."""

    def __init__(self, store: Store, callback: OnChange, name: str | None) -> None:
        """With a name, what the callback has not returned from is handed to it again after a restart."""
        super().__init__(store, None if name is None else PREFIX + name, name is not None)
        self._callback = callback

    def restore(self, state: bytes | None) -> None:
        """Go on where the cursor says."""

    def place(self) -> tuple[int, bytes]:
        """Return the last change the callback has returned from."""
        return self.cursor.seq, b""

    def miss(self, oldest: int) -> None:
        """Go on without: the log says what is missing."""

    async def take(self, changes: Sequence[Change]) -> None:
        """Hand changes over."""
        for change in changes:
            try:
                await self._callback(change)
            except Exception:  # one that fails once would fail again and again, and nothing behind it be heard
                logger.exception("change callback failed seq=%d aor=%s", change.seq, change.aor)
            self.cursor.seq = change.seq
