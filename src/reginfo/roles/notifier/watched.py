"""One watched address-of-record, and which of its watchers are behind."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reginfo.sip.untold import Untold

if TYPE_CHECKING:
    from reginfo.roles.notifier.subscription import Subscription


class Watched(Untold):
    """An address-of-record with at least one subscription."""

    __slots__ = ("behind", "changed_ms", "fan", "seq", "subscriptions")

    def __init__(self, aor: str) -> None:
        super().__init__(aor)
        self.subscriptions: list[Subscription] = []
        self.behind: set[Subscription] | None = None
        "Those that have not been told of the newest revision, or owe an answer to it."
        self.seq = 0
        "Number of the first change that somebody has not been told."
        self.changed_ms = 0
        "When the first change was made since everybody was looked at last."
        self.fan: Iterator[Subscription] | None = None
        "Who has yet to be looked at since the last change."

    def add(self, subscription: "Subscription") -> None:
        subscription.place = len(self.subscriptions)
        if subscription.place:
            self.subscriptions.append(subscription)
        else:
            self.subscriptions = [subscription]  # no room for others: most AoRs have one watcher

    def remove(self, subscription: "Subscription") -> None:
        """Let go of a subscription; the last one takes its place, so that it costs the same however many there are."""
        last = self.subscriptions.pop()
        if last is not subscription:
            self.subscriptions[subscription.place] = last
            last.place = subscription.place

    def falls_behind(self, subscription: "Subscription") -> None:
        """Take note that a subscription has something to be told."""
        if self.behind is None:
            self.behind = set()
        self.behind.add(subscription)

    def caught_up(self, subscription: "Subscription | None") -> bool:
        """Take note that a subscription knows the newest revision; True if there is none left that does not."""
        if subscription is not None and self.behind is not None:
            self.behind.discard(subscription)
        if self.behind or self.fan is not None:
            return False
        self.behind = None
        self.clear()
        return True
