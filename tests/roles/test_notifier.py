"""The notifier: SUB-1 to SUB-12 and SUB-20 to SUB-23, REV-*, XML-4, DLG-*, over octets and virtual time."""

from collections.abc import Sequence

import pytest

from reginfo.config import NotifierSection
from reginfo.engine.roles import STATE_PREFIXES
from reginfo.errors import StoreUnavailable
from reginfo.fast import Binding, Change, Flow, SipMessage
from reginfo.model import Command, StateItem
from reginfo.roles.notifier.subscription import TOLD
from tests.harness import PHONE as FLOW
from tests.harness import House, contact, finish, request
from tests.network import Network, Peer, Watcher, cut
from tests.scenes import Phone

SERVER = ("127.0.0.1", 5060)
WATCHER = ("192.0.2.50", 5060)
PHONE = ("192.0.2.10", 5060)
ALICE = "sip:alice@example.com"
A = "sip:alice@192.0.2.10:5060"
B = "sip:alice@192.0.2.11:5060"


class Scene:
    """A server, a phone and a watcher of alice."""

    def __init__(self, **sections: object) -> None:
        self.net = Network()
        self.house = self.net.serve(House(**sections))  # type: ignore[arg-type]
        self.phone = Peer(PHONE)
        self.net.add(self.phone)
        self.watcher = Watcher(WATCHER, SERVER, ALICE)
        self.net.add(self.watcher)
        self._cseq = 0

    def register(self, *rows: str, cseq: int | None = None, also: Sequence[tuple[str, str]] = ()) -> None:
        """Register as alice's phone; `A;expires=0` and the like are Contact values."""
        self._cseq += 1
        headers = [("Contact", f"<{row.partition(';')[0]}>{''.join(row.partition(';')[1:])}") for row in rows]
        self.phone.request(
            SERVER,
            "REGISTER",
            "sip:example.com",
            *headers,
            *also,
            from_=f"<{ALICE}>;tag=p",
            to=f"<{ALICE}>",
            call_id="phone",
            cseq=cseq or self._cseq,
        )
        self.net.run(0.1)

    def subscribe(self, expires: int | None = 600, *headers: tuple[str, str], **options: str) -> SipMessage:
        """Subscribe as the watcher, and return the answer."""
        self.watcher.subscribe(expires, *headers, **options)
        self.net.run(0.1)
        return next(one for one in reversed(self.watcher.received) if not one.is_request)

    def operate(self, apply: object) -> None:
        self.house.engine.command(Command(ALICE, apply, "operator"))  # type: ignore[arg-type]
        self.net.run(0.1)


@pytest.fixture
def scene() -> Scene:
    return Scene()


# ---- SUBSCRIBE and its answers


def test_a_subscription_begins_with_the_full_state(scene: Scene) -> None:
    """SUB-4, SUB-5, SUB-6, SUB-20, XML-4, REV-5"""
    scene.register(A)
    answer = scene.subscribe(600)
    assert (answer.status, answer.expires) == (200, 600)
    assert answer.header("Allow-Events") == "reg"
    assert answer.header("Event") is None  # SUB-1
    [notify] = scene.watcher.notifies
    assert notify.request_uri == "sip:watcher@192.0.2.50:5060"
    assert notify.call_id == answer.call_id
    assert notify.from_.tag == answer.to.tag
    assert notify.from_.uri == ALICE
    assert notify.to.tag == "w1"
    assert notify.header("Event") == "reg"
    assert notify.header("Content-Type") == "application/reginfo+xml"
    assert notify.contacts[0].uri == answer.contacts[0].uri == "sip:127.0.0.1:5060;gr"  # SUB-12
    assert notify.max_forwards == 70
    assert scene.watcher.states == ["active;expires=600"]
    [document] = scene.watcher.documents
    assert (document.version, document.state) == (0, "full")
    assert scene.watcher.contacts() == {A}


def test_an_aor_without_contacts_is_told_as_init(scene: Scene) -> None:
    """REV-4, REV-7"""
    assert scene.subscribe().status == 200
    [document] = scene.watcher.documents
    assert [(one.aor, one.state, one.contacts) for one in document.registrations] == [(ALICE, "init", ())]


def test_a_crowd_is_told_in_pieces(scene: Scene) -> None:
    """What watchers are owed does not hold up phones: as much is written at once as there is time for."""
    for number in range(5):
        watcher = Watcher((f"192.0.2.{60 + number}", 5060), SERVER, ALICE)
        scene.net.add(watcher)
        watcher.subscribe(600)
        scene.net.run(0.1)
    house = scene.house
    scene.net.run(60)
    house.command(Command(ALICE, lambda draft, now_ms: draft.add(Binding(uri=A, expires_at=now_ms + 1000)), "operator"))
    finish(house.telling.read())
    told = []
    more = True
    while more:
        more = house.engine.work(house.now(), 2)
        told.append(len(house.engine.take_output()))
    assert (sum(told), max(told)) == (5, 2)


def test_who_leaves_while_a_change_is_on_its_way_holds_nobody_up(scene: Scene) -> None:
    """SUB-10: the change has been told to all when it was told to those who are left."""
    house = scene.house
    second = Watcher(("192.0.2.61", 5060), SERVER, ALICE)
    scene.net.add(second)
    scene.subscribe()
    second.subscribe(600)
    scene.net.run(60)
    scene.register(A)
    scene.net.run(60)
    house.command(Command(ALICE, lambda draft, now_ms: draft.add(Binding(uri=B, expires_at=now_ms + 1000)), "operator"))
    finish(house.telling.read())
    [leaving, *_] = house.roles.notifier.of_aor(ALICE)
    house.roles.notifier.remove(leaving)
    scene.net.run(60)
    assert house.roles.notifier.settled(10**6) == 10**6
    [watched] = {one.watched for one in house.roles.notifier}
    assert (watched.behind, watched.record) == (None, None)


@pytest.mark.parametrize(
    ("headers", "status", "row"),
    [
        ([("Event", "presence")], 489, ("Allow-Events", "reg")),
        ([("Event", "Reg")], 489, ("Allow-Events", "reg")),
        ([], 489, ("Allow-Events", "reg")),
        ([("Event", "reg"), ("Accept", "application/pidf+xml")], 406, ("Accept", "application/reginfo+xml")),
        ([("Event", "reg"), ("Expires", "59")], 423, ("Min-Expires", "60")),
        ([("Event", "reg"), ("Require", "eventlist")], 420, ("Unsupported", "eventlist")),
    ],
)
def test_a_subscribe_that_cannot_be_granted_is_refused(
    scene: Scene, headers: list[tuple[str, str]], status: int, row: tuple[str, str]
) -> None:
    """SUB-1, SUB-2, SUB-3, REV-2, UAS-2"""
    scene.watcher.request(
        SERVER, "SUBSCRIBE", ALICE, ("Contact", "<sip:w@192.0.2.50>"), *headers, from_=f"<{ALICE}>;tag=x"
    )
    scene.net.run(1)
    [answer] = scene.watcher.received
    assert answer.status == status
    assert answer.header(row[0]) == row[1]
    assert len(scene.house.roles.notifier) == 0


@pytest.mark.parametrize("accept", ["application/reginfo+xml", "application/*", "text/plain, */*;q=0.1", None])
def test_what_covers_the_document_is_accepted(scene: Scene, accept: str | None) -> None:
    """REV-2"""
    assert scene.subscribe(600, *([("Accept", accept)] if accept else [])).status == 200
    assert len(scene.watcher.documents) == 1


@pytest.mark.parametrize(("asked", "granted"), [(None, 3761), (60, 60), (3600, 3600), (700_000, 600_000)])
def test_the_time_granted_is_never_more_than_asked(scene: Scene, asked: int | None, granted: int) -> None:
    """SUB-3"""
    assert scene.subscribe(asked).expires == granted
    assert scene.watcher.states == [f"active;expires={granted}"]


@pytest.mark.parametrize(
    ("who", "status"),
    [
        (ALICE, 200),
        ("sips:alice@example.com", 200),
        ("sip:bob@example.com", 403),
        ("sip:voicemail@apps.example.com", 200),
        ("sip:voicemail@apps.example.com.evil.net", 403),
        ("tel:+1555", 403),
    ],
)
def test_the_owner_and_those_allowed_may_watch(who: str, status: int) -> None:
    """REV-3, SEC-7"""
    scene = Scene(notifier=NotifierSection(allow=("sip:*@apps.example.com",)))
    scene.watcher.who = who
    assert scene.subscribe().status == status
    assert len(scene.watcher.notifies) == (status == 200)


@pytest.mark.parametrize(
    ("uri", "status"), [("sip:alice@elsewhere.net", 404), ("sip:example.com", 404), ("sip:127.0.0.1", 404)]
)
def test_what_is_no_aor_of_ours_is_not_found(scene: Scene, uri: str, status: int) -> None:
    """REV-4"""
    scene.watcher.target = uri
    assert scene.subscribe().status == status


@pytest.mark.parametrize("contact", ["", "<sip:a@192.0.2.50>, <sip:b@192.0.2.50>", "<tel:+1555>"])
def test_one_contact_that_can_be_reached_is_needed(scene: Scene, contact: str) -> None:
    """DLG-1"""
    headers = [("Event", "reg"), *([("Contact", contact)] if contact else [])]
    scene.watcher.request(SERVER, "SUBSCRIBE", ALICE, *headers, from_=f"<{ALICE}>;tag=x")
    scene.net.run(0.1)
    assert 400 <= scene.watcher.received[0].status < 500
    assert len(scene.house.roles.notifier) == 0


def test_limits_at_n_and_beyond() -> None:
    """SUB-23, SEC-5"""
    scene = Scene(notifier=NotifierSection(max_subscriptions_per_aor=1, allow=("*",)))
    assert scene.subscribe().status == 200
    other = Watcher(("192.0.2.51", 5060), SERVER, ALICE)
    scene.net.add(other)
    other.subscribe()
    scene.net.run(0.1)
    assert other.statuses("SUBSCRIBE") == [403]
    per_watcher = NotifierSection(max_subscriptions_per_watcher=1, allow=("*",))
    for section, status in ((NotifierSection(max_subscriptions=1), 503), (per_watcher, 403)):
        scene = Scene(notifier=section)
        assert scene.subscribe().status == 200
        second = Watcher(("192.0.2.51", 5060), SERVER, "sip:bob@example.com", who=ALICE if status == 403 else "")
        scene.net.add(second)
        second.subscribe()
        scene.net.run(0.1)
        assert second.statuses("SUBSCRIBE") == [status]
        assert (status == 503) == (second.received[0].retry_after is not None)


# ---- changes


def test_changes_are_told_as_partial_documents_with_rising_versions(scene: Scene) -> None:
    """REV-5, REV-8, XML-4, DLG-5, XML-9"""
    scene.subscribe()
    for rows in ([A], [B], [A], [f"{A};expires=0"], [f"{B};expires=0"]):
        scene.net.run(5)
        scene.register(*rows)
    documents = scene.watcher.documents
    assert [(one.version, one.state) for one in documents] == [(0, "full"), *((n, "partial") for n in range(1, 6))]
    assert scene.watcher.events()[1:] == [
        [(A, "registered")],
        [(B, "registered")],
        [(A, "refreshed")],
        [(A, "unregistered")],
        [(B, "unregistered")],
    ]
    assert [one.registrations[0].state for one in documents] == [
        "init",
        "active",
        "active",
        "active",
        "active",
        "terminated",
    ]
    assert [notify.cseq for notify in scene.watcher.notifies] == [1, 2, 3, 4, 5, 6]
    assert len({one.registrations[0].id for one in documents}) == 1  # XML-6
    assert scene.watcher.contacts() == set()


def test_changes_within_the_interval_are_told_as_one(scene: Scene) -> None:
    """REV-6: last state and event per contact; what was born and died inside appears once, terminated."""
    scene.subscribe()
    scene.net.run(5)
    scene.register(A)
    scene.register(B)
    scene.register(f"{B};expires=0")
    scene.register(A)
    assert len(scene.watcher.documents) == 2
    scene.net.run(5)
    assert scene.watcher.events()[1:] == [[(A, "registered")], [(B, "unregistered"), (A, "refreshed")]]
    assert scene.watcher.contacts() == {A}


def test_without_an_interval_each_change_is_told_at_once() -> None:
    """REV-6: recommended, and so settable."""
    scene = Scene(notifier=NotifierSection(min_notify_interval=0))
    scene.subscribe()
    for row in (A, B, f"{A};expires=0"):
        scene.register(row)
    assert [len(one) for one in scene.watcher.events()] == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("apply", "event", "state", "more"),
    [
        (lambda draft, now_ms: draft.remove(None, "deactivated"), "deactivated", "terminated", {}),
        (lambda draft, now_ms: draft.remove(A, "probation", 90), "probation", "terminated", {"retry_after": 90}),
        (lambda draft, now_ms: draft.remove(None, "rejected"), "rejected", "terminated", {}),
        (lambda draft, now_ms: draft.shorten(None, 30), "shortened", "active", {"expires": 30}),
    ],
)
def test_what_an_operator_does_is_told_as_what_it_is(
    scene: Scene, apply: object, event: str, state: str, more: dict[str, int]
) -> None:
    """REV-8, XML-8"""
    scene.register(A)
    scene.subscribe()
    scene.net.run(5)
    scene.operate(apply)
    [told] = scene.watcher.documents[-1].registrations[0].contacts
    assert (told.event, told.state) == (event, state)
    for name, value in more.items():
        assert getattr(told, name) == value


def test_expiry_is_told_as_expired(scene: Scene) -> None:
    """REV-8, KAM defect 4: the contact is in the document that says it is gone."""
    scene.register(f"{A};expires=60")
    scene.subscribe()
    scene.net.run(61)
    assert scene.watcher.events()[-1] == [(A, "expired")]
    assert scene.watcher.documents[-1].registrations[0].state == "terminated"


# ---- refresh, fetch, end


def test_a_refresh_is_answered_with_the_full_state(scene: Scene) -> None:
    """SUB-5, DLG-6, XML-4: in the same dialog, with the next version."""
    scene.register(A)
    first = scene.subscribe(600)
    scene.net.run(100)
    second = scene.subscribe(300, contact="<sip:elsewhere@192.0.2.50:5060>")
    assert (second.status, second.expires, second.to.tag) == (200, 300, first.to.tag)
    assert [(one.version, one.state) for one in scene.watcher.documents] == [(0, "full"), (1, "full")]
    assert scene.watcher.notifies[-1].request_uri == "sip:elsewhere@192.0.2.50:5060"
    scene.net.run(305)
    assert scene.watcher.states[-1] == "terminated;reason=timeout"


def test_a_fetch_is_told_once_and_holds_nothing(scene: Scene) -> None:
    """SUB-7"""
    scene.register(A)
    answer = scene.subscribe(0)
    assert (answer.status, answer.expires) == (200, 0)
    assert scene.watcher.states == ["terminated;reason=timeout"]
    assert scene.watcher.documents[0].state == "full"
    assert scene.watcher.contacts() == {A}
    assert len(scene.house.roles.notifier) == 0
    scene.register(B)
    scene.net.run(10)
    assert len(scene.watcher.notifies) == 1


def test_an_unsubscription_ends_with_its_last_notify(scene: Scene) -> None:
    """SUB-7, SUB-10"""
    scene.subscribe()
    scene.watcher.status = 0
    answer = scene.subscribe(0)
    assert (answer.status, answer.expires) == (200, 0)
    assert len(scene.house.roles.notifier) == 1
    scene.watcher.status = 200
    scene.net.run(1)
    assert scene.watcher.states[-1] == "terminated;reason=timeout"
    assert len(scene.house.roles.notifier) == 0
    assert scene.subscribe(600).status == 481  # SUB-22


def test_a_subscription_that_is_not_refreshed_lapses(scene: Scene) -> None:
    """SUB-8; and the last thing its watcher hears is true."""
    scene.register(A)
    scene.subscribe(60)
    scene.net.run(59)
    assert len(scene.house.roles.notifier) == 1
    scene.net.run(2)
    assert scene.watcher.states[-1] == "terminated;reason=timeout"
    [registration] = scene.watcher.documents[-1].registrations
    assert (registration.state, [one.uri for one in registration.contacts]) == ("active", [A])
    assert len(scene.house.roles.notifier) == 0
    assert not scene.house.roles.notifier.is_busy


@pytest.mark.parametrize("door", ["lapse", "subscribe"])
def test_what_a_record_shows_ahead_of_the_feed_is_told_again_with_what_ended(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    """REV-6: a watcher told of a newer record has not heard of a contact that ended on the way to it."""
    other = Watcher(("192.0.2.60", 5060), SERVER, ALICE)
    scene.net.add(other)
    scene.register(A, B)
    scene.subscribe(600)
    if door == "lapse":
        other.subscribe(60)
    scene.net.run(57)
    scene.register(f"{A};q=0.3", B)  # told at once, and the next one after the interval
    scene.register(f"{A};q=0.4", B)
    scene.net.run(2.5)
    read = scene.house.telling._read

    async def behind(seconds: float) -> None:
        """Have a mass of other changes to read first."""
        scene.house.telling._seq = scene.house.store.last_seq

    seq = scene.house.telling._seq
    monkeypatch.setattr(scene.house.telling, "_read", behind)
    scene.register(f"{B};expires=0")
    if door == "subscribe":
        other.subscribe(600)
    scene.net.run(3)
    monkeypatch.setattr(scene.house.telling, "_read", read)
    scene.house.telling._seq = seq
    scene.net.run(10)
    assert scene.watcher.contacts() == {A}
    assert (B, "unregistered") in [event for events in scene.watcher.events() for event in events]


def test_a_subscription_lapses_later_where_the_store_cannot_be_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F3"""
    scene.register(A)
    scene.subscribe(60)
    load = scene.house.store.load
    failures = 0

    async def failing(aors: Sequence[str]) -> list[bytes | None]:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise StoreUnavailable("told to fail", retry_after=1)
        return await load(aors)

    monkeypatch.setattr(scene.house.store, "load", failing)
    scene.net.run(61)
    assert failures == 2
    assert scene.watcher.states[-1] == "terminated;reason=timeout"
    assert scene.watcher.contacts() == {A}


def test_many_subscriptions_lapse_in_pieces(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """F18"""
    monkeypatch.setattr("reginfo.server.telling.LAPSES", 2)
    watchers = [Watcher(("192.0.2.60", 5060 + number), SERVER, ALICE) for number in range(5)]
    for watcher in watchers:
        scene.net.add(watcher)
        watcher.subscribe(60)
    scene.net.run(61)
    assert [watcher.states[-1] for watcher in watchers] == ["terminated;reason=timeout"] * 5
    assert len(scene.house.roles.notifier) == 0


@pytest.mark.parametrize(("to_tag", "from_tag", "call_id"), [("x", "w1", ""), ("", "w2", ""), ("", "w1", "other")])
def test_a_request_in_no_dialog_of_ours_is_481(scene: Scene, to_tag: str, from_tag: str, call_id: str) -> None:
    """DLG-1, DLG-7, SUB-22"""
    tag = scene.subscribe().to.tag
    scene.watcher.request(
        SERVER,
        "SUBSCRIBE",
        "sip:127.0.0.1:5060;gr",
        ("Contact", "<sip:w@192.0.2.50>"),
        ("Event", "reg"),
        from_=f"<{ALICE}>;tag={from_tag}",
        to=f"<{ALICE}>;tag={to_tag or tag}",
        call_id=call_id or scene.watcher.call_id,
        cseq=9,
    )
    scene.net.run(0.1)
    assert scene.watcher.statuses("SUBSCRIBE")[-1] == 481


def test_an_old_cseq_and_another_usage_are_refused(scene: Scene) -> None:
    """DLG-5, SUB-12"""
    scene.watcher.cseq = 10
    scene.subscribe()
    scene.watcher.cseq = 5
    assert scene.subscribe().status == 500
    scene.watcher.cseq = 20
    scene.watcher.request(
        SERVER,
        "SUBSCRIBE",
        scene.watcher.target,
        ("Contact", "<sip:w@192.0.2.50>"),
        ("Event", "reg;id=7"),
        from_=f"<{ALICE}>;tag=w1",
        to=scene.watcher.to,
        call_id=scene.watcher.call_id,
        cseq=21,
    )
    scene.net.run(0.1)
    assert scene.watcher.statuses("SUBSCRIBE")[-1] == 403


def test_the_event_id_is_echoed(scene: Scene) -> None:
    """SUB-6"""
    scene.watcher.request(
        SERVER,
        "SUBSCRIBE",
        ALICE,
        ("Contact", "<sip:w@192.0.2.50>"),
        ("Event", "reg;id=a7"),
        from_=f"<{ALICE}>;tag=w1",
        call_id=scene.watcher.call_id,
    )
    scene.net.run(0.1)
    assert scene.watcher.notifies[0].header("Event") == "reg;id=a7"


# ---- routes


def test_loose_routes_are_followed(scene: Scene) -> None:
    """DLG-2, DLG-4: Record-Route copied, NOTIFY along it."""
    proxy = Peer(("192.0.2.99", 5070))
    scene.net.add(proxy)
    answer = scene.subscribe(600, ("Record-Route", "<sip:192.0.2.99:5070;lr>;x=1, <sip:p2.example.com;lr>"))
    assert answer.headers("Record-Route") == ["<sip:192.0.2.99:5070;lr>;x=1", "<sip:p2.example.com;lr>"]
    [notify] = proxy.requests("NOTIFY")
    assert notify.request_uri == "sip:watcher@192.0.2.50:5060"
    assert notify.headers("Route") == ["<sip:192.0.2.99:5070;lr>;x=1", "<sip:p2.example.com;lr>"]


def test_a_strict_router_gets_its_own_address(scene: Scene) -> None:
    """DLG-4"""
    proxy = Peer(("192.0.2.99", 5070))
    scene.net.add(proxy)
    scene.subscribe(600, ("Record-Route", "<sip:192.0.2.99:5070>"), ("Record-Route", "<sip:p2.example.com;lr>"))
    [notify] = proxy.requests("NOTIFY")
    assert notify.request_uri == "sip:192.0.2.99:5070"
    assert notify.headers("Route") == ["<sip:p2.example.com;lr>", "<sip:watcher@192.0.2.50:5060>"]


# ---- NOTIFYs that fail


@pytest.mark.parametrize("status", [404, 405, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604])
def test_answers_that_end_a_subscription(scene: Scene, status: int) -> None:
    """SUB-9, DLG-8, F8; a 408 somebody else sends is a timeout further on."""
    scene.subscribe()
    scene.net.run(5)
    scene.watcher.status = status
    scene.register(A)
    assert len(scene.house.roles.notifier) == 0
    scene.register(B)
    scene.net.run(40)
    assert len(scene.watcher.notifies) == 2


@pytest.mark.parametrize(
    ("status", "headers"),
    [(500, ()), (403, ()), (603, ()), (502, ()), (503, (("Retry-After", "20"),)), (499, ()), (599, ()), (699, ())],
)
def test_answers_that_keep_it_are_followed_by_the_full_state(
    scene: Scene, status: int, headers: tuple[tuple[str, str], ...]
) -> None:
    """SUB-9, TX-11: after a back-off, or Retry-After; and no contact that ended meanwhile is lost.

    TX-10: 499, 599 and 699, which nobody has defined, are as 400, 500 and 600.
    """
    scene.register(A)
    scene.subscribe()
    scene.net.run(5)
    scene.watcher.status, scene.watcher.headers = status, headers
    scene.register(f"{A};expires=0")
    assert len(scene.watcher.notifies) == 2
    scene.watcher.status, scene.watcher.headers = 200, ()
    scene.net.run(14)
    assert len(scene.watcher.notifies) == 2
    scene.net.run(20)
    assert len(scene.watcher.notifies) == 3
    assert scene.watcher.documents[-1].state == "full"
    assert scene.watcher.events()[-1] == [(A, "unregistered")]
    assert scene.watcher.documents[-1].registrations[0].state == "terminated"


def test_a_watcher_that_does_not_answer_is_given_up(scene: Scene) -> None:
    """SUB-9, TX-1, F8: 11 datagrams in 32 s, no more."""
    scene.subscribe()
    scene.net.run(5)
    scene.watcher.status = 0
    scene.register(A)
    scene.net.run(31)
    assert len(scene.house.roles.notifier) == 1
    scene.net.run(3)
    assert len(scene.house.roles.notifier) == 0
    assert len({notify.top_via.branch for notify in scene.watcher.notifies[1:]}) == 1
    assert len(scene.watcher.notifies) == 12
    scene.register(B)
    scene.net.run(10)
    assert len(scene.watcher.notifies) == 12


def test_one_notify_is_outstanding_and_changes_wait_behind_it() -> None:
    """SUB-9"""
    scene = Scene(notifier=NotifierSection(min_notify_interval=0))
    scene.subscribe()
    scene.watcher.status = 0
    scene.register(A)
    scene.register(B)
    scene.register(f"{A};expires=0")
    assert len({notify.cseq for notify in scene.watcher.notifies}) == 2
    scene.watcher.status = 200
    scene.net.run(1)
    assert [notify.cseq for notify in scene.watcher.notifies][-1] == 3
    assert scene.watcher.events()[-1] == [(A, "unregistered"), (B, "registered")]
    assert scene.watcher.contacts() == {B}


def test_a_lost_notify_is_repeated_with_the_same_version(scene: Scene) -> None:
    """XML-4, TX-1"""
    scene.subscribe()
    scene.net.run(5)
    fault = cut(SERVER, WATCHER)
    scene.net.faults.append(fault)
    scene.register(A)
    scene.net.faults.remove(fault)
    scene.net.run(1)
    assert [one.version for one in scene.watcher.documents] == [0, 1]
    assert scene.watcher.notifies[-1].cseq == 2
    assert scene.watcher.contacts() == {A}


def test_an_icmp_error_is_no_end(scene: Scene) -> None:
    """TRN-10, SUB-9: as 503, so it is tried again after a back-off."""
    scene.subscribe()
    scene.net.run(5)
    scene.watcher.status = 0
    scene.register(A)
    scene.watcher.status = 200
    scene.house.engine.lost(Flow("udp", SERVER, WATCHER), scene.house.now())
    assert len(scene.house.roles.notifier) == 1
    scene.net.run(35)
    assert scene.watcher.contacts() == {A}
    assert scene.watcher.documents[-1].state == "full"


# ---- order


def test_a_first_notify_says_what_is_true_when_it_leaves(scene: Scene) -> None:
    """REG-2, SUB-5: what one turn decided around a SUBSCRIBE is told once."""
    batch = [request("REGISTER", contact(A, 600)), request("REGISTER", contact(B, 600), cseq=2)]
    subscribe = request(
        "SUBSCRIBE",
        "Contact: <sip:w@192.0.2.50:5060>",
        "Event: reg",
        uri=ALICE,
        call_id=scene.watcher.call_id,
        via="192.0.2.50:5060",
    )
    scene.house.engine.receive([(octets, FLOW) for octets in (batch[0], subscribe, batch[1])], scene.house.now())
    scene.net.send(SERVER, scene.house.pump())
    scene.net.run(6)
    assert scene.watcher.events() == [[(A, "registered"), (B, "registered")]]


# ---- size


def test_a_notify_too_long_for_a_datagram_goes_over_a_stream(scene: Scene) -> None:
    """TRN-2"""
    for number in range(10):
        scene.register(f"sip:alice@192.0.2.10:{6000 + number}")
    scene.subscribe()
    [notify] = scene.watcher.notifies
    assert len(notify.octets) > 1300
    assert notify.top_via.transport == "TCP"
    assert len(scene.watcher.contacts()) == 10


def test_without_a_stream_it_goes_over_udp_after_all(scene: Scene) -> None:
    """TRN-2: where no connection can be made."""
    for number in range(10):
        scene.register(f"sip:alice@192.0.2.10:{6000 + number}")
    refused = Flow("tcp", SERVER, WATCHER)

    def refuse(sender: tuple[str, int], receiver: tuple[str, int], octets: bytes) -> int:
        return 0 if b"SIP/2.0/TCP" in octets else 1

    scene.net.faults.append(refuse)
    scene.subscribe()
    assert not scene.watcher.notifies
    scene.house.engine.lost(refused, scene.house.now())
    scene.net.run(0.1)
    [notify] = scene.watcher.notifies
    assert notify.top_via.transport == "UDP"
    assert len(scene.watcher.contacts()) == 10


# ---- restart


def told(scene: Scene) -> int:
    """Let a second pass, so that what was told is saved; return the NOTIFYs so far."""
    scene.net.run(1.1)
    return len(scene.watcher.notifies)


def test_after_a_crash_nobody_is_told_again_and_the_next_notify_is_full(scene: Scene) -> None:
    """XML-4, DLG-5: version and CSeq go on behind what may have been used."""
    scene.register(A)
    scene.subscribe()
    count = told(scene)
    scene.house.crash()
    scene.net.run(10)
    assert len(scene.watcher.notifies) == count
    scene.register(B)
    [*_, document] = scene.watcher.documents
    assert (document.state, document.version) == ("full", 1000)
    assert scene.watcher.notifies[-1].cseq == 1001
    assert scene.watcher.contacts() == {A, B}
    scene.net.run(5)
    scene.register(f"{A};expires=0")
    assert [(one.version, one.state) for one in scene.watcher.documents[-2:]] == [(1000, "full"), (1001, "partial")]
    assert scene.subscribe(0).status == 200
    assert scene.watcher.states[-1] == "terminated;reason=timeout"


@pytest.mark.parametrize("row", [B, A, f"{A};expires=0"])
def test_a_change_that_was_not_told_before_a_crash_is_told_after_it(scene: Scene, row: str) -> None:
    """Registered, refreshed or unregistered inside the interval, and the process dies."""
    scene.register(A)
    scene.subscribe()
    count = told(scene)
    scene.register(row)
    assert len(scene.watcher.notifies) == count
    scene.house.crash()
    scene.net.run(1)
    assert len(scene.watcher.notifies) == count + 1
    assert scene.watcher.documents[-1].state == "full"
    uri, _, ends = row.partition(";")
    [event] = [event for contact, event in scene.watcher.events()[-1] if contact == uri]
    assert event == ("unregistered" if ends else "registered" if row == B else "refreshed")


def test_what_many_were_told_is_saved_in_pieces(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """F18: no write is long, and how far everybody was told is saved behind the last of them."""
    monkeypatch.setattr("reginfo.server.telling.TOLD_PER_SAVE", 2)
    saved: list[int] = []
    commit = scene.house.store.commit

    async def counted(changes: Sequence[Change], state: Sequence[StateItem] = ()) -> list[int]:
        if not changes and any(key.startswith(TOLD) for key, _ in state):
            saved.append(len(state))
        return await commit(changes, state)

    for number in range(5):
        watcher = Watcher(("192.0.2.60", 5060 + number), SERVER, ALICE)
        scene.net.add(watcher)
        watcher.subscribe(600)
    scene.register(A)
    scene.net.run(6)
    monkeypatch.setattr(scene.house.store, "commit", counted)
    scene.register(B)
    assert finish(scene.house.store.cursor("roles")) == (1, b"")
    scene.net.run(6)
    assert saved == [2, 2, 1]
    assert finish(scene.house.store.cursor("roles")) == (2, b"")
    scene.house.crash()
    scene.net.run(6)
    assert saved == [2, 2, 1]


def test_a_crash_in_the_first_second_loses_nothing(scene: Scene) -> None:
    """Nothing has been saved of what was told by then: neither to whom nor how far."""
    phone = Phone(local=("192.0.2.10", 6000))
    scene.net.add(phone)
    scene.watcher.subscribe()
    phone.register(A)
    scene.net.run(0.1)
    phone.register(f"{A};expires=0")
    scene.net.run(0.1)
    assert scene.watcher.contacts() == {A}
    scene.house.crash()
    scene.net.run(1)
    assert scene.watcher.contacts() == set()


def test_a_notify_that_was_on_its_way_at_a_crash_is_told_again(scene: Scene) -> None:
    """SUB-9: what was not answered has not been told."""
    scene.subscribe()
    told(scene)
    scene.net.run(5)
    scene.watcher.status = 0
    scene.register(A)
    scene.house.crash()
    scene.watcher.status = 200
    scene.net.run(1)
    assert scene.watcher.contacts() == {A}
    assert scene.watcher.notifies[-1].cseq == 1001


def test_a_contact_that_came_and_went_unnoticed_is_told_after_a_crash(scene: Scene) -> None:
    """REV-6: nothing that ended is lost, even if no row is left of it."""
    scene.subscribe()
    told(scene)
    scene.register(A)
    scene.register(f"{A};expires=0")
    scene.house.crash()
    scene.net.run(2)
    assert scene.watcher.events()[-1] == [(A, "unregistered")]
    assert scene.watcher.documents[-1].registrations[0].state == "terminated"
    scene.house.crash()
    scene.net.run(10)
    assert len(scene.watcher.documents) == 2


def test_a_subscription_that_ended_stays_ended(scene: Scene) -> None:
    """SUB-8: over a restart, too; and one that lapsed while the server was down is not told of anything."""
    scene.subscribe(60)
    scene.subscribe(0)
    scene.house.crash()
    assert len(scene.house.roles.notifier) == 0
    scene.watcher.to = f"<{ALICE}>"
    scene.watcher.target = ALICE
    scene.watcher.call_id = "again"
    scene.subscribe(60)
    count = told(scene)
    scene.net.now_ms += 100_000
    scene.house.now_ms = scene.net.now_ms
    scene.house.crash()
    scene.net.run(10)
    assert len(scene.house.roles.notifier) == 0
    assert len(scene.watcher.notifies) == count
    for prefix in STATE_PREFIXES:
        assert finish(scene.house.store.scan_state(prefix)) == []


def test_numbers_are_never_used_twice() -> None:
    """XML-4, DLG-5: over many crashes, and beyond a block of reserved numbers."""
    scene = Scene(notifier=NotifierSection(min_notify_interval=0))
    scene.subscribe(600_000)
    for round in range(3):
        for number in range(1100 if round == 1 else 3):
            scene.phone.request(
                SERVER,
                "REGISTER",
                "sip:example.com",
                ("Contact", f"<{A}>"),
                from_=f"<{ALICE}>;tag=p",
                to=f"<{ALICE}>",
                call_id="phone",
                cseq=10_000 * round + number + 1,
            )
            scene.net.send(PHONE, scene.phone.take([], 0))
            scene.net.flow()
        scene.house.crash()
    scene.register(B, cseq=90_000)
    numbers = [notify.cseq for notify in scene.watcher.notifies]
    versions = [document.version for document in scene.watcher.documents]
    assert len(numbers) > 1000
    assert numbers == sorted(set(numbers))
    assert versions == sorted(set(versions))
    assert scene.watcher.contacts() == {A, B}


# ---- places that nothing gets to


@pytest.mark.parametrize(
    "contact",
    [
        "<sip:w@192.0.2.66;transport=tls>",  # no listener of that transport
        "<sip:w@[2001:db8::1]>",  # nor of that family
        "<sips:w@192.0.2.66>",
        "<sip:w@nowhere.invalid>",
        "<sip:w@192.0.2.66;maddr=999.0.0.1>",  # no address at all
    ],
)
def test_a_contact_that_nothing_gets_to_costs_its_own_subscription_only(scene: Scene, contact: str) -> None:
    """SUB-9, TRN-10: RFC 3261 8.1.3.1 makes a 503 of it, which is tried again after a back-off and not at once."""
    assert scene.subscribe(600, contact=contact).status == 200
    other = Watcher(("192.0.2.51", 5060), SERVER, ALICE)
    scene.net.add(other)
    other.subscribe(600)
    scene.register(A)
    scene.net.run(10)
    assert other.contacts() == {A}
    assert len(scene.house.roles.notifier) == 2
    assert scene.house.roles.notifier.notifies["active", 503] == 1


def test_a_fetch_to_where_nothing_gets_is_over(scene: Scene) -> None:
    """SUB-7, SUB-10: the one NOTIFY it is owed cannot be sent, and nobody waits for it"""
    assert scene.subscribe(0, contact="<sip:w@192.0.2.66;transport=ws>").status == 200
    assert len(scene.house.roles.notifier) == 0


def test_a_question_mark_in_the_user_of_a_contact_is_part_of_it(scene: Scene) -> None:
    """URI-8, RFC 3261 section 25.1: user-unreserved has ? and ; as well"""
    scene.subscribe(600, contact="<sip:w?a;method=b@192.0.2.50:5060;method=INVITE?x=y>")
    assert [one.request_uri for one in scene.watcher.notifies] == ["sip:w?a;method=b@192.0.2.50:5060"]


@pytest.mark.parametrize("more", [False, True])
def test_a_record_that_is_recalled_while_a_notify_is_outstanding_costs_nobody(scene: Scene, more: bool) -> None:
    """SUB-9: a publication that is begun anew, or a gap in the feed, has records compared at any time"""
    scene.register(A)
    scene.watcher.status = 0
    scene.subscribe()
    if more:
        scene.register(B)
    record = finish(scene.house.store.load([ALICE]))[0]
    scene.house.roles.recall(ALICE, record, scene.house.store.last_seq, scene.house.now())
    scene.watcher.status = 200
    scene.net.run(10)
    assert scene.house.engine.statistics()["errors"]["internal"] == 0
    assert scene.watcher.contacts() == ({A, B} if more else {A})
    assert len(scene.watcher.documents) == (2 if more else 1)
    last = scene.house.store.last_seq
    assert scene.house.roles.settled(last) == last


def test_a_refresh_that_an_unsubscribe_has_overtaken_is_refused(scene: Scene) -> None:
    """DLG-5, RFC 3261 12.2.2: also when both arrive in one turn"""
    scene.subscribe(600)
    scene.watcher.subscribe(3600)
    scene.watcher.subscribe(0)
    scene.watcher.outbox.reverse()
    scene.net.run(1)
    answers = [(one.cseq, one.status) for one in scene.watcher.received if not one.is_request]
    assert sorted(answers) == [(1, 200), (2, 500), (3, 200)]
    assert scene.watcher.states[-1] == "terminated;reason=timeout"


def test_whoever_leaves_the_others_are_told(scene: Scene) -> None:
    """However they are kept: the first, the last and one in between may go first."""
    everybody = [Watcher(("192.0.2.50", 7000 + number), scene.house.local, ALICE) for number in range(5)]
    phone = Phone()
    scene.net.add(phone)
    for watcher in everybody:
        scene.net.add(watcher)
        watcher.subscribe()
    scene.net.run(1)
    watching = list(everybody)
    for number, gone in enumerate((0, 3, 1, 1, 0), 1):
        watching.pop(gone).subscribe(0)
        phone.register(f"sip:alice@192.0.2.{number}")
        scene.net.run(6)
        assert all(len(watcher.contacts()) == number for watcher in watching)
    assert len(scene.house.roles.notifier) == 0


def test_watchers_of_a_server_that_leaves_are_told_the_state_and_to_come_back(scene: Scene) -> None:
    """SUB-11, RFC 6665 section 4.1.3: deactivated; the last document is full (SUB-5)."""
    scene.register(f"{A};expires=600")
    scene.subscribe()
    house = scene.house
    house.roles.notifier.leave(ALICE, house.bound(ALICE).octets, house.now())
    house.roles.notifier.leave("sip:nobody@example.com", None, house.now())
    scene.net.run(0.1)
    assert scene.watcher.states[-1] == "terminated;reason=deactivated"
    assert scene.watcher.documents[-1].state == "full"
    assert scene.watcher.contacts() == {A}
    assert len(house.roles.notifier) == 0


# ---- what is measured


def test_the_delay_of_a_notify_counts_from_the_change_it_tells() -> None:
    """The full state that answers a SUBSCRIBE tells no change; what waits for the interval is late by that."""
    scene = Scene(notifier=NotifierSection(min_notify_interval=5.0))
    delays = scene.house.engine.roles.notifier.delays
    scene.register(A)
    scene.subscribe()
    assert len(delays) == 0
    scene.net.run(6.0)
    scene.register(A, B)
    assert (len(delays), delays.sum) == (1, 0)
    scene.register(f"{B};expires=0")  # 0.1 s after the NOTIFY that told of B
    scene.register(B)
    scene.net.run(6.0)
    assert len(delays) == 2
    assert 4_900 <= delays.sum <= 5_000  # a timer is exact to a tick


def test_a_flow_that_changes_its_uri_is_a_new_contact_to_watchers(scene: Scene) -> None:
    """REV-9: the old URI is terminated in the document that has the new one, under another id."""
    instance = ';+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>";reg-id=1'

    def register(uri: str) -> None:
        scene.register(f"{uri}{instance};expires=600", also=[("Supported", "outbound")])

    register(A)
    scene.subscribe()
    register(B)
    scene.net.run(6)
    said = {one.uri: one for one in scene.watcher.documents[-1].registrations[0].contacts}
    assert {uri: (one.state, one.event) for uri, one in said.items()} == {
        A: ("terminated", "unregistered"),
        B: ("active", "registered"),
    }
    assert said[A].id != said[B].id
