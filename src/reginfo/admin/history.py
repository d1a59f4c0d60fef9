"""The last hour in samples: what plots show to whoever has just come."""

from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

INTERVAL: Final = 10  # seconds between two samples
SAMPLES: Final = 360  # an hour

Statistics = Mapping[str, Mapping[str, int]]


class HistoryView(msgspec.Struct, frozen=True):
    """Samples at even distances, oldest first; all series have the same length."""

    interval: int
    "Seconds."
    series: dict[str, list[float]]
    "Name -> values; time is in seconds since the epoch."


class _Sample(NamedTuple):
    time: float
    registered_aors: float
    contacts: float
    requests: float
    "A second, since the sample before."
    registrations: float
    loop_lag_ms: float
    feed_lag: float


class History:
    """Samples of the statistics."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=SAMPLES)
        self._before: tuple[float, int, int] | None = None

    def sample(self, statistics: Statistics, now: float) -> None:
        """Take the statistics as they are at a wall time in seconds."""
        requests = statistics["requests"]
        total, registers = sum(requests.values()), requests["REGISTER"]
        passed = 0.0 if self._before is None else now - self._before[0]
        rates = (0.0, 0.0)
        if self._before is not None and passed > 0:
            rates = ((total - self._before[1]) / passed, (registers - self._before[2]) / passed)
        self._before = (now, total, registers)
        usrloc, core = statistics["usrloc"], statistics["core"]
        self._samples.append(
            _Sample(
                time=round(now, 3),
                registered_aors=usrloc["registered_aors"],
                contacts=usrloc["contacts"],
                requests=round(rates[0], 3),
                registrations=round(rates[1], 3),
                loop_lag_ms=core["loop_lag_ms"],
                feed_lag=statistics["feed"]["lag"],
            )
        )

    def view(self) -> HistoryView:
        """Return the samples of the last hour."""
        columns = zip(*self._samples, strict=True) if self._samples else ([] for _ in _Sample._fields)
        return HistoryView(
            INTERVAL, {name: list(column) for name, column in zip(_Sample._fields, columns, strict=True)}
        )
