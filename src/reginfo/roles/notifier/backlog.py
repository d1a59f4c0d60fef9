"""Which watched addresses-of-record have changed, and who has yet to be told."""

from collections import OrderedDict
from collections.abc import Iterator

from reginfo.fast import Change
from reginfo.roles.notifier.subscription import Subscription
from reginfo.roles.notifier.watched import Watched


class Backlog:
    """Changes on their way from the feed to watchers."""

    def __init__(self) -> None:
        # A dict whose first entries were taken looks at all of their places to find its first one.
        self._dirty: OrderedDict[Watched, None] = OrderedDict()
        self._untold: OrderedDict[Watched, None] = OrderedDict()

    @property
    def is_busy(self) -> bool:
        """Whether subscriptions() has some."""
        return bool(self._dirty)

    def read(self, watched: Watched, change: Change) -> None:
        """Take a committed change."""
        watched.read(change)
        self.begin(watched, change.seq)
        if watched not in self._dirty:
            watched.changed_ms = change.at_ms
        watched.fan = iter(list(watched.subscriptions))
        self._dirty[watched] = None

    def begin(self, watched: Watched, seq: int) -> None:
        """Take note that somebody has not been told of change seq, nor of what follows."""
        if watched not in self._untold:
            watched.seq = seq
            self._untold[watched] = None

    def subscriptions(self) -> Iterator[Subscription]:
        """Yield every subscription that has yet to look at what changed; whoever stops goes on with the next one."""
        while self._dirty:
            watched = next(iter(self._dirty))
            assert watched.fan is not None
            yield from watched.fan
            watched.fan = None
            self._dirty.pop(watched, None)
            self.caught_up(watched, None)

    def caught_up(self, watched: Watched, subscription: Subscription | None) -> None:
        """Take note that a subscription knows the newest revision, or that all have looked at it."""
        if watched.caught_up(subscription):
            self._untold.pop(watched, None)

    def forget(self, watched: Watched) -> None:
        """Owe nothing to an AoR that nobody watches any more."""
        self._dirty.pop(watched, None)
        self._untold.pop(watched, None)

    def settled(self, seq: int) -> int:
        """Return up to which change, at most seq, every watcher has been told (and need not be told again)."""
        for watched in self._untold:  # the first one has waited longest
            return min(seq, watched.seq - 1)
        return seq
