"""A bounded reader over octets: the only place that moves a pointer or compares it with the end."""

from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint32_t
from libc.string cimport memchr, memcmp

from reginfo._fast._chars cimport LWS, octet_classes


cdef struct Span:
    uint32_t start      # octets before it, from the base it was cut from
    uint32_t length     # length 0 with start 0 stands for "absent"


cdef struct Cursor:
    const unsigned char* base
    const unsigned char* pos
    const unsigned char* end


cdef inline Cursor cursor_over(const unsigned char* base, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    # A cursor from start to stop; offsets stay relative to base.
    cdef Cursor cur
    cur.base = base
    cur.pos = base + start
    cur.end = base + stop
    return cur


cdef inline int peek(const Cursor* cur) noexcept nogil:
    # Next octet, or -1 at the end.
    return cur.pos[0] if cur.pos < cur.end else -1


cdef inline int look(const Cursor* cur, Py_ssize_t ahead) noexcept nogil:
    # Octet so many places after the next one, or -1 beyond the end.
    return cur.pos[ahead] if cur.end - cur.pos > ahead else -1


cdef inline bint accept(Cursor* cur, int octet) noexcept nogil:
    # Step over octet if it is next.
    if cur.pos < cur.end and cur.pos[0] == octet:
        cur.pos += 1
        return True
    return False


cdef inline int take(Cursor* cur) noexcept nogil:
    # Step over the next octet and return it, or -1 at the end.
    if cur.pos < cur.end:
        cur.pos += 1
        return (cur.pos - 1)[0]
    return -1


cdef inline Py_ssize_t offset(const Cursor* cur) noexcept nogil:
    return cur.pos - cur.base


cdef inline Py_ssize_t left(const Cursor* cur) noexcept nogil:
    return cur.end - cur.pos


cdef inline bint at_end(const Cursor* cur) noexcept nogil:
    return cur.pos >= cur.end


cdef inline Py_ssize_t run(Cursor* cur, int classes) noexcept nogil:
    # Step over octets of these classes; their number.  The cursor is written once: any store may alias any other.
    cdef const unsigned char* start = cur.pos
    cdef const unsigned char* pos = start
    cdef const unsigned char* end = cur.end
    while pos < end and octet_classes[pos[0]] & classes:
        pos += 1
    cur.pos = pos
    return pos - start


cdef inline void skip_lws(Cursor* cur) noexcept nogil:
    run(cur, LWS)


cdef inline bint seek(Cursor* cur, int octet) noexcept nogil:
    # Move to the next such octet; without one, stay and say False.
    cdef const void* found
    if cur.pos >= cur.end:
        return False
    found = memchr(cur.pos, octet, cur.end - cur.pos)
    if found == NULL:
        return False
    cur.pos = <const unsigned char*>found
    return True


cdef inline void move_to(Cursor* cur, const Cursor* other) noexcept nogil:
    # Stand where the other cursor over the same octets stands.
    cur.pos = other.pos


cdef inline Cursor up_to_here(const Cursor* mark, const Cursor* cur) noexcept nogil:
    # The octets from an earlier mark to where cur stands now.
    cdef Cursor part = mark[0]
    part.end = cur.pos
    return part


cdef inline int behind(const Cursor* cur) noexcept nogil:
    # The octet stepped over last, or -1 at the base.
    return (cur.pos - 1)[0] if cur.pos > cur.base else -1


cdef inline bint skip(Cursor* cur, Py_ssize_t n) noexcept nogil:
    # Step over n octets if so many are left.
    if cur.end - cur.pos < n:
        return False
    cur.pos += n
    return True


cdef inline void trim_lws(Cursor* cur) noexcept nogil:
    # Drop LWS from the end.
    while cur.end > cur.pos and octet_classes[(cur.end - 1)[0]] & LWS:
        cur.end -= 1


cdef inline void trim_blanks(Cursor* cur) noexcept nogil:
    # Drop SP and HTAB from the end.
    while cur.end > cur.pos and ((cur.end - 1)[0] == 0x20 or (cur.end - 1)[0] == 0x09):
        cur.end -= 1


cdef inline Span span_since(const Cursor* cur, Py_ssize_t start) noexcept nogil:
    # The octets from offset start up to here.
    cdef Span span
    span.start = <uint32_t>start
    span.length = <uint32_t>(cur.pos - cur.base - start)
    return span


cdef inline Span span_of(Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef Span span
    span.start = <uint32_t>start
    span.length = <uint32_t>(stop - start)
    return span


cdef inline Cursor cursor_of(const unsigned char* base, Span span) noexcept nogil:
    return cursor_over(base, span.start, <Py_ssize_t>span.start + span.length)


cdef inline bint is_text(str text, const unsigned char* octets, Py_ssize_t n) except -1:
    # Whether octets are a text.
    cdef Py_ssize_t length
    cdef const char* utf8 = PyUnicode_AsUTF8AndSize(text, &length)
    return length == n and memcmp(utf8, octets, n) == 0


cdef inline bint is_span(str text, const unsigned char* base, Span span) except -1:
    return is_text(text, base + span.start, span.length)


cdef inline Span no_span() noexcept nogil:
    cdef Span span
    span.start = 0
    span.length = 0
    return span
