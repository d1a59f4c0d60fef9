"""What the roles of a server hold, as operators see it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import Final, TypeVar

from reginfo.admin.inventory import Inventory, PeerView, PublicationView, SubscriptionView
from reginfo.config import PeerSection
from reginfo.engine.roles import Roles
from reginfo.roles.compositor.publication import Publication as Composed
from reginfo.roles.notifier.subscription import Subscription as Watching
from reginfo.roles.publisher.publication import Publication as Published
from reginfo.roles.subscriber.subscription import State
from reginfo.roles.subscriber.subscription import Subscription as Following
from reginfo.sip.routing import next_hop

PIECE: Final = 256  # subscriptions looked at in one go

T = TypeVar("T")
V = TypeVar("V")


class RoleInventory:
    """Views of the roles of one engine."""

    def __init__(self, roles: Roles, peers: Callable[[], Iterable[PeerSection]], now_ms: Callable[[], int]) -> None:
        """peers() are those configured now; now_ms() is engine time."""
        self._roles = roles
        self._configured = peers
        self._now_ms = now_ms

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
                    lag_seconds=0.0 if down_since is None else (now_ms - down_since) / 1000,
                    contacts=contacts[peer.name],
                    subscriptions=followed[peer.name],
                )
            )
        return views

    def subscriptions(self, aor: str | None, cursor: int, limit: int) -> tuple[int | None, list[SubscriptionView]]:
        """Return the next place and the subscriptions from a place on, of an AoR or of all."""
        notifier, subscriber = self._roles.notifier, self._roles.subscriber
        watching: Iterable[Watching] = notifier if aor is None else notifier.of_aor(aor)
        following = (one for one in subscriber if aor in (None, one.aor))
        all_of_them: Iterable[Watching | Following] = chain(watching, following)
        return _page(all_of_them, self._subscription, cursor, limit)

    def publications(self, aor: str | None, cursor: int, limit: int) -> tuple[int | None, list[PublicationView]]:
        """Return the next place and the publications from a place on, of an AoR or of all."""
        compositor, publisher = self._roles.compositor, self._roles.publisher
        composed: Iterable[Composed] = compositor if aor is None else compositor.of_aor(aor)
        published: Iterable[Published] = publisher if aor is None else publisher.of_aor(aor)
        all_of_them: Iterable[Composed | Published] = chain(composed, published)
        return _page(all_of_them, self._publication, cursor, limit)

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


def _page(items: Iterable[T], view: Callable[[T], V], cursor: int, limit: int) -> tuple[int | None, list[V]]:
    """Return a piece of a list that others change meanwhile: what stays in it is seen, if nothing before it leaves."""
    found = list(islice(islice(items, cursor, None), limit + 1))  # their sum may be more than islice takes
    return cursor + limit if len(found) > limit else None, [view(one) for one in found[:limit]]
