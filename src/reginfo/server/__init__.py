"""The process around the engine: event loop, clock, sockets, store, signals."""

from reginfo.server.server import Server
from reginfo.server.turns import run_turn

__all__ = ["Server", "run_turn"]
