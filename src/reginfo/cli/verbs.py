"""The administrative verbs of RFC 3680 section 5.2: create, shorten, deactivate, probation, reject.

Watchers and phones are told which of them it was.
"""

from pathlib import Path
from typing import Any

import click

from reginfo.cli._remote import config_option, confirm, connected, print_registration, printable, socket_option, utf8
from reginfo.cli.ul import preference

_aor = click.argument("aor", callback=utf8)
_contact = click.argument("contact", required=False, callback=utf8)
_yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
_Seconds = click.IntRange(1, 2**32 - 1)


@click.command()
@_aor
@click.argument("contact", callback=utf8)
@click.option("--expires", type=_Seconds, default=3600, show_default=True, metavar="SECONDS", help="Lifetime.")
@click.option("--q", type=float, callback=preference, metavar="Q", help="Preference, 0 to 1.")
@socket_option
@config_option
def create(aor: str, contact: str, expires: int, q: float | None, socket: str | None, file: Path | None) -> None:
    """Bind the URI CONTACT to AOR (event `created`).

    \b
    Examples:
      reginfo create alice@example.com sip:desk@192.0.2.10
    """
    with connected(socket, file) as call:
        print_registration(call("reg.create", [aor, contact, expires, q]))


@click.command()
@_aor
@_contact
@click.option("--expires", type=_Seconds, default=60, show_default=True, metavar="SECONDS", help="Time that is left.")
@socket_option
@config_option
def shorten(aor: str, contact: str | None, expires: int, socket: str | None, file: Path | None) -> None:
    """Let CONTACT, a URI or a contact id, or all contacts of AOR end sooner (event `shortened`).

    \b
    Examples:
      reginfo shorten alice@example.com --expires 30
    """
    with connected(socket, file) as call:
        count = call("reg.shorten", [aor, contact, expires])["Shortened"]
        click.echo(f"shortened {count} contact{'' if count == 1 else 's'}")


@click.command()
@_aor
@_contact
@_yes
@socket_option
@config_option
def deactivate(aor: str, contact: str | None, yes: bool, socket: str | None, file: Path | None) -> None:
    """End CONTACT or all contacts of AOR; the phone should register again at once (event `deactivated`).

    \b
    Examples:
      reginfo deactivate alice@example.com
    """
    _end("reg.deactivate", "Deactivate", aor, contact, [], yes, socket, file)


@click.command()
@_aor
@_contact
@click.option(
    "--retry-after", type=_Seconds, default=60, show_default=True, metavar="SECONDS", help="When to come back."
)
@_yes
@socket_option
@config_option
def probation(
    aor: str, contact: str | None, retry_after: int, yes: bool, socket: str | None, file: Path | None
) -> None:
    """End CONTACT or all contacts of AOR; the phone may register again later (event `probation`).

    \b
    Examples:
      reginfo probation -y alice@example.com --retry-after 300
    """
    _end("reg.probation", "Put on probation", aor, contact, [retry_after], yes, socket, file)


@click.command()
@_aor
@_contact
@_yes
@socket_option
@config_option
def reject(aor: str, contact: str | None, yes: bool, socket: str | None, file: Path | None) -> None:
    """End CONTACT or all contacts of AOR; to register again will not help the phone (event `rejected`).

    \b
    Examples:
      reginfo reject alice@example.com sip:desk@192.0.2.10
    """
    _end("reg.reject", "Reject", aor, contact, [], yes, socket, file)


def _end(
    method: str,
    verb: str,
    aor: str,
    contact: str | None,
    more: list[Any],
    yes: bool,
    socket: str | None,
    file: Path | None,
) -> None:
    confirm(f"{verb} {contact or 'all contacts'} of {aor}?", yes)
    with connected(socket, file) as call:
        count = call(method, [aor, contact, *more])["Removed"]
        click.echo(f"ended {count} contact{'' if count == 1 else 's'} of {printable(aor)}")
