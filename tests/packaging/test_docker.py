"""The image of contrib/docker: linted, and its steps run as far as they can be where there is no Docker.

RUN steps that call pip are run as they stand, in a folder that holds what COPY brings there.
"""

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.packaging.conftest import EPOCH, environment, run
from tests.server_fixture import free_port, loopback_address

FOLDER = ROOT / "contrib" / "docker"
DOCKERFILE = FOLDER / "Dockerfile"

pytestmark = pytest.mark.packaging


def steps() -> list[tuple[str, str]]:
    """Return (instruction, rest) of each step."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def values(name: str) -> list[str]:
    """Return what follows each instruction of a name."""
    return [rest for instruction, rest in steps() if instruction == name]


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), DOCKERFILE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


def test_the_composition_is_one_and_keeps_the_metrics_on_loopback() -> None:
    file = FOLDER / "compose.yaml"
    program = str(Path(sys.executable).with_name("check-jsonschema"))
    check = [program, "--builtin-schema", "vendor.compose-spec", str(file)]
    checked = subprocess.run(check, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    text = file.read_text("utf-8")
    (admin,) = re.findall(r'"--admin", "(127\.0\.0\.1:\d+)"', text)
    assert f'targets: ["{admin}"]' in text


def test_what_is_copied_is_there_and_let_through() -> None:
    let_through = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    for arguments in values("COPY"):
        if not arguments.startswith("--from="):
            for name in arguments.split()[:-1]:
                assert (ROOT / name).exists(), name
                assert f"!{name}" in let_through, name


def test_the_image_runs_a_user_without_rights_on_a_volume_of_its_own() -> None:
    (user,), (volume,), (folder,) = values("USER"), values("VOLUME"), values("WORKDIR")[1:]
    made = " ".join(values("RUN"))
    assert f"useradd --system --uid {user} " in made
    assert volume == folder
    assert f"install -d -o reginfo -g reginfo -m 750 {volume}" in made


@pytest.mark.network
def test_the_steps_of_the_image_make_a_server(wheel: Path, tmp_path: Path) -> None:
    """The wheel made there is that of the sdist, to the bit: neither folder nor time is in it."""
    context, wheels = tmp_path / "src", tmp_path / "wheels"
    context.mkdir()
    for arguments in values("COPY"):
        *names, target = arguments.split()
        if target != "/etc/reginfo/reginfo.toml" and not arguments.startswith("--from="):
            for name in names:
                if (ROOT / name).is_dir():
                    ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.c", "*.egg-info")
                    shutil.copytree(ROOT / name, context / target, ignore=ignored)
                else:
                    shutil.copyfile(ROOT / name, context / name)
    python = environment(tmp_path / "environment")
    pip = python.with_name("pip")
    pip.write_text(f'#!/bin/sh\nexec {sys.executable} -m pip --python {python} "$@"\n')
    pip.chmod(0o755)
    # Dependencies and build tools are those of the running environment.
    offline = {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_IGNORE_INSTALLED": "1"}
    path = f"{python.parent}:/usr/bin:/bin"
    for step in values("RUN"):
        if step.startswith("pip "):
            command = step.replace("/wheels", str(wheels))
            run("sh", "-ec", command, cwd=context, SOURCE_DATE_EPOCH=EPOCH, PATH=path, **offline)
            if " wheel " in step:
                (made,) = wheels.iterdir()
                assert hashlib.sha256(made.read_bytes()).digest() == hashlib.sha256(wheel.read_bytes()).digest()
    assert not wheels.exists()

    (entry,), (arguments,) = (json.loads(values(name)[0]) for name in ("ENTRYPOINT", "CMD"))
    (check,) = values("HEALTHCHECK")
    host = loopback_address()
    (tmp_path / "volume").mkdir()
    (tmp_path / "reginfo.toml").write_text(
        (FOLDER / "reginfo.toml").read_text().replace("0.0.0.0:5060", f"{host}:{free_port(host)}")
    )
    folder, reached = tmp_path / "volume", {"PATH": path, "REGINFO_CONFIG": str(tmp_path / "reginfo.toml")}
    program = python.with_name(entry)
    subprocess.run(
        [program, "user", "add", "alice", "--password-stdin"], input=b"secret\n", check=True, cwd=folder, env=reached
    )
    with subprocess.Popen([program, arguments], stdout=subprocess.PIPE, cwd=folder, env=reached) as server:
        try:
            assert server.stdout is not None
            assert any(b"listening" in line for line in server.stdout)
            health = json.loads(check[check.index("[") :])
            assert health[0] == entry
            subprocess.run([program, *health[1:]], check=True, stdout=subprocess.DEVNULL, cwd=folder, env=reached)
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0
        finally:
            server.kill()
    assert (
        subprocess.run([program, *health[1:]], check=False, capture_output=True, cwd=folder, env=reached).returncode
        == 4
    )
