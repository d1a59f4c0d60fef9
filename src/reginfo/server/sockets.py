"""Every socket that SIP is spoken on: one for each listener, and each message through the one its flow belongs to."""

import asyncio
import errno
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from reginfo.config import Config, Listener
from reginfo.errors import ConfigError
from reginfo.fast import TRANSPORTS, Flow, SipParseError, datagrams_among
from reginfo.net.connection import StreamLimits
from reginfo.net.descriptors import affordable
from reginfo.net.framing import Framing
from reginfo.net.stream import StreamServer
from reginfo.net.tls import Tls, tls_of
from reginfo.net.trace import Traces
from reginfo.net.udp import UdpEndpoint
from reginfo.server.fallback import Fallback
from reginfo.server.locator import Locator

logger = logging.getLogger(__name__)

FREE_PORT_TRIES = 16  # ports the system chose for UDP, before giving up on one that TCP can have too


class Sockets:
    """The listeners of a configuration.  What they call is described in net.udp and net.stream."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        config: Config,
        locator: Locator,
        traces: Traces,
        on_batch: Callable[[list[tuple[bytes, Flow]]], None],
        on_error: Callable[[Flow], None],
        on_lost: Callable[[Flow], None],
        on_bad: Callable[[SipParseError, Flow], bytes | None],
    ) -> None:
        """traces is told what is sent; what is received is for on_batch to tell.

        Raises ConfigError for certificates that cannot be used.
        """
        self._loop = loop
        self._config = config
        self._traces = traces
        self._on_batch = on_batch
        self._on_error = on_error
        self._on_lost = on_lost
        self._on_bad = on_bad
        self._tls = tls_of(config)
        self._open = AsyncExitStack()
        self._datagrams: list[UdpEndpoint] = []
        self.streams: list[StreamServer] = []
        self._fallback = Fallback(self.streams, locator)
        self.listeners: tuple[Listener, ...] = ()
        "What is bound, with the ports the system chose."

    @property
    def is_busy(self) -> bool:
        """Whether datagrams come thick and fast."""
        return any(endpoint.is_busy for endpoint in self._datagrams)

    @property
    def receive_drops(self) -> int:
        """Datagrams the system dropped because a receive buffer was full."""
        return sum(endpoint.socket.dropped for endpoint in self._datagrams)

    @property
    def send_drops(self) -> int:
        """Messages dropped because too many waited for a UDP socket."""
        return sum(endpoint.overflowed for endpoint in self._datagrams)

    @property
    def connections(self) -> dict[str, int]:
        """Connections open, by transport."""
        count = dict.fromkeys(TRANSPORTS[1:], 0)
        for streams in self.streams:
            count[streams.transport] += len(streams)
        return count

    async def start(self) -> None:
        """Bind everything; close() is owed also if this raises."""
        self._open.callback(self._fallback.close)
        caps = self._config.limits
        listeners = self._config.listeners
        limits = StreamLimits(
            max_connections=affordable(caps.max_connections, sum(one.transport != "udp" for one in listeners)),
            max_connections_per_address=caps.max_connections_per_address,
            max_message=caps.max_stream_message,
            half_message=caps.stream_message_timeout,
            handshake=caps.handshake_timeout,
            idle=caps.idle_timeout,
        )
        for listener in listeners:
            if listener.transport == "udp":
                await self._listen_both(listener, limits)
            elif listener.transport != "tcp" or listener._replace(transport="udp") not in listeners:
                await self._listen_streams(listener, limits)

    async def close(self) -> None:
        """Let answers leave and close everything."""
        await self._open.aclose()

    def follow(self, config: Config) -> None:
        """Take the certificates and the web pages of another configuration, for connections from now on."""
        self._config = config
        secure = [streams for streams in self.streams if streams.tls is not None]
        if not secure:
            return
        try:
            tls = Tls.load(config.tls)
        except ConfigError as error:
            logger.error("certificates kept reason=%s", error)
            return
        for streams in secure:
            streams.tls = tls
        logger.info("certificates read again domains=%s", ",".join(tls.domains))

    def identities(self, flow: Flow) -> tuple[str, ...]:
        """Return the SIP domains that the other side of a connection has proved to be with a certificate."""
        return next((streams.identities(flow) for streams in self.streams if streams.carries(flow)), ())

    def grant(self, flow: Flow, idle: float, is_exact: bool) -> None:
        """Let a connection be silent for so many seconds, or for no less (RFC 5626 section 4.4.1)."""
        for streams in self.streams:
            streams.grant(flow, idle, is_exact)

    async def _listen_both(self, listener: Listener, limits: StreamLimits) -> None:
        """Bind UDP and TCP to one port (TRN-1); where any port will do, one that is free for both."""
        tries = 1 if listener.port else FREE_PORT_TRIES
        while True:
            tries -= 1
            datagrams = UdpEndpoint(self._loop, listener.host, listener.port, self._on_batch, self._on_error)
            await datagrams.start()
            bound = listener._replace(port=datagrams.local[1])
            self.listeners += (bound,)
            try:
                await self._listen_streams(bound._replace(transport="tcp"), limits)
            except OSError as error:
                self.listeners = self.listeners[:-1]
                await datagrams.close()
                if error.errno != errno.EADDRINUSE or not tries:
                    raise
            else:
                self._open.push_async_callback(datagrams.close)
                self._datagrams.append(datagrams)
                return

    async def _listen_streams(self, listener: Listener, limits: StreamLimits) -> None:
        streams = StreamServer(
            self._loop,
            listener.host,
            listener.port,
            self._on_batch,
            self._on_lost,
            self._on_bad,
            limits=limits,
            is_pressed=lambda: any(endpoint.is_pressed for endpoint in self._datagrams),
            transport=listener.transport,
            tls=self._tls if listener.is_secure else None,
            framing=self._framing(limits) if listener.transport in ("ws", "wss") else None,
            traces=self._traces,
        )
        await streams.start()
        self._open.push_async_callback(streams.close)
        self.streams.append(streams)
        self.listeners += (listener._replace(port=streams.local[1]),)

    def _framing(self, limits: StreamLimits) -> Callable[[], Framing]:
        from reginfo.net.websocket import WebSocketFraming  # with a library that only phones in browsers need

        return lambda: WebSocketFraming(limits.max_message, self._config.websocket.origins)

    # -- out --------------------------------------------------------------------------------------------

    def send(self, output: list[tuple[bytes, Flow]]) -> None:
        """Send messages, each through the socket its flow belongs to."""
        datagrams = datagrams_among(output)
        if datagrams:
            if self._traces.is_on:
                self._traces.sent(datagrams)
            self._send_datagrams(datagrams)
        if datagrams is not output:
            self._send_streams([item for item in output if item[1].reliable])

    def _send_datagrams(self, output: list[tuple[bytes, Flow]]) -> None:
        if len(self._datagrams) == 1:
            self._datagrams[0].send(output)
            return
        for endpoint in self._datagrams:
            mine = [item for item in output if endpoint.carries(item[1])]
            if mine:
                endpoint.send(mine)

    def _send_streams(self, output: Sequence[tuple[bytes, Flow]]) -> None:
        for streams in self.streams:
            output = streams.send(output)
        # Their connections are gone: a request is not for anybody else, a response goes to where its Via says.
        for octets, flow in output:
            if octets.startswith(b"SIP/2.0 "):
                self._fallback.send(octets, flow)
            else:
                self._loop.call_soon(self._on_lost, flow)
