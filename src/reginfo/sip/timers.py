"""Instants at which something is owed, without a clock: whoever has one asks what is due."""

import logging

from reginfo.fast import TimerQueue

logger = logging.getLogger(__name__)


class Timers(TimerQueue):
    """Actions by the instant they are due."""

    def failed(self) -> None:
        """Log that an action has raised."""
        logger.exception("timer failed")
