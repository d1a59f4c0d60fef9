"""`reginfo doctor`: whether this machine is fit for a server, and what to do where it is not."""

from pathlib import Path

import click

from reginfo.cli import EXIT_FAILED
from reginfo.cli._findings import Finding, findings
from reginfo.cli._remote import config_option, is_plain, json_option, print_json, printable
from reginfo.config import load_config
from reginfo.errors import ConfigError


@click.command()
@json_option
@config_option
def doctor(as_json: bool, file: Path | None) -> int:
    """Look at what a server needs of this machine: limits, clock, store, ports, configuration.

    Whatever is wrong comes with the command that puts it right; the exit code is 1 then.

    \b
    Examples:
      reginfo doctor -c /etc/reginfo/reginfo.toml
      reginfo doctor --json
    """
    found: list[Finding] = []
    try:
        loaded = load_config(file)
    except ConfigError as error:
        command = f"reginfo serve --check-config{f' -c {file}' if file else ''}"
        found.append(Finding("configuration", False, str(error), command))
    else:
        found.append(Finding("configuration", True, str(loaded.file or "defaults")))
        found += findings(loaded.config)
    if as_json:
        for finding in found:
            print_json(finding._asdict())
    elif is_plain():
        for finding in found:
            click.echo(f"{'ok' if finding.ok else 'WRONG'}\t{finding.check}\t{printable(finding.found)}")
            if finding.remedy:
                click.echo(f"\tremedy\t{printable(finding.remedy)}")
    else:
        _show(found)
    return 0 if all(finding.ok for finding in found) else EXIT_FAILED


def _show(found: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in "", "check", "found":
        table.add_column(heading, overflow="fold")
    for finding in found:
        mark = Text("ok", style="green") if finding.ok else Text("wrong", style="bold red")
        words = Text(printable(finding.found))
        if finding.remedy:
            words.append(f"\n{printable(finding.remedy)}", style="bold")
        table.add_row(mark, finding.check, words)
    Console().print(table)
