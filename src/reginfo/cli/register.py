"""`reginfo register`: bind a contact the way a phone does."""

from pathlib import Path

import click

from reginfo.cli._agent import Agent, aor_argument, refuse, run, server_hop, server_option
from reginfo.cli._password import account_of, account_options
from reginfo.cli._remote import config_option, json_option, print_json, printable
from reginfo.cli.ul import preference
from reginfo.fast import SipMessage, SipParseError, parse_uri
from reginfo.sip.authorization import Account
from reginfo.sip.routing import Hop


def _contact_argument(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Return a contact as it is; wrong usage if it is neither "*" nor a URI, which could end the header early."""
    if value is not None and value != "*":
        try:
            parse_uri(value)
        except (SipParseError, UnicodeEncodeError) as error:
            raise click.BadParameter(getattr(error, "reason", "must be UTF-8")) from None
    return value


@click.command()
@click.argument("aor", callback=aor_argument)
@click.argument("contact", required=False, callback=_contact_argument)
@click.option("--expires", type=click.IntRange(0, 2**32 - 1), metavar="SECONDS", help="Lifetime; 0 removes.")
@click.option("--q", type=float, callback=preference, metavar="Q", help="Preference, 0 to 1.")
@server_option
@account_options
@json_option
@config_option
def register(
    aor: str,
    contact: str | None,
    expires: int | None,
    q: float | None,
    server: str | None,
    user: str | None,
    from_stdin: bool,
    as_json: bool,
    file: Path | None,
) -> None:
    """Send a REGISTER that binds the URI CONTACT to AOR, and print what is bound then.

    Without CONTACT nothing is bound, and what is bound already is printed; CONTACT "*" with --expires 0 removes all.

    \b
    Examples:
      reginfo register alice@example.com sip:desk@192.0.2.10
      reginfo register alice@example.com "*" --expires 0
    """
    account = account_of(user, from_stdin)
    response = run(bind(server_hop(server, file), aor, contact, expires, q, account))
    refuse(response, account)
    contacts = [
        {"contact": one.uri, "expires": one.expires, "q": None if one.q is None else one.q / 1000}
        for one in response.contacts
    ]
    if as_json:
        routes = [hop.uri for hop in response.service_route]
        print_json({"aor": aor, "status": response.status, "contacts": contacts, "service_route": routes})
        return
    for one in contacts:
        click.echo(f"{printable(one['contact'])}  expires {one['expires']}")


async def bind(
    hop: Hop,
    aor: str,
    contact: str | None,
    expires: int | None,
    q: float | None,
    account: Account | None = None,
) -> SipMessage:
    """Send a REGISTER and return its final response."""
    headers = [("To", f"<{aor}>")]
    if contact is not None:
        value = contact if contact == "*" else f"<{contact}>" + ("" if q is None else f";q={q:.3f}")
        headers.append(("Contact", value))
    if expires is not None:
        headers.append(("Expires", str(expires)))
    async with Agent(hop, account=account) as agent:
        return await agent.ask("REGISTER", _domain(aor), headers, identity=aor)


def _domain(aor: str) -> str:
    """Return the Request-URI of a REGISTER for an AoR: its domain, without the user (RFC 3261 section 10.2)."""
    uri = parse_uri(aor)
    return f"{uri.scheme}:{uri.host}" + ("" if uri.port is None else f":{uri.port}")
