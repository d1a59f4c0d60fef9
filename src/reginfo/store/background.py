"""The threads in which RocksDB flushes and merges, and which share of the processor they have.

What they do is nobody's answer.  An ordinary thread of theirs takes the processor from the event loop for milliseconds,
and even the nicest one keeps it for as long once it has it; under SCHED_IDLE (sched(7)) they give it back at once.  On
a processor that is never idle they would not get on at all, until a write waits for them: so they have a small share
while there is something to catch up with, and that of everybody else before a write has to wait.  Where the system
would not let them return (it takes RLIMIT_NICE 20), they stay ordinary.
"""

import contextlib
import os
import threading
from enum import IntEnum
from pathlib import Path
from typing import ClassVar, Final

MAX_NICENESS: Final = 19


class Share(IntEnum):
    """What the threads have of a processor that everybody wants."""

    NONE = 0
    SMALL = 1
    "A tenth of it."
    EQUAL = 2


_TURNS: Final = {Share.NONE: (os.SCHED_IDLE, 0), Share.SMALL: (os.SCHED_OTHER, 10), Share.EQUAL: (os.SCHED_OTHER, 0)}
"Policy, and niceness above that of the process; each step of it takes a fifth of the weight."


def _niceness(share: Share) -> int:
    return min(os.getpriority(os.PRIO_PROCESS, os.getpid()) + _TURNS[share][1], MAX_NICENESS)


def may_return() -> bool:
    """Return whether a thread of this process may have a smaller share and an equal one again: one tries, and ends."""
    returned = threading.Event()

    def go_and_return() -> None:
        with contextlib.suppress(OSError):
            for share in (Share.NONE, Share.SMALL, Share.EQUAL):
                os.sched_setscheduler(0, _TURNS[share][0], os.sched_param(0))
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _niceness(share))
            returned.set()

    thread = threading.Thread(target=go_and_return)
    thread.start()
    thread.join()
    return returned.is_set()


def _set(share: Share) -> None:
    policy, niceness = _TURNS[share][0], _niceness(share)
    for name in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # threads end
            if name.read_bytes().startswith(b"rocksdb:"):
                thread = int(name.parent.name)
                os.sched_setscheduler(thread, policy, os.sched_param(0))
                os.setpriority(os.PRIO_PROCESS, thread, niceness)


class Background:
    """What one database wants of the threads, which are those of all databases of the process."""

    _wanted: ClassVar[dict["Background", Share]] = {}
    "By the open databases."
    _share: ClassVar[Share] = Share.EQUAL

    def __init__(self) -> None:
        self._may_wait = may_return()

    def want(self, share: Share) -> None:
        """Let the threads have this share, or what another database wants of them, if that is more."""
        if self._may_wait:
            self._wanted[self] = share
            self._settle()

    def end(self) -> None:
        """Want nothing any more."""
        self._wanted.pop(self, None)
        self._settle()

    def _settle(self) -> None:
        share = max(self._wanted.values(), default=Share.EQUAL)
        if share != Background._share:
            Background._share = share
            _set(share)
