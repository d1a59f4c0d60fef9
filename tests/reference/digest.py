"""Digest computations step by step as RFC 7616 section 3.4 writes them: the oracle of reginfo._fast.digest."""

import hashlib

_HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}


def hashed(algorithm: str, text: bytes) -> str:
    return hashlib.new(_HASHES[algorithm.removesuffix("-sess")], text).hexdigest()


def response(
    algorithm: str,
    username: str,
    realm: str,
    password: str,
    method: str,
    uri: str,
    nonce: str,
    qop: str = "",
    nc: str = "",
    cnonce: str = "",
    body: bytes = b"",
) -> str:
    """What a client that knows the password sends; with an empty method, what the server proves itself with."""
    a1 = f"{username}:{realm}:{password}".encode()
    if algorithm.endswith("-sess"):
        a1 = f"{hashed(algorithm, a1)}:{nonce}:{cnonce}".encode()
    a2 = f"{method}:{uri}".encode()
    if qop == "auth-int":
        a2 += b":" + hashed(algorithm, body).encode()
    middle = f"{nonce}:{nc}:{cnonce}:{qop}" if qop else nonce
    return hashed(algorithm, f"{hashed(algorithm, a1)}:{middle}:{hashed(algorithm, a2)}".encode())
