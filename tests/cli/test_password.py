"""Commands of a user agent at a server that asks for a password: AUT-11."""

import io
import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from reginfo.cli._password import ENVIRONMENT
from tests.cli.conftest import Registrar, Run, Spawn, reached
from tests.server_fixture import running_server

pytestmark = pytest.mark.network

PASSWORD = "s3cret"
DOCUMENT = (
    '<?xml version="1.0"?><reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="full">'
    '<registration aor="sip:alice@example.com" id="r" state="active"><contact id="c" state="active" event="registered">'
    "<uri>sip:published@192.0.2.2</uri></contact></registration></reginfo>"
)
OPTIONS = """
[auth]
enabled = true
[store]
url = "memory:"
[notifier]
min_notify_interval = 0
"""


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registrar]:
    """Run a server where alice has a password."""
    folder = tmp_path_factory.mktemp("asking")
    (folder / "users.toml").write_text('[auth]\nenabled = true\ndb_url = "sqlite:///subscriber.db"\n')
    subprocess.run(
        [sys.executable, "-m", "reginfo", "user", "add", "alice", "--password-stdin", "-c", "users.toml"],
        cwd=folder, input=f"{PASSWORD}\n", text=True, check=True, capture_output=True,
    )  # fmt: skip
    with running_server(folder, ["example.com"], OPTIONS) as server:
        yield reached(server)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the password on standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_registration_is_made_with_the_password_of_standard_input(
    run: Run, asking: Registrar, typed: None, transport: str
) -> None:
    server = getattr(asking, transport)
    options = ("--server", server, "--user", "alice", "--password-stdin")
    ran = run("register", "alice@example.com", "sip:phone@192.0.2.1", *options)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("sip:phone@192.0.2.1  expires ")


def test_a_publication_is_made_with_the_password_of_the_environment(
    run: Run, asking: Registrar, monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    monkeypatch.setenv(ENVIRONMENT, PASSWORD)
    file = os.path.join(tmp_path, "state.xml")
    with open(file, "w") as out:
        out.write(DOCUMENT)
    options = ("--server", asking.udp, "--user", "alice")
    ran = run("publish", "alice@example.com", file, "--json", *options)
    assert (ran.code, ran.err) == (0, "")
    tag = json.loads(ran.out)["etag"]
    assert run("publish", "alice@example.com", "--etag", tag, "--expires", "0", *options).code == 0


def test_a_watcher_proves_who_it_is(run: Run, asking: Registrar, typed: None) -> None:
    ran = run("watch", "alice@example.com", "--once", "--server", asking.udp, "--user", "alice", "--password-stdin")
    assert (ran.code, ran.err) == (0, "")
    assert "sip:alice@example.com" in ran.out


def test_a_ping_needs_none(run: Run, asking: Registrar, typed: None) -> None:
    assert run("ping", asking.udp, "--user", "alice", "--password-stdin").out.startswith("200 OK in ")


COMMANDS = [
    ("register", "alice@example.com"),
    ("publish", "alice@example.com", "--etag", "x"),
    ("watch", "alice@example.com", "--once"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_asks_is_named_with_what_to_give(run: Run, asking: Registrar, command: tuple[str, ...]) -> None:
    ran = run(*command, "--server", asking.udp)
    assert ran == (77, "", "reginfo: the server asks for a password: give --user\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_password_that_is_refused_is_said(
    run: Run, asking: Registrar, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv(ENVIRONMENT, "wrong")
    ran = run(*command, "--server", asking.udp, "--user", "alice")
    assert ran == (77, "", "reginfo: the server does not take the password of alice\n")


def test_a_password_that_is_refused_is_said_once(spawn: Spawn, asking: Registrar) -> None:
    """SEC-6: by the command, and not by the log beside it."""
    process = spawn("register", "alice@example.com", "--server", asking.udp, "--user", "alice", "--password-stdin")
    assert process.communicate("wrong\n") == ("", "reginfo: the server does not take the password of alice\n")


def test_the_password_is_asked_for_on_a_terminal(asking: Registrar) -> None:
    """Once, and not echoed."""
    near, far = pty.openpty()
    command = [sys.executable, "-m", "reginfo", "register", "alice@example.com", "--user", "alice"]
    with subprocess.Popen(
        [*command, "--server", asking.udp],
        stdin=far,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        os.close(far)
        watchdog = threading.Timer(30, process.kill)
        watchdog.start()
        assert process.stderr is not None
        prompt = process.stderr.read(len("Password: "))
        os.write(near, f"{PASSWORD}\n".encode())
        _, err = process.communicate()
        watchdog.cancel()
    os.close(near)
    assert (process.returncode, prompt) == (0, b"Password: ")
    assert PASSWORD.encode() not in err
    assert b"Password" not in err


def test_without_terminal_the_other_ways_are_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    ran = run("register", "alice@example.com", "--user", "alice")
    assert ran.code == 2
    assert f"give --password-stdin or ${ENVIRONMENT}" in ran.err


@pytest.mark.parametrize("user", ["", "a:b", "a\nb", "\udcff", "x" * 65])
def test_what_is_no_user_name_is_wrong_usage(run: Run, user: str) -> None:
    ran = run("register", "alice@example.com", "--user", user)
    assert (ran.code, ran.out) == (2, "")
    assert "Invalid value for '--user'" in ran.err


def test_a_password_without_a_user_is_wrong_usage(run: Run) -> None:
    ran = run("register", "alice@example.com", "--password-stdin")
    assert (ran.code, "--password-stdin needs --user" in ran.err) == (2, True)


@pytest.mark.parametrize("text", ["\n", "x\x07y\n", "x" * 1025 + "\n"])
def test_a_password_that_cannot_be_one_is_said(run: Run, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    ran = run("register", "alice@example.com", "--user", "alice", "--password-stdin")
    assert ran == (1, "", "reginfo: a password is 1 to 1024 printable characters\n")


def test_standard_input_is_one_thing(spawn: Spawn) -> None:
    _, err = spawn("publish", "alice@example.com", "-", "--user", "alice", "--password-stdin").communicate("x")
    assert "either the FILE or the password" in err
