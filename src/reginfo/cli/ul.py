"""`reginfo ul`: look into the location table of a running server, and change it."""

from pathlib import Path
from typing import Final

import click

from reginfo.cli import HelpfulGroup
from reginfo.cli._remote import (
    config_option,
    confirm,
    connected,
    json_option,
    print_json,
    print_registration,
    printable,
    socket_option,
    utf8,
    walk,
)
from reginfo.cli.transfer import export_contacts, import_contacts

DUMP_FIELDS: Final = ("Address", "Expires", "Q", "Call-ID", "CSeq", "User-Agent", "Received", "Path")


def preference(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    """Return a q value as it is; wrong usage if it is out of range or not a number."""
    if value is not None and not 0 <= value <= 1:
        raise click.BadParameter("must be from 0 to 1")
    return value


@click.group(cls=HelpfulGroup)
def ul() -> None:
    """Show and change the bindings of a running server."""


@ul.command()
@click.argument("aor", required=False, callback=utf8)
@json_option
@socket_option
@config_option
def show(aor: str | None, as_json: bool, socket: str | None, file: Path | None) -> None:
    """Show the contacts of AOR, or of all.

    AOR is written sip:alice@example.com or alice@example.com.

    \b
    Examples:
      reginfo ul show alice@example.com
      reginfo ul show --json
    """
    with connected(socket, file) as call:
        for registration in [call("ul.lookup", [aor])] if aor else walk(call):
            if as_json:
                print_json(registration)
            else:
                print_registration(registration)


@ul.command()
@json_option
@socket_option
@config_option
def dump(as_json: bool, socket: str | None, file: Path | None) -> None:
    """Print one line per contact, fields separated by tabs; one line per AoR with --json.

    \b
    Examples:
      reginfo ul dump | cut -f 1,2
    """
    with connected(socket, file) as call:
        for registration in walk(call):
            if as_json:
                print_json(registration)
                continue
            for contact in registration["Contacts"]:
                fields = [registration["AoR"], *(contact[name] for name in DUMP_FIELDS)]
                click.echo("\t".join(map(printable, fields)))


@ul.command()
@click.argument("aor", callback=utf8)
@click.argument("contact", callback=utf8)
@click.option(
    "--expires",
    type=click.IntRange(1, 2**32 - 1),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="Lifetime.",
)
@click.option("--q", type=float, callback=preference, metavar="Q", help="Preference, 0 to 1.")
@socket_option
@config_option
def add(aor: str, contact: str, expires: int, q: float | None, socket: str | None, file: Path | None) -> None:
    """Bind the URI CONTACT to AOR, or refresh it, as the operator.

    \b
    Examples:
      reginfo ul add alice@example.com sip:desk@192.0.2.10 --expires 600
    """
    with connected(socket, file) as call:
        print_registration(call("ul.add", [aor, contact, expires, q]))


@ul.command()
@click.argument("aor", callback=utf8)
@click.argument("contact", required=False, callback=utf8)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@socket_option
@config_option
def rm(aor: str, contact: str | None, yes: bool, socket: str | None, file: Path | None) -> None:
    """Remove CONTACT, a URI or a contact id, from AOR, or all its contacts.

    \b
    Examples:
      reginfo ul rm alice@example.com sip:desk@192.0.2.10
      reginfo ul rm -y alice@example.com
    """
    confirm(f"Remove {contact or 'all contacts'} of {aor}?", yes)
    with connected(socket, file) as call:
        removed = call("ul.rm_contact", [aor, contact]) if contact else call("ul.rm", [aor])
        count = removed["Removed"]
        click.echo(f"removed {count} contact{'' if count == 1 else 's'}")


ul.add_command(import_contacts)
ul.add_command(export_contacts)
