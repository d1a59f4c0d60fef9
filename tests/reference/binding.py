"""The rules for bindings, written to be read: RFC 3261 section 10.3 on lists of values.

Nothing here is shared with the compiled core but the comparison of URIs, which has a twin of its own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

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
    hidden: bool = False
    instance: str = ""
    reg_id: int = 0
    "0: bound by its URI."
    flow: str = ""

    @property
    def key(self) -> tuple[int, str]:
        """What it is bound by instead of its URI; two of no reg-id are equal."""
        return key(self.reg_id, self.instance)

    @property
    def is_local(self) -> bool:
        return self.origin == ""

    @property
    def is_published(self) -> bool:
        return self.origin.startswith("publication:")


@dataclass(frozen=True)
class Asked:
    """One Contact value of a REGISTER, with what is granted."""

    uri: str
    seconds: int
    requested: int
    q: float | None = None
    params: str = ""
    instance: str = ""
    reg_id: int = 0
    outbound: bool = False
    flow: str = ""

    @property
    def counts(self) -> bool:
        """Whether its reg-id is not ignored (RFC 5626 section 6)."""
        return bool(self.outbound and self.instance and self.reg_id)

    @property
    def written(self) -> str:
        """The contact parameters as in the request."""
        instance = f';+sip.instance="<{self.instance}>"' if self.instance else ""
        return self.params + instance + (f";reg-id={self.reg_id}" if self.reg_id else "")

    @property
    def kept(self) -> str:
        return self.written if self.counts else replace(self, reg_id=0).written


@dataclass
class Entry:
    """A row as it was at the beginning of the decision, and as it is now."""

    before: Row | None
    now: Row
    ended: str = ""
    told: Row | None = None
    "What is told of a row that was hidden in this decision."
    seen: bool = False


@dataclass(frozen=True)
class Transition:
    """What a decision came to."""

    base_revision: int
    revision: int
    rows: tuple[Row, ...]
    ended: tuple[Row, ...]
    only_refreshes: bool


def canonical_urn(text: str) -> str:
    """Write equal instance-ids alike (RFC 8141 section 3.1, RFC 9562 section 4)."""
    parts = re.fullmatch(r"(urn:[^:]+:)(.*)", text, re.IGNORECASE | re.DOTALL)
    if parts is None:
        return text
    head, rest = parts[1].lower(), parts[2]
    if head == "urn:uuid:":
        return head + rest.lower()
    return head + re.sub("%..", lambda escape: escape[0].lower(), rest, flags=re.DOTALL)


def key(reg_id: int, instance: str) -> tuple[int, str]:
    return (reg_id, canonical_urn(instance) if reg_id else "")


def contact_id(aor: str, uri: str, reg_id: int = 0) -> int:
    name = f"{aor}\0{uri}".encode()
    return siphash13(*CONTACT_KEY, name + b"\0" + reg_id.to_bytes(4, "little") if reg_id else name)


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

    def _visible(self) -> list[Entry]:
        return [entry for entry in self._living() if not entry.now.hidden]

    def _end(self, entry: Entry, event: str) -> None:
        if entry.before is None:
            self.entries.remove(entry)
        else:
            entry.ended = event

    def _end_by(self, entry: Entry, event: str, **words: Any) -> None:
        """End a row in words that say who ended it."""
        if entry.before is not None and not entry.now.hidden:
            entry.now = replace(entry.now, updated_at=self.now_ms, **words)
        self._end(entry, event)

    def _hide(self, entry: Entry, event: str, request: tuple[str, int] | None, retry_after: int = 0) -> None:
        """Put another origin's row behind a tombstone; a request of our own is told as the end of a local row."""
        row = entry.now
        if entry.before is not None:
            told = replace(row, event=event, updated_at=self.now_ms)
            if event == "probation":
                told = replace(told, requested=retry_after)
            if request:
                told = replace(told, call_id=request[0], cseq=request[1], origin="")
            entry.told = told
        cseq = row.cseq
        if request and request[0] == row.call_id:
            cseq = max(cseq, request[1])
        entry.now = replace(row, hidden=True, event=event, cseq=cseq)

    def _hide_learned(self, uri: str | None, flow: tuple[int, str], call_id: str, cseq: int) -> int:
        hidden = 0
        for entry in self._visible():
            row = entry.now
            if row.is_local or row.is_published or (row.call_id == call_id and cseq <= row.cseq):
                continue
            if uri is None or (row.key == flow and (row.reg_id or uris_equal(row.uri, uri))):
                self._hide(entry, "unregistered", (call_id, cseq))
                hidden += 1
        return hidden

    def expire(self, now_ms: int) -> int:
        self.now_ms = max(self.now_ms, now_ms)
        over = [entry for entry in self._living() if entry.now.expires_at <= now_ms]
        for entry in over:
            self._end(entry, "expired")
        return len(over)

    def _find(self, uri: str, origin: str, flow: tuple[int, str]) -> Entry | None:
        candidates = [
            entry
            for entry in self.entries
            if entry.ended in ("", "unregistered") and entry.now.origin == origin and entry.now.key == flow
        ]
        if origin == "" and flow[0]:
            return next((entry for entry in candidates if not entry.ended), candidates[0] if candidates else None)
        for entry in candidates:
            if entry.now.uri == uri:
                return entry
        for entry in candidates:
            if uris_equal(entry.now.uri, uri):
                return entry
        return None

    def _new_id(self, uri: str, flow: tuple[int, str]) -> int:
        for entry in self._living():
            if entry.now.key == flow and uris_equal(entry.now.uri, uri):
                return entry.now.contact_id
        number = contact_id(self.aor, uri, flow[0])
        while number in [entry.now.contact_id for entry in self.entries]:
            number += 1
        return number

    def bind(self, asked: Asked, call_id: str, cseq: int, now_ms: int) -> str:
        self.expire(now_ms)
        flow = key(asked.reg_id if asked.counts else 0, asked.instance)
        entry = self._find(asked.uri, "", flow)
        if entry is None:
            if asked.seconds == 0:
                return "REMOVED" if self._hide_learned(asked.uri, flow, call_id, cseq) else "UNCHANGED"
            self.entries.append(Entry(None, self._row(asked, call_id, cseq, now_ms, None)))
            return "ADDED"
        before = entry.before
        if before is not None and before.call_id == call_id and cseq <= before.cseq:
            same = (before.cseq, before.requested, before.q, before.params) == (
                cseq,
                asked.requested,
                asked.q,
                asked.kept,
            )
            same = same and (not asked.counts or before.uri == asked.uri)
            if not same or not asked.seconds:
                return "STALE"
            if before.flow == asked.flow:
                return "UNCHANGED"
        if asked.seconds == 0:
            if not entry.ended:
                self._end_by(entry, "unregistered", call_id=call_id, cseq=cseq)
                self._hide_learned(asked.uri, flow, call_id, cseq)
            return "REMOVED"
        if not uris_equal(entry.now.uri, asked.uri):
            if not entry.ended:
                self._end_by(entry, "unregistered", call_id=call_id, cseq=cseq)
            self.entries.append(Entry(None, self._row(asked, call_id, cseq, now_ms, None)))
            return "ADDED"
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
            params=asked.kept,
            event="refreshed" if entry and entry.before else "registered",
            contact_id=entry.now.contact_id
            if entry
            else self._new_id(asked.uri, key(asked.reg_id if asked.counts else 0, asked.instance)),
            instance=asked.instance,
            reg_id=asked.reg_id if asked.counts else 0,
            flow=asked.flow,
        )

    def clear(self, call_id: str, cseq: int) -> int:
        self.expire(self.now_ms)
        local = [entry for entry in self._living() if entry.now.is_local]
        for entry in local:
            if entry.before and entry.before.call_id == call_id and cseq <= entry.before.cseq:
                return -1
        for entry in local:
            self._end_by(entry, "unregistered", call_id=call_id, cseq=cseq)
        return len(local) + self._hide_learned(None, (0, ""), call_id, cseq)

    def end_flow(self, flow: str) -> int:
        bound = [entry for entry in self._living() if entry.now.is_local and entry.now.flow]
        gone = [entry for entry in bound if flow in (entry.now.flow, entry.now.flow.partition("/")[0])]
        for entry in gone:
            self._end(entry, "expired")
        return len(gone)

    def _meant(self, entries: list[Entry], contact: str | None) -> list[Entry]:
        return [
            entry
            for entry in entries
            if contact is None or contact == f"{entry.now.contact_id:016x}" or uris_equal(entry.now.uri, contact)
        ]

    def remove(self, contact: str | None, event: str, retry_after: int = 0) -> int:
        gone = self._meant(self._visible(), contact)
        for entry in gone:
            if not entry.now.is_local:
                self._hide(entry, event, None, retry_after)
            elif event == "probation":
                self._end_by(entry, event, requested=retry_after)
            else:
                self._end(entry, event)
        return len(gone)

    def shorten(self, contact: str | None, seconds: int) -> int:
        self.expire(self.now_ms)
        expires_at = self.now_ms + seconds * 1000
        local = [entry for entry in self._living() if entry.now.is_local and entry.now.expires_at > expires_at]
        meant = self._meant(local, contact)
        for entry in meant:
            event = "shortened" if entry.before else entry.now.event
            entry.now = replace(entry.now, expires_at=expires_at, event=event)
        return len(meant)

    def evict_oldest(self, n: int) -> int:
        # sorted() is stable: of rows of the same age the first one goes.
        untouched = [entry for entry in self._living() if entry.now is entry.before and entry.now.origin == ""]
        gone = sorted(untouched, key=lambda entry: entry.now.updated_at)[:n]
        for entry in gone:
            self._end(entry, "deactivated")
        return len(gone)

    def add(self, row: Row) -> int:
        self.expire(self.now_ms)
        entry = self._find(row.uri, row.origin, row.key)
        row = replace(row, updated_at=row.updated_at or self.now_ms)
        if entry is not None and not entry.ended:
            event = row.event
            if entry.before:
                event = "shortened" if row.expires_at < entry.now.expires_at else "refreshed"
            entry.now = replace(
                row, contact_id=entry.now.contact_id, registered_at=entry.now.registered_at, event=event
            )
            return 0
        row = replace(row, registered_at=row.registered_at or self.now_ms)
        row = replace(row, contact_id=self._new_id(row.uri, row.key))
        self.entries.append(Entry(None, row))
        return 1

    def learn(self, row: Row, mirror: bool) -> str:
        self.expire(self.now_ms)
        row = replace(row, updated_at=row.updated_at or self.now_ms, registered_at=row.registered_at or self.now_ms)
        if mirror:
            self._give_way(row, "unregistered")
        entry = self._find(row.uri, row.origin, row.key)
        first = "registered" if row.is_published and row.event != "created" else "created"
        if entry is None or entry.ended:
            new = replace(row, event=first, contact_id=self._new_id(row.uri, row.key))
            self.entries.append(Entry(None, new, seen=True))
            return "ADDED"
        entry.seen = True
        known = entry.now
        same_call = known.call_id == row.call_id
        kept = replace(row, contact_id=known.contact_id, registered_at=known.registered_at)
        if known.hidden:
            if same_call and row.cseq <= known.cseq:
                return "UNCHANGED"
            entry.now = replace(kept, event=first, registered_at=row.updated_at)
            return "ADDED"
        if same_call and row.cseq < known.cseq:
            return "STALE"
        texts = ("uri", "call_id", "params", "origin", "cseq", "q")
        says_the_same = all(getattr(known, name) == getattr(row, name) for name in texts)
        if says_the_same and abs(known.expires_at - row.expires_at) <= 2000:
            return "UNCHANGED"
        if entry.before is None:
            event = known.event
        else:
            event = "shortened" if row.event == "shortened" else "refreshed"
        entry.now = replace(kept, event=event)
        return "REFRESHED"

    def unlearn(self, row: Row, mirror: bool) -> str:
        self.expire(self.now_ms)
        removed = mirror and self._give_way(row, row.event)
        entry = self._find(row.uri, row.origin, row.key)
        if entry is None or entry.ended:
            return "REMOVED" if removed else "UNCHANGED"
        entry.seen = True
        self._end_in_words_of(entry, row)
        return "REMOVED"

    def _end_in_words_of(self, entry: Entry, row: Row, event: str = "") -> None:
        words: dict[str, Any] = {"call_id": row.call_id, "cseq": row.cseq}
        if (event or row.event) == "probation":
            words["requested"] = row.requested
        self._end_by(entry, event or row.event, **words)

    def _give_way(self, row: Row, event: str) -> bool:
        entry = self._find(row.uri, "", row.key)
        if entry is None or entry.ended:
            return False
        mine = entry.now
        if mine.call_id == row.call_id:
            earlier = mine.cseq < row.cseq
        else:
            earlier = mine.updated_at < row.updated_at
        if earlier:
            self._end_in_words_of(entry, row, event)
        return earlier

    def end_unseen(self, origin: str, event: str) -> int:
        gone = [entry for entry in self._living() if entry.now.origin == origin and not entry.seen]
        for entry in gone:
            self._end(entry, "expired" if entry.now.expires_at < self.now_ms + 1000 else event)
        return len(gone)

    @property
    def count(self) -> int:
        listed = [entry.now for entry in self._visible() if not entry.now.is_published]
        local = {row.contact_id for row in listed if row.is_local}
        peers = {row.contact_id for row in listed if not row.is_local}
        return sum(row.is_local for row in listed) + len(peers - local)

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
        ended = []
        for entry in self.entries:
            if entry.told:
                ended.append(replace(entry.told, revision=revision))
            if entry.ended and not entry.now.hidden:
                ended.append(replace(entry.now, event=entry.ended, revision=revision))
        over = any(entry.ended for entry in self.entries)
        only_refreshes = (
            not ended and not over and all(row.event == "refreshed" for row in living if row.revision == revision)
        )
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
    reg_id: int = 0
    instance: str = ""

    @property
    def key(self) -> tuple[int, str]:
        return key(self.reg_id, self.instance)


def diff(
    before: Sequence[Contact], after: Sequence[Contact]
) -> tuple[list[Contact], list[tuple[Contact, Contact]], list[Contact]]:
    """Return what was added, changed and removed, pairing one to one: same octets first, then equal URIs."""
    pairs: dict[int, int] = {}
    for i, new in enumerate(after):
        for j, old in enumerate(before):
            if j not in pairs.values() and (new.uri, new.origin, new.key) == (old.uri, old.origin, old.key):
                pairs[i] = j
                break
    for i, new in enumerate(after):
        for j, old in enumerate(before):
            if i not in pairs and j not in pairs.values() and new.key == old.key and uris_equal(new.uri, old.uri):
                pairs[i] = j
    added = [new for i, new in enumerate(after) if i not in pairs]
    changed = [(before[pairs[i]], new) for i, new in enumerate(after) if i in pairs and before[pairs[i]] != new]
    removed = [old for j, old in enumerate(before) if j not in pairs.values()]
    return added, changed, removed
