"""Digest authentication over the wire: who gets through, and what everybody else is told."""

import re
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from reginfo.config import AuthSection, CompositorSection, ImsSection, NotifierSection, PeerSection
from reginfo.fast import Flow, SipMessage, digest_userhash, parse_message
from tests.harness import LOCAL, PHONE, House, contact, request
from tests.reference import digest as reference
from tests.torture import rfc4475

REALM = "example.com"
PASSWORD = "s3cret"
STRANGER = Flow("udp", LOCAL, ("198.51.100.66", 5060))
TCP = Flow("tcp", LOCAL, ("192.0.2.10", 40000), 7)


def house(*algorithms: Any, users: tuple[str, ...] = ("alice", "bob"), **parts: Any) -> House:
    auth = {key: parts.pop(key) for key in ("nonce_lifetime", "legacy_clients", "max_cached_users") if key in parts}
    section = AuthSection(enabled=True, algorithms=algorithms or ("SHA-256", "MD5"), **auth)
    made = House(auth=section, **parts)
    made.users.update(dict.fromkeys(users, PASSWORD))
    return made


def offers(answer: SipMessage) -> list[dict[str, str]]:
    return [challenge.params for challenge in answer.www_authenticate]


class Client:
    """Somebody with a password."""

    def __init__(self, house: House, name: str = "alice", password: str = PASSWORD) -> None:
        self.house = house
        self.name = name
        self.password = password
        self.nonce = ""
        self.opaque = ""
        self.nc = 0
        self.cseq = 0
        self.cnonce = "c1"

    def take(self, answer: SipMessage) -> dict[str, str]:
        """Take the first challenge of a 401."""
        assert answer.status == 401
        offered = offers(answer)[0]
        self.nonce, self.opaque, self.nc = offered["nonce"], offered.get("opaque", ""), 0
        return offered

    def row(
        self,
        method: str = "REGISTER",
        *,
        algorithm: str = "MD5",
        uri: str = "sip:example.com",
        qop: str = "auth",
        nc: int | None = None,
        body: bytes = b"",
        response: str | None = None,
        change: dict[str, str | None] | None = None,
    ) -> str:
        """Write credentials; change replaces or, with None, drops parameters as they are written."""
        if nc is None:
            self.nc += 1
            nc = self.nc
        count = f"{nc:08x}"
        proof = reference.response(
            algorithm, self.name, REALM, self.password, method, uri, self.nonce, qop, count, self.cnonce, body
        )
        written: dict[str, str | None] = {
            "username": f'"{self.name}"',
            "realm": f'"{REALM}"',
            "nonce": f'"{self.nonce}"',
            "uri": f'"{uri}"',
            "response": f'"{response or proof}"',
            "algorithm": algorithm,
            "opaque": f'"{self.opaque}"' if self.opaque else None,
        }
        if qop:
            written |= {"qop": qop, "nc": count, "cnonce": f'"{self.cnonce}"'}
        written |= change or {}
        text = ",".join(f"{name}={value}" for name, value in written.items() if value is not None)
        return f"Authorization: Digest {text}"

    def octets(self, *rows: str, method: str = "REGISTER", **parts: Any) -> bytes:
        self.cseq += 1
        parts = {"user": "alice", "call_id": f"call-{self.name.encode().hex()}", **parts}
        return request(method, *rows, cseq=self.cseq, **parts)

    def register(self, row: str | None = None, *, flow: Flow = PHONE, user: str | None = None) -> SipMessage:
        """Register with credentials made ready, or those that fit."""
        row = self.row() if row is None else row
        return self.house.ask(self.octets(contact(), row, user=user or self.name), flow)

    def greet(self) -> "Client":
        """Get a challenge."""
        self.take(self.house.ask(self.octets(contact())))
        return self


def test_without_authentication_nobody_is_asked() -> None:
    """REG-3."""
    assert House().register(contact()).status == 200


@pytest.mark.parametrize("rows", [(), ("Authorization: Basic YWxpY2U6czNjcmV0",), ("Authorization: NoOneKnows a=b",)])
def test_no_credentials_are_challenged_with_every_algorithm_in_order(rows: tuple[str, ...]) -> None:
    """AUT-1, AUT-2, AUT-5: one row each, same realm, most preferred first; Basic and the unknown are none."""
    place = house("SHA-512-256", "SHA-256", "MD5")
    answer = place.ask(request("REGISTER", contact(), *rows, "X-Filler: " + "x" * 900))
    assert answer.status == 401
    challenges = offers(answer)
    assert [one["algorithm"] for one in challenges] == ["SHA-512-256", "SHA-256", "MD5"]
    for one in challenges:
        assert one["realm"] == REALM
        assert one["qop"] == "auth,auth-int"
        assert one["charset"] == "UTF-8"
        assert one["userhash"] == "true"
        assert "stale" not in one
        assert len(one["nonce"]) == 32
    written = [value for name, value in rows_of(answer) if name == "WWW-Authenticate"]
    assert all(
        re.search(r'realm="[^"]+",nonce="[^"]+",qop="[^"]+",algorithm=[A-Z0-9-]+,opaque="', one) for one in written
    )
    assert not place.contacts()
    assert len(place.transactions) == 0  # TX-7
    assert place.lookups == []


def rows_of(answer: SipMessage) -> list[tuple[str, str]]:
    head = answer.octets.decode().partition("\r\n\r\n")[0]
    return [(name, value) for name, _, value in (row.partition(": ") for row in head.split("\r\n")[1:])]


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512-256", "MD5-sess", "SHA-256-sess", "SHA-512-256-sess"])
@pytest.mark.parametrize("qop", ["auth", "auth-int"])
def test_right_credentials_register_and_the_server_proves_itself(algorithm: str, qop: str) -> None:
    """AUT-2, AUT-3, AUT-9: rspauth, qop, cnonce and nc come back."""
    place = house("MD5", "SHA-256", "SHA-512-256")
    client = Client(place).greet()
    answer = client.register(client.row(algorithm=algorithm, qop=qop))
    assert answer.status == 200
    info = answer.header("Authentication-Info")
    rspauth = reference.response(
        algorithm, "alice", REALM, PASSWORD, "", "sip:example.com", client.nonce, qop, "00000001", "c1"
    )
    assert info == f'qop={qop},rspauth="{rspauth}",cnonce="c1",nc=00000001'
    assert place.contacts() == ["sip:alice@192.0.2.10:5060"]


def test_a_nonce_is_good_again_and_again_with_rising_counts() -> None:
    """AUT-6: on the plain road, too, and the user table is asked once."""
    place = house()
    client = Client(place).greet()
    for _ in range(5):
        assert client.register().status == 200
    assert place.lookups == [("alice",)]


def test_a_session_may_go_on_with_the_first_cnonce_or_begin_with_each_request() -> None:
    """AUT-3: -sess."""
    place = house()
    client = Client(place).greet()
    assert client.register(client.row(algorithm="MD5-sess")).status == 200
    client.cnonce = "c2"
    assert client.register(client.row(algorithm="MD5-sess")).status == 200
    first = reference.hashed("MD5", b"alice:example.com:s3cret")
    session = reference.hashed("MD5", f"{first}:{client.nonce}:c1".encode())
    ha2 = reference.hashed("MD5", b"REGISTER:sip:example.com")
    proof = reference.hashed("MD5", f"{session}:{client.nonce}:00000003:c2:auth:{ha2}".encode())
    assert client.register(client.row(algorithm="MD5-sess", nc=3, response=proof)).status == 200
    assert client.register(client.row(algorithm="MD5-sess", nc=4, response=proof)).status == 401
    # Whoever began a session cannot go on with it under another name.
    proof = reference.hashed("MD5", f"{session}:{client.nonce}:00000005:c2:auth:{ha2}".encode())
    row = client.row(algorithm="MD5-sess", nc=5, response=proof, change={"username": '"bob"'})
    assert client.register(row, user="bob").status == 401


@pytest.mark.parametrize(("legacy", "status"), [(True, 200), (False, 400)])
def test_clients_of_rfc_2069_by_policy(legacy: bool, status: int) -> None:
    """AUT-3: without qop a nonce is good once, since nothing tells a replay."""
    place = house(legacy_clients=legacy)
    client = Client(place).greet()
    answer = client.register(client.row(qop="", algorithm="MD5"))
    assert answer.status == status
    if legacy:
        following = re.fullmatch('nextnonce="(.{32})"', answer.header("Authentication-Info") or "")
        again = client.register(client.row(qop=""))
        assert again.status == 401
        assert offers(again)[0]["stale"] == "true"
        assert following
        client.nonce = following[1]
        assert client.register(client.row(qop="")).status == 200


# -- what is wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": None},
        {"uri": None},
        {"response": None},
        {"username": None},
        {"realm": None},
        {"cnonce": None},
        {"nc": None},
        {"nc": "1"},
        {"nc": "0000000g"},
        {"nc": "00000000"},
        {"qop": "auth-conf"},
        {"cnonce": '""'},
        {"username": '""'},
        {"username": '"' + "a" * 257 + '"'},
        {"opaque": '"other"'},
        {"uri": '"sip:elsewhere.example"'},
        {"uri": '"tel:1"'},
        {"uri": '"???"'},
        {"response": '"abc"'},
        {"response": '"' + "A" * 32 + '"'},
        {"response": '"' + "z" * 32 + '"'},
        {"userhash": "maybe"},
        {"userhash": "true"},
        {"username*": "UTF-8''alice"},
        {"username": None, "username*": "UTF-8''alice", "userhash": "true"},
        {"username": None, "username*": "latin1''alice"},
        {"username": None, "username*": "alice"},
        {"username": None, "username*": "UTF-8''%ff"},
    ],
    ids=str,
)
def test_missing_and_improper_parameters_are_400(change: dict[str, str | None]) -> None:
    """AUT-4, AUT-6, AUT-8: without a trace."""
    place = house()
    client = Client(place).greet()
    answer = client.register(client.row(change=change))
    assert answer.status == 400
    assert not place.contacts()
    assert len(place.transactions) == 0
    assert place.lookups == []


@pytest.mark.parametrize(
    "change",
    [{"realm": '"other.example"'}, {"algorithm": "SHA-512-256"}, {"algorithm": "SHA-1"}],
    ids=str,
)
def test_credentials_for_somebody_else_are_none(change: dict[str, str | None]) -> None:
    """AUT-1, AUT-6: another realm, an algorithm that was not offered."""
    place = house()
    client = Client(place).greet()
    row = client.row()
    for name, value in change.items():
        row = re.sub(rf"{name}=[^,]*", f"{name}={value}", row)
    answer = client.register(row)
    assert answer.status == 401
    assert "stale" not in offers(answer)[0]
    # beside good ones they do no harm (AUT-11)
    assert place.ask(client.octets(contact(), row, client.row())).status == 200


def test_either_quoting_and_any_order_are_taken() -> None:
    """AUT-4, AUT-5: token or quoted-string, escapes undone, folds, no case in names."""
    place = house(users=('al"ice', "alice"))
    client = Client(place).greet()
    row = (
        client.row()
        .replace("qop=auth", 'QOP="auth"')
        .replace('"alice"', '"\\a\\lice"')
        .replace(",nonce", ",\r\n nonce")
    )
    row = re.sub('response="([^"]*)"', "Response = \\1", row).replace("algorithm=MD5", 'algorithm="md5"')
    assert client.register(row).status == 200


def test_unknown_user_and_wrong_password_are_the_same() -> None:
    """AUT-6: status, size and road."""
    place = house()
    wrong, nobody = Client(place, "alice", "guess").greet(), Client(place, "olive", "guess").greet()
    for round in range(2):
        one, other = wrong.register(), nobody.register()
        assert one.status == other.status == 401
        assert len(one.octets) == len(other.octets)
        assert [set(offer) for offer in offers(one)] == [set(offer) for offer in offers(other)]
        assert "stale" not in offers(one)[0]
        assert place.lookups == [("alice",), ("olive",)], round  # as often for the one as for the other


def test_a_wrong_password_of_a_known_user_takes_as_long_as_an_unknown_user() -> None:
    """AUT-6: alice is held, yet the table is asked; a minute later for both again."""
    place = house()
    assert Client(place).greet().register().status == 200
    place.lookups.clear()
    for _ in range(2):
        for name in ("alice", "olive"):
            assert Client(place, name, "guess").greet().register().status == 401
            assert Client(place, name, "guess").greet().register().status == 401
        assert place.lookups == [("alice",), ("olive",)]
        place.lookups.clear()
        place.sleep(60)


def test_a_new_password_counts_at_once_and_the_old_one_once_users_are_forgotten() -> None:
    """AUT-12."""
    place = house()
    assert Client(place).greet().register().status == 200
    place.sleep(60)
    place.users["alice"] = "new"
    assert Client(place, password="new").greet().register().status == 200
    place.users["alice"] = "newer"
    place.engine.forget_users()
    assert Client(place, password="new").greet().register().status == 401


# -- replays ---------------------------------------------------------------------------------------------


def test_a_retransmission_gets_the_same_200() -> None:
    """AUT-6, TX-3: same octets, same source."""
    place = house()
    client = Client(place).greet()
    octets = client.octets(contact(), client.row())
    first = place.ask(octets)
    assert first.status == 200
    assert place.ask(octets).octets == first.octets


def test_a_replay_is_never_200() -> None:
    """AUT-6, SEC-2: from another source, over another branch, after 32 s, over a stream."""
    place = house()
    client = Client(place).greet()
    octets = client.octets(contact(), client.row())
    assert place.ask(octets).status == 200
    copies = [(octets, STRANGER), (octets.replace(b"branch=z9hG4bK", b"branch=z9hG4bKx"), PHONE), (octets, TCP)]
    for copy, flow in copies:
        answer = place.ask(copy, flow)
        assert answer.status == 401
        assert all(offer["stale"] == "true" for offer in offers(answer))
    place.sleep(65)
    assert place.ask(octets).status == 401


def test_nonce_counts_may_come_out_of_order_within_a_window() -> None:
    """AUT-6: 64 of them, each once."""
    place = house()
    client = Client(place).greet()
    for nc, status in [(70, 200), (70, 401), (7, 200), (6, 401), (7, 401), (71, 200), (7, 401), (8, 200), (1000, 200)]:
        answer = client.register(client.row(nc=nc))
        assert answer.status == status, nc
        if status == 401:
            assert offers(answer)[0]["stale"] == "true"


def test_only_a_bad_nonce_with_the_right_password_is_stale() -> None:
    """AUT-6."""
    place = house(nonce_lifetime=300)
    client = Client(place).greet()
    wrong = Client(place, password="guess")
    assert client.register().status == 200
    place.sleep(300)
    wrong.nonce, wrong.opaque = client.nonce, client.opaque
    assert "stale" not in offers(wrong.register())[0]
    answer = client.register()
    assert offers(answer)[0]["stale"] == "true"
    client.take(answer)
    assert client.register().status == 200


@pytest.mark.parametrize("nonce", ["", "x", "A" * 32, "Z" * 31 + "!", "\u00e9" * 16, "a" * 5000])
def test_a_foreign_nonce_is_never_200_and_asks_nobody(nonce: str) -> None:
    """AUT-6, SEC-3: whoever made it up."""
    place = house()
    client = Client(place).greet()
    client.nonce = nonce
    assert client.register().status == 401
    assert place.lookups == []
    assert len(place.transactions) == 0


def test_a_nonce_of_an_earlier_process_is_stale() -> None:
    """AUT-6: as far as the password is known to be right."""
    place = house()
    client = Client(place).greet()
    assert client.register().status == 200
    place.crash()
    assert Client(place).greet().register().status == 200
    assert offers(client.register())[0]["stale"] == "true"


def test_the_next_nonce_is_told_when_this_one_is_near_its_end() -> None:
    """AUT-9."""
    place = house(nonce_lifetime=100)
    client = Client(place).greet()
    place.sleep(74)
    assert "nextnonce" not in (client.register().header("Authentication-Info") or "")
    place.sleep(2)
    info = client.register().header("Authentication-Info") or ""
    client.nonce, client.nc = info.partition('nextnonce="')[2].rstrip('"'), 0
    place.sleep(50)
    assert client.register().status == 200


# -- names -----------------------------------------------------------------------------------------------


def test_a_name_may_be_hashed_or_extended() -> None:
    """AUT-8."""
    place = house(users=("alice", "j\u00e4s\u00f8n"))
    client = Client(place).greet()
    hidden = digest_userhash("SHA-256", "alice", REALM)
    assert (
        client.register(client.row(algorithm="SHA-256", change={"username": f'"{hidden}"', "userhash": "true"})).status
        == 200
    )
    other = digest_userhash("SHA-256", "olive", REALM)
    assert (
        client.register(client.row(algorithm="SHA-256", change={"username": f'"{other}"', "userhash": "true"})).status
        == 401
    )
    jason = Client(place, "j\u00e4s\u00f8n").greet()
    row = jason.row(change={"username": None, "username*": "UTF-8''j%C3%A4s%C3%B8n"})
    assert jason.register(row, user="j%C3%A4s%C3%B8n").status == 200
    row = jason.row(change={"username": '"ja\u0308s\u00f8n"'})  # NFC
    assert jason.register(row, user="j%C3%A4s%C3%B8n").status == 200


# -- whose address-of-record -----------------------------------------------------------------------------


def test_nobody_registers_for_somebody_else() -> None:
    """AUT-7, REG-3, SEC-2."""
    place = house(domains=("example.com", "example.net"))
    alice = Client(place).greet()
    answer = alice.register(user="bob")
    assert answer.status == 403
    assert answer.header("Authentication-Info") is None
    assert alice.register(user="bob").status == 403  # with a nonce in use, too
    star = place.ask(alice.octets("Contact: *", "Expires: 0", alice.row(), user="bob"))
    assert star.status == 403
    assert alice.register().status == 200
    with_domain = Client(place, "alice@example.com")
    place.users["alice@example.com"] = PASSWORD
    assert with_domain.greet().register(user="alice").status == 200
    for name, status in [("alice", 403), ("alice@example.net", 200)]:  # two people
        place.users["alice@example.net"] = PASSWORD
        of_net = Client(place, name).greet()
        octets = of_net.octets(contact(), of_net.row(uri="sip:example.net"), uri="sip:example.net", call_id=f"n{name}")
        assert place.ask(octets.replace(b"alice@example.com>", b"alice@example.net>")).status == status
    net = request("REGISTER", contact(), with_domain.row(uri="sip:example.net"), uri="sip:example.net", cseq=90)
    assert place.ask(net.replace(b"alice@example.com>", b"alice@example.net>")).status == 403


def subscribe(client: Client, *rows: str, watched: str = "alice", says: str = "alice", **parts: Any) -> SipMessage:
    uri = f"sip:{watched}@example.com"
    extra = ("Event: reg", "Contact: <sip:w@192.0.2.10:5060>", "Expires: 600")
    return client.house.ask(client.octets(*extra, *rows, method="SUBSCRIBE", uri=uri, user=says, **parts))


def test_a_watcher_is_who_it_proves_to_be() -> None:
    """AUT-7, SUB-23: From says nothing."""
    place = house(notifier=NotifierSection(allow=("sip:boss@example.com",)), users=("alice", "bob", "boss"))
    alice, bob, boss = (Client(place, name) for name in ("alice", "bob", "boss"))
    alice.take(subscribe(alice))
    uri = "sip:alice@example.com"
    answer = subscribe(alice, alice.row("SUBSCRIBE", uri=uri))
    assert answer.status == 200
    assert (answer.header("Authentication-Info") or "").startswith("qop=auth,rspauth=")
    bob.take(subscribe(bob, says="alice"))
    assert subscribe(bob, bob.row("SUBSCRIBE", uri=uri), says="alice").status == 403
    boss.take(subscribe(boss, says="mallory"))
    assert subscribe(boss, boss.row("SUBSCRIBE", uri=uri), says="mallory").status == 200
    # nor does anybody else go on with alice's subscription
    assert answer.to.tag
    tagged = client_octets(bob, answer, bob.row("SUBSCRIBE", uri=uri))
    assert place.ask(tagged).status == 403
    assert place.ask(client_octets(alice, answer, alice.row("SUBSCRIBE", uri=uri))).status == 200


def test_whose_set_it_is_registers_and_watches_for_all_its_identities() -> None:
    """IMS-2, AUT-7: a proof is the user's, From says which of the identities watches."""
    sets = (("sip:alice@example.com", "sip:al@example.com", "sip:number@example.com"),)
    place = house(ims=ImsSection(enabled=True, implicit_sets=sets, barred=("sip:alice@example.com",)))
    alice, bob = Client(place).greet(), Client(place, "bob").greet()
    assert alice.register(user="al").status == 200
    assert bob.register(user="al").status == 403
    uri = "sip:al@example.com"
    for client, says, status in (
        (alice, "number", 200),
        (alice, "alice", 403),
        (bob, "number", 403),
        (bob, "bob", 403),
    ):
        client.take(subscribe(client, watched="al", says=says))
        assert subscribe(client, client.row("SUBSCRIBE", uri=uri), watched="al", says=says).status == status


def client_octets(client: Client, answer: SipMessage, row: str) -> bytes:
    """Write a refresh of a subscription."""
    client.cseq = max(client.cseq, 50)
    extra = ("Event: reg", "Contact: <sip:w@192.0.2.10:5060>", "Expires: 600", row)
    octets = client.octets(*extra, method="SUBSCRIBE", uri="sip:alice@example.com", call_id=answer.call_id)
    return octets.replace(b"To: <sip:alice@example.com>", f"To: <sip:alice@example.com>;tag={answer.to.tag}".encode())


DOCUMENT = (
    b'<?xml version="1.0"?><reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="full">'
    b'<registration aor="sip:alice@example.com" id="a" state="active">'
    b'<contact id="c" state="active" event="registered" expires="600">'
    b"<uri>sip:alice@192.0.2.77</uri></contact></registration></reginfo>"
)


ALICE = "sip:alice@example.com"
PUBLISHED = ("Event: reg", "Expires: 600", "Content-Type: application/reginfo+xml")


def publish(client: Client, *rows: str, flow: Flow = PHONE) -> SipMessage:
    octets = client.octets(*PUBLISHED, *rows, method="PUBLISH", uri=ALICE, body=DOCUMENT)
    return client.house.ask(octets, flow)


def test_a_publisher_owns_what_it_publishes_or_is_named() -> None:
    """AUT-7, AUT-10, ESC-5: with auth-int the body is proven."""
    place = house(compositor=CompositorSection(publishers=("sip:app@example.com",)), users=("alice", "bob", "app"))
    uri = "sip:alice@example.com"
    for name, status in [("alice", 200), ("bob", 403), ("app", 200)]:
        client = Client(place, name)
        client.take(publish(client))
        assert publish(client, client.row("PUBLISH", uri=uri, qop="auth-int", body=DOCUMENT)).status == status
        assert publish(client, client.row("PUBLISH", uri=uri, qop="auth-int", body=b"other")).status == 401


def test_peers_known_by_address_are_not_asked() -> None:
    """AUT-7: SUBSCRIBE and PUBLISH as without authentication; REGISTER is."""
    peer = PeerSection(name="east", uri="sip:192.0.2.10", domains=("example.com",))
    place = house(peers=[peer])
    client = Client(place, "east")
    assert publish(client).status == 200
    assert subscribe(client, says="east").status == 200
    assert place.register(contact()).status == 401


def test_the_address_of_a_peer_is_worth_its_domains_only() -> None:
    """AUT-7, RIC-10, SUB-23: what From says is no proof, wherever it comes from."""
    peer = PeerSection(name="east", uri="sip:192.0.2.10", domains=("example.net",))
    place = house(
        peers=[peer],
        domains=("example.com", "example.net"),
        notifier=NotifierSection(allow=("sip:boss@example.com",)),
        compositor=CompositorSection(publishers=("sip:app@example.com",)),
    )
    client = Client(place, "east")
    for says in ("alice", "boss"):
        assert subscribe(client, says=says).status == 401
    assert place.ask(client.octets(*PUBLISHED, method="PUBLISH", uri=ALICE, user="app", body=DOCUMENT)).status == 401
    extra = ("Event: reg", "Contact: <sip:w@192.0.2.10:5060>", "Expires: 600")
    answer = place.ask(client.octets(*extra, method="SUBSCRIBE", uri="sip:alice@example.net", user="alice"))
    assert answer.status == 200
    assert place.ask(client_octets(client, answer, "Subject: again")).status == 200  # its own dialog


@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 200), ("CANCEL", 481), ("NOTIFY", 481), ("ACK", 0)])
def test_what_is_never_challenged(method: str, status: int) -> None:
    """AUT-1, UAS-4."""
    extra = ("Event: reg", "Subscription-State: active", "Contact: <sip:a@192.0.2.10>") if method == "NOTIFY" else ()
    answer = house().send(request(method, *extra))
    assert (answer.status if answer is not None else 0) == status


# -- limits and floods -----------------------------------------------------------------------------------


@pytest.mark.parametrize("filler", [0, 100, 300, 600, 1200])
@pytest.mark.parametrize("algorithms", [("MD5",), ("SHA-256", "MD5"), ("SHA-512-256", "SHA-256", "MD5")])
@pytest.mark.parametrize("row", ["", "Authorization: Digest realm=example.com"])
def test_an_answer_to_anybody_is_small(filler: int, algorithms: tuple[str, ...], row: str) -> None:
    """SEC-3, TX-7: one datagram of at most 1.5 times the request, or 640 octets; the preferred algorithm stays."""
    place = house(*algorithms)
    rows = [contact(), *([row] if row else []), *(["X: " + "x" * filler] if filler else [])]
    octets = request("REGISTER", *rows)
    place.engine.receive([(octets, PHONE)], place.now())
    ((answer, _),) = place.engine.take_output()
    assert len(answer) <= max(640, 1.5 * len(octets))
    message = parse_message(answer)
    if row:
        assert message.status == 400
    else:
        assert message.status == 401
        offered = [offer["algorithm"] for offer in offers(message)]
        assert offered == list(algorithms)[: len(offered)]
        assert filler < 600 or len(offered) == len(algorithms)
    assert len(place.transactions) == 0
    place.sleep(40)
    assert place.engine.take_output() == []  # never again (TX-7)


def test_an_answer_that_cannot_be_small_is_none() -> None:
    """SEC-3: a long realm and Server header over a short request."""
    place = House(auth=AuthSection(enabled=True, realm="r" * 64, algorithms=("SHA-512-256",)))
    place.engine.follow(structs.replace(place.config, server_header="s" * 128), place.now())
    octets = request("REGISTER", via="[2001:db8::1];rport;x=" + "y" * 180)
    assert place.send(octets) is None
    assert len(place.transactions) == 0


def test_a_challenge_has_the_tag_of_its_request() -> None:
    """TX-7: a deterministic function of it, since nothing is kept."""
    place = house()
    octets = request("REGISTER", contact())
    first, second = place.ask(octets), place.ask(octets)
    assert first.to.tag == second.to.tag
    assert offers(first)[0]["nonce"] != offers(second)[0]["nonce"]


def test_requests_wait_for_the_user_table_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-3: at n and n + 1; one look-up for all of a user, and a retransmission waits in silence."""
    monkeypatch.setattr("reginfo.sip.digest.MAX_WAITING", 3)
    place = house()
    clients = [Client(place, name).greet() for name in ("alice", "alice", "bob", "bob")]
    batch = [one.octets(contact(), one.row(), user=one.name, call_id=f"c{n}") for n, one in enumerate(clients)]
    for octets in batch:
        place.engine.receive([(octets, PHONE)], place.now())
    place.engine.receive([(batch[0], PHONE)], place.now())
    ((answer, _),) = place.engine.take_output()
    assert parse_message(answer).status == 503
    assert parse_message(answer).header("Retry-After") == "5"
    place.find_users()
    place.settle()
    assert [parse_message(octets).status for octets, _ in place.engine.take_output()] == [200, 200, 200]
    assert place.lookups == [("alice",), ("bob",)]
    assert place.ask(batch[3]).status == 200  # the 503 is forgotten, its nonce not used


def test_while_the_user_table_does_not_answer_it_is_503() -> None:
    """SEC-3: and nothing of it is kept."""
    place = house()
    client = Client(place).greet()
    octets = client.octets(contact(), client.row())
    place.engine.receive([(octets, PHONE)], place.now())
    (query,) = place.engine.take_user_lookups()
    place.engine.user_unavailable(query, place.now())
    ((answer, _),) = place.engine.take_output()
    assert parse_message(answer).status == 503
    assert place.ask(octets).status == 200


def test_whoever_waited_too_long_is_not_answered() -> None:
    """TX-6."""
    place = house()
    client = Client(place).greet()
    place.engine.receive([(client.octets(contact(), client.row()), PHONE)], place.now())
    place.sleep(32)
    place.find_users()
    place.settle()
    assert place.engine.take_output() == []
    assert not place.contacts()


def test_users_are_held_up_to_a_limit() -> None:
    """SEC-5: at n and n + 1; the one read longest ago is read again."""
    place = house(max_cached_users=2, users=("alice", "bob", "carol"))
    for name in ("alice", "bob", "alice", "carol", "bob", "alice"):
        assert Client(place, name).greet().register().status == 200
    assert place.lookups == [("alice",), ("bob",), ("carol",), ("alice",)]


def test_authentication_can_be_switched_while_serving() -> None:
    """SIGHUP: on and off, and who waits is answered."""
    place = house()
    on = place.config
    client = Client(place).greet()
    place.engine.receive([(client.octets(contact(), client.row()), PHONE)], place.now())
    off = House(domains=on.domains).config
    place.engine.follow(off, place.now())
    place.find_users()
    place.settle()
    assert [parse_message(octets).status for octets, _ in place.engine.take_output()] == [200]
    assert place.register(contact(), cseq=70).status == 200
    place.engine.follow(on, place.now())
    assert place.register(contact(), cseq=71).status == 401


@pytest.mark.parametrize("flow", [PHONE, TCP], ids=["udp", "tcp"])
def test_regaut01_is_challenged(flow: Flow) -> None:
    """AUT-1, section 16: credentials of an unknown scheme; without authentication it is a fetch, 200."""
    row = next(row for row in rfc4475.ROWS if row.name == "regaut01")
    place = house(domains=("biloxi.example",))
    answer = place.ask(row.octets, flow)
    assert answer.status == 401
    assert offers(answer)[0]["realm"] == "biloxi.example"
    assert House(domains=("biloxi.example",)).ask(row.octets, flow).status == 200


def test_the_original_regaut01_is_challenged(corpora: Path) -> None:
    """AUT-1, section 16."""
    octets = (corpora / "rfc4475" / "regaut01.dat").read_bytes()
    domain = parse_message(octets).aor.rpartition("@")[2]
    assert house(domains=(domain,)).ask(octets).status == 401
    assert House(domains=(domain,)).ask(octets).status == 200


def test_a_flood_of_strangers_leaves_nothing_behind() -> None:
    """SEC-3, TX-7: whatever they send, from wherever, and no answer is a weapon."""
    place = house(nonce_lifetime=300)
    kinds = [
        lambda n: request("REGISTER", contact(), user=f"u{n}"),
        lambda n: request("OPTIONS", call_id=f"o{n}"),
        lambda n: request("CANCEL", call_id=f"x{n}"),
        lambda n: request("SUBSCRIBE", "Event: reg", "Contact: <sip:a@h>", call_id=f"s{n}"),
        lambda n: request("PUBLISH", "Event: reg", call_id=f"p{n}"),
        lambda n: request("NOTIFY", "Event: reg", "Subscription-State: active", "Contact: <sip:a@h>", call_id=f"n{n}"),
        lambda n: request("REGISTER", uri="sip:elsewhere.example", call_id=f"e{n}"),
        lambda n: request("REGISTER", "Require: nothing", call_id=f"r{n}"),
        lambda n: request("INVITE", call_id=f"i{n}"),
        lambda n: request("STRANGE", call_id=f"t{n}"),
        lambda n: request("REGISTER", "Contact: <", call_id=f"m{n}"),
        lambda n: request("REGISTER", 'Authorization: Digest realm="example.com"', call_id=f"a{n}"),
    ]
    for n in range(20 * len(kinds)):
        octets = kinds[n % len(kinds)](n)
        source = Flow("udp", LOCAL, (f"198.51.{n % 256}.{n // 256 + 1}", 1024 + n))
        place.engine.receive([(octets, source)], place.now())
        ((answer, _),) = place.engine.take_output()
        assert len(answer) <= max(640, 1.5 * len(octets))
    assert len(place.transactions) == 0
    assert place.engine.pending == 0
    assert place.lookups == place.engine.take_user_lookups() == []
    place.sleep(40)
    assert place.engine.take_output() == []


def test_only_wrong_credentials_are_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """AUT-6: a first challenge and a nonce that is too old are everyday; no line has what was sent."""
    caplog.set_level("INFO")
    place = house()
    client = Client(place).greet()
    assert client.register().status == 200
    place.sleep(300)
    assert client.register().status == 401
    assert caplog.messages == []
    Client(place, password="guess").greet().register()
    (line,) = caplog.messages
    assert "code=401 reason=Wrong credentials" in line
    assert "guess" not in line
