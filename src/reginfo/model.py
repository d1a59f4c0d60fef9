"""The nouns of registration: bindings, registrations, changes, and the words RFC 3680 has for them."""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from reginfo.fast import ACCEPTED, Binding, Change, ContactDelta, Draft, Outcome, Registration

__all__ = [
    "ACCEPTED",
    "Binding",
    "Change",
    "Command",
    "ContactDelta",
    "ContactEvent",
    "Naptr",
    "Now",
    "Outcome",
    "Registration",
    "Srv",
    "StateItem",
    "TraceStatus",
    "TracedMessage",
]

StateItem = tuple[bytes, bytes | None]
"Key and value of role state; None removes the key."


class Now(NamedTuple):
    """An instant: engine time for everything that runs out, wall time for what people read."""

    ms: int
    "Milliseconds of engine time, which never jumps."
    wall: float
    "Seconds since the epoch by the wall clock."
    us: int = 0
    "Microseconds of engine time beyond ms, for what is measured."


class Naptr(NamedTuple):
    """A NAPTR record (RFC 3403 section 4.1); names are without the last dot, the root is one."""

    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


class Srv(NamedTuple):
    """An SRV record (RFC 2782); the target is as in Naptr."""

    priority: int
    weight: int
    port: int
    target: str


class TracedMessage(NamedTuple):
    """A message as it came or left, and between whom."""

    time: float
    "Seconds since the epoch by the wall clock."
    is_sent: bool
    "Whether it left this server; else it came."
    transport: str
    source: tuple[str, int]
    destination: tuple[str, int]
    octets: bytes
    "SIP as a phone would show it, without TLS and WebSocket; responses to challenges are masked."


class TraceStatus(NamedTuple):
    """How a trace stands."""

    id: int
    wanted: str
    "Whose messages: an AoR, an address, an address with a port, or a network."
    is_running: bool
    seconds: int
    "Until it ends by itself."
    max_messages: int
    "Messages until it ends by itself."
    messages: int
    "Messages so far."
    is_exported: bool
    "Whether they go to the collector too."


class Command:
    """A change of one AoR that no REGISTER asked for: an expiry, what an operator does, what a peer says."""

    __slots__ = (
        "aor",
        "apply",
        "cause",
        "change",
        "done",
        "error",
        "is_claimed",
        "muted",
        "origin",
        "outcome",
        "result",
        "state",
    )

    def __init__(
        self,
        aor: str,
        apply: Callable[[Draft, int], int],
        cause: str,
        done: Callable[["Command"], None] | None = None,
        origin: str = "",
        state: tuple[StateItem, ...] = (),
        muted: bool = False,
    ) -> None:
        """apply changes the draft at a time and returns a count; done hears of it once it is committed.

        state is committed with the change; a muted one is not published.
        """
        self.aor = aor
        self.apply = apply
        self.cause = cause
        self.done = done
        self.origin = origin
        self.state = state
        self.muted = muted
        self.is_claimed = False  # it is in a turn
        self.result = 0
        self.error: Exception | None = None  # what apply raised; nothing has changed then
        self.outcome = ACCEPTED
        self.change: Change | None = None


class ContactEvent(StrEnum):
    """What happened to a contact (RFC 3680 section 5.2); compiled rows hold the position in this order."""

    REGISTERED = "registered"
    CREATED = "created"
    REFRESHED = "refreshed"
    SHORTENED = "shortened"
    EXPIRED = "expired"
    DEACTIVATED = "deactivated"
    PROBATION = "probation"
    UNREGISTERED = "unregistered"
    REJECTED = "rejected"

    @property
    def terminates(self) -> bool:
        """True if the contact is gone after it."""
        return self in _TERMINATING


_TERMINATING = frozenset(
    {
        ContactEvent.EXPIRED,
        ContactEvent.DEACTIVATED,
        ContactEvent.PROBATION,
        ContactEvent.UNREGISTERED,
        ContactEvent.REJECTED,
    }
)
