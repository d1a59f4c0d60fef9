"""Certificates and what is asked of those of others (RFC 5246, RFC 8446, RFC 9325)."""

import logging
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from reginfo.config import Config, TlsSection
from reginfo.errors import ConfigError
from reginfo.net.identity import identities, matches

logger = logging.getLogger(__name__)

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_CLIENTS: Final = {"off": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_REHEARSALS: Final = 8  # messages there and back; TLS 1.3 takes two


@dataclass(frozen=True, slots=True)
class Tls:
    """How connections are accepted and made."""

    accepting: ssl.SSLContext
    connecting: ssl.SSLContext
    verify_server: bool
    "Whether the other side of a connection made from here has to be the domain it was made for."
    domains: tuple[str, ...]
    "Those our certificate is of."

    @classmethod
    def load(cls, section: TlsSection) -> Self:
        """Read the files of the section; ConfigError says which of them cannot be used and why."""
        accepting = _context(ssl.PROTOCOL_TLS_SERVER, section)
        accepting.verify_mode = _CLIENTS[section.verify_client]
        accepting.num_tickets = 0  # a phone stays connected: what it could resume with costs both sides more
        connecting = _context(ssl.PROTOCOL_TLS_CLIENT, section)
        connecting.check_hostname = False  # RFC 5922 section 7 has rules of its own: net.identity
        connecting.verify_mode = ssl.CERT_REQUIRED if section.verify_server else ssl.CERT_NONE
        if not section.ca:
            connecting.set_default_verify_paths()
        return cls(accepting, connecting, section.verify_server, identities(_rehearse(section)))

    def wrap(self, peer: socket.socket, domain: str, *, connects: bool) -> ssl.SSLSocket:
        """Return a connected socket as one of TLS, whose handshake is still to be done."""
        if not connects:
            return self.accepting.wrap_socket(peer, server_side=True, do_handshake_on_connect=False)
        name = domain if domain and not domain.replace(".", "").isdigit() and ":" not in domain else None
        return self.connecting.wrap_socket(peer, server_hostname=name, do_handshake_on_connect=False)


def _context(protocol: int, section: TlsSection) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = _VERSIONS[section.min_version]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    _load_chain(context, section)
    if section.ca:
        _readable("tls.ca", section.ca)
        try:
            context.load_verify_locations(section.ca)
        except (ssl.SSLError, OSError) as error:
            raise _refusal("tls.ca", section.ca, f"holds no certificate that can be read ({_reason(error)})") from None
    return context


def _load_chain(context: ssl.SSLContext, section: TlsSection) -> None:
    key = section.key or section.certificate
    _readable("tls.certificate", section.certificate)
    _readable("tls.key", key)
    _holds("tls.certificate", section.certificate, b"CERTIFICATE-----", "certificate")
    _holds("tls.key", key, b"PRIVATE KEY-----", "private key")
    try:
        context.load_cert_chain(section.certificate, key, password=_no_password)
    except _Encrypted:
        raise _refusal("tls.key", key, "is encrypted: nobody is there to be asked for its password") from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _refusal("tls.key", key, f"is not the key of {section.certificate}") from None
        raise _refusal("tls.certificate", section.certificate, f"cannot be used: {_reason(error)}") from None


class _Encrypted(Exception):
    """A key asked for its password."""


def _no_password() -> str:
    raise _Encrypted


def _readable(key: str, file: str) -> None:
    try:
        with Path(file).open("rb"):
            pass
    except OSError as error:
        raise _refusal(key, file, f"cannot be read: {os.strerror(error.errno or 0)}") from None
    except ValueError as error:  # no name of a file
        raise _refusal(key, repr(file), f"cannot be read: {error}") from None


def _holds(key: str, file: str, mark: bytes, what: str) -> None:
    if mark not in Path(file).read_bytes():
        raise _refusal(key, file, f"holds no {what} in PEM form")


def _rehearse(section: TlsSection) -> dict[str, Any]:
    """Return our own certificate as a client sees it, who trusts nothing else; ConfigError if it would be refused.

    Only a handshake tells what the standard library thinks of a certificate: that its time is over, for one.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load_chain(server, section)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(section.certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server)
    for _ in range(_REHEARSALS):
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                raise _refusal("tls.certificate", section.certificate, f"is refused: {error.verify_message}") from None
            except ssl.SSLError as error:
                raise _refusal("tls.certificate", section.certificate, f"is refused: {_reason(error)}") from None
    return theirs.getpeercert() or {}


def _reason(error: OSError) -> str:
    return (getattr(error, "reason", "") or str(error)).replace("_", " ").lower()


def _refusal(key: str, file: str, reason: str) -> ConfigError:
    return ConfigError(f"{key} {file} {reason}", key=key)


def tls_of(config: Config) -> Tls | None:
    """Return what the listeners of a configuration need for TLS, None if none does; ConfigError."""
    if not any(listener.is_secure for listener in config.listeners):
        return None
    tls = Tls.load(config.tls)
    if not any(matches(tls.domains, domain) for domain in config.domains):
        logger.warning("certificate is of none of our domains names=%s", ",".join(tls.domains))
    return tls
