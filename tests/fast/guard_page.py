"""Parse every prefix of the torture messages right before a page that must not be read.

Run as a program: a read beyond the input ends it by a signal.  The octets before the input cannot be guarded,
since the API takes `bytes`, whose header lies there; AddressSanitizer watches those (`make sanitize`).
"""

import ctypes
import mmap
from collections.abc import Callable
from contextlib import suppress

from reginfo._fast import sip_parser, uri
from reginfo._fast.errors import SipParseError
from tests.torture import ROWS

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

HEADER = bytes.__basicsize__ - 1
"Octets of a bytes object before its content."


class GuardedBytes:
    """Bytes objects that end where a protected page begins, without the NUL that usually follows."""

    def __init__(self, size: int) -> None:
        pages = (size + HEADER + mmap.PAGESIZE) // mmap.PAGESIZE + 1
        self._memory = mmap.mmap(-1, pages * mmap.PAGESIZE)
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._end = self._start + (pages - 1) * mmap.PAGESIZE
        if _libc.mprotect(self._end, mmap.PAGESIZE, 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")

    def place(self, octets: bytes) -> bytes:
        """Return octets as an object in the guarded place; it lives until the next call."""
        address = self._end - HEADER - len(octets)
        # Not aligned, which the processors CPython runs on forgive, so that no gap is left before the page.
        ctypes.memmove(address, id(octets), HEADER + len(octets))
        # Never to be freed: the interpreter does not own this memory.
        ctypes.c_ssize_t.from_address(address).value = 1 << 20
        placed: bytes = ctypes.cast(address, ctypes.py_object).value
        return placed


def attempt(parse: Callable[[bytes], object], octets: bytes) -> None:
    """Parse, whatever comes of it."""
    with suppress(SipParseError):
        parse(octets)


def feed(octets: bytes) -> None:
    """Frame octets as a stream."""
    sip_parser.StreamFramer().feed(octets)


def main() -> None:
    """Parse every prefix of every message, and every URI's."""
    guarded = GuardedBytes(max(len(row.octets) for row in ROWS))
    for row in ROWS:
        for end in range(len(row.octets) + 1):
            for parse in (sip_parser.parse_message, sip_parser.salvage, uri.parse_uri, feed):
                attempt(parse, guarded.place(row.octets[:end]))
    print("ok")  # noqa: T201


if __name__ == "__main__":
    main()
