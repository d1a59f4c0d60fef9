"""What every test may ask for: corpora, peers, hypothesis profiles.

A test that lacks its peer is skipped with the reason; with REGINFO_REQUIRE_PEERS=1, as in CI, it fails.
"""

import os
import re
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import reginfo._fast

ROOT = Path(__file__).resolve().parent.parent
CORPORA = ROOT.parent / "shared" / "corpora"
PEERS = (
    "kamailio",
    "sipp",
    "redis-server",
    "tshark",
    "sngrep",
    "postgres",
    "baresip",
    "sipsak",
    "chromium",
    "npm",
    "systemd",
    "promtool",
    "network namespace",
)

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True, print_blob=True)
settings.register_profile(
    "nightly", max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_report_header() -> str:
    """Say which build is tested: `make sanitize` and its like put theirs in front of the normal one."""
    return f"reginfo: compiled core from {Path(reginfo._fast.__file__).parent}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn "skipped, because a peer is missing" into a failure where peers are required."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("REGINFO_REQUIRE_PEERS") == "1":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if re.search("|".join(PEERS), reason, re.IGNORECASE):
            report.outcome = "failed"
            report.longrepr = f"a peer is required here: {reason}"
    return report


def _peer(program: str) -> Path:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{program} is not installed")
    return Path(found)


@pytest.fixture(scope="session")
def kamailio() -> Path:
    """The kamailio program."""
    return _peer("kamailio")


@pytest.fixture(scope="session")
def sipp() -> Path:
    """The sipp program."""
    return _peer("sipp")


@pytest.fixture(scope="session")
def redis_server() -> Path:
    """The redis-server program."""
    return _peer("redis-server")


@pytest.fixture(scope="session")
def tshark() -> Path:
    """The tshark program."""
    return _peer("tshark")


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The promtool program."""
    return _peer("promtool")


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of published test vectors, which lies beside the repository and is not part of it."""
    if not CORPORA.is_dir():
        pytest.skip("no corpora: ../shared/corpora does not exist")
    return CORPORA
