"""Webhooks: applications that are told of contact events by HTTP, a signed request for each.

What is owed to whom is in `delivery`; here are the filter, the requests and the clock.  Nobody waits for a
receiver, and one receiver does not wait for another.
"""

import asyncio
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from reginfo.admin.contact_events import WallMs, event_key, event_view
from reginfo.admin.control import Json
from reginfo.admin.delivery import Counts, Entry, Outbox
from reginfo.admin.signatures import HEADER, sign_webhook
from reginfo.config import WebhookSection
from reginfo.errors import ReginfoError
from reginfo.fast import Binding, Change
from reginfo.model import ContactEvent

if TYPE_CHECKING:
    from reginfo.admin.posting import Poster

logger = logging.getLogger(__name__)

MAX_TEMPORARY: Final = 16  # webhooks added at run time
FINISH_SECONDS: Final = 2.0  # for what is under way when a webhook ends; it is delivered again otherwise
ABANDON_SECONDS: Final = 60.0  # a temporary webhook nobody has answered for is removed
WARN_SECONDS: Final = 60.0  # between two lines about events that were dropped, or refused
MAX_ERROR: Final = 200  # characters of what went wrong

RETRYABLE: Final = frozenset({408, 429})  # and every 5xx

# contact-params of RFC 3261 section 25.1, as a binding keeps them
_PARAMETER = re.compile(r';([^;="]+)(?:=(?:"(?:[^"\\]|\\.)*"|[^;"]*))?')


class Happening(NamedTuple):
    """What there is to tell: one contact of one change."""

    change: Change
    binding: Binding
    event: str


class Webhook:
    """One receiver: which events it wants, and what it is owed."""

    def __init__(
        self,
        section: WebhookSection,
        secret: bytes,
        matches: Callable[[str], bool],
        wall_ms: WallMs,
        *,
        temporary: bool = False,
    ) -> None:
        """matches(aor) tells whether it wants an AoR; what is temporary ends when its receiver is gone."""
        self.section = section
        self.secret = secret
        self.temporary = temporary
        self._matches = matches
        self._wall_ms = wall_ms
        self._events = frozenset(section.events or (one for one in ContactEvent if one != ContactEvent.REFRESHED))
        self._tags = frozenset(tag.lower() for tag in section.feature_tags)
        self.wants_refreshes = ContactEvent.REFRESHED in self._events
        self.outbox: Outbox[Happening] = Outbox(section.max_pending, section.max_in_flight, random.random)
        self._news = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self._last_error: str | None = None
        self._is_failing = False
        self._answered_at = time.monotonic()
        self._said: dict[str, float] = {}
        self._dropped = 0

    @property
    def name(self) -> str:
        return self.section.name

    # -- the feed -------------------------------------------------------------------------------------------

    def restore(self, state: bytes) -> None:
        """Go on from a saved state; raises ValueError if it is none."""
        self.outbox.restore(state)
        self._dropped = self.outbox.counts.dropped

    def read(self, changes: Sequence[Change]) -> None:
        """Take committed changes, in feed order; what is wanted of them is delivered from now on."""
        outbox = self.outbox
        for change in changes:
            if change.only_refreshes and not self.wants_refreshes:
                continue
            aor = change.aor
            is_wanted = self._matches(aor)
            for index, (binding, event) in enumerate(change.contacts):
                takes = outbox.takes((change.seq, index))
                if takes if takes is not None else is_wanted and self._wants(binding, event):
                    outbox.add((change.seq, index), aor, Happening(change, binding, event))
        if changes:
            self.read_up_to(changes[-1].seq)
        self._news.set()

    def read_up_to(self, seq: int) -> None:
        """Take note that there is nothing to read up to a change, that one included."""
        self.outbox.forget_before((seq + 1, 0))
        dropped = self.outbox.counts.dropped
        if dropped > self._dropped and self._may_say("dropped"):
            self._dropped = dropped
            logger.warning("webhook events dropped name=%s dropped=%d", self.name, dropped)

    def _may_say(self, what: str) -> bool:
        """Tell whether it is time for another line about what may happen a thousand times a second."""
        now = time.monotonic()
        if now - self._said.get(what, -WARN_SECONDS) < WARN_SECONDS:
            return False
        self._said[what] = now
        return True

    def _wants(self, binding: Binding, event: str) -> bool:
        if event not in self._events:
            return False
        return not self._tags or self._tags <= {
            match[1].strip().lower() for match in _PARAMETER.finditer(binding.params)
        }

    # -- deliveries -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver until cancelled; what is temporary returns when nobody answers for it any more."""
        from reginfo.admin.posting import (
            Poster,  # an HTTP client is weight that a server without webhooks does not carry
        )

        section = self.section
        async with Poster(section.url, section.timeout, section.max_in_flight) as poster:
            try:
                while not self._is_abandoned():
                    self._news.clear()
                    while (entry := self.outbox.take(time.monotonic())) is not None:
                        task = asyncio.create_task(self._deliver(poster, entry))
                        self._sending.add(task)
                        task.add_done_callback(self._sent)
                        await asyncio.sleep(0)  # one in a turn of the loop: to send takes some tenths of a millisecond
                    due = self.outbox.next_take(time.monotonic())
                    with suppress(TimeoutError):
                        async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                            await self._news.wait()
            finally:
                if self._sending:
                    await asyncio.wait(self._sending, timeout=FINISH_SECONDS)
                for task in self._sending:
                    task.cancel()
                await asyncio.gather(*self._sending, return_exceptions=True)

    def _is_abandoned(self) -> bool:
        return self.temporary and self._is_failing and time.monotonic() - self._answered_at > ABANDON_SECONDS

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._news.set()

    async def _deliver(self, poster: "Poster", entry: Entry[Happening]) -> None:
        try:
            change, binding, event = entry.content
            view = event_view(change, entry.key[1], binding, event, self._wall_ms)
            body = msgspec.json.encode(view)
            headers = {
                "Idempotency-Key": event_key(*entry.key),
                HEADER: sign_webhook(body, self.secret, time.time()),
            }
            answer = await poster.post(body, headers)
        except ReginfoError as error:
            self._failed(entry, str(error), 0.0)
        except Exception:  # an event that is never settled would hold up all that follow it
            logger.exception("webhook delivery failed name=%s", self.name)
            self._failed(entry, "internal error, see the log", 0.0)
        else:
            self._answered(entry, answer.status, answer.retry_after)

    def _answered(self, entry: Entry[Happening], status: int, retry_after: float) -> None:
        if status in RETRYABLE or status >= 500:
            self._failed(entry, f"answered {status}", retry_after)
            return
        if self._is_failing:
            self._is_failing = False
            logger.info("webhook works again name=%s pending=%d", self.name, len(self.outbox))
        self._answered_at = time.monotonic()
        if 200 <= status < 300:
            self.outbox.delivered(entry)
            return
        self._last_error = f"answered {status}"
        self.outbox.refused(entry)
        if self._may_say("refused"):
            change, failed = entry.content.change, self.outbox.counts.failed
            logger.warning(
                "webhook event refused name=%s seq=%d aor=%s status=%d failed=%d",
                self.name,
                change.seq,
                change.aor,
                status,
                failed,
            )

    def _failed(self, entry: Entry[Happening], reason: str, retry_after: float) -> None:
        reason = reason[:MAX_ERROR]
        if not self._is_failing or reason != self._last_error:
            logger.warning("webhook failing name=%s pending=%d reason=%s", self.name, len(self.outbox), reason)
        self._is_failing, self._last_error = True, reason
        self.outbox.failed(entry, time.monotonic(), retry_after)

    def describe(self) -> dict[str, Json]:
        """Return what webhook.list shows; next_try is in how many seconds, null if nothing waits for it."""
        due = self.outbox.next_take(time.monotonic()) if self._is_failing else None
        return {
            "name": self.name,
            "url": self.section.url,
            "temporary": self.temporary,
            "pending": len(self.outbox),
            **msgspec.structs.asdict(self.outbox.counts),
            "last_error": self._last_error,
            "next_try": None if due is None else round(max(0.0, due - time.monotonic()), 1),
        }


class BadWebhook(ReginfoError):
    """A webhook that cannot be added, or is not there."""


Follow = Callable[[Webhook], Awaitable[Callable[[], Awaitable[None]]]]
"Has a webhook read the feed, from where it was, until what it returns is called; then its place is saved."


class _Running(NamedTuple):
    webhook: Webhook
    unfollow: Callable[[], Awaitable[None]]
    task: asyncio.Task[None]


class Webhooks:
    """All webhooks of one server."""

    def __init__(
        self, follow: Follow, matcher: Callable[[Sequence[str]], Callable[[str], bool]], wall_ms: WallMs
    ) -> None:
        """matcher(patterns) returns what tells whether an AoR is one of them."""
        self._follow = follow
        self._matcher = matcher
        self._wall_ms = wall_ms
        self._running: dict[str, _Running] = {}
        self._moving = asyncio.Lock()
        self._is_closed = False
        self._ended = Counts()

    async def configure(self, sections: Sequence[WebhookSection], secrets: Mapping[str, bytes]) -> None:
        """Have exactly these webhooks besides the temporary ones; what has not changed is not disturbed."""
        async with self._moving:
            if self._is_closed:  # the configuration was read again while the server was ending
                return
            wanted = {section.name: section for section in sections}
            for name, one in list(self._running.items()):
                stays = wanted.get(name) == one.webhook.section and secrets.get(name) == one.webhook.secret
                if not stays and not (one.webhook.temporary and name not in wanted):
                    await self._end(name)
            for name, section in wanted.items():
                if name not in self._running:
                    await self._begin(section, secrets[name])

    async def add(self, section: WebhookSection, secret: bytes) -> None:
        """Add a temporary webhook, which is told of what happens from now on; raises BadWebhook."""
        async with self._moving:
            if section.name in self._running:
                raise BadWebhook(f"there is a webhook {section.name} already")
            if sum(one.webhook.temporary for one in self._running.values()) >= MAX_TEMPORARY:
                raise BadWebhook(f"more than {MAX_TEMPORARY} temporary webhooks")
            await self._begin(section, secret, temporary=True)

    async def remove(self, name: str) -> bool:
        """End a temporary webhook; False if there is none of that name."""
        async with self._moving:
            found = self._running.get(name)
            if found is None or not found.webhook.temporary:
                return False
            await self._end(name)
            return True

    async def close(self) -> None:
        """End all; what is owed to those that are configured is told after the next start."""
        async with self._moving:
            self._is_closed = True
            await asyncio.gather(*(self._end(name, final=True) for name in self._running))

    def describe(self) -> list[dict[str, Json]]:
        """Return the webhooks, with their figures."""
        return [one.webhook.describe() for one in self._running.values()]

    def statistics(self) -> dict[str, int]:
        """Return the figures of all webhooks together."""
        outboxes = [one.webhook.outbox for one in self._running.values()]
        counts = [self._ended, *(outbox.counts for outbox in outboxes)]
        totals = {name: sum(getattr(one, name) for one in counts) for name in Counts.__struct_fields__}
        return {"webhooks": len(outboxes), "pending": sum(map(len, outboxes)), **totals}

    async def _begin(self, section: WebhookSection, secret: bytes, *, temporary: bool = False) -> None:
        matches = self._matcher(section.aors or ("*",))
        webhook = Webhook(section, secret, matches, self._wall_ms, temporary=temporary)
        unfollow = await self._follow(webhook)
        task = asyncio.create_task(webhook.run())
        self._running[section.name] = _Running(webhook, unfollow, task)
        task.add_done_callback(lambda task: self._ended_by_itself(webhook, task))

    def _ended_by_itself(self, webhook: Webhook, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        logger.warning("webhook ended name=%s reason=%s", webhook.name, task.exception() or "nobody answers")
        self._leaving = asyncio.create_task(self.remove(webhook.name))

    async def _end(self, name: str, *, final: bool = False) -> None:
        found = self._running[name]
        found.task.cancel()
        await asyncio.wait([found.task])  # what it failed with has been logged, and ends no other
        await found.unfollow()
        del self._running[name]
        if final or found.webhook.temporary:  # what others have counted goes on under their names
            for count in Counts.__struct_fields__:
                setattr(self._ended, count, getattr(self._ended, count) + getattr(found.webhook.outbox.counts, count))
