"""A process whose disk is full for a while; run as a module: folder, kind of store.

Fails with an assertion, or ends with the number of changes that were acknowledged.
"""

import asyncio
import resource
import signal
import sys
from pathlib import Path

from reginfo.errors import StoreUnavailable
from tests.store.conftest import EMBEDDED
from tests.store.samples import NOW_MS, aor, bound

ALL = resource.RLIM_INFINITY


def limit_files(octets: int) -> None:
    """Make every write beyond so many octets of a file fail, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, ALL))


async def fill(folder: Path, kind: str) -> int:
    store = EMBEDDED[kind](folder, retry_s=0.01)
    await store.attach("log", wants_refreshes=False)
    await store.save_cursor("log", 0, b"begun")
    records: dict[str, bytes] = {}
    limit_files(200_000)
    refused = None
    while refused is None:
        changes = [bound(aor(len(records) + number)) for number in range(10)]
        try:
            await store.commit(changes)
            records.update((change.aor, change.record) for change in changes)
        except StoreUnavailable as error:
            refused = error
    limit_files(100)
    assert refused.retry_after > 0
    assert all(change.seq == 0 for change in changes)

    # Nothing moves, everything is answered, and no try to change something succeeds.
    for number in range(20):
        names = list(records)
        assert await store.load(names) == list(records.values())
        assert await store.load([change.aor for change in changes]) == [None] * len(changes)
        assert len(await store.changes(0, 1 << 20)) == store.last_seq == len(records)
        assert await store.due(NOW_MS, 10) == []
        try:
            await store.commit([bound(aor(900_000 + number))], [(b"key", b"refused")])
            raise AssertionError("acknowledged on a full disk")
        except StoreUnavailable:
            await asyncio.sleep(0.005)
        try:
            await store.save_cursor("log", 1, b"refused")
            raise AssertionError("saved on a full disk")
        except StoreUnavailable:
            pass

    limit_files(ALL)
    late = bound(aor(999_999))
    for _ in range(1000):
        try:
            await store.commit([late], [(b"key", b"kept")])
            break
        except StoreUnavailable:
            await asyncio.sleep(0.01)
    records[late.aor] = late.record
    assert late.seq == store.last_seq == len(records)
    assert await store.cursor("log") == (0, b"begun")
    await store.close()

    store = EMBEDDED[kind](folder)
    assert await store.load(list(records)) == list(records.values())
    assert len(store) == store.last_seq == len(records)
    assert [change.aor for change in await store.changes(0, 1 << 20)] == list(records)
    assert await store.scan_state(b"") == [(b"key", b"kept")]
    assert await store.cursor("log") == (0, b"begun")
    await store.close()
    return len(records)


if __name__ == "__main__":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    print(asyncio.run(fill(Path(sys.argv[1]), sys.argv[2])))  # noqa: T201
