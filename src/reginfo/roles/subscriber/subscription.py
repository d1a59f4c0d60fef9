"""One subscription as its subscriber keeps it.

           SUBSCRIBE / timer N          NOTIFY: active, pending
+-------+ ---------------------> +---------+ ------------> +--------+ --+ refresh, NOTIFY
| WAITS |                        | PENDING |               | ACTIVE | <-+
+-------+ <--------------------- +---------+ <---+         +--------+
    ^       timer N, refused                     |              |
    |                                            | deactivated  | terminated, timer N,
    +--------------------------------------------+--------------+ 404, 481 ... (SUB-16)
                   back-off, retry-after                (RFC 6665 section 4.1.2)
"""

from enum import Enum
from typing import Final

from reginfo.fast import ReginfoView
from reginfo.sip.dialog import Dialog
from reginfo.sip.peers import Peer
from reginfo.sip.routing import Hop

NEVER_MS: Final = 2**63 - 1

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


class Subscription:
    """A subscription to one address-of-record at one server."""

    __slots__ = (
        "aor",
        "asked",
        "began_at",
        "call_id",
        "cseq",
        "dialog",
        "ended_at",
        "expires",
        "expires_at",
        "failures",
        "hop",
        "is_busy",
        "key",
        "origin",
        "peer",
        "refetched",
        "refresh_at",
        "remote_cseq",
        "retry_at",
        "state",
        "tag",
        "timer_at",
        "timer_n",
        "uri",
        "view",
        "wants_refresh",
        "while_bound",
    )

    def __init__(self, key: str, uri: str, aor: str, hop: Hop, peer: Peer | None, expires: int) -> None:
        self.key = key
        "Who is followed, and where: AoR and hop."
        self.uri = uri
        self.aor = aor
        self.hop = hop
        self.peer = peer
        self.origin = peer.origin if peer is not None else f"peer:{hop.where}"
        self.expires = expires
        "Seconds asked for."
        self.while_bound = False
        "Whether it is to end by itself once nothing is bound there (relay mode)."
        self.state = State.WAITS
        self.began_at = 0
        self.call_id = ""
        self.asked = ""
        "Call-ID of the SUBSCRIBE that is outstanding."
        self.tag = ""
        self.cseq = 0
        self.dialog: Dialog | None = None
        self.remote_cseq = 0
        "Of the last NOTIFY in that dialog."
        self.view = ReginfoView()
        self.is_busy = False
        "Whether a SUBSCRIBE is outstanding or waits for its place."
        self.wants_refresh = False
        self.refetched = False
        "Whether the full state was asked for since the last document that could be used (RIC-8)."
        self.failures = 0
        self.expires_at = NEVER_MS
        self.refresh_at = NEVER_MS
        self.retry_at = NEVER_MS
        self.timer_n = NEVER_MS
        self.ended_at = NEVER_MS
        "Since when nothing is heard of it; what was learned is kept for a while (RIC-9)."
        self.timer_at = NEVER_MS
        "When somebody looks what time has done to it."

    @property
    def has_lived(self) -> bool:
        """Whether there ever was a dialog."""
        return self.view.version is not None or bool(self.view.registrations)

    @property
    def stale_at(self) -> int:
        """When what was learned is not kept any longer."""
        if self.ended_at == NEVER_MS:
            return NEVER_MS
        return self.ended_at + (self.peer.stale_grace_ms if self.peer is not None else STALE_GRACE_MS)

    def believed_until(self, now_ms: int) -> int:
        """Return until when a contact is believed of which no time was told (RFC 3680 section 5.3: expires may be
        left out): as long as the subscription, or what it has left behind, or as was asked for if none was granted."""
        if self.expires_at == self.stale_at == NEVER_MS:
            return now_ms + self.expires * 1000
        return min(self.expires_at, self.stale_at)

    @property
    def next_due(self) -> int:
        """The instant of the first timer."""
        return min(self.expires_at, self.refresh_at, self.retry_at, self.timer_n_due, self.stale_at)

    @property
    def timer_n_due(self) -> int:
        """When timer N is due; not while a SUBSCRIBE is under way, which may be to the next server by then (DNS-5)."""
        return NEVER_MS if self.is_busy else self.timer_n

    def speaks_for(self, aor: str) -> bool:
        """Tell whether this server may say anything about an AoR: one that is not configured, of the one asked for."""
        return self.peer.speaks_for(aor) if self.peer is not None else aor == self.aor
