"""A database of PostgreSQL, by asyncpg (the extra [postgres]); its secrets come from where libpq has them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from reginfo.errors import ConfigError, StoreUnavailable
from reginfo.store.database import ANSWER_S, RETRY_AFTER, Row, Statement, TableMissing, WriteRefused

MAX_CONNECTIONS: Final = 4  # a look-up takes well below a millisecond; a server has about a hundred for everybody

# Rows written since ever, and which file they are in: TRUNCATE and VACUUM FULL change the latter alone.
_VERSION: Final = (
    "SELECT n_tup_ins + n_tup_upd + n_tup_del, pg_relation_filenode(relid), relid::bigint "
    "FROM pg_stat_user_tables WHERE relid IN (to_regclass('subscriber'), to_regclass('reginfo_credentials')) "
    "ORDER BY relid"
)


class PostgresDatabase:
    """A few connections, made when they are needed."""

    serial = "SERIAL"

    def __init__(self, url: str) -> None:
        try:
            import asyncpg
        except ImportError:
            raise ConfigError(
                "auth.db_url: PostgreSQL needs asyncpg: pip install 'reginfo[postgres]'", key="auth.db_url"
            ) from None
        self._asyncpg = asyncpg
        self._url = url
        self._pool: Any = None
        self._connecting = asyncio.Lock()

    async def start(self) -> None:
        async with self._connection():
            pass

    async def rows(self, sql: str, *values: str | int) -> list[Row]:
        async with self._connection() as connection:
            return [tuple(record) for record in await connection.fetch(sql, *values)]

    async def write(self, statements: Sequence[Statement]) -> None:
        async with self._connection() as connection, connection.transaction():
            for sql, executions in statements:
                await connection.executemany(sql, executions)

    async def version(self) -> object:
        return await self.rows(_VERSION)

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.terminate()  # nothing is under way that somebody waits for
            self._pool = None

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """Give a connection; whatever goes wrong with it leaves as an error of ours."""
        exceptions = self._asyncpg.exceptions
        try:
            async with self._connecting:
                if self._pool is None:
                    self._pool = await self._asyncpg.create_pool(
                        self._url, min_size=0, max_size=MAX_CONNECTIONS, timeout=ANSWER_S, command_timeout=ANSWER_S
                    )
            async with self._pool.acquire(timeout=ANSWER_S) as connection:
                yield connection
        except ValueError as error:  # asyncpg's about an address it cannot make sense of
            raise ConfigError(f"auth.db_url: {error}", key="auth.db_url") from None
        except (exceptions.PostgresError, exceptions.InterfaceError, OSError, TimeoutError) as error:
            kind = StoreUnavailable
            if isinstance(error, (exceptions.UndefinedTableError, exceptions.UndefinedColumnError)):
                kind = TableMissing
            elif isinstance(error, (exceptions.InsufficientPrivilegeError, exceptions.ReadOnlySQLTransactionError)):
                kind = WriteRefused
            raise kind(f"auth.db_url: {str(error) or 'no answer in time'}", retry_after=RETRY_AFTER) from None
