"""`reginfo rpc`: call any control method of a running server."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from reginfo.admin.control import Params
from reginfo.cli._remote import config_option, connected, json_option, print_json, socket_option, utf8


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("method", callback=utf8)
@click.argument("arguments", metavar="[ARG]...", nargs=-1, type=click.UNPROCESSED)
@json_option
@socket_option
@config_option
def rpc(method: str, arguments: tuple[str, ...], as_json: bool, socket: str | None, file: Path | None) -> None:
    """Call METHOD and print its result as JSON.

    An ARG that is JSON is what it says, any other a string; one JSON object alone holds the parameters by name.
    The exit code is 3 for what is not found.  system.listMethods names the methods.

    \b
    Examples:
      reginfo rpc ul.lookup alice@example.com
      reginfo rpc ul.dump '{"cursor": 0, "limit": 10}'
    """
    values = [_value(text) for text in arguments]
    params: Params = values[0] if len(values) == 1 and isinstance(values[0], dict) else values
    with connected(socket, file) as call:
        result = call(method, params)
    if as_json or not sys.stdout.isatty():
        print_json(result)
    else:
        click.echo(json.dumps(result, indent=2).replace("\x7f", "\\u007f"))


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise click.BadParameter("must be UTF-8", param_hint="ARG") from None
        return text


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
