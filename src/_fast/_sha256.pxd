"""SHA-256 (FIPS 180-4) and HMAC (RFC 2104) over it, for what is too short to be worth a call of hashlib."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef extern from *:
    """
    #ifndef REGINFO_SHA256
    #define REGINFO_SHA256
    #include <stdint.h>

    /* FIPS 180-4 section 4.2.2 */
    static const uint32_t reginfo_sha256_roots[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
    };

    #define REGINFO_SHA256_TURN(x, n) ((x) >> (n) | (x) << (32 - (n)))

    /* FIPS 180-4 section 6.2.2 */
    static inline void reginfo_sha256_block(uint32_t *state, const uint8_t *p)
    {
        uint32_t w[64], s[8], first, second;
        int i;
        for (i = 0; i < 16; i++)
            w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
        for (i = 16; i < 64; i++) {
            first = w[i - 15];
            second = w[i - 2];
            first = REGINFO_SHA256_TURN(first, 7) ^ REGINFO_SHA256_TURN(first, 18) ^ first >> 3;
            second = REGINFO_SHA256_TURN(second, 17) ^ REGINFO_SHA256_TURN(second, 19) ^ second >> 10;
            w[i] = w[i - 16] + first + w[i - 7] + second;
        }
        for (i = 0; i < 8; i++)
            s[i] = state[i];
        for (i = 0; i < 64; i++) {
            first = REGINFO_SHA256_TURN(s[4], 6) ^ REGINFO_SHA256_TURN(s[4], 11) ^ REGINFO_SHA256_TURN(s[4], 25);
            first += s[7] + ((s[4] & s[5]) ^ (~s[4] & s[6])) + reginfo_sha256_roots[i] + w[i];
            second = REGINFO_SHA256_TURN(s[0], 2) ^ REGINFO_SHA256_TURN(s[0], 13) ^ REGINFO_SHA256_TURN(s[0], 22);
            second += (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
            s[7] = s[6];
            s[6] = s[5];
            s[5] = s[4];
            s[4] = s[3] + first;
            s[3] = s[2];
            s[2] = s[1];
            s[1] = s[0];
            s[0] = first + second;
        }
        for (i = 0; i < 8; i++)
            state[i] += s[i];
    }
    #endif
    """
    void _block "reginfo_sha256_block"(uint32_t* state, const uint8_t* p) noexcept nogil


cdef struct Mac:                # a key of HMAC
    uint32_t[8] inner
    uint32_t[8] outer


cdef inline void _begin(uint32_t* state) noexcept nogil:
    state[0] = <uint32_t>0x6A09E667
    state[1] = <uint32_t>0xBB67AE85
    state[2] = <uint32_t>0x3C6EF372
    state[3] = <uint32_t>0xA54FF53A
    state[4] = <uint32_t>0x510E527F
    state[5] = <uint32_t>0x9B05688C
    state[6] = <uint32_t>0x1F83D9AB
    state[7] = <uint32_t>0x5BE0CD19


cdef inline void _end(uint32_t* state, uint64_t before, const uint8_t* data, Py_ssize_t n, uint8_t* out) noexcept nogil:
    # The 32 octets of the hash of so many octets before, a multiple of 64, and data.
    cdef uint8_t[128] tail
    cdef Py_ssize_t done = 0
    cdef Py_ssize_t rest
    cdef uint64_t bits = (before + <uint64_t>n) * 8
    cdef int i
    while n - done >= 64:
        _block(state, &data[done])
        done += 64
    rest = n - done
    memset(tail, 0, 128)
    memcpy(tail, &data[done], rest)
    tail[rest] = 0x80
    rest = 64 if rest < 56 else 128
    for i in range(8):
        tail[rest - 1 - i] = <uint8_t>(bits >> (8 * i))
    _block(state, tail)
    if rest == 128:
        _block(state, &tail[64])
    for i in range(32):
        out[i] = <uint8_t>(state[i >> 2] >> (24 - 8 * (i & 3)))


cdef inline void sha256(const uint8_t* data, Py_ssize_t n, uint8_t* out) noexcept nogil:
    cdef uint32_t[8] state
    _begin(state)
    _end(state, 0, data, n, out)


cdef inline void mac_open(Mac* mac, const uint8_t* key) noexcept nogil:
    # Take a key of 32 octets.
    cdef uint8_t[64] inner
    cdef uint8_t[64] outer
    cdef int i
    for i in range(64):
        inner[i] = (key[i] if i < 32 else 0) ^ 0x36
        outer[i] = (key[i] if i < 32 else 0) ^ 0x5C
    _begin(mac.inner)
    _begin(mac.outer)
    _block(mac.inner, inner)
    _block(mac.outer, outer)


cdef inline void mac_of(const Mac* mac, const uint8_t* data, Py_ssize_t n, uint8_t* out) noexcept nogil:
    # The 32 octets of HMAC-SHA256.
    cdef uint32_t[8] state
    cdef uint8_t[32] inner
    memcpy(state, mac.inner, sizeof(state))
    _end(state, 64, data, n, inner)
    memcpy(state, mac.outer, sizeof(state))
    _end(state, 64, inner, 32, out)
