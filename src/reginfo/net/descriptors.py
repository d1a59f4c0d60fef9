"""How many descriptors the process has, and for whom."""

import logging
import resource

logger = logging.getLogger(__name__)

RESERVED_DESCRIPTORS = 256  # for the files of the store, the sockets and the operators


def affordable(connections: int, listeners: int) -> int:
    """Return how many connections each listener may hold so that the store and the operator always get a descriptor.

    The soft limit of the process is raised as far as that is needed and allowed.
    """
    wanted = connections * listeners + RESERVED_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    attainable = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    if soft < attainable:
        resource.setrlimit(resource.RLIMIT_NOFILE, (attainable, hard))
    if attainable == wanted:
        return connections
    affordable = (attainable - min(RESERVED_DESCRIPTORS, attainable // 2)) // listeners
    logger.warning("few descriptors limit=%d connections=%d configured=%d", attainable, affordable, connections)
    return affordable
