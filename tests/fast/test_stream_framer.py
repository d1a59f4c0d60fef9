"""The stream framer: TRN-8, TRN-15, SEC-5."""

import itertools

import pytest

from reginfo.fast import SipParseError, StreamFramer, parse_message

HEAD = b"OPTIONS sip:h SIP/2.0\r\nX: y\r\n"
FIRST = HEAD + b"Content-Length: 5\r\n\r\nhello"
SECOND = HEAD + b"l : 0\r\n\r\n"
MAX_HEADER_SECTION = 16384

BROKEN = [
    ("absent", b"", 400),
    ("negative", b"Content-Length: -1\r\n", 400),
    ("not a number", b"Content-Length: five\r\n", 400),
    ("empty", b"Content-Length:\r\n", 400),
    ("conflicting", b"Content-Length: 5\r\nl: 6\r\n", 400),
    ("repeated", b"Content-Length: 5\r\nContent-Length: 5\r\n", 400),
    ("oversize", b"Content-Length: 262144\r\n", 513),
    ("wraps 32 bits", b"Content-Length: 4294967328\r\n", 513),
    ("huge", b"Content-Length: " + b"9" * 200 + b"\r\n", 513),
]


def frame(parts: list[bytes]) -> tuple[list[bytes], SipParseError | None]:
    framer = StreamFramer()
    messages: list[bytes] = []
    for part in parts:
        try:
            messages += framer.feed(part)
        except SipParseError as error:
            return messages, error
    return messages, framer.error


def test_messages_in_one_read_are_told_apart() -> None:
    """TRN-8"""
    framer = StreamFramer()
    assert framer.feed(FIRST + SECOND + FIRST) == [FIRST, SECOND, FIRST]
    assert not framer.partial


def test_every_split_gives_the_same_messages() -> None:
    """TRN-8, TRN-15"""
    stream = b"\r\n" + FIRST + b"\r\n\r\n" + SECOND
    for cut in range(len(stream) + 1):
        framer = StreamFramer()
        assert framer.feed(stream[:cut]) + framer.feed(stream[cut:]) == [FIRST, SECOND]
    framer = StreamFramer()
    octets = [framer.feed(stream[i : i + 1]) for i in range(len(stream))]
    assert list(itertools.chain.from_iterable(octets)) == [FIRST, SECOND]


def test_incomplete_message_waits() -> None:
    """TRN-8"""
    framer = StreamFramer()
    assert framer.feed(FIRST[:-1]) == []
    assert framer.partial
    assert framer.feed(FIRST[-1:]) == [FIRST]
    assert not framer.partial


def test_folded_content_length_frames() -> None:
    """MSG-4, TRN-8"""
    message = HEAD + b"Content-Length:\r\n 3\r\n\r\nabc"
    assert StreamFramer().feed(message + SECOND) == [message, SECOND]


@pytest.mark.parametrize(("row", "status"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_lost_framing_raises_with_the_head(row: bytes, status: int) -> None:
    """TRN-8: the ncl and mcl01 rows of RFC 4475 among them."""
    head = HEAD + row + b"\r\n"
    for cut in (0, 1, len(head) - 1, len(head)):
        messages, error = frame([head[:cut], head[cut:] + b"more"])
        assert messages == []
        assert error is not None
        assert error.status == status
        assert error.head == head


def test_messages_before_the_fault_are_returned() -> None:
    """TRN-8"""
    framer = StreamFramer()
    assert framer.error is None
    assert framer.feed(FIRST + HEAD + b"\r\n" + SECOND) == [FIRST]
    assert framer.error is not None
    for _ in range(2):
        with pytest.raises(SipParseError):
            framer.feed(SECOND)


@pytest.mark.parametrize("excess", [0, 1])
def test_message_size_has_a_limit(excess: int) -> None:
    """SEC-5"""
    body = 200 + excess
    head = HEAD + b"Content-Length: %d\r\n\r\n" % body
    framer = StreamFramer(len(head) + 200)
    if excess:
        with pytest.raises(SipParseError) as caught:
            framer.feed(head)
        assert caught.value.status == 513
    else:
        assert framer.feed(head + b"x" * body) == [head + b"x" * body]


@pytest.mark.parametrize("excess", [0, 1])
def test_header_section_has_a_limit(excess: int) -> None:
    """SEC-5"""
    tail = b"\r\nContent-Length: 0\r\n\r\n"
    filler = b"A" * (MAX_HEADER_SECTION + excess - len(HEAD) - len(b"S: ") - len(tail))
    message = HEAD + b"S: " + filler + tail
    for cut in (0, 1, 9000, MAX_HEADER_SECTION - 2, MAX_HEADER_SECTION, len(message)):
        messages, error = frame([message[:cut], message[cut:]])
        if excess:
            assert messages == []
            assert error is not None
            assert error.status == 400
        else:
            assert messages == [message]


def test_keepalives_are_counted_once() -> None:
    """TRN-15"""
    framer = StreamFramer()
    assert framer.feed(b"\r\n\r\n") == []
    assert framer.take_pings() == 1
    assert framer.take_pings() == 0
    assert framer.feed(b"\r\n\r\n\r\n\r\n" + SECOND + b"\r\n") == [SECOND]
    assert framer.take_pings() == 2
    assert framer.feed(b"\r") == []
    assert framer.feed(b"\n") == []
    assert framer.take_pings() == 1
    assert not framer.partial


def test_lone_crlfs_around_a_message_are_no_keepalive() -> None:
    """TRN-15"""
    framer = StreamFramer()
    assert framer.feed(b"\r\n" + SECOND + b"\r\n" + SECOND) == [SECOND, SECOND]
    assert framer.take_pings() == 0


def test_framed_message_parses() -> None:
    """TRN-8"""
    rows = b"Via: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:a@h>\r\nCall-ID: 1\r\n"
    message = b"OPTIONS sip:h SIP/2.0\r\n" + rows + b"CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    [octets] = StreamFramer().feed(b"\r\n" + message)
    assert parse_message(octets, stream=True).method == "OPTIONS"
