"""The users as the operator changes them: rows of `subscriber`, and the hashes Kamailio has no column for.

The tables are made where they are missing.  A password is hashed and forgotten; one that stood in clear in the row is
overwritten.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

from reginfo.fast import digest_ha1, digest_userhash
from reginfo.store.credentials import Credentials
from reginfo.store.database import RETRY_AFTER, Database, Statement, TableMissing, WriteRefused
from reginfo.store.ha1 import ALGORITHMS, names_of

PAGE: Final = 500  # users read at a time

# The columns, constraint and types of Kamailio's table, version 7.
_SUBSCRIBER: Final = (
    "CREATE TABLE IF NOT EXISTS subscriber (id {serial} PRIMARY KEY NOT NULL, "
    "username VARCHAR(64) DEFAULT '' NOT NULL, domain VARCHAR(64) DEFAULT '' NOT NULL, "
    "password VARCHAR(64) DEFAULT '' NOT NULL, "
    "ha1 VARCHAR(128) DEFAULT '' NOT NULL, ha1b VARCHAR(128) DEFAULT '' NOT NULL, "
    "CONSTRAINT subscriber_account_idx UNIQUE (username, domain))"
)
_PUT: Final = (
    "INSERT INTO subscriber (username, domain, password, ha1, ha1b) VALUES ($1, $2, '', $3, $4) "
    "ON CONFLICT (username, domain) DO UPDATE SET password = '', ha1 = excluded.ha1, ha1b = excluded.ha1b"
)
_PUT_OURS: Final = (
    "INSERT INTO reginfo_credentials VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (username, realm, algorithm) "
    "DO UPDATE SET userhash = excluded.userhash, ha1 = excluded.ha1, made_with = excluded.made_with"
)
_REMOVE: Final = "DELETE FROM subscriber WHERE username = $1 AND domain = $2"
_REMOVE_OURS: Final = "DELETE FROM reginfo_credentials WHERE username = $1 AND realm = $2"
_PAGE: Final = "SELECT id, username, domain, length(password) FROM subscriber WHERE id > $1 ORDER BY id LIMIT $2"
_ONE: Final = "SELECT id, username, domain, length(password) FROM subscriber WHERE username = $1 AND domain = $2"


class User(NamedTuple):
    """A user as he may be shown."""

    username: str
    realm: str
    algorithms: tuple[str, ...]
    "What he can be challenged with."
    in_clear: bool
    "Whether the table has his password itself."


class Users:
    """The table of users, written."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._credentials = Credentials(database)

    async def start(self, *, create: bool = False) -> None:
        """Open the database, with create make what is missing; raise ConfigError where that cannot be."""
        await self._database.start()
        if create:
            try:
                await self._database.rows(_ONE, "", "")
            except TableMissing:
                await self._database.write([(_SUBSCRIBER.format(serial=self._database.serial), [()])])
        await self._credentials.start()

    async def find(self, username: str, realm: str) -> User | None:
        """Return one user."""
        found = await self._database.rows(_ONE, username, realm)
        return await self._user(*found[0][1:]) if found else None

    async def all(self) -> AsyncIterator[User]:
        """Yield the users of every realm, in the order they were added."""
        after = 0
        while found := await self._database.rows(_PAGE, after, PAGE):
            for _, *user in found:
                yield await self._user(*user)
            after = int(found[-1][0] or 0)

    async def put(self, passwords: Sequence[tuple[str, str]], realm: str) -> None:
        """Give users, new ones or known ones, these passwords: all of them or none."""
        if not await self._credentials.has_ours():
            raise WriteRefused("auth.db_url: this database may not be written", retry_after=RETRY_AFTER)
        ours, theirs = [], []
        for username, password in passwords:
            hashes = {
                (name, algorithm): digest_ha1(algorithm, name, realm, password)
                for name in names_of(username, realm)
                for algorithm in ALGORITHMS
            }
            plain = hashes[username, "MD5"]
            theirs.append((username, realm, plain, hashes[names_of(username, realm)[-1], "MD5"]))
            ours += [
                (
                    name,
                    realm,
                    algorithm,
                    digest_userhash(algorithm, name, realm),
                    "" if algorithm == "MD5" else value,
                    plain,
                )
                for (name, algorithm), value in hashes.items()
            ]
        await self._database.write([(_PUT, theirs), (_PUT_OURS, ours)])

    async def remove(self, username: str, realm: str) -> None:
        """Remove a user, and what else is known of him."""
        statements: list[Statement] = [(_REMOVE, [(username, realm)])]
        statements.append((_REMOVE_OURS, [(name, realm) for name in names_of(username, realm)]))
        await self._database.write(statements)

    async def close(self) -> None:
        """Let go of the database."""
        await self._credentials.close()

    async def _user(self, username: object, realm: object, password_length: object) -> User:
        hashes = await self._credentials.find(str(username), str(realm)) or {}
        return User(str(username), str(realm), tuple(a for a in ALGORITHMS if a in hashes), bool(password_length))
