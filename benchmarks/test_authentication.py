"""What authentication costs: 64 REGISTER refreshes from octets to octets, plain and with a nonce used again.

All kinds are timed in turn within one run, by the CPU time of the process, so that the ratios hold on a busy machine.
"""

import time
from collections.abc import Callable
from itertools import count

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from reginfo.config import AuthSection, DigestAlgorithm
from reginfo.fast import parse_message
from tests.harness import PHONE, House, contact, request
from tests.reference import digest as reference

BATCH = 64
ROUNDS = 15
BATCHES = 10  # of each kind in a round: a single one would be as slow as its first look at everything
MOST = 2.0  # times the CPU of a plain REGISTER, for MD5
URI = "sip:example.com"
FORGED = (
    f'Authorization: Digest username="nobody",realm="example.com",nonce="{"x" * 32}",uri="{URI}",'
    f'response="{"0" * 32}",algorithm=MD5,cnonce="c",qop=auth,nc=00000001'
)

Batch = Callable[[], list[bytes]]


def register(n: int, cseq: int, *rows: str) -> bytes:
    return request("REGISTER", contact(f"sip:u{n}@192.0.2.10", 600), *rows, user=f"u{n}", call_id=f"c{n}", cseq=cseq)


def plain() -> tuple[House, Batch]:
    numbers = count(1)

    def batch() -> list[bytes]:
        cseq = next(numbers)
        return [register(n, cseq) for n in range(BATCH)]

    return House(), batch


def authenticated(algorithm: DigestAlgorithm) -> tuple[House, Batch]:
    house = House(auth=AuthSection(enabled=True, algorithms=(algorithm,), nonce_lifetime=86_400))
    house.users = {f"u{n}": "secret" for n in range(BATCH)}
    nonces = [house.ask(register(n, 1)).www_authenticate[0].params["nonce"] for n in range(BATCH)]
    numbers = count(1)

    def credentials(n: int, number: int) -> str:
        shared = (nonces[n], "auth", f"{number:08x}", "0a4f113b")
        proof = reference.response(algorithm, f"u{n}", "example.com", "secret", "REGISTER", URI, *shared)
        return (
            f'Authorization: Digest username="u{n}",realm="example.com",nonce="{nonces[n]}",uri="{URI}",'
            f'response="{proof}",algorithm={algorithm},cnonce="0a4f113b",qop=auth,nc={number:08x}'
        )

    def batch() -> list[bytes]:
        number = next(numbers)
        return [register(n, 1 + number, credentials(n, number)) for n in range(BATCH)]

    return house, batch


def seconds(house: House, octets: list[bytes]) -> float:
    """Return the CPU time that a batch takes."""
    batch = [(one, PHONE) for one in octets]
    begun = time.process_time()
    house.engine.receive(batch, house.now())
    house.find_users()
    house.settle()
    answers = house.engine.take_output()
    taken = time.process_time() - begun
    assert [parse_message(answer).status for answer, _ in answers] == [200] * BATCH
    return taken


def test_a_nonce_used_again_costs_at_most_twice_a_plain_register(benchmark: BenchmarkFixture) -> None:
    kinds = {"plain": plain(), "MD5": authenticated("MD5"), "SHA-256": authenticated("SHA-256")}
    best = dict.fromkeys(kinds, float("inf"))

    def measure() -> None:
        for _ in range(BATCHES):
            for name, (house, batch) in kinds.items():
                best[name] = min(best[name], seconds(house, batch()))

    benchmark.pedantic(measure, rounds=ROUNDS)  # type: ignore[no-untyped-call]
    for name, taken in best.items():
        benchmark.extra_info[f"{name} us"] = round(taken / BATCH * 1e6, 2)
        benchmark.extra_info[f"{name} ratio"] = round(taken / best["plain"], 2)
    assert best["MD5"] <= MOST * best["plain"]
    for house, _ in kinds.values():
        assert house.store.contacts == BATCH


@pytest.mark.benchmark(group="engine")
@pytest.mark.parametrize("row", ["", FORGED], ids=["without", "forged"])
def test_64_challenges_in_one_batch(benchmark: BenchmarkFixture, row: str) -> None:
    """Strangers without credentials, and with made-up ones."""
    house = House(auth=AuthSection(enabled=True))
    octets = [(register(n, 1, *filter(None, [row])), PHONE) for n in range(BATCH)]

    def answer() -> list[bytes]:
        house.engine.receive(octets, house.now())
        return [answer for answer, _ in house.engine.take_output()]

    answers = benchmark(answer)
    assert [parse_message(octets).status for octets in answers] == [401] * BATCH
    assert len(house.transactions) == 0
