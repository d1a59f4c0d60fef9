"""A turn from load to answer."""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from reginfo.engine import Engine, Work
from reginfo.errors import StoreUnavailable
from reginfo.fast import Change
from reginfo.model import Now
from reginfo.store.measured import Records

logger = logging.getLogger(__name__)

MAX_CONFLICTS: Final = 8  # times a turn is decided again before its AoRs are refused
CONFLICT_RETRY_AFTER: Final = 1  # seconds


async def run_turn(engine: Engine, store: Records, now: Callable[[], Now]) -> list[Work]:
    """Take what has arrived from load to answer: load, decide, commit, settle; return what has been answered.

    A revision conflict decides the AoRs concerned again, in order; a store that cannot commit answers 503.
    """
    turn = engine.take_turn()
    works: Sequence[Work] = turn.works
    records: dict[str, bytes | None] = {}
    retry_after = CONFLICT_RETRY_AFTER
    try:
        aors = turn.aors
        for _ in range(MAX_CONFLICTS):
            records.update(zip(aors, await store.load(aors), strict=True))
            changes, state = engine.decide(works, records, now())
            refused = await store.commit(changes, state) if changes or state else ()
            if not refused:
                works = ()
                break
            works = _from_refused(works, [changes[index] for index in refused])
            aors = list(dict.fromkeys([work.aor for work in works]))
            for aor in aors:
                del records[aor]
    except StoreUnavailable as error:
        retry_after = error.retry_after
    except Exception:  # AoRs that were never released would be served no more
        logger.exception("turn failed")
    if works:
        engine.fail(works, records, retry_after, now())
    engine.settle(turn, now())
    return turn.works


def _from_refused(works: Sequence[Work], refused: Sequence[Change]) -> list[Work]:
    """Return the works to decide again: of each AoR with a refused change, that work and all after it."""
    ids = {id(change) for change in refused}
    aors: set[str] = set()
    again = []
    for work in works:
        if work.aor in aors or id(work.change) in ids:
            aors.add(work.aor)
            again.append(work)
    return again
