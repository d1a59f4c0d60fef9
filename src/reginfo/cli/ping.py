"""`reginfo ping`: ask a SIP server whether it is there."""

import time

import click

from reginfo.cli._agent import Agent, refuse, run, server_hop
from reginfo.cli._password import account_of, account_options
from reginfo.cli._remote import json_option, print_json, printable, utf8
from reginfo.fast import SipMessage
from reginfo.sip.authorization import CHALLENGES, Account
from reginfo.sip.routing import Hop


@click.command()
@click.argument("uri", callback=utf8)
@account_options
@json_option
def ping(uri: str, user: str | None, from_stdin: bool, as_json: bool) -> None:
    """Send an OPTIONS to a SIP URI, and print what is answered and after how long.

    Any answer at all means that the server is there; the exit code is 4 without one.

    \b
    Examples:
      reginfo ping sip:example.com
    """
    hop = server_hop(uri, None, "URI")
    target = uri if uri.lower().startswith(("sip:", "sips:")) else f"sip:{uri}"
    account = account_of(user, from_stdin)
    response, seconds = run(_ping(hop, target, account))
    if account is not None and response.status in CHALLENGES:
        refuse(response, account)
    allow = response.header("Allow")
    if as_json:
        answer = {"uri": target, "status": response.status, "reason": response.reason}
        print_json({**answer, "ms": round(seconds * 1000, 3), "allow": allow})
        return
    click.echo(f"{response.status} {printable(response.reason)} in {seconds * 1000:.1f} ms")
    if allow:
        click.echo(f"  allows {printable(allow)}")


async def _ping(hop: Hop, uri: str, account: Account | None) -> tuple[SipMessage, float]:
    async with Agent(hop, account=account) as agent:
        began = time.monotonic()
        response = await agent.ask("OPTIONS", uri, [("Accept", "application/reginfo+xml")], identity=agent.contact)
        return response, time.monotonic() - began
