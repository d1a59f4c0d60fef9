"""Peers, subscriptions and publications as operators see them."""

from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

import msgspec


class PeerView(msgspec.Struct, frozen=True):
    """A configured server that state is exchanged with."""

    name: str
    uri: str
    mode: str
    state: Literal["up", "down", "unknown"]
    "unknown: nothing has been asked of it yet."
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


class Inventory(NamedTuple):
    """What there is besides registrations; nothing here is in one piece where there may be much of it."""

    peers: Callable[[], Awaitable[list[PeerView]]]
    subscriptions: Callable[[str | None, int, int], tuple[int | None, list[SubscriptionView]]]
    "AoR or all, place in the list, how many -> next place or None, that many."
    publications: Callable[[str | None, int, int], tuple[int | None, list[PublicationView]]]
    "As above."
