"""`reginfo publish` against a real server, whose watchers see what is published."""

import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Registrar, Run

pytestmark = pytest.mark.network

DOCUMENT = """\
<?xml version="1.0"?>
<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="full">
  <registration aor="sip:{user}@example.com" id="r1" state="active">
    <contact id="c1" state="active" event="registered" expires="600" callid="1@phone" cseq="1">
      <uri>sip:{user}@{host}</uri>
    </contact>
  </registration>
</reginfo>
"""


def document(user: str, host: str = "192.0.2.1") -> str:
    """Write a document that binds one contact, and return the name of its file."""
    Path("state.xml").write_text(DOCUMENT.format(user=user, host=host))
    return "state.xml"


def contacts(run: Run, registrar: Registrar, user: str) -> list[str]:
    """Return what a watcher sees of an address-of-record."""
    ran = run("watch", f"{user}@example.com", "--once", "--json", "--server", registrar.udp)
    return [contact["uri"] for contact in json.loads(ran.out)["contacts"]]


def test_a_publication_is_begun_modified_refreshed_and_removed(run: Run, registrar: Registrar) -> None:
    publish = ("publish", "all@example.com", "--server", registrar.udp)
    first = run(*publish, document("all"))
    assert (first.code, first.err) == (0, "")
    assert contacts(run, registrar, "all") == ["sip:all@192.0.2.1"]

    second = run(*publish, document("all", "192.0.2.2"), "--etag", first.out.strip())
    assert second.code == 0
    assert contacts(run, registrar, "all") == ["sip:all@192.0.2.2"]

    third = run(*publish, "--etag", second.out.strip())
    assert third.code == 0
    assert contacts(run, registrar, "all") == ["sip:all@192.0.2.2"]

    assert run(*publish, "--etag", third.out.strip(), "--expires", "0").code == 0
    assert contacts(run, registrar, "all") == []
    tags = [first.out, second.out, third.out]
    assert len(set(tags)) == 3
    assert all(tag.strip() for tag in tags)


def test_json_has_entity_tag_and_lifetime(run: Run, registrar: Registrar) -> None:
    options = ("--json", "--expires", "600", "--server", registrar.tcp)
    answer = json.loads(run("publish", "json@example.com", document("json"), *options).out)
    assert (answer["aor"], answer["expires"]) == ("sip:json@example.com", 600)
    assert answer["etag"]


def test_standard_input_is_read_for_a_dash(run: Run, registrar: Registrar, monkeypatch: pytest.MonkeyPatch) -> None:
    body = DOCUMENT.format(user="stdin", host="192.0.2.1").encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(body)))
    assert run("publish", "stdin@example.com", "-", "--server", registrar.udp).code == 0
    assert contacts(run, registrar, "stdin") == ["sip:stdin@192.0.2.1"]


@pytest.mark.parametrize(
    ("aor", "user", "answer"),
    [
        ("bob@example.com", "alice", "403 Document speaks of another address-of-record"),
        ("alice@example.org", "alice", "404 Domain is not served here"),
    ],
)
def test_another_address_of_record_is_refused_by_the_server(
    run: Run, registrar: Registrar, aor: str, user: str, answer: str
) -> None:
    ran = run("publish", aor, document(user), "--server", registrar.udp)
    assert ran == (1, "", f"reginfo: the server answers {answer}\n")


def test_an_entity_tag_that_the_server_has_not_given_is_refused(run: Run, registrar: Registrar) -> None:
    ran = run("publish", "tag@example.com", "--etag", "unknown", "--server", registrar.udp)
    assert ran == (1, "", "reginfo: the server answers 412 Conditional Request Failed\n")


def test_an_unreachable_server_is_one_line(run: Run, closed: str) -> None:
    ran = run("publish", "alice@example.com", document("alice"), "--server", closed)
    assert ran == (4, "", f"reginfo: udp:{closed.removeprefix('sip:')} cannot be reached\n")


@pytest.mark.parametrize("options", [(), ("--etag", "known")])
@pytest.mark.parametrize(("text", "reason"), [("<reginfo", "tag without end"), ("", "empty")])
def test_a_document_that_cannot_be_read_is_not_sent(run: Run, text: str, reason: str, options: tuple[str, ...]) -> None:
    Path("broken.xml").write_text(text)
    ran = run("publish", "alice@example.com", "broken.xml", *options)
    assert ran == (1, "", f"reginfo: broken.xml: document: {reason} (at octet 0)\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["alice@example.com"], "Give a FILE, or the --etag of what is to be refreshed."),
        (["alice@example.com", "absent.xml"], "'absent.xml': No such file or directory"),
        (["alice@example.com", "."], "'.': Is a directory"),
        (["@example.com", "state.xml"], "Invalid value for 'AOR': "),
        (["alice@example.com", "--etag", ""], "Invalid value for '--etag': must be a token"),
        (["alice@example.com", "--etag", "a b"], "Invalid value for '--etag': must be a token"),
        (["alice@example.com", "--etag", "a\r\nX: y"], "Invalid value for '--etag': must be a token"),
        (["alice@example.com", "--etag", "\udcff"], "Invalid value for '--etag': must be a token"),
        (["alice@example.com", "--etag", "t", "--expires", "-1"], "Invalid value for '--expires'"),
    ],
)
def test_wrong_usage_is_named(run: Run, arguments: list[str], text: str) -> None:
    document("alice")
    ran = run("publish", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert text in ran.err.partition("\nError: ")[2]
