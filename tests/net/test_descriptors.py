"""The kernel's table of descriptors does not grow while phones wait."""

import resource
from pathlib import Path

import pytest

from tests.server_fixture import running_server

pytestmark = pytest.mark.network


def test_a_server_has_room_for_all_its_connections_when_it_starts(tmp_path: Path) -> None:
    """SEC-5: an accept() that has to make room waits for the kernel, and everybody for it."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4_000:
        pytest.skip("so many descriptors are not allowed here")
    options = 'store = { url = "memory:" }\n[limits]\nmax_connections = 3000\n'
    with running_server(tmp_path, ["example.com"], options) as server:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
    assert int(status.partition("FDSize:")[2].split()[0]) >= 3_000
