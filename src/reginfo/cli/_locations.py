"""Location services to compare: running servers and dumps, as fingerprints first and contact by contact where asked.

A fingerprint is two 64 bit numbers for each AoR, one of its name and one of what its phones have said: a million AoRs
are compared in some tens of megabytes.
"""

import json
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reginfo.cli import EXIT_USAGE, Failed
from reginfo.cli._contact_files import MAX_LINE
from reginfo.cli._remote import BULK_TIMEOUT, Call, is_url, printable, reached, walk

COMPARED: Final = ("Q", "Call-ID", "CSeq", "User-Agent", "Received", "Path", "Display-Name", "Params")
"What a phone, or an edge on its behalf, has said.  Lifetimes, ids and revisions are each server's own."

Contacts = dict[str, tuple[Any, ...]]
"Contact URI -> the values of COMPARED."


class RunningLocation:
    """The location service of a server."""

    def __init__(self, name: str, call: Call) -> None:
        self.name = name
        self._call = call

    def registrations(self) -> Iterator[Mapping[str, Any]]:
        return walk(self._call, "reg.export")

    def find(self, aor: str, key: int) -> Contacts:
        found: Contacts = {}
        for registration in self._call("reg.export", {"aor": aor})["AoRs"]:
            found.update(contacts_of(registration))
        return found


class DumpedLocation:
    """A file of `ul export` or `ul dump --json`; the lines of AoRs are remembered by key."""

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            self._file = Path(name).open("rb")  # noqa: SIM115 -- closed by opened()
        except OSError as error:
            raise Failed(f"{printable(name)}: {error.strerror}", EXIT_USAGE) from error
        self._places = array("Q")
        self._keys: NDArray[np.uint64] | None = None
        self._order: NDArray[np.intp] | None = None

    def close(self) -> None:
        self._file.close()

    def registrations(self) -> Iterator[Mapping[str, Any]]:
        self._file.seek(0)
        places = array("Q")
        number = place = 0
        while line := self._file.readline(MAX_LINE):
            number += 1
            if line.strip():
                places.append(place)
                yield self._registration(line, f"line {number}")
            place += len(line)
        self._places = places

    def index(self, keys: NDArray[np.uint64]) -> None:
        """Take the keys of the registrations, in the order of the file."""
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def find(self, aor: str, key: int) -> Contacts:
        assert self._keys is not None
        assert self._order is not None
        found: Contacts = {}
        first = int(np.searchsorted(self._keys, np.uint64(key)))
        while first < len(self._keys) and int(self._keys[first]) == key:
            place = self._places[int(self._order[first])]
            self._file.seek(place)
            registration = self._registration(self._file.readline(MAX_LINE), f"octet {place}")
            if registration["AoR"] == aor:
                found.update(contacts_of(registration))
            first += 1
        return found

    def _registration(self, line: bytes, where: str) -> Mapping[str, Any]:
        try:
            document = json.loads(line)
            contacts_of(document)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            reason = f"{printable(self.name)}: {where} is no registration of ul export"
            raise Failed(reason, EXIT_USAGE) from None
        registration: Mapping[str, Any] = document
        return registration


@contextmanager
def opened(name: str) -> Iterator[RunningLocation | DumpedLocation]:
    """Give the location service that a control socket, URL or file name stands for."""
    if is_url(name) or Path(name).is_socket():
        with reached(name, BULK_TIMEOUT) as call:
            yield RunningLocation(name.partition("#")[0], call)
        return
    dump = DumpedLocation(name)
    try:
        yield dump
    finally:
        dump.close()


def contacts_of(registration: Mapping[str, Any]) -> Contacts:
    """Return what is compared of a registration; a contact that several have told of is this server's own first."""
    str(registration["AoR"]).encode()
    contacts = sorted(registration["Contacts"], key=lambda contact: contact.get("Origin") != "local", reverse=True)
    return {str(contact["Address"]): tuple(contact.get(name) for name in COMPARED) for contact in contacts}


def key_of(aor: str) -> int:
    """Return the number that stands for the name of an AoR."""
    return _hash(aor.encode())


def fingerprints(location: RunningLocation | DumpedLocation) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the keys of all AoRs and what goes with each, in the order of the walk."""
    keys, contents = array("Q"), array("Q")
    for registration in location.registrations():
        keys.append(key_of(registration["AoR"]))
        contents.append(_hash(json.dumps(sorted(contacts_of(registration).items()), default=str).encode()))
    found = np.frombuffer(keys, np.uint64), np.frombuffer(contents, np.uint64)
    if isinstance(location, DumpedLocation):
        location.index(found[0])
    return found


def _hash(octets: bytes) -> int:
    return int.from_bytes(blake2b(octets, digest_size=8).digest(), "little")
