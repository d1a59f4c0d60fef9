"""What the service manager is told: ready, reading the configuration again, leaving, alive (sd_notify(3))."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping

logger = logging.getLogger(__name__)


class NotifySocket:
    """The datagram socket that NOTIFY_SOCKET names; where nothing is named, nothing is told."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID of an environment; what cannot be used is logged."""
        named = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{named[1:]}" if named.startswith("@") else named  # the abstract namespace
        self.watchdog_interval = 0.0
        "Seconds between two signs of life, half of what the manager allows; 0: it waits for none."
        if named and not named.startswith(("/", "@")):
            logger.warning("service manager not told: NOTIFY_SOCKET is neither a path nor abstract")
            self._address = ""
        microseconds = environment.get("WATCHDOG_USEC", "0")
        if self._address and environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            self.watchdog_interval = int(microseconds) / 2e6 if microseconds.isdecimal() else 0.0

    def ready(self, status: str) -> None:
        """Say that everything listens, or that the configuration has been read; status is a line for people."""
        self._tell(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Say that the configuration is being read again; ready() has to follow."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        """Say that the server leaves."""
        self._tell(f"STOPPING=1\nSTATUS={status}")

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give signs of life for as long as the loop turns: one that is stuck gives none."""
        if self.watchdog_interval:
            self._tell("WATCHDOG=1")
            loop.call_later(self.watchdog_interval, self.watch, loop)

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager:
            try:
                manager.sendto(state.encode(), self._address)
            except OSError as error:  # phones are served all the same
                logger.warning("service manager not told state=%s reason=%s", state.partition("\n")[0], error)
