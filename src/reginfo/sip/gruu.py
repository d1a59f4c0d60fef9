"""GRUUs: the URIs of one user agent of an AoR (RFC 5627), public ones by name and temporary ones by number.

    user = "tgruu." base64(E) base64(A)     M = D (80 bits) | index (48 bits)
    E = AES(M)      A = HMAC(E), 80 bits    D = HMAC(index, Call-ID, CSeq), 80 bits

The index is that of the instance as the record has it.  Nothing in a temporary GRUU shows whose it is, or that two are
of one instance; the newest one can be made again from the record, so that a retransmission is answered with the same.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from reginfo.fast import SipParseError, parse_uri

KEYS: Final = 80  # octets: AES-128 and twice HMAC-SHA256
PREFIX: Final = b"tgruu."

_INDEX: Final = 6  # octets
_SALT: Final = 10
_BLOCK: Final = 16
_BLOCK_TEXT: Final = 22  # characters, without padding
_MAC: Final = 10


@dataclass(frozen=True, slots=True)
class Gruu:
    """What a URI with gr names."""

    instance: str
    "The value of gr, unescaped; empty in a temporary GRUU."
    index: int | None
    "Of a temporary GRUU; None for a public one, and for what nobody here has made."

    @property
    def may_be_public(self) -> bool:
        """Whether it has the form of those made here: a public GRUU is good as long as its AoR, bound or not."""
        return self.instance[:4].lower() == "urn:"


class Gruus:
    """Makes and reads the GRUUs of one server."""

    def __init__(self, keys: bytes, owner: Callable[[int], str | None]) -> None:
        """keys are KEYS secret octets that outlive the process; owner() returns the AoR of an index that is good."""
        # Here, because it takes a while and not every server has GRUUs.
        from cryptography.hazmat.primitives.ciphers import Cipher
        from cryptography.hazmat.primitives.ciphers.algorithms import AES
        from cryptography.hazmat.primitives.ciphers.modes import ECB

        cipher = Cipher(AES(keys[:16]), ECB())  # one block each, and D makes each different
        self._encrypt = cipher.encryptor().update
        self._decrypt = cipher.decryptor().update
        self._mac_key = keys[16:48]
        self._mint_key = keys[48:KEYS]
        self.owner = owner

    def mint(self, index: int, call_id: bytes, cseq: int) -> bytes:
        """Return the user of the temporary GRUU that a REGISTER made."""
        number = index.to_bytes(_INDEX, "big")
        salt = hmac.digest(self._mint_key, number + cseq.to_bytes(4, "big") + call_id, "sha256")[:_SALT]
        return self._user(self._encrypt(salt + number))

    def _user(self, block: bytes) -> bytes:
        mac = hmac.digest(self._mac_key, block, "sha256")[:_MAC]
        return PREFIX + urlsafe_b64encode(block).rstrip(b"=") + urlsafe_b64encode(mac).rstrip(b"=")

    def index_of(self, user: str) -> int | None:
        """Return the index in the user of a temporary GRUU; None for what mint() has never returned."""
        try:
            text = user.encode("ascii")
            block = urlsafe_b64decode(text[len(PREFIX) : len(PREFIX) + _BLOCK_TEXT] + b"==")
        except ValueError:
            return None
        if len(block) != _BLOCK or not hmac.compare_digest(self._user(block), text):
            return None
        return int.from_bytes(self._decrypt(block)[-_INDEX:], "big")

    def read(self, uri: str) -> Gruu | None:
        """Return what a URI with a user and gr names, None for any other URI (RFC 5627 section 3)."""
        if ";gr" not in uri.lower():
            return None
        try:
            parsed = parse_uri(uri)
        except SipParseError:
            return None
        for name, value in parsed.parameters:
            if name.lower() == "gr" and parsed.user is not None:
                if value is not None:
                    return Gruu(_unescaped(value), None)
                return Gruu("", self.index_of(parsed.user))
        return None


def is_instance(instance: str | None, named: str) -> bool:
    """Tell whether an instance-id is the one a public GRUU names: URIs compare their parameters in any case."""
    return instance is not None and instance.lower() == named.lower()


def _unescaped(text: str) -> str:
    """Undo %HH once (URI-2)."""
    parts = text.split("%")
    try:
        octets = parts[0].encode() + b"".join(bytes.fromhex(part[:2]) + part[2:].encode() for part in parts[1:])
        return octets.decode()
    except ValueError:
        return text
