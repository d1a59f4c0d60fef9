"""One subscription as its notifier keeps it: what is durable as octets, what moves with every NOTIFY beside them."""

from typing import Final

import msgspec

from reginfo.fast import Notified

TOLD: Final = b"t/"
"Prefix of the key of what a subscription was told last; its id follows."


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


encode: Final = msgspec.msgpack.Encoder().encode
decode: Final = msgspec.msgpack.Decoder(Saved).decode
"Returns what encode() wrote; msgspec.DecodeError if it is none."


class Subscription(Notified):
    """A subscription; its id is the local tag of its dialog."""

    __slots__ = ()

    @property
    def saved(self) -> Saved:
        return decode(self.octets)

    @property
    def told_key(self) -> bytes:
        return TOLD + self.id.encode()

    def told_octets(self) -> bytes:
        return self.told.to_bytes(8, "big") + bytes([self.told_empty])

    def take_told(self, octets: bytes) -> None:
        """Go on after what told_octets() says."""
        self.told = int.from_bytes(octets[:8], "big")
        self.told_empty = octets[8:] != b"\0"
