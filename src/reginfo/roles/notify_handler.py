"""What another server says in a NOTIFY, written into the location service under its origin (RIC-5 to RIC-10, KAM-2)."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from reginfo.fast import (
    Draft,
    Reginfo,
    ReginfoDelta,
    ReginfoRegistration,
    SipParseError,
    canonical_aor,
    learn_registration,
)
from reginfo.model import ACCEPTED, Command, ContactEvent

CAUSE: Final = "notify"

NOT_APPLIED: Final = -1
ONLINE: Final = 1
OFFLINE: Final = 2
"Results under the predecessor's numbers: applied, with at least one contact bound now, or with none."


class _Handling:
    """The commands that one document came to."""

    def __init__(self, open: int, done: Callable[[int], None]) -> None:
        self._open = open
        self._done = done
        self._failed = False
        self._online = False

    def take(self, command: Command) -> None:
        """Take note of a command that is committed, or was given up."""
        self._open -= 1
        self._failed |= command.error is not None or command.outcome is not ACCEPTED
        self._online |= command.result > 0
        if not self._open:
            self._done(NOT_APPLIED if self._failed else ONLINE if self._online else OFFLINE)


class NotifyHandler:
    """Turns documents into changes of rows that belong to who said it; no other row is touched but in mirror mode."""

    def __init__(self, command: Callable[[Command], None]) -> None:
        """command() puts a change in line."""
        self._command = command

    def handle(
        self,
        document: Reginfo,
        delta: ReginfoDelta,
        origin: str,
        speaks_for: Callable[[str], bool],
        *,
        mirror: bool,
        until_ms: int,
        muted: bool,
        done: Callable[[int], None],
    ) -> None:
        """Apply a document; done hears ONLINE, OFFLINE or NOT_APPLIED once all of it is committed.

        delta is what it means to the tables of its subscription: what a full document does not name any more ends.
        AoRs that origin may not speak for are passed over (RIC-10).
        """
        full = document.state == "full"
        changes: list[tuple[str, Callable[[Draft, int], int]]] = []
        said, named = set(), set()  # as they are written, and canonical
        for registration in document.registrations:
            said.add(registration.aor)
            aor = _aor_of(registration.aor, speaks_for)
            if aor is not None:
                named.add(aor)
                changes.append((aor, partial(_learn, registration, origin, full, until_ms, mirror)))
        for gone in delta.registrations if full else ():
            if gone.aor in said:
                continue
            aor = _aor_of(gone.aor, speaks_for)
            if aor is not None and aor not in named:
                changes.append((aor, partial(_end, origin, ContactEvent.UNREGISTERED)))
        if not changes:
            done(OFFLINE)
            return
        handling = _Handling(len(changes), done)
        for aor, apply in changes:
            self._command(Command(aor, apply, CAUSE, handling.take, origin=origin, muted=muted))

    def end(self, aors: Iterable[str], origin: str) -> None:
        """End everything an origin has said of some AoRs: nothing was heard of it for too long (RIC-9)."""
        for aor in aors:
            self._command(Command(aor, partial(_end, origin, ContactEvent.EXPIRED), CAUSE, origin=origin))


def _aor_of(uri: str, speaks_for: Callable[[str], bool]) -> str | None:
    try:
        aor = canonical_aor(uri)
    except SipParseError:
        return None
    return aor if speaks_for(aor) else None


def _learn(
    said: ReginfoRegistration, origin: str, full: bool, until_ms: int, mirror: bool, draft: Draft, now_ms: int
) -> int:
    learn_registration(draft, said, origin, full=full, until_ms=until_ms, now_ms=now_ms, mirror=mirror)
    return draft.count


def _end(origin: str, event: ContactEvent, draft: Draft, now_ms: int) -> int:
    draft.end_unseen(origin, event)
    return draft.count
