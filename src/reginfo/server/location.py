"""The location service as operators and embedding programs see it: look-ups, and changes in the order of all others."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from reginfo.fast import Binding, Draft, Registration, canonical_aor
from reginfo.model import ContactEvent
from reginfo.sip.gruu import Gruus, is_instance
from reginfo.sip.routing import ContactTarget, target_of
from reginfo.store.base import Store

CALL_ID: Final = "operator"  # of bindings that no REGISTER made
CAUSE: Final = "operator"


class LocationService:
    """The location service of one server; every change is told as what it is (RFC 3680 section 5.2)."""

    def __init__(
        self,
        store: Store,
        command: Callable[[str, Callable[[Draft, int], int], str], Awaitable[int]],
        gruus: Gruus,
        home: Callable[[str], str],
    ) -> None:
        """command(aor, apply, cause) puts a change in line and returns its count once it is durable.

        home(aor) is the AoR that has the contacts of a canonical one.
        """
        self._home = home
        self._store = store
        self._gruus = gruus
        self._command = command

    async def lookup(self, aor: str) -> Registration | None:
        """Return the committed registration of an AoR; raises SipParseError for what is none."""
        [record] = await self._store.load([self._home(canonical_aor(aor))])
        return None if record is None else Registration(record)

    async def targets(self, uri: str) -> list[ContactTarget] | None:
        """Return what leads to each contact of an AoR, the preferred one first (RFC 3261 section 16.6).

        Of a GRUU it is what leads to the instance, the contact registered last first; None if the GRUU is not good,
        which deserves a 404 where nobody there deserves a 480 (GRU-6).
        """
        gruu = self._gruus.read(uri)
        if gruu is None:
            found = await self._bindings(uri)
            return [
                target_of(one) for one in sorted(found, key=lambda one: 1.0 if one.q is None else one.q, reverse=True)
            ]
        if gruu.index is not None:
            owner = self._gruus.owner(gruu.index)
            found = [] if owner is None else await self._bindings(owner)
            found = [one for one in found if one.gruu is not None and one.gruu[0] == gruu.index]
            if not found:
                return None
        elif gruu.may_be_public:
            found = [one for one in await self._bindings(uri) if is_instance(one.instance, gruu.instance)]
        else:
            return None
        return [target_of(one) for one in sorted(found, key=lambda one: one.updated_at, reverse=True)]

    async def _bindings(self, aor: str) -> list[Binding]:
        registration = await self.lookup(aor)
        return [] if registration is None else [one for one in registration.bindings if not one.hidden]

    async def page(self, cursor: int, n: int) -> tuple[int, list[Registration]]:
        """Return the next cursor (0 at the end) and about n registrations; begin with 0."""
        cursor, records = await self._store.page(cursor, n)
        return cursor, [Registration(record) for record in records]

    async def create(self, aor: str, contact_uri: str, expires: int, q: float | None = None, path: str = "") -> int:
        """Bind a contact for expires seconds (created); 1 if it is new, 0 if it was replaced."""

        def add(draft: Draft, now_ms: int) -> int:
            return draft.add(
                Binding(
                    uri=contact_uri,
                    q=q,
                    path=path,
                    call_id=CALL_ID,
                    registered_at=now_ms,
                    expires_at=now_ms + expires * 1000,
                )
            )

        return await self._command(self._home(canonical_aor(aor)), add, CAUSE)

    async def bind(self, bindings: Sequence[tuple[str, Binding]]) -> list[bool | Exception]:
        """Bind contacts that another location service had, all in one commit, each `created` unless it replaces one.

        Return for each whether it is new, or what kept it from being bound: ValueError, StoreUnavailable.
        """

        def adding(binding: Binding) -> Callable[[Draft, int], int]:
            return lambda draft, now_ms: draft.add(binding)

        commands = [self._command(self._home(aor), adding(binding), CAUSE) for aor, binding in bindings]
        results: list[bool | Exception] = []
        for result in await asyncio.gather(*commands, return_exceptions=True):
            if isinstance(result, Exception):
                results.append(result)
            elif isinstance(result, BaseException):
                raise result
            else:
                results.append(bool(result))
        return results

    async def end(self, aor: str, contact: str | None, event: ContactEvent, retry_after: int = 0) -> int:
        """End a contact, by URI or contact id, or all of an AoR; return how many there were.

        The event tells its phone what to do: register again now (deactivated), after retry_after seconds (probation)
        or never (rejected).
        """
        return await self._command(
            self._home(canonical_aor(aor)), lambda draft, now_ms: draft.remove(contact, event, retry_after), CAUSE
        )

    async def shorten(self, aor: str, contact: str | None, expires: int) -> int:
        """Let a contact, or all of an AoR, end within so many seconds (shortened); return how many lasted longer."""
        return await self._command(
            self._home(canonical_aor(aor)), lambda draft, now_ms: draft.shorten(contact, expires), CAUSE
        )
