"""SIPp as a phone with a password, over UDP and TCP."""

import subprocess
import sys
from pathlib import Path

import pytest

from reginfo.admin.control import ControlClient
from tests.server_fixture import RunningServer, loopback_address, running_server

pytestmark = pytest.mark.network

SCENARIO = Path(__file__).resolve().parents[2] / "benchmarks" / "sipp" / "authenticate.xml"
USERS = 20
AUTH = '[auth]\nenabled = true\nalgorithms = ["MD5"]\n'  # what Debian's SIPp knows
OPTIONS = f'store = {{ url = "memory:" }}\n{AUTH}'


def write_users(folder: Path, password: str = "secret") -> Path:
    path = folder / "users.csv"
    rows = [f"u{n};[authentication username=u{n} password={password}]" for n in range(USERS)]
    path.write_text("\n".join(["SEQUENTIAL", *rows]) + "\n")
    return path


def import_users(folder: Path) -> None:
    (folder / "users.toml").write_text(AUTH)
    command = [sys.executable, "-m", "reginfo", "user", "import", "-c", "users.toml", "users.csv"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def play(sipp: Path, server: RunningServer, transport: str, users: Path) -> subprocess.CompletedProcess[str]:
    host, port = server.udp if transport == "u1" else server.tcp
    command = [str(sipp), f"{host}:{port}", "-sf", str(SCENARIO), "-inf", str(users), "-m", str(USERS), "-r", "200"]
    command += ["-t", transport, "-i", loopback_address(), "-nostdin", "-timeout", "30s", "-timeout_error"]
    return subprocess.run(command, cwd=server.folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("transport", ["u1", "t1"])
def test_sipp_registers_with_its_password_and_with_no_other(sipp: Path, tmp_path: Path, transport: str) -> None:
    """AUT-1, AUT-2, AUT-3, AUT-5, AUT-6: with a user table that SIPp's own file was imported into."""
    users = write_users(tmp_path)
    import_users(tmp_path)
    with running_server(tmp_path, ["example.com"], OPTIONS) as server:
        played = play(sipp, server, transport, users)
        assert played.returncode == 0, played.stdout[-2000:] + played.stderr[-500:]
        with ControlClient(str(tmp_path / "reginfo.sock")) as client:
            assert client.call("stats.get_statistics", ["responses:"])["responses"] == {"200": USERS, "401": USERS}
            assert len(client.call("ul.dump", [])["AoRs"]) == USERS
        assert play(sipp, server, transport, write_users(tmp_path, "guess")).returncode == 1
        with ControlClient(str(tmp_path / "reginfo.sock")) as client:
            assert client.call("stats.get_statistics", ["responses:"])["responses"]["200"] == USERS
