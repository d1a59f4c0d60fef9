"""Who this server is to its peers: user names of the configuration, passwords of the files that it names."""

from pathlib import Path

from reginfo.config import Config
from reginfo.errors import ConfigError
from reginfo.sip.authorization import Account, Accounts
from reginfo.sip.peers import Networks
from reginfo.sip.routing import next_hop
from reginfo.store.ha1 import MAX_PASSWORD, BadUser, checked_password

KEY = "peer.password_file"


def open_accounts(config: Config) -> Accounts:
    """Return the accounts at every peer that has one; ConfigError if a password cannot be read."""
    accounts = Accounts()
    for peer in config.peer:
        if peer.username:
            account = Account(peer.username, read_secret(Path(peer.password_file), KEY), peer.realm)
            # An address that only the URI names is where the URI leads, and no other port of it.
            accounts.add(account, next_hop(peer.uri), Networks(peer.networks if peer.addresses else ()))
    return accounts


def read_secret(path: Path, key: str) -> str:
    """Return the first line of the file that a key names; ConfigError if it is none of 1 to 1024 characters."""
    try:
        with path.open(encoding="utf-8") as file:
            return checked_password(file.readline(4 * MAX_PASSWORD).removesuffix("\n"))
    except OSError as error:
        raise ConfigError(f"{key}: {path}: {error.strerror}", key=key) from None
    except (UnicodeDecodeError, BadUser) as error:
        reason = error if isinstance(error, BadUser) else "not UTF-8"  # what does not decode may be the password
        raise ConfigError(f"{key}: {path}: {reason}", key=key) from None
    except ValueError as error:  # no name of a file
        raise ConfigError(f"{key}: {str(path)!r}: {error}", key=key) from None
