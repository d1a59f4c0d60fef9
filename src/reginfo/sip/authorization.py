"""Digest authentication where this side is asked for a password (RFC 3261 section 22, RFC 7616, RFC 8760).

    request ─> authorize     credentials for the realms that have asked before, each with its next nonce-count
    401/407 ─> challenged    what the request goes again with; None if nobody is known there, or is refused
    others  ─> answered      the next nonce, and whether the server knows the password, too

Whose password it is depends on where the request went, never on what the challenge says.
"""

import logging
from collections.abc import Callable, Sequence
from hmac import compare_digest
from typing import Final, NamedTuple
from unicodedata import normalize

from reginfo.fast import (
    Request,
    SipMessage,
    digest_ha1,
    digest_response,
    digest_session_ha1,
    digest_userhash,
    write_headers,
)
from reginfo.sip.locating import Target
from reginfo.sip.peers import Networks
from reginfo.sip.routing import Hop

logger = logging.getLogger(__name__)

MAX_CHALLENGES: Final = 4  # answered for one request: a proxy and a server, and each once more for its stale nonce
MAX_PLACES: Final = 1024  # hops that have asked; beyond it the first of them has to ask again
MAX_REALMS: Final = 4  # of one hop that are answered, in the order of a response; beyond it they are not understood
MAX_VALUE: Final = 512  # octets of a realm, nonce or opaque: it is said back in each request
LAST_COUNT: Final = 0xFFFFFFFF  # nc has 8 digits

CHALLENGES: Final = frozenset({401, 407})

_ALGORITHMS: Final = frozenset({"md5", "sha-256", "sha-512-256"})
_SESSION: Final = "-sess"

_Place = tuple[bool, str, int]


class Account(NamedTuple):
    """Who this side is to another one."""

    username: str
    password: str
    realm: str = ""
    "The one it is for; empty: whichever asks."

    def ha1(self, algorithm: str, realm: str) -> str:
        # In NFC, as they are stored (RFC 7616 section 4).
        return digest_ha1(algorithm, normalize("NFC", self.username), realm, normalize("NFC", self.password))


class Accounts:
    """Who this side is to whom."""

    def __init__(self) -> None:
        self._by_place: dict[_Place, Account] = {}
        self._by_networks: list[tuple[Networks, Account]] = []

    def add(self, account: Account, hop: Hop, networks: Networks) -> None:
        """Use an account for what goes to hop, or to one of these addresses; the first one of a place is its own."""
        self._by_place.setdefault(_place(hop), account)
        self._by_networks.append((networks, account))

    def of(self, hop: Hop) -> Account | None:
        """Return the account for what goes to hop; None if it has none."""
        return self._by_place.get(_place(hop))

    def at(self, host: str) -> Account | None:
        """Return the account for what goes to an IP address."""
        return next((account for networks, account in self._by_networks if networks.match(host)), None)


def _place(hop: Hop) -> _Place:
    # A Contact of the same server names the transport that a URI leaves open; never one that is less secure.
    return hop.transport in ("tls", "wss", "sips"), hop.host, hop.port


class Realm(NamedTuple):
    """Who asks."""

    is_proxy: bool
    name: str


class Challenge(NamedTuple):
    """What is asked for, as far as it is understood (RFC 7616 section 3.3)."""

    realm: Realm
    nonce: str
    algorithm: str
    "As it was written; empty if it was not."
    opaque: str | None
    qop: str
    "The one that is answered: auth, else auth-int; empty for a server of RFC 2069."
    is_stale: bool
    hides_name: bool
    "userhash: the user name is not to be sent (RFC 7616 section 3.4.4)."


def challenge_of(parameters: dict[str, str], *, is_proxy: bool) -> Challenge | None:
    """Return what the parameters of a challenge ask for; None if that is not understood."""
    realm, nonce = parameters.get("realm"), parameters.get("nonce")
    opaque, algorithm = parameters.get("opaque"), parameters.get("algorithm", "")
    if realm is None or nonce is None or not all(map(_is_sayable, (realm, nonce, opaque or ""))):
        return None
    if algorithm and algorithm.lower().removesuffix(_SESSION) not in _ALGORITHMS:
        return None
    offered = [one.strip().lower() for one in parameters["qop"].split(",")] if "qop" in parameters else [""]
    qop = next((one for one in ("auth", "auth-int", "") if one in offered), None)
    if qop is None or (not qop and ("qop" in parameters or algorithm.lower().endswith(_SESSION))):
        return None
    is_stale = parameters.get("stale", "").lower() == "true"
    hides_name = parameters.get("userhash", "").lower() == "true"
    return Challenge(Realm(is_proxy, realm), nonce, algorithm, opaque, qop, is_stale, hides_name)


def challenges_of(response: SipMessage, realm: str = "") -> dict[Realm, Challenge]:
    """Return the topmost challenge of each realm that is understood, or of one realm alone (RFC 8760 section 2.4)."""
    found: dict[Realm, Challenge] = {}
    for is_proxy in (False, True):
        for parameters in response.challenges(is_proxy):
            challenge = challenge_of(parameters, is_proxy=is_proxy)
            if challenge is None or (realm and challenge.realm.name != realm):
                continue
            if challenge.realm not in found and len(found) < MAX_REALMS:
                found[challenge.realm] = challenge
    return found


def _is_sayable(text: str) -> bool:
    return len(text.encode()) <= MAX_VALUE and text.isprintable()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class Session:
    """The requests that are authorized with one nonce."""

    __slots__ = ("_algorithm", "_ha1", "_name", "challenge", "cnonce", "count")

    def __init__(self, account: Account, challenge: Challenge, cnonce: str) -> None:
        self.challenge = challenge
        self.cnonce = cnonce
        self.count = 0
        "Requests so far."
        algorithm, realm = challenge.algorithm or "MD5", challenge.realm.name
        self._name = normalize("NFC", account.username)
        if challenge.hides_name:
            self._name = digest_userhash(algorithm, self._name, realm)
        self._ha1 = account.ha1(algorithm, realm)
        self._algorithm = algorithm
        if algorithm.lower().endswith(_SESSION):
            self._ha1 = digest_session_ha1(algorithm, self._ha1, challenge.nonce, cnonce)
            self._algorithm = algorithm[: -len(_SESSION)]

    @property
    def is_usable(self) -> bool:
        """Whether one more request may have it; without qop a nonce is good once."""
        return self.count < (LAST_COUNT if self.challenge.qop else 1)

    def credentials(self, request: Request) -> "Credentials":
        """Return what proves a request to come from the account, under the next nonce-count."""
        challenge = self.challenge
        self.count += 1
        nc = f"{self.count:08x}" if challenge.qop else ""
        proof = self._proof(request.method, request.uri, nc, challenge.qop, request.body)
        fields = [
            f"username={_quoted(self._name)}",
            f"realm={_quoted(challenge.realm.name)}",
            f"nonce={_quoted(challenge.nonce)}",
            f"uri={_quoted(request.uri)}",
            f'response="{proof}"',
        ]
        if challenge.algorithm:
            fields.append(f"algorithm={challenge.algorithm}")
        if challenge.opaque is not None:
            fields.append(f"opaque={_quoted(challenge.opaque)}")
        if challenge.qop:
            fields.append(f'cnonce="{self.cnonce}",qop={challenge.qop},nc={nc}')
        if challenge.hides_name:
            fields.append("userhash=true")
        return Credentials(self, nc, "Digest " + ",".join(fields))

    def _proof(self, method: str, uri: str, nc: str, qop: str, body: bytes) -> str:
        cnonce = self.cnonce if qop else ""
        nonce = self.challenge.nonce
        return digest_response(self._algorithm, self._ha1, method, uri, nonce, qop=qop, nc=nc, cnonce=cnonce, body=body)

    def is_shared(self, info: dict[str, str], uri: str, nc: str, body: bytes) -> bool:
        """Tell whether Authentication-Info was made by somebody who knows the password (RFC 7616 section 3.5)."""
        qop = info.get("qop", self.challenge.qop).lower()
        if qop not in ("", "auth", "auth-int") or (qop and not self.challenge.qop):
            return False
        if qop and (info.get("cnonce", self.cnonce), info.get("nc", nc).lower()) != (self.cnonce, nc):
            return False  # left out they are no proof of anything, and rspauth is made of ours
        return compare_digest(info["rspauth"].lower().encode(), self._proof("", uri, nc, qop, body).encode())


class Credentials(NamedTuple):
    """What one request was sent with for one realm."""

    session: Session
    nc: str
    text: str
    "Value of Authorization or Proxy-Authorization."


class Attempt:
    """What was tried to get one request through."""

    __slots__ = ("answered", "offered", "sent")

    def __init__(self) -> None:
        self.answered = 0
        "Challenges."
        self.offered: set[str] = set()
        "Nonces that came in them."
        self.sent: dict[Realm, Credentials] = {}
        "Of the last transmission."


class _Known:
    """A hop that has asked."""

    __slots__ = ("is_warned", "sessions")

    def __init__(self) -> None:
        self.sessions: dict[Realm, Session] = {}
        self.is_warned = False  # the log has said that something is wrong with the password there


class Authorizations:
    """What requests of this side are authorized with."""

    def __init__(self, token: Callable[[], str]) -> None:
        """token returns text that was never used before and cannot be guessed."""
        self._token = token
        self._accounts = Accounts()
        self._servers: dict[Hop, frozenset[_Place]] = {}
        self.known: dict[Hop, _Known] = {}
        "Hops that have asked."

    def follow(self, accounts: Accounts) -> None:
        """Be who these accounts say from now on."""
        self._accounts = accounts
        self._servers = {hop: servers for hop, servers in self._servers.items() if accounts.of(hop) is not None}
        self.known.clear()

    def located(self, hop: Hop, targets: Sequence[tuple[Target, str]]) -> None:
        """Take the servers of a hop: a Contact by which one of them is reached later names its address."""
        if targets and self._accounts.of(hop) is not None:
            self._servers[hop] = frozenset(_place(Hop(*target[:3])) for target, _ in targets)

    def _account(self, hop: Hop, host: str) -> Account | None:
        """Return who this side is to hop, which is reached by this address."""
        account = self._accounts.of(hop) or self._accounts.at(host)
        if account is None:
            place = _place(hop)
            named = next((named for named, servers in self._servers.items() if place in servers), None)
            account = None if named is None else self._accounts.of(named)
        return account

    def authorize(self, hop: Hop, request: Request, attempt: Attempt | None) -> tuple[bytes, Attempt | None]:
        """Return the rows a request is sent with, and what it was tried with so far; a relayed one is not ours."""
        known = self.known.get(hop)
        if known is None or request.vias != 1:
            return request.rows, None
        attempt = attempt or Attempt()
        attempt.sent = {
            realm: session.credentials(request) for realm, session in known.sessions.items() if session.is_usable
        }
        headers = [
            ("Proxy-Authorization" if realm.is_proxy else "Authorization", credentials.text)
            for realm, credentials in attempt.sent.items()
        ]
        return request.rows + write_headers(headers), attempt

    def challenged(
        self, hop: Hop, host: str, request: Request, response: SipMessage, attempt: Attempt | None
    ) -> Attempt | None:
        """Take a 401 or 407; None if the request does not go again: nobody is known there, or what was sent is refused.

        host is the address it came from.
        """
        account = self._account(hop, host) if request.vias == 1 else None
        challenges = challenges_of(response, account.realm) if account is not None else {}
        if account is None or not challenges:
            return None
        attempt = attempt or Attempt()
        known = self._at(hop)
        attempt.answered += 1
        refused = [one for one in challenges.values() if _is_refusal(one, attempt)]
        if refused or attempt.answered > MAX_CHALLENGES:
            for realm in (challenge.realm for challenge in refused):
                if known.sessions.get(realm) is attempt.sent[realm].session:
                    del known.sessions[realm]
            _warn(known, "password refused at=%s user=%s", hop, account.username)
            return None
        for realm, challenge in challenges.items():
            attempt.offered.add(challenge.nonce)
            session, sent = known.sessions.get(realm), attempt.sent.get(realm)
            # Those that were under way when the first of them was asked share its nonce.
            is_new = sent is not None and sent.session is session and sent.session.challenge.nonce != challenge.nonce
            if session is None or is_new or not session.is_usable:
                known.sessions.pop(realm, None)
                if len(known.sessions) >= MAX_REALMS:
                    del known.sessions[next(iter(known.sessions))]
                known.sessions[realm] = Session(account, challenge, self._token())
        return attempt

    def _at(self, hop: Hop) -> _Known:
        known = self.known.get(hop)
        if known is None:
            if len(self.known) >= MAX_PLACES:
                del self.known[next(iter(self.known))]
            known = self.known[hop] = _Known()
        return known

    def answered(self, hop: Hop, host: str, request: Request, response: SipMessage, attempt: Attempt) -> None:
        """Take any other final response to a request that had credentials (RFC 7616 section 3.5).

        One whose rspauth is wrong counts all the same: whoever can forge an answer can leave rspauth out.
        """
        known, account = self.known.get(hop), self._account(hop, host)
        if known is None or account is None or not attempt.sent:
            return
        info = response.authentication_info if response.status < 300 else {}
        sent = [one for realm, one in attempt.sent.items() if not realm.is_proxy]
        if "rspauth" in info:
            sent = [one for one in sent if one.session.is_shared(info, request.uri, one.nc, response.body)]
            if not sent:
                known.sessions = {realm: one for realm, one in known.sessions.items() if realm.is_proxy}
                _warn(known, "server does not know the password at=%s user=%s", hop, account.username)
                return
        known.is_warned = False
        nonce = info.get("nextnonce", "")
        if nonce and _is_sayable(nonce) and len(sent) == 1:
            session = sent[0].session
            challenge = session.challenge
            if known.sessions.get(challenge.realm) is session and nonce != challenge.nonce:
                known.sessions[challenge.realm] = Session(account, challenge._replace(nonce=nonce), self._token())


def _is_refusal(challenge: Challenge, attempt: Attempt) -> bool:
    """Tell whether a challenge refuses what was sent: its nonce was good, since it came for this very request."""
    sent = attempt.sent.get(challenge.realm)
    if sent is None or challenge.is_stale:
        return False
    nonce = sent.session.challenge.nonce
    return nonce == challenge.nonce or nonce in attempt.offered


def _warn(known: _Known, text: str, hop: Hop, username: str) -> None:
    """Tell the operator once, until the place takes a request again."""
    if not known.is_warned:
        known.is_warned = True
        logger.warning(text, hop, username)
