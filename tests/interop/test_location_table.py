"""Kamailio's table `location`: what the real one has written is imported, and an export is what it answers from."""

import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reginfo.cli._kamailio_table import COLUMNS, METHODS, TABLE_VERSION
from tests.interop.kamailio import SCRIPTS, Registrar, eventually, registrar
from tests.server_fixture import running_server

pytestmark = pytest.mark.network

URN = "urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF"
PATH = "<sip:edge.example.com;lr>,<sip:core.example.net;lr;ob>"
RECEIVED = "sip:198.51.100.7:40000"

OPTIONS = """
loadmodule "db_sqlite.so"
modparam("usrloc", "db_url", "sqlite:///{}")
modparam("usrloc", "db_mode", {})
"""
CONTACTS = {
    "alice": (f'<sip:alice@192.0.2.1:5070>;q=0.5;+sip.instance="<{URN}>";reg-id=1', 600),
    "bob": ('"Bob" <sip:bob@192.0.2.2;transport=tcp>;methods="INVITE,ACK,BYE"', 900),
    "a&b": ("<sip:odd@[2001:db8::1]>", 1200),
}
"User -> a Contact, and for how many seconds."


def new_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        for script in ("standard", "usrloc"):
            database.executescript((SCRIPTS / "db_sqlite" / f"{script}-create.sql").read_text())


def register(server: Registrar, user: str, contact: str, expires: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.connect(server.address)
        phone.settimeout(10)
        here = "{}:{}".format(*phone.getsockname())
        path = f"Supported: path\r\nPath: {PATH}\r\n" if user == "alice" else ""
        phone.send(
            (
                f"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{user}\r\n"
                f"From: <sip:{user}@example.com>;tag=1\r\nTo: <sip:{user}@example.com>\r\nCall-ID: {user}@{here}\r\n"
                f"CSeq: 7 REGISTER\r\nMax-Forwards: 70\r\nUser-Agent: Phone/1.0\r\nContact: {contact}\r\n"
                f"Expires: {expires}\r\n{path}Content-Length: 0\r\n\r\n"
            ).encode()
        )
        assert phone.recv(65_536).startswith(b"SIP/2.0 200 ")


def rows(path: Path) -> dict[str, dict[str, Any]]:
    """Return the table by user."""
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        return {row["username"]: dict(row) for row in database.execute("SELECT * FROM location")}


def reginfo(*arguments: str, code: int = 0, **keywords: Any) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run([sys.executable, "-m", "reginfo", *arguments], capture_output=True, text=True, **keywords)
    assert ran.returncode == code, ran.stderr
    return ran


@pytest.fixture(scope="module")
def written(kamailio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that Kamailio has written, with flags as its script would have set them."""
    folder = tmp_path_factory.mktemp("written")
    path = folder / "location.db"
    new_database(path)
    with registrar(folder, ("127.0.0.1", 9), publish=False, options=OPTIONS.format(path, 1)) as server:
        for user, (contact, expires) in CONTACTS.items():
            register(server, user, contact, expires)
        eventually(lambda: len(rows(path)) == len(CONTACTS), "Kamailio writes")
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE location SET flags = 3, cflags = 64, received = ? WHERE username = 'bob'", (RECEIVED,))
        database.commit()
    return path


@pytest.fixture
def imported(written: Path, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """How the commands reach a server with the contacts of `written`."""
    with running_server(tmp_path, ["example.com"], '[store]\nurl = "memory:"\n') as server:
        reach = ("--socket", str(server.folder / "reginfo.sock"))
        ran = reginfo("ul", "import", f"sqlite:{written}", "--domain", "example.com", *reach)
        assert ran.stdout == "added 3, replaced 0, expired 0, skipped 0, failed 0\n"
        yield reach


def test_what_kamailio_has_written_is_bound_here(imported: tuple[str, ...], written: Path) -> None:
    lines = reginfo("ul", "show", "--json", *imported).stdout.splitlines()
    found = {one["AoR"]: one["Contacts"][0] for one in map(json.loads, lines)}
    assert set(found) == {f"sip:{user}@example.com" for user in CONTACTS}
    alice, bob = found["sip:alice@example.com"], found["sip:bob@example.com"]
    assert (alice["Address"], alice["Q"], alice["CSeq"]) == ("sip:alice@192.0.2.1:5070", 0.5, 7)
    assert (alice["Instance"], alice["Reg-Id"], alice["Path"]) == (URN, 1, PATH)
    assert (alice["User-Agent"], alice["Event"], alice["Origin"]) == ("Phone/1.0", "created", "local")
    assert alice["Call-ID"] == rows(written)["alice"]["callid"]
    assert 500 < alice["Expires"] <= 600 < bob["Expires"] <= 900
    assert (bob["Q"], bob["Received"]) == (None, RECEIVED)
    assert bob["Params"] == ';methods="INVITE,ACK,BYE";kamailio-flags=3;kamailio-cflags=64'


def test_an_export_has_the_rows_that_were_imported(imported: tuple[str, ...], written: Path, tmp_path: Path) -> None:
    target = tmp_path / "back.db"
    assert reginfo("ul", "export", f"sqlite:{target}", *imported).stdout == "aors 3, contacts 3\n"
    before, after = rows(written), rows(target)
    assert set(after) == set(before)
    others = {"id", "ruid", "domain", "socket", "expires", "last_modified"}
    for user, row in before.items():
        assert {name: after[user][name] for name in COLUMNS if name not in others} == {
            name: row[name] for name in COLUMNS if name not in others
        }
        assert after[user]["expires"] == pytest.approx(row["expires"], abs=2 / 86_400)
        assert after[user]["last_modified"] == pytest.approx(row["last_modified"], abs=2 / 86_400)


@pytest.mark.parametrize("use_domain", [False, True])
@pytest.mark.parametrize("ours", [False, True], ids=["its schema", "our schema"])
def test_kamailio_loads_an_export_and_answers_look_ups(
    imported: tuple[str, ...], written: Path, tmp_path: Path, use_domain: bool, ours: bool
) -> None:
    folder = tmp_path / "kamailio"
    folder.mkdir()
    path = folder / "location.db"
    if not ours:
        new_database(path)
    reginfo("ul", "export", f"sqlite:{path}", *imported)
    options = OPTIONS.format(path, 1)
    with registrar(folder, ("127.0.0.1", 9), publish=False, use_domain=use_domain, options=options) as server:
        found = {row.aor.partition("@")[0]: row for row in server.ul_dump()}
        assert set(found) == set(CONTACTS)
        alice = found["alice"]
        assert (alice.uri, alice.q, alice.cseq) == ("sip:alice@192.0.2.1:5070", 0.5, 7)
        assert (alice.instance, alice.reg_id, alice.path) == (f"<{URN}>", 1, PATH)
        assert alice.expires is not None
        assert 480 < alice.expires <= 600
        target = server.lookup("sip:bob@example.com")
        assert target is not None
        assert (target.uri, target.next_hop) == ("sip:bob@192.0.2.2;transport=tcp", RECEIVED)
        assert server.lookup("sip:carol@example.com") is None


def test_the_columns_are_those_of_the_installed_kamailio(kamailio: Path, tmp_path: Path) -> None:
    path = tmp_path / "schema.db"
    new_database(path)
    with closing(sqlite3.connect(path)) as database:
        names = [column[1] for column in database.execute("PRAGMA table_info(location)")]
        versions = database.execute("SELECT table_version FROM version WHERE table_name = 'location'").fetchall()
    assert names == ["id", *COLUMNS]
    assert versions == [(TABLE_VERSION,)]


def test_methods_have_the_bits_of_the_installed_kamailio(kamailio: Path, tmp_path: Path) -> None:
    path = tmp_path / "location.db"
    new_database(path)
    with registrar(tmp_path, ("127.0.0.1", 9), publish=False, options=OPTIONS.format(path, 1)) as server:
        for method in METHODS:
            register(server, method.lower(), f'<sip:{method}@192.0.2.9>;methods="{method}"', 600)
        eventually(lambda: len(rows(path)) == len(METHODS), "Kamailio writes")
    assert {user: row["methods"] for user, row in rows(path).items()} == {
        method.lower(): 1 << bit for bit, method in enumerate(METHODS)
    }


def test_a_table_that_kamailio_still_writes_is_read(kamailio: Path, tmp_path: Path) -> None:
    """db_mode 2: rows come with the timer, in a transaction of their own."""
    path = tmp_path / "location.db"
    new_database(path)
    with registrar(tmp_path, ("127.0.0.1", 9), publish=False, options=OPTIONS.format(path, 2)) as server:
        register(server, "alice", "<sip:alice@192.0.2.1>", 600)
        eventually(lambda: len(rows(path)) == 1, "Kamailio writes")
        folder = tmp_path / "server"
        folder.mkdir()
        with running_server(folder, ["example.com"], '[store]\nurl = "memory:"\n') as ours:
            reach = ("--socket", str(ours.folder / "reginfo.sock"), "--domain", "example.com")
            ran = reginfo("ul", "import", f"sqlite:{path}", *reach)
            assert ran.stdout.startswith("added 1, ")
            copy = shutil.copy(path, tmp_path / "copy.db")
            with closing(sqlite3.connect(copy)) as database:
                database.execute("UPDATE location SET contact = 'nonsense' WHERE username = 'alice'")
                database.execute(
                    "INSERT INTO location (ruid, username, contact, expires) VALUES "
                    "('1', 'bob', 'sip:bob@192.0.2.2', ?), ('2', 'late', 'sip:late@192.0.2.3', ?)",
                    (time.time() / 86_400 + 2_440_588.5, 2_460_000.5),
                )
                database.commit()
            ran = reginfo("ul", "import", f"sqlite:{copy}", *reach, code=1)
            assert ran.stdout == "added 1, replaced 0, expired 1, skipped 0, failed 1\n"
            assert ran.stderr.startswith("row 1: ")
