"""The rules for bindings, written to be read: RFC 3261 section 10.3 on lists of values.

Nothing here is shared with the compiled core but the comparison of URIs, which has a twin of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reginfo.fast import uris_equal
from tests.reference.siphash import siphash13

CONTACT_KEY = (0x7265672D636F6E74, 0x6163742D69640001)
REGISTRATION_KEY = (0x7265672D72656769, 0x7374722D69640001)


@dataclass(frozen=True)
class Row:
    """One binding."""

    uri: str
    call_id: str
    cseq: int
    requested: int
    expires_at: int
    registered_at: int
    updated_at: int
    q: float | None
    params: str
    event: str
    contact_id: int
    revision: int = 0
    origin: str = ""


@dataclass(frozen=True)
class Asked:
    """One Contact value of a REGISTER, with what is granted."""

    uri: str
    seconds: int
    requested: int
    q: float | None = None
    params: str = ""


@dataclass
class Entry:
    """A row as it was at the beginning of the decision, and as it is now."""

    before: Row | None
    now: Row
    ended: str = ""


@dataclass(frozen=True)
class Transition:
    """What a decision came to."""

    base_revision: int
    revision: int
    rows: tuple[Row, ...]
    ended: tuple[Row, ...]
    only_refreshes: bool


def contact_id(aor: str, uri: str) -> int:
    return siphash13(*CONTACT_KEY, f"{aor}\0{uri}".encode())


def registration_id(aor: str) -> int:
    return siphash13(*REGISTRATION_KEY, aor.encode())


class ReferenceDraft:
    """A working copy whose every step is a walk over a list."""

    def __init__(self, aor: str, now_ms: int) -> None:
        self.aor = aor
        self.now_ms = now_ms
        self.rows: tuple[Row, ...] = ()
        self.revision = 0
        self.last_revision = 0
        self.entries: list[Entry] = []

    def rollback(self) -> None:
        self.entries = [Entry(row, row) for row in self.rows]

    def _living(self) -> list[Entry]:
        return [entry for entry in self.entries if not entry.ended]

    def _end(self, entry: Entry, event: str) -> None:
        if entry.before is None:
            self.entries.remove(entry)
        else:
            entry.ended = event

    def expire(self, now_ms: int) -> int:
        self.now_ms = max(self.now_ms, now_ms)
        over = [entry for entry in self._living() if entry.now.expires_at <= now_ms]
        for entry in over:
            self._end(entry, "expired")
        return len(over)

    def _find(self, uri: str, origin: str) -> Entry | None:
        candidates = [
            entry for entry in self.entries if entry.ended in ("", "unregistered") and entry.now.origin == origin
        ]
        for entry in candidates:
            if entry.now.uri == uri:
                return entry
        for entry in candidates:
            if uris_equal(entry.now.uri, uri):
                return entry
        return None

    def _new_id(self, uri: str) -> int:
        number = contact_id(self.aor, uri)
        while number in [entry.now.contact_id for entry in self.entries]:
            number += 1
        return number

    def bind(self, asked: Asked, call_id: str, cseq: int, now_ms: int) -> str:
        self.expire(now_ms)
        entry = self._find(asked.uri, "")
        if entry is None:
            if asked.seconds == 0:
                return "UNCHANGED"
            self.entries.append(Entry(None, self._row(asked, call_id, cseq, now_ms, None)))
            return "ADDED"
        before = entry.before
        if before is not None and before.call_id == call_id and cseq <= before.cseq:
            same = (before.cseq, before.requested, before.q, before.params) == (
                cseq,
                asked.requested,
                asked.q,
                asked.params,
            )
            return "UNCHANGED" if same and asked.seconds else "STALE"
        if asked.seconds == 0:
            if not entry.ended:
                entry.now = replace(entry.now, call_id=call_id, cseq=cseq, updated_at=now_ms)
                self._end(entry, "unregistered")
            return "REMOVED"
        entry.now = self._row(asked, call_id, cseq, now_ms, entry)
        entry.ended = ""
        return "ADDED" if before is None else "REFRESHED"

    def _row(self, asked: Asked, call_id: str, cseq: int, now_ms: int, entry: Entry | None) -> Row:
        return Row(
            uri=asked.uri,
            call_id=call_id,
            cseq=cseq,
            requested=asked.requested,
            expires_at=now_ms + asked.seconds * 1000,
            registered_at=entry.now.registered_at if entry else now_ms,
            updated_at=now_ms,
            q=asked.q,
            params=asked.params,
            event="refreshed" if entry and entry.before else "registered",
            contact_id=entry.now.contact_id if entry else self._new_id(asked.uri),
        )

    def clear(self, call_id: str, cseq: int) -> int:
        self.expire(self.now_ms)
        local = [entry for entry in self._living() if entry.now.origin == ""]
        for entry in local:
            if entry.before and entry.before.call_id == call_id and cseq <= entry.before.cseq:
                return -1
        for entry in local:
            entry.now = replace(entry.now, call_id=call_id, cseq=cseq, updated_at=self.now_ms)
            self._end(entry, "unregistered")
        return len(local)

    def remove(self, contact: str | None, event: str) -> int:
        gone = [
            entry
            for entry in self._living()
            if contact is None or contact == f"{entry.now.contact_id:016x}" or uris_equal(entry.now.uri, contact)
        ]
        for entry in gone:
            self._end(entry, event)
        return len(gone)

    def evict_oldest(self, n: int) -> int:
        # sorted() is stable: of rows of the same age the first one goes.
        untouched = [entry for entry in self._living() if entry.now is entry.before and entry.now.origin == ""]
        gone = sorted(untouched, key=lambda entry: entry.now.updated_at)[:n]
        for entry in gone:
            self._end(entry, "deactivated")
        return len(gone)

    def add(self, row: Row) -> int:
        self.expire(self.now_ms)
        entry = self._find(row.uri, row.origin)
        row = replace(row, updated_at=row.updated_at or self.now_ms)
        if entry is not None and not entry.ended:
            event = row.event
            if entry.before:
                event = "shortened" if row.expires_at < entry.now.expires_at else "refreshed"
            entry.now = replace(
                row, contact_id=entry.now.contact_id, registered_at=entry.now.registered_at, event=event
            )
            return 0
        row = replace(row, registered_at=row.registered_at or self.now_ms, contact_id=self._new_id(row.uri))
        self.entries.append(Entry(None, row))
        return 1

    @property
    def count(self) -> int:
        return sum(entry.now.origin == "" for entry in self._living())

    @property
    def changed(self) -> bool:
        return any(entry.ended or entry.now is not entry.before for entry in self.entries)

    def finish(self) -> Transition | None:
        if not self.changed:
            self.rollback()
            return None
        base = self.revision
        revision = self.last_revision + 1
        if not self.rows:
            revision = max(revision, self.now_ms * 1000)
        living = [
            entry.now if entry.now is entry.before else replace(entry.now, revision=revision)
            for entry in self._living()
        ]
        ended = [replace(entry.now, event=entry.ended, revision=revision) for entry in self.entries if entry.ended]
        only_refreshes = not ended and all(row.event == "refreshed" for row in living if row.revision == revision)
        self.rows = tuple(living)
        self.last_revision = revision
        self.revision = revision if living else 0
        self.rollback()
        return Transition(base, revision, self.rows, tuple(ended), only_refreshes)


@dataclass(frozen=True)
class Contact:
    """What a diff looks at: who, and everything else."""

    uri: str
    content: str
    origin: str = ""


def diff(
    before: Sequence[Contact], after: Sequence[Contact]
) -> tuple[list[Contact], list[tuple[Contact, Contact]], list[Contact]]:
    """Return what was added, changed and removed, pairing one to one: same octets first, then equal URIs."""
    pairs: dict[int, int] = {}
    for i, new in enumerate(after):
        for j, old in enumerate(before):
            if j not in pairs.values() and (new.uri, new.origin) == (old.uri, old.origin):
                pairs[i] = j
                break
    for i, new in enumerate(after):
        for j, old in enumerate(before):
            if i not in pairs and j not in pairs.values() and uris_equal(new.uri, old.uri):
                pairs[i] = j
    added = [new for i, new in enumerate(after) if i not in pairs]
    changed = [(before[pairs[i]], new) for i, new in enumerate(after) if i in pairs and before[pairs[i]] != new]
    removed = [old for j, old in enumerate(before) if j not in pairs.values()]
    return added, changed, removed
