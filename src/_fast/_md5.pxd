"""MD5 (RFC 1321), for what is too short to be worth a call of hashlib: some 130 octets, twice per REGISTER."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef extern from *:
    """
    #ifndef REGINFO_MD5
    #define REGINFO_MD5
    #include <stdint.h>

    /* RFC 1321 section 3.4; no compiler unrolls a loop of all 64 steps by itself */
    #define REGINFO_MD5_F(b, c, d) ((((c) ^ (d)) & (b)) ^ (d))
    #define REGINFO_MD5_G(b, c, d) ((((b) ^ (c)) & (d)) ^ (c))
    #define REGINFO_MD5_H(b, c, d) ((b) ^ (c) ^ (d))
    #define REGINFO_MD5_I(b, c, d) ((c) ^ ((b) | ~(d)))
    #define REGINFO_MD5_STEP(f, a, b, c, d, k, shift, sine) \
        a += f(b, c, d) + x[(k) & 15] + (sine); \
        a = b + (a << (shift) | a >> (32 - (shift)))
    /* four steps; k is that of the first, and each step takes the word so many places on */
    #define REGINFO_MD5_FOUR(f, k, on, s0, s1, s2, s3, t0, t1, t2, t3) \
        REGINFO_MD5_STEP(f, a, b, c, d, k, s0, t0); \
        REGINFO_MD5_STEP(f, d, a, b, c, (k) + (on), s1, t1); \
        REGINFO_MD5_STEP(f, c, d, a, b, (k) + 2 * (on), s2, t2); \
        REGINFO_MD5_STEP(f, b, c, d, a, (k) + 3 * (on), s3, t3)

    static inline void reginfo_md5_block(uint32_t *state, const uint32_t *x)
    {
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        REGINFO_MD5_FOUR(REGINFO_MD5_F, 0, 1, 7, 12, 17, 22, 0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee);
        REGINFO_MD5_FOUR(REGINFO_MD5_F, 4, 1, 7, 12, 17, 22, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501);
        REGINFO_MD5_FOUR(REGINFO_MD5_F, 8, 1, 7, 12, 17, 22, 0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be);
        REGINFO_MD5_FOUR(REGINFO_MD5_F, 12, 1, 7, 12, 17, 22, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821);
        REGINFO_MD5_FOUR(REGINFO_MD5_G, 1, 5, 5, 9, 14, 20, 0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa);
        REGINFO_MD5_FOUR(REGINFO_MD5_G, 5, 5, 5, 9, 14, 20, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8);
        REGINFO_MD5_FOUR(REGINFO_MD5_G, 9, 5, 5, 9, 14, 20, 0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed);
        REGINFO_MD5_FOUR(REGINFO_MD5_G, 13, 5, 5, 9, 14, 20, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a);
        REGINFO_MD5_FOUR(REGINFO_MD5_H, 5, 3, 4, 11, 16, 23, 0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c);
        REGINFO_MD5_FOUR(REGINFO_MD5_H, 1, 3, 4, 11, 16, 23, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70);
        REGINFO_MD5_FOUR(REGINFO_MD5_H, 13, 3, 4, 11, 16, 23, 0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05);
        REGINFO_MD5_FOUR(REGINFO_MD5_H, 9, 3, 4, 11, 16, 23, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665);
        REGINFO_MD5_FOUR(REGINFO_MD5_I, 0, 7, 6, 10, 15, 21, 0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039);
        REGINFO_MD5_FOUR(REGINFO_MD5_I, 12, 7, 6, 10, 15, 21, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1);
        REGINFO_MD5_FOUR(REGINFO_MD5_I, 8, 7, 6, 10, 15, 21, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1);
        REGINFO_MD5_FOUR(REGINFO_MD5_I, 4, 7, 6, 10, 15, 21, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391);
        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
    }
    #endif
    """
    void _mix "reginfo_md5_block"(uint32_t* state, const uint32_t* x) noexcept nogil


cdef inline uint32_t _word(const uint8_t* p) noexcept nogil:
    return <uint32_t>p[0] | <uint32_t>p[1] << 8 | <uint32_t>p[2] << 16 | <uint32_t>p[3] << 24


cdef inline void _block(uint32_t* state, const uint8_t* p) noexcept nogil:
    # 64 octets
    cdef uint32_t[16] x
    cdef int i
    for i in range(16):
        x[i] = _word(&p[4 * i])
    _mix(state, x)


cdef inline void md5(const uint8_t* data, Py_ssize_t n, uint8_t* out) noexcept nogil:
    # The 16 octets of the hash.
    cdef uint32_t[4] state
    cdef uint8_t[128] tail
    cdef Py_ssize_t done = 0
    cdef Py_ssize_t rest
    cdef uint64_t bits = <uint64_t>n * 8
    cdef int i
    state[0] = 0x67452301
    state[1] = <uint32_t>0xEFCDAB89
    state[2] = <uint32_t>0x98BADCFE
    state[3] = 0x10325476
    while n - done >= 64:
        _block(state, &data[done])
        done += 64
    rest = n - done
    memset(tail, 0, 128)
    memcpy(tail, &data[done], rest)
    tail[rest] = 0x80
    rest = 64 if rest < 56 else 128
    for i in range(8):
        tail[rest - 8 + i] = <uint8_t>(bits >> (8 * i))
    _block(state, tail)
    if rest == 128:
        _block(state, &tail[64])
    for i in range(16):
        out[i] = <uint8_t>(state[i >> 2] >> (8 * (i & 3)))
