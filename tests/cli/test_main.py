"""The command line as a whole: exit codes, help, and errors without tracebacks."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from reginfo import cli
from reginfo.errors import ConfigError, ReginfoError, ServerUnreachable
from tests.cli.conftest import Run


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(run: Run, command: str) -> None:
    ran = run(command, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: reginfo {command}")


def test_help_lists_the_commands(run: Run) -> None:
    ran = run("--help")
    assert ran.code == 0
    assert all(f"\n  {command} " in ran.out for command in cli.COMMANDS)


def test_version(run: Run) -> None:
    assert run("--version").out.startswith("reginfo 0.")


@pytest.mark.parametrize("arguments", [["bogus"], ["--bogus"], ["serve", "--bogus"], ["ul", "rm"], ["parse"]])
def test_wrong_usage_exits_2(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.code == cli.EXIT_USAGE
    assert ran.out == ""
    assert "Error: " in ran.err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ReginfoError("it broke"), 1, "it broke"),
        (ServerUnreachable("no server"), 4, "no server"),
        (ConfigError("bad key"), 78, "bad key"),
        (PermissionError(13, "Permission denied", "/x"), 1, "/x: Permission denied"),
        (ZeroDivisionError("division by zero"), 1, "unexpected ZeroDivisionError: division by zero"),
        (KeyboardInterrupt(), 1, None),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str | None
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(cli.root, "main", fail)
    ran = run("serve")
    assert ran.code == code
    assert ran.err == (f"reginfo: {text}\n" if text else "")


def test_a_reader_that_leaves_is_no_traceback(spawn: Callable[..., subprocess.Popen[str]]) -> None:
    process = spawn("serve", "--print-config")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert err == ""
    assert process.returncode == 1


def test_a_closed_standard_output_is_no_traceback() -> None:
    script = f"exec {sys.executable} -m reginfo serve --check-config >&-"
    ran = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_command_line_starts_without_what_only_the_server_needs() -> None:
    modules = subprocess.run(
        [sys.executable, "-c", "import sys, reginfo.cli; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"asyncio", "uvloop", "rocksdict", "numpy", "lxml", "rich"} & set(modules)
