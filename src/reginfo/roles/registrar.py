"""The registrar: RFC 3261 section 10.3 decided on a working copy of one AoR.

Pure: a request, the draft of the AoR's bindings and the time go in, an Outcome comes out, and the draft
holds the bindings as they would be.  Whoever called commits the draft, or throws it away.
"""

from reginfo.config import RegistrarSection
from reginfo.fast import ADDED, STALE, Draft, SipMessage
from reginfo.model import ACCEPTED, Outcome

ONE_HOUR = 3600  # seconds; an expiry of an hour or more is never too brief (RFC 3261 10.3 step 7)

_STALE = Outcome(500, "CSeq is not higher than the registered one")
_STAR_NEEDS_ZERO = Outcome(400, "Contact * needs Expires: 0")
_NOT_ALL_SIPS = Outcome(400, "sips Contact needs sips everywhere")
_TOO_MANY_AT_ONCE = Outcome(403, "Too many contacts in one request")
_TOO_MANY = Outcome(403, "Too many contacts")


class Registrar:
    """Decides REGISTER requests under one policy."""

    def __init__(self, policy: RegistrarSection, max_contacts_per_request: int) -> None:
        self._default_expires = policy.default_expires
        self._min_expires = policy.min_expires
        self._max_expires = policy.max_expires
        self._jitter = policy.expires_jitter
        self._max_contacts = policy.max_contacts
        self._replaces_oldest = policy.max_contacts_policy == "replace-oldest"
        self._max_contacts_per_request = max_contacts_per_request
        self._too_brief = Outcome(423, headers=(("Min-Expires", str(policy.min_expires)),))

    def decide(self, request: SipMessage, draft: Draft, received: str, spread: float, now_ms: int) -> Outcome:
        """Bind, refresh or remove what the request asks for; all of it or nothing (REG-11).

        received is the source as a SIP URI where it differs from the Via, else empty.  spread, a number in
        [0, 1) drawn for this request, places the granted time inside the configured jitter.
        """
        if request.contact_star:
            return self._clear(request, draft)
        count = request.contact_count
        if count == 0:
            return ACCEPTED  # a fetch changes nothing (REG-5)
        if count > self._max_contacts_per_request:
            return _TOO_MANY_AT_ONCE
        if request.has_sips_contact and not self._sips_throughout(request):
            return _NOT_ALL_SIPS
        added = False
        for index in range(count):
            requested = request.requested_expires(index, self._default_expires)
            if 0 < requested < self._min_expires and requested < ONE_HOUR:
                draft.rollback()
                return self._too_brief
            verdict = draft.bind(request, index, self._grant(requested, spread), requested, received, now_ms)
            if verdict == STALE:
                draft.rollback()
                return _STALE
            if verdict == ADDED:
                added = True
        if added and draft.count > self._max_contacts and not self._make_room(draft):
            draft.rollback()
            return _TOO_MANY
        return ACCEPTED

    def _grant(self, requested: int, spread: float) -> int:
        """Return the seconds granted: never more than asked (REG-9), spread so that refreshes do not herd."""
        granted = requested if requested < self._max_expires else self._max_expires
        shortened = granted - int(granted * self._jitter * spread)
        if shortened >= self._min_expires:
            return shortened
        return granted if granted < self._min_expires else self._min_expires

    def _make_room(self, draft: Draft) -> bool:
        """End the oldest bindings if the policy says so; False if the AoR stays over its limit (REG-16)."""
        if not self._replaces_oldest:
            return False
        draft.evict_oldest(draft.count - self._max_contacts)
        return draft.count <= self._max_contacts

    @staticmethod
    def _clear(request: SipMessage, draft: Draft) -> Outcome:
        """Remove every binding for `Contact: *`, which the parser only lets stand alone (REG-6)."""
        if request.header("Expires") is None or request.expires != 0:
            return _STAR_NEEDS_ZERO
        if draft.clear(request.call_id, request.cseq) < 0:
            draft.rollback()
            return _STALE
        return ACCEPTED

    @staticmethod
    def _sips_throughout(request: SipMessage) -> bool:
        """Tell whether Request-URI, Contacts and Path are all sips (REG-15, RFC 5630 5.2)."""
        uris = [request.request_uri]
        uris += [contact.uri for contact in request.contacts]
        uris += [hop.uri for hop in request.path]
        return all(uri[:5].lower() == "sips:" for uri in uris)
