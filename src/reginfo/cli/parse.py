"""`reginfo parse`: a SIP message as the server reads it, in JSON."""

import json
from typing import BinaryIO

import click

from reginfo.cli import EXIT_FAILED, Failed
from reginfo.cli._remote import json_option, print_json
from reginfo.fast import Contact, NameAddr, SipMessage, SipParseError, Via, parse_message


@click.command()
@click.argument("source", metavar="FILE|-", type=click.File("rb"))
@json_option
def parse(source: BinaryIO, as_json: bool) -> None:
    """Print the SIP message in FILE, or standard input, as JSON.

    A message that is malformed is named with the reason, where it is and the answer it gets; the exit code is 1.

    \b
    Examples:
      reginfo parse register.sip
    """
    try:
        document = message_fields(parse_message(source.read()))
    except SipParseError as error:
        owed = f"a request like it is answered {error.status}" if error.status else "it is dropped unanswered"
        raise Failed(f"{source.name}: {error.reason} at octet {error.offset}; {owed}", EXIT_FAILED) from error
    if as_json:
        print_json(document)
    else:
        click.echo(json.dumps(document, indent=2))


def message_fields(message: SipMessage) -> dict[str, object]:
    """Return start line, typed values and every header row as written."""
    start: dict[str, object]
    if message.is_request:
        start = {"method": message.method, "request_uri": message.request_uri}
    else:
        start = {"status": message.status, "reason": message.reason}
    return start | {
        "via": [_via(via) for via in message.vias],
        "from": _name_addr(message.from_),
        "to": _name_addr(message.to),
        "call_id": message.call_id,
        "cseq": {"number": message.cseq, "method": message.cseq_method},
        "max_forwards": message.max_forwards,
        "contacts": "*" if message.contact_star else [_contact(contact) for contact in message.contacts],
        "expires": message.expires,
        "route": [_name_addr(route) for route in message.routes],
        "path": [_name_addr(hop) for hop in message.path],
        "supported": message.supported,
        "require": message.require,
        "content_type": message.content_type,
        "headers": [{"name": name, "value": value} for name, value in message.rows()],
        "body": message.body.decode("utf-8", "backslashreplace"),
    }


def _via(via: Via) -> dict[str, object]:
    return {
        "transport": via.transport,
        "host": via.host,
        "port": via.port,
        "branch": via.branch,
        "received": via.received,
        "rport": via.rport,
    }


def _name_addr(value: NameAddr) -> dict[str, object]:
    return {"display_name": value.display_name, "uri": value.uri, "parameters": dict(value.parameters)}


def _contact(contact: Contact) -> dict[str, object]:
    return {
        "display_name": contact.display_name,
        "uri": contact.uri,
        "q": None if contact.q is None else contact.q / 1000,
        "expires": contact.expires,
        "instance": contact.instance,
        "reg_id": contact.reg_id,
        "parameters": dict(contact.parameters),
    }
