"""Consumers taken along the feed: in order, in bounded pieces, whatever the store does."""

from collections.abc import Iterable, Sequence
from types import SimpleNamespace

import pytest

from reginfo.errors import StoreUnavailable
from reginfo.fast import Change, Registration
from reginfo.store.reader import CHANGES_AT_ONCE, PUMP_SECONDS, FeedReader
from reginfo.store.table import TableStore
from tests.store.samples import aor, bound

CHANGES = 3 * CHANGES_AT_ONCE


class Recorder:
    """Remembers what it read; each piece takes a given time."""

    name = "recorder"
    wants_refreshes = False
    passes_over = frozenset({"register"})

    def __init__(self, clock: list[float], seconds: float) -> None:
        self.seqs: list[int] = []
        self.pieces: list[int] = []
        self._clock = clock
        self._seconds = seconds

    def read(self, changes: Sequence[Change]) -> None:
        self.seqs += [change.seq for change in changes]
        self.pieces.append(len(changes))
        self._clock[0] += self._seconds

    def state(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None: ...

    def reset(self, registrations: Iterable[Registration]) -> None: ...


async def reader_of(monkeypatch: pytest.MonkeyPatch, seconds: float) -> tuple[TableStore, Recorder, FeedReader]:
    """Return a store with changes, and a reader whose consumer takes that long for a piece of them."""
    clock = [0.0]
    monkeypatch.setattr("reginfo.store.reader.time", SimpleNamespace(monotonic=lambda: clock[0]))
    store, recorder = TableStore(), Recorder(clock, seconds)
    reader = FeedReader(store, recorder)
    await reader.attach()
    await store.commit([bound(aor(number)) for number in range(CHANGES)])
    return store, recorder, reader


async def test_a_slow_consumer_gives_the_loop_back_after_each_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog is read in pieces of bounded time, in order and without a gap."""

    _, recorder, reader = await reader_of(monkeypatch, PUMP_SECONDS)
    for pieces in range(1, 4):
        await reader.pump()
        assert len(recorder.seqs) == pieces * CHANGES_AT_ONCE
    assert recorder.seqs == list(range(1, CHANGES + 1))
    assert reader.lag == 0


async def test_what_is_passed_over_makes_no_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    store, recorder, reader = await reader_of(monkeypatch, 0.0)
    await reader.pump()
    records = [await store.load([aor(number)]) for number in range(CHANGES)]
    await store.commit([bound(aor(number), record, 2) for number, [record] in enumerate(records)])
    await store.commit([bound(aor(CHANGES))])
    recorder.pieces.clear()
    await reader.pump()
    assert recorder.pieces == [CHANGES + 1]


async def test_the_further_behind_the_longer_a_consumer_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed faster than that is read does not outrun it for ever; at last there is a bound."""
    monkeypatch.setattr("reginfo.store.reader.LAG_STEP", CHANGES)
    _, recorder, reader = await reader_of(monkeypatch, PUMP_SECONDS)
    await reader.pump()
    assert len(recorder.seqs) == 2 * CHANGES_AT_ONCE  # one step behind: there was time for two pieces
    monkeypatch.setattr("reginfo.store.reader.LAG_STEP", CHANGES_AT_ONCE)
    monkeypatch.setattr("reginfo.store.reader.MOST_PUMP_SECONDS", 2 * PUMP_SECONDS)
    _, recorder, reader = await reader_of(monkeypatch, PUMP_SECONDS)
    await reader.pump()
    assert len(recorder.seqs) == 2 * CHANGES_AT_ONCE


async def test_a_quick_consumer_reads_everything_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _, recorder, reader = await reader_of(monkeypatch, 0.0)
    await reader.pump()
    assert recorder.seqs == list(range(1, CHANGES + 1))


async def test_a_store_that_cannot_be_read_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """F3: while the disk fails a consumer behind the ring waits; nothing is lost."""

    store, recorder, reader = await reader_of(monkeypatch, 0.0)
    changes = store.changes

    async def unavailable(*_: object, **__: object) -> list[Change]:
        raise StoreUnavailable("the disk is failing", retry_after=1)

    monkeypatch.setattr(store, "changes", unavailable)
    await reader.pump()
    assert (recorder.seqs, reader.lag) == ([], CHANGES)
    monkeypatch.setattr(store, "changes", changes)
    await reader.pump()
    assert recorder.seqs == list(range(1, CHANGES + 1))
