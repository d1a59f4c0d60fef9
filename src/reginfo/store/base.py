"""The seam between decisions and durability.

A store keeps the records of addresses-of-record, puts every change of them in one order, and lets
consumers read that order.  It is asynchronous and batch-wise, so that a store across a network costs
one round trip per batch; it decides nothing and never looks into a record beyond its revision.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from reginfo.model import StateItem

if TYPE_CHECKING:
    from reginfo.fast import Change

Cursor = tuple[int, bytes]
"Sequence number of the last change a consumer has dealt with, and the state it saved with it."


class Durability(StrEnum):
    """Where a change must be before it counts as made."""

    MEMORY = "memory"
    "In this process only."
    BATCHED = "batched"
    "In this process; handed to the operating system at most 100 ms later."
    COMMITTED = "committed"
    "With the operating system: survives the death of the process."
    SYNCED = "synced"
    "On the disk: survives a power cut."


class Store(Protocol):
    """Location service: records with revisions, the feed of their changes, and role state."""

    @property
    def last_seq(self) -> int:
        """Sequence number of the newest visible change; 0 before the first."""

    @property
    def takes_changes(self) -> bool:
        """False while nothing can be committed."""

    def changed_ms(self, seq: int) -> int | None:
        """Return when a change was made, in engine time; None if it is no longer, or not yet, in memory."""

    @property
    def clock_offset(self) -> int:
        """Milliseconds between wall time and engine time as last saved; 0 if never saved."""

    @property
    def contacts(self) -> int:
        """Number of rows over all addresses-of-record."""

    def __len__(self) -> int:
        """Number of addresses-of-record that have a record."""

    async def load(self, aors: Sequence[str]) -> list[bytes | None]:
        """Return the record of each address-of-record, None where there is none."""

    async def commit(self, changes: Sequence["Change"], state: Sequence[StateItem] = ()) -> list[int]:
        """Make changes and role state durable as one, and return the indices of refused changes.

        A change is refused if the revision of its address-of-record is not its base revision; so are
        the later changes of that address-of-record in the same call.  Accepted changes have their
        sequence number, in the order given.  Raise StoreUnavailable if the call could not be made
        durable; nothing of it is kept then.
        """

    async def changes(self, after_seq: int, limit: int, *, refreshes: bool = False) -> list["Change"]:
        """Return at most limit changes that follow after_seq, oldest first.

        Changes that only refresh may be missing among those no longer in memory, unless refreshes is
        set.  Raise FeedGap if what follows after_seq is no longer held.
        """

    async def due(self, now_ms: int, limit: int) -> list[str]:
        """Return at most limit addresses-of-record with a row whose time is over."""

    def next_due_ms(self) -> int | None:
        """Return an instant before which due() has nothing, None if nothing expires."""

    def find_gruu(self, index: int) -> str | None:
        """Return the address-of-record of the instance that has this index; None if no row has it."""

    async def page(self, cursor: int, n: int) -> tuple[int, list[bytes]]:
        """Return the next cursor (0 at the end) and about n records; begin with cursor 0.

        A record that is there during the whole walk is seen at least once.
        """

    async def flows(self) -> list[tuple[str, str]]:
        """Return address-of-record and flow of every local binding that ends with a flow; meant for the start."""

    async def attach(self, name: str, wants_refreshes: bool) -> Cursor | None:
        """Register a durable consumer of the feed and return its saved cursor.

        None means it never saved one: it starts with the full state and goes on from last_seq.  The
        feed is kept for registered consumers, within the bound of the store.
        """

    async def cursor(self, name: str) -> Cursor | None:
        """Return the saved cursor of a consumer."""

    async def save_cursor(self, name: str, seq: int, state: bytes = b"") -> None:
        """Save how far a consumer has come, and its state, as one.

        Raise StoreUnavailable if that is not possible now; the consumer goes on and saves later.
        """

    async def get_state(self, key: bytes) -> bytes | None:
        """Return the role state under key."""

    async def scan_state(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """Return all role state under prefix, by key; meant for the start of a role."""

    async def save_clock_offset(self, offset_ms: int) -> None:
        """Keep the distance between wall time and engine time for the next start."""

    async def sync(self) -> None:
        """Return once all that is committed is where this store keeps it for good; raise StoreUnavailable."""

    async def close(self) -> None:
        """Write what is pending and let go of the folder or connection."""
