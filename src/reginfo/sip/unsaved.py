"""Role state that has yet to be made durable."""

from collections.abc import Iterable

from reginfo.model import StateItem


class Unsaved:
    """The newest value of every key that the store does not have; all roles of an engine share one."""

    def __init__(self) -> None:
        self._items: dict[bytes, bytes | None] = {}

    def put(self, key: bytes, value: bytes | None) -> None:
        """Have a value kept, or the key forgotten."""
        self._items[key] = value

    def __bool__(self) -> bool:
        """Tell whether there is anything."""
        return bool(self._items)

    def __contains__(self, key: bytes) -> bool:
        """Tell whether what was put last under a key is not durable yet."""
        return key in self._items

    def take(self) -> list[StateItem]:
        """Return everything, to be committed or put back."""
        if not self._items:
            return []
        items, self._items = self._items, {}
        return list(items.items())

    def put_back(self, items: Iterable[StateItem]) -> None:
        """Take back what could not be committed; what was put since is newer."""
        for key, value in items:
            self._items.setdefault(key, value)
