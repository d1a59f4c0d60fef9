"""`reginfo compare` between running servers and dumps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reginfo.cli import compare as module
from reginfo.cli._locations import DumpedLocation, fingerprints
from tests.cli.conftest import Registrar, Run, Serve
from tests.cli.test_transfer import contact, lines
from tests.server_fixture import running_server

pytestmark = pytest.mark.network


def registration(aor: str, *contacts: dict[str, Any]) -> dict[str, Any]:
    return {"AoR": aor, "Contacts": [{"Address": f"{aor};n={n}", **one} for n, one in enumerate(contacts)]}


ALICE = registration("sip:alice@example.com", {"CSeq": 1, "Q": 0.5}, {"CSeq": 2})
BOB = registration("sip:bob@example.com", {"CSeq": 1, "User-Agent": "\x1b[2J"})
CAROL = registration("sip:carol@example.com", {"CSeq": 1})


def test_equal_dumps_differ_in_nothing_whatever_their_order(run: Run) -> None:
    one, other = lines("one", ALICE, BOB, CAROL), lines("other", CAROL, "", ALICE, BOB)
    assert run("compare", one, other) == (0, "", "")
    later = json.loads(json.dumps([ALICE, BOB, CAROL]))
    for document in later:
        for one_contact in document["Contacts"]:
            one_contact |= {"Expires-At": 5, "Contact-Id": "77", "Registered": 3, "Flow": "udp:1", "Event": "created"}
        document["Revision"] = 9
        document["Contacts"].reverse()
    assert run("compare", one, lines("later", *later)) == (0, "", "")


def test_what_differs_is_named_contact_by_contact(run: Run) -> None:
    changed = registration("sip:alice@example.com", {"CSeq": 7, "Q": 0.5})
    one, other = lines("one", ALICE, BOB), lines("other", changed, CAROL)
    ran = run("compare", one, other)
    assert ran.code == 1
    assert ran.out.splitlines() == [
        "sip:alice@example.com",
        "- sip:alice@example.com;n=1",
        "~ sip:alice@example.com;n=0  (CSeq 1 -> 7)",
        "sip:bob@example.com",
        "- sip:bob@example.com;n=0",
        "sip:carol@example.com",
        "+ sip:carol@example.com;n=0",
    ]
    found = [json.loads(line) for line in run("compare", one, other, "--json").out.splitlines()]
    assert [document["aor"] for document in found] == [ALICE["AoR"], BOB["AoR"], CAROL["AoR"]]
    assert found[0]["contacts"][1] == {
        "change": "changed",
        "address": "sip:alice@example.com;n=0",
        "differences": {"CSeq": {"before": 1, "after": 7}},
    }
    assert run("compare", lines("none"), lines("nobody")).code == 0
    assert run("compare", lines("none"), one).out.count("+") == 3


def test_running_servers_are_compared_with_each_other_and_with_a_dump(
    run: Run, registrar: Registrar, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    with running_server(folder, ["example.com", "example.net"]) as other:
        theirs = str(other.folder / "reginfo.sock")
        both = lines("both", contact("compared1", CSeq=1), contact("compared2", CSeq=1))
        for socket in registrar.socket, theirs:
            assert run("ul", "import", both, "--socket", socket).code == 0
        run("ul", "export", "dump", "--socket", registrar.socket)
        known = Path("dump").read_text().count("compared")
        assert run("compare", registrar.socket, "dump") == (0, "", "")
        run("ul", "add", "compared2@example.com", "sip:new@192.0.2.9", "--socket", theirs)
        ran = run("compare", registrar.socket, theirs)
        assert (ran.code, ran.out) == (1, "sip:compared2@example.com\n+ sip:new@192.0.2.9\n")
        assert known
        ran = run("compare", theirs, "dump")
        assert (ran.code, ran.out) == (1, "sip:compared2@example.com\n- sip:new@192.0.2.9\n")


@pytest.mark.parametrize("line", ["{", "3", "[]", '{"AoR": 3, "Contacts": 1}', '{"AoR": "a", "Contacts": [{}]}'])
def test_what_is_no_dump_is_named_with_its_line(run: Run, line: str) -> None:
    ran = run("compare", lines("good", ALICE), lines("bad", ALICE, line))
    assert (ran.code, ran.err) == (2, "reginfo: bad: line 2 is no registration of ul export\n")


def test_what_is_neither_server_nor_file_is_said(run: Run) -> None:
    assert run("compare", "absent", "absent") == (2, "", "reginfo: absent: No such file or directory\n")
    assert run("compare", "http://127.0.0.1:1/", "absent").code == 2


def test_names_that_share_a_fingerprint_are_still_told_apart(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reginfo.cli._locations.key_of", lambda aor: 1)
    monkeypatch.setattr(module, "key_of", lambda aor: 1)
    assert run("compare", lines("one", ALICE), lines("other", BOB)).code == 1


def test_a_fingerprint_takes_sixteen_octets(run: Run) -> None:
    dump = DumpedLocation(lines("one", ALICE, BOB))
    keys, contents = fingerprints(dump)
    dump.close()
    assert (keys.dtype, contents.nbytes) == (np.uint64, 16)


def test_a_server_that_fails_is_an_exit_code(run: Run, serve: Serve) -> None:
    serve({})
    ran = run("compare", "reginfo.sock", "reginfo.sock")
    assert ran.code == 2
    assert ran.err.startswith("reginfo: no method reg.export")
