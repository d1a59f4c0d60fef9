"""Registration state told to a compositor, on every change (RFC 3903, KAM-1).

    changes -> read ─┐
    refresh, retry ──┴-> client.send -> request (PUBLISH) -> answered

One PUBLISH per AoR is outstanding, and what it says is decided when it leaves; the newest state waits behind it.
While the compositor does not answer, or asks for patience, everything waits but one probe after each back-off; when it
is back it is told what is true then, once.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from reginfo.config import PuaReginfoSection
from reginfo.fast import (
    NEVER_MS,
    PUBLICATION_AGENT,
    REFRESH_AHEAD_MS,
    Publication,
    Publications,
    SipMessage,
    Unsaved,
)
from reginfo.model import Now, StateItem
from reginfo.roles.publisher.publication import encode, restored
from reginfo.sip.client import Client
from reginfo.sip.outage import Outage
from reginfo.sip.peers import Peers
from reginfo.sip.routing import next_hop
from reginfo.sip.subscription import back_off_s
from reginfo.sip.timers import Timers
from reginfo.sip.transaction import REQUEST_TIMEOUT, SERVICE_UNAVAILABLE, retry_after_ms

logger = logging.getLogger(__name__)

TOO_BRIEF: Final = 423
TOO_LARGE: Final = 413
STOPS: Final = frozenset({415, 489})  # the compositor will not take any, however often it is asked (EPA-2)
STOP_S: Final = 1_800  # until somebody may have changed its configuration


class Publisher(Publications):
    """The publications of every AoR of this server at one compositor."""

    def __init__(
        self,
        section: PuaReginfoSection,
        peers: Peers,
        client: Client,
        timers: Timers,
        unsaved: Unsaved,
        token: Callable[[], str],
        chance: Callable[[], float],
    ) -> None:
        """token makes tags and Call-IDs; chance draws from 0 to 1."""
        outage = Outage[Publication](timers, chance, self.advance)
        super().__init__(client, timers, unsaved, token, outage, encode)
        self._chance = chance
        self._wanted: dict[str, None] = {}
        self.follow(section, peers)

    def follow(self, section: PuaReginfoSection, peers: Peers) -> None:
        """Publish by another configuration from now on."""
        proxy = section.outbound_proxy if section.publish_reginfo else ""
        # Without one the AoR itself would be the target, which is this server: its notifier has the state.
        hop = next_hop(proxy) if proxy else None
        if hop != self.hop:
            self.outage.reset()
        self.hop = hop
        self.peer = peers.at_hop(hop) if hop else None

    def __iter__(self) -> Iterator[Publication]:
        return iter(self.by_aor.values())

    def of_aor(self, aor: str) -> list[Publication]:
        """Return the publication of an address-of-record, if there is one."""
        return [self.by_aor[aor]] if aor in self.by_aor else []

    @property
    def removing(self) -> int:
        """Number of publications whose removal is not answered yet."""
        return len(self.removals)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is published, and nothing will be."""
        return self.hop is None and not self.by_aor

    # -- time -------------------------------------------------------------------------------------------

    def on_time(self, publication: Publication, now: Now) -> None:
        """Look what time has done to a publication."""
        if publication.timer_at > now.ms or publication.is_gone:
            return
        publication.timer_at = NEVER_MS
        if publication.entity_tag is not None and now.ms >= publication.expires_at and not publication.is_busy:
            self.lapsed(publication)
        elif now.ms >= publication.refresh_at:
            publication.refresh_at = NEVER_MS
            publication.is_due = True
        if not publication.is_gone:
            self.advance(publication, now)
            self.arm(publication, now.ms)

    def lapsed(self, publication: Publication, *, is_empty: bool = True) -> None:
        """Begin anew: the compositor has no state under this entity-tag any more, and none at all if is_empty."""
        publication.entity_tag = None
        publication.refresh_at = NEVER_MS
        publication.is_due = False
        if publication.is_news:
            publication.told_empty = is_empty
            return
        if publication.told_empty:
            self.forget(publication)
        else:
            publication.told, publication.told_empty = 0, is_empty
            self._wanted[publication.aor] = None

    def remove(self, aor: str, now: Now) -> None:
        """Have the compositor forget the publication of an AoR, whatever it was to be told (RFC 3903 section 4.5)."""
        publication = self.by_aor.get(aor)
        if publication is None or self.hop is None:
            return
        if publication.entity_tag is None and not publication.is_busy:
            self.forget(publication)
            return
        self.removals.add(publication)
        publication.is_news, publication.is_due = False, True
        self.untold.pop(publication, None)
        self.advance(publication, now)

    def take_recalls(self) -> list[str]:
        """Return the AoRs whose records are wanted, each to be answered by recall()."""
        wanted, self._wanted = self._wanted, {}
        return list(wanted)

    def put_back_recalls(self, aors: Iterable[str]) -> None:
        """Take back AoRs whose records could not be loaded; take_recalls() returns them again."""
        self._wanted.update(dict.fromkeys(aors))

    # -- PUBLISH ----------------------------------------------------------------------------------------

    def is_back(self) -> None:
        """Take note that the compositor answers again."""
        logger.info("compositor answers again")

    def refused(self, publication: Publication, status: int, response: SipMessage | None, now: Now) -> None:
        """Take the end of a PUBLISH that was not accepted: what it said is still to be told."""
        if publication.has_body:
            publication.is_news = True
        else:
            publication.is_due = True
        wait_ms = retry_after_ms(response)
        if status == TOO_BRIEF and response is not None and (response.min_expires or 0) > publication.min_expires:
            publication.min_expires = publication.granted = response.min_expires or 0
        elif status in (REQUEST_TIMEOUT, SERVICE_UNAVAILABLE):
            self._pause(wait_ms, now)
        elif status in STOPS:
            logger.error("compositor refuses publications code=%d", status)
            self._pause(STOP_S * 1000, now)
        elif status == TOO_LARGE:  # it is about one document (RFC 3261 21.4.11): the others are none the worse
            logger.error("compositor refuses a publication aor=%s code=%d", publication.aor, status)
            publication.not_before = now.ms + (wait_ms or STOP_S * 1000)
        else:
            if status < 300:  # it does not say what it has or for how long (EPA-2)
                publication.entity_tag = None
                publication.refresh_at = NEVER_MS
            wait_ms = wait_ms or round(1000 * back_off_s(publication.failures, self._chance()))
            publication.not_before = now.ms + wait_ms
            publication.failures += 1

    def _pause(self, retry_after_ms: int, now: Now) -> None:
        if self.outage.begin(retry_after_ms, now):
            logger.warning("compositor does not answer waiting=%d", len(self.untold))

    # -- what survives ----------------------------------------------------------------------------------

    def restore(self, items: Iterable[StateItem], now: Now) -> None:
        """Go on with the publications of the last run."""
        for key, octets in items:
            assert octets is not None
            if key == PUBLICATION_AGENT:
                self.agent = octets.decode()
                continue
            publication = restored(key, octets)
            self.by_aor[publication.aor] = publication
            if publication.entity_tag is not None and not publication.told_empty:
                publication.refresh_at = max(now.ms, publication.expires_at - REFRESH_AHEAD_MS)
            self.arm(publication, now.ms)

    def followed(self) -> Iterator[str]:
        """Yield the published addresses-of-record, for recall()."""
        yield from self.by_aor
