"""What every request is asked before its method sees it: the order of checks of RFC 3261 section 8.2.

The parser has already refused malformed requests (steps 1 and 3); authentication (step 8) will stand between
the extension check and the body check.
"""

from collections.abc import Iterable
from ipaddress import ip_address

from reginfo.fast import SipMessage
from reginfo.model import Outcome

# Methods with a registered meaning (IANA); anything else is answered 501 instead of 405.
KNOWN_METHODS = frozenset(
    {"ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH", "REFER"}
    | {"REGISTER", "SUBSCRIBE", "UPDATE"}
)
SERVED_METHODS = ("REGISTER", "OPTIONS", "NOTIFY", "CANCEL")
MAX_BODY = 128 * 1024  # octets (SEC-5); a datagram never comes near it

_ALLOW = ("Allow", ", ".join(SERVED_METHODS))
UNKNOWN_METHOD = Outcome(501, headers=(_ALLOW,))
_METHOD_NOT_ALLOWED = Outcome(405, headers=(_ALLOW,))
_UNSUPPORTED_SCHEME = Outcome(416)
_FOREIGN_DOMAIN = Outcome(404, "Domain is not served here")
_BODY_TOO_LARGE = Outcome(413)
_UNKNOWN_BODY = Outcome(415, headers=(("Accept", ""),))
_UNKNOWN_ENCODING = Outcome(415, headers=(("Accept-Encoding", "identity"),))
_WRONG_DOMAIN = Outcome(404, "Address-of-record is not of this domain")

OPTIONS_ANSWER = Outcome(200, headers=(_ALLOW, ("Accept", "application/sdp, application/reginfo+xml")))


class Admission:
    """Refuses what no method should see (RFC 3261 8.2.1 to 8.2.3)."""

    def __init__(self, domains: Iterable[str], addresses: Iterable[str] = (), max_body: int = MAX_BODY) -> None:
        """domains are served; addresses are this server's own hosts, good in a Request-URI only."""
        self._max_body = max_body
        self._domains = frozenset(domain.lower() for domain in domains)
        self._hosts = self._domains | {address.lower() for address in addresses}
        self._names = frozenset(domain for domain in self._domains if not _is_address(domain))

    def refuse(self, request: SipMessage) -> Outcome | None:
        """Return the refusal owed to request, or None to go on (UAS order, steps 4 to 7)."""
        method = request.method
        if method not in SERVED_METHODS:
            return _METHOD_NOT_ALLOWED if method in KNOWN_METHODS else UNKNOWN_METHOD
        if request.request_scheme not in ("sip", "sips"):
            return _UNSUPPORTED_SCHEME
        if request.request_host not in self._hosts:
            return _FOREIGN_DOMAIN
        if request.has_require:
            return Outcome(420, headers=(("Unsupported", ", ".join(request.require)),))
        return None

    def refuse_body(self, request: SipMessage) -> Outcome | None:
        """Return the refusal owed to a body that neither REGISTER nor OPTIONS has a use for (MSG-18)."""
        if len(request.body) > self._max_body:
            return _BODY_TOO_LARGE
        encoding = request.header("Content-Encoding")
        if encoding is not None and encoding.lower() != "identity":
            return _UNKNOWN_ENCODING
        disposition = (request.header("Content-Disposition") or "").lower().replace(" ", "")
        return None if ";handling=optional" in disposition else _UNKNOWN_BODY

    def refuse_domain(self, request: SipMessage) -> Outcome | None:
        """Return the refusal owed to an AoR outside the domain the Request-URI names (REG-4)."""
        requested = request.request_host
        if request.to_shares_host and requested in self._domains:
            return None
        host = request.to_host
        if host not in self._domains:
            return _WRONG_DOMAIN
        # An address in the Request-URI names this server, whatever it serves.
        return _WRONG_DOMAIN if requested != host and requested in self._names else None


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
