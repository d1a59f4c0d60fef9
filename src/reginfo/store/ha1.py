"""Which names and passwords there may be, and the algorithms their hashes are kept for, never themselves."""

import unicodedata
from typing import Final

from reginfo.errors import ReginfoError

HEX_DIGITS: Final = {"MD5": 32, "SHA-256": 64, "SHA-512-256": 64}

ALGORITHMS: Final = tuple(HEX_DIGITS)

MAX_NAME: Final = 64  # username and domain are VARCHAR(64) in Kamailio's table
MAX_PASSWORD: Final = 1024  # characters; what is longer was not meant to be one


class BadUser(ReginfoError):
    """A user name or password that Digest cannot carry."""


def checked_username(text: str) -> str:
    """Return a user name in the form it is hashed in: NFC (RFC 7616 section 4); raise BadUser."""
    name = unicodedata.normalize("NFC", text)
    # The colon separates user from realm in what is hashed (RFC 7617 section 2 says why none may stand here).
    if not 0 < len(name) <= MAX_NAME or ":" in name or not name.isprintable():
        raise BadUser(f"a user name is 1 to {MAX_NAME} printable characters without a colon")
    return name


def checked_password(text: str) -> str:
    """Return a password in the form it is hashed in; raise BadUser."""
    password = unicodedata.normalize("NFC", text)
    if not 0 < len(password) <= MAX_PASSWORD or not password.isprintable():
        raise BadUser(f"a password is 1 to {MAX_PASSWORD} printable characters")
    return password


def names_of(username: str, realm: str) -> tuple[str, ...]:
    """Return the names a client may give for a user: as it stands, and with its realm behind it.

    The second is what Kamailio's column ha1b is for.
    """
    long = f"{username}@{realm}"
    return (username,) if "@" in username else (username, long)
