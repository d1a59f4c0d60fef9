"""One timer for the clocks of thousands of connections, which are looked at when one of them may be due."""

import asyncio
import heapq
from math import ceil
from typing import Final

from reginfo.net.connection import Connection
from reginfo.net.turns import Turns

RESOLUTION: Final = 0.1  # seconds


class Clocks:
    """Look at each connection when it is due.

    Traffic only moves what a connection remembers; that it is not due yet is found when it is looked at.  A crowd that
    is cut off together takes several turns.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, turns: Turns) -> None:
        self._loop = loop
        self._turns = turns
        self._slots: dict[int, set[Connection]] = {}  # of the same tenth of a second
        self._order: list[int] = []  # a heap of their keys
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, connection: Connection, earliest: int = 0) -> None:
        """Look at a connection when it is due, and not before."""
        self.forget(connection)
        key = max(ceil(connection.due / RESOLUTION), earliest)
        connection.looked_at = key
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = set()
            heapq.heappush(self._order, key)
            if self._order[0] == key:
                self._arm()
        slot.add(connection)

    def forget(self, connection: Connection) -> None:
        """Look at a connection no more."""
        slot = self._slots.get(connection.looked_at)
        if slot is not None:
            slot.discard(connection)

    def sooner(self, connection: Connection) -> None:
        """Look at a connection earlier, if it is due earlier now."""
        if ceil(connection.due / RESOLUTION) < connection.looked_at:
            self.watch(connection)

    def stop(self) -> None:
        """Look at nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self.stop()
        when = max(self._order[0] * RESOLUTION, self._loop.time() + self._turns.wait)
        self._timer = self._loop.call_at(when, self._run)

    def _run(self) -> None:
        self._timer = None
        try:
            if not self._turns.wait:
                self._turns.begin()
                try:
                    self._look()
                finally:
                    self._turns.end()
        finally:  # whatever one connection raises, the others are looked at
            if self._order:
                self._arm()

    def _look(self) -> None:
        now = self._loop.time()
        while self._order and self._order[0] * RESOLUTION <= now:
            key = self._order[0]
            slot = self._slots[key]
            while slot:
                connection = slot.pop()
                try:
                    connection.look(now)
                finally:
                    if not connection.is_gone:
                        self.watch(connection, key + 1)
                if self._turns.is_over:
                    return
            heapq.heappop(self._order)  # no other is earlier: nothing is due before now
            del self._slots[key]
