"""The way of traced messages to a collector of HEP packets, over UDP."""

import asyncio
import socket
from collections import deque
from typing import Final

from reginfo.model import TracedMessage
from reginfo.net.hep import Hep

MAX_QUEUED: Final = 4096  # messages; a collector is told what one turn of the loop after the other has time for
PER_TURN: Final = 32  # some hundred microseconds of work


class Collector:
    """Sends messages in order; what does not leave at once, or finds no room in the queue, is dropped and counted."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, port: int, hep: Hep) -> None:
        """The host is an IP literal.  OSError if there is no way to it."""
        self._loop = loop
        self._hep = hep
        self._queue: deque[TracedMessage] = deque()
        self._turn: asyncio.Handle | None = None
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.connect((host, port))
        except OSError:
            self._socket.close()
            raise
        self.sent = 0
        self.dropped = 0

    def take(self, message: TracedMessage) -> None:
        """Send a message as soon as nothing else is to be done."""
        if len(self._queue) >= MAX_QUEUED:
            self.dropped += 1
            return
        self._queue.append(message)
        if self._turn is None:
            self._turn = self._loop.call_soon(self._send)

    def close(self) -> None:
        """Send what is left, as far as the socket takes it, and close."""
        if self._turn is not None:
            self._turn.cancel()
        while self._queue:
            self._send_one(self._queue.popleft())
        self._socket.close()

    def _send(self) -> None:
        self._turn = None
        for _ in range(min(PER_TURN, len(self._queue))):
            self._send_one(self._queue.popleft())
        if self._queue:
            self._turn = self._loop.call_soon(self._send)

    def _send_one(self, message: TracedMessage) -> None:
        try:
            self._socket.send(self._hep.encode(message))
        except OSError:  # full, or news of a collector that is not there
            self.dropped += 1
        else:
            self.sent += 1
