"""Clients that others have written; where one is not installed its tests are skipped."""

import shutil
from pathlib import Path

import pytest

from tests.clients import baresip


@pytest.fixture(scope="session")
def installed_baresip() -> Path:
    """The folder of baresip's modules."""
    found = baresip.modules()
    if found is None or shutil.which("baresip") is None:
        pytest.skip("baresip is not installed")
    return found


def _installed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


@pytest.fixture(scope="session")
def sipsak() -> str:
    """The sipsak program."""
    return _installed("sipsak")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The chromium program, with what drives it beside it."""
    _installed("chromedriver")
    return _installed("chromium")


@pytest.fixture(scope="session")
def npm() -> str:
    """The npm program."""
    return _installed("npm")
