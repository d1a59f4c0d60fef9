"""One subscription as its subscriber keeps it.

           SUBSCRIBE / timer N             first NOTIFY
+-------+ ---------------------> +---------+ ------------> +--------+ --+ refresh, NOTIFY
| WAITS |                        | PENDING |               | ACTIVE | <-+
+-------+ <--------------------- +---------+ <---+         +--------+
    ^       timer N, refused                     |              |
    |                                            | deactivated  | terminated, timer N,
    +--------------------------------------------+--------------+ 404, 481 ... (SUB-16)
                   back-off, retry-after                (RFC 6665 section 4.1.2)

From ACTIVE an unfollowed one is ENDING: it is gone with the NOTIFY that says terminated, or when that does not come.
"""

from enum import Enum
from typing import Final

from reginfo.fast import Subscribed
from reginfo.sip.dialog import Dialog
from reginfo.sip.peers import Peer
from reginfo.sip.routing import Hop

STALE_GRACE_MS: Final = 600_000
"As peer.stale_grace, for a server that is no configured peer."

STATE: Final = b"f/"
"Prefix of the keys under which what is followed is kept."


class State(Enum):
    """Where a subscription stands."""

    WAITS = "waits"
    "For the instant at which it is tried (again)."
    PENDING = "pending"
    "SUBSCRIBE was sent, no NOTIFY has come."
    ACTIVE = "active"
    "A dialog exists."
    ENDING = "ending"
    "SUBSCRIBE with Expires: 0 was sent."


class TooManyFollowed(ValueError):
    """No further subscription is begun."""


class Subscription(Subscribed):
    """A subscription to one address-of-record at one server."""

    __slots__ = (
        "_state",
        "asked",
        "began_at",
        "call_id",
        "cseq",
        "dialog",
        "failures",
        "hop",
        "key",
        "peer",
        "wants_refresh",
        "while_bound",
    )

    def __init__(self, key: str, uri: str, aor: str, hop: Hop, peer: Peer | None, expires: int) -> None:
        """key is who is followed, and where: AoR and hop.  expires are the seconds asked for."""
        if peer is None:
            super().__init__(uri, aor, f"peer:{hop.where}", expires, STALE_GRACE_MS, False, True)
        else:
            entitled = peer.speaks_for(aor)
            super().__init__(uri, aor, peer.origin, expires, peer.stale_grace_ms, peer.mirrors, entitled)
        self.key = key
        self.hop = hop
        self.peer = peer
        self.while_bound = False
        "Whether it is to end by itself once nothing is bound there (relay mode)."
        self.state = State.WAITS
        self.began_at = 0
        self.call_id = ""
        self.asked = ""
        "Call-ID of the SUBSCRIBE that is outstanding."
        self.cseq = 0
        self.dialog: Dialog | None = None
        self.wants_refresh = False
        self.failures = 0

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = state
        self.is_active = state is State.ACTIVE

    @property
    def has_lived(self) -> bool:
        """Whether there ever was a dialog."""
        return self.view.version is not None or bool(self.view.registrations)

    def speaks_for(self, aor: str) -> bool:
        """Tell whether this server may say anything about an AoR: one that is not configured, of the one asked for."""
        return self.peer.speaks_for(aor) if self.peer is not None else aor == self.aor
