"""Role state that has yet to be made durable."""

from collections.abc import Iterable

cimport cython


@cython.final
@cython.auto_pickle(False)
cdef class Unsaved:
    """The newest value of every key that the store does not have; all roles of an engine share one."""

    def __cinit__(self) -> None:
        self.items = {}

    def put(self, key: bytes, value: bytes | None) -> None:
        """Have a value kept, or the key forgotten."""
        self.keep(key, value)

    cdef int keep(self, bytes key, bytes value) except -1:
        self.items[key] = value
        return 0

    def __bool__(self) -> bool:
        """Tell whether there is anything."""
        return bool(self.items)

    def __contains__(self, key: bytes) -> bool:
        """Tell whether what was put last under a key is not durable yet."""
        return key in self.items

    def take(self) -> list[tuple[bytes, bytes | None]]:
        """Return everything, to be committed or put back."""
        cdef dict items = self.items
        if not items:
            return []
        self.items = {}
        return list(items.items())

    def put_back(self, items: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Take back what could not be committed; what was put since is newer."""
        for key, value in items:
            self.items.setdefault(key, value)
