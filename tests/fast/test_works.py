"""Queues of works against a slow reference (standards.md: REG-2)."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from reginfo.engine.works import Works
from reginfo.fast import Flow, Registering, Turn, WorkQueues, parse_message
from reginfo.model import Command
from tests.harness import request

PHONE = Flow("udp", ("127.0.0.1", 5060), ("127.0.0.1", 5070))
REQUEST = parse_message(request("REGISTER"))


def registering(aor: str) -> Registering:
    return Registering(REQUEST, aor, PHONE, 1, 0)


def command(aor: str) -> Command:
    return Command(aor, lambda draft, now_ms: 0, "operator")


Work = Registering | Command


@dataclass
class Reference:
    """The same, as slowly as it can be said."""

    works: list[Work] = field(default_factory=list)
    claimed: set[str] = field(default_factory=set)

    def put(self, work: Work) -> None:
        self.works.append(work)

    def take_turn(self) -> list[Work]:
        works = [work for work in self.works if work.aor not in self.claimed]
        self.claimed |= {work.aor for work in works}
        return works

    def release(self, works: list[Work]) -> None:
        self.works = [work for work in self.works if work not in works]
        self.claimed -= {work.aor for work in works}


steps = st.one_of(
    st.tuples(st.sampled_from([registering, command]), st.sampled_from("abc")),
    st.just("take"),
    st.integers(0, 3).map(lambda index: ("release", index)),
)


def same(found: list[Work], expected: list[Work]) -> bool:
    """Tell whether both have the same works, those of each AoR in the same order."""
    order = {aor: [id(work) for work in expected if work.aor == aor] for aor in {work.aor for work in expected}}
    return order == {aor: [id(work) for work in found if work.aor == aor] for aor in {work.aor for work in found}}


@given(st.lists(steps, max_size=40))
def test_works_are_taken_as_the_reference_takes_them(steps: list[object]) -> None:
    """REG-2: works of one AoR one after the other, and none of it while its turn lasts."""
    queues, reference = WorkQueues(), Reference()
    turns: list[tuple[Turn, list[Work]]] = []
    for step in steps:
        match step:
            case "take":
                expected = reference.take_turn()
                assert queues.has_arrived == bool(expected)
                turn = queues.take_turn()
                assert same(turn.works, expected)
                assert sorted(turn.aors) == sorted({work.aor for work in expected})
                turns.append((turn, expected))
            case ("release", int(index)):
                if index < len(turns):
                    turn, expected = turns.pop(index)
                    queues.release(turn)
                    reference.release(expected)
            case (make, str(aor)):
                work = make(aor)  # type: ignore[operator]
                queues.put(work)
                reference.put(work)
        assert same(list(queues), reference.works)
        assert len(queues) == queues.pending == len(reference.works)
        assert same(queues.queue("a"), [work for work in reference.works if work.aor == "a"])


def test_many_works_of_one_aor_are_gone_over_once() -> None:
    """SEC-3, TX-5: who floods an AoR with new requests makes each of them no dearer than the first."""

    class Counted(Works):
        gathered = 0

        def queue(self, aor: str) -> list[Work]:
            self.gathered += 1
            return super().queue(aor)

    works = Counted()
    for number in range(50):
        octets = request("REGISTER", call_id=f"c{number}", branch=f"z9hG4bK{number}")
        for merged in (False, True):
            one = parse_message(octets)
            assert works.is_merged(one, "sip:alice@example.com") == merged
            if not merged:
                works.put(Registering(one, "sip:alice@example.com", PHONE, number, 0))
    assert works.is_pending(parse_message(request("CANCEL", branch="z9hG4bK7")))
    assert not works.is_pending(parse_message(request("CANCEL", branch="z9hG4bKother")))
    assert works.gathered == 1
