"""`reginfo lint`: whether reginfo documents can be read, and what other readers may stumble over."""

from typing import Any, BinaryIO

import click

from reginfo.cli import EXIT_FAILED
from reginfo.cli._remote import json_option, print_json, printable
from reginfo.fast import Reginfo, ReginfoContact, SipParseError, parse_reginfo, parse_uri


@click.command()
@click.argument("sources", metavar="FILE|-...", type=click.File("rb"), nargs=-1, required=True)
@json_option
def lint(sources: tuple[BinaryIO, ...], as_json: bool) -> int:
    """Read reginfo documents (RFC 3680), and say what is wrong with them.

    The exit code is 1 if one of them cannot be read; warnings do not change it.

    \b
    Examples:
      reginfo lint state.xml
    """
    failed = False
    for source in sources:
        report = examine(source.read())
        failed |= report["error"] is not None
        if as_json:
            print_json({"file": source.name, **report})
            continue
        for warning in report["warnings"]:
            click.echo(f"{printable(source.name)}: warning: {printable(warning)}")
        if report["error"] is not None:
            click.echo(f"{printable(source.name)}: {printable(report['error'])} at octet {report['offset']}")
        else:
            click.echo(
                f"{printable(source.name)}: ok, {report['state']} state, version {report['version']}, "
                f"registrations {report['registrations']}, contacts {report['contacts']}"
            )
    return EXIT_FAILED if failed else 0


def examine(data: bytes) -> dict[str, Any]:
    """Return what there is to say about a document."""
    try:
        document = parse_reginfo(data)
    except SipParseError as error:
        return {"error": error.reason, "offset": error.offset, "warnings": []}
    return {
        "error": None,
        "offset": None,
        "version": document.version,
        "state": document.state,
        "registrations": len(document.registrations),
        "contacts": sum(len(registration.contacts) for registration in document.registrations),
        "warnings": warnings(document),
    }


def warnings(document: Reginfo) -> list[str]:
    """Return what is no reason to refuse a document, and yet not as RFC 3680 wants it."""
    found = []
    for registration in document.registrations:
        active = [contact for contact in registration.contacts if contact.active]
        if registration.state == "active" and not active and document.full:
            found.append(f"{registration.aor}: active without an active contact (section 5.3.1)")
        if registration.state != "active" and active:
            found.append(f"{registration.aor}: {registration.state} with an active contact (section 5.3.1)")
        for contact in registration.contacts:
            found += [f"{registration.aor}: contact {contact.id}: {text}" for text in _contact_warnings(contact)]
    return found


def _contact_warnings(contact: ReginfoContact) -> list[str]:
    found = []
    ending = contact.event in ("expired", "deactivated", "probation", "unregistered", "rejected")
    if contact.event is None:
        found.append("event is none of section 5.2")
    elif ending == contact.active:
        found.append(f"{contact.state} by event {contact.event} (section 5.2)")
    if contact.event == "shortened" and contact.expires is None:
        found.append("shortened without expires (section 5.3.2)")
    if contact.event == "probation" and contact.retry_after is None:
        found.append("probation without retry-after (section 5.3.2)")
    try:
        parse_uri(contact.uri)
    except SipParseError as error:
        found.append(f"uri: {error.reason}")
    return found
