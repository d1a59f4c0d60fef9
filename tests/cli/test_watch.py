"""`reginfo watch` against real servers, and against notifiers that do what a real one does not."""

import json
import os
import pty
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

import pytest

from reginfo.fast import SipMessage, parse_message, write_request, write_response
from tests.cli.conftest import OPTIONS, Registrar, Run, Spawn, reached
from tests.server_fixture import PATIENCE, running_server

pytestmark = pytest.mark.network

CONTACT = "sip:phone@192.0.2.1"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_once_prints_the_state_and_ends(run: Run, registrar: Registrar, transport: str) -> None:
    aor = f"once-{transport}@example.com"
    run("create", aor, CONTACT, "--expires", "600", "--socket", registrar.socket)
    ran = run("watch", aor, "--once", "--server", getattr(registrar, transport))
    assert (ran.code, ran.err) == (0, "")
    assert re.fullmatch(rf"\d\d:\d\d:\d\d  sip:{aor}  created      {CONTACT}  expires \d+\n", ran.out)


def test_once_prints_an_object_with_json(run: Run, registrar: Registrar) -> None:
    run("create", "object@example.com", CONTACT, "--q", "0.5", "--socket", registrar.socket)
    ran = run("watch", "object@example.com", "--once", "--json", "--server", registrar.udp)
    assert (ran.code, ran.out.count("\n")) == (0, 1)
    heard = json.loads(ran.out)
    assert (heard["aor"], heard["registration"]) == ("sip:object@example.com", "active")
    assert (heard["document"], heard["version"]) == ("full", 0)
    [contact] = heard["contacts"]
    assert (contact["uri"], contact["event"], contact["q"], contact["user_agent"]) == (CONTACT, "created", 0.5, None)


def test_once_of_what_is_not_registered_prints_its_state(run: Run, registrar: Registrar) -> None:
    ran = run("watch", "nothing@example.com", "--once", "--server", registrar.udp)
    assert ran.code == 0
    assert ran.out.endswith("  sip:nothing@example.com  init\n")


def test_changes_are_printed_a_line_each(run: Run, spawn: Spawn, registrar: Registrar) -> None:
    aor = "lines@example.com"
    watcher = spawn("watch", aor, "--server", registrar.udp)
    assert watcher.stdout is not None
    assert watcher.stdout.readline().endswith(f"  sip:{aor}  init\n")
    run("register", aor, CONTACT, "--server", registrar.udp)
    assert f"  registered   {CONTACT}  expires " in watcher.stdout.readline()
    run("register", aor, CONTACT, "--expires", "0", "--server", registrar.udp)
    assert watcher.stdout.readline().endswith(f"  unregistered {CONTACT}\n")
    run("create", aor, CONTACT, "--socket", registrar.socket)
    assert f"  created      {CONTACT}  expires " in watcher.stdout.readline()
    run("probation", "-y", aor, "--retry-after", "90", "--socket", registrar.socket)
    assert watcher.stdout.readline().endswith(f"  probation    {CONTACT}  retry after 90\n")


def test_full_prints_everything_that_is_bound_with_every_change(run: Run, spawn: Spawn, registrar: Registrar) -> None:
    aor = "full@example.com"
    run("create", aor, CONTACT, "--socket", registrar.socket)
    watcher = spawn("watch", aor, "--full", "--json", "--server", registrar.tcp)
    assert watcher.stdout is not None
    assert [one["uri"] for one in json.loads(watcher.stdout.readline())["contacts"]] == [CONTACT]
    run("create", aor, "sip:second@192.0.2.2", "--socket", registrar.socket)
    heard = json.loads(watcher.stdout.readline())
    assert heard["document"] == "full"
    assert {one["uri"] for one in heard["contacts"]} == {CONTACT, "sip:second@192.0.2.2"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_signal_ends_the_subscription_and_the_watcher(
    run: Run, spawn: Spawn, tmp_path: Path, transport: str, number: signal.Signals
) -> None:
    with running_server(tmp_path, ["example.com"], OPTIONS) as server:
        registrar = reached(server)
        watcher = spawn("watch", "alice@example.com", "--server", getattr(registrar, transport))
        assert watcher.stdout is not None
        assert watcher.stdout.readline().endswith("  init\n")
        held = ("stats", "subscriptions:notifier", "--socket", registrar.socket)
        assert run(*held).out == "subscriptions:notifier = 1\n"
        watcher.send_signal(number)
        assert watcher.communicate(timeout=PATIENCE) == ("", "")
        assert watcher.returncode == 0
        assert run(*held).out == "subscriptions:notifier = 0\n"


def test_a_reader_that_leaves_ends_the_watcher(run: Run, spawn: Spawn, registrar: Registrar) -> None:
    aor = "pipe@example.com"
    watcher = spawn("watch", aor, "--server", registrar.udp)
    assert watcher.stdout is not None
    assert watcher.stdout.readline().endswith("  init\n")
    watcher.stdout.close()
    watcher.stdout = None
    run("create", aor, CONTACT, "--socket", registrar.socket)
    _, err = watcher.communicate(timeout=PATIENCE)
    assert (watcher.returncode, err) == (1, "")


def test_a_signal_ends_a_watcher_that_was_not_answered_yet(spawn: Spawn) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.settimeout(PATIENCE)
        watcher = spawn("watch", "alice@example.com", "--server", f"sip:127.0.0.1:{silent.getsockname()[1]}")
        assert silent.recv(65_536).startswith(b"SUBSCRIBE ")
        watcher.send_signal(signal.SIGINT)
        assert watcher.communicate(timeout=PATIENCE) == ("", "")
        assert watcher.returncode == 0


class Notifier(threading.Thread):
    """A server that answers each SUBSCRIBE with 200 and one NOTIFY, or with the 200 alone."""

    def __init__(self, state: str | None) -> None:
        super().__init__()
        self._state = state
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(PATIENCE)
        self._where = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.uri = f"sip:{self._where}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.sendto(b"", self._socket.getsockname())
        self.join()
        self._socket.close()

    def run(self) -> None:
        while True:
            octets, watcher = self._socket.recvfrom(65_536)
            if not octets:
                return
            message = parse_message(octets)
            if message.is_request:
                expires = message.expires or 0
                own = [("Contact", f"<{self.uri}>"), ("Expires", str(expires))]
                self._socket.sendto(write_response(message, 200, to_tag="here", headers=own), watcher)
                if self._state is not None:
                    self._socket.sendto(self._notify(message), watcher)

    def _notify(self, subscribe: SipMessage) -> bytes:
        headers = [
            ("Via", f"SIP/2.0/UDP {self._where};branch=z9hG4bK{secrets.token_hex(8)}"),
            ("Max-Forwards", "70"),
            ("From", f"<{subscribe.to.uri}>;tag=here"),
            ("To", f"<{subscribe.from_.uri}>;tag={subscribe.from_.tag}"),
            ("Call-ID", subscribe.call_id),
            ("CSeq", f"{subscribe.cseq} NOTIFY"),
            ("Contact", f"<{self.uri}>"),
            ("Event", "reg"),
            ("Subscription-State", self._state or ""),
        ]
        return write_request("NOTIFY", subscribe.contacts[0].uri, headers)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("terminated;reason=rejected", "the server has ended the subscription: rejected"),
        ("terminated;reason=noresource", "the server has ended the subscription: noresource"),
    ],
)
@pytest.mark.parametrize("option", ["--full", "--once"])
def test_a_subscription_that_the_server_has_ended_for_good_ends_the_watcher(
    run: Run, state: str, text: str, option: str
) -> None:
    with Notifier(state) as notifier:
        assert run("watch", "alice@example.com", option, "--server", notifier.uri) == (1, "", f"reginfo: {text}\n")


def test_a_subscription_that_the_server_has_ended_for_now_is_begun_again(spawn: Spawn) -> None:
    with Notifier("terminated;reason=probation;retry-after=3600") as notifier:
        watcher = spawn("watch", "alice@example.com", "--server", notifier.uri)
        assert watcher.stderr is not None
        line = watcher.stderr.readline()
        watcher.send_signal(signal.SIGTERM)
        assert watcher.communicate(timeout=PATIENCE) == ("", "")
    assert line == "the server has ended the subscription: probation; trying again\n"
    assert watcher.returncode == 0


def test_a_server_that_sends_no_notify_is_unreachable(run: Run, hurry: None) -> None:
    with Notifier(None) as notifier:
        ran = run("watch", "alice@example.com", "--once", "--server", notifier.uri)
        assert ran == (4, "", f"reginfo: udp:{notifier.uri.removeprefix('sip:')} sends no NOTIFY\n")


def until(terminal: int, text: str) -> str:
    """Read what is drawn on a terminal up to some text, and return it without what moves the cursor."""
    drawn = b""
    while text not in (plain := re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", drawn.decode(errors="replace"))):
        drawn += os.read(terminal, 65_536)
    return plain


def test_a_terminal_shows_a_table_that_follows_the_changes(run: Run, registrar: Registrar) -> None:
    terminal, inside = pty.openpty()
    command = [sys.executable, "-m", "reginfo", "watch", "table@example.com", "--server", registrar.udp]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    with subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, env=environment) as watcher:
        os.close(inside)  # reading ends with an error when the watcher does
        watchdog = threading.Timer(PATIENCE, watcher.kill)
        watchdog.start()
        assert "sip:table@example.com" in until(terminal, "nothing is bound")
        run("create", "table@example.com", CONTACT, "--q", "0.5", "--socket", registrar.socket)
        shown = until(terminal, "0.5")
        watcher.send_signal(signal.SIGINT)
        assert watcher.wait() == 0
        watchdog.cancel()
    os.close(terminal)
    assert CONTACT in shown
    assert "created" in shown


def test_the_owner_alone_may_watch_unless_the_server_allows_more(run: Run, tmp_path: Path) -> None:
    with running_server(tmp_path, ["example.com"], OPTIONS.replace('allow = ["*"]', "")) as server:
        uri = reached(server).udp
        assert run("watch", "alice@example.com", "--once", "--server", uri).code == 0
        ran = run("watch", "alice@example.com", "--once", "--from", "sip:bob@example.com", "--server", uri)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("reginfo: the server answers 403 ")
    assert ran.err.count("\n") == 1


def test_an_address_of_record_of_another_domain_is_refused_by_the_server(run: Run, registrar: Registrar) -> None:
    ran = run("watch", "alice@example.org", "--server", registrar.udp)
    assert ran == (1, "", "reginfo: the server answers 404 Domain is not served here\n")


def test_silence_is_an_unreachable_server(run: Run, silent: str, hurry: None) -> None:
    ran = run("watch", "alice@example.com", "--server", silent)
    assert ran == (4, "", f"reginfo: udp:{silent.removeprefix('sip:')} does not answer\n")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_closed_port_is_an_unreachable_server(run: Run, closed: str, transport: str) -> None:
    ran = run("watch", "alice@example.com", "--server", f"{closed};transport={transport}")
    assert ran == (4, "", f"reginfo: {transport}:{closed.removeprefix('sip:')} cannot be reached\n")


def test_a_name_without_address_is_an_unreachable_server(run: Run) -> None:
    ran = run("watch", "alice@example.com", "--server", "host.invalid")
    assert ran == (4, "", "reginfo: host.invalid is not found\n")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["alice@"], "AOR"),
        (["alice@example.com\r\nX: y"], "AOR"),
        (["alice@example.com", "--from", ""], "--from"),
        (["alice@example.com", "--from", "a b"], "--from"),
        (["alice@example.com", "--from", "bob@example.com>\r\nX: y"], "--from"),
        (["alice@example.com", "--from", "\udcff"], "--from"),
        (["alice@example.com", "--expires", "0"], "--expires"),
    ],
)
def test_wrong_usage_is_named(run: Run, arguments: list[str], name: str) -> None:
    ran = run("watch", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert f"Error: Invalid value for '{name}': " in ran.err
