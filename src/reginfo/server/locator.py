"""Finding the servers of a hop: the procedure of RFC 3263, and whoever answers its questions."""

import asyncio
import logging
import secrets
from collections.abc import Collection
from typing import Final

from reginfo.net.resolver import Resolver, local_towards
from reginfo.sip.locating import Answer, Query, Target, locate
from reginfo.sip.routing import Hop

logger = logging.getLogger(__name__)

LOOKUP_TIMEOUT: Final = 10.0  # seconds; what asked has 32 before its transaction would have ended


def _draw(highest: int) -> int:
    return secrets.randbelow(highest + 1)


class Locator:
    """Finds servers that some transports reach."""

    def __init__(self, transports: Collection[str]) -> None:
        self._transports = frozenset(transports)
        self._resolver = Resolver()

    async def locate(self, hop: Hop) -> list[tuple[Target, str]]:
        """Return the servers of a hop in the order in which they are tried, with the local addresses towards them."""
        reason = "no address"
        targets: list[Target] = []
        procedure = locate(hop, self._transports, _draw)
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT):
                wanted = next(procedure)
                while True:
                    wanted = procedure.send(await asyncio.gather(*map(self._ask, wanted)))
        except StopIteration as found:
            targets = found.value
        except TimeoutError:
            reason = "no answer in time"
        reached = [(target, local) for target in targets if (local := local_towards(target.host)) is not None]
        if not reached:
            logger.info("host not found host=%s reason=%s", hop.host, reason)
        return reached

    async def _ask(self, query: Query) -> Answer:
        return await self._resolver.ask(query.kind, query.name)
