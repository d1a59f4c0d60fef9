"""Who may say who they are: the hashes of users, from Kamailio's table `subscriber` and one of ours beside it.

`subscriber` has what MD5 needs: ha1, and ha1b for clients that give user@domain as their name.  A password that
stands there in clear gives everything.  For the other algorithms, and for names that are hashed (RFC 7616 section
3.4.4), the table `reginfo_credentials` has a row per name, realm and algorithm.  Such a row is good only as long as
`subscriber` still has the ha1 it was made with: a password changed by somebody else leaves no old one behind.
"""

import asyncio
import logging
import string
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from reginfo.config import AuthSection
from reginfo.errors import ConfigError, StoreUnavailable
from reginfo.fast import digest_ha1, digest_userhash
from reginfo.store.database import ANSWER_S, RETRY_AFTER, Database, Row, TableMissing, WriteRefused
from reginfo.store.ha1 import ALGORITHMS, HEX_DIGITS, names_of
from reginfo.store.postgres import PostgresDatabase
from reginfo.store.sqlite import SqliteDatabase

logger = logging.getLogger(__name__)

MAX_WAITING: Final = 1000  # look-ups under way; a database that needs a second for so many is not answering
INDEX_ROWS: Final = 500  # users whose names are hashed at a time: some 10 ms of the database
INDEX_WAIT_S: Final = 1.0  # that a look-up by hash waits for names not hashed yet

T = TypeVar("T")

_HEX: Final = frozenset(string.hexdigits)

SIDE_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS reginfo_credentials ("
    "username VARCHAR(129) NOT NULL, realm VARCHAR(128) NOT NULL, algorithm VARCHAR(16) NOT NULL, "
    "userhash VARCHAR(64) NOT NULL, ha1 VARCHAR(64) NOT NULL, made_with VARCHAR(128) NOT NULL, "
    "PRIMARY KEY (username, realm, algorithm))",
    "CREATE INDEX IF NOT EXISTS reginfo_credentials_userhash ON reginfo_credentials (userhash)",
)

_FIND: Final = "SELECT username, password, ha1, ha1b FROM subscriber WHERE domain = $1 AND username IN ($2, $3)"
_FIND_OURS: Final = "SELECT algorithm, ha1, made_with FROM reginfo_credentials WHERE username = $1 AND realm = $2"
_FIND_NAME: Final = "SELECT username FROM reginfo_credentials WHERE userhash = $1 AND algorithm = $2 AND realm = $3"
_NEWEST: Final = "SELECT max(id) FROM subscriber"
_TO_INDEX: Final = (
    "SELECT s.id, s.username, s.domain, (SELECT count(*) FROM reginfo_credentials c "
    "WHERE c.username = s.username AND c.realm = s.domain) FROM subscriber s WHERE s.id > $1 ORDER BY s.id LIMIT $2"
)
_INDEX: Final = "INSERT INTO reginfo_credentials VALUES ($1, $2, $3, $4, '', '') ON CONFLICT DO NOTHING"


def open_database(url: str, *, create: bool = False) -> Database:
    """Return the database that auth.db_url names."""
    if url.startswith("sqlite:///"):
        return SqliteDatabase(Path(url.removeprefix("sqlite:///")), create=create)
    return PostgresDatabase(url)


def open_credentials(section: AuthSection) -> "Credentials":
    """Return the users of [auth]; nothing is opened before start() or the first look-up."""
    return Credentials(open_database(section.db_url))


class Credentials:
    """Look-ups; each raises StoreUnavailable while the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting = 0
        self._version: object = None
        self._has_ours: bool | None = None
        self._indexed = 0
        self._indexing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the database and look whether the users are there; ConfigError if they cannot be."""
        await self._bounded(self._database.start())
        try:
            await self._rows(_FIND, "", "", "")
        except TableMissing as error:
            raise ConfigError(f"{error}; reginfo user add makes a missing table", key="auth.db_url") from None
        self._version = await self._bounded(self._database.version())

    async def find(self, username: str, realm: str) -> dict[str, str] | None:
        """Return algorithm -> HA1 in lower-case hex, for every algorithm there is one for; None: no such user."""
        if not username.isprintable():  # no user has such a name, and not every database can be asked for it
            return None
        short, _, domain = username.rpartition("@")
        names = (username, short if short and domain == realm else username)
        # The same statements whatever they find: who does not exist takes as long as who does.
        rows = {row[0]: row for row in await self._rows(_FIND, realm, *names)}
        ours = await self._rows(_FIND_OURS, username, realm) if await self.has_ours() else []
        row = rows.get(username) or rows.get(names[1])
        return None if row is None else _hashes(row, ours, username, realm)

    async def find_hash(self, algorithm: str, userhash: str, realm: str) -> tuple[str, dict[str, str]] | None:
        """Return the user name, and what find() says about it, of who gave H(username:realm)."""
        if not _HEX.issuperset(userhash):
            return None
        name = await self._name(algorithm, userhash, realm)
        if name is None and await self._is_behind():
            if self._indexing is None or self._indexing.done():
                self._indexing = asyncio.create_task(self._index())
            await asyncio.wait((self._indexing,), timeout=INDEX_WAIT_S)
            name = await self._name(algorithm, userhash, realm)
        hashes = None if name is None else await self.find(name, realm)
        return None if name is None or hashes is None else (name, hashes)

    async def changed(self) -> bool:
        """Tell whether what was found before may be different now."""
        version = await self._bounded(self._database.version())
        self._version, before = version, self._version
        return version != before

    async def close(self) -> None:
        """Let go of the database."""
        if self._indexing is not None:
            self._indexing.cancel()
        await self._database.close()

    async def _name(self, algorithm: str, userhash: str, realm: str) -> str | None:
        if not await self.has_ours():
            return None
        found = await self._rows(_FIND_NAME, userhash, algorithm, realm)
        return str(found[0][0]) if found else None

    async def has_ours(self) -> bool:
        """Tell whether our own table is there; make it where that is allowed."""
        if self._has_ours is None:
            try:
                await self._rows(_FIND_OURS, "", "")
                self._has_ours = True
            except TableMissing:
                try:
                    await self._bounded(self._database.write([(sql, [()]) for sql in SIDE_TABLE]))
                    self._has_ours = True
                except WriteRefused as error:
                    logger.warning("users read only, none is known by a hashed name reason=%s", error)
                    self._has_ours = False
        return self._has_ours

    async def _is_behind(self) -> bool:
        """Tell whether there may be users whose names are not hashed yet."""
        if not await self.has_ours():
            return False
        newest = (await self._rows(_NEWEST))[0][0] or 0
        return int(newest) > self._indexed

    async def _index(self) -> None:
        """Hash the names of those who came in by other hands, oldest first."""
        try:
            while found := await self._rows(_TO_INDEX, self._indexed, INDEX_ROWS):
                new = [
                    (name, str(realm), algorithm, digest_userhash(algorithm, name, str(realm)))
                    for _, username, realm, known in found
                    if not known
                    for name in names_of(str(username), str(realm))
                    for algorithm in ALGORITHMS
                ]
                if new:
                    await self._bounded(self._database.write([(_INDEX, new)]))
                self._indexed = int(found[-1][0] or 0)
        except WriteRefused as error:
            self._indexed = int(found[-1][0] or 0)  # strangers, who make names up, would have it tried with each
            logger.warning("users read only, new ones are not known by a hashed name reason=%s", error)
        except StoreUnavailable as error:
            logger.warning("hashing of user names put off reason=%s", error)

    async def _rows(self, sql: str, *values: str | int) -> list[Row]:
        if self._waiting >= MAX_WAITING:
            raise StoreUnavailable("too many look-ups wait for the database of users", retry_after=RETRY_AFTER)
        self._waiting += 1
        try:
            return await self._bounded(self._database.rows(sql, *values))
        finally:
            self._waiting -= 1

    async def _bounded(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await work
        except TimeoutError:
            raise StoreUnavailable("the database of users does not answer", retry_after=RETRY_AFTER) from None


def _hashes(row: Row, ours: Sequence[Row], name: str, realm: str) -> dict[str, str]:
    """Return what there is for who gives name, a row of subscriber and the rows of ours for name."""
    username, password, plain, with_domain = (str(value or "") for value in row)
    if password:
        return {algorithm: digest_ha1(algorithm, name, realm, password) for algorithm in ALGORITHMS}
    found = {str(algorithm): str(value) for algorithm, value, made_with in ours if made_with == plain}
    found["MD5"] = plain if name == username else with_domain
    return {
        algorithm: value.lower()
        for algorithm, value in found.items()
        if len(value) == HEX_DIGITS.get(algorithm) and _HEX.issuperset(value)
    }
