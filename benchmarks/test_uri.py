"""Comparing URIs (RFC 3261 section 19.1.4) and the canonical AoR, beside the reference."""

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from reginfo.fast import canonical_aor, uris_equal
from tests.reference import uri as reference

pytestmark = pytest.mark.benchmark(group="uri")

ONE = b"sip:%61lice@phone.example.com:5060;transport=udp;ob"
OTHER = b"sip:alice@PHONE.example.com:5060;Transport=UDP;x=1"


@pytest.mark.parametrize("equal", [uris_equal, reference.equal], ids=["reginfo", "reference"])
def test_uris_equal_written_otherwise(benchmark: BenchmarkFixture, equal: Callable[[bytes, bytes], bool]) -> None:
    assert benchmark(equal, ONE, OTHER)


@pytest.mark.parametrize("aor", [canonical_aor, reference.canonical_aor], ids=["reginfo", "reference"])
def test_canonical_aor(benchmark: BenchmarkFixture, aor: Callable[[bytes], str]) -> None:
    assert benchmark(aor, ONE) == "sip:alice@phone.example.com:5060"
