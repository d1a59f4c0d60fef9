"""One line per contact event, from the feed.

What an accepted request did, nearly all of the traffic, is logged at DEBUG; what ran out, and what an operator
did, at INFO.
"""

import logging
from collections.abc import Container, Iterable, Sequence
from typing import Final

from reginfo.fast import Change, Registration, beyond_refreshes
from reginfo.model import ContactEvent

logger = logging.getLogger(__name__)

METHODS: Final = {"register": "REGISTER", "publish": "PUBLISH", "notify": "NOTIFY"}  # by cause; others have none
EXPIRY: Final = "expiry"
FLOW: Final = "flow"


class LogConsumer:
    """Logs what happened to each contact."""

    name = "log"
    wants_refreshes = False

    @property
    def passes_over(self) -> Container[str]:
        """Causes whose refreshes have lines at DEBUG only, unless those are wanted."""
        return () if logger.isEnabledFor(logging.DEBUG) else METHODS

    def read(self, changes: Sequence[Change]) -> None:
        """Log committed changes, in feed order."""
        passed_over = self.passes_over
        for change in beyond_refreshes(changes, passed_over)[1]:
            for binding, event in change.contacts:
                # A REGISTER that comes before the timer finds the contact expired; it is not what ended it.
                ran_out = event == ContactEvent.EXPIRED and change.cause != FLOW
                cause = EXPIRY if ran_out else change.cause
                if cause in passed_over:
                    continue
                method = METHODS.get(cause)
                logger.log(
                    logging.DEBUG if method else logging.INFO,
                    "%s aor=%s contact=%s callid=%s cause=%s method=%s code=%s src=%s",
                    event,
                    change.aor,
                    binding.uri,
                    binding.call_id,
                    cause,
                    method,
                    200 if method else None,
                    binding.flow or binding.received or None,
                )

    def state(self) -> bytes:
        """Return nothing: a line that was written needs no memory."""
        return b""

    def restore(self, state: bytes) -> None:
        """Go on where the cursor says."""

    def reset(self, registrations: Iterable[Registration]) -> None:
        """Say that what happened before, if anything did, has no lines here: the full state tells no events."""
        aors = sum(1 for _ in registrations)
        if aors:  # a new store has nothing that could be missed
            logger.info("contact events begin after the full state aors=%d", aors)
