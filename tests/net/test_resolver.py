"""Look-ups of hosts that others have named."""

import asyncio
import socket
import threading
from typing import Any

import pytest

from reginfo.net.resolver import locate


async def test_hosts_that_are_slow_to_find_hold_up_no_other_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-3: a hundred Contacts with names whose servers do not answer, while the store has to be synced"""
    answered = threading.Event()

    find = socket.getaddrinfo

    def wait(host: str, port: None, **options: Any) -> Any:
        if options.get("flags", 0) & socket.AI_NUMERICHOST:
            return find(host, port, **options)
        answered.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    lookups = [asyncio.create_task(locate(f"h{number}.example")) for number in range(100)]
    await asyncio.sleep(0.05)
    try:
        async with asyncio.timeout(2):
            assert await asyncio.get_running_loop().run_in_executor(None, lambda: "synced") == "synced"
            assert await locate("127.0.0.1") == [("127.0.0.1", "127.0.0.1")]
    finally:
        answered.set()
    assert await asyncio.gather(*lookups) == [[]] * 100
