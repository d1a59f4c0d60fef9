"""Registration state told to a compositor, on every change (RFC 3903, KAM-1).

    changes -> read ─┐
    refresh, retry ──┴-> client.send -> request (PUBLISH) -> answered

One PUBLISH per AoR is outstanding, and what it says is decided when it leaves; the newest state waits behind it.
While the compositor does not answer, or asks for patience, everything waits but one probe after each back-off; when it
is back it is told what is true then, once.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from reginfo.config import PuaReginfoSection
from reginfo.fast import (
    NEVER_MS,
    REFRESH_AHEAD_MS,
    REGINFO_HEAD,
    Change,
    HeaderTemplate,
    SipMessage,
    SipParseError,
    last_expiry_ms,
    record_revision,
    refresh_delay_ms,
    registration_id_of,
)
from reginfo.model import Now, StateItem
from reginfo.roles.publisher.publication import AGENT, Publication, restored
from reginfo.sip.client import Client
from reginfo.sip.exchange import Request
from reginfo.sip.outage import Outage
from reginfo.sip.peers import Peer, Peers
from reginfo.sip.routing import Hop, next_hop
from reginfo.sip.subscription import DOCUMENT_TYPE, PACKAGE, back_off_s
from reginfo.sip.timers import Timers
from reginfo.sip.transaction import REQUEST_TIMEOUT, SERVICE_UNAVAILABLE, retry_after_ms
from reginfo.sip.unsaved import Unsaved

logger = logging.getLogger(__name__)

CONDITION_FAILED: Final = 412  # RFC 3903 section 11.2.1
TOO_BRIEF: Final = 423
TOO_LARGE: Final = 413
STOPS: Final = frozenset({415, 489})  # the compositor will not take any, however often it is asked (EPA-2)
STOP_S: Final = 1_800  # until somebody may have changed its configuration

EXPIRES_AFTER_LAST: Final = 60  # seconds that the news of the last contact's end is published
MAX_EXPIRES: Final = 2**32 - 1

_ROWS: Final = [
    ("Max-Forwards", "70"),
    ("From", "<{}>;tag={}"),
    ("To", "<{}>"),
    ("Call-ID", "{}"),
    ("CSeq", "1 PUBLISH"),
    ("Event", PACKAGE),
    ("Expires", "{}"),
]
_MATCH: Final = ("SIP-If-Match", "{}")
_TYPE: Final = ("Content-Type", DOCUMENT_TYPE)
# The kinds of PUBLISH that RFC 3903 section 4 has.
_INITIAL: Final = HeaderTemplate([*_ROWS, _TYPE])
_REFRESH: Final = HeaderTemplate([*_ROWS, _MATCH])
_MODIFY: Final = HeaderTemplate([*_ROWS, _MATCH, _TYPE])


class Publisher:
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
        self._client = client
        self._timers = timers
        self._when_due = self._on_time  # mentioned once, for all timers
        self._unsaved = unsaved
        self._token = token
        self._chance = chance
        self._publications: dict[str, Publication] = {}
        self._untold: OrderedDict[Publication, None] = OrderedDict()  # a dict is slow to find its first of many
        self._wanted: dict[str, None] = {}
        self._removals: set[Publication] = set()
        self._agent = ""
        self._hop: Hop | None = None
        self._outage = Outage[Publication](timers, chance, self._advance)
        self.publishes: Counter[int] = Counter()
        "PUBLISHes by final answer."
        self.follow(section, peers)

    def follow(self, section: PuaReginfoSection, peers: Peers) -> None:
        """Publish by another configuration from now on."""
        proxy = section.outbound_proxy if section.publish_reginfo else ""
        # Without one the AoR itself would be the target, which is this server: its notifier has the state.
        hop = next_hop(proxy) if proxy else None
        if hop != self._hop:
            self._outage.reset()
        self._hop = hop
        self._peer: Peer | None = peers.at_hop(self._hop) if self._hop else None

    def __len__(self) -> int:
        """Return the number of publications."""
        return len(self._publications)

    def __iter__(self) -> Iterator[Publication]:
        return iter(self._publications.values())

    def of_aor(self, aor: str) -> list[Publication]:
        """Return the publication of an address-of-record, if there is one."""
        return [self._publications[aor]] if aor in self._publications else []

    @property
    def removing(self) -> int:
        """Number of publications whose removal is not answered yet."""
        return len(self._removals)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is published, and nothing will be."""
        return self._hop is None and not self._publications

    # -- changes ----------------------------------------------------------------------------------------

    def read(self, changes: Sequence[Change], now: Now) -> None:
        """Take committed changes, in feed order."""
        if self._hop is None:
            return
        for change in changes:
            publication = self._publications.get(change.aor) or self._publication(change.aor)
            if self._removals and publication in self._removals:
                continue
            publication.read(change)
            if change.muted and not publication.is_news:
                publication.told = change.revision  # reginfo_disable_publish: as if it were known
                publication.told_empty = not change.record
                publication.clear()
                continue
            self._news(publication, change.seq, now)

    def _publication(self, aor: str) -> Publication:
        publication = self._publications.get(aor)
        if publication is None:
            publication = self._publications[aor] = Publication(aor)
        return publication

    def _news(self, publication: Publication, seq: int, now: Now) -> None:
        if not publication.is_news and publication not in self._untold:
            publication.seq = seq
            self._untold[publication] = None
        publication.is_news = True
        if not publication.is_busy:
            self._advance(publication, now)

    def settled(self, seq: int) -> int:
        """Return up to which change, at most seq, the compositor has been told; all, if there is none to tell."""
        if self._hop is None:
            return seq
        for publication in self._untold:  # the first one has waited longest
            return min(seq, publication.seq - 1)
        return seq

    def _advance(self, publication: Publication, now: Now) -> bool:
        """Ask for the next PUBLISH if one is owed and may be sent; False if there is none to come now."""
        if publication.is_busy or not (publication.is_news or publication.is_due) or self._hop is None:
            return publication.is_busy
        if now.ms < publication.not_before:
            self._outage.forget(publication, now)  # it has a timer of its own
            return False
        if self._outage.is_down and self._outage.holds(publication):
            return False
        publication.is_busy = True
        self._client.send(self._hop, self, publication)
        return True

    def _arm(self, publication: Publication, now: Now) -> None:
        """Have time look at a publication when it is due; however often that moves there is one timer."""
        due = publication.refresh_at
        is_ours = publication.entity_tag is not None and not publication.is_busy  # else the answer decides what lapses
        if is_ours and publication.expires_at < due:
            due = publication.expires_at
        if now.ms < publication.not_before < due:
            due = publication.not_before
        if due < publication.timer_at:
            publication.timer_at = due
            self._timers.at(due, self._when_due, publication)

    def _on_time(self, publication: Publication, now: Now) -> None:
        if publication.timer_at > now.ms or self._publications.get(publication.aor) is not publication:
            return
        publication.timer_at = NEVER_MS
        if publication.entity_tag is not None and now.ms >= publication.expires_at and not publication.is_busy:
            self._lapsed(publication)
        elif now.ms >= publication.refresh_at:
            publication.refresh_at = NEVER_MS
            publication.is_due = True
        if publication.aor in self._publications:
            self._advance(publication, now)
            self._arm(publication, now)

    def _lapsed(self, publication: Publication, *, is_empty: bool = True) -> None:
        """Begin anew: the compositor has no state under this entity-tag any more, and none at all if is_empty."""
        publication.entity_tag = None
        publication.refresh_at = NEVER_MS
        publication.is_due = False
        if publication.is_news:
            publication.told_empty = is_empty
            return
        if publication.told_empty:
            self._forget(publication)
        else:
            publication.told, publication.told_empty = 0, is_empty
            self._wanted[publication.aor] = None

    def remove(self, aor: str, now: Now) -> None:
        """Have the compositor forget the publication of an AoR, whatever it was to be told (RFC 3903 section 4.5)."""
        publication = self._publications.get(aor)
        if publication is None or self._hop is None:
            return
        if publication.entity_tag is None and not publication.is_busy:
            self._forget(publication)
            return
        self._removals.add(publication)
        publication.is_news, publication.is_due = False, True
        self._untold.pop(publication, None)
        self._advance(publication, now)

    def take_recalls(self) -> list[str]:
        """Return the AoRs whose records are wanted, each to be answered by recall()."""
        wanted, self._wanted = self._wanted, {}
        return list(wanted)

    def _forget(self, publication: Publication) -> None:
        del self._publications[publication.aor]
        self._untold.pop(publication, None)
        self._removals.discard(publication)
        self._unsaved.put(publication.key, None)

    # -- PUBLISH ----------------------------------------------------------------------------------------

    def put_back_recalls(self, aors: Iterable[str]) -> None:
        """Take back AoRs whose records could not be loaded; take_recalls() returns them again."""
        self._wanted.update(dict.fromkeys(aors))

    def request(self, subject: Publication, now: Now) -> Request | None:
        """Return the PUBLISH a publication is owed: initial, modify or refresh (RFC 3903 section 4)."""
        if self._outage.is_down and self._outage.holds(subject):
            subject.is_busy = False
            self._arm(subject, now)
            return None
        if self._removals and subject in self._removals and subject.entity_tag is not None:
            subject.has_body = subject.is_due = False
            subject.is_ending = True
            values = [subject.aor, self._token(), subject.aor, self._call_id(subject.aor), "0", subject.entity_tag]
            return Request("PUBLISH", subject.aor, _REFRESH.fill(*values), b"")
        body = self._document(subject, now) if subject.is_news else b""
        if not body and (subject.entity_tag is None or not subject.is_due):
            # Nothing of it is at home here, or what ended had never been published.
            subject.is_busy = subject.is_due = False
            subject.sent, subject.sent_empty = subject.revision, subject.record is None
            self._told(subject)
            if subject.entity_tag is None:
                self._forget(subject)
            else:
                self._arm(subject, now)
            self._outage.forget(subject, now)
            return None
        aor, entity_tag = subject.aor, subject.entity_tag
        values = [aor, self._token(), aor, self._call_id(aor)]
        values.append(str(self._expires(subject, now) if body else subject.granted))
        if entity_tag is not None:
            values.append(entity_tag)
        subject.has_body = bool(body)
        subject.is_due = False
        if body:
            subject.sent, subject.sent_empty = subject.revision, subject.record is None
            subject.is_news = False
        template = _REFRESH if not body else _INITIAL if entity_tag is None else _MODIFY
        return Request("PUBLISH", aor, template.fill(*values), body)

    def _call_id(self, aor: str) -> str:
        """Return the Call-ID of every PUBLISH for an AoR: a compositor may tell by it who has lost an entity-tag."""
        if not self._agent:
            self._agent = self._token()
            self._unsaved.put(AGENT, self._agent.encode())
        return f"{self._agent}.{registration_id_of(aor)}"

    def _document(self, publication: Publication, now: Now) -> bytes:
        """Return the full state for the compositor; empty if it has nothing to learn from it."""
        if publication.entity_tag is None:
            if publication.told_empty and (publication.record is None or last_expiry_ms(publication.record) is None):
                return b""
        elif not publication.is_newer(publication.told, self._peer, home=True):
            return b""
        return REGINFO_HEAD + b"0" + publication.tail(None, publication.told, self._peer, now.ms, home=True)

    def _expires(self, publication: Publication, now: Now) -> int:
        """Return the seconds to publish for: those of the contact that lasts longest, and one (KAM-1)."""
        last = None if publication.record is None else last_expiry_ms(publication.record)
        left = EXPIRES_AFTER_LAST if last is None else max(0, last - now.ms) // 1000 + 1
        return min(MAX_EXPIRES, max(left, publication.min_expires))

    def answered(self, subject: Publication, status: int, response: SipMessage | None, now: Now) -> None:
        """Take the answer to a PUBLISH, or its end without one (EPA-2)."""
        if status < 200:
            return
        self.publishes[status] += 1
        subject.is_busy = False
        if status not in (REQUEST_TIMEOUT, SERVICE_UNAVAILABLE) and self._outage.end(now):
            logger.info("compositor answers again")
        if subject.is_ending:
            self._forget(subject)  # whatever the answer: there is nobody to ask again
            return
        entity_tag = None if response is None else _entity_tag(response)
        if status < 300 and response is not None and entity_tag is not None and response.expires is not None:
            self._accepted(subject, entity_tag, response.expires, now)
        elif status == CONDITION_FAILED and subject.entity_tag is not None:
            subject.is_news |= subject.has_body
            # It is published anew, with the full state.  An earlier PUBLISH may have changed the tag and its answer
            # been lost: the compositor has another publication then, which the new one replaces by its Call-ID.
            self._lapsed(subject, is_empty=subject.told_empty and subject.sent_empty)
        else:
            if response is None and subject.has_body and not subject.sent_empty:
                subject.told_empty = False  # it may have arrived all the same
            self._refused(subject, status, response, now)
        if self._removals and subject in self._removals:
            self.remove(subject.aor, now)
        elif subject.aor in self._publications:
            if subject.is_news or subject.is_due:
                self._advance(subject, now)
            self._arm(subject, now)

    def renumbered(self, subject: Publication, cseq: int) -> None:
        """Forget the CSeq of a PUBLISH: the next one has a From tag of its own, and counts from 1."""

    def _accepted(self, publication: Publication, entity_tag: str, expires: int, now: Now) -> None:
        publication.entity_tag = entity_tag
        publication.failures = 0
        publication.granted = expires
        publication.expires_at = now.ms + expires * 1000
        if publication.has_body:
            self._told(publication)
        publication.refresh_at = NEVER_MS
        if not publication.told_empty:
            publication.refresh_at = now.ms + refresh_delay_ms(expires)
        self._unsaved.put(publication.key, publication.encode())

    def _refused(self, publication: Publication, status: int, response: SipMessage | None, now: Now) -> None:
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

    def _told(self, publication: Publication) -> None:
        publication.told, publication.told_empty = publication.sent, publication.sent_empty
        if publication.told >= publication.revision:
            publication.is_news = False
            publication.clear()
            self._untold.pop(publication, None)

    def _pause(self, retry_after_ms: int, now: Now) -> None:
        if self._outage.begin(retry_after_ms, now):
            logger.warning("compositor does not answer waiting=%d", len(self._untold))

    # -- what survives ----------------------------------------------------------------------------------

    def restore(self, items: Iterable[StateItem], now: Now) -> None:
        """Go on with the publications of the last run."""
        for key, octets in items:
            assert octets is not None
            if key == AGENT:
                self._agent = octets.decode()
                continue
            publication = restored(key, octets)
            self._publications[publication.aor] = publication
            if publication.entity_tag is not None and not publication.told_empty:
                publication.refresh_at = max(now.ms, publication.expires_at - REFRESH_AHEAD_MS)
            self._arm(publication, now)

    def followed(self) -> Iterator[str]:
        """Yield the published addresses-of-record, for recall()."""
        yield from self._publications

    def recall(self, aor: str, record: bytes | None, seq: int, now: Now) -> None:
        """Compare what the compositor was told of an AoR with its record, after a restart or a gap in the feed."""
        if self._hop is None:
            return
        known = self._publications.get(aor)
        if known is None and record is None:
            return
        publication = known or self._publication(aor)
        publication.see(record)
        if record is None and publication.is_news and publication.entity_tag is None:
            publication.told_empty = False  # a PUBLISH of the last run may have arrived, though its answer did not
        if publication.told_empty if record is None else publication.told == record_revision(record):
            publication.clear()
            return
        self._news(publication, seq, now)


def _entity_tag(response: SipMessage) -> str | None:
    """Return the entity-tag of an answer; None if it has none that could be said back to the compositor."""
    try:
        return response.sip_etag
    except SipParseError:
        return None
