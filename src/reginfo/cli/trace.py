"""`reginfo trace`: the SIP messages of an address-of-record or an address, as a running server gets and sends them."""

from pathlib import Path
from typing import Any, Final

import click

from reginfo.cli._remote import (
    Call,
    bold,
    config_option,
    connected,
    json_option,
    print_json,
    printable,
    socket_option,
    utf8,
)

POLL: Final = 2.0  # seconds the server waits for a message before it answers that there is none


@click.command()
@click.argument("wanted", metavar="[AOR|ADDRESS|NETWORK]", required=False, callback=utf8)
@click.option("--seconds", type=click.IntRange(1, 86_400), default=60, show_default=True, help="End after that time.")
@click.option("--count", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, help="End after so many.")
@click.option("--hep", is_flag=True, help="Send them to the collector of the configuration (trace.hep), too.")
@json_option
@socket_option
@config_option
def trace(
    wanted: str | None, seconds: int, count: int, hep: bool, as_json: bool, socket: str | None, file: Path | None
) -> None:
    """Show the SIP messages of AOR, of ADDRESS (192.0.2.1, 192.0.2.1:5060) or of NETWORK (192.0.2.0/24), as they pass.

    It ends after --seconds or --count, whichever comes first, or with Ctrl-C.  Responses to challenges are masked.
    Without an argument it lists the traces that run.

    \b
    Examples:
      reginfo trace alice@example.com
      reginfo trace 192.0.2.0/24 --seconds 10 --json
    """
    with connected(socket, file) as call:
        if wanted is None:
            traces = call("trace.list", [])
            for one in traces:
                _print_status(one, as_json)
            if not traces:
                click.echo("no trace runs; reginfo trace AOR starts one", err=True)
            return
        started = call("trace.start", {"wanted": wanted, "seconds": seconds, "count": count, "hep": hep})
        try:
            # Whoever reads standard output should get messages alone.
            click.echo(
                f"tracing {printable(started['Trace'])} for {seconds} s or {count} messages, Ctrl-C ends it", err=True
            )
            _follow(call, started["Id"], as_json)
        except (KeyboardInterrupt, BrokenPipeError) as left:
            # By another connection: on this one an answer may be on its way.
            with connected(socket, file) as stop:
                stop("trace.stop", [started["Id"]])
            if isinstance(left, BrokenPipeError):
                raise


def _follow(call: Call, id: int, as_json: bool) -> None:
    cursor = 0
    while True:
        page = call("trace.read", {"id": id, "cursor": cursor, "wait": POLL})
        cursor = page["Cursor"]
        if page["Missed"]:
            click.echo(f"{page['Missed']} messages were not read in time and are lost", err=True)
        for message in page["Messages"]:
            if as_json:
                print_json(message)
            else:
                _print_message(message)
        if page["Trace"]["State"] == "ended" and cursor >= page["Trace"]["Messages"]:
            click.echo(f"ended after {page['Trace']['Messages']} messages", err=True)
            return


def _print_message(message: dict[str, Any]) -> None:
    arrow = "->" if message["Direction"] == "out" else "<-"
    ends = f"{message['Source']} -> {message['Destination']}"
    click.echo(bold(f"{message['Time']}  {arrow}  {message['Transport'].upper()}  {ends}"))
    for line in message["Message"].replace("\r\n", "\n").split("\n"):
        click.echo(printable(line))


def _print_status(one: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(one)
        return
    exported = "  hep" if one["HEP"] else ""
    left = f"{one['State']}  seconds {one['Seconds']}  messages {one['Messages']} of {one['Count']}{exported}"
    click.echo(f"{one['Id']}  {printable(one['Trace'])}  {left}")
