"""The user table behind the engine: what is asked, what comes of failures, and who notices a change."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

import pytest
from msgspec import structs

from reginfo.config import AuthSection, Config
from reginfo.engine import Engine
from reginfo.errors import ConfigError, StoreUnavailable
from reginfo.fast import digest_userhash
from reginfo.model import Now
from reginfo.server import users as module
from reginfo.server.users import Users, open_users
from reginfo.store.credentials import Credentials

SECTION = AuthSection(enabled=True, realm="example.com")
NOW = Now(1_000, 1.0)


class Table:
    """Stands in for the database."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.changes = 0

    async def find(self, username: str, realm: str) -> dict[str, str] | None:
        if self.error is not None:
            raise self.error
        assert realm == "example.com"
        return {"MD5": "0" * 32} if username == "alice" else None

    async def find_hash(self, algorithm: str, userhash: str, realm: str) -> tuple[str, dict[str, str]] | None:
        known = digest_userhash(algorithm, "alice", realm)
        return ("alice", {"MD5": "0" * 32}) if userhash == known else None

    async def changed(self) -> bool:
        self.changes += 1
        if self.changes == 1:
            raise StoreUnavailable("not now", retry_after=1)
        if self.changes == 2:
            raise RuntimeError("broken")
        return self.changes == 4


class Asking:
    """Stands in for the engine."""

    def __init__(self, *queries: tuple[str, ...]) -> None:
        self.queries = list(queries)
        self.heard: list[tuple[object, ...]] = []
        self.forgotten = asyncio.Event()

    def take_user_lookups(self) -> list[tuple[str, ...]]:
        queries, self.queries = self.queries, []
        return queries

    def user_found(self, query: tuple[str, ...], name: str | None, ha1: dict[str, str], now: Now) -> None:
        self.heard.append((query, name, ha1))

    def user_unavailable(self, query: tuple[str, ...], now: Now) -> None:
        self.heard.append((query,))

    def forget_users(self) -> None:
        self.forgotten.set()


async def heard(table: Table, *queries: tuple[str, ...]) -> list[tuple[object, ...]]:
    """Return what the engine hears of its queries."""
    engine = Asking(*queries)
    done = asyncio.Semaphore(0)
    users = Users(SECTION, cast(Credentials, table), cast(Engine, engine), lambda: NOW, done.release)
    users.look_up()
    users.look_up()
    for _ in queries:
        await done.acquire()
    return engine.heard


async def test_the_engine_hears_of_everybody_it_asked_for() -> None:
    # AUT-8, AUT-12
    hidden = digest_userhash("SHA-256", "alice", "example.com")
    queries = [("alice",), ("olive",), (hidden, "SHA-256"), ("0" * 64, "SHA-256")]
    assert await heard(Table(), *queries) == [
        (("alice",), "alice", {"MD5": "0" * 32}),
        (("olive",), None, {}),
        ((hidden, "SHA-256"), "alice", {"MD5": "0" * 32}),
        (("0" * 64, "SHA-256"), None, {}),
    ]


@pytest.mark.parametrize("error", [StoreUnavailable("gone", retry_after=1), RuntimeError("broken")], ids=str)
async def test_whoever_cannot_be_looked_up_is_said_to_be_unavailable(error: Exception) -> None:
    # SEC-3: the request is answered 503
    table = Table()
    table.error = error
    assert await heard(table, ("alice",)) == [(("alice",),)]


async def test_a_table_that_does_not_answer_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    # SEC-3: strangers who give made-up names write no log
    table, engine, done = Table(), Asking(), asyncio.Semaphore(0)
    now_ms = 0
    users = Users(SECTION, cast(Credentials, table), cast(Engine, engine), lambda: Now(now_ms, 0.0), done.release)
    for now_ms in (1_000, 2_000, 999 + module.QUIET_MS, 1_000 + module.QUIET_MS):
        table.error = StoreUnavailable(f"gone at {now_ms}", retry_after=1)
        engine.queries = [(f"olive{number}",) for number in range(3)]
        users.look_up()
        for _ in range(3):
            await done.acquire()
    assert [record.getMessage() for record in caplog.records] == [
        "user table does not answer reason=gone at 1000",
        "user table does not answer reason=gone at 11000",
    ]


async def test_a_changed_table_is_noticed_whatever_went_wrong_before(monkeypatch: pytest.MonkeyPatch) -> None:
    # AUT-12
    monkeypatch.setattr(module, "WATCH_S", 0)
    engine = Asking()
    table = Table()
    users = Users(SECTION, cast(Credentials, table), cast(Engine, engine), lambda: NOW, lambda: None)
    watching = asyncio.create_task(users.watch())
    await engine.forgotten.wait()
    watching.cancel()
    assert table.changes == 4


class Changing(Table):
    """The password changes, which is noticed, while a look-up that has read the old one is on its way back."""

    def __init__(self, before: int) -> None:
        super().__init__()
        self.before = before
        self.noticed = asyncio.Event()
        self.told = asyncio.Event()

    async def find(self, username: str, realm: str) -> dict[str, str] | None:
        self.before -= 1
        if self.before < 0:
            return {"MD5": "1" * 32}
        self.noticed.set()
        await self.told.wait()
        return {"MD5": "0" * 32}

    async def changed(self) -> bool:
        await self.noticed.wait()
        self.noticed.clear()
        return True


async def test_what_was_read_before_a_change_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # AUT-12: it would be held until the next change, which may never come
    monkeypatch.setattr(module, "WATCH_S", 0)
    engine, table, done = Asking(("alice",)), Changing(before=1), asyncio.Event()
    users = Users(SECTION, cast(Credentials, table), cast(Engine, engine), lambda: NOW, done.set)
    watching = asyncio.create_task(users.watch())
    users.look_up()
    await engine.forgotten.wait()
    table.told.set()
    await done.wait()
    watching.cancel()
    assert engine.heard == [(("alice",), "alice", {"MD5": "1" * 32})]


async def test_a_reload_keeps_what_needs_a_restart() -> None:
    # the user table stays open; algorithms and the life of a nonce follow
    users = Users(SECTION, cast(Credentials, Table()), cast(Engine, Asking()), lambda: NOW, lambda: None)
    config = Config(auth=AuthSection(enabled=False, realm="other", algorithms=("MD5",), nonce_lifetime=7))
    expected = structs.replace(SECTION, algorithms=("MD5",), nonce_lifetime=7)
    assert users.kept(config).auth == expected


async def test_without_a_user_table_nothing_is_served(tmp_path: Path) -> None:
    # AUT-12
    section = structs.replace(SECTION, db_url=f"sqlite:///{tmp_path}/none.db")
    async with AsyncExitStack() as stack:
        with pytest.raises(ConfigError):
            await open_users(section, cast(Engine, Asking()), lambda: NOW, lambda: None, stack)
        off = structs.replace(section, enabled=False)
        await open_users(off, cast(Engine, Asking()), lambda: NOW, lambda: None, stack)
