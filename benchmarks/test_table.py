"""The binding table at two sizes, with a dict beside it as the reference.

The AoRs of the timed calls are picked at random: at a million each of them is away from the processor's cache.
"""

import random
import sys
from collections.abc import Callable, Sequence
from time import thread_time_ns

import numpy
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from reginfo._fast.binding_table import BindingTable
from tests.reference.records import make_record

NOW = 1_700_000_000_000
SIZES = {"10_thousand": 10_000, "1_million": 1_000_000}
CALLS = 10_000
FILLS = 2


class Filled:
    """A table, the dict with the same records, and AoRs picked at random."""

    def __init__(self, size: int) -> None:
        chance = random.Random(size)
        self.table = BindingTable(NOW)
        self.reference: dict[str, bytes] = {}
        for number in range(size):
            aor = f"sip:user{number}@example.com"
            record = make_record(aor, [NOW + chance.randrange(3_600_000)])
            self.table.put(record)
            self.reference[aor] = record
        self.aors = chance.choices(list(self.reference), k=CALLS)
        self.records = [self.reference[aor] for aor in self.aors]


@pytest.fixture(scope="module", params=SIZES)
def filled(request: pytest.FixtureRequest) -> Filled:
    return Filled(SIZES[request.param])


def each(function: Callable[[str], bytes | None], aors: list[str]) -> bytes | None:
    found = None
    for aor in aors:
        found = function(aor)
    return found


def put_each(put: Callable[[bytes], None], records: list[bytes]) -> None:
    for record in records:
        put(record)


@pytest.mark.benchmark(group="table")
def test_table_get_10_thousand_times(benchmark: BenchmarkFixture, filled: Filled) -> None:
    assert benchmark(each, filled.table.get, filled.aors) is filled.records[-1]


@pytest.mark.benchmark(group="table")
def test_reference_get_10_thousand_times(benchmark: BenchmarkFixture, filled: Filled) -> None:
    assert benchmark(each, filled.reference.get, filled.aors) is filled.records[-1]


@pytest.mark.benchmark(group="table")
def test_table_load_10_thousand_aors(benchmark: BenchmarkFixture, filled: Filled) -> None:
    assert benchmark(filled.table.load, filled.aors) == filled.records


@pytest.mark.benchmark(group="table")
def test_table_get_one_aor(benchmark: BenchmarkFixture, filled: Filled) -> None:
    assert benchmark(filled.table.get, filled.aors[0]) is filled.records[0]


@pytest.mark.benchmark(group="table")
def test_table_put_one_aor_again(benchmark: BenchmarkFixture, filled: Filled) -> None:
    benchmark(filled.table.put, filled.records[0])
    assert filled.table.get(filled.aors[0]) is filled.records[0]


@pytest.mark.benchmark(group="table")
def test_table_put_10_thousand_aors_again(benchmark: BenchmarkFixture, filled: Filled) -> None:
    benchmark(put_each, filled.table.put, filled.records)
    assert len(filled.table) == filled.table.contacts == len(filled.reference)


@pytest.mark.benchmark(group="table")
def test_table_page_1_thousand(benchmark: BenchmarkFixture, filled: Filled) -> None:
    cursor, records = benchmark(filled.table.page, 0, 1_000)
    assert cursor > 0
    assert len(records) == 1_000


@pytest.mark.benchmark(group="table")
def test_table_expire_1_thousand_by_the_wheel(benchmark: BenchmarkFixture) -> None:
    records = [make_record(f"sip:user{number}@example.com", [NOW + 100 * number]) for number in range(1_000)]

    def fill() -> tuple[tuple[BindingTable], dict[str, object]]:
        table = BindingTable(NOW)
        put_each(table.put, records)
        return (table,), {}

    def expire(table: BindingTable) -> int:
        expired = 0
        while (at := table.next_due_ms()) is not None:
            for aor in table.due(at, 64):
                expired += table.remove(aor)
        return expired

    assert benchmark.pedantic(expire, setup=fill, rounds=20) == 1_000  # type: ignore[no-untyped-call]


def slowest_ns(new: Callable[[], Callable[[str, bytes], object]], items: Sequence[tuple[str, bytes]]) -> int:
    """Return what the slowest of all puts takes, each at its best: what it waits for is there every time."""
    times = numpy.empty((FILLS, len(items)), numpy.int64)
    for fill in times:
        put = new()
        for place, (aor, record) in enumerate(items):
            before = thread_time_ns()
            put(aor, record)
            fill[place] = thread_time_ns() - before
    return int(times.min(axis=0).max())


def new_table() -> Callable[[str, bytes], object]:
    table = BindingTable(NOW)
    return lambda aor, record: table.put(record)


def new_dict() -> Callable[[str, bytes], object]:
    reference: dict[str, bytes] = {}
    return reference.__setitem__


@pytest.mark.parametrize("filled", ["1_million"], indirect=True)
def test_no_put_waits_for_a_rehash(filled: Filled) -> None:
    """Some insertion into a dict moves all of it to a larger one."""
    items = list(filled.reference.items())
    assert slowest_ns(new_table, items) < slowest_ns(new_dict, items) / 4


def test_memory_beyond_the_records_is_30_octets_an_aor(filled: Filled) -> None:
    # A block of entries and one of buckets are taken at a time.
    assert sys.getsizeof(filled.table) <= 30 * len(filled.table) + 150_000
