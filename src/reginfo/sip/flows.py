"""Flows and the addresses-of-record bound to them (RFC 5626 section 6): what ends when a connection does.

A binding that ends with its flow holds the flow's identity in its row; this is the index of those rows, kept by the
changes that are committed.  It says only where to look: a row that has moved to another flow does not end.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from reginfo.fast import Change, Draft, Flow, Registration, bound_flows
from reginfo.model import Command, Now
from reginfo.sip.outbound import FLOW_GRACE, UNTOLD_TIMER

ENDS_PER_TURN: Final = 64  # a millisecond or two: phones hardly feel a mass of lost connections
MAX_BEFORE_ENDS: Final = 32_768  # works pending beyond which ends wait: the rest of the queue is for requests
MAX_GONE: Final = 65_536  # lost connections remembered while something is pending that may have come over one

CAUSE: Final = "flow"
_DATAGRAMS: Final = "udp:"


def key_of(identity: str) -> str:
    """Return what a flow is looked up by: of a UDP flow its remote address, since an ICMP error names no more."""
    return identity.partition("/")[0]


class Grant(NamedTuple):
    """How long a connection may be silent."""

    flow: Flow
    seconds: int
    is_told: bool
    "Whether the phone knows, so that it is dead after that; else it is not before."


class FlowEnd(Command):
    """The end of what one address-of-record has bound to a flow."""

    __slots__ = ("flow", "lost_ms")

    def __init__(self, aor: str, flow: str, lost_ms: int) -> None:
        super().__init__(aor, self._end, CAUSE)
        self.flow = flow
        self.lost_ms = lost_ms

    def _end(self, draft: Draft, now_ms: int) -> int:
        return 0 if self._lives(draft.record) else draft.end_flow(self.flow)

    def _lives(self, record: bytes | None) -> bool:
        """Tell whether somebody registered over it since; a connection that was lost never comes back."""
        if record is None or not self.flow.startswith(_DATAGRAMS):
            return False
        bound = [one for one in Registration(record).bindings if not one.origin and key_of(one.flow) == self.flow]
        return any(one.updated_at > self.lost_ms for one in bound)


class Flows:
    """Which addresses-of-record are bound to which flow, and what waits to be ended."""

    def __init__(self) -> None:
        self._bound: dict[str, set[str]] = {}
        self._ending: deque[tuple[str, str, int]] = deque()
        self._gone: dict[str, None] = {}
        self._granted: list[Grant] = []

    def __len__(self) -> int:
        """Return the number of flows that something is bound to."""
        return len(self._bound)

    @property
    def ending(self) -> int:
        """Addresses-of-record that wait for their end."""
        return len(self._ending)

    def adopt(self, bound: Iterable[tuple[str, str]]) -> None:
        """Take what was bound before a restart: connections are gone since, address pairs are not."""
        for aor, identity in bound:
            if identity.startswith(_DATAGRAMS):
                self._bound.setdefault(key_of(identity), set()).add(aor)
            else:
                self._ending.append((aor, identity, 0))

    def follow(self, change: Change) -> None:
        """Take note of a committed change that touches flows."""
        before = set(map(key_of, bound_flows(change.before or b"")))
        after = set(map(key_of, bound_flows(change.record)))
        aor = change.aor
        for key in after:
            if key.startswith(_DATAGRAMS):  # after an ICMP error it is not there, though nothing has moved
                self._bound.setdefault(key, set()).add(aor)
        if before == after:
            return
        for key in before - after:
            aors = self._bound.get(key)
            if aors is not None:
                aors.discard(aor)
                if not aors:
                    del self._bound[key]
        for key in after - before:
            if key in self._gone:
                self._ending.append((aor, key, 0))
            else:
                self._bound.setdefault(key, set()).add(aor)

    def grant(self, flow: Flow, timer: int) -> None:
        """Take note that a connection is kept alive every so many seconds; 0: as often as was not agreed upon."""
        self._granted.append(Grant(flow, (timer or UNTOLD_TIMER) + FLOW_GRACE, is_told=timer > 0))

    def take_granted(self) -> list[Grant]:
        """Return what connections were granted since."""
        granted, self._granted = self._granted, []
        return granted

    def lost(self, flow: Flow, pending: int, now_ms: int) -> None:
        """Let everything end that is bound to a flow, also what one of so many pending works is about to bind."""
        if flow.reliable and not flow.connection:
            return  # one that was never made
        key = key_of(flow.identity)
        self._ending.extend((aor, key, now_ms) for aor in self._bound.pop(key, ()))
        if pending and flow.connection:
            if len(self._gone) >= MAX_GONE:
                del self._gone[next(iter(self._gone))]
            self._gone[key] = None

    def settled(self, pending: int) -> None:
        """Take note of how many works are left: with none, what comes from now on comes over flows that live."""
        if not pending:
            self._gone.clear()

    def again(self, end: FlowEnd, now: Now) -> None:
        """Let an end wait once more that could not be committed."""
        self._ending.append((end.aor, end.flow, end.lost_ms))

    def may_end(self, pending: int) -> bool:
        """Tell whether take() has something."""
        return bool(self._ending) and pending < MAX_BEFORE_ENDS

    def take(self, pending: int) -> list[FlowEnd]:
        """Return the ends whose turn it is, at most ENDS_PER_TURN, while so many works are pending."""
        ending = self._ending
        room = max(0, MAX_BEFORE_ENDS - pending)
        return [FlowEnd(*ending.popleft()) for _ in range(min(len(ending), ENDS_PER_TURN, room))]
