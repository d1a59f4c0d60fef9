"""The engine: composes transactions, admission and the roles; owns no socket, clock or store.

    receive ─┐                                   ┌─> output
    expire  ─┼─> works ─> take_turn ─> decide ─> settle
    command ─┘              (load)     (commit)      │
                                                     v
    tick, lost, located ─────> roles <─ read <─ the feed
                                 └─> client ─> work ─> output

Inside a turn the works of one AoR chain on a working copy, so that a turn is one commit.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from reginfo.config import Config, Listener
from reginfo.engine.answers import Answers
from reginfo.engine.authentication import Authentication
from reginfo.engine.counts import INTERNAL, MALFORMED, RETRANSMISSION, STRAY, Counts
from reginfo.engine.decisions import Decisions
from reginfo.engine.instances import Instances
from reginfo.engine.methods import Methods
from reginfo.engine.relaying import Relaying
from reginfo.engine.roles import Roles
from reginfo.engine.works import MAX_PENDING, Work, Works
from reginfo.fast import (
    FOREIGN_DOMAIN,
    GO_ON,
    LISTING,
    NO_ANSWER,
    UNKNOWN_EXTENSION,
    Change,
    Draft,
    Flow,
    GruuIndexes,
    Hearing,
    Intake,
    Registering,
    SipMessage,
    SipParseError,
    Transactions,
    Turn,
    parse_message,
    salvage,
)
from reginfo.model import ACCEPTED, Command, Now, Outcome, StateItem
from reginfo.roles.notify_handler import NOT_APPLIED
from reginfo.roles.registrar import ImsRegistrar, Registrar, granted_headers
from reginfo.sip import stun
from reginfo.sip.admission import Admission
from reginfo.sip.client import WORK, Client
from reginfo.sip.digest import Query
from reginfo.sip.flows import FlowEnd, Flows
from reginfo.sip.gruu import Gruus
from reginfo.sip.ims import ImplicitSets
from reginfo.sip.incoming import LATE_MS, OVERLOAD_RETRY_AFTER, Arrival, Incoming, unavailable
from reginfo.sip.locating import Target
from reginfo.sip.routing import Hop, own_host
from reginfo.sip.timers import Timers

logger = logging.getLogger(__name__)

TRYING_AFTER_MS: Final = 3_500  # no final answer by then is owed a 100 (RFC 4320 section 4.1)

_FAILED: Final = Outcome(500)
_HEARD: Final = Outcome(200)


KEEP: Final = Outcome(0)
"What a hook returns that sees to a request itself."

Hook = Callable[[SipMessage, Flow], Outcome | None]


class Engine:
    """Everything one server decides, under one configuration."""

    def __init__(
        self, config: Config, transactions: Transactions, secret: bytes = b"", gruus: Gruus | None = None
    ) -> None:
        """transactions has the secret of tags and branches; nonces are made with another one, 32 octets."""
        self._transactions = transactions
        self._gruus = gruus
        self._indexes = GruuIndexes()
        self._timers = Timers()
        self.flows = Flows()
        "What is bound to connections: it hears of those of an earlier process, and says how long each may be silent."
        self._client = Client(transactions.token, self._timers)
        self.authorizations = self._client.authorizations
        self.roles = Roles(config, transactions, self._client, self._timers, transactions.token, self.command)
        admission = Admission(config)
        self._answers = Answers(transactions, self.flows.grant)
        self._intake = Intake(transactions, self._answers.counters, admission.screen, admission.max_message)
        self._works = Works()
        self.counts = Counts(self._intake, self._answers, self._client)
        self._decisions = Decisions(Registrar(config), partial(self.counts.error, INTERNAL))
        self._relaying: Relaying | None = None
        self._methods = Methods(self.roles, self._works, self._answers, transactions)
        self._authentication = Authentication(
            secret, self._answers, transactions, self._is_trusted, self._methods.perform
        )
        self._road = (
            self._take_request,
            self._take_response,
            self._repeat,
            self._refuse_malformed,
            self._fail,
            self._keep_alive,
            self._authentication.refuse,
            self._authentication.tell_wrong,
        )
        self.user_found = self._authentication.found
        self.user_unavailable = self._authentication.failed
        self.forget_users = self._authentication.forget_users
        self._take_rules(config, admission)
        self._drain_retry_after = 0
        self.hook: Hook | None = None
        "Asked about every well-formed request before anything else is; an Outcome but KEEP is its answer."
        self._muted = False

    def follow(self, config: Config, now: Now) -> None:
        """Decide by another configuration from now on, also what waits already."""
        self._take_rules(config, Admission(config))
        self.roles.follow(config, now)

    def _take_rules(self, config: Config, admission: Admission) -> None:
        self._admission = admission
        self._authentication.follow(config)
        self._answers.follow(config.server_header, granted_headers(config))
        authenticator = self._authentication.authenticator
        self._intake.follow(admission.screen, admission.max_message, authenticator, self._answers.identity)
        subscriber = self.roles.subscriber
        self._intake.listen(subscriber.dialogs, admission.max_body, subscriber.arm, subscriber.enter_dialog)
        gruus = self._gruus if config.registrar.gruu else None
        self._ims = ImplicitSets(config.ims) if config.ims.enabled else None
        self._methods.ims = self.roles.notifier.ims = self._ims
        self._methods.instances = Instances(gruus, admission.options_answer, self.home)
        self._answers.mint = self.roles.notifier.mint = None if gruus is None else gruus.mint
        indexes = None if gruus is None else self._indexes
        self._decisions.registrar = (
            Registrar(config, indexes) if self._ims is None else ImsRegistrar(config, indexes, self._ims)
        )
        self._relaying = None
        if config.registrar.mode == "relay":
            self._relaying = Relaying(
                config, self._client, self._timers, self._answers, self._transactions, self.roles.subscriber
            )
        self._has_common_road = self._relaying is None and self._ims is None
        self._answers.keeps_all = self._authentication.authenticator is None
        self._methods.admission, self._methods.relaying = admission, self._relaying

    def home(self, aor: str) -> str:
        """Return the AoR that has the contacts of a canonical one: another one only in an implicit registration set."""
        return aor if self._ims is None else self._ims.home(aor)

    def _is_trusted(self, request: SipMessage, flow: Flow) -> bool:
        if request.method == "REGISTER":
            return self._relaying is not None  # the registrar behind us asks
        return self.roles.is_trusted(request, flow)

    def bind(self, listeners: Sequence[Listener], now: Now) -> None:
        """Take the addresses that requests of this server leave from, with the ports the system chose."""
        self._client.bind(listeners)
        self.roles.bind(listeners, now)

    # -- in ---------------------------------------------------------------------------------------------

    def receive(self, batch: list[tuple[bytes, Flow]], now: Now) -> None:
        """Take a batch of datagrams or framed messages in arrival order."""
        is_plain = self._has_common_road and not self._drain_retry_after and self.hook is None
        limit = MAX_PENDING if is_plain else 0  # of what passes without being looked at by anybody else
        self._intake.take(batch, now, self._works, limit, self._answers.output, self._road)

    def _take_request(self, request: SipMessage, flow: Flow, fingerprint: int, now: Now) -> None:
        try:
            outcome = self._ask_hook(request, flow)
            if outcome is None:
                self._admit(request, flow, fingerprint, now)  # reads headers that not every request needs
            elif outcome is not KEEP:
                self._answers.respond(request, flow, fingerprint, outcome, now)
        except SipParseError as error:
            self._refuse_malformed(request.octets, flow, fingerprint, error, now)

    def _take_response(self, response: SipMessage, flow: Flow, now: Now) -> None:
        try:
            if not self._client.receive(response, now):
                self.counts.error(STRAY)  # no client transaction waits for it (TRN-6)
        except SipParseError:
            self.counts.error(MALFORMED)

    def _fail(self, error: Exception, flow: Flow) -> None:
        self.counts.error(INTERNAL)
        logger.error("message failed flow=%s", flow.text, exc_info=error)

    def _keep_alive(self, octets: bytes, flow: Flow) -> None:
        self._answers.keep_alive(stun.answer(octets, *flow.remote), flow)

    def _ask_hook(self, request: SipMessage, flow: Flow) -> Outcome | None:
        self._muted = False
        if self.hook is None:
            return None
        try:
            return self.hook(request, flow)
        except Exception:  # not ours, but the request it was asked about is owed an answer
            self.counts.error(INTERNAL)
            logger.exception("request hook failed flow=%s", flow.text)
            return _FAILED

    def mute(self) -> None:
        """Let nothing be published of what the request that the hook is asked about changes."""
        self._muted = True

    def answer_unframed(self, error: SipParseError, head: bytes, flow: Flow, now: Now) -> bytes | None:
        """Return the last answer on a stream whose framing is lost, if one is owed and possible (TRN-8)."""
        self.counts.error(MALFORMED)
        request = salvage(head)
        if request is None or error.status is None:
            return None
        fingerprint = self._transactions.fingerprint(head, flow)
        return self._answers.write(request, flow, fingerprint, Outcome(error.status, error.reason), now)

    def _refuse_malformed(self, octets: bytes, flow: Flow, fingerprint: int, error: SipParseError, now: Now) -> None:
        """Answer what could not be parsed, as far as an answer is owed and possible."""
        self.counts.error(MALFORMED)
        request = salvage(octets) if error.status is not None else None
        if request is not None and error.status is not None:
            # An unknown method whose CSeq names another one is refused as unknown, with Allow like any other.
            unknown = error.status == 501
            outcome = self._admission.unknown_method if unknown else Outcome(error.status, error.reason)
            self._answers.dismiss(request, flow, fingerprint, outcome, now)

    def expire(self, aors: Iterable[str]) -> None:
        """Queue the expiry of AoRs that have a binding whose time is reached (REG-17).

        Beyond the bound of pending works they are left: the store names them again.
        """
        for aor in aors:
            if self.pending >= MAX_PENDING:
                return
            self.command(Command(aor, Draft.expire, "expiry"))

    def command(self, command: Command) -> None:
        """Queue a command behind what has arrived for its AoR before it."""
        self._works.put(command)

    def drain(self, retry_after: int) -> None:
        """Refuse every new request from now on with 503; works already taken are finished.

        A NOTIFY that ends a subscription is taken: it answers to our leaving.
        """
        self._drain_retry_after = retry_after

    def _admit(self, request: SipMessage, flow: Flow, fingerprint: int, now: Now) -> None:
        """Put a well-formed request to its method, or refuse it (UAS order, steps 4 to 11)."""
        method = request.method
        self.counts.requests.count(method, flow.transport)
        verdict = self._admission.screen.check(request)
        if verdict == FOREIGN_DOMAIN:  # or at an address of a listener that has all of them
            verdict = self._admission.screen.check(request, own_host(flow))
        if verdict == UNKNOWN_EXTENSION and method == "REGISTER" and self._relaying is not None:
            verdict = GO_ON  # what is required is required of the registrar behind us
        if verdict == NO_ANSWER:
            return  # an ACK of an answer that was not ours (TX-8)
        if verdict:
            self._answers.dismiss(request, flow, fingerprint, self._admission.refusal(verdict, request), now)
        elif self._drain_retry_after and not _ends_subscription(request):
            self._answers.dismiss(request, flow, fingerprint, unavailable(self._drain_retry_after), now)
        else:
            self._authentication.take(Arrival(request, flow, fingerprint, now, self._muted), now)

    def handle_notify(self, request: SipMessage, flow: Flow, now: Now, done: Callable[[int], None]) -> None:
        """Apply a NOTIFY and answer it; done hears the predecessor's number for what came of it (KAM)."""
        fingerprint = self._transactions.fingerprint(request.octets, flow)
        try:
            self._methods.handle_notify(Arrival(request, flow, fingerprint, now, self._muted), now, done)
        except SipParseError as error:  # in a header that nobody has read before
            outcome = Outcome(error.status or 400, error.reason)
            self._answers.respond(request, flow, fingerprint, outcome, now)
            done(NOT_APPLIED)

    def _repeat(self, octets: bytes, flow: Flow, fingerprint: int, known: object, now: Now) -> None:
        """Absorb a retransmission: silence while pending, else the same answer (TX-3)."""
        self.counts.error(RETRANSMISSION)
        if isinstance(known, bytes):
            self._answers.repeat(known, octets, flow)
        elif known is LISTING and self.pending < MAX_PENDING:
            request = parse_message(octets)
            work = Registering(request, self.home(request.aor), flow, fingerprint, now.ms, now.us)
            work.repeated = True
            work.info = self._authentication.recall(request, now)
            self._works.put(work)

    # -- turns ------------------------------------------------------------------------------------------

    @property
    def has_works(self) -> bool:
        """Whether a turn could be taken now."""
        return self._works.has_arrived or self.flows.may_end(self.pending)

    @property
    def is_draining(self) -> bool:
        """Whether every new request is refused."""
        return self._drain_retry_after > 0

    @property
    def pending(self) -> int:
        """Works between arrival and answer."""
        return self._works.pending

    @property
    def has_work(self) -> bool:
        """Whether work() could do something now."""
        return self._client.is_busy or self.roles.notifier.is_busy

    @property
    def is_alone(self) -> bool:
        """Whether nobody is told of changes, and nothing is owed to anybody."""
        roles = self.roles
        return not (roles.notifier or self.has_work or roles.unsaved) and roles.publisher.is_idle

    def take_turn(self) -> Turn:
        """Claim the AoRs of all works that can be decided now."""
        for end in self.flows.take(self.pending):
            self.command(end)
        return self._works.take_turn()

    def decide(
        self, works: Sequence[Work], records: dict[str, bytes | None], now: Now
    ) -> tuple[list[Change], list[StateItem]]:
        """Return the changes that works come to, in order, and role state, both to be committed as one."""
        return self._decisions.decide(works, records, now)

    def fail(self, works: Sequence[Work], records: dict[str, bytes | None], retry_after: int, now: Now) -> None:
        """Give up committing works: what would change gets 503, fetches show the committed records."""
        self._decisions.fail(works, records, retry_after, now)

    def settle(self, turn: Turn, now: Now) -> None:
        """Answer the works of a turn that is committed or given up, and release its AoRs."""
        try:
            answered = self._intake.answer(
                turn.works,
                now.ms,
                now.ms - LATE_MS + 1,
                self._answers.date_at(now.wall),
                self._answers.granted,
                self._answers.mint,
                self._answers.output,
                partial(self._conclude, now),
            )
            self._answers.counters.add(100, answered)
        finally:
            self._works.release(turn)
            self.flows.settled(self.pending)

    def _conclude(self, now: Now, work: Work) -> None:
        try:
            if work.change is not None and work.change.touches_flows:
                self.flows.follow(work.change)
            if isinstance(work, FlowEnd) and work.outcome is not ACCEPTED:
                self._timers.at(now.ms + 1000 * OVERLOAD_RETRY_AFTER, self.flows.again, work)
            if isinstance(work, Command):
                if work.done is not None:
                    work.done(work)
                return
            if isinstance(work, Hearing):
                self._conclude_hearing(work, now)
                return
            if now.ms - work.arrived_ms < LATE_MS:
                listing = work.listing if isinstance(work, Registering) else None
                if work.info and work.outcome.status < 300:
                    told = (*work.outcome.headers, ("Authentication-Info", work.info))
                    work.outcome = Outcome(work.outcome.status, work.outcome.reason, told)
                self._answers.respond(work.request, work.flow, work.fingerprint, work.outcome, now, listing)
            if isinstance(work, Incoming):
                work.role.settle(work, now)
        except Exception:  # one answer must not cost those behind it
            self.counts.error(INTERNAL)
            logger.exception("answer failed aor=%s", work.aor)

    def _conclude_hearing(self, work: Hearing, now: Now) -> None:
        outcome = _HEARD
        if work.outcome is not ACCEPTED:  # what it says is not written down
            outcome = unavailable(OVERLOAD_RETRY_AFTER)
            self.roles.subscriber.lost(work.subscription, now)
        self._answers.respond(work.request, work.flow, work.fingerprint, outcome, now)

    # -- time and the network ---------------------------------------------------------------------------

    def tick(self, now: Now) -> None:
        """Do what is due; send 100 for every request that has waited 3.5 s for its final answer (RFC 4320)."""
        self._timers.run(now)
        if not self.pending:
            return
        for work in self._works:
            if (
                not isinstance(work, Command)
                and not work.trying
                and not (isinstance(work, Registering) and work.repeated)
                and now.ms - work.arrived_ms >= TRYING_AFTER_MS
            ):
                work.trying = True
                self._answers.trying(work.request, work.flow)

    def lost(self, flow: Flow, now: Now) -> None:
        """Take news of the network: flow has ended, or its remote address cannot be reached (TRN-10, OUT-6)."""
        self._client.lost(flow, now)
        self.roles.notifier.lost(flow)
        self.flows.lost(flow, self.pending, now.ms)

    def take_lookups(self) -> list[Hop]:
        """Return the hops whose servers are wanted, each to be answered by located()."""
        return self._client.take_lookups()

    def located(self, hop: Hop, targets: Sequence[tuple[Target, str]], now: Now) -> None:
        """Take the servers of a hop in order, each with the local address that reaches it; none if there is none."""
        self._client.located(hop, targets, now)

    def take_user_lookups(self) -> list[Query]:
        """Return the users who are wanted, each to be answered by user_found() or user_unavailable()."""
        return self._authentication.take_lookups()

    # -- out --------------------------------------------------------------------------------------------

    def work(self, now: Now, limit: int = WORK) -> bool:
        """Write what is owed to others, limit requests at most; True if more is to be done."""
        more = self.roles.notifier.work(now, limit)
        return self._client.work(now, limit) or more

    def take_output(self) -> list[tuple[bytes, Flow]]:
        """Return what is to be sent, in order, and forget it: answers before requests."""
        output, self._answers.output = self._answers.output, []
        requests = self._client.take_output()
        return output + requests if requests else output

    def statistics(self) -> dict[str, dict[str, int]]:
        """Return what was counted: requests by method, final responses by status, and what went wrong."""
        return self.counts.statistics()


def _ends_subscription(request: SipMessage) -> bool:
    """Tell whether a request is the last NOTIFY of a subscription (RFC 6665 section 4.1.3)."""
    state = request.subscription_state if request.method == "NOTIFY" else None
    return state is not None and state.state == "terminated"
