"""Who is told of nothing costs a turn nothing: when the feed may be passed over."""

from reginfo.config import PuaReginfoSection
from reginfo.fast import parse_message, write_response
from tests.harness import PHONE, House, contact, finish, request


def subscribe(house: House, expires: int) -> None:
    octets = request(
        "SUBSCRIBE", "Event: reg", f"Expires: {expires}", "Contact: <sip:w@192.0.2.10>", uri="sip:alice@example.com"
    )
    house.engine.receive([(octets, PHONE)], house.now())
    house.settle()


def test_a_registrar_that_nobody_watches_is_alone_and_one_with_a_watcher_is_not() -> None:
    """From the turn of the SUBSCRIBE on, the feed is read."""
    house = House()
    assert house.register(contact()).status == 200
    assert house.engine.is_alone
    assert house.telling.lag
    house.telling.pass_over()
    assert not house.telling.lag
    subscribe(house, 600)
    assert not house.engine.is_alone
    notify = house.pump()[-1][0]
    assert b"sip:alice@192.0.2.10:5060" in notify
    house.engine.receive([(write_response(parse_message(notify), 200), PHONE)], house.now())
    house.register(contact("sip:alice@192.0.2.11"), cseq=2)
    house.sleep(60)
    assert b"sip:alice@192.0.2.11" in house.pump()[-1][0]


def test_who_publishes_is_not_alone() -> None:
    """Also before the first registration."""
    assert not House(pua_reginfo=PuaReginfoSection(outbound_proxy="sip:192.0.2.99")).engine.is_alone


def test_what_is_to_be_saved_is_saved_before_a_server_is_alone() -> None:
    """Also what a role has put there after its last watcher has left."""
    house = House()
    subscribe(house, 0)
    for octets, _ in house.pump():
        if octets.startswith(b"NOTIFY"):
            answer = write_response(parse_message(octets), 200)
            house.engine.receive([(answer, PHONE)], house.now())
    house.roles.unsaved.put(b"key", b"value")
    assert not house.engine.is_alone
    finish(house.telling.keep_state())
    assert house.engine.is_alone


def test_who_has_lapsed_and_is_gone_already_is_still_work() -> None:
    """SUB-8: else a server had work() to do for ever and never did it."""
    house = House()
    subscribe(house, 60)
    notify = house.pump()[-1][0]
    house.engine.receive([(write_response(parse_message(notify), 200), PHONE)], house.now())
    finish(house.telling.keep_state())
    [subscription] = house.roles.notifier
    house.now_ms = subscription.expires_at + 1
    house.engine.tick(house.now())
    assert house.engine.has_work
    house.roles.notifier.remove(subscription)
    finish(house.telling.keep_state())
    assert house.engine.has_work
    assert not house.engine.is_alone
    house.pump()
    assert not house.engine.has_work
    assert house.engine.is_alone
