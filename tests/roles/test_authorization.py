"""Servers of ours that other servers ask for a password: AUT-9, AUT-11."""

from collections.abc import Callable
from typing import Any

import pytest

from reginfo.config import AuthSection, CompositorSection, NotifierSection, PeerSection, PuaReginfoSection
from reginfo.fast import Request, SipMessage, write_response
from reginfo.roles.subscriber import State
from reginfo.sip.authorization import MAX_CHALLENGES, Account, Accounts, Session, challenges_of
from reginfo.sip.peers import Networks
from reginfo.sip.routing import next_hop
from tests.harness import House
from tests.network import Network, Peer
from tests.reference import digest as reference
from tests.scenes import ALICE, OTHER, SERVER, WATCHER, A, B, Phone, watch

WEST = "sip:127.0.0.2:5060"
EAST_USER = "sip:east@example.com"
PASSWORD = "s3cret"


def account(password: str = PASSWORD, uri: str = WEST, realm: str = "") -> Accounts:
    accounts = Accounts()
    accounts.add(Account("east", password, realm), next_hop(uri), Networks(()))
    return accounts


class Scene:
    """East publishes to west and follows alice there; west asks everybody."""

    def __init__(self, *, password: str = PASSWORD, auth: dict[str, Any] | None = None, **west: Any) -> None:
        self.net = Network()
        self.net.is_watching = True
        self.west = House(
            local=OTHER,
            auth=AuthSection(enabled=True, **auth or {}),
            compositor=CompositorSection(publishers=(EAST_USER,)),
            notifier=NotifierSection(allow=(EAST_USER,), min_notify_interval=0.0),
            **west,
        )
        self.west.users["east"] = PASSWORD
        self.east = House(local=SERVER, pua_reginfo=PuaReginfoSection(outbound_proxy=WEST))
        self.be(account(password))
        self.net.serve(self.west)
        self.net.serve(self.east)
        self.phone = Phone()
        self.net.add(self.phone)

    def be(self, accounts: Accounts) -> None:
        self.east.accounts = accounts
        self.east.engine.authorizations.follow(accounts)

    def register(self, *rows: str) -> None:
        self.phone.register(*rows)
        self.net.run(0.2)
        assert self.phone.last.status == 200

    def seen(self, method: str) -> list[SipMessage]:
        """Return the requests of a method that left, and forget everything."""
        seen, self.net.seen = self.net.seen, []
        return [one for one in seen if one.is_request and one.method == method]


@pytest.mark.parametrize("algorithms", [("MD5",), ("SHA-256", "MD5"), ("SHA-512-256", "SHA-256", "MD5")])
def test_a_publisher_proves_who_it_is(algorithms: tuple[str, ...]) -> None:
    """AUT-2, AUT-8, AUT-11: asked once, it brings credentials along from then on, of the algorithm preferred there."""
    scene = Scene(auth={"algorithms": algorithms})
    scene.register(f"{A};expires=600")
    assert scene.west.contacts() == [A]
    first, second = scene.seen("PUBLISH")
    assert (first.call_id, first.from_.tag, first.cseq, second.cseq) == (second.call_id, second.from_.tag, 1, 2)
    assert first.authorization == []
    credentials = second.authorization[0].params
    assert credentials["algorithm"] == algorithms[0]
    assert (credentials["userhash"], credentials["username"] == "east") == ("true", False)
    scene.register(f"{B};expires=600")
    [third] = scene.seen("PUBLISH")
    assert (third.cseq, third.authorization[0].params["nc"]) == (1, "00000002")
    assert set(scene.west.contacts()) == {A, B}
    assert scene.east.roles.publisher.publishes == {200: 2}


def test_without_an_account_the_publisher_hears_of_the_401() -> None:
    """AUT-11, EPA-2"""
    scene = Scene()
    scene.be(Accounts())
    scene.register(f"{A};expires=600")
    assert scene.east.roles.publisher.publishes == {401: 1}
    assert scene.west.contacts() == []


def test_a_nonce_that_has_grown_old_costs_one_more_round() -> None:
    """AUT-11: stale; Authentication-Info tells of the next one in time, if something is sent in time."""
    scene = Scene(auth={"nonce_lifetime": 60})
    scene.register(f"{A};expires=600")
    scene.seen("PUBLISH")
    scene.net.run(70)
    scene.register(f"{B};expires=600")
    old, new = scene.seen("PUBLISH")
    assert old.authorization[0].params["nonce"] != new.authorization[0].params["nonce"]
    assert set(scene.west.contacts()) == {A, B}
    assert scene.east.roles.publisher.publishes == {200: 2}
    scene.net.run(50)  # it is about to end: nextnonce
    scene.register(f"{A};expires=700")
    scene.net.run(20)
    scene.seen("PUBLISH")
    scene.register(f"{A};expires=800")
    assert len(scene.seen("PUBLISH")) == 1  # AUT-9


def test_a_server_that_starts_again_knows_no_nonce_and_costs_one_more_round() -> None:
    """AUT-11: neither its secret nor its users are what they were."""
    scene = Scene()
    scene.register(f"{A};expires=600")
    scene.west.crash()
    scene.register(f"{B};expires=600")
    assert set(scene.west.contacts()) == {A, B}
    assert scene.east.roles.publisher.publishes == {200: 2}


def test_a_password_that_changes_there_is_refused_until_it_changes_here(caplog: pytest.LogCaptureFixture) -> None:
    """AUT-11: refused once for each PUBLISH that is tried; SIGHUP brings the new one."""
    scene = Scene()
    scene.register(f"{A};expires=600")
    scene.west.users["east"] = "changed"
    scene.west.engine.forget_users()
    scene.net.run(61)
    scene.seen("PUBLISH")
    scene.register(f"{B};expires=600")
    assert scene.west.contacts() == [A]
    assert len(scene.seen("PUBLISH")) <= 3
    refusals = [one.getMessage() for one in caplog.records if "password refused" in one.getMessage()]
    assert refusals == ["password refused at=udp:127.0.0.2:5060 user=east"]
    scene.be(account("changed"))
    scene.net.run(120)
    assert set(scene.west.contacts()) == {A, B}


def test_a_subscriber_proves_who_it_is_and_counts_on() -> None:
    """AUT-11, SUB-15: the refresh inside the dialog has a higher CSeq than what was sent again before it."""
    scene = Scene(auth={"nonce_lifetime": 60})
    [subscription] = scene.east.roles.subscriber.follow(ALICE, 600, scene.east.now())
    scene.net.run(0.3)
    assert subscription.state is State.ACTIVE
    first, second = scene.seen("SUBSCRIBE")
    assert (first.cseq, second.cseq, subscription.cseq) == (1, 2, 2)
    scene.net.run(590)
    assert subscription.state is State.ACTIVE
    stale, fresh = scene.seen("SUBSCRIBE")
    assert (stale.cseq, fresh.cseq, subscription.cseq) == (3, 4, 4)
    assert stale.to.tag == fresh.to.tag is not None
    assert fresh.call_id == first.call_id


def test_a_dialog_that_was_given_up_is_not_counted_on() -> None:
    """AUT-11: the answer to a SUBSCRIBE of the last dialog says nothing of this one's CSeq."""
    scene = Scene()
    [subscription] = scene.east.roles.subscriber.follow(ALICE, 600, scene.east.now())
    subscription.asked, subscription.cseq = "another", 7
    scene.east.roles.subscriber.renumbered(subscription, 3)
    assert subscription.cseq == 7
    subscription.asked = subscription.call_id
    scene.east.roles.subscriber.renumbered(subscription, 8)
    assert subscription.cseq == 8


def test_a_peer_that_is_named_is_asked_in_the_dialog_by_its_address() -> None:
    """AUT-11: the name leads there, and the Contact is where it led."""
    scene = Scene()
    scene.east = House(
        local=SERVER, peers=[PeerSection(name="west", uri="sip:west.test:5060")], pua_reginfo=PuaReginfoSection()
    )
    scene.east.names["west.test"] = [("127.0.0.2", "127.0.0.1")]
    scene.be(account(uri="sip:west.test:5060"))
    scene.net.serve(scene.east)
    [subscription] = scene.east.roles.subscriber.follow(ALICE, 600, scene.east.now())
    scene.net.run(590)
    assert subscription.state is State.ACTIVE
    requests = scene.seen("SUBSCRIBE")
    assert [one.cseq for one in requests] == [1, 2, 3, 4]


# -- who asks is made by hand


class Asking(Peer):
    """Answers requests of one method with challenges first."""

    def __init__(self, local: tuple[str, int], then: Callable[[SipMessage], bytes | None]) -> None:
        super().__init__(local)
        self.then = then
        self.rounds: list[tuple[int, tuple[tuple[str, str], ...]]] = []
        self.answer = self._answer

    def _answer(self, request: SipMessage) -> bytes | None:
        if not self.rounds:
            return self.then(request)
        status, headers = self.rounds.pop(0)
        return write_response(request, status, to_tag="asks", headers=headers)


def ask(status: int, realm: str, nonce: str, more: str = "") -> tuple[int, tuple[tuple[str, str], ...]]:
    name = "Proxy-Authenticate" if status == 407 else "WWW-Authenticate"
    return status, ((name, f'Digest realm="{realm}",nonce="{nonce}",qop="auth"{more}'),)


def test_a_notifier_that_is_asked_counts_on() -> None:
    """AUT-11, SUB-6: a NOTIFY sent again has the next CSeq and the same document; the one after it the next of both."""
    net = Network()
    house = net.serve(House(notifier=NotifierSection(min_notify_interval=0.0)))
    house.accounts = account(uri=f"sip:watcher@{WATCHER[0]}:{WATCHER[1]}")
    house.engine.authorizations.follow(house.accounts)
    watcher = watch(net, house)
    taken = watcher.answer
    rounds = [ask(407, "proxy", "p"), ask(401, "home", "n")]

    def answer(request: SipMessage) -> bytes | None:
        if rounds:
            status, headers = rounds.pop(0)
            return write_response(request, status, headers=headers)
        return taken(request)

    watcher.answer = answer
    phone = Phone()
    net.add(phone)
    phone.register(f"{A};expires=600")
    net.run(0.5)
    phone.register(f"{B};expires=600")
    net.run(0.5)
    notifies = watcher.notifies
    assert [one.cseq for one in notifies] == [1, 2, 3, 4, 5]
    assert notifies[1].body == notifies[2].body == notifies[3].body
    assert notifies[3].header("Proxy-Authorization") is not None
    assert len(notifies[3].authorization) == 1
    assert watcher.contacts() == {A, B}
    assert [one.version for one in watcher.documents] == [0, 1, 2]


def test_numbers_that_challenges_use_up_are_reserved_as_well() -> None:
    """AUT-11, XML-4: after a crash no CSeq is used again, also if each NOTIFY was asked for ever."""
    net = Network()
    house = net.serve(House(notifier=NotifierSection(min_notify_interval=0.0)))
    house.accounts = account(uri=f"sip:watcher@{WATCHER[0]}:{WATCHER[1]}")
    house.engine.authorizations.follow(house.accounts)
    watcher = watch(net, house)
    taken = watcher.answer
    left = 0

    def answer(request: SipMessage) -> bytes | None:
        nonlocal left
        left = MAX_CHALLENGES if left == 0 else left - 1
        if left == 0:
            return taken(request)
        status, headers = ask(401, "home", f"n{request.cseq}", ",stale=true")
        return write_response(request, status, headers=headers)

    watcher.answer = answer
    phone = Phone()
    net.add(phone)
    for turn in range(300):
        phone.register(f"{A if turn % 2 else B};expires={600 + turn}")
        net.run(0.1)
        if turn % 50 == 49:
            net.run(1)
            house.crash()
    numbers = [one.cseq for one in watcher.notifies]
    assert numbers == sorted(set(numbers))
    assert max(numbers) > 1200


@pytest.mark.parametrize("algorithm", ["MD5-sess", "SHA-256-sess", "SHA-512-256-sess"])
def test_a_session_with_a_proxy_and_a_server_holds(algorithm: str) -> None:
    """AUT-3, AUT-11: two realms, -sess; each request is what the reference computes."""
    net = Network()
    asking = Asking(
        OTHER, lambda request: write_response(request, 200, headers=(("SIP-ETag", "t"), ("Expires", "600")))
    )
    asking.rounds = [
        ask(407, "proxy", "p", f",algorithm={algorithm}"),
        ask(401, "home", "n", f",algorithm={algorithm}"),
    ]
    house = net.serve(House(pua_reginfo=PuaReginfoSection(outbound_proxy=WEST)))
    house.engine.authorizations.follow(account())
    phone = Phone()
    net.add(asking)
    net.add(phone)
    for turn in range(2):
        phone.register(f"{A};expires={600 + turn}")
        net.run(0.3)
    *_, third, fourth = asking.requests("PUBLISH")
    assert len(asking.requests("PUBLISH")) == 4
    for request, nc in ((third, "00000001"), (fourth, "00000002")):
        [credentials] = request.authorization
        got = credentials.params
        assert got["nc"] == nc
        session_cnonce = third.authorization[0].params["cnonce"]
        assert got["cnonce"] == session_cnonce
        assert got["response"] == reference.response(
            algorithm, "east", "home", PASSWORD, "PUBLISH", ALICE, "n", "auth", nc, session_cnonce
        )
        assert 'realm="proxy"' in (request.header("Proxy-Authorization") or "")


def test_a_compositor_that_asks_for_ever_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """AUT-11: bounded for each PUBLISH; the publisher backs off as after any refusal."""
    net = Network()
    asking = Asking(OTHER, lambda request: write_response(request, 500))
    house = net.serve(House(pua_reginfo=PuaReginfoSection(outbound_proxy=WEST)))
    house.engine.authorizations.follow(account())
    asking.rounds = [ask(401, "home", f"n{number}", ",stale=true") for number in range(1000)]
    phone = Phone()
    net.add(asking)
    net.add(phone)
    phone.register(f"{A};expires=600")
    net.run(5)
    assert len(asking.requests("PUBLISH")) == 1 + MAX_CHALLENGES
    assert house.roles.publisher.publishes == {401: 1}
    assert len([one for one in caplog.records if "password refused" in one.getMessage()]) == 1


def test_a_table_of_hostile_challenges_is_answered_with_a_few_rows() -> None:
    """AUT-11, SEC-5: a hundred realms, most of them malformed, too long or unknown."""
    net = Network()
    asking = Asking(OTHER, lambda request: write_response(request, 500))
    hostile = [
        f'Digest realm="r",nonce="{"x" * 5000}"',
        "Digest realm=",
        "Digest",
        "",
        'Digest nonce="n"',
        "Digest ,=,",
    ]
    hostile += [f"Digest realm=r{n},nonce=n,qop=auth" + ",algorithm=X" * (n % 2) for n in range(90)]
    asking.rounds = [(401, tuple([("WWW-Authenticate", one) for one in hostile]))]
    house = net.serve(House(pua_reginfo=PuaReginfoSection(outbound_proxy=WEST), domains=("example.com",)))
    house.engine.authorizations.follow(account())
    phone = Phone()
    net.add(asking)
    net.add(phone)
    phone.register(f"{A};expires=600")
    net.run(0.5)
    assert [one.params["realm"] for one in asking.requests("PUBLISH")[-1].authorization] == ["r0", "r2", "r4", "r6"]


def test_other_places_are_not_told_anything() -> None:
    """AUT-11: a watcher that is no peer asks, and its subscription ends as with any 401."""
    net = Network()
    house = net.serve(House())
    house.engine.authorizations.follow(account())
    watcher = watch(net, house)
    watcher.status = 401
    watcher.headers = ask(401, "example.com", "n")[1]
    phone = Phone()
    net.add(phone)
    phone.register(f"{A};expires=600")
    net.run(10)
    assert all(not one.authorization for one in watcher.notifies)
    assert len(house.engine.authorizations.known) == 0


def test_servers_that_ask_each_other_follow_each_other() -> None:
    """AUT-11: they know each other by name only, and so each has to prove who it is."""
    net = Network()
    houses = {}
    for name, local, other, address in (("east", SERVER, "west", OTHER), ("west", OTHER, "east", SERVER)):
        house = House(
            local=local,
            auth=AuthSection(enabled=True),
            peers=[PeerSection(name=other, uri=f"sip:{other}.test:5060")],
            notifier=NotifierSection(allow=(f"sip:{other}@example.com",), min_notify_interval=0.0),
            pua_reginfo=PuaReginfoSection(subscribe=(ALICE,)),
        )
        house.names[f"{other}.test"] = [(address[0], local[0])]
        house.users |= {other: PASSWORD, "alice": PASSWORD}
        house.accounts = Accounts()
        house.accounts.add(Account(name, PASSWORD), next_hop(f"sip:{other}.test:5060"), Networks(()))
        house.engine.authorizations.follow(house.accounts)
        houses[name] = net.serve(house)
    phone = Phone()
    net.add(phone)
    phone.register(f"{A};expires=600")
    net.run(0.3)
    [challenge] = challenges_of(phone.last).values()
    session = Session(Account("alice", PASSWORD), challenge, "c")
    row = session.credentials(Request("REGISTER", "sip:example.com", b"")).text
    phone.register(f"{A};expires=600", headers=[("Authorization", row)])
    net.run(0.5)
    assert phone.last.status == 200
    for house in houses.values():
        assert [one.state for one in house.roles.subscriber] == [State.ACTIVE]
        assert set(house.contacts()) == {A}
