"""What Kamailio answers to its operators, and whether ours answers with the same names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reginfo.admin.control import ControlClient, RpcError
from tests.interop.kamailio import DOMAIN, Kamailio, upstream_registrar
from tests.server_fixture import RunningServer, running_server

pytestmark = [pytest.mark.network, pytest.mark.usefixtures("kamailio")]

CONTACT = "sip:phone@192.0.2.7:5060"
ADDED = (CONTACT, 3600, 0.5, "<sip:edge.example.com;lr>", 0, 0, 4294967295)
"Contact, expires, q, path, flags, branch flags, methods."


@pytest.fixture(scope="module")
def theirs(kamailio: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kamailio]:
    with upstream_registrar(tmp_path_factory.mktemp("theirs")) as server:
        yield server


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("ours"), [DOMAIN]) as server:
        yield server


def ask(server: RunningServer, method: str, *params: object) -> Any:
    with ControlClient(str(server.folder / "reginfo.sock")) as client:
        return client.call(method, list(params))


@pytest.fixture
def bound(theirs: Kamailio, ours: RunningServer, aor: str) -> str:
    """A user to whom both have bound the same contact, by the same parameters."""
    user = aor.removeprefix("sip:")
    theirs.rpc("ul.add", "location", user, *ADDED)
    ask(ours, "ul.add", "location", user, *ADDED)
    return user


def test_a_contact_has_the_fields_it_has_there(theirs: Kamailio, ours: RunningServer, bound: str) -> None:
    [there] = (one["Contact"] for one in theirs.rpc("ul.lookup", "location", bound)["Contacts"])
    found = ask(ours, "ul.lookup", "location", bound)
    [here] = found["Contacts"]
    assert set(there) - set(here) == set()
    assert found["AoR"] == f"sip:{bound}"
    same = ("Address", "Q", "Path", "CSeq", "Flags", "CFlags")
    assert {name: here[name] for name in same} == {name: there[name] for name in same} | {"CSeq": here["CSeq"]}
    assert abs(here["Expires"] - there["Expires"]) <= 2
    unset = {name for name, value in there.items() if value == "[not set]"}
    assert {here[name] for name in unset} == {None}
    # A number there is a number here, or nothing.
    for name, value in there.items():
        assert here[name] is None or isinstance(here[name], (int, float)) == isinstance(value, (int, float)), name


def test_dumps_have_the_same_fields(theirs: Kamailio, ours: RunningServer, bound: str) -> None:
    [domain] = theirs.rpc("ul.dump")["Domains"]
    there = [record["Info"] for record in domain["Domain"]["AoRs"]]
    here = ask(ours, "ul.dump")["AoRs"]
    names = {name for one in there for contact in one["Contacts"] for name in contact["Contact"]}
    assert names <= {name for one in here for contact in one["Contacts"] for name in contact}
    assert {name for one in there for name in one} - {name for one in here for name in one} == {"HashID"}
    [domain] = theirs.rpc("ul.dump", "brief")["Domains"]
    brief = ask(ours, "ul.dump", "brief")["AoRs"]
    assert {name for one in domain["Domain"]["AoRs"] for name in one} == {name for one in brief for name in one}


def test_contacts_are_removed_by_the_same_parameters(theirs: Kamailio, ours: RunningServer, bound: str) -> None:
    for method, params in (("ul.rm_contact", (CONTACT,)), ("ul.rm", ())):
        theirs.rpc("ul.add", "location", bound, *ADDED)
        ask(ours, "ul.add", "location", bound, *ADDED)
        theirs.rpc(method, "location", bound, *params)
        ask(ours, method, "location", bound, *params)
        assert not [row for row in theirs.ul_dump() if row.aor == bound.partition("@")[0] and row.expires is not None]
        with pytest.raises(RpcError):
            ask(ours, "ul.lookup", "location", bound)


def test_counters_have_the_names_they_have_there(theirs: Kamailio, ours: RunningServer) -> None:
    here = {f"{group}:{name}" for group, names in ask(ours, "stats.get_statistics", "all").items() for name in names}
    for group in ("usrloc", "registrar"):
        assert set(theirs.statistics(group)) <= here
    received = {name for name in here if name.startswith("core:rcv_requests")}
    assert received <= set(theirs.statistics("core"))
    assert len(received) > 1
    for wanted in ("rcv_requests", "usrloc:"):
        there = {line.partition(" = ")[0] for line in theirs.rpc("stats.get_statistics", wanted)}
        found = ask(ours, "stats.get_statistics", wanted)
        assert there <= {f"{group}:{name}" for group, names in found.items() for name in names}


def test_uptime_and_version_have_the_same_form(theirs: Kamailio, ours: RunningServer) -> None:
    there, here = theirs.rpc("core.uptime"), ask(ours, "core.uptime")
    assert set(here) == set(there)
    assert type(here["uptime"]) is type(there["uptime"])
    assert isinstance(theirs.rpc("core.version"), str)
    assert ask(ours, "core.version").startswith("reginfo ")


def test_the_methods_are_there_too(theirs: Kamailio, ours: RunningServer) -> None:
    wanted = {
        "ul.dump",
        "ul.lookup",
        "ul.add",
        "ul.rm",
        "ul.rm_contact",
        "ul.flush",
        "stats.get_statistics",
        "core.uptime",
    }
    for methods in (theirs.rpc("system.listMethods"), ask(ours, "system.listMethods")):
        assert wanted <= set(methods)
