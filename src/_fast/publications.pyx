"""Publications of registration state as an event publication agent keeps them, PUBLISH by PUBLISH (RFC 3903 section 4).

Here is what happens to nearly every one of them: a change, a PUBLISH, a 2xx.  What seldom happens is left to whoever
extends Publications.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

cimport cython
from libc.stdint cimport INT64_MAX, int64_t

from reginfo._fast.binding cimport Change, last_expiry, registration_id_text, revision_of
from reginfo._fast.exchanges cimport Exchanges, Request
from reginfo._fast.header_template cimport HeaderTemplate
from reginfo._fast.sip_parser cimport SipMessage
from reginfo._fast.subscribed cimport refresh_delay
from reginfo._fast.timer_queue cimport TimerQueue
from reginfo._fast.unsaved cimport Unsaved
from reginfo._fast.untold cimport Untold

from reginfo._fast.errors import SipParseError
from reginfo._fast.reginfo_xml import REGINFO_HEAD as _HEAD

cdef enum:
    REQUEST_TIMEOUT = 408
    CONDITION_FAILED = 412          # RFC 3903 section 11.2.1
    UNAVAILABLE = 503
    EXPIRES_AFTER_LAST = 60         # seconds that the news of the last contact's end is published

cdef int64_t NEVER = INT64_MAX
cdef int64_t MAX_EXPIRES = 0xFFFFFFFF

PUBLICATION_STATE = b"p/"           # prefix of the key of a publication in the role state; the canonical AoR follows
PUBLICATION_AGENT = b"e/"           # key of what this agent is known by at its compositors

cdef list ROWS = [
    ("Max-Forwards", "70"),
    ("From", "<{}>;tag={}"),
    ("To", "<{}>"),
    ("Call-ID", "{}"),
    ("CSeq", "1 PUBLISH"),
    ("Event", "reg"),
    ("Expires", "{}"),
]
cdef tuple MATCH = ("SIP-If-Match", "{}")
cdef tuple TYPE = ("Content-Type", "application/reginfo+xml")
# The kinds of PUBLISH that RFC 3903 section 4 has.
cdef HeaderTemplate INITIAL = HeaderTemplate([*ROWS, TYPE])
cdef HeaderTemplate REFRESH = HeaderTemplate([*ROWS, MATCH])
cdef HeaderTemplate MODIFY = HeaderTemplate([*ROWS, MATCH, TYPE])


@cython.final
@cython.no_gc         # nothing it holds leads back to it
@cython.auto_pickle(False)
cdef class Publication(Untold):
    """The publication of one AoR at the compositor, and what it does not know yet."""

    def __init__(self, aor: str) -> None:
        self.aor = aor
        self.refresh_at = self.timer_at = NEVER
        self.told_empty = self.sent_empty = True

    @property
    def key(self) -> bytes:
        """Key of what is kept of it in the role state."""
        return PUBLICATION_STATE + self.aor.encode()

    @property
    def saved(self) -> tuple[str | None, int, int, bool, int]:
        """What is kept of it: entity-tag, expires_at, told, told_empty and granted."""
        return (self.entity_tag, self.expires_at, self.told, self.told_empty, self.granted)

    cdef bytes document(self, object peer, int64_t now_ms):
        # The full state for the compositor; empty if it has nothing to learn from it.
        if self.entity_tag is None:
            if self.told_empty and (self.record is None or last_expiry(self.record) < 0):
                return b""
        elif not self.has_news(self.told, peer, True):
            return b""
        return <bytes>_HEAD + b"0" + self.state(None, self.told, peer, now_ms, True, None, None)

    cdef int64_t expires(self, int64_t now_ms) except -1:
        # The seconds to publish for: those of the contact that lasts longest, and one (KAM-1).
        cdef int64_t last = -1 if self.record is None else last_expiry(self.record)
        cdef int64_t left = EXPIRES_AFTER_LAST if last < 0 else max(<int64_t>0, last - now_ms) // 1000 + 1
        return min(MAX_EXPIRES, max(left, self.min_expires))

    cdef int accept(self, str entity_tag, int64_t expires, int64_t now_ms) except -1:
        # Take a 2xx.
        self.entity_tag = entity_tag
        self.failures = 0
        self.granted = expires
        self.expires_at = now_ms + expires * 1000
        if self.has_body and self.sent > self.told:     # a muted change since then is as if known
            self.told, self.told_empty = self.sent, self.sent_empty
        self.refresh_at = NEVER if self.told_empty else now_ms + refresh_delay(expires)
        return 0


@cython.auto_pickle(False)
cdef class Publications:
    """The publications of every AoR of this server at one compositor."""

    def __init__(
        self,
        client: Exchanges,
        timers: TimerQueue,
        unsaved: Unsaved,
        token: Callable[[], str],
        outage: object,
        encode: Callable[[object], bytes],
    ) -> None:
        """token makes tags and Call-IDs, outage has the patience with a compositor that does not answer.

        encode makes octets of what is kept of a publication; unsaved takes them until they are durable.
        """
        self.client = client
        self.timers = timers
        self.unsaved = unsaved
        self.token = token
        self.outage = outage
        self.encode = encode
        self.when_due = self.on_time    # mentioned once, for all timers
        self.by_aor = {}
        self.untold = OrderedDict()
        self.removals = set()
        self.publishes = {}
        self.agent = ""

    def __len__(self) -> int:
        """Return the number of publications."""
        return len(self.by_aor)

    # -- what seldom happens ------------------------------------------------------------------------------

    def on_time(self, publication: Publication, now: object) -> None:
        """Look what time has done to a publication; also called for what is gone by then."""
        raise NotImplementedError

    def is_back(self) -> None:
        """Take note that the compositor answers again."""
        raise NotImplementedError

    def lapsed(self, publication: Publication, *, is_empty: cython.bint = True) -> None:
        """Take note that the compositor has no state under the entity-tag any more, and none at all if is_empty."""
        raise NotImplementedError

    def refused(self, publication: Publication, status: int, response: SipMessage | None, now: object) -> None:
        """Take the end of a PUBLISH that was not accepted."""
        raise NotImplementedError

    def remove(self, aor: str, now: object) -> None:
        """Go on with the removal of the publication of an AoR."""
        raise NotImplementedError

    # -- changes ------------------------------------------------------------------------------------------

    def read(self, changes: Sequence[Change], now: object) -> None:
        """Take committed changes, in feed order."""
        cdef Change change
        cdef Publication publication
        if self.hop is None:
            return
        for change in changes:
            publication = self.at(change.aor)
            if self.removals and publication in self.removals:
                continue
            publication.take(change)
            if change.muted and not publication.is_news:
                publication.told = change.revision      # reginfo_disable_publish: as if it were known
                publication.told_empty = not change.record
                publication.let_go()
                continue
            self.news(publication, change._seq, now)

    cdef Publication at(self, str aor):
        cdef Publication publication = self.by_aor.get(aor)
        if publication is None:
            publication = self.by_aor[aor] = Publication(aor)
        return publication

    cdef int news(self, Publication publication, int64_t seq, object now) except -1:
        if not publication.is_news and publication not in self.untold:
            publication.seq = seq
            self.untold[publication] = None
        publication.is_news = True
        if not publication.is_busy:
            self.advance_one(publication, now)
        return 0

    def recall(self, aor: str, record: bytes | None, seq: int64_t, now: object) -> None:
        """Compare what the compositor was told of an AoR with its record, after a restart or a gap in the feed."""
        cdef Publication publication = self.by_aor.get(aor)
        if self.hop is None or (publication is None and record is None):
            return
        if publication is None:
            publication = self.at(aor)
        publication.see(record)
        if record is None and publication.is_news and publication.entity_tag is None:
            publication.told_empty = False  # a PUBLISH of the last run may have arrived, though its answer did not
        if publication.told_empty if record is None else publication.told == revision_of(record):
            publication.let_go()
            return
        self.news(publication, seq, now)

    def settled(self, seq: int64_t) -> int:
        """Return up to which change, at most seq, the compositor has been told; all, if there is none to tell."""
        cdef Publication publication
        if self.hop is not None:
            for publication in self.untold:     # the first one has waited longest
                return min(seq, publication.seq - 1)
        return seq

    def advance(self, publication: Publication, now: object) -> bool:
        """Ask for the next PUBLISH if one is owed and may be sent; False if there is none to come now."""
        return self.advance_one(publication, now)

    cdef bint advance_one(self, Publication publication, object now) except -1:
        if publication.is_gone:
            return False
        if publication.is_busy or not (publication.is_news or publication.is_due) or self.hop is None:
            return publication.is_busy
        if publication.not_before and now.ms < publication.not_before:
            self.outage.forget(publication, now)    # it has a timer of its own
            return False
        if self.outage.is_down and self.outage.holds(publication):
            return False
        publication.is_busy = True  # there is one PUBLISH at most (EPA-1)
        self.client.ask(self.hop, self, publication)
        return True

    def arm(self, publication: Publication, now_ms: int64_t) -> None:
        """Have time look at a publication when it is due; however often that moves there is one timer."""
        self.arm_one(publication, now_ms)

    cdef int arm_one(self, Publication publication, int64_t now_ms) except -1:
        cdef int64_t due = publication.refresh_at
        if publication.entity_tag is not None and not publication.is_busy:  # else the answer decides what lapses
            due = min(due, publication.expires_at)
        if now_ms < publication.not_before:
            due = min(due, publication.not_before)
        if due < publication.timer_at:
            publication.timer_at = due
            self.timers.put(due, self.when_due, publication)
        return 0

    # -- PUBLISH ------------------------------------------------------------------------------------------

    def request(self, subject: Publication, now: object) -> Request | None:
        """Return the PUBLISH a publication is owed: initial, modify or refresh (RFC 3903 section 4)."""
        cdef int64_t now_ms = now.ms
        cdef bytes body = b""
        cdef str aor = subject.aor
        cdef str entity_tag = subject.entity_tag
        cdef str expires
        cdef HeaderTemplate template
        cdef tuple values
        if self.outage.is_down and self.outage.holds(subject):
            subject.is_busy = False
            self.arm_one(subject, now_ms)
            return None
        if self.removals and subject in self.removals and entity_tag is not None:
            subject.has_body = subject.is_due = False
            subject.is_ending = True
            expires = "0"
        else:
            if subject.is_news:
                body = subject.document(self.peer, now_ms)
            if not body and (entity_tag is None or not subject.is_due):
                # Nothing of it is at home here, or what ended had never been published.
                subject.is_busy = subject.is_due = False
                subject.sent, subject.sent_empty = subject.revision, subject.record is None
                subject.told, subject.told_empty = subject.sent, subject.sent_empty
                self.accepted(subject)
                if entity_tag is None:
                    self.forget(subject)
                else:
                    self.arm_one(subject, now_ms)
                self.outage.forget(subject, now)
                return None
            subject.has_body = bool(body)
            subject.is_due = False
            expires = str(subject.expires(now_ms) if body else subject.granted)
            if body:
                subject.sent, subject.sent_empty = subject.revision, subject.record is None
                subject.is_news = False
        values = (aor, self.token(), aor, self.call_id(aor), expires)
        if entity_tag is not None:
            values += (entity_tag,)
        template = REFRESH if not body else INITIAL if entity_tag is None else MODIFY
        return Request("PUBLISH", aor, template.filled(values), body)

    cdef str call_id(self, str aor):
        # The Call-ID of every PUBLISH for an AoR: a compositor may tell by it who has lost an entity-tag.
        if not self.agent:
            self.agent = self.token()
            self.unsaved.keep(PUBLICATION_AGENT, self.agent.encode())
        return self.agent + "." + registration_id_text(aor)

    def answered(self, subject: Publication, status: cython.int, response: SipMessage | None, now: object) -> None:
        """Take the answer to a PUBLISH, or its end without one (EPA-2)."""
        cdef int64_t now_ms = now.ms
        cdef str entity_tag = None
        if status < 200:
            return
        self.publishes[status] = self.publishes.get(status, 0) + 1
        subject.is_busy = False
        if self.outage.is_down and status != REQUEST_TIMEOUT and status != UNAVAILABLE and self.outage.end(now):
            self.is_back()
        if subject.is_ending:
            self.forget(subject)    # whatever the answer: there is nobody to ask again
            return
        if status < 300 and response is not None and response.has_expires:
            entity_tag = entity_tag_of(response)
        if entity_tag is not None:
            subject.accept(entity_tag, response.expires_value, now_ms)
            if subject.has_body:
                self.accepted(subject)
            self.unsaved.keep(subject.key, self.encode(subject.saved))
        elif status == CONDITION_FAILED and subject.entity_tag is not None:
            subject.is_news |= subject.has_body
            # It is published anew, with the full state.  An earlier PUBLISH may have changed the tag and its answer
            # been lost: the compositor has another publication then, which the new one replaces by its Call-ID.
            self.lapsed(subject, is_empty=subject.told_empty and subject.sent_empty)
        else:
            if response is None and subject.has_body and not subject.sent_empty:
                subject.told_empty = False  # it may have arrived all the same
            self.refused(subject, status, response, now)
        if self.removals and subject in self.removals:
            self.remove(subject.aor, now)
        elif not subject.is_gone:
            if subject.is_news or subject.is_due:
                self.advance_one(subject, now)
            self.arm_one(subject, now_ms)

    def renumbered(self, subject: Publication, cseq: int) -> None:
        """Forget the CSeq of a PUBLISH: the next one has a From tag of its own, and counts from 1."""

    cdef int accepted(self, Publication publication) except -1:
        # Take note that the compositor knows the revision told.
        if publication.told >= publication.revision:
            publication.is_news = False
            publication.let_go()
            self.untold.pop(publication, None)
        return 0

    def forget(self, publication: Publication) -> None:
        """Let go of a publication, and of what is kept of it."""
        del self.by_aor[publication.aor]
        publication.is_gone = True
        self.untold.pop(publication, None)
        self.removals.discard(publication)
        self.unsaved.keep(publication.key, None)


cdef str entity_tag_of(SipMessage response):
    # The entity-tag of an answer; None if it has none that could be said back to the compositor.
    try:
        return response.sip_etag
    except SipParseError:
        return None
