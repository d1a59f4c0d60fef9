"""The common road of a batch beside the general one: which of them a message takes shows in nothing but the cost."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo._fast.nonces import Nonces
from reginfo.config import AuthSection, PeerSection, PuaReginfoSection
from reginfo.engine import MAX_PENDING, Work
from reginfo.fast import (
    Authenticator,
    Flow,
    Intake,
    Proof,
    Screen,
    SipMessage,
    SipParseError,
    Transactions,
    WorkQueues,
    answer_room,
    parse_message,
    write_request,
    write_response,
)
from reginfo.model import Now
from reginfo.roles.subscriber.subscription import State
from reginfo.sip.traffic import status_counters
from tests.engine.test_order import STREAM
from tests.harness import LOCAL, PHONE, House, contact, finish, request
from tests.strategies import mutated

Batch = list[tuple[bytes, Flow]]


class GeneralRoad:
    """An intake that hands everything on, messages and works."""

    def __init__(self, house: House) -> None:
        self._transactions = house.transactions
        self._max_message = house.config.limits.max_message

    def take(
        self,
        batch: Batch,
        now: Now,
        works: object,
        limit: int,
        output: object,
        road: tuple[Callable[..., None], ...],
    ) -> int:
        for octets, flow in batch:
            if octets[:1] in (b"\0", b"\1") and not flow.reliable:
                road[5](octets, flow)
            else:
                self._take(octets.lstrip(b"\r\n") if octets[:1] < b"!" else octets, flow, now, *road[:5])
        return 0

    def _take(
        self,
        octets: bytes,
        flow: Flow,
        now: Now,
        request: Callable[..., None],
        response: Callable[..., None],
        repeat: Callable[..., None],
        refuse: Callable[..., None],
        fail: Callable[..., None],
    ) -> None:
        if octets[:1] < b"!":
            return
        fingerprint = self._transactions.fingerprint(octets, flow)
        known = None if flow.reliable else self._transactions.find(fingerprint, now.ms)
        if known is not None:
            repeat(octets, flow, fingerprint, known, now)
            return
        try:
            if not flow.reliable and len(octets) > self._max_message:
                raise SipParseError("datagram beyond max_message", offset=0, status=513)
            message = parse_message(octets, stream=flow.reliable)
        except SipParseError as error:
            refuse(octets, flow, fingerprint, error, now)
            return
        if message.is_request:
            request(message, flow, fingerprint, now)
        else:
            response(message, flow, now)

    def answer(
        self,
        works: list[Work],
        now_ms: int,
        oldest_ms: int,
        date: bytes,
        granted: object,
        mint: object,
        output: Batch,
        other: Callable[[Work], None],
    ) -> int:
        for work in works:
            other(work)
        return 0


REQUESTS = [
    request("REGISTER", contact(), user=user, call_id=call_id, cseq=cseq, branch=f"z9hG4bK{user}{call_id}{cseq}")
    for user in ("alice", "bob")
    for call_id in ("one", "two")
    for cseq in (1, 2)
] + [
    request(branch="z9hG4bKfetch"),
    *(
        request("REGISTER", contact(), user="carol", cseq=cseq, via=via, branch=f"z9hG4bKcarol{cseq}")
        for cseq, via in enumerate(("192.0.2.10:5062", "192.0.2.10;maddr=192.0.2.20", "h:5070;rport;maddr=192.0.2.20"))
    ),
    request("REGISTER", "Contact: *", "Expires: 0", cseq=9, branch="z9hG4bKstar"),
    request("REGISTER", contact(expires=5), branch="z9hG4bKbrief"),
    request("REGISTER", contact(), "Require: foo", branch="z9hG4bKrequire"),
    request("REGISTER", contact(), "Content-Type: text/plain", body=b"hello", branch="z9hG4bKbody"),
    request("REGISTER", contact(), uri="sip:elsewhere.example", branch="z9hG4bKelsewhere"),
    request("REGISTER", contact(), uri="tel:+1555", branch="z9hG4bKtel"),
    request("OPTIONS", branch="z9hG4bKoptions"),
    request("CANCEL", branch="z9hG4bKaliceone1"),
    request("ACK", branch="z9hG4bKack"),
    request("FLY", branch="z9hG4bKfly"),
    b"SIP/2.0 200 OK\r\n\r\n",
    b"",
    b"\r\n\r\n",
]
arrivals = st.tuples(
    st.sampled_from(REQUESTS) | st.sampled_from(REQUESTS) | mutated(st.sampled_from(REQUESTS)),
    st.sampled_from([PHONE, PHONE, STREAM]),
)


def everything(house: House) -> tuple[object, ...]:
    """Return what a batch left behind: output, counters, records."""
    return house.engine.take_output(), house.engine.statistics(), finish(house.store.page(0, 100))


@given(st.lists(st.lists(arrivals, max_size=12), max_size=4), st.booleans())
def test_both_roads_lead_to_the_same_answers_counters_and_state(batches: list[Batch], asks: bool) -> None:
    """UAS order: the compiled road decides nothing by itself (REG-2, TX-3, TX-5), nor whom to challenge (AUT-1)."""
    common, general = (House(max_contacts=2, auth=AuthSection(enabled=asks)) for _ in range(2))
    general.engine._intake = GeneralRoad(general)  # type: ignore[assignment]
    for batch in batches:
        for house in (common, general):
            house.engine.receive(batch, house.now())
            house.settle()
            house.now_ms += 11_000
        assert everything(common) == everything(general)
    assert common.engine.pending == general.engine.pending == 0


class Road:
    """Where an intake hands on to, noting what comes."""

    def __init__(self) -> None:
        self.works = WorkQueues()
        self.seen: list[tuple[str, object, int]] = []
        "What came, its octets or error, and how many had been taken by then."
        self.fails = False
        self.output: Batch = []
        "Challenges."

    def _note(self, what: str, it: object) -> None:
        self.seen.append((what, it, len(self.works)))

    def request(self, request: SipMessage, flow: Flow, fingerprint: int, now: Now) -> None:
        self._note("request", request.octets)
        if self.fails:
            raise RuntimeError("fault")

    def response(self, response: SipMessage, flow: Flow, now: Now) -> None:
        self._note("response", response.octets)

    def repeat(self, octets: bytes, flow: Flow, fingerprint: int, known: object, now: Now) -> None:
        self._note("repeat", octets)

    def refuse(self, octets: bytes, flow: Flow, fingerprint: int, error: SipParseError, now: Now) -> None:
        self._note("refuse", error.status)

    def failed(self, error: Exception, flow: Flow) -> None:
        self._note("failed", str(error))

    def keep_alive(self, octets: bytes, flow: Flow) -> None:
        self._note("keep-alive", octets)

    def improper(self, request: SipMessage, flow: Flow, fingerprint: int, proof: Proof, now: Now) -> None:
        self._note("improper", request.octets)

    def wrong(self, request: SipMessage, flow: Flow, now: Now) -> None:
        self._note("wrong", request.octets)

    def take(self, intake: Intake, batch: list[bytes], limit: int) -> int:
        road = (
            self.request,
            self.response,
            self.repeat,
            self.refuse,
            self.failed,
            self.keep_alive,
            self.improper,
            self.wrong,
        )
        now, items = Now(0, 0.0), [(octets, PHONE) for octets in batch]
        return intake.take(items, now, self.works, limit, self.output, road)


def an_intake(max_message: int = 65_535) -> Intake:
    screen = Screen(["REGISTER"], ["example.com"], [], 1024)
    return Intake(Transactions(bytes(16)), status_counters(), screen, max_message)


def test_what_is_plain_is_taken_and_what_is_not_is_handed_on_in_its_place() -> None:
    """UAS order: a retransmission is known before it is parsed (TX-3)."""
    intake, road = an_intake(), Road()
    plain, again, merged, options = REQUESTS[0], REQUESTS[4], REQUESTS[1], request("OPTIONS")
    assert road.take(intake, [options, plain, plain, merged, again], MAX_PENDING) == 2
    assert road.seen == [("request", options, 0), ("repeat", plain, 1), ("request", merged, 1)]
    assert [work.aor for work in road.works] == ["sip:alice@example.com", "sip:bob@example.com"]


def test_nothing_is_taken_beyond_the_limit() -> None:
    """SEC-3: the general road has the answer, 503."""
    road = Road()
    assert road.take(an_intake(), [REQUESTS[0], REQUESTS[4]], 1) == 1
    assert (len(road.works), road.seen) == (1, [("request", REQUESTS[4], 1)])


def test_every_message_has_its_place_on_the_road_and_none_takes_the_others_down() -> None:
    """TRN-2, TRN-15: size of a datagram; keep-alives."""
    road = Road()
    road.fails = True
    options = request("OPTIONS")
    answer = options.replace(b"OPTIONS sip:example.com SIP/2.0", b"SIP/2.0 200 OK")
    batch = [b"", b"\r\n\r\n", b"\0", b"\r\n" + options, answer, b"nonsense", bytes(b"x" * (len(options) + 1))]
    assert road.take(an_intake(len(options)), batch, MAX_PENDING) == 0
    assert [(what, it) for what, it, _ in road.seen] == [
        ("keep-alive", b"\0"),
        ("request", options),
        ("failed", "fault"),
        ("response", answer),
        ("refuse", None),
        ("refuse", 513),
    ]


def test_what_lacks_nothing_but_credentials_is_challenged() -> None:
    """AUT-1, SEC-3: what has anything else said against it, or a user to be looked up, is looked at by others."""
    authenticator = Authenticator(bytes(32), "example.com", ["MD5"], ["example.com"], [], lifetime_s=300)
    screen = Screen(["REGISTER"], ["example.com"], [], 1024)
    transactions, counters, road = Transactions(bytes(16)), status_counters(), Road()
    intake = Intake(transactions, counters, screen, 65_535, authenticator)
    intake.follow(screen, 65_535, authenticator, (("Server", "s"),))
    bare = request("REGISTER", contact())
    basic = request("REGISTER", contact(), "Authorization: Basic YWxpY2U6czNjcmV0")
    improper = request("REGISTER", contact(), 'Authorization: Digest realm="example.com"')
    foreign = request("REGISTER", contact(), uri="sip:elsewhere.example")
    nonce = Nonces(bytes(32), "example.com", 300).issue(0)
    unknown = request(
        "REGISTER",
        contact(),
        f'Authorization: Digest username="alice",realm="example.com",nonce="{nonce}",uri="sip:example.com",'
        f'response="{"0" * 32}",qop=auth,nc=00000001,cnonce="c"',
    )
    stranger = unknown.replace(nonce.encode(), b"x" * 32)
    batch = [improper, bare, foreign, basic, unknown, stranger]
    assert road.take(intake, batch, MAX_PENDING) == 0
    assert [what for what, _, _ in road.seen] == ["improper", "request", "request", "wrong"]
    answers = [parse_message(octets) for octets, flow in road.output if flow == PHONE]
    assert [(one.status, one.header("Server"), len(one.www_authenticate)) for one in answers] == [(401, "s", 1)] * 3
    assert all(len(one.octets) <= 640 for one in answers)
    long = bare.replace(b"\r\nContact", b"\r\nSubject: " + b"x" * 600 + b"\r\nContact")
    assert [answer_room(parse_message(one)) for one in (bare, long)] == [640, len(long) * 3 // 2]
    assert (intake.taken.totals()["udp"], counters.totals()["401"], len(transactions)) == (4, 3, 0)
    assert road.take(intake, [bare], 0) == 0
    assert road.seen[-1] == ("request", bare, 0)


def test_a_road_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a road has 8 parts"):
        an_intake().take([], Now(0, 0.0), WorkQueues(), 1, [], ())  # type: ignore[arg-type]


# ---- NOTIFYs within a subscription

EAST = Flow("udp", LOCAL, ("192.0.2.80", 5080))
AORS = ["sip:alice@example.com"] * 8 + ["SIP:alice@EXAMPLE.com", "sip:bob@example.com", "sip:bob@elsewhere.example"]


class Follower(House):
    """A server that follows alice at another one."""

    def __init__(self, mode: Literal["follow", "mirror"] = "follow", *, granted: bool = True) -> None:
        east = PeerSection(name="east", uri="sip:192.0.2.80:5080", mode=mode)
        super().__init__(peers=(east,), pua_reginfo=PuaReginfoSection(subscribe=("sip:alice@example.com",)))
        [self.subscribe] = [parse_message(octets) for octets, _ in self.pump()]
        if granted:
            self.grant()

    def grant(self) -> None:
        """Answer the last SUBSCRIBE."""
        answer = write_response(self.subscribe, 200, to_tag="n", headers=[("Expires", "600")])
        self.engine.receive([(answer, EAST)], self.now())
        self.settle()

    def see(self, sent: Batch, *, granted: bool) -> None:
        """Go on with the SUBSCRIBE that was sent last, if there is one."""
        requests = [message for message in (parse_message(octets) for octets, _ in sent) if message.is_request]
        if requests:
            self.subscribe = requests[-1]
            if granted:
                self.grant()

    @property
    def followed(self) -> tuple[object, ...]:
        """Everything that a NOTIFY may move."""
        return tuple(
            (
                *(one.state, one.expires_at, one.refresh_at, one.retry_at, one.timer_n, one.timer_at, one.ended_at),
                *(one.remote_cseq, one.refetched, one.dialog, one.view.version, one.view.registrations),
            )
            for one in self.roles.subscriber
        )


@dataclass(frozen=True)
class Said:
    """A NOTIFY; parts that are empty are as they were before."""

    contacts: tuple[str, ...] = ()
    version: int = 1
    "Above the last one."
    full: bool = True
    aors: tuple[str, ...] = ("sip:alice@example.com",)
    registration: str = "active"
    cseq: int = 1
    "Above the last one."
    state: str = "active;expires=600"
    headers: tuple[tuple[str, str], ...] = ()
    from_tag: str = "n"
    to_tag: str = ""
    flow: Flow = EAST
    damage: bool = False

    def octets(self, subscribe: SipMessage, cseq: int, version: int) -> bytes:
        rows = {
            "Via": f"SIP/2.0/UDP 192.0.2.80:5080;branch=z9hG4bKn{cseq}{self.flow.host}",
            "Max-Forwards": "70",
            "From": f"<{subscribe.to.uri}>;tag={self.from_tag}",
            "To": f"<{subscribe.from_.uri}>;tag={self.to_tag or subscribe.from_.tag}",
            "Call-ID": subscribe.call_id,
            "CSeq": f"{cseq} NOTIFY",
            "Contact": "<sip:192.0.2.80:5080>",
            "Event": "reg",
            "Subscription-State": self.state,
            "Content-Type": "application/reginfo+xml",
        }
        rows.update(self.headers)
        told = "".join(
            f'<registration aor="{aor}" id="{number}" state="{self.registration}">'
            + "".join(f"<contact {one}><uri>sip:{one[4]}@192.0.2.9</uri></contact>" for one in self.contacts)
            + "</registration>"
            for number, aor in enumerate(self.aors)
        )
        document = (
            f'<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="{version}" '
            f'state="{"full" if self.full else "partial"}">{told}</reginfo>{"<" if self.damage else ""}'
        )
        return write_request("NOTIFY", subscribe.contacts[0].uri, [*rows.items()], document.encode())


contacts = st.sampled_from(
    [
        'id="1" state="active" event="registered" expires="300" callid="a" cseq="1" q="0.5"',
        'id="1" state="active" event="refreshed" expires="400" callid="a" cseq="2"',
        'id="2" state="active" event="registered"',
        'id="1" state="terminated" event="expired"',
    ]
)
likely = st.builds(Said, st.lists(contacts, max_size=2, unique=True).map(tuple), st.just(1))
said = likely | st.builds(
    Said,
    contacts=st.lists(contacts, max_size=2, unique=True).map(tuple),
    version=st.sampled_from([1, 1, 1, 0, 2, -1]),
    full=st.booleans(),
    aors=st.lists(st.sampled_from(AORS), max_size=2).map(tuple),
    registration=st.sampled_from(["active", "active", "terminated", "init"]),
    cseq=st.sampled_from([1, 1, 1, 0, -1, 5]),
    state=st.sampled_from(
        [
            *("active;expires=600", "Active ; Expires=40", "active", "active;expires=", "active;expires=9;x=1"),
            *("active;expires=99999999999", "active;retry-after=3", "pending;expires=5", "terminated;reason=timeout"),
            "",
        ]
    ),
    headers=st.lists(
        st.sampled_from(
            [
                *(("Event", text) for text in ("reg;id=1", "REG", "presence", "reg;x=y", 'reg;id="')),
                *(("Record-Route", text) for text in ("<sip:192.0.2.81;lr>", "<sip:192.0.2.81>", "<tel:+1>", "<")),
                *(("Content-Type", text) for text in ("application/REGINFO+xml", "text/plain")),
                *(("Contact", text) for text in ("<sip:192.0.2.80:5081>", "<sip:a>, <sip:b>", "<tel:+1>")),
                *(("Content-Encoding", text) for text in ("identity", "gzip")),
                *(("Require", text) for text in ("foo",)),
            ]
        ),
        max_size=1,
    ).map(tuple),
    from_tag=st.sampled_from(["n", "n", "n", "m"]),
    to_tag=st.sampled_from(["", "", "", "m"]),
    flow=st.sampled_from([EAST, EAST, Flow("udp", LOCAL, ("192.0.2.80", 999)), PHONE, STREAM]),
    damage=st.sampled_from([False, False, True]),
)


turns = st.tuples(
    st.lists(said, min_size=1, max_size=3), st.booleans(), st.sampled_from(["", "", "", "follow", "unfollow"])
)


@given(st.sampled_from(["follow", "mirror"]), st.booleans(), st.lists(turns, max_size=6))
def test_both_roads_hear_the_same(
    mode: Literal["follow", "mirror"], granted: bool, batches: list[tuple[list[Said], bool, str]]
) -> None:
    """SUB-14, SUB-17, RIC-2, RIC-5: the compiled road hears nothing that the general one would not, and nothing else in
    it, also in one dialog after the other."""
    common, general = Follower(mode, granted=granted), Follower(mode, granted=granted)
    general.engine._intake = GeneralRoad(general)  # type: ignore[assignment]
    bound = request("REGISTER", contact("sip:1@192.0.2.9"), branch="z9hG4bKlocal")
    for house in (common, general):
        house.send(bound)
    cseq, version = 1, 0
    for batch, is_granted, then in batches:
        notifies = []
        for one in batch:
            notifies.append((one.octets(common.subscribe, cseq + one.cseq, version + one.version), one.flow))
            cseq, version = max(cseq, cseq + one.cseq), max(version, version + one.version)
        for house in (common, general):
            house.engine.receive(notifies, house.now())
            house.settle()
            house.now_ms += 9_000
        assert everything(common) == everything(general)
        for house in (common, general):
            if then == "follow":
                house.roles.subscriber.follow("sip:alice@example.com", 600, house.now())
            elif then == "unfollow":
                house.roles.subscriber.unfollow("sip:alice@example.com", house.now())
        sent = common.pump()
        assert sent == general.pump()
        assert common.followed == general.followed
        for house in (common, general):
            house.see(sent, granted=is_granted)
    assert common.engine.pending == general.engine.pending == 0


def test_a_notify_like_the_last_one_is_heard_on_the_common_road() -> None:
    """SUB-14, SUB-17: so is the first one of a dialog, once that is entered; not one that says more than a document
    about the AoR, nor a first one from where the peer is not: that enters no dialog."""
    house = Follower()
    [subscription] = house.roles.subscriber
    heard = house.engine._intake.heard
    for number, one in enumerate(
        [
            Said(flow=PHONE),
            Said(),  # the first one
            Said(),
            Said(full=False),
            Said(state="active"),
            Said(aors=("sip:bob@example.com",)),
            Said(),  # ends what the one before had said of somebody else
            Said(),
        ]
    ):
        octets = one.octets(house.subscribe, number + 1, number)
        before = heard.totals()["udp"]
        house.engine.receive([(octets, one.flow)], house.now())
        house.settle()
        assert heard.totals()["udp"] - before == (number in (1, 2, 3, 7)), number
        assert (subscription.dialog is None) == (subscription.state is State.PENDING) == (number == 0)
    assert house.engine.statistics()["requests"]["NOTIFY"] == 8


def test_what_is_heard_is_learned() -> None:
    """RIC-5"""
    house = Follower()
    one = 'id="1" state="active" event="registered" expires="300"'
    for number, contacts_told in enumerate(((), (one,), ())):
        octets = Said(contacts_told).octets(house.subscribe, number + 1, number)
        house.engine.receive([(octets, EAST)], house.now())
        house.settle()
        assert house.contacts() == ["sip:1@192.0.2.9"] * len(contacts_told)
    assert house.engine._intake.heard.totals()["udp"] == 3


def test_what_a_notify_ends_is_bound_to_no_flow_any_more() -> None:
    """OUT-5: a binding whose time was over goes with the change that a NOTIFY makes; its flow is not watched for it."""
    common, general = Follower(), Follower()
    general.engine._intake = GeneralRoad(general)  # type: ignore[assignment]
    phone = Flow("udp", LOCAL, ("192.0.2.9", 4444))
    instance = ';reg-id=1;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"'
    bound = contact("sip:1@192.0.2.9", 60, instance)
    outbound = request("REGISTER", bound, "Supported: path, outbound", via="192.0.2.9:4444;rport")
    for house in (common, general):
        assert house.ask(outbound, phone).status == 200
        assert house.engine.flows._bound
        for number in (0, 1):
            octets = Said(('id="1" state="active" event="registered" expires="300"',)).octets(
                house.subscribe, number + 1, number
            )
            house.engine.receive([(octets, EAST)], house.now())
            house.settle()
            house.now_ms += 70_000
        assert not house.engine.flows._bound
    assert everything(common) == everything(general)


def test_only_the_last_notify_is_taken_while_draining() -> None:
    """SUB-17: what goes on would keep the server from leaving."""
    house = Follower()
    statuses = []
    for number, state in enumerate(("active;expires=600", "active;expires=600", "terminated;reason=timeout")):
        octets = Said(state=state).octets(house.subscribe, number + 1, number)
        house.engine.receive([(octets, EAST)], house.now())
        house.settle()
        statuses += [parse_message(octets).status for octets, _ in house.engine.take_output()]
        house.engine.drain(10)
    assert statuses == [200, 503, 200]


@pytest.mark.parametrize("seconds", [0, 40])
def test_what_is_heard_and_not_stored_is_asked_for_again(seconds: int) -> None:
    """RIC-8, STO-4: 503, and the whole state is fetched, however long that took."""
    house = Follower()
    for number in (0, 1):
        house.engine.receive([(Said().octets(house.subscribe, number + 1, number), EAST)], house.now())
        if number:
            turn = house.engine.take_turn()
            house.now_ms += 1000 * seconds
            house.engine.fail(turn.works, {}, 5, house.now())
            house.engine.settle(turn, house.now())
        house.settle()
    sent = [parse_message(octets) for octets, _ in house.pump()]
    assert [one.status for one in sent if not one.is_request][-1] == 503
    assert [one.method for one in sent if one.is_request] == ["SUBSCRIBE"]
    [subscription] = house.roles.subscriber
    assert subscription.view.registrations == ()
