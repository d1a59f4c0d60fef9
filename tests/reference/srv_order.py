"""The order of SRV records, the slow way: every draw there is, each record in a slot of its own (RFC 2782)."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from reginfo.model import Srv


def orders(records: Sequence[Srv]) -> Iterator[tuple[tuple[int, ...], tuple[Srv, ...], Fraction]]:
    """Yield every sequence of draws, the order it comes to, and how likely it is."""
    if not records:
        yield (), (), Fraction(1)
        return
    lowest = min(record.priority for record in records)
    group = [record for record in records if record.priority == lowest]
    group = [one for one in group if one.weight == 0] + [one for one in group if one.weight != 0]
    total = sum(record.weight for record in group)
    for draw in range(total + 1):
        running = [sum(one.weight for one in group[: index + 1]) for index in range(len(group))]
        chosen = group[min(index for index, value in enumerate(running) if value >= draw)]
        rest = list(records)
        rest.remove(chosen)
        for draws, order, chance in orders(rest):
            yield (draw, *draws), (chosen, *order), chance / (total + 1)
