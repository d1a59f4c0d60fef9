"""Users and their hashes, in SQLite and in a real PostgreSQL, beside Kamailio's own doings."""

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from reginfo.config import AuthSection
from reginfo.errors import ConfigError, StoreUnavailable
from reginfo.fast import digest_ha1, digest_userhash
from reginfo.store import credentials as module
from reginfo.store.credentials import Credentials, open_credentials, open_database
from reginfo.store.database import Database, Row, Statement, WriteRefused
from reginfo.store.ha1 import ALGORITHMS, BadUser, checked_password, checked_username
from reginfo.store.users import User, Users
from tests.store.postgres import running_postgres

SCHEMA = Path("/usr/share/kamailio/db_sqlite")
REALM = "example.org"
PASSWORD = "s3cret"


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def every_ha1(name: str, password: str = PASSWORD) -> dict[str, str]:
    return {algorithm: digest_ha1(algorithm, name, REALM, password) for algorithm in ALGORITHMS}


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with running_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """Give a database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/subscriber.db"
        return
    url = request.getfixturevalue("postgres")
    other = open_database(url)
    tables = ("subscriber", "reginfo_credentials")
    await other.write([(f"DROP TABLE IF EXISTS {table}", [()]) for table in tables])
    await other.close()
    yield url


@pytest.fixture
async def users(url: str) -> AsyncIterator[Users]:
    """The operator's hand; alice is there already."""
    users = Users(open_database(url, create=True))
    await users.start(create=True)
    await users.put([("alice", PASSWORD)], REALM)
    yield users
    await users.close()


@pytest.fixture
async def kamailio(users: Users, url: str) -> AsyncIterator[Database]:
    """A connection of somebody who knows the table `subscriber` only."""
    database = open_database(url)
    yield database
    await database.close()


@pytest.fixture
async def credentials(users: Users, url: str) -> AsyncIterator[Credentials]:
    found = open_credentials(AuthSection(db_url=url))
    await found.start()
    yield found
    await found.close()


def adding(username: str, password: str = "", plain: str = "", with_domain: str = "") -> list[Statement]:
    """Return what Kamailio's tools do to add a user."""
    sql = "INSERT INTO subscriber (username, domain, password, ha1, ha1b) VALUES ($1, $2, $3, $4, $5)"
    return [(sql, [(username, REALM, password, plain, with_domain)])]


# ---- look-ups


async def test_every_algorithm_has_its_ha1_per_user_and_realm(credentials: Credentials) -> None:
    """AUT-12"""
    assert await credentials.find("alice", REALM) == every_ha1("alice")
    assert await credentials.find("alice@example.org", REALM) == every_ha1("alice@example.org")
    assert await credentials.find("alice", "example.com") is None
    assert await credentials.find("alice@example.com", REALM) is None
    assert await credentials.find("bob", REALM) is None
    for hostile in ("", "a\0b", "\ud800", "@", f"@{REALM}", "' OR ''='", "a" * 70_000):
        assert await credentials.find(hostile, REALM) is None


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "c9051748c8f1f4d3f0ef58441816ba28"),
        ("SHA-256", "edb6bf8a7da0fa3ceba59f4ebd1c9f1ebf525dc91097691acea430ec1bcfd5d0"),
        ("SHA-512-256", "c98f33d8263c3f1139e53e713e04d10829529ea32ba7b020491d65529e0da281"),
    ],
)
def test_what_is_kept_answers_the_vectors(algorithm: str, response: str) -> None:
    """AUT-13: a response is made of what is kept and of what is in the request, without the password."""

    def h(text: str) -> str:
        return hashlib.new({"SHA-512-256": "sha512_256"}.get(algorithm, algorithm), text.encode()).hexdigest()

    kept = digest_ha1(algorithm, "alice", REALM, PASSWORD)
    rest = f"bm9uY2UtMDAwMQ==:00000001:Y25vbmNlLTE=:auth:{h('REGISTER:sip:example.org')}"
    assert h(f"{kept}:{rest}") == response


async def test_a_hashed_name_is_found(credentials: Credentials) -> None:
    """AUT-8, AUT-13"""
    vector = "435b7933096a304d3c734cfb833ec9075bd47ab1c0160321aed31c06a8c7009e"
    assert await credentials.find_hash("SHA-256", vector, REALM) == ("alice", every_ha1("alice"))
    for name in ("alice", "alice@example.org"):
        for algorithm in ALGORITHMS:
            found = await credentials.find_hash(algorithm, digest_userhash(algorithm, name, REALM), REALM)
            assert found == (name, every_ha1(name))
    assert await credentials.find_hash("SHA-512-256", vector, REALM) is None
    assert await credentials.find_hash("SHA-256", vector, "example.com") is None
    for hostile in ("", "0" * 64, "alice", "\0", "\ud800"):
        assert await credentials.find_hash("SHA-256", hostile, REALM) is None


async def test_no_password_is_in_the_database(users: Users, kamailio: Database) -> None:
    """AUT-12, SEC-6"""
    assert await kamailio.rows("SELECT password FROM subscriber") == [("",)]
    everything = str(await kamailio.rows("SELECT * FROM subscriber"))
    everything += str(await kamailio.rows("SELECT * FROM reginfo_credentials"))
    assert PASSWORD not in everything


# ---- beside Kamailio


async def test_the_hashes_kamailio_keeps_are_good_for_md5(kamailio: Database, credentials: Credentials) -> None:
    """AUT-12: ha1, and ha1b for who gives user@domain as the name; SHA-256 cannot come from them."""
    plain, long = md5(f"bob:{REALM}:pw"), md5(f"bob@{REALM}:{REALM}:pw")
    await kamailio.write(adding("bob", "", plain.upper(), long))
    assert await credentials.find("bob", REALM) == {"MD5": plain}
    assert await credentials.find(f"bob@{REALM}", REALM) == {"MD5": long}
    await kamailio.write(adding("carol", "", "not a hash"))
    assert await credentials.find("carol", REALM) == {}


async def test_a_password_in_clear_is_good_for_every_algorithm(kamailio: Database, credentials: Credentials) -> None:
    """AUT-12"""
    await kamailio.write(adding("bob", "pw"))
    assert await credentials.find("bob", REALM) == every_ha1("bob", "pw")
    assert await credentials.find(f"bob@{REALM}", REALM) == every_ha1(f"bob@{REALM}", "pw")


async def test_a_password_kamailio_has_changed_leaves_no_old_hash(
    kamailio: Database, credentials: Credentials, users: Users
) -> None:
    """AUT-12: what SHA-256 has here was made with the old password."""
    new = md5(f"alice:{REALM}:new")
    await kamailio.write([("UPDATE subscriber SET ha1 = $1, ha1b = '' WHERE username = 'alice'", [(new,)])])
    assert await credentials.find("alice", REALM) == {"MD5": new}
    assert await credentials.find(f"alice@{REALM}", REALM) == {}
    await users.put([("alice", "newer")], REALM)
    assert await credentials.find("alice", REALM) == every_ha1("alice", "newer")


async def test_a_user_kamailio_has_removed_is_gone(kamailio: Database, credentials: Credentials) -> None:
    """AUT-8"""
    await kamailio.write([("DELETE FROM subscriber", [()])])
    assert await credentials.find("alice", REALM) is None
    assert await credentials.find_hash("MD5", digest_userhash("MD5", "alice", REALM), REALM) is None


async def test_names_kamailio_has_added_are_hashed_when_asked_for(
    kamailio: Database, credentials: Credentials, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AUT-8: over several pages, once, and kept in the database."""
    monkeypatch.setattr(module, "INDEX_ROWS", 2)
    for name in ("bob", "carol", "dave", "erin"):
        await kamailio.write(adding(name, "pw"))
    hashed = digest_userhash("SHA-256", "erin", REALM)
    assert await credentials.find_hash("SHA-256", hashed, REALM) == ("erin", every_ha1("erin", "pw"))
    await kamailio.write(adding("frank", "pw"))
    later = digest_userhash("MD5", "frank", REALM)
    assert await credentials.find_hash("MD5", later, REALM) == ("frank", every_ha1("frank", "pw"))
    counted = "SELECT count(*) FROM reginfo_credentials WHERE userhash = $1"
    assert await kamailio.rows(counted, hashed) == [(1,)]
    again = open_credentials(AuthSection(db_url=url))
    assert await again.find_hash("SHA-256", hashed, REALM) == ("erin", every_ha1("erin", "pw"))
    assert await again.find_hash("SHA-256", "0" * 64, REALM) is None
    await again.close()


async def test_a_change_is_noticed_once(credentials: Credentials, url: str) -> None:
    """AUT-12: whoever keeps what was found asks whether it still holds."""
    assert not await credentials.changed()
    other = open_database(url)
    await other.write(adding("bob", "pw"))
    await other.close()  # PostgreSQL counts for others what a session has done by its end
    await until_changed(credentials)
    assert not await credentials.changed()


async def until_changed(credentials: Credentials) -> None:
    async with asyncio.timeout(20):
        while not await credentials.changed():
            await asyncio.sleep(0.01)


async def test_what_the_tables_of_kamailio_hold_is_used_as_it_is(tmp_path: Path) -> None:
    """AUT-8, AUT-12: the schema of the real Kamailio, and its table stays as it was."""
    if not SCHEMA.is_dir():
        pytest.skip("kamailio is not installed with its schema for SQLite")
    file = tmp_path / "kamailio.sqlite"
    with closing(sqlite3.connect(file)) as database:
        for name in ("standard", "auth_db"):
            database.executescript((SCHEMA / f"{name}-create.sql").read_text())
        plain, long = md5(f"bob:{REALM}:pw"), md5(f"bob@{REALM}:{REALM}:pw")
        database.execute(
            "INSERT INTO subscriber (username, domain, ha1, ha1b) VALUES ('bob', ?, ?, ?)", (REALM, plain, long)
        )
        database.commit()
        schema = "SELECT sql FROM sqlite_master WHERE name NOT LIKE '%reginfo%'"
        before = database.execute(schema).fetchall(), database.execute("SELECT * FROM subscriber").fetchall()

        credentials = open_credentials(AuthSection(db_url=f"sqlite:///{file}"))
        await credentials.start()
        assert await credentials.find("bob", REALM) == {"MD5": plain}
        assert await credentials.find_hash("MD5", digest_userhash("MD5", "bob", REALM), REALM) == (
            "bob",
            {"MD5": plain},
        )
        await credentials.close()
        assert (database.execute(schema).fetchall(), database.execute("SELECT * FROM subscriber").fetchall()) == before

        users = Users(open_database(f"sqlite:///{file}", create=True))
        await users.start(create=True)
        await users.put([("carol", PASSWORD)], REALM)
        await users.close()
        assert database.execute("SELECT ha1, ha1b FROM subscriber WHERE username = 'carol'").fetchall() == [
            (md5(f"carol:{REALM}:{PASSWORD}"), md5(f"carol@{REALM}:{REALM}:{PASSWORD}"))
        ]


# ---- the operator's hand


async def test_users_are_shown_without_their_hashes(users: Users, kamailio: Database) -> None:
    """SEC-6"""
    await kamailio.write(adding("bob", "pw"))
    every = tuple(ALGORITHMS)
    assert await users.find("alice", REALM) == User("alice", REALM, every, False)
    assert await users.find("nobody", REALM) is None
    assert [user async for user in users.all()] == [
        User("alice", REALM, every, False),
        User("bob", REALM, every, True),
    ]


async def test_a_new_password_replaces_one_in_clear(users: Users, kamailio: Database, credentials: Credentials) -> None:
    """AUT-12"""
    await kamailio.write(adding("bob", "old"))
    await users.put([("bob", "new"), ("erin", "x")], REALM)
    assert await credentials.find("bob", REALM) == every_ha1("bob", "new")
    assert await kamailio.rows("SELECT password FROM subscriber WHERE username = 'bob'") == [("",)]


async def test_nothing_is_left_of_who_was_removed(users: Users, kamailio: Database) -> None:
    await users.remove("alice", REALM)
    assert await kamailio.rows("SELECT * FROM subscriber") == []
    assert await kamailio.rows("SELECT * FROM reginfo_credentials") == []


async def test_more_users_than_a_page(users: Users) -> None:
    names = [f"user{number}" for number in range(501)]
    await users.put([(name, "x") for name in names], REALM)
    assert [user.username async for user in users.all()] == ["alice", *names]


@pytest.mark.parametrize("name", ["alice", "a" * 64, "J\u00e4s\u00f8n Doe", '"', "alice@example.com"])
def test_names_that_digest_can_carry(name: str) -> None:
    assert checked_username(name) == name


@pytest.mark.parametrize("name", ["", "a" * 65, "a:b", "a\x00b", "a\r\nb", "a\tb", "\ud800"])
def test_names_that_digest_cannot_carry(name: str) -> None:
    with pytest.raises(BadUser):
        checked_username(name)


def test_names_and_passwords_are_hashed_in_their_composed_form() -> None:
    """AUT-8: NFC."""
    assert checked_username("Ja\u0308son") == "J\u00e4son"
    assert checked_password("a\u030a") == "\u00e5"
    assert len(checked_password("p" * 1024)) == 1024
    for password in ("", "p" * 1025, "a\nb"):
        with pytest.raises(BadUser):
            checked_password(password)


# ---- what is missing, held, or broken


async def test_users_that_are_nowhere_refuse_to_start(url: str, tmp_path: Path) -> None:
    credentials = open_credentials(AuthSection(db_url=url))
    with pytest.raises(ConfigError, match="reginfo user add makes"):
        await credentials.start()
    await credentials.close()
    assert os.listdir(tmp_path) == []


async def test_a_table_without_its_columns_refuses_to_start(url: str) -> None:
    other = open_database(url, create=True)
    await other.write([("CREATE TABLE subscriber (id INTEGER, username VARCHAR(64))", [()])])
    await other.close()
    credentials = open_credentials(AuthSection(db_url=url))
    with pytest.raises(ConfigError, match="column"):
        await credentials.start()
    await credentials.close()


async def test_a_table_that_vanishes_is_no_traceback(kamailio: Database, credentials: Credentials) -> None:
    await kamailio.write([("DROP TABLE subscriber", [()])])
    with pytest.raises(StoreUnavailable, match="subscriber"):
        await credentials.find("alice", REALM)


async def test_without_asyncpg_postgresql_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "asyncpg", None)
    with pytest.raises(ConfigError, match=r"pip install 'reginfo\[postgres\]'"):
        open_credentials(AuthSection(db_url="postgresql://reginfo@/reginfo"))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://reginfo@/reginfo?host=/nonexistent",
        "postgresql://reginfo@/reginfo?port=port",
        "postgresql:///x?a=b",
    ],
)
async def test_a_postgresql_that_is_not_there_is_one_line(url: str) -> None:
    pytest.importorskip("asyncpg")
    credentials = open_credentials(AuthSection(db_url=url))
    with pytest.raises((StoreUnavailable, ConfigError), match=r"auth\.db_url: ."):
        await credentials.find("alice", REALM)
    await credentials.close()


async def test_a_role_that_may_only_read_is_enough(postgres: str, request: pytest.FixtureRequest) -> None:
    """Without our table none is known by a hashed name; the operator is told that he may not write."""
    owner = open_database(postgres)
    users = Users(owner)
    await owner.write([("DROP TABLE IF EXISTS reginfo_credentials", [()]), ("DROP TABLE IF EXISTS subscriber", [()])])
    await users.start(create=True)
    await users.put([("alice", PASSWORD)], REALM)
    await owner.write(
        [
            ("DROP TABLE reginfo_credentials", [()]),
            ("DROP ROLE IF EXISTS reader", [()]),
            ("CREATE ROLE reader LOGIN", [()]),
            ("GRANT SELECT ON subscriber TO reader", [()]),
        ]
    )
    reading = postgres.replace("//reginfo@", "//reader@")
    credentials = open_credentials(AuthSection(db_url=reading))
    await credentials.start()
    assert await credentials.find("alice", REALM) == {"MD5": md5(f"alice:{REALM}:{PASSWORD}")}
    assert await credentials.find_hash("MD5", digest_userhash("MD5", "alice", REALM), REALM) is None
    await credentials.close()
    reader = Users(open_database(reading))
    await reader.start(create=True)
    with pytest.raises(WriteRefused, match="may not be written"):
        await reader.put([("bob", "x")], REALM)
    await reader.close()
    await owner.write([("REVOKE ALL ON subscriber FROM reader", [()])])
    refused = open_credentials(AuthSection(db_url=reading))
    with pytest.raises(StoreUnavailable, match="permission denied"):
        await refused.find("alice", REALM)
    await refused.close()
    await owner.write([("DROP ROLE reader", [()])])
    await users.close()


# ---- the file of SQLite


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """A database that holds alice."""
    path = tmp_path / "subscriber.db"
    await fill(path, PASSWORD)
    return path


async def fill(path: Path, password: str) -> None:
    users = Users(open_database(f"sqlite:///{path}", create=True))
    await users.start(create=True)
    await users.put([("alice", password)], REALM)
    await users.close()


@pytest.fixture
async def in_file(file: Path) -> AsyncIterator[Credentials]:
    found = open_credentials(AuthSection(db_url=f"sqlite:///{file}"))
    await found.start()
    yield found
    await found.close()


def test_a_new_file_is_its_owners_alone(file: Path) -> None:
    """SEC-6"""
    assert file.stat().st_mode & 0o777 == 0o600


async def test_a_file_moved_to_its_place_is_read(file: Path, in_file: Credentials, tmp_path: Path) -> None:
    await fill(tmp_path / "new.db", "new")
    assert not await in_file.changed()
    os.replace(tmp_path / "new.db", file)
    assert await in_file.changed()
    assert await in_file.find("alice", REALM) == every_ha1("alice", "new")
    file.unlink()
    with pytest.raises(StoreUnavailable, match="No such file"):
        await in_file.changed()


async def test_a_lock_is_waited_for_without_the_event_loop(file: Path, in_file: Credentials) -> None:
    """The lock is released by a loop that goes on while the look-up waits."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        asyncio.get_running_loop().call_later(0.05, other.rollback)
        assert await in_file.find("alice", REALM) == every_ha1("alice")


async def test_a_lock_that_stays_is_a_store_that_is_unavailable(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reginfo.store.sqlite.LOCK_WAIT_S", 0)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        credentials = open_credentials(AuthSection(db_url=f"sqlite:///{file}"))
        for question in (credentials.start(), credentials.find("alice", REALM), credentials.changed()):
            with pytest.raises(StoreUnavailable, match="database is locked"):
                await question
        other.rollback()
        assert await credentials.find("alice", REALM) == every_ha1("alice")
        await credentials.close()


@pytest.mark.parametrize("content", [b"not a database " * 100, None])
async def test_a_file_of_another_kind_is_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "subscriber.db"
    path.mkdir() if content is None else path.write_bytes(content)
    credentials = open_credentials(AuthSection(db_url=f"sqlite:///{path}"))
    with pytest.raises(StoreUnavailable, match=str(path)):
        await credentials.start()
    await credentials.close()


async def test_a_file_that_may_not_be_written_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("DROP TABLE reginfo_credentials")
    monkeypatch.setattr(os, "access", lambda *_: False)
    credentials = open_credentials(AuthSection(db_url=f"sqlite:///{file}"))
    await credentials.start()
    assert await credentials.find("alice", REALM) == {"MD5": md5(f"alice:{REALM}:{PASSWORD}")}
    assert await credentials.find_hash("MD5", digest_userhash("MD5", "alice", REALM), REALM) is None
    await credentials.close()


async def test_new_names_are_not_hashed_where_nothing_may_be_written(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("INSERT INTO subscriber (username, domain) VALUES ('bob', ?)", (REALM,))
        database.commit()
    monkeypatch.setattr(os, "access", lambda *_: False)
    credentials = open_credentials(AuthSection(db_url=f"sqlite:///{file}"))
    assert await credentials.find_hash("MD5", digest_userhash("MD5", "bob", REALM), REALM) is None
    found = await credentials.find_hash("MD5", digest_userhash("MD5", "alice", REALM), REALM)
    assert found == ("alice", every_ha1("alice"))
    await credentials.close()


async def test_names_that_could_not_be_kept_are_not_hashed_again_and_again(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """AUT-8, SEC-3: each hashed name a stranger makes up would cost 3,000 hashes and a line of the log."""
    with closing(sqlite3.connect(file)) as database:
        database.execute("INSERT INTO subscriber (username, domain) VALUES ('bob', ?)", (REALM,))
        database.commit()
    monkeypatch.setattr(os, "access", lambda *_: False)
    credentials = open_credentials(AuthSection(db_url=f"sqlite:///{file}"))
    for number in range(3):
        assert await credentials.find_hash("MD5", f"{number:032x}", REALM) is None
    assert len(caplog.records) == 1
    await credentials.close()


# ---- how much may wait


class Silent:
    """A database that never answers."""

    serial = "INTEGER"

    def __init__(self) -> None:
        self.answer = asyncio.Event()

    async def start(self) -> None:
        await self.answer.wait()

    async def rows(self, sql: str, *values: str | int) -> list[Row]:
        await self.answer.wait()
        return []

    async def write(self, statements: Sequence[Statement]) -> None:
        await self.answer.wait()

    async def version(self) -> object:
        await self.answer.wait()
        return None

    async def close(self) -> None:
        pass


async def test_look_ups_that_wait_are_bounded() -> None:
    """SEC-5: MAX_WAITING look-ups may be under way, and not one more."""
    database = Silent()
    credentials = Credentials(database)
    waiting = [asyncio.create_task(credentials.find("alice", REALM)) for _ in range(module.MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="too many look-ups"):
        await credentials.find("alice", REALM)
    database.answer.set()
    assert set(await asyncio.gather(*waiting)) == {None}
    assert await credentials.find("alice", REALM) is None


async def test_a_database_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0)
    credentials = Credentials(Silent())
    for question in (credentials.start(), credentials.find("alice", REALM), credentials.changed()):
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await question


async def test_statements_are_the_same_for_who_exists_and_who_does_not(file: Path) -> None:
    """AUT-6: no hint which was wrong, also not by how long it takes."""
    asked: list[str] = []
    database = open_database(f"sqlite:///{file}")
    original = database.rows

    async def rows(sql: str, *values: str | int) -> list[Row]:
        asked.append(sql)
        return await original(sql, *values)

    database.rows = rows  # type: ignore[method-assign]
    credentials = Credentials(database)
    await credentials.find("alice", REALM)
    del asked[:]
    await credentials.find("alice", REALM)
    known = list(asked)
    del asked[:]
    await credentials.find("mallory", REALM)
    assert asked == known
    await credentials.close()
