"""The feed and the secrets of webhooks: what `admin.webhooks` needs of the rest of the server."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from reginfo.admin.webhooks import Webhook
from reginfo.config import Config
from reginfo.errors import ConfigError
from reginfo.fast import Change
from reginfo.model import ContactEvent
from reginfo.server.accounts import read_secret
from reginfo.server.listener import FeedListener
from reginfo.store.base import Store

PREFIX: Final = "webhook:"
"Of the names of cursors."
MIN_SECRET: Final = 16  # characters: it is all that tells a receiver who has sent something


def open_secrets(config: Config) -> dict[str, bytes]:
    """Return the secret of each configured webhook by its name; ConfigError if one cannot be read or is too short."""
    secrets = {}
    for webhook in config.webhook:
        if webhook.secret_env:
            key, secret = "webhook.secret_env", os.environ.get(webhook.secret_env, "")
            where = f"the environment variable {webhook.secret_env}"
        else:
            key = "webhook.secret_file"
            secret, where = read_secret(Path(webhook.secret_file), key), webhook.secret_file
        if len(secret) < MIN_SECRET:
            raise ConfigError(f"{key}: {where} holds no secret of at least {MIN_SECRET} characters", key=key)
        secrets[webhook.name] = secret.encode()
    return secrets


async def hold_feed(store: Store, config: Config) -> None:
    """Have the feed kept from where each webhook is; what is committed before that may have it cut."""
    for webhook in config.webhook:
        await store.attach(PREFIX + webhook.name, ContactEvent.REFRESHED in webhook.events)


class WebhookListener(FeedListener):
    """Takes one webhook along the feed; its place is the oldest event that is owed."""

    def __init__(self, store: Store, webhook: Webhook) -> None:
        super().__init__(store, None if webhook.temporary else PREFIX + webhook.name, webhook.wants_refreshes)
        self._webhook = webhook

    def restore(self, state: bytes | None) -> None:
        """Go on with what was owed."""
        if state is not None:
            self._webhook.restore(state)

    async def take(self, changes: Sequence[Change]) -> None:
        """Hand changes over; nothing is sent here."""
        self._webhook.read(changes)
        self.cursor.seq = changes[-1].seq

    def place(self) -> tuple[int, bytes]:
        """Return where to read on after a restart, and what is owed."""
        outbox, seq = self._webhook.outbox, self.cursor.seq
        return outbox.cursor(seq), outbox.snapshot(seq)

    def miss(self, oldest: int) -> None:
        """Give up what was owed of changes that are not held any more."""
        self._webhook.read_up_to(oldest - 1)
