"""The administrative verbs of RFC 3680 section 5.2, as a watcher of a real server is told of them."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.conftest import Registrar, Run, Spawn, Typed

pytestmark = pytest.mark.network

CONTACT = "sip:phone@192.0.2.1"

Heard = Callable[[], dict[str, Any]]


def watching(spawn: Spawn, registrar: Registrar, aor: str) -> Heard:
    """Watch an address-of-record, and return what waits for the next that is heard of it."""
    watcher: subprocess.Popen[str] = spawn("watch", aor, "--json", "--server", registrar.udp)
    assert watcher.stdout is not None
    lines = iter(watcher.stdout)

    def heard() -> dict[str, Any]:
        document: dict[str, Any] = json.loads(next(lines))
        return document

    assert heard()["registration"] == "init"
    return heard


def test_create_binds_a_contact(run: Run, spawn: Spawn, registrar: Registrar) -> None:
    heard = watching(spawn, registrar, "create@example.com")
    options = ("--expires", "600", "--q", "0.5", "--socket", registrar.socket)
    ran = run("create", "create@example.com", CONTACT, *options)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"sip:create@example.com\n  {CONTACT}\n    Expires 600, Q 0.5, ")
    told = heard()
    assert told["registration"] == "active"
    [contact] = told["contacts"]
    assert (contact["uri"], contact["state"], contact["event"]) == (CONTACT, "active", "created")
    assert contact["q"] == 0.5
    assert 590 <= contact["expires"] <= 600


def test_shorten_leaves_a_contact_less_time(run: Run, spawn: Spawn, registrar: Registrar) -> None:
    heard = watching(spawn, registrar, "shorten@example.com")
    socket = ("--socket", registrar.socket)
    run("create", "shorten@example.com", CONTACT, *socket)
    assert heard()["contacts"][0]["event"] == "created"
    ran = run("shorten", "shorten@example.com", CONTACT, "--expires", "30", *socket)
    assert ran == (0, "shortened 1 contact\n", "")
    [contact] = heard()["contacts"]
    assert (contact["state"], contact["event"]) == ("active", "shortened")
    assert 20 <= contact["expires"] <= 30
    ran = run("shorten", "shorten@example.com", "--expires", "60", *socket)
    assert ran == (3, "", "reginfo: sip:shorten@example.com has no such contact that lasts longer\n")


@pytest.mark.parametrize(
    ("verb", "event", "retry_after"),
    [
        ("deactivate", "deactivated", None),
        ("probation --retry-after 90", "probation", 90),
        ("reject", "rejected", None),
    ],
)
def test_a_verb_that_ends_contacts_tells_the_watcher_which(
    run: Run, spawn: Spawn, registrar: Registrar, verb: str, event: str, retry_after: int | None
) -> None:
    aor = f"{event}@example.com"
    heard = watching(spawn, registrar, aor)
    socket = ("--socket", registrar.socket)
    for contact in (CONTACT, "sip:second@192.0.2.2", "sip:third@192.0.2.3"):
        run("create", aor, contact, *socket)
        assert heard()["registration"] == "active"

    assert run(*verb.split(), "-y", aor, CONTACT, *socket) == (0, f"ended 1 contact of {aor}\n", "")
    told = heard()
    assert told["registration"] == "active"
    ended = {one["uri"]: one for one in told["contacts"] if one["state"] == "terminated"}
    assert set(ended) == {CONTACT}
    assert (ended[CONTACT]["event"], ended[CONTACT]["retry_after"]) == (event, retry_after)

    assert run(*verb.split(), "-y", aor, *socket) == (0, f"ended 2 contacts of {aor}\n", "")
    told = heard()
    assert told["registration"] == "terminated"
    assert {one["event"] for one in told["contacts"]} == {event}

    assert run(*verb.split(), "-y", aor, *socket).code == 3


@pytest.mark.parametrize("verb", ["deactivate", "probation", "reject"])
@pytest.mark.parametrize(("typed", "code"), [("n\n", 1), ("", 1), ("y\n", 0)])
def test_a_verb_that_ends_contacts_asks_first(
    run: Run, registrar: Registrar, monkeypatch: pytest.MonkeyPatch, verb: str, typed: str, code: int
) -> None:
    aor = f"asked-{verb}@example.com"
    socket = ("--socket", registrar.socket)
    run("create", aor, CONTACT, *socket)
    monkeypatch.setattr("sys.stdin", Typed(typed))
    ran = run(verb, aor, *socket)
    assert ran.code == code
    assert f" all contacts of {aor}?" in ran.err
    assert run("ul", "show", aor, *socket).code == (0 if code else 3)


@pytest.mark.parametrize("verb", ["shorten", "deactivate", "probation", "reject"])
def test_what_is_not_bound_is_not_found(run: Run, registrar: Registrar, verb: str) -> None:
    options = ("--socket", registrar.socket, *([] if verb == "shorten" else ["-y"]))
    ran = run(verb, "nobody@example.com", *options)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("reginfo: sip:nobody@example.com has no ")
    run("create", "somebody@example.com", CONTACT, "--socket", registrar.socket)
    ran = run(verb, "somebody@example.com", "sip:other@192.0.2.9", *options)
    assert (ran.code, ran.err.count("\n")) == (3, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", "alice@", CONTACT],
        ["create", "alice@example.invalid", CONTACT],
        ["create", "alice", CONTACT],
        ["subscribe", "tel:+1"],
        ["create", "alice@example.com", "phone"],
        ["create", "alice@example.com", "sip:a@b\r\nX: y"],
        ["shorten", "alice@"],
        ["deactivate", "-y", "alice@"],
        ["probation", "-y", "alice@"],
        ["reject", "-y", "alice\r\n@example.com"],
    ],
)
def test_what_is_no_uri_is_wrong_usage(run: Run, registrar: Registrar, arguments: list[str]) -> None:
    ran = run(*arguments, "--socket", registrar.socket)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("reginfo: ")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["create", "a@b", CONTACT, "--expires", "0"], "--expires"),
        (["create", "a@b", CONTACT, "--q", "nan"], "--q"),
        (["shorten", "a@b", "--expires", "0"], "--expires"),
        (["probation", "-y", "a@b", "--retry-after", "0"], "--retry-after"),
    ],
)
def test_a_value_out_of_range_is_wrong_usage(run: Run, arguments: list[str], option: str) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert f"Error: Invalid value for '{option}': " in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", "a@b", CONTACT],
        ["shorten", "a@b"],
        ["deactivate", "-y", "a@b"],
        ["probation", "-y", "a@b"],
        ["reject", "-y", "a@b"],
    ],
)
def test_without_a_server_the_socket_is_named(run: Run, arguments: list[str]) -> None:
    assert run(*arguments) == (4, "", "reginfo: no server at reginfo.sock: No such file or directory\n")
