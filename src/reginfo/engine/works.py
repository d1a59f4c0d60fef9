"""Works and the order in which they are decided.

Works of one AoR are decided in the order in which they arrived.  While a turn is between take_turn and release, the
AoRs in it are claimed: later works for them wait, works for others form the next turn.
"""

from typing import Final

from reginfo.fast import Intake, Registering, SipMessage, SipParseError
from reginfo.model import Command
from reginfo.sip.incoming import Incoming

MAX_PENDING: Final = 65_536  # works between arrival and answer; beyond it the server is overloaded (503)

Work = Registering | Incoming | Command

_Mark = tuple[object, object, object]


def _request_mark(request: SipMessage) -> _Mark:
    """Return what a request has in common with itself come by another path (RFC 3261 8.2.2.2)."""
    return (request.call_id, request.cseq, request.from_.tag)


def _branch_mark(request: SipMessage) -> _Mark:
    """Return what a request has in common with the CANCEL of it (RFC 3261 9.2, 17.2.3)."""
    via = request.top_via
    return (via.branch, via.host, via.port)


class Turn:
    """The works decided together and committed as one."""

    __slots__ = ("aors", "works")

    def __init__(self, works: list[Work]) -> None:
        self.works = works
        self.aors = list(dict.fromkeys([work.aor for work in works]))


class Works:
    """Works between arrival and answer, by address-of-record."""

    def __init__(self, intake: Intake) -> None:
        """intake counts how many there are; it queues the plain REGISTERs among them itself."""
        self._intake = intake
        self.queues: dict[str, list[Work]] = {}
        self.arrivals: list[Work] = []
        self._claimed: set[str] = set()
        self._ongoing: dict[str, set[_Mark]] = {}  # AoRs with a queue that somebody asked about

    def __len__(self) -> int:
        return self._intake.pending

    def put(self, work: Work) -> None:
        """Put work behind what has arrived for its AoR before it."""
        queue = self.queues.get(work.aor)
        if queue is None:
            self.queues[work.aor] = [work]
            self.arrivals.append(work)
        else:
            queue.append(work)
            if work.aor not in self._claimed:
                self.arrivals.append(work)
        self._intake.pending += 1

    def take_turn(self) -> Turn:
        """Claim the AoRs of all works that can be decided now."""
        turn = Turn(self.arrivals)
        self.arrivals = []
        self._claimed.update(turn.aors)
        return turn

    def release(self, turn: Turn) -> None:
        """Let go of the AoRs of a turn whose works are answered; what waited behind them arrives."""
        self._intake.pending -= len(turn.works)
        self._claimed.difference_update(turn.aors)
        if self._ongoing:
            for aor in turn.aors:
                self._ongoing.pop(aor, None)
        queues = self.queues
        waited = False
        for aor in turn.aors:
            if len(queues[aor]) == 1:
                del queues[aor]
            else:
                waited = True
        if waited:
            self._release_queues(turn)

    def _release_queues(self, turn: Turn) -> None:
        """Take the works of a turn off the longer queues; what waited behind them arrives now."""
        done = set(map(id, turn.works))
        for aor in turn.aors:
            queue = [work for work in self.queues.get(aor, ()) if id(work) not in done]
            if queue:
                self.queues[aor] = queue
                self.arrivals.extend(queue)
            else:
                self.queues.pop(aor, None)

    def is_merged(self, request: SipMessage, aor: str) -> bool:
        """Tell whether an ongoing request is this one come by another path (TX-5); else it is ongoing from now on."""
        queue = self.queues.get(aor)
        if queue is None:
            return False
        ongoing = self._ongoing_in(aor, queue)
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
        queue = self.queues.get(aor)
        return queue is not None and _branch_mark(cancel) in self._ongoing_in(aor, queue)

    def _ongoing_in(self, aor: str, queue: list[Work]) -> set[_Mark]:
        """Return what tells the requests in the queue of an AoR; gathered once, however many come behind them."""
        ongoing = self._ongoing.get(aor)
        if ongoing is None:
            ongoing = self._ongoing[aor] = set()
            for work in queue:
                if not isinstance(work, Command) and not (isinstance(work, Registering) and work.repeated):
                    ongoing.update((_request_mark(work.request), _branch_mark(work.request)))
        return ongoing
