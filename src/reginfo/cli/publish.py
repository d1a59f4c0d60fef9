"""`reginfo publish`: hand a reginfo document to a compositor (RFC 3903)."""

import re
from pathlib import Path
from typing import BinaryIO, Final

import click

from reginfo.cli import EXIT_FAILED, Failed
from reginfo.cli._agent import Agent, aor_argument, refuse, run, server_hop, server_option
from reginfo.cli._password import account_of, account_options
from reginfo.cli._remote import config_option, json_option, print_json, printable
from reginfo.fast import SipMessage, SipParseError, parse_reginfo
from reginfo.sip.authorization import Account
from reginfo.sip.routing import Hop
from reginfo.sip.subscription import DOCUMENT_TYPE, PACKAGE

_TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")  # RFC 3261 section 25.1


def _entity_tag(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Return an entity-tag as it is; wrong usage if it is no token."""
    if value is not None and _TOKEN.fullmatch(value) is None:
        raise click.BadParameter("must be a token")
    return value


@click.command()
@click.argument("aor", callback=aor_argument)
@click.argument("source", metavar="[FILE|-]", type=click.File("rb"), required=False)
@click.option("--expires", type=click.IntRange(0, 2**32 - 1), default=3600, show_default=True, metavar="SECONDS")
@click.option(
    "--etag", callback=_entity_tag, metavar="TAG", help="Entity-tag of what is modified, refreshed or removed."
)
@server_option
@account_options
@json_option
@config_option
def publish(
    aor: str,
    source: BinaryIO | None,
    expires: int,
    etag: str | None,
    server: str | None,
    user: str | None,
    from_stdin: bool,
    as_json: bool,
    file: Path | None,
) -> None:
    """Publish the reginfo document in FILE as the state of AOR, and print its entity-tag.

    With --etag and without FILE what was published is refreshed, or removed with --expires 0.

    \b
    Examples:
      reginfo publish alice@example.com state.xml
    """
    if from_stdin and source is not None and source.name == "<stdin>":
        raise click.UsageError("Standard input is either the FILE or the password.")
    account = account_of(user, from_stdin)
    body = b"" if source is None else source.read()
    if source is None and etag is None:
        raise click.UsageError("Give a FILE, or the --etag of what is to be refreshed.")
    if source is not None:
        try:
            parse_reginfo(body)
        except SipParseError as error:
            raise Failed(f"{printable(source.name)}: {error}", EXIT_FAILED) from error
    response = run(_publish(server_hop(server, file), aor, body, expires, etag, account))
    refuse(response, account)
    if as_json:
        print_json({"aor": aor, "etag": response.sip_etag, "expires": response.expires})
    else:
        click.echo(response.sip_etag or "")


async def _publish(
    hop: Hop, aor: str, body: bytes, expires: int, etag: str | None, account: Account | None
) -> SipMessage:
    headers = [("Event", PACKAGE), ("Expires", str(expires))]
    if etag is not None:
        headers.append(("SIP-If-Match", etag))
    if body:
        headers.append(("Content-Type", DOCUMENT_TYPE))
    async with Agent(hop, account=account) as agent:
        return await agent.ask("PUBLISH", aor, headers, body)
