"""Passwords on the command line: from the terminal, standard input or the environment, never an argument."""

import os
import sys
from collections.abc import Callable
from typing import Any, Final

import click

from reginfo.cli import EXIT_FAILED, Failed
from reginfo.cli._remote import utf8
from reginfo.sip.authorization import Account
from reginfo.store.ha1 import MAX_PASSWORD, BadUser, checked_password, checked_username

ENVIRONMENT: Final = "REGINFO_PASSWORD"

stdin_option = click.option(
    "--password-stdin", "from_stdin", is_flag=True, help="Take the password from standard input, one line."
)

_user_option = click.option(
    "--user",
    metavar="NAME",
    callback=utf8,
    help=f"User name, if the server asks for one; the password is in ${ENVIRONMENT}, or asked for.",
)


def account_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options --user and --password-stdin."""
    return _user_option(stdin_option(command))


def account_of(user: str | None, from_stdin: bool) -> Account | None:
    """Return who is acting; None if nobody says."""
    if user is None:
        if from_stdin:
            raise click.UsageError("--password-stdin needs --user")
        return None
    try:
        name = checked_username(user)
    except BadUser as error:
        raise click.BadParameter(str(error), param_hint="'--user'") from None
    given = os.environ.get(ENVIRONMENT)
    if from_stdin or given is None:
        return Account(name, read_password(from_stdin, hint=f"--password-stdin or ${ENVIRONMENT}"))
    return Account(name, _checked(given))


def read_password(from_stdin: bool, *, confirm: bool = False, hint: str = "--password-stdin") -> str:
    """Return the password from standard input or the terminal; hint says how else it can be given."""
    if from_stdin:
        return _checked(sys.stdin.readline(4 * MAX_PASSWORD).removesuffix("\n").removesuffix("\r"))
    if sys.stdin.isatty():
        return _checked(click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True))
    raise click.UsageError(f"standard input is no terminal to ask for a password: give {hint}")


def _checked(text: str) -> str:
    try:
        return checked_password(text)
    except BadUser as error:
        raise Failed(str(error), EXIT_FAILED) from None
