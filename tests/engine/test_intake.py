"""The common road of a batch beside the general one: which of them a message takes shows in nothing but the cost."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from reginfo.engine import MAX_PENDING, Work
from reginfo.fast import Flow, Intake, Screen, Transactions
from tests.engine.test_order import STREAM
from tests.harness import PHONE, House, contact, finish, request
from tests.strategies import mutated

Batch = list[tuple[bytes, Flow]]


class GeneralRoad:
    """An intake that hands everything on, messages and works."""

    def __init__(self) -> None:
        self.pending = 0

    def take(
        self,
        batch: Batch,
        now_ms: int,
        queues: object,
        arrivals: object,
        limit: int,
        other: Callable[[bytes, Flow], None],
    ) -> int:
        for octets, flow in batch:
            other(octets, flow)
        return 0

    def answer(
        self,
        works: list[Work],
        now_ms: int,
        oldest_ms: int,
        date: bytes,
        headers: object,
        output: Batch,
        other: Callable[[Work], None],
    ) -> int:
        for work in works:
            other(work)
        return 0


REQUESTS = [
    request("REGISTER", contact(), user=user, call_id=call_id, cseq=cseq, branch=f"z9hG4bK{user}{call_id}{cseq}")
    for user in ("alice", "bob")
    for call_id in ("one", "two")
    for cseq in (1, 2)
] + [
    request(branch="z9hG4bKfetch"),
    *(
        request("REGISTER", contact(), user="carol", cseq=cseq, via=via, branch=f"z9hG4bKcarol{cseq}")
        for cseq, via in enumerate(("192.0.2.10:5062", "192.0.2.10;maddr=192.0.2.20", "h:5070;rport;maddr=192.0.2.20"))
    ),
    request("REGISTER", "Contact: *", "Expires: 0", cseq=9, branch="z9hG4bKstar"),
    request("REGISTER", contact(expires=5), branch="z9hG4bKbrief"),
    request("REGISTER", contact(), "Require: foo", branch="z9hG4bKrequire"),
    request("REGISTER", contact(), "Content-Type: text/plain", body=b"hello", branch="z9hG4bKbody"),
    request("REGISTER", contact(), uri="sip:elsewhere.example", branch="z9hG4bKelsewhere"),
    request("REGISTER", contact(), uri="tel:+1555", branch="z9hG4bKtel"),
    request("OPTIONS", branch="z9hG4bKoptions"),
    request("CANCEL", branch="z9hG4bKaliceone1"),
    request("ACK", branch="z9hG4bKack"),
    request("FLY", branch="z9hG4bKfly"),
    b"SIP/2.0 200 OK\r\n\r\n",
    b"",
    b"\r\n\r\n",
]
arrivals = st.tuples(
    st.sampled_from(REQUESTS) | st.sampled_from(REQUESTS) | mutated(st.sampled_from(REQUESTS)),
    st.sampled_from([PHONE, PHONE, STREAM]),
)


def everything(house: House) -> tuple[object, ...]:
    """Return what a batch left behind: output, counters, records."""
    return house.engine.take_output(), house.engine.statistics(), finish(house.store.page(0, 100))


@given(st.lists(st.lists(arrivals, max_size=12), max_size=4))
def test_both_roads_lead_to_the_same_answers_counters_and_state(batches: list[Batch]) -> None:
    """UAS order: the compiled road decides nothing by itself (REG-2, TX-3, TX-5)."""
    common, general = House(max_contacts=2), House(max_contacts=2)
    general.engine._intake = GeneralRoad()  # type: ignore[assignment]
    for batch in batches:
        for house in (common, general):
            house.engine.receive(batch, house.now())
            house.settle()
            house.now_ms += 11_000
        assert everything(common) == everything(general)
    assert common.engine.pending == general.engine.pending == 0


def test_what_is_plain_is_taken_and_what_is_not_is_handed_on_in_its_place() -> None:
    intake = Intake(Transactions(bytes(16)), Screen(["REGISTER"], ["example.com"], [], 1024), 65_535)
    queues: dict[str, list[object]] = {}
    taken: list[object] = []
    handed_on: list[bytes] = []
    seen: list[int] = []

    def other(octets: bytes, flow: Flow) -> None:
        handed_on.append(octets)
        seen.append(len(taken))

    plain, again, merged, options = REQUESTS[0], REQUESTS[4], REQUESTS[1], request("OPTIONS")
    batch = [(octets, PHONE) for octets in (options, plain, plain, merged, again)]
    assert intake.take(batch, 0, queues, taken, MAX_PENDING, other) == 2
    assert (handed_on, seen) == ([options, plain, merged], [0, 1, 1])
    assert (list(queues), intake.pending) == (["sip:alice@example.com", "sip:bob@example.com"], 2)


def test_nothing_is_taken_beyond_the_limit() -> None:
    """SEC-3: the general road has the answer, 503."""
    intake = Intake(Transactions(bytes(16)), Screen(["REGISTER"], ["example.com"], [], 1024), 65_535)
    handed_on: list[bytes] = []
    batch = [(REQUESTS[0], PHONE), (REQUESTS[4], PHONE)]
    taken: list[object] = []
    assert intake.take(batch, 0, {}, taken, 1, lambda octets, flow: handed_on.append(octets)) == 1
    assert (len(taken), handed_on) == (1, [REQUESTS[4]])
