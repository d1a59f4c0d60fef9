"""Deciding on a contact and comparing contact sets, beside the reference."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.test_parse import REGISTER
from reginfo.fast import Binding, Change, ContactDelta, Draft, diff_contacts, parse_message
from tests.reference import binding as reference

pytestmark = pytest.mark.benchmark(group="diff")

NOW = 1_700_000_000_000
SIZE = 10


def uri(number: int) -> str:
    return f"sip:alice@192.0.2.{number}:5060;transport=udp"


def test_diff_10_contacts_one_of_each_kind(benchmark: BenchmarkFixture) -> None:
    before = [Binding(uri=uri(number), expires_at=NOW, contact_id=f"{number + 1:016x}") for number in range(SIZE)]
    after = [Binding(uri=uri(SIZE), expires_at=NOW, contact_id="ff"), *before[2:]]
    after.append(Binding(uri=uri(0), expires_at=NOW + 1, contact_id=before[0].contact_id))
    delta: ContactDelta = benchmark(diff_contacts, before, after)
    assert [len(delta.added), len(delta.changed), len(delta.removed)] == [1, 1, 1]


def test_diff_10_contacts_one_of_each_kind_reference(benchmark: BenchmarkFixture) -> None:
    before = [reference.Contact(uri(number), "a") for number in range(SIZE)]
    after = [reference.Contact(uri(SIZE), "a"), *before[2:], reference.Contact(uri(0), "b")]
    assert [len(part) for part in benchmark(reference.diff, before, after)] == [1, 1, 1]


def test_refresh_1_contact(benchmark: BenchmarkFixture) -> None:
    request = parse_message(REGISTER)
    again = parse_message(REGISTER.replace(b"CSeq: 314159", b"CSeq: 314160"))
    draft = Draft(request.aor, None, NOW)
    draft.bind(request, 0, 600, 600, "", NOW)
    draft.finish("register")
    record = draft.record

    def refresh() -> Change | None:
        working = Draft("sip:alice@example.com", record, NOW)
        working.bind(again, 0, 600, 600, "", NOW)
        return working.finish("register")

    change = benchmark(refresh)
    assert change is not None
    assert change.only_refreshes
