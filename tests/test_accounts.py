"""Passwords at other servers: where they are read, and two servers that ask each other's (AUT-11, SEC-6)."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reginfo.admin.control import ControlClient
from reginfo.config import Config, PeerSection, load_config, render
from reginfo.errors import ConfigError
from reginfo.server.accounts import open_accounts
from reginfo.sip.authorization import Account
from reginfo.sip.routing import Hop
from tests.server_fixture import PATIENCE, RunningServer, running_server

PASSWORD = "s3cret"


def config(file: Path, **peer: object) -> Config:
    section = {"name": "west", "uri": "sip:192.0.2.1", "username": "east", "password_file": str(file), **peer}
    return Config(peer=(PeerSection(**section),))  # type: ignore[arg-type]


def test_the_first_line_is_the_password(tmp_path: Path) -> None:
    """AUT-11: for the place of the URI, and for the addresses that are named beside it."""
    file = tmp_path / "west"
    file.write_text(f"{PASSWORD}\nand a note\n")
    accounts = open_accounts(config(file, realm="r"))
    assert accounts.of(Hop("udp", "192.0.2.1", 5060)) == Account("east", PASSWORD, "r")
    assert accounts.of(Hop("udp", "192.0.2.1", 5062)) is None
    assert accounts.at("192.0.2.1") is None
    assert open_accounts(config(file, addresses=("192.0.2.0/24",))).at("192.0.2.1") == Account("east", PASSWORD)
    assert open_accounts(Config()).at("192.0.2.1") is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "a password is 1 to 1024 printable characters"),
        (b"\n", "a password is 1 to 1024 printable characters"),
        (b"hunter2" * 147 + b"\n", "a password is 1 to 1024 printable characters"),
        (b"hunter2\xff\n", "not UTF-8"),
    ],
)
def test_a_file_that_has_none_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    """SEC-6: and nothing of what is in it."""
    file = tmp_path / "west"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        open_accounts(config(file))
    assert str(caught.value).startswith(f"peer.password_file: {file}: {reason}")
    assert "hunter2" not in str(caught.value)


def test_what_is_no_name_of_a_file_is_refused() -> None:
    """AUT-11: also on SIGHUP, where nothing else than ConfigError leaves all as it is."""
    with pytest.raises(ConfigError, match=r"^peer\.password_file: 'a\\x00b': embedded null byte"):
        open_accounts(config(Path("a\0b")))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"username": ""}, "peer.username and peer.password_file go together"),
        ({"password_file": ""}, "peer.username and peer.password_file go together"),
        ({"username": "a:b"}, "without a colon"),
        ({"username": "a\nb"}, "printable"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, str], message: str) -> None:
    """AUT-8, AUT-11"""
    with pytest.raises(ConfigError, match=message):
        config(Path("west"), **given)


def test_the_configuration_is_printed_without_the_password(tmp_path: Path) -> None:
    """SEC-6"""
    (tmp_path / "west").write_text("hunter2\n")
    file = tmp_path / "reginfo.toml"
    peer = f'name = "west"\nuri = "sip:192.0.2.1"\nusername = "east"\npassword_file = "{tmp_path / "west"}"\n'
    file.write_text(f"[[peer]]\n{peer}")
    printed = render(load_config(file, environ={}))
    assert 'username = "east"' in printed
    assert "hunter2" not in printed


# -- two servers


def reginfo(folder: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reginfo", *arguments]
    return subprocess.run(command, cwd=folder, input=given, text=True, capture_output=True, timeout=60, check=False)


def add_user(folder: Path, name: str, password: str = PASSWORD) -> None:
    (folder / "users.toml").write_text("[auth]\nenabled = true\n")
    verb = "passwd" if (folder / "subscriber.db").exists() and name in shown_users(folder) else "add"
    done = reginfo(folder, "user", verb, name, "--password-stdin", "-c", "users.toml", given=f"{password}\n")
    assert done.returncode == 0, done.stderr


def shown_users(folder: Path) -> str:
    return reginfo(folder, "user", "show", "-c", "users.toml").stdout


def contacts(server: RunningServer, aor: str) -> list[str]:
    with ControlClient(str(server.folder / "reginfo.sock")) as client:
        found = client.call("ul.dump", [])["AoRs"]
    return [one["Address"] for registration in found if registration["AoR"] == aor for one in registration["Contacts"]]


def eventually(look: Callable[[], bool], server: RunningServer) -> None:
    deadline = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < deadline, server.log.read_text()[-2000:]
        time.sleep(0.02)


AUTH = '[auth]\nenabled = true\n[store]\nurl = "memory:"\n'


@pytest.mark.network
def test_two_servers_that_ask_everybody_are_in_sync(tmp_path: Path) -> None:
    """AUT-11: what is registered at east is published to west, and east follows bob there, both with a password; one
    that changes there is refused until SIGHUP brings it here."""
    west_folder, east_folder = tmp_path / "west", tmp_path / "east"
    for folder in (west_folder, east_folder):
        folder.mkdir()
        for user in ("alice", "bob", "east"):
            add_user(folder, user)
    trust = '[notifier]\nallow = ["sip:east@example.com"]\n[compositor]\npublishers = ["sip:east@example.com"]\n'
    with running_server(west_folder, ["example.com"], AUTH + trust) as west:
        uri = "sip:{}:{}".format(*west.udp)
        (east_folder / "password").write_text(f"{PASSWORD}\n")
        options = (
            f'{AUTH}[pua_reginfo]\noutbound_proxy = "{uri}"\nsubscribe = ["sip:bob@example.com"]\n'
            f'[[peer]]\nname = "west"\nuri = "{uri}"\nusername = "east"\npassword_file = "password"\n'
        )
        with running_server(east_folder, ["example.com"], options) as east:

            def register(server: RunningServer, user: str, contact: str, password: str = PASSWORD) -> None:
                where = ("--server", "sip:{}:{}".format(*server.udp), "--user", user, "--password-stdin")
                done = reginfo(tmp_path, "register", f"{user}@example.com", contact, *where, given=f"{password}\n")
                assert done.returncode == 0, done.stderr

            register(east, "alice", "sip:phone@192.0.2.1")
            eventually(lambda: contacts(west, "sip:alice@example.com") == ["sip:phone@192.0.2.1"], east)
            register(west, "bob", "sip:phone@192.0.2.2")
            eventually(lambda: contacts(east, "sip:bob@example.com") == ["sip:phone@192.0.2.2"], east)

            add_user(west_folder, "east", "changed")

            def is_refused() -> bool:
                register(east, "alice", "sip:phone@192.0.2.1")  # west looks at its table once a second
                return 'event="password refused"' in east.log.read_text()

            eventually(is_refused, east)
            register(east, "alice", "sip:desk@192.0.2.1")
            assert contacts(west, "sip:alice@example.com") == ["sip:phone@192.0.2.1"]

            (east_folder / "password").write_text("\n")
            east.process.send_signal(signal.SIGHUP)
            eventually(lambda: "configuration kept" in east.log.read_text(), east)
            (east_folder / "password").write_text("changed\n")
            east.process.send_signal(signal.SIGHUP)
            eventually(lambda: "configuration read again" in east.log.read_text(), east)
            register(east, "bob", "sip:desk@192.0.2.2")  # news of another AoR is not held back
            eventually(lambda: "sip:desk@192.0.2.2" in contacts(west, "sip:bob@example.com"), east)
            assert PASSWORD not in east.log.read_text()
