"""Requests that go on to the next server, and answers: DNS-5, TRN-2, TRN-6, TRN-10, TX-1, TX-2, TX-9 and TX-11."""

import gc
import itertools
import weakref
from collections.abc import Callable, Sequence

import pytest

from reginfo.config import Listener, NotifierSection
from reginfo.fast import (
    Destination,
    Exchange,
    Flow,
    Request,
    SipMessage,
    SipParseError,
    parse_message,
    write_headers,
    write_response,
)
from reginfo.model import Now
from reginfo.roles.subscriber import State
from reginfo.sip.client import ADDRESS_MS, MAX_LOCATED, Client
from reginfo.sip.dead import DEAD_MS, MAX_DEAD, Dead
from reginfo.sip.locating import Target
from reginfo.sip.routing import Hop
from reginfo.sip.timers import Timers
from reginfo.sip.transaction import MAX_RETRY_AFTER_MS, TIMER_F_MS, begin, next_due_ms
from tests.harness import House
from tests.network import Network

LOCAL = ("192.0.2.1", 5060)
HOP = Hop("sip", "example.test", 0)
A, B, C = "192.0.2.11", "192.0.2.12", "192.0.2.13"
HEADERS = [("From", "<sip:a@b.test>;tag=1"), ("To", "<sip:a@b.test>"), ("Call-ID", "x"), ("CSeq", "1 PUBLISH")]
TYPE = ("Content-Type", "text/plain")


class World:
    """A client, its clock, and whoever has something to say."""

    def __init__(self, *hosts: str, transport: str = "udp") -> None:
        numbers = itertools.count(1)
        self.timers = Timers()
        self.client = Client(lambda: f"token{next(numbers)}", self.timers)
        self.client.bind([Listener("udp", *LOCAL), Listener("tcp", *LOCAL)])
        self.ms = 1_000_000
        self.transport = transport
        self.hosts: Sequence[str] = hosts
        self.body = b""
        self.answers: list[int] = []
        self.numbers: list[int] = []
        self.vias: list[tuple[str, str]] = []
        self.lookups = 0

    @property
    def now(self) -> Now:
        return Now(self.ms, self.ms / 1000)

    def request(self, subject: object, now: Now) -> Request:
        rows = write_headers([*self.vias, *HEADERS, TYPE])
        return Request("PUBLISH", "sip:a@example.test", rows, self.body, 1 + len(self.vias))

    def answered(self, subject: object, status: int, response: SipMessage | None, now: Now) -> None:
        self.answers.append(status)

    def renumbered(self, subject: object, cseq: int) -> None:
        self.numbers.append(cseq)

    def send(self, hop: Hop = HOP) -> list[tuple[SipMessage, Flow]]:
        """Have a request sent; return what leaves."""
        self.client.send(hop, self, None)
        return self.flush()

    def flush(self) -> list[tuple[SipMessage, Flow]]:
        while True:
            self.client.work(self.now)
            lookups = self.client.take_lookups()
            if not lookups:
                return [(parse_message(octets), flow) for octets, flow in self.client.take_output()]
            for hop in lookups:
                self.lookups += 1
                found = [(Target(self.transport, host, 5060, hop.host), LOCAL[0]) for host in self.hosts]
                self.client.located(hop, found, self.now)

    def sleep(self, ms: int) -> list[tuple[SipMessage, Flow]]:
        """Let time pass; return what leaves meanwhile."""
        sent = []
        for _ in range(ms // 100):
            self.ms += 100
            self.timers.run(self.now)
            sent += self.flush()
        return sent

    def answer(self, request: SipMessage, status: int, *headers: tuple[str, str]) -> list[tuple[SipMessage, Flow]]:
        """Answer a request; return what leaves because of it."""
        assert self.client.receive(parse_message(write_response(request, status, headers=headers)), self.now)
        return self.flush()

    def lose(self, host: str, transport: str = "udp", connection: int = 0) -> list[tuple[SipMessage, Flow]]:
        self.client.lost(Flow(transport, LOCAL, (host, 5060), connection), self.now)
        return self.flush()


def hosts_of(sent: Sequence[tuple[SipMessage, Flow]]) -> list[str]:
    return [flow.host for _, flow in sent]


def test_a_refusing_server_hands_over_to_the_next_one() -> None:
    """DNS-5, TX-9: a 503 has the request sent to the next target, the same but for its branch; 200 ends it."""
    world = World(A, B)
    [(first, flow)] = world.send()
    assert flow.host == A
    [(second, flow)] = world.answer(first, 503)
    assert flow.host == B
    assert first.top_via.branch != second.top_via.branch
    assert [row for row in first.rows() if row[0] != "Via"] == [row for row in second.rows() if row[0] != "Via"]
    assert world.answers == []
    assert world.answer(second, 200) == []
    assert world.answers == [200]
    assert len(world.client) == 0


@pytest.mark.parametrize("status", [200, 301, 401, 404, 408, 480, 500, 504, 600])
def test_any_other_answer_stops(status: int) -> None:
    """DNS-5: only 503 is a failure."""
    world = World(A, B)
    [(first, _)] = world.send()
    assert world.answer(first, status) == []
    assert world.answers == [status]


def test_silence_hands_over_once_timer_f_ends_it() -> None:
    """DNS-5, TX-1: F without any response goes on; a provisional response is one."""
    world = World(A, B)
    world.send()
    sent = world.sleep(TIMER_F_MS)
    assert hosts_of(sent[:-1]) == [A] * (len(sent) - 1)
    assert sent[-1][1].host == B
    assert (world.answers, world.client.timeouts) == ([], 1)
    world.sleep(TIMER_F_MS)
    assert world.answers == [408]

    world = World(A, B)
    [(first, _)] = world.send()
    world.answer(first, 100)
    assert B not in hosts_of(world.sleep(TIMER_F_MS))
    assert world.answers == [408]


def test_news_of_the_network_hands_over_at_once() -> None:
    """DNS-5, TRN-10: an ICMP error and a connection that cannot be made are failures."""
    world = World(A, B)
    world.send()
    assert hosts_of(world.lose(A)) == [B]
    assert world.lose(B) == []
    assert world.answers == [503]
    world = World(A, B, transport="tcp")
    world.send()
    assert hosts_of(world.lose(A, "tcp")) == [B]
    assert hosts_of(world.lose(B, "tcp", 7)) == []
    assert world.answers == [503]


def test_a_dead_server_is_tried_last_for_a_while() -> None:
    """DNS-5: the next transactions begin with the one that lives; the dead one is asked once nobody else answers."""
    world = World(A, B)
    world.send()
    [(second, _)] = world.lose(A)
    world.answer(second, 200)
    [(third, flow)] = world.send()
    assert flow.host == B
    assert hosts_of(world.answer(third, 503)) == [A]
    world = World(A, B)
    world.send()
    [(second, _)] = world.lose(A)
    world.answer(second, 200)
    world.sleep(DEAD_MS)
    assert hosts_of(world.send()) == [A]


def test_another_destination_knows_who_is_dead() -> None:
    """DNS-5: what was learned about a server is not bound to one name."""
    world = World(A, B)
    world.send()
    world.lose(A)
    assert hosts_of(world.send(Hop("sip", "other.test", 0))) == [B]


def test_a_server_that_answers_is_not_dead() -> None:
    """DNS-5: what it answers ends the memory."""
    world = World(A, B)
    world.send()
    [(second, _)] = world.lose(A)
    [(third, flow)] = world.answer(second, 503) or world.send()
    assert flow.host == A
    world.answer(third, 200)
    assert hosts_of(world.send()) == [A]


def test_the_time_a_server_asks_for_is_kept() -> None:
    """TX-11: 503 with Retry-After: the next target, and nothing there for that time; all of them: nothing at all."""
    world = World(A, B)
    [(first, _)] = world.send()
    [(second, _)] = world.answer(first, 503, ("Retry-After", "300"))
    world.answer(second, 200)
    world.sleep(DEAD_MS + 1000)
    [(third, flow)] = world.send()
    assert flow.host == B
    [(fourth, flow)] = world.answer(third, 503, ("Retry-After", "120"))
    assert flow.host == A
    world.answer(fourth, 503, ("Retry-After", str(2**32 - 1)))
    assert world.answers == [200, 503]
    assert world.client.pause_s(HOP, world.now) == 120
    assert MAX_RETRY_AFTER_MS > 120_000
    assert world.send() == []
    assert hosts_of(world.sleep(121_000))[:1] == [B]


def test_everybody_is_asked_once() -> None:
    """DNS-5: in order, and then it is over."""
    world = World(A, B, C)
    [(sent, flow)] = world.send()
    seen = [flow.host]
    while left := world.answer(sent, 503):
        [(sent, flow)] = left
        seen.append(flow.host)
    assert (seen, world.answers) == ([A, B, C], [503])


def test_a_long_request_tries_tcp_then_udp_then_the_next_server() -> None:
    """TRN-2: beyond 1300 octets TCP first, UDP where no connection can be made, and so at each target (DNS-5)."""
    world = World(A, B)
    world.body = b"x" * 1400
    [(first, flow)] = world.send()
    assert (flow.transport, flow.host, first.top_via.transport) == ("tcp", A, "TCP")
    [(second, flow)] = world.lose(A, "tcp")
    assert (flow.transport, flow.host, second.top_via.transport) == ("udp", A, "UDP")
    [(third, flow)] = world.lose(A)
    assert (flow.transport, flow.host) == ("tcp", B)
    world.answer(third, 200)
    assert world.answers == [200]
    [(fourth, flow)] = world.send()
    assert (flow.transport, flow.host) == ("tcp", B)
    assert hosts_of(world.answer(fourth, 503)) == [A]


def test_a_silent_connection_is_a_server_that_failed() -> None:
    """DNS-5: the server behind it is dead by UDP as well."""
    world = World(A, B)
    world.body = b"x" * 1400
    world.send()
    assert hosts_of(world.sleep(TIMER_F_MS)) == [B]
    world.body = b""
    assert hosts_of(world.send()) == [B]


def test_servers_are_looked_for_again_while_requests_are_under_way() -> None:
    """DNS-3: what DNS said is good for 30 s; who is not named any more gets nothing new, and may still answer."""
    world = World(A, B)
    [(first, _)] = world.send()
    world.hosts = (B, C)
    world.sleep(ADDRESS_MS)
    [(second, flow)] = world.send()
    assert (flow.host, world.lookups) == (B, 2)
    assert hosts_of(world.answer(first, 503)) == [B]
    world.hosts = ()
    world.sleep(ADDRESS_MS)
    assert hosts_of(world.send()) == [B]  # better than nobody
    assert hosts_of(world.answer(second, 503)) == [C]


def test_a_server_that_left_dns_is_not_gone_on_to() -> None:
    """DNS-5: its requests fail, or go on to those that are left, and nothing is remembered of it."""
    world = World(A, B)
    world.send()
    world.hosts = (C,)
    world.sleep(ADDRESS_MS - 1000)
    world.sleep(1000)
    [(second, flow)] = world.send()
    assert flow.host == C
    assert world.lose(A) == []
    assert world.answers == [503]
    world.answer(second, 200)
    assert world.lose(A) == world.lose(B) == world.lose(C) == []
    assert world.answers == [503, 200]


def test_who_is_nowhere_is_told_so() -> None:
    """TRN-10: a name that DNS does not know, and one at addresses of no use, are transport errors."""
    world = World()
    assert world.send() == []
    world.hosts = ("999.0.0.1", "2001:db8::1")
    assert world.send(Hop("sip", "odd.test", 0)) == []
    assert world.answers == [503, 503]


def test_the_memory_of_the_dead_is_bounded() -> None:
    """DNS-5: beyond it the one found dead first is forgotten."""
    dead = Dead()
    places = [("udp", ("192.0.2.1", port)) for port in range(1, MAX_DEAD + 2)]
    for place in places[:-1]:
        dead.add(place, 1000)
    assert dead.until(places[0], 999) == 1000
    assert dead.until(places[0], 1000) == 0
    dead.add(places[-1], 1000)
    assert dead.until(places[0], 999) == 0
    assert all(dead.until(place, 999) for place in places[1:])


def test_the_memory_of_servers_is_bounded() -> None:
    """DNS-3: beyond it the hop found first is looked for again."""
    world = World(A)
    for number in range(MAX_LOCATED):
        [(sent, _)] = world.send(Hop("sip", f"h{number}.test", 0))
        world.answer(sent, 200)
    again = Hop("sip", "h0.test", 0)
    [(sent, _)] = world.send(again)
    world.answer(sent, 200)
    assert world.lookups == MAX_LOCATED
    [(sent, _)] = world.send(Hop("sip", "one.more.test", 0))
    world.answer(sent, 200)
    world.send(again)
    assert world.lookups == MAX_LOCATED + 2


def test_a_subscription_that_the_second_server_takes_lives() -> None:
    """DNS-5, SUB-13: timer N counts for the server that took the SUBSCRIBE, not for the silent one before it."""
    net = Network()
    east = net.serve(House(local=("192.0.2.1", 5060)))
    west = net.serve(House(local=(B, 5060), notifier=NotifierSection(allow=("sip:*",))))
    east.targets["west.test"] = [(Target("udp", host, 5060, "west.test"), "192.0.2.1") for host in (A, B)]
    [subscription] = east.roles.subscriber.follow(
        "sip:bob@example.com", 3600, east.now(), hop=Hop("sip", "west.test", 0)
    )
    net.run(TIMER_F_MS / 1000 - 1)
    assert subscription.dialog is None
    net.run(60)
    assert subscription.state is State.ACTIVE
    assert west.engine.statistics()["requests"]["SUBSCRIBE"] == 1


def test_a_connection_that_is_kept_carries_the_request_and_nothing_else_does() -> None:
    """TRN-11, TRN-14: Via says WS, the made-up host is never looked up, and a lost flow is a transport error."""
    world = World(A)
    flow = Flow("ws", ("192.0.2.1", 8088), ("203.0.113.7", 40123), 7)
    hop = Hop("ws", flow.host, flow.port, flow)
    [(sent, towards)] = world.send(hop)
    assert (towards, sent.top_via.transport, sent.top_via.port) == (flow, "WS", 8088)
    assert world.sleep(2000) == []  # a reliable transport: nothing is sent again
    world.client.lost(flow, world.now)
    assert (world.answers, world.flush()) == ([503], [])
    for gone in (Hop("ws", "df7jal23ls0d.invalid", 80), Hop("wss", "df7jal23ls0d.invalid", 0)):
        assert world.send(gone) == []
    assert (world.answers, world.lookups) == ([503] * 3, 0)


def test_a_connection_over_tls_is_for_the_domain_that_was_looked_for() -> None:
    """DNS-6: not for the name that SRV had for it."""
    world = World(A, transport="tls")
    world.client.bind([Listener("tls", *LOCAL)])
    [(sent, flow)] = world.send(Hop("sips", "example.test", 0))
    assert (flow.remote, flow.domain, sent.top_via.transport) == ((A, 5060), "example.test", "TLS")


@pytest.mark.parametrize(
    ("change", "is_taken"),
    [
        (lambda answer: answer, True),
        (lambda answer: answer.replace(b"branch=z9hG4bK", b"branch=Z9hg4bK"), False),
        (lambda answer: answer.replace(b"branch=z9hG4bK", b"branch=x"), False),
        (lambda answer: answer.replace(b"token1", b"token2"), False),
        (lambda answer: answer.replace(b"token1", "tokén1".encode("latin-1")), False),
        (lambda answer: answer.replace(b"CSeq: 1 PUBLISH", b"CSeq: 1 NOTIFY"), False),
        (lambda answer: answer.replace(b"CSeq: 1 PUBLISH", b"CSeq: 1 publish"), False),
        (lambda answer: answer.replace(b"192.0.2.1:5060;", b"192.0.2.2:5060;"), False),
        (lambda answer: answer.replace(b"192.0.2.1:5060;", b"192.0.2.1:5061;"), False),
        (lambda answer: answer.replace(b"192.0.2.1:5060;", b"192.0.2.1;"), False),
        (lambda answer: answer.replace(b"\r\nFrom", b"\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\r\nFrom"), False),
        (lambda answer: answer.replace(b"UDP 192.0.2.1:5060;", b"UDP  192.0.2.1 : 5060 ;received=192.0.2.7;"), True),
    ],
)
def test_an_answer_belongs_to_the_request_with_its_branch_method_and_via(
    change: Callable[[bytes], bytes], is_taken: bool
) -> None:
    """TX-2, TRN-6: RFC 3261 17.1.3, and 18.1.2 for the sent-by, 8.1.3.3 for the number of Vias."""
    world = World(A)
    [(request, _)] = world.send()
    answer = change(write_response(request, 200))
    try:
        response = parse_message(answer)
    except SipParseError:
        assert not is_taken
        return
    assert world.client.receive(response, world.now) is is_taken
    assert world.answers == ([200] if is_taken else [])
    assert not world.client.receive(response, world.now), "once"


def test_a_client_that_nobody_needs_is_collected_with_what_is_under_way() -> None:
    """Requests under way lead back to their sender; those that are over, which their timers still hold, do not."""
    world = World(A)
    sent = [world.send()[0][0] for _ in range(3)]
    world.answer(sent[0], 200)
    gone = weakref.ref(world)
    gc.collect()
    assert gone() is world
    del world
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(("transport", "due_ms"), [("udp", 500), ("tcp", 32_000)])
def test_the_first_timer_is_that_of_a_new_transaction(transport: str, due_ms: int) -> None:
    """TX-1: timer E, or F where the transport retransmits, though the transaction is made when it has to step."""
    world = World(A, transport=transport)
    began = world.ms
    world.send()
    transaction, _ = begin("z9hG4bKa", "PUBLISH", reliable=transport == "tcp", now_ms=began)
    assert next_due_ms(transaction) == began + due_ms
    assert not world.sleep(due_ms - 100)
    assert world.answers == []
    assert (bool(world.sleep(200)), world.answers) == ((True, []) if transport == "udp" else (False, [408]))


def test_a_request_that_is_over_is_not_repeated() -> None:
    world = World(A)
    [(request, _)] = world.send()
    with pytest.raises(TypeError, match="made by Exchanges"):
        Exchange()
    [place] = world.client.destination(HOP).places  # type: ignore[union-attr]
    [exchange] = place.exchanges.values()
    world.answer(request, 200)
    assert exchange.is_over
    with pytest.raises(ValueError, match="over"):
        world.client.repeat(exchange)
    with pytest.raises(ValueError, match="place"):
        world.client.begin(Request("PUBLISH", "sip:a@b", b""), world, None, Destination(HOP), (), world.ms, False, None)
    with pytest.raises(ValueError, match="over"):
        world.client.leave_window(exchange)
