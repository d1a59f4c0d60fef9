"""Death at any moment: what was acknowledged is there, in order, and nothing is half there (F1, F2)."""

import asyncio
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from reginfo.errors import FeedGap
from reginfo.fast import Change, record_revision
from reginfo.store.embedded import EmbeddedStore
from reginfo.store.folder import DATABASE
from tests.store.conftest import EMBEDDED
from tests.store.samples import aor, bound, ended

ROOT = Path(__file__).resolve().parents[2]


def write_until_killed(folder: Path, kind: str, seed: int, lines: int) -> list[str]:
    """Run a writer, kill it after it has acknowledged so many calls, and return what it acknowledged."""
    command = [sys.executable, "-m", "tests.store.writer", str(folder), kind, str(seed)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        heard = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        heard += child.stdout.readlines()
    assert heard[0] == b"ready\n"
    return [line.decode() for line in heard[1:] if line.endswith(b"\n")]


async def check_consistent(store: EmbeddedStore) -> None:
    """Rows and journal tell the same story, without a hole."""
    first = store._extent.first
    changes = await store.changes(first - 1, 1 << 20)
    seqs = [change.seq for change in changes]
    assert seqs == sorted(set(seqs))
    assert not seqs or seqs[-1] <= store.last_seq
    after = {change.aor: change for change in changes}
    for name, change in after.items():
        (record,) = await store.load([name])
        if change.record:
            assert record is not None
            assert record_revision(record) >= change.revision
        else:
            # A new contact is journalled: after this change only refreshes could be missing.
            assert record is None


@pytest.mark.parametrize("kind", ["committed", "synced"])
async def test_every_acknowledged_call_survives_kill_9(kind: str, tmp_path: Path) -> None:
    """F1: acknowledged is a subset of recovered, in the same order, over several lives of one folder."""
    chance = random.Random(kind)
    folder = tmp_path / "store"
    known: dict[str, int] = {}
    last = 0
    for life in range(6):
        for line in write_until_killed(folder, kind, life, chance.randint(1, 150)):
            reached, *words = line.split()
            last = max(last, int(reached))
            for word in words:
                name, _, told = word.rpartition("=")
                known[name] = int(told)
        store = EMBEDDED[kind](folder)
        # Calls that were on their way may have arrived without having been acknowledged.
        assert store.last_seq >= last
        unheard = {change.aor for change in await store.changes(last, 1 << 20)}
        for name, revision in known.items():
            (record,) = await store.load([name])
            found = 0 if record is None else record_revision(record)
            if name not in unheard:
                assert found >= revision if revision else found == 0
            known[name] = found
        await check_consistent(store)
        last = store.last_seq
        await store.close()
    assert last > 0


async def test_a_torn_log_loses_a_tail_and_nothing_else(tmp_path: Path) -> None:
    """F2: after a power cut every prefix of the log is a state the store was once in."""
    store = EmbeddedStore(tmp_path / "store")
    records: list[dict[str, bytes]] = [{}]
    for number in range(20):
        changes = [bound(aor(number)), bound(aor(1000 + number))]
        if number % 3 == 2:
            changes.append(ended(aor(number - 1), records[-1][aor(number - 1)]))
        await store.commit(changes, [(b"calls", b"%d" % (number + 1))])
        records.append({**records[-1], **{change.aor: change.record for change in changes}})
    (log,) = (tmp_path / "store" / DATABASE).glob("*.log")
    size = log.stat().st_size
    chance = random.Random(2)
    reached = set()
    for number, cut in enumerate(sorted(chance.sample(range(size // 8, size), 12))):
        target = tmp_path / f"cut{number}"
        shutil.copytree(tmp_path / "store", target)
        (torn,) = (target / DATABASE).glob("*.log")
        octets = torn.read_bytes()
        # The rest is lost, or it is the noise that was in those blocks before.
        torn.write_bytes(octets[:cut] + (chance.randbytes(size - cut) if number % 2 else b""))
        again = EmbeddedStore(target)
        calls = int(await again.get_state(b"calls") or b"0")
        expected = {name: record for name, record in records[calls].items() if record}
        assert dict(zip(expected, await again.load(list(expected)), strict=True)) == expected
        assert len(again) == len(expected)
        assert again.last_seq == sum(3 if number % 3 == 2 else 2 for number in range(calls))
        await check_consistent(again)
        await again.close()
        reached.add(calls)
    assert len(reached) > 4
    await store.close()


class StoreMachine(RuleBasedStateMachine):
    """A store against a dictionary, through crashes and restarts."""

    kind = "committed"

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="reginfo-store-"))
        self.life = 0
        self.records: dict[str, bytes] = {}
        self.state: dict[bytes, bytes] = {}
        self.cursors: dict[str, tuple[int, bytes]] = {}
        self.changes: list[Change] = []
        self.loop = asyncio.new_event_loop()
        self.store = self.open()

    def open(self) -> EmbeddedStore:
        store = EMBEDDED[self.kind](self.folder / str(self.life), ring=8, journal=12, journal_step=3)
        cursor = self.loop.run_until_complete(store.attach("log", wants_refreshes=False))
        self.done = store.last_seq if cursor is None else cursor[0]
        return store

    def teardown(self) -> None:
        self.loop.run_until_complete(self.store.close())
        self.loop.close()
        shutil.rmtree(self.folder)

    @rule(
        steps=st.lists(st.tuples(st.integers(0, 5).map(aor), st.booleans(), st.booleans()), max_size=6),
        key=st.binary(max_size=2),
        value=st.none() | st.binary(max_size=4),
    )
    def commit(self, steps: list[tuple[str, bool, bool]], key: bytes, value: bytes | None) -> None:
        """Each step is an AoR, whether its contacts end, and whether the decision is a stale one."""
        changes: list[Change] = []
        refused: list[int] = []
        records = dict(self.records)
        for name, ends, stale in steps:
            record = records.get(name)
            if stale:
                change = bound(name) if record is not None else bound(name, bound(name).record, 2)
            elif ends and record is not None:
                change = ended(name, record)
            else:
                change = bound(name, record, 1 if record is None else 2)
            changes.append(change)
            lost = stale or any(changes[index].aor == name for index in refused)
            if lost:
                refused.append(len(changes) - 1)
            elif change.record:
                records[name] = change.record
            else:
                records.pop(name, None)
        result = self.loop.run_until_complete(self.store.commit(changes, [(key, value)]))
        assert result == refused
        self.records = records
        self.changes += [change for index, change in enumerate(changes) if index not in refused]
        if value is None:
            self.state.pop(key, None)
        else:
            self.state[key] = value

    @rule(back=st.integers(0, 5), state=st.binary(max_size=4))
    def save(self, back: int, state: bytes) -> None:
        seq = self.done = max(self.done, len(self.changes) - back)
        self.loop.run_until_complete(self.store.save_cursor("log", seq, state))
        self.cursors["log"] = (seq, state)

    @rule()
    def restart(self) -> None:
        self.loop.run_until_complete(self.store.close())
        self.store = self.open()

    @rule()
    def crash(self) -> None:
        """Go on with the files as they are now; only RocksDB's housekeeping has to rest while they are copied."""
        self.store._disk._db.cancel_all_background(True)
        shutil.copytree(self.folder / str(self.life), self.folder / str(self.life + 1))
        self.loop.run_until_complete(self.store.close())
        self.life += 1
        self.store = self.open()

    @invariant()
    def same(self) -> None:
        run = self.loop.run_until_complete
        names = [aor(number) for number in range(6)]
        assert run(self.store.load(names)) == [self.records.get(name) for name in names]
        assert len(self.store) == len(self.records)
        assert run(self.store.scan_state(b"")) == sorted(self.state.items())
        assert run(self.store.cursor("log")) == self.cursors.get("log")
        assert self.store.last_seq == len(self.changes)
        told: list[Change] = []
        gap = None
        try:
            told = run(self.store.changes(self.done, 100))
        except FeedGap as error:
            gap = error
        if gap is not None:
            # Only the bound may cut what the consumer has not read.
            waiting = [change for change in self.changes[self.done :] if not change.only_refreshes]
            assert len(waiting) > 9
            assert gap.oldest > self.done + 1
            return
        seqs = {change.seq for change in told}
        assert [(c.seq, c.aor, c.record) for c in told] == [
            (c.seq, c.aor, c.record) for c in self.changes if c.seq in seqs
        ]
        missing = [change for change in self.changes[self.done :] if change.seq not in seqs]
        assert all(change.only_refreshes for change in missing)


class SyncedMachine(StoreMachine):
    kind = "synced"


TestCommitted = StoreMachine.TestCase
TestSynced = SyncedMachine.TestCase
TestCommitted.settings = TestSynced.settings = settings(max_examples=10, stateful_step_count=15, deadline=None)
