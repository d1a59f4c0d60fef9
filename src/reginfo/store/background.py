"""The threads in which RocksDB flushes and merges, and which turn of the processor they have.

What they do is nobody's answer.  An ordinary thread of theirs takes the processor from the event loop for milliseconds,
and even the nicest one keeps it for as long once it has it; under SCHED_IDLE (sched(7)) they give it back at once.  On
a processor that is never idle they would not get on at all, until a write waits for them: so they are ordinary again
while they are behind.  Where the system would not let them return (it takes RLIMIT_NICE 20), they stay ordinary.
"""

import contextlib
import os
import threading
from pathlib import Path
from typing import ClassVar


def may_return() -> bool:
    """Return whether a thread of this process may leave SCHED_IDLE: one tries it, and ends."""
    returned = threading.Event()

    def go_and_return() -> None:
        with contextlib.suppress(OSError):
            for policy in (os.SCHED_IDLE, os.SCHED_OTHER):
                os.sched_setscheduler(0, policy, os.sched_param(0))
            returned.set()

    thread = threading.Thread(target=go_and_return)
    thread.start()
    thread.join()
    return returned.is_set()


def _set_policy(policy: int) -> None:
    for name in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # threads end
            if name.read_bytes().startswith(b"rocksdb:"):
                os.sched_setscheduler(int(name.parent.name), policy, os.sched_param(0))


class Background:
    """What one database wants of the threads, which are those of all databases of the process."""

    _behind: ClassVar[dict["Background", bool]] = {}
    "Of the open databases."
    _policy: ClassVar[int] = os.SCHED_OTHER

    def __init__(self) -> None:
        self._may_wait = may_return()

    def wait(self) -> None:
        """Let the threads run while nobody else wants to, unless another database is behind."""
        if self._may_wait:
            self._behind[self] = False
            self._settle()

    def hurry(self) -> None:
        """Let the threads have their share of the processor."""
        if self._may_wait:
            self._behind[self] = True
            self._settle()

    def end(self) -> None:
        """Want nothing any more."""
        self._behind.pop(self, None)
        self._settle()

    def _settle(self) -> None:
        policy = os.SCHED_OTHER if not self._behind or any(self._behind.values()) else os.SCHED_IDLE
        if policy != Background._policy:
            Background._policy = policy
            _set_policy(policy)
