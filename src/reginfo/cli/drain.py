"""`reginfo drain`: end a running server."""

from pathlib import Path

import click

from reginfo.cli._remote import config_option, confirm, connected, socket_option


@click.command()
@click.option("--final", is_flag=True, help="It does not come back: end subscriptions and publications first.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@socket_option
@config_option
def drain(final: bool, yes: bool, socket: str | None, file: Path | None) -> None:
    """Have the running server finish what it has begun, save what it knows, and end, as SIGTERM does.

    With --final its watchers are told that their subscriptions are over (terminated;reason=deactivated), what it has
    published is removed, and its own subscriptions end; it waits some seconds for the answers.  Without, all of them go
    on after the next start.

    \b
    Examples:
      reginfo drain -y
      reginfo drain --final
    """
    confirm("End the server for good?" if final else "End the server?", yes)
    with connected(socket, file) as call:
        call("reg.drain", [final])
    click.echo("the server ends")
