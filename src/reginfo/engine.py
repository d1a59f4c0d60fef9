"""The engine: datagrams in, decisions in between, datagrams out.  Sans I/O.

    receive ─┐                                   ┌─> output
    expire  ─┼─> works ─> take_turn ─> decide ─> settle
    command ─┘              (load)     (commit)

Works of one AoR are decided in the order in which they arrived.  While a turn is between take_turn and
settle, the AoRs in it are claimed: later works for them wait, works for others form the next turn.  Inside a
turn the works of one AoR chain on a working copy, so that a turn is one commit.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial

from reginfo.fast import (
    LISTING,
    NO_ANSWER,
    PENDING,
    Change,
    Counters,
    Draft,
    Flow,
    Intake,
    Registering,
    SipMessage,
    SipParseError,
    Transactions,
    parse_message,
    received_uri,
    response_flow,
    salvage,
    write_response,
)
from reginfo.model import ACCEPTED, Now, Outcome
from reginfo.roles.registrar import Registrar
from reginfo.sip.admission import OPTIONS_ANSWER, SERVED_METHODS, UNKNOWN_METHOD, Admission
from reginfo.sip.refusals import Refusals

logger = logging.getLogger(__name__)

MAX_PENDING = 65_536  # works between arrival and answer; beyond it the server is overloaded (503)
TRYING_AFTER_MS = 3_500  # no final answer by then is owed a 100 (RFC 4320 section 4.1)
EXPIRED_AFTER_MS = 32_000  # 64*T1: the client has given up, an answer has no transaction left (TX-6)
OVERLOAD_RETRY_AFTER = 5  # seconds

METHODS = (*SERVED_METHODS, "ACK", "INVITE", "MESSAGE", "PUBLISH", "SUBSCRIBE")
OTHER = "other"
_METHOD_SLOT = {method: slot for slot, method in enumerate(METHODS)}
_OTHER_SLOT = len(METHODS)

ERRORS = ("malformed", "stray_response", "retransmission", "internal")
MALFORMED, STRAY, RETRANSMISSION, INTERNAL = range(len(ERRORS))

_NO_DIALOG = Outcome(481)
_MERGED = Outcome(482)
_CANCELLED = Outcome(200)
_LOWEST_TOKEN_OCTET = 0x21


_Mark = tuple[object, object, object]


def _request_mark(request: SipMessage) -> _Mark:
    """Return what a request has in common with itself come by another path (RFC 3261 8.2.2.2)."""
    return (request.call_id, request.cseq, request.from_.tag)


def _branch_mark(request: SipMessage) -> _Mark:
    """Return what a request has in common with the CANCEL of it (RFC 3261 9.2, 17.2.3)."""
    via = request.top_via
    return (via.branch, via.host, via.port)


def unavailable(retry_after: int) -> Outcome:
    """Return the 503 that asks the client to come back (RFC 3261 21.5.4)."""
    return Outcome(503, headers=(("Retry-After", str(retry_after)),))


class Command:
    """A change of one AoR that no request asked for: an expiry, or what an operator does."""

    __slots__ = ("aor", "apply", "cause", "change", "done", "error", "outcome", "result")

    def __init__(
        self,
        aor: str,
        apply: Callable[[Draft, int], int],
        cause: str,
        done: Callable[["Command"], None] | None = None,
    ) -> None:
        """apply changes the draft at a time and returns a count; done hears of it once it is committed."""
        self.aor = aor
        self.apply = apply
        self.cause = cause
        self.done = done
        self.result = 0
        self.error: Exception | None = None  # what apply raised; nothing has changed then
        self.outcome = ACCEPTED
        self.change: Change | None = None


Work = Registering | Command


class Turn:
    """The works decided together and committed as one."""

    __slots__ = ("aors", "works")

    def __init__(self, works: list[Work]) -> None:
        self.works = works
        self.aors = list(dict.fromkeys([work.aor for work in works]))


class Engine:
    """Composes transactions, admission and the registrar; owns no socket, clock or store."""

    def __init__(
        self, transactions: Transactions, admission: Admission, registrar: Registrar, server_header: str = ""
    ) -> None:
        """server_header is the value of Server in responses (RFC 3261 20.35), none if empty."""
        self._transactions = transactions
        self._intake = Intake(transactions, admission.screen, admission.max_message)
        self.follow(admission, registrar, server_header)
        self._arrivals: list[Work] = []
        self._queues: dict[str, list[Work]] = {}
        self._claimed: set[str] = set()
        self._ongoing: dict[str, set[_Mark]] = {}  # AoRs with a queue that somebody asked about
        self._output: list[tuple[bytes, Flow]] = []
        self._date = b""
        self._date_second = -1
        self._drain_retry_after = 0
        self._requests = Counters([*METHODS, OTHER])
        self._responses = Counters([str(status) for status in range(100, 700)])
        self._errors = Counters(ERRORS)
        self._refusals = Refusals()

    def follow(self, admission: Admission, registrar: Registrar, server_header: str = "") -> None:
        """Decide by other rules from now on, also what waits already."""
        self._admission = admission
        self._intake.follow(admission.screen, admission.max_message)
        self._registrar = registrar
        self._identity = (("Server", server_header),) if server_header else ()

    # -- in ---------------------------------------------------------------------------------------------

    def receive(self, batch: list[tuple[bytes, Flow]], now: Now) -> None:
        """Take a batch of datagrams or framed messages in arrival order."""
        limit = 0 if self._drain_retry_after else MAX_PENDING
        other = partial(self._receive_any, now)
        taken = self._intake.take(batch, now.ms, self._queues, self._arrivals, limit, other)
        self._requests.add(_METHOD_SLOT["REGISTER"], taken)

    def _receive_any(self, now: Now, octets: bytes, flow: Flow) -> None:
        try:
            self._receive(octets, flow, now)
        except Exception:  # one message must not take the batch down with it
            self._errors.add(INTERNAL)
            logger.exception("message failed flow=%s", flow.text)

    def _receive(self, octets: bytes, flow: Flow, now: Now) -> None:
        if not octets or octets[0] < _LOWEST_TOKEN_OCTET:
            octets = octets.lstrip(b"\r\n")  # RFC 3261 7.5
            if not octets or octets[0] < _LOWEST_TOKEN_OCTET:
                return  # keep-alives and noise (TRN-15)
        fingerprint = self._transactions.fingerprint(octets, flow)
        if not flow.reliable:
            known = self._transactions.find(fingerprint, now.ms)
            if known is not None:
                self._repeat(octets, flow, fingerprint, known, now)
                return
            if len(octets) > self._admission.max_message:
                too_large = SipParseError("datagram beyond max_message", offset=0, status=513)
                self._refuse_malformed(octets, flow, fingerprint, too_large, now)
                return
        try:
            request = parse_message(octets, stream=flow.reliable)
            if request.is_request:
                self._admit(request, flow, fingerprint, now)  # reads headers that not every request needs
            else:
                self._errors.add(STRAY)  # no client transaction waits for it (TRN-6)
        except SipParseError as error:
            self._refuse_malformed(octets, flow, fingerprint, error, now)

    def answer_unframed(self, error: SipParseError, head: bytes, flow: Flow, now: Now) -> bytes | None:
        """Return the last answer on a stream whose framing is lost, if one is owed and possible (TRN-8)."""
        self._errors.add(MALFORMED)
        request = salvage(head)
        if request is None or error.status is None:
            return None
        fingerprint = self._transactions.fingerprint(head, flow)
        return self._write(request, flow, fingerprint, Outcome(error.status, error.reason), now)

    def _refuse_malformed(self, octets: bytes, flow: Flow, fingerprint: int, error: SipParseError, now: Now) -> None:
        """Answer what could not be parsed, as far as an answer is owed and possible."""
        self._errors.add(MALFORMED)
        request = salvage(octets) if error.status is not None else None
        if request is not None and error.status is not None:
            # An unknown method whose CSeq names another one is refused as unknown, with Allow like any other.
            outcome = UNKNOWN_METHOD if error.status == 501 else Outcome(error.status, error.reason)
            self._respond(request, flow, fingerprint, outcome, now)

    def expire(self, aors: Iterable[str]) -> None:
        """Queue the expiry of AoRs that have a binding whose time is reached (REG-17).

        Beyond the bound of pending works they are left: the store names them again.
        """
        for aor in aors:
            if self._intake.pending >= MAX_PENDING:
                return
            self.command(Command(aor, Draft.expire, "expiry"))

    def command(self, command: Command) -> None:
        """Queue a command behind what has arrived for its AoR before it."""
        self._queue(command, self._queues.get(command.aor))

    def drain(self, retry_after: int) -> None:
        """Refuse every new request from now on with 503 (works already taken are finished)."""
        self._drain_retry_after = retry_after

    def _admit(self, request: SipMessage, flow: Flow, fingerprint: int, now: Now) -> None:
        """Put a well-formed request to its method, or refuse it (UAS order, steps 4 to 11)."""
        method = request.method
        self._requests.add(_METHOD_SLOT.get(method, _OTHER_SLOT))
        verdict = self._admission.screen.check(request)
        if verdict:
            if verdict == NO_ANSWER:
                return  # an ACK of an answer that was not ours (TX-8)
            outcome: Outcome | None = self._admission.refusal(verdict, request)
        elif self._drain_retry_after:
            outcome = unavailable(self._drain_retry_after)
        elif method == "REGISTER":
            outcome = self._refuse_body_or_queue(request, flow, fingerprint, now.ms)
        else:
            outcome = self._answer_at_once(request)
        if outcome is not None:
            self._respond(request, flow, fingerprint, outcome, now)

    def _refuse_body_or_queue(self, request: SipMessage, flow: Flow, fingerprint: int, now_ms: int) -> Outcome | None:
        """Queue a REGISTER for its AoR; return the refusal instead if it gets that far only."""
        if request.body:
            outcome = self._admission.refuse_body(request)
            if outcome is not None:
                return outcome
        if self._intake.pending >= MAX_PENDING:
            return unavailable(OVERLOAD_RETRY_AFTER)
        aor = request.aor
        queue = self._queues.get(aor)
        if queue is not None and self._is_merged(request, aor, queue):
            return _MERGED
        if not flow.reliable:
            self._transactions.remember(fingerprint, PENDING, now_ms)
        self._queue(Registering(request, aor, flow, fingerprint, now_ms), queue)
        return None

    def _answer_at_once(self, request: SipMessage) -> Outcome:
        """Answer the methods that need no state."""
        if request.method == "CANCEL":
            return _CANCELLED if self._is_pending(request) else _NO_DIALOG
        if request.method == "NOTIFY" or request.to.tag is not None:
            return _NO_DIALOG  # SUB-17, DLG-7: before the body is looked at
        if request.body:
            return self._admission.refuse_body(request) or OPTIONS_ANSWER
        return OPTIONS_ANSWER

    def _repeat(self, octets: bytes, flow: Flow, fingerprint: int, known: object, now: Now) -> None:
        """Absorb a retransmission: silence while pending, else the same answer (TX-3)."""
        self._errors.add(RETRANSMISSION)
        if isinstance(known, bytes):
            request = salvage(octets)
            self._output.append((known, flow if request is None else response_flow(request, flow)))
        elif known is LISTING and self._intake.pending < MAX_PENDING:
            request = parse_message(octets)
            work = Registering(request, request.aor, flow, fingerprint, now.ms)
            work.repeated = True
            self._queue(work, self._queues.get(work.aor))

    def _is_merged(self, request: SipMessage, aor: str, queue: list[Work]) -> bool:
        """Tell whether an ongoing REGISTER is this one come by another path (TX-5); else it is ongoing from now on."""
        ongoing = self._ongoing_in(aor, queue)
        merged = request.to.tag is None and _request_mark(request) in ongoing
        if not merged:
            ongoing.update((_request_mark(request), _branch_mark(request)))
        return merged

    def _is_pending(self, cancel: SipMessage) -> bool:
        """Tell whether the request that CANCEL names is in flight (TX-8)."""
        try:
            aor = cancel.aor
        except SipParseError:
            return False
        queue = self._queues.get(aor)
        return queue is not None and _branch_mark(cancel) in self._ongoing_in(aor, queue)

    def _ongoing_in(self, aor: str, queue: list[Work]) -> set[_Mark]:
        """Return what tells the REGISTERs in the queue of an AoR; gathered once, however many come behind them."""
        ongoing = self._ongoing.get(aor)
        if ongoing is None:
            ongoing = self._ongoing[aor] = set()
            for work in queue:
                if isinstance(work, Registering) and not work.repeated:
                    ongoing.update((_request_mark(work.request), _branch_mark(work.request)))
        return ongoing

    # -- turns ------------------------------------------------------------------------------------------

    @property
    def has_works(self) -> bool:
        """Whether a turn could be taken now."""
        return bool(self._arrivals)

    @property
    def pending(self) -> int:
        """Works between arrival and answer."""
        return self._intake.pending

    def _queue(self, work: Work, queue: list[Work] | None) -> None:
        """Put work at the end of its AoR's queue, None if there is none; it arrives unless the AoR is claimed."""
        if queue is None:
            self._queues[work.aor] = [work]
            self._arrivals.append(work)
        else:
            queue.append(work)
            if work.aor not in self._claimed:
                self._arrivals.append(work)
        self._intake.pending += 1

    def take_turn(self) -> Turn:
        """Claim the AoRs of all works that can be decided now."""
        turn = Turn(self._arrivals)
        self._arrivals = []
        self._claimed.update(turn.aors)
        return turn

    def decide(self, works: Sequence[Work], records: dict[str, bytes | None], now: Now) -> list[Change]:
        """Decide works in order on working copies of records; return the changes to commit, in order.

        records are the committed ones.  Deciding again (after a conflict) starts from them afresh.
        """
        drafts: dict[str, Draft] = {}
        changes = []
        now_ms = now.ms
        for work in works:
            aor = work.aor
            draft = drafts.get(aor)
            if draft is None:
                draft = drafts[aor] = Draft(aor, records[aor], now_ms)
            change = self._decide(work, draft, now_ms)
            if change is not None:
                changes.append(change)
        return changes

    def _decide(self, work: Work, draft: Draft, now_ms: int) -> Change | None:
        if isinstance(work, Command):
            try:
                work.result = work.apply(draft, now_ms)
            except Exception as error:  # its caller hears of it; what else is in the turn goes on
                draft.rollback()
                work.error = error
            work.change = change = draft.finish(work.cause)
            return change
        if not work.repeated:
            request = work.request
            try:
                work.outcome = self._registrar.decide(
                    request,
                    draft,
                    received_uri(request, work.flow),  # where the phone is reached if its Contact cannot be
                    work.fingerprint & 0xFFFF,  # a keyed hash: uniform, and the same for a retry
                    now_ms,
                )
            except SipParseError as error:  # in what only binding reads
                draft.rollback()
                work.outcome = Outcome(error.status or 400, error.reason)
            except Exception:  # a fault of ours costs this request, not the batch
                self._errors.add(INTERNAL)
                logger.exception("register failed aor=%s", work.aor)
                draft.rollback()
                work.outcome = Outcome(500)
        work.change = change = draft.finish("register")
        work.listing = draft.record
        return change

    def fail(self, works: Sequence[Work], records: dict[str, bytes | None], retry_after: int, now: Now) -> None:
        """Give up committing works: what would change gets 503, fetches show the committed records."""
        for work in works:
            if self._would_change(work, records, now.ms):
                work.outcome = unavailable(retry_after)
                work.change = None

    def _would_change(self, work: Work, records: dict[str, bytes | None], now_ms: int) -> bool:
        """Tell whether a work changes the committed record, as far as that can be known."""
        if work.aor not in records:
            return True
        try:
            return self._decide(work, Draft(work.aor, records[work.aor], now_ms), now_ms) is not None
        except Exception:
            self._errors.add(INTERNAL)
            logger.exception("record not readable aor=%s", work.aor)
            return True

    def settle(self, turn: Turn, now: Now) -> None:
        """Answer the works of a turn that is committed or given up, and release its AoRs."""
        try:
            answered = self._intake.answer(
                turn.works,
                now.ms,
                now.ms - EXPIRED_AFTER_MS + 1,
                self._date_at(now.wall),
                self._identity,
                self._output,
                partial(self._conclude, now),
            )
            self._responses.add(100, answered)
        finally:
            self._release(turn)

    def _conclude(self, now: Now, work: Work) -> None:
        try:
            if isinstance(work, Command):
                if work.done is not None:
                    work.done(work)
            elif now.ms - work.arrived_ms < EXPIRED_AFTER_MS:
                self._respond(work.request, work.flow, work.fingerprint, work.outcome, now, work.listing)
        except Exception:  # one answer must not cost those behind it
            self._errors.add(INTERNAL)
            logger.exception("answer failed aor=%s", work.aor)

    def _release(self, turn: Turn) -> None:
        self._intake.pending -= len(turn.works)
        self._claimed.difference_update(turn.aors)
        if self._ongoing:
            for aor in turn.aors:
                self._ongoing.pop(aor, None)
        queues = self._queues
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
            queue = [work for work in self._queues.get(aor, ()) if id(work) not in done]
            if queue:
                self._queues[aor] = queue
                self._arrivals.extend(queue)
            else:
                self._queues.pop(aor, None)

    # -- out --------------------------------------------------------------------------------------------

    def tick(self, now: Now) -> None:
        """Send 100 for every REGISTER that has waited 3.5 s for its final answer (RFC 4320)."""
        if not self._intake.pending:
            return
        for queue in self._queues.values():
            for work in queue:
                if (
                    isinstance(work, Registering)
                    and not work.trying
                    and not work.repeated
                    and now.ms - work.arrived_ms >= TRYING_AFTER_MS
                ):
                    work.trying = True
                    octets = write_response(work.request, 100, source=work.flow)
                    self._output.append((octets, response_flow(work.request, work.flow)))

    def take_output(self) -> list[tuple[bytes, Flow]]:
        """Return what is to be sent, in order, and forget it."""
        output, self._output = self._output, []
        return output

    def _respond(
        self,
        request: SipMessage,
        flow: Flow,
        fingerprint: int,
        outcome: Outcome,
        now: Now,
        listing: bytes | None = None,
    ) -> None:
        """Send a final answer and remember it for retransmissions of its request."""
        octets = self._write(request, flow, fingerprint, outcome, now, listing)
        if outcome.status >= 300 and request.method == "REGISTER":
            self._refusals.tell(request, flow, outcome, now)
        self._output.append((octets, response_flow(request, flow)))
        if not flow.reliable:
            self._transactions.remember(fingerprint, LISTING if outcome is ACCEPTED else octets, now.ms)

    def _write(
        self,
        request: SipMessage,
        flow: Flow,
        fingerprint: int,
        outcome: Outcome,
        now: Now,
        listing: bytes | None = None,
    ) -> bytes:
        self._responses.add(outcome.status - 100)
        accepted = outcome is ACCEPTED
        return write_response(
            request,
            outcome.status,
            outcome.reason,
            to_tag=self._transactions.tag(fingerprint),
            source=flow,
            headers=outcome.headers + self._identity,
            listing=listing if accepted else None,
            now_ms=now.ms,
            date=self._date_at(now.wall) if accepted else b"",
        )

    def _date_at(self, wall: float) -> bytes:
        second = int(wall)
        if second != self._date_second:
            self._date_second = second
            self._date = format_datetime(datetime.fromtimestamp(second, UTC), usegmt=True).encode()
        return self._date

    def statistics(self) -> dict[str, dict[str, int]]:
        """Return what was counted: requests by method, final responses by status, and what went wrong."""
        return {
            "requests": self._requests.totals(),
            "responses": {status: count for status, count in self._responses.totals().items() if count},
            "errors": self._errors.totals(),
        }
