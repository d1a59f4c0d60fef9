from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias, TypeVar, final

from reginfo._fast.authenticator import Authenticator, Proof
from reginfo._fast.counters import Counters, Histogram
from reginfo._fast.datagrams import Flow
from reginfo._fast.errors import SipParseError
from reginfo._fast.screen import Screen
from reginfo._fast.sip_parser import SipMessage
from reginfo._fast.subscribed import Subscribed
from reginfo._fast.transactions import Absorbed, Transactions
from reginfo._fast.works import WorkQueues

_Work = TypeVar("_Work")
_Subscribed = TypeVar("_Subscribed", bound=Subscribed)

class _Now(Protocol):
    @property
    def ms(self) -> int: ...
    @property
    def us(self) -> int: ...

# What becomes of a request, a response, a retransmission, a malformed message, an exception of one of those, a STUN
# message, a REGISTER that lacks nothing but proper credentials, and one that was challenged for wrong ones.
_Road: TypeAlias = tuple[
    Callable[[SipMessage, Flow, int, Any], None],
    Callable[[SipMessage, Flow, Any], None],
    Callable[[bytes, Flow, int, bytes | Absorbed, Any], None],
    Callable[[bytes, Flow, int, SipParseError, Any], None],
    Callable[[Exception, Flow], None],
    Callable[[bytes, Flow], None],
    Callable[[SipMessage, Flow, int, Proof, Any], None],
    Callable[[SipMessage, Flow, Any], None],
]

TRANSPORTS: Final[tuple[str, ...]]
REGISTRATION_KINDS: Final[tuple[str, ...]]

def answer_room(request: SipMessage) -> int: ...
def response_flow(request: SipMessage, flow: Flow) -> Flow: ...

@final
class Intake:
    @property
    def taken(self) -> Counters: ...
    @property
    def heard(self) -> Counters: ...
    @property
    def accepted(self) -> Counters: ...
    def __init__(
        self,
        transactions: Transactions,
        responses: Counters,
        screen: Screen,
        max_message: int,
        authenticator: Authenticator | None = None,
    ) -> None: ...
    def follow(
        self,
        screen: Screen,
        max_message: int,
        authenticator: Authenticator | None = None,
        identity: tuple[tuple[str, str], ...] = (),
    ) -> None: ...
    def listen(
        self,
        subscriptions: Mapping[str, _Subscribed],
        max_body: int,
        arm: Callable[[_Subscribed], None],
        enter: Callable[[_Subscribed, SipMessage, Flow], None],
    ) -> None: ...
    def take(
        self,
        batch: list[tuple[bytes, Flow]],
        now: _Now,
        works: WorkQueues,
        limit: int,
        output: list[tuple[bytes, Flow]],
        road: _Road,
    ) -> int: ...
    def answer(
        self,
        works: list[_Work],
        now_ms: int,
        oldest_ms: int,
        date: bytes,
        granted: bytes,
        mint: Callable[[int, bytes, int], bytes] | None,
        output: list[tuple[bytes, Flow]],
        other: Callable[[_Work], None],
    ) -> int: ...
    def count(
        self,
        works: list[_Work],
        now_ms: int,
        now_us: int,
        registers: Histogram,
        other: Callable[[_Work], None],
    ) -> None: ...
