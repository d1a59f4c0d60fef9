"""The client side of SIP: requests on their way, their transactions, and how many may be under way to one place.

A role does not write a request and throw it over: it asks to be called when one may go (`send`).  What it then says is
the newest state, and a thousand changes behind a slow peer cost one request.

    send(hop, sender, subject)  ->  waiting  ->  sender.request(subject)  ->  transaction  ->  sender.answered(...)

Sans I/O: octets to send, names to look up and the instants of timers are handed to whoever has sockets and a clock.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from reginfo.config import Listener
from reginfo.fast import REQUEST_WINDOW, Destination, Exchange, Exchanges, Flow, Place, SipMessage
from reginfo.model import Now
from reginfo.sip.authorization import CHALLENGES, Authorizations
from reginfo.sip.dead import DEAD_MS, Address, Dead
from reginfo.sip.locating import Target
from reginfo.sip.routing import Hop, is_literal, own_host
from reginfo.sip.sender import Sender, renumbered
from reginfo.sip.timers import Timers
from reginfo.sip.traffic import request_counters, status_counters
from reginfo.sip.transaction import (
    MAX_RETRY_AFTER_MS,
    SERVICE_UNAVAILABLE,
    STATUS_OF,
    T1_MS,
    TIMER_F_MS,
    Action,
    ClientTransaction,
    State,
    begin,
    event_of,
    next_due_ms,
    step,
    timer_due,
    unavailable_until,
)

logger = logging.getLogger(__name__)

WORK: Final = 64  # requests begun at once: about a millisecond of work
ADDRESS_MS: Final = 30_000  # the servers of a hop are good for so long, in the order that was drawn
MAX_LOCATED: Final = 4096  # hops whose servers are remembered for that time
ALWAYS_MS: Final = 2**62

WILDCARDS: Final = frozenset({"0.0.0.0", "::"})


class Client(Exchanges):
    """Client transactions of one server."""

    def __init__(self, token: Callable[[], str], timers: Timers) -> None:
        """token returns text that was never used in a branch before and cannot be guessed (MSG-12)."""
        super().__init__(token, timers, T1_MS, TIMER_F_MS, Authorizations(token), request_counters(), status_counters())
        self._listeners: tuple[Listener, ...] = ()
        self._places: dict[Address, list[Place]] = {}
        self._dead = Dead()
        self._lookups: list[Hop] = []
        self._located: dict[Hop, tuple[Sequence[tuple[Target, str]], int]] = {}
        self._asked: dict[Hop, list[Destination]] = {}
        self.retransmissions = 0
        "Requests sent again by timer E."
        self.timeouts = 0
        "Requests that timer F ended."

    def bind(self, listeners: Sequence[Listener]) -> None:
        """Send from these addresses; responses and requests of the other side come in there."""
        self._listeners = tuple(listeners)

    # -- sending ----------------------------------------------------------------------------------------

    def pause_s(self, hop: Hop, now: Now) -> int:
        """Return for how many seconds nothing is sent to hop, because it asked for that (TX-11); 0 if it did not."""
        destination = self.destination(hop)
        return 0 if destination is None else max(0, -((now.ms - destination.paused_until) // 1000))

    def work(self, now: Now, limit: int = WORK) -> bool:
        """Begin what may go, limit requests at most; True if more could go at once."""
        while self.ready and limit > 0:
            destination = next(iter(self.ready))
            if now.ms < destination.paused_until or not self._locate(destination, now):
                del self.ready[destination]
                continue
            limit -= self.begin_waiting(destination, self._order(destination, now), limit, now)
            if not destination.waiting or destination.windowed >= REQUEST_WINDOW:
                self.ready.pop(destination, None)
                self._retire(destination)
        return bool(self.ready)

    def unsaid(self, destination: Destination, sender: Sender, subject: object, now: Now) -> None:
        """Take note of a fault while a request was written; called where it is handled."""
        logger.exception("request not written hop=%s", destination.hop)
        sender.answered(subject, SERVICE_UNAVAILABLE, None, now)

    @property
    def is_busy(self) -> bool:
        """Whether work() could do something now."""
        return bool(self.ready)

    def _order(self, destination: Destination, now: Now) -> tuple[Place, ...]:
        """Return the servers a request tries: those found dead last (DNS-5)."""
        places = destination.places
        if len(places) > 1:
            return tuple(sorted(places, key=lambda place: self._dead.until(place.address, now.ms)))
        return places

    def stream_twin(self, place: Place) -> Place | None:
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
            self.timers.at(due, self.when_due, exchange)

    def on_time(self, exchange: Exchange, now: Now) -> None:
        """Step with the timer of a request that has run out, if one has."""
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
                self.finish(exchange, STATUS_OF[Action.TIME_OUT], None, now)
            return
        # What is not answered in time is taken for lost: it holds no place any more.
        if exchange.is_windowed:
            self.leave_window(exchange)
        self.retransmissions += 1
        self.repeat(exchange)
        self._arm(exchange)

    # -- answers ----------------------------------------------------------------------------------------

    def answers(self, exchange: Exchange) -> None:
        """Take note that a server answers."""
        self._dead.remove((exchange.fallback or exchange.place).address)

    def provisional(self, exchange: Exchange, response: SipMessage, now: Now) -> None:
        """Take a provisional response."""
        status = response.status
        exchange.transaction, actions = step(_transaction(exchange), event_of(status), now.ms)
        if Action.DELIVER in actions and status > 100:
            exchange.sender.answered(exchange.subject, status, response, now)

    def challenged(self, exchange: Exchange, response: SipMessage, now: Now) -> bool:
        """Take a final response; True if it asks who we are, and the request goes again with the answer (AUT-11)."""
        attempt = exchange.attempt
        hop, host = exchange.destination.hop, exchange.place.flow.host
        if attempt is not None and response.status not in CHALLENGES:
            self.authorizations.answered(hop, host, exchange.request, response, attempt)
            return False
        places = tuple(place for place in (exchange.place, *exchange.further) if place.is_current)
        places = places or exchange.destination.places
        again = renumbered(exchange.request) if places else None
        if again is None:
            return False
        attempt = self.authorizations.challenged(hop, host, exchange.request, response, attempt)
        if attempt is None:
            return False
        exchange.request, cseq = again
        exchange.attempt = attempt
        exchange.sender.renumbered(exchange.subject, cseq)
        self._begin_again(exchange, places, now)
        return True

    def unavailable(self, exchange: Exchange, response: SipMessage, now: Now) -> bool:
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
                    self.finish(exchange, SERVICE_UNAVAILABLE, None, now)

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
        self.begin(request, sender, subject, destination, places, now.ms, at_any_size, exchange.attempt)
        self.forget(exchange)

    def retire(self, place: Place, destination: Destination) -> None:
        """Let go of a place or a destination at which nothing is under way any more."""
        if not place.is_current:
            self._close(place)
        if not destination.underway:
            self._retire(destination)

    def _pause(self, destination: Destination, until_ms: int, now: Now) -> None:
        """Send nothing there for a while (TX-11)."""
        if until_ms > max(now.ms, destination.paused_until):
            destination.paused_until = until_ms
            self.timers.at(until_ms, self._resume, destination)

    def _resume(self, destination: Destination, now: Now) -> None:
        if now.ms >= destination.paused_until:
            destination.paused_until = 0
            if destination.waiting:
                self.ready[destination] = None
            self._retire(destination)

    def _retire(self, destination: Destination) -> None:
        """Forget a destination that nothing waits for."""
        if destination.is_idle and not destination.paused_until:
            self.drop(destination)
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
        self.timers.at(until, self._forget_targets, hop)
        for destination in self._asked.pop(hop, ()):
            # Servers nobody can be asked about any more are better than none.
            self._settle(destination, self._reach(targets, destination) or destination.places, until)
            self.ready[destination] = None

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
        destination = self.destination(hop)
        assert destination is not None
        place = destination.places[0]
        return f"{own_host(place.flow)}:{place.flow.local[1]}"


def _transaction(exchange: Exchange) -> ClientTransaction:
    """Return the transaction of a request that is under way."""
    transaction: ClientTransaction | None = exchange.transaction
    if transaction is None:
        method, reliable = exchange.request.method, exchange.place.flow.reliable
        transaction, _ = begin(exchange.branch, method, reliable=reliable, now_ms=exchange.began_ms)
        exchange.transaction = transaction
    return transaction
