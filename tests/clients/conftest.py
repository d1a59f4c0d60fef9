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


@pytest.fixture(scope="session")
def sipsak() -> str:
    """The sipsak program."""
    found = shutil.which("sipsak")
    if found is None:
        pytest.skip("sipsak is not installed")
    return found
