"""Event counters as plain C integers: counting costs one addition, names matter only when read."""

cimport cython
from libc.stdint cimport uint64_t
from libc.string cimport memset

from collections.abc import Sequence

cdef enum:
    MAX_COUNTERS = 1024   # room for one per SIP status code; 8 KiB inside the object


@cython.final
@cython.auto_pickle(False)
cdef class Counters:
    """A fixed row of named counters; the slot of a name is its position."""

    cdef readonly tuple names
    cdef Py_ssize_t _size
    cdef uint64_t[MAX_COUNTERS] _values

    def __cinit__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._size = len(self.names)
        if self._size > MAX_COUNTERS:
            raise ValueError(f"at most {MAX_COUNTERS} counters")
        memset(self._values, 0, sizeof(self._values))

    def add(self, slot: int, count: int = 1) -> None:
        """Add count to the counter in slot; raises IndexError beyond the row."""
        cdef Py_ssize_t index = slot
        cdef uint64_t step = count
        if index < 0 or index >= self._size:
            raise IndexError(slot)
        self._values[index] += step

    def __getitem__(self, slot: int) -> int:
        cdef Py_ssize_t index = slot
        if index < 0 or index >= self._size:
            raise IndexError(slot)
        return self._values[index]

    def __len__(self) -> int:
        return self._size

    def totals(self) -> dict[str, int]:
        """Return every counter by name."""
        return {name: self._values[index] for index, name in enumerate(self.names)}
