"""Event counters and histograms as plain C integers: counting costs an addition, names matter only when read."""

cimport cython
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from collections.abc import Sequence


@cython.final
@cython.auto_pickle(False)
cdef class Counters:
    """A fixed row of named counters; the slot of a name is its position."""

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


@cython.final
@cython.auto_pickle(False)
cdef class RequestCounters:
    """Requests by method and transport, from closed sets: what a stranger may write is the last of the methods.

    ValueError without any.
    """

    def __init__(self, methods: Sequence[str], transports: Sequence[str]) -> None:
        if not methods:
            raise ValueError("no methods")
        self.slots = {method: slot for slot, method in enumerate(methods)}
        self.rows = {transport: Counters(methods) for transport in transports}

    def count(self, method: str, transport: str) -> None:
        """Count one request; KeyError for a transport that is none."""
        self.add(method, transport)

    cdef int add(self, str method, str transport) except -1:
        cdef Py_ssize_t slot = self.slots.get(method, len(self.slots) - 1)
        (<Counters?>self.rows[transport])._values[slot] += 1
        return 0

    def totals(self) -> dict[tuple[str, str], int]:
        """Return how many there were by method and transport, zeros included."""
        return {
            (method, transport): count
            for transport, counters in self.rows.items()
            for method, count in counters.totals().items()
        }


@cython.final
@cython.auto_pickle(False)
cdef class Histogram:
    """How many values there were up to each of a few bounds, and their sum; a negative value counts as 0."""

    def __cinit__(self, bounds: Sequence[int]) -> None:
        self._size = len(bounds)
        if self._size > MAX_BOUNDS:
            raise ValueError(f"at most {MAX_BOUNDS} bounds")
        memset(self._counts, 0, sizeof(self._counts))
        for index, bound in enumerate(bounds):
            self._bounds[index] = bound
            if index and self._bounds[index] <= self._bounds[index - 1]:
                raise ValueError("bounds have to rise")

    cdef void count(self, int64_t value, uint64_t n) noexcept:
        cdef Py_ssize_t index = 0
        if value < 0:
            value = 0
        while index < self._size and value > self._bounds[index]:     # C-only loop
            index += 1
        self._counts[index] += n
        self.sum += <uint64_t>value * n

    def add(self, value: int, n: int = 1) -> None:
        """Count n times one value."""
        self.count(value, n)

    def __len__(self) -> int:
        """Return how many values were counted."""
        cdef Py_ssize_t index
        cdef uint64_t total = 0
        for index in range(self._size + 1):
            total += self._counts[index]
        return total

    def buckets(self) -> list[tuple[int | None, int]]:
        """Return every bound with the number of values up to it; None, no bound, is the last."""
        cdef Py_ssize_t index
        cdef uint64_t total = 0
        buckets = []
        for index in range(self._size + 1):
            total += self._counts[index]
            buckets.append((self._bounds[index] if index < self._size else None, total))
        return buckets
