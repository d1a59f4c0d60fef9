"""Decisions: works, one after the other, on working copies of records."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

from reginfo import fast
from reginfo.engine.works import Work
from reginfo.fast import Change, Draft, Registering, SipParseError, received_uri
from reginfo.model import Command, Now, Outcome, StateItem
from reginfo.roles.registrar import Registrar
from reginfo.sip.incoming import Incoming, unavailable

logger = logging.getLogger(__name__)


class Decisions:
    """Decides the works of one engine."""

    def __init__(self, registrar: Registrar, on_fault: Callable[[], None]) -> None:
        """on_fault hears of each fault of ours."""
        self.registrar = registrar
        self._on_fault = on_fault
        self._ended = 0
        "Highest revision under which a record has ended."

    def decide(
        self, works: Sequence[Work], records: dict[str, bytes | None], now: Now
    ) -> tuple[list[Change], list[StateItem]]:
        """Decide works in order on working copies of records; return the changes to commit, in order, and role state.

        records are the committed ones.  Deciding again (after a conflict) starts from them afresh.
        """
        state: list[StateItem] = []
        changes, self._ended = fast.decide_works(
            works,
            records,
            now.ms,
            self._ended,
            self.registrar.plain,
            self._register,
            partial(self._decide, now, state),
            self._failed,
        )
        return changes, state

    def _register(self, work: Registering, draft: Draft, now_ms: int) -> Outcome:
        request = work.request
        received = received_uri(request, work.flow)  # where the phone is reached if its Contact cannot be
        return self.registrar.decide(request, draft, received, work.flow, work.spread, now_ms)

    def _decide(self, now: Now, state: list[StateItem], work: Incoming | Command, draft: Draft) -> Change | None:
        if isinstance(work, Command):
            try:
                work.result = work.apply(draft, now.ms)
            except Exception as error:  # its caller hears of it; what else is in the turn goes on
                draft.rollback()
                work.error = error
            work.change = draft.finish(work.cause, work.origin, work.muted)
        else:
            try:
                work.role.decide(work, draft, now)
            except Exception as error:
                work.outcome = self._failed(work.aor, draft, error)
                work.state = ()
            work.change = draft.finish(work.request.method.lower(), work.origin, work.muted)
        state += work.state
        return work.change

    def _failed(self, aor: str, draft: Draft, error: Exception) -> Outcome:
        """Return what a request is owed whose decision raised; it costs that request, not the turn."""
        draft.rollback()
        if isinstance(error, SipParseError):  # in what only its role reads
            return Outcome(error.status or 400, error.reason)
        self._on_fault()
        logger.error("request failed aor=%s", aor, exc_info=error)
        return Outcome(500)

    def fail(self, works: Sequence[Work], records: dict[str, bytes | None], retry_after: int, now: Now) -> None:
        """Give up committing works: what would change gets 503, fetches show the committed records."""
        for work in works:
            if self._would_change(work, records, now):
                work.outcome = unavailable(retry_after)
                work.change = None

    def _would_change(self, work: Work, records: dict[str, bytes | None], now: Now) -> bool:
        """Tell whether a work changes the committed record or other state, as far as that can be known."""
        if work.aor not in records:
            return True
        try:
            return any(self.decide((work,), records, now))
        except Exception:
            self._on_fault()
            logger.exception("record not readable aor=%s", work.aor)
            return True
