"""Flows that end, and what ends with them: OUT-6, TRN-10, REV-8; architecture: flow-bound bindings and restart."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial

import pytest

from reginfo.errors import StoreUnavailable
from reginfo.fast import Binding, Change, Draft, Flow, parse_message, write_response
from reginfo.model import Command, StateItem
from reginfo.server import run_turn
from reginfo.sip import flows as flows_module
from reginfo.sip.flows import ENDS_PER_TURN, MAX_BEFORE_ENDS, Flows
from reginfo.store.table import TableStore
from tests.engine.test_outbound import PHONE, SUPPORTED, flow_contact
from tests.harness import LOCAL, House, contact, finish, request
from tests.network import Network
from tests.scenes import ALICE, watch

UDP = Flow("udp", LOCAL, ("192.0.2.10", 5060))


def tcp(number: int, transport: str = "tcp") -> Flow:
    return Flow(transport, LOCAL, ("192.0.2.10", 40000 + number), number)


def lose(house: House, flow: Flow) -> None:
    house.engine.lost(flow, house.now())
    house.settle()


@pytest.fixture
def house() -> House:
    return House()


def test_a_watcher_is_told_that_a_contact_expired_with_its_connection() -> None:
    """OUT-6, REV-8: at once, by the one door for every change."""
    net = Network()
    house = net.serve(House())
    watcher = watch(net, house)
    house.register(flow_contact(), SUPPORTED, flow=tcp(1))
    net.run(6)
    house.engine.lost(tcp(1), house.now())
    net.run(6)
    assert watcher.events()[-1] == [(PHONE, "expired")]
    assert watcher.contacts() == set()
    assert house.registration() is None
    [*_, change] = finish(house.store.changes(0, 100))
    assert (change.cause, [event for _, event in change.contacts]) == ("flow", ["expired"])


def test_only_what_is_bound_to_the_connection_ends(house: House) -> None:
    """OUT-6: neither another flow of the instance, nor what came over the connection without outbound."""
    house.register(flow_contact(reg_id=1), SUPPORTED, flow=tcp(1))
    house.register(flow_contact(reg_id=2), SUPPORTED, flow=tcp(2), cseq=2)
    house.register(contact("sip:alice@192.0.2.11"), flow=tcp(1), cseq=3)
    house.register(contact("sip:bob@192.0.2.12"), flow=tcp(1), user="bob")
    lose(house, tcp(1))
    assert [(one.uri, one.reg_id) for one in house.bound().bindings] == [(PHONE, 2), ("sip:alice@192.0.2.11", None)]
    assert house.contacts("sip:bob@example.com") == ["sip:bob@192.0.2.12"]


def test_everything_of_a_connection_ends(house: House) -> None:
    """OUT-6: of whatever address-of-record; a WebSocket needs no outbound for that."""
    for number in range(5):
        house.register(contact(), flow=tcp(1, "wss"), user=f"u{number}")
    lose(house, tcp(1, "wss"))
    assert len(house.store) == 0


def test_a_refresh_over_another_connection_moves_the_binding(house: House) -> None:
    """OUT-4, OUT-6: the end of the first one does not end it, that of the second one does."""
    house.register(flow_contact(), SUPPORTED, flow=tcp(1))
    house.register(flow_contact(), SUPPORTED, flow=tcp(2), cseq=2)
    lose(house, tcp(1))
    assert house.contacts() == [PHONE]
    lose(house, tcp(2))
    assert house.contacts() == []


def test_the_same_address_with_another_connection_is_another_flow(house: House) -> None:
    """OUT-6: ports are used again."""
    first = Flow("tcp", LOCAL, ("192.0.2.10", 40000), 1)
    second = Flow("tcp", LOCAL, ("192.0.2.10", 40000), 11)
    house.register(flow_contact(), SUPPORTED, flow=second)
    lose(house, first)
    assert house.contacts() == [PHONE]


def test_a_contact_that_leaves_its_flow_leaves_nothing_behind(house: House) -> None:
    """OUT-6, SEC-5: the index is as large as what is bound."""
    flows = house.engine.flows
    house.register(flow_contact(), SUPPORTED, flow=tcp(1))
    assert len(flows) == 1
    house.register(flow_contact(expires=0), SUPPORTED, flow=tcp(1), cseq=2)
    assert len(flows) == 0
    house.register(flow_contact(expires=60), SUPPORTED, flow=tcp(1), cseq=3)
    house.sleep(61)
    assert len(flows) == 0
    house.register(contact(), flow=tcp(1, "ws"), cseq=4)
    house.register(contact(), cseq=5)  # over UDP
    assert len(flows) == 0
    house.register(contact(), flow=tcp(1, "ws"), cseq=6)
    house.command(Command(ALICE, lambda draft, now_ms: draft.remove(None, "deactivated"), "operator"))
    assert len(flows) == 0


def test_a_connection_lost_before_its_request_is_decided_ends_what_it_binds(house: House) -> None:
    """OUT-6: the request is answered as any other, and what it binds ends then."""
    house.engine.receive([(request("REGISTER", flow_contact(), SUPPORTED), tcp(1))], house.now())
    house.engine.lost(tcp(1), house.now())
    house.settle()
    assert house.contacts() == []
    assert [change.cause for change in finish(house.store.changes(0, 10))] == ["register", "flow"]
    assert len(house.engine.take_output()) == 1
    house.register(flow_contact(), SUPPORTED, flow=tcp(1), cseq=2)
    assert house.contacts() == [PHONE]  # nothing is remembered of connections once nothing is pending


def test_a_connection_that_was_never_made_ends_nothing(house: House) -> None:
    """TRN-10: it tells of an address only."""
    house.register(flow_contact(), SUPPORTED, flow=tcp(1))
    lose(house, Flow("tcp", LOCAL, ("192.0.2.10", 40001), 0))
    assert house.contacts() == [PHONE]


@pytest.mark.parametrize("local", [LOCAL, ("0.0.0.0", 5060)])
def test_an_icmp_error_ends_what_has_outbound_over_that_flow(house: House, local: tuple[str, int]) -> None:
    """OUT-6, TRN-10: and nothing else, since without outbound nothing says that the address is the phone's only one."""
    house.register(contact("sip:alice@192.0.2.11"))
    house.register(flow_contact(), SUPPORTED, cseq=2)
    lose(house, Flow("udp", local, ("192.0.2.10", 5061)))
    assert len(house.contacts()) == 2
    lose(house, Flow("udp", local, ("192.0.2.10", 5060)))
    assert house.contacts() == ["sip:alice@192.0.2.11"]
    assert house.register(flow_contact(), SUPPORTED, cseq=3).status == 200
    assert len(house.contacts()) == 2


def test_a_restart_ends_what_came_over_connections(house: House) -> None:
    """OUT-6: as `expired`; an address pair survives, and can still be lost afterwards."""
    house.register(flow_contact(reg_id=1), SUPPORTED, flow=tcp(1))
    house.register(flow_contact(reg_id=2), SUPPORTED, flow=UDP, cseq=2)
    house.register(contact("sip:alice@192.0.2.11"), flow=tcp(1), cseq=3)
    house.register(contact(), flow=tcp(2, "wss"), user="bob")
    house.crash()
    assert [(one.uri, one.reg_id) for one in house.bound().bindings] == [(PHONE, 2), ("sip:alice@192.0.2.11", None)]
    assert house.registration("sip:bob@example.com") is None
    ends = finish(house.store.changes(4, 10))
    assert [(change.cause, event) for change in ends for _, event in change.contacts][:2] == [("flow", "expired")] * 2
    lose(house, UDP)
    assert house.contacts() == ["sip:alice@192.0.2.11"]


class RefusingStore(TableStore):
    """Takes no changes for a while."""

    is_down = False

    async def commit(self, changes: Sequence[Change], state: Sequence[StateItem] = ()) -> list[int]:
        if self.is_down:
            raise StoreUnavailable("down", retry_after=1)
        return await super().commit(changes, state)


def test_an_end_that_cannot_be_committed_is_tried_again() -> None:
    """OUT-6: it is not forgotten, and it does not keep the loop busy."""
    store = RefusingStore()
    house = House(store)
    house.register(flow_contact(), SUPPORTED, flow=tcp(1))
    store.is_down = True
    lose(house, tcp(1))
    assert house.contacts() == [PHONE]
    assert not house.engine.has_works
    house.sleep(6)
    house.settle()
    store.is_down = False
    house.sleep(6)
    house.settle()
    assert house.contacts() == []


def test_a_phone_that_is_there_again_is_not_ended_by_an_older_icmp_error() -> None:
    """OUT-6, REG-2: it was told 200 after the error, and the next error is heard again."""
    store = RefusingStore()
    house = House(store)
    house.register(flow_contact(), SUPPORTED, flow=UDP)
    store.is_down = True
    lose(house, UDP)
    store.is_down = False
    house.sleep(1)
    assert house.register(flow_contact(), SUPPORTED, flow=UDP, cseq=2).status == 200
    house.sleep(6)
    house.settle()
    assert house.contacts() == [PHONE]
    lose(house, UDP)
    assert house.contacts() == []


def test_a_refresh_after_an_icmp_error_counts_though_many_ends_wait(house: House) -> None:
    """OUT-6, REG-2: thousands behind one proxy, which comes back before they are all ended."""
    for number in range(ENDS_PER_TURN + 1):
        house.register(flow_contact(), SUPPORTED, flow=UDP, user=f"u{number}")
    house.engine.lost(UDP, house.now())
    house.now_ms += 1
    users = [f"u{number}" for number in range(ENDS_PER_TURN + 1)]
    batch = [(request("REGISTER", flow_contact(), SUPPORTED, user=user, cseq=2), UDP) for user in users]
    house.engine.receive(batch, house.now())
    house.settle()
    assert all(house.contacts(f"sip:{user}@example.com") == [PHONE] for user in users)


def test_a_request_decided_before_the_end_is_not_undone(house: House) -> None:
    """OUT-6, REG-2: the phone was quicker on its new connection than the news of the old one."""
    house.register(flow_contact(), SUPPORTED, flow=tcp(1))
    house.engine.lost(tcp(1), house.now())
    house.engine.receive([(request("REGISTER", flow_contact(), SUPPORTED, cseq=2), tcp(2))], house.now())
    house.settle()
    assert house.contacts() == [PHONE]
    assert house.bound().bindings[0].flow == tcp(2).identity


CONNECTIONS = 15_000


def test_fifteen_thousand_connections_lost_at_once() -> None:
    """OUT-6, REV-8: in turns that do not stall the loop, with every watcher told."""
    house = House()
    batch = []
    for number in range(1, CONNECTIONS + 1):
        user = f"u{number}"
        flow = Flow("tcp", LOCAL, ("192.0.2.10", number), number)
        register = request("REGISTER", flow_contact(), SUPPORTED, user=user, call_id=user)
        headers = (f"Contact: <sip:{user}@192.0.2.50>", "Event: reg", "Expires: 3600")
        uri = f"sip:{user}@example.com"
        subscribe = request("SUBSCRIBE", *headers, uri=uri, user=user, call_id=f"w{user}")
        batch += [(register, flow), (subscribe, UDP)]
    for start in range(0, len(batch), 1000):
        house.engine.receive(batch[start : start + 1000], house.now())
        take_notifies(house)
    house.sleep(6)
    take_notifies(house)

    for number in range(1, CONNECTIONS + 1):
        house.engine.lost(Flow("tcp", LOCAL, ("192.0.2.10", number), number), house.now())
    turns = 0
    told: Counter[str] = Counter()
    while house.engine.has_works:
        before = house.store.last_seq
        finish(run_turn(house.engine, house.store, house.now))
        assert 0 < house.store.last_seq - before <= ENDS_PER_TURN
        turns += 1
        finish(house.telling.read())
        house.engine.work(house.now())
        answer_notifies(house, house.engine.take_output(), told)
    told += take_notifies(house)
    assert turns == math.ceil(CONNECTIONS / ENDS_PER_TURN)
    assert told["expired"] == CONNECTIONS
    assert len(house.store) == 0
    assert len(house.engine.flows) == house.engine.flows.ending == 0


def take_notifies(house: House) -> Counter[str]:
    """Pump a house, answer its NOTIFYs, and count the events they tell."""
    told: Counter[str] = Counter()
    while sent := house.pump():
        answer_notifies(house, sent, told)
    return told


def answer_notifies(house: House, sent: Sequence[tuple[bytes, Flow]], told: Counter[str]) -> None:
    answers = []
    for octets, flow in sent:
        message = parse_message(octets)
        if message.is_request and message.method == "NOTIFY":
            told["expired"] += b'event="expired"' in message.body
            answers.append((write_response(message, 200, to_tag="w"), Flow("udp", LOCAL, flow.remote)))
    house.engine.receive(answers, house.now())


# -- the index ---------------------------------------------------------------------------------------------


def change_of(flow: str, aor: str = ALICE) -> Change:
    draft = Draft(aor, None, 1000)
    draft.add(Binding(uri=PHONE, expires_at=9000, flow=flow))
    change = draft.finish("register")
    assert change is not None
    return change


@pytest.mark.parametrize("lost", [2, 3])
def test_connections_lost_meanwhile_are_remembered_within_a_bound(monkeypatch: pytest.MonkeyPatch, lost: int) -> None:
    """SEC-5: at n and n+1, the oldest is forgotten."""
    monkeypatch.setattr(flows_module, "MAX_GONE", 2)
    flows = Flows()
    for number in range(1, lost + 1):
        flows.lost(tcp(number), 1, 0)
    flows.follow(change_of(tcp(1).identity))
    assert flows.ending == (1 if lost == 2 else 0)
    flows.follow(change_of(tcp(2).identity, "sip:b@example.com"))
    assert flows.ending == (2 if lost == 2 else 1)


@pytest.mark.parametrize(
    ("waiting", "room", "taken"),
    [(3, 2, 2), (3, 4, 3), (3, 0, 0), (3, -1, 0), (0, 4, 0), (64, 999, 64), (65, 999, 64)],
)
def test_ends_are_taken_in_pieces(waiting: int, room: int, taken: int) -> None:
    """OUT-6"""
    flows = Flows()
    for number in range(waiting):
        flows.follow(change_of(tcp(1).identity, f"sip:u{number}@example.com"))
    flows.lost(tcp(1), 0, 0)
    pending = MAX_BEFORE_ENDS - room
    assert flows.may_end(pending) == (taken > 0)
    assert len(flows.take(pending)) == taken
    assert flows.ending == waiting - taken


def test_a_change_across_flows_moves_its_address_of_record() -> None:
    """OUT-6: what it was bound to is forgotten, what it is bound to is known."""
    flows = Flows()
    draft = Draft(ALICE, None, 1000)
    add = partial(Binding, expires_at=9000)
    draft.add(add(uri=PHONE, flow="tcp:a#1"))
    draft.add(add(uri="sip:b@192.0.2.2", flow="tcp:a#2"))
    first = draft.finish("register")
    draft.add(add(uri=PHONE, flow="tcp:a#3"))
    second = draft.finish("register")
    draft.add(add(uri=PHONE, flow="tcp:a#3", call_id="refresh"))
    third = draft.finish("register")
    assert first is not None
    assert second is not None
    assert third is not None
    flows.follow(first)
    assert len(flows) == 2
    flows.follow(second)
    flows.follow(third)
    assert sorted(flows._bound) == ["tcp:a#2", "tcp:a#3"]
