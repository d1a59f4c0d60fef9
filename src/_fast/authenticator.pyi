from collections.abc import Iterable, Mapping
from typing import Final, final

from reginfo._fast.datagrams import Flow
from reginfo._fast.sip_parser import SipMessage

CHALLENGED: Final[int]
IMPROPER: Final[int]
ASK: Final[int]
OLD_NONCE: Final[int]
PROVEN: Final[int]
MAX_UNKNOWN: Final[int]
UNKNOWN_MS: Final[int]
MAX_MEMORY: Final[int]
MAX_SESSIONS: Final[int]

@final
class User:
    def __init__(self) -> None: ...
    @property
    def name(self) -> str | None: ...
    @property
    def identities(self) -> frozenset[str]: ...

@final
class Proof:
    def __init__(self) -> None: ...
    @property
    def verdict(self) -> int: ...
    @property
    def fault(self) -> str | None: ...
    @property
    def query(self) -> tuple[str, ...]: ...
    @property
    def attempted(self) -> bool: ...
    @property
    def identity(self) -> str: ...
    def owns(self, aor: str) -> bool: ...

@final
class Authenticator:
    def __init__(
        self,
        key: bytes,
        realm: str,
        algorithms: Iterable[str],
        domains: Iterable[str],
        hosts: Iterable[str],
        *,
        lifetime_s: int,
        legacy: bool = False,
        max_users: int = 100_000,
    ) -> None: ...
    def follow(
        self,
        realm: str,
        algorithms: Iterable[str],
        domains: Iterable[str],
        hosts: Iterable[str],
        *,
        lifetime_s: int,
        legacy: bool = False,
        max_users: int = 100_000,
    ) -> None: ...
    def forget_users(self) -> None: ...
    @property
    def user_count(self) -> int: ...
    def put(self, query: tuple[str, ...], name: str | None, ha1: Mapping[str, str], now_ms: int) -> None: ...
    def challenge(
        self,
        request: SipMessage,
        to_tag: str,
        source: Flow,
        rows: bytes,
        room: int,
        now_ms: int,
        *,
        stale: bool = False,
    ) -> bytes | None: ...
    def check(self, request: SipMessage, now_ms: int, fresh: bool = False) -> Proof: ...
    def info(self, proof: Proof, body: bytes, now_ms: int) -> str: ...
    def recall(self, request: SipMessage, now_ms: int) -> str: ...
