"""Tell an application that a user came online, or went.

    python came_online.py [LISTEN]          LISTEN is udp:127.0.0.1:5060 unless given

The registrar runs inside this program.  on_change() is called once for each change, in order; because the listener has
a name, what happens while the program is down is told when it is up again.
"""

import asyncio
import sys

from reginfo import Config, Server
from reginfo.fast import Change


async def deliver(aor: str, state: str) -> None:
    """Do what the application is there for: play waiting messages, wake a push service, show a green dot."""
    print(f"{aor} {state}", flush=True)


async def on_change(change: Change) -> None:
    if not change.record:  # the last contact is gone
        await deliver(change.aor, "went offline")
    elif not change.base_revision:  # there was none before
        await deliver(change.aor, "came online")


async def main() -> None:
    listen = sys.argv[1] if len(sys.argv) > 1 else "udp:127.0.0.1:5060"
    server = Server(Config(listen=(listen,), domains=("example.com",)))
    server.on_change(on_change, name="application")
    await server.run(ready=lambda: print("listening on", *server.listeners, flush=True))


asyncio.run(main())
