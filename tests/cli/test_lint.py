"""`reginfo lint`: whether reginfo documents can be read, and what other readers may stumble over."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Spawn

HEAD = '<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="3" state="full">'
CONTACT = '<contact id="c1" state="active" event="registered"><uri>sip:alice@192.0.2.1</uri></contact>'


def document(contact: str = CONTACT, state: str = "active") -> str:
    registration = f'<registration aor="sip:alice@example.com" id="r1" state="{state}">{contact}</registration>'
    return f"{HEAD}{registration}</reginfo>"


def test_a_document_without_fault_is_summed_up(run: Run) -> None:
    Path("state.xml").write_text(document())
    assert run("lint", "state.xml") == (
        0,
        "state.xml: ok, full state, version 3, registrations 1, contacts 1\n",
        "",
    )


def test_standard_input_is_read_for_a_dash(spawn: Spawn) -> None:
    out, err = spawn("lint", "-").communicate(document())
    assert (out, err) == ("<stdin>: ok, full state, version 3, registrations 1, contacts 1\n", "")


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (document(""), "active without an active contact (section 5.3.1)"),
        (document(state="terminated"), "terminated with an active contact (section 5.3.1)"),
        (document(CONTACT.replace("registered", "unregistered")), "active by event unregistered (section 5.2)"),
        (document(CONTACT.replace("registered", "moved")), "event is none of section 5.2"),
        (document(CONTACT.replace("registered", "shortened")), "shortened without expires (section 5.3.2)"),
        (
            document(CONTACT.replace('active" event="registered', 'terminated" event="probation'), "terminated"),
            "probation without retry-after (section 5.3.2)",
        ),
        (document(CONTACT.replace("sip:", "")), "uri: scheme missing"),
    ],
)
def test_what_others_may_stumble_over_is_a_warning(run: Run, text: str, warning: str) -> None:
    Path("state.xml").write_text(text)
    ran = run("lint", "state.xml")
    assert (ran.code, ran.err) == (0, "")
    *warnings, summary = ran.out.splitlines()
    assert [line.startswith("state.xml: warning: sip:alice@example.com: ") for line in warnings] == [True]
    assert warning.removeprefix("uri: ") in warnings[0]
    assert summary.startswith("state.xml: ok, ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "document: empty at octet 0"),
        ("<reginfo", "document: tag without end at octet 0"),
        ("<!DOCTYPE reginfo>" + HEAD + "</reginfo>", " at octet "),
        ("<presence/>", " at octet "),
    ],
)
def test_a_document_that_cannot_be_read_is_named_with_reason_and_place(run: Run, text: str, reason: str) -> None:
    Path("state.xml").write_text(text)
    ran = run("lint", "state.xml")
    assert (ran.code, ran.err) == (1, "")
    assert ran.out.startswith("state.xml: ")
    assert reason in ran.out
    assert ran.out.count("\n") == 1


def test_every_file_is_read_although_one_cannot_be(run: Run) -> None:
    Path("broken.xml").write_text("<")
    Path("state.xml").write_text(document(""))
    ran = run("lint", "broken.xml", "state.xml", "--json")
    assert ran.code == 1
    broken, fine = map(json.loads, ran.out.splitlines())
    assert (broken["file"], broken["offset"], broken["warnings"]) == ("broken.xml", 0, [])
    assert broken["error"]
    assert (fine["file"], fine["error"], fine["version"], fine["contacts"]) == ("state.xml", None, 3, 0)
    assert len(fine["warnings"]) == 1


def test_octets_of_a_stranger_reach_the_terminal_escaped(run: Run) -> None:
    Path("state.xml").write_text(document("").replace("sip:alice@", "sip:\x85\u202ealice@"))
    ran = run("lint", "state.xml")
    assert ran.out.replace("\n", "").isprintable()


@pytest.mark.parametrize(("file", "text"), [("absent.xml", "No such file or directory"), (".", "Is a directory")])
def test_what_cannot_be_opened_is_wrong_usage(run: Run, file: str, text: str) -> None:
    ran = run("lint", file)
    assert (ran.code, ran.out) == (2, "")
    assert f"'{file}': {text}" in ran.err
