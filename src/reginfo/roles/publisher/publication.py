"""What is kept of a publication of one address-of-record."""

from typing import Final

import msgspec

from reginfo.fast import PUBLICATION_STATE, Publication


class _Saved(msgspec.Struct, array_like=True, frozen=True):
    entity_tag: str | None
    expires_at: int
    told: int
    told_empty: bool
    granted: int


encode: Final = msgspec.msgpack.Encoder().encode
"Return Publication.saved as octets."

_decoder: Final = msgspec.msgpack.Decoder(_Saved)


def restored(key: bytes, octets: bytes) -> Publication:
    """Return the publication of the last run; msgspec.DecodeError if the octets are none."""
    saved = _decoder.decode(octets)
    publication = Publication(key[len(PUBLICATION_STATE) :].decode())
    publication.entity_tag = saved.entity_tag
    publication.expires_at = saved.expires_at
    publication.told = saved.told
    publication.told_empty = saved.told_empty
    publication.granted = saved.granted
    return publication
