"""`reginfo subscribe`, `unsubscribe`: have a running server follow registrations of other servers."""

from pathlib import Path
from typing import Any

import click

from reginfo.cli._remote import config_option, connected, json_option, print_json, printable, socket_option, utf8


@click.command()
@click.argument("uri", required=False, callback=utf8)
@click.option(
    "--expires", type=click.IntRange(1, 2**32 - 1), default=3600, show_default=True, metavar="SECONDS", help="Lifetime."
)
@json_option
@socket_option
@config_option
def subscribe(uri: str | None, expires: int, as_json: bool, socket: str | None, file: Path | None) -> None:
    """Have the server follow the registration of URI at other servers; without URI list what it follows.

    What is learned is in its location service, under the origin of the server that said it.

    \b
    Examples:
      reginfo subscribe alice@example.com
      reginfo subscribe --json
    """
    with connected(socket, file) as call:
        if uri is None:
            cursor = 0
            while cursor is not None:
                page = call("reg.subscriptions", {"role": "subscriber", "cursor": cursor})
                for one in page["subscriptions"]:
                    _show(one, as_json)
                cursor = page["cursor"]
            return
        servers = call("reg.subscribe", [uri, expires])["Servers"]
        if as_json:
            print_json({"uri": uri, "servers": servers})
        else:
            click.echo(f"following {printable(uri)} at {servers} server{'' if servers == 1 else 's'}")


def _show(subscription: dict[str, Any], as_json: bool) -> None:
    aor, server, state, contacts = (subscription[name] for name in ("aor", "remote", "state", "contacts"))
    if as_json:
        print_json({"AoR": aor, "Server": server, "State": state, "Contacts": contacts})
    else:
        click.echo(printable(f"{aor}  {server}  {state}  contacts {contacts}"))


@click.command()
@click.argument("uri", callback=utf8)
@socket_option
@config_option
def unsubscribe(uri: str, socket: str | None, file: Path | None) -> None:
    """Have the server follow the registration of URI no longer.

    \b
    Examples:
      reginfo unsubscribe alice@example.com
    """
    with connected(socket, file) as call:
        servers = call("reg.unsubscribe", [uri])["Servers"]
        click.echo(f"not following {printable(uri)} any more at {servers} server{'' if servers == 1 else 's'}")
