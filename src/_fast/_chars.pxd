"""Octet classes of RFC 3261 section 25.1, one table look-up each."""

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

# Classes overlap, so each octet carries a set of them.  "%" is in no URI class: an escape is three octets.
cdef extern from *:
    """
    #ifndef REGINFO_CHARS
    #define REGINFO_CHARS
    #include <stdint.h>

    enum {
        REGINFO_DIGIT = 1 << 0,
        REGINFO_HEX = 1 << 1,
        REGINFO_ALPHA = 1 << 2,
        REGINFO_LWS = 1 << 3,       /* SP HTAB, and CR LF: inside a row they are folds */
        REGINFO_TOKEN = 1 << 4,     /* token */
        REGINFO_WORD = 1 << 5,      /* word: Call-ID */
        REGINFO_VALUE = 1 << 6,     /* token or host: gen-value without quotes */
        REGINFO_USER = 1 << 7,      /* unreserved / user-unreserved */
        REGINFO_PASSWORD = 1 << 8,  /* unreserved / & = + $ , */
        REGINFO_PARAM = 1 << 9,     /* unreserved / param-unreserved */
        REGINFO_HNV = 1 << 10,      /* unreserved / hnv-unreserved */
        REGINFO_HOST = 1 << 11,     /* hostname, and "_" */
        REGINFO_URIC = 1 << 12,     /* any octet an absoluteURI may show */
        REGINFO_SCHEME = 1 << 13,
        REGINFO_RESERVED = 1 << 14, /* ; / ? : @ & = + $ , */
        REGINFO_QUOTED = 1 << 15    /* qdtext, ASCII part, without LWS */
    };

    #define REGINFO_ALNUM_ \\
        REGINFO_TOKEN | REGINFO_WORD | REGINFO_VALUE | REGINFO_USER | REGINFO_PASSWORD | REGINFO_PARAM | \\
        REGINFO_HNV | REGINFO_HOST | REGINFO_URIC | REGINFO_SCHEME | REGINFO_QUOTED
    /* mark, as far as every URI part takes it; the rest of the row says what else the octet is */
    #define REGINFO_MARK_ \\
        REGINFO_USER | REGINFO_PASSWORD | REGINFO_PARAM | REGINFO_HNV | REGINFO_URIC | REGINFO_QUOTED
    #define REGINFO_TOKEN_ REGINFO_TOKEN | REGINFO_WORD | REGINFO_VALUE

    static const uint16_t reginfo_chars[256] = {
        ['\\t'] = REGINFO_LWS,
        ['\\n'] = REGINFO_LWS,
        ['\\r'] = REGINFO_LWS,
        [' '] = REGINFO_LWS,
        ['0' ... '9'] = REGINFO_ALNUM_ | REGINFO_DIGIT | REGINFO_HEX,
        ['A' ... 'F'] = REGINFO_ALNUM_ | REGINFO_ALPHA | REGINFO_HEX,
        ['G' ... 'Z'] = REGINFO_ALNUM_ | REGINFO_ALPHA,
        ['a' ... 'f'] = REGINFO_ALNUM_ | REGINFO_ALPHA | REGINFO_HEX,
        ['g' ... 'z'] = REGINFO_ALNUM_ | REGINFO_ALPHA,
        ['-'] = REGINFO_MARK_ | REGINFO_TOKEN_ | REGINFO_HOST | REGINFO_SCHEME,
        ['.'] = REGINFO_MARK_ | REGINFO_TOKEN_ | REGINFO_HOST | REGINFO_SCHEME,
        ['_'] = REGINFO_MARK_ | REGINFO_TOKEN_ | REGINFO_HOST,
        ['!'] = REGINFO_MARK_ | REGINFO_TOKEN_,
        ['~'] = REGINFO_MARK_ | REGINFO_TOKEN_,
        ['*'] = REGINFO_MARK_ | REGINFO_TOKEN_,
        ['\\''] = REGINFO_MARK_ | REGINFO_TOKEN_,
        ['('] = REGINFO_MARK_ | REGINFO_WORD,
        [')'] = REGINFO_MARK_ | REGINFO_WORD,
        ['%'] = REGINFO_TOKEN_ | REGINFO_QUOTED,
        ['`'] = REGINFO_TOKEN_ | REGINFO_QUOTED,
        ['&'] = REGINFO_USER | REGINFO_PASSWORD | REGINFO_PARAM | REGINFO_URIC | REGINFO_RESERVED | REGINFO_QUOTED,
        ['='] = REGINFO_USER | REGINFO_PASSWORD | REGINFO_URIC | REGINFO_RESERVED | REGINFO_QUOTED,
        ['+'] = REGINFO_TOKEN_ | REGINFO_USER | REGINFO_PASSWORD | REGINFO_PARAM | REGINFO_HNV | REGINFO_URIC
            | REGINFO_SCHEME | REGINFO_RESERVED | REGINFO_QUOTED,
        ['$'] = REGINFO_USER | REGINFO_PASSWORD | REGINFO_PARAM | REGINFO_HNV | REGINFO_URIC | REGINFO_RESERVED
            | REGINFO_QUOTED,
        [','] = REGINFO_USER | REGINFO_PASSWORD | REGINFO_URIC | REGINFO_RESERVED | REGINFO_QUOTED,
        [';'] = REGINFO_USER | REGINFO_URIC | REGINFO_RESERVED | REGINFO_QUOTED,
        ['?'] = REGINFO_USER | REGINFO_HNV | REGINFO_WORD | REGINFO_URIC | REGINFO_RESERVED | REGINFO_QUOTED,
        ['/'] = REGINFO_USER | REGINFO_PARAM | REGINFO_HNV | REGINFO_WORD | REGINFO_URIC | REGINFO_RESERVED
            | REGINFO_QUOTED,
        [':'] = REGINFO_PARAM | REGINFO_HNV | REGINFO_WORD | REGINFO_VALUE | REGINFO_URIC | REGINFO_RESERVED
            | REGINFO_QUOTED,
        ['@'] = REGINFO_URIC | REGINFO_RESERVED | REGINFO_QUOTED,
        ['['] = REGINFO_PARAM | REGINFO_HNV | REGINFO_WORD | REGINFO_VALUE | REGINFO_URIC | REGINFO_QUOTED,
        [']'] = REGINFO_PARAM | REGINFO_HNV | REGINFO_WORD | REGINFO_VALUE | REGINFO_URIC | REGINFO_QUOTED,
        ['#'] = REGINFO_URIC | REGINFO_QUOTED,
        ['<'] = REGINFO_WORD | REGINFO_QUOTED,
        ['>'] = REGINFO_WORD | REGINFO_QUOTED,
        ['{'] = REGINFO_WORD | REGINFO_QUOTED,
        ['}'] = REGINFO_WORD | REGINFO_QUOTED,
        ['"'] = REGINFO_WORD,
        ['\\\\'] = REGINFO_WORD,
        ['^'] = REGINFO_QUOTED,
        ['|'] = REGINFO_QUOTED,
    };
    #endif
    """
    const uint16_t octet_classes "reginfo_chars"[256]
    enum:
        DIGIT "REGINFO_DIGIT"
        HEX "REGINFO_HEX"
        ALPHA "REGINFO_ALPHA"
        LWS "REGINFO_LWS"
        TOKEN "REGINFO_TOKEN"
        WORD "REGINFO_WORD"
        VALUE "REGINFO_VALUE"
        USER "REGINFO_USER"
        PASSWORD "REGINFO_PASSWORD"
        PARAM "REGINFO_PARAM"
        HNV "REGINFO_HNV"
        HOST "REGINFO_HOST"
        URIC "REGINFO_URIC"
        SCHEME "REGINFO_SCHEME"
        RESERVED "REGINFO_RESERVED"
        QUOTED "REGINFO_QUOTED"


cdef inline bint octet_is(unsigned char octet, int classes) noexcept nogil:
    return (octet_classes[octet] & classes) != 0


cdef inline unsigned char lower(unsigned char octet) noexcept nogil:
    # ASCII only, whatever the locale: a SIP name never depends on it.
    return octet | 0x20 if 0x41 <= octet <= 0x5A else octet


cdef inline int hex_value(unsigned char octet) noexcept nogil:
    # Value of a HEX octet; the caller has checked the class.
    return octet - 0x30 if octet <= 0x39 else (octet | 0x20) - 0x57


cdef inline bint same_ignoring_case(
    const unsigned char* a, const unsigned char* b, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        if lower(a[i]) != lower(b[i]):
            return False
    return True


cdef inline bint is_word(const unsigned char* p, const unsigned char* word, Py_ssize_t n) noexcept nogil:
    # Say whether n token octets at p are this word in any case.  The word holds lower-case letters, "-", "+" and "."
    # only: | 0x20 folds letters onto themselves and no other token octet onto any of these.
    cdef uint64_t a, b
    cdef uint32_t c, d
    cdef Py_ssize_t i = 0
    while n - i >= 8:
        memcpy(&a, p + i, 8)
        memcpy(&b, word + i, 8)
        if a | <uint64_t>0x2020202020202020 != b:
            return False
        i += 8
    if n - i >= 4:
        memcpy(&c, p + i, 4)
        memcpy(&d, word + i, 4)
        if c | <uint32_t>0x20202020 != d:
            return False
        i += 4
    while i < n:
        if p[i] | 0x20 != word[i]:
            return False
        i += 1
    return True


# Eight octets at once, for text that is nearly all ordinary.  The highest bit of the first octet for which a test
# holds is set in what it returns; what is set above that means nothing.

cdef inline uint64_t eight_at(const unsigned char* p) noexcept nogil:
    cdef uint64_t octets
    memcpy(&octets, p, 8)
    return octets


cdef inline uint64_t equal_to(uint64_t octets, uint64_t octet) noexcept nogil:
    # Of octets below 0x80.
    return (octets ^ octet * <uint64_t>0x0101010101010101) - <uint64_t>0x0101010101010101


cdef inline uint64_t unprintable(uint64_t octets) noexcept nogil:
    # Controls, DEL and what is beyond ASCII.
    return octets | (octets - <uint64_t>0x2020202020202020) | equal_to(octets, 0x7F)


cdef inline bint is_any(uint64_t tested) noexcept nogil:
    return tested & <uint64_t>0x8080808080808080 != 0
