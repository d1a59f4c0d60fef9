"""The event stream, without a server around it: what is told to whom, and where it goes on."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from reginfo.admin import event_stream
from reginfo.admin.event_stream import LAST, EventStream, Place, TooManyClients, parse_place
from reginfo.errors import FeedGap
from reginfo.fast import Binding, Change, Draft
from reginfo.model import ContactEvent

ALICE, BOB = "sip:alice@example.com", "sip:bob@example.com"
ENDS = frozenset({ContactEvent.DEACTIVATED})
ALL = frozenset(ContactEvent)


class Feed:
    """A feed in memory that an event stream follows."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.oldest = 1
        self.reads = 0
        self.records: dict[str, bytes] = {}
        self.is_followed = False
        self.stream = EventStream(self.read, lambda: len(self.changes), self.follow, lambda engine_ms: engine_ms)

    async def read(self, after: int, limit: int) -> list[Change]:
        self.reads += 1
        if after + 1 < self.oldest:
            raise FeedGap(self.oldest)
        return self.changes[after : after + limit]

    def follow(self, stream: EventStream) -> Callable[[], Awaitable[None]]:
        self.is_followed = True

        async def unfollow() -> None:
            self.is_followed = False

        return unfollow

    def commit(self, aor: str, apply: Callable[[Draft], object]) -> Change:
        draft = Draft(aor, self.records.get(aor), 1_000 + len(self.changes))
        apply(draft)
        change = draft.finish("operator")
        assert change is not None
        change.seq = len(self.changes) + 1
        self.records[aor] = change.record
        self.changes.append(change)
        if self.is_followed:
            self.stream.read([change])
        return change

    def add(self, aor: str, *uris: str) -> Change:
        def apply(draft: Draft) -> None:
            for uri in uris:
                draft.add(Binding(uri=uri, call_id="c", registered_at=1_000, expires_at=9_000_000))

        return self.commit(aor, apply)

    def listen(
        self, pattern: str = "", events: frozenset[str] = ALL, after: Place | None = None
    ) -> AsyncGenerator[bytes]:
        return self.stream.listen(lambda aor: pattern in aor, events, after)


async def take(client: AsyncGenerator[bytes], number: int) -> list[tuple[str, str, str]]:
    """Return that many events as (id, event, AoR or gap)."""
    found: list[tuple[str, str, str]] = []
    octets = b""
    while len(found) < number:
        octets += await anext(client)
        while b"\n\n" in octets:
            block, _, octets = octets.partition(b"\n\n")
            fields = dict(line.split(": ", 1) for line in block.decode().splitlines() if not line.startswith(":"))
            if "data" in fields:
                data = msgspec.json.decode(fields["data"])
                found.append((fields.get("id", ""), fields["event"], data.get("aor") or str(data["oldest"])))
    return found


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    monkeypatch.setattr(event_stream, "GATHER_SECONDS", 0)
    return Feed()


async def test_what_happens_is_told_in_order_and_what_was_before_is_not(feed: Feed) -> None:
    feed.add(ALICE, "sip:a@192.0.2.1")
    client = feed.listen()
    await anext(client)
    feed.add(ALICE, "sip:b@192.0.2.1", "sip:c@192.0.2.1")
    feed.add(BOB, "sip:a@192.0.2.1")
    assert await take(client, 3) == [
        ("2-0", "created", ALICE),
        ("2-1", "created", ALICE),
        ("3-0", "created", BOB),
    ]
    await client.aclose()


async def test_who_comes_back_goes_on_inside_a_change(feed: Feed) -> None:
    feed.add(ALICE, "sip:a@192.0.2.1", "sip:b@192.0.2.1", "sip:c@192.0.2.1")
    feed.add(BOB, "sip:a@192.0.2.1")
    client = feed.listen(after=parse_place("1-0"))
    assert await take(client, 3) == [
        ("1-1", "created", ALICE),
        ("1-2", "created", ALICE),
        ("2-0", "created", BOB),
    ]
    feed.add(BOB, "sip:b@192.0.2.1")
    assert await take(client, 1) == [("3-0", "created", BOB)]
    await client.aclose()


async def test_a_long_absence_is_caught_up_while_more_happens(feed: Feed) -> None:
    number = 3 * event_stream.CHANGES_PER_READ + 1
    for one in range(number):
        feed.add(f"sip:u{one}@example.com", "sip:a@192.0.2.1")
    client = feed.listen(after=Place(0, 0))
    found = await take(client, 10)
    feed.add(BOB, "sip:a@192.0.2.1")
    found += await take(client, number + 1 - len(found))
    assert [id for id, _, _ in found] == [f"{seq}-0" for seq in range(1, number + 2)]
    await client.aclose()


async def test_many_who_catch_up_at_once_take_turns(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    for one in range(3 * event_stream.CHANGES_PER_READ):
        feed.add(f"sip:u{one}@example.com", "sip:a@192.0.2.1")
    told = [0]

    def encode(*event: Any) -> bytes:
        told[-1] += 1
        return encoded(*event)

    async def turn() -> None:
        while True:
            told.append(0)
            await asyncio.sleep(0)

    encoded = event_stream.encode
    monkeypatch.setattr(event_stream, "encode", encode)
    clients = [feed.listen(after=Place(0, 0)) for _ in range(20)]
    turning = asyncio.create_task(turn())
    found = await asyncio.gather(*(take(client, len(feed.changes)) for client in clients))
    turning.cancel()
    assert {len(one) for one in found} == {len(feed.changes)}
    assert max(told) <= event_stream.CHANGES_PER_READ
    for client in clients:
        await client.aclose()


async def test_an_event_is_encoded_once_for_everybody(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []

    def encode(seq: int, *event: Any) -> bytes:
        encoded.append(seq)
        return before(seq, *event)

    before = event_stream.encode
    monkeypatch.setattr(event_stream, "encode", encode)
    clients = [feed.listen() for _ in range(120)]
    for client in clients:
        await anext(client)
    waiting = [asyncio.ensure_future(take(client, 1)) for client in clients]
    while not all(client.is_live for client in feed.stream._clients):
        await asyncio.sleep(0)
    feed.add(ALICE, "sip:a@192.0.2.1")
    assert await asyncio.gather(*waiting) == [[("1-0", "created", ALICE)]] * 120
    assert encoded == [1]
    for client in clients:
        await client.aclose()


async def test_what_is_not_held_any_more_is_a_gap(feed: Feed) -> None:
    for _ in range(5):
        feed.add(ALICE, f"sip:{len(feed.changes)}@192.0.2.1")
    feed.oldest = 4
    client = feed.listen(after=Place(1, 0))
    assert await take(client, 3) == [("", "gap", "4"), ("4-0", "created", ALICE), ("5-0", "created", ALICE)]
    await client.aclose()


async def test_a_place_that_was_never_reached_is_a_gap(feed: Feed) -> None:
    """A store that was made anew, or lost its end, counts from a lower number."""
    feed.add(ALICE, "sip:a@192.0.2.1")
    client = feed.listen(after=Place(5_000, 0))
    await anext(client)
    feed.add(BOB, "sip:b@192.0.2.1")
    assert await take(client, 2) == [("", "gap", "2"), ("2-0", "created", BOB)]
    await client.aclose()


async def test_who_catches_up_is_not_cut_off_for_what_happened(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "MAX_BUFFERED", 1_000)
    monkeypatch.setattr(event_stream, "MAX_CAUGHT_UP", 100)
    for number in range(10):
        feed.add(ALICE, f"sip:{number}@192.0.2.1", f"sip:{number}@192.0.2.2")
    client = feed.listen(after=Place(0, LAST))
    await anext(client)
    first = await anext(client)
    assert first.count(b"event: ") == 2  # more than may wait, but a change is told in one piece
    assert len(await take(client, 18)) == 18
    await client.aclose()


async def test_filters_by_aor_and_event(feed: Feed) -> None:
    client = feed.listen("bob", ENDS)
    await anext(client)
    feed.add(ALICE, "sip:a@192.0.2.1")
    feed.add(BOB, "sip:a@192.0.2.1")
    for aor in (ALICE, BOB):
        feed.commit(aor, lambda draft: draft.remove(None, ContactEvent.DEACTIVATED, 0))
    assert await take(client, 1) == [("4-0", "deactivated", BOB)]
    await client.aclose()


async def test_refreshes_are_told_to_who_asked_for_them(feed: Feed) -> None:
    feed.add(ALICE, "sip:a@192.0.2.1")

    def refresh(draft: Draft) -> None:
        draft.add(Binding(uri="sip:a@192.0.2.1", call_id="c", cseq=9, registered_at=1_000, expires_at=9_900_000))

    asked, other = feed.listen(), feed.listen(events=ALL - {ContactEvent.REFRESHED})
    await anext(asked)
    await anext(other)
    feed.commit(ALICE, refresh)
    feed.add(BOB, "sip:a@192.0.2.1")
    assert [event for _, event, _ in await take(asked, 2)][-1] == "created"
    assert (await take(other, 1))[0][2] == BOB
    await asked.aclose()
    await other.aclose()


async def test_a_client_that_does_not_read_is_cut_off(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "MAX_BUFFERED", 1_000)
    client = feed.listen()
    await anext(client)
    waiting = asyncio.ensure_future(anext(client))
    while not any(one.is_live for one in feed.stream._clients):
        await asyncio.sleep(0)
    feed.add(BOB, "sip:b@192.0.2.1")
    await waiting
    for number in range(10):
        feed.add(ALICE, f"sip:{number}@192.0.2.1")
    with pytest.raises(StopAsyncIteration):
        await take(client, 11)
    assert (feed.stream.cut, len(feed.stream), feed.is_followed) == (1, 0, False)


async def test_there_are_so_many_clients_at_most(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "MAX_CLIENTS", 2)
    clients = [feed.listen() for _ in range(3)]
    await anext(clients[0])
    await anext(clients[1])
    with pytest.raises(TooManyClients):
        await anext(clients[2])
    await clients[0].aclose()
    await anext(fourth := feed.listen())
    await fourth.aclose()
    await clients[1].aclose()
    assert not feed.is_followed


async def test_a_silent_stream_moves_the_place_to_come_back_to(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE_SECONDS", 0)
    client = feed.listen("nobody")
    await anext(client)
    feed.add(ALICE, "sip:a@192.0.2.1")
    assert await anext(client) == b"id: 1\n\n"
    await client.aclose()


async def test_closing_lets_everybody_go(feed: Feed) -> None:
    client = feed.listen()
    await anext(client)
    waiting = asyncio.ensure_future(anext(client))
    await asyncio.sleep(0)
    await feed.stream.close()
    with pytest.raises(StopAsyncIteration):
        await waiting
    assert not feed.is_followed


@pytest.mark.parametrize("text", ["", "-1", "1-", "x", "1-0-0", "9" * 20])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not the id of an event"):
        parse_place(text)


def test_a_bare_number_is_behind_every_contact_of_its_change() -> None:
    places: Sequence[Place] = [parse_place("7-0"), parse_place("7-31"), parse_place("7"), parse_place("8-0")]
    assert places == sorted(places)
