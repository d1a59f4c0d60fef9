"""What it costs to keep a change: calls of 64 changes against 100 thousand rows, per durability level.

The memory store is the floor: what the others cost more is the disk.
"""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from reginfo.fast import Binding, Change, Draft
from reginfo.store.base import Durability, Store
from reginfo.store.embedded import EmbeddedStore
from reginfo.store.levels import open_store

NOW_MS = 1_700_000_000_000
ROWS = 100_000
CALL = 64
AORS = [f"sip:user{number:06}@example.com" for number in range(ROWS)]


def decide(aor: str, record: bytes | None) -> Change:
    """Bind one contact of usual length, or refresh it."""
    draft = Draft(aor, record, NOW_MS)
    draft.add(
        Binding(
            uri="sip:4a7f@192.0.2.1:5060;transport=udp",
            call_id="843817637684230@998sdasdh09",
            cseq=1826,
            expires_at=NOW_MS + 3_600_000,
            requested=3600,
            flow="udp:192.0.2.1:5060",
            user_agent="desk phone 1.0",
        )
    )
    change = draft.finish("register")
    assert change is not None
    return change


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def filled(loop: asyncio.AbstractEventLoop, durability: Durability, folder: Path, refreshes: bool) -> Store:
    store = open_store(durability, folder)
    loop.run_until_complete(store.attach("feed", refreshes))
    for start in range(0, ROWS, 1000):
        loop.run_until_complete(store.commit([decide(aor, None) for aor in AORS[start : start + 1000]]))
    return store


@pytest.mark.benchmark(group="store")
@pytest.mark.parametrize("refreshes", [False, True], ids=["rows", "rows_and_journal"])
@pytest.mark.parametrize("durability", list(Durability))
def test_commit_64_refreshes_of_100k_rows(
    benchmark: BenchmarkFixture,
    loop: asyncio.AbstractEventLoop,
    tmp_path: Path,
    durability: Durability,
    refreshes: bool,
) -> None:
    store = filled(loop, durability, tmp_path / "store", refreshes)
    chance = random.Random(1)

    def call() -> tuple[tuple[list[Change]], dict[str, object]]:
        aors = chance.sample(AORS, CALL)
        records = loop.run_until_complete(store.load(aors))
        loop.run_until_complete(store.save_cursor("feed", store.last_seq))
        return ([decide(aor, record) for aor, record in zip(aors, records, strict=True)],), {}

    def commit(changes: list[Change]) -> list[int]:
        return loop.run_until_complete(store.commit(changes))

    rounds = 50 if durability is Durability.SYNCED else 500
    refused = benchmark.pedantic(commit, setup=call, rounds=rounds)  # type: ignore[no-untyped-call]
    assert refused == []
    assert len(store) == ROWS
    benchmark.extra_info["changes per call"] = CALL
    loop.run_until_complete(store.close())


@pytest.mark.benchmark(group="store")
def test_load_64_of_100k_rows(benchmark: BenchmarkFixture, loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    store = filled(loop, Durability.MEMORY, tmp_path, False)
    aors = random.Random(1).sample(AORS, CALL)
    records = benchmark(lambda: loop.run_until_complete(store.load(aors)))
    assert None not in records
    loop.run_until_complete(store.close())


@pytest.mark.benchmark(group="store-open")
def test_open_100k_rows(benchmark: BenchmarkFixture, loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    loop.run_until_complete(filled(loop, Durability.COMMITTED, folder, False).close())

    def reopen() -> int:
        store = EmbeddedStore(folder)
        rows = len(store)
        loop.run_until_complete(store.close())
        return rows

    assert benchmark.pedantic(reopen, rounds=3) == ROWS  # type: ignore[no-untyped-call]
