"""The nouns of registration: bindings, registrations, changes, and the words RFC 3680 has for them."""

from enum import StrEnum
from typing import NamedTuple

from reginfo.fast import ACCEPTED, Binding, Change, ContactDelta, Outcome, Registration

__all__ = [
    "ACCEPTED",
    "Binding",
    "Change",
    "ContactDelta",
    "ContactEvent",
    "Now",
    "Outcome",
    "Registration",
]


class Now(NamedTuple):
    """An instant: engine time for everything that runs out, wall time for what people read."""

    ms: int
    "Milliseconds of engine time, which never jumps."
    wall: float
    "Seconds since the epoch by the wall clock."


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
