"""The clock held to load and commit."""

from collections.abc import Sequence

import pytest

from reginfo.errors import StoreUnavailable
from reginfo.store.measured import OPERATIONS, RESULTS, MeasuredRecords


class Records:
    """Refuses or fails when told to."""

    def __init__(self) -> None:
        self.refused: list[int] = []
        self.fails = False

    async def load(self, aors: Sequence[str]) -> list[bytes | None]:
        self._fail()
        return [None] * len(aors)

    async def commit(self, changes: object, state: object = ()) -> list[int]:
        self._fail()
        return self.refused

    def _fail(self) -> None:
        if self.fails:
            raise StoreUnavailable("no disk", retry_after=1)


async def test_each_call_is_counted_by_its_result_and_measured() -> None:
    inner = Records()
    records = MeasuredRecords(inner)
    assert await records.load(["sip:alice@example.com"]) == [None]
    assert await records.commit(()) == []
    inner.refused = [0]
    assert await records.commit(()) == [0]
    inner.fails = True
    with pytest.raises(StoreUnavailable):
        await records.load(())
    with pytest.raises(StoreUnavailable):
        await records.commit(())
    assert records.calls == {
        ("load", "ok"): 1,
        ("load", "conflict"): 0,
        ("load", "failed"): 1,
        ("commit", "ok"): 1,
        ("commit", "conflict"): 1,
        ("commit", "failed"): 1,
    }
    assert {operation: len(records.durations[operation]) for operation in OPERATIONS} == {"load": 2, "commit": 3}
    assert set(records.calls) == {(operation, result) for operation in OPERATIONS for result in RESULTS}
