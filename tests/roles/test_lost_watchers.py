"""Watchers that can be told no more: SUB-9, TRN-14, RFC 6665 section 4.2.2, RFC 7118 section 5."""

import pytest

from reginfo.config import Listener, NotifierSection
from reginfo.fast import Flow, SipMessage, parse_message, write_response
from tests.harness import LOCAL, House, contact, request

ALICE = "sip:alice@example.com"
BROWSER = Flow("ws", ("127.0.0.1", 8088), ("192.0.2.50", 40_000), 7)
AGAIN = Flow("ws", ("127.0.0.1", 8088), ("192.0.2.50", 40_001), 8)
SECURE = Flow("tls", ("127.0.0.1", 5061), ("192.0.2.50", 40_002), 9)
MADE_UP = "sip:w@df7jal23ls0d.invalid;transport=ws"


@pytest.fixture
def house() -> House:
    return House(notifier=NotifierSection(min_notify_interval=0.0))


def deliver(house: House, octets: bytes, flow: Flow) -> list[tuple[SipMessage, Flow]]:
    """Return everything the server has to say after a message."""
    house.engine.receive([(octets, flow)], house.now())
    return said(house)


def said(house: House) -> list[tuple[SipMessage, Flow]]:
    return [(parse_message(octets), flow) for octets, flow in house.pump()]


def subscribe(
    house: House, flow: Flow, target: str = MADE_UP, *, call_id: str = "w", cseq: int = 1, to_tag: str = ""
) -> list[tuple[SipMessage, Flow]]:
    octets = request(
        "SUBSCRIBE", "Event: reg", "Expires: 600", f"Contact: <{target}>", uri=ALICE, call_id=call_id, cseq=cseq
    )
    octets = octets.replace(b"SIP/2.0/UDP", b"SIP/2.0/" + flow.transport.upper().encode())
    if to_tag:
        octets = octets.replace(b"To: <sip:alice@example.com>", b"To: <sip:alice@example.com>;tag=" + to_tag.encode())
    return deliver(house, octets, flow)


def answered(house: House, notify: SipMessage, flow: Flow) -> None:
    assert not deliver(house, write_response(notify, 200), flow)


def begun(house: House, flow: Flow, target: str = MADE_UP) -> str:
    """Subscribe, take the first NOTIFY, and return the local tag."""
    [(response, _), (notify, towards)] = subscribe(house, flow, target)
    assert (response.status, notify.method, towards) == (200, "NOTIFY", flow)
    answered(house, notify, flow)
    return response.to.tag or ""


def change(house: House) -> list[SipMessage]:
    """Register another contact, and return what watchers are told of it."""
    told = deliver(house, request("REGISTER", contact()), Flow("udp", LOCAL, ("192.0.2.10", 5060)))
    return [one for one, _ in told if one.is_request]


def test_a_browser_that_has_gone_watches_no_more(house: House) -> None:
    """TRN-14: nobody else can make its connection, so it can be told no more; it is over, after a restart too."""
    begun(house, BROWSER)
    house.engine.lost(BROWSER, house.now())
    assert house.roles.notifier.is_busy
    assert said(house) == []
    assert len(house.roles.notifier) == 0
    assert change(house) == []
    house.crash()
    assert len(house.roles.notifier) == 0


def test_so_does_one_that_has_not_answered(house: House) -> None:
    """SUB-9: the NOTIFY on its way counts as 503, and is not tried again."""
    subscribe(house, BROWSER)
    house.engine.lost(BROWSER, house.now())
    assert said(house) == []
    assert len(house.roles.notifier) == 0
    house.sleep(200)
    assert said(house) == []


def test_one_that_went_while_it_subscribed_is_gone_too(house: House) -> None:
    """The news of its end comes again with the NOTIFY that cannot leave."""
    house.engine.lost(BROWSER, house.now())
    [_, (_, towards)] = subscribe(house, BROWSER)
    house.engine.lost(towards, house.now())
    said(house)
    assert len(house.roles.notifier) == 0


def test_a_browser_that_has_come_back_is_told_there(house: House) -> None:
    """TRN-14: by the connection of its last SUBSCRIBE; the end of another one is no news."""
    tag = begun(house, BROWSER)
    [(response, _), (notify, towards)] = subscribe(house, AGAIN, cseq=2, to_tag=tag)
    assert (response.status, towards) == (200, AGAIN)
    answered(house, notify, AGAIN)
    house.engine.lost(BROWSER, house.now())
    said(house)
    assert [one.method for one in change(house)] == ["NOTIFY"]


def test_a_watcher_behind_tls_is_called_at_its_contact(house: House) -> None:
    """TRN-10: it has an address; without its connection another one is made."""
    house.engine.bind((Listener("udp", *LOCAL), Listener("tls", "127.0.0.1", 5061)), house.now())
    begun(house, SECURE, "sips:w@192.0.2.50:5061")
    house.engine.lost(SECURE, house.now())
    said(house)
    assert len(house.roles.notifier) == 1
    told = deliver(house, request("REGISTER", contact()), Flow("udp", LOCAL, ("192.0.2.10", 5060)))
    [towards] = [flow for one, flow in told if one.is_request]
    assert (towards.transport, towards.remote, towards.connection) == ("tls", ("192.0.2.50", 5061), 0)


def test_a_restart_ends_who_watched_over_a_websocket(house: House) -> None:
    """TRN-14: its connection is gone, which shows with the first NOTIFY."""
    begun(house, BROWSER)
    house.crash()
    assert len(house.roles.notifier) == 1
    assert change(house) == []
    assert len(house.roles.notifier) == 0
    assert house.roles.notifier.notifies["active", 503] == 1


def test_who_cannot_be_reached_for_longer_than_an_answer_may_take_is_given_up(house: House) -> None:
    """SUB-9, RFC 6665 section 4.2.2: a restart of a watcher is survived, three failures in a row are not."""
    watcher = Flow("udp", LOCAL, ("192.0.2.50", 5060))
    subscribe(house, watcher, "sip:w@192.0.2.50:5060")
    begin = house.now_ms
    for tries in (1, 2, 3):
        house.engine.lost(watcher, house.now())
        said(house)
        assert len(house.roles.notifier) == (1 if tries < 3 else 0)
        told: list[tuple[SipMessage, Flow]] = []
        while tries < 3 and not told:
            house.sleep(1)
            told = said(house)
    assert house.now_ms - begin > 32_000  # timer F


def test_a_connection_with_many_watchers_is_let_go_in_pieces(house: House) -> None:
    for number in range(90):
        [_, (notify, flow)] = subscribe(house, BROWSER, call_id=f"w{number}")
        answered(house, notify, flow)
    house.engine.lost(BROWSER, house.now())
    notifier = house.roles.notifier
    assert notifier.work(house.now(), 40)
    assert len(notifier) == 50
    assert notifier.work(house.now(), 40)
    assert not notifier.work(house.now(), 40)
    assert (len(notifier), notifier.is_busy) == (0, False)
