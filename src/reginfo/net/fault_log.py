"""What goes wrong with connections as log lines, one a second of a kind: a flood of either must not fill the disk."""

import logging
from collections.abc import Callable

from reginfo.fast import Flow

logger = logging.getLogger(__name__)


class FaultLog:
    """Tells the operator what went wrong at one listener, and how often it was not told."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """clock returns seconds."""
        self._clock = clock
        self._told: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def tell(self, event: str, flow: Flow, reason: object) -> None:
        """Log an event, one of a few, unless it was logged within a second; say at the next one how many were not."""
        now = self._clock()
        if now < self._told.get(event, -1.0) + 1.0:
            self._untold[event] = self._untold.get(event, 0) + 1
            return
        self._told[event] = now
        untold = self._untold.pop(event, 0)
        if untold:
            logger.info("%s, not logged count=%d", event, untold)
        logger.info("%s flow=%s reason=%s", event, flow.text, reason)
