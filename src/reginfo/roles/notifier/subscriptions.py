"""All subscriptions of a notifier, found by what each of its tasks knows about them."""

from collections import Counter, deque
from collections.abc import Iterator
from typing import Final

from reginfo.fast import Flow, Watched
from reginfo.roles.notifier.subscription import Subscription
from reginfo.sip.routing import kept_for_requests

WEBSOCKETS: Final = frozenset({"ws", "wss"})
"Transports whose connections nobody but the watcher can make (RFC 7118 section 5)."


class Subscriptions:
    """Subscriptions by id, by the AoR they watch, by watcher, and by the connection that has to carry their NOTIFYs."""

    def __init__(self) -> None:
        self._by_id: dict[str, Subscription] = {}
        self._watched: dict[str, Watched] = {}
        self._per_watcher: Counter[str] = Counter()
        self._by_connection: dict[int, dict[Subscription, None]] = {}
        self._cut: deque[Subscription] = deque()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._by_id.values())

    def get(self, id: str) -> Subscription | None:
        """Return the subscription with an id."""
        return self._by_id.get(id)

    def watched(self) -> Iterator[str]:
        """Yield the AoRs that somebody watches."""
        yield from self._watched

    def find(self, aor: str) -> Watched | None:
        """Return an AoR that somebody watches."""
        return self._watched.get(aor)

    def watch(self, aor: str) -> Watched:
        """Return an AoR that somebody is about to watch."""
        watched = self._watched.get(aor)
        if watched is None:
            watched = self._watched[aor] = Watched(aor)
        return watched

    def of_watcher(self, watcher: str) -> int:
        """Return how many subscriptions a watcher has."""
        return self._per_watcher[watcher]

    def add(self, subscription: Subscription, watcher: str) -> None:
        """Take in a subscription that has begun."""
        self._by_id[subscription.id] = subscription
        subscription.is_held = True
        subscription.watched.add(subscription)
        self._per_watcher[watcher] += 1

    def remove(self, subscription: Subscription) -> bool:
        """Let go of a subscription; False if that has been done."""
        if self._by_id.pop(subscription.id, None) is None:
            return False
        subscription.is_held = False
        watcher = subscription.saved.watcher
        self._per_watcher[watcher] -= 1
        if not self._per_watcher[watcher]:
            del self._per_watcher[watcher]
        self.carry(subscription, None)
        watched = subscription.watched
        watched.remove(subscription)
        if not watched.subscriptions:
            self._watched.pop(watched.aor, None)
        return True

    # -- connections ------------------------------------------------------------------------------------

    def carry(self, subscription: Subscription, flow: Flow | None) -> None:
        """Have a subscription told over the flow its watcher came by, if that is a connection kept for it (TRN-14)."""
        before = subscription.flow
        if before is not None:
            carried = self._by_connection.get(before.connection)
            if carried is not None:
                carried.pop(subscription, None)
                if not carried:
                    del self._by_connection[before.connection]
        subscription.flow = flow = flow if flow is not None and kept_for_requests(flow) else None
        if flow is not None:
            self._by_connection.setdefault(flow.connection, {})[subscription] = None

    def lost(self, flow: Flow) -> None:
        """Take note that a connection has ended, for take_cut()."""
        self._cut.extend(self._by_connection.pop(flow.connection, ()))

    @property
    def has_cut(self) -> bool:
        """Whether take_cut() has something."""
        return bool(self._cut)

    def take_cut(self) -> Subscription | None:
        """Return a subscription that no NOTIFY can be sent to any more, as its connection is gone; None if none is.

        One behind TLS has an address, where a NOTIFY goes from now on.
        """
        while self._cut:
            subscription = self._cut.popleft()
            flow = subscription.flow
            if not subscription.is_held or flow is None or subscription in self._by_connection.get(flow.connection, ()):
                continue  # it has ended, or its watcher has come by another one since
            if flow.transport in WEBSOCKETS:
                return subscription
            subscription.flow = None
        return None
