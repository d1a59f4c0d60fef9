"""The subscriber and the NOTIFY handler: SUB-13 to SUB-24, RIC-1 to RIC-10, KAM-2, DLG-3."""

from typing import Any

import pytest
from msgspec import structs

from reginfo.config import NotifierSection, PeerSection, PuaReginfoSection
from reginfo.engine import KEEP
from reginfo.fast import Flow, SipMessage, write_response
from reginfo.model import Outcome
from reginfo.roles.subscriber.subscription import State
from tests.harness import House
from tests.network import Network, Peer, cut
from tests.scenes import ALICE, OTHER, SERVER, A, B, Phone, watch

EAST = ("192.0.2.80", 5080)
C = "sip:alice@192.0.2.12:5060"


def body(
    *contacts: str, version: int = 0, state: str = "full", aor: str = ALICE, registration: str = "active"
) -> bytes:
    """Return a document; contacts are `URI attributes`, their id is their URI."""
    rows = []
    for row in contacts:
        uri, _, attributes = row.partition(" ")
        for name, value in (("state", "active"), ("event", "registered")):
            if f"{name}=" not in attributes:
                attributes += f' {name}="{value}"'
        rows.append(f'<contact id="{uri}" {attributes}><uri>{uri}</uri></contact>')
    return (
        f'<?xml version="1.0"?><reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="{version}" state="{state}">'
        f'<registration aor="{aor}" id="r" state="{registration}">{"".join(rows)}</registration></reginfo>'
    ).encode()


class Notifier(Peer):
    """Another server, by hand: answers SUBSCRIBE, and sends what NOTIFYs it is told to."""

    def __init__(self, local: tuple[str, int] = EAST) -> None:
        super().__init__(local)
        self.status = 200
        self.headers: tuple[tuple[str, str], ...] = ()
        self.granted: int | None = None
        self.cseq = 0
        self.tag = "n1"
        self.first: bytes | None = body()
        "Document of the NOTIFY that follows a SUBSCRIBE; None: none follows."
        self.answer = self._answer

    @property
    def subscribes(self) -> list[SipMessage]:
        return list({one.top_via.branch: one for one in self.requests("SUBSCRIBE")}.values())

    def _answer(self, request: SipMessage) -> bytes | None:
        if not self.status:
            return None
        host, port = self.local
        headers = self.headers
        if self.status == 200:
            granted = self.granted if self.granted is not None else request.expires
            headers = (("Expires", str(granted)), ("Contact", f"<sip:{host}:{port}>"), *headers)
            if self.first is not None:
                state = f"active;expires={granted}" if request.expires else "terminated;reason=timeout"
                self.notify(self.first, state)
        return write_response(request, self.status, to_tag=self.tag, headers=headers)

    def notify(
        self, document: bytes, state: str = "active;expires=3600", *headers: tuple[str, str], **parts: Any
    ) -> None:
        """Send a NOTIFY in the dialog of the last SUBSCRIBE."""
        self.cseq += 1
        subscribe = self.subscribes[-1]
        host, port = self.local
        rows = [("Event", "reg"), ("Subscription-State", state), ("Contact", f"<sip:{host}:{port}>")]
        if document:
            rows.append(("Content-Type", "application/reginfo+xml"))
        rows = [row for row in rows if row[0] not in {name for name, _ in headers}]
        options: dict[str, Any] = {
            "from_": f"<{ALICE}>;tag={self.tag}",
            "to": f"<{subscribe.from_.uri}>;tag={subscribe.from_.tag}",
            "call_id": subscribe.call_id,
            "cseq": self.cseq,
            **parts,
        }
        server = options.pop("server", SERVER)
        self.request(
            server,
            "NOTIFY",
            subscribe.contacts[0].uri,
            *rows,
            *[row for row in headers if row[1]],
            body=document,
            **options,
        )


class Scene:
    """A server that follows alice at another one, made by hand."""

    def __init__(self, *, expires: int = 600, peers: tuple[PeerSection, ...] | None = None, **sections: Any) -> None:
        self.net = Network()
        if peers is None:
            peers = (PeerSection(name="east", uri="sip:192.0.2.80:5080"),)
        self.house = self.net.serve(House(peers=peers, **sections))
        self.east = Notifier()
        self.net.add(self.east)
        self.expires = expires

    def follow(self, uri: str = ALICE) -> None:
        self.house.roles.subscriber.follow(uri, self.expires, self.house.now())
        self.net.run(0.2)

    def notify(self, document: bytes, *arguments: Any, **parts: Any) -> int:
        """Send a NOTIFY and return the status of its answer."""
        self.east.notify(document, *arguments, **parts)
        self.net.run(0.1)
        return self.east.statuses("NOTIFY")[-1]

    def rows(self, aor: str = ALICE) -> dict[str, str]:
        """Return the origin of each contact that is not hidden."""
        registration = self.house.registration(aor)
        if registration is None:
            return {}
        return {one.uri: one.origin for one in registration.bindings if not one.hidden}


@pytest.fixture
def scene() -> Scene:
    return Scene()


# ---- SUBSCRIBE


def test_a_subscription_begins(scene: Scene) -> None:
    """SUB-13, SUB-14"""
    scene.follow()
    [subscribe] = scene.east.subscribes
    assert subscribe.request_uri == subscribe.to.uri == ALICE
    assert subscribe.from_.uri == "sip:reginfo@127.0.0.1:5060"
    assert subscribe.contacts[0].uri == "sip:reginfo@127.0.0.1:5060"
    assert subscribe.header("Event") == "reg"
    assert subscribe.accept == ["application/reginfo+xml"]
    assert subscribe.expires == 600
    assert subscribe.to.tag is None
    assert scene.east.statuses("NOTIFY") == [200]
    [answer] = [one for one in scene.east.received if not one.is_request]
    assert answer.body == b""


@pytest.mark.parametrize(
    ("section", "peers", "target"),
    [
        (PuaReginfoSection(outbound_proxy="sip:192.0.2.80:5080"), (), "peer:192.0.2.80:5080"),
        (PuaReginfoSection(), (PeerSection(name="east", uri="sip:192.0.2.80:5080"),), "peer:east"),
    ],
)
def test_where_it_goes_and_whose_its_news_is(
    section: PuaReginfoSection, peers: tuple[PeerSection, ...], target: str
) -> None:
    """outbound_proxy, the peers that speak for the AoR, or where the URI leads."""
    scene = Scene(peers=peers, pua_reginfo=section)
    scene.east.first = body(f'{A} expires="100"')
    scene.follow()
    assert scene.rows() == {A: target}


def test_a_uri_leads_somewhere_itself() -> None:
    """DNS-1: and a server that is no configured peer may speak of the AoR asked for only (RIC-10)."""
    scene = Scene(peers=())
    uri = "sip:alice@192.0.2.80:5080"
    scene.east.first = body(f'{A} expires="100"', aor=uri) + b""
    scene.follow(uri)
    assert scene.rows(uri) == {A: "peer:192.0.2.80:5080"}
    scene.notify(body(f'{A} expires="100"', version=1, aor="sip:mallory@192.0.2.80:5080"))
    assert scene.rows("sip:mallory@192.0.2.80:5080") == {}


def test_it_is_refreshed_in_its_dialog(scene: Scene) -> None:
    """SUB-15, DLG-3, DLG-5: 32 s before its end, along the route of the NOTIFY."""
    scene.follow()
    scene.net.run(566)
    assert len(scene.east.subscribes) == 1
    scene.net.run(3)
    first, second = scene.east.subscribes
    assert second.request_uri == "sip:192.0.2.80:5080"
    assert second.to.tag == "n1"
    assert (second.call_id, second.from_.tag, second.cseq) == (first.call_id, first.from_.tag, first.cseq + 1)
    scene.net.run(570)
    assert len(scene.east.subscribes) == 3


@pytest.mark.parametrize(("granted", "seconds"), [(60, 30), (100, 68), (600, 568)])
def test_what_is_granted_decides_when(granted: int, seconds: int) -> None:
    """SUB-15"""
    scene = Scene()
    scene.east.granted = granted
    scene.follow()
    scene.net.run(seconds - 1)
    assert len(scene.east.subscribes) == 1
    scene.net.run(1.5)
    assert len(scene.east.subscribes) == 2


def test_the_notify_may_shorten_it(scene: Scene) -> None:
    """SUB-15: the last word counts."""
    scene.follow()
    scene.notify(b"", "active;expires=40")
    scene.net.run(21)
    assert len(scene.east.subscribes) == 2


def test_without_a_notify_there_is_no_subscription(scene: Scene) -> None:
    """SUB-13: timer N; what comes later is 481, and it is tried again."""
    scene.east.first = None
    scene.follow()
    scene.net.run(31)
    assert len(scene.east.subscribes) == 1
    scene.net.run(35)
    [first, second] = scene.east.subscribes
    assert second.call_id != first.call_id
    assert second.from_.tag != first.from_.tag
    assert scene.notify(body(), call_id=first.call_id, to=f"<x:y>;tag={first.from_.tag}") == 481


def test_423_is_followed_by_what_it_asks_for(scene: Scene) -> None:
    """SUB-16"""
    scene.east.status, scene.east.headers = 423, (("Min-Expires", "900"),)
    scene.follow()
    scene.east.status, scene.east.headers = 200, ()
    scene.net.run(1)
    assert scene.east.subscribes[0].expires == 600
    assert scene.east.subscribes[-1].expires == 900


@pytest.mark.parametrize("status", [403, 404, 489, 500, 603])
def test_a_refused_subscription_is_tried_again_with_back_off(scene: Scene, status: int) -> None:
    """SUB-13"""
    scene.east.status = status
    scene.follow()
    scene.net.run(14)
    assert len(scene.east.subscribes) == 1
    scene.net.run(17)
    assert len(scene.east.subscribes) == 2
    scene.net.run(28)
    assert len(scene.east.subscribes) == 2
    scene.net.run(35)
    assert len(scene.east.subscribes) == 3


def test_the_operator_is_told_once_of_a_refused_subscription(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.east.status = 403
    scene.follow()
    scene.net.run(200)
    assert len(scene.east.subscribes) > 2
    said = [row.getMessage() for row in caplog.records if row.getMessage().startswith("not followed")]
    assert said == [f"not followed aor={ALICE} at=udp:192.0.2.80:5080 code=403 reason=Forbidden"]


@pytest.mark.parametrize("status", [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604])
def test_a_refresh_that_ends_it_is_followed_by_another_dialog(scene: Scene, status: int) -> None:
    """SUB-16, KAM defect 11"""
    scene.follow()
    scene.net.run(567)
    scene.east.status = status
    scene.net.run(1.2)
    scene.east.status = 200
    scene.net.run(1)
    *_, refresh, again = scene.east.subscribes
    assert refresh.to.tag == "n1"
    assert again.to.tag is None
    assert again.call_id != refresh.call_id
    assert again.from_.tag != refresh.from_.tag


def test_any_other_failure_leaves_it_to_its_end(scene: Scene) -> None:
    """SUB-16"""
    scene.follow()
    scene.net.run(567)
    scene.east.status = 500
    scene.net.run(1.2)
    scene.east.status = 200
    scene.net.run(20)
    assert [one.to.tag for one in scene.east.subscribes] == [None, "n1", "n1"]


def test_timer_n_of_a_refresh(scene: Scene) -> None:
    """SUB-24: no NOTIFY within 32 s of a refresh, and it is over."""
    scene.follow()
    scene.east.status = 0
    scene.net.run(567 + 34)
    scene.east.status = 200
    scene.net.run(60)
    assert scene.east.subscribes[-1].call_id != scene.east.subscribes[0].call_id


# ---- NOTIFY


@pytest.mark.parametrize(
    ("parts", "headers", "status"),
    [
        ({"call_id": "other"}, (), 481),
        ({"to": "<sip:x@y>;tag=other"}, (), 481),
        ({"to": "<sip:x@y>"}, (), 481),
        ({"from_": f"<{ALICE}>;tag=fork"}, (), 481),
        ({}, (("Event", "presence"),), 489),
        ({}, (("Event", ""),), 489),
        ({}, (("Event", "reg;id=1"),), 481),
        ({}, (("Subscription-State", ""),), 400),
        ({}, (("Content-Type", "application/pidf+xml"),), 415),
        ({}, (("Content-Encoding", "gzip"),), 415),
        ({"cseq": 0}, (), 500),
    ],
)
def test_a_notify_that_is_none_of_ours_changes_nothing(
    scene: Scene, parts: dict[str, Any], headers: tuple[tuple[str, str], ...], status: int
) -> None:
    """SUB-14, SUB-17, KAM defect 9, F19, F21"""
    scene.follow()
    document = body(f'{A} expires="100"', version=1)
    assert scene.notify(document, "active;expires=600", *headers, **parts) == status
    assert scene.rows() == {}


@pytest.mark.parametrize(
    ("headers", "document", "status", "enters"),
    [
        ((("Event", 'reg;id="'),), body(A), 400, False),
        ((("Subscription-State", ";"),), body(A), 400, False),
        ((("Contact", "<tel:+1>"),), body(A), 400, False),
        ((("Contact", "<sip:a@h>, <sip:b@h>"),), body(A), 400, False),
        ((("Record-Route", "<tel:+1>"),), body(A), 400, False),
        ((("Record-Route", "<"),), body(A), 400, False),
        ((("Event", "presence"),), body(A), 489, False),
        ((), b"<reginfo", 400, True),
        ((), b"", 200, True),
        ((("Record-Route", "<sip:192.0.2.81;lr>"),), body(A), 200, True),
    ],
)
def test_the_first_notify_begins_the_dialog_if_nothing_is_said_against_it(
    scene: Scene, headers: tuple[tuple[str, str], ...], document: bytes, status: int, enters: bool
) -> None:
    """SUB-14, SUB-17: whatever it was, a good one is heard afterwards."""
    scene.east.first = None
    scene.follow()
    [subscription] = scene.house.roles.subscriber
    assert scene.notify(document, "active;expires=600", *headers) == status
    assert (subscription.dialog is not None) == (subscription.state is State.ACTIVE) == enters
    assert scene.notify(body(A, B, version=1), "active;expires=600") == 200
    assert set(scene.rows()) == {A, B}


def test_a_notify_outside_a_dialog_is_481_before_its_body_is_looked_at(scene: Scene) -> None:
    """SUB-17, F19: not even a body that would be refused."""
    scene.follow()
    assert scene.notify(b"<!DOCTYPE x>", call_id="other") == 481


def test_a_notify_from_elsewhere_is_not_the_peers(scene: Scene) -> None:
    """SUB-17: a peer is recognised by its address."""
    scene.follow()
    mallory = Notifier(("198.51.100.66", 5060))
    scene.net.add(mallory)
    mallory.received = list(scene.east.received)
    mallory.cseq = 50
    mallory.notify(body(f'{A} expires="100"', version=1))
    scene.net.run(0.1)
    assert mallory.statuses("NOTIFY")[-1] == 403
    assert scene.rows() == {}


def test_a_notify_may_precede_the_answer(scene: Scene) -> None:
    """SUB-13"""
    lost = [True]

    def fault(sender: tuple[str, int], receiver: tuple[str, int], octets: bytes) -> int:
        return 0 if lost[0] and octets.startswith(b"SIP/2.0 200") and b"SUBSCRIBE" in octets else 1

    scene.net.faults.append(fault)
    scene.east.first = body(f'{A} expires="100"')
    scene.follow()
    assert scene.rows() == {A: "peer:east"}
    lost[0] = False
    scene.net.run(2)
    assert scene.rows() == {A: "peer:east"}


@pytest.mark.parametrize("document", [b"<x/>", b"\xff\xfe", body().replace(b'id="r"', b""), b"<!DOCTYPE a>" + body()])
def test_a_document_that_cannot_be_read_is_400_and_the_state_is_fetched_once(scene: Scene, document: bytes) -> None:
    """RIC-8, SEC-4"""
    scene.east.first = body(f'{A} expires="100"')
    scene.follow()
    scene.east.first = None
    assert scene.notify(document) == 400
    assert scene.rows() == {A: "peer:east"}
    assert len(scene.east.subscribes) == 2
    assert scene.notify(document) == 400
    assert len(scene.east.subscribes) == 2


def test_a_notify_without_a_body_changes_nothing(scene: Scene) -> None:
    """RIC-8"""
    scene.east.first = body(f'{A} expires="100"')
    scene.follow()
    assert scene.notify(b"") == 200
    assert scene.notify(b"", "terminated;reason=noresource") == 200
    assert scene.rows() == {A: "peer:east"}


# ---- versions


def test_versions(scene: Scene) -> None:
    """RIC-2, RIC-3, RIC-4, F19, KAM defect 5"""
    scene.east.first = body(f'{A} expires="100"', version=7)
    scene.follow()
    scene.east.first = None
    assert scene.notify(body(f'{B} expires="100"', version=8, state="partial")) == 200
    assert set(scene.rows()) == {A, B}
    for old in (8, 7, 0):
        gone = f'{A} state="terminated" event="expired"'
        assert scene.notify(body(gone, version=old, state="partial")) == 200
        assert set(scene.rows()) == {A, B}
    assert len(scene.east.subscribes) == 1
    assert scene.notify(body(f'{C} expires="100"', version=11, state="partial")) == 200
    assert set(scene.rows()) == {A, B, C}
    assert len(scene.east.subscribes) == 2  # the gap is made good by the full state
    assert scene.notify(body(f'{C} expires="100"', version=12)) == 200
    assert set(scene.rows()) == {C}
    assert scene.notify(body(f'{A} expires="100"', version=20)) == 200
    assert set(scene.rows()) == {A}
    assert len(scene.east.subscribes) == 2


def test_a_partial_document_first_is_taken_and_the_rest_fetched(scene: Scene) -> None:
    """RIC-4"""
    scene.east.first = body(f'{A} expires="100"', version=3, state="partial")
    scene.follow()
    assert scene.rows() == {A: "peer:east"}
    scene.net.run(0.5)
    assert len(scene.east.subscribes) == 2


# ---- the location service


def test_contacts_become_rows_of_the_peer(scene: Scene) -> None:
    """RIC-5, KAM-2, KAM defect 6: with everything needed to reach them."""
    scene.east.first = body(
        f'{A} expires="300" q="0.3" callid="k" cseq="5" duration-registered="20" received="sip:198.51.100.1:1024"'
        ' path="&lt;sip:edge.example.com;lr&gt;" user_agent="Phone"'
    ).replace(b"</uri>", b'</uri><unknown-param name="reg-id">1</unknown-param>')
    scene.follow()
    [row] = scene.house.bound().bindings
    assert (row.uri, row.origin, row.q, row.call_id, row.cseq) == (A, "peer:east", 0.3, "k", 5)
    assert (row.received, row.path, row.user_agent) == (
        "sip:198.51.100.1:1024",
        "<sip:edge.example.com;lr>",
        "Phone",
    )
    assert (row.params, row.event) == (";reg-id=1", "created")
    assert row.expires_at - scene.house.now_ms in range(299_000, 300_001)
    assert scene.house.now_ms - row.registered_at in range(20_000, 21_000)


@pytest.mark.parametrize("state", ["init", "terminated"])
def test_a_registration_that_is_over_ends_all_rows_of_the_peer(scene: Scene, state: str) -> None:
    """RIC-5"""
    scene.east.first = body(f'{A} expires="300"', f'{B} expires="300"')
    scene.follow()
    assert scene.notify(body(version=1, state="partial", registration=state)) == 200
    assert scene.rows() == {}


def test_a_contact_without_expires_lasts_as_long_as_the_subscription(scene: Scene) -> None:
    """RIC-5"""
    scene.east.first = body(A)
    scene.follow()
    left = scene.house.bound().bindings[0].expires_at - scene.house.now_ms
    assert 590_000 < left <= 600_000


def test_local_rows_and_those_of_others_are_never_touched(scene: Scene) -> None:
    """RIC-6, KAM defect 5"""
    phone = Phone()
    scene.net.add(phone)
    phone.register(f"{A};expires=600")
    scene.east.first = body(f'{A} expires="100"', f'{B} expires="100"')
    scene.follow()
    assert [one.origin for one in scene.house.bound().bindings] == ["", "peer:east", "peer:east"]
    assert scene.notify(body(version=1)) == 200
    assert scene.rows() == {A: ""}
    assert scene.notify(body(f'{A} state="terminated" event="rejected"', version=2, state="partial")) == 200
    assert scene.rows() == {A: ""}


def test_a_peer_speaks_for_its_domains_only() -> None:
    """RIC-10"""
    peer = PeerSection(name="east", uri="sip:192.0.2.80:5080", domains=("example.net",))
    scene = Scene(peers=(peer,), domains=("example.com", "example.net"))
    scene.east.first = body(f'{A} expires="100"', aor="sip:alice@example.com")
    scene.follow("sip:alice@example.net")
    assert scene.east.statuses("NOTIFY") == [200]
    assert scene.rows() == {}


def test_a_document_about_several_aors(scene: Scene) -> None:
    """RIC-1, RIC-3, XML-5: what a full document does not name any more has ended."""
    several = body(f'{A} expires="100"').replace(
        b"</reginfo>",
        f'<registration aor="sip:bob@example.com" id="r2" state="active"><contact id="x" state="active" '
        f'event="registered" expires="100"><uri>{B}</uri></contact></registration></reginfo>'.encode(),
    )
    scene.east.first = several
    scene.follow()
    assert scene.rows() == {A: "peer:east"}
    assert scene.rows("sip:bob@example.com") == {B: "peer:east"}
    assert scene.notify(body(f'{A} expires="100"', version=1)) == 200
    assert scene.rows("sip:bob@example.com") == {}


def test_what_cannot_be_a_contact_is_passed_over(scene: Scene) -> None:
    """RIC-10: and a lifetime is capped."""
    scene.east.first = body('sip: expires="5"', f'{A} expires="99999999999999999999"')
    scene.follow()
    assert scene.rows() == {A: "peer:east"}
    assert scene.house.bound().bindings[0].expires_at - scene.house.now_ms <= 30 * 86_400_000


# ---- what is listed, removed here, and comes back


def test_a_peers_contact_is_listed_and_can_be_removed_here(scene: Scene) -> None:
    """REG-12, REG-6: expiry 0 hides it until the peer has news."""
    scene.east.first = body(f'{A} expires="300" callid="k" cseq="5"')
    scene.follow()
    phone = Phone()
    scene.net.add(phone)
    phone.register()
    scene.net.run(0.1)
    assert [one.uri for one in phone.last.contacts] == [A]
    phone.register(f"{A};expires=0")
    scene.net.run(0.1)
    assert (phone.last.status, phone.last.contact_count) == (200, 0)
    assert scene.rows() == {}
    assert scene.notify(body(f'{A} expires="300" callid="k" cseq="5"', version=1)) == 200
    assert scene.rows() == {}
    assert scene.notify(body(f'{A} expires="300" callid="k" cseq="6"', version=2)) == 200
    assert scene.rows() == {A: "peer:east"}


def test_a_tombstone_is_not_kept_longer_than_the_row(scene: Scene) -> None:
    """Bounded: it goes with the row it hides, and nothing is told twice."""
    scene.east.first = body(f'{A} expires="100" callid="k" cseq="5"')
    scene.follow()
    watcher = watch(scene.net, scene.house)
    phone = Phone()
    scene.net.add(phone)
    phone.register("*", expires=0)
    scene.net.run(6)
    assert watcher.events()[-1] == [(A, "unregistered")]
    scene.net.run(120)
    assert scene.house.registration() is None
    assert len(watcher.documents) == 2


# ---- the end of a subscription


@pytest.mark.parametrize(
    ("state", "soonest", "latest"),
    [
        ("terminated;reason=deactivated", 0, 1),
        ("terminated;reason=timeout", 0, 1),
        ("terminated;reason=timeout;retry-after=100", 0, 1),
        ("terminated;reason=probation;retry-after=100", 99, 102),
        ("terminated;reason=probation", 14, 31),
        ("terminated;reason=giveup;retry-after=50", 49, 52),
        ("terminated;reason=rejected", None, 3000),
        ("terminated;reason=noresource", None, 3000),
        ("terminated;reason=invariant", None, 3000),
        ("terminated;reason=badfilter;retry-after=20", 19, 22),
        ("terminated;reason=whatever", 14, 31),
        ("terminated", 14, 31),
    ],
)
def test_what_follows_the_end(scene: Scene, state: str, soonest: int | None, latest: int) -> None:
    """SUB-18"""
    scene.follow()
    scene.net.run(40)
    count = len(scene.east.subscribes)
    assert scene.notify(b"", state) == 200
    if soonest:
        scene.net.run(soonest - 0.2)
        assert len(scene.east.subscribes) == count
    scene.net.run(latest - (soonest or 0) + 0.2)
    assert len(scene.east.subscribes) == count + (soonest is not None)
    if soonest is not None:
        assert scene.east.subscribes[-1].call_id != scene.east.subscribes[0].call_id
        assert scene.east.subscribes[-1].to.tag is None


def test_a_server_that_ends_every_subscription_at_once_is_not_hammered(scene: Scene) -> None:
    """SUB-18: at once the first time only."""
    scene.follow()
    for _ in range(20):
        if scene.east.subscribes:
            scene.notify(b"", "terminated;reason=deactivated")
        scene.net.run(1)
    assert len(scene.east.subscribes) <= 4


def test_rows_outlive_a_subscription_for_the_grace_time() -> None:
    """RIC-9"""
    peer = PeerSection(name="east", uri="sip:192.0.2.80:5080", stale_grace=120)
    scene = Scene(peers=(peer,))
    scene.east.first = body(f'{A} expires="3000"')
    scene.follow()
    watcher = watch(scene.net, scene.house)
    scene.notify(b"", "terminated;reason=rejected")
    scene.net.run(115)
    assert scene.rows() == {A: "peer:east"}
    scene.net.run(10)
    assert scene.rows() == {}
    assert watcher.events()[-1] == [(A, "expired")]


def test_a_server_that_is_away_for_a_while_loses_nothing(scene: Scene) -> None:
    """RIC-9: the full state of the next dialog says what is true."""
    scene.east.first = body(f'{A} expires="3000"', f'{B} expires="3000"', version=5)
    scene.follow()
    fault = cut(SERVER, EAST)
    scene.net.faults.append(fault)
    scene.net.run(700)
    assert set(scene.rows()) == {A, B}
    scene.net.faults.remove(fault)
    scene.east.tag = "n2"
    scene.east.first = body(f'{B} expires="3000"')
    scene.net.run(400)
    assert set(scene.rows()) == {B}


def test_unfollow_ends_with_the_last_notify(scene: Scene) -> None:
    """SUB-7"""
    scene.east.first = body(f'{A} expires="3000"')
    scene.follow()
    assert scene.house.roles.subscriber.unfollow(ALICE, scene.house.now()) == 1
    scene.net.run(1)
    assert scene.east.subscribes[-1].expires == 0
    assert scene.east.statuses("NOTIFY")[-1] == 200
    assert len(scene.house.roles.subscriber) == 0
    scene.net.run(4000)
    assert len(scene.east.subscribes) == 2


def test_what_is_followed_is_followed_after_a_restart(scene: Scene) -> None:
    """In a new dialog; what was learned stays."""
    scene.east.first = body(f'{A} expires="3000"')
    scene.follow()
    scene.house.crash()
    assert scene.rows() == {A: "peer:east"}
    scene.east.tag = "n2"
    scene.east.first = body(f'{B} expires="3000"')
    scene.net.run(1)
    assert len(scene.east.subscribes) == 2
    assert scene.rows() == {B: "peer:east"}
    scene.house.roles.subscriber.unfollow(ALICE, scene.house.now())
    scene.net.run(1)
    scene.house.crash()
    scene.net.run(1)
    assert len(scene.east.subscribes) == 3


def test_another_configuration_may_follow_others(scene: Scene) -> None:
    """SIGHUP"""
    bob = "sip:bob@example.com"
    for wanted in ((ALICE,), (bob,)):
        config = structs.replace(scene.house.config, pua_reginfo=PuaReginfoSection(subscribe=wanted))
        scene.house.engine.follow(config, scene.house.now())
        scene.house.config = config
        scene.net.run(2)
    assert [(one.request_uri, one.expires) for one in scene.east.subscribes] == [
        (ALICE, 3600),
        (scene.east.subscribes[1].request_uri, 0),
        (bob, 3600),
    ]


def test_an_icmp_error_is_no_news_of_the_registrations(scene: Scene) -> None:
    """TRN-10"""
    scene.east.first = body(f'{A} expires="3000"')
    scene.follow()
    scene.house.engine.lost(Flow("udp", SERVER, EAST), scene.house.now())
    assert scene.rows() == {A: "peer:east"}


# ---- two of our own


def pair(**east: Any) -> tuple[Network, House, House]:
    """Return two servers, each a peer of the other."""
    net = Network()
    one = net.serve(House(peers=(PeerSection(name="two", uri="sip:127.0.0.2:5060", **east),)))
    two = net.serve(House(local=OTHER, peers=(PeerSection(name="one", uri="sip:127.0.0.1:5060", **east),)))
    for house in (one, two):
        house.roles.subscriber.follow(ALICE, 3600, house.now())
    net.run(1)
    return net, one, two


def visible(house: House) -> dict[str, str]:
    registration = house.registration()
    return {} if registration is None else {one.uri: one.origin for one in registration.bindings if not one.hidden}


def test_two_servers_follow_each_other_without_an_echo() -> None:
    """RIC-7, F23: one NOTIFY for each change, and silence after it."""
    net, one, two = pair()
    here, there = Phone(), Phone(OTHER, ("192.0.2.11", 5060))
    net.add(here)
    net.add(there)
    here.register(f"{A};expires=600", headers=[("User-Agent", "U"), ("Path", "<sip:p;lr>"), ("Supported", "path")])
    there.register(f"{B};expires=600")
    net.run(6)
    assert visible(one) == {A: "", B: "peer:two"}
    assert visible(two) == {A: "peer:one", B: ""}
    learned = next(row for row in two.bound().bindings if row.origin)
    assert (learned.user_agent, learned.path) == ("U", "<sip:p;lr>")
    here.register()
    net.run(0.1)
    assert {row.uri for row in here.last.contacts} == {A, B}
    before = dict(net.sent)
    here.register(f"{A};expires=0")
    net.run(30)
    after = dict(net.sent)
    told = {key: after[key] - before.get(key, 0) for key in after if key[1] == "NOTIFY"}
    assert sum(told.values()) == 1
    assert visible(two) == {B: ""}
    assert visible(one) == {B: "peer:two"}


def test_a_hundred_changes_a_second_and_then_silence() -> None:
    """F23"""
    net, one, two = pair()
    for house in (one, two):
        house.roles.notifier.interval_ms = 0
    here = Phone()
    net.add(here)
    for number in range(300):
        here.register(f"sip:alice@192.0.2.10:{6000 + number % 7};expires={600 * (number % 3 > 0)}")
        if number % 10 == 9:
            net.run(0.1)
    net.run(2)
    assert set(visible(two)) == set(visible(one))
    sent = dict(net.sent)
    net.run(10)
    assert dict(net.sent) == sent


def test_the_newer_register_wins_on_both_sides() -> None:
    """mode = "mirror": a phone that moves takes its binding along, and an end there is an end here."""
    net, one, two = pair(mode="mirror")
    phone = Phone()
    net.add(phone)
    phone.register(f"{A};expires=600")
    net.run(6)
    assert visible(two) == {A: "peer:one"}
    phone.server = OTHER
    phone.register(f"{A};expires=600")
    net.run(12)
    assert visible(two) == {A: ""}
    assert visible(one) == {A: "peer:two"}
    phone.server = SERVER
    phone.register(f"{A};expires=0")
    net.run(12)
    assert visible(one) == {}
    assert visible(two) == {}
    sent = dict(net.sent)
    net.run(20)
    assert dict(net.sent) == sent


def test_in_follow_mode_local_rows_always_win() -> None:
    """mode = "follow": a phone that moved stays registered where it was, until that expires."""
    net, one, two = pair()
    phone = Phone()
    net.add(phone)
    phone.register(f"{A};expires=600")
    phone.server = OTHER
    phone.register(f"{A};expires=600")
    net.run(12)
    phone.register(f"{A};expires=0")
    net.run(12)
    assert visible(one) == {A: ""}
    assert visible(two) == {}


def test_a_watcher_sees_one_contact_whoever_says_it_is_bound() -> None:
    """REV-10, XML-9: the row that speaks for it changes, its id does not."""
    net, one, _ = pair()
    watcher = watch(net, one)
    phone = Phone(OTHER)
    net.add(phone)
    phone.register(f"{A};expires=600")
    net.run(12)
    phone.server = SERVER
    phone.register(f"{A};expires=600")
    net.run(6)
    phone.register(f"{A};expires=0")
    net.run(6)
    contacts = [contact for document in watcher.documents for contact in document.registrations[0].contacts]
    assert {contact.id for contact in contacts} == {contacts[0].id}
    assert [contact.state for contact in contacts] == ["active", "active", "terminated"]


def test_rate_limits_do_not_lose_anything() -> None:
    """REV-6: what was told late is told right."""
    net = Network(seed=3)
    one = net.serve(House(notifier=NotifierSection(min_notify_interval=30)))
    watcher = watch(net, one)
    phone = Phone()
    net.add(phone)
    for number in range(200):
        phone.register(f"sip:alice@192.0.2.10:{6000 + number % 5};expires={600 * (number % 4 > 0)}")
        net.run(0.7)
    net.run(60)
    assert watcher.contacts() == set(one.contacts())


# ---- a server that was away, and who asks it first when it is back

BOB = "sip:bob@example.com"


def asked(scene: Scene, aor: str) -> int:
    return sum(one.to.uri == aor for one in scene.east.subscribes)


def test_a_probe_that_is_followed_no_longer_leaves_its_turn() -> None:
    """SUB-16, TX-11: whoever has waited with it is the next one to ask"""
    scene = Scene()
    scene.east.status = 0
    scene.follow()
    scene.follow(BOB)
    scene.net.run(70)  # both have had no answer, and the one that was first is asking again
    [probe] = {one.to.uri for one in scene.east.subscribes if asked(scene, one.to.uri) == 2}
    scene.house.roles.subscriber.unfollow(probe, scene.house.now())
    other = BOB if probe == ALICE else ALICE
    scene.net.run(60)
    scene.east.status = 200
    scene.net.run(1800)
    assert [one.state.value for one in scene.house.roles.subscriber if one.aor == other] == ["active"]


def test_what_ends_while_it_waits_for_its_server_leaves_its_turn() -> None:
    """SUB-18: what was told noresource does not ask again, and nobody waits for it to"""
    scene = Scene(expires=600)
    scene.follow(BOB)
    scene.net.run(40)
    scene.follow()
    scene.east.status = 0
    scene.net.run(575)  # the refresh of bob had no answer, that of alice waits
    held = next(one for one in scene.house.roles.subscriber if one.aor == ALICE)
    [first] = [one for one in scene.east.subscribes if one.call_id == held.call_id][:1]
    scene.east.request(
        SERVER,
        "NOTIFY",
        first.contacts[0].uri,
        ("Event", "reg"),
        ("Subscription-State", "terminated;reason=noresource"),
        ("Contact", "<sip:192.0.2.80:5080>"),
        from_=f"<{ALICE}>;tag=n1",
        to=f"<{first.from_.uri}>;tag={first.from_.tag}",
        call_id=first.call_id,
        cseq=100,
    )
    scene.net.run(200)
    scene.east.status = 200
    scene.net.run(1800)
    assert [one.state.value for one in scene.house.roles.subscriber if one.aor == BOB] == ["active"]


# ---- contacts of which no time is told


def test_a_contact_without_a_time_ends_with_what_was_followed() -> None:
    """RIC-9: the last NOTIFY still has it, and nothing is heard of it from then on"""
    scene = Scene()
    scene.east.first = body(A)
    scene.follow()
    scene.house.roles.subscriber.unfollow(ALICE, scene.house.now())
    scene.net.run(0.5)
    assert len(scene.house.roles.subscriber) == 0
    assert set(scene.rows()) == {A}
    scene.net.run(601)
    assert scene.rows() == {}


def test_a_subscription_is_refreshed_also_if_nobody_has_said_how_long_it_lasts() -> None:
    """SUB-15, SUB-19, RFC 6665 4.1.2.1: expires of Subscription-State may be absent, and the 200 be lost"""
    scene = Scene(expires=600)
    scene.east.status = 0
    scene.follow()
    assert scene.notify(body(A), "active") == 200
    scene.net.run(590)
    assert len(scene.east.subscribes) > 1


@pytest.mark.parametrize("header", [("Event", 'reg;id="'), ("Subscription-State", ";")])
def test_a_notify_that_was_kept_and_cannot_be_read_is_answered(scene: Scene, header: tuple[str, str]) -> None:
    """RFC 3261 8.2: 400, and -1 for the program that has kept it, as it is told of any other that is not applied"""
    scene.follow()
    results: list[int] = []

    def keep(request: SipMessage, flow: Flow) -> Outcome | None:
        if request.method != "NOTIFY":
            return None
        scene.house.engine.handle_notify(request, flow, scene.house.now(), results.append)
        return KEEP

    scene.house.engine.hook = keep
    assert scene.notify(body(A), "active;expires=3600", header) == 400
    assert results == [-1]


def test_what_a_relay_follows_and_somebody_else_too_stays_when_nothing_is_bound(scene: Scene) -> None:
    """One that ends by itself is made one that does not"""
    subscriber = scene.house.roles.subscriber
    subscriber.follow(ALICE, 600, scene.house.now(), keep=False, while_bound=True)
    scene.net.run(0.2)
    scene.follow()
    scene.net.run(1300)
    assert [one.state.value for one in subscriber] == ["active"]


def test_a_server_of_rfc_3265_is_followed() -> None:
    """SUB-19: 202 is 200, Subscription-State has no expires, and the dialog has the tag of the NOTIFY all the same"""
    scene = Scene(expires=600)
    scene.east.status, scene.east.headers = 202, (("Expires", "600"),)
    scene.follow()
    scene.east.tag = "other"
    assert scene.notify(body(A), "active") == 200
    assert set(scene.rows()) == {A}
    scene.net.run(590)
    assert [one.to.tag for one in scene.east.subscribes] == [None, "other"]
