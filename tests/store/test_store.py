"""What every store promises, whatever its durability (REG-10, REG-11: all or nothing, in order)."""

import asyncio

import pytest

from reginfo.errors import FeedGap
from reginfo.fast import Change, Draft, record_revision
from reginfo.store.base import Store
from reginfo.store.table import TableStore
from tests.store.samples import FOREVER_MS, NOW_MS, aor, bind, bound, end, ended


async def one(store: Store, name: str) -> bytes | None:
    return (await store.load([name]))[0]


async def test_load_returns_records_in_the_order_asked_and_none_for_strangers(store: Store) -> None:
    first, second = bound(aor(1)), bound(aor(2))
    assert await store.commit([first, second]) == []
    assert await store.load([aor(2), aor(3), aor(1)]) == [second.record, None, first.record]
    assert (len(store), store.contacts) == (2, 2)


async def test_accepted_changes_are_numbered_in_the_order_given(store: Store) -> None:
    """REG-11: contacts are processed in the order they come."""
    changes = [bound(aor(number)) for number in range(5)]
    await store.commit(changes[:2])
    await store.commit(changes[2:])
    assert [change.seq for change in changes] == [1, 2, 3, 4, 5]
    assert store.last_seq == 5
    assert [change.aor for change in await store.changes(0, 100)] == [aor(n) for n in range(5)]


async def test_a_change_made_on_another_revision_is_refused_and_leaves_no_trace(store: Store) -> None:
    await store.commit([bound(aor(1))])
    record = await one(store, aor(1))
    late, good = bound(aor(1)), bound(aor(2))
    assert await store.commit([late, good]) == [0]
    assert late.seq == 0
    assert await one(store, aor(1)) == record
    assert [change.seq for change in await store.changes(1, 100)] == [good.seq] == [2]


async def test_changes_of_one_aor_chain_inside_a_call(store: Store) -> None:
    draft = Draft(aor(1), None, NOW_MS)
    chain = [bind(draft), bind(draft, 2), end(draft), bind(draft, 3)]
    assert await store.commit(chain) == []
    record = await one(store, aor(1))
    assert record == chain[-1].record
    assert record_revision(record) == chain[-1].revision > chain[0].revision
    assert [change.seq for change in chain] == [1, 2, 3, 4]


async def test_a_refused_change_refuses_the_later_ones_of_its_aor_only(store: Store) -> None:
    await store.commit([bound(aor(1))])
    draft = Draft(aor(1), None, NOW_MS)
    other = Draft(aor(2), None, NOW_MS)
    calls = [bind(draft), bind(other), bind(draft, 2), bind(other, 2), end(draft)]
    assert await store.commit(calls) == [0, 2, 4]
    assert await one(store, aor(2)) == calls[3].record


async def test_an_aor_whose_contacts_ended_has_no_record_and_can_come_back(store: Store) -> None:
    await store.commit([bound(aor(1))])
    gone = ended(aor(1), await one(store, aor(1)))
    assert await store.commit([gone]) == []
    assert await one(store, aor(1)) is None
    assert (len(store), store.contacts) == (0, 0)
    assert await store.commit([bound(aor(1))]) == []
    assert len(store) == 1


async def test_of_concurrent_changes_on_one_revision_exactly_one_is_accepted(store: Store) -> None:
    """REG-11: a REGISTER sees the registration before or after another one, never in between."""
    rivals = [bound(aor(1), cseq=n) for n in range(1, 9)]
    refused = await asyncio.gather(*(store.commit([rival]) for rival in rivals))
    assert refused == [[]] + [[0]] * 7
    assert await one(store, aor(1)) == rivals[0].record
    assert store.last_seq == 1


async def test_role_state_moves_with_the_call_it_came_with(store: Store) -> None:
    await store.commit([bound(aor(1))], [(b"sub/1", b"told 1"), (b"sub/2", b"told 2"), (b"pub/1", b"tag")])
    assert await store.get_state(b"sub/1") == b"told 1"
    assert await store.scan_state(b"sub/") == [(b"sub/1", b"told 1"), (b"sub/2", b"told 2")]
    await store.commit([], [(b"sub/1", None), (b"sub/9", None)])
    assert await store.get_state(b"sub/1") is None
    assert await store.scan_state(b"") == [(b"pub/1", b"tag"), (b"sub/2", b"told 2")]
    assert store.last_seq == 1


async def test_the_feed_is_read_in_pieces_and_is_empty_at_its_end(store: Store) -> None:
    await store.commit([bound(aor(number)) for number in range(10)])
    seen: list[Change] = []
    while piece := await store.changes(len(seen), 3):
        assert len(piece) <= 3
        seen += piece
    assert [change.seq for change in seen] == list(range(1, 11))
    assert await store.changes(99, 3) == []


async def test_a_consumer_finds_the_cursor_and_the_state_it_saved(store: Store) -> None:
    assert await store.attach("metrics", wants_refreshes=False) is None
    assert await store.cursor("metrics") is None
    await store.commit([bound(aor(1))])
    await store.save_cursor("metrics", 1, b"registered=1")
    assert await store.cursor("metrics") == (1, b"registered=1")
    assert await store.attach("metrics", wants_refreshes=False) == (1, b"registered=1")


async def test_an_aor_is_due_once_its_contact_has_expired_and_not_before(store: Store) -> None:
    """REG-17."""
    await store.commit([bound(aor(1), expires_at=NOW_MS + 1000), bound(aor(2))])
    assert await store.due(NOW_MS, 10) == []
    assert await store.due(NOW_MS + 1200, 10) == [aor(1)]
    due = store.next_due_ms()
    assert due is not None
    assert due <= FOREVER_MS


async def test_pages_show_every_record_once(store: Store) -> None:
    changes = [bound(aor(number)) for number in range(10)]
    await store.commit(changes)
    cursor, records = await store.page(0, 3)
    while cursor:
        cursor, more = await store.page(cursor, 3)
        records += more
    assert sorted(records) == sorted(change.record for change in changes)


async def test_the_clock_offset_is_kept(store: Store) -> None:
    assert store.clock_offset == 0
    await store.save_clock_offset(-3_600_000)
    assert store.clock_offset == -3_600_000


async def test_memory_tells_a_consumer_that_fell_behind_where_the_feed_begins() -> None:
    store = TableStore(ring=4)
    await store.commit([bound(aor(number)) for number in range(5)])
    with pytest.raises(FeedGap) as gap:
        await store.changes(0, 10)
    assert gap.value.oldest == 2
    assert len(await store.changes(1, 10)) == 4
