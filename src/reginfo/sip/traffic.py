"""Requests and responses as numbers, by words from closed sets: what a stranger may write is `other`."""

from typing import Final

from reginfo.fast import TRANSPORTS, Counters

METHODS: Final = ("REGISTER", "OPTIONS", "NOTIFY", "CANCEL", "ACK", "INVITE", "MESSAGE", "PUBLISH", "SUBSCRIBE")
OTHER: Final = "other"

_SLOT: Final = {method: slot for slot, method in enumerate(METHODS)}
_OTHER_SLOT: Final = len(METHODS)


class RequestCounts:
    """Requests by method and transport."""

    def __init__(self) -> None:
        self._counters = {transport: Counters([*METHODS, OTHER]) for transport in TRANSPORTS}

    def count(self, method: str, transport: str) -> None:
        """Count one request."""
        self._counters[transport].add(_SLOT.get(method, _OTHER_SLOT))

    def totals(self) -> dict[tuple[str, str], int]:
        """Return how many there were by method and transport, zeros included."""
        return {
            (method, transport): count
            for transport, counters in self._counters.items()
            for method, count in counters.totals().items()
        }


def status_counters() -> Counters:
    """Return counters of responses; the slot of a status is status - 100."""
    return Counters([str(status) for status in range(100, 700)])
