"""The client side of SIP: requests on their way, their transactions, and how many may be under way to one place.

A role does not write a request and throw it over: it asks to be called when one may go (`send`).  What it then says is
the newest state, and a thousand changes behind a slow peer cost one request.

    send(hop, sender, subject)  ->  waiting  ->  sender.request(subject)  ->  transaction  ->  sender.answered(...)

Sans I/O: octets to send, names to look up and the instants of timers are handed to whoever has sockets and a clock.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from reginfo.config import Listener
from reginfo.fast import Flow, SipMessage, write_request_rows
from reginfo.model import Now
from reginfo.sip.authorization import CHALLENGES, Attempt, Authorizations
from reginfo.sip.destinations import DEAD_MS, Address, Dead, Destination, Place
from reginfo.sip.exchange import Exchange, Request, Sender
from reginfo.sip.locating import Target
from reginfo.sip.routing import Hop, is_literal, own_host
from reginfo.sip.timers import Timers
from reginfo.sip.traffic import RequestCounts, status_counters
from reginfo.sip.transaction import (
    MAGIC_COOKIE,
    MAX_RETRY_AFTER_MS,
    SERVICE_UNAVAILABLE,
    STATUS_OF,
    Action,
    ClientTransaction,
    State,
    begin,
    event_of,
    first_due_ms,
    next_due_ms,
    step,
    timer_due,
    unavailable_until,
)

logger = logging.getLogger(__name__)

WINDOW: Final = 64  # requests to one place that are neither answered nor repeated: a socket of Linux holds some 90
MAX_DATAGRAM: Final = 1300  # octets of a request over UDP; a longer one asks for congestion control (RFC 3261 18.1.1)
WORK: Final = 64  # requests begun at once: about a millisecond of work
ADDRESS_MS: Final = 30_000  # the servers of a hop are good for so long, in the order that was drawn
MAX_LOCATED: Final = 4096  # hops whose servers are remembered for that time
ALWAYS_MS: Final = 2**62

WILDCARDS: Final = frozenset({"0.0.0.0", "::"})


class Client:
    """Client transactions of one server."""

    def __init__(self, token: Callable[[], str], timers: Timers) -> None:
        """token returns text that was never used in a branch before and cannot be guessed (MSG-12)."""
        self._token = token
        self._timers = timers
        self._when_due = self._on_timer  # mentioned once, for all timers
        self._listeners: tuple[Listener, ...] = ()
        self._destinations: dict[Hop, Destination] = {}
        self._places: dict[Address, list[Place]] = {}
        self._dead = Dead()
        self._ready: OrderedDict[Destination, None] = OrderedDict()  # a dict is slow to find its first of many
        self._exchanges: dict[str, Exchange] = {}
        self._output: list[tuple[bytes, Flow]] = []
        self._lookups: list[Hop] = []
        self._located: dict[Hop, tuple[Sequence[tuple[Target, str]], int]] = {}
        self._asked: dict[Hop, list[Destination]] = {}
        self.authorizations = Authorizations(token)
        "Who this side is where it is asked."
        self.requests = RequestCounts()
        "Begun, each at every server it is tried at."
        self.responses = status_counters()
        "Received and waited for, by status."
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
        destination.waiting.append(sender)
        destination.waiting.append(subject)
        self._ready[destination] = None

    def pause_s(self, hop: Hop, now: Now) -> int:
        """Return for how many seconds nothing is sent to hop, because it asked for that (TX-11); 0 if it did not."""
        destination = self._destinations.get(hop)
        return 0 if destination is None else max(0, -((now.ms - destination.paused_until) // 1000))

    def _at(self, hop: Hop) -> Destination:
        destination = self._destinations.get(hop)
        if destination is None:
            destination = self._destinations[hop] = Destination(hop)
        return destination

    def work(self, now: Now, limit: int = WORK) -> bool:
        """Begin what may go, limit requests at most; True if more could go at once."""
        while self._ready and limit > 0:
            destination = next(iter(self._ready))
            if now.ms < destination.paused_until or not self._locate(destination, now):
                del self._ready[destination]
                continue
            places = self._order(destination, now)
            while limit > 0 and destination.waiting and destination.windowed < WINDOW:
                sender, subject = destination.waiting.popleft(), destination.waiting.popleft()
                limit -= 1
                try:
                    request = sender.request(subject, now)
                    if request is not None and not places:
                        sender.answered(subject, SERVICE_UNAVAILABLE, None, now)
                    elif request is not None:
                        self._begin(request, sender, subject, destination, places, now)
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

    def _order(self, destination: Destination, now: Now) -> tuple[Place, ...]:
        """Return the servers a request tries: those found dead last (DNS-5)."""
        places = destination.places
        if len(places) > 1:
            return tuple(sorted(places, key=lambda place: self._dead.until(place.address, now.ms)))
        return places

    def _begin(
        self,
        request: Request,
        sender: Sender,
        subject: object,
        destination: Destination,
        places: tuple[Place, ...],
        now: Now,
        *,
        at_any_size: bool = False,
        attempt: Attempt | None = None,
    ) -> None:
        """Send a request to the first of these places; it has a branch of its own at each (TX-9)."""
        place = places[0]
        branch = MAGIC_COOKIE + self._token()
        if self.authorizations:
            rows, attempt = self.authorizations.authorize(destination.hop, request, attempt)
        else:
            rows, attempt = request.rows, None
        octets = write_request_rows(request.method, request.uri, place.via + branch, rows, request.body)
        fallback = None
        if len(octets) > MAX_DATAGRAM and place.flow.transport == "udp" and not at_any_size:
            twin = self._stream_twin(place)
            if twin is not None:
                place, fallback = twin, place
                octets = write_request_rows(request.method, request.uri, place.via + branch, rows, request.body)
        exchange = Exchange(
            branch, now.ms, request, octets, sender, subject, destination, place, places[1:], fallback, attempt
        )
        self._exchanges[branch] = place.exchanges[branch] = exchange
        destination.underway += 1
        destination.windowed += 1
        self._output.append((octets, place.flow))
        self.requests.count(request.method, place.address[0])
        self._timers.at(first_due_ms(now.ms, reliable=place.flow.reliable), self._when_due, exchange)

    def _stream_twin(self, place: Place) -> Place | None:
        """Return the same server over TCP, where a request too long for a datagram goes first (TRN-2)."""
        if place.twin is None:
            local = self._local("tcp", place.flow.host)
            if local is None:
                return None
            place.twin = self._open(Flow("tcp", (place.flow.local[0], local.port), place.flow.remote))
        return place.twin

    def _arm(self, exchange: Exchange) -> None:
        due = next_due_ms(_transaction(exchange))
        if due is not None:
            self._timers.at(due, self._when_due, exchange)

    def _on_timer(self, exchange: Exchange, now: Now) -> None:
        if exchange.is_over:
            return
        transaction = _transaction(exchange)
        event = timer_due(transaction, now.ms)
        if event is None:
            self._arm(exchange)
            return
        is_silent = transaction.state is State.TRYING
        exchange.transaction, actions = step(transaction, event, now.ms)
        if Action.TIME_OUT in actions:
            self.timeouts += 1
            if not is_silent or not self._moves_on(exchange, now.ms + DEAD_MS, now):
                self._finish(exchange, STATUS_OF[Action.TIME_OUT], None, now)
            return
        # What is not answered in time is taken for lost: it holds no place any more.
        if exchange.is_windowed:
            self._leave_window(exchange)
        self.retransmissions += 1
        self._output.append((exchange.octets, exchange.place.flow))
        self._arm(exchange)

    # -- answers ----------------------------------------------------------------------------------------

    def receive(self, response: SipMessage, now: Now) -> bool:
        """Take a response; False if no request waits for it (TRN-6, TX-2)."""
        via = response.top_via
        exchange = self._exchanges.get(via.branch or "")
        if exchange is None or exchange.request.method != response.cseq_method:  # RFC 3261 17.1.3
            return False
        # One for somebody else has more or fewer (RFC 3261 8.1.3.3), or another sent-by than ours (18.1.2).
        if response.via_count != exchange.request.vias or not exchange.place.is_sent_by(via):
            return False
        status = response.status
        self.responses.add(status - 100)
        if status == SERVICE_UNAVAILABLE:
            if self._is_refused(exchange, response, now):
                return True
        elif len(exchange.destination.places) > 1:
            self._dead.remove((exchange.fallback or exchange.place).address)
        if status >= 200:
            if (exchange.attempt is not None or status in CHALLENGES) and self._is_asked(exchange, response, now):
                return True
            # The transaction completes, and with it all that it is kept for: see _finish().
            self._finish(exchange, status, response, now)
            return True
        exchange.transaction, actions = step(_transaction(exchange), event_of(status), now.ms)
        if Action.DELIVER in actions and status > 100:
            exchange.sender.answered(exchange.subject, status, response, now)
        return True

    def _is_asked(self, exchange: Exchange, response: SipMessage, now: Now) -> bool:
        """Take a final response; True if it asks who we are, and the request goes again with the answer (AUT-11)."""
        attempt = exchange.attempt
        hop, host = exchange.destination.hop, exchange.place.flow.host
        if attempt is not None and response.status not in CHALLENGES:
            self.authorizations.answered(hop, host, exchange.request, response, attempt)
            return False
        places = tuple(place for place in (exchange.place, *exchange.further) if place.is_current)
        places = places or exchange.destination.places
        renumbered = exchange.request.renumbered() if places else None
        if renumbered is None:
            return False
        attempt = self.authorizations.challenged(hop, host, exchange.request, response, attempt)
        if attempt is None:
            return False
        exchange.request, cseq = renumbered
        exchange.attempt = attempt
        exchange.sender.renumbered(exchange.subject, cseq)
        self._begin_again(exchange, places, now)
        return True

    def _is_refused(self, exchange: Exchange, response: SipMessage, now: Now) -> bool:
        """Take a 503: nothing is sent there for the time it says (TX-11); True if the next server is asked (DNS-5)."""
        destination = exchange.destination
        until = unavailable_until(response.status, response.retry_after, now.ms)
        until = None if until is None else min(until, now.ms + MAX_RETRY_AFTER_MS)
        if self._moves_on(exchange, until or now.ms + DEAD_MS, now):
            return True
        if until is not None:
            asked = (self._dead.until(place.address, now.ms) for place in destination.places)
            self._pause(destination, min([until, *filter(None, asked)]), now)
        return False

    def lost(self, flow: Flow, now: Now) -> None:
        """Take news of the network: nothing gets to the remote address of flow (TRN-10, RFC 3261 17.1.4)."""
        for place in list(self._places.get((flow.transport, flow.remote), ())):
            for exchange in list(place.exchanges.values()):
                fallback = exchange.fallback
                if fallback is not None and fallback.is_current and not flow.connection:
                    self._begin_again(exchange, (fallback, *exchange.further), now, at_any_size=True)
                elif not self._moves_on(exchange, now.ms + DEAD_MS, now):
                    self._finish(exchange, SERVICE_UNAVAILABLE, None, now)

    def _moves_on(self, exchange: Exchange, dead_until_ms: int, now: Now) -> bool:
        """Take it that a server has failed; True if its request goes to the next one (DNS-5)."""
        if len(exchange.destination.places) > 1:
            self._dead.add((exchange.fallback or exchange.place).address, dead_until_ms)
        places = tuple(place for place in exchange.further if place.is_current)
        if places:
            self._begin_again(exchange, places, now)
        return bool(places)

    def _begin_again(
        self, exchange: Exchange, places: tuple[Place, ...], now: Now, *, at_any_size: bool = False
    ) -> None:
        destination = exchange.destination
        request, sender, subject = exchange.request, exchange.sender, exchange.subject
        self._begin(
            request, sender, subject, destination, places, now, at_any_size=at_any_size, attempt=exchange.attempt
        )
        self._forget(exchange)

    def _finish(self, exchange: Exchange, status: int, response: SipMessage | None, now: Now) -> None:
        # What comes later for this branch has no transaction and is dropped, which is all that timer K is for.
        self._forget(exchange)
        exchange.sender.answered(exchange.subject, status, response, now)

    def _forget(self, exchange: Exchange) -> None:
        destination, place = exchange.destination, exchange.place
        del self._exchanges[exchange.branch]
        del place.exchanges[exchange.branch]
        destination.underway -= 1
        exchange.is_over = True
        exchange.octets = b""
        if exchange.is_windowed:
            self._leave_window(exchange)
        if not place.is_current:
            self._close(place)
        if not destination.underway:
            self._retire(destination)

    def _leave_window(self, exchange: Exchange) -> None:
        exchange.is_windowed = False
        destination = exchange.destination
        destination.windowed -= 1
        if destination.waiting:
            self._ready[destination] = None

    def _pause(self, destination: Destination, until_ms: int, now: Now) -> None:
        """Send nothing there for a while (TX-11)."""
        if until_ms > max(now.ms, destination.paused_until):
            destination.paused_until = until_ms
            self._timers.at(until_ms, self._resume, destination)

    def _resume(self, destination: Destination, now: Now) -> None:
        if now.ms >= destination.paused_until:
            destination.paused_until = 0
            if destination.waiting:
                self._ready[destination] = None
            self._retire(destination)

    def _retire(self, destination: Destination) -> None:
        """Forget a destination that nothing waits for."""
        if destination.is_idle and not destination.paused_until:
            self._destinations.pop(destination.hop, None)
            self._settle(destination, (), 0)

    # -- places -----------------------------------------------------------------------------------------

    def take_lookups(self) -> list[Hop]:
        """Return the hops whose servers are wanted, each to be answered by located()."""
        lookups, self._lookups = self._lookups, []
        return lookups

    def located(self, hop: Hop, targets: Sequence[tuple[Target, str]], now: Now) -> None:
        """Take the servers of a hop in order, each with the local address that reaches it; none if there is none."""
        until = now.ms + ADDRESS_MS
        self.authorizations.located(hop, targets)
        self._located.pop(hop, None)
        if len(self._located) >= MAX_LOCATED:
            del self._located[next(iter(self._located))]
        self._located[hop] = (targets, until)
        self._timers.at(until, self._forget_targets, hop)
        for destination in self._asked.pop(hop, ()):
            # Servers nobody can be asked about any more are better than none.
            self._settle(destination, self._reach(targets, destination) or destination.places, until)
            self._ready[destination] = None

    def _forget_targets(self, hop: Hop, now: Now) -> None:
        if hop in self._located and self._located[hop][1] <= now.ms:
            del self._located[hop]

    def _locate(self, destination: Destination, now: Now) -> bool:
        """Give a destination its places, or leave it without where no way leads there; False if that has to wait."""
        if now.ms < destination.good_until:
            return True
        hop = destination.hop
        if hop.flow is not None or hop.transport in ("ws", "wss"):
            # Its hosts are made up: they are never looked up (TRN-14).
            self._settle(destination, () if hop.flow is None else (self._open(hop.flow),), ALWAYS_MS)
            return True
        if is_literal(hop.host) and not self._needs_local(hop):
            self._settle(
                destination,
                self._reach([(Target(hop.transport, hop.host, hop.port, hop.host), "")], destination),
                ALWAYS_MS,
            )
            return True
        known = self._located.get(hop)
        if known is None or known[1] <= now.ms:
            if hop not in self._asked:
                self._lookups.append(hop)
            self._asked.setdefault(hop, []).append(destination)
            return False
        # Whoever waits is asked also where no way leads, and told that it could not be sent: who never was asked has
        # its request still to make, and would send it here again, and again.
        self._settle(destination, self._reach(known[0], destination), known[1])
        return True

    def _reach(self, targets: Sequence[tuple[Target, str]], destination: Destination) -> tuple[Place, ...]:
        """Return the places that our sockets reach, of targets and the local addresses towards them."""
        known = {place.flow: place for place in destination.places}
        places: dict[Place, None] = {}
        for (transport, host, port, domain), local_host in targets:
            local = self._local(transport, host)
            if local is not None:
                try:
                    where = (local_host or local.host, local.port)
                    flow = Flow(transport, where, (host, port), domain=domain if transport == "tls" else "")
                except ValueError:  # maddr=999.0.0.1: what a Contact says is not always an address
                    continue
                places[known.get(flow) or self._open(flow)] = None
        return tuple(places)

    def _settle(self, destination: Destination, places: tuple[Place, ...], until_ms: int) -> None:
        for place in destination.places:
            if place not in places:
                self._close(place)
        destination.places = places
        destination.place = places[0] if places else None
        destination.good_until = until_ms

    def _open(self, flow: Flow) -> Place:
        place = Place(flow)
        self._places.setdefault(place.address, []).append(place)
        return place

    def _close(self, place: Place) -> None:
        """Begin nothing at a place any more; it is forgotten with the last request under way to it."""
        place.is_current = False
        if place.twin is not None:
            self._close(place.twin)
            place.twin = None
        if not place.exchanges:
            same = self._places[place.address]
            same.remove(place)
            if not same:
                del self._places[place.address]

    def _local(self, transport: str, host: str) -> Listener | None:
        six = ":" in host
        for listener in self._listeners:
            if listener.transport == transport and (":" in listener.host) == six:
                return listener
        return None

    def _needs_local(self, hop: Hop) -> bool:
        local = self._local(hop.transport, hop.host)
        return local is not None and local.host in WILDCARDS

    def here(self, hop: Hop) -> str:
        """Return the address that requests to hop leave from, as host and port of a SIP URI; one is on its way."""
        place = self._destinations[hop].place
        assert place is not None
        return f"{own_host(place.flow)}:{place.flow.local[1]}"

    def take_output(self) -> list[tuple[bytes, Flow]]:
        """Return what is to be sent, in order, and forget it."""
        output, self._output = self._output, []
        return output


def _transaction(exchange: Exchange) -> ClientTransaction:
    """Return the transaction of a request that is under way."""
    if exchange.transaction is None:
        method, reliable = exchange.request.method, exchange.place.flow.reliable
        exchange.transaction, _ = begin(exchange.branch, method, reliable=reliable, now_ms=exchange.began_ms)
    return exchange.transaction
