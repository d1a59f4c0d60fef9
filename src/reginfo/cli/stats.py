"""`reginfo stats`: the counters of a running server."""

from pathlib import Path

import click

from reginfo.cli._remote import config_option, connected, json_option, print_json, socket_option, utf8


@click.command()
@click.argument("which", metavar="[GROUP:[NAME]]", default="all", callback=utf8)
@json_option
@socket_option
@config_option
def stats(which: str, as_json: bool, socket: str | None, file: Path | None) -> None:
    """Print counters: all, those of a group, or one.

    \b
    Examples:
      reginfo stats
      reginfo stats core:loop_lag_ms
    """
    with connected(socket, file) as call:
        statistics = call("stats.get_statistics", [which])
    if as_json:
        print_json(statistics)
        return
    for group, values in sorted(statistics.items()):
        for name, value in values.items():
            click.echo(f"{group}:{name} = {value}")
