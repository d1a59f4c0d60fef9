"""How many descriptors the process has, and for whom."""

import fcntl
import logging
import os
import resource
from contextlib import suppress

logger = logging.getLogger(__name__)

RESERVED_DESCRIPTORS = 256  # for the files of the store, the sockets and the operators


def affordable(connections: int, listeners: int) -> int:
    """Return how many connections each listener may hold so that the store and the operator always get a descriptor.

    The soft limit of the process is raised as far as that is needed and allowed, and there is room for all of them.
    """
    wanted = connections * listeners + RESERVED_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    attainable = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < attainable:
        resource.setrlimit(resource.RLIMIT_NOFILE, (attainable, hard))
    _make_room(attainable)
    if attainable == wanted:
        return connections
    affordable = (attainable - min(RESERVED_DESCRIPTORS, attainable // 2)) // listeners
    logger.warning("few descriptors limit=%d connections=%d configured=%d", attainable, affordable, connections)
    return affordable


def _make_room(descriptors: int) -> None:
    """Have the kernel make its table of this process's descriptors as large as that.

    It doubles it when it is full, and in a process of several threads that accept() waits for a grace period of RCU
    then: 13 to 16 ms, each time the number of connections reached another power of two.
    """
    with suppress(OSError), open(os.devnull, "rb") as file:
        os.close(fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, descriptors - 1))
