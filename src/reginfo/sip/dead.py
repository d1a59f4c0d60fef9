"""Servers that were found dead, and are tried last."""

from typing import Final

MAX_DEAD: Final = 1024  # servers remembered; beyond it the one found dead first is tried like any other
DEAD_MS: Final = 60_000  # a server that did not answer is tried last for so long

Address = tuple[str, tuple[str, int]]
"Transport and remote address."


class Dead:
    """Servers that did not answer of late."""

    def __init__(self) -> None:
        self._until: dict[Address, int] = {}

    def add(self, address: Address, until_ms: int) -> None:
        """Try a server last until then."""
        self._until.pop(address, None)
        if len(self._until) >= MAX_DEAD:
            del self._until[next(iter(self._until))]
        self._until[address] = until_ms

    def remove(self, address: Address) -> None:
        """Take note that a server answers."""
        self._until.pop(address, None)

    def until(self, address: Address, now_ms: int) -> int:
        """Return the instant until which a server is tried last; 0 if it is not."""
        until = self._until.get(address, 0)
        return until if until > now_ms else 0
