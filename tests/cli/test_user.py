"""`reginfo user`: users added, changed, shown, removed and imported, and their passwords never seen."""

import io
import json
import os
import pty
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from reginfo.cli.user import BATCH
from reginfo.store.ha1 import ALGORITHMS
from tests.cli.conftest import Ran, Run, Typed
from tests.server_fixture import free_port

SCENARIO = """<?xml version="1.0" encoding="ISO-8859-1"?>
<scenario name="who">
  <send><![CDATA[
    OPTIONS sip:[field0]@[remote_ip]:[remote_port] SIP/2.0
    Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
    From: <sip:[field0]@example.com>;tag=[call_number]
    To: <sip:[field0]@example.com>
    Call-ID: [call_id]
    CSeq: 1 OPTIONS
    Content-Length: 0

  ]]></send>
</scenario>
"""
SHOWN = "alice  realm example.com  MD5, SHA-256, SHA-512-256\n"


class StandardInput(io.BytesIO):
    name = "<stdin>"


@pytest.fixture
def told(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `reginfo user`, the last argument on its standard input."""

    def call(*arguments: str) -> Ran:
        *rest, text = arguments
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(StandardInput(text.encode())))
        return run("user", *rest)

    return call


def test_a_user_is_added_shown_changed_and_removed(run: Run, told: Run) -> None:
    """AUT-12, SEC-6: neither the password nor a hash is printed."""
    assert told("add", "alice", "--password-stdin", "s3cret\n") == (0, "added alice\n", "")
    assert run("user", "show") == run("user", "show", "alice@Example.com") == (0, SHOWN, "")
    before = Path("subscriber.db").read_bytes()
    assert told("passwd", "alice", "--password-stdin", "other\r\n") == (0, "changed alice\n", "")
    assert Path("subscriber.db").read_bytes() != before
    shown = run("user", "show", "--json", "alice")
    assert json.loads(shown.out) == {
        "user": "alice",
        "realm": "example.com",
        "algorithms": list(ALGORITHMS),
        "password_in_clear": False,
    }
    assert not re.search("[0-9a-f]{32}", shown.out)
    assert b"s3cret" not in before + Path("subscriber.db").read_bytes()
    assert run("user", "rm", "-y", "alice") == (0, "removed alice\n", "")
    assert run("user", "show") == (0, "", "")


def test_who_is_there_is_not_added_again(told: Run) -> None:
    told("add", "alice", "--password-stdin", "s3cret")
    ran = told("add", "alice@example.com", "--password-stdin", "other")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "reginfo: alice@example.com is there already; reginfo user passwd changes the password\n"


@pytest.mark.parametrize("command", [["passwd", "bob", "--password-stdin"], ["rm", "-y", "bob"], ["show", "bob"]])
def test_who_is_not_there_is_not_found(told: Run, command: list[str]) -> None:
    told("add", "alice", "--password-stdin", "s3cret")
    assert told(*command, "pw") == (3, "", "reginfo: bob is no user of example.com\n")


@pytest.mark.parametrize("command", [["passwd", "bob", "--password-stdin"], ["rm", "-y", "bob"], ["show"]])
def test_only_adding_makes_a_database(told: Run, command: list[str]) -> None:
    ran = told(*command, "pw")
    assert (ran.code, ran.out) == (78, "")
    assert ran.err == "reginfo: auth.db_url: subscriber.db does not exist; reginfo user add makes it\n"
    assert os.listdir() == []


def test_removing_asks_first(told: Run, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    told("add", "alice", "--password-stdin", "s3cret")
    for typed, code in ("n\n", 1), ("y\n", 0):
        assert told("show", "").out == SHOWN
        monkeypatch.setattr("sys.stdin", Typed(typed))
        assert run("user", "rm", "alice").code == code
    assert told("rm", "alice", "y\n").code == 2


@pytest.mark.parametrize("password", ["", "\n", "p" * 1025, "p" * 100_000, "a\tb"])
def test_what_is_no_password_is_refused_and_not_repeated(told: Run, password: str) -> None:
    """SEC-6"""
    ran = told("add", "alice", "--password-stdin", password)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "reginfo: a password is 1 to 1024 printable characters\n"


@pytest.mark.parametrize("name", ["a:b", "", "a" * 65, "a\nb", "alice@elsewhere.example", "@example.com"])
def test_what_is_no_user_is_wrong_usage(told: Run, name: str) -> None:
    ran = told("add", name, "--password-stdin", "s3cret")
    assert (ran.code, ran.out) == (2, "")


def test_a_password_is_never_taken_from_a_pipe_unasked(told: Run) -> None:
    ran = told("add", "alice", "s3cret\n")
    assert (ran.code, ran.out) == (2, "")
    assert "--password-stdin" in ran.err


def test_a_terminal_is_asked_twice_and_shows_nothing(told: Run) -> None:
    """SEC-6"""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "reginfo", "user", "add", "alice"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    for prompt in (b"Password: ", b"Repeat for confirmation: "):
        while not seen.endswith(prompt):
            seen += os.read(ours, 1)
        os.write(ours, b"s3cret\n")
    assert process.wait(60) == 0
    assert b"s3cret" not in seen + os.read(ours, 1000)
    os.close(ours)
    assert told("show", "").out == SHOWN


def test_realm_and_database_are_those_of_the_configuration(run: Run, told: Run) -> None:
    """A user of another domain has it in his name, as nothing else tells him from one of the realm."""
    Path("etc.toml").write_text(
        'domains = ["a.example", "b.example"]\n[auth]\ndb_url = "sqlite:///other.db"\nrealm = "a.example"'
    )
    for name in ("alice@a.example", "alice@B.example"):
        assert told("add", name, "--password-stdin", "-c", "etc.toml", "s3cret").code == 0
    shown = run("user", "show", "-c", "etc.toml", "--json").out
    assert [json.loads(line)["user"] for line in shown.splitlines()] == ["alice", "alice@b.example"]
    assert {json.loads(line)["realm"] for line in shown.splitlines()} == {"a.example"}
    assert sorted(os.listdir()) == ["etc.toml", "other.db"]


# ---- import

FILE = """\
SEQUENTIAL
# user;authentication
alice;[authentication username=alice password=s3cret]
bob;example.com;[authentication password="two words" username="bob"];kept for the scenario
carol;[authentication password=x username=carol realm=ignored]
dave;[authentication password=x]
erin;example.com;pass word
frank;;x
"""


def test_users_come_from_a_file_of_sipp(run: Run) -> None:
    """AUT-12"""
    Path("users.csv").write_text(FILE)
    assert run("user", "import", "users.csv") == (0, "imported 6 users\n", "")
    shown = [line.split()[0] for line in run("user", "show").out.splitlines()]
    assert shown == ["alice", "bob", "carol", "dave", "erin", "frank"]
    Path("users.csv").write_bytes(b"\xef\xbb\xbfUSER\r\n\r\nalice;example.com;new\r\n")
    ran = run("user", "import", "--json", "users.csv")
    assert json.loads(ran.out) == {"file": "users.csv", "imported": 1}
    assert run("user", "show").out.count("alice") == 1


def test_standard_input_is_imported_in_batches(run: Run, told: Run) -> None:
    rows = "".join(f"user{number};;x\n" for number in range(BATCH + 1))
    assert told("import", "-", "RANDOM\n" + rows).out == f"imported {BATCH + 1} users\n"
    assert run("user", "show").out.count("\n") == BATCH + 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"bad", "neither user;domain;password nor user;[authentication username=... password=...]"),
        (b"a;b;c;d", "neither user;domain;password nor"),
        (b"bob;[authentication username=bob]", "must have one [authentication"),
        (b"bob;[authentication username=bob password=a b]", "must have one [authentication"),
        (b"bob;[authentication password=a];[authentication password=b]", "must have one [authentication"),
        (b"bob;[remote_ip]", "must have one [authentication"),
        (b"bob;elsewhere.example;pw", "elsewhere.example is neither the realm example.com nor"),
        (b"b:b;;pw", "a user name is 1 to 64 printable characters without a colon"),
        (b"bob;;", "a password is 1 to 1024 printable characters"),
        (b"b\xffb;;pw", "not UTF-8"),
        (b"b" * 8192 + b";;pw", "longer than 8192 octets"),
    ],
)
def test_a_bad_row_is_named_and_ends_the_import(run: Run, row: bytes, reason: str) -> None:
    Path("users.csv").write_bytes(b"SEQUENTIAL\nalice;;x\n" + row + b"\ncarol;;x\n")
    ran = run("user", "import", "users.csv")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"reginfo: users.csv: line 3: {reason}")
    assert ran.err.endswith("; imported 1 user before it\n")
    assert run("user", "show").out == SHOWN


@pytest.mark.parametrize("text", ["", "\n#\n", "alice;;x\n", "SEQUENTIAL,PRINTF=9\nalice%d;;x\n"])
def test_a_file_says_first_what_it_is(told: Run, text: str) -> None:
    ran = told("import", "-", text)
    assert ran.code == 1
    assert "the first line must be SEQUENTIAL, RANDOM or USER; imported 0 users before it" in ran.err


def test_a_row_as_long_as_may_be_is_read(run: Run) -> None:
    password = "p" * 1024
    row = f"alice;;{password}"
    comment = "#" + "x" * 8190
    Path("users.csv").write_text(f"SEQUENTIAL\n{comment}\n{row}\n")
    assert run("user", "import", "users.csv").code == 0


def test_the_imported_file_is_one_that_sipp_takes(sipp: Path, run: Run) -> None:
    Path("users.csv").write_text(FILE)
    Path("who.xml").write_text(SCENARIO)
    assert run("user", "import", "users.csv").code == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(60)
        target = f"127.0.0.1:{server.getsockname()[1]}"
        options = ["-i", "127.0.0.1", "-p", str(free_port("127.0.0.1")), "-m", "6", "-nostdin"]
        ran = subprocess.run(
            [sipp, target, "-sf", "who.xml", "-inf", "users.csv", *options],
            capture_output=True,
            text=True,
            env={**os.environ, "TERM": "dumb"},
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        seen = [server.recv(2000).split(b"@")[0].decode() for _ in range(6)]
    shown = [line.split()[0] for line in run("user", "show").out.splitlines()]
    assert sorted(seen) == sorted(f"OPTIONS sip:{name}" for name in shown)
