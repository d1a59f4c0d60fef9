"""A disk that is full or fails: nothing untrue is acknowledged, and it goes on alone (F3)."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rocksdict import WriteBatch

from reginfo.errors import StoreUnavailable
from reginfo.store.batched import BatchedStore
from reginfo.store.embedded import EmbeddedStore
from reginfo.store.synced import SyncedStore
from tests.store.conftest import EMBEDDED, Opener
from tests.store.samples import aor, bound, ended

ROOT = Path(__file__).resolve().parents[2]


def fails_once(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch, *, lands: bool) -> None:
    """Let the next write of a store fail, before or after it reached the log."""
    write = store._disk.write

    def failing(batch: WriteBatch) -> None:
        monkeypatch.setattr(store._disk, "write", write)
        if lands:
            write(batch)
        raise StoreUnavailable("told to fail", retry_after=1)

    monkeypatch.setattr(store._disk, "write", failing)


async def recovered(store: EmbeddedStore) -> None:
    assert store._recovery is not None
    await store._recovery


@pytest.mark.parametrize("kind", EMBEDDED)
def test_a_full_disk_refuses_changes_answers_the_rest_and_goes_on_alone(kind: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.store.full_disk", str(tmp_path / "store"), kind]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert child.returncode == 0, child.stderr
    assert int(child.stdout) > 100


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "reginfo-test", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip(f"cannot mount a small file system: {mount.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


async def test_the_store_recovers_when_a_full_file_system_has_room_again(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(4 << 20))
    store = EmbeddedStore(small_disk / "store", retry_s=0.01)
    kept = 0

    async def fill() -> None:
        nonlocal kept
        while True:
            await store.commit([bound(aor(kept + number)) for number in range(100)])
            kept += 100

    with pytest.raises(StoreUnavailable):
        await fill()
    assert kept > 1000
    assert len(store) == store.last_seq == kept
    ballast.unlink()
    await recovered(store)
    assert await store.commit([bound(aor(999_999))]) == []
    await store.close()
    store = EmbeddedStore(small_disk / "store")
    assert len(store) == store.last_seq == kept + 1
    await store.close()


async def refuses(store: EmbeddedStore) -> None:
    """Try what must not come true."""
    (record,) = await store.load([aor(0)])
    with pytest.raises(StoreUnavailable):
        await store.commit([ended(aor(0), record), bound(aor(1))], [(b"old", None), (b"new", b"refused")])


@pytest.mark.parametrize("lands", [False, True])
@pytest.mark.parametrize("kind", [EmbeddedStore, SyncedStore])
async def test_a_refused_batch_that_reached_the_log_after_all_is_undone(
    kind: type[EmbeddedStore], lands: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = kind(tmp_path / "store")
    first = bound(aor(0))
    await store.commit([first], [(b"old", b"kept")])
    fails_once(store, monkeypatch, lands=lands)
    await refuses(store)
    await recovered(store)
    other = bound(aor(2))
    assert await store.commit([other]) == []
    assert other.seq == 2
    await store.close()

    store = kind(tmp_path / "store")
    assert await store.load([aor(0), aor(1), aor(2)]) == [first.record, None, other.record]
    assert await store.scan_state(b"") == [(b"old", b"kept")]
    assert [(change.seq, change.aor) for change in await store.changes(0, 10)] == [(1, aor(0)), (2, aor(2))]
    await store.close()


async def test_calls_whose_fsync_fails_are_all_refused_and_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SyncedStore(tmp_path / "store")
    await store.commit([bound(aor(0))])
    sync = store._disk.sync

    def failing() -> None:
        monkeypatch.setattr(store._disk, "sync", sync)
        raise StoreUnavailable("told to fail", retry_after=1)

    monkeypatch.setattr(store._disk, "sync", failing)
    calls = [asyncio.create_task(store.commit([bound(aor(number))])) for number in range(1, 4)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable] * 3
    assert (store.last_seq, len(store)) == (1, 1)
    await recovered(store)
    assert await store.commit([bound(aor(1))]) == []
    await store.close()

    store = SyncedStore(tmp_path / "store")
    assert (store.last_seq, len(store)) == (2, 2)
    assert [change.aor for change in await store.changes(0, 10)] == [aor(0), aor(1)]
    await store.close()


async def test_batched_changes_whose_write_failed_are_written_first_on_recovery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BatchedStore(tmp_path / "store")
    await store.commit([bound(aor(1))], [(b"key", b"answered")])
    fails_once(store, monkeypatch, lands=False)
    with pytest.raises(StoreUnavailable):
        await store.save_cursor("log", 1)
    with pytest.raises(StoreUnavailable):
        await store.commit([bound(aor(2))])
    await recovered(store)
    await store.commit([bound(aor(3))])
    await store.close()

    store = BatchedStore(tmp_path / "store")
    assert [change.aor for change in await store.changes(0, 10)] == [aor(1), aor(3)]
    assert len(store) == 2
    assert await store.get_state(b"key") == b"answered"
    await store.close()


async def test_a_store_closes_while_its_disk_fails(
    opener: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = opener()
    await store.commit([bound(aor(0))])
    await store.save_cursor("log", 1)

    def failing() -> None:
        raise StoreUnavailable("told to fail", retry_after=1)

    fails_once(store, monkeypatch, lands=False)
    monkeypatch.setattr(store._disk, "reopen", failing)
    with pytest.raises(StoreUnavailable):
        await store.save_clock_offset(1)
    await store.close()
    assert "told to fail" in caplog.text

    store = opener()
    assert (len(store), store.clock_offset) == (1, 0)
    await store.close()


async def test_a_consumer_beyond_the_ring_waits_until_the_disk_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = EmbeddedStore(tmp_path / "store", ring=1)
    await store.commit([bound(aor(number)) for number in range(3)])
    fails_once(store, monkeypatch, lands=True)
    with pytest.raises(StoreUnavailable):
        await store.commit([bound(aor(3))])
    assert len(await store.changes(2, 10)) == 1
    with pytest.raises(StoreUnavailable):
        await store.changes(0, 10)
    await recovered(store)
    assert [change.seq for change in await store.changes(0, 10)] == [1, 2, 3]
    await store.close()
