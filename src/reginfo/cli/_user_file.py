"""The file of users that SIPp injects (-inf): a line that says how to go through it, then a user per line."""

import re
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

from reginfo.errors import ReginfoError

MAX_LINE: Final = 8192  # octets; a user with the longest name and password has room in half of it

_ORDERS: Final = ("SEQUENTIAL", "RANDOM", "USER")

_VALUE: Final = r'"[^"]*"|[^\s"\]]+'
# [authentication username=U password=P], in any order; SIPp's own keyword has more parameters, which say nothing here.
_AUTHENTICATION: Final = re.compile(rf"\[authentication((?:\s+\w+=(?:{_VALUE}))*)\s*\]")
_PARAMETER: Final = re.compile(rf"(\w+)=({_VALUE})")


class BadRow(ReginfoError):
    """A line that names no user and password."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")


class Row(NamedTuple):
    """What a line says."""

    line: int
    user: str
    "alice, or alice@example.com."
    password: str


def rows_of(file: BinaryIO) -> Iterator[Row]:
    """Yield the users of a file as they are read; raise BadRow."""
    number = 0
    begun = False
    while octets := file.readline(MAX_LINE + 1):
        number += 1
        if len(octets) > MAX_LINE:
            raise BadRow(number, f"longer than {MAX_LINE} octets")
        try:
            text = octets.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise BadRow(number, "not UTF-8") from None
        if not text.strip() or text.startswith("#"):
            continue
        if not begun:
            if text.strip() not in _ORDERS:
                raise BadRow(number, "the first line must be SEQUENTIAL, RANDOM or USER")
            begun = True
            continue
        yield _row(number, text)
    if not begun:
        raise BadRow(number or 1, "the first line must be SEQUENTIAL, RANDOM or USER")


def _row(number: int, text: str) -> Row:
    fields = text.split(";")
    marked = [field.strip() for field in fields if field.strip().startswith("[")]
    if not marked:
        if len(fields) != 3:
            raise BadRow(number, "neither user;domain;password nor user;[authentication username=... password=...]")
        user, domain, password = fields
        return Row(number, f"{user}@{domain}" if domain else user, password)
    match = _AUTHENTICATION.fullmatch(marked[0])
    parameters = dict(_PARAMETER.findall(match[1])) if match else {}
    if len(marked) > 1 or "password" not in parameters:
        raise BadRow(number, "must have one [authentication username=... password=...]")
    user = parameters.get("username", "").strip('"') or fields[0]
    return Row(number, user, parameters["password"].strip('"'))
