"""REGISTER -> PUBLISH -> compositor with real processes at full speed: EPA-2, nothing is lost on the way."""

from pathlib import Path

import pytest

from benchmarks.chain import own, run

AORS = 20_000


@pytest.mark.network
def test_twenty_thousand_aors_registered_twice_all_arrive(tmp_path: Path) -> None:
    with own(tmp_path) as chain:
        done = run(chain, AORS)
    assert (done.documents, done.current) == (AORS, AORS)
