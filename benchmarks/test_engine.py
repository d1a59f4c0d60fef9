"""The whole inside of the server: 64 REGISTER refreshes from octets to octets, memory only, no sockets."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from reginfo.fast import parse_message
from tests.harness import PHONE, House, contact, request

BATCH = 64


@pytest.mark.benchmark(group="engine")
def test_engine_64_refreshes_in_one_batch(benchmark: BenchmarkFixture) -> None:
    house = House()
    rounds = iter(range(1, 1_000_000))

    def batch() -> tuple[tuple[list[bytes]], dict[str, object]]:
        cseq = next(rounds)
        octets = [
            request("REGISTER", contact(f"sip:u{n}@192.0.2.10", 600), user=f"u{n}", call_id=f"c{n}", cseq=cseq)
            for n in range(BATCH)
        ]
        return (octets,), {}

    def answer(octets: list[bytes]) -> list[bytes]:
        house.engine.receive([(one, PHONE) for one in octets], house.now())
        house.settle()
        return [answer for answer, _ in house.engine.take_output()]

    answers = benchmark.pedantic(answer, setup=batch, rounds=200)  # type: ignore[no-untyped-call]
    assert [parse_message(octets).status for octets in answers] == [200] * BATCH
    assert house.store.contacts == BATCH
