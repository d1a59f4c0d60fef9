"""What Kamailio 5.6 puts on the wire, and how it takes what others send: facts that the roles of reginfo rely on.

A failure here means another Kamailio, not a defect: then the compatibility profile has to be looked at.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.dissector import captured
from tests.interop.documents import MEDIA_TYPE, Document, contact, document, registration
from tests.interop.kamailio import DOMAIN, PresenceServer, Registrar, Row, eventually, presence_server, registrar
from tests.interop.peer import Compositor, Neighbour, Notifier, Phone, Publisher, Received, Watcher

pytestmark = [pytest.mark.network, pytest.mark.usefixtures("kamailio")]

ALICE = f"sip:alice@{DOMAIN}"
HERE = "sip:one@127.0.0.1:9"
THERE = "sip:two@127.0.0.1:9"
COMMON = ["via", "to", "from", "cseq", "call-id", "content-length", "user-agent", "max-forwards", "event"]
"The headers of PUBLISH and SUBSCRIBE begin with these."


@pytest.fixture
def phone(publishing: Registrar, aor: str) -> Iterator[Phone]:
    """A phone of the publishing registrar."""
    with Phone(publishing.address, aor) as peer:
        yield peer


def body_of(message: Received) -> Document:
    """Return the document of a message, which has to have one."""
    assert message.document is not None
    return message.document


def learned(server: Registrar, aor: str) -> dict[str, Row]:
    """Return what a server has learned of an address-of-record by NOTIFY."""
    return server.contacts(aor.partition(":")[2])


def verdict(answer: Received) -> int:
    """Return what reginfo_handle_notify returned."""
    return int(answer.header("X-Verdict") or "")


# --- PUBLISH


def test_headers_of_publish(compositor: Compositor, phone: Phone) -> None:
    assert phone.register().status == 200
    first = compositor.receive_publish(phone.aor)
    tag = compositor.store(first)
    assert phone.register().status == 200
    second = compositor.publication(phone.aor)
    for publish in (first, second):
        message = publish.message
        assert message.from_ is not None
        assert message.to is not None
        assert message.request_uri == message.from_.uri == message.to.uri == phone.aor
        assert publish.header("cseq") == "10 PUBLISH"
        assert publish.header("max-forwards") == "70"
        assert publish.header("event") == "reg"
        assert publish.header("content-type") == MEDIA_TYPE
        assert publish.to_tag == ""
        assert "contact" not in publish.names
    assert first.names == [*COMMON, "expires", "content-type"]
    assert second.names == [*COMMON, "expires", "sip-if-match", "content-type"]
    assert second.message.sip_if_match == tag
    assert first.call_id != second.call_id
    assert first.from_tag != second.from_tag


@pytest.mark.parametrize("expires", [60, 7200])
def test_a_publication_lives_an_hour_whatever_the_contacts_do(
    compositor: Compositor, phone: Phone, expires: int
) -> None:
    assert phone.register(expires=expires).status == 200
    publish = compositor.publication(phone.aor)
    assert publish.message.expires == 3601
    assert body_of(publish).registration.contacts[0].attributes["expires"] == str(expires)


def test_the_published_document(compositor: Compositor, phone: Phone) -> None:
    headers = ["User-Agent: phone", "Supported: path", "Path: <sip:edge@127.0.0.7;lr;received=sip:127.0.0.8:7777>"]
    assert phone.register(f"<{HERE}>;q=0.5", expires=300, headers=headers).status == 200
    body = compositor.publication(phone.aor).body.decode()
    expected = f"""<?xml version="1.0"?>
<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="full">
  <registration aor="{phone.aor}" id="ID" state="active">
    <contact id="ID" state="active" event="created" expires="300" q="0.500" callid="{phone.call_id}" cseq="1" RECEIVED>
      <uri>{HERE}</uri>
    </contact>
  </registration>
</reginfo>
"""
    received = 'received="sip:127.0.0.8:7777" path="&lt;sip:edge@127.0.0.7;lr;received=sip:127.0.0.8:7777&gt;"'
    expected = expected.replace("RECEIVED", f'{received} user_agent="phone"')
    assert re.sub('id="0x[0-9a-f]+"', 'id="ID"', body) == expected


def test_absent_values_in_the_published_document(compositor: Compositor, phone: Phone) -> None:
    assert phone.register(HERE).status == 200
    (only,) = body_of(compositor.publication(phone.aor)).registration.contacts
    assert "q" not in only.attributes
    assert [only.attributes[name] for name in ("received", "path", "user_agent")] == ["", "", "n/a"]


def test_each_change_is_a_full_document_of_version_0(compositor: Compositor, phone: Phone) -> None:
    expected = []
    told = []
    for uri, expires, events in [
        (HERE, 600, {HERE: ("active", "created")}),
        (THERE, 600, {HERE: ("active", "registered"), THERE: ("active", "created")}),
        (HERE, 600, {HERE: ("active", "refreshed"), THERE: ("active", "registered")}),
        (THERE, 0, {HERE: ("active", "registered"), THERE: ("terminated", "unregistered")}),
    ]:
        assert phone.register(uri, expires=expires).status == 200
        published = body_of(compositor.publication(phone.aor))
        expected.append((0, "full", "active", events))
        told.append((published.version, published.state, published.registration.state, published.registration.events))
    assert told == expected


def test_the_last_removal_is_a_modification(compositor: Compositor, phone: Phone) -> None:
    assert phone.register(HERE, expires=600).status == 200
    tag = compositor.store(compositor.receive_publish(phone.aor))
    assert phone.unregister(HERE).status == 200
    publish = compositor.publication(phone.aor)
    assert (publish.message.sip_if_match, publish.message.expires) == (tag, 3601)
    published = body_of(publish).registration
    assert (published.state, published.events) == ("terminated", {HERE: ("terminated", "unregistered")})
    assert published.contacts[0].attributes["expires"] == "600"
    # The publication goes on, and so does its entity-tag.
    assert phone.register(HERE).status == 200
    assert compositor.publication(phone.aor).message.sip_if_match is not None


def test_contacts_removed_together_are_published_one_by_one(compositor: Compositor, phone: Phone) -> None:
    for uri in (HERE, THERE):
        assert phone.register(uri).status == 200
        compositor.publication(phone.aor)
    assert phone.unregister("*").status == 200
    first, second = (body_of(compositor.publication(phone.aor)).registration for _ in range(2))
    assert first.events == {HERE: ("terminated", "unregistered"), THERE: ("active", "registered")}
    assert (second.state, second.events) == ("terminated", {THERE: ("terminated", "unregistered")})


@pytest.mark.parametrize("status", [403, 404, 489, 500, 503])
def test_after_a_failure_the_next_change_is_published_initially(
    compositor: Compositor, phone: Phone, status: int
) -> None:
    assert phone.register().status == 200
    compositor.publication(phone.aor)
    assert phone.register().status == 200
    compositor.answer(compositor.receive_publish(phone.aor), status, ["Retry-After: 60"])
    assert phone.register().status == 200
    assert compositor.publication(phone.aor).message.sip_if_match is None


def test_no_publish_when_switched_off(tmp_path: Path) -> None:
    with (
        Compositor() as compositor,
        registrar(tmp_path, compositor.address, publish=False) as server,
        Phone(server.address, ALICE) as phone,
    ):
        assert phone.register().status == 200
        assert compositor.nothing()


# --- SUBSCRIBE


def test_headers_of_subscribe(following: Registrar, notifier: Notifier, aor: str) -> None:
    following.subscribe(aor, 300)
    subscribe = notifier.receive(lambda found: found.message.request_uri == aor)
    notifier.accept(subscribe)
    message = subscribe.message
    assert message.from_ is not None
    assert message.to is not None
    assert message.to.uri == aor
    assert message.from_.uri == message.contacts[0].uri == following.uri("reginfo")
    assert subscribe.header("cseq") == "10 SUBSCRIBE"
    assert subscribe.header("event") == "reg"
    assert message.expires == 310
    assert subscribe.body == b""
    assert subscribe.names == [*COMMON, "contact", "expires"]


def test_each_call_of_reginfo_subscribe_begins_another_subscription(
    following: Registrar, notifier: Notifier, aor: str
) -> None:
    """Nothing refreshes or ends the one before: a peer that subscribes at each REGISTER holds one per REGISTER."""
    seen = []
    for _ in range(3):
        following.subscribe(aor)
        subscribe = notifier.receive(lambda found: found.message.request_uri == aor)
        notifier.accept(subscribe)
        seen.append(subscribe)
    assert len({subscribe.call_id for subscribe in seen}) == 3
    assert [subscribe.to_tag for subscribe in seen] == ["", "", ""]


# --- NOTIFY, as reginfo_handle_notify takes it


def test_what_the_notify_handler_returns(following: Registrar, notifier: Notifier, followed: str) -> None:
    assert verdict(notifier.notify(document(registration(followed, contact(HERE))))) == 1
    assert verdict(notifier.notify(document(registration(followed, state="terminated")))) == 2
    assert verdict(notifier.notify(document(registration(followed, contact(HERE)))[:-20])) == -1
    assert verdict(notifier.notify(b"")) == 1


def test_a_contact_without_expires_is_skipped(following: Registrar, notifier: Notifier, followed: str) -> None:
    """Also one that ends; hence expires="0" to this peer."""
    told = registration(followed, contact(HERE, expires=None), contact(THERE, id="c2"))
    notifier.notify(document(told))
    assert set(learned(following, followed)) == {THERE}
    gone = contact(THERE, id="c2", state="terminated", event="unregistered", expires=None, cseq=2)
    notifier.notify(document(registration(followed, gone)))
    assert set(learned(following, followed)) == {THERE}


@pytest.mark.parametrize("event", ["unregistered", "expired"])
def test_a_contact_with_expires_0_ends(following: Registrar, notifier: Notifier, followed: str, event: str) -> None:
    notifier.notify(document(registration(followed, contact(HERE), contact(THERE, id="c2"))))
    gone = contact(THERE, id="c2", state="terminated", event=event, expires=0, cseq=2)
    assert verdict(notifier.notify(document(registration(followed, contact(HERE, cseq=2), gone)))) == 1
    eventually(lambda: set(learned(following, followed)) == {HERE}, "the end of the contact")


def test_callid_and_cseq_are_stored(following: Registrar, notifier: Notifier, followed: str) -> None:
    notifier.notify(document(registration(followed, contact(HERE, call_id="phone-7", cseq=41, expires=120))))
    row = learned(following, followed)[HERE]
    assert (row.call_id, row.cseq) == ("phone-7", 41)
    assert 100 < (row.expires or 0) <= 120


def test_a_terminated_registration_takes_all_contacts_along(
    following: Registrar, notifier: Notifier, followed: str
) -> None:
    notifier.notify(document(registration(followed, contact(HERE), contact(THERE, id="c2"))))
    assert verdict(notifier.notify(document(registration(followed, state="terminated")))) == 2
    assert learned(following, followed) == {}


def test_init_is_an_error_and_changes_nothing(following: Registrar, notifier: Notifier, followed: str) -> None:
    notifier.notify(document(registration(followed, contact(HERE))))
    assert verdict(notifier.notify(document(registration(followed, state="init")))) == -1
    assert set(learned(following, followed)) == {HERE}


def test_foreign_attributes_and_several_registrations_are_taken(
    following: Registrar, notifier: Notifier, followed: str
) -> None:
    """What reginfo says in namespaces of its own does no harm here."""
    told = registration(followed, contact(HERE)) + registration(f"{followed}.example", contact(THERE), id="r2")
    body = (
        document(told)
        .replace(b"<uri>", b"<uri xmlns:x='urn:example:x' x:y='z'>")
        .replace(b"</contact>", b"<x:more xmlns:x='urn:example:x' path='p'/></contact>")
    )
    assert verdict(notifier.notify(body)) == 1
    assert set(learned(following, followed)) == {HERE}
    assert set(learned(following, f"{followed}.example")) == {THERE}


# --- the presence server


def test_answer_to_subscribe_and_first_notify(presence: PresenceServer, aor: str) -> None:
    with Watcher(presence.address, aor) as watcher:
        answered = watcher.subscribe(500)
        assert (answered.status, answered.message.expires) == (200, 500)
        assert answered.message.contacts[0].uri == presence.uri("presence")
        told = watcher.notify()
        assert told.header("cseq") == "2 NOTIFY"
        assert (told.header("event"), told.header("content-type"), told.body) == ("reg", None, b"")
        state = told.subscription_state
        assert (state.state, state.reason) == ("active", None)
        assert state.expires in (499, 500)
        assert (told.from_tag, told.to_tag) == (answered.to_tag, watcher.tag)
        assert told.message.contacts[0].uri == presence.uri("presence")
        assert "accept" not in told.names


def test_documents_are_passed_on_as_published(presence: PresenceServer, aor: str) -> None:
    with Watcher(presence.address, aor) as watcher, Publisher(presence.address, aor) as publisher:
        watcher.subscribe()
        watcher.notify()
        for number, version in enumerate((7, 7, 3)):
            body = document(registration(aor, contact(HERE), id="0x7f"), version=version, state="partial")
            assert publisher.publish(body).status == 200
            told = watcher.notify()
            assert (told.body, told.header("content-type")) == (body, MEDIA_TYPE)
            assert told.header("cseq") == f"{3 + number} NOTIFY"
        # Whoever comes later gets the same octets.
        with Watcher(presence.address, aor) as late:
            late.subscribe()
            assert late.notify().body == body


def test_a_refresh_of_the_subscription_is_notified(presence: PresenceServer, aor: str) -> None:
    with Watcher(presence.address, aor) as watcher:
        first = watcher.subscribe(600)
        watcher.notify()
        again = watcher.subscribe(900)
        assert (again.status, again.message.expires, again.to_tag) == (200, 900, first.to_tag)
        told = watcher.notify()
        assert told.header("cseq") == "3 NOTIFY"
        assert (told.subscription_state.expires or 0) > 890


def test_unsubscribing_and_fetching(presence: PresenceServer, aor: str) -> None:
    with Watcher(presence.address, aor) as watcher, Publisher(presence.address, aor) as publisher:
        body = document(registration(aor, contact(HERE)))
        assert publisher.publish(body).status == 200
        watcher.subscribe()
        watcher.notify()
        answered = watcher.unsubscribe()
        assert (answered.status, answered.message.expires) == (200, 0)
        ended = watcher.notify()
        assert (ended.subscription_state.state, ended.subscription_state.reason) == ("terminated", "timeout")
        watcher.restart()
        answered = watcher.subscribe(0)
        assert (answered.status, answered.message.expires) == (200, 0)
        fetched = watcher.notify()
        assert (fetched.header("cseq"), fetched.body) == ("1 NOTIFY", body)
        assert (fetched.subscription_state.state, fetched.subscription_state.reason) == ("terminated", "timeout")


def test_other_requests_of_watchers(presence: PresenceServer, aor: str) -> None:
    with Watcher(presence.address, aor) as watcher:
        refused = watcher.subscribe(event="presence")
        assert (refused.status, refused.header("allow-events")) == (489, "reg")
        watcher.restart()
        # Accept is not read, and an hour is the most and the default.
        assert watcher.subscribe(accept="text/plain").status == 200
        watcher.notify()
        watcher.restart()
        assert watcher.subscribe(None).message.expires == 3600
        watcher.notify()
        watcher.restart()
        assert watcher.subscribe(4000).message.expires == 3600
        watcher.notify()


@pytest.mark.parametrize("status", [404, 481])
def test_a_refused_notify_ends_the_subscription(presence: PresenceServer, aor: str, status: int) -> None:
    with Watcher(presence.address, aor) as watcher, Publisher(presence.address, aor) as publisher:
        watcher.subscribe()
        watcher.notify(status)
        assert publisher.publish(document(registration(aor, contact(HERE)))).status == 200
        # One worker: it has told all watchers when it answers this.
        presence.options()
        assert watcher.nothing()


def test_answers_to_publish(presence: PresenceServer, aor: str) -> None:
    body = document(registration(aor, contact(HERE)))
    with Publisher(presence.address, aor) as publisher:
        tags = []
        for answered in (publisher.publish(body), publisher.publish(body), publisher.refresh(500)):
            assert answered.status == 200
            tags.append(answered.message.sip_etag)
        assert answered.message.expires == 500
        assert len(set(tags)) == 3
        # A tag that was once given, one that looks like it, and one that does not.
        for tag, status in ((tags[0], 412), ("a.1700000000.1.2.3", 412), ("nonsense", 500)):
            refused = publisher.publish(body, if_match=tag)
            assert (refused.status, refused.message.sip_etag) == (status, None)
        publisher.entity_tag = tags[-1]
        removed = publisher.remove()
        assert (removed.status, removed.message.expires) == (200, 0)
        assert publisher.publish(body, 100_000).message.expires == 3600
        assert publisher.publish(body, None).message.expires == 3600
        assert publisher.publish(b"", if_match=None).status == 400
        refused = publisher.publish(body, event="dialog", if_match=None)
        assert (refused.status, refused.header("allow-events")) == (489, "reg")


# --- both, and what the dissector says


def test_registrar_and_presence_server_together(tmp_path: Path, presence: PresenceServer, aor: str) -> None:
    with (
        registrar(tmp_path, presence.address) as server,
        Phone(server.address, aor) as phone,
        Watcher(presence.address, aor) as watcher,
    ):
        watcher.subscribe()
        watcher.notify()
        phone.register(HERE)
        told = body_of(watcher.notify())
        assert (told.registration.state, told.registration.events) == ("active", {HERE: ("active", "created")})
        phone.unregister(HERE)
        told = body_of(watcher.notify())
        assert (told.version, told.registration.state) == (0, "terminated")
        server.subscribe(aor)
        eventually(lambda: server.statistics()["core:rcv_requests_notify"] == 1, "its own NOTIFY")


@pytest.mark.usefixtures("tshark")
def test_the_dissector_knows_all_but_three_attributes(tmp_path: Path) -> None:
    """received, path and user_agent are in no schema; all else is as Wireshark expects it."""
    (tmp_path / "registrar").mkdir()
    with (
        presence_server(tmp_path) as server,
        registrar(tmp_path / "registrar", server.address) as publisher,
        Watcher(server.address, ALICE) as watcher,
        Phone(publisher.address, ALICE) as phone,
        captured(tmp_path, server.port, publisher.port) as capture,
    ):
        watcher.subscribe()
        watcher.notify()
        phone.register(HERE)
        watcher.notify()
        publisher.options()
    seen = {(one.method, one.is_xml) for one in capture.messages if one.method}
    assert seen >= {("SUBSCRIBE", False), ("NOTIFY", False), ("REGISTER", False), ("PUBLISH", True), ("NOTIFY", True)}
    for message in capture.messages:
        assert (message.warnings, message.malformed) == ((), False)
        names = {attribute.partition("=")[0] for attribute in message.unknown_xml}
        assert names == ({"received", "path", "user_agent"} if message.is_xml else set())


def test_one_peer_may_be_compositor_and_notifier(tmp_path: Path) -> None:
    """There is one outbound_proxy for both, so what stands there takes both."""
    with (
        Neighbour() as neighbour,
        registrar(tmp_path, neighbour.address, aor=ALICE, expires=120) as server,
        Phone(server.address, f"sip:bob@{DOMAIN}") as phone,
    ):
        server.subscribe()
        subscribe = neighbour.receive_subscribe()
        neighbour.accept(subscribe)
        assert (subscribe.message.request_uri, subscribe.message.expires) == (ALICE, 130)
        phone.register()
        assert neighbour.publication(phone.aor).message.expires == 3601
        assert verdict(neighbour.notify(document(registration(ALICE, contact(HERE))))) == 1
