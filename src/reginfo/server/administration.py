"""What operators reach of a running server: the one place where it hands its commands to `admin`."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from reginfo.admin.control import ControlServer, Method
from reginfo.admin.event_stream import EventStream
from reginfo.admin.history import INTERVAL, History
from reginfo.admin.metric_families import FAMILIES, KAMAILIO
from reginfo.admin.pages import TakingTurns
from reginfo.admin.rest import Rest
from reginfo.admin.rpc import Commands, Rpc
from reginfo.admin.token import open_token
from reginfo.admin.webhooks import Webhook, Webhooks
from reginfo.config import Config
from reginfo.engine.roles import Roles
from reginfo.errors import StoreUnavailable
from reginfo.fast import Binding, Change
from reginfo.server.inventory import RoleInventory
from reginfo.server.listener import FeedListener
from reginfo.server.webhooks import WebhookListener
from reginfo.sip.peers import Patterns
from reginfo.store.base import Store
from reginfo.store.clock import Clock

if TYPE_CHECKING:
    from reginfo.admin.monitoring import Monitoring
    from reginfo.server.server import Server

logger = logging.getLogger(__name__)


class Administration:
    """The administrative services of one started server."""

    def __init__(self, server: "Server", roles: Roles, store: Store, clock: Clock) -> None:
        self._server = server
        self._roles = roles
        self._store = store
        self._clock = clock
        self._open = AsyncExitStack()
        self.webhooks = Webhooks(self._follow_feed, _matcher, self._wall_ms)
        self.stream = EventStream(store.changes, lambda: store.last_seq, self._follow_stream, self._wall_ms)
        self._history = History()
        self.dashboard = ""
        "Address of the page with the token in it; empty if HTTP is not served."

    async def start(self, secrets: Mapping[str, bytes]) -> None:
        """Open every service that is configured; ReginfoError if one cannot be.  close() is owed also then.

        secrets are those of the webhooks, by name.
        """
        config = self._server.config
        self._open.push_async_callback(self.webhooks.close)
        await self.webhooks.configure(config.webhook, secrets)
        commands = self._commands()
        inventory = RoleInventory(self._roles, lambda: self._server.config.peer, self._now_ms, self._wall_ms).commands()
        methods = Rpc(commands, inventory, self._clock.now, self.webhooks, self._server.traces).methods()
        control = ControlServer(config.admin.socket, methods)
        self._open.push_async_callback(control.close)
        await control.start()
        if config.admin.address is not None:
            rest = Rest(commands, inventory, self._history, self.stream, _matcher, self._now_ms, self._wall_ms)
            await self._serve_http(*config.admin.address, rest, methods)

    async def _serve_http(self, host: str, port: int, rest: Rest, methods: Mapping[str, Method]) -> None:
        from reginfo.admin.http import HttpServer  # and libraries, for those who want it

        token = await asyncio.to_thread(open_token, Path(self._server.config.admin.token_file))
        http = HttpServer(host, port, token, rest.routes(), methods, version("reginfo"), self.monitoring().paths())
        self._open.push_async_callback(http.close)
        self._open.push_async_callback(self.stream.close)
        try:
            await http.start()
        except OSError as error:
            raise OSError(error.errno, f"admin.listen {host}:{port}: {os.strerror(error.errno or 0)}") from error
        sampling = asyncio.create_task(self._sample())
        self._open.callback(sampling.cancel)
        host, port = http.local
        self.dashboard = f"http://{f'[{host}]' if ':' in host else host}:{port}/#token={token.text}"

    def monitoring(self) -> "Monitoring":
        """Return what answers monitoring."""
        from reginfo.admin.monitoring import Monitoring  # and libraries, for those who want it

        figures = self._server.figures
        families = FAMILIES + KAMAILIO if self._server.config.admin.kamailio_metrics else FAMILIES
        return Monitoring(families, figures.readings, figures.is_alive, figures.readiness)

    async def _sample(self) -> None:
        while True:
            self._history.sample(self._server.statistics(), time.time())
            await asyncio.sleep(INTERVAL)

    def follow(self, config: Config, secrets: Mapping[str, bytes]) -> None:
        """Follow another configuration as far as that is possible while serving."""
        self._configuring = asyncio.create_task(self._configure_webhooks(config, secrets))

    async def _configure_webhooks(self, config: Config, secrets: Mapping[str, bytes]) -> None:
        try:
            await self.webhooks.configure(config.webhook, secrets)
        except StoreUnavailable as error:
            logger.error("webhooks not all followed reason=%s", error)

    async def _follow_feed(self, webhook: Webhook) -> Callable[[], Awaitable[None]]:
        listener = WebhookListener(self._store, webhook)
        await listener.attach()
        return self._server.listen(listener)

    def _follow_stream(self, stream: EventStream) -> Callable[[], Awaitable[None]]:
        return self._server.listen(StreamListener(self._store, stream))

    def _now_ms(self) -> int:
        return self._clock.now().ms

    def _wall_ms(self, engine_ms: int) -> int:
        return engine_ms + self._clock.offset_ms

    async def close(self) -> None:
        """Hang up and stop listening."""
        await self._open.aclose()

    def _commands(self) -> Commands:
        server = self._server
        location = server.location
        return Commands(
            lookup=location.lookup,
            page=TakingTurns(location.page, lambda: server.is_busy).page,
            create=self._create,
            end=location.end,
            shorten=location.shorten,
            subscribe=server.reginfo_subscribe,
            unsubscribe=server.reginfo_unsubscribe,
            statistics=server.statistics,
            bind=self._bind,
            flush=self._store.sync,
            drain=server.drain,
        )

    async def _create(self, aor: str, contact: str, expires: int, q: float | None, path: str) -> int:
        """Bind a contact by hand, where a phone could; no request ever reaches an AoR of another domain."""
        if error := self._foreign(aor):
            raise error
        return await self._server.location.create(aor, contact, expires, q, path)

    async def _bind(self, bindings: Sequence[tuple[str, Binding]]) -> list[bool | Exception]:
        """Bind contacts where a phone could, likewise."""
        foreign = [self._foreign(aor) for aor, _ in bindings]
        own = [bound for bound, error in zip(bindings, foreign, strict=True) if error is None]
        results = iter(await self._server.location.bind(own))
        return [next(results) if error is None else error for error in foreign]

    def _foreign(self, aor: str) -> ValueError | None:
        domains = self._server.config.domains
        user, _, domain = aor.rpartition("@")
        return None if user and domain in domains else ValueError(f"aor: {aor} is not of {' or '.join(domains)}")


def _matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    return Patterns(patterns).match


class StreamListener(FeedListener):
    """Takes everybody who listens to the event stream along the feed."""

    def __init__(self, store: Store, stream: EventStream) -> None:
        super().__init__(store, None, wants_refreshes=False)
        self._stream = stream

    def restore(self, state: bytes | None) -> None:
        """Begin with what happens next."""

    async def take(self, changes: Sequence[Change]) -> None:
        """Tell them."""
        self._stream.read(changes)
        self.cursor.seq = changes[-1].seq

    def place(self) -> tuple[int, bytes]:
        """Return nothing to be kept: each client knows where it is."""
        return self.cursor.seq, b""

    def miss(self, oldest: int) -> None:
        """Leave it to each client to find out when it comes back."""
        self._stream.miss()
