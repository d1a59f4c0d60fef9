"""An octet buffer that grows, and `allocate`: the only place that allocates.

Use: `writer_init(&w)`, any number of `put...`, then `writer_take(&w)` for the bytes, with `writer_free(&w)` in a
`finally`.  A Writer holds its first octets in itself: leave it where it was initialised.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef enum:
    WRITER_SMALL = 2048     # a REGISTER answer with its listing fits without allocation


cdef struct Writer:
    unsigned char* data
    Py_ssize_t size
    Py_ssize_t capacity
    unsigned char[WRITER_SMALL] small


cdef inline void* allocate(Py_ssize_t n) except NULL:
    # n > 0 octets, uninitialised; PyMem_Free gives them back.
    cdef void* memory = PyMem_Malloc(n)
    if memory == NULL:
        raise MemoryError
    return memory


cdef inline void writer_init(Writer* w) noexcept nogil:
    w.data = w.small
    w.size = 0
    w.capacity = WRITER_SMALL


cdef inline void writer_free(Writer* w) noexcept:
    if w.data != w.small:
        PyMem_Free(w.data)
        writer_init(w)


cdef inline int writer_grow(Writer* w, Py_ssize_t n) except -1:
    # Make room for n more octets.
    cdef Py_ssize_t capacity
    cdef unsigned char* data
    if n > (<Py_ssize_t>(<size_t>-1 >> 1) - w.size) // 2:
        raise MemoryError
    capacity = 2 * w.capacity
    if capacity < w.size + n:
        capacity = 2 * (w.size + n)
    if w.data == w.small:
        data = <unsigned char*>PyMem_Malloc(capacity)
        if data == NULL:
            raise MemoryError
        memcpy(data, w.small, w.size)
    else:
        data = <unsigned char*>PyMem_Realloc(w.data, capacity)
        if data == NULL:
            raise MemoryError
    w.data = data
    w.capacity = capacity
    return 0


cdef inline int put(Writer* w, const void* octets, Py_ssize_t n) except -1:
    if w.capacity - w.size < n:
        writer_grow(w, n)
    memcpy(w.data + w.size, octets, n)
    w.size += n
    return 0


cdef inline int put_octet(Writer* w, unsigned char octet) except -1:
    if w.capacity == w.size:
        writer_grow(w, 1)
    w.data[w.size] = octet
    w.size += 1
    return 0


cdef inline int put_unsigned(Writer* w, uint64_t value) except -1:
    # Decimal digits, no leading zero.
    cdef unsigned char[20] digits
    cdef int i = 20
    while True:
        i -= 1
        digits[i] = <unsigned char>(0x30 + value % 10)
        value //= 10
        if value == 0:
            break
    return put(w, &digits[i], 20 - i)


cdef inline int put_hex(Writer* w, uint64_t value, int width) except -1:
    # Lower-case hexadecimal digits, exactly width (at most 16) of them.
    cdef unsigned char[16] digits
    cdef int i = width
    while i > 0:
        i -= 1
        digits[i] = b"0123456789abcdef"[value & 15]
        value >>= 4
    return put(w, digits, width)


cdef inline bytes writer_take(Writer* w):
    return PyBytes_FromStringAndSize(<char*>w.data, w.size)
