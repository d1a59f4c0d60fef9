"""One subscription as its notifier keeps it: what is durable as octets, what moves with every NOTIFY beside them."""

from enum import IntEnum
from typing import TYPE_CHECKING, Final

import msgspec

from reginfo.fast import Flow
from reginfo.sip.authorization import MAX_CHALLENGES
from reginfo.sip.dialog import Dialog, Way
from reginfo.sip.exchange import LAST_CSEQ

if TYPE_CHECKING:
    from reginfo.roles.notifier.watched import Watched

BLOCK: Final = 1_000
"CSeq and version numbers reserved at once: a restart goes on behind them, so that none is used twice (XML-4)."

RESERVE_AHEAD: Final = 16
"Numbers left when the next block is asked for; one NOTIFY at a time cannot use them up before it is durable."

LAST_VERSION: Final = 2**32 - 1  # of a document (XML-4)

NEVER_MS: Final = 2**63 - 1

STATE: Final = b"s/"
TOLD: Final = b"t/"
"Prefixes of the keys of a subscription in the role state: the dialog, and what it was told last."


class Saved(msgspec.Struct, array_like=True, frozen=True):
    """What a restart needs."""

    aor: str
    call_id: str
    local_uri: str
    remote_uri: str
    remote_tag: str
    target: str
    routes: tuple[str, ...]
    remote_cseq: int
    contact: str
    "Our Contact, a header value."
    event_id: str | None
    watcher: str
    peer: str
    "Name of the configured peer that watches; empty for anybody else."
    expires_at: int
    reserved: int
    "Numbers below it may have been used."

    def dialog(self, local_tag: str) -> Dialog:
        return Dialog(  # by position: there is one for every NOTIFY
            self.call_id,
            self.local_uri,
            local_tag,
            self.remote_uri,
            self.remote_tag,
            self.target,
            self.routes,
            self.remote_cseq,
        )


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Saved)


class Owes(IntEnum):
    """What a subscription is to be told next."""

    NOTHING = 0
    CHANGE = 1
    "What changed, not sooner than the interval between two NOTIFYs (REV-6)."
    RETRY = 2
    "The full state after a NOTIFY that failed, when its back-off is over (SUB-9)."
    STATE = 3
    "The full state at once: a SUBSCRIBE asked for it, or it is the last NOTIFY (SUB-5)."


class Subscription:
    """A subscription; its id is the local tag of its dialog."""

    __slots__ = (
        "cseq",
        "ending",
        "expires_at",
        "failures",
        "flow",
        "id",
        "is_busy",
        "is_timed",
        "lapse_at",
        "not_before",
        "octets",
        "owes",
        "owes_since_ms",
        "place",
        "reserved",
        "sent",
        "sent_empty",
        "taken_cseq",
        "told",
        "told_empty",
        "version",
        "watched",
        "way",
    )

    def __init__(self, id: str, octets: bytes, expires_at: int, reserved: int, number: int, watched: "Watched") -> None:
        self.id = id
        self.octets = octets
        self.expires_at = expires_at
        self.lapse_at = NEVER_MS
        "When somebody looks whether it has lapsed."
        self.reserved = reserved
        self.cseq = number  # of the last NOTIFY
        self.version = number  # of the next document
        self.taken_cseq = 0
        "Of the last SUBSCRIBE in its dialog, also of one that is not settled (RFC 3261 12.2.2)."
        self.watched = watched
        self.place = 0
        "Among the subscriptions to what is watched."
        self.sent: int | None = None
        "Revision of the AoR in the last NOTIFY; without one the next is full."
        self.sent_empty = True
        "Whether that NOTIFY showed an AoR without contacts."
        self.told = 0
        "Revision of the AoR in the last NOTIFY that was answered 2xx."
        self.told_empty = True
        "As sent_empty, of that one."
        self.owes = Owes.NOTHING
        self.owes_since_ms = 0
        "When the first change was made that it has not been told of; 0 if that is not known."
        self.not_before = 0
        self.failures = 0
        self.is_busy = False
        "Whether a NOTIFY is outstanding; there is one at most."
        self.flow: Flow | None = None
        "The connection of its watcher, where that has to carry what it is told (TRN-14)."
        self.way: Way | None = None
        "How the NOTIFY gets there that waits for its place."
        self.is_timed = False
        self.ending: str | None = None
        "Reason for which it is terminated, until the NOTIFY that says so is answered (SUB-10)."

    @property
    def saved(self) -> Saved:
        return _decoder.decode(self.octets)

    @property
    def key(self) -> bytes:
        return STATE + self.id.encode()

    @property
    def told_key(self) -> bytes:
        return TOLD + self.id.encode()

    @property
    def is_used_up(self) -> bool:
        """Whether there is no further version or CSeq."""
        return self.version >= LAST_VERSION or self.cseq >= LAST_CSEQ

    def reserve(self) -> bool:
        """Reserve a block of numbers if few are left; True if that has to be saved."""
        if self.cseq + RESERVE_AHEAD < self.reserved:
            return False
        self.reserved += BLOCK
        return True

    @property
    def is_in_last_block(self) -> bool:
        """Whether the next CSeq, or what challenges make of it, is of the block that was reserved last."""
        return self.cseq + 1 + MAX_CHALLENGES >= self.reserved - BLOCK

    def told_octets(self) -> bytes:
        return self.told.to_bytes(8, "big") + bytes([self.told_empty])

    def take_told(self, octets: bytes) -> None:
        """Go on after what told_octets() says."""
        self.told = int.from_bytes(octets[:8], "big")
        self.told_empty = octets[8:] != b"\0"


def encode(saved: Saved) -> bytes:
    return _encoder.encode(saved)


def decode(octets: bytes) -> Saved:
    """Return what encode() wrote; msgspec.DecodeError if it is none."""
    return _decoder.decode(octets)
