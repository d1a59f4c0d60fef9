"""A histogram as the list of everything that was ever added to it."""

from collections.abc import Sequence
from itertools import pairwise


class Histogram:
    """Counts values up to each of a few bounds."""

    def __init__(self, bounds: Sequence[int]) -> None:
        if any(low >= high for low, high in pairwise(bounds)):
            raise ValueError("bounds have to rise")
        self._bounds = bounds
        self._values: list[int] = []

    def add(self, value: int, n: int = 1) -> None:
        self._values += [max(0, value)] * n

    def __len__(self) -> int:
        return len(self._values)

    @property
    def sum(self) -> int:
        return sum(self._values)

    def buckets(self) -> list[tuple[int | None, int]]:
        finite: list[tuple[int | None, int]] = [
            (bound, sum(value <= bound for value in self._values)) for bound in self._bounds
        ]
        return [*finite, (None, len(self._values))]
