"""Addresses of hosts, and the local address that each of them is reached from."""

import asyncio
import logging
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

logger = logging.getLogger(__name__)

LOOKUP_TIMEOUT: Final = 10.0  # seconds; what asked has 32 before its transaction would have ended
MAX_ADDRESSES: Final = 16  # of one name
MAX_LOOKUPS: Final = 16  # at once; what waits longer than LOOKUP_TIMEOUT for its turn is not asked any more

# Of their own: whoever subscribes names the hosts, and what they make wait must not be the loop's other threads, in
# which the store is synced.
_threads = ThreadPoolExecutor(MAX_LOOKUPS, "reginfo-lookup")

_Info = tuple[int, int, int, str, Any]


async def locate(host: str) -> list[tuple[str, str]]:
    """Return (remote, local) address pairs of a name or IP address, in the order of preference; none if it has none.

    The system's resolver is asked for A and AAAA (RFC 3263 section 4.2).
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT):
            found: Sequence[_Info] = _literal(host)
            if not found:
                ask = partial(socket.getaddrinfo, host, None, type=socket.SOCK_DGRAM)
                found = await loop.run_in_executor(_threads, ask)
    except (OSError, TimeoutError, UnicodeError) as error:
        logger.info("host not found host=%s reason=%s", host, str(error) or "no answer in time")
        return []
    pairs = []
    for family, _, _, _, where in found[:MAX_ADDRESSES]:
        local = _local_towards(family, str(where[0]))
        if local is not None:
            pairs.append((str(where[0]).partition("%")[0], local))
    return pairs


def _literal(host: str) -> Sequence[_Info]:
    """Return what getaddrinfo() says of an IP address, which asks nobody and takes no time; empty for a name."""
    try:
        return socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return []


def _local_towards(family: int, address: str) -> str | None:
    """Return the address the system would send from; None if it knows no way."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))  # a datagram socket only looks up its route
        except OSError:
            return None
        return str(probe.getsockname()[0]).partition("%")[0]
