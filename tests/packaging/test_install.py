"""docs/install.md and the workflow: what they tell people and machines to run exists, and does what they say."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from reginfo.cli import root
from tests.conftest import ROOT
from tests.packaging.conftest import run
from tests.packaging.sandbox import read_unit

PAGE = (ROOT / "docs" / "install.md").read_text("utf-8")
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
COMMANDS = re.findall(r"^    (\S.*)$", PAGE, re.MULTILINE)

pytestmark = pytest.mark.packaging


def test_the_wheel_is_installed_by_the_documented_commands(wheel: Path, tmp_path: Path) -> None:
    make, install, version = COMMANDS[:3]
    assert (make.split()[0], install.split()[1:2], version.split()[1:]) == ("python3", ["install"], ["--version"])
    here = [command.replace("/opt/reginfo", str(tmp_path / "reginfo")) for command in (make, install, version)]
    run("sh", "-c", here[0].replace("python3", sys.executable), cwd=wheel.parent)
    (site,) = (tmp_path / "reginfo").glob("lib/python*/site-packages")
    lent = [path for path in sys.path if path.endswith("-packages") and Path(path).is_dir()]
    (site / "lent.pth").write_text("\n".join(lent) + "\n")
    # The dependencies are those of the running environment.
    run("sh", "-c", here[1], cwd=wheel.parent, PIP_NO_DEPS="1", PIP_IGNORE_INSTALLED="1")
    assert run("sh", "-c", here[2], cwd=tmp_path).startswith("reginfo ")


def test_every_file_that_is_to_be_installed_exists() -> None:
    named = re.findall(r"\bcontrib/\S+", "\n".join(COMMANDS))
    assert len(named) >= 5
    for name in named:
        assert (ROOT / name).is_file(), name


def test_every_command_of_this_project_exists() -> None:
    called = [command.split("reginfo ")[-1] for command in COMMANDS if re.search(r"(?:bin/|reginfo )reginfo ", command)]
    assert len(called) >= 6
    for line in called:
        command: click.Command | None = root
        for word in shlex.split(line):
            if isinstance(command, click.Group) and not word.startswith("-"):
                command = command.get_command(click.Context(command), word)
                assert command is not None, line


def test_the_folders_that_are_made_are_those_of_the_unit() -> None:
    unit = read_unit(ROOT / "contrib" / "systemd" / "reginfo.service")
    (mode,) = unit["StateDirectoryMode"]
    assert (
        f"install -d -m {mode[1:]} -o {unit['User'][0]} -g {unit['Group'][0]} {unit['WorkingDirectory'][0]}" in COMMANDS
    )
    (start,) = unit["ExecStart"]
    assert start == "/opt/reginfo/bin/reginfo serve -c /etc/reginfo/reginfo.toml"
    assert any(command.endswith(" /etc/reginfo/reginfo.toml") for command in COMMANDS)


def test_the_workflow_is_one_and_calls_what_is_run_elsewhere() -> None:
    program = str(Path(sys.executable).with_name("check-jsonschema"))
    check = [program, "--builtin-schema", "vendor.github-workflows", str(WORKFLOW)]
    checked = subprocess.run(check, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    text = WORKFLOW.read_text("utf-8")
    assert "- run: .ci/run\n" in text
    assert "- run: pipx run cibuildwheel\n" in text
    # What others can move is named by its hash.
    assert re.findall(r"uses: \S+@(\S+)", text)
    assert all(re.fullmatch("[0-9a-f]{40}", one) for one in re.findall(r"uses: \S+@(\S+)", text))
