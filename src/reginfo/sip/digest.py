"""Digest authentication under one configuration: the rules of the realm, and who waits for the user table.

The checks and the challenges are compiled (`Authenticator`).
"""

from typing import Final

from reginfo.config import Config
from reginfo.fast import ASK, Authenticator, Proof
from reginfo.sip.incoming import Arrival

MAX_WAITING: Final = 4096  # requests that wait for the user table; beyond it the server is overloaded (503)

WRONG: Final = "Wrong credentials"

Query = tuple[str, ...]
"A username, or an algorithm behind a username hashed with it (RFC 7616 section 3.4.4)."


class Digest:
    """The realm of one server."""

    def __init__(self, config: Config, secret: bytes) -> None:
        """secret is 32 octets nobody else has: nonces are made with it."""
        self.authenticator = Authenticator(
            secret,
            config.auth.realm,
            config.auth.algorithms,
            config.domains,
            config.own_hosts,
            lifetime_s=config.auth.nonce_lifetime,
            legacy=config.auth.legacy_clients,
            max_users=config.auth.max_cached_users,
        )
        self._waiting: dict[Query, list[Arrival]] = {}
        self._asked: list[Query] = []
        self._count = 0

    def follow(self, config: Config) -> None:
        """Go on under another configuration."""
        self.authenticator.follow(
            config.auth.realm,
            config.auth.algorithms,
            config.domains,
            config.own_hosts,
            lifetime_s=config.auth.nonce_lifetime,
            legacy=config.auth.legacy_clients,
            max_users=config.auth.max_cached_users,
        )

    # -- the user table ---------------------------------------------------------------------------------

    def park(self, proof: Proof, arrival: Arrival) -> bool:
        """Let a request wait for its user; False if too many do."""
        assert proof.verdict == ASK
        if self._count >= MAX_WAITING:
            return False
        self._count += 1
        if proof.query in self._waiting:
            self._waiting[proof.query].append(arrival)
        else:
            self._waiting[proof.query] = [arrival]
            self._asked.append(proof.query)
        return True

    def take_lookups(self) -> list[Query]:
        """Return the users that are wanted, each to be answered by found() or failed()."""
        asked, self._asked = self._asked, []
        return asked

    def release(self, query: Query) -> list[Arrival]:
        """Return the requests that waited for a user."""
        released = self._waiting.pop(query, [])
        self._count -= len(released)
        return released
