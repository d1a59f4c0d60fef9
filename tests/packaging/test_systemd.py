"""The files of contrib/ for systemd: what systemd says of them, and the command of the unit under its restrictions."""

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.conftest import ROOT
from tests.packaging.sandbox import read_unit
from tests.server_fixture import free_port, loopback_address

UNIT = ROOT / "contrib" / "systemd" / "reginfo.service"
SYSUSERS = ROOT / "contrib" / "sysusers.d" / "reginfo.conf"
SYSCTL = ROOT / "contrib" / "sysctl.d" / "reginfo.conf"
CONFIGURATION = ROOT / "contrib" / "examples" / "registrar.toml"
EXPOSURE = 15  # tenths, of 100: systemd calls up to 2 "OK"
PATIENCE = 30


def systemd(program: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: apt install systemd")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    # Where it is not installed, the program is another one that exists.
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/reginfo/bin/reginfo", "/bin/true"))
    verified = systemd("systemd-analyze", "--man=no", "verify", copy)
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


def test_the_unit_exposes_little() -> None:
    looked = systemd("systemd-analyze", "--no-pager", "security", "--offline=true", f"--threshold={EXPOSURE}", UNIT)
    assert looked.returncode == 0, looked.stdout


def test_the_user_of_the_unit_is_made_by_sysusers(tmp_path: Path) -> None:
    shown = systemd("systemd-sysusers", "--dry-run", f"--root={tmp_path}", SYSUSERS)
    assert shown.returncode == 0, shown.stderr
    (user,) = re.findall(r"Would create user '(\w+)'|Creating user '(\w+)'", shown.stdout + shown.stderr)
    assert read_unit(UNIT)["User"] == [next(filter(None, user))]


def test_the_unit_gives_what_configuration_and_server_name() -> None:
    unit, configuration = read_unit(UNIT), CONFIGURATION.read_text()
    folders = {
        "/etc/reginfo/": unit["ConfigurationDirectory"],
        "/var/lib/reginfo/": unit["StateDirectory"],
        "/run/reginfo/": unit["RuntimeDirectory"],
    }
    assert all(names == ["reginfo"] for names in folders.values())
    for path in re.findall(r"(/(?:etc|var|run|opt|usr|home)/[\w./]+)", configuration):
        assert any(path.startswith(folder) for folder in folders), path


def test_the_buffer_that_sysctl_allows_is_the_one_that_is_asked_for() -> None:
    (asked,) = re.findall(r"receive_buffer: int = 4 << 20\b", (ROOT / "src/_fast/datagrams.pyx").read_text())
    assert asked
    assert re.findall(r"^(\S+) = (\d+)$", SYSCTL.read_text(), re.MULTILINE) == [("net.core.rmem_max", str(4 << 20))]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.settimeout(PATIENCE)
        yield bound


def heard(manager: socket.socket, word: str) -> None:
    while word not in manager.recv(65_536).decode():
        pass


@pytest.mark.network
def test_the_command_of_the_unit_serves_under_its_restrictions(tmp_path: Path, manager: socket.socket) -> None:
    systemd("systemd-analyze", "--version")
    unit, host = read_unit(UNIT), loopback_address()
    port, secure = free_port(host), free_port(host)
    moved = {"0.0.0.0:5060": f"{host}:{port}", "0.0.0.0:5061": f"{host}:{secure}"}
    for folder in ("/etc/reginfo", "/var/lib/reginfo", "/run/reginfo"):
        (tmp_path / folder[1:]).mkdir(parents=True)
        moved[folder] = f"{tmp_path}{folder}"

    def here(text: str) -> str:
        for name, place in moved.items():
            text = text.replace(name, place)
        return text

    configuration = Path(here("/etc/reginfo/reginfo.toml"))
    configuration.write_text(here(CONFIGURATION.read_text()))
    Authority(configuration.parent).certify("example.com", "DNS:example.com")
    program, *arguments = here(unit["ExecStart"][0]).split()
    assert program == "/opt/reginfo/bin/reginfo"
    reginfo = [sys.executable, "-m", "reginfo"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("REGINFO_")}
    environment |= {"REGINFO_CONFIG": str(configuration), "PYTHONPATH": str(ROOT)}

    def run(*words: str) -> str:
        done = subprocess.run(
            [*reginfo, *words], input="secret\n", env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("user", "add", "alice", "--password-stdin")
    descriptors = int(unit["LimitNOFILE"][0])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.packaging.sandbox", str(UNIT), *reginfo, *arguments],
        cwd=here(unit["WorkingDirectory"][0]),
        env=environment
        | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": f"{unit['WatchdogSec'][0]}000000"},
        umask=int(unit["UMask"][0], 8),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            limit = (min(descriptors, hard), min(descriptors, hard))
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limit)
            heard(manager, "READY=1")
            status = Path(f"/proc/{server.pid}/status").read_text()
            assert "Seccomp:\t2\n" in status
            assert "NoNewPrivs:\t1\n" in status
            for server_uri in (f"sip:{host}:{port}", f"sip:{host}:{port};transport=tcp"):
                run(
                    "register", "alice@example.com", "sip:desk@192.0.2.10", "--server", server_uri,
                    "--user", "alice", "--password-stdin",
                )  # fmt: skip
            with socket.create_connection((host, secure), timeout=PATIENCE):
                pass
            assert "sip:desk@192.0.2.10" in run("ul", "show", "alice@example.com")
            (reload_,) = unit["ExecReload"]
            subprocess.run(reload_.replace("$MAINPID", str(server.pid)).split(), check=True)
            heard(manager, "STATUS=configuration read again")
            server.send_signal(signal.SIGTERM)
            heard(manager, "STOPPING=1")
            _, errors = server.communicate(timeout=PATIENCE)
        finally:
            server.kill()
    assert server.returncode == 0, errors
    assert not [line for line in errors.splitlines() if "level=warning" in line or "not permitted" in line]
    assert {path.stat().st_mode & 0o077 for path in Path(here("/var/lib/reginfo")).rglob("*")} == {0}


@pytest.mark.network
def test_a_configuration_that_cannot_be_used_is_not_tried_again(tmp_path: Path) -> None:
    (tmp_path / "reginfo.toml").write_text("domans = []")
    command = [sys.executable, "-m", "reginfo", "serve", "-c", "reginfo.toml"]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert [str(refused.returncode)] == read_unit(UNIT)["RestartPreventExitStatus"]
