"""What the publisher knows of its publication of one address-of-record."""

from typing import Final

import msgspec

from reginfo.fast import NEVER_MS
from reginfo.sip.untold import Untold

STATE: Final = b"p/"
"Prefix of the key of a publication in the role state; the canonical AoR follows."

AGENT: Final = b"e/"
"Key of what this agent is known by at its compositors."


class _Saved(msgspec.Struct, array_like=True, frozen=True):
    entity_tag: str | None
    expires_at: int
    told: int
    told_empty: bool
    granted: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Saved)


class Publication(Untold):
    """The publication of one AoR at the compositor, and what it does not know yet."""

    __slots__ = (
        "entity_tag",
        "expires_at",
        "failures",
        "granted",
        "has_body",
        "is_busy",
        "is_due",
        "is_ending",
        "is_news",
        "min_expires",
        "not_before",
        "refresh_at",
        "sent",
        "sent_empty",
        "seq",
        "timer_at",
        "told",
        "told_empty",
    )

    def __init__(self, aor: str) -> None:
        super().__init__(aor)
        self.entity_tag: str | None = None
        "What the compositor calls the state it has (RFC 3903 section 3); None if it has none."
        self.expires_at = 0
        "When the compositor forgets it."
        self.refresh_at = NEVER_MS
        self.granted = 0
        "Seconds the compositor keeps it."
        self.timer_at = NEVER_MS
        "When somebody looks what time has done to it."
        self.told = 0
        "Revision the compositor has accepted."
        self.told_empty = True
        "Whether it showed no contact."
        self.sent = 0
        "Revision in the PUBLISH that is outstanding."
        self.sent_empty = True
        self.has_body = False
        "Whether that PUBLISH has a document; a refresh has none."
        self.seq = 0
        "Number of the first change the compositor has not accepted."
        self.is_news = False
        "Whether there is something newer than what was told; the record is held then."
        self.is_due = False
        "Whether it has to be refreshed."
        self.is_ending = False
        "Whether that PUBLISH removes it."
        self.is_busy = False
        "Whether a PUBLISH is outstanding or waits for its place; there is one at most (EPA-1)."
        self.not_before = 0
        "When the next PUBLISH may be sent after one that was refused."
        self.failures = 0
        self.min_expires = 0
        "What the compositor asked for with 423."

    @property
    def key(self) -> bytes:
        return STATE + self.aor.encode()

    def encode(self) -> bytes:
        return _encoder.encode(_Saved(self.entity_tag, self.expires_at, self.told, self.told_empty, self.granted))


def restored(key: bytes, octets: bytes) -> Publication:
    """Return the publication of the last run; msgspec.DecodeError if the octets are none."""
    saved = _decoder.decode(octets)
    publication = Publication(key[len(STATE) :].decode())
    publication.entity_tag = saved.entity_tag
    publication.expires_at = saved.expires_at
    publication.told = saved.told
    publication.told_empty = saved.told_empty
    publication.granted = saved.granted
    return publication
