"""`reginfo rpc`, `top`, `doctor`, `drain` and `completion`."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from reginfo.admin.control import NOT_FOUND, Json, Params, RpcError
from reginfo.cli import _findings
from tests.cli.conftest import Registrar, Run, Serve, Spawn, Typed
from tests.server_fixture import RunningServer, running_server

pytestmark = pytest.mark.network


# -- rpc ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "params"),
    [
        ([], []),
        (["alice@example.com", "5", "0.5", "null", "true", '["a"]', "-3", "--x"], None),
        (['{"aor": "a", "q": 1}'], {"aor": "a", "q": 1}),
        (['{"aor": "a"}', "1"], [{"aor": "a"}, 1]),
        (["NaN", "[", '"5"'], ["NaN", "[", "5"]),
    ],
)
def test_arguments_are_json_where_they_can_be(
    run: Run, serve: Serve, arguments: list[str], params: Params | None
) -> None:
    seen: list[Params] = []

    async def method(given: Params) -> Json:
        seen.append(given)
        return {"a": [1, None]}

    serve({"m": method})
    ran = run("rpc", "m", *arguments)
    assert (ran.code, json.loads(ran.out), ran.out.count("\n")) == (0, {"a": [1, None]}, 1)
    expected = ["alice@example.com", 5, 0.5, None, True, ["a"], -3, "--x"] if params is None else params
    assert seen == [expected]


def test_rpc_errors_are_exit_codes(run: Run, serve: Serve) -> None:
    async def absent(given: Params) -> Json:
        raise RpcError(NOT_FOUND, "not there")

    async def broken(given: Params) -> Json:
        raise RpcError(-32603, "broken")

    serve({"absent": absent, "broken": broken})
    assert run("rpc", "absent") == (3, "", "reginfo: not there\n")
    assert run("rpc", "broken") == (1, "", "reginfo: broken\n")
    assert run("rpc", "none").code == 2
    assert run("rpc", "absent", "\udcff").code == 2
    assert run("rpc", "absent", "--socket", "elsewhere").code == 4


class _Admin(BaseHTTPRequestHandler):
    """Answers as the admin interface does: JSON-RPC for who has the token."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = self.headers["Authorization"] == "Bearer s3cret" and self.path == "/RPC"
        body = b'{"title": "Unauthorized"}'
        if known:
            body = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": request["method"]}).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""


@pytest.fixture
def admin() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Admin) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_server_may_be_named_by_its_url_and_token(run: Run, admin: str) -> None:
    Path("token").write_text("s3cret\n")
    for fragment in "#token=s3cret", "#token-file=token":
        assert run("rpc", "core.version", "--socket", admin + fragment) == (0, '"core.version"\n', "")
    for fragment in "", "#token=wrong":
        ran = run("rpc", "core.version", "--socket", admin + fragment)
        assert (ran.code, ran.out) == (77, "")
        assert "wants its token" in ran.err
    assert run("rpc", "core.version", "--socket", admin + "#token-file=absent").code == 1
    assert run("rpc", "core.version", "--socket", "http://:x/").code == 1
    assert run("rpc", "core.version", "--socket", "http://127.0.0.1:1/#token=s3cret").code == 4


# -- top ---------------------------------------------------------------------------------------------------

KEYS = {
    *("ts", "uptime", "requests", "registrations", "ended", "errors", "registered_aors", "contacts", "pending"),
    *("feed_lag", "loop_lag_ms", "notifier", "subscriber", "compositor", "publisher", "peers"),
}


def test_top_says_what_happened_in_each_interval(run: Run, registrar: Registrar, spawn: Spawn) -> None:
    process = spawn("top", "--json", "--interval", "0.2", "--count", "200", "--socket", registrar.socket)
    assert process.stdout is not None
    seen = []
    for number, line in enumerate(process.stdout):
        sample = json.loads(line)
        assert set(sample) == KEYS
        seen.append(sample["registrations"])
        run("register", f"top{number}@example.com", "sip:top@192.0.2.1", "--server", registrar.udp)
        if seen[-1]:
            break
    assert seen[0] == 0 < seen[-1]


def test_top_in_a_pipe_is_a_line_for_each_look(run: Run, registrar: Registrar) -> None:
    ran = run("top", "--interval", "0.05", "--count", "2", "--socket", registrar.socket)
    assert ran.code == 0
    assert [line.count(" requests=") for line in ran.out.splitlines()] == [1, 1]


def statistics(**changed: Any) -> Any:
    return {
        "core": {"uptime": 1, "pending": 0, "loop_lag_ms": 3},
        "requests": {"REGISTER": 10},
        "errors": {"retransmission": 5},
        "events": {"registered": 1, "expired": 1},
        "feed": {"lag": 0},
        "usrloc": {"registered_aors": 1, "contacts": 1},
        "subscriptions": {"notifier": 0, "subscriber": 0},
        "publications": {"compositor": 0, "publisher": 0},
        **changed,
    }


def test_top_shows_peers_where_the_server_knows_them(run: Run, serve: Serve) -> None:
    async def peers(given: Params) -> Json:
        return [{"name": "east", "state": "up", "lag_seconds": 0.5, "contacts": 7}]

    async def counters(given: Params) -> Json:
        answer: Json = statistics()
        return answer

    serve({"stats.get_statistics": counters, "reg.peers": peers})
    assert "peers=east=up" in run("top", "--interval", "0.05", "--count", "1").out
    ran = run("top", "--interval", "0.05", "--count", "1", "--json")
    assert json.loads(ran.out)["peers"][0]["name"] == "east"


def on_a_terminal(*arguments: str) -> str:
    """Run a command on a terminal of its own; return what is on it then."""
    import pty

    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, "-m", "reginfo", *arguments], stdin=child, stdout=child, stderr=child, env=environment
    ):
        os.close(child)
        shown = b""
        try:
            while octets := os.read(parent, 4096):
                shown += octets
        except OSError:  # Linux says EIO where the other side is closed
            pass
    os.close(parent)
    return shown.decode()


def test_top_doctor_and_stats_are_tables_on_a_terminal(registrar: Registrar) -> None:
    shown = on_a_terminal("top", "--interval", "0.05", "--count", "1", "--socket", registrar.socket)
    assert "loop lag ms" in shown
    shown = on_a_terminal("doctor")
    assert "ok     configuration " in shown
    assert "\x1b[3" not in shown  # NO_COLOR
    shown = on_a_terminal("stats", "usrloc:", "--socket", registrar.socket)
    assert "usrloc  registered_aors" in shown
    assert " = " not in shown


# -- doctor ------------------------------------------------------------------------------------------------


def examined(run: Run) -> tuple[int, dict[str, dict[str, Any]]]:
    ran = run("doctor", "--json")
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert all(set(one) == {"check", "ok", "found", "remedy"} for one in found)
    assert all(one["ok"] or one["remedy"] for one in found)
    assert ran.code == (0 if all(one["ok"] for one in found) else 1)
    return ran.code, {one["check"]: one for one in found}


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with nothing wrong beyond what the test does to it."""
    monkeypatch.setattr(_findings, "_clock", lambda: _findings.Finding("clock", True, "synchronised"))
    rmem = tmp_path / "rmem_max"
    rmem.write_text(str(_findings.RMEM_WANTED))
    monkeypatch.setattr(_findings, "RMEM_MAX", rmem)
    monkeypatch.setattr(_findings, "FREE_OCTETS", 1)
    Path("reginfo.toml").write_text('listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]\n')


@pytest.mark.usefixtures("healthy")
def test_a_fit_machine_is_said_to_be_one(run: Run) -> None:
    code, found = examined(run)
    assert code == 0, found
    assert {"configuration", "versions", "compiled", "open files", "rmem_max", "clock", "store", "disk"} < set(found)
    assert run("doctor").out.startswith("ok\tconfiguration\treginfo.toml\n")


@pytest.mark.usefixtures("healthy")
def test_each_thing_that_is_wrong_has_its_remedy(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "rmem_max").write_text("212992")
    monkeypatch.setattr(_findings, "FREE_OCTETS", 1 << 60)
    monkeypatch.setattr("resource.getrlimit", lambda which: (1024, 1024))
    Path("reginfo.db").mkdir()
    Path("reginfo.db").chmod(0o755)
    Path("reginfo.sock").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        Path("reginfo.toml").write_text(f'listen = ["tcp:127.0.0.1:{port}"]\n')
        code, found = examined(run)
    assert code == 1
    remedies = {check: one["remedy"] for check, one in found.items() if not one["ok"]}
    assert remedies == {
        "rmem_max": "sysctl -w net.core.rmem_max=4194304",
        "open files": "ulimit -Hn 4352",
        "store": "chmod 700 reginfo.db",
        "disk": f"du -xh {tmp_path / 'reginfo.db'} | sort -h",
        "control": "mv reginfo.sock reginfo.sock.old",
        f"listen tcp:127.0.0.1:{port}": f"ss -tlnp sport = :{port}",
    }
    assert f"\tremedy\tulimit -Hn {4352}\n" in run("doctor").out or run("doctor").code == 1


def test_a_configuration_that_cannot_be_used_is_a_finding(run: Run) -> None:
    Path("reginfo.toml").write_text("domain = 3\n")
    code, found = examined(run)
    assert code == 1
    assert found["configuration"]["remedy"] == "reginfo serve --check-config"


def test_what_a_running_server_uses_is_in_order(run: Run, tmp_path: Path) -> None:
    with running_server(tmp_path, ["example.com"]) as server:
        host, port = server.tcp
        Path("reginfo.toml").write_text(f'listen = ["tcp:{host}:{port}"]\n')
        _, found = examined(run)
    assert found[f"listen tcp:{host}:{port}"]["found"] == "in use by the server that runs"
    assert found["control"]["found"] == "a server answers at reginfo.sock"


# -- drain -------------------------------------------------------------------------------------------------


def test_drain_ends_the_server_as_sigterm_does(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = RunningServer(tmp_path, ["example.com"])
    try:
        monkeypatch.setattr("sys.stdin", Typed("n\n"))
        assert run("drain").code == 1
        assert run("stats").code == 0
        assert run("drain", "-y") == (0, "the server ends\n", "")
        assert server.process.wait(10) == 0
        assert "Traceback" not in server.log.read_text()
        assert run("drain", "-y").code == 4
    finally:
        server.stop()


# -- completion --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_that_asks_the_command_itself(run: Run, shell: str) -> None:
    ran = run("completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert f"_REGINFO_COMPLETE={shell}_complete" in ran.out


def test_the_script_completes_commands_in_bash(run: Run) -> None:
    script = run("completion", "bash").out
    Path("reginfo").write_text(f'#!/bin/sh\nexec {sys.executable} -m reginfo "$@"\n')
    Path("reginfo").chmod(0o755)
    words = 'COMP_WORDS=(reginfo ul ex); COMP_CWORD=2; _reginfo_completion ./reginfo; echo "${COMPREPLY[@]}"'
    ran = subprocess.run(["bash", "-c", f"{script}\n{words}"], capture_output=True, text=True, check=False)
    assert ran.stdout == "export\n", ran.stderr
