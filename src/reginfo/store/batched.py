"""The embedded store whose changes are answered before they are written (durability "batched")."""

import asyncio
import contextlib
from collections.abc import Sequence

from reginfo.errors import StoreUnavailable
from reginfo.fast import Change
from reginfo.model import StateItem
from reginfo.store.embedded import EmbeddedStore

BATCH_WAIT_S = 0.1
"Longest time an answered change of a batched store is in memory only."

BATCH_CHANGES = 2048
"Changes a batched store keeps unwritten at most: some 10 ms of work."


class BatchedStore(EmbeddedStore):
    """Changes are visible at once and written together a little later (batched)."""

    _timer: asyncio.TimerHandle | None = None

    async def _keep(self, changes: Sequence[Change], state: Sequence[StateItem]) -> None:
        waiting = self.last_seq - self._written + len(changes)
        if waiting > min(BATCH_CHANGES, self._ring.size):
            self._flush()
            self._check_disk()
            await super()._keep(changes, state)
            return
        self._apply(changes, state)
        self._ahead.clear()
        self._stale_state.update(key for key, _ in state)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH_WAIT_S, self._flush)

    def _flush(self) -> None:
        """Write what is in memory only; if that fails it stays there, and recovery writes it."""
        self._stop_timer()
        if self._recovery is not None:
            return
        pending = self._ring.after(self._written, self.last_seq) or []
        state = [(key, self._state.get(key)) for key in self._stale_state]
        if pending or state:
            with contextlib.suppress(StoreUnavailable):
                self._write(pending, state)
                self._stale_state.clear()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _put_now(self, key: bytes, value: bytes) -> None:
        self._flush()
        super()._put_now(key, value)

    async def sync(self) -> None:
        self._flush()
        await super().sync()

    async def _settle(self) -> None:
        self._stop_timer()
        await super()._settle()

    async def close(self) -> None:
        self._flush()
        await super().close()
