"""The command line: one module per command group, loaded when its command is used.

Results go to standard output, progress and logs to standard error.  No error shows a traceback.
"""

import logging
import os
import sys
from difflib import get_close_matches
from importlib import import_module
from typing import Final, NoReturn

import click

from reginfo.errors import ConfigError, ReginfoError, ServerUnreachable

logger = logging.getLogger(__name__)

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_FOUND: Final = 3
EXIT_UNREACHABLE: Final = 4
EXIT_PASSWORD: Final = 77  # EX_NOPERM of sysexits.h
EXIT_CONFIG: Final = 78  # EX_CONFIG of sysexits.h

COMMANDS: Final = {
    "serve": "reginfo.cli.serve",
    "demo": "reginfo.cli.demo",
    "watch": "reginfo.cli.watch",
    "register": "reginfo.cli.register",
    "publish": "reginfo.cli.publish",
    "ping": "reginfo.cli.ping",
    "subscribe": "reginfo.cli.follow",
    "unsubscribe": "reginfo.cli.follow",
    "trace": "reginfo.cli.trace",
    "ul": "reginfo.cli.ul",
    "user": "reginfo.cli.user",
    "create": "reginfo.cli.verbs",
    "shorten": "reginfo.cli.verbs",
    "deactivate": "reginfo.cli.verbs",
    "probation": "reginfo.cli.verbs",
    "reject": "reginfo.cli.verbs",
    "stats": "reginfo.cli.stats",
    "webhook": "reginfo.cli.webhook",
    "top": "reginfo.cli.top",
    "doctor": "reginfo.cli.doctor",
    "compare": "reginfo.cli.compare",
    "rpc": "reginfo.cli.rpc",
    "drain": "reginfo.cli.drain",
    "parse": "reginfo.cli.parse",
    "lint": "reginfo.cli.lint",
    "diff": "reginfo.cli.diff",
    "bench": "reginfo.cli.bench",
    "completion": "reginfo.cli.completion",
}
"Command -> the module that holds it under its own name."


class Failed(ReginfoError):
    """A command ends with an exit code of its own."""

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.code = code


class HelpfulGroup(click.Group):
    """A group that names the command which was probably meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = get_close_matches(args[0], self.list_commands(ctx), 1)
            if not close or repr(close[0]) in error.format_message():  # newer versions of click name it themselves
                raise
            raise click.UsageError(f"{error.message} Did you mean {close[0]!r}?", ctx) from None


class LazyGroup(HelpfulGroup):
    """A group whose commands are imported when they are called or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(COMMANDS[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="reginfo", message="reginfo %(version)s")
def root() -> None:
    """SIP registration engine: a registrar, and the tools to look inside it."""


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its documented code."""
    try:
        code = root.main(args, prog_name="reginfo", standalone_mode=False)
        if sys.stdout is not None:  # closed by the caller (`>&-`)
            sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(EXIT_FAILED)
    except BrokenPipeError:
        # The reader left (`| head`); without this the interpreter would complain once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
    except Exception as error:
        logger.debug("command failed", exc_info=error)
        click.echo(f"reginfo: {describe(error)}", err=True)
        sys.exit(exit_code(error))
    sys.exit(code if isinstance(code, int) else 0)


def describe(error: Exception) -> str:
    """Return one line about an error; the type is named where the text was not written for an operator."""
    if isinstance(error, ReginfoError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"unexpected {type(error).__name__}: {error}"


def exit_code(error: Exception) -> int:
    """Return the exit code an error has in the documented table."""
    match error:
        case Failed(code=code):
            return code
        case ConfigError():
            return EXIT_CONFIG
        case ServerUnreachable():
            return EXIT_UNREACHABLE
        case _:
            return EXIT_FAILED
