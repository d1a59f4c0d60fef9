"""What the roles of a server hold, as operators see it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Final, Protocol, TypeVar

from reginfo.admin.arguments import aor_of
from reginfo.admin.contact_events import WallMs, rfc3339
from reginfo.admin.inventory import (
    Inventory,
    PeerView,
    Publications,
    PublicationsAsked,
    PublicationView,
    Subscriptions,
    SubscriptionsAsked,
    SubscriptionView,
)
from reginfo.config import PeerSection
from reginfo.engine.roles import Roles
from reginfo.fast import Publication as Published
from reginfo.roles.compositor.publication import Publication as Composed
from reginfo.roles.notifier.subscription import Subscription as Watching
from reginfo.roles.subscriber.subscription import State
from reginfo.roles.subscriber.subscription import Subscription as Following
from reginfo.sip.routing import next_hop

PIECE: Final = 256  # subscriptions looked at in one go

T = TypeVar("T")
V = TypeVar("V")
Held = TypeVar("Held", covariant=True)


class _Role(Protocol[Held]):
    """What holds something of addresses-of-record."""

    def __iter__(self) -> Iterator[Held]: ...

    def of_aor(self, aor: str) -> Iterable[Held]: ...


class RoleInventory:
    """Views of the roles of one engine."""

    def __init__(
        self, roles: Roles, peers: Callable[[], Iterable[PeerSection]], now_ms: Callable[[], int], wall_ms: WallMs
    ) -> None:
        """peers() are those configured now; now_ms() is engine time."""
        self._roles = roles
        self._configured = peers
        self._now_ms = now_ms
        self._wall_ms = wall_ms

    def commands(self) -> Inventory:
        """Return what operators may ask."""
        return Inventory(self.peers, self.subscriptions, self.publications)

    async def peers(self) -> list[PeerView]:
        """Return the configured peers, and what is known through each."""
        subscriber = self._roles.subscriber
        followed: Counter[str] = Counter()
        contacts: Counter[str] = Counter()
        alive: set[str] = set()
        following = list(subscriber)
        for start in range(0, len(following), PIECE):
            for one in following[start : start + PIECE]:
                if one.peer is not None:
                    name = one.peer.name
                    followed[name] += 1
                    contacts[name] += sum(len(known.contacts) for known in one.view.registrations)
                    if one.state is State.ACTIVE:
                        alive.add(name)
            await asyncio.sleep(0)
        now_ms = self._now_ms()
        views = []
        for peer in self._configured():
            down_since = subscriber.down_since_ms(next_hop(peer.uri))
            views.append(
                PeerView(
                    name=peer.name,
                    uri=peer.uri,
                    mode=peer.mode,
                    state="down" if down_since is not None else "up" if peer.name in alive else "unknown",
                    since=None if down_since is None else rfc3339(self._wall_ms(down_since)),
                    lag_seconds=0.0 if down_since is None else (now_ms - down_since) / 1000,
                    contacts=contacts[peer.name],
                    subscriptions=followed[peer.name],
                )
            )
        return views

    def subscriptions(self, asked: SubscriptionsAsked) -> Subscriptions:
        """Return the subscriptions that watchers have here, and those of this server at others."""
        watching = self._roles.notifier if asked.role != "subscriber" else None
        following = self._roles.subscriber if asked.role != "notifier" else None
        found: Iterable[Watching | Following] = chain(_of(watching, asked.aor), _of(following, asked.aor))
        return Subscriptions(*_page(found, self._subscription, asked.cursor, asked.limit))

    def publications(self, asked: PublicationsAsked) -> Publications:
        """Return the event state that was published here, and what this server has published."""
        composed = self._roles.compositor if asked.role != "publisher" else None
        published = self._roles.publisher if asked.role != "compositor" else None
        found: Iterable[Composed | Published] = chain(_of(composed, asked.aor), _of(published, asked.aor))
        return Publications(*_page(found, self._publication, asked.cursor, asked.limit))

    def _seconds(self, until_ms: int) -> int:
        return max(0, (until_ms - self._now_ms()) // 1000)

    def _subscription(self, one: Watching | Following) -> SubscriptionView:
        if isinstance(one, Watching):
            saved = one.saved
            return SubscriptionView(
                role="notifier",
                aor=saved.aor,
                remote=saved.remote_uri,
                state="active" if one.ending is None else "terminated",
                expires=self._seconds(one.expires_at),
                version=one.version,
                contacts=None,
            )
        return SubscriptionView(
            role="subscriber",
            aor=one.aor,
            remote=str(one.hop),
            state=one.state.value,
            expires=self._seconds(one.expires_at) if one.state is State.ACTIVE else None,
            version=None,
            contacts=sum(len(known.contacts) for known in one.view.registrations),
        )

    def _publication(self, one: Composed | Published) -> PublicationView:
        peer = None
        if isinstance(one, Composed):
            peer = one.id.rpartition(".")[0] or None
        return PublicationView(
            role="compositor" if isinstance(one, Composed) else "publisher",
            aor=one.aor,
            entity_tag=one.entity_tag,
            expires=self._seconds(one.expires_at),
            peer=peer,
        )


def _of(role: _Role[T] | None, aor: str | None) -> Iterable[T]:
    """Return what a role holds of an AoR, or all of it."""
    if role is None:
        return ()
    return role if aor is None else role.of_aor(aor_of(aor))


def _page(items: Iterable[T], view: Callable[[T], V], cursor: int, limit: int) -> tuple[list[V], int | None]:
    """Return a piece of a list that others change meanwhile: what stays in it is seen, if nothing before it leaves.

    What is before the cursor is passed over in C: ten milliseconds for a million.
    """
    found = list(islice(islice(items, cursor, None), limit + 1))  # their sum may be more than islice takes
    return [view(one) for one in found[:limit]], cursor + limit if len(found) > limit else None
