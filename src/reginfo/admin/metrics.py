"""Figures of the location service, counted from the feed.

The counts are saved with the consumer's cursor as one, so that after a crash they go on exactly where the
feed goes on, and the gauges equal the table.
"""

from collections.abc import Iterable, Sequence

import msgspec

from reginfo.fast import Change, Registration
from reginfo.model import ContactEvent

_BEGINS = frozenset({ContactEvent.REGISTERED, ContactEvent.CREATED})
_ENDS = frozenset(event for event in ContactEvent if event.terminates)


class _State(msgspec.Struct):
    registered_aors: int
    contacts: int
    events: dict[str, int]


class MetricsConsumer:
    """Counts contact events and holds the gauges `registered_aors` and `contacts`."""

    name = "metrics"
    wants_refreshes = False  # a refresh missed after a crash changes no gauge

    def __init__(self) -> None:
        self.registered_aors = 0
        "AoRs with at least one contact."
        self.contacts = 0
        "Contacts bound, over all AoRs."
        self.events: dict[str, int] = {str(event): 0 for event in ContactEvent}
        "Contact events since the store was made, by RFC 3680 event."

    def read(self, changes: Sequence[Change]) -> None:
        """Count committed changes, in feed order."""
        events = self.events
        refreshed = 0
        for change in changes:
            if change.only_refreshes:
                refreshed += len(change.contacts)
                continue
            for _, event in change.contacts:
                events[event] += 1
                if event in _BEGINS:
                    self.contacts += 1
                elif event in _ENDS:
                    self.contacts -= 1
            self.registered_aors += (len(change.record) > 0) - (change.base_revision > 0)
        events[ContactEvent.REFRESHED] += refreshed

    def state(self) -> bytes:
        """Return everything counted, to be saved with the cursor."""
        return msgspec.msgpack.encode(_State(self.registered_aors, self.contacts, self.events))

    def restore(self, state: bytes) -> None:
        """Go on from a saved state; raises ValueError if it is none."""
        saved = msgspec.msgpack.decode(state, type=_State)
        self.registered_aors = saved.registered_aors
        self.contacts = saved.contacts
        self.events.update(saved.events)

    def reset(self, registrations: Iterable[Registration]) -> None:
        """Take the gauges from the full state, where the feed no longer reaches back; events stay."""
        self.registered_aors = self.contacts = 0
        for registration in registrations:
            self.registered_aors += 1
            self.contacts += len(registration)
