"""Authentication composed: who goes through unasked, who is challenged, and whose user is looked up first.

take ─> exempt ────────────────────────────────┐
     └> proof: PROVEN ─────────────────────────┴─> proceed (with its proof)
               CHALLENGED, OLD_NONCE, IMPROPER ─> 401 or 400, and nothing is kept
               ASK ─> waits ─> user_found ─> proof once more
"""

import logging
from collections.abc import Callable, Mapping
from typing import Final

from reginfo.config import Config
from reginfo.engine.answers import Answers
from reginfo.fast import (
    ASK,
    IMPROPER,
    OLD_NONCE,
    PENDING,
    PROVEN,
    Authenticator,
    Flow,
    Proof,
    SipMessage,
    SipParseError,
    Transactions,
)
from reginfo.model import Now, Outcome
from reginfo.sip.digest import Digest, Query
from reginfo.sip.incoming import LATE_MS, OVERLOAD_RETRY_AFTER, Arrival, unavailable

logger = logging.getLogger(__name__)

# Out of reach of strangers by other means (dialogs of ours), or not worth a question (AUT-1, UAS-4).
EXEMPT: Final = frozenset({"ACK", "CANCEL", "NOTIFY", "OPTIONS"})

_WRONG: Final = Outcome(401, "Wrong credentials")


class Authentication:
    """Asks for credentials on behalf of one engine, if its configuration says so."""

    def __init__(
        self,
        secret: bytes,
        answers: Answers,
        transactions: Transactions,
        is_trusted: Callable[[SipMessage, Flow], bool],
        proceed: Callable[[Arrival, Proof | None, str, Now], None],
    ) -> None:
        """is_trusted tells whether the address a request comes from is enough; proceed takes what goes on.

        proceed gets the value of Authentication-Info, too.
        """
        self._secret = secret
        self._answers = answers
        self._transactions = transactions
        self._is_trusted = is_trusted
        self._proceed = proceed
        self._digest: Digest | None = None
        self.authenticator: Authenticator | None = None
        "None while nobody is asked."

    def follow(self, config: Config) -> None:
        """Ask by the rules of a configuration from now on; who waits for a user goes on waiting."""
        if config.auth.enabled and self._digest is None:
            self._digest = Digest(config, self._secret)
        elif self._digest is not None:
            self._digest.follow(config)
        self.authenticator = self._digest.authenticator if config.auth.enabled and self._digest is not None else None

    def take(self, arrival: Arrival, now: Now) -> None:
        """Let a request go on, or answer it (UAS order, step 8)."""
        request = arrival.request
        digest = None if self.authenticator is None else self._digest
        if digest is None or request.method in EXEMPT or self._is_trusted(request, arrival.flow):
            self._proceed(arrival, None, "", now)
        else:
            self._judge(digest, arrival, now, fresh=False)

    def _judge(self, digest: Digest, arrival: Arrival, now: Now, *, fresh: bool) -> None:
        proof = digest.authenticator.check(arrival.request, now.ms, fresh)
        if proof.verdict == PROVEN:
            self._proceed(arrival, proof, digest.authenticator.info(proof, b"", now.ms), now)
        elif proof.verdict != ASK:
            self.refuse(arrival.request, arrival.flow, arrival.fingerprint, proof, now)
        elif not digest.park(proof, arrival):
            self._turn_away(arrival, now)
        elif not arrival.flow.reliable:
            self._transactions.remember(arrival.fingerprint, PENDING, now.ms)

    def refuse(self, request: SipMessage, flow: Flow, fingerprint: int, proof: Proof, now: Now) -> None:
        """Answer a request whose credentials do not do (AUT-6)."""
        assert self._digest is not None
        if proof.verdict == IMPROPER:
            self._answers.refuse(request, flow, fingerprint, Outcome(400, proof.fault), now)
            if request.method == "REGISTER":
                self._answers.tell(request, flow, Outcome(400, proof.fault), now)
            return
        is_stale = proof.verdict == OLD_NONCE
        self._answers.challenge(request, flow, fingerprint, self._digest.authenticator, is_stale, now)
        if proof.attempted and not is_stale and request.method == "REGISTER":
            self.tell_wrong(request, flow, now)

    def tell_wrong(self, request: SipMessage, flow: Flow, now: Now) -> None:
        """Take note of a REGISTER with wrong credentials that was challenged."""
        self._answers.tell(request, flow, _WRONG, now)

    def _turn_away(self, arrival: Arrival, now: Now) -> None:
        outcome = unavailable(OVERLOAD_RETRY_AFTER)
        self._answers.refuse(arrival.request, arrival.flow, arrival.fingerprint, outcome, now)

    def recall(self, request: SipMessage, now: Now) -> str:
        """Return the Authentication-Info that a retransmission is answered with again."""
        return "" if self.authenticator is None else self.authenticator.recall(request, now.ms)

    # -- the user table ---------------------------------------------------------------------------------

    def take_lookups(self) -> list[Query]:
        """Return the users who are wanted, each to be answered by found() or failed()."""
        return [] if self._digest is None else self._digest.take_lookups()

    def found(self, query: Query, name: str | None, ha1: Mapping[str, str], now: Now) -> None:
        """Take what there is of a user: the name and H(A1) by algorithm; None if there is no such user."""
        if self._digest is None:
            return
        self._digest.authenticator.put(query, name, ha1, now.ms)
        for arrival in self._released(self._digest, query, now):
            try:
                self._judge(self._digest, arrival, now, fresh=True)
            except SipParseError as error:  # in a header that nobody has read before
                outcome = Outcome(error.status or 400, error.reason)
                self._answers.respond(arrival.request, arrival.flow, arrival.fingerprint, outcome, now)
            except Exception:  # one request must not cost those behind it
                logger.exception("request failed flow=%s", arrival.flow.text)

    def failed(self, query: Query, now: Now) -> None:
        """Take that nobody can say now whether there is such a user."""
        if self._digest is not None:
            for arrival in self._released(self._digest, query, now):
                self._turn_away(arrival, now)

    def _released(self, digest: Digest, query: Query, now: Now) -> list[Arrival]:
        """Return who waited for a user and still waits for an answer."""
        released = digest.release(query)
        for arrival in released:
            if not arrival.flow.reliable:
                self._transactions.forget(arrival.fingerprint)
        return [arrival for arrival in released if now.ms - arrival.at.ms < LATE_MS]

    def forget_users(self) -> None:
        """Ask for every user again: the table has changed."""
        if self._digest is not None:
            self._digest.authenticator.forget_users()
