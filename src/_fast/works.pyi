from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar, final

from reginfo._fast.binding import Change, Draft, RegisterPolicy
from reginfo._fast.datagrams import Flow
from reginfo._fast.sip_parser import SipMessage

_Work = TypeVar("_Work")

@final
class Outcome:
    def __init__(self, status: int, reason: str | None = None, headers: tuple[tuple[str, str], ...] = ()) -> None: ...
    @property
    def status(self) -> int: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def headers(self) -> tuple[tuple[str, str], ...]: ...

ACCEPTED: Final[Outcome]

class Received:
    trying: bool
    muted: bool
    info: str | None
    moves_flow: bool
    outcome: Outcome
    change: Change | None
    def __init__(
        self,
        request: SipMessage,
        aor: str,
        flow: Flow,
        fingerprint: int,
        arrived_ms: int,
        arrived_us: int = 0,
    ) -> None: ...
    @property
    def request(self) -> SipMessage: ...
    @property
    def aor(self) -> str: ...
    @property
    def flow(self) -> Flow: ...
    @property
    def fingerprint(self) -> int: ...
    @property
    def arrived_ms(self) -> int: ...
    @property
    def arrived_us(self) -> int: ...
    @property
    def spread(self) -> int: ...

@final
class Registering(Received):
    repeated: bool
    listing: bytes | None

@final
class Hearing(Received):
    @property
    def subscription(self) -> Any: ...  # a Subscribed that Intake.listen() was given

@final
class Turn:
    # A work is a Received, or anything with an aor and a place for is_claimed.
    @property
    def works(self) -> list[Any]: ...
    @property
    def aors(self) -> list[str]: ...

class WorkQueues:
    @property
    def pending(self) -> int: ...
    @property
    def has_arrived(self) -> bool: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __contains__(self, aor: str, /) -> bool: ...
    def queue(self, aor: str) -> list[Any]: ...
    def put(self, work: Any) -> None: ...
    def take_turn(self) -> Turn: ...
    def release(self, turn: Turn) -> None: ...

def decide_works(
    works: Sequence[Received | _Work],
    records: dict[str, bytes | None],
    now_ms: int,
    ended: int,
    plain: tuple[RegisterPolicy, dict[int, Outcome]] | None,
    register: Callable[[Registering, Draft, int], Outcome],
    other: Callable[[_Work, Draft], Change | None],
    failed: Callable[[str, Draft, Exception], Outcome],
) -> tuple[list[Change], int]: ...
