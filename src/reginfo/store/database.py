"""The seam to a relational database: the few statements on the table of users, the same for all of them."""

from collections.abc import Sequence
from typing import Final, Protocol

from reginfo.errors import StoreUnavailable

Row = tuple[str | int | None, ...]
Statement = tuple[str, Sequence[Sequence[str | int]]]
"SQL with $1, $2, … and the values of each of its executions."

RETRY_AFTER: Final = 1  # seconds: a lock of another writer is gone by then

ANSWER_S: Final = 5.0
"Longest wait for a database to answer."


class TableMissing(StoreUnavailable):
    """A table or column that a statement names is not there."""


class WriteRefused(StoreUnavailable):
    """The database may be read, not written."""


class Database(Protocol):
    """Statements and their results; StoreUnavailable is raised for whatever another try may cure."""

    serial: str
    "Type of a column that numbers its rows."

    async def start(self) -> None:
        """Open it, if it is not open yet.  Raise ConfigError where that can never be."""

    async def rows(self, sql: str, *values: str | int) -> list[Row]:
        """Return what a query finds.  Raise TableMissing."""

    async def write(self, statements: Sequence[Statement]) -> None:
        """Execute all of them or none.  Raise TableMissing or WriteRefused."""

    async def version(self) -> object:
        """Return what is unequal to an earlier answer once somebody else has changed the users."""

    async def close(self) -> None:
        """Let go of it."""
