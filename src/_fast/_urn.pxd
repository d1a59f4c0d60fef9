"""Equality of instance-ids: URNs by their rules, anything else octet by octet (RFC 5626 section 4.1)."""

from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcmp

from reginfo._fast._chars cimport same_ignoring_case


cdef inline bint same_urn(const uint8_t* a, Py_ssize_t n, const uint8_t* b, Py_ssize_t m) noexcept nogil:
    # assigned-name = "urn" ":" NID ":" NSS  RFC 8141 section 2: the first two in any case; the third as written, but
    # for the hexadecimal digits behind a "%" (3.1) and for those of a UUID (RFC 9562 section 4).
    cdef const uint8_t* colon
    cdef Py_ssize_t head, i
    if n != m:
        return False
    if memcmp(a, b, n) == 0:
        return True
    if n < 4 or not same_ignoring_case(a, b"urn:", 4):
        return False
    colon = <const uint8_t*>memchr(&a[4], 0x3A, n - 4)
    if colon == NULL:
        return False
    head = colon - a + 1
    if not same_ignoring_case(a, b, head):
        return False
    if head == 9 and same_ignoring_case(&a[4], b"uuid:", 5):
        return same_ignoring_case(&a[head], &b[head], n - head)
    i = head
    while i < n:
        if a[i] != b[i]:
            return False
        i += 1
        if a[i - 1] == 0x25 and n - i >= 2:
            if not same_ignoring_case(&a[i], &b[i], 2):
                return False
            i += 2
    return True
