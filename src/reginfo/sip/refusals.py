"""Refused REGISTERs as log lines, so many a second at most: a flood of requests must not become one of lines."""

import logging
from contextlib import suppress
from typing import Final

from reginfo.fast import Flow, SipMessage, SipParseError
from reginfo.model import Now, Outcome

logger = logging.getLogger(__name__)

LINES_PER_SECOND: Final = 50  # what an operator can look into; beyond it refusals are counted only


class Refusals:
    """Tells the operator which phones are refused, and why."""

    def __init__(self) -> None:
        self._second = 0
        self._lines = 0

    def tell(self, request: SipMessage, flow: Flow, outcome: Outcome, now: Now) -> None:
        """Log a refusal, unless this second has had its lines; say at the next one how many it had too many."""
        second = now.ms // 1000
        if second != self._second:
            if self._lines > LINES_PER_SECOND:
                logger.info("refusals not logged count=%d", self._lines - LINES_PER_SECOND)
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines > LINES_PER_SECOND or not logger.isEnabledFor(logging.INFO):
            return
        aor: str | None = None
        call_id: str | None = None
        with suppress(SipParseError):  # what was malformed may be just that
            aor, call_id = request.aor, request.call_id
        logger.info(
            "register refused aor=%s callid=%s method=%s code=%d reason=%s src=%s",
            aor,
            call_id,
            "REGISTER",
            outcome.status,
            outcome.reason,
            flow.text,
        )
