"""Intake: the road of a batch from octets to messages and queued REGISTERs, and back from decided ones to octets.

Retransmissions and what is malformed leave the road here.  Nearly all traffic of a registrar is REGISTERs that nothing
can be said against: passed by the screen, for an AoR that is idle, and accepted in the end.  Those are queued and
answered here, and decided in between, and so are NOTIFYs that are like the last one of their subscription but for the
document, and the first one of a dialog that the subscriber has entered; every other message is handed on in its place,
parsed.  No decision is made here that is not made by the same objects on the general road.
"""

from collections.abc import Callable

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp

from reginfo._fast.authenticator cimport ASK_, CHALLENGED_, IMPROPER_, OLD_NONCE_, PROVEN_, Authenticator, Proof
from reginfo._fast.binding cimport Change
from reginfo._fast.counters cimport Counters, Histogram
from reginfo._fast.datagrams cimport TCP, TLS, UDP, Flow
from reginfo._fast.screen cimport GO_ON_, Screen
from reginfo._fast.reginfo_xml cimport Reginfo
from reginfo._fast.sip_parser cimport (
    METHOD_NOTIFY,
    METHOD_REGISTER,
    SipMessage,
    message_of,
)
from reginfo._fast.sip_writer cimport response_to
from reginfo._fast.subscribed cimport Subscribed
from reginfo._fast.transactions cimport Transactions
from reginfo._fast.works cimport Hearing, Outcome, Registering, WorkQueues, receive

from reginfo._fast.errors import SipParseError
from reginfo._fast.sip_writer import write_headers
from reginfo._fast.transactions import LISTING, PENDING
from reginfo._fast.works import ACCEPTED as _ACCEPTED

cdef enum:
    LOWEST_TOKEN_OCTET = 0x21
    SIP_PORT = 5060
    ROAD = 8                # parts
    WINDOW = 32             # messages whose memory is fetched while others are looked at
    UNAUTHORIZED = 401 - 100        # among the counters of responses
    SMALL_ANSWER = 640      # octets an answer to anybody may have, however small the request

# By their number in datagrams.pxd.
TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")

# What an accepted REGISTER did (RFC 3261 10.2): bound a contact, refreshed what is bound, took a contact away, or
# changed nothing.
REGISTRATION_KINDS = ("add", "refresh", "remove", "fetch")

cdef Outcome _accepted = _ACCEPTED

cdef enum:                  # the same as REGISTRATION_KINDS
    ADD
    REFRESH
    REMOVE
    FETCH


cdef Flow response_flow_(SipMessage request, Flow flow):
    cdef int port
    if flow.kind != UDP or request.via_count == 0:
        return flow
    port = request.via.port if request.via.port > 0 else SIP_PORT
    if request.via.maddr.length:
        try:
            return flow.with_remote((<str>request.top_via.maddr).strip("[]"), port)
        except ValueError:  # a name, or no address at all: as if it were not there
            pass
    if request.via.rport >= 0 or port == flow.remote_port:
        return flow
    return flow.reply(port)


cdef inline Py_ssize_t answer_room_(SipMessage request) noexcept:
    return max(<Py_ssize_t>SMALL_ANSWER, PyBytes_GET_SIZE(request._data) * 3 // 2)


def answer_room(request: SipMessage) -> int:
    """Return the octets that an answer to anybody may have, so that nobody is flooded by way of this server (SEC-3)."""
    return answer_room_(request)


def response_flow(request: SipMessage, flow: Flow) -> Flow:
    """Return the flow the response to a request takes, which came over flow (RFC 3261 18.2.2, RFC 3581 section 4).

    A reliable transport answers on its connection, a Via that cannot be read where it came from.  Over UDP maddr goes
    first, then the source port if the request asked for it (rport), else the port of the Via.
    """
    return response_flow_(request, flow)


cdef inline bint is_message(bytes octets) noexcept:
    return PyBytes_GET_SIZE(octets) > 0 and <unsigned char>PyBytes_AS_STRING(octets)[0] >= LOWEST_TOKEN_OCTET


cdef inline bint is_stun(bytes octets) noexcept:
    # RFC 5626 section 8: the first octet tells it from SIP.
    return PyBytes_GET_SIZE(octets) > 0 and <unsigned char>PyBytes_AS_STRING(octets)[0] < 2


cdef inline bint is_response(bytes octets) noexcept:
    # No method has a slash.
    return PyBytes_GET_SIZE(octets) > 4 and memcmp(PyBytes_AS_STRING(octets), b"SIP/", 4) == 0


cdef inline int kind_of(Change change) noexcept:
    if change is None:
        return FETCH
    if change.only_refreshes:
        return REFRESH
    return REMOVE if change.removes() else ADD


@cython.final
@cython.auto_pickle(False)
cdef class Intake:
    """Takes batches for one engine."""

    cdef Transactions transactions
    cdef Screen screen
    cdef Authenticator authenticator    # None while nobody is asked for credentials
    cdef tuple identity                 # headers of every response
    cdef bytes rows                     # the same, written
    cdef Py_ssize_t max_message         # octets of a datagram
    cdef Py_ssize_t max_body            # octets of a document
    cdef dict subscriptions             # Call-ID -> Subscribed
    cdef object arm                     # called with a Subscribed that has to be looked at earlier than it would be
    cdef object enter                   # called with a Subscribed in no dialog, a NOTIFY for it, and the flow of that
    cdef Proof unproven                 # what the credentials lack of a request that nothing else is said against
    cdef readonly Counters taken        # plain REGISTERs by transport
    cdef readonly Counters heard        # plain NOTIFYs by transport
    cdef readonly Counters accepted     # REGISTERs by what they did
    cdef Counters responses             # by status, from 100 on

    def __init__(
        self,
        transactions: Transactions,
        responses: Counters,
        screen: Screen,
        max_message: cython.Py_ssize_t,
        authenticator: Authenticator | None = None,
    ) -> None:
        """responses has a slot for each status from 100 on."""
        self.transactions = transactions
        self.responses = responses
        self.taken = Counters(TRANSPORTS)
        self.heard = Counters(TRANSPORTS)
        self.accepted = Counters(REGISTRATION_KINDS)
        self.subscriptions = {}
        self.follow(screen, max_message, authenticator)

    def listen(
        self,
        subscriptions: dict[str, Subscribed],
        max_body: cython.Py_ssize_t,
        arm: Callable[[Subscribed], None],
        enter: Callable[[Subscribed, SipMessage, Flow], None],
    ) -> None:
        """Hear the NOTIFYs of subscriptions, by Call-ID, with documents of at most max_body octets.

        arm(subscription) is called for one whose next_due is before its timer_at, enter(subscription, request, flow)
        for a NOTIFY with a body over UDP for one that is in no dialog, and may be in one then.
        """
        self.subscriptions = subscriptions
        self.max_body = max_body
        self.arm = arm
        self.enter = enter

    def follow(
        self,
        screen: Screen,
        max_message: cython.Py_ssize_t,
        authenticator: Authenticator | None = None,
        identity: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Go on under another screen and limit of datagrams; with an authenticator, only for who has proven it.

        identity are headers of every response but the 200 of a REGISTER, which has its own.
        """
        self.screen = screen
        self.max_message = max_message
        self.authenticator = authenticator
        self.identity = identity
        self.rows = write_headers(identity)

    def take(
        self,
        batch: list[tuple[bytes, Flow]],
        now: object,
        works: WorkQueues,
        limit: cython.Py_ssize_t,
        output: list[tuple[bytes, Flow]],
        road: tuple[Callable, ...],
    ) -> int:
        """Queue the plain REGISTERs and NOTIFYs of a batch while fewer than limit works are pending; return how many.

        Each REGISTER is the only work of its AoR; one that lacks nothing but credentials is challenged in output.  For
        everything else one of the road is called, in order: for a request, for a response, for a retransmission with
        what is known of it, for what is malformed with the error, for what one of those raised, for a STUN message, for
        a plain REGISTER with improper credentials and what they come to, and for one that was challenged because of
        wrong credentials.  ValueError for a road of another length.
        """
        cdef bytes octets
        cdef Flow flow
        cdef int64_t now_ms = now.ms
        cdef int now_us = now.us
        cdef int taken = 0
        cdef uint64_t[WINDOW] fingerprints
        cdef Py_ssize_t start, i, n
        if len(road) != ROAD:
            raise ValueError(f"a road has {ROAD} parts")
        for start in range(0, len(batch), WINDOW):
            n = min(<Py_ssize_t>WINDOW, len(batch) - start)
            for i in range(n):
                octets, flow = batch[start + i]
                fingerprints[i] = 0
                if is_message(octets) and not is_response(octets):  # no answer to it would be remembered
                    fingerprints[i] = self.transactions.digest(octets, flow)
            self.transactions.expect(fingerprints, n)
            for i in range(n):
                octets, flow = batch[start + i]
                try:
                    taken += self.take_one(
                        octets, flow, fingerprints[i], now, now_ms, now_us, works, works.pending < limit, output, road
                    )
                except Exception as error:      # one message must not take the batch down with it
                    road[4](error, flow)
        return taken

    def answer(
        self,
        works: list[object],
        now_ms: int64_t,
        oldest_ms: int64_t,
        date: bytes,
        granted: bytes,
        mint: Callable[[int, bytes, int], bytes] | None,
        output: list[tuple[bytes, Flow]],
        other: Callable[[object], None],
    ) -> int:
        """Append the 200 of every accepted REGISTER and NOTIFY of works to output, and return how many.

        That of a REGISTER lists the bindings as decided (RFC 3261 10.3 step 8) with what mint makes, and has the rows
        of granted.  Each is remembered for retransmissions of its request.  other() is called, in order, for every
        other work, for one that moves a flow, and for a REGISTER that arrived before oldest_ms.
        """
        cdef Registering work
        cdef bytes octets
        cdef Flow flow
        cdef int answered = 0
        for item in works:
            if type(item) is Hearing and (<Hearing>item).outcome is _accepted and not (<Hearing>item).moves_flow:
                self.confirm(<Hearing>item, now_ms, output)
                answered += 1
                continue
            if type(item) is not Registering:
                other(item)
                continue
            work = item
            if work.outcome is not _accepted or work.arrived_ms < oldest_ms or work.moves_flow:
                other(item)
                continue
            flow = response_flow_(work.request, work.flow)
            octets = response_to(
                work.request,
                200,
                None,
                self.transactions.tag_of(work.fingerprint),
                work.flow,
                (("Authentication-Info", work.info),) if work.info else (),
                work.listing,
                now_ms,
                date,
                b"",
                granted,
                mint,
            )
            output.append((octets, flow))
            if flow.kind == UDP:
                self.transactions.keep_answer(work.fingerprint, LISTING, now_ms)
            answered += 1
        return answered

    def count(
        self,
        works: list[object],
        now_ms: int64_t,
        now_us: cython.int,
        registers: Histogram,
        other: Callable[[object], None],
    ) -> None:
        """Count the answered REGISTERs of works: what accepted ones did, and into registers the microseconds of each.

        other() is called for every other work.
        """
        cdef Registering work
        for item in works:
            if type(item) is not Registering:
                other(item)
                continue
            work = item
            if work.repeated:
                continue
            registers.count((now_ms - work.arrived_ms) * 1000 + now_us - work.arrived_us, 1)
            if work.outcome.status < 300:
                self.accepted._values[kind_of(work.change)] += 1

    cdef bint take_one(
        self,
        bytes octets,
        Flow flow,
        uint64_t fingerprint,
        object now,
        int64_t now_ms,
        int now_us,
        WorkQueues works,
        bint has_room,
        list output,
        tuple road,
    ) except -1:
        # True for a REGISTER or NOTIFY that was queued.
        cdef SipMessage message
        cdef Registering work = None
        cdef Proof proof
        if not is_message(octets):
            if flow.kind == UDP and is_stun(octets):
                road[5](octets, flow)
                return False
            octets = octets.lstrip(b"\r\n")     # RFC 3261 7.5
            if not is_message(octets):
                return False                    # keep-alives and noise (TRN-15)
            if not is_response(octets):
                fingerprint = self.transactions.digest(octets, flow)
        if fingerprint and flow.kind == UDP:
            known = self.transactions.known(fingerprint, now_ms)
            if known is not None:
                road[2](octets, flow, fingerprint, known, now)
                return False
        try:
            if flow.kind == UDP and PyBytes_GET_SIZE(octets) > self.max_message:
                raise SipParseError("datagram beyond max_message", offset=0, status=513)
            message = message_of(octets, flow.kind == TCP or flow.kind == TLS)
        except SipParseError as error:
            road[3](octets, flow, fingerprint, error, now)
            return False
        if not message.is_request:
            road[1](message, flow, now)
            return False
        if has_room and message.method_id == METHOD_NOTIFY:
            if self.hear(message, flow, fingerprint, now_ms, now_us, works):
                self.heard._values[flow.kind] += 1
                return True
        elif has_room:
            work = self.plain(message, flow, fingerprint, now_ms, now_us, works)
            if self.unproven is not None:
                proof, self.unproven = self.unproven, None
                self.taken._values[flow.kind] += 1
                if proof.verdict == IMPROPER_:
                    road[6](message, flow, fingerprint, proof, now)
                else:
                    self.challenge(message, flow, fingerprint, proof, now_ms, output)
                    if proof.attempted and proof.verdict == CHALLENGED_:
                        road[7](message, flow, now)
                return False
        if work is None:
            road[0](message, flow, fingerprint, now)
            return False
        works.begin(work)
        self.taken._values[flow.kind] += 1
        return True

    cdef int challenge(
        self, SipMessage request, Flow flow, uint64_t fingerprint, Proof proof, int64_t now_ms, list output
    ) except -1:
        # Nothing is kept of it (TX-7).
        cdef bytes octets = self.authenticator.challenge_to(
            request,
            self.transactions.tag_of(fingerprint),
            flow,
            self.rows,
            answer_room_(request),
            now_ms,
            proof.verdict == OLD_NONCE_,
        )
        if octets is not None:
            output.append((octets, response_flow_(request, flow)))
            self.responses._values[UNAUTHORIZED] += 1
        return 0

    cdef Registering plain(
        self, SipMessage request, Flow flow, uint64_t fingerprint, int64_t now_ms, int now_us, WorkQueues works
    ):
        # The work of a REGISTER that nothing is said against and whose AoR has no queue, else None.
        cdef Registering work
        cdef str aor
        cdef Proof proof
        cdef str info = None
        if (
            request.method_id != METHOD_REGISTER
            or request.body_span.length
            or self.screen.verdict(request) != GO_ON_
        ):
            return None
        aor = request.canonical_to()
        if not works.is_idle(aor):
            return None
        if self.authenticator is not None:
            proof = self.authenticator.examine(request, now_ms, False)
            if proof.verdict == PROVEN_ and (
                not self.authenticator.owns(proof, aor) or not self.authenticator.spend(proof, now_ms)
            ):
                return None
            if proof.verdict != PROVEN_:
                if proof.verdict != ASK_:
                    self.unproven = proof
                return None
            info = self.authenticator.info_of(proof, b"", now_ms)
        if flow.kind == UDP:
            self.transactions.keep_answer(fingerprint, PENDING, now_ms)
        work = Registering.__new__(Registering)
        receive(work, request, aor, flow, fingerprint, now_ms, now_us)
        work.info = info
        return work

    cdef bint hear(
        self, SipMessage request, Flow flow, uint64_t fingerprint, int64_t now_ms, int now_us, WorkQueues works
    ) except -1:
        # Whether a NOTIFY was heard and queued: one that nothing is said against, like the last one if there is one.
        # If not, nothing has changed, but for a dialog that may have been entered.
        cdef Subscribed subscription = self.subscriptions.get(request.call_id)
        cdef Hearing work
        cdef Reginfo document
        cdef int64_t seconds
        if subscription is None or self.screen.verdict(request) != GO_ON_:
            return False
        if subscription.remote_tag is None and flow.kind == UDP and request.body_span.length:
            self.enter(subscription, request, flow)
        seconds = subscription.told_seconds(request, flow)
        if seconds < 0:
            return False
        document = subscription.hear(request, seconds, now_ms, self.max_body)
        if document is None:
            return False
        self.transactions.keep_answer(fingerprint, PENDING, now_ms)
        work = Hearing.__new__(Hearing)
        receive(work, request, subscription.aor, flow, fingerprint, now_ms, now_us)
        work.subscription = subscription
        work.document = document
        work.until_ms = subscription.expires_at
        if works.is_idle(work.aor):
            works.begin(work)
        else:
            works.put(work)
        if subscription.first_due() < subscription.timer_at:
            self.arm(subscription)
        return True

    cdef int confirm(self, Hearing work, int64_t now_ms, list output) except -1:
        cdef str tag = self.transactions.tag_of(work.fingerprint)
        cdef bytes octets = response_to(
            work.request, 200, None, tag, work.flow, self.identity, None, now_ms, b"", b"", None, None
        )
        output.append((octets, response_flow_(work.request, work.flow)))
        self.transactions.keep_answer(work.fingerprint, octets, now_ms)
        return 0
