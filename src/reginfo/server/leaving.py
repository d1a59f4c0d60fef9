"""Leaving for good (`reginfo drain --final`): nobody is left to wait for what never comes again."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Final

from reginfo.engine.roles import Roles
from reginfo.model import Now
from reginfo.store.base import Store

logger = logging.getLogger(__name__)

SLICE: Final = 64  # addresses-of-record in one go: some milliseconds
ANSWER_SECONDS: Final = 6.0  # for watchers and compositor to answer; whoever asked has a time-out of ten
LOOK_SECONDS: Final = 0.02


async def leave(roles: Roles, store: Store, now: Callable[[], Now], schedule: Callable[[], None]) -> None:
    """End the subscriptions of watchers (RFC 6665 section 4.1.3), our own (4.1.2.3) and our publications (RFC 3903).

    Returns once all of that is answered, or has not been for some seconds; schedule() has sent what is owed.
    """
    notifier, publisher, subscriber = roles.notifier, roles.publisher, roles.subscriber
    subscriptions = len(notifier)
    for aors in _slices(list(notifier.followed())):
        for aor, record in zip(aors, await store.load(aors), strict=True):
            notifier.leave(aor, record, now())
        schedule()
        await asyncio.sleep(0)
    for aors in _slices(list(publisher.followed())):
        for aor in aors:
            publisher.remove(aor, now())
        schedule()
        await asyncio.sleep(0)
    for uris in _slices([subscription.uri for subscription in subscriber]):
        for uri in uris:
            subscriber.unfollow(uri, now())
        schedule()
        await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    until = loop.time() + ANSWER_SECONDS
    while (unanswered := len(notifier) + publisher.removing + len(subscriber)) and loop.time() < until:
        await asyncio.sleep(LOOK_SECONDS)
    logger.info("left for good subscriptions=%d unanswered=%d", subscriptions, unanswered)


def _slices(uris: list[str]) -> Iterator[list[str]]:
    return (uris[start : start + SLICE] for start in range(0, len(uris), SLICE))
