"""Nonces in use as a list of sets of nonce-counts: the oracle of reginfo._fast.nonces."""

WINDOW = 64


class ReferenceNonces:
    """Which uses are new; nonces are told apart by the order in which they were made."""

    def __init__(self, lifetime_s: int, capacity: int) -> None:
        self._lifetime_s = lifetime_s
        self._capacity = capacity
        self._made: list[tuple[str, int]] = []
        self._used: dict[str, set[int]] = {}
        self._forgotten = -1

    def __len__(self) -> int:
        return len(self._used)

    def made(self, nonce: str, now_s: int) -> None:
        self._made.append((nonce, now_s))

    def _age(self, nonce: str) -> tuple[int, int]:
        return next((place, made) for place, (one, made) in enumerate(self._made) if one == nonce)

    def _forget_oldest(self) -> None:
        oldest = next(iter(self._used))
        self._forgotten = max(self._forgotten, self._age(oldest)[0])
        del self._used[oldest]

    def use(self, nonce: str, nc: int, now_s: int) -> bool:
        place, made = self._age(nonce)
        if now_s - made >= self._lifetime_s:
            return False
        if nonce in self._used:
            counts = self._used[nonce]
            if nc in counts or nc <= max(counts) - WINDOW:
                return False
            counts.add(nc)
            return True
        if place <= self._forgotten:
            return False
        for _ in range(2):
            if self._used and now_s - self._age(next(iter(self._used)))[1] >= self._lifetime_s:
                self._forget_oldest()
        if len(self._used) == self._capacity:
            self._forget_oldest()
        self._used[nonce] = {nc}
        return True
