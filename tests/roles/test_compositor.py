"""The compositor: ESC-1 to ESC-7, over octets and virtual time."""

from typing import Any

import pytest

from reginfo.config import CompositorSection, PeerSection
from reginfo.fast import SipMessage
from tests.harness import House, finish
from tests.network import Network, Peer
from tests.scenes import ALICE, OTHER, SERVER, A, B, Phone, watch

PUBLISHER = ("192.0.2.20", 5060)
TRUSTED = CompositorSection(publishers=("192.0.2.0/24",))


def document(*contacts: str, aor: str = ALICE, state: str = "full", registration: str = "active") -> bytes:
    """Return a document with contacts given as `URI attribute="value" ...`; state and event may be left out."""
    rows = []
    for number, row in enumerate(contacts):
        uri, _, attributes = row.partition(" ")
        if "state=" not in attributes:
            attributes += ' state="active"'
        if "event=" not in attributes:
            attributes += ' event="registered"'
        rows.append(f'<contact id="c{number}" {attributes}><uri>{uri}</uri></contact>')
    return (
        f'<?xml version="1.0"?><reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="{state}">'
        f'<registration aor="{aor}" id="r1" state="{registration}">{"".join(rows)}</registration></reginfo>'
    ).encode()


class Scene:
    """A compositor, a publisher made by hand, a watcher."""

    def __init__(self, compositor: CompositorSection = TRUSTED, **sections: Any) -> None:
        self.net = Network()
        self.house = self.net.serve(House(compositor=compositor, **sections))
        self.publisher = Peer(PUBLISHER)
        self.net.add(self.publisher)

    def publish(
        self,
        body: bytes = b"",
        expires: int | None = 600,
        match: str = "",
        *headers: tuple[str, str],
        uri: str = ALICE,
        publisher: Peer | None = None,
        event: str = "reg",
        content_type: str = "application/reginfo+xml",
        call_id: str = "",
    ) -> SipMessage:
        """Send a PUBLISH and return its answer."""
        rows = [("Event", event)] if event else []
        if expires is not None:
            rows.append(("Expires", str(expires)))
        if match:
            rows.append(("SIP-If-Match", match))
        if body:
            rows.append(("Content-Type", content_type))
        peer = publisher or self.publisher
        peer.request(SERVER, "PUBLISH", uri, *rows, *headers, from_=f"<{uri}>;tag=p", body=body, call_id=call_id)
        self.net.run(0.1)
        return peer.received[-1]

    def contacts(self) -> list[tuple[str, str]]:
        registration = self.house.registration()
        return [] if registration is None else [(one.uri, one.origin[:12]) for one in registration.bindings]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_publish_refresh_modify_and_remove(scene: Scene) -> None:
    """ESC-1, ESC-2, ESC-3: each success has an entity-tag of its own, and the old one dies."""
    watcher = watch(scene.net, scene.house)
    tags = []
    answer = scene.publish(document(f'{A} expires="300" callid="k" cseq="1" q="0.5"'), 600)
    assert (answer.status, answer.expires) == (200, 600)
    tags.append(answer.sip_etag)
    scene.net.run(6)
    assert watcher.events()[-1] == [(A, "registered")]
    told = watcher.documents[-1].registrations[0].contacts[0]
    assert (told.call_id, told.cseq, told.q) == ("k", 1, 0.5)
    assert 290 < (told.expires or 0) <= 300

    answer = scene.publish(b"", 500, str(tags[-1]))
    assert (answer.status, answer.expires) == (200, 500)
    tags.append(answer.sip_etag)
    scene.net.run(6)
    assert len(watcher.documents) == 2  # ESC-7: a refresh alone is no news

    answer = scene.publish(document(f'{B} expires="300"'), 600, str(tags[-1]))
    tags.append(answer.sip_etag)
    scene.net.run(6)
    assert sorted(watcher.events()[-1]) == [(A, "unregistered"), (B, "registered")]

    answer = scene.publish(b"", 0, str(tags[-1]))
    assert (answer.status, answer.expires) == (200, 0)
    tags.append(answer.sip_etag)
    scene.net.run(6)
    assert watcher.events()[-1] == [(B, "unregistered")]
    assert watcher.documents[-1].registrations[0].state == "terminated"
    assert None not in tags
    assert len(set(tags)) == 4
    for tag in tags:
        assert scene.publish(b"", 600, str(tag)).status == 412
    assert len(scene.house.roles.compositor) == 0


@pytest.mark.parametrize(
    ("arguments", "status", "header"),
    [
        ({"event": ""}, 489, "Allow-Events"),
        ({"event": "presence"}, 489, "Allow-Events"),
        ({"uri": "sip:alice@elsewhere.net"}, 404, ""),
        ({"uri": "sip:example.com"}, 404, ""),
        ({"body": b""}, 400, ""),
        ({"body": b"<reginfo/>"}, 400, ""),
        ({"body": document(A, state="partial")}, 400, ""),
        ({"content_type": "application/pidf+xml"}, 415, "Accept"),
        ({"match": "none.1"}, 412, ""),
        ({"match": "a, b"}, 400, ""),
        ({"expires": 59}, 423, "Min-Expires"),
        ({"body": document(A, aor="sip:bob@example.com")}, 403, ""),
        ({"body": document(*[f"sip:a{n}@192.0.2.1" for n in range(257)])}, 403, ""),
    ],
)
def test_what_cannot_be_published_is_refused(arguments: dict[str, Any], status: int, header: str) -> None:
    """ESC-1, ESC-6: nothing changes."""
    scene = Scene(CompositorSection(publishers=("192.0.2.0/24",), min_expires=60))
    answer = scene.publish(**{"body": document(A), **arguments})
    assert answer.status == status
    assert not header or answer.header(header) is not None
    assert scene.contacts() == []
    assert len(scene.house.roles.compositor) == 0


@pytest.mark.parametrize(
    ("publishers", "status"),
    [((), 403), (("192.0.2.20",), 200), (("198.51.100.0/24",), 403), (("sip:*@example.com",), 200), (("sip:b*",), 403)],
)
def test_only_who_is_trusted_may_publish(publishers: tuple[str, ...], status: int) -> None:
    """ESC-5, F21"""
    assert Scene(CompositorSection(publishers=publishers)).publish(document(A)).status == status


def test_a_peer_may_publish_for_the_domains_it_speaks_for() -> None:
    """ESC-5"""
    peer = PeerSection(name="east", uri="sip:192.0.2.20:5060", domains=("example.com",))
    scene = Scene(CompositorSection(), domains=("example.com", "example.net"), peers=(peer,))
    assert scene.publish(document(A)).status == 200
    assert scene.publish(document(A, aor="sip:a@example.net"), uri="sip:a@example.net").status == 403
    registration = scene.house.bound()
    assert registration.bindings[0].origin.startswith("publication:east.")


def test_initial_with_nothing_to_keep(scene: Scene) -> None:
    """ESC-3: Expires 0 stores nothing."""
    answer = scene.publish(document(A), 0)
    assert (answer.status, answer.expires) == (200, 0)
    assert answer.sip_etag
    assert scene.contacts() == []


@pytest.mark.parametrize(("asked", "granted"), [(None, 3600), (10, 10), (7200, 7200), (9999, 7200)])
def test_the_time_granted(scene: Scene, asked: int | None, granted: int) -> None:
    """ESC-2"""
    assert scene.publish(document(A), asked).expires == granted


def test_soft_state_expires(scene: Scene) -> None:
    """ESC-4, ESC-7"""
    watcher = watch(scene.net, scene.house)
    tag = scene.publish(document(f'{A} expires="3000"'), 60).sip_etag
    scene.net.run(62)
    assert watcher.events()[-1] == [(A, "expired")]
    assert scene.publish(b"", 60, str(tag)).status == 412
    assert len(scene.house.roles.compositor) == 0


def test_a_contact_with_a_time_of_its_own_expires_alone(scene: Scene) -> None:
    """ESC-7"""
    watcher = watch(scene.net, scene.house)
    scene.publish(document(f'{A} expires="30"', B), 600)
    scene.net.run(31)
    assert watcher.events()[-1] == [(A, "expired")]
    assert watcher.contacts() == {B}
    scene.net.run(600)
    assert watcher.events()[-1] == [(B, "expired")]


def test_publications_and_registrations_are_one_registration(scene: Scene) -> None:
    """ESC-6, KAM defect 13: contacts merged by URI, the newest publication speaks; one registration per AoR."""
    other = Peer(("192.0.2.21", 5060))
    scene.net.add(other)
    watcher = watch(scene.net, scene.house)
    scene.publish(document(f'{A} expires="300" callid="one" cseq="1"'))
    scene.net.run(6)
    scene.publish(document('sip:alice@192.0.2.10:5060;x=y expires="200" callid="two" cseq="9"'), publisher=other)
    scene.net.run(6)
    assert [len(one.registrations) for one in watcher.documents] == [1, 1, 1]
    ids = {one.id for doc in watcher.documents for one in doc.registrations[0].contacts}
    assert len(ids) == 1
    assert watcher.documents[-1].registrations[0].contacts[0].call_id == "two"
    phone = Phone()
    scene.net.add(phone)
    phone.register(f"{A};expires=600")
    scene.net.run(6)
    assert phone.last.contact_count == 1  # what is published is not listed
    assert watcher.documents[-1].registrations[0].contacts[0].call_id == phone.call_id
    phone.register(f"{A};expires=0")
    scene.net.run(6)
    told = watcher.documents[-1].registrations[0].contacts[0]
    assert (told.state, told.call_id) == ("active", "two")  # it is still bound where it was published


def test_limits_at_n_and_beyond() -> None:
    """SEC-5"""
    scene = Scene(CompositorSection(publishers=("192.0.2.0/24",), max_publications_per_aor=2, max_publications=3))
    assert [scene.publish(document(A)).status for _ in range(3)] == [200, 200, 403]
    bob = "sip:bob@example.com"
    answers = [scene.publish(document(A, aor=bob), uri=bob) for _ in range(2)]
    assert [one.status for one in answers] == [200, 503]
    assert answers[1].retry_after


def test_who_begins_again_under_its_call_id_replaces_what_it_had(scene: Scene) -> None:
    """ESC-2: an EPA that lost its entity-tag does not leave an orphan behind."""
    first = scene.publish(document(f'{A} expires="300"'), call_id="mine").sip_etag
    second = scene.publish(document(f'{B} expires="300"'), call_id="mine").sip_etag
    assert first != second
    assert [uri for uri, _ in scene.contacts()] == [B]
    assert len(scene.house.roles.compositor) == 1
    assert scene.publish(b"", 600, str(first)).status == 412


def test_publications_survive_a_restart(scene: Scene) -> None:
    """ESC-2, ESC-4: with their entity-tags and their end."""
    watcher = watch(scene.net, scene.house)
    tag = scene.publish(document(f'{A} expires="3000"'), 60).sip_etag
    scene.net.run(2)
    scene.house.crash()
    assert [uri for uri, _ in scene.contacts()] == [A]
    answer = scene.publish(b"", 60, str(tag))
    assert answer.status == 200
    assert answer.sip_etag != tag
    scene.house.crash()
    scene.net.run(70)
    assert scene.contacts() == []
    assert watcher.events()[-1] == [(A, "expired")]
    assert finish(scene.house.store.scan_state(b"c/")) == []


def test_administrative_events_pass_through(scene: Scene) -> None:
    """ESC-7, REV-8: a contact that the publisher says has ended ends with that event."""
    watcher = watch(scene.net, scene.house)
    tag = scene.publish(document(f'{A} expires="300"', f'{B} expires="300"')).sip_etag
    scene.net.run(6)
    body = document(f'{A} state="terminated" event="probation" retry-after="77"', f'{B} event="shortened" expires="20"')
    scene.publish(body, 600, str(tag))
    scene.net.run(6)
    told = {one.uri: one for one in watcher.documents[-1].registrations[0].contacts}
    assert (told[A].event, told[A].retry_after) == ("probation", 77)
    assert (told[B].event, told[B].state) == ("shortened", "active")


@pytest.mark.parametrize("junk", ["not a uri", "sip:", "mailto:", "sip:a@b@c@"])
def test_a_contact_that_cannot_be_one_is_passed_over(scene: Scene, junk: str) -> None:
    """RIC-10"""
    assert scene.publish(
        document(f'{A} expires="300"').replace(
            b"</registration>",
            (f'<contact id="x" state="active" event="registered"><uri>{junk}</uri></contact></registration>').encode(),
        )
    ).status in (200, 400)
    assert scene.contacts() in ([(A, "publication:")], [])


def test_two_with_one_entity_tag_in_one_turn(scene: Scene) -> None:
    """ESC-4: in the order of arrival; the second one comes too late."""
    tag = scene.publish(document(A)).sip_etag
    for number in range(2):
        scene.publisher.request(
            SERVER,
            "PUBLISH",
            ALICE,
            ("Event", "reg"),
            ("SIP-If-Match", str(tag)),
            ("Expires", "100"),
            from_=f"<{ALICE}>;tag=t{number}",
        )
    scene.net.run(0.1)
    assert [one.status for one in scene.publisher.received[-2:]] == [200, 412]


def test_the_publications_of_another_server_are_no_news_to_it() -> None:
    """RIC-7: a peer is not told what it has published itself."""
    net = Network()
    peer = PeerSection(name="east", uri="sip:127.0.0.2:5060")
    house = net.serve(House(peers=(peer,)))
    east = Peer(OTHER)
    net.add(east)
    watcher = watch(net, house, local=("127.0.0.2", 5070))
    east.request(
        SERVER,
        "PUBLISH",
        ALICE,
        ("Event", "reg"),
        ("Content-Type", "application/reginfo+xml"),
        from_=f"<{ALICE}>;tag=t",
        body=document(f'{A} expires="300"'),
    )
    net.run(10)
    assert east.statuses("PUBLISH") == [200]
    assert house.contacts() == [A]
    assert len(watcher.documents) == 1


def test_publications_with_one_call_id_expire_each(scene: Scene) -> None:
    """ESC-4: two that begin in one turn have one Call-ID, and so have two peers if they like"""
    for contact, expires in ((A, 60), (B, 30)):
        scene.publisher.request(
            SERVER,
            "PUBLISH",
            ALICE,
            ("Event", "reg"),
            ("Expires", str(expires)),
            ("Content-Type", "application/reginfo+xml"),
            from_=f"<{ALICE}>;tag={expires}",
            body=document(contact),
            call_id="one",
        )
    scene.net.run(0.1)
    assert scene.publisher.statuses("PUBLISH") == [200, 200]
    assert [uri for uri, _ in scene.contacts()] == [A, B]
    scene.net.run(31)
    assert [uri for uri, _ in scene.contacts()] == [A]
    scene.net.run(30)
    assert scene.contacts() == []
    assert len(scene.house.roles.compositor) == 0
