"""The token that whoever administers by HTTP shows: a secret in a file that only its owner reads."""

import hmac
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from reginfo.errors import ConfigError

KEY: Final = "admin.token_file"
MIN_TOKEN: Final = 16  # characters
MAX_TOKEN: Final = 512


class Token:
    """A secret that is compared in constant time."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._octets = text.encode()

    def is_shown_by(self, authorization: str) -> bool:
        """Tell whether a value of Authorization shows it (RFC 6750 section 2.1)."""
        scheme, _, shown = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            shown.strip().encode("utf-8", "surrogateescape"), self._octets
        )


def open_token(path: Path) -> Token:
    """Return the token in a file, which is made if it is not there; ConfigError if it cannot be used."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise ConfigError(f"{KEY}: {path}: {error.strerror}", key=KEY) from error
    token = secrets.token_urlsafe(32)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(f"{token}\n")
    return Token(token)


def _read(path: Path) -> Token:
    try:
        mode = path.stat().st_mode
        with path.open(encoding="ascii") as file:
            token = file.read(MAX_TOKEN + 2).strip()
    except OSError as error:
        raise ConfigError(f"{KEY}: {path}: {error.strerror}", key=KEY) from error
    except UnicodeDecodeError:
        token = ""
    if not MIN_TOKEN <= len(token) <= MAX_TOKEN or not token.isprintable() or " " in token:
        raise ConfigError(f"{KEY}: {path} holds no token of {MIN_TOKEN} to {MAX_TOKEN} characters", key=KEY)
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError(f"{KEY}: {path} may be read by others: chmod 600 {path}", key=KEY)
    return Token(token)
