"""Tasks of the server that go on until it closes."""

import asyncio
from contextlib import suppress


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
