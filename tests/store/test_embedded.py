"""What an embedded store remembers, and for how long its feed goes back."""

import asyncio
import contextlib
import os
import shutil
import threading
from pathlib import Path

import pytest
from rocksdict import WriteBatch

from reginfo.errors import FeedGap, StoreUnavailable
from reginfo.fast import Draft, GruuIndexes
from reginfo.store import batched
from reginfo.store.background import may_return
from reginfo.store.base import Durability
from reginfo.store.batched import BatchedStore
from reginfo.store.disk import Disk
from reginfo.store.embedded import EmbeddedStore
from reginfo.store.keys import GRUU_KEYS, kept_secret
from reginfo.store.levels import open_store
from reginfo.store.synced import SyncedStore
from reginfo.store.table import TableStore
from tests.fast.sip import register
from tests.store.conftest import Opener
from tests.store.samples import NOW_MS, aor, bind, bound, end, ended


async def image(store_folder: Path, target: Path) -> EmbeddedStore:
    """Open what the death of the process would leave behind at this moment."""
    shutil.copytree(store_folder, target)
    return EmbeddedStore(target)


@pytest.mark.parametrize(
    ("durability", "kind"),
    [
        (Durability.MEMORY, TableStore),
        (Durability.BATCHED, BatchedStore),
        (Durability.COMMITTED, EmbeddedStore),
        (Durability.SYNCED, SyncedStore),
    ],
)
async def test_each_durability_has_its_store(durability: Durability, kind: type, tmp_path: Path) -> None:
    store = open_store(durability, tmp_path / "store", NOW_MS)
    assert type(store) is kind
    await store.close()


async def test_everything_is_there_after_a_restart_and_nothing_of_it_is_news(opener: Opener) -> None:
    store = opener()
    changes = [bound(aor(number)) for number in range(3)]
    await store.attach("log", wants_refreshes=False)
    await store.commit(changes, [(b"sub/1", b"told 1")])
    await store.commit([ended(aor(0), changes[0].record)])
    await store.save_cursor("log", 2, b"position")
    await store.save_clock_offset(1234)
    await store.close()

    store = opener()
    assert store.last_seq == 4
    assert await store.load([aor(n) for n in range(3)]) == [None, changes[1].record, changes[2].record]
    assert (len(store), store.contacts, store.clock_offset) == (2, 2, 1234)
    assert await store.get_state(b"sub/1") == b"told 1"
    assert await store.attach("log", wants_refreshes=False) == (2, b"position")
    rest = await store.changes(2, 10)
    assert [(change.seq, change.aor, bool(change.record)) for change in rest] == [
        (3, aor(2), True),
        (4, aor(0), False),
    ]
    assert await store.changes(4, 10) == []
    follow_up = bound(aor(1), changes[1].record)
    assert await store.commit([follow_up]) == []
    assert follow_up.seq == 5
    await store.close()


async def test_a_contact_that_expired_while_down_comes_out_of_due(opener: Opener) -> None:
    """REG-17."""
    store = opener()
    await store.commit([bound(aor(1), expires_at=NOW_MS + 1000), bound(aor(2))])
    await store.close()
    store = opener(wall_ms=NOW_MS + 60_000)
    assert len(store) == 2
    assert await store.due(NOW_MS + 60_000, 10) == [aor(1)]
    await store.close()


async def test_an_uncommitted_chain_is_read_back_record_by_record(opener: Opener) -> None:
    store = opener()
    draft = Draft(aor(1), None, NOW_MS)
    chain = [bind(draft), end(draft), bind(draft, 2)]
    await store.commit(chain)
    await store.close()
    store = opener()
    again = await store.changes(0, 10)
    assert [(change.base_revision, change.revision) for change in again] == [
        (change.base_revision, change.revision) for change in chain
    ]
    assert [change.record for change in again] == [change.record for change in chain]
    await store.close()


async def test_committed_is_with_the_system_when_commit_returns(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store")
    change = bound(aor(1))
    await store.commit([change], [(b"key", b"value")])
    crashed = await image(tmp_path / "store", tmp_path / "image")
    assert await crashed.load([aor(1)]) == [change.record]
    assert await crashed.get_state(b"key") == b"value"
    await crashed.close()
    await store.close()


async def test_batched_writes_when_the_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = BatchedStore(tmp_path / "store")
    await store.commit([bound(aor(1))], [(b"key", b"value")])
    crashed = await image(tmp_path / "store", tmp_path / "before")
    assert (len(crashed), await crashed.get_state(b"key")) == (0, None)
    await crashed.close()
    await store.close()

    monkeypatch.setattr(batched, "BATCH_WAIT_S", 0)
    store = BatchedStore(tmp_path / "store")
    await store.commit([bound(aor(2))], [(b"key", b"other")])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    crashed = await image(tmp_path / "store", tmp_path / "after")
    assert (len(crashed), await crashed.get_state(b"key")) == (2, b"other")
    await crashed.close()
    await store.close()


@pytest.mark.parametrize(("last", "written"), [(1, 0), (2, batched.BATCH_CHANGES + 1)])
async def test_batched_does_not_gather_more_than_its_limit(tmp_path: Path, last: int, written: int) -> None:
    store = BatchedStore(tmp_path / "store")
    changes = [bound(aor(number)) for number in range(batched.BATCH_CHANGES - 1 + last)]
    await store.commit(changes[:-last])
    await store.commit(changes[-last:])
    crashed = await image(tmp_path / "store", tmp_path / "image")
    assert len(crashed) == written
    await crashed.close()
    await store.close()


async def test_batched_writes_when_it_is_synced(tmp_path: Path) -> None:
    store = BatchedStore(tmp_path / "store")
    await store.commit([bound(aor(1))], [(b"key", b"value")])
    await store.sync()
    crashed = await image(tmp_path / "store", tmp_path / "image")
    assert (len(crashed), await crashed.get_state(b"key")) == (1, b"value")
    await crashed.close()
    await store.close()


async def test_a_sync_is_for_the_disk_and_outlasts_its_caller(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opener()
    await store.commit([bound(aor(1))])
    steps: list[str] = []
    may_end = threading.Event()
    sync, close = store._disk.sync, store._disk.close

    def slow() -> None:
        may_end.wait()
        sync()
        steps.append("sync")

    def last() -> None:
        steps.append("close")
        close()

    monkeypatch.setattr(store._disk, "sync", slow)
    monkeypatch.setattr(store._disk, "close", last)
    caller = asyncio.create_task(store.sync())
    await asyncio.sleep(0)
    caller.cancel()
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    may_end.set()
    await closing
    assert steps == ["sync", "close"]


async def test_batched_never_saves_a_cursor_ahead_of_the_changes(tmp_path: Path) -> None:
    store = BatchedStore(tmp_path / "store")
    await store.commit([bound(aor(1))])
    await store.save_cursor("log", 1)
    crashed = await image(tmp_path / "store", tmp_path / "image")
    assert (crashed.last_seq, await crashed.cursor("log")) == (1, (1, b""))
    await crashed.close()
    await store.close()


async def test_synced_shows_a_change_only_after_the_disk_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SyncedStore(tmp_path / "store")
    syncs: list[int] = []
    sync = store._disk.sync

    def counted() -> None:
        syncs.append(store.last_seq)
        sync()

    monkeypatch.setattr(store._disk, "sync", counted)
    calls = [asyncio.create_task(store.commit([bound(aor(number))])) for number in range(20)]
    await asyncio.sleep(0)
    assert (store.last_seq, await store.load([aor(1)]), await store.changes(0, 10)) == (0, [None], [])
    assert await store.commit([bound(aor(0), cseq=2)]) == [0]
    assert await asyncio.gather(*calls) == [[]] * 20
    assert store.last_seq == 20
    assert syncs[0] == 0
    assert len(syncs) <= 2
    await store.close()


async def test_synced_accepts_a_change_on_top_of_one_that_waits(tmp_path: Path) -> None:
    store = SyncedStore(tmp_path / "store")
    draft = Draft(aor(1), None, NOW_MS)
    chain = [bind(draft), end(draft), bind(draft, 2)]
    assert await asyncio.gather(*(store.commit([change]) for change in chain)) == [[], [], []]
    assert await store.load([aor(1)]) == [chain[2].record]
    assert await store.commit([bind(draft, 3)]) == []
    await store.close()


async def test_a_cancelled_caller_does_not_take_back_what_was_written(tmp_path: Path) -> None:
    store = SyncedStore(tmp_path / "store")
    first = asyncio.create_task(store.commit([bound(aor(1))]))
    second = asyncio.create_task(store.commit([bound(aor(2))]))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == []
    assert (first.cancelled(), len(store)) == (True, 2)
    await store.close()


async def test_a_refresh_is_in_the_row_but_not_in_the_journal_unless_wanted(opener: Opener) -> None:
    store = opener()
    await store.attach("log", wants_refreshes=False)
    first = bound(aor(1))
    refresh = bound(aor(1), first.record, 2)
    assert refresh.only_refreshes
    await store.commit([first])
    await store.commit([refresh])
    assert [change.seq for change in await store.changes(0, 10)] == [1, 2]
    await store.close()

    store = opener()
    assert await store.load([aor(1)]) == [refresh.record]
    assert [change.seq for change in await store.changes(0, 10)] == [1]
    with pytest.raises(FeedGap):
        await store.changes(0, 10, refreshes=True)
    assert await store.attach("mirror", wants_refreshes=True) is None
    later = bound(aor(1), refresh.record, 3)
    await store.commit([later])
    await store.close()

    store = opener()
    await store.attach("mirror", wants_refreshes=True)
    assert [change.seq for change in await store.changes(2, 10, refreshes=True)] == [3]
    assert [change.record for change in await store.changes(0, 10)] == [first.record, later.record]
    await store.close()


async def test_refreshes_that_nobody_wanted_are_a_gap_for_who_wants_them_later(opener: Opener) -> None:
    store = opener()
    await store.attach("mirror", wants_refreshes=True)
    first = bound(aor(1))
    await store.commit([first])
    await store.save_cursor("mirror", 1)
    await store.close()

    store = opener()
    await store.commit([bound(aor(1), first.record, 2)])
    await store.close()

    store = opener()
    assert await store.attach("mirror", wants_refreshes=True) == (1, b"")
    with pytest.raises(FeedGap):
        await store.changes(1, 10, refreshes=True)
    assert await store.changes(2, 10, refreshes=True) == []
    await store.close()


async def test_a_consumer_that_fell_behind_the_ring_reads_the_journal_and_then_the_ring(opener: Opener) -> None:
    store = opener(ring=4)
    await store.attach("slow", wants_refreshes=False)
    record = None
    for cseq in range(1, 4):
        change = bound(aor(0), record, cseq)
        record = change.record
        await store.commit([change])
    await store.commit([bound(aor(number)) for number in range(1, 8)])
    # 2 and 3 only refresh, 7 to 10 are in the ring
    assert [change.seq for change in await store.changes(0, 100)] == [1, 4, 5, 6, 7, 8, 9, 10]
    assert [change.seq for change in await store.changes(0, 3)] == [1, 4, 5]
    assert [change.seq for change in await store.changes(1, 5)] == [4, 5, 6, 7, 8]
    await store.close()


async def test_the_journal_is_cut_behind_the_slowest_consumer(opener: Opener) -> None:
    store = opener(ring=1, journal=100, journal_step=4)
    await store.attach("fast", wants_refreshes=False)
    await store.attach("slow", wants_refreshes=False)
    await store.commit([bound(aor(number)) for number in range(10)])
    await store.save_cursor("fast", 10)
    await store.commit([bound(aor(10))])
    assert len(await store.changes(0, 100)) == 11
    await store.save_cursor("slow", 6)
    await store.commit([bound(aor(11))])
    await store.save_cursor("fast", 12)
    with pytest.raises(FeedGap) as gap:
        await store.changes(0, 100)
    assert gap.value.oldest == 5
    assert len(await store.changes(6, 100)) == 6
    await store.close()

    store = opener(ring=1, journal=100, journal_step=4)
    assert len(await store.changes(4, 100)) == 8
    with pytest.raises(FeedGap):
        await store.changes(3, 100)
    await store.close()


async def test_a_consumer_beyond_the_bound_of_the_journal_is_told_the_gap(opener: Opener) -> None:
    store = opener(ring=2, journal=8, journal_step=2)
    await store.attach("dead", wants_refreshes=False)
    await store.commit([bound(aor(number)) for number in range(8)])
    assert len(await store.changes(0, 100)) == 8
    await store.commit([bound(aor(8))])
    await store.save_cursor("alive", 9)
    with pytest.raises(FeedGap) as gap:
        await store.changes(0, 100)
    assert gap.value.oldest == 3
    assert [change.seq for change in await store.changes(gap.value.oldest - 1, 100)] == list(range(3, 10))
    await store.close()


async def test_a_closed_store_refuses_changes(opener: Opener) -> None:
    store = opener()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.commit([bound(aor(1))])
    with pytest.raises(StoreUnavailable):
        await store.sync()


async def test_the_index_of_a_temporary_gruu_is_found_after_a_restart(tmp_path: Path) -> None:
    """GRU-4: the keys are kept, and the index comes with its row and goes with it."""
    store = EmbeddedStore(tmp_path)
    keys = await kept_secret(store, GRUU_KEYS, 80)
    draft = Draft("sip:alice@example.org", None, 1000)
    draft.bind(register('<sip:a@192.0.2.1>;+sip.instance="<urn:x:1>"'), 0, 60, 60, "", 1000, gruus=GruuIndexes())
    change = draft.finish("register")
    assert change is not None
    await store.commit([change])
    await store.close()
    store = EmbeddedStore(tmp_path)
    assert await kept_secret(store, GRUU_KEYS, 80) == keys
    assert (store.find_gruu(100_000), store.find_gruu(100_001)) == ("sip:alice@example.org", None)
    [record] = await store.load(["sip:alice@example.org"])
    draft = Draft("sip:alice@example.org", record, 2000)
    draft.remove(None, "rejected")
    ended = draft.finish("operator")
    assert ended is not None
    await store.commit([ended])
    assert store.find_gruu(100_000) is None
    await store.close()


NONE, SMALL, EQUAL = (os.SCHED_IDLE, 0), (os.SCHED_OTHER, 10), (os.SCHED_OTHER, 0)


NICENESS = 5
niceness_of = os.getpriority


def turns() -> set[tuple[int, int]]:
    """Return policy and niceness of the threads of databases."""
    seen = set()
    for name in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # threads end
            if name.read_bytes().startswith(b"rocksdb:"):
                thread = int(name.parent.name)
                seen.add((os.sched_getscheduler(thread), niceness_of(os.PRIO_PROCESS, thread)))
    return seen


def write(disk: Disk) -> None:
    for _ in range(64):
        batch = WriteBatch(raw_mode=True)
        batch.put(b"rk", b"v")
        disk.write(batch)


@pytest.mark.skipif(not may_return(), reason="threads of this user cannot leave SCHED_IDLE")
@pytest.mark.parametrize(
    ("late", "share"),
    [("_SOME_BUFFERS", SMALL), ("_SOME_FILES", SMALL), ("_BEHIND_BUFFERS", EQUAL), ("_BEHIND_FILES", EQUAL)],
)
def test_flushes_and_merges_wait_for_an_idle_processor_unless_they_are_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: str, share: tuple[int, int]
) -> None:
    """They are nobody's answer; but on a processor that is never idle, all would wait for them in the end."""
    disk = Disk(tmp_path / "database", create=True)
    assert turns() == {NONE}
    with monkeypatch.context() as patch:
        patch.setattr(f"reginfo.store.disk.{late}", 0)
        write(disk)
        assert turns() == {share}
    write(disk)
    assert turns() == {NONE}
    disk.close()
    assert turns() <= {EQUAL}


@pytest.mark.skipif(not may_return(), reason="threads of this user cannot leave SCHED_IDLE")
def test_a_database_that_is_behind_is_not_made_to_wait_by_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The threads are those of the process."""
    behind = Disk(tmp_path / "behind", create=True)
    with monkeypatch.context() as patch:
        patch.setattr("reginfo.store.disk._BEHIND_BUFFERS", 0)
        write(behind)
    other = Disk(tmp_path / "other", create=True)
    assert turns() == {EQUAL}
    behind.close()
    assert turns() == {NONE}
    other.close()
    assert turns() <= {EQUAL}


@pytest.mark.skipif(not may_return(), reason="threads of this user cannot leave SCHED_IDLE")
def test_a_share_is_counted_from_the_niceness_of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that are less nice than the event loop would have more of the processor than it."""
    monkeypatch.setattr("reginfo.store.background.os.getpriority", lambda kind, who: NICENESS)
    disk = Disk(tmp_path / "database", create=True)
    with monkeypatch.context() as patch:
        patch.setattr("reginfo.store.disk._SOME_BUFFERS", 0)
        write(disk)
        assert turns() == {(os.SCHED_OTHER, NICENESS + 10)}
    disk.close()
    assert turns() <= {(os.SCHED_OTHER, NICENESS)}
    monkeypatch.undo()
    other = Disk(tmp_path / "other", create=True)
    other.close()
    assert turns() <= {EQUAL}


def test_who_may_not_return_from_idle_does_not_go_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reginfo.store.background.may_return", lambda: False)
    disk = Disk(tmp_path / "database", create=True)
    write(disk)
    assert turns() == {EQUAL}
    disk.close()
