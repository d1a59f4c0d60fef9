"""Flows and batches of datagrams (standards.md: TRN-2, TRN-3, TRN-4, TRN-10)."""

import os
import select
import socket as sockets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import pytest

from reginfo._fast.datagrams import DatagramSocket, Flow, datagrams_among

Batch = list[tuple[bytes, Flow]]

network = pytest.mark.network

UDP_GRO = 104
SO_NO_CHECK = 11


@pytest.fixture
def bound() -> Iterator[Callable[[str], DatagramSocket]]:
    """Bind sockets to free ports and close them afterwards; IPv6 may be missing on the machine."""
    made: list[DatagramSocket] = []

    def bind(host: str) -> DatagramSocket:
        try:
            made.append(DatagramSocket(host, 0))
        except OSError as error:
            if ":" in host:
                pytest.skip(f"no IPv6 here: {error}")
            raise
        return made[-1]

    yield bind
    for socket in made:
        socket.close()


def flow_between(a: DatagramSocket, b: DatagramSocket) -> Flow:
    return Flow("udp", a.local, b.local)


def receive(socket: DatagramSocket, wanted: int) -> Batch:
    """Read until that many datagrams have come."""
    batch: Batch = []
    poll = select.poll()
    poll.register(socket.fileno(), select.POLLIN)
    while len(batch) < wanted:
        assert poll.poll(5000), f"only {len(batch)} of {wanted} datagrams came"
        batch += socket.receive()
    return batch


@contextmanager
def option(socket: DatagramSocket, level: int, name: int, value: int) -> Iterator[sockets.socket]:
    """Set an option and yield the same socket as Python knows it."""
    with sockets.socket(fileno=os.dup(socket.fileno())) as same:
        same.setsockopt(level, name, value)
        same.settimeout(5)
        yield same
        same.setblocking(False)


def unreachable_flow(socket: DatagramSocket) -> Flow:
    """Return a flow to a port that was bound a moment ago and is not any more."""
    gone = DatagramSocket(socket.local[0], 0)
    flow = flow_between(socket, gone)
    gone.close()
    return flow


class TestFlow:
    @pytest.mark.parametrize(
        ("remote", "text"),
        [
            (("192.0.2.1", 5060), "udp:192.0.2.1:5060"),
            (("0.10.100.255", 1), "udp:0.10.100.255:1"),
            (("2001:DB8:0:0:0::1", 65535), "udp:[2001:db8::1]:65535"),
            (("::ffff:192.0.2.1", 0), "udp:[::ffff:192.0.2.1]:0"),
        ],
    )
    def test_text_is_transport_host_and_port(self, remote: tuple[str, int], text: str) -> None:
        """MSG-17: IPv6 text is that of RFC 5952."""
        assert Flow("udp", ("192.0.2.9", 5060), remote).text == text

    def test_parts_are_read_back(self) -> None:
        flow = Flow("tcp", ("192.0.2.9", 5060), ("2001:db8::2", 40000), 7)
        assert (flow.transport, flow.local, flow.remote) == ("tcp", ("192.0.2.9", 5060), ("2001:db8::2", 40000))
        assert (flow.host, flow.port, flow.connection, flow.reliable) == ("2001:db8::2", 40000, 7, True)
        assert not Flow("udp", flow.local, flow.local).reliable

    @pytest.mark.parametrize(
        ("flow", "identity"),
        [
            (Flow("tcp", ("192.0.2.9", 5060), ("192.0.2.1", 40000), 7), "tcp:192.0.2.1:40000#7"),
            (Flow("wss", ("2001:db8::9", 443), ("2001:db8::1", 1), 2**40), f"wss:[2001:db8::1]:1#{2**40}"),
            (Flow("udp", ("192.0.2.9", 5060), ("192.0.2.1", 5062)), "udp:192.0.2.1:5062/192.0.2.9:5060"),
            (Flow("udp", ("2001:db8::9", 5060), ("2001:db8::1", 1)), "udp:[2001:db8::1]:1/[2001:db8::9]:5060"),
        ],
    )
    def test_identity_names_the_connection_or_both_ends(self, flow: Flow, identity: str) -> None:
        """OUT-6"""
        assert flow.identity == identity

    def test_equal_flows_have_equal_parts_and_hashes(self) -> None:
        flow = Flow("tcp", ("192.0.2.9", 5060), ("192.0.2.1", 40000), 7)
        assert flow == Flow("tcp", ("192.0.2.9", 5060), ("192.0.2.1", 40000), 7)
        assert hash(flow) == hash(Flow("tcp", ("192.0.2.9", 5060), ("192.0.2.1", 40000), 7))
        others: list[object] = [
            Flow("tls", flow.local, flow.remote, 7),
            Flow("tcp", ("192.0.2.8", 5060), flow.remote, 7),
            Flow("tcp", flow.local, ("192.0.2.1", 40001), 7),
            Flow("tcp", flow.local, ("192.0.2.2", 40000), 7),
            Flow("tcp", flow.local, ("2001:db8::1", 40000), 7),
            Flow("tcp", flow.local, flow.remote, 8),
            flow.text,
        ]
        assert all(flow != other for other in others)

    def test_reply_changes_the_port_and_leaves_the_connection(self) -> None:
        """TRN-4: an answer to the sent-by port goes from the local address the request came to."""
        flow = Flow("tcp", ("192.0.2.9", 5060), ("192.0.2.1", 40000), 7)
        assert flow.reply(5060) == Flow("tcp", ("192.0.2.9", 5060), ("192.0.2.1", 5060))

    def test_with_remote_changes_the_whole_remote_address(self) -> None:
        flow = Flow("udp", ("192.0.2.9", 5060), ("192.0.2.1", 40000))
        assert flow.with_remote("192.0.2.7", 1) == Flow("udp", ("192.0.2.9", 5060), ("192.0.2.7", 1))

    @pytest.mark.parametrize(
        ("transport", "remote"),
        [
            ("sctp", ("192.0.2.1", 5060)),
            ("udp", ("example.com", 5060)),
            ("udp", ("192.0.2.1\0", 5060)),
            ("udp", ("192.0.2.256", 5060)),
            ("udp", ("[2001:db8::1]", 5060)),
            ("udp", ("\u0661", 5060)),
            ("udp", ("192.0.2.1", 65536)),
            ("udp", ("192.0.2.1", -1)),
            ("udp", ("192.0.2.1",)),
        ],
    )
    def test_what_is_no_address_is_refused(self, transport: str, remote: tuple[str, int]) -> None:
        with pytest.raises(ValueError, match=r"address|port|transport"):
            Flow(transport, ("192.0.2.9", 5060), remote)

    @pytest.mark.parametrize("port", [-1, 65536])
    def test_reply_refuses_what_is_no_port(self, port: int) -> None:
        with pytest.raises(ValueError, match="port out of range"):
            Flow("udp", ("192.0.2.9", 5060), ("192.0.2.1", 1)).reply(port)


def test_datagrams_are_told_from_messages_of_streams() -> None:
    """TRN-2: in order; the very list if there is nothing else, which is how a server sees that."""
    here, there = ("127.0.0.1", 5060), ("192.0.2.1", 5060)
    by = {transport: Flow(transport, here, there) for transport in ("udp", "tcp", "ws")}
    datagrams = [(b"1", by["udp"]), (b"2", by["udp"])]
    assert datagrams_among(datagrams) is datagrams
    assert datagrams_among([]) == datagrams_among([(b"0", by["tcp"])]) == []
    assert datagrams_among([(b"0", by["ws"]), datagrams[0], (b"3", by["tcp"]), datagrams[1]]) == datagrams
    with pytest.raises(TypeError):
        datagrams_among([(b"1", "udp")])  # type: ignore[list-item]


@network
class TestDatagramSocket:
    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    def test_datagrams_keep_octets_order_and_flow(self, bound: Callable[[str], DatagramSocket], host: str) -> None:
        a, b = bound(host), bound(host)
        sent = [(b"%d" % number + b"\0\xff", flow_between(a, b)) for number in range(150)]
        assert a.send(sent) == 150
        got = receive(b, 150)
        assert [octets for octets, _ in got] == [octets for octets, _ in sent]
        assert {flow for _, flow in got} == {flow_between(b, a)}
        assert (a.sent, b.received, b.dropped) == (150, 150, 0)

    def test_an_answer_by_the_flow_comes_back(self, bound: Callable[[str], DatagramSocket]) -> None:
        """TRN-4: received and rport, from the same local address and port."""
        a, b = bound("127.0.0.1"), bound("127.0.0.1")
        a.send([(b"request", flow_between(a, b))])
        b.send([(b"answer", flow) for _, flow in receive(b, 1)])
        assert receive(a, 1) == [(b"answer", flow_between(a, b))]

    @pytest.mark.parametrize(("limit", "expected"), [(0, 1), (1, 1), (63, 63), (64, 64), (65, 64)])
    def test_one_call_returns_at_most_limit_and_64(
        self, bound: Callable[[str], DatagramSocket], limit: int, expected: int
    ) -> None:
        a, b = bound("127.0.0.1"), bound("127.0.0.1")
        a.send([(b"x", flow_between(a, b))] * 70)
        assert len(b.receive(limit)) == expected

    def test_nothing_waiting_is_an_empty_batch(self, bound: Callable[[str], DatagramSocket]) -> None:
        assert bound("127.0.0.1").receive() == []

    @pytest.mark.parametrize("size", [0, 1, 4096, 65507])
    def test_every_size_udp_can_carry_arrives_whole(self, bound: Callable[[str], DatagramSocket], size: int) -> None:
        """TRN-2: up to 65,535 octets with their headers."""
        a, b = bound("127.0.0.1"), bound("127.0.0.1")
        octets = bytes(index % 251 for index in range(size))
        a.send([(b"before", flow_between(a, b)), (octets, flow_between(a, b)), (b"after", flow_between(a, b))])
        assert [got for got, _ in receive(b, 3)] == [b"before", octets, b"after"]

    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    def test_datagrams_of_one_length_leave_in_one_piece(
        self, bound: Callable[[str], DatagramSocket], host: str
    ) -> None:
        a, b = bound(host), bound(host)
        with option(b, sockets.IPPROTO_UDP, UDP_GRO, 1) as whole:  # this one takes pieces as they come
            sent = [b"%03d" % number * 100 for number in range(40)]
            a.send([(octets, flow_between(a, b)) for octets in [*sent, b"last", b"next"]])
            assert whole.recv(65536) == b"".join(sent) + b"last"
            assert whole.recv(65536) == b"next"

    @pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])
    def test_what_leaves_in_pieces_arrives_as_it_was(self, bound: Callable[[str], DatagramSocket], host: str) -> None:
        chance = Random(1)
        near = "127.0.0.1" if host == "0.0.0.0" else host
        a, ends = bound(host), [bound(near), bound(near)]
        own = (near, a.local[1])
        batch: Batch = []
        for number in range(600):
            octets = chance.randbytes(chance.choice([0, 1, 5, 5, 5, 500, 500, 500, 1232, 1232, 1233, 1500, 9000]))
            end = ends[chance.random() < 0.1]
            batch += [(octets, Flow("udp", own, end.local))] * chance.randrange(1, 5)
            if number % 20 == 19:
                assert a.send(batch) == len(batch)
                for one in ends:
                    mine = [octets for octets, flow in batch if flow.remote == one.local]
                    assert [octets for octets, _ in receive(one, len(mine))] == mine
                batch = []
        assert (a.refused, a.notices) == (0, 0)
        assert a.sent == sum(one.received for one in ends)

    def test_pieces_that_the_kernel_does_not_cut_are_sent_one_by_one(
        self, bound: Callable[[str], DatagramSocket]
    ) -> None:
        a, b, c = bound("127.0.0.1"), bound("127.0.0.1"), bound("127.0.0.1")
        batch = [(b"%03d" % number, flow_between(a, b if number % 50 < 30 else c)) for number in range(150)]
        with option(a, sockets.SOL_SOCKET, SO_NO_CHECK, 1):  # it cuts nothing without checksums
            for _ in range(2):
                assert a.send(batch) == 150
                for end in (b, c):
                    mine = [octets for octets, flow in batch if flow.remote == end.local]
                    assert [octets for octets, _ in receive(end, len(mine))] == mine
        assert (a.sent, a.refused, a.notices, a.take_errors()) == (300, 0, 0, [])

    def test_a_datagram_the_kernel_refuses_is_told_and_the_rest_is_sent(
        self, bound: Callable[[str], DatagramSocket]
    ) -> None:
        a, b = bound("127.0.0.1"), bound("127.0.0.1")
        flow = flow_between(a, b)
        assert a.send([(b"x" * 65508, flow), (b"next", flow)]) == 2
        assert [octets for octets, _ in receive(b, 1)] == [b"next"]
        assert (a.refused, a.take_errors(), a.take_errors()) == (1, [flow], [])

    def test_a_wildcard_socket_answers_from_the_address_it_was_asked_at(
        self, bound: Callable[[str], DatagramSocket]
    ) -> None:
        """TRN-4: RFC 3581 section 4 wants the answer from the address and port of the request."""
        a, b = bound("127.0.0.1"), bound("0.0.0.0")
        asked = Flow("udp", a.local, ("127.0.0.5", b.local[1]))
        a.send([(b"request", asked)])
        batch = receive(b, 1)
        assert batch[0][1].local == ("127.0.0.5", b.local[1])
        b.send(batch)
        assert receive(a, 1) == [(b"request", asked)]

    def test_an_ipv6_wildcard_socket_answers_from_the_address_it_was_asked_at(
        self, bound: Callable[[str], DatagramSocket]
    ) -> None:
        """TRN-4: the same over IPv6, whose wildcard leaves IPv4 to a socket of its own."""
        a, b = bound("::1"), bound("::")
        asked = Flow("udp", a.local, ("::1", b.local[1]))
        a.send([(b"request", asked)])
        batch = receive(b, 1)
        assert batch[0][1].local == ("::1", b.local[1])
        b.send(batch)
        assert receive(a, 1) == [(b"request", asked)]
        DatagramSocket("0.0.0.0", b.local[1]).close()

    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    def test_port_unreachable_is_told_once_and_costs_no_datagram(
        self, bound: Callable[[str], DatagramSocket], host: str
    ) -> None:
        """TRN-10: the error of one datagram neither swallows a later one nor hides a waiting one."""
        a, b = bound(host), bound(host)
        dead = unreachable_flow(a)
        b.send([(b"waiting", flow_between(b, a))])
        assert a.send([(b"lost", dead), (b"next", flow_between(a, b))]) == 2
        assert a.send([(b"last", flow_between(a, b))]) == 1
        assert [octets for octets, _ in receive(a, 1)] == [b"waiting"]
        assert [octets for octets, _ in receive(b, 2)] == [b"next", b"last"]
        assert a.take_errors() == [dead]
        assert a.take_errors() == []
        assert a.refused == 0
        assert a.notices >= 1

    def test_unreachable_flows_are_kept_up_to_1024(self, bound: Callable[[str], DatagramSocket]) -> None:
        a = bound("127.0.0.1")
        dead = unreachable_flow(a)
        for _ in range(1030):
            a.send([(b"x", dead)])
        assert len(a.take_errors()) == 1024

    def test_kernel_drops_are_counted(self, bound: Callable[[str], DatagramSocket]) -> None:
        a = bound("127.0.0.1")
        small = DatagramSocket("127.0.0.1", 0, receive_buffer=4096)
        flow = flow_between(a, small)
        sent = a.send([(b"x" * 1000, flow)] * 500)
        while small.receive():
            pass
        a.send([(b"told with this one", flow)])  # the counter travels with the next datagram that fits
        receive(small, 1)
        assert small.received + small.dropped == sent + 1
        assert small.dropped > 0
        small.close()

    def test_a_bound_address_is_not_shared(self, bound: Callable[[str], DatagramSocket]) -> None:
        a = bound("127.0.0.1")
        with pytest.raises(OSError, match="bind"):
            DatagramSocket(*a.local)

    def test_a_closed_socket_refuses_work(self, bound: Callable[[str], DatagramSocket]) -> None:
        a = bound("127.0.0.1")
        assert not a.closed
        a.close()
        a.close()
        assert (a.closed, a.fileno()) == (True, -1)
        with pytest.raises(ValueError, match="closed"):
            a.receive()
        with pytest.raises(ValueError, match="closed"):
            a.send([])
        with pytest.raises(ValueError, match="closed"):
            a.take_errors()

    def test_wrong_items_are_refused_before_any_is_sent(self, bound: Callable[[str], DatagramSocket]) -> None:
        a, b = bound("127.0.0.1"), bound("127.0.0.1")
        flow = flow_between(a, b)
        wrong: list[object] = [(b"x",), (b"x", None), ("x", flow), [b"x", flow]]
        for item in wrong:
            with pytest.raises((TypeError, ValueError)):
                a.send([(b"good", flow), item])  # type: ignore[list-item]
        assert b.receive() == []
