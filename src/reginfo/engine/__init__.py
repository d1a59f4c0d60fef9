"""The engine: datagrams in, decisions in between, datagrams out.  Sans I/O."""

from reginfo.engine.engine import Engine
from reginfo.engine.works import MAX_PENDING, Turn, Work

__all__ = ["MAX_PENDING", "Engine", "Turn", "Work"]
