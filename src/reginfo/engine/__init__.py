"""The engine: datagrams in, decisions in between, datagrams out.  Sans I/O."""

from reginfo.engine.engine import KEEP, Engine, Hook
from reginfo.engine.works import MAX_PENDING, Work

__all__ = ["KEEP", "MAX_PENDING", "Engine", "Hook", "Work"]
