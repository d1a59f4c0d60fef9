"""What the commands that talk to a running server share: its socket, its errors, safe output."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from reginfo.admin.control import (
    CLIENT_TIMEOUT,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    NOT_FOUND,
    ControlClient,
    Params,
    RpcError,
)
from reginfo.cli import EXIT_FAILED, EXIT_NOT_FOUND, EXIT_PASSWORD, EXIT_USAGE, Failed
from reginfo.config import load_config
from reginfo.errors import ConfigError

Call = Callable[[str, Params], Any]

_EXITS = {NOT_FOUND: EXIT_NOT_FOUND, INVALID_PARAMS: EXIT_USAGE, METHOD_NOT_FOUND: EXIT_USAGE, 401: EXIT_PASSWORD}

DETAILS: Final = (
    ("Expires", "Q", "CSeq", "Event", "Origin"),
    ("Call-ID",),
    ("Instance", "Reg-Id"),
    ("User-Agent",),
    ("Received", "Flow"),
    ("Path",),
    ("Params",),
)
"What is shown of a contact, a line each."

socket_option = click.option(
    "--socket",
    metavar="PATH|URL",
    help="Control socket, or http://HOST:PORT/#token-file=PATH; default: admin.socket of the configuration.",
)
config_option = click.option(
    "-c",
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="Configuration of the server; default: as for serve.",
)
BULK_TIMEOUT: Final = 60.0
"Seconds for an answer where there are thousands to come: a server that is busy then must not end it half-way."

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one document per line.")


def utf8(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Return an argument as it is; wrong usage if the shell handed over octets of another encoding."""
    try:
        (value or "").encode()
    except UnicodeEncodeError:
        raise click.BadParameter("must be UTF-8") from None
    return value


@contextmanager
def connected(socket: str | None, file: Path | None, timeout: float = CLIENT_TIMEOUT) -> Iterator[Call]:
    """Give a way to call the server, which has timeout seconds for each answer; its errors leave as exit codes."""
    path = socket or load_config(file).config.admin.socket
    if not path:
        raise ConfigError("admin.socket is empty: the server has no control socket", key="admin.socket")
    with reached(path, timeout) as call:
        yield call


@contextmanager
def reached(server: str, timeout: float = CLIENT_TIMEOUT) -> Iterator[Call]:
    """Give a way to call the server at a control socket or URL; its errors leave as exit codes."""
    if is_url(server):
        from reginfo.admin.http_client import HttpControlClient

        client: ControlClient | HttpControlClient = HttpControlClient(server, timeout=timeout)
    else:
        client = ControlClient(server, timeout=timeout)
    with client:
        try:
            yield client.call
        except RpcError as error:
            raise Failed(printable(error), _EXITS.get(error.code, EXIT_FAILED)) from error


def is_url(server: str) -> bool:
    """Tell whether a server is named by the URL of its admin interface."""
    return server.lower().startswith(("http://", "https://"))


def walk(call: Call, method: str = "ul.dump") -> Iterator[dict[str, Any]]:
    """Yield every registration, a page of the server at a time."""
    cursor = 0
    while True:
        page = call(method, {"cursor": cursor})
        yield from page["AoRs"]
        cursor = page["Cursor"]
        if not cursor:
            return


def confirm(question: str, yes: bool) -> None:
    """Return if the user wants it; without a terminal to ask on, -y has to say so."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failed(f"{question} There is no terminal to ask on: give -y", EXIT_USAGE)
    click.confirm(question, abort=True, err=True)


def print_json(document: object) -> None:
    # ASCII only: no octet a phone has sent reaches the terminal as it is.
    click.echo(json.dumps(document).replace("\x7f", "\\u007f"))


def printable(value: object) -> str:
    """Return text on one line without control characters: what it shows was written by strangers."""
    text = "-" if value is None else str(value)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def is_plain() -> bool:
    """Tell whether results are for a pipe or a file, or a terminal that cannot move its cursor."""
    return not sys.stdout.isatty() or os.environ.get("TERM") == "dumb"


def bold(text: str) -> str:
    """Return text emphasised where it is shown on a terminal that wants it (no-color.org)."""
    return click.style(text, bold=True) if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


def print_registration(registration: dict[str, Any]) -> None:
    """Print an AoR and its contacts."""
    click.echo(bold(printable(registration["AoR"])))
    for contact in registration["Contacts"]:
        click.echo(f"  {printable(contact['Address'])}")
        for row in DETAILS:
            shown = [f"{name} {printable(contact[name])}" for name in row if contact[name] is not None]
            if shown:
                click.echo(f"    {', '.join(shown)}")
