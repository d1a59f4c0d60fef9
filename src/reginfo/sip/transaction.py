"""Non-INVITE client transactions (RFC 3261 17.1.2), without clock, socket or randomness.

A transaction is a value.  `begin` makes one, `step` answers an event with the transaction that follows and the
actions that are owed, and `next_due_ms` says when `step` has to be called with the timer that runs out first.
The shell sends, delivers and keeps the time.

                        request from the TU / send
                                   |
                  timer E / send   v                timer F or transport error / tell the TU
                  +----------> Trying ------------------------------------------+
                  +----------- |   |                                            |
                               |   +--- 1xx / to the TU --> Proceeding -------->+
                               |                             |    ^  | timer E / send, 1xx / to the TU
                 200-699 / to  |                             |    +--+          |
                 the TU        v        200-699 / to the TU  |                  |
                           Completed <-----------------------+                  |
                               | timer K                                        v
                               +------------------------------------------> Terminated
                                                             (RFC 3261 figure 6)
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

if TYPE_CHECKING:
    from reginfo.fast import SipMessage

T1_MS: Final = 500
T2_MS: Final = 4_000
T4_MS: Final = 5_000
TIMER_F_MS: Final = 64 * T1_MS

MAX_RETRY_AFTER_MS: Final = 3_600_000
"The longest Retry-After that is believed: 2^32 seconds would be a word for never (RFC 3261 20.33)."

MAGIC_COOKIE: Final = "z9hG4bK"

REQUEST_TIMEOUT: Final = 408
SERVICE_UNAVAILABLE: Final = 503


class State(Enum):
    """Where a transaction stands."""

    TRYING = "trying"
    PROCEEDING = "proceeding"
    COMPLETED = "completed"
    TERMINATED = "terminated"


class Event(Enum):
    """What may happen to a transaction."""

    PROVISIONAL = "1xx"
    FINAL = "200-699"
    TIMER_E = "timer E"
    "The request is due to be sent again; unreliable transports only."
    TIMER_F = "timer F"
    "No final response for 64*T1."
    TIMER_K = "timer K"
    "The network holds no copy of the response any more."
    TRANSPORT_ERROR = "transport error"


class Action(Enum):
    """What the shell owes after an event."""

    SEND = "send"
    "Hand the request, the same octets as before, to the transport."
    DELIVER = "deliver"
    "Hand the response to the transaction user."
    TIME_OUT = "time out"
    "Tell the transaction user that no response came: as a 408 (RFC 3261 8.1.3.1)."
    FAIL = "fail"
    "Tell the transaction user that the request could not be sent: as a 503 (RFC 3261 8.1.3.1)."


STATUS_OF: Final = {Action.TIME_OUT: REQUEST_TIMEOUT, Action.FAIL: SERVICE_UNAVAILABLE}

_NEXT: Final[dict[tuple[State, Event], tuple[State, tuple[Action, ...]]]] = {
    (State.TRYING, Event.PROVISIONAL): (State.PROCEEDING, (Action.DELIVER,)),
    (State.TRYING, Event.FINAL): (State.COMPLETED, (Action.DELIVER,)),
    (State.TRYING, Event.TIMER_E): (State.TRYING, (Action.SEND,)),
    (State.TRYING, Event.TIMER_F): (State.TERMINATED, (Action.TIME_OUT,)),
    (State.TRYING, Event.TRANSPORT_ERROR): (State.TERMINATED, (Action.FAIL,)),
    (State.PROCEEDING, Event.PROVISIONAL): (State.PROCEEDING, (Action.DELIVER,)),
    (State.PROCEEDING, Event.FINAL): (State.COMPLETED, (Action.DELIVER,)),
    (State.PROCEEDING, Event.TIMER_E): (State.PROCEEDING, (Action.SEND,)),
    (State.PROCEEDING, Event.TIMER_F): (State.TERMINATED, (Action.TIME_OUT,)),
    (State.PROCEEDING, Event.TRANSPORT_ERROR): (State.TERMINATED, (Action.FAIL,)),
    # The network repeats responses, and errors of a datagram sent earlier may arrive late.
    (State.COMPLETED, Event.PROVISIONAL): (State.COMPLETED, ()),
    (State.COMPLETED, Event.FINAL): (State.COMPLETED, ()),
    (State.COMPLETED, Event.TRANSPORT_ERROR): (State.COMPLETED, ()),
    (State.COMPLETED, Event.TIMER_K): (State.TERMINATED, ()),
}


class ClientTransaction(msgspec.Struct, frozen=True, gc=False):
    """One non-INVITE client transaction (RFC 3261 17.1.2)."""

    branch: str
    "Branch of the top Via, ours and unique."
    method: str
    "Method of the request, and of the CSeq of its responses."
    reliable: bool
    "Whether the transport retransmits by itself."
    state: State
    timer_e: int | None
    "Instant of the next retransmission."
    interval_ms: int
    "Value timer E had last: T1 doubling up to T2."
    timer_f: int | None
    "Instant at which waiting for a final response ends."
    timer_k: int | None
    "Instant at which copies of the final response are no longer absorbed."


def begin(branch: str, method: str, *, reliable: bool, now_ms: int) -> tuple[ClientTransaction, tuple[Action, ...]]:
    """Return the transaction of a request that is sent now (RFC 3261 17.1.2.2)."""
    if method in ("INVITE", "ACK"):
        raise ValueError(f"{method} has no non-INVITE client transaction")
    if not branch.startswith(MAGIC_COOKIE) or branch == MAGIC_COOKIE:
        raise ValueError("a branch begins with z9hG4bK and goes on (RFC 3261 8.1.1.7)")
    timer_e = None if reliable else now_ms + T1_MS
    transaction = ClientTransaction(  # by position: there is one for every request
        branch, method, reliable, State.TRYING, timer_e, T1_MS, now_ms + TIMER_F_MS, None
    )
    return transaction, (Action.SEND,)


def step(transaction: ClientTransaction, event: Event, now_ms: int) -> tuple[ClientTransaction, tuple[Action, ...]]:
    """Return what the transaction becomes by an event, and the actions owed (RFC 3261 figure 6).

    ValueError if the event cannot happen in its state.
    """
    try:
        state, actions = _NEXT[transaction.state, event]
    except KeyError:
        raise ValueError(f"{event.value} cannot happen in state {transaction.state.value}") from None
    if event is Event.TIMER_E:
        return _rearmed(transaction, now_ms), actions
    if state is transaction.state:
        return transaction, actions
    if state is State.PROCEEDING:
        return replace(transaction, state=state), actions
    if state is State.COMPLETED and not transaction.reliable:
        return replace(transaction, state=state, timer_e=None, timer_f=None, timer_k=now_ms + T4_MS), actions
    # Timer K is zero on reliable transports: completed and terminated are one.
    ended = replace(transaction, state=State.TERMINATED, timer_e=None, timer_f=None, timer_k=None)
    return ended, actions


def _rearmed(transaction: ClientTransaction, now_ms: int) -> ClientTransaction:
    # After a provisional response timer E runs flat at T2, before it doubles up to T2.
    if transaction.timer_e is None:
        raise ValueError("timer E does not run on a reliable transport")
    doubled = T2_MS if transaction.state is State.PROCEEDING else 2 * transaction.interval_ms
    interval = min(doubled, T2_MS)
    # Counted from when it was due, so that a busy shell does not stretch the schedule; after a long stop from now.
    due = transaction.timer_e + interval
    return replace(transaction, interval_ms=interval, timer_e=due if due > now_ms else now_ms + interval)


def next_due_ms(transaction: ClientTransaction) -> int | None:
    """Return the instant of the earliest timer; None if the transaction has terminated."""
    if transaction.timer_f is None:
        return transaction.timer_k  # which begins when the others end
    return transaction.timer_f if transaction.timer_e is None else min(transaction.timer_e, transaction.timer_f)


def timer_due(transaction: ClientTransaction, now_ms: int) -> Event | None:
    """Return the timer to step with now, the one that ends the transaction before the one that resends."""
    for at, event in (
        (transaction.timer_k, Event.TIMER_K),
        (transaction.timer_f, Event.TIMER_F),
        (transaction.timer_e, Event.TIMER_E),
    ):
        if at is not None and at <= now_ms:
            return event
    return None


def event_of(status: int) -> Event:
    """Return the event that a response with this status is."""
    return Event.PROVISIONAL if status < 200 else Event.FINAL


def unavailable_until(status: int, retry_after: int | None, now_ms: int) -> int | None:
    """Return the instant until which the server that answered gets no request (RFC 3261 21.5.4); None if it may."""
    if status != SERVICE_UNAVAILABLE or retry_after is None:
        return None
    return now_ms + 1_000 * retry_after


def retry_after_ms(response: SipMessage | None) -> int:
    """Return the milliseconds after which a response asks for another try; 0 if it does not say."""
    asked = 1_000 * ((response.retry_after if response is not None else None) or 0)
    return min(asked, MAX_RETRY_AFTER_MS)
