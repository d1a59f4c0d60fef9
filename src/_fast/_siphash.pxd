"""SipHash-1-3, 64 bit: the keyed hash of everything whose input a stranger chooses.

Aumasson and Bernstein, "SipHash: a fast short-input PRF", with one compression and three finalisation
rounds.  A value may be fed in pieces: siphash_start, siphash_update and siphash_octet (any number), siphash_finish.
"""

from libc.stdint cimport uint8_t, uint64_t


cdef struct SipHash:
    uint64_t v0
    uint64_t v1
    uint64_t v2
    uint64_t v3
    uint64_t tail      # octets that do not fill a word yet, first one lowest
    uint64_t length    # octets fed so far


cdef inline uint64_t _rotate(uint64_t x, int bits) noexcept nogil:
    return (x << bits) | (x >> (64 - bits))


cdef inline uint64_t load_u64(const uint8_t* p) noexcept nogil:
    # Little-endian whatever the machine; compilers turn this into one load on little-endian ones.
    return (
        <uint64_t>p[0]
        | <uint64_t>p[1] << 8
        | <uint64_t>p[2] << 16
        | <uint64_t>p[3] << 24
        | <uint64_t>p[4] << 32
        | <uint64_t>p[5] << 40
        | <uint64_t>p[6] << 48
        | <uint64_t>p[7] << 56
    )


cdef inline void _round(SipHash* h) noexcept nogil:
    h.v0 += h.v1
    h.v2 += h.v3
    h.v1 = _rotate(h.v1, 13) ^ h.v0
    h.v3 = _rotate(h.v3, 16) ^ h.v2
    h.v0 = _rotate(h.v0, 32)
    h.v2 += h.v1
    h.v0 += h.v3
    h.v1 = _rotate(h.v1, 17) ^ h.v2
    h.v3 = _rotate(h.v3, 21) ^ h.v0
    h.v2 = _rotate(h.v2, 32)


cdef inline void _compress(SipHash* h, uint64_t word) noexcept nogil:
    h.v3 ^= word
    _round(h)
    h.v0 ^= word


cdef inline void siphash_start(SipHash* h, uint64_t k0, uint64_t k1) noexcept nogil:
    h.v0 = k0 ^ <uint64_t>0x736F6D6570736575
    h.v1 = k1 ^ <uint64_t>0x646F72616E646F6D
    h.v2 = k0 ^ <uint64_t>0x6C7967656E657261
    h.v3 = k1 ^ <uint64_t>0x7465646279746573
    h.tail = 0
    h.length = 0


cdef inline void siphash_update(SipHash* h, const uint8_t* data, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i = 0
    cdef int filled = <int>(h.length & 7)
    h.length += <uint64_t>n
    # Complete a word begun by an earlier piece, then whole words, then the rest into the tail.
    if filled:
        while filled < 8 and i < n:
            h.tail |= <uint64_t>data[i] << (8 * filled)
            filled += 1
            i += 1
        if filled < 8:
            return
        _compress(h, h.tail)
        h.tail = 0
    while n - i >= 8:
        _compress(h, load_u64(&data[i]))
        i += 8
    filled = 0
    while i < n:
        h.tail |= <uint64_t>data[i] << (8 * filled)
        filled += 1
        i += 1


cdef inline void siphash_octet(SipHash* h, uint8_t octet) noexcept nogil:
    h.tail |= <uint64_t>octet << (8 * (h.length & 7))
    h.length += 1
    if h.length & 7 == 0:
        _compress(h, h.tail)
        h.tail = 0


cdef inline uint64_t siphash_finish(SipHash* h) noexcept nogil:
    _compress(h, h.tail | (h.length & 0xFF) << 56)
    h.v2 ^= 0xFF
    _round(h)
    _round(h)
    _round(h)
    return h.v0 ^ h.v1 ^ h.v2 ^ h.v3


cdef inline uint64_t siphash(
    uint64_t k0,
    uint64_t k1,
    const uint8_t* data,
    Py_ssize_t n,
) noexcept nogil:
    cdef SipHash h
    siphash_start(&h, k0, k1)
    siphash_update(&h, data, n)
    return siphash_finish(&h)
