"""`reginfo top`: what a running server does, second by second."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from reginfo.admin.control import METHOD_NOT_FOUND, RpcError
from reginfo.cli._remote import (
    Call,
    config_option,
    connected,
    is_plain,
    json_option,
    print_json,
    printable,
    socket_option,
)

Sample = dict[str, Any]

_MADE = ("registered", "created", "refreshed", "shortened")  # events that a binding has got, not lost, by
_PER_SECOND = {"requests": "requests/s", "registrations": "registrations/s", "ended": "ended/s", "errors": "errors/s"}
_GAUGES = {
    "registered_aors": "AoRs",
    "contacts": "contacts",
    "pending": "waiting for the store",
    "feed_lag": "changes its readers are behind",
    "loop_lag_ms": "loop lag ms",
    "notifier": "watchers",
    "subscriber": "subscriptions elsewhere",
    "compositor": "publications here",
    "publisher": "publications elsewhere",
}


@click.command()
@click.option("--interval", type=click.FloatRange(0.05, 3600), default=2.0, show_default=True, metavar="SECONDS")
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after so many looks; default: go on.")
@json_option
@socket_option
@config_option
def top(interval: float, count: int | None, as_json: bool, socket: str | None, file: Path | None) -> None:
    """Show rates, lags, peers and subscriptions of the running server until Ctrl-C.

    It is a table that follows on a terminal, else a line for each look.

    \b
    Examples:
      reginfo top
      reginfo top --json --interval 10 --count 6
    """
    with connected(socket, file) as call:
        samples = _samples(call, interval, count)
        if as_json:
            for sample in samples:
                print_json(sample)
        elif is_plain():
            for sample in samples:
                click.echo(_line(sample))
        else:
            _follow(samples)


def _samples(call: Call, interval: float, count: int | None) -> Iterator[Sample]:
    """Yield what happened in each interval, and how things stand at its end."""
    before, at = call("stats.get_statistics", ["all"]), time.monotonic()
    taken = 0
    while count is None or taken < count:
        time.sleep(interval)
        after, now = call("stats.get_statistics", ["all"]), time.monotonic()
        yield _sample(before, after, now - at) | {"peers": _peers(call)}
        before, at = after, now
        taken += 1


def _sample(before: Any, after: Any, seconds: float) -> Sample:
    def rate(group: str, names: Any) -> float:
        gained: int = sum(after[group].get(name, 0) - before[group].get(name, 0) for name in names)
        return round(max(0, gained) / seconds, 1)

    events = [name for name in after["events"] if name not in _MADE]
    return {
        "ts": round(time.time(), 3),
        "uptime": after["core"]["uptime"],
        "requests": rate("requests", after["requests"]),
        "registrations": rate("events", _MADE),
        "ended": rate("events", events),
        "errors": rate("errors", [name for name in after["errors"] if name != "retransmission"]),
        "registered_aors": after["usrloc"]["registered_aors"],
        "contacts": after["usrloc"]["contacts"],
        "pending": after["core"]["pending"],
        "feed_lag": after["feed"]["lag"],
        "loop_lag_ms": after["core"]["loop_lag_ms"],
        **after["subscriptions"],
        **after["publications"],
    }


def _peers(call: Call) -> list[dict[str, Any]]:
    """Return what the server says of its peers; nothing if it is of a version that says nothing."""
    try:
        peers = call("reg.peers", [])
    except RpcError as error:
        if error.code == METHOD_NOT_FOUND:
            return []
        raise
    return list(peers)


def _line(sample: Sample) -> str:
    peers = [f"{peer.get('name')}={peer.get('state')}" for peer in sample["peers"]]
    words = [f"{name}={value}" for name, value in sample.items() if name != "peers"]
    return printable(" ".join([*words, *(["peers=" + ",".join(peers)] if peers else [])]))


def _follow(samples: Iterator[Sample]) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    with Live(Text("looking"), auto_refresh=False) as live:
        for sample in samples:
            figures = Table("", "now", box=None, pad_edge=False)
            for name, heading in (_PER_SECOND | _GAUGES).items():
                figures.add_row(heading, f"{sample[name]:,}")
            shown: list[Table] = [figures]
            if sample["peers"]:
                peers = Table("peer", "state", "lag s", "contacts", box=None, pad_edge=False)
                for peer in sample["peers"]:
                    cells = (peer.get(name) for name in ("name", "state", "lag_seconds", "contacts"))
                    peers.add_row(*(Text(printable(cell)) for cell in cells))
                shown.append(peers)
            live.update(Group(*shown), refresh=True)
