"""The load generator against a registrar of a few lines (standards.md: REG-10; RFC 6076 and RFC 7501 words)."""

import math
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from reginfo._fast.load import RegisterLoad
from tests.reference import digest

pytestmark = pytest.mark.network

HELD_UP = 0.2  # seconds

Answer = Callable[[bytes], list[bytes]]


def accept(request: bytes) -> list[bytes]:
    """Answer 200 the way a registrar does, with the headers a generator looks at."""
    return [reply(request, b"200 OK")]


def reply(request: bytes, status: bytes) -> bytes:
    copied = (b"Via:", b"From:", b"To:", b"Call-ID:", b"CSeq:")
    kept = [line for line in request.split(b"\r\n") if line.startswith(copied)]
    return b"\r\n".join([b"SIP/2.0 " + status, *kept, b"Content-Length: 0", b"", b""])


@contextmanager
def answering(answer: Answer) -> Iterator[tuple[tuple[str, int], list[bytes]]]:
    """Run a peer that answers each datagram with what `answer` returns; yield its address and what it got."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    seen: list[bytes] = []

    def serve() -> None:
        while True:
            octets, source = server.recvfrom(65536)
            if octets == b"stop":
                return
            seen.append(octets)
            for response in answer(octets):
                server.sendto(response, source)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname(), seen
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stopper:
            stopper.sendto(b"stop", server.getsockname())
        thread.join()
        server.close()


def header(request: bytes, name: bytes) -> bytes:
    return next(line.partition(b":")[2].strip() for line in request.split(b"\r\n") if line.startswith(name + b":"))


def test_each_aor_keeps_its_call_id_and_raises_its_cseq() -> None:
    """REG-10: all but the first REGISTER of an AoR are refreshes."""
    with answering(accept) as (address, seen):
        report = RegisterLoad(*address, aors=10, seed=1, window=4).run(30)
    assert (report.requests, report.answered, report.failed, report.lost) == (30, 30, 0, 0)
    assert len({header(request, b"Call-ID") for request in seen}) == 10
    for aor in {header(request, b"To") for request in seen}:
        mine = [request for request in seen if header(request, b"To") == aor]
        assert len({header(request, b"Call-ID") for request in mine}) == 1
        cseqs = [int(header(request, b"CSeq").split()[0]) for request in mine]
        assert cseqs == [cseqs[0], cseqs[0] + 1, cseqs[0] + 2]
    assert len({header(request, b"Via") for request in seen}) == 30


def test_requests_are_well_formed() -> None:
    """MSG-1, MSG-9: what every request must have, and as many contacts as asked for."""
    with answering(accept) as (address, seen):
        load = RegisterLoad(*address, aors=1, seed=0xABC, contacts=3, expires=77, domain="example.net")
        load.run(1)
    head, end, body = seen[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert (len(seen[0]), end, body) == (load.octets, b"\r\n\r\n", b"")
    assert lines[0] == b"REGISTER sip:example.net SIP/2.0"
    assert [line for line in lines if line.startswith(b"Contact:")] == [
        b"Contact: <sip:u000000000@192.0.2.%d:5060>" % number for number in (1, 2, 3)
    ]
    assert header(seen[0], b"Expires") == b"77"
    assert b"0000000000000abc" in header(seen[0], b"Call-ID")
    assert all(octet >= 32 for octet in head.replace(b"\r\n", b""))


def test_the_window_bounds_what_is_outstanding_and_one_aor_has_one_request() -> None:
    """REG-2: a UA has one REGISTER outstanding."""
    held: list[bytes] = []

    def answer(request: bytes) -> list[bytes]:
        held.append(request)
        if len(held) < 5:
            return []
        answers = [reply(request, b"200 OK") for request in held]
        held.clear()
        return answers

    with answering(answer) as (address, seen):
        report = RegisterLoad(*address, aors=100, seed=1, window=5).run(20)
    assert (report.answered, report.retransmissions) == (20, 0)
    assert RegisterLoad("127.0.0.1", 9, aors=3, seed=1, window=64).window == 3
    assert len(seen) == 20


def test_what_is_not_answered_is_repeated_after_t1_as_the_same_octets() -> None:
    """TRN timers: timer E begins with T1 = 500 ms."""
    answered: set[bytes] = set()

    def answer(request: bytes) -> list[bytes]:
        if request in answered:
            return accept(request)
        answered.add(request)
        return []

    with answering(answer) as (address, seen):
        report = RegisterLoad(*address, aors=2, seed=1).run(2)
    assert (report.answered, report.retransmissions, report.lost) == (2, 2, 0)
    assert len(set(seen)) == 2
    assert report.percentile(1) >= 0.49


def test_only_a_matching_200_counts() -> None:
    def answer(request: bytes) -> list[bytes]:
        good = reply(request, b"200 OK")
        return [
            b"",
            b"SIP/2.0 200 OK\r\n\r\n",
            good.replace(b"CSeq: 1", b"CSeq: 2"),
            good.replace(header(request, b"Call-ID"), b"other@example.com"),
            good.replace(header(request, b"Call-ID"), b"999999999" + header(request, b"Call-ID")[9:]),
            good[: len(good) // 2],
            reply(request, b"100 Trying"),
            good,
            good,
        ]

    with answering(answer) as (address, _):
        load = RegisterLoad(*address, aors=1, seed=1)
        report = load.run(3)
    assert (report.answered, report.failed, report.retransmissions) == (3, 0, 0)
    assert report.strays >= 3 * 6


def test_another_final_status_is_a_failure() -> None:
    """RFC 6076: an ineffective registration attempt."""
    with answering(lambda request: [reply(request, b"403 Forbidden")]) as (address, _):
        report = RegisterLoad(*address, aors=2, seed=1).run(4)
    assert (report.answered, report.failed, report.last_failure, report.lost) == (0, 4, 403, 0)
    assert math.isnan(report.percentile(50))


def test_what_is_missing_at_the_end_is_lost() -> None:
    with answering(lambda _: []) as (address, _):
        report = RegisterLoad(*address, aors=3, seed=1).run(3, timeout=0.05)
    assert (report.requests, report.answered, report.lost, report.loss, report.rate) == (3, 0, 3, 1.0, 0.0)


def test_an_answer_after_its_run_is_a_stray_of_the_next() -> None:
    late: list[bytes] = []

    def answer(request: bytes) -> list[bytes]:
        late.append(reply(request, b"200 OK"))
        return late if len(late) > 1 else []

    with answering(answer) as (address, _):
        load = RegisterLoad(*address, aors=1, seed=1)
        assert load.run(1, timeout=0.05).lost == 1
        report = load.run(1)
    assert (report.answered, report.strays) == (1, 1)


def test_open_loop_keeps_the_rate() -> None:
    """RFC 7501: the offered rate is the tester's, whatever the server does."""
    with answering(accept) as (address, _):
        report = RegisterLoad(*address, aors=50, seed=1, window=50).run(100, rate=500.0)
    assert report.answered == 100
    assert report.seconds >= 99 / 500


def test_a_generator_that_was_held_up_says_so() -> None:
    """RFC 7502: what the generator itself was late by is none of the registrar's delay."""
    before = signal.signal(signal.SIGALRM, lambda *_: time.sleep(HELD_UP))
    try:
        with answering(accept) as (address, _):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            report = RegisterLoad(*address, aors=500, seed=1, window=500).run(200, rate=1_000.0)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert report.answered == 200
    assert HELD_UP / 2 < report.late <= report.percentile(100) * 1.05  # its buckets are so wide


def test_a_slow_registrar_does_not_make_the_generator_late() -> None:
    """RFC 6076: what waits for room in the window waits for the registrar."""

    def hesitate(request: bytes) -> list[bytes]:
        time.sleep(HELD_UP)
        return accept(request)

    with answering(hesitate) as (address, _):
        load = RegisterLoad(*address, aors=5, seed=1, window=1)
        reports = [load.run(2, rate=1_000.0) for _ in range(5)]
    assert min(report.percentile(100) for report in reports) * 1.05 >= HELD_UP
    # It looks for what has to be repeated every ten milliseconds, and the machine may make it late at times.
    assert min(report.late for report in reports) < 0.005


def test_percentiles_rise_and_lie_within_the_run() -> None:
    with answering(accept) as (address, _):
        report = RegisterLoad(*address, aors=20, seed=1, window=4).run(400)
    quantiles = [report.percentile(q) for q in (1, 50, 99, 99.9, 100)]
    assert quantiles == sorted(quantiles)
    assert 0 < quantiles[0] <= quantiles[-1] <= report.seconds
    assert sum(report.histogram) == 400
    for q in (0, 100.1):
        with pytest.raises(ValueError, match="percentage"):
            report.percentile(q)


def test_with_echo_the_request_itself_is_the_answer() -> None:
    with answering(lambda request: [request]) as (address, _):
        report = RegisterLoad(*address, aors=5, seed=1, echo=True).run(10)
        refused = RegisterLoad(*address, aors=5, seed=2).run(5, timeout=0.05)
    assert report.answered == 10
    assert (refused.answered, refused.strays) == (0, 5)


@pytest.mark.parametrize(
    "options",
    [
        {"aors": 0},
        {"aors": 10**9},
        {"aors": 1, "window": 0},
        {"aors": 1, "window": 65537},
        {"aors": 1, "contacts": 0},
        {"aors": 1, "contacts": 33},
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        RegisterLoad("127.0.0.1", 9, seed=1, **options)  # type: ignore[arg-type]
    for arguments in ({"requests": -1}, {"requests": 1, "rate": -1.0}, {"requests": 1, "timeout": 0.0}):
        with pytest.raises(ValueError, match="out of range"):
            RegisterLoad("127.0.0.1", 9, aors=1, seed=1).run(**arguments)


def test_credentials_fit_the_nonce_of_their_aor_and_their_count_rises() -> None:
    """AUT-3, AUT-4, AUT-6."""
    nonces = [f"{number:032}" for number in range(3)]
    with answering(accept) as (address, seen):
        load = RegisterLoad(*address, aors=3, seed=1, domain="example.net", nonces=nonces, password="s3cret")
        load.run(6)
    for number, request in enumerate(seen):
        user, count = f"u{number % 3:09}", f"{number // 3 + 1:08x}"
        proof = digest.response(
            "MD5", user, "example.net", "s3cret", "REGISTER", "sip:example.net", nonces[number % 3], "auth", count,
            "0a4f113b",
        )  # fmt: skip
        assert header(request, b"Authorization").decode() == (
            f'Digest username="{user}",realm="example.net",nonce="{nonces[number % 3]}",uri="sip:example.net",'
            f'response="{proof}",algorithm=MD5,cnonce="0a4f113b",qop=auth,nc={count}'
        )


@pytest.mark.parametrize(
    ("nonces", "password"), [(["0" * 32], "s"), (["0" * 31, "0" * 33], "s"), (["0" * 32] * 2, "s" * 500)]
)
def test_credentials_without_nonces_that_fit_or_too_long_are_refused(nonces: list[str], password: str) -> None:
    with pytest.raises(ValueError, match=r"nonce|too long"):
        RegisterLoad("127.0.0.1", 5060, aors=2, seed=1, nonces=nonces, password=password)
