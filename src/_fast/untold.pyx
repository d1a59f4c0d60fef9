"""What somebody has not been told yet about one address-of-record, and the documents that tell it."""

cimport cython
from libc.stdint cimport int64_t

from reginfo._fast.binding cimport Change, revision_of
from reginfo._fast.reginfo_xml cimport any_newer, tail_of


cdef enum:
    DOCUMENT_MS = 1_000     # a document is good for so long: its seconds are counted from when it was made
    MAX_ENDED = 256         # changes whose ended contacts are kept; who is further behind learns the state without them


@cython.no_gc         # nothing it holds leads back to it
@cython.auto_pickle(False)
cdef class Untold:
    """The newest revision of an AoR, with the contacts that ended on the way to it.

    The record is held only as long as somebody needs it: clear() lets go of it.
    """

    def __init__(self, aor: str) -> None:
        self.aor = aor

    def see(self, record: bytes | None) -> None:
        """Take the record as it is committed now; ValueError for one that is corrupt."""
        cdef int64_t revision = self.revision if record is None else revision_of(record)
        if revision >= self.revision:
            self.revision = revision
            self.record = record
            self.documents = None

    def read(self, change: Change) -> None:
        """Take a change; one that see() has brought already adds the contacts it ended."""
        self.take(change)

    def clear(self) -> None:
        """Let go of what everybody has been told."""
        self.let_go()

    cdef int take(self, Change change) except -1:
        cdef int64_t revision = change.revision
        self.read_to = max(self.read_to, revision)
        if revision >= self.revision:
            self.revision = revision
            self.record = change.record or None
        if change.ended:
            if self.ended is None:
                self.ended = []
            self.ended.append((revision, change.ended))
            del self.ended[:-MAX_ENDED]
        self.documents = None
        return 0

    cdef bytes shared(
        self, object since, int64_t told, object peer, int64_t now_ms, object mint, object identities
    ):
        # state(), made once for all who are told the same within a second; identities are the same to all.
        cdef tuple key = (since, told if since is None else 0, audience_of(peer, False), mint is not None)
        cdef bytes document
        if self.documents is None or now_ms - self.made_ms >= DOCUMENT_MS:
            self.documents = {}
            self.made_ms = now_ms
        document = self.documents.get(key)
        if document is None:
            document = self.documents[key] = self.state(since, told, peer, now_ms, False, mint, identities)
        return document

    cdef int64_t reach(self, object since) except -1:
        # Up to which revision shared() and state() tell everything.  What see() brought before its change was read may
        # have ended contacts that only the change knows of: without them it has not been told, unless the state is told
        # in full.
        return self.revision if since is None else min(self.revision, max(<int64_t>since, self.read_to))

    cdef bint has_news(self, int64_t since, object peer, bint home) except -1:
        # Whether the document would say anything newer than revision since.
        return any_newer(self.record, since, self.ended_after(since), audience_of(peer, home))

    cdef bytes state(
        self, object since, int64_t told, object peer, int64_t now_ms, bint home, object mint, object identities
    ):
        # Everything behind the version of a document: what is newer than revision since, or the full state.  A full one
        # also tells of the contacts that ended after the revision told.  A peer is told of contacts at home here only,
        # and so is whoever home says it of.  mint tells temporary GRUUs; identities are told instead of the AoR.  Empty
        # if there is nothing newer.
        cdef bint kamailio = peer is not None and peer.is_kamailio
        return tail_of(
            self.record,
            self.aor,
            now_ms,
            since,
            self.ended_after(told if since is None else since),
            audience_of(peer, home),
            peer is not None and not kamailio,
            kamailio,
            mint is not None,
            mint,
            identities,
        )

    cdef bytes ended_after(self, int64_t since):
        if self.ended is None:
            return b""
        return b"".join([rows for revision, rows in self.ended if revision > since])

    cdef int let_go(self) except -1:
        self.record = None
        self.ended = None
        self.documents = None
        return 0


cdef str audience_of(object peer, bint home):
    return peer.name if peer is not None else "" if home else None
