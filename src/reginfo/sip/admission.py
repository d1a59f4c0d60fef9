"""What every request is asked before its method sees it, and how refusals are answered (RFC 3261 section 8.2).

The parser has already refused malformed requests; the compiled screen finds what applies, in order; here it gets
its answer.  Authentication will stand between the extension check and the body check.
"""

from reginfo import fast
from reginfo.config import Config
from reginfo.fast import Screen, SipMessage
from reginfo.model import Outcome
from reginfo.sip.subscription import DOCUMENT_TYPE, PACKAGE

_METHODS = ("REGISTER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "OPTIONS", "CANCEL")

_REFUSALS = {
    fast.URI_TOO_LONG: Outcome(414),
    fast.UNSUPPORTED_SCHEME: Outcome(416),
    fast.FOREIGN_DOMAIN: Outcome(404, "Domain is not served here"),
    fast.AOR_NOT_SIP: Outcome(400, "To: not a SIP or SIPS URI"),
    fast.AOR_OF_OTHER_DOMAIN: Outcome(404, "Address-of-record is not of this domain"),
}
_BODY_TOO_LARGE = Outcome(413)
UNKNOWN_ENCODING = Outcome(415, headers=(("Accept-Encoding", "identity"),))


class Admission:
    """Refuses what no method should see (RFC 3261 8.2.1 to 8.2.3)."""

    def __init__(self, config: Config) -> None:
        self.max_body = config.limits.max_body
        "Octets of a body; beyond it 413 is owed."
        self.max_message = config.limits.max_message
        "Octets of a datagram; beyond it 513 is owed."
        methods = [method for method in _METHODS if method != "PUBLISH" or config.compositor.enabled]
        # Its own addresses are good in a Request-URI only.
        self.screen = Screen(methods, config.domains, config.own_hosts, config.limits.max_uri, config.extensions)
        "Its verdict is GO_ON, NO_ANSWER, or what refusal() answers."
        allow = ("Allow", ", ".join(methods))
        self.unknown_method = Outcome(501, headers=(allow,))
        supported = ("Supported", ", ".join(config.extensions))
        self.options_answer = Outcome(
            200, headers=(allow, ("Accept", DOCUMENT_TYPE), ("Allow-Events", PACKAGE), supported)
        )
        "UAS-4."
        self._refusals = {
            **_REFUSALS,
            fast.UNKNOWN_METHOD: self.unknown_method,
            fast.METHOD_NOT_ALLOWED: Outcome(405, headers=(allow,)),
        }

    def refusal(self, verdict: int, request: SipMessage) -> Outcome:
        """Return the answer owed for a verdict."""
        if verdict == fast.UNKNOWN_EXTENSION:
            return Outcome(420, headers=(("Unsupported", ", ".join(self.screen.unknown(request))),))
        return self._refusals[verdict]

    def refuse_body(self, request: SipMessage, accepted: str = "") -> Outcome | None:
        """Return the refusal owed to a body of another type than the one accepted, if any is (MSG-18)."""
        if len(request.body) > self.max_body:
            return _BODY_TOO_LARGE
        if is_encoded(request):
            return UNKNOWN_ENCODING
        if accepted and (request.content_type or "").partition(";")[0].strip().lower() == accepted:
            return None
        disposition = (request.header("Content-Disposition") or "").lower().replace(" ", "")
        if ";handling=optional" in disposition and not accepted:
            return None
        return Outcome(415, headers=(("Accept", accepted),))


def is_encoded(request: SipMessage) -> bool:
    """Tell whether a body is in a form nobody here undoes (RFC 3261 section 20.12)."""
    encoding = request.header("Content-Encoding")
    return encoding is not None and encoding.lower() != "identity"
