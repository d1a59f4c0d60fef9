"""`reginfo ul import` and `export` over a running server; tests/interop has Kamailio on the other side."""

import csv
import json
import sqlite3
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from reginfo.cli import _kamailio_table as kamailio
from reginfo.cli._contact_files import read_contacts, write_contacts
from reginfo.cli._locations import DumpedLocation, fingerprints, key_of
from reginfo.cli.transfer import MAX_OCTETS, batches
from tests.cli.conftest import Registrar, Run, Typed
from tests.server_fixture import running_server

pytestmark = pytest.mark.network


def lines(name: str, *documents: Any) -> str:
    Path(name).write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in documents))
    return name


def contact(user: str, **changed: Any) -> dict[str, Any]:
    return {"AoR": f"sip:{user}@example.com", "Address": f"sip:{user}@192.0.2.1", "Expires": 600, **changed}


def exported(run: Run, registrar: Registrar) -> dict[str, Any]:
    ran = run("ul", "export", "-", "--socket", registrar.socket)
    assert ran.code == 0
    return {one["AoR"]: one["Contacts"] for one in map(json.loads, ran.out.splitlines())}


def test_an_export_is_imported_elsewhere_with_everything_in_it(run: Run, registrar: Registrar, tmp_path: Path) -> None:
    reach = ("--socket", registrar.socket)
    full = contact("full", Q=0.3, CSeq=3, Path="<sip:p.example.com;lr>", Params=';methods="INVITE"', **{"Call-ID": "1"})
    assert run("ul", "import", lines("in.ndjson", full), *reach).out.startswith("added 1, ")
    for form, name in ("ndjson", "out.ndjson"), ("kamailio", "out.csv"), (None, "sqlite:out.db"):
        chosen = () if form is None else ("--format", form)
        assert run("ul", "export", name, *chosen, *reach).code == 0
        folder = tmp_path / f"other-{form}"
        folder.mkdir()
        with running_server(folder, ["example.com", "example.net"]) as other:
            socket = str(other.folder / "reginfo.sock")
            assert run("ul", "import", name, *chosen, "--socket", socket).code == 0
            after = exported(run, registrar._replace(socket=socket))["sip:full@example.com"][0]
        before = exported(run, registrar)["sip:full@example.com"][0]
        for field in ("Address", "Q", "CSeq", "Path", "Params", "Call-ID", "User-Agent", "Received", "Instance"):
            assert after[field] == before[field]
        assert after["Expires-At"] == pytest.approx(before["Expires-At"], abs=1.1)


def test_bad_lines_are_named_one_by_one_and_the_rest_goes_on(run: Run, registrar: Registrar) -> None:
    source = lines(
        "bad.ndjson",
        contact("good1"),
        "{not json",
        "[1, 2]",
        "",
        {"AoR": "sip:x@example.com", "Contacts": 3},
        {"AoR": "sip:two@example.com", "Contacts": [{"Address": "sip:a@b", "Expires": 60}, {"Address": 3}]},
        contact("foreign", AoR="sip:foreign@example.org"),
        contact("theirs", Origin="peer:east"),
        contact("long", **{"User-Agent": "x" * MAX_OCTETS}),
        contact("good2"),
    )
    ran = run("ul", "import", source, "--socket", registrar.socket)
    assert ran.code == 1
    assert ran.out == "added 3, replaced 0, expired 0, skipped 1, failed 6\n"
    named = [line.partition(": ")[0] for line in ran.err.splitlines()]
    assert sorted(named) == sorted(["line 2", "line 3", "line 5", "line 6, contact 2", "line 7", "line 9"])
    again = run("ul", "import", source, "--socket", registrar.socket, "--json")
    assert json.loads(again.out) == {
        **{"source": source, "added": 0, "replaced": 3, "expired": 0, "skipped": 1, "failed": 6},
    }


def test_octets_that_are_no_text_cost_their_line(run: Run, registrar: Registrar) -> None:
    Path("latin").write_bytes(json.dumps(contact("latin1")).encode() + b"\n\xff\xfe\n" + b'{"AoR": "\xff"}\n')
    ran = run("ul", "import", "latin", "--socket", registrar.socket)
    assert (ran.code, ran.out[:8]) == (1, "added 1,")
    assert len(ran.err.splitlines()) == 2


def test_more_contacts_than_a_request_may_hold(run: Run, registrar: Registrar) -> None:
    many = [contact(f"many{n}", **{"User-Agent": "x" * (n * 9)}) for n in range(400)]
    assert run("ul", "import", lines("many", *many), "--socket", registrar.socket).out.startswith("added 400, ")
    assert len([aor for aor in exported(run, registrar) if aor.startswith("sip:many")]) == 400


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["ul", "import", "absent"], 1, "absent: No such file or directory"),
        (["ul", "import", "sqlite:absent"], 1, "absent: no such file"),
        (["ul", "import", "sqlite:text"], 1, "text: file is not a database"),
        (["ul", "import", "sqlite:empty.db"], 1, "empty.db: no table location with column contact"),
        (["ul", "import", "text", "--format", "kamailio"], 1, "text: no column contact in the first line"),
        (["ul", "import", "sqlite:empty.db", "--format", "ndjson"], 2, "has Kamailio's columns"),
        (["ul", "export", "sqlite:text", "-y"], 1, "text: file is not a database"),
        (["ul", "export", "no/such/folder"], 1, "No such file or directory"),
        (["ul", "export", "text"], 2, "Replace what is in text? There is no terminal to ask on: give -y"),
    ],
)
def test_what_cannot_be_read_or_written_is_one_line(
    run: Run, registrar: Registrar, arguments: list[str], code: int, error: str
) -> None:
    Path("text").write_text("not a database, " * 100)
    with closing(sqlite3.connect("empty.db")) as database:
        database.execute("CREATE TABLE other (x)")
    ran = run(*arguments, "--socket", registrar.socket)
    assert (ran.code, ran.out) == (code, "")
    assert error in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not Path("text.part").exists()


def test_an_export_replaces_what_is_there_if_it_is_told_to(
    run: Run, registrar: Registrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach = ("--socket", registrar.socket)
    for name in "there.ndjson", "sqlite:there.db":
        assert run("ul", "export", name, *reach).code == 0
        run("ul", "import", lines("in", contact("replaced")), *reach)
        monkeypatch.setattr("sys.stdin", Typed("n\n"))
        assert run("ul", "export", name, *reach).code == 1
        monkeypatch.setattr("sys.stdin", Typed("y\n"))
        assert run("ul", "export", name, *reach).code == 0
        ran = run("ul", "export", name, "-y", "--json", *reach)
        assert json.loads(ran.out)["target"] == name
    assert Path("there.ndjson").stat().st_mode & 0o777 == 0o600


def test_instants_of_a_table_are_read_however_a_database_keeps_them() -> None:
    now = 1_700_000_000
    assert kamailio.instant_of(now, "expires") == now
    assert kamailio.instant_of(str(now), "expires") == now
    assert kamailio.instant_of(kamailio.julian(now), "expires") == pytest.approx(now, abs=0.001)
    assert kamailio.instant_of(kamailio.local_text(now), "expires") == now
    assert kamailio.instant_of(None, "expires") == 0
    for bad in "soon", "nan", b"x", float("inf"):
        with pytest.raises(ValueError, match=r"expires: .* is no instant"):
            kamailio.instant_of(bad, "expires")


def test_a_contact_that_never_ends_there_lasts_as_long_as_possible_here() -> None:
    row = {"username": "alice", "contact": "sip:a@b", "expires": 0}
    assert kamailio.contact_of(row, "example.com", 5.0)["Expires-At"] == 5 + 2**32 - 1


def test_csv_has_the_columns_and_the_instants_of_a_sql_client(run: Run, registrar: Registrar) -> None:
    reach = ("--socket", registrar.socket)
    run("ul", "import", lines("in", contact("csv,1")), *reach)
    ran = run("ul", "export", "-", "--format", "kamailio", *reach)
    found = {row["username"]: row for row in csv.DictReader(ran.out.splitlines())}
    row = found["csv,1"]
    assert list(row) == list(kamailio.COLUMNS)
    assert row["domain"] == "example.com"
    assert time.mktime(time.strptime(row["expires"], "%Y-%m-%d %H:%M:%S")) == pytest.approx(time.time() + 600, abs=60)


ROWS = 5_000


def registrations() -> Iterator[dict[str, Any]]:
    """Yield what a server exports, one AoR after the other."""
    for number in range(ROWS):
        bound = contact(f"user{number}") | {"Expires-At": 2e9, "Last-Modified": 1e9, "Contact-Id": "1", "CSeq": number}
        absent = dict.fromkeys(("Q", "Call-ID", "User-Agent", "Received", "Path", "Params", "Instance", "Reg-Id"))
        yield {"AoR": bound.pop("AoR"), "Id": f"{number:016x}", "Contacts": [{**absent, **bound, "Origin": "local"}]}


@contextmanager
def little_memory(octets: int) -> Iterator[None]:
    """Fail if the block held more at any time; all ROWS at once take some ten million."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < octets


@pytest.mark.parametrize(("name", "form"), [("out", "ndjson"), ("out", "kamailio"), ("sqlite:out", "kamailio")])
def test_memory_does_not_grow_with_the_number_of_contacts(name: str, form: str) -> None:
    with little_memory(3_000_000):
        write_contacts(name, form, registrations())
    totals = {"skipped": 0, "failed": 0}
    with little_memory(3_000_000):
        found = sum(len(batch) for batch in batches(read_contacts(name, form, "example.com", 0.0), totals))
    assert (found, totals) == (ROWS, {"skipped": 0, "failed": 0})


def test_a_comparison_holds_some_octets_for_each_aor() -> None:
    write_contacts("out", "ndjson", registrations())
    dump = DumpedLocation("out")
    with little_memory(1_000_000 + 64 * ROWS):
        keys, _ = fingerprints(dump)
        assert dump.find("sip:user77@example.com", key_of("sip:user77@example.com"))
    dump.close()
    assert len(keys) == ROWS
