"""What goes wrong in one work costs that work only, and no sender can make the engine hold or repeat much."""

from collections.abc import Sequence

import pytest

from reginfo.engine import engine as engine_module
from reginfo.engine import works as works_module
from reginfo.fast import Draft, Flow
from reginfo.model import Command
from reginfo.store.table import TableStore
from tests.harness import LOCAL, House, contact, finish, request

STREAM = Flow("tcp", LOCAL, ("192.0.2.10", 40000), 1)
AOR = "sip:alice@example.com"


class FaultyStore(TableStore):
    """Fails once in a way that no store should."""

    failed = False

    async def load(self, aors: Sequence[str]) -> list[bytes | None]:
        if not self.failed:
            self.failed = True
            raise RuntimeError("a fault")
        return await super().load(aors)


def test_a_command_that_fails_tells_its_caller_and_nobody_else() -> None:
    """UAS-1: atomic, also for operators; the REGISTERs of the turn are answered and their AoR goes on."""
    house = House()

    def fail(draft: Draft, now_ms: int) -> int:
        draft.remove(None, "deactivated")
        raise ValueError("no such thing")

    house.register(contact())
    heard: list[Command] = []
    house.engine.command(Command(AOR, fail, "operator", heard.append))
    [answer] = house.send_all([request("REGISTER", contact("sip:alice@192.0.2.11"), cseq=2)])
    assert answer.status == 200
    assert [str(command.error) for command in heard] == ["no such thing"]
    assert heard[0].change is None
    assert house.contacts() == ["sip:alice@192.0.2.10:5060", "sip:alice@192.0.2.11"]
    assert house.engine.pending == 0


def test_a_caller_that_fails_costs_no_answer() -> None:
    """REG-2: what stands behind it in the turn is answered, and the AoR is released."""
    house = House()

    def complain(command: Command) -> None:
        raise RuntimeError("gone")

    house.engine.command(Command(AOR, lambda draft, now_ms: 0, "operator", complain))
    [answer] = house.send_all([request("REGISTER", contact())])
    assert answer.status == 200
    assert house.register(cseq=2).contact_count == 1
    assert house.engine.statistics()["errors"]["internal"] == 1


def test_a_turn_that_fails_is_answered_and_released() -> None:
    """REG-11: 503 changes nothing, and the AoR is served again."""
    house = House(FaultyStore())
    refused = house.register(contact())
    assert (refused.status, refused.retry_after) == (503, 1)
    assert house.register(contact(), cseq=2).status == 200
    assert house.engine.pending == 0


def test_a_long_queue_is_not_searched_for_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """TX-5, TX-8: one connection full of REGISTERs and CANCELs for one AoR costs what it costs for many AoRs."""
    house = House()
    count = 200
    marks = 0
    for name in ("_request_mark", "_branch_mark"):
        mark = getattr(works_module, name)

        def counted(message: object, mark: object = mark) -> object:
            nonlocal marks
            marks += 1
            return mark(message)  # type: ignore[operator]

        monkeypatch.setattr(works_module, name, counted)
    batch = [request("REGISTER", contact(), cseq=number + 1) for number in range(count)]
    batch += [request("CANCEL", branch=f"z9hG4bKnone{number}") for number in range(count)]
    answers = house.send_all(batch, STREAM)
    assert [answer.status for answer in answers] == [481] * count + [200] * count
    assert marks <= 5 * count


def test_retransmissions_are_works_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-3: while too much waits, a retransmission of an answered REGISTER is dropped; later it is answered."""
    house = House()
    octets = request("REGISTER", contact())
    house.ask(octets)
    monkeypatch.setattr(engine_module, "MAX_PENDING", 1)
    house.engine.command(Command("sip:bob@example.com", lambda draft, now_ms: 0, "operator"))
    assert house.send(octets) is None
    assert house.engine.pending == 0
    assert house.ask(octets).status == 200
    assert finish(house.store.load([AOR])) != [None]
