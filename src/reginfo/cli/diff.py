"""`reginfo diff`: what differs between the registration states that two documents show."""

from typing import Any, BinaryIO

import click

from reginfo.cli import EXIT_FAILED, EXIT_USAGE, Failed
from reginfo.cli._remote import json_option, print_json, printable
from reginfo.fast import Reginfo, ReginfoContact, SipParseError, diff_reginfo, parse_reginfo

_COMPARED = ("event", "q", "call_id", "cseq", "display_name", "params", "path", "received", "user_agent", "flow")


@click.command()
@click.argument("before", metavar="BEFORE|-", type=click.File("rb"))
@click.argument("after", metavar="AFTER|-", type=click.File("rb"))
@json_option
def diff(before: BinaryIO, after: BinaryIO, as_json: bool) -> int:
    """Print what changes from the reginfo document BEFORE to AFTER: contacts added (+), removed (-), changed (~).

    Contacts are the same if their URIs are equal (RFC 3261 section 19.1.4).  The exit code is 0 if nothing differs, 1
    if something does, 2 if one of them cannot be read.

    \b
    Examples:
      reginfo diff before.xml after.xml
    """
    delta = diff_reginfo(_read(before), _read(after))
    for registration in delta.registrations:
        changes = [
            *(("-", contact, None) for contact in registration.removed),
            *(("+", None, contact) for contact in registration.added),
            *(("~", old, new) for old, new in registration.changed),
        ]
        if as_json:
            print_json(
                {"aor": registration.aor, "state": registration.state, "contacts": [_fields(*one) for one in changes]}
            )
            continue
        click.echo(f"{printable(registration.aor)}  {registration.state}")
        for sign, old, new in changes:
            contact = new or old
            assert contact is not None
            click.echo(f"{sign} {printable(contact.uri)}{_words(old, new)}")
    return EXIT_FAILED if delta.registrations else 0


def _read(source: BinaryIO) -> Reginfo:
    try:
        return parse_reginfo(source.read())
    except SipParseError as error:
        raise Failed(f"{source.name}: {error}", EXIT_USAGE) from error


def _differences(old: ReginfoContact, new: ReginfoContact) -> dict[str, tuple[object, object]]:
    pairs = {name: (getattr(old, name), getattr(new, name)) for name in _COMPARED}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _words(old: ReginfoContact | None, new: ReginfoContact | None) -> str:
    if old is None or new is None:
        return ""
    shown = [f"{name} {printable(a)} -> {printable(b)}" for name, (a, b) in _differences(old, new).items()]
    return f"  ({', '.join(shown)})"


def _fields(sign: str, old: ReginfoContact | None, new: ReginfoContact | None) -> dict[str, Any]:
    contact = new or old
    assert contact is not None
    changed = _differences(old, new) if old is not None and new is not None else {}
    return {
        "change": {"-": "removed", "+": "added", "~": "changed"}[sign],
        "uri": contact.uri,
        "differences": {name: {"before": a, "after": b} for name, (a, b) in changed.items()},
    }
