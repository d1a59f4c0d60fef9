"""A process that writes into a store as fast as it can and says what was acknowledged; it is killed.

Run as a module: folder, kind of store, seed.  Every acknowledged call is one line on standard output: the
sequence number reached, then AoR=revision for each change (revision 0: the contacts ended).
"""

import asyncio
import os
import random
import sys
from pathlib import Path

from reginfo.fast import Change, record_revision
from tests.store.conftest import EMBEDDED
from tests.store.samples import aor, bound, ended

AORS = 200


async def write(folder: Path, kind: str, seed: int) -> None:
    chance = random.Random(seed)
    store = EMBEDDED[kind](folder)
    os.write(1, b"ready\n")
    calls = 0

    async def call() -> None:
        nonlocal calls
        names = [aor(number) for number in chance.sample(range(AORS), chance.randint(1, 20))]
        changes: list[Change] = []
        for name, record in zip(names, await store.load(names), strict=True):
            if record is not None and chance.random() < 0.3:
                changes.append(ended(name, record))
            else:
                changes.append(bound(name, record, cseq=chance.randint(1, 1 << 30)))
        calls += 1
        state = [(b"calls/%d" % (calls % 10), b"%d" % calls)]
        refused = set(await store.commit(changes, state))
        kept = [change for index, change in enumerate(changes) if index not in refused]
        words = [f"{c.aor}={record_revision(c.record) if c.record else 0}" for c in kept]
        os.write(1, f"{max((c.seq for c in kept), default=0)} {' '.join(words)}\n".encode())

    while True:
        await asyncio.gather(*(call() for _ in range(chance.randint(1, 3))))


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
