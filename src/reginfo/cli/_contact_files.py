"""Files of contacts: one registration a line as JSON, Kamailio's columns as CSV, Kamailio's table in SQLite."""

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

from reginfo.cli import _kamailio_table as kamailio
from reginfo.errors import ReginfoError

SQLITE: Final = "sqlite:"
STANDARD: Final = "-"
FORMATS: Final = ("ndjson", "kamailio")
MAX_LINE: Final = 1 << 24  # characters of a line: a registration with the most and longest contacts

Found = tuple[str, dict[str, Any] | ValueError]
"Where it stands, and a contact as reg.import takes it or what is wrong with it."


def sqlite_path(name: str) -> Path | None:
    """Return the database that sqlite:PATH names, None for the name of a file."""
    return Path(name.removeprefix(SQLITE)) if name.startswith(SQLITE) else None


def read_contacts(name: str, form: str, default_domain: str, now: float) -> Iterator[Found]:
    """Yield the contacts in a file or database, one after the other; ReginfoError if it cannot be read."""
    database = sqlite_path(name)
    if database is not None:
        yield from _from_rows(kamailio.read_sqlite(database), default_domain, now)
        return
    with _opened(name) as file:
        if form == "kamailio":
            yield from _from_rows(_csv_rows(name, file), default_domain, now)
        else:
            yield from _from_lines(file)


@contextmanager
def _opened(name: str) -> Iterator[TextIO]:
    if name == STANDARD:
        yield sys.stdin
        return
    # What is no UTF-8 is wrong with its line, not with the file.
    with Path(name).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        yield file


def _from_rows(rows: Iterable[tuple[str, Mapping[str, Any]]], default_domain: str, now: float) -> Iterator[Found]:
    for where, row in rows:
        try:
            yield where, kamailio.contact_of(row, default_domain, now)
        except (ValueError, TypeError) as error:
            yield where, ValueError(str(error))


def _csv_rows(name: str, file: TextIO) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(file, strict=True)
    try:
        missing = {"username", "contact", "expires"} - set(reader.fieldnames or ())
        if missing:
            raise ReginfoError(f"{name}: no column {min(missing)} in the first line")
        for row in reader:
            yield f"line {reader.line_num}", row
    except csv.Error as error:
        raise ReginfoError(f"{name}: line {reader.line_num}: {error}") from None


def _from_lines(file: TextIO) -> Iterator[Found]:
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        where = f"line {number}"
        if not line.strip():
            continue
        try:
            yield from _contacts_in(where, json.loads(line))
        except (ValueError, RecursionError) as error:
            yield where, ValueError(f"not JSON: {error}")


def _contacts_in(where: str, document: object) -> Iterator[Found]:
    """Yield the contacts of a registration as ul.dump and reg.export show it, or the one contact there is."""
    if not isinstance(document, dict):
        yield where, ValueError("no registration")
        return
    contacts = document.get("Contacts", [document])
    if not isinstance(contacts, list) or not all(isinstance(contact, dict) for contact in contacts):
        yield where, ValueError("Contacts: no list of contacts")
        return
    for number, contact in enumerate(contacts, 1):
        place = where if len(contacts) == 1 else f"{where}, contact {number}"
        yield place, {"AoR": document.get("AoR"), **contact}


def write_contacts(name: str, form: str, registrations: Iterable[Mapping[str, Any]]) -> None:
    """Write registrations as reg.export gives them; what was there is replaced once all of it is written."""
    database = sqlite_path(name)
    if database is not None:
        kamailio.write_sqlite(database, (row for one in registrations for row in kamailio.rows_of(one)))
        return
    if name == STANDARD:
        _write(sys.stdout, form, registrations)
        return
    part = Path(f"{name}.part")
    try:
        with open(part, "w", encoding="utf-8", newline="", opener=_private) as file:
            _write(file, form, registrations)
        part.replace(name)
    finally:
        part.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)  # who is where is nobody else's business


def _write(file: TextIO, form: str, registrations: Iterable[Mapping[str, Any]]) -> None:
    if form != "kamailio":
        file.writelines(json.dumps(registration) + "\n" for registration in registrations)
        return
    writer = csv.DictWriter(file, list(kamailio.COLUMNS), lineterminator="\n")
    writer.writeheader()
    for registration in registrations:
        for row in kamailio.rows_of(registration):
            instants = {name: kamailio.local_text(row[name]) for name in ("expires", "last_modified")}
            writer.writerow({**row, **instants})
