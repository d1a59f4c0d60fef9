"""IMS-1 to IMS-5: implicit registration sets, from the REGISTER to the NOTIFY, over octets and virtual time."""

import msgspec
import pytest

from reginfo.config import ImsSection, NotifierSection, PeerSection
from reginfo.fast import SipMessage
from reginfo.model import Command
from tests.harness import House, contact
from tests.network import Network, Watcher
from tests.scenes import ALICE, SERVER, WATCHER, A, B, Phone

IMSI = "sip:001010123456789@example.com"
DEFAULT = "sip:al@example.com"
NUMBER = "tel:+15551234"
COVERED = "sip:ep7@example.com"
WILDCARD = "sip:ep!.*!@example.com"
BOB = "sip:bob@example.com"
SETS = ImsSection(
    enabled=True,
    implicit_sets=((IMSI, DEFAULT, ALICE, NUMBER, f"{COVERED} {WILDCARD}"),),
    barred=(IMSI,),
)
PROXY = ("192.0.2.70", 5060)
TRUSTED = PeerSection(name="pcscf", uri="sip:192.0.2.70")


class Scene:
    """A registrar of IMS, and a phone that registers the first identity of a set, which is barred."""

    def __init__(self, ims: ImsSection = SETS, aor: str = IMSI, **sections: object) -> None:
        self.net = Network()
        self.house = self.net.serve(House(ims=ims, **sections))  # type: ignore[arg-type]
        self.phone = Phone(aor=aor)
        self.net.add(self.phone)

    def register(self, *rows: str, headers: tuple[tuple[str, str], ...] = ()) -> SipMessage:
        self.phone.register(*rows, headers=headers)
        self.net.run(0.1)
        return self.phone.last

    def watch(
        self,
        aor: str = DEFAULT,
        *headers: tuple[str, str],
        who: str = "",
        local: tuple[str, int] = WATCHER,
        expires: int = 3600,
    ) -> tuple[int, Watcher]:
        """Subscribe, and return the answer and the watcher."""
        watcher = Watcher(local, SERVER, aor, who=who)
        self.net.add(watcher)
        watcher.subscribe(expires, *headers)
        self.net.run(0.1)
        return watcher.statuses("SUBSCRIBE")[-1], watcher

    def operate(self, apply: object) -> None:
        self.house.engine.command(Command(self.house.engine.home(ALICE), apply, "operator"))  # type: ignore[arg-type]
        self.net.run(6)


def told(watcher: Watcher) -> list[tuple[str, str, list[tuple[str, str | None]]]]:
    """Return what the last document says: AoR, state, and URI and event of each contact."""
    return [
        (one.aor, one.state, [(contact.uri, contact.event) for contact in one.contacts])
        for one in watcher.documents[-1].registrations
    ]


# ---- REGISTER


def test_a_registered_phone_is_told_its_identities_the_default_one_first() -> None:
    """IMS-5: neither barred nor wildcarded ones."""
    answer = Scene().register(A)
    assert answer.status == 200
    assert answer.headers("P-Associated-URI") == [f"<{DEFAULT}>, <{ALICE}>, <{NUMBER}>"]
    assert [one.uri for one in answer.contacts] == [A]


def test_a_retransmission_is_told_the_same() -> None:
    """IMS-5, TX-3."""
    house = House(ims=SETS)
    octets = b"\r\n".join(
        [
            b"REGISTER sip:example.com SIP/2.0",
            b"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK1",
            b"Max-Forwards: 70",
            b"From: <sip:al@example.com>;tag=1",
            b"To: <sip:al@example.com>",
            b"Call-ID: 1",
            b"CSeq: 1 REGISTER",
            b"Contact: <sip:a@192.0.2.10>",
            b"\r\n",
        ]
    )
    first, again = house.ask(octets), house.ask(octets)
    assert first.octets == again.octets
    assert again.header("P-Associated-URI") is not None


def test_who_is_in_no_set_is_associated_with_itself() -> None:
    """IMS-5."""
    assert Scene(aor=BOB).register(A).headers("P-Associated-URI") == [f"<{BOB}>"]


def test_outside_ims_nothing_is_associated() -> None:
    """IMS-5."""
    ims = ImsSection(implicit_sets=SETS.implicit_sets)
    scene = Scene(ims)
    assert scene.register(A).header("P-Associated-URI") is None
    assert scene.watch(IMSI)[1].documents[-1].registrations[0].aor == IMSI
    assert scene.watch(ALICE, local=("192.0.2.51", 5060))[0] == 200


@pytest.mark.parametrize("identity", [DEFAULT, ALICE, COVERED, "sip:ep@example.com", "sips:al@EXAMPLE.com"])
def test_every_identity_of_a_set_has_the_contacts_of_all(identity: str) -> None:
    """IMS-3, IMS-4: registered, and removed, whatever identity the phone names."""
    scene = Scene()
    scene.register(A)
    other = Phone(local=("192.0.2.11", 5060), aor=identity)
    scene.net.add(other)
    other.register(B)
    scene.net.run(0.1)
    assert [one.uri for one in other.last.contacts] == [A, B]
    assert scene.house.contacts(IMSI) == [A, B]
    other.register("*", expires=0)
    scene.net.run(0.1)
    assert scene.house.contacts(IMSI) == []


# ---- documents


def test_a_document_has_a_registration_of_every_identity_that_is_not_barred() -> None:
    """IMS-3: the one that was registered is barred here, so all are implicit; IMS-4."""
    scene = Scene()
    scene.register(A)
    _, watcher = scene.watch()
    assert told(watcher) == [(identity, "active", [(A, "created")]) for identity in (DEFAULT, ALICE, NUMBER, COVERED)]
    ids = [one.id for one in watcher.documents[-1].registrations]
    ids += [contact.id for one in watcher.documents[-1].registrations for contact in one.contacts]
    assert len(set(ids)) == 8


def test_the_identity_that_was_registered_is_told_as_registered() -> None:
    """IMS-3, RFC 5628 8.2."""
    scene = Scene(ImsSection(enabled=True, implicit_sets=((ALICE, NUMBER),)), aor=ALICE)
    scene.register(A)
    _, watcher = scene.watch(ALICE)
    assert told(watcher) == [(ALICE, "active", [(A, "registered")]), (NUMBER, "active", [(A, "created")])]
    scene.register(A)
    scene.net.run(6)
    scene.register(B)
    scene.net.run(6)
    assert watcher.documents[-1].state == "partial"
    assert told(watcher) == [
        (ALICE, "active", [(B, "registered")]),
        (NUMBER, "active", [(B, "created")]),
    ]


def test_a_wildcarded_identity_is_told_with_one_that_it_covers() -> None:
    """IMS-4: behind the contacts, where the schema of RFC 3680 lets other namespaces be."""
    scene = Scene()
    scene.register(A)
    _, watcher = scene.watch()
    body = watcher.notifies[-1].body
    assert body.count(b"wildcardedIdentity") == 2
    element = b'<wildcardedIdentity xmlns="urn:3gpp:ns:extRegExp:1.0">sip:ep!.*!@example.com</wildcardedIdentity>'
    assert b"</contact>" + element + b"</registration>" in body


@pytest.mark.parametrize(
    ("apply", "event"),
    [
        (lambda draft, now_ms: draft.remove(None, "deactivated"), "deactivated"),
        (lambda draft, now_ms: draft.remove(None, "rejected"), "rejected"),
        (lambda draft, now_ms: draft.remove(None, "probation", 60), "probation"),
        (lambda draft, now_ms: draft.expire(2**61), "expired"),
    ],
)
def test_the_end_of_a_registration_ends_all_of_its_set_and_the_subscription(apply: object, event: str) -> None:
    """IMS-3: network-initiated deregistration."""
    scene = Scene()
    scene.register(A)
    _, watcher = scene.watch()
    scene.operate(apply)
    assert told(watcher) == [(identity, "terminated", [(A, event)]) for identity in (DEFAULT, ALICE, NUMBER, COVERED)]
    assert watcher.states[-1] == "terminated;reason=noresource"
    assert len(scene.house.roles.notifier) == 0
    scene.house.crash()
    assert len(scene.house.roles.notifier) == 0


def test_reauthentication_is_asked_for_by_shortening_the_contacts() -> None:
    """IMS-3."""
    scene = Scene()
    scene.register(A)
    _, watcher = scene.watch()
    scene.operate(lambda draft, now_ms: draft.shorten(None, 60))
    assert told(watcher)[0] == (DEFAULT, "active", [(A, "shortened")])
    assert watcher.documents[-1].registrations[-1].contacts[0].expires in range(50, 61)
    assert watcher.states[-1].startswith("active;")


def test_every_identity_has_its_own_gruu() -> None:
    """IMS-3, RFC 5628 8.2: the phone is told that of the identity it names; all lead to it."""
    scene = Scene(gruu=True, aor=DEFAULT)
    answer = scene.register(f'{A};+sip.instance="<urn:uuid:1>"', headers=(("Supported", "gruu"),))
    assert dict(answer.contacts[0].parameters)["pub-gruu"] == f'"{DEFAULT};gr=urn:uuid:1"'
    _, watcher = scene.watch()
    contacts = [one.contacts[0] for one in watcher.documents[-1].registrations]
    assert [one.pub_gruu for one in contacts] == [
        f"{DEFAULT};gr=urn:uuid:1",
        f"{ALICE};gr=urn:uuid:1",
        None,  # a number
        f"{COVERED};gr=urn:uuid:1",
    ]
    assert all((one.temp_gruu or "").startswith("sip:tgruu.") for one in contacts if one.pub_gruu)
    for one in contacts:
        for gruu in filter(None, (one.pub_gruu, one.temp_gruu)):
            scene.phone.request(SERVER, "OPTIONS", gruu, from_=f"<{BOB}>;tag=o")
            scene.net.run(0.1)
            assert scene.phone.last.status == 200
    _, other = scene.watch(local=("192.0.2.51", 5060), who=COVERED)
    assert other.documents[-1].registrations[0].contacts[0].temp_gruu == contacts[0].temp_gruu


def test_a_new_configuration_counts_at_once() -> None:
    """IMS-5: and what was bound under an identity of its own is not looked for any more."""
    house = House()
    house.register(contact())
    config = house.config
    house.engine.follow(msgspec.structs.replace(config, ims=SETS), house.now())
    answer = house.register(cseq=2)
    assert answer.header("P-Associated-URI") == f"<{DEFAULT}>, <{ALICE}>, <{NUMBER}>"
    assert answer.contacts == []
    house.engine.follow(config, house.now())
    answer = house.register(cseq=3)
    assert answer.header("P-Associated-URI") is None
    assert len(answer.contacts) == 1


# ---- who may watch


def test_a_subscription_may_last_a_week() -> None:
    """IMS-1."""
    scene = Scene()
    scene.register(A)
    assert scene.watch(expires=600_000)[1].states == ["active;expires=600000"]
    brief = Scene(notifier=NotifierSection(max_expires=7200))
    brief.register(A)
    assert brief.watch(expires=600_000)[1].states == ["active;expires=7200"]


@pytest.mark.parametrize("aor", [DEFAULT, COVERED, IMSI])
def test_an_identity_that_is_not_registered_cannot_be_watched(aor: str) -> None:
    """IMS-2."""
    scene = Scene()
    assert scene.watch(aor, who=DEFAULT)[0] == 480
    scene.register(A)
    assert scene.watch(aor, who=DEFAULT, local=("192.0.2.51", 5060))[0] == 200


@pytest.mark.parametrize(
    ("who", "status"),
    [(DEFAULT, 200), (ALICE, 200), (NUMBER, 200), ("sip:ep99@example.com", 200), (IMSI, 403), (BOB, 403)],
)
def test_the_identities_of_the_user_may_watch_but_not_the_barred_ones(who: str, status: int) -> None:
    """IMS-2, IMS-4."""
    scene = Scene()
    scene.register(A)
    assert scene.watch(ALICE, who=who)[0] == status


@pytest.mark.parametrize(
    ("asserted", "status"),
    [
        (f"<{ALICE}>", 200),
        (f'"Doe, <A>" <{ALICE}>, <{NUMBER}>', 200),
        (f"<{NUMBER}>, <{DEFAULT}>", 200),
        (ALICE, 200),
        (f"<{BOB}>", 403),
        (f"<{IMSI}>", 403),
        ("<sip:pcscf.example.net;lr>", 200),
        ("<sip:app@as.example.com>", 200),
        ("<sip:other@example.net>", 403),
        (f"<{NUMBER}>", 200),
        ("<tel:+4930>", 403),
        ('"unterminated', 403),
        (f'"<{ALICE}>', 403),
        ("", 403),
        (None, 200),
    ],
)
def test_a_trusted_peer_asserts_who_watches(asserted: str | None, status: int) -> None:
    """IMS-2: From counts for nothing then; without an assertion it is the peer itself that watches."""
    scene = Scene(peers=(TRUSTED,), notifier=NotifierSection(allow=("sip:*@as.example.com",)))
    scene.register(A, headers=(("Path", "<sip:pcscf.example.net;lr>"), ("Supported", "path")))
    headers = [] if asserted is None else [("P-Asserted-Identity", asserted)]
    who = BOB if status == 200 else DEFAULT
    assert scene.watch(DEFAULT, *headers, who=who, local=PROXY)[0] == status


def test_nobody_else_asserts_anything() -> None:
    """IMS-2."""
    scene = Scene(peers=(TRUSTED,))
    scene.register(A)
    assert scene.watch(DEFAULT, ("P-Asserted-Identity", f"<{ALICE}>"), who=BOB)[0] == 403
    assert scene.watch(DEFAULT, ("P-Asserted-Identity", f"<{BOB}>"), local=("192.0.2.53", 5060))[0] == 200


def test_what_a_peer_asserts_is_told_as_a_phone_is() -> None:
    """IMS-2: the documents of a user have no extensions for servers, and a refresh is from the same user only."""
    scene = Scene(peers=(TRUSTED,))
    scene.register(A)
    header = ("P-Asserted-Identity", f"<{ALICE}>")
    _, watcher = scene.watch(DEFAULT, header, local=PROXY)
    assert b"urn:reginfo:xml:ns:binding" not in watcher.notifies[-1].body
    watcher.subscribe(600, header)
    scene.net.run(0.1)
    watcher.subscribe(600, ("P-Asserted-Identity", f"<{BOB}>"))
    scene.net.run(0.1)
    assert watcher.statuses("SUBSCRIBE") == [200, 200, 403]
