"""Phones that others have written, registered here while a watcher of ours looks on."""

import subprocess
from pathlib import Path

import pytest

from tests.clients import baresip
from tests.clients.scene import DOMAIN, PASSWORD, asking_server, watcher
from tests.server_fixture import PATIENCE, running_server

pytestmark = pytest.mark.network


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_baresip_comes_and_goes(transport: str, installed_baresip: Path, tmp_path: Path) -> None:
    """TRN-1, AUT-2, OUT-4, REG-12, REV-1: registered as it comes, unregistered as it goes, both told."""
    with (
        asking_server(tmp_path / "server") as server,
        watcher(server.udp, f"sip:alice@{DOMAIN}") as watch,
    ):
        where = server.addresses[transport]
        authority = str(tmp_path / "server" / "ca.pem")
        phone = baresip.phone(
            tmp_path / "phone", where, transport, "alice", DOMAIN, password=PASSWORD, authority=authority
        )
        with phone:
            came = watch.contact()
            assert (came["state"], came["event"]) == ("active", "registered")
            assert came["uri"].startswith("sip:alice-")
            assert "+sip.instance" in came["params"]
            assert "reg-id" in came["params"]
        gone = watch.contact()
        assert (gone["state"], gone["event"], gone["uri"]) == ("terminated", "unregistered", came["uri"])


def test_sipsak_registers(sipsak: str, tmp_path: Path) -> None:
    """REG-10: what sipsak binds is told, and it takes our answer for a success; it looks its domain up."""
    (tmp_path / "server").mkdir()
    with (
        running_server(tmp_path / "server", ["localhost"], 'store = { url = "memory:" }') as server,
        watcher(server.udp, "sip:bob@localhost") as watch,
    ):
        contact = "sip:bob@192.0.2.7:5080"
        command = [sipsak, "-U", "-s", "sip:bob@localhost", "-p", "{}:{}".format(*server.udp), "-C", contact]
        done = subprocess.run([*command, "-x", "600"], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        came = watch.contact()
        assert (came["uri"], came["event"]) == (contact, "registered")
        subprocess.run([*command, "-x", "0"], capture_output=True, timeout=PATIENCE, check=True)
        assert watch.contact()["event"] == "unregistered"
