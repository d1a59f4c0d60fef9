"""What every request is asked before its method sees it, and how refusals are answered (RFC 3261 section 8.2).

The parser has already refused malformed requests; the compiled screen finds what applies, in order; here it gets
its answer.  Authentication will stand between the extension check and the body check.
"""

from collections.abc import Iterable

from reginfo import fast
from reginfo.config import LimitsSection
from reginfo.fast import Screen, SipMessage
from reginfo.model import Outcome

SERVED_METHODS = ("REGISTER", "OPTIONS", "NOTIFY", "CANCEL")
DEFAULT_LIMITS = LimitsSection()

_ALLOW = ("Allow", ", ".join(SERVED_METHODS))
UNKNOWN_METHOD = Outcome(501, headers=(_ALLOW,))

_REFUSALS = {
    fast.UNKNOWN_METHOD: UNKNOWN_METHOD,
    fast.METHOD_NOT_ALLOWED: Outcome(405, headers=(_ALLOW,)),
    fast.URI_TOO_LONG: Outcome(414),
    fast.UNSUPPORTED_SCHEME: Outcome(416),
    fast.FOREIGN_DOMAIN: Outcome(404, "Domain is not served here"),
    fast.AOR_NOT_SIP: Outcome(400, "To: not a SIP or SIPS URI"),
    fast.AOR_OF_OTHER_DOMAIN: Outcome(404, "Address-of-record is not of this domain"),
}
_BODY_TOO_LARGE = Outcome(413)
_UNKNOWN_BODY = Outcome(415, headers=(("Accept", ""),))
_UNKNOWN_ENCODING = Outcome(415, headers=(("Accept-Encoding", "identity"),))

OPTIONS_ANSWER = Outcome(200, headers=(_ALLOW, ("Accept", "application/reginfo+xml")))


class Admission:
    """Refuses what no method should see (RFC 3261 8.2.1 to 8.2.3)."""

    def __init__(
        self, domains: Iterable[str], addresses: Iterable[str] = (), limits: LimitsSection = DEFAULT_LIMITS
    ) -> None:
        """domains are served; addresses are this server's own hosts, good in a Request-URI only."""
        self._max_body = limits.max_body
        self.max_message = limits.max_message
        "Octets of a datagram; beyond it 513 is owed."
        self.screen = Screen(SERVED_METHODS, domains, addresses, limits.max_uri)
        "Its verdict is GO_ON, NO_ANSWER, or what refusal() answers."

    @staticmethod
    def refusal(verdict: int, request: SipMessage) -> Outcome:
        """Return the answer owed for a verdict."""
        if verdict == fast.UNKNOWN_EXTENSION:
            return Outcome(420, headers=(("Unsupported", ", ".join(request.require)),))
        return _REFUSALS[verdict]

    def refuse_body(self, request: SipMessage) -> Outcome | None:
        """Return the refusal owed to a body that neither REGISTER nor OPTIONS has a use for (MSG-18)."""
        if len(request.body) > self._max_body:
            return _BODY_TOO_LARGE
        encoding = request.header("Content-Encoding")
        if encoding is not None and encoding.lower() != "identity":
            return _UNKNOWN_ENCODING
        disposition = (request.header("Content-Disposition") or "").lower().replace(" ", "")
        return None if ";handling=optional" in disposition else _UNKNOWN_BODY
