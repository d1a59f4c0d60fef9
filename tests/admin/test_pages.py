"""Long lists: no turn of the loop does more than a piece of them."""

import asyncio

import pytest

from reginfo.admin.pages import PIECE, Page, TakingTurns, pages
from reginfo.fast import Binding, Draft, Registration


def registration(number: int) -> Registration:
    draft = Draft(f"sip:u{number}@example.com", None, 1_000)
    draft.add(Binding(uri="sip:a@192.0.2.1", call_id="c", registered_at=1_000, expires_at=9_000_000))
    change = draft.finish("operator")
    assert change is not None
    return Registration(change.record)


class Table:
    """A location service that counts, for each turn of the loop, how many registrations are read in it."""

    def __init__(self, size: int) -> None:
        self.registrations = [registration(number) for number in range(size)]
        self.read = [0]

    async def page(self, cursor: int, number: int) -> tuple[int, list[Registration]]:
        found = self.registrations[cursor : cursor + number]
        self.read[-1] += len(found)
        following = cursor + len(found)
        return (following if following < len(self.registrations) else 0), found

    async def turn(self) -> None:
        """Begin a new count each time the loop gets to somebody else."""
        while True:
            self.read.append(0)
            await asyncio.sleep(0)


async def walk(page: Page, limit: int | None) -> list[Registration]:
    return [one async for _, piece in pages(page, 0, limit) for one in piece]


@pytest.mark.parametrize("limit", [None, 10 * PIECE])
async def test_others_have_a_turn_after_each_piece(limit: int | None) -> None:
    table = Table(10 * PIECE + 5)
    turning = asyncio.create_task(table.turn())
    found = await walk(table.page, limit)
    turning.cancel()
    assert len(found) == (limit or len(table.registrations))
    assert max(table.read) == PIECE
    assert sum(1 for number in table.read if number) >= 10


@pytest.mark.parametrize("limit", [1, PIECE - 1, PIECE, PIECE + 1])
async def test_there_are_as_many_as_were_asked_for(limit: int) -> None:
    assert len(await walk(Table(3 * PIECE).page, limit)) == limit


async def test_many_who_walk_at_once_take_turns() -> None:
    table = Table(4 * PIECE)
    turning = asyncio.create_task(table.turn())
    page = TakingTurns(table.page, lambda: False).page
    found = await asyncio.gather(*(walk(page, None) for _ in range(20)))
    turning.cancel()
    assert {len(one) for one in found} == {4 * PIECE}
    assert max(table.read) == PIECE


async def test_who_walks_waits_while_phones_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reginfo.admin.pages.PAUSE_SECONDS", 3600.0)
    busy = True
    table = Table(3 * PIECE)
    walking = asyncio.create_task(walk(TakingTurns(table.page, lambda: busy).page, None))
    for _ in range(100):
        await asyncio.sleep(0)
    assert sum(table.read) == PIECE
    busy = False
    walking.cancel()
    assert len(await walk(TakingTurns(table.page, lambda: busy).page, None)) == 3 * PIECE
