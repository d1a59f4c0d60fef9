"""What Kamailio's pua_reginfo and its surroundings do wrong: the predecessor, seen from outside.

Each test passes because the real Kamailio 5.6 behaves as its name says.  Its docstring says what is wrong with that and
what is owed instead, by the identifiers of the requirements that the roles of reginfo are tested against.

The servers have one worker: what a request makes them send has been sent before it is answered.  That nothing has come
by then means that nothing comes.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.documents import contact, document, registration
from tests.interop.kamailio import DOMAIN, PresenceServer, Registrar, Row, eventually, presence_server, registrar
from tests.interop.peer import Compositor, Neighbour, Notifier, Peer, Phone, Publisher, Received, Watcher

pytestmark = [pytest.mark.network, pytest.mark.usefixtures("kamailio")]

ALICE = f"sip:alice@{DOMAIN}"
HERE = "sip:one@127.0.0.1:9"
THERE = "sip:two@127.0.0.1:9"


@pytest.fixture
def phone(publishing: Registrar, aor: str) -> Iterator[Phone]:
    """A phone of the publishing registrar."""
    with Phone(publishing.address, aor) as peer:
        yield peer


def learned(server: Registrar, aor: str) -> dict[str, Row]:
    """Return what a server has learned of an address-of-record by NOTIFY: it files that under user and domain."""
    return server.contacts(aor.partition(":")[2])


def verdict(answer: Received) -> int:
    """Return what reginfo_handle_notify returned."""
    assert answer.status == 202
    return int(answer.header("X-Verdict") or "")


def of(aor: str) -> str:
    """Return the user of an address-of-record."""
    return aor.partition(":")[2].partition("@")[0]


# --- 1, 2: what stops working


def test_after_one_notify_nothing_is_published_any_more(tmp_path: Path) -> None:
    """A NOTIFY that leaves a live contact mutes the worker that handled it, for good and for every address-of-record.

    Owed: a PUBLISH for each change of an own binding, whatever was learned before (EPA-1); only what came from a peer
    is not told to that peer (RIC-7).
    """
    bob = f"sip:bob@{DOMAIN}"
    with (
        Neighbour() as neighbour,
        registrar(tmp_path, neighbour.address) as server,
        Phone(server.address, ALICE) as phone,
    ):
        assert phone.register().status == 200
        neighbour.publication(ALICE)
        server.subscribe(bob)
        neighbour.accept(neighbour.receive_subscribe())
        assert verdict(neighbour.notify(document(registration(bob, contact(HERE))))) == 1
        assert phone.register().status == 200
        assert phone.register(THERE).status == 200
        assert phone.unregister("*").status == 200
        assert neighbour.nothing()


def test_with_use_domain_a_notify_locks_the_table_for_ever(tmp_path: Path) -> None:
    """With use_domain=1 the key of what a NOTIFY brings is empty, and the lock of that record is never released.

    Every other process that comes by that slot of the table waits for ever: here the one that answers RPC.  The worker
    itself does not notice, takes the next peer's contacts to the same record, and finds neither.
    Owed: the key of a document's aor is that of a To header (URI-7, RIC-5).
    """
    bob, carol = f"sip:bob@{DOMAIN}", "sip:carol@elsewhere.example"
    with Neighbour() as neighbour, registrar(tmp_path, neighbour.address, use_domain=True) as server:
        server.subscribe(bob)
        neighbour.accept(neighbour.receive_subscribe())
        assert server.ul_dump() == []
        assert verdict(neighbour.notify(document(registration(bob, contact(HERE))))) == 1
        assert verdict(neighbour.notify(document(registration(carol, contact(THERE))))) == 1
        with pytest.raises(TimeoutError):
            server.ul_dump(timeout=1.0)
        assert server.lookup(bob) is None
        assert server.lookup(carol) is None


def test_without_use_domain_a_learned_contact_is_never_found(
    following: Registrar, notifier: Notifier, followed: str
) -> None:
    """With use_domain=0 a REGISTER is filed under its user, a NOTIFY under user and domain: they never meet.

    Together with the row above: in no mode does a call reach a replicated contact.
    Owed: one key for both (URI-7, RIC-5).
    """
    assert verdict(notifier.notify(document(registration(followed, contact(HERE))))) == 1
    assert set(learned(following, followed)) == {HERE}
    assert following.lookup(followed) is None
    with Phone(following.address, followed) as phone:
        assert phone.register(THERE).status == 200
    assert set(following.contacts(of(followed))) == {THERE}
    found = following.lookup(followed)
    assert found is not None
    assert found.uri == THERE


# --- 3, 4: ends of contacts


def test_the_peer_keeps_a_device_that_was_deregistered(
    publishing: Registrar, compositor: Compositor, following: Registrar, notifier: Notifier, followed: str
) -> None:
    """One of two devices leaves: the document still shows its old expiry, and the peer takes that for an update.

    Nothing but an expiry of 0 ends a contact there, and that is never sent.
    Owed: a terminated contact is deleted, whatever else it shows (RIC-5); and to this peer `expires="0"` (KAM-2).
    """
    with Phone(publishing.address, followed) as staying, Phone(publishing.address, followed) as leaving:
        bodies = []
        for registered in (staying.register, leaving.register, leaving.unregister):
            assert registered().status == 200
            bodies.append(compositor.publication(followed).body)
        for body in bodies:
            assert verdict(notifier.notify(body)) == 1
        assert set(publishing.contacts(of(followed))) == {staying.contact}
        assert set(learned(following, followed)) == {staying.contact, leaving.contact}
        assert (learned(following, followed)[leaving.contact].expires or 0) > 500


def test_expired_is_never_seen(compositor: Compositor, phone: Phone) -> None:
    """A contact that expires is already missing in the document; the last one leaves an empty terminated registration.

    Owed: each end is told once, with its cause (REV-8, REV-10).
    """
    assert phone.register(HERE, expires=600).status == 200
    compositor.publication(phone.aor)
    assert phone.register(THERE, expires=1).status == 200
    compositor.publication(phone.aor)
    document = compositor.publication(phone.aor).document
    assert document is not None
    assert document.registration.events == {HERE: ("active", "registered")}

    assert phone.register(HERE, expires=1).status == 200
    compositor.publication(phone.aor)
    document = compositor.publication(phone.aor).document
    assert document is not None
    assert (document.registration.state, document.registration.contacts) == ("terminated", ())


# --- 5: full, partial, version


def test_a_full_document_removes_nothing(following: Registrar, notifier: Notifier, followed: str) -> None:
    """A full document says what there is; contacts that are missing in it stay.

    Owed: the rows of this peer that are not in it are deleted (RIC-3, RIC-5).
    """
    notifier.notify(document(registration(followed, contact(HERE))))
    notifier.notify(document(registration(followed, contact(THERE, id="c2")), version=1))
    assert set(learned(following, followed)) == {HERE, THERE}


@pytest.mark.parametrize(
    "version", [pytest.param(5, id="repeated"), pytest.param(3, id="old"), pytest.param(9, id="gap")]
)
def test_version_is_never_checked(following: Registrar, notifier: Notifier, followed: str, version: int) -> None:
    """Repeated, old and too new documents are applied alike, and no gap makes it ask for the full state.

    Owed: a version that is not above the last one is discarded, a gap is followed by a SUBSCRIBE (RIC-2).
    """
    notifier.notify(document(registration(followed, contact(HERE)), version=5))
    told = document(registration(followed, contact(THERE, id="c2")), version=version, state="partial")
    assert verdict(notifier.notify(told)) == 1
    assert set(learned(following, followed)) == {HERE, THERE}
    assert notifier.nothing(lambda found: found.message.request_uri == followed)


# --- 6, 7: what is dropped


def test_where_a_learned_contact_is_reached_is_dropped(following: Registrar, notifier: Notifier, followed: str) -> None:
    """received, path and user_agent are sent, parsed and forgotten: behind a NAT or an edge proxy nobody answers.

    Owed: they are kept from a peer that is trusted with them (the kamailio profile; PTH-1, PTH-3).
    """
    told = contact(HERE, received="sip:127.0.0.8:7", path="<sip:edge@127.0.0.7;lr>", user_agent="phone", q="0.700")
    assert verdict(notifier.notify(document(registration(followed, told)))) == 1
    row = learned(following, followed)[HERE]
    assert (row.received, row.path, row.user_agent, row.q) == (None, None, "n/a", 0.0)


@pytest.mark.parametrize(
    ("event", "state"),
    [("deactivated", "terminated"), ("rejected", "terminated"), ("probation", "terminated"), ("shortened", "active")],
)
def test_administrative_events_are_unknown(
    following: Registrar, notifier: Notifier, followed: str, event: str, state: str
) -> None:
    """What an administrator did is an invalid NOTIFY (-1), and the contact lives on with its old expiry.

    Owed: all nine events (REV-8); an active contact is updated, a terminated one deleted (RIC-5).
    """
    notifier.notify(document(registration(followed, contact(HERE, expires=600))))
    told = document(registration(followed, contact(HERE, event=event, state=state, expires=30, cseq=2)), version=1)
    assert verdict(notifier.notify(told)) == -1
    assert (learned(following, followed)[HERE].expires or 0) > 500


@pytest.mark.parametrize("event", ["created", "registered", "refreshed", "expired", "unregistered"])
def test_the_state_of_a_contact_is_never_read(
    following: Registrar, notifier: Notifier, followed: str, event: str
) -> None:
    """A terminated contact is updated like an active one, as long as it shows an expiry, and counts as online (1).

    Owed: terminated deletes (RIC-5).
    """
    notifier.notify(document(registration(followed, contact(HERE, expires=600))))
    ended = contact(HERE, event=event, state="terminated", expires=900, cseq=2)
    assert verdict(notifier.notify(document(registration(followed, ended), version=1))) == 1
    assert (learned(following, followed)[HERE].expires or 0) > 600


# --- 8: documents


def test_a_contact_with_an_ampersand_is_published_without_its_uri(compositor: Compositor, phone: Phone) -> None:
    """`&` is not escaped for the XML library, which then leaves the text out: a contact without URI.

    Owed: escaped text (XML-1, XML-7).
    """
    uri = "sip:one@127.0.0.1:9;a=b&c"
    assert phone.register(uri).status == 200
    document = compositor.publication(phone.aor).document
    assert document is not None
    assert document.registration.events == {"": ("active", "created")}


def test_ids_are_addresses_in_memory(compositor: Compositor, phone: Phone) -> None:
    """The ids of registration and contact tell where in memory the server keeps them, and change with a restart.

    Owed: opaque ids, the same for an address-of-record and a binding (XML-6, XML-9).
    """
    assert phone.register().status == 200
    document = compositor.publication(phone.aor).document
    assert document is not None
    ids = [document.registration.id, document.registration.contacts[0].attributes["id"]]
    assert all(re.fullmatch("0x[0-9a-f]{9,16}", id) for id in ids)
    assert len({id[:6] for id in ids}) == 1


@pytest.mark.parametrize(
    ("registered", "published"),
    [
        ("sips:secure@example.com", "sip:secure@example.com"),
        ("tel:+15550100", "sip:+15550100@example.com"),
        ("sip:six@[2001:db8::1]", "sip:six@example.com"),
        ("sip:other@other.example", "sip:other@example.com"),
    ],
)
def test_every_address_of_record_becomes_a_sip_uri_of_the_default_domain(
    publishing: Registrar, compositor: Compositor, registered: str, published: str
) -> None:
    """Scheme and domain are hard-wired: whoever registers with another one is published as somebody else.

    Owed: the aor that was registered (XML-7, URI-7); the default domain only for one without domain.
    """
    with Phone(publishing.address, registered) as phone:
        assert phone.register(HERE).status == 200
    publish = compositor.publication(published)
    assert publish.document is not None
    assert publish.document.registration.aor == published


def test_a_learned_contact_may_be_longer_than_a_registered_one(
    following: Registrar, notifier: Notifier, followed: str
) -> None:
    """The registrar refuses a URI of 256 octets, the consumer stores one of any length.

    Owed: what comes from a peer is held to the limits of REGISTER (RIC-10).
    """
    uri = f"sip:{'x' * 2000}@127.0.0.1:9"
    with Phone(following.address, followed) as phone:
        assert phone.register(uri).status == 400
    assert verdict(notifier.notify(document(registration(followed, contact(uri))))) == 1
    assert set(learned(following, followed)) == {uri}


# --- 9: whom it believes


def test_anybody_writes_the_location_table(following: Registrar, aor: str) -> None:
    """A NOTIFY without subscription, with another Event and Content-Type, is applied like any other.

    Owed: 481 outside a dialog, 489 for another package, 400 without Subscription-State, 415 for another type (SUB-13,
    SUB-17), and no address-of-record that the peer may not speak for (RIC-10).
    """
    body = document(registration(aor, contact(HERE)))
    with Peer(following.address) as stranger:
        headers = ["Event: dialog", "Content-Type: text/plain"]
        assert verdict(stranger.request("NOTIFY", following.uri("anybody"), headers, body)) == 1
    assert set(learned(following, aor)) == {HERE}


def test_anybody_removes_what_was_registered_here(following: Registrar) -> None:
    """Where the keys of REGISTER and NOTIFY do meet, for a telephone number, a stranger ends a local registration.

    Owed: bindings that were registered here are never touched by a peer (RIC-6).
    """
    number = "tel:+15550199"
    with Phone(following.address, number) as phone, Peer(following.address) as stranger:
        assert phone.register(HERE).status == 200
        assert set(following.contacts("+15550199")) == {HERE}
        headers = ["Event: reg", "Content-Type: application/reginfo+xml"]
        body = document(registration(number, state="terminated"))
        assert verdict(stranger.request("NOTIFY", following.uri("anybody"), headers, body)) == 2
    assert following.contacts("+15550199") == {}


def test_older_news_makes_a_second_row(following: Registrar, notifier: Notifier, followed: str) -> None:
    """A lower CSeq under the same Call-ID neither updates nor is refused: the same URI is there twice.

    Owed: callid and cseq guard against older news (RIC-6).
    """
    notifier.notify(document(registration(followed, contact(HERE, cseq=5, expires=600))))
    notifier.notify(document(registration(followed, contact(HERE, cseq=3, expires=50)), version=1))
    rows = [(row.uri, row.cseq) for row in following.ul_dump() if row.aor == followed.partition(":")[2]]
    assert sorted(rows) == [(HERE, 3), (HERE, 5)]


# --- 10: PUBLISH transactions


def test_two_quick_updates_are_published_with_one_entity_tag(compositor: Compositor, phone: Phone) -> None:
    """The second PUBLISH does not wait for the answer to the first: the compositor refuses it with 412.

    Owed: one outstanding PUBLISH per address-of-record (EPA-1).
    """
    assert phone.register().status == 200
    tag = compositor.store(compositor.receive_publish(phone.aor))
    # One socket: the worker has read the entity-tag when it reads the next REGISTER.
    assert phone.register(HERE).status == 200
    assert phone.register(THERE).status == 200
    matched = [compositor.receive_publish(phone.aor).message.sip_if_match for _ in range(2)]
    assert matched == [tag, tag]


def test_one_register_with_two_contacts_leaves_two_documents(
    presence: PresenceServer, aor: str, tmp_path: Path
) -> None:
    """Two contacts in one REGISTER are two initial PUBLISHes: the compositor holds two documents from then on.

    Later changes modify one of them, and the other stays as it is until it expires.
    Owed: one PUBLISH per change, modified by entity-tag (EPA-1, EPA-2).
    """
    with registrar(tmp_path, presence.address) as server, Phone(server.address, aor) as phone:

        def held() -> list[bytes]:
            return [one.body for one in presence.presentities() if one.user == of(aor)]

        assert phone.register([HERE, THERE]).status == 200
        eventually(lambda: len(held()) == 2, "two documents")
        assert phone.unregister([HERE, THERE]).status == 200
        eventually(lambda: any(b'state="terminated"' in body for body in held()), "the change")
        assert len(held()) == 2
    assert any(b'state="terminated"' not in body for body in held())


def test_a_412_is_answered_at_once_and_for_ever(compositor: Compositor, phone: Phone) -> None:
    """Each 412, also that to an initial PUBLISH, brings the next PUBLISH without any pause, and so on without end.

    Owed: a 412 drops the entity-tag and is followed by one initial PUBLISH (EPA-2), further failures by a back-off.
    """
    assert phone.register().status == 200
    for _ in range(20):
        publish = compositor.receive_publish(phone.aor)
        assert publish.message.sip_if_match is None
        compositor.answer(publish, 412)
    compositor.publication(phone.aor)


def test_a_publish_that_times_out_is_forgotten(tmp_path: Path) -> None:
    """After a timeout the compositor keeps what it had until the next change, which may be days away.

    Owed: it is repeated, as a modification if there is an entity-tag (EPA-2).
    """
    with (
        Compositor() as compositor,
        registrar(tmp_path, compositor.address, transaction_timeout=0.5) as server,
        Phone(server.address, ALICE) as phone,
        Phone(server.address, f"sip:bob@{DOMAIN}") as other,
    ):

        def over() -> bool:
            transactions = server.rpc("tm.stats")
            return bool(transactions["total"]) and transactions["current"] == transactions["waiting"]

        assert phone.register().status == 200
        compositor.receive_publish(ALICE)
        eventually(over, "the timeout")
        assert other.register().status == 200
        compositor.publication(other.aor)
        assert compositor.nothing()


# --- 11: responses that end a subscription


@pytest.mark.parametrize("status", [405, 410, 416, 480, 482, 483, 484, 485, 489, 501, 604])
def test_the_notifier_goes_on_after_a_final_refusal(presence: PresenceServer, aor: str, status: int) -> None:
    """Of the answers to a NOTIFY that end a subscription only 404, 481 and none do: the others are notified for ever.

    Owed: all that RFC 6665 lists end it (SUB-9).
    """
    with Watcher(presence.address, aor) as watcher, Publisher(presence.address, aor) as publisher:
        assert watcher.subscribe().status == 200
        watcher.notify(status)
        assert publisher.publish(document(registration(aor, contact(HERE)))).status == 200
        assert watcher.notify().document is not None


def test_any_failure_of_a_refresh_begins_another_subscription(tmp_path: Path) -> None:
    """A 503 to a refresh leaves the subscription alive; another one is begun beside it at once, at a stale address.

    Should that fail too, nobody tries again.
    Owed: until its end the old one lives on (SUB-16); a new one goes to the address-of-record (SUB-13), and failing is
    followed by a back-off, not by the end (SUB-18).
    """
    with (
        Notifier() as notifier,
        registrar(tmp_path, notifier.address, publish=False, options='modparam("pua", "update_period", 6)') as server,
    ):
        server.subscribe(ALICE)
        initial = notifier.receive_subscribe()
        # Granted less than update_period: refreshed with the next tick, which comes within a second.
        notifier.accept(initial, expires=5)
        refresh = notifier.receive_subscribe()
        assert (refresh.call_id, refresh.to_tag) == (initial.call_id, notifier.tag)
        notifier.answer(refresh, 503, ["Retry-After: 60"])
        another = notifier.receive_subscribe()
        assert another.call_id != initial.call_id
        assert another.to_tag == ""
        assert another.message.request_uri == notifier.uri("notifier")
        notifier.answer(another, 500)
        server.options()
        assert notifier.nothing(within=2.0)


# --- 12: the registrar beneath


def test_contacts_are_compared_octet_by_octet(publishing: Registrar, phone: Phone) -> None:
    """Three spellings of one URI are three bindings.

    Owed: the comparison of RFC 3261 19.1.4 (REG-10, URI-3).
    """
    spellings = [
        f"sip:{user}@127.0.0.1:9;{transport}"
        for user, transport in (("one", "transport=udp"), ("one", "Transport=UDP"), ("%6Fne", "transport=udp"))
    ]
    assert phone.register(spellings).status == 200
    assert set(publishing.contacts(of(phone.aor))) == set(spellings)


def test_a_register_that_fails_is_half_done(publishing: Registrar, phone: Phone) -> None:
    """A contact is stale and the whole request refused, but another of its contacts has been stored already.

    Owed: all or nothing (REG-2, REG-11).
    """
    phone.cseq = 4
    assert phone.register(HERE).status == 200
    phone.cseq = 2
    assert phone.register([THERE, HERE]).status == 400
    assert set(publishing.contacts(of(phone.aor))) == {HERE, THERE}


def test_with_an_instance_a_late_register_undoes_a_newer_one(publishing: Registrar, phone: Phone) -> None:
    """With +sip.instance the CSeq is not looked at: a REGISTER that was overtaken wins.

    Owed: the same order for all bindings (REG-10, OUT-4).
    """
    instance = f'<{HERE}>;+sip.instance="<urn:uuid:11111111-2222-4333-8444-555555555555>";reg-id=1'
    phone.cseq = 9
    assert phone.register(instance, expires=600).status == 200
    phone.cseq = 2
    assert phone.register(instance, expires=30).status == 200
    row = publishing.contacts(of(phone.aor))[HERE]
    assert row.cseq == 3
    assert (row.expires or 0) <= 30


def test_a_temporary_gruu_never_changes_and_is_linkable(publishing: Registrar) -> None:
    """The temporary GRUU is the same after a refresh, and ends in the same hash for all devices of a user.

    Owed: a new one with each REGISTER, and none that tells whose it is (GRU-3, GRU-4).
    """

    def gruu(user: str, instance: int, times: int = 1) -> str:
        with Phone(publishing.address, f"sip:{user}@{DOMAIN}") as phone:
            value = f'<{phone.contact}>;+sip.instance="<urn:uuid:11111111-2222-4333-8444-{instance:012}>"'
            given = set()
            for _ in range(times):
                answered = phone.register(value, headers=["Supported: gruu"])
                (mine,) = [one for one in answered.message.contacts if one.uri == phone.contact]
                given.add(dict(mine.parameters)["temp-gruu"] or "")
        (one,) = given
        return one.partition(":")[2].partition("@")[0]

    first, second, stranger = gruu("erin", 1, times=2), gruu("erin", 2), gruu("frank", 3)
    assert first != second
    assert first.rpartition("-")[2] == second.rpartition("-")[2]
    assert first.rpartition("-")[2] != stranger.rpartition("-")[2]


def test_too_many_contacts_are_a_server_failure(tmp_path: Path) -> None:
    """A full address-of-record answers 503 without Retry-After, as if the server were down, and cannot evict.

    Owed: 403, or the oldest binding makes room (REG-16).
    """
    with (
        registrar(
            tmp_path, ("127.0.0.1", 9), publish=False, options='modparam("registrar", "max_contacts", 1)'
        ) as server,
        Phone(server.address, ALICE) as phone,
    ):
        assert phone.register(HERE).status == 200
        answered = phone.register(THERE)
        assert (answered.status, answered.header("retry-after")) == (503, None)
        assert set(server.contacts("alice")) == {HERE}


# --- 13: the presence server


def test_of_two_publishers_only_the_last_one_is_seen(presence: PresenceServer, aor: str) -> None:
    """Documents are not put together: the last PUBLISH hides the others, and its end ends the registration.

    Owed: one registration with the union of the live publications (ESC-6, XML-5).
    """
    with (
        Watcher(presence.address, aor) as watcher,
        Publisher(presence.address, aor) as here,
        Publisher(presence.address, aor) as there,
    ):
        watcher.subscribe()
        watcher.notify()
        assert here.publish(document(registration(aor, contact(HERE)))).status == 200
        watcher.notify()
        assert there.publish(document(registration(aor, contact(THERE)))).status == 200
        told = watcher.notify().document
        assert told is not None
        assert set(told.registration.events) == {THERE}
        gone = contact(THERE, state="terminated", event="unregistered")
        assert there.publish(document(registration(aor, gone, state="terminated"))).status == 200
        told = watcher.notify().document
        assert told is not None
        assert (told.registration.state, set(told.registration.events)) == ("terminated", {THERE})
        assert {one.entity_tag for one in presence.presentities() if one.user == of(aor)} == {
            here.entity_tag,
            there.entity_tag,
        }


def test_a_publication_that_ends_is_told_as_nothing(
    tmp_path: Path, following: Registrar, notifier: Notifier, followed: str
) -> None:
    """A PUBLISH that expires, like one that is removed, yields a NOTIFY without body, which its own consumer ignores.

    Owed: its contacts are terminated, `expired` or `unregistered` (ESC-7).
    """
    with (
        presence_server(tmp_path, expiry_check=1) as server,
        Watcher(server.address, ALICE) as watcher,
        Publisher(server.address, ALICE) as publisher,
    ):
        watcher.subscribe()
        watcher.notify()
        for expires in (1, 600):
            body = document(registration(ALICE, contact(HERE)))
            assert publisher.publish(body, expires, if_match=None).status == 200
            assert watcher.notify().document is not None
            if expires > 1:
                assert publisher.remove().status == 200
            ended = watcher.notify()
            assert (ended.body, ended.subscription_state.state) == (b"", "active")
            eventually(lambda: not server.presentities(), "the end of the document")

    notifier.notify(document(registration(followed, contact(HERE))))
    assert verdict(notifier.notify()) == 1
    assert set(learned(following, followed)) == {HERE}


def test_a_refresh_of_a_publication_is_told_as_nothing(presence: PresenceServer, aor: str) -> None:
    """Nothing has changed, and yet watchers get a NOTIFY, and that without the state.

    Owed: a refresh alone is not notified (ESC-7).
    """
    with Watcher(presence.address, aor) as watcher, Publisher(presence.address, aor) as publisher:
        watcher.subscribe()
        watcher.notify()
        assert publisher.publish(document(registration(aor, contact(HERE)))).status == 200
        watcher.notify()
        assert publisher.refresh().status == 200
        assert watcher.notify().body == b""


def test_the_compositor_reads_nothing_of_what_it_passes_on(presence: PresenceServer, aor: str) -> None:
    """What is no XML, and a document about somebody else, is accepted and told to the watchers.

    Owed: 400 for the one, 403 for the other (ESC-1, ESC-6).
    """
    with Watcher(presence.address, aor) as watcher, Publisher(presence.address, aor) as publisher:
        watcher.subscribe()
        watcher.notify()
        for body in (b"<reginfo", document(registration(f"sip:mallory@{DOMAIN}", contact(HERE)))):
            assert publisher.publish(body).status == 200
            assert watcher.notify().body == body
