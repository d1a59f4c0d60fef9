"""What holds for all commands: help with examples, --json, -y, exit codes, plain output, and never a traceback."""

import io
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reginfo import cli
from tests.cli.conftest import Run, Typed
from tests.manual import PAGE, commands, manual

COMMANDS = dict(commands())
CODES = {
    0,
    cli.EXIT_FAILED,
    cli.EXIT_USAGE,
    cli.EXIT_NOT_FOUND,
    cli.EXIT_UNREACHABLE,
    cli.EXIT_PASSWORD,
    cli.EXIT_CONFIG,
}
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"

# What runs, or only changes something: there is nothing to read.
WITHOUT_JSON = {
    *("serve", "demo", "unsubscribe", "ul add", "ul rm", "user add", "user passwd", "user rm", "create", "shorten"),
    *("deactivate", "probation", "reject", "drain", "bench echo", "completion"),
}
DESTRUCTIVE = {"ul rm", "ul export", "user rm", "deactivate", "probation", "reject", "drain"}
# What would run on, or ask servers of others.
NOT_FUZZED = {
    "serve",
    "demo",
    "watch",
    "register",
    "publish",
    "ping",
    "bench server",
    "bench echo",
    "bench parse",
    "bench store",
}


def options(command: click.Command) -> set[str]:
    return {name for parameter in command.params if isinstance(parameter, click.Option) for name in parameter.opts}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_it_does_and_how_it_is_called(run: Run, name: str) -> None:
    words = name.removeprefix("reginfo ")
    ran = run(*words.split(), "--help")
    assert ran.code == 0
    assert "\nExamples:\n" in ran.out.replace("\n  Examples:\n", "\nExamples:\n")
    assert f"  {name}" in ran.out
    short = COMMANDS[name].get_short_help_str(200)
    assert short
    assert not short.endswith("...")
    # Examples are not wrapped: they can be pasted.
    help_text = COMMANDS[name].help or ""
    for line in help_text.partition("Examples:\n")[2].splitlines():
        assert f"  {line.strip()}" in ran.out


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_read_can_be_read_as_json(name: str) -> None:
    words = name.removeprefix("reginfo ")
    assert ("--json" in options(COMMANDS[name])) == (words not in WITHOUT_JSON)
    if words not in WITHOUT_JSON:
        table = DOCUMENT.read_text("utf-8").partition("## JSON\n")[2].partition("\n## ")[0]
        assert f"`{words}`" in table, "its keys are not documented"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    assert f"`{name}" in DOCUMENT.read_text("utf-8")


@pytest.mark.parametrize("words", sorted(DESTRUCTIVE))
def test_what_ends_or_replaces_something_asks_or_wants_y(run: Run, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    assert {"-y", "--yes"} <= options(COMMANDS[f"reginfo {words}"])
    Path("there").touch()
    arguments = {"ul rm": ["a@example.com"], "ul export": ["there"], "drain": []}.get(words, ["alice"])
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    ran = run(*words.split(), *arguments)
    assert ran.code == cli.EXIT_USAGE
    assert "There is no terminal to ask on: give -y" in ran.err
    monkeypatch.setattr("sys.stdin", Typed("n\n"))
    ran = run(*words.split(), *arguments)
    assert (ran.code, ran.out) == (cli.EXIT_FAILED, "")
    assert "[y/N]" in ran.err


def test_what_has_y_is_known_to_be_destructive() -> None:
    assert {f"reginfo {words}" for words in DESTRUCTIVE} == {
        name for name in COMMANDS if "-y" in options(COMMANDS[name])
    }


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [(["serv"], "serve"), (["ul", "exprot"], "export"), (["user", "pass"], "passwd"), (["bench", "servr"], "server")],
)
def test_a_command_that_is_nearly_one_is_named(run: Run, arguments: list[str], meant: str) -> None:
    ran = run(*arguments)
    assert ran.code == cli.EXIT_USAGE
    assert ran.err.count(f"'{meant}'") == 1
    assert "Did you mean" in ran.err


@pytest.mark.parametrize(
    "words", ["ul show", "ul dump", "stats", "top", "rpc m", "drain -y", "ul import x", "ul export x"]
)
def test_without_a_server_the_exit_code_is_4(run: Run, words: str) -> None:
    Path("x.ndjson").touch()
    assert run(*words.split()).code == cli.EXIT_UNREACHABLE


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_no_arguments_whatever_show_a_traceback(run: Run, monkeypatch: pytest.MonkeyPatch, data: st.DataObject) -> None:
    known = {name: command for name, command in COMMANDS.items() if name.removeprefix("reginfo ") not in NOT_FUZZED}
    name = data.draw(st.sampled_from(sorted(known)))
    flags = sorted(options(known[name]) - {"--interval", "--count"})
    words = st.one_of(
        st.text(max_size=20),
        st.sampled_from([*flags, "-", "--", "http://", "sqlite:", "alice@example.com", "0", "{}", "\x00"]),
    )
    arguments = data.draw(st.lists(words, max_size=5))
    monkeypatch.setattr("sys.stdin", Typed(""))
    ran = run(*name.removeprefix("reginfo ").split(), *arguments)  # which fails if there is a traceback
    assert ran.code in CODES


@pytest.mark.parametrize("words", ["doctor", "ul", "ul import", "compare x", "rpc m", "completion"])
def test_an_argument_that_is_no_text_is_wrong_usage(words: str) -> None:
    command: list[str | bytes] = [sys.executable, "-m", "reginfo", *words.split(), b"\xff"]
    ran = subprocess.run(command, capture_output=True, check=False)
    assert (ran.returncode, ran.stdout) == (cli.EXIT_USAGE, b"")
    assert b"Traceback" not in ran.stderr


def test_the_manual_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == manual(), "run `make man`"


def test_the_manual_page_has_no_errors() -> None:
    try:
        ran = subprocess.run(["groff", "-man", "-Tutf8", "-ww", str(PAGE)], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("groff is not installed")
    assert ran.stderr == ""
    shown = re.sub("\x1b\\[[0-9;]*m|.\x08", "", ran.stdout)  # emphasis, however it is written
    assert "reginfo ul import [OPTIONS] FILE|-|sqlite:PATH" in shown
