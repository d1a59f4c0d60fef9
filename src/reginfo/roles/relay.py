"""Relay mode: REGISTER goes on to the registrar behind this server, its response comes back (RFC 3261 16, RFC 3327).

What is registered there is learned by a subscription, not from the requests that pass.
"""

import logging
from collections.abc import Callable
from typing import Final

from reginfo.fast import Flow, Request, SipMessage, SipParseError, write_headers
from reginfo.model import Now, Outcome
from reginfo.sip.client import Client
from reginfo.sip.dialog import route_value
from reginfo.sip.incoming import LATE_MS, unavailable
from reginfo.sip.routing import Hop, next_hop, own_route
from reginfo.sip.timers import Timers
from reginfo.sip.transaction import REQUEST_TIMEOUT, SERVICE_UNAVAILABLE

logger = logging.getLogger(__name__)

MAX_RELAYED: Final = 65_536  # requests between arrival and answer
TRYING_AFTER_MS: Final = 3_500  # no answer by then is owed a 100 (RFC 4320 section 4.1)
OVERLOAD_RETRY_AFTER: Final = 5  # seconds
UNREACHABLE_RETRY_AFTER: Final = 30  # seconds, while no connection to the registrar can be made
DEFAULT_MAX_FORWARDS: Final = 70

_LOOP: Final = Outcome(483)
_BAD_GATEWAY: Final = Outcome(502)

# What a hop of its own writes; the compact names are those of RFC 3261 section 7.3.3.
_OWN_OF_REQUEST: Final = frozenset({"max-forwards", "route", "path", "content-length", "l"})
_OWN_OF_RESPONSE: Final = frozenset(
    {"via", "v", "from", "f", "to", "t", "call-id", "i", "cseq", "content-length", "l", "timestamp"}
)


class Relayed:
    """A REGISTER on its way through."""

    __slots__ = ("arrived_ms", "fingerprint", "flow", "is_answered", "max_forwards", "request", "route", "rows")

    def __init__(
        self, request: SipMessage, flow: Flow, fingerprint: int, arrived_ms: int, max_forwards: int, route: list[str]
    ) -> None:
        """SipParseError for a request with a header that cannot be passed on as text."""
        self.request = request
        self.rows = request.rows()
        self.flow = flow
        self.fingerprint = fingerprint
        self.arrived_ms = arrived_ms
        self.max_forwards = max_forwards
        self.route = route
        self.is_answered = False


class Relay:
    """Forwards to one registrar; sans I/O."""

    def __init__(
        self,
        upstream: str,
        own_hosts: tuple[str, ...],
        client: Client,
        timers: Timers,
        answer: Callable[[Relayed, Outcome, str, bytes, Now], None],
        trying: Callable[[Relayed], None],
        registered: Callable[[Relayed, Hop, Now], None],
    ) -> None:
        """answer(relayed, outcome, To tag, body, now) sends a final response, trying() a 100; registered() hears of
        each 200 that leaves a contact bound, and where it came from."""
        self._hop = next_hop(upstream)
        self._own_hosts = frozenset(own_hosts)
        self._client = client
        self._timers = timers
        self._answer = answer
        self._trying = trying
        self._registered = registered
        self._count = 0

    def __len__(self) -> int:
        """Return the number of requests between arrival and answer."""
        return self._count

    def take(self, request: SipMessage, flow: Flow, fingerprint: int, now: Now) -> Outcome | None:
        """Forward a REGISTER, or return why not (RFC 3261 16.3)."""
        required = request.proxy_require
        if required:
            return Outcome(420, headers=(("Unsupported", ", ".join(required)),))
        max_forwards = DEFAULT_MAX_FORWARDS if request.max_forwards is None else request.max_forwards - 1
        if max_forwards < 0:
            return _LOOP
        if self._count >= MAX_RELAYED:
            return unavailable(OVERLOAD_RETRY_AFTER)
        pause = self._client.pause_s(self._hop, now)
        if pause:
            return unavailable(pause)
        relayed = Relayed(request, flow, fingerprint, now.ms, max_forwards, self._route_beyond(request))
        self._count += 1
        self._timers.at(now.ms + TRYING_AFTER_MS, self._on_time, relayed)
        self._client.send(self._hop, self, relayed)
        return None

    def _route_beyond(self, request: SipMessage) -> list[str]:
        """Return the Route values that are left once our own is taken off (RFC 3261 16.4)."""
        routes = [route_value(route) for route in request.routes]
        if routes:
            try:
                first = next_hop(request.routes[0].uri)
            except SipParseError:
                return routes
            if first.host in self._own_hosts or f"[{first.host}]" in self._own_hosts:
                return routes[1:]
        return routes

    def _on_time(self, relayed: Relayed, now: Now) -> None:
        if not relayed.is_answered:
            self._trying(relayed)

    def request(self, subject: Relayed, now: Now) -> Request | None:
        """Return the REGISTER as it goes on: a hop further, with our Path on top (RFC 3327 section 5.2)."""
        if now.ms - subject.arrived_ms >= LATE_MS:
            self._count -= 1
            subject.is_answered = True
            return None
        request = subject.request
        flow = subject.flow
        rows = subject.rows
        path = [value for name, value in rows if name.lower() == "path"]
        headers = [
            ("Max-Forwards", str(subject.max_forwards)),
            *(("Route", route) for route in subject.route),
            ("Path", own_route(flow)),
            *(("Path", value) for value in path),
        ]
        others = [(name, value) for name, value in rows if name.lower() not in _OWN_OF_REQUEST]
        vias = [row for row in others if row[0].lower() in ("via", "v")]
        rest = [row for row in others if row[0].lower() not in ("via", "v")]
        return Request(
            "REGISTER",
            request.request_uri,
            write_headers([*vias, *headers, *rest]),
            request.body,
            1 + request.via_count,
        )

    def answered(self, subject: Relayed, status: int, response: SipMessage | None, now: Now) -> None:
        """Pass a response back; a timeout is answered with silence, since a 408 would only be late (TX-6)."""
        if status < 200:
            return  # of provisional ones nothing but 100 may be sent, which each hop does for itself (TX-6)
        self._count -= 1
        subject.is_answered = True
        if response is None:
            if status != REQUEST_TIMEOUT:
                self._answer(subject, unavailable(UNREACHABLE_RETRY_AFTER), "", b"", now)
            return
        if status == SERVICE_UNAVAILABLE and response.retry_after is None:
            # It is 500 to us, and we are not unavailable ourselves (RFC 3261 16.7, 21.5.4).
            self._answer(subject, Outcome(500), "", b"", now)
            return
        try:
            headers = tuple((name, value) for name, value in response.rows() if name.lower() not in _OWN_OF_RESPONSE)
            outcome = Outcome(status, response.reason, headers)
            to_tag = response.to.tag or ""
        except SipParseError:  # the phone is owed an answer all the same
            self._answer(subject, _BAD_GATEWAY, "", b"", now)
            return
        self._answer(subject, outcome, to_tag, response.body, now)
        if status < 300 and response.contact_count:
            self._registered(subject, self._hop, now)

    def renumbered(self, subject: Relayed, cseq: int) -> None:
        """Never happens: who relays has no password of the phone (RFC 3261 22.3)."""
