"""Addresses of hosts, and the local address that each of them is reached from."""

import asyncio
import logging
import socket
from typing import Final

logger = logging.getLogger(__name__)

LOOKUP_TIMEOUT: Final = 10.0  # seconds; what asked has 32 before its transaction would have ended
MAX_ADDRESSES: Final = 16  # of one name


async def locate(host: str) -> list[tuple[str, str]]:
    """Return (remote, local) address pairs of a name or IP address, in the order of preference; none if it has none.

    The system's resolver is asked for A and AAAA (RFC 3263 section 4.2).
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, TimeoutError, UnicodeError) as error:
        logger.info("host not found host=%s reason=%s", host, str(error) or "no answer in time")
        return []
    pairs = []
    for family, _, _, _, where in found[:MAX_ADDRESSES]:
        local = _local_towards(family, str(where[0]))
        if local is not None:
            pairs.append((str(where[0]).partition("%")[0], local))
    return pairs


def _local_towards(family: int, address: str) -> str | None:
    """Return the address the system would send from; None if it knows no way."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))  # a datagram socket only looks up its route
        except OSError:
            return None
        return str(probe.getsockname()[0]).partition("%")[0]
