"""Long lists in short pieces, between which everybody else has a turn."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from reginfo.fast import Registration

PIECE: Final = 32  # registrations read and shown in one go: about a millisecond


async def pages(
    page: Callable[[int, int], Awaitable[tuple[int, list[Registration]]]], cursor: int, limit: int | None
) -> AsyncIterator[tuple[int, list[Registration]]]:
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
