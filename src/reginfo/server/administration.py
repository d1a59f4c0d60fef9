"""What operators reach of a running server: the one place where it hands its commands to `admin`."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from reginfo.admin.control import ControlServer
from reginfo.admin.rpc import Commands, Rpc
from reginfo.fast import Binding
from reginfo.store.clock import Clock

if TYPE_CHECKING:
    from reginfo.server.server import Server


class Administration:
    """The administrative services of one started server."""

    def __init__(self, server: "Server", clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._open = AsyncExitStack()

    async def start(self) -> None:
        """Open every service that is configured; ReginfoError if one cannot be.  close() is owed also then."""
        control = ControlServer(self._server.config.admin.socket, Rpc(self._commands(), self._clock.now).methods())
        self._open.push_async_callback(control.close)
        await control.start()

    async def close(self) -> None:
        """Hang up and stop listening."""
        await self._open.aclose()

    def _commands(self) -> Commands:
        server = self._server
        location = server.location
        return Commands(
            lookup=location.lookup,
            page=location.page,
            create=self._create,
            end=location.end,
            shorten=location.shorten,
            subscribe=server.reginfo_subscribe,
            unsubscribe=server.reginfo_unsubscribe,
            followed=server.followed,
            statistics=server.statistics,
            bind=self._bind,
            drain=server.drain,
        )

    async def _create(self, aor: str, contact: str, expires: int, q: float | None) -> int:
        """Bind a contact by hand, where a phone could; no request ever reaches an AoR of another domain."""
        if error := self._foreign(aor):
            raise error
        return await self._server.location.create(aor, contact, expires, q)

    async def _bind(self, bindings: Sequence[tuple[str, Binding]]) -> list[bool | Exception]:
        """Bind contacts where a phone could, likewise."""
        foreign = [self._foreign(aor) for aor, _ in bindings]
        own = [bound for bound, error in zip(bindings, foreign, strict=True) if error is None]
        results = iter(await self._server.location.bind(own))
        return [next(results) if error is None else error for error in foreign]

    def _foreign(self, aor: str) -> ValueError | None:
        domains = self._server.config.domains
        user, _, domain = aor.rpartition("@")
        return None if user and domain in domains else ValueError(f"{aor} is not of {' or '.join(domains)}")
