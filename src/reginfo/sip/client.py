"""The client side of SIP: requests on their way, their transactions, and how many may be under way to one place.

A role does not write a request and throw it over: it asks to be called when one may go (`send`).  What it then says is
the newest state, and a thousand changes behind a slow peer cost one request.

    send(hop, sender, subject)  ->  waiting  ->  sender.request(subject)  ->  transaction  ->  sender.answered(...)

Sans I/O: octets to send, names to look up and the instants of timers are handed to whoever has sockets and a clock.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from reginfo.config import Listener
from reginfo.fast import Flow, SipMessage, Via, write_request_rows
from reginfo.model import Now
from reginfo.sip.routing import Hop, own_host
from reginfo.sip.timers import Timers
from reginfo.sip.transaction import (
    MAGIC_COOKIE,
    MAX_RETRY_AFTER_MS,
    SERVICE_UNAVAILABLE,
    STATUS_OF,
    Action,
    ClientTransaction,
    begin,
    event_of,
    next_due_ms,
    response_key,
    step,
    timer_due,
    unavailable_until,
)

logger = logging.getLogger(__name__)

WINDOW: Final = 64  # requests to one place that are neither answered nor repeated: a socket of Linux holds some 90
MAX_DATAGRAM: Final = 1300  # octets of a request over UDP; a longer one asks for congestion control (RFC 3261 18.1.1)
WORK: Final = 256  # requests begun at once: some milliseconds of work
ADDRESS_MS: Final = 30_000  # an address that was looked up is good for so long

WILDCARDS: Final = frozenset({"0.0.0.0", "::"})


class Request(NamedTuple):
    """A request but for its Via, which is the client's."""

    method: str
    uri: str
    rows: bytes
    "Every header but Via and Content-Length, as write_headers() gives them."
    body: bytes = b""
    vias: int = 1
    "Via values its responses have: ours, and those of the hops before us among the rows."


class Sender(Protocol):
    """Whoever has something to say to a place.  Neither method raises what the other side caused."""

    def request(self, subject: Any, now: Now) -> Request | None:
        """Return what is to be sent now about subject; None if nothing is any more."""

    def answered(self, subject: Any, status: int, response: SipMessage | None, now: Now) -> None:
        """Take a response, or a status without one: 408 a timeout, 503 a transport error (RFC 3261 8.1.3.1).

        Provisional responses but 100 come here as well.
        """


class _Destination:
    """One place, and what is under way to it."""

    __slots__ = ("flow", "hop", "paused_until", "transactions", "via", "waiting", "windowed")

    def __init__(self, hop: Hop) -> None:
        self.hop = hop
        self.flow: Flow | None = None  # until its address is known
        self.via = ""
        self.waiting: deque[tuple[Sender, object]] = deque()
        self.transactions: dict[str, _Exchange] = {}
        self.windowed = 0
        self.paused_until = 0

    def is_sent_by(self, via: Via) -> bool:
        """Tell whether a Via is the one requests to this place bear."""
        return self.flow is not None and (via.host.strip("[]"), via.port) == self.flow.local

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.transactions


class _Exchange:
    """One request, from its first transmission to its last answer."""

    __slots__ = (
        "branch",
        "destination",
        "fallback",
        "is_windowed",
        "octets",
        "request",
        "sender",
        "subject",
        "transaction",
    )

    def __init__(
        self,
        transaction: ClientTransaction,
        request: Request,
        octets: bytes,
        sender: Sender,
        subject: object,
        destination: _Destination,
        fallback: Hop | None,
    ) -> None:
        self.branch = transaction.branch
        self.transaction: ClientTransaction | None = transaction  # None once it is over
        self.request = request
        self.octets = octets
        self.sender = sender
        self.subject = subject
        self.destination = destination
        self.fallback = fallback  # where it goes if no connection can be made
        self.is_windowed = True


class Client:
    """Client transactions of one server."""

    def __init__(self, token: Callable[[], str], timers: Timers) -> None:
        """token returns text that was never used in a branch before and cannot be guessed (MSG-12)."""
        self._token = token
        self._timers = timers
        self._listeners: tuple[Listener, ...] = ()
        self._destinations: dict[Hop, _Destination] = {}
        self._by_place: dict[tuple[str, tuple[str, int]], list[_Destination]] = {}
        self._ready: dict[_Destination, None] = {}
        self._exchanges: dict[str, _Exchange] = {}
        self._output: list[tuple[bytes, Flow]] = []
        self._lookups: list[str] = []
        self._addresses: dict[str, tuple[tuple[tuple[str, str], ...], int]] = {}
        self._asked: dict[str, list[_Destination]] = {}
        self.retransmissions = 0
        "Requests sent again by timer E."
        self.timeouts = 0
        "Requests that timer F ended."

    def bind(self, listeners: Sequence[Listener]) -> None:
        """Send from these addresses; responses and requests of the other side come in there."""
        self._listeners = tuple(listeners)

    # -- sending ----------------------------------------------------------------------------------------

    def send(self, hop: Hop, sender: Sender, subject: object) -> None:
        """Have sender asked for a request about subject as soon as one may go to hop."""
        destination = self._at(hop)
        destination.waiting.append((sender, subject))
        self._ready[destination] = None

    def pause_s(self, hop: Hop, now: Now) -> int:
        """Return for how many seconds nothing is sent to hop, because it asked for that (TX-11); 0 if it did not."""
        destination = self._destinations.get(hop)
        return 0 if destination is None else max(0, -((now.ms - destination.paused_until) // 1000))

    def _at(self, hop: Hop) -> _Destination:
        destination = self._destinations.get(hop)
        if destination is None:
            destination = self._destinations[hop] = _Destination(hop)
        return destination

    def work(self, now: Now, limit: int = WORK) -> bool:
        """Begin what may go, limit requests at most; True if more could go at once."""
        while self._ready and limit > 0:
            destination = next(iter(self._ready))
            if now.ms < destination.paused_until or not self._locate(destination, now):
                del self._ready[destination]
                continue
            while limit > 0 and destination.waiting and destination.windowed < WINDOW:
                sender, subject = destination.waiting.popleft()
                limit -= 1
                try:
                    request = sender.request(subject, now)
                    if request is not None and destination.flow is None:
                        sender.answered(subject, SERVICE_UNAVAILABLE, None, now)
                    elif request is not None:
                        self._begin(request, sender, subject, destination, now)
                except Exception:  # what cannot be said costs itself, not what waits behind it
                    logger.exception("request not written hop=%s", destination.hop)
                    sender.answered(subject, SERVICE_UNAVAILABLE, None, now)
            if not destination.waiting or destination.windowed >= WINDOW:
                self._ready.pop(destination, None)
                self._retire(destination)
        return bool(self._ready)

    @property
    def is_busy(self) -> bool:
        """Whether work() could do something now."""
        return bool(self._ready)

    def __len__(self) -> int:
        """Return the number of requests under way."""
        return len(self._exchanges)

    def _begin(
        self,
        request: Request,
        sender: Sender,
        subject: object,
        destination: _Destination,
        now: Now,
        *,
        at_any_size: bool = False,
    ) -> None:
        branch = MAGIC_COOKIE + self._token()
        octets = write_request_rows(request.method, request.uri, destination.via + branch, request.rows, request.body)
        fallback = None
        if len(octets) > MAX_DATAGRAM and destination.hop.transport == "udp" and not at_any_size:
            stream = self._stream_twin(destination, now)
            if stream is not None:
                destination, fallback = stream, destination.hop
                octets = write_request_rows(
                    request.method, request.uri, destination.via + branch, request.rows, request.body
                )
        assert destination.flow is not None
        reliable = destination.flow.reliable
        transaction, _ = begin(branch, request.method, reliable=reliable, now_ms=now.ms)
        exchange = _Exchange(transaction, request, octets, sender, subject, destination, fallback)
        self._exchanges[branch] = destination.transactions[branch] = exchange
        destination.windowed += 1
        self._output.append((octets, destination.flow))
        self._arm(exchange)

    def _stream_twin(self, destination: _Destination, now: Now) -> _Destination | None:
        """Return the same place over TCP, where a request too long for a datagram goes first (TRN-2)."""
        hop = destination.hop._replace(transport="tcp")
        twin = self._at(hop)
        if self._local(hop, hop.host) is None or not self._locate(twin, now) or twin.flow is None:
            self._retire(twin)
            return None
        return twin

    def _arm(self, exchange: _Exchange) -> None:
        assert exchange.transaction is not None
        due = next_due_ms(exchange.transaction)
        if due is not None:
            self._timers.at(due, self._on_timer, exchange)

    def _on_timer(self, exchange: _Exchange, now: Now) -> None:
        if exchange.transaction is None:
            return
        event = timer_due(exchange.transaction, now.ms)
        if event is None:
            self._arm(exchange)
            return
        exchange.transaction, actions = step(exchange.transaction, event, now.ms)
        if Action.TIME_OUT in actions:
            self.timeouts += 1
            self._finish(exchange, STATUS_OF[Action.TIME_OUT], None, now)
            return
        # What is not answered in time is taken for lost: it holds no place any more.
        self._leave_window(exchange)
        self.retransmissions += 1
        assert exchange.destination.flow is not None
        self._output.append((exchange.octets, exchange.destination.flow))
        self._arm(exchange)

    # -- answers ----------------------------------------------------------------------------------------

    def receive(self, response: SipMessage, now: Now) -> bool:
        """Take a response; False if no request waits for it (TRN-6, TX-2)."""
        key = response_key(response)
        exchange = self._exchanges.get(key[0]) if key is not None else None
        if exchange is None or exchange.transaction is None or exchange.transaction.key != key:
            return False
        # One for somebody else has more or fewer (RFC 3261 8.1.3.3), or another sent-by than ours (18.1.2).
        if response.via_count != exchange.request.vias or not exchange.destination.is_sent_by(response.top_via):
            return False
        if response.status >= 200:
            # The transaction completes, and with it all that it is kept for: see _finish().
            destination = exchange.destination
            until = unavailable_until(response.status, response.retry_after, now.ms)
            if until is not None:
                self._pause(destination, min(until, now.ms + MAX_RETRY_AFTER_MS), now)
            self._finish(exchange, response.status, response, now)
            return True
        exchange.transaction, actions = step(exchange.transaction, event_of(response.status), now.ms)
        if Action.DELIVER in actions and response.status > 100:
            exchange.sender.answered(exchange.subject, response.status, response, now)
        return True

    def lost(self, flow: Flow, now: Now) -> None:
        """Take news of the network: nothing gets to the remote address of flow (TRN-10, RFC 3261 17.1.4)."""
        for destination in list(self._by_place.get((flow.transport, flow.remote), ())):
            for exchange in list(destination.transactions.values()):
                fallback = None if exchange.fallback is None or flow.connection else self._at(exchange.fallback)
                if fallback is not None and self._locate(fallback, now) and fallback.flow is not None:
                    self._forget(exchange)
                    self._begin(exchange.request, exchange.sender, exchange.subject, fallback, now, at_any_size=True)
                else:
                    self._finish(exchange, SERVICE_UNAVAILABLE, None, now)

    def _finish(self, exchange: _Exchange, status: int, response: SipMessage | None, now: Now) -> None:
        # What comes later for this branch has no transaction and is dropped, which is all that timer K is for.
        self._forget(exchange)
        exchange.sender.answered(exchange.subject, status, response, now)

    def _forget(self, exchange: _Exchange) -> None:
        destination = exchange.destination
        del self._exchanges[exchange.branch]
        del destination.transactions[exchange.branch]
        exchange.transaction = None
        exchange.octets = b""
        self._leave_window(exchange)
        self._retire(destination)

    def _leave_window(self, exchange: _Exchange) -> None:
        if exchange.is_windowed:
            exchange.is_windowed = False
            destination = exchange.destination
            destination.windowed -= 1
            if destination.waiting:
                self._ready[destination] = None

    def _pause(self, destination: _Destination, until_ms: int, now: Now) -> None:
        """Send nothing there for a while (TX-11)."""
        if until_ms > max(now.ms, destination.paused_until):
            destination.paused_until = until_ms
            self._timers.at(until_ms, self._resume, destination)

    def _resume(self, destination: _Destination, now: Now) -> None:
        if now.ms >= destination.paused_until:
            destination.paused_until = 0
            if destination.waiting:
                self._ready[destination] = None
            self._retire(destination)

    def _retire(self, destination: _Destination) -> None:
        """Forget a place that nothing waits for."""
        if destination.is_idle and not destination.paused_until:
            self._destinations.pop(destination.hop, None)
            if destination.flow is not None:
                place = (destination.flow.transport, destination.flow.remote)
                same = self._by_place[place]
                same.remove(destination)
                if not same:
                    del self._by_place[place]
                destination.flow = None

    # -- addresses --------------------------------------------------------------------------------------

    def take_lookups(self) -> list[str]:
        """Return the hosts whose addresses are wanted, each to be answered by located()."""
        lookups, self._lookups = self._lookups, []
        return lookups

    def located(self, host: str, addresses: Sequence[tuple[str, str]], now: Now) -> None:
        """Take the addresses of a host, each with the local one that reaches it; none if it has none."""
        self._addresses[host] = (tuple(addresses), now.ms + ADDRESS_MS)
        for destination in self._asked.pop(host, ()):
            self._ready[destination] = None
        self._timers.at(now.ms + ADDRESS_MS, self._forget_address, host)

    def _forget_address(self, host: str, now: Now) -> None:
        if host in self._addresses and self._addresses[host][1] <= now.ms:
            del self._addresses[host]

    def _locate(self, destination: _Destination, now: Now) -> bool:
        """Give a destination its flow, or leave it without where no way leads there; False if that has to wait."""
        if destination.flow is not None:
            return True
        hop = destination.hop
        addresses: Sequence[tuple[str, str]] = ()
        if _is_literal(hop.host) and not self._needs_local(hop):
            addresses = ((hop.host, ""),)
        else:
            known = self._addresses.get(hop.host)
            if known is None or known[1] <= now.ms:
                if hop.host not in self._asked:
                    self._lookups.append(hop.host)
                self._asked.setdefault(hop.host, []).append(destination)
                return False
            addresses = known[0]
        for host, local_host in addresses:
            local = self._local(hop, host)
            if local is not None:
                where = (local_host or local.host, local.port)
                try:
                    destination.flow = Flow(hop.transport, where, (host, hop.port))
                except ValueError:  # maddr=999.0.0.1: what a Contact says is not always an address
                    continue
                destination.via = _via_of(hop.transport, where)
                place = (hop.transport, destination.flow.remote)
                self._by_place.setdefault(place, []).append(destination)
                return True
        # Whoever waits is asked all the same, and told that it could not be sent: who never was asked has its
        # request still to make, and would send it here again, and again.
        return True

    def _local(self, hop: Hop, host: str) -> Listener | None:
        six = ":" in host
        for listener in self._listeners:
            if listener.transport == hop.transport and (":" in listener.host) == six:
                return listener
        return None

    def _needs_local(self, hop: Hop) -> bool:
        local = self._local(hop, hop.host)
        return local is not None and local.host in WILDCARDS

    def here(self, hop: Hop) -> str:
        """Return the address that requests to hop leave from, as host and port of a SIP URI; one is on its way."""
        flow = self._destinations[hop].flow
        assert flow is not None
        return f"{own_host(flow)}:{flow.local[1]}"

    def take_output(self) -> list[tuple[bytes, Flow]]:
        """Return what is to be sent, in order, and forget it."""
        output, self._output = self._output, []
        return output


def _via_of(transport: str, local: tuple[str, int]) -> str:
    host = f"[{local[0]}]" if ":" in local[0] else local[0]
    return f"SIP/2.0/{transport.upper()} {host}:{local[1]};rport;branch="


def _is_literal(host: str) -> bool:
    """Tell an IP address from a name, whose last label is no number (RFC 1123 section 2.1)."""
    return ":" in host or host.rpartition(".")[2].isdigit()
