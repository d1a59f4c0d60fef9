"""Which store a durability level means."""

from pathlib import Path

from reginfo.store.base import Durability, Store
from reginfo.store.batched import BatchedStore
from reginfo.store.embedded import EmbeddedStore
from reginfo.store.synced import SyncedStore
from reginfo.store.table import TableStore


def open_store(durability: Durability, path: Path, wall_ms: int = 0) -> Store:
    """Return the store of a durability level; path is its folder, unused in memory."""
    match durability:
        case Durability.MEMORY:
            return TableStore(wall_ms)
        case Durability.BATCHED:
            return BatchedStore(path, wall_ms)
        case Durability.COMMITTED:
            return EmbeddedStore(path, wall_ms)
        case Durability.SYNCED:
            return SyncedStore(path, wall_ms)
