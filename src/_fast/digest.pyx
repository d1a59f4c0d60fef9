"""Digest computations of RFC 7616: pure functions of texts, as they stand in a message once quotes are undone.

SHA-512-256 is the SHA-512/256 of FIPS 180-4, with initial values of its own, not the beginning of a SHA-512.
"""

import hashlib

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t

from reginfo._fast._chars cimport same_ignoring_case
from reginfo._fast._md5 cimport md5
from reginfo._fast._writer cimport Writer, put, put_octet, writer_free, writer_init

cdef object _sha256 = hashlib.sha256    # which has the processor's own instructions
cdef object _new = hashlib.new


cdef int hash_named(const unsigned char* name, Py_ssize_t n, bint* session) noexcept nogil:
    # algorithm = "MD5" / "MD5-sess" / "SHA-256" / "SHA-256-sess" / "SHA-512-256" / "SHA-512-256-sess"  RFC 7616 6.1
    session[0] = n > 5 and same_ignoring_case(&name[n - 5], b"-sess", 5)
    if session[0]:
        n -= 5
    if n == 3 and same_ignoring_case(name, b"md5", 3):
        return MD5
    if n == 7 and same_ignoring_case(name, b"sha-256", 7):
        return SHA_256
    if n == 11 and same_ignoring_case(name, b"sha-512-256", 11):
        return SHA_512_256
    return NO_HASH


cdef bytes hashed(int hash, bytes octets):
    return _hashed(hash, <const uint8_t*>PyBytes_AS_STRING(octets), PyBytes_GET_SIZE(octets))


cdef bytes _hashed(int hash, const uint8_t* p, Py_ssize_t n):
    cdef uint8_t[16] short
    cdef bytes raw
    if hash == MD5:
        md5(p, n, short)
        return _digits(short, 16)
    raw = (_sha256(p[:n]) if hash == SHA_256 else _new("sha512_256", p[:n])).digest()
    return _digits(<const uint8_t*>PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw))


cdef bytes _digits(const uint8_t* p, Py_ssize_t n):
    cdef bytes digits = PyBytes_FromStringAndSize(NULL, 2 * n)
    cdef char* out = PyBytes_AS_STRING(digits)
    cdef Py_ssize_t i
    for i in range(n):
        out[2 * i] = b"0123456789abcdef"[p[i] >> 4]
        out[2 * i + 1] = b"0123456789abcdef"[p[i] & 15]
    return digits


cdef bytes session_ha1(int hash, bytes ha1, bytes nonce, bytes cnonce):
    return hashed(hash, b":".join((ha1, nonce, cnonce)))


cdef bytes ha2_of(int hash, bytes method, bytes uri, bytes body):
    if body is None:
        return hashed(hash, b":".join((method, uri)))
    return hashed(hash, b":".join((method, uri, hashed(hash, body))))


cdef bytes response_of(int hash, bytes ha1, bytes nonce, bytes nc, bytes cnonce, bytes qop, bytes ha2):
    cdef Writer w
    writer_init(&w)
    try:
        _put(&w, ha1)
        _put(&w, nonce)
        if qop:
            _put(&w, nc)
            _put(&w, cnonce)
            _put(&w, qop)
        put(&w, PyBytes_AS_STRING(ha2), PyBytes_GET_SIZE(ha2))
        return _hashed(hash, w.data, w.size)
    finally:
        writer_free(&w)


cdef inline int _put(Writer* w, bytes text) except -1:
    put(w, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    return put_octet(w, c":")


cdef int _named(str algorithm, bint* session) except -1:
    cdef bytes name = algorithm.encode()
    cdef int hash = hash_named(<const unsigned char*>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), session)
    if hash == NO_HASH:
        raise ValueError(f"algorithm: {algorithm[:32]!r}")
    return hash


def digest_ha1(algorithm: str, username: str, realm: str, password: str) -> str:
    """Return H(username:realm:password), the same for an algorithm and its -sess (RFC 7616 section 3.4.2).

    ValueError for an algorithm nobody knows.
    """
    cdef bint session = False
    cdef int hash = _named(algorithm, &session)
    return hashed(hash, f"{username}:{realm}:{password}".encode()).decode("ascii")


def digest_userhash(algorithm: str, username: str, realm: str) -> str:
    """Return what stands for a username that is not shown (RFC 7616 section 3.4.4)."""
    cdef bint session = False
    cdef int hash = _named(algorithm, &session)
    return hashed(hash, f"{username}:{realm}".encode()).decode("ascii")


def digest_session_ha1(algorithm: str, ha1: str, nonce: str, cnonce: str) -> str:
    """Return the H(A1) of a session begun with this nonce and cnonce (RFC 7616 section 3.4.2).

    Later requests of the session take it with the algorithm's name without -sess.
    """
    cdef bint session = False
    cdef int hash = _named(algorithm, &session)
    return session_ha1(hash, ha1.encode(), nonce.encode(), cnonce.encode()).decode("ascii")


def digest_response(
    algorithm: str,
    ha1: str,
    method: str,
    uri: str,
    nonce: str,
    *,
    qop: str = "",
    nc: str = "",
    cnonce: str = "",
    body: bytes = b"",
) -> str:
    """Return the proof of a request, or of the server if method is empty (RFC 7616 sections 3.4.1 and 3.5).

    qop is auth, auth-int or, for a client of RFC 2069, empty.  An algorithm with -sess begins a session with this
    nonce and cnonce.  ValueError for an algorithm or qop nobody knows, and for -sess without qop or cnonce.
    """
    cdef bint session = False
    cdef int hash = _named(algorithm, &session)
    cdef bytes key = ha1.encode()
    cdef bytes ha2
    if qop not in ("", "auth", "auth-int"):
        raise ValueError(f"qop: {qop[:32]!r}")
    if session:
        if not qop or not cnonce:
            raise ValueError("a session needs qop and cnonce")
        key = session_ha1(hash, key, nonce.encode(), cnonce.encode())
    ha2 = ha2_of(hash, method.encode(), uri.encode(), body if qop == "auth-int" else None)
    return response_of(
        hash, key, nonce.encode(), nc.encode(), cnonce.encode(), qop.encode(), ha2
    ).decode("ascii")
