"""Responses whose connection is gone: where else they are sent (RFC 3261 18.2.2, RFC 3263 section 5)."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from reginfo.fast import Flow, SipMessage, SipParseError, parse_message
from reginfo.net.stream import StreamServer
from reginfo.server.locator import Locator
from reginfo.sip.routing import fallback_flow, sent_by

logger = logging.getLogger(__name__)

MAX_FALLBACKS: Final = 256  # responses on their way at once; who leaves before the answer sends the request again
MAX_SEEKING: Final = 4  # of them whose Via is looked up: the other turns and threads of the locator are for requests


class Fallback:
    """Sends responses by connections of its own making."""

    def __init__(self, streams: Sequence[StreamServer], locator: Locator) -> None:
        self._streams = streams
        self._locator = locator
        self._tasks: set[asyncio.Task[None]] = set()
        self._seeking = 0

    def close(self) -> None:
        """Give up what is on its way."""
        for task in self._tasks:
            task.cancel()

    def send(self, octets: bytes, flow: Flow) -> None:
        """Send a response that its flow did not take (TRN-4, TRN-5)."""
        if len(self._tasks) >= MAX_FALLBACKS or flow.transport in ("ws", "wss"):
            return  # what the Via says behind a WebSocket is made up (TRN-14)
        with suppress(SipParseError):  # it repeats what was malformed, and no Via can be relied on
            response = parse_message(octets)
            for streams in self._streams:
                if streams.carries(flow):
                    task = asyncio.get_running_loop().create_task(self._send(streams, octets, response, flow))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                    break

    async def _send(self, streams: StreamServer, octets: bytes, response: SipMessage, flow: Flow) -> None:
        if await _deliver(streams, octets, fallback_flow(response, flow)):
            return
        hop = sent_by(response)
        if hop.host == flow.host or self._seeking >= MAX_SEEKING:
            return
        self._seeking += 1
        try:
            found = await self._locator.locate(hop)
        finally:
            self._seeking -= 1
        for target, local in found:
            if target.transport == flow.transport:
                domain = hop.host if target.transport == "tls" else ""
                towards = Flow(flow.transport, (local, flow.local[1]), (target.host, target.port), domain=domain)
                if streams.carries(towards) and await _deliver(streams, octets, towards):
                    return
        logger.info("response not sent flow=%s", flow.text)


async def _deliver(streams: StreamServer, octets: bytes, towards: Flow) -> bool:
    try:
        return not streams.send([(octets, await streams.connect(towards))])
    except OSError as error:
        logger.debug("connection not made flow=%s reason=%s", towards.text, error)
        return False
