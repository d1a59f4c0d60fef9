"""The clock held to commit."""

from collections.abc import Sequence

import pytest

from reginfo.errors import StoreUnavailable
from reginfo.store.measured import MeasuredRecords


class Records:
    """Refuses or fails when told to."""

    def __init__(self) -> None:
        self.refused: list[int] = []
        self.fails = False

    async def load(self, aors: Sequence[str]) -> list[bytes | None]:
        return [None] * len(aors)

    async def commit(self, changes: object, state: object = ()) -> list[int]:
        if self.fails:
            raise StoreUnavailable("no disk", retry_after=1)
        return self.refused


async def test_each_commit_is_counted_by_its_result_and_measured() -> None:
    inner = Records()
    records = MeasuredRecords(inner)
    assert await records.load(["sip:alice@example.com"]) == [None]
    assert await records.commit(()) == []
    inner.refused = [0]
    assert await records.commit(()) == [0]
    inner.fails = True
    with pytest.raises(StoreUnavailable):
        await records.commit(())
    assert records.commits.totals() == {"ok": 1, "conflict": 1, "failed": 1}
    assert len(records.durations) == 3
