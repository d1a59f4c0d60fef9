"""The user table, asked on behalf of the engine: each look-up is a task, and what is held is dropped on a change."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from msgspec import structs

from reginfo.config import AuthSection, Config
from reginfo.engine import Engine
from reginfo.errors import StoreUnavailable
from reginfo.model import Now
from reginfo.server.tasks import ended
from reginfo.sip.digest import Query
from reginfo.store.credentials import Credentials, open_credentials

logger = logging.getLogger(__name__)

WATCH_S = 1.0  # a changed password counts within this
QUIET_MS = 10_000  # between two lines of the log that say that the table does not answer

Answer = tuple[str | None, Mapping[str, str]]
"A name and its H(A1) by algorithm; None if there is no such user."


class Users:
    """The users of the realm that the server was started with."""

    def __init__(
        self,
        section: AuthSection,
        credentials: Credentials,
        engine: Engine,
        now: Callable[[], Now],
        done: Callable[[], None],
    ) -> None:
        """done is called when the engine has heard something."""
        self._section = section
        self._credentials = credentials
        self._realm = section.realm
        self._engine = engine
        self._now = now
        self._done = done
        self._tasks: set[asyncio.Task[None]] = set()
        self._changes = 0
        self._quiet_until_ms = 0

    def kept(self, config: Config) -> Config:
        """Return a configuration with those of its keys as they are that need a restart."""
        here = self._section
        auth = structs.replace(config.auth, enabled=here.enabled, realm=here.realm, db_url=here.db_url)
        return structs.replace(config, auth=auth)

    def look_up(self) -> None:
        """Ask for everybody whom the engine wants."""
        for query in self._engine.take_user_lookups():
            task = asyncio.get_running_loop().create_task(self._find(query))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _find(self, query: Query) -> None:
        try:
            name, ha1 = await self._ask_settled(query)
        except StoreUnavailable as error:
            if self._now().ms >= self._quiet_until_ms:  # strangers choose how many are looked up
                self._quiet_until_ms = self._now().ms + QUIET_MS
                logger.warning("user table does not answer reason=%s", error)
            self._engine.user_unavailable(query, self._now())
        except Exception:  # whoever waits is owed an answer all the same
            logger.exception("user look-up failed")
            self._engine.user_unavailable(query, self._now())
        else:
            self._engine.user_found(query, name, ha1, self._now())
        self._done()

    async def _ask_settled(self, query: Query) -> Answer:
        """Ask until the table has not changed meanwhile: what was read before would be held as what is there now."""
        while True:
            changes = self._changes
            answer = await self._ask(query)
            if changes == self._changes:
                return answer

    async def _ask(self, query: Query) -> Answer:
        if len(query) == 1:
            ha1 = await self._credentials.find(query[0], self._realm)
            return (None, {}) if ha1 is None else (query[0], ha1)
        userhash, algorithm = query
        return await self._credentials.find_hash(algorithm, userhash, self._realm) or (None, {})

    async def watch(self) -> None:
        """Have everybody read again after each change of the table."""
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                if await self._credentials.changed():
                    self._changes += 1
                    self._engine.forget_users()
            except StoreUnavailable:
                continue  # whoever is looked up meanwhile is told so
            except Exception:
                logger.exception("user table cannot be watched")


async def open_users(
    section: AuthSection,
    engine: Engine,
    now: Callable[[], Now],
    done: Callable[[], None],
    stack: AsyncExitStack,
) -> Users:
    """Open the user table, to be closed by the stack; ConfigError if authentication is on and there is none."""
    credentials = open_credentials(section)
    users = Users(section, credentials, engine, now, done)
    if section.enabled:
        stack.push_async_callback(credentials.close)
        await credentials.start()
        task = asyncio.get_running_loop().create_task(users.watch())
        stack.push_async_callback(ended, task)
    return users
