"""What operators reach of a running server: the one place where it hands its commands to `admin`."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from reginfo.admin.control import ControlServer
from reginfo.admin.rpc import Commands, Rpc
from reginfo.admin.webhooks import Webhook, Webhooks
from reginfo.config import Config
from reginfo.errors import StoreUnavailable
from reginfo.server.webhooks import WebhookListener
from reginfo.sip.peers import Patterns
from reginfo.store.base import Store
from reginfo.store.clock import Clock

if TYPE_CHECKING:
    from reginfo.server.server import Server

logger = logging.getLogger(__name__)


class Administration:
    """The administrative services of one started server."""

    def __init__(self, server: "Server", store: Store, clock: Clock) -> None:
        self._server = server
        self._store = store
        self._clock = clock
        self._open = AsyncExitStack()
        self.webhooks = Webhooks(
            self._follow_feed,
            lambda patterns: Patterns(patterns).match,
            lambda engine_ms: engine_ms + clock.offset_ms,
        )

    async def start(self, secrets: Mapping[str, bytes]) -> None:
        """Open every service that is configured; ReginfoError if one cannot be.  close() is owed also then.

        secrets are those of the webhooks, by name.
        """
        config = self._server.config
        self._open.push_async_callback(self.webhooks.close)
        await self.webhooks.configure(config.webhook, secrets)
        methods = Rpc(self._commands(), self._clock.now, self.webhooks).methods()
        control = ControlServer(config.admin.socket, methods)
        self._open.push_async_callback(control.close)
        await control.start()

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
        )

    async def _create(self, aor: str, contact: str, expires: int, q: float | None) -> int:
        """Bind a contact by hand, where a phone could; no request ever reaches an AoR of another domain."""
        domains = self._server.config.domains
        user, _, domain = aor.rpartition("@")
        if not user or domain not in domains:
            raise ValueError(f"{aor} is not of {' or '.join(domains)}")
        return await self._server.location.create(aor, contact, expires, q)
