"""Kamailio with the modules that interoperability tests need; missing ones count as a missing Kamailio."""

import shutil
from pathlib import Path

import pytest

from tests.interop.kamailio import SCRIPTS

MODULES = ("pua_reginfo", "presence_reginfo", "db_sqlite", "db_text", "jsonrpcs")


@pytest.fixture(scope="session")
def kamailio(kamailio: Path) -> Path:
    """The kamailio program, its modules and tables beside it."""
    for module in MODULES:
        if not list(Path("/usr/lib").glob(f"*/kamailio/modules/{module}.so")):
            pytest.skip(f"kamailio is installed without {module}: see the packages in .ci/run")
    if not SCRIPTS.is_dir():
        pytest.skip(f"kamailio is installed without {SCRIPTS}")
    if shutil.which("setpriv") is None:
        pytest.skip("kamailio cannot be bound to this process: setpriv of util-linux is not installed")
    return kamailio
