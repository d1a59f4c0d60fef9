"""`reginfo subscribe` and `unsubscribe`: one real server follows the registrations of another."""

import json
from collections.abc import Iterator

import pytest

from reginfo.fast import parse_uri
from tests.cli.conftest import OPTIONS, Registrar, Run, Spawn, reached
from tests.server_fixture import running_server

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def follower(tmp_path_factory: pytest.TempPathFactory, registrar: Registrar) -> Iterator[Registrar]:
    """Run a server that asks the registrar about every address-of-record."""
    options = f'[pua_reginfo]\noutbound_proxy = "{registrar.udp}"\n{OPTIONS}'
    with running_server(tmp_path_factory.mktemp("follower"), ["example.net"], options) as server:
        yield reached(server)


def test_what_is_followed_is_listed(run: Run, registrar: Registrar, follower: Registrar) -> None:
    socket = ("--socket", follower.socket)
    aor = "sip:followed@example.net"
    assert run("subscribe", *socket) == (0, "", "")
    ran = run("subscribe", "sip:listed@example.net", "--expires", "600", *socket)
    assert ran == (0, "following sip:listed@example.net at 1 server\n", "")
    assert run("subscribe", aor, "--json", *socket).out == f'{{"uri": "{aor}", "servers": 1}}\n'

    port = parse_uri(registrar.udp).port
    listed = {one["AoR"]: one for one in map(json.loads, run("subscribe", "--json", *socket).out.splitlines())}
    assert set(listed) == {"sip:listed@example.net", aor}
    assert {one["Server"] for one in listed.values()} == {f"udp:127.0.0.1:{port}"}
    assert any(
        line.startswith(f"sip:listed@example.net  udp:127.0.0.1:{port}  ")
        for line in run("subscribe", *socket).out.splitlines()
    )

    ran = run("unsubscribe", "sip:listed@example.net", *socket)
    assert ran == (0, "not following sip:listed@example.net any more at 1 server\n", "")
    assert run("unsubscribe", aor, *socket).code == 0


def test_a_change_at_the_server_that_is_followed_reaches_the_watchers_of_the_follower(
    run: Run, spawn: Spawn, registrar: Registrar, follower: Registrar
) -> None:
    aor = "sip:chain@example.net"
    watcher = spawn("watch", aor, "--server", follower.udp)
    assert watcher.stdout is not None
    assert watcher.stdout.readline().rstrip().endswith(f"{aor}  init")
    run("subscribe", aor, "--socket", follower.socket)
    run("create", aor, "sip:phone@192.0.2.1", "--socket", registrar.socket)
    assert "sip:phone@192.0.2.1" in watcher.stdout.readline()
    run("deactivate", "-y", aor, "--socket", registrar.socket)
    assert "  deactivated  " in watcher.stdout.readline()


def test_what_is_not_followed_is_not_found(run: Run, follower: Registrar) -> None:
    ran = run("unsubscribe", "sip:nobody@example.net", "--socket", follower.socket)
    assert ran == (3, "", "reginfo: sip:nobody@example.net is not followed\n")


@pytest.mark.parametrize("command", ["subscribe", "unsubscribe"])
@pytest.mark.parametrize("uri", ["", "sip:", "sip:a b@example.net", "sip:a@example.net\r\nX: y"])
def test_what_is_no_sip_uri_is_wrong_usage(run: Run, follower: Registrar, command: str, uri: str) -> None:
    ran = run(command, uri, "--socket", follower.socket)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("reginfo: ")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["subscribe"], ["subscribe", "a@b"], ["unsubscribe", "a@b"]])
def test_without_a_server_the_socket_is_named(run: Run, arguments: list[str]) -> None:
    assert run(*arguments) == (4, "", "reginfo: no server at reginfo.sock: No such file or directory\n")
