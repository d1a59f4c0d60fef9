"""What the engine counts, and how long it says that requests took."""

import pytest

from reginfo.errors import StoreUnavailable
from reginfo.fast import Flow
from reginfo.model import Now
from reginfo.server import run_turn
from reginfo.sip.traffic import code_of
from reginfo.store.table import TableStore
from tests.harness import PHONE, House, contact, finish, request

TCP = Flow("tcp", ("192.0.2.1", 5060), ("192.0.2.10", 40_000), 7)
OTHER = "sip:alice@192.0.2.11:5060"


class FailingStore(TableStore):
    async def commit(self, changes: object, state: object = ()) -> list[int]:
        raise StoreUnavailable("no disk", retry_after=1)


def nonzero(counts: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    return {labels: count for labels, count in counts.items() if count}


@pytest.mark.parametrize("flow", [PHONE, TCP])
def test_registrations_are_counted_by_what_they_did(flow: Flow) -> None:
    """RFC 3261 10.2: on the common road and beside it."""
    house = House()
    steps = [
        ([contact()], "add"),
        ([contact()], "refresh"),
        ([contact(), contact(OTHER)], "add"),
        ([contact(OTHER, 0)], "remove"),
        ([], "fetch"),
        (["Contact: *", "Expires: 0"], "remove"),
        (["Contact: *", "Expires: 0"], "fetch"),
    ]
    expected: dict[tuple[str, str], int] = {}
    for cseq, (rows, kind) in enumerate(steps, 1):
        house.now_ms += 1_000
        assert house.register(*rows, cseq=cseq, flow=flow).status == 200
        expected[kind, "accepted"] = expected.get((kind, "accepted"), 0) + 1
        assert nonzero(house.engine.counts.registrations) == expected


def test_a_retransmission_is_no_further_registration() -> None:
    house = House()
    octets = request("REGISTER", contact())
    for _ in range(3):
        assert house.ask(octets).status == 200
    counts = house.engine.counts
    assert nonzero(counts.registrations) == {("add", "accepted"): 1}
    assert nonzero(counts.requests_in) == {("REGISTER", "udp"): 1}
    assert len(counts.durations["REGISTER"]) == 1
    assert counts.errors["retransmission"] == 2


def test_who_comes_back_after_running_out_has_removed_nothing() -> None:
    """REG-17: the contact that ran out leaves in the same change."""
    house = House()
    house.register(contact(expires=60))
    house.now_ms += 61_000  # before the timer
    house.register(contact(OTHER), cseq=2)
    assert nonzero(house.engine.counts.registrations) == {("add", "accepted"): 2}


@pytest.mark.parametrize(
    ("rows", "status", "kind"),
    [
        ([contact(expires=5)], 423, "add"),
        (["Contact: *", "Expires: 60"], 400, "remove"),
        ([contact(), "Require: nothing"], 420, "add"),
        ([contact(expires=0), "Require: nothing"], 420, "remove"),
        (["Require: nothing"], 420, "fetch"),
        (["Contact: <sip:alice@192.0.2.10>;expires=x y"], 400, "fetch"),
    ],
)
def test_a_refused_registration_is_counted_by_what_it_asked_for(rows: list[str], status: int, kind: str) -> None:
    house = House()
    assert house.register(*rows).status == status
    assert nonzero(house.engine.counts.registrations) == {(kind, "rejected"): 1}


def test_a_registration_that_cannot_be_stored_has_failed() -> None:
    house = House(FailingStore())
    assert house.register(contact()).status == 503
    assert nonzero(house.engine.counts.registrations) == {("add", "failed"): 1}


def test_requests_are_counted_by_method_and_transport() -> None:
    """Words from closed sets, whatever a stranger writes."""
    house = House()
    house.register(contact())
    house.register(contact(), cseq=2, flow=TCP)
    house.ask(request("OPTIONS", uri="sip:example.com"))
    house.ask(request("BREW", uri="sip:example.com"))
    assert nonzero(house.engine.counts.requests_in) == {
        ("REGISTER", "udp"): 1,
        ("REGISTER", "tcp"): 1,
        ("OPTIONS", "udp"): 1,
        ("other", "udp"): 1,
    }
    assert house.engine.statistics()["requests"]["REGISTER"] == 2
    assert house.engine.counts.responses_out == {"200": 3, "501": 1}


def test_a_duration_is_from_arrival_to_the_answer_in_microseconds() -> None:
    """A request that waits for the turn before it has waited from its own arrival on."""
    house = House()
    house.engine.receive([(request("REGISTER", contact()), PHONE)], Now(house.now_ms, 0.0, 900))
    house.engine.receive([(request("REGISTER", contact(), cseq=2), PHONE)], Now(house.now_ms + 3, 0.0, 100))
    for answered in (Now(house.now_ms + 5, 0.0, 200), Now(house.now_ms + 8, 0.0, 0)):
        works = finish(run_turn(house.engine, house.store, house.now))
        house.engine.counts.measure(works, answered)
    durations = house.engine.counts.durations["REGISTER"]
    assert (len(durations), durations.sum) == (2, 4_300 + 2_100)


def test_what_no_rfc_has_is_counted_with_its_class() -> None:
    assert [code_of(status) for status in (200, 499, 423, 699)] == ["200", "4xx", "423", "6xx"]
