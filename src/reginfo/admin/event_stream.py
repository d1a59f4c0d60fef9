"""Contact events as they happen, for everybody who listens: server-sent events that go on where they broke off.

An event is encoded once, whoever hears it.  A client that does not read is cut off; it comes back with the number of
the last event it has, and is told the rest from the feed.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from reginfo.admin.contact_events import WallMs, event_key, event_view
from reginfo.errors import FeedGap
from reginfo.fast import Change, beyond_refreshes
from reginfo.model import ContactEvent

MAX_CLIENTS: Final = 256
MAX_BUFFERED: Final = 1 << 20  # octets that wait for one client
MAX_CAUGHT_UP: Final = 1 << 16  # octets after which no further change is read at once for a client that catches up
CHANGES_PER_READ: Final = 64  # read for a client that catches up; some have several contacts
GATHER_SECONDS: Final = 0.05  # between two writes to one client: a hundred of them cost little then
KEEP_ALIVE_SECONDS: Final = 15.0

LAST: Final = 1 << 30  # place behind every contact of a change

_PLACE = re.compile(r"([0-9]{1,19})(?:-([0-9]{1,9}))?")


class Place(NamedTuple):
    """Between two events: after this one."""

    seq: int
    contact: int
    "Its place among those of the change."


def parse_place(text: str) -> Place:
    """Return what the id of an event, or the bare number of a change, says; ValueError if it is none."""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not the id of an event")
    return Place(int(match[1]), int(match[2]) if match[2] else LAST)


class Client:
    """Somebody who listens."""

    def __init__(self, wants_aor: Callable[[str], bool], events: frozenset[str], after: Place) -> None:
        self._wants_aor = wants_aor
        self.events = events
        self.after = after
        "What it has been given, or does not want."
        self.is_live = False
        "Whether it is told by the stream itself; else it catches up."
        self.is_cut = False
        self._pieces: list[bytes] = []
        self.waiting = 0
        "Octets."
        self.news = asyncio.Event()

    def wants(self, aor: str, event: str) -> bool:
        return event in self.events and self._wants_aor(aor)

    def put(self, octets: bytes) -> None:
        """Let octets be sent; whoever is told as things happen and has too many waiting is cut off."""
        if self.is_live and self.waiting + len(octets) > MAX_BUFFERED:
            self.is_cut = True
            self._pieces.clear()
        elif not self.is_cut:
            self._pieces.append(octets)
            self.waiting += len(octets)
        self.news.set()

    def take(self) -> bytes:
        """Return what waits."""
        octets = b"".join(self._pieces)
        self._pieces.clear()
        self.waiting = 0
        return octets


class TooManyClients(Exception):
    """There are MAX_CLIENTS already."""


class EventStream:
    """The feed as server-sent events."""

    def __init__(
        self,
        changes: Callable[[int, int], Awaitable[list[Change]]],
        last_seq: Callable[[], int],
        follow: Callable[["EventStream"], Callable[[], Awaitable[None]]],
        wall_ms: WallMs,
    ) -> None:
        """changes(after, limit) reads the feed and raises FeedGap; last_seq() is the number of the newest change.

        follow(stream) has read() called until what it returns is awaited.
        """
        self._changes = changes
        self._last_seq = last_seq
        self._follow = follow
        self._wall_ms = wall_ms
        self._clients: set[Client] = set()
        self._wants_refreshes = False  # somebody does
        self._unfollow: Callable[[], Awaitable[None]] | None = None
        self._seq = 0
        self._is_closed = False
        self._catching_up = asyncio.Lock()
        self.cut = 0
        "Clients that did not read what they were sent."

    def __len__(self) -> int:
        return len(self._clients)

    def statistics(self) -> dict[str, int]:
        """Return how many listen, and how many were cut off."""
        return {"clients": len(self._clients), "cut": self.cut}

    def read(self, changes: Sequence[Change]) -> None:
        """Take committed changes, in feed order, for everybody who has caught up."""
        live = [client for client in self._clients if client.is_live]
        for change in changes if self._wants_refreshes else beyond_refreshes(changes)[1]:
            self._tell(change, live)
        self._seq = changes[-1].seq
        place = Place(self._seq, LAST)
        for client in live:
            client.after = place

    def miss(self) -> None:
        """Take note that changes are not held any more: each client finds out what it is missing."""
        for client in self._clients:
            client.is_live = False

    def _tell(self, change: Change, clients: Sequence[Client]) -> None:
        for index, (binding, event) in enumerate(change.contacts):
            octets = b""
            for client in clients:
                if client.after < (change.seq, index) and client.wants(change.aor, event):
                    if not octets:
                        view = event_view(change, index, binding, event, self._wall_ms)
                        octets = encode(change.seq, index, event, view)
                    client.put(octets)

    async def listen(
        self, wants_aor: Callable[[str], bool], events: frozenset[str], after: Place | None
    ) -> AsyncGenerator[bytes]:
        """Yield octets to send, until the client is cut off or the stream closed; raises TooManyClients.

        after is the last event the client has; None begins with what happens next.
        """
        if len(self._clients) >= MAX_CLIENTS or self._is_closed:
            raise TooManyClients
        newest = Place(self._last_seq(), LAST)
        client = Client(wants_aor, events, after or newest)
        if client.after > newest:  # of a journal that is not there any more
            client.put(_gap(client.after, newest.seq + 1))
            client.after = newest
        self._clients.add(client)
        self._wants_refreshes |= ContactEvent.REFRESHED in client.events
        if self._unfollow is None:
            self._seq = self._last_seq()
            self._unfollow = self._follow(self)
        try:
            # Without data it is no event, but whoever has seen none yet knows where to come back to.
            yield b": contact events\n\n" if after else b"id: %d\n\n" % client.after.seq
            while not (client.is_cut or self._is_closed):
                client.news.clear()
                if not client.is_live:
                    async with self._catching_up:  # all come back at once after a restart
                        await self._catch_up(client)
                        await asyncio.sleep(0)
                octets = client.take()
                if octets:
                    yield octets
                if octets or not client.is_live:
                    if client.is_live:
                        await asyncio.sleep(GATHER_SECONDS)
                    continue
                try:
                    async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                        await client.news.wait()
                except TimeoutError:
                    # Without data it is no event, but it moves the place the client comes back to.
                    # What has come in this very moment goes first.
                    yield client.take() or b"id: %d\n\n" % client.after.seq
        finally:
            self.cut += client.is_cut
            self._clients.discard(client)
            self._wants_refreshes = any(ContactEvent.REFRESHED in one.events for one in self._clients)
            if not self._clients and self._unfollow is not None:
                unfollow, self._unfollow = self._unfollow, None
                await unfollow()

    async def _catch_up(self, client: Client) -> None:
        """Give a client some of what it has missed; once that is all, it is told as things happen."""
        if client.after.seq >= self._seq:
            client.is_live = True
            return
        # The change that it may have in part is read again.
        before = max(0, client.after.seq - (client.after.contact < LAST))
        try:
            changes = await self._changes(before, CHANGES_PER_READ)
        except FeedGap as gap:
            client.put(_gap(client.after, gap.oldest))
            client.after = Place(gap.oldest - 1, LAST)
            return
        for change in changes:
            if change.seq > self._seq or client.waiting > MAX_CAUGHT_UP:
                break
            if not change.only_refreshes or ContactEvent.REFRESHED in client.events:
                self._tell(change, (client,))
            client.after = Place(change.seq, LAST)
        if not changes:
            client.after = Place(self._seq, LAST)

    async def close(self) -> None:
        """Let everybody go."""
        self._is_closed = True
        for client in self._clients:
            client.news.set()
        if self._unfollow is not None:
            unfollow, self._unfollow = self._unfollow, None
            await unfollow()


def encode(seq: int, index: int, event: str, view: object) -> bytes:
    """Return an event as a server sends it (HTML Living Standard, section 9.2.6)."""
    key = event_key(seq, index).encode()
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (key, event.encode(), msgspec.json.encode(view))


def _gap(after: Place, oldest: int) -> bytes:
    return b"event: gap\ndata: %s\n\n" % msgspec.json.encode({"after": after.seq, "oldest": oldest})
