"""Where requests go: destinations, the servers each has, and which of those were found dead."""

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from reginfo.fast import Flow, Via
from reginfo.sip.routing import Hop, own_host

if TYPE_CHECKING:
    from reginfo.sip.exchange import Exchange

MAX_DEAD: Final = 1024  # servers remembered; beyond it the one found dead first is tried like any other
DEAD_MS: Final = 60_000  # a server that did not answer is tried last for so long

Address = tuple[str, tuple[str, int]]
"Transport and remote address."


class Place:
    """One server by one transport, and what is under way to it."""

    __slots__ = ("_local", "address", "exchanges", "flow", "is_current", "twin", "via")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self._local = flow.local
        self.address: Address = (flow.transport, flow.remote)
        self.via = f"SIP/2.0/{flow.transport.upper()} {own_host(flow)}:{flow.local[1]};rport;branch="
        self.exchanges: dict[str, Exchange] = {}
        self.twin: Place | None = None  # the same server over TCP
        self.is_current = True  # requests still begin here

    def is_sent_by(self, via: Via) -> bool:
        """Tell whether a Via is the one requests to this place bear."""
        host, port = self._local
        return via.port == port and via.host.strip("[]") == host


class Destination:
    """One hop, and what is under way to it."""

    __slots__ = ("good_until", "hop", "paused_until", "place", "places", "underway", "waiting", "windowed")

    def __init__(self, hop: Hop) -> None:
        self.hop = hop
        self.places: tuple[Place, ...] = ()
        self.place: Place | None = None  # the one that is tried first; None if no way leads there
        self.good_until = 0  # until when they need not be looked for
        self.waiting: deque[Any] = deque()
        "Sender, subject, sender, subject: no object for the pair."
        self.underway = 0
        self.windowed = 0
        self.paused_until = 0

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.underway


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
