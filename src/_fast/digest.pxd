"""Digest computations, for the extension that checks credentials."""

cdef enum:      # DigestHash
    NO_HASH = 0
    MD5
    SHA_256
    SHA_512_256
    HASHES

# One of the names of RFC 7616 section 6.1, with or without -sess, in any case: its DigestHash, NO_HASH for another.
cdef int hash_named(const unsigned char* name, Py_ssize_t n, bint* session) noexcept nogil

# Lower-case hexadecimal digits of the hash.
cdef bytes hashed(int hash, bytes octets)

# H(A1) of a session (RFC 7616 section 3.4.2).
cdef bytes session_ha1(int hash, bytes ha1, bytes nonce, bytes cnonce)

# H(A2): method is empty for the proof of the server; body is None unless qop is auth-int (RFC 7616 3.4.3, 3.5).
cdef bytes ha2_of(int hash, bytes method, bytes uri, bytes body)

# KD(H(A1), ...): qop is empty for a client of RFC 2069 (RFC 7616 section 3.4.1).
cdef bytes response_of(int hash, bytes ha1, bytes nonce, bytes nc, bytes cnonce, bytes qop, bytes ha2)
