"""Queues of works against a slow reference (standards.md: REG-2)."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

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


def test_a_work_may_come_again() -> None:
    queues, again = WorkQueues(), command("a")
    for _ in range(2):
        queues.put(again)
        turn = queues.take_turn()
        assert turn.works == [again]
        queues.release(turn)
        assert not queues.has_arrived
