"""What somebody has not been told yet about one address-of-record, and the documents that tell it."""

from collections.abc import Callable, Sequence
from typing import Final

from reginfo.fast import Change, record_revision, reginfo_is_newer, reginfo_tail
from reginfo.sip.peers import Peer

DOCUMENT_MS: Final = 1_000  # a document is good for so long: its seconds are counted from when it was made
MAX_ENDED: Final = 256  # changes whose ended contacts are kept; who is further behind learns the state without them


class Untold:
    """The newest revision of an AoR, with the contacts that ended on the way to it.

    The record is held only as long as somebody needs it: clear() lets go of it.
    """

    __slots__ = ("_documents", "_ended", "_made_ms", "_read", "aor", "record", "revision")

    def __init__(self, aor: str) -> None:
        self.aor = aor
        self.revision = 0
        self.record: bytes | None = None
        "As of revision, until clear()."
        self._read = 0
        self._ended: list[tuple[int, bytes]] | None = None
        self._documents: dict[tuple[int | None, int, str | None, bool], bytes] | None = None
        self._made_ms = 0

    def see(self, record: bytes | None) -> None:
        """Take the record as it is committed now."""
        revision = self.revision if record is None else record_revision(record)
        if revision >= self.revision:
            self.revision = revision
            self.record = record
            self._documents = None

    def read(self, change: Change) -> None:
        """Take a change; one that see() has brought already adds the contacts it ended."""
        revision = change.revision
        if revision > self._read:
            self._read = revision
        if revision >= self.revision:
            self.revision = revision
            self.record = change.record or None
        if change.ended:
            if self._ended is None:
                self._ended = []
            self._ended.append((change.revision, change.ended))
            del self._ended[:-MAX_ENDED]
        self._documents = None

    def document(
        self,
        since: int | None,
        told: int,
        peer: Peer | None,
        now_ms: int,
        *,
        home: bool = False,
        mint: Callable[[int, bytes, int], bytes] | None = None,
        identities: Sequence[tuple[str, str]] | None = None,
    ) -> bytes:
        """Return tail(), made once for all who are told the same within a second; identities are the same to all."""
        key = (since, told if since is None else 0, _audience(peer, home), mint is not None)
        if self._documents is None or now_ms - self._made_ms >= DOCUMENT_MS:
            self._documents = {}
            self._made_ms = now_ms
        tail = self._documents.get(key)
        if tail is None:
            tail = self._documents[key] = self.tail(
                since, told, peer, now_ms, home=home, mint=mint, identities=identities
            )
        return tail

    def tail(
        self,
        since: int | None,
        told: int,
        peer: Peer | None,
        now_ms: int,
        *,
        home: bool = False,
        mint: Callable[[int, bytes, int], bytes] | None = None,
        identities: Sequence[tuple[str, str]] | None = None,
    ) -> bytes:
        """Return everything behind the version of a document: what is newer than revision since, or the full state.

        A full one also tells of the contacts that ended after the revision told.  A peer is told of contacts at home
        here only, and so is whoever home says it of.  mint tells temporary GRUUs; identities are told instead of the
        AoR.  Empty if there is nothing newer.
        """
        return reginfo_tail(
            self.record,
            self.aor,
            now_ms=now_ms,
            since=since,
            ended=self._ended_after(told if since is None else since),
            audience=_audience(peer, home),
            extensions=peer is not None and not peer.is_kamailio,
            kamailio=peer is not None and peer.is_kamailio,
            temp_gruu=mint is not None,
            mint=mint,
            identities=identities,
        )

    def reached(self, since: int | None) -> int:
        """Return up to which revision document(since, ...) tells everything.

        What see() brought before its change was read may have ended contacts that only the change knows of: without
        them it has not been told, unless the state is told in full.
        """
        return self.revision if since is None else min(self.revision, max(since, self._read))

    def is_newer(self, since: int, peer: Peer | None, *, home: bool = False) -> bool:
        """Tell whether document() would say anything newer than revision since."""
        return reginfo_is_newer(self.record, since, ended=self._ended_after(since), audience=_audience(peer, home))

    def _ended_after(self, since: int) -> bytes:
        if self._ended is None:
            return b""
        return b"".join([rows for revision, rows in self._ended if revision > since])

    def clear(self) -> None:
        """Let go of what everybody has been told."""
        self.record = None
        self._ended = None
        self._documents = None


def _audience(peer: Peer | None, home: bool) -> str | None:
    return peer.name if peer else "" if home else None
