"""Absorbed retransmissions: what was answered to these very octets from this very source.

RFC 3261 17.2.2 asks a server to answer a request again for 64*T1 = 32 s.  A retransmission over UDP is the
same octets from the same address, so a keyed hash of both stands for the transaction.  Two generations of 32 s
follow each other: an answer is remembered for 32 to 64 s, and for less only if more than the capacity come
within that time.  An entry takes 16 octets and a bucket of 4.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from reginfo._fast._index cimport (
    BLOCK_BITS,
    BLOCK_MASK,
    Index,
    index_add,
    index_clear,
    index_close,
    index_drop,
    index_first,
    index_head,
    index_open,
    index_reserve,
)
from reginfo._fast._siphash cimport (
    SipHash,
    load_u64,
    siphash,
    siphash_finish,
    siphash_start,
    siphash_update,
)
from reginfo._fast.datagrams cimport Flow

from enum import Enum

cdef extern from * nogil:
    void __builtin_prefetch(const void*)

cdef enum:
    GENERATION_MS = 32_000      # timer J: 64*T1
    KEY_OCTETS = 16
    # What an entry remembers; a greater number is KEPT + the place of the answer in the ring.
    AT_WORK = 0
    LISTED = 1
    KEPT = 2


class Absorbed(Enum):
    """What is remembered of a request without the octets of an answer."""

    PENDING = "pending"
    "The request is being worked on: a retransmission is dropped (RFC 3261 17.2.2, Trying)."
    LISTING = "listing"
    "A REGISTER answered 200: the answer is rendered again from the bindings as they stand."


PENDING = Absorbed.PENDING
LISTING = Absorbed.LISTING


cdef inline Entry* _entry(const Index* index, uint32_t entry) noexcept nogil:
    return &(<Entry*>index.blocks[entry >> BLOCK_BITS])[entry & BLOCK_MASK]


cdef inline uint32_t _find(const Index* index, uint64_t fingerprint) noexcept nogil:
    # The entry of a fingerprint, or 0.
    cdef uint32_t lower = <uint32_t>fingerprint
    cdef uint32_t upper = <uint32_t>(fingerprint >> 32)
    cdef uint32_t entry = index_first(index, lower)
    while entry:
        if _entry(index, entry).link.hash == lower and _entry(index, entry).upper == upper:
            break
        entry = _entry(index, entry).link.chain
    return entry


@cython.final
cdef class Transactions:
    """The answered requests of the last 32 to 64 s, by fingerprint.

    capacity bounds the entries of a generation, answers and answer_octets the answers kept and their size, of which
    the last one stays whatever its size; key is 16 secret octets.
    """

    def __cinit__(
        self, key: bytes, capacity: int = 1 << 20, answers: int = 16384, answer_octets: int = 32 << 20
    ) -> None:
        cdef const uint8_t* octets = <const uint8_t*>PyBytes_AS_STRING(key)
        if len(key) != KEY_OCTETS:
            raise ValueError("the key of Transactions is 16 octets")
        if not 1 <= capacity < 1 << 31 or not 1 <= answers < 1 << 31:
            raise ValueError("capacity and answers are between 1 and 2**31 - 1")
        self.source_key[0] = load_u64(octets)
        self.source_key[1] = load_u64(&octets[8])
        # A tag is seen by everyone, so it must not tell the fingerprint it stands for.
        self.tag_key[0] = siphash(self.source_key[0], self.source_key[1], b"tag", 3)
        self.tag_key[1] = siphash(self.source_key[1], self.source_key[0], b"tag", 3)
        self.capacity = capacity
        self.answers = answers
        self.room = answer_octets
        index_open(&self.generations[0], sizeof(Entry), 1)
        index_open(&self.generations[1], sizeof(Entry), 1)
        self.ring = <Answer*>PyMem_Calloc(answers, sizeof(Answer))
        if self.ring == NULL:
            raise MemoryError

    def __dealloc__(self) -> None:
        cdef uint32_t i
        if self.ring != NULL:
            for i in range(self.answers):
                Py_XDECREF(self.ring[i].octets)
        PyMem_Free(self.ring)
        index_close(&self.generations[0])
        index_close(&self.generations[1])

    def __len__(self) -> int:
        """Return the entries of both generations."""
        return self.generations[0].count + self.generations[1].count

    def fingerprint(self, octets: bytes, flow: Flow) -> int:
        """Return the 64 bits that stand for these octets from this source; never 0."""
        return self.digest(octets, flow)

    cdef uint64_t digest(self, bytes octets, Flow flow) noexcept:
        cdef SipHash h
        cdef uint8_t[4] source
        source[0] = flow.kind
        source[1] = flow.host_length
        source[2] = <uint8_t>(flow.remote_port >> 8)
        source[3] = <uint8_t>flow.remote_port
        siphash_start(&h, self.source_key[0], self.source_key[1])
        siphash_update(&h, source, 4)
        siphash_update(&h, <const uint8_t*>flow.host_octets, flow.host_length)
        siphash_update(&h, <const uint8_t*>PyBytes_AS_STRING(octets), PyBytes_GET_SIZE(octets))
        return siphash_finish(&h) or 1

    def tag(self, fingerprint: int) -> str:
        """Return the tag a response to this request bears, 16 hexadecimal digits (RFC 3261 8.2.6.2, 19.3)."""
        return self.tag_of(fingerprint)

    def token(self) -> str:
        """Return 64 bits nobody can guess, as text, and never the same twice (MSG-12)."""
        self.tokens += 1
        return self.tag_of(self.tokens)

    cdef str tag_of(self, uint64_t number):
        cdef char[16] digits
        cdef int i
        number = siphash(self.tag_key[0], self.tag_key[1], <const uint8_t*>&number, sizeof(number))
        for i in range(16):
            digits[i] = b"0123456789abcdef"[(number >> (60 - 4 * i)) & 15]
        return PyUnicode_FromStringAndSize(digits, 16)

    cdef void rotate(self) noexcept:
        self.current ^= 1
        index_clear(&self.generations[self.current])

    cdef void turn(self, int64_t now_ms) noexcept:
        # Begin a new generation, or two, if it is time.
        if now_ms - self.started_at < GENERATION_MS:
            return
        self.rotate()
        if now_ms - self.started_at >= 2 * GENERATION_MS:
            self.rotate()
        self.started_at = now_ms

    cdef void expect(self, const uint64_t* numbers, Py_ssize_t n) noexcept nogil:
        # Have the memory fetched that tells whether these requests are known: the table is larger than the cache.
        cdef Py_ssize_t i
        cdef int which
        for i in range(n):
            for which in range(2):
                __builtin_prefetch(index_head(&self.generations[which], <uint32_t>numbers[i]))
        for i in range(n):
            for which in range(2):
                __builtin_prefetch(
                    _entry(&self.generations[which], index_first(&self.generations[which], <uint32_t>numbers[i]))
                )

    def find(self, fingerprint: int, now_ms: int) -> bytes | Absorbed | None:
        """Return what was remembered, or None: PENDING, LISTING or the octets of the answer."""
        return self.known(fingerprint, now_ms)

    cdef object known(self, uint64_t number, int64_t now_ms):
        cdef uint32_t entry
        cdef uint32_t value
        cdef Index* generation
        self.turn(now_ms)
        generation = &self.generations[self.current]
        entry = _find(generation, number)
        if entry == 0:
            generation = &self.generations[self.current ^ 1]
            entry = _find(generation, number)
            if entry == 0:
                return None
        value = _entry(generation, entry).value
        if value == AT_WORK:
            return PENDING
        if value == LISTED:
            return LISTING
        if self.ring[value - KEPT].fingerprint != number or self.ring[value - KEPT].octets == NULL:
            return None
        return <bytes>self.ring[value - KEPT].octets

    def remember(self, fingerprint: int, answer: bytes | Absorbed, now_ms: int) -> None:
        """Remember an answer for 32 s at least, in place of what was remembered before."""
        self.keep_answer(fingerprint, answer, now_ms)

    cdef int keep_answer(self, uint64_t number, object answer, int64_t now_ms) except -1:
        cdef uint32_t entry
        cdef uint32_t value
        cdef Index* generation
        self.turn(now_ms)
        if answer is PENDING:
            value = AT_WORK
        elif answer is LISTING:
            value = LISTED
        else:
            value = KEPT + self.keep(<bytes?>answer, number)
        generation = &self.generations[self.current]
        entry = _find(generation, number)
        if entry == 0:
            if generation.count >= self.capacity:
                self.rotate()
                self.started_at = now_ms
                generation = &self.generations[self.current]
            index_reserve(generation)
            entry = index_add(generation, <uint32_t>number)
            _entry(generation, entry).upper = <uint32_t>(number >> 32)
        _entry(generation, entry).value = value
        return 0

    cdef uint32_t keep(self, bytes octets, uint64_t fingerprint):
        # The place of an answer in the ring; the oldest ones are forgotten for want of a place or of room.
        cdef uint32_t place = self.next_answer
        self.drop(place)
        Py_INCREF(octets)
        self.ring[place].octets = <PyObject*>octets
        self.ring[place].fingerprint = fingerprint
        self.room -= PyBytes_GET_SIZE(octets)
        self.next_answer = (place + 1) % self.answers
        if self.ring[self.oldest_answer].octets == NULL:
            self.oldest_answer = place
        while self.room < 0 and self.oldest_answer != place:
            self.drop(self.oldest_answer)
        return place

    cdef int drop(self, uint32_t place) except -1:
        # Forget the answer in a place; only the oldest one is ever dropped.
        cdef PyObject* old = self.ring[place].octets
        if old != NULL:
            self.ring[place].octets = NULL
            self.room += PyBytes_GET_SIZE(<bytes>old)
            self.oldest_answer = (place + 1) % self.answers
            Py_XDECREF(old)
        return 0

    def forget(self, fingerprint: int) -> None:
        """Remember nothing of a request any more: its next copy is a new one."""
        cdef uint64_t number = fingerprint
        cdef uint32_t entry
        cdef int i
        for i in range(2):
            entry = _find(&self.generations[i], number)
            if entry:
                index_drop(&self.generations[i], entry)
