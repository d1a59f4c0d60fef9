"""`reginfo compare`: what differs between two location services."""

from collections.abc import Iterator
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from reginfo.cli import EXIT_FAILED
from reginfo.cli._locations import (
    COMPARED,
    Contacts,
    DumpedLocation,
    RunningLocation,
    contacts_of,
    fingerprints,
    key_of,
    opened,
)
from reginfo.cli._progress import counted
from reginfo.cli._remote import json_option, print_json, printable, utf8


@click.command()
@click.argument("one", metavar="SERVER|DUMP", callback=utf8)
@click.argument("other", metavar="SERVER|DUMP", callback=utf8)
@json_option
def compare(one: str, other: str, as_json: bool) -> int:
    """Print what differs: contacts that only the first location service has (-), only the second (+), or otherwise (~).

    SERVER is a control socket or http://HOST:PORT/#token-file=PATH, DUMP a file of `reginfo ul export`.  Compared is
    what phones have said, not how long it still holds.  The exit code is 0 if nothing differs, 1 if something
    does, 2 if a DUMP cannot be read.

    \b
    Examples:
      reginfo compare /run/reginfo/east.sock /run/reginfo/west.sock
      reginfo compare reginfo.sock yesterday.ndjson --json
    """
    differing = 0
    with opened(one) as left, opened(other) as right, counted("AoRs that differ") as count:
        for aor, before, after in _differences(left, right):
            differing += 1
            count(1)
            _show(aor, before, after, as_json)
    return EXIT_FAILED if differing else 0


def _differences(
    left: RunningLocation | DumpedLocation, right: RunningLocation | DumpedLocation
) -> Iterator[tuple[str, Contacts, Contacts]]:
    """Yield AoR and both sides of all that differ; what has come to agree since it was walked does not."""
    keys, contents = fingerprints(left)
    other_keys, other_contents = fingerprints(right)
    unequal = _unequal(keys, contents, other_keys, other_contents)
    if len(unequal):
        for registration in left.registrations():
            if _has(unequal, key := key_of(registration["AoR"])):
                before, after = contacts_of(registration), right.find(registration["AoR"], key)
                if before != after:
                    yield registration["AoR"], before, after
    extra = np.setdiff1d(other_keys, keys)
    if len(extra):
        for registration in right.registrations():
            if _has(extra, key := key_of(registration["AoR"])):
                before, after = left.find(registration["AoR"], key), contacts_of(registration)
                if before != after:
                    yield registration["AoR"], before, after


def _unequal(
    keys: NDArray[np.uint64],
    contents: NDArray[np.uint64],
    other_keys: NDArray[np.uint64],
    other_contents: NDArray[np.uint64],
) -> NDArray[np.uint64]:
    """Return, in order, the keys of the first side that the second does not have with the same content."""
    order = np.argsort(other_keys, kind="stable")
    places = np.searchsorted(other_keys[order], keys)
    known = places < len(other_keys)
    same = np.zeros(len(keys), bool)
    found = order[places[known]]
    same[known] = (other_keys[found] == keys[known]) & (other_contents[found] == contents[known])
    return np.unique(keys[~same])


def _has(keys: NDArray[np.uint64], key: int) -> bool:
    place = int(np.searchsorted(keys, np.uint64(key)))
    return place < len(keys) and int(keys[place]) == key


def _show(aor: str, before: Contacts, after: Contacts, as_json: bool) -> None:
    changes: list[tuple[str, str, dict[str, tuple[Any, Any]]]] = []
    changes += [("removed", uri, {}) for uri in before if uri not in after]
    changes += [("added", uri, {}) for uri in after if uri not in before]
    for uri in before:
        if uri in after and before[uri] != after[uri]:
            pairs = zip(COMPARED, before[uri], after[uri], strict=True)
            changes.append(("changed", uri, {name: (a, b) for name, a, b in pairs if a != b}))
    if as_json:
        contacts = [
            {
                "change": change,
                "address": uri,
                "differences": {name: {"before": a, "after": b} for name, (a, b) in differences.items()},
            }
            for change, uri, differences in changes
        ]
        print_json({"aor": aor, "contacts": contacts})
        return
    click.echo(printable(aor))
    for change, uri, differences in changes:
        words = ", ".join(f"{name} {printable(a)} -> {printable(b)}" for name, (a, b) in differences.items())
        sign = {"removed": "-", "added": "+", "changed": "~"}[change]
        click.echo(f"{sign} {printable(uri)}{f'  ({words})' if words else ''}")
