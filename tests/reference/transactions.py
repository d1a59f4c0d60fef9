"""Absorbed retransmissions as two dicts and a deque: the oracle of reginfo._fast.transactions."""

from collections import deque

from reginfo._fast.transactions import Absorbed

GENERATION_MS = 32_000


class ReferenceTransactions:
    """What Transactions remembers."""

    def __init__(self, capacity: int, answers: int, answer_octets: int) -> None:
        self._young: dict[int, bytes | Absorbed] = {}
        self._old: dict[int, bytes | Absorbed] = {}
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=answers)
        self._capacity = capacity
        self._answer_octets = answer_octets
        self._started_at = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def find(self, fingerprint: int, now_ms: int) -> bytes | Absorbed | None:
        self._turn(now_ms)
        answer = self._young.get(fingerprint, self._old.get(fingerprint))
        if isinstance(answer, bytes) and not any(kept is answer for _, kept in self._kept):
            return None
        return answer

    def remember(self, fingerprint: int, answer: bytes | Absorbed, now_ms: int) -> None:
        self._turn(now_ms)
        if isinstance(answer, bytes):
            self._kept.append((fingerprint, answer))
            while len(self._kept) > 1 and sum(len(kept) for _, kept in self._kept) > self._answer_octets:
                self._kept.popleft()
        if fingerprint not in self._young and len(self._young) == self._capacity:
            self._rotate()
            self._started_at = now_ms
        self._young[fingerprint] = answer

    def forget(self, fingerprint: int) -> None:
        self._young.pop(fingerprint, None)
        self._old.pop(fingerprint, None)

    def _rotate(self) -> None:
        self._young, self._old = {}, self._young

    def _turn(self, now_ms: int) -> None:
        age = now_ms - self._started_at
        if age >= GENERATION_MS:
            self._rotate()
        if age >= 2 * GENERATION_MS:
            self._rotate()
        if age >= GENERATION_MS:
            self._started_at = now_ms
