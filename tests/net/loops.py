"""Event loop and waiting for tests over loopback sockets: everything waits for an event, never for a time."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec

import uvloop

Arguments = ParamSpec("Arguments")

TIMEOUT = 10.0  # seconds after which a test has failed


def on_uvloop(test: Callable[Arguments, Awaitable[None]]) -> Callable[Arguments, None]:
    """Run a test on the event loop that the server uses."""

    @functools.wraps(test)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(TIMEOUT):
                await test(*args, **kwargs)

        uvloop.run(bounded())

    return run
