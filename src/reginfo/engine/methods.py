"""Methods composed: what each does with a request that nothing is said against (UAS order, steps 9 to 11)."""

from collections.abc import Callable
from typing import Final

from reginfo.engine.answers import Answers
from reginfo.engine.instances import Instances
from reginfo.engine.relaying import Relaying
from reginfo.engine.roles import Roles
from reginfo.engine.works import MAX_PENDING, Works
from reginfo.fast import PENDING, Proof, Registering, SipMessage, Transactions
from reginfo.model import Now, Outcome
from reginfo.roles.notify_handler import NOT_APPLIED, OFFLINE
from reginfo.sip.admission import Admission
from reginfo.sip.ims import ImplicitSets, asserted_identity
from reginfo.sip.incoming import OVERLOAD_RETRY_AFTER, Arrival, Incoming, unavailable
from reginfo.sip.peers import Sender
from reginfo.sip.subscription import DOCUMENT_TYPE

_FOREIGN_AOR: Final = Outcome(403, "Not the user's own address-of-record")
_NO_DIALOG: Final = Outcome(481)
_MERGED: Final = Outcome(482)
_CANCELLED: Final = Outcome(200)
_OK: Final = Outcome(200)


class Methods:
    """The methods of one engine; admission, instances, ims and relaying are those of its configuration."""

    def __init__(self, roles: Roles, works: Works, answers: Answers, transactions: Transactions) -> None:
        self._roles = roles
        self._works = works
        self._answers = answers
        self._transactions = transactions
        self.admission: Admission
        self.instances: Instances
        self.ims: ImplicitSets | None = None
        self.relaying: Relaying | None = None
        "Instead of the registrar."

    def perform(self, arrival: Arrival, proof: Proof | None, info: str, now: Now) -> None:
        """Do what a request asks for, from whoever it has proven to be from; info is for its 2xx (AUT-9)."""
        request = arrival.request
        method = request.method
        outcome: Outcome | None
        if method == "REGISTER" and self.relaying is not None:
            outcome = self.relaying.take(request, arrival.flow, arrival.fingerprint, now)
        elif method == "REGISTER":
            outcome = self._register(arrival, proof, info)
        elif refusal := self.instances.refuse(request):
            outcome = refusal
        elif method == "SUBSCRIBE":
            outcome = self._subscribe(arrival, Sender(request, proof, self._asserted(arrival)), info)
        elif method == "PUBLISH":
            outcome = self._publish(arrival, Sender(request, proof), info)
        elif method == "NOTIFY":
            outcome = self._notify(arrival, now)
        else:
            work = self.instances.options(arrival, proof)
            outcome = self._answer_at_once(request)
            if work is not None and outcome.status == 200:
                outcome = self._refuse_or_put(work, arrival, info)
        if outcome is None:
            return
        if method in ("OPTIONS", "CANCEL") or (method == "NOTIFY" and outcome.status == 481):
            self._answers.dismiss(request, arrival.flow, arrival.fingerprint, outcome, now)
        else:
            self._answers.respond(request, arrival.flow, arrival.fingerprint, outcome, now)

    def _register(self, arrival: Arrival, proof: Proof | None, info: str) -> Outcome | None:
        """Queue a REGISTER for its AoR; return the refusal instead if it gets that far only."""
        request = arrival.request
        aor = request.aor if self.ims is None else self.ims.home(request.aor)
        if proof is not None and not (proof.owns(aor) or proof.owns(request.aor)):
            return _FOREIGN_AOR
        if request.body:
            outcome = self.admission.refuse_body(request)
            if outcome is not None:
                return outcome
        work = Registering(request, aor, arrival.flow, arrival.fingerprint, arrival.at.ms, arrival.at.us)
        return self._refuse_or_put(work, arrival, info)

    def _asserted(self, arrival: Arrival) -> str | None:
        """Return the identity that a trusted peer asserts in IMS, if it does (IMS-2)."""
        if self.ims is None or not self._roles.is_trusted(arrival.request, arrival.flow):
            return None
        return asserted_identity(arrival.request)

    def _subscribe(self, arrival: Arrival, sender: Sender, info: str) -> Outcome | None:
        request = arrival.request
        notifier = self._roles.notifier
        aor = notifier.take(request, arrival.flow, sender)
        if isinstance(aor, Outcome):
            return aor
        if request.body:  # a filter nobody has defined (REV-1)
            outcome = self.admission.refuse_body(request)
            if outcome is not None:
                return outcome
        work = Incoming(arrival, aor, self.instances.guard(request, notifier), sender)
        return self._refuse_or_put(work, arrival, info)

    def _publish(self, arrival: Arrival, sender: Sender, info: str) -> Outcome | None:
        request = arrival.request
        compositor = self._roles.compositor
        taken = compositor.take(request, arrival.flow, sender)
        if isinstance(taken, Outcome):
            return taken
        if request.body:
            outcome = self.admission.refuse_body(request, DOCUMENT_TYPE)
            if outcome is not None:
                return outcome
        work = Incoming(arrival, taken, self.instances.guard(request, compositor), sender)
        return compositor.read_document(work, self.admission.max_body) or self._refuse_or_put(work, arrival, info)

    def handle_notify(self, arrival: Arrival, now: Now, done: Callable[[int], None]) -> None:
        """Apply a NOTIFY and answer it; done hears the predecessor's number for what came of it (KAM)."""
        outcome = self._notify(arrival, now, done)
        if outcome is not None:
            self._answers.respond(arrival.request, arrival.flow, arrival.fingerprint, outcome, now)
            done(OFFLINE if outcome.status < 300 else NOT_APPLIED)

    def _notify(
        self, arrival: Arrival, now: Now, applied: Callable[[int], None] = lambda result: None
    ) -> Outcome | None:
        """Answer a NOTIFY once what it says is committed; one that belongs to nothing, before its body is read."""
        request, flow, fingerprint = arrival.request, arrival.flow, arrival.fingerprint
        heard = self._roles.subscriber.receive(request, flow, now, self.admission.max_body)
        if isinstance(heard, Outcome):
            return heard
        if not heard.is_news:
            return _OK
        if not flow.reliable:
            self._transactions.remember(fingerprint, PENDING, now.ms)
        subscription = heard.subscription
        peer = subscription.peer

        def done(result: int) -> None:
            if result == NOT_APPLIED:
                self._roles.subscriber.lost(subscription, now)
            outcome = unavailable(OVERLOAD_RETRY_AFTER) if result == NOT_APPLIED else _OK
            self._answers.respond(request, flow, fingerprint, outcome, now)
            applied(result)

        self._roles.handler.handle(
            heard.document,
            heard.delta,
            subscription.origin,
            subscription.speaks_for,
            mirror=peer is not None and peer.mirrors,
            until_ms=subscription.believed_until(now.ms),
            muted=arrival.muted,
            done=done,
        )
        return None

    def _refuse_or_put(self, work: Registering | Incoming, arrival: Arrival, info: str) -> Outcome | None:
        """Queue a request; return the refusal instead if there are too many or it is there already."""
        if len(self._works) >= MAX_PENDING:
            return unavailable(OVERLOAD_RETRY_AFTER)
        if self._works.is_merged(work.request, work.aor):
            return _MERGED
        if not work.flow.reliable:
            self._transactions.remember(work.fingerprint, PENDING, work.arrived_ms)
        work.muted = arrival.muted
        work.info = info
        self._works.put(work)
        return None

    def _answer_at_once(self, request: SipMessage) -> Outcome:
        """Answer the methods that need no state."""
        if request.method == "CANCEL":
            return _CANCELLED if self._works.is_pending(request) else _NO_DIALOG
        if request.to.tag is not None:
            return _NO_DIALOG  # DLG-7
        if request.body:
            return self.admission.refuse_body(request) or self.admission.options_answer
        return self.admission.options_answer
