"""Works between arrival and answer: what each is, the order they are decided in, and how REGISTERs and NOTIFYs are.

Works of one address-of-record are decided in the order in which they arrived.  While a turn is between take_turn and
release, the AoRs in it are claimed: later works for them wait, works for others form the next turn.
"""

from collections.abc import Callable, Iterator, Sequence

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from reginfo._fast.binding cimport Change, draft_of, drafted, finished, register_in
from reginfo._fast.datagrams cimport UDP, Flow
from reginfo._fast.learning cimport learn_in
from reginfo._fast.reginfo_xml cimport Reginfo
from reginfo._fast.sip_parser cimport SipMessage
from reginfo._fast.sip_writer cimport received_uri_
from reginfo._fast.subscribed cimport Subscribed


@cython.final
@cython.no_gc
@cython.auto_pickle(False)
cdef class Outcome:
    """What a request comes to: the final response, but for what is copied from the request."""

    def __init__(
        self, status: cython.int, reason: str | None = None, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers

    def __repr__(self) -> str:
        return f"Outcome({self.status}, {self.reason!r}, {self.headers!r})"


# The one outcome that lists the bindings of the AoR.
ACCEPTED = Outcome(200)
cdef Outcome _accepted = ACCEPTED


@cython.no_gc         # nothing it holds leads back to it
@cython.auto_pickle(False)
cdef class Received:
    """A request on its way from arrival to answer."""

    def __init__(
        self,
        request: SipMessage,
        aor: str,
        flow: Flow,
        fingerprint: uint64_t,
        arrived_ms: int64_t,
        arrived_us: cython.int = 0,
    ) -> None:
        """arrived_us are the microseconds beyond arrived_ms."""
        receive(self, request, aor, flow, fingerprint, arrived_ms, arrived_us)

    @property
    def spread(self) -> int:
        """What chance has drawn for this request, 0 to 65,535: uniform, and the same for a retry."""
        return spread_of(self)


@cython.final
@cython.no_gc
@cython.auto_pickle(False)
cdef class Registering(Received):
    """A REGISTER."""


@cython.final
@cython.no_gc
@cython.auto_pickle(False)
cdef class Hearing(Received):
    """A NOTIFY that the subscription has followed; what it says of the AoR is still to be written down."""


cdef int receive(
    Received work, SipMessage request, str aor, Flow flow, uint64_t fingerprint, int64_t arrived_ms, int arrived_us
) except -1:
    work.request = request
    work.aor = aor
    work.flow = flow
    work.fingerprint = fingerprint
    work.arrived_ms = arrived_ms
    work.arrived_us = arrived_us
    work.outcome = _accepted
    return 0


@cython.final
@cython.auto_pickle(False)
cdef class Turn:
    """The works decided together and committed as one."""


cdef inline Received received(object work):
    # None for what is no request of ours.
    return <Received>work if type(work) is Registering or type(work) is Hearing else None


cdef inline bint is_claimed(object work) except -1:
    cdef Received request = received(work)
    return work.is_claimed if request is None else request.is_claimed


@cython.auto_pickle(False)
cdef class WorkQueues:
    """Works between arrival and answer, by address-of-record.

    A work is a Received, or anything with an `aor` and a place for `is_claimed`.
    """

    def __cinit__(self) -> None:
        self.queues = {}
        self.arrivals = []

    def __len__(self) -> int:
        return self.pending

    def __iter__(self) -> Iterator[object]:
        """Yield every work, those of one AoR in order."""
        for queue in list(self.queues.values()):
            if type(queue) is list:
                yield from queue
            else:
                yield queue

    def __contains__(self, aor: str) -> bool:
        """Whether an AoR has works."""
        return aor in self.queues

    @property
    def has_arrived(self) -> bool:
        """Whether there are works that can be decided now."""
        return bool(self.arrivals)

    def queue(self, aor: str) -> list[object]:
        """Return the works of an AoR, in order."""
        queue = self.queues.get(aor)
        if queue is None:
            return []
        return list(<list>queue) if type(queue) is list else [queue]

    def put(self, work: object) -> None:
        """Put work, which has never been put, behind what has arrived for its AoR before it."""
        cdef str aor = work.aor
        queue = self.queues.get(aor)
        if queue is None:
            self.queues[aor] = work
            self.arrivals.append(work)
        else:
            if type(queue) is not list:
                queue = self.queues[aor] = [queue]
            (<list>queue).append(work)
            if not is_claimed((<list>queue)[0]):
                self.arrivals.append(work)
        self.pending += 1

    cdef bint is_idle(self, str aor) except -1:
        return aor not in self.queues

    cdef int begin(self, Received work) except -1:
        # Put work of an AoR that is idle.
        self.queues[work.aor] = work
        self.arrivals.append(work)
        self.pending += 1
        return 0

    def take_turn(self) -> Turn:
        """Claim the AoRs of all works that can be decided now."""
        cdef Turn turn = Turn.__new__(Turn)
        cdef Received work
        cdef str aor
        cdef set queued = None
        turn.works, self.arrivals = self.arrivals, []
        turn.aors = []
        for item in turn.works:
            work = received(item)
            if work is None:
                aor = item.aor
                item.is_claimed = True
            else:
                aor = work.aor
                work.is_claimed = True
            if self.queues[aor] is item:
                if work is not None:
                    work.is_alone = True
                turn.aors.append(aor)
                continue
            if queued is None:
                queued = set()
            if aor not in queued:
                queued.add(aor)
                turn.aors.append(aor)
        return turn

    def release(self, turn: Turn) -> None:
        """Let go of the AoRs of a turn whose works are answered; what waited behind them arrives."""
        cdef str aor
        cdef list waiting
        self.pending -= len(turn.works)
        for aor in turn.aors:
            queue = self.queues[aor]
            if type(queue) is list:
                waiting = [work for work in <list>queue if not is_claimed(work)]
                if waiting:
                    self.queues[aor] = waiting
                    self.arrivals.extend(waiting)
                    continue
            del self.queues[aor]


def decide_works(
    works: Sequence[object],
    records: dict[str, bytes | None],
    now_ms: int64_t,
    ended: uint64_t,
    plain: tuple[RegisterPolicy, dict[int, Outcome]] | None,
    register: Callable[[Registering, Draft, int], Outcome],
    other: Callable[[object, Draft], Change | None],
    failed: Callable[[str, Draft, Exception], Outcome],
) -> tuple[list[Change], int]:
    """Decide works, one after the other, on working copies of records; return the changes they come to, and ended.

    A REGISTER over UDP that has to do with neither SIPS nor outbound is decided by the policy of plain, and comes to
    the outcome of the verdict; every other one, and all without plain, to what register(work, draft, now_ms) returns,
    or failed(aor, draft, error) if that raised.  other(work, draft) decides what is no Received, and returns the change
    of the draft.  ended is the highest revision under which a record has ended.
    """
    cdef Received work
    cdef Change change
    cdef str aor
    cdef dict drafts = {}
    cdef list changes = []
    policy, outcomes = plain or (None, None)
    for item in works:
        work = received(item)
        aor = item.aor if work is None else work.aor
        if work is not None and work.is_alone:
            draft = draft_of(aor, records[aor], now_ms, ended)
        else:
            draft = drafts.get(aor)
            if draft is None:
                draft = drafts[aor] = draft_of(aor, records[aor], now_ms, ended)
        if work is None:
            change = other(item, draft)
        else:
            try:
                if type(work) is Hearing:
                    learn(<Hearing>work, draft, now_ms)
                elif not (<Registering>work).repeated:
                    if policy is not None and work.flow.kind == UDP and work.request.contacts_are_plain():
                        work.outcome = outcomes[register_plain(<Registering>work, draft, policy, now_ms)]
                    else:
                        work.outcome = register(work, draft, now_ms)
            except Exception as error:      # it costs that request, not the turn
                work.outcome = failed(aor, draft, error)
            if type(work) is Hearing:
                change = finished(draft, "notify", (<Hearing>work).subscription.origin, work.muted)
            else:
                change = finished(draft, "register", "", work.muted)
                (<Registering>work).listing = drafted(draft)
            work.change = change
            work.moves_flow = change is not None and change.touches_flows
        if change is not None:
            changes.append(change)
            if not change.record:
                ended = max(ended, change.revision)
    return changes, ended


cdef inline int register_plain(Registering work, object draft, object policy, int64_t now_ms) except -1:
    cdef str received = received_uri_(work.request, work.flow)
    return register_in(draft, work.request, policy, spread_of(work), received, now_ms)


cdef inline int learn(Hearing work, object draft, int64_t now_ms) except -1:
    cdef Reginfo document = work.document
    cdef Subscribed subscription = work.subscription
    return learn_in(
        draft,
        document.registrations[0],
        subscription.origin,
        document.full,
        work.until_ms,
        now_ms,
        subscription.mirrors,
    )


cdef inline uint32_t spread_of(Received work) noexcept:
    return <uint32_t>(work.fingerprint & 0xFFFF)    # of a keyed hash
