"""A database in a file, by SQLite in a thread of its own: a slow disk stalls nobody but who asks."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from reginfo.errors import ConfigError, StoreUnavailable
from reginfo.store.database import RETRY_AFTER, Row, Statement, TableMissing, WriteRefused

LOCK_WAIT_S: Final = 1.0
"How long a statement waits for a lock of another process; a writer like Kamailio holds it for milliseconds."

T = TypeVar("T")


class SqliteDatabase:
    """One connection, used by one thread."""

    serial = "INTEGER"

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._path = path
        self._create = create
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="subscriber")
        self._connection: sqlite3.Connection | None = None
        self._identity = (0, 0)

    async def start(self) -> None:
        if not (self._create or await self._run(self._path.exists)):
            raise ConfigError(f"auth.db_url: {self._path} does not exist; reginfo user add makes it", key="auth.db_url")
        await self._run(self._opened)

    async def rows(self, sql: str, *values: str | int) -> list[Row]:
        return await self._run(lambda: self._opened().execute(sql, _named(values)).fetchall())

    async def write(self, statements: Sequence[Statement]) -> None:
        def work() -> None:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            with connection:  # COMMIT, or ROLLBACK
                for sql, executions in statements:
                    for values in executions:
                        connection.execute(sql, _named(values))

        await self._run(work)

    async def version(self) -> object:
        return await self._run(self._version)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._let_go)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, work)

    def _guarded(self, work: Callable[[], T]) -> T:
        """Do work; whatever SQLite has to say about it leaves as an error of ours."""
        try:
            return work()
        except (sqlite3.Error, OSError) as error:
            # The low byte is the primary code; errors of the module itself have none.
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            text = str(error) if isinstance(error, sqlite3.Error) else str(error.strerror)
            if code == sqlite3.SQLITE_ERROR and text.startswith("no such "):
                raise TableMissing(f"{self._path}: {text}", retry_after=RETRY_AFTER) from None
            if code == sqlite3.SQLITE_READONLY:
                raise WriteRefused(f"{self._path}: {text}", retry_after=RETRY_AFTER) from None
            raise StoreUnavailable(f"{self._path}: {text}", retry_after=RETRY_AFTER) from None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            if self._create:
                # SQLite would make it readable for everybody.
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            mode = "rw" if os.access(self._path, os.W_OK) else "ro"
            connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=LOCK_WAIT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                connection.execute("SELECT 1 FROM sqlite_master").fetchall()  # a file of another kind shows now
                self._identity = self._identity_on_disk()
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _version(self) -> object:
        identity = self._identity_on_disk()
        if identity != self._identity:  # another file was moved to its place
            self._let_go()
        connection = self._opened()
        return (*self._identity, *connection.execute("PRAGMA data_version").fetchone())

    def _identity_on_disk(self) -> tuple[int, int]:
        status = os.stat(self._path)
        return status.st_dev, status.st_ino

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _named(values: Sequence[str | int]) -> dict[str, str | int]:
    """Return values under the names that $1, $2, … are to SQLite."""
    return {str(number): value for number, value in enumerate(values, 1)}
