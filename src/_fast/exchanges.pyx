"""Requests under way: what was asked of which server, and which request an answer belongs to (RFC 3261 17.1.3)."""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeLatin1
from libc.stdint cimport int64_t

from reginfo._fast._cursor cimport Span, is_span
from reginfo._fast.counters cimport Counters, RequestCounters
from reginfo._fast.datagrams cimport UDP, Flow
from reginfo._fast.sip_parser cimport SipMessage, base
from reginfo._fast.sip_writer cimport request_of
from reginfo._fast.timer_queue cimport TimerQueue


cdef extern from "Python.h":
    void PyObject_GC_UnTrack(void*)

cdef enum:
    LONGEST_DATAGRAM = 1300     # octets over UDP; a longer one asks for congestion control (RFC 3261 18.1.1)
    IN_WINDOW = 64              # requests to one destination neither answered nor repeated; sockets hold some 90
    UNAUTHORIZED = 401
    PROXY_UNAUTHORIZED = 407
    UNAVAILABLE = 503

LAST_CSEQ = HIGHEST_CSEQ
REQUEST_WINDOW = IN_WINDOW


@cython.final
@cython.no_gc         # nothing it holds leads back to it
@cython.auto_pickle(False)
cdef class Request:
    """A request but for its Via, which is the client's."""

    def __init__(self, method: str, uri: str, rows: bytes, body: bytes = b"", vias: cython.int = 1) -> None:
        """rows are every header but Via and Content-Length, as write_headers() gives them.

        vias are the Via values its responses have: ours, and those of the hops before us among the rows.
        """
        self.method = method
        self.uri = uri
        self.rows = rows
        self.body = body
        self.vias = vias


@cython.final
@cython.auto_pickle(False)
cdef class Place:
    """One server by one transport, and what is under way to it."""

    def __init__(self, flow: Flow) -> None:
        host, port = flow.local
        self.flow = flow
        self.address = (flow.transport, flow.remote)
        self.local_host = f"[{host}]" if ":" in host else host
        self.local_port = port
        self.via = f"SIP/2.0/{flow.transport.upper()} {self.local_host}:{port};rport;branch="
        self.exchanges = {}
        self.is_current = True

    cdef bint sends_as(self, SipMessage response) except -1:
        # Whether the topmost Via is the one that requests to this place bear.
        return response.via.port == self.local_port and is_span(self.local_host, base(response), response.via.host)


@cython.final
@cython.auto_pickle(False)
cdef class Destination:
    """One hop, and what is under way to it."""

    def __init__(self, hop: object) -> None:
        self.hop = hop
        self.places = ()
        self.waiting = deque()

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self.waiting and not self.underway


@cython.final
@cython.freelist(64)
@cython.auto_pickle(False)
cdef class Exchange:
    """One request at one server, from its first transmission to its last answer.

    Then is_over, and all that leads to others is None.
    """

    def __init__(self, *args: object) -> None:
        raise TypeError("made by Exchanges")


@cython.auto_pickle(False)
cdef class Exchanges:
    """The requests of one client: those that wait, and those under way.

    What seldom happens to one is left to whoever extends this class, and called from here: the methods that raise
    NotImplementedError.
    """

    def __init__(
        self,
        token: Callable[[], str],
        timers: TimerQueue,
        t1_ms: int64_t,
        timer_f_ms: int64_t,
        authorizations: object,
        requests: RequestCounters,
        responses: Counters,
    ) -> None:
        """token returns text that was never used in a branch before and cannot be guessed (MSG-12).

        The first timer of a request runs out after t1_ms, or after timer_f_ms where the transport retransmits.
        """
        self.token = token
        self.timers = timers
        self.t1_ms = t1_ms
        self.timer_f_ms = timer_f_ms
        self.authorizations = authorizations
        self.requests = requests
        self.responses = responses
        self.when_due = self.on_time   # mentioned once, for all timers
        self.by_hop = {}
        self.by_branch = {}
        self.output = []
        self.ready = OrderedDict()

    def __len__(self) -> int:
        """Return the number of requests under way."""
        return len(self.by_branch)

    # -- what seldom happens ------------------------------------------------------------------------------

    def unsaid(self, destination: Destination, sender: object, subject: object, now: object) -> None:
        """Take note that sender has raised; called where its exception is handled."""
        raise NotImplementedError

    def stream_twin(self, place: Place) -> Place | None:
        """Return the same server over TCP, for a request too long for a datagram; None if no way leads there."""
        raise NotImplementedError

    def on_time(self, exchange: Exchange, now: object) -> None:
        """Step with the timer of a request that has run out, if one has; also called for what is over by then."""
        raise NotImplementedError

    def provisional(self, exchange: Exchange, response: SipMessage, now: object) -> None:
        """Take a 1xx."""
        raise NotImplementedError

    def challenged(self, exchange: Exchange, response: SipMessage, now: object) -> bool:
        """Take a 401 or 407, or any final answer to a request with credentials; True if it goes again."""
        raise NotImplementedError

    def unavailable(self, exchange: Exchange, response: SipMessage, now: object) -> bool:
        """Take a 503; True if the request goes to the next server."""
        raise NotImplementedError

    def answers(self, exchange: Exchange) -> None:
        """Take note that one of several servers answers."""
        raise NotImplementedError

    def retire(self, place: Place, destination: Destination) -> None:
        """Let go of a place that is not current, or of a destination at which nothing is under way, if they are."""
        raise NotImplementedError

    # -- what waits ---------------------------------------------------------------------------------------

    def send(self, hop: Hashable, sender: object, subject: object) -> None:
        """Have sender asked for a request about subject as soon as one may go to hop."""
        self.ask(hop, sender, subject)

    cdef int ask(self, object hop, object sender, object subject) except -1:
        cdef Destination destination = self.destination_at(hop)
        destination.waiting.append(sender)
        destination.waiting.append(subject)
        self.ready[destination] = None
        return 0

    def destination(self, hop: Hashable) -> Destination | None:
        """Return the destination of a hop, if something waits or is under way there."""
        return self.by_hop.get(hop)

    cdef Destination destination_at(self, object hop):
        cdef Destination destination = self.latest
        if destination is None or destination.hop is not hop:
            destination = self.by_hop.get(hop)
            if destination is None:
                destination = self.by_hop[hop] = Destination(hop)
            self.latest = destination
        return destination

    def drop(self, destination: Destination) -> None:
        """Forget a destination at which nothing waits and nothing is under way."""
        self.by_hop.pop(destination.hop, None)
        self.latest = None

    def begin_waiting(self, destination: Destination, places: tuple[Place, ...], limit: cython.int, now: object) -> int:
        """Have as many of what waits at a destination begun as may go there, at most limit; return how many were asked.

        Without a place they are told that it could not be sent.
        """
        cdef int64_t now_ms = now.ms
        cdef int asked = 0
        while asked < limit and destination.waiting and destination.windowed < IN_WINDOW:
            sender = destination.waiting.popleft()
            subject = destination.waiting.popleft()
            asked += 1
            try:
                request = sender.request(subject, now)
                if request is not None and not places:
                    sender.answered(subject, UNAVAILABLE, None, now)
                elif request is not None:
                    self.begin_at(request, sender, subject, destination, places, now_ms, False, None)
            except Exception:   # what cannot be said costs itself, not what waits behind it
                self.unsaid(destination, sender, subject, now)
        return asked

    # -- what is under way --------------------------------------------------------------------------------

    def begin(
        self,
        request: Request,
        sender: object,
        subject: object,
        destination: Destination,
        places: tuple[Place, ...],
        now_ms: int64_t,
        at_any_size: cython.bint,
        attempt: object,
    ) -> None:
        """Send a request to the first of these places, ValueError without one; its branch is its own at each (TX-9)."""
        self.begin_at(request, sender, subject, destination, places, now_ms, at_any_size, attempt)

    cdef int begin_at(
        self,
        Request request,
        object sender,
        object subject,
        Destination destination,
        tuple places,
        int64_t now_ms,
        bint at_any_size,
        object attempt,
    ) except -1:
        cdef Place place, twin
        cdef bytes rows = request.rows
        cdef str branch = "z9hG4bK" + self.token()
        cdef Exchange exchange
        if not places:
            raise ValueError("no place to send to")
        place, twin = places[0], None
        if self.authorizations.known:
            rows, attempt = self.authorizations.authorize(destination.hop, request, attempt)
        else:
            attempt = None
        exchange = self.open(
            branch, request, rows, sender, subject, destination, place, places[1:], None, attempt, now_ms, at_any_size
        )
        if exchange is None:    # too long for a datagram: over TCP first (TRN-2)
            twin = self.stream_twin(place)
            if twin is None:
                place, twin = None, place
            exchange = self.open(
                branch, request, rows, sender, subject, destination, twin, places[1:], place, attempt, now_ms, True
            )
        self.requests.add(request.method, exchange.place.address[0])
        # Timer E, or F where the transport retransmits (TX-1).
        self.timers.put(
            now_ms + (self.t1_ms if exchange.place.flow.kind == UDP else self.timer_f_ms), self.when_due, exchange
        )
        return 0

    cdef Exchange open(
        self,
        str branch,
        Request request,
        bytes rows,
        object sender,
        object subject,
        Destination destination,
        Place place,
        tuple further,
        Place fallback,
        object attempt,
        int64_t now_ms,
        bint at_any_size,
    ):
        # None for one that is too long for a datagram, unless it may have any size: nothing is sent then.
        cdef bytes octets = request_of(request.method, request.uri, place.via + branch, rows, request.body)
        cdef Exchange exchange
        if place.flow.kind == UDP and not at_any_size and PyBytes_GET_SIZE(octets) > LONGEST_DATAGRAM:
            return None
        exchange = Exchange.__new__(Exchange)
        exchange.branch = branch
        exchange.began_ms = now_ms
        exchange.request = request
        exchange.octets = octets
        exchange.sender = sender
        exchange.subject = subject
        exchange.destination = destination
        exchange.place = place
        exchange.further = further
        exchange.fallback = fallback
        exchange.attempt = attempt
        exchange.is_windowed = True
        self.by_branch[branch] = place.exchanges[branch] = exchange
        destination.underway += 1
        destination.windowed += 1
        self.output.append((octets, place.flow))
        return exchange

    def receive(self, response: SipMessage, now: object) -> bool:
        """Take a response; False if no request waits for it (TRN-6, TX-2)."""
        cdef Exchange exchange = self.awaiting(response)
        cdef int status = response.status
        if exchange is None:
            return False
        self.responses._values[status - 100] += 1
        if status == UNAVAILABLE:
            if self.unavailable(exchange, response, now):
                return True
        elif len(exchange.destination.places) > 1:
            self.answers(exchange)
        if status < 200:
            self.provisional(exchange, response, now)
        elif not (
            (exchange.attempt is not None or status == UNAUTHORIZED or status == PROXY_UNAUTHORIZED)
            and self.challenged(exchange, response, now)
        ):
            # The transaction completes, and with it all that it is kept for: see finish().
            self.finish(exchange, status, response, now)
        return True

    cdef Exchange awaiting(self, SipMessage response):
        # The request that a response belongs to; None if none waits for it (RFC 3261 17.1.3).  One for somebody else
        # has more or fewer Via values (8.1.3.3), or another sent-by than ours (18.1.2).
        cdef Span branch = response.via.branch
        cdef Exchange exchange = self.by_branch.get(
            PyUnicode_DecodeLatin1(<const char*>base(response) + branch.start, branch.length, NULL)
        )
        if (
            exchange is None
            or response.via_count != exchange.request.vias
            or not is_span(exchange.request.method, base(response), response.method_span)
            or not exchange.place.sends_as(response)
        ):
            return None
        return exchange

    def finish(self, exchange: Exchange, status: int, response: SipMessage | None, now: object) -> None:
        """End a request, and tell its sender: what comes later for its branch is nobody's, as timer K would have it."""
        sender, subject = exchange.sender, exchange.subject
        self.close(exchange)
        sender.answered(subject, status, response, now)

    def forget(self, exchange: Exchange) -> None:
        """End a request, of which nobody is told."""
        self.close(exchange)

    cdef int close(self, Exchange exchange) except -1:
        cdef Destination destination = exchange.destination
        del self.by_branch[exchange.branch]
        del exchange.place.exchanges[exchange.branch]
        destination.underway -= 1
        exchange.is_over = True
        exchange.octets = b""
        if exchange.is_windowed:
            self.leave(exchange)
        if not exchange.place.is_current or not destination.underway:
            self.retire(exchange.place, destination)
        # Its timer holds it for a while: what leads nowhere need not be looked at by the garbage collector.
        exchange.sender = exchange.subject = exchange.attempt = exchange.transaction = None
        exchange.request, exchange.destination, exchange.place = None, None, None
        exchange.further, exchange.fallback = None, None
        PyObject_GC_UnTrack(<void*>exchange)
        return 0

    def leave_window(self, exchange: Exchange) -> None:
        """Count a request in the window no more, so that the next one may go; ValueError for one that is over."""
        if exchange.is_over:
            raise ValueError("the request is over")
        self.leave(exchange)

    cdef int leave(self, Exchange exchange) except -1:
        exchange.is_windowed = False
        exchange.destination.windowed -= 1
        if exchange.destination.waiting:
            self.ready[exchange.destination] = None
        return 0

    def repeat(self, exchange: Exchange) -> None:
        """Send a request again, the same octets as before; ValueError for one that is over."""
        if exchange.is_over:
            raise ValueError("the request is over")
        self.output.append((exchange.octets, exchange.place.flow))

    def take_output(self) -> list[tuple[bytes, Flow]]:
        """Return what is to be sent, in order, and forget it."""
        cdef list output = self.output
        self.output = []
        return output
