"""Answers: final responses as octets, where they go, and what is kept of them for retransmissions."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime

from reginfo.fast import (
    LISTING,
    Authenticator,
    Flow,
    SipMessage,
    Transactions,
    answer_room,
    response_flow,
    salvage,
    write_headers,
    write_response,
)
from reginfo.model import ACCEPTED, Now, Outcome
from reginfo.sip.outbound import OPTION_TAG
from reginfo.sip.refusals import Refusals
from reginfo.sip.traffic import status_counters


class Answers:
    """Writes the responses of one engine."""

    def __init__(self, transactions: Transactions, grant: Callable[[Flow, int], None]) -> None:
        """grant(connection, seconds) hears of each that outbound is used over, with its Flow-Timer or 0 (OUT-7)."""
        self._transactions = transactions
        self.refusals = Refusals()
        self.tell = self.refusals.tell
        "Count the refusal of a REGISTER, and log it unless there are many."
        self._grant = grant
        self._date = b""
        self._date_second = -1
        self.output: list[tuple[bytes, Flow]] = []
        "What is to be sent, in order."
        self.keeps_all = True
        "Nobody is asked for credentials."
        self.identity: tuple[tuple[str, str], ...] = ()
        "Headers of every response but that to a REGISTER that is granted, which has them among its own."
        self._rows = b""
        self.granted = b""
        "Header rows of every REGISTER that is granted."
        self.mint: Callable[[int, bytes, int], bytes] | None = None
        "Makes the temporary GRUUs it lists, if there are GRUUs."
        self.counters = status_counters()
        "Responses by status."

    def follow(self, server_header: str, granted: Sequence[tuple[str, str]]) -> None:
        """Have this Server header in every response from now on, if it is any, and more in granted REGISTERs."""
        self.identity = (("Server", server_header),) if server_header else ()
        self._rows = write_headers(self.identity)
        self.granted = write_headers((*granted, *self.identity))

    def respond(
        self,
        request: SipMessage,
        flow: Flow,
        fingerprint: int,
        outcome: Outcome,
        now: Now,
        listing: bytes | None = None,
        *,
        to_tag: str = "",
        body: bytes = b"",
    ) -> None:
        """Send a final answer and remember it for retransmissions of its request.

        to_tag and body are those of another server, whose answer is passed on.
        """
        octets = self.write(request, flow, fingerprint, outcome, now, listing, to_tag=to_tag, body=body)
        if outcome.status >= 300 and request.method == "REGISTER":
            self.tell(request, flow, outcome, now)
        self.output.append((octets, response_flow(request, flow)))
        if flow.connection and outcome.status == 200 and listing is not None:  # else another server's words
            said = dict(outcome.headers)
            if said.get("Require") == OPTION_TAG:
                self._grant(flow, int(said.get("Flow-Timer", 0)))
        if not flow.reliable:
            self._transactions.remember(fingerprint, LISTING if outcome is ACCEPTED else octets, now.ms)

    def dismiss(self, request: SipMessage, flow: Flow, fingerprint: int, outcome: Outcome, now: Now) -> None:
        """Send a final answer that anybody could have had, without a trace where others have to prove themselves."""
        if self.keeps_all:
            self.respond(request, flow, fingerprint, outcome, now)
        else:
            self.refuse(request, flow, fingerprint, outcome, now)
            if outcome.status >= 300 and request.method == "REGISTER":
                self.tell(request, flow, outcome, now)

    def write(
        self,
        request: SipMessage,
        flow: Flow,
        fingerprint: int,
        outcome: Outcome,
        now: Now,
        listing: bytes | None = None,
        *,
        to_tag: str = "",
        body: bytes = b"",
    ) -> bytes:
        """Return a final answer; one that accepts a REGISTER lists the bindings of a record."""
        self.counters.add(outcome.status - 100)
        return self._write(request, flow, fingerprint, outcome, now, listing, to_tag, body)

    def refuse(self, request: SipMessage, flow: Flow, fingerprint: int, outcome: Outcome, now: Now) -> None:
        """Send an answer if it is small enough for anybody, and keep nothing (TX-7, SEC-3)."""
        octets = self._write(request, flow, fingerprint, outcome, now)
        if len(octets) <= answer_room(request):
            self.counters.add(outcome.status - 100)
            self.output.append((octets, response_flow(request, flow)))

    def challenge(
        self,
        request: SipMessage,
        flow: Flow,
        fingerprint: int,
        authenticator: Authenticator,
        is_stale: bool,
        now: Now,
    ) -> None:
        """Send the longest challenge that is small enough for anybody, if one is, and keep nothing (AUT-6, SEC-3)."""
        tag = self._transactions.tag(fingerprint)
        octets = authenticator.challenge(request, tag, flow, self._rows, answer_room(request), now.ms, stale=is_stale)
        if octets is not None:
            self.counters.add(401 - 100)
            self.output.append((octets, response_flow(request, flow)))

    def _write(
        self,
        request: SipMessage,
        flow: Flow,
        fingerprint: int,
        outcome: Outcome,
        now: Now,
        listing: bytes | None = None,
        to_tag: str = "",
        body: bytes = b"",
    ) -> bytes:
        accepted = outcome is ACCEPTED or (outcome.status == 200 and listing is not None)
        return write_response(
            request,
            outcome.status,
            outcome.reason,
            to_tag=to_tag or self._transactions.tag(fingerprint),
            source=flow,
            headers=outcome.headers if accepted else outcome.headers + self.identity,
            listing=listing if accepted else None,
            now_ms=now.ms,
            date=self.date_at(now.wall) if accepted else b"",
            body=body,
            granted=self.granted if accepted else None,
            mint=self.mint,
        )

    def repeat(self, answer: bytes, octets: bytes, flow: Flow) -> None:
        """Send an answer again to a retransmission of its request (TX-3)."""
        request = salvage(octets)
        self.output.append((answer, flow if request is None else response_flow(request, flow)))

    def keep_alive(self, octets: bytes | None, flow: Flow) -> None:
        """Send the answer to a keep-alive back to where it came from, if there is one (RFC 5626 section 8)."""
        if octets is not None:
            self.output.append((octets, flow))

    def trying(self, request: SipMessage, flow: Flow) -> None:
        """Send a 100 (RFC 4320 section 4.1)."""
        self.output.append((write_response(request, 100, source=flow), response_flow(request, flow)))

    def date_at(self, wall: float) -> bytes:
        """Return the value of Date at a wall time."""
        second = int(wall)
        if second != self._date_second:
            self._date_second = second
            self._date = format_datetime(datetime.fromtimestamp(second, UTC), usegmt=True).encode()
        return self._date
