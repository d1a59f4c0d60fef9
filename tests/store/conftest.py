"""Stores of every durability level, to be closed and opened again."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from reginfo.store.base import Store
from reginfo.store.batched import BatchedStore
from reginfo.store.embedded import EmbeddedStore
from reginfo.store.synced import SyncedStore
from reginfo.store.table import TableStore

EMBEDDED = {"batched": BatchedStore, "committed": EmbeddedStore, "synced": SyncedStore}

Opener = Callable[..., EmbeddedStore]


@pytest.fixture(params=["memory", *EMBEDDED])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store of each durability level."""
    kind = EMBEDDED.get(request.param)
    store: Store = TableStore() if kind is None else kind(tmp_path / "store")
    yield store
    await store.close()


@pytest.fixture(params=EMBEDDED)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens the same folder with one durability level, as often as asked."""

    def open_again(**limits: int) -> EmbeddedStore:
        return EMBEDDED[request.param](tmp_path / "store", **limits)

    return open_again
