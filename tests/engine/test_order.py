"""Order inside and across batches: what happens equals the sequential replay of what arrived (REG-2, UAS-1)."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from reginfo.engine import Work
from reginfo.fast import Draft, Flow, parse_message
from reginfo.model import Command
from reginfo.server import run_turn
from tests.harness import LOCAL, PHONE, House, contact, request, visible
from tests.store.doubles import DelayedStore

STREAM = Flow("tcp", LOCAL, ("192.0.2.10", 40000), 1)
AORS = ("alice", "bob")
CONTACTS = tuple(f"sip:x@198.51.100.{n}" for n in range(4))


@dataclass(frozen=True)
class Arrival:
    """One thing that reached the engine."""

    octets: bytes = b""
    flow: Flow = PHONE
    expired: str = ""
    removed: str = ""


def removal(aor: str) -> Command:
    def remove(draft: Draft, now_ms: int) -> int:
        return draft.remove(None, "deactivated")

    return Command(aor, remove, "operator")


def hand_over(house: House, arrivals: list[Arrival]) -> None:
    """Give arrivals to the engine, each run of messages as one batch."""
    batch: list[tuple[bytes, Flow]] = []
    for arrival in arrivals:
        if arrival.octets:
            batch.append((arrival.octets, arrival.flow))
            continue
        house.engine.receive(batch, house.now())
        batch = []
        if arrival.expired:
            house.engine.expire([arrival.expired])
        else:
            house.engine.command(removal(arrival.removed))
    house.engine.receive(batch, house.now())


def some_arrivals(chance: random.Random, count: int) -> list[Arrival]:
    """Make a mix of registrations, refreshes, removals, stale requests, expiries and operator commands."""
    arrivals = []
    for number in range(count):
        user = chance.choice(AORS)
        aor = f"sip:{user}@example.com"
        kind = chance.random()
        if kind < 0.08:
            arrivals.append(Arrival(expired=aor))
            continue
        if kind < 0.13:
            arrivals.append(Arrival(removed=aor))
            continue
        parts: dict[str, Any] = {"user": user, "call_id": chance.choice("ab"), "cseq": chance.randrange(1, count)}
        rows = [contact(chance.choice(CONTACTS), chance.choice([0, 60, 60, 90]))]
        if kind < 0.2:
            rows = ["Contact: *", "Expires: 0"]
        elif kind < 0.35:
            rows = []
        octets = request("REGISTER", *rows, **parts).replace(b";tag=f1", b";tag=f%d" % number)
        arrivals.append(Arrival(octets, chance.choice([PHONE, STREAM])))
    return arrivals


def answers_of(house: House) -> dict[str, bytes]:
    """Return the answers by the branch of their request."""
    answers = {}
    for octets, _ in house.engine.take_output():
        branch = parse_message(octets).top_via.branch
        assert branch is not None
        answers[branch] = octets
    return answers


def states(house: House) -> dict[str, list[tuple[object, ...]]]:
    return {user: visible(house.registration(f"sip:{user}@example.com")) for user in AORS}


def replay(phases: list[list[Arrival]], house: House) -> dict[str, bytes]:
    """Handle arrivals one at a time, each to its end."""
    answers: dict[str, bytes] = {}
    for phase in phases:
        house.now_ms += 45_000
        for arrival in phase:
            hand_over(house, [arrival])
            house.settle()
            answers.update(answers_of(house))
    return answers


@pytest.mark.parametrize("seed", range(40))
def test_batches_equal_their_sequential_replay(seed: int) -> None:
    """REG-2: one batch or many, the outcome is that of one request after the other."""
    chance = random.Random(seed)
    phases = [some_arrivals(chance, 25) for _ in range(4)]
    batched, sequential = House(), House()
    answers: dict[str, bytes] = {}
    for phase in phases:
        batched.now_ms += 45_000
        hand_over(batched, phase)
        batched.settle()
        answers.update(answers_of(batched))
    assert answers == replay(phases, sequential)
    assert states(batched) == states(sequential)


@pytest.mark.parametrize("seed", range(40))
def test_commits_in_flight_equal_the_sequential_replay(seed: int) -> None:
    """REG-2: while an AoR's commit is in flight its later requests wait; other AoRs overtake."""
    chance = random.Random(seed)
    phases = [some_arrivals(chance, 25) for _ in range(4)]
    sequential = House()
    house = House()
    inner = house.store
    house.store = DelayedStore(inner, lambda: chance.randrange(5))

    async def play() -> dict[str, bytes]:
        turns: set[asyncio.Task[list[Work]]] = set()
        for phase in phases:
            house.now_ms += 45_000
            waiting = list(phase)
            while waiting or turns or house.engine.has_works:
                some = chance.randrange(4)
                hand_over(house, waiting[:some])
                del waiting[:some]
                if house.engine.has_works:
                    turns.add(asyncio.create_task(run_turn(house.engine, house.store, house.now)))
                await asyncio.sleep(0)
                turns = {turn for turn in turns if not turn.done()}
        return answers_of(house)

    answers = asyncio.run(play())
    house.store = inner
    assert answers == replay(phases, sequential)
    assert states(house) == states(sequential)
    assert house.engine.pending == 0


def test_conflict_is_decided_again_on_the_new_record() -> None:
    """A revision conflict loads and decides again, in order; the answers show what was committed."""
    house = House()
    inner = house.store
    double = house.store = DelayedStore(inner)
    double.refuse("sip:alice@example.com")
    batch = [request("REGISTER", contact(uri, 600), cseq=n) for n, uri in enumerate(CONTACTS, 1)]
    answers = house.send_all(batch)
    assert [len(answer.contacts) for answer in answers] == [1, 2, 3, 4]
    house.store = inner
    assert house.contacts() == list(CONTACTS)


def with_failing_store(times: int) -> House:
    house = House()
    house.register(contact(CONTACTS[0], 600))
    double = DelayedStore(house.store)
    double.fail(times, retry_after=7)
    house.store = double
    return house


def test_failing_store_refuses_changes_and_answers_fetches() -> None:
    """REG-11, ESC of the store: 503 with Retry-After for what would change; a fetch shows the committed state."""
    house = with_failing_store(1)
    fetch, change = request(cseq=5), request("REGISTER", contact(CONTACTS[1], 600), cseq=2)
    answers = {answer.cseq: answer for answer in house.send_all([change, fetch])}
    assert (answers[2].status, answers[2].retry_after) == (503, 7)
    assert [found.uri for found in answers[5].contacts] == [CONTACTS[0]]
    assert house.register(contact(CONTACTS[1], 600), cseq=6).status == 200


def test_failing_store_keeps_nothing_of_a_chain() -> None:
    """What was refused is not there later."""
    house = with_failing_store(1)
    statuses = [
        answer.status
        for answer in house.send_all(
            [
                request("REGISTER", contact(CONTACTS[1], 600), cseq=2),
                request("REGISTER", contact(CONTACTS[1], 0), cseq=3),
                request("REGISTER", contact(CONTACTS[0], 0), cseq=4),
            ]
        )
    ]
    assert statuses == [503, 200, 503]
    assert house.contacts() == [CONTACTS[0]]


def test_trying_after_3_5_seconds_and_silence_after_32() -> None:
    """TX-6 (RFC 4320): 100 when no final answer came by then, once; nothing once the client has given up."""
    house = House()
    double = house.store = DelayedStore(house.store)

    async def play() -> tuple[list[int], list[int]]:
        held = double.hold("commit")
        house.engine.receive([(request("REGISTER", contact()), PHONE)], house.now())
        turn = asyncio.create_task(run_turn(house.engine, double, house.now))
        await asyncio.sleep(0)
        statuses = []
        for seconds in (3.4, 0.1, 1.0):
            house.now_ms += int(seconds * 1000)
            house.engine.tick(house.now())
            statuses.append([parse_message(octets).status for octets, _ in house.engine.take_output()])
        assert statuses == [[], [100], []]
        house.now_ms += 32_000
        held.set_result(None)
        await turn
        return statuses[1], [parse_message(octets).status for octets, _ in house.engine.take_output()]

    assert asyncio.run(play()) == ([100], [])


def in_flight(act: Callable[[House], None]) -> list[tuple[str, int]]:
    """Hold a REGISTER's commit, let act() happen, release; return method and status of each answer."""
    house = House()
    double = house.store = DelayedStore(house.store)

    async def play() -> None:
        held = double.hold("commit")
        house.engine.receive([(request("REGISTER", contact(), branch="z9hG4bKx"), PHONE)], house.now())
        turn = asyncio.create_task(run_turn(house.engine, double, house.now))
        await asyncio.sleep(0)
        act(house)
        held.set_result(None)
        await turn

    asyncio.run(play())
    house.settle()
    answers = [parse_message(octets) for octets, _ in house.engine.take_output()]
    return [(answer.cseq_method, answer.status) for answer in answers]


def test_merged_request_while_the_commit_is_in_flight() -> None:
    """TX-5."""
    merged = request("REGISTER", contact(), branch="z9hG4bKother")
    answers = in_flight(lambda house: house.engine.receive([(merged, PHONE)], house.now()))
    assert answers == [("REGISTER", 482), ("REGISTER", 200)]


def test_cancel_while_the_commit_is_in_flight() -> None:
    """TX-8: 200 and no effect."""
    cancel = request("CANCEL", branch="z9hG4bKx")
    answers = in_flight(lambda house: house.engine.receive([(cancel, PHONE)], house.now()))
    assert answers == [("CANCEL", 200), ("REGISTER", 200)]


def test_retransmission_while_the_commit_is_in_flight_is_discarded() -> None:
    """TX-3: Trying."""
    again = request("REGISTER", contact(), branch="z9hG4bKx")
    answers = in_flight(lambda house: house.engine.receive([(again, PHONE)], house.now()))
    assert answers == [("REGISTER", 200)]


def test_revisions_rise_though_an_aor_ends_and_comes_back_within_one_millisecond() -> None:
    """Whoever is told of changes knows by the revision what is newer."""
    house = House()
    for cseq, expires in enumerate([600, 0, 600, 600, 0, 600], 1):
        house.register(contact(expires=expires), cseq=cseq)
    changes = asyncio.run(house.store.changes(0, 100))
    revisions = [change.revision for change in changes]
    assert len(revisions) == 6
    assert revisions == sorted(set(revisions))
