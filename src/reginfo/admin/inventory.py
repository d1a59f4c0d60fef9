"""Peers, subscriptions and publications as operators see them."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

MAX_LISTED: Final = 1000  # of one answer

Aor = Annotated[str, Meta(min_length=1, max_length=1024, description="SIP URI, or user@domain.")]
Place = Annotated[int, Meta(ge=0, le=2**31, description="From the page before; 0 begins.")]
Limit = Annotated[int, Meta(ge=1, le=MAX_LISTED)]


class PeerView(msgspec.Struct, frozen=True):
    """A configured server that state is exchanged with."""

    name: str
    uri: str
    mode: str
    state: Literal["up", "down", "unknown"]
    "unknown: nothing has been asked of it yet."
    since: str | None
    "When it stopped answering (RFC 3339), while it is down."
    lag_seconds: float
    "How long it has not answered."
    contacts: int
    "Contacts it has told of."
    subscriptions: int
    "Addresses-of-record followed at it."


class SubscriptionView(msgspec.Struct, frozen=True):
    """Who is told of an address-of-record, or who tells this server of one."""

    role: Literal["notifier", "subscriber"]
    aor: str
    remote: str
    "Watcher of this notifier, or the notifier this server has subscribed at."
    state: str
    expires: int | None
    "Seconds."
    version: int | None
    "Of the next document of this notifier."
    contacts: int | None
    "That this subscriber knows of."


class PublicationView(msgspec.Struct, frozen=True):
    """Event state that was published here, or by this server."""

    role: Literal["compositor", "publisher"]
    aor: str
    entity_tag: str | None
    expires: int
    "Seconds."
    peer: str | None
    "Publishing peer, where it is one."


class Subscriptions(msgspec.Struct, frozen=True):
    """Some subscriptions, and where to go on."""

    subscriptions: list[SubscriptionView]
    cursor: int | None


class Publications(msgspec.Struct, frozen=True):
    """Some publications, and where to go on."""

    publications: list[PublicationView]
    cursor: int | None


class SubscriptionsAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which subscriptions are wanted."""

    aor: Aor | None = None
    role: Literal["notifier", "subscriber"] | None = None
    cursor: Place = 0
    limit: Limit = 100


class PublicationsAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which publications are wanted."""

    aor: Aor | None = None
    role: Literal["compositor", "publisher"] | None = None
    cursor: Place = 0
    limit: Limit = 100


class Inventory(NamedTuple):
    """What there is besides registrations; nothing here is in one piece where there may be much of it."""

    peers: Callable[[], Awaitable[list[PeerView]]]
    subscriptions: Callable[[SubscriptionsAsked], Subscriptions]
    "Raises BadArgument for an aor that is none; the next as well."
    publications: Callable[[PublicationsAsked], Publications]
