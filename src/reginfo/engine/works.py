"""Works: what is between arrival and answer, and whether a request is already among it (RFC 3261 8.2.2.2, 9.2)."""

from typing import Final

from reginfo.fast import Hearing, Registering, SipMessage, SipParseError, Turn, WorkQueues
from reginfo.model import Command
from reginfo.sip.incoming import Incoming

MAX_PENDING: Final = 65_536  # works between arrival and answer; beyond it the server is overloaded (503)

Work = Registering | Hearing | Incoming | Command

_Mark = tuple[object, object, object]


def _request_mark(request: SipMessage) -> _Mark:
    """Return what a request has in common with itself come by another path (RFC 3261 8.2.2.2)."""
    return (request.call_id, request.cseq, request.from_.tag)


def _branch_mark(request: SipMessage) -> _Mark:
    """Return what a request has in common with the CANCEL of it (RFC 3261 9.2, 17.2.3)."""
    via = request.top_via
    return (via.branch, via.host, via.port)


class Works(WorkQueues):
    """Works between arrival and answer, and what tells the requests among them."""

    def __init__(self) -> None:
        self._ongoing: dict[str, set[_Mark]] = {}  # AoRs with a queue that somebody asked about

    def release(self, turn: Turn) -> None:
        """Let go of the AoRs of a turn whose works are answered; what waited behind them arrives."""
        if self._ongoing:
            for aor in turn.aors:
                self._ongoing.pop(aor, None)
        super().release(turn)

    def is_merged(self, request: SipMessage, aor: str) -> bool:
        """Tell whether an ongoing request is this one come by another path (TX-5); else it is ongoing from now on."""
        if aor not in self:
            return False
        ongoing = self._ongoing_in(aor)
        merged = request.to.tag is None and _request_mark(request) in ongoing
        if not merged:
            ongoing.update((_request_mark(request), _branch_mark(request)))
        return merged

    def is_pending(self, cancel: SipMessage) -> bool:
        """Tell whether the request that CANCEL names is in flight (TX-8)."""
        try:
            aor = cancel.aor
        except SipParseError:
            return False
        return aor in self and _branch_mark(cancel) in self._ongoing_in(aor)

    def _ongoing_in(self, aor: str) -> set[_Mark]:
        """Return what tells the requests in the queue of an AoR; gathered once, however many come behind them."""
        ongoing = self._ongoing.get(aor)
        if ongoing is None:
            ongoing = self._ongoing[aor] = set()
            for work in self.queue(aor):
                if not isinstance(work, Command) and not (isinstance(work, Registering) and work.repeated):
                    ongoing.update((_request_mark(work.request), _branch_mark(work.request)))
        return ongoing
