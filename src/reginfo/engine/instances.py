"""Requests that name an instance of a user agent by a GRUU: is it good, and is somebody there (RFC 5627 5.4)."""

from collections.abc import Callable
from typing import Final

from reginfo.fast import Draft, Proof, Registration, SipMessage, canonical_aor
from reginfo.model import Now, Outcome
from reginfo.sip.gruu import Gruu, Gruus, is_instance
from reginfo.sip.incoming import Arrival, Incoming, Role
from reginfo.sip.peers import Sender

_NOT_GOOD: Final = Outcome(404, "GRUU is not valid")
_NOT_BOUND: Final = Outcome(480, "No contact of this instance")
_ANONYMOUS: Final = Outcome(403, "A temporary GRUU hides what is asked for")


class Instances:
    """Whom requests of one server are for, where it is not all of an AoR."""

    def __init__(self, gruus: Gruus | None, options_answer: Outcome, home: Callable[[str], str]) -> None:
        """Without gruus, gr is a parameter like any other.  home(aor) is where the contacts of an AoR are."""
        self._home = home
        self._gruus = gruus
        self._options_answer = options_answer

    def refuse(self, request: SipMessage) -> Outcome | None:
        """Return the refusal owed to a Request-URI that is no good GRUU, whatever its AoR has (GRU-6).

        Registration state is that of an AoR, which a temporary GRUU is there to hide.
        """
        gruu = self._read(request)
        if gruu is None or request.method in ("REGISTER", "NOTIFY", "CANCEL"):
            return None
        if gruu.may_be_public:
            return None
        if gruu.index is None or self._gruus is None or self._gruus.owner(gruu.index) is None:
            return _NOT_GOOD
        return None if request.method == "OPTIONS" else _ANONYMOUS

    def guard(self, request: SipMessage, role: Role) -> Role:
        """Return what decides a request for role once it is known that somebody is there."""
        gruu = self._read(request)
        return role if gruu is None else _Guarded(gruu, role)

    def options(self, arrival: Arrival, proof: Proof | None) -> Incoming | None:
        """Return an OPTIONS as work if only the record of the AoR shows whether somebody is there."""
        request = arrival.request
        gruu = self._read(request) if request.method == "OPTIONS" else None
        if gruu is None or not gruu.may_be_public:
            return None
        role = _Guarded(gruu, _Options(self._options_answer))
        return Incoming(arrival, self._home(canonical_aor(request.request_uri)), role, Sender(request, proof))

    def _read(self, request: SipMessage) -> Gruu | None:
        return None if self._gruus is None else self._gruus.read(request.request_uri)


class _Options:
    """The role that answers OPTIONS."""

    def __init__(self, answer: Outcome) -> None:
        self._answer = answer

    def decide(self, work: Incoming, draft: Draft, now: Now) -> None:
        work.outcome = self._answer

    def settle(self, work: Incoming, now: Now) -> None:
        """Do nothing: all is said."""


class _Guarded:
    """A role behind the question whether the instance is bound."""

    def __init__(self, gruu: Gruu, role: Role) -> None:
        self._gruu = gruu
        self._role = role

    def decide(self, work: Incoming, draft: Draft, now: Now) -> None:
        bindings = () if draft.record is None else Registration(draft.record).bindings
        if any(is_instance(one.instance, self._gruu.instance) and one.expires_at > now.ms for one in bindings):
            self._role.decide(work, draft, now)
        else:
            work.outcome = _NOT_BOUND

    def settle(self, work: Incoming, now: Now) -> None:
        self._role.settle(work, now)
