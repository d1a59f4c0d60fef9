"""The embedded store whose changes are answered once they are on the disk (durability "synced")."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from reginfo.errors import StoreUnavailable
from reginfo.fast import Change
from reginfo.model import StateItem
from reginfo.store.embedded import EmbeddedStore


@dataclass(slots=True)
class _Group:
    """Calls that wait for the same fsync."""

    done: asyncio.Future[None]
    calls: list[tuple[Sequence[Change], Sequence[StateItem]]] = field(default_factory=list)


class SyncedStore(EmbeddedStore):
    """Changes are visible once the disk has them; calls that wait share one fsync (synced)."""

    _gathering: _Group | None = None
    _syncer: asyncio.Task[None] | None = None

    async def _keep(self, changes: Sequence[Change], state: Sequence[StateItem]) -> None:
        self._write(changes, state)
        loop = asyncio.get_running_loop()
        if self._gathering is None:
            self._gathering = _Group(loop.create_future())
        if self._syncer is None:
            self._syncer = loop.create_task(self._sync())
        self._gathering.calls.append((changes, state))
        # A caller that is cancelled does not take back what others wait for as well.
        await asyncio.shield(self._gathering.done)

    async def _sync(self) -> None:
        """Sync the groups one after another; while one is on its way the next one gathers."""
        loop = asyncio.get_running_loop()
        while (group := self._take()) is not None:
            try:
                await loop.run_in_executor(None, self._disk.sync)
            except StoreUnavailable as error:
                self._give_up(group, error)
                if (late := self._take()) is not None:
                    self._give_up(late, error)
            else:
                for changes, state in group.calls:
                    self._apply(changes, state)
                    self._arrived(changes)
                group.done.set_result(None)
        self._syncer = None

    def _take(self) -> _Group | None:
        group, self._gathering = self._gathering, None
        return group

    def _arrived(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if self._ahead.get(change.aor) == (change.revision if change.record else 0):
                del self._ahead[change.aor]

    def _give_up(self, group: _Group, error: StoreUnavailable) -> None:
        for changes, state in group.calls:
            self._fail(changes, state, error)
        group.done.set_exception(error)
        group.done.exception()  # looked at, also if every caller was cancelled

    async def _settle(self) -> None:
        if self._syncer is not None:
            await self._syncer
        await super()._settle()
