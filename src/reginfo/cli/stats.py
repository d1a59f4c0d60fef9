"""`reginfo stats`: the counters of a running server."""

from collections.abc import Mapping
from pathlib import Path

import click

from reginfo.cli._remote import (
    config_option,
    connected,
    is_plain,
    json_option,
    print_json,
    printable,
    socket_option,
    utf8,
)


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
    if not is_plain():
        _show(statistics)
        return
    for group, values in sorted(statistics.items()):
        for name, value in values.items():
            click.echo(f"{group}:{name} = {value}")


def _show(statistics: Mapping[str, Mapping[str, int]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("group", "name", box=None, pad_edge=False)
    table.add_column("value", justify="right")
    for group, values in sorted(statistics.items()):
        for number, (name, value) in enumerate(values.items()):
            table.add_row("" if number else printable(group), printable(name), f"{value:,}")
    Console(markup=False).print(table)
