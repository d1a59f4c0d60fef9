"""Secrets that outlive the process, made at the first start."""

import secrets
from typing import Final

from reginfo.store.base import Store

GRUU_KEYS: Final = b"gruu/keys"
"Key of the role state: temporary GRUUs made by one run are good in the next."


async def kept_secret(store: Store, key: bytes, octets: int) -> bytes:
    """Return the secret under a key of role state, a new one if there is none."""
    kept = await store.get_state(key)
    if kept is None:
        kept = secrets.token_bytes(octets)
        await store.commit((), [(key, kept)])
    return kept
