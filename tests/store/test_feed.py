"""The extent of the feed, in memory and on disk."""

import pytest

from reginfo.store.feed import JournalExtent, Ring
from tests.store.samples import aor, bound


def ring_of(count: int, size: int, last_seq: int = 0) -> Ring:
    ring = Ring(last_seq, size)
    ring.extend(bound(aor(number)) for number in range(count))
    return ring


@pytest.mark.parametrize("last_seq", [0, 5, 1000])
def test_a_full_ring_holds_as_many_changes_as_its_size_and_forgets_the_oldest(last_seq: int) -> None:
    full, over = ring_of(4, 4, last_seq), ring_of(5, 4, last_seq)
    assert (full.oldest, full.last_seq) == (last_seq + 1, last_seq + 4)
    assert full.after(last_seq, 10) is not None
    assert (over.oldest, over.last_seq) == (last_seq + 2, last_seq + 5)
    assert over.after(last_seq, 10) is None


@pytest.mark.parametrize("count", range(12))
def test_the_ring_reads_every_change_it_holds_in_order(count: int) -> None:
    ring = ring_of(count, 4)
    for after in range(ring.oldest - 1, count + 2):
        for limit in range(6):
            found = ring.after(after, limit)
            assert found is not None
            assert [change.seq for change in found] == list(range(after + 1, count + 1))[:limit]


def test_the_journal_gives_up_whole_steps_that_every_consumer_has_done() -> None:
    extent = JournalExtent(1, range(1, 10), bound=100, step=4)
    assert not extent.cut(done=3)
    assert extent.first == 1
    assert extent.cut(done=4)
    assert (extent.first, extent.count) == (5, 5)
    assert extent.cut(done=100)
    assert (extent.first, extent.count) == (9, 1)


def test_the_journal_never_exceeds_its_bound_whoever_waits() -> None:
    extent = JournalExtent(1, range(1, 9), bound=8, step=2)
    assert not extent.cut(done=0)
    extent.extend([9])
    assert extent.cut(done=0)
    assert (extent.first, extent.count) == (3, 7)


@pytest.mark.parametrize("pieces", [(13,), (1,) * 13, (4, 4, 4, 1), (3, 0, 5, 5), (7, 6)])
def test_the_journal_is_cut_at_the_same_places_in_whatever_pieces_it_grew(pieces: tuple[int, ...]) -> None:
    extent = JournalExtent(1, [], bound=100, step=4)
    seq = 0
    for piece in pieces:
        extent.extend(range(seq + 1, seq + piece + 1))
        seq += piece
    for done in range(14):
        extent.cut(done)
        assert extent.first == 1 + done // 4 * 4
        assert extent.count == 14 - extent.first


def test_a_journal_with_omitted_refreshes_is_cut_at_the_records_it_has() -> None:
    extent = JournalExtent(1, [10, 20, 30, 40, 50], bound=4, step=2)
    assert extent.cut(done=0)
    assert (extent.first, extent.count) == (30, 3)
