"""What a SUBSCRIBE for registrations is granted, and to whom (RFC 6665 section 4.2.1, RFC 3680 section 4)."""

from collections.abc import Iterable
from typing import Final

from reginfo.config import NotifierSection
from reginfo.fast import Draft, Flow, Registration, SipMessage, SipParseError, canonical_aor
from reginfo.model import Outcome
from reginfo.sip.ims import ImplicitSets, is_on_path
from reginfo.sip.incoming import Incoming
from reginfo.sip.peers import Patterns, Peers, Sender
from reginfo.sip.subscription import DOCUMENT_TYPE, accepts_documents

OVERLOAD_RETRY_AFTER: Final = 60  # seconds, when no further subscription is taken

NO_SUBSCRIPTION: Final = Outcome(481)
OLD_CSEQ: Final = Outcome(500, "CSeq is lower than that of the last request")
SHARED_DIALOG: Final = Outcome(403, "Dialog sharing not supported")
NOT_YOURS: Final = Outcome(403, "Watcher is not authorised")

_NO_SUCH_AOR: Final = Outcome(404, "No such address-of-record")
_NOT_BOUND: Final = Outcome(480, "Not registered")
_NO_CONTACT: Final = Outcome(400, "Contact: exactly one is needed")
_NOT_ACCEPTABLE: Final = Outcome(406, headers=(("Accept", DOCUMENT_TYPE),))
_TOO_MANY_WATCH: Final = Outcome(403, "Too many subscriptions for this address-of-record")
_WATCHES_TOO_MANY: Final = Outcome(403, "Too many subscriptions of this watcher")
_FULL: Final = Outcome(503, headers=(("Retry-After", str(OVERLOAD_RETRY_AFTER)),))


def watched_aor(request: SipMessage) -> str:
    """Return the address-of-record that a SUBSCRIBE outside a dialog is for."""
    return canonical_aor(request.request_uri)


class Policy:
    """The rules of one configuration."""

    def __init__(self, section: NotifierSection, domains: Iterable[str], peers: Peers) -> None:
        self._section = section
        self._domains = frozenset(domains)
        self._peers = peers
        self._allowed = Patterns(section.allow)
        self._brief = Outcome(423, headers=(("Min-Expires", str(section.min_expires)),))

    def refuse(self, request: SipMessage, flow: Flow, sender: Sender, ims: ImplicitSets | None) -> Outcome | None:
        """Return the refusal owed to a SUBSCRIBE outside a dialog, whatever the state (SUB-2, REV-3, REV-4)."""
        try:
            aor = watched_aor(request)
        except SipParseError:
            return _NO_SUCH_AOR
        if "@" not in aor or aor.rpartition("@")[2] not in self._domains:
            return _NO_SUCH_AOR
        is_own = sender.owns(aor) if ims is None else ims.may_watch(aor, request, sender)
        if not (is_own or self._allowed.match(sender.identity) or self.peer_name(flow, aor)):
            return NOT_YOURS
        if not accepts_documents(request.accept, request.header("Accept") is not None):
            return _NOT_ACCEPTABLE
        if request.contact_count != 1 or request.contact_star:
            return _NO_CONTACT
        return self.refuse_time(request)

    def refuse_unbound(self, work: Incoming, draft: Draft, ims: ImplicitSets) -> Outcome | None:
        """Return the refusal owed in IMS to a SUBSCRIBE outside a dialog for what is bound, or is not (IMS-2).

        A peer that asserts somebody else's identity speaks for that one, not for itself, unless it is on the Path.
        """
        if work.request.to.tag is not None:
            return None
        if not draft.count:
            return _NOT_BOUND
        watcher = work.sender
        if not watcher.asserted or ims.may_watch(work.aor, work.request, watcher):
            return None
        if self._allowed.match(watcher.identity):
            return None
        assert draft.record is not None
        return None if is_on_path(watcher.identity, Registration(draft.record).bindings) else NOT_YOURS

    def refuse_time(self, request: SipMessage) -> Outcome | None:
        """Return the refusal of an interval that is too brief (SUB-3)."""
        expires = request.expires
        return self._brief if expires is not None and 0 < expires < min(3600, self._section.min_expires) else None

    def refuse_more(self, request: SipMessage, *, total: int, of_aor: int, of_watcher: int) -> Outcome | None:
        """Return the refusal of a further subscription where there are so many (SUB-23)."""
        section = self._section
        if total >= section.max_subscriptions:
            return _FULL
        if request.expires == 0:
            return None  # a fetch is held until its NOTIFY is answered only
        if of_aor >= section.max_subscriptions_per_aor:
            return _TOO_MANY_WATCH
        if of_watcher >= section.max_subscriptions_per_watcher:
            return _WATCHES_TOO_MANY
        return None

    def granted(self, request: SipMessage) -> int:
        """Return the seconds granted."""
        expires = self._section.default_expires if request.expires is None else request.expires
        return min(expires, self._section.max_expires)

    def peer_name(self, flow: Flow, aor: str) -> str:
        """Return the name of the configured peer that watches by a flow; empty if it is none, or not for this AoR."""
        peer = self._peers.by(flow)
        return peer.name if peer is not None and peer.speaks_for(aor) else ""
