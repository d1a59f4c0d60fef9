"""`reginfo ul` and `reginfo stats` against a server of canned answers."""

import json
from typing import Any

import pytest

from reginfo.admin.control import INVALID_PARAMS, NOT_FOUND, UNAVAILABLE, Json, Method, Params, RpcError
from tests.cli.conftest import Run, Serve, Typed

HOSTILE = "phone\x1b[2J\r\n\x85"


def contact(uri: str, **changed: Json) -> dict[str, Json]:
    fields: dict[str, Json] = {
        "Address": uri,
        "Contact-Id": "00000000000000aa",
        "Display-Name": None,
        "Expires": 3522,
        "Q": None,
        "Call-ID": "1@host",
        "CSeq": 4,
        "User-Agent": None,
        "Received": None,
        "Path": None,
        "Instance": None,
        "Reg-Id": None,
        "Params": None,
        "Flow": "udp:127.0.0.1:5070",
        "Event": "registered",
        "Origin": "local",
        "Registered": 1700000000,
        "Last-Modified": 1700000000,
    }
    return fields | changed


def registration(user: str, *contacts: Json) -> dict[str, Json]:
    return {
        "AoR": f"sip:{user}@example.com",
        "Id": "00000000000000bb",
        "Revision": 7,
        "State": "active",
        "Contacts": contacts or (contact(f"sip:{user}@127.0.0.1:5070"),),
    }


class Server:
    """Records the calls and gives canned answers."""

    def __init__(self, **results: Json | RpcError) -> None:
        self.calls: list[tuple[str, Params]] = []
        self.results = results

    def methods(self) -> dict[str, Method]:
        def method(name: str, result: Json | RpcError) -> Method:
            async def call(params: Params) -> Json:
                self.calls.append((name, params))
                if isinstance(result, RpcError):
                    raise result
                if name == "ul.dump":
                    assert isinstance(result, tuple)
                    cursor = dict(params)["cursor"] if params else 0
                    page: Json = result[cursor]
                    return page
                return result

            return call

        return {
            dotted: method(dotted, result)
            for dotted, result in ((name.replace("_", ".", 1), result) for name, result in self.results.items())
        }


PAGES: Any = (
    {"AoRs": [registration("alice"), registration("bob", contact("sip:b1@x"), contact("sip:b2@x"))], "Cursor": 1},
    {"AoRs": [registration("carol")], "Cursor": None},
)


def test_show_prints_one_aor(run: Run, serve: Serve) -> None:
    server = Server(ul_lookup=registration("alice", contact("sip:a@x", Q=0.5, **{"User-Agent": HOSTILE})))
    serve(server.methods())
    ran = run("ul", "show", "alice@example.com")
    assert server.calls == [("ul.lookup", ["alice@example.com"])]
    assert ran.code == 0
    assert ran.out.splitlines()[:3] == [
        "sip:alice@example.com",
        "  sip:a@x",
        "    Expires 3522, Q 0.5, CSeq 4, Event registered, Origin local",
    ]
    assert "User-Agent phone\\x1b[2J\\r\\n\\x85" in ran.out
    assert ran.out.replace("\n", "").isprintable()


def test_show_without_aor_walks_every_page(run: Run, serve: Serve) -> None:
    server = Server(ul_dump=PAGES)
    serve(server.methods())
    shown = [line for line in run("ul", "show").out.splitlines() if line.startswith("sip:")]
    assert shown == ["sip:alice@example.com", "sip:bob@example.com", "sip:carol@example.com"]
    assert server.calls == [("ul.dump", {"cursor": 0}), ("ul.dump", {"cursor": 1})]


def test_show_json_is_a_document_per_line_in_ascii(run: Run, serve: Serve) -> None:
    serve(Server(ul_lookup=registration("alice", contact("sip:a@x", **{"User-Agent": HOSTILE}))).methods())
    ran = run("ul", "show", "alice@example.com", "--json")
    assert ran.out.count("\n") == 1
    assert ran.out[:-1].isprintable()
    assert json.loads(ran.out)["Contacts"][0]["User-Agent"] == HOSTILE


def test_dump_prints_a_line_per_contact(run: Run, serve: Serve) -> None:
    serve(Server(ul_dump=PAGES).methods())
    lines = run("ul", "dump").out.splitlines()
    assert [line.split("\t")[:2] for line in lines] == [
        ["sip:alice@example.com", "sip:alice@127.0.0.1:5070"],
        ["sip:bob@example.com", "sip:b1@x"],
        ["sip:bob@example.com", "sip:b2@x"],
        ["sip:carol@example.com", "sip:carol@127.0.0.1:5070"],
    ]
    assert {len(line.split("\t")) for line in lines} == {9}


def test_dump_json_prints_a_line_per_aor(run: Run, serve: Serve) -> None:
    serve(Server(ul_dump=PAGES).methods())
    assert len([json.loads(line) for line in run("ul", "dump", "--json").out.splitlines()]) == 3


def test_add_sends_lifetime_and_preference(run: Run, serve: Serve) -> None:
    server = Server(ul_add=registration("alice"))
    serve(server.methods())
    assert run("ul", "add", "alice@example.com", "sip:a@x", "--expires", "60", "--q", "0.5").code == 0
    assert run("ul", "add", "alice@example.com", "sip:a@x").code == 0
    assert [params for _, params in server.calls] == [
        ["alice@example.com", "sip:a@x", 60, 0.5],
        ["alice@example.com", "sip:a@x", 3600, None],
    ]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--expires", "0", "0 is not in the range 1<=x<=4294967295"),
        ("--expires", "4294967296", "4294967296 is not in the range"),
        ("--q", "7", "must be from 0 to 1"),
        ("--q", "-0.1", "must be from 0 to 1"),
        ("--q", "nan", "must be from 0 to 1"),
    ],
)
def test_add_refuses_a_value_out_of_range_before_the_server_is_asked(
    run: Run, serve: Serve, option: str, value: str, message: str
) -> None:
    server = Server(ul_add=registration("alice"))
    serve(server.methods())
    ran = run("ul", "add", "alice@example.com", "sip:a@x", option, value)
    assert ran.code == 2
    assert f"Invalid value for '{option}': {message}" in ran.err
    assert server.calls == []


def test_rm_removes_all_or_one(run: Run, serve: Serve) -> None:
    server = Server(ul_rm={"Removed": 2}, ul_rm_contact={"Removed": 1})
    serve(server.methods())
    assert run("ul", "rm", "-y", "alice@example.com").out == "removed 2 contacts\n"
    assert run("ul", "rm", "-y", "alice@example.com", "sip:a@x").out == "removed 1 contact\n"
    assert server.calls == [("ul.rm", ["alice@example.com"]), ("ul.rm_contact", ["alice@example.com", "sip:a@x"])]


@pytest.mark.parametrize(("typed", "code", "calls"), [("y\n", 0, 1), ("n\n", 1, 0), ("", 1, 0)])
def test_rm_asks_first(
    run: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch, typed: str, code: int, calls: int
) -> None:
    monkeypatch.setattr("sys.stdin", Typed(typed))
    server = Server(ul_rm={"Removed": 2})
    serve(server.methods())
    ran = run("ul", "rm", "alice@example.com")
    assert ran.code == code
    assert "Remove all contacts of alice@example.com?" in ran.err
    assert len(server.calls) == calls


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RpcError(NOT_FOUND, "sip:alice@example.com has no contact"), 3),
        (RpcError(INVALID_PARAMS, "aor: no host"), 2),
        (RpcError(UNAVAILABLE, "disk full"), 1),
    ],
)
@pytest.mark.parametrize("command", ["show", "rm"])
def test_an_error_of_the_server_is_an_exit_code(
    run: Run, serve: Serve, command: str, error: RpcError, code: int
) -> None:
    serve(Server(ul_lookup=error, ul_rm=error).methods())
    ran = run("ul", command, "alice@example.com", *(["-y"] if command == "rm" else []))
    assert ran == (code, "", f"reginfo: {error}\n")


@pytest.mark.parametrize("arguments", [["ul", "show"], ["ul", "dump"], ["ul", "add", "a", "b"], ["stats"]])
def test_without_a_server_the_socket_is_named(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.code == 4
    assert ran.err == "reginfo: no server at reginfo.sock: No such file or directory\n"
    ran = run(*arguments, "--socket", "other.sock")
    assert ran.err == "reginfo: no server at other.sock: No such file or directory\n"


def test_a_server_without_control_socket_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGINFO_ADMIN__SOCKET", "")
    ran = run("stats")
    assert ran.code == 78
    assert "no control socket" in ran.err


STATISTICS: Json = {"registrar": {"accepted": 5, "rejected": 1}, "contacts": {"registered": 3}}


def test_stats_prints_a_line_per_counter(run: Run, serve: Serve) -> None:
    server = Server(stats_get_statistics=STATISTICS)
    serve(server.methods())
    assert run("stats").out.splitlines() == [
        "contacts:registered = 3",
        "registrar:accepted = 5",
        "registrar:rejected = 1",
    ]
    assert json.loads(run("stats", "registrar:", "--json").out) == STATISTICS
    assert [params for _, params in server.calls] == [["all"], ["registrar:"]]


@pytest.mark.parametrize("command", ["ul show", "ul add a@b", "ul rm -y a@b", "stats"])
def test_an_argument_that_is_not_utf8_is_wrong_usage(run: Run, command: str) -> None:
    ran = run(*command.split(), "\udcff")
    assert ran.code == 2
    assert "must be UTF-8" in ran.err
