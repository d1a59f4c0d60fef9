"""The nouns of registration: bindings, registrations, changes, and the words RFC 3680 has for them."""

from enum import StrEnum

from reginfo.fast import Binding, Change, ContactDelta, Registration

__all__ = ["Binding", "Change", "ContactDelta", "ContactEvent", "Registration", "RegistrationState"]


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


class RegistrationState(StrEnum):
    """State of an address-of-record as a whole (RFC 3680 section 4.5.1)."""

    INIT = "init"
    ACTIVE = "active"
    TERMINATED = "terminated"
