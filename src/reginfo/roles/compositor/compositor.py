"""Registration state that others publish, merged into the registrations of this server (RFC 3903 section 6, ESC-*).

    PUBLISH -> take -> decide (rows of its origin, entity-tag) -> commit, 200 -> settle
    time    -> command: its rows expire

Watchers learn of it like of any other change.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from msgspec import structs

from reginfo.config import CompositorSection
from reginfo.config.values import is_network, parse_network
from reginfo.fast import (
    Draft,
    Flow,
    Reginfo,
    SipMessage,
    SipParseError,
    canonical_aor,
    learn_registration,
    parse_reginfo,
)
from reginfo.model import ACCEPTED, Command, ContactEvent, Now, Outcome, StateItem
from reginfo.roles.compositor.publication import Publication, decode
from reginfo.sip.incoming import Incoming, unavailable
from reginfo.sip.peers import Networks, Patterns, Peers, Sender
from reginfo.sip.subscription import BAD_EVENT, PACKAGE
from reginfo.sip.timers import Timers

logger = logging.getLogger(__name__)

MAX_CONTACTS: Final = 256  # of one publication
OVERLOAD_RETRY_AFTER: Final = 60  # seconds, when no further publication is taken
FAILED_MS: Final = 1_000  # until an expiry that the store did not take is tried again
LASTING_MS: Final = 2**52  # instant no publication reaches: a contact without a time of its own ends with it

_TOKEN: Final = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+")  # entity-tag = token  RFC 3903 section 11.3

_NO_SUCH_AOR: Final = Outcome(404, "No such address-of-record")
_NOT_TRUSTED: Final = Outcome(403, "Publisher is not trusted")
_OTHER_AOR: Final = Outcome(403, "Document speaks of another address-of-record")
_TOO_MANY: Final = Outcome(403, "Too many publications for this address-of-record")
_TOO_MANY_CONTACTS: Final = Outcome(403, "Too many contacts in one publication")
_NO_STATE: Final = Outcome(400, "Nothing is published")
_NOT_FULL: Final = Outcome(400, "Document is not the full state")
_BAD_MATCH: Final = Outcome(400, "SIP-If-Match: exactly one entity-tag is needed")
_FAILED: Final = Outcome(412)


class _Plan:
    """What a PUBLISH asks for, and the publication there is once it is answered 200; None if there is none then."""

    __slots__ = ("after", "document", "entity_tag", "peer")

    def __init__(self, entity_tag: str | None, peer: str) -> None:
        self.entity_tag = entity_tag
        self.peer = peer
        self.document: Reginfo | None = None
        self.after: Publication | None = None


class Compositor:
    """All publications for registrations of this server."""

    def __init__(
        self,
        section: CompositorSection,
        domains: Iterable[str],
        peers: Peers,
        timers: Timers,
        token: Callable[[], str],
        command: Callable[[Command], None],
    ) -> None:
        """token makes ids nobody can guess; command() puts a change in line."""
        self._timers = timers
        self._when_due = self._on_time  # mentioned once, for all timers
        self._token = token
        self._command = command
        self._publications: dict[str, Publication] = {}  # by id
        self._of_aor: dict[str, dict[str, str]] = {}  # AoR -> id -> Call-ID
        self._taken: dict[str, Incoming] = {}  # ids of publications that a PUBLISH on its way will change
        self._armed: dict[str, int] = {}
        self.results: Counter[int] = Counter()
        "PUBLISHes by answer."
        self.follow(section, domains, peers)

    def follow(self, section: CompositorSection, domains: Iterable[str], peers: Peers) -> None:
        """Grant by other rules from now on."""
        self._section = section
        self._domains = frozenset(domains)
        self._peers = peers
        self._networks = Networks(
            [parse_network(one, "compositor.publishers") for one in section.publishers if is_network(one)]
        )
        self._identities = Patterns([one for one in section.publishers if not is_network(one)])
        self._brief = Outcome(423, headers=(("Min-Expires", str(section.min_expires)),))

    def __len__(self) -> int:
        """Return the number of publications."""
        return len(self._publications)

    def __iter__(self) -> Iterator[Publication]:
        return iter(self._publications.values())

    def of_aor(self, aor: str) -> list[Publication]:
        """Return the publications of an address-of-record."""
        return [self._publications[id] for id in self._of_aor.get(aor, ())]

    # -- PUBLISH ----------------------------------------------------------------------------------------

    def trusts(self, host: str) -> bool:
        """Tell whether a publisher is known by its address."""
        return self._networks.match(host)

    def take(self, request: SipMessage, flow: Flow, sender: Sender) -> Outcome | str:
        """Return the address-of-record whose turn decides a PUBLISH, or the refusal it gets at once (ESC-1)."""
        try:
            aor = canonical_aor(request.request_uri)
        except SipParseError:
            return _NO_SUCH_AOR
        if "@" not in aor or aor.rpartition("@")[2] not in self._domains:
            return _NO_SUCH_AOR
        if (
            not self._peer_name(flow, aor)
            and not self._networks.match(flow.host)
            and not self._identities.match(sender.identity)
            and not (sender.proven and sender.owns(aor))
        ):
            return _NOT_TRUSTED
        event = request.event
        if event is None or event.package != PACKAGE:
            return BAD_EVENT
        entity_tag = request.sip_if_match
        if entity_tag is not None and not _TOKEN.fullmatch(entity_tag):
            return _BAD_MATCH
        if entity_tag is not None and self._match(aor, entity_tag) is None:
            return _FAILED
        expires = request.expires
        if expires is not None and 0 < expires < self._section.min_expires:
            return self._brief
        if not request.body and entity_tag is None and expires != 0:
            return _NO_STATE
        return aor

    def read_document(self, work: Incoming, max_octets: int) -> Outcome | None:
        """Read what a PUBLISH that take() let pass says; return the refusal of what it may not say (ESC-6).

        Raises SipParseError for a body that is no document.
        """
        request = work.request
        plan = work.plan = _Plan(request.sip_if_match, self._peer_name(work.flow, work.aor))
        if request.body and request.expires != 0:
            plan.document = parse_reginfo(request.body, max_octets=max_octets)
            return _refuse_document(plan.document, work.aor)
        return None

    def _peer_name(self, flow: Flow, aor: str) -> str:
        peer = self._peers.by(flow)
        return peer.name if peer is not None and peer.speaks_for(aor) else ""

    def _match(self, aor: str, entity_tag: str) -> Publication | None:
        """Return the publication an entity-tag stands for; it stands for none once it has been replaced."""
        publication = self._publications.get(entity_tag.rpartition(".")[0])
        if publication is None or publication.aor != aor or publication.entity_tag != entity_tag:
            return None
        return publication

    def decide(self, work: Incoming, draft: Draft, now: Now) -> None:
        """Lay what is published into the record of its AoR, under an entity-tag of its own (RFC 3903 section 6)."""
        plan, request = work.plan, work.request
        assert isinstance(plan, _Plan)
        wanted = self._section.default_expires if request.expires is None else request.expires
        granted = min(wanted, self._section.max_expires)
        before = self._before(work, plan)
        if isinstance(before, Outcome):
            work.outcome = before
            return
        if before is None:
            name = f"{plan.peer}.{self._token()}" if plan.peer else self._token()
            after = Publication(work.aor, name, 1, request.call_id, now.ms + granted * 1000)
        else:
            after = structs.replace(before, serial=before.serial + 1, expires_at=now.ms + granted * 1000)
        work.origin = after.origin
        if not granted:
            draft.end_unseen(after.origin, ContactEvent.UNREGISTERED)
        elif plan.document is not None:
            for registration in plan.document.registrations:
                learn_registration(draft, registration, after.origin, full=False, until_ms=LASTING_MS, now_ms=now.ms)
            draft.end_unseen(after.origin, ContactEvent.UNREGISTERED)  # ESC-7
        plan.after = after
        if before is not None:
            self._taken[before.id] = work
        if granted:
            work.state = ((after.key, after.encode()),)
        elif before is not None:
            work.state = ((after.key, None),)
        work.outcome = Outcome(200, headers=(("SIP-ETag", after.entity_tag), ("Expires", str(granted))))

    def _before(self, work: Incoming, plan: _Plan) -> Publication | Outcome | None:
        """Return the publication that a PUBLISH continues, None if it begins one, or why it does neither."""
        if plan.entity_tag is not None:
            known = self._match(work.aor, plan.entity_tag)
            if known is None or self._taken.get(known.id, work) is not work:
                return _FAILED  # another one with this tag was first
            return known
        ids = self._of_aor.get(work.aor, {})
        prefix = f"{plan.peer}." if plan.peer else ""
        for id, call_id in ids.items():
            if call_id == work.request.call_id and id.startswith(prefix):
                return self._publications[id] if self._taken.get(id, work) is work else _FAILED
        if len(ids) >= self._section.max_publications_per_aor:
            return _TOO_MANY
        if len(self._publications) >= self._section.max_publications:
            return unavailable(OVERLOAD_RETRY_AFTER)
        return None

    def settle(self, work: Incoming, now: Now) -> None:
        """Let the publication be what was answered."""
        plan = work.plan
        self.results[work.outcome.status] += 1
        if not isinstance(plan, _Plan) or plan.after is None:
            return
        after = plan.after
        if self._taken.get(after.id) is work:
            del self._taken[after.id]
        if work.outcome.status != 200:
            return
        if after.expires_at > now.ms:
            self._keep(after)
        else:
            self._drop(after)

    def _keep(self, publication: Publication) -> None:
        self._publications[publication.id] = publication
        self._of_aor.setdefault(publication.aor, {})[publication.id] = publication.call_id
        self._arm(publication)

    def _drop(self, publication: Publication) -> None:
        if self._publications.pop(publication.id, None) is None:
            return
        ids = self._of_aor[publication.aor]
        del ids[publication.id]
        if not ids:
            del self._of_aor[publication.aor]

    # -- time -------------------------------------------------------------------------------------------

    def _arm(self, publication: Publication) -> None:
        # However often it is refreshed there is one timer, and one more only for an end that is sooner.
        if publication.expires_at < self._armed.get(publication.id, LASTING_MS):
            self._armed[publication.id] = publication.expires_at
            self._timers.at(publication.expires_at, self._when_due, publication.id)

    def _on_time(self, id: str, now: Now) -> None:
        if self._armed.get(id, 0) > now.ms:
            return
        self._armed.pop(id, None)
        publication = self._publications.get(id)
        if publication is None:
            return
        if publication.expires_at > now.ms or id in self._taken:
            self._armed.setdefault(id, max(publication.expires_at, now.ms + FAILED_MS))
            self._timers.at(self._armed[id], self._when_due, id)
            return
        self._drop(publication)  # its entity-tag is no good from now on (ESC-4)
        self._command(
            Command(
                publication.aor,
                lambda draft, now_ms: draft.end_unseen(publication.origin, ContactEvent.EXPIRED),
                "publication",
                lambda command: self._expired(publication, command, now),
                origin=publication.origin,
                state=((publication.key, None),),
            )
        )

    def _expired(self, publication: Publication, command: Command, now: Now) -> None:
        if command.outcome is not ACCEPTED:  # the store could not take it: it is tried again
            later = structs.replace(publication, expires_at=now.ms + FAILED_MS, serial=publication.serial + 1)
            self._keep(later)

    # -- what survives ----------------------------------------------------------------------------------

    def restore(self, items: Iterable[StateItem]) -> None:
        """Go on with the publications of the last run; those whose time is over expire now."""
        for _, octets in items:
            assert octets is not None
            self._keep(decode(octets))


def _refuse_document(document: Reginfo, aor: str) -> Outcome | None:
    """Return the refusal of a document that is not the full state of this AoR (ESC-6)."""
    if document.state != "full":
        return _NOT_FULL
    contacts = 0
    for registration in document.registrations:
        if canonical_aor(registration.aor) != aor:
            return _OTHER_AOR
        contacts += len(registration.contacts)
    return _TOO_MANY_CONTACTS if contacts > MAX_CONTACTS else None
