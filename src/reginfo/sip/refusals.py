"""Refused REGISTERs as numbers, and as log lines, so many a second at most: a flood must not become one of lines."""

import logging
from contextlib import suppress
from typing import Final

from reginfo.fast import REGISTRATION_KINDS, Counters, Flow, SipMessage, SipParseError
from reginfo.model import Now, Outcome

logger = logging.getLogger(__name__)

_KIND_SLOT: Final = {kind: slot for slot, kind in enumerate(REGISTRATION_KINDS)}

LINES_PER_SECOND: Final = 50  # what an operator can look into; beyond it refusals are counted only


class Refusals:
    """Tells the operator which phones are refused, and why."""

    def __init__(self) -> None:
        self._second = 0
        self._lines = 0
        self.rejected = Counters(REGISTRATION_KINDS)
        "By what was asked for; `add` may have been a refresh, and `fetch` one that could not be read."
        self.failed = Counters(REGISTRATION_KINDS)
        "The same, of those that were this server's fault (5xx)."

    def tell(self, request: SipMessage, flow: Flow, outcome: Outcome, now: Now) -> None:
        """Count a refusal, and log it unless this second has had its lines; say at the next how many were too many."""
        counters = self.failed if 500 <= outcome.status < 600 else self.rejected
        counters.add(_KIND_SLOT[_kind_of(request)])
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


def _kind_of(request: SipMessage) -> str:
    """Return what a REGISTER asks for, one of REGISTRATION_KINDS."""
    if not request.contact_count and not request.contact_star:
        return "fetch"
    return "remove" if request.unbinds else "add"
