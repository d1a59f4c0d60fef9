"""Which messages a trace shows, what is masked in them, and how it ends."""

import asyncio
from collections.abc import Callable

import pytest

from reginfo.fast import Flow
from reginfo.model import TracedMessage
from reginfo.net.collector import Collector
from reginfo.net.masking import masked
from reginfo.net.trace import MAX_KEPT, MAX_KEPT_OCTETS, MAX_READ, MAX_TRACES, Traces
from reginfo.net.trace_filter import parse_trace_filter
from tests.harness import request
from tests.net.loops import on_uvloop

HERE = ("192.0.2.9", 5060)
PHONE = Flow("udp", HERE, ("192.0.2.10", 5062))
SIX = Flow("tcp", ("2001:db8::9", 5060), ("2001:db8::1", 40000), 7)


class Kept(Collector):
    """Keeps what it is to send."""

    def __init__(self) -> None:
        self.messages: list[TracedMessage] = []
        self.sent = self.dropped = 0

    def take(self, message: TracedMessage) -> None:
        self.messages.append(message)

    def close(self) -> None:
        """Nothing is open."""


# -- whose ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("alice@example.com", "sip:alice@example.com"),
        ("sips:alice@EXAMPLE.com:5061;x=y", "sip:alice@example.com:5061"),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:5060", "192.0.2.1:5060"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
        ("[2001:DB8:0::1]:5061", "[2001:db8::1]:5061"),
        ("2001:db8::/32", "2001:db8::/32"),
    ],
)
def test_what_can_be_traced(wanted: str, text: str) -> None:
    assert parse_trace_filter(wanted).text == text


@pytest.mark.parametrize(
    "wanted",
    ["", "alice", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1/24", "x:5060", "@", "sip:", "tel:+1", "a@b@\xff"],
)
def test_what_cannot_is_a_clear_error(wanted: str) -> None:
    with pytest.raises(ValueError, match=r"address|network"):
        parse_trace_filter(wanted)


@pytest.mark.parametrize(
    ("wanted", "octets", "is_of"),
    [
        ("alice@example.com", request(), True),
        ("bob@example.com", request(), False),
        ("alice@example.net", request(), False),
        ("alic@example.com", request(), False),
        ("alice@example.com", request("OPTIONS", user="bob", uri="sip:%61lice@EXAMPLE.com;x"), True),
        ("alice@example.com", request(user="%61lice"), True),
        ("alice@example.com", b"SIP/2.0 200 OK\r\n" + request().partition(b"\r\n")[2], True),
        ("alice@example.com", b"REGISTER nonsense\r\nTo: <sip:alice@Example.com>\r\n\r\n", True),
        ("alice@example.com", b"REGISTER nonsense\r\nTo: <sip:bob@example.com>\r\n\r\n", False),
        ("192.0.2.10", b"\xff", True),
        ("192.0.2.11", request(), False),
        ("192.0.2.10:5062", request(), True),
        ("192.0.2.10:5060", request(), False),
        ("192.0.2.8/29", request(), True),
        ("192.0.2.0/29", request(), False),
        ("::/0", request(), False),
    ],
)
def test_whose_messages_a_trace_shows(wanted: str, octets: bytes, is_of: bool) -> None:
    """The AoR of Request-URI, From or To (RFC 3261 section 10.3), malformed messages by their text."""
    assert parse_trace_filter(wanted).matches(octets, PHONE) is is_of


def test_addresses_of_both_families() -> None:
    assert parse_trace_filter("2001:db8::/32").matches(b"", SIX)
    assert parse_trace_filter("[2001:db8:0::1]:40000").matches(b"", SIX)
    assert not parse_trace_filter("0.0.0.0/0").matches(b"", SIX)


# -- masking ----------------------------------------------------------------------------------------

DIGEST = b"0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (b'Authorization: Digest nc=1, response="%s", qop=auth' % DIGEST, b'response="%s", qop' % (b"*" * 32)),
        (b"proxy-authorization: Digest RESPONSE = %s" % (2 * DIGEST).upper(), b"RESPONSE = %s" % (b"*" * 64)),
        (b'Authorization: Digest response=\r\n "%s"' % DIGEST, b'\r\n "%s"' % (b"*" * 32)),
        (b'Authentication-Info: rspauth="%s"' % DIGEST, b'rspauth="%s"' % (b"*" * 32)),
        (b'Authorization: Digest response="%s' % DIGEST[:20], b'response="%s' % (b"*" * 20)),
        (b"Authorization: Basic YWxpY2U6c2VjcmV0\r\nTo: x", b"Basic ****************\r\nTo: x"),
        (b"AUTHORIZATION:bearer abc.def-ghi", b"bearer ***********"),
    ],
)
def test_responses_to_challenges_are_masked(octets: bytes, shown: bytes) -> None:
    """RFC 7616 section 5.1: whoever has one can try passwords at leisure."""
    result = masked(octets)
    assert shown in result
    assert len(result) == len(octets)
    assert DIGEST[:20] not in result.lower()


@pytest.mark.parametrize(
    "octets", [request(), b'WWW-Authenticate: Digest nonce="%s", opaque="%s"' % (DIGEST, DIGEST), b"", b"\xff"]
)
def test_nothing_else_is(octets: bytes) -> None:
    assert masked(octets) == octets


# -- traces -----------------------------------------------------------------------------------------


def traces(collector: Collector | None = None) -> Traces:
    return Traces(asyncio.get_running_loop(), collector, wall=lambda: 1_700_000_000.5)


@on_uvloop
async def test_what_came_and_what_left() -> None:
    mine = traces()
    assert not mine.is_on
    id = mine.start("alice@example.com", 60, 100, False).id
    assert mine.is_on
    mine.received([(request(), PHONE), (request(user="bob"), PHONE)])
    mine.sent([(b"SIP/2.0 200 OK\r\n" + request().partition(b"\r\n")[2], SIX)])
    found = await mine.read(id, 0, 0)
    assert found is not None
    status, cursor, messages = found
    assert (status.messages, cursor, mine.messages) == (2, 2, 2)
    assert [one[:5] for one in messages] == [
        (1_700_000_000.5, False, "udp", PHONE.remote, PHONE.local),
        (1_700_000_000.5, True, "tcp", SIX.local, SIX.remote),
    ]
    mine.close()


@on_uvloop
async def test_keep_alives_are_no_messages() -> None:
    """RFC 5626 section 4.4: blank lines and STUN."""
    mine = traces()
    mine.start("192.0.2.0/24", 60, 100, False)
    mine.received(
        [(b"\r\n\r\n", PHONE), (b"\0", PHONE), (b"", PHONE), (b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12), PHONE)]
    )
    assert mine.messages == 0
    mine.received([(b"\r\n\r\nOPTIONS", PHONE), (b"\xff", PHONE)])
    assert mine.messages == 2
    mine.close()


@on_uvloop
async def test_a_trace_ends_after_its_messages_and_can_still_be_read() -> None:
    mine = traces()
    id = mine.start("192.0.2.10", 60, 2, False).id
    mine.received([(request(), PHONE)] * 5)
    assert not mine.is_on
    found = await mine.read(id, 0, 60)
    assert found is not None
    assert (found[0].is_running, len(found[2])) == (False, 2)
    found = await mine.read(id, 2, 60)  # does not wait for what never comes
    assert found is not None
    assert found[1:] == (2, [])
    mine.close()


@on_uvloop
async def test_a_forgotten_trace_ends_by_itself() -> None:
    mine = traces()
    later: list[tuple[float, Callable[..., None], object]] = []

    class Loop:
        """A loop whose timers the test lets run out."""

        def time(self) -> float:
            return 100.0

        def call_later(self, seconds: float, call: Callable[..., None], trace: object) -> asyncio.TimerHandle:
            later.append((seconds, call, trace))
            return asyncio.get_running_loop().call_later(3600, lambda: None)

    mine._loop = Loop()  # type: ignore[assignment]
    id = mine.start("192.0.2.10", 60, 100, False).id
    seconds, end, trace = later.pop()
    assert (seconds, mine.is_on) == (60, True)
    end(trace)
    assert not mine.is_on
    assert [one.is_running for one in mine.status()] == [False]
    seconds, forget, trace = later.pop()
    forget(trace)
    assert (mine.status(), await mine.read(id, 0, 60)) == ([], None)


@on_uvloop
async def test_traces_are_few() -> None:
    mine = traces()
    ids = [mine.start("192.0.2.10", 60, 100, False).id for _ in range(MAX_TRACES)]
    with pytest.raises(ValueError, match="8 traces"):
        mine.start("192.0.2.10", 60, 100, False)
    assert mine.stop(ids[0])
    assert not mine.stop(ids[0])
    assert len(mine) == MAX_TRACES - 1
    for _ in range(3 * MAX_TRACES):  # those that end make room, and are soon forgotten
        mine.start("192.0.2.10", 60, 1, False)
        mine.received([(request(), PHONE)])
    assert len(mine.status()) <= 2 * MAX_TRACES
    mine.close()
    assert not mine.is_on


@on_uvloop
async def test_who_reads_slowly_misses_the_oldest() -> None:
    mine = traces()
    id = mine.start("192.0.2.10", 60, 100_000, False).id
    mine.received([(b"%d" % number, PHONE) for number in range(MAX_KEPT + 10)])
    found = await mine.read(id, 0, 0)
    assert found is not None
    _, cursor, messages = found
    assert (cursor, len(messages), messages[0].octets) == (10 + MAX_READ, MAX_READ, b"10")
    found = await mine.read(id, 10**9, 0)
    assert found is not None
    assert found[1:] == (MAX_KEPT + 10, [])
    mine.close()


@on_uvloop
async def test_long_messages_are_kept_up_to_a_bound() -> None:
    mine = traces()
    id = mine.start("192.0.2.10", 60, 100_000, False).id
    size = MAX_KEPT_OCTETS // 4
    mine.received([(b"%d" % number + bytes(size - 1), PHONE) for number in range(10)])
    kept = []
    cursor = 0
    while (found := await mine.read(id, cursor, 0)) is not None and found[2]:
        cursor = found[1]
        kept += found[2]
        assert len(found[2]) == 1  # more would be too much at once
    assert [one.octets[:1] for one in kept] == [b"6", b"7", b"8", b"9"]
    mine.received([(bytes([88]) * (2 * MAX_KEPT_OCTETS), PHONE)])
    found = await mine.read(id, cursor, 0)
    assert found is not None
    assert len(found[2]) == 1  # a single one is shown however long it is
    mine.close()


@on_uvloop
async def test_everybody_who_waits_hears_of_a_message() -> None:
    mine = traces()
    id = mine.start("192.0.2.10", 60, 100, False).id
    readers = [asyncio.create_task(mine.read(id, 0, 60)) for _ in range(2)]
    await asyncio.sleep(0)
    mine.received([(request(), PHONE)])
    for reader in readers:
        found = await reader
        assert found is not None
        assert len(found[2]) == 1
    waiting = asyncio.create_task(mine.read(id, 1, 60))
    await asyncio.sleep(0)
    mine.stop(id)
    assert await waiting is None


@on_uvloop
async def test_only_what_is_asked_for_goes_to_the_collector_and_once() -> None:
    kept = Kept()
    mine = traces(kept)
    mine.start("192.0.2.10", 60, 100, False)
    mine.received([(request(), PHONE)])
    assert not kept.messages
    for _ in range(2):
        mine.start("alice@example.com", 60, 100, True)
    mine.received([(request(), PHONE), (request(user="bob"), PHONE)])
    assert [one.octets.count(b"alice") > 0 for one in kept.messages] == [True]
    mine.close()


@on_uvloop
async def test_without_a_collector_nothing_can_be_exported() -> None:
    with pytest.raises(ValueError, match=r"trace\.hep is empty"):
        traces().start("192.0.2.10", 60, 100, True)
