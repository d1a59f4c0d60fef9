"""The binding table: records by AoR, pages under change, expiry to the tick, fingerprints."""

import gc
import random
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reginfo._fast.binding_table import BindingTable
from reginfo.fast import Binding, Change, Draft, record_revision
from tests.reference.binding_table import ReferenceTable
from tests.reference.records import NEVER, aor_of, identity_of, make_record

NOW = 1_700_000_000_000  # a whole tick
TICK_MS = 100
RETRY_MS = 1000
CASCADE = 1024
PLACES_PER_PAGE = 4096


def names(n: int) -> list[str]:
    return [f"sip:user{i}@example.com" for i in range(n)]


def filled(n: int, expires_at: int = NOW + 3_600_000) -> BindingTable:
    table = BindingTable(NOW)
    for aor in names(n):
        table.put(make_record(aor, [expires_at]))
    return table


def drain(table: BindingTable, now_ms: int, limit: int = 64) -> list[str]:
    """Call due as its contract asks for, until nothing is left to do at this instant."""
    found = []
    while (at := table.next_due_ms()) is not None and at <= now_ms:
        some = table.due(now_ms, limit)
        assert len(some) <= limit
        found += some
    return found


def pages(table: BindingTable, n: int) -> list[str]:
    found = []
    cursor = 0
    while True:
        cursor, records = table.page(cursor, n)
        found += [aor_of(record) for record in records]
        if cursor == 0:
            return found


# --- records by AoR ---------------------------------------------------------------------------------------------


def test_a_record_is_shared_and_not_copied() -> None:
    # REG-1: one record per address-of-record
    table = BindingTable()
    record = make_record("sip:alice@example.com", [NOW])
    assert table.get("sip:alice@example.com") is None
    table.put(record)
    assert table.get("sip:alice@example.com") is record
    assert table.load(["sip:bob@example.com", "sip:alice@example.com"]) == [None, record]
    assert table.load(["sip:alice@example.com"])[0] is record


def test_a_later_record_takes_the_place_of_the_one_before() -> None:
    table = BindingTable()
    table.put(make_record("sip:alice@example.com", [NOW]))
    second = make_record("sip:alice@example.com", [NOW, NOW + 1, NOW + 2])
    table.put(second)
    assert table.get("sip:alice@example.com") is second
    assert (len(table), table.contacts) == (1, 3)
    table.put(make_record("sip:alice@example.com"))
    assert (len(table), table.contacts) == (1, 0)


def test_a_removed_record_is_gone_and_may_come_back() -> None:
    table = filled(3)
    assert table.remove("sip:user1@example.com")
    assert not table.remove("sip:user1@example.com")
    assert table.get("sip:user1@example.com") is None
    assert (len(table), table.contacts) == (2, 2)
    table.put(make_record("sip:user1@example.com", [NOW]))
    assert sorted(pages(table, 10)) == names(3)


def test_bindings_that_end_with_a_flow_are_found() -> None:
    """OUT-6: a walk over all of them, those of peers left out."""
    table = BindingTable(NOW)
    draft = Draft("sip:flows@example.org", None, NOW)
    for number, (flow, origin) in enumerate([("tcp:x#1", ""), ("", ""), ("tcp:x#2", "peer:a"), ("udp:y", "")]):
        draft.add(Binding(uri=f"sip:{number}@192.0.2.1", expires_at=NOW + 1000, flow=flow, origin=origin))
    change = draft.finish("test")
    assert change is not None
    table.put(change.record)
    assert table.flows() == [(draft.aor, "tcp:x#1"), (draft.aor, "udp:y")]
    table.remove(draft.aor)
    assert table.flows() == []


def test_the_key_is_compared_octet_by_octet() -> None:
    # URI-7: the AoR is canonical already, so the table knows no other equality
    table = BindingTable()
    aors = ["", "s", "sip:a@h", "sip:A@h", "sip:a@h:5060", "sip:a%00@h", "sip:é@h", "sip:a@h ", "sip:" + "x" * 1000]
    for aor in aors:
        table.put(make_record(aor))
    assert len(table) == len(aors)
    assert [aor_of(record) for record in table.load(aors) if record] == aors


def test_every_record_is_found_while_the_table_grows_and_shrinks() -> None:
    table = BindingTable()
    aors = names(10_000)
    for count, aor in enumerate(aors, 1):
        table.put(make_record(aor, [NOW]))
        if count & (count - 1) == 0:
            assert all(table.load(aors[:count]))
    assert all(record and aor_of(record) == aor for aor, record in zip(aors, table.load(aors), strict=True))
    for aor in aors[::2]:
        table.remove(aor)
    assert [aor for aor, record in zip(aors, table.load(aors), strict=True) if record] == aors[1::2]
    assert len(table) == table.contacts == 5_000


@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 64, 65])
def test_load_answers_in_order_whatever_the_size_of_the_batch(n: int) -> None:
    table = filled(70)
    aors = names(140)[::-2][:n]
    assert table.load(tuple(aors)) == [table.get(aor) for aor in aors]


SOUND = make_record("sip:alice@example.com", [NOW, NOW + 5])


@pytest.mark.parametrize(
    "octets",
    [SOUND[:end] for end in range(len(SOUND))]
    + [SOUND + b"\0", b"\2" + SOUND[1:], SOUND[:4] + b"\xff\xff" + SOUND[6:], bytes(200), b"\xff" * 200],
)
def test_octets_that_are_no_record_are_refused_and_change_nothing(octets: bytes) -> None:
    # SEC-5: every length is checked before it is used
    table = filled(1)
    with pytest.raises(ValueError, match="record"):
        table.put(octets)
    assert pages(table, 10) == names(1)
    assert table.contacts == 1


def test_arguments_of_another_type_are_refused() -> None:
    table = filled(1)
    for call in (table.get, table.remove, table.put):
        for wrong in (None, 7, bytearray(b"x")):
            with pytest.raises(TypeError):
                call(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        table.load(["sip:user0@example.com", None])  # type: ignore[list-item]
    with pytest.raises(UnicodeEncodeError):
        table.get("sip:\udcff@example.com")
    assert len(table) == 1


def test_the_table_holds_one_reference_and_gives_it_back() -> None:
    records = [make_record(aor, [NOW]) for aor in names(100)]
    before = [sys.getrefcount(record) for record in records]
    table = BindingTable()
    for record in records:
        table.put(record)
        table.put(record)
    del record
    assert [sys.getrefcount(record) for record in records] == [count + 1 for count in before]
    table.load(names(100))
    table.page(0, 100)
    for aor in names(50):
        table.remove(aor)
    table.put(make_record(names(51)[-1]))
    gc.collect()
    assert [sys.getrefcount(record) for record in records] == [
        count + (number > 50) for number, count in enumerate(before)
    ]
    del table
    assert [sys.getrefcount(record) for record in records] == before


def test_an_aor_costs_at_most_30_octets_beyond_its_record() -> None:
    table = BindingTable()
    empty = sys.getsizeof(table)
    for aor in names(100_000):
        table.put(make_record(aor))
    assert sys.getsizeof(table) - empty <= 30 * 100_000


def test_places_of_removed_aors_are_used_again() -> None:
    table = filled(5_000)
    size = sys.getsizeof(table)
    for _ in range(3):
        for aor in names(5_000):
            table.remove(aor)
        for aor in reversed(names(5_000)):
            table.put(make_record(aor, [NOW]))
    assert sys.getsizeof(table) == size
    assert sorted(pages(table, 999)) == sorted(names(5_000))


# --- pages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 100, 1_000_000])
def test_pages_deliver_every_aor_once(n: int) -> None:
    found = pages(filled(100), n)
    assert sorted(found) == sorted(names(100))


def test_an_empty_table_has_one_empty_page() -> None:
    assert BindingTable().page(0, 10) == (0, [])


def test_a_page_holds_at_most_what_was_asked_for() -> None:
    cursor, records = filled(100).page(0, 30)
    assert len(records) == 30
    assert cursor > 0


@pytest.mark.parametrize(("cursor", "n"), [(0, 0), (0, -1), (-1, 1)])
def test_a_page_of_nothing_is_an_error(cursor: int, n: int) -> None:
    with pytest.raises(ValueError, match="cursor"):
        filled(1).page(cursor, n)


@pytest.mark.parametrize("cursor", [2**32 - 1, 2**32, 2**70])
def test_a_cursor_beyond_the_end_ends(cursor: int) -> None:
    assert filled(1).page(cursor, 1) == (0, [])


def test_a_page_passes_over_a_bounded_number_of_empty_places() -> None:
    table = filled(3 * PLACES_PER_PAGE)
    last = pages(table, 10)[-1]
    for aor in names(3 * PLACES_PER_PAGE):
        if aor != last:
            table.remove(aor)
    counts = []
    cursor = 0
    while True:
        cursor, records = table.page(cursor, 10)
        counts.append(len(records))
        if cursor == 0:
            break
    assert sum(counts) == 1
    assert len(counts) > 1


def test_what_stays_is_delivered_once_while_everything_else_changes() -> None:
    chance = random.Random(7)
    table = filled(2_000)
    staying = set(names(2_000)[::3])
    moving = [aor for aor in names(6_000) if aor not in staying]
    found = []
    cursor = 0
    while True:
        cursor, records = table.page(cursor, 50)
        found += [aor_of(record) for record in records]
        for aor in chance.sample(moving, 200):
            if not table.remove(aor):
                table.put(make_record(aor, [NOW]))
        for aor in chance.sample(sorted(staying), 50):
            table.put(make_record(aor, [NOW + chance.randrange(10**6)]))
        if cursor == 0:
            break
    assert len([aor for aor in found if aor in staying]) == len(staying)
    assert staying <= set(found)


# --- expiry -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, NOW, NOW + 99])
@pytest.mark.parametrize(
    "ahead",
    [1, 50, 99, 100, 101, 6_300, 6_400, 6_500, 60_000, 409_600, 3_600_000, 26_214_400, 86_400_000, 7 * 86_400_000]
    + [10**k + 1 for k in range(9, 13)],
)
def test_an_aor_is_due_in_the_tick_of_its_expiry_and_not_before(start: int, ahead: int) -> None:
    # REG-17
    table = BindingTable(start)
    at = NOW + ahead
    table.put(make_record("sip:alice@example.com", [at, at + 1, at + 10_000]))
    first = -(-at // TICK_MS) * TICK_MS  # the first tick at which the expiry is reached
    assert drain(table, NOW) == []
    assert drain(table, first - 1) == []
    assert drain(table, first) == ["sip:alice@example.com"]


def test_next_due_is_never_later_than_the_next_expiry() -> None:
    # REG-17
    table = BindingTable(NOW)
    table.put(make_record("sip:alice@example.com", [NOW + 10_000_000]))
    now = NOW
    wakes = 0
    while not (found := table.due(now, 1)):
        at = table.next_due_ms()
        assert at is not None
        assert now < at <= NOW + 10_000_000
        now = at
        wakes += 1
    assert found == ["sip:alice@example.com"]
    assert now == NOW + 10_000_000
    assert wakes <= 10  # one per level


def test_without_expiries_nothing_is_ever_due() -> None:
    table = BindingTable(NOW)
    assert table.next_due_ms() is None
    table.put(make_record("sip:none@example.com"))
    table.put(make_record("sip:never@example.com", [NEVER]))
    assert table.next_due_ms() is None
    assert table.due(2**62, 10) == []


def test_a_refresh_moves_the_expiry_later() -> None:
    # REG-17: an answered refresh is never ended by the old expiry
    table = BindingTable(NOW)
    table.put(make_record("sip:alice@example.com", [NOW + 60_000]))
    table.put(make_record("sip:alice@example.com", [NOW + 90_000]))
    assert drain(table, NOW + 89_999) == []
    assert drain(table, NOW + 90_000) == ["sip:alice@example.com"]


def test_a_shortened_expiry_moves_earlier() -> None:
    # REG-17
    table = BindingTable(NOW)
    table.put(make_record("sip:alice@example.com", [NOW + 90_000]))
    table.put(make_record("sip:alice@example.com", [NOW + 1_000]))
    assert drain(table, NOW + 999) == []
    assert drain(table, NOW + 1_000) == ["sip:alice@example.com"]


@pytest.mark.parametrize("expiries", [[], [NEVER]])
def test_a_record_that_no_longer_expires_is_not_due(expiries: list[int]) -> None:
    table = BindingTable(NOW)
    table.put(make_record("sip:alice@example.com", [NOW + 1_000]))
    table.put(make_record("sip:alice@example.com", expiries))
    assert drain(table, NOW + 10_000) == []
    table.put(make_record("sip:alice@example.com", [NOW + 20_000]))
    assert drain(table, NOW + 20_000) == ["sip:alice@example.com"]


def test_a_removed_aor_is_not_due() -> None:
    # REG-6
    table = filled(10, NOW + 1_000)
    for aor in names(5):
        table.remove(aor)
    assert sorted(drain(table, NOW + 1_000)) == names(10)[5:]


def test_an_expiry_already_past_is_due_at_once() -> None:
    table = BindingTable(NOW)
    table.put(make_record("sip:alice@example.com", [NOW - 5_000]))
    assert table.next_due_ms() == NOW
    assert table.due(NOW, 10) == ["sip:alice@example.com"]


def test_an_aor_that_was_reported_and_left_comes_again_within_a_second() -> None:
    # the store may have failed: an expired binding must not stay for ever
    table = filled(1, NOW)
    for now in range(NOW, NOW + 100 * RETRY_MS, RETRY_MS):
        assert drain(table, now) == names(1)
        assert table.due(now, 10) == []


def test_an_aor_that_was_reported_and_put_again_is_due_at_its_new_expiry() -> None:
    # another row of the AoR may end before the report would be repeated
    table = BindingTable(NOW)
    table.put(make_record("sip:alice@example.com", [NOW, NOW + 300]))
    assert table.due(NOW, 10) == ["sip:alice@example.com"]
    table.put(make_record("sip:alice@example.com", [NOW + 300]))
    assert drain(table, NOW + 200) == []
    assert drain(table, NOW + 300) == ["sip:alice@example.com"]


def test_no_more_than_the_limit_is_reported_and_the_rest_follows() -> None:
    table = filled(100, NOW + 1_000)
    first = table.due(NOW + 1_000, 30)
    assert len(first) == 30
    assert table.next_due_ms() == NOW + 1_000
    rest = drain(table, NOW + 1_000)
    assert sorted(first + rest) == sorted(names(100))
    assert table.due(NOW + 1_000, 0) == []


def test_moving_to_finer_buckets_is_bounded_per_call() -> None:
    # a mass registration ends up in one coarse bucket; no call may stall the loop for it
    expires_at = NOW + 86_400_000
    table = filled(5_000, expires_at)
    start = table.next_due_ms()
    assert start is not None
    assert start < expires_at
    calls = 0
    while table.next_due_ms() == start:
        assert table.due(start, 64) == []
        calls += 1
    assert calls == -(-5_000 // CASCADE)
    assert sorted(drain(table, expires_at)) == sorted(names(5_000))


@pytest.mark.parametrize("jump_ms", [7 * 86_400_000, 10 * 365 * 86_400_000, 10**15, 2**62])
def test_a_jump_of_the_clock_costs_no_more_than_what_is_due(jump_ms: int) -> None:
    # a week is six million ticks: none of them is looped over
    table = BindingTable(NOW)
    chance = random.Random(3)
    for aor in names(500):
        table.put(make_record(aor, [NOW + chance.randrange(1, 6 * 86_400_000)]))
    calls = 0
    found: list[str] = []
    while (at := table.next_due_ms()) is not None and at <= NOW + jump_ms:
        found += table.due(NOW + jump_ms, 100)
        calls += 1
    assert calls == 5
    assert sorted(found) == sorted(names(500))


def test_after_a_jump_the_expiries_ahead_are_still_exact() -> None:
    table = BindingTable(NOW)
    week = 7 * 86_400_000
    table.put(make_record("sip:before@example.com", [NOW + week - 1]))
    table.put(make_record("sip:after@example.com", [NOW + week + 1]))
    assert drain(table, NOW + week) == ["sip:before@example.com"]
    assert drain(table, NOW + week + 100) == ["sip:after@example.com"]


def test_time_that_runs_backwards_counts_as_standing() -> None:
    table = BindingTable(NOW)
    table.put(make_record("sip:alice@example.com", [NOW + 500]))
    assert table.due(NOW + 400, 10) == []
    assert table.due(-1, 10) == []
    assert table.due(NOW - 10**9, 10) == []
    table.put(make_record("sip:bob@example.com", [NOW + 300]))
    assert table.due(NOW, 10) == ["sip:bob@example.com"]
    assert drain(table, NOW + 500) == ["sip:alice@example.com"]


# --- fingerprints -----------------------------------------------------------------------------------------------


def test_a_fingerprint_is_the_registration_id_and_a_hash_of_the_record() -> None:
    table = filled(100)
    prints = table.fingerprints()
    assert prints.shape == (100,)
    assert prints.dtype.names == ("key", "content")
    records = [record for record in table.load(names(100)) if record]
    assert {int(key) for key in prints["key"]} == {identity_of(record) for record in records}
    assert len(np.unique(prints["content"])) == 100


def test_fingerprints_are_the_same_in_every_table() -> None:
    here, there = filled(100), BindingTable()
    for aor in reversed(names(100)):
        there.put(make_record(aor, [NOW + 3_600_000]))
    assert sorted(here.fingerprints().tolist()) == sorted(there.fingerprints().tolist())


def test_compare_tells_what_is_missing_different_and_strange() -> None:
    here, there = filled(100), filled(100)
    there.remove("sip:user3@example.com")
    here.remove("sip:user7@example.com")
    here.remove("sip:user20@example.com")
    here.put(make_record("sip:user20@example.com", [NOW + 1]))
    missing, different, strange = here.compare(there.fingerprints())
    assert missing == ["sip:user3@example.com"]
    assert different == ["sip:user20@example.com"]
    assert strange.tolist() == [identity_of(make_record("sip:user7@example.com"))]


def test_compare_with_itself_and_with_nothing() -> None:
    table = filled(10)
    missing, different, strange = table.compare(table.fingerprints())
    assert (missing, different, strange.tolist()) == ([], [], [])
    missing, different, strange = table.compare(BindingTable().fingerprints())
    assert (sorted(missing), different, strange.tolist()) == (names(10), [], [])
    missing, different, strange = BindingTable().compare(table.fingerprints())
    assert (missing, different, len(strange)) == ([], [], 10)


# --- against the reference --------------------------------------------------------------------------------------

AORS = st.integers(0, 40).map(lambda i: f"sip:user{i}@example.com")
AHEAD = st.one_of(st.integers(-500, 700), st.integers(0, 10_000), st.integers(0, 10**6), st.integers(0, 10**10))


class TableMachine(RuleBasedStateMachine):
    """BindingTable and the reference get the same calls; a dump goes on in between."""

    @initialize(start=st.sampled_from([0, NOW]))
    def begin(self, start: int) -> None:
        self.now = NOW
        self.fast = BindingTable(start)
        self.slow = ReferenceTable(start)
        self.cursor = 0
        self.dumped: list[str] = []
        self.staying: set[str] = set()

    @rule(aor=AORS, ahead=st.lists(AHEAD, max_size=3))
    def put(self, aor: str, ahead: list[int]) -> None:
        record = make_record(aor, [self.now + delta for delta in ahead])
        self.fast.put(record)
        self.slow.put(record)

    @rule(first=st.integers(0, 300), count=st.integers(1, 100), ahead=AHEAD)
    def put_many(self, first: int, count: int, ahead: int) -> None:
        for i in range(first, first + count):
            self.put(f"sip:user{i}@example.com", [ahead + 37 * i])

    @rule(aor=AORS)
    def remove(self, aor: str) -> None:
        assert self.fast.remove(aor) == self.slow.remove(aor)
        self.staying.discard(aor)

    @rule(first=st.integers(0, 300), count=st.integers(1, 100))
    def remove_many(self, first: int, count: int) -> None:
        for i in range(first, first + count):
            self.remove(f"sip:user{i}@example.com")

    @rule(
        delta=st.one_of(st.integers(-1_000, 1_000), st.integers(0, 10**6), st.integers(0, 10**10)),
        limit=st.integers(1, 50),
    )
    def expire(self, delta: int, limit: int) -> None:
        self.now = max(self.now + delta, 0)
        now = max(self.now, self.slow.present)
        found = self.fast.due(now, limit) + drain(self.fast, now, limit)
        assert len(found) == len(set(found))
        must, may = self.slow.overdue(now)
        assert must <= set(found) <= may
        self.slow.report(found)

    @rule(n=st.integers(1, 50))
    def dump(self, n: int) -> None:
        if self.cursor == 0:
            self.dumped = []
            self.staying = set(self.slow.records)
        self.cursor, records = self.fast.page(self.cursor, n)
        for record in records:
            assert self.slow.get(aor_of(record)) is record
            self.dumped.append(aor_of(record))
        if self.cursor == 0:
            assert sorted(aor for aor in self.dumped if aor in self.staying) == sorted(self.staying)

    @rule(aors=st.lists(AORS))
    def load(self, aors: list[str]) -> None:
        assert self.fast.load(aors) == self.slow.load(aors)

    @rule()
    def fingerprint(self) -> None:
        prints = self.fast.fingerprints()
        assert {int(key) for key in prints["key"]} == {identity_of(record) for record in self.slow.records.values()}

    @invariant()
    def agree(self) -> None:
        assert len(self.fast) == len(self.slow)
        assert self.fast.contacts == self.slow.contacts
        bound = self.fast.next_due_ms()
        exact = self.slow.next_due_ms()
        if exact is not None:
            assert bound is not None
            assert bound <= max(-(-exact // TICK_MS) * TICK_MS, self.slow.present)


TestTableMachine = TableMachine.TestCase
TestTableMachine.settings = settings(stateful_step_count=40)


# --- changes


def made_on(record: bytes | None, aor: str, at_ms: int, ends: bool) -> Change:
    draft = Draft(aor, record, at_ms)
    if ends:
        draft.remove(None, "unregistered")
    else:
        draft.add(Binding(uri=f"sip:{at_ms}@192.0.2.1", expires_at=NOW + 3_600_000))
    change = draft.finish("register")
    assert change is not None
    return change


@given(st.data())
def test_only_changes_of_the_present_revision_are_accepted(data: st.DataObject) -> None:
    """Of an AoR whose change is refused nothing behind it is accepted; what is accepted counts as there."""
    table = BindingTable(NOW)
    made: list[Change] = []
    for aor in names(3):
        record: bytes | None = None
        for step in range(data.draw(st.integers(0, 3))):
            change = made_on(record, aor, NOW + step, ends=record is not None and data.draw(st.booleans()))
            made.append(change)
            record = change.record or None
    made.sort(key=lambda change: change.at_ms)
    known = data.draw(st.integers(0, len(made)))
    table.apply(made[:known])
    changes = data.draw(st.permutations(made[known:] + data.draw(st.sampled_from(([], made[:known])))))
    revisions = {aor: record_revision(record) for aor in names(3) if (record := table.get(aor)) is not None}
    ahead: dict[str, int] = {}
    accepted, refused = table.accept(changes, ahead)
    wanted, lost = [], set()
    for index, change in enumerate(changes):
        if change.aor in lost or change.base_revision != revisions.get(change.aor, 0):
            lost.add(change.aor)
            assert index in refused
        else:
            revisions[change.aor] = change.revision if change.record else 0
            wanted.append(change)
    assert accepted == wanted
    assert len(accepted) + len(refused) == len(changes)
    assert ahead == {change.aor: change.revision if change.record else 0 for change in accepted}
    table.apply(accepted)
    assert {aor: table.get(aor) for aor in ahead} == {change.aor: change.record or None for change in accepted}
    at_once = BindingTable(NOW)
    at_once.apply(made[:known])
    assert at_once.commit(changes) == refused
    assert [at_once.get(aor) for aor in names(3)] == [table.get(aor) for aor in names(3)]
