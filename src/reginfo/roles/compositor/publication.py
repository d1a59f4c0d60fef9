"""One publication as the compositor holds it; its contacts are rows of the AoR's record, under its origin."""

from typing import Final

import msgspec

STATE: Final = b"c/"
"Prefix of the key of a publication in the role state; its id follows."

ORIGIN: Final = "publication:"


class Publication(msgspec.Struct, array_like=True, frozen=True):
    """Event state held for one publisher (RFC 3903 section 3)."""

    aor: str
    id: str
    "Never changes; begins with the name of the publishing peer and a dot, if it is one."
    serial: int
    "Number of the entity-tag: each success has the next one (ESC-2)."
    call_id: str
    "Of the PUBLISH that began it: one more that begins it is its publisher, who has lost the entity-tag."
    expires_at: int
    "When it is removed unless it is refreshed."

    @property
    def entity_tag(self) -> str:
        """Opaque, and never used again for this resource."""
        return f"{self.id}.{self.serial}"

    @property
    def origin(self) -> str:
        return ORIGIN + self.id

    @property
    def key(self) -> bytes:
        return STATE + self.id.encode()

    def encode(self) -> bytes:
        return _encoder.encode(self)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Publication)


def decode(octets: bytes) -> Publication:
    """Return what encode() wrote; msgspec.DecodeError if it is none."""
    return _decoder.decode(octets)
