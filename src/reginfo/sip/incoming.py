"""A request on its way from arrival to answer, other than REGISTER, and what a role needs of the world to decide it."""

from typing import Final, NamedTuple, Protocol

from reginfo.fast import Change, Draft, Flow, SipMessage
from reginfo.model import Now, Outcome, StateItem
from reginfo.sip.peers import Sender

OVERLOAD_RETRY_AFTER: Final = 5  # seconds
LATE_MS: Final = 32_000  # 64*T1 after its arrival nobody waits for the answer to a request any more (TX-6)

_UNDECIDED: Final = Outcome(500)


def unavailable(retry_after: int) -> Outcome:
    """Return the 503 that asks the client to come back (RFC 3261 21.5.4)."""
    return Outcome(503, headers=(("Retry-After", str(retry_after)),))


class Arrival(NamedTuple):
    """A well-formed request as it came."""

    request: SipMessage
    flow: Flow
    fingerprint: int
    at: Now
    muted: bool
    "What it changes is not published."


class Incoming:
    """A request that is decided in its turn among the works of its address-of-record."""

    __slots__ = (
        "aor",
        "arrived_ms",
        "arrived_us",
        "change",
        "fingerprint",
        "flow",
        "info",
        "is_claimed",
        "muted",
        "origin",
        "outcome",
        "plan",
        "request",
        "role",
        "sender",
        "state",
        "trying",
    )

    def __init__(self, arrival: Arrival, aor: str, role: "Role", sender: Sender) -> None:
        self.request = arrival.request
        self.aor = aor
        self.flow = arrival.flow
        self.fingerprint = arrival.fingerprint
        self.arrived_ms = arrival.at.ms
        self.arrived_us = arrival.at.us
        self.role = role
        self.sender = sender
        self.info = ""
        "Authentication-Info of its 2xx (RFC 7616 section 3.5)."
        self.origin = ""
        "Whose rows it changes, if not this server's own."
        self.outcome = _UNDECIDED
        self.change: Change | None = None
        self.state: tuple[StateItem, ...] = ()
        "Role state to be committed with the change."
        self.plan: object = None
        "What the role does once the answer is durable."
        self.muted = False
        "What it changes is not published."
        self.is_claimed = False
        "It is in a turn."
        self.trying = False
        "A 100 has gone out."


class Role(Protocol):
    """A role that decides requests in turns."""

    def decide(self, work: Incoming, draft: Draft, now: Now) -> None:
        """Give the work its outcome, and what has to be durable before it is answered; may be asked again.

        Nothing of the role itself moves before settle().
        """

    def settle(self, work: Incoming, now: Now) -> None:
        """Act on the outcome, which is durable and answered, or was given up."""
