"""`reginfo ul import`, `export`: contacts from and to files, and Kamailio's table `location`."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from reginfo.admin.transfer import MAX_IMPORT
from reginfo.cli import EXIT_FAILED, EXIT_USAGE, Failed
from reginfo.cli._contact_files import FORMATS, STANDARD, Found, read_contacts, sqlite_path, write_contacts
from reginfo.cli._kamailio_table import rows_in
from reginfo.cli._progress import counted
from reginfo.cli._remote import (
    BULK_TIMEOUT,
    Call,
    config_option,
    confirm,
    connected,
    json_option,
    print_json,
    printable,
    socket_option,
    utf8,
    walk,
)
from reginfo.config import load_config

MAX_OCTETS: Final = 60_000  # of the contacts in one request, which has a limit

_format = click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Of FILE: a registration a line as JSON (the default), or Kamailio's columns as CSV.  "
    "sqlite:PATH always has Kamailio's.",
)


@click.command("import")
@click.argument("source", metavar="FILE|-|sqlite:PATH", callback=utf8)
@_format
@click.option(
    "--domain", metavar="NAME", help="Of rows without one; default: pua_reginfo.default_domain of the configuration."
)
@json_option
@socket_option
@config_option
def import_contacts(
    source: str,
    form: str | None,
    domain: str | None,
    as_json: bool,
    socket: str | None,
    file: Path | None,
) -> int:
    """Bind the contacts in a file, or in Kamailio's table `location`, at the running server.

    They keep what their phones have said of them.  A row that cannot be bound is named on standard error, and the
    rest goes on; the exit code is 1 then.

    \b
    Examples:
      reginfo ul import sqlite:/var/lib/kamailio/kamailio.sqlite
      reginfo ul import location.csv --format kamailio --domain example.com
    """
    domain = domain or load_config(file).config.default_domain
    totals = {"added": 0, "replaced": 0, "expired": 0, "skipped": 0, "failed": 0}
    found = read_contacts(source, _form(source, form), domain, time.time())
    with connected(socket, file, BULK_TIMEOUT) as call, counted("contacts imported") as count:
        for batch in batches(found, totals):
            _bind(call, batch, totals)
            count(len(batch))
    if as_json:
        print_json({"source": source, **totals})
    else:
        click.echo(", ".join(f"{name} {number}" for name, number in totals.items()))
    return EXIT_FAILED if totals["failed"] else 0


def _form(name: str, form: str | None) -> str:
    if sqlite_path(name) is not None and form == "ndjson":
        raise Failed(f"{name}: a database has Kamailio's columns", EXIT_USAGE)
    return form or "ndjson"


def batches(found: Iterable[Found], totals: dict[str, int]) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Yield contacts as many at a time as one request may hold; count and report those that are none."""
    batch: list[tuple[str, dict[str, Any]]] = []
    octets = 0
    for where, contact in found:
        if isinstance(contact, ValueError):
            _report(where, str(contact), totals)
            continue
        if contact.get("Origin") not in (None, "local"):
            totals["skipped"] += 1  # it was somebody else's, who tells of it again
            continue
        try:
            size = len(json.dumps(contact, ensure_ascii=False).encode())
        except (TypeError, ValueError):  # a value SQLite keeps as octets, or octets that are no UTF-8
            _report(where, "holds what is no text", totals)
            continue
        if size > MAX_OCTETS:
            _report(where, f"longer than {MAX_OCTETS} octets", totals)
            continue
        if batch and (len(batch) == MAX_IMPORT or octets + size > MAX_OCTETS):
            yield batch
            batch, octets = [], 0
        batch.append((where, contact))
        octets += size
    if batch:
        yield batch


def _bind(call: Call, batch: list[tuple[str, dict[str, Any]]], totals: dict[str, int]) -> None:
    result = call("reg.import", {"contacts": [contact for _, contact in batch]})
    for name in ("Added", "Replaced", "Expired"):
        totals[name.lower()] += result[name]
    for failure in result["Failed"]:
        _report(batch[failure["Index"]][0], failure["Error"], totals)


def _report(where: str, reason: str, totals: dict[str, int]) -> None:
    totals["failed"] += 1
    click.echo(f"{where}: {printable(reason)}", err=True)


@click.command("export")
@click.argument("target", metavar="FILE|-|sqlite:PATH", callback=utf8)
@_format
@click.option("-y", "--yes", is_flag=True, help="Replace what is there without asking.")
@json_option
@socket_option
@config_option
def export_contacts(
    target: str, form: str | None, yes: bool, as_json: bool, socket: str | None, file: Path | None
) -> None:
    """Write all contacts of the running server to a file, or as Kamailio's table `location`.

    \b
    Examples:
      reginfo ul export contacts.ndjson
      reginfo ul export sqlite:/var/lib/kamailio/kamailio.sqlite -y
    """
    form = _form(target, form)
    database = sqlite_path(target)
    there = bool(rows_in(database)) if database is not None else target != STANDARD and Path(target).exists()
    if there:
        confirm(f"Replace what is in {target}?", yes)
    totals = {"aors": 0, "contacts": 0}
    with connected(socket, file, BULK_TIMEOUT) as call, counted("contacts exported") as count:
        write_contacts(target, form, _counting(walk(call, "reg.export"), totals, count))
    if target == STANDARD:
        return
    if as_json:
        print_json({"target": target, **totals})
    else:
        click.echo(", ".join(f"{name} {number}" for name, number in totals.items()))


def _counting(
    registrations: Iterable[dict[str, Any]], totals: dict[str, int], count: Callable[[int], None]
) -> Iterator[dict[str, Any]]:
    for registration in registrations:
        contacts = len(registration["Contacts"])
        totals["aors"] += 1
        totals["contacts"] += contacts
        yield registration
        count(contacts)
