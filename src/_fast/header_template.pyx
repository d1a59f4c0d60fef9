"""Header rows written once, for requests that differ in a few values."""

from collections.abc import Sequence

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.string cimport memchr

from reginfo._fast._writer cimport (
    Writer,
    put,
    writer_free,
    writer_init,
    writer_take,
)

from reginfo._fast.sip_writer import write_headers


cdef int put_value(Writer* w, str value) except -1:
    # What a caller gave; nothing that could end a line.
    cdef Py_ssize_t n
    cdef const char* octets = PyUnicode_AsUTF8AndSize(value, &n)
    if memchr(octets, c"\r", n) != NULL or memchr(octets, c"\n", n) != NULL or memchr(octets, 0, n) != NULL:
        raise ValueError("header value: CR, LF or NUL")
    return put(w, octets, n)


@cython.final
@cython.auto_pickle(False)
cdef class HeaderTemplate:
    """Header rows that differ from one request to the next in a few values only, each written as {}."""

    def __init__(self, headers: Sequence[tuple[str, str]]) -> None:
        self._parts = write_headers(headers).split(b"{}")

    def fill(self, *values: str) -> bytes:
        """Return the rows with these values, for write_request_rows(); ValueError for a CR, LF or NUL in one."""
        return self.filled(values)

    cdef bytes filled(self, tuple values):
        cdef Writer w
        cdef bytes part
        cdef Py_ssize_t i
        if len(values) != len(self._parts) - 1:
            raise ValueError(f"{len(self._parts) - 1} values are to be filled in")
        writer_init(&w)
        try:
            for i in range(len(self._parts)):
                if i:
                    put_value(&w, values[i - 1])
                part = self._parts[i]
                put(&w, PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part))
            return writer_take(&w)
        finally:
            writer_free(&w)
