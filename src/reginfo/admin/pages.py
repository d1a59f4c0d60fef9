"""Long lists in short pieces, between which everybody else has a turn."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from reginfo.fast import Registration

PIECE: Final = 16  # registrations read and shown in one go: about half a millisecond
PAUSE_SECONDS: Final = 0.002  # leaves busy phones three quarters of the time

Page = Callable[[int, int], Awaitable[tuple[int, list[Registration]]]]
"Cursor, about how many -> next cursor (0 at the end), that many registrations."


class TakingTurns:
    """Reads pages for all who walk at the same time: one page in a turn of the loop, whoever it is for."""

    def __init__(self, page: Page, is_busy: Callable[[], bool]) -> None:
        """While is_busy(), phones have most of the time between two pages."""
        self._page = page
        self._is_busy = is_busy
        self._turn = asyncio.Lock()

    async def page(self, cursor: int, number: int) -> tuple[int, list[Registration]]:
        """Return a page as soon as it is its turn."""
        async with self._turn:
            found = await self._page(cursor, number)
            await asyncio.sleep(PAUSE_SECONDS if self._is_busy() else 0)
            return found


async def pages(page: Page, cursor: int, limit: int | None) -> AsyncIterator[tuple[int, list[Registration]]]:
    """Yield pieces of about `limit` registrations, or of all, each with the cursor behind it (0 at the end)."""
    left = limit
    while left is None or left > 0:
        cursor, registrations = await page(cursor, PIECE if left is None else min(PIECE, left))
        yield cursor, registrations
        if not cursor:
            return
        if left is not None:
            left -= len(registrations)
        await asyncio.sleep(0)
