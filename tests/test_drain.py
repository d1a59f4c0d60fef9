"""`reginfo drain --final`: watchers, compositor and whoever is followed are told, and the next start knows of none."""

import socket
import time
from pathlib import Path

import pytest

from reginfo.admin.control import ControlClient
from reginfo.fast import SipMessage, parse_message, parse_reginfo, write_response
from tests.server_fixture import PATIENCE, RunningServer, running_server

pytestmark = pytest.mark.network

OPTIONS = '[notifier]\nallow = ["*"]\nmin_notify_interval = 0\n'


def asked(phone: socket.socket, method: str, *headers: str) -> SipMessage:
    """Send a request about alice and return its answer."""
    here = "{}:{}".format(*phone.getsockname())
    uri = "sip:example.com" if method == "REGISTER" else "sip:alice@example.com"
    rows = [
        f"{method} {uri} SIP/2.0",
        f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{method}",
        *("From: <sip:alice@example.com>;tag=1", "To: <sip:alice@example.com>", f"Call-ID: {method}@{here}"),
        *(f"CSeq: 1 {method}", "Max-Forwards: 70", f"Contact: <sip:alice@{here}>", *headers, "Content-Length: 0"),
    ]
    phone.send("\r\n".join([*rows, "", ""]).encode())
    while True:
        message = parse_message(phone.recv(65_536))
        if not message.is_request and message.status >= 200:
            return message
        phone.send(write_response(message, 200, to_tag="w"))


def statistics(folder: Path) -> dict[str, dict[str, int]]:
    with ControlClient(str(folder / "reginfo.sock")) as client:
        found: dict[str, dict[str, int]] = client.call("stats.get_statistics", ["all"])
    return found


def eventually(folder: Path, group: str, name: str, value: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while statistics(folder)[group][name] != value:
        assert time.monotonic() < deadline, statistics(folder)
        time.sleep(0.01)


def test_a_server_that_leaves_for_good_leaves_nothing_behind(tmp_path: Path) -> None:
    """SUB-11, RFC 6665 sections 4.1.2.3 and 4.1.3, RFC 3903 section 4.5."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    options = f'{OPTIONS}[compositor]\npublishers = ["127.0.0.1"]\n'
    with running_server(there, ["example.com"], options) as compositor:
        proxy = "sip:{}:{}".format(*compositor.udp)
        options = OPTIONS + f'[pua_reginfo]\noutbound_proxy = "{proxy}"\nsubscribe = ["sip:bob@example.com"]\n'
        server = RunningServer(here, ["example.com"], options)
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
                phone.connect(server.udp)
                phone.settimeout(PATIENCE)
                assert asked(phone, "REGISTER", "Expires: 600").status == 200
                assert asked(phone, "SUBSCRIBE", "Event: reg", "Expires: 600").status == 200
                eventually(there, "publications", "compositor", 1)
                eventually(there, "subscriptions", "notifier", 1)
                first = parse_message(phone.recv(65_536))
                assert first.method == "NOTIFY"
                phone.send(write_response(first, 200, to_tag="w"))
                with ControlClient(str(here / "reginfo.sock")) as client:
                    client._socket.sendall(b'{"jsonrpc": "2.0", "method": "reg.drain", "params": [true], "id": 1}\n')
                    last = parse_message(phone.recv(65_536))
                    assert last.header("Subscription-State") == "terminated;reason=deactivated"
                    [registration] = parse_reginfo(last.body).registrations
                    assert [contact.active for contact in registration.contacts] == [True]
                    assert asked(phone, "OPTIONS").status == 503
                    phone.send(write_response(last, 200, to_tag="w"))
                    assert b'"Final":true' in client._lines.readline()
            assert server.process.wait(PATIENCE) == 0
            assert "unanswered=0" in server.log.read_text()
        finally:
            server.stop()
        assert statistics(there)["publications"]["compositor"] == 0
        assert statistics(there)["subscriptions"]["notifier"] == 0
        assert statistics(there)["usrloc"]["contacts"] == 0
        with running_server(here, ["example.com"], options):
            counts = statistics(here)
            assert counts["subscriptions"]["notifier"] == 0
            assert counts["usrloc"]["contacts"] == 1
