"""Contacts, and what became of them, counted from the feed.

The counts are saved with the consumer's cursor as one, so that after a crash they go on exactly where the
feed goes on, and the gauges equal the table.
"""

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import unquote

import msgspec

from reginfo.fast import TRANSPORTS, Change, Registration, parse_uri, tally_contacts
from reginfo.model import ContactEvent

OTHER: Final = "other"

_SECURE = {"": "tls", "tcp": "tls", "ws": "wss"}  # RFC 3261 section 19.1.2, RFC 7118 section 5


class _State(msgspec.Struct):
    registered_aors: int
    contacts: dict[str, int]
    events: dict[str, int]


class ContactCounts:
    """Counts contact events, addresses-of-record and contacts."""

    name = "contact_counts"
    wants_refreshes = False  # a refresh missed after a crash changes no gauge
    passes_over = None

    def __init__(self) -> None:
        self.registered_aors = 0
        "AoRs with at least one contact."
        self.by_transport: dict[str, int] = dict.fromkeys((*TRANSPORTS, OTHER), 0)
        "Contacts bound, over all AoRs, by the transport their URI asks for."
        self.events: dict[str, int] = {str(event): 0 for event in ContactEvent}
        "Contact events since the store was made, by RFC 3680 event."

    @property
    def contacts(self) -> int:
        """Contacts bound, over all AoRs."""
        return sum(self.by_transport.values())

    def read(self, changes: Sequence[Change]) -> None:
        """Count committed changes, in feed order."""
        events, aors, plain, others = tally_contacts(changes)
        for event, count in zip(ContactEvent, events, strict=True):
            self.events[event] += count
        self.registered_aors += aors
        self.by_transport["udp"] += plain
        for uri, more in others:
            self.by_transport[_transport(uri)] += more

    def state(self) -> bytes:
        """Return everything counted, to be saved with the cursor."""
        return msgspec.msgpack.encode(_State(self.registered_aors, self.by_transport, self.events))

    def restore(self, state: bytes) -> None:
        """Go on from a saved state; raises ValueError if it is none."""
        saved = msgspec.msgpack.decode(state, type=_State)
        self.registered_aors = saved.registered_aors
        self.by_transport.update(saved.contacts)
        self.events.update(saved.events)

    def reset(self, registrations: Iterable[Registration]) -> None:
        """Take the gauges from the full state, where the feed no longer reaches back; events stay."""
        self.registered_aors = 0
        self.by_transport = dict.fromkeys(self.by_transport, 0)
        for registration in registrations:
            self.registered_aors += 1
            for binding in registration.bindings:
                self.by_transport[_transport(binding.uri)] += 1


def _transport(contact: str) -> str:
    """Return the transport that a Contact asks for (RFC 3263 section 4.1); equal URIs ask for the same one."""
    uri = parse_uri(contact)
    parameters = ((unquote(name).lower(), unquote(value or "").lower()) for name, value in uri.parameters)
    asked = next((value for name, value in parameters if name == "transport"), "")
    if uri.scheme == "sips":
        asked = _SECURE.get(asked, asked)
    elif uri.scheme == "sip":
        asked = asked or "udp"
    return asked if asked in TRANSPORTS else OTHER
