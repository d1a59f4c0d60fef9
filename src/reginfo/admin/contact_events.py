"""Registrations and contact events as JSON, the same for HTTP, webhooks and the event stream.

What is not set is null.  Times are RFC 3339, in UTC with milliseconds.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from reginfo.admin.views import LOCAL
from reginfo.fast import Binding, Change, Registration

WallMs = Callable[[int], int]
"Milliseconds of engine time -> milliseconds since the epoch."


class ContactView(msgspec.Struct, frozen=True):
    """One contact of an address-of-record."""

    id: str
    uri: str
    display_name: str | None
    expires: int
    "Seconds."
    q: float | None
    call_id: str | None
    cseq: int
    user_agent: str | None
    received: str | None
    path: str | None
    instance: str | None
    reg_id: int | None
    params: str | None
    flow: str | None
    event: str
    "The last one, in the words of RFC 3680 section 5.2."
    origin: str
    "Who it was learned from: local, peer:NAME or publication:ID."
    registered: str
    updated: str


class RegistrationView(msgspec.Struct, frozen=True):
    """An address-of-record and its contacts."""

    aor: str
    revision: int
    contacts: list[ContactView]


class EventView(msgspec.Struct, frozen=True):
    """What happened to one contact."""

    seq: int
    "Of the change in the journal."
    id: str
    "seq and the place of the contact in the change: the same whenever the event is told."
    aor: str
    event: str
    cause: str
    origin: str
    time: str
    contact: ContactView


def event_key(seq: int, index: int) -> str:
    """Return what an event is known by: the number of its change, and its place among the contacts of that."""
    return f"{seq}-{index}"


def event_view(change: Change, index: int, binding: Binding, event: str, wall_ms: WallMs) -> EventView:
    """Return what happened to the contact that is at index in change.contacts; the same whenever it is asked for."""
    return EventView(
        seq=change.seq,
        id=event_key(change.seq, index),
        aor=change.aor,
        event=event,
        cause=change.cause,
        origin=change.origin or LOCAL,
        time=rfc3339(wall_ms(change.at_ms)),
        contact=contact_view(binding, change.at_ms, wall_ms),
    )


def registration_view(registration: Registration, now_ms: int, wall_ms: WallMs) -> RegistrationView:
    """Return an address-of-record as it is at an engine time; hidden contacts are not told."""
    return RegistrationView(
        aor=registration.aor,
        revision=registration.revision,
        contacts=[contact_view(one, now_ms, wall_ms) for one in registration.bindings if not one.hidden],
    )


def contact_view(binding: Binding, now_ms: int, wall_ms: WallMs) -> ContactView:
    """Return one contact as it is at an engine time."""
    return ContactView(
        id=binding.contact_id,
        uri=binding.uri,
        display_name=binding.display_name or None,
        expires=binding.expires(now_ms),
        q=binding.q,
        call_id=binding.call_id or None,
        cseq=binding.cseq,
        user_agent=binding.user_agent or None,
        received=binding.received or None,
        path=binding.path or None,
        instance=binding.instance or None,
        reg_id=binding.reg_id or None,
        params=binding.params or None,
        flow=binding.flow or None,
        event=str(binding.event),
        origin=binding.origin or LOCAL,
        registered=rfc3339(wall_ms(binding.registered_at)),
        updated=rfc3339(wall_ms(binding.updated_at)),
    )


def rfc3339(wall_ms: int) -> str:
    """Return milliseconds since the epoch as text."""
    second, ms = divmod(wall_ms, 1000)
    return f"{_second(second)}.{ms:03}Z"


@lru_cache(maxsize=4096)  # what is shown together was registered within an hour
def _second(since_epoch: int) -> str:
    return datetime.fromtimestamp(since_epoch, UTC).isoformat().removesuffix("+00:00")
