"""The manual page of the command line, docs/man/reginfo.1, from the help of its commands: `python -m tests.manual`."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from reginfo import cli

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "man" / "reginfo.1"

_EXITS: Final = {
    0: "done",
    cli.EXIT_FAILED: "failed: refused by the server, or a question answered with no; something differs",
    cli.EXIT_USAGE: "wrong usage",
    cli.EXIT_NOT_FOUND: "not found",
    cli.EXIT_UNREACHABLE: "no server answers",
    cli.EXIT_PASSWORD: "the server asks for a password or token, or does not take it",
    cli.EXIT_CONFIG: "the configuration cannot be used",
}
_FILES: Final = {
    "./reginfo.toml, /etc/reginfo/reginfo.toml": "the configuration, unless -c or REGINFO_CONFIG names another",
    "reginfo.sock": "the control socket, unless admin.socket of the configuration names another",
}


def commands(group: click.Group = cli.root, prefix: str = "reginfo") -> Iterator[tuple[str, click.Command]]:
    """Yield the full name of each command, groups left out, and the command."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def manual() -> str:
    """Return the page in the macros of man(7)."""
    lines = [
        '.TH REGINFO 1 "" reginfo "User Commands"',
        ".SH NAME",
        r"reginfo \- SIP registration engine: a registrar, and the tools to look inside it",
        ".SH SYNOPSIS",
        r".B reginfo",
        r".I COMMAND",
        r"[\fIOPTION\fR]... [\fIARGUMENT\fR]...",
        ".SH COMMANDS",
    ]
    for name, command in commands():
        lines += _command(name, command)
    lines.append(".SH EXIT STATUS")
    for code, meaning in _EXITS.items():
        lines += [".TP", f".B {code}", _text(meaning)]
    lines.append(".SH FILES")
    for path, meaning in _FILES.items():
        lines += [".TP", f".I {_text(path)}", _text(meaning)]
    lines += [".SH ENVIRONMENT", ".TP", ".B REGINFO_CONFIG", "The file of the configuration."]
    lines += [".TP", ".B NO_COLOR", "Output without colours and emphasis.", ""]
    return "\n".join(lines)


def _command(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    pieces = " ".join(command.collect_usage_pieces(context))
    yield f".SS {_text(name)}"
    yield rf"\fB{_text(name)}\fR {_text(pieces)}"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield ".PP"
        if paragraph.startswith("\b"):
            yield from (".nf", *(_text(line) for line in paragraph.splitlines()[1:]), ".fi")
        else:
            yield _text(" ".join(paragraph.split()))
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and isinstance(parameter, click.Option) and "--help" not in parameter.opts:
            yield ".TP"
            yield rf"\fB{_text(record[0])}\fR"
            yield _text(record[1])


def _text(text: str) -> str:
    """Return text that is no macro and no escape."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(manual())
