"""`reginfo diff`: what differs between two reginfo documents."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Spawn

CONTACT = '<contact id="{id}" state="active" event="registered"{attributes}><uri>{uri}</uri></contact>'


def contact(uri: str, id_: str = "c1", attributes: str = "") -> str:
    return CONTACT.format(uri=uri, id=id_, attributes=attributes)


def write(name: str, *contacts: str) -> str:
    Path(name).write_text(
        '<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="full">'
        f'<registration aor="sip:alice@example.com" id="r1" state="active">{"".join(contacts)}</registration>'
        "</reginfo>"
    )
    return name


def test_documents_that_say_the_same_exit_0_in_silence(run: Run) -> None:
    before = write("before.xml", contact("sip:a@192.0.2.1;transport=udp"), contact("sip:b@192.0.2.1", "c2"))
    after = write("after.xml", contact("sip:b@192.0.2.1", "x2"), contact("sip:a@192.0.2.1;Transport=UDP", "x1"))
    assert run("diff", before, after) == (0, "", "")
    assert run("diff", before, after, "--json") == (0, "", "")


def test_every_kind_of_change_has_its_sign(run: Run) -> None:
    before = write("before.xml", contact("sip:gone@192.0.2.1"), contact("sip:kept@192.0.2.1", "c2"))
    after = write("after.xml", contact("sip:new@192.0.2.1"), contact("sip:kept@192.0.2.1", "c2", ' q="0.5"'))
    ran = run("diff", before, after)
    assert (ran.code, ran.err) == (1, "")
    assert ran.out.splitlines() == [
        "sip:alice@example.com  active",
        "- sip:gone@192.0.2.1",
        "+ sip:new@192.0.2.1",
        "~ sip:kept@192.0.2.1  (q - -> 0.5)",
    ]


def test_json_has_an_object_for_each_address_of_record(run: Run) -> None:
    before = write("before.xml", contact("sip:gone@192.0.2.1"), contact("sip:kept@192.0.2.1", "c2"))
    after = write("after.xml", contact("sip:new@192.0.2.1"), contact("sip:kept@192.0.2.1", "c2", ' q="0.5"'))
    ran = run("diff", before, after, "--json")
    assert (ran.code, ran.out.count("\n")) == (1, 1)
    assert json.loads(ran.out) == {
        "aor": "sip:alice@example.com",
        "state": "active",
        "contacts": [
            {"change": "removed", "uri": "sip:gone@192.0.2.1", "differences": {}},
            {"change": "added", "uri": "sip:new@192.0.2.1", "differences": {}},
            {"change": "changed", "uri": "sip:kept@192.0.2.1", "differences": {"q": {"before": None, "after": 0.5}}},
        ],
    }


@pytest.mark.parametrize("order", [("good.xml", "broken.xml"), ("broken.xml", "good.xml")])
def test_a_document_that_cannot_be_read_exits_2_and_is_named(run: Run, order: tuple[str, str]) -> None:
    write("good.xml", contact("sip:a@192.0.2.1"))
    Path("broken.xml").write_text("<reginfo")
    assert run("diff", *order) == (2, "", "reginfo: broken.xml: document: tag without end (at octet 0)\n")


@pytest.mark.parametrize("arguments", [["good.xml"], ["good.xml", "absent.xml"], ["absent.xml", "good.xml"], []])
def test_a_document_that_is_missing_is_wrong_usage(spawn: Spawn, arguments: list[str]) -> None:
    write("good.xml", contact("sip:a@192.0.2.1"))
    process = spawn("diff", *arguments)  # click leaves the file open that it could open: a warning in this process
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    assert "Error: " in err
    assert "Traceback" not in err
