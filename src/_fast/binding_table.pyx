"""The binding table: AoR -> record, with the wheel that knows which AoR has a contact to expire.

The table keeps records as it was given them (shared, never copied) and reads nothing of them but the header
and the next expiry.  It costs 28 octets per AoR beyond the record: an entry of 24 and a bucket of 4.

The wheel is hierarchical (G. Varghese and T. Lauck, "Hashed and hierarchical timing wheels", SOSP 1987):
ten levels of 64 buckets over ticks of 100 ms.  An entry lies on the level of the highest digit (base 64) in
which its tick differs from the present one, and moves to a finer level when the present reaches its bucket.
It is lazy: a refresh that moves the expiry later leaves the entry where it is, and the entry is put where it
belongs by then when its bucket comes.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from reginfo._fast._index cimport (
    BLOCK,
    BLOCK_BITS,
    BLOCK_MASK,
    Index,
    Link,
    index_add,
    index_close,
    index_drop,
    index_first,
    index_head,
    index_open,
    index_reserve,
)
from reginfo._fast._record cimport (
    FLOW,
    record_aor,
    record_head,
    record_is_sound,
    record_next_expiry,
    record_rows,
    row_gruu,
    row_has_gruu,
    row_head,
    row_is_local,
    row_size,
    row_text,
)
from reginfo._fast._siphash cimport siphash
from reginfo._fast.binding cimport Change

from collections.abc import Sequence

cdef extern from * nogil:
    int __builtin_clzll(unsigned long long)
    int __builtin_ctzll(unsigned long long)
    void __builtin_prefetch(const void*)

cdef enum:
    TICK_MS = 100
    DIGIT = 6                       # bits per level: 64 buckets, whose occupancy is one word
    BUCKETS = 1 << DIGIT
    LEVELS = 10                     # 2**60 ticks: more than 64 bits of milliseconds have
    OVERDUE = 0                     # the list of entries whose bucket has come
    RESERVED = 1 + LEVELS * BUCKETS     # entries that are list heads
    RETRY_MS = 1000                 # an AoR that was reported and not changed is reported again by then
    WINDOW = 32                     # AoRs whose memory is fetched while others are looked at
    CASCADE = 1024                  # entries that one call of due moves to finer levels

cdef enum:                          # what compare finds about a record
    SAME
    MISSING
    DIFFERENT

FINGERPRINT = [("key", "u8"), ("content", "u8")]


cdef struct Entry:
    Link link
    PyObject* record    # owned; NULL in a list head and in a dropped entry
    uint32_t later      # the circular list of its bucket, through the head; itself if in none
    uint32_t earlier


cdef inline const uint8_t* _octets(PyObject* record) noexcept:
    return <const uint8_t*>PyBytes_AS_STRING(<object>record)


cdef inline bytes sound(bytes record):
    if not record_is_sound(<const uint8_t*>PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record)):
        raise ValueError("not the record of an AoR")
    return record


cdef str _aor(PyObject* record):
    cdef const uint8_t* octets = _octets(record)
    return PyUnicode_DecodeUTF8(<const char*>record_aor(octets), record_head(octets).aor_length, NULL)


cdef str _text(const uint8_t* row, int which):
    return PyUnicode_DecodeUTF8(<const char*>row_text(row, which), row_head(row).lengths[which], NULL)


cdef inline uint32_t _head(int level, int bucket) noexcept nogil:
    return 1 + level * BUCKETS + bucket


cdef inline uint64_t _tick_of(int64_t now_ms) noexcept nogil:
    # The end of time is kept far enough away for a report to be repeated.
    return <uint64_t>min(max(now_ms, 0), INT64_MAX - 2 * RETRY_MS) // TICK_MS


@cython.final
cdef class BindingTable:
    """Records by AoR, in the order of nothing, with constant cost whatever their number."""

    cdef Index index
    cdef uint64_t key0
    cdef uint64_t key1
    cdef uint64_t rows
    cdef dict gruus                     # index of the temporary GRUUs of an instance -> entry of its AoR
    cdef uint64_t tick                  # the present: everything up to it has been moved or is OVERDUE
    cdef uint64_t occupied[LEVELS]      # buckets that may hold entries; only removal leaves a bit behind

    def __cinit__(self, now_ms: int64_t = 0) -> None:
        # Strangers choose AoRs, so the hash is keyed with the interpreter's own secret (PYTHONHASHSEED).
        self.key0 = <uint64_t><int64_t>hash(b"reginfo binding table, first word")
        self.key1 = <uint64_t><int64_t>hash(b"reginfo binding table, second word")
        self.tick = _tick_of(now_ms)
        self.gruus = {}
        index_open(&self.index, sizeof(Entry), RESERVED)
        cdef int i
        for i in range(RESERVED):
            self.at(i).later = self.at(i).earlier = i

    def __dealloc__(self) -> None:
        cdef uint32_t i
        for i in range(RESERVED, self.index.used):
            if self.at(i).record != NULL:
                Py_DECREF(<object>self.at(i).record)
        index_close(&self.index)

    # --- records by AoR -------------------------------------------------------------------------

    cdef inline Entry* at(self, uint32_t entry) noexcept nogil:
        return &(<Entry*>self.index.blocks[entry >> BLOCK_BITS])[entry & BLOCK_MASK]

    cdef inline uint32_t digest(self, const uint8_t* aor, Py_ssize_t n) noexcept nogil:
        return <uint32_t>siphash(self.key0, self.key1, aor, n)

    cdef uint32_t find(self, const uint8_t* aor, Py_ssize_t n, uint32_t digest) noexcept:
        # The entry of an AoR, or 0.
        cdef uint32_t entry = index_first(&self.index, digest)
        cdef const uint8_t* record
        while entry:
            if self.at(entry).link.hash == digest:
                record = _octets(self.at(entry).record)
                if record_head(record).aor_length == n and memcmp(record_aor(record), aor, n) == 0:
                    return entry
            entry = self.at(entry).link.chain
        return 0

    cdef uint32_t find_text(self, str aor) except? 0:
        cdef Py_ssize_t n = 0
        cdef const uint8_t* octets = <const uint8_t*>PyUnicode_AsUTF8AndSize(aor, &n)
        return self.find(octets, n, self.digest(octets, n))

    def get(self, aor: str) -> bytes | None:
        """Return the record of an AoR, the very object that was put."""
        cdef uint32_t entry = self.find_text(aor)
        if entry == 0:
            return None
        return <bytes>self.at(entry).record

    def load(self, aors: Sequence[str]) -> list[bytes | None]:
        """Return the records of many AoRs, in their order.

        In a table larger than the processor's cache this is several times as fast as get after get: the memory
        of one AoR is fetched while the next one is hashed.
        """
        cdef list keys = list(aors)
        cdef list records = []
        cdef Py_ssize_t start
        for start in range(0, len(keys), WINDOW):
            self.load_window(keys, start, min(start + WINDOW, len(keys)), records)
        return records

    cdef int load_window(self, list keys, Py_ssize_t start, Py_ssize_t stop, list records) except -1:
        cdef uint32_t digests[WINDOW]
        cdef const uint8_t* octets[WINDOW]
        cdef Py_ssize_t lengths[WINDOW]
        cdef uint32_t entry
        cdef Py_ssize_t i
        cdef Py_ssize_t n = stop - start
        for i in range(n):
            octets[i] = <const uint8_t*>PyUnicode_AsUTF8AndSize(<str?>keys[start + i], &lengths[i])
            digests[i] = self.digest(octets[i], lengths[i])
            __builtin_prefetch(index_head(&self.index, digests[i]))
        for i in range(n):
            __builtin_prefetch(self.at(index_first(&self.index, digests[i])))
        for i in range(n):
            __builtin_prefetch(self.at(index_first(&self.index, digests[i])).record)
        for i in range(n):
            entry = self.find(octets[i], lengths[i], digests[i])
            records.append(<bytes>self.at(entry).record if entry else None)
        return 0

    def accept(self, changes: Sequence[Change], ahead: dict[str, int]) -> tuple[list[Change], list[int]]:
        """Return the changes made on the present revision of their AoR, and the indices of all others.

        ahead maps AoRs to revisions that are accepted but not here yet (0: no record left); accepted changes are added
        to it.  Once one is refused, so are those that follow for its AoR.
        """
        cdef Change change
        cdef str aor
        cdef uint32_t entry
        cdef uint64_t revision
        cdef Py_ssize_t index = 0
        cdef list accepted = []
        cdef list refused = []
        cdef set lost = set()
        for change in changes:
            aor = change.aor
            known = ahead.get(aor)
            if known is not None:
                revision = known
            else:
                entry = self.find_text(aor)
                revision = record_head(_octets(self.at(entry).record)).revision if entry else 0
            if change.base_revision != revision or (lost and aor in lost):
                refused.append(index)
                lost.add(aor)
            else:
                ahead[aor] = change.revision if change.record else 0
                accepted.append(change)
            index += 1
        return accepted, refused

    def commit(self, changes: Sequence[Change]) -> list[int]:
        """Keep what changes made on the present revision of their AoR come to, and return the indices of all others.

        What accept() and apply() come to, where nothing comes in between.
        """
        cdef Change change
        cdef const uint8_t* octets
        cdef Py_ssize_t n = 0
        cdef uint32_t digest, entry
        cdef uint64_t revision
        cdef Py_ssize_t index = 0
        cdef list refused = []
        cdef set lost = set()
        for change in changes:
            octets = <const uint8_t*>PyUnicode_AsUTF8AndSize(change.aor, &n)
            digest = self.digest(octets, n)
            entry = self.find(octets, n, digest)
            revision = record_head(_octets(self.at(entry).record)).revision if entry else 0
            if change.base_revision != revision or (lost and change.aor in lost):
                refused.append(index)
                lost.add(change.aor)
            elif change.record:
                self.put_at(entry, digest, sound(change.record))
            elif entry:
                self.remove_at(entry)
            index += 1
        return refused

    def apply(self, changes: Sequence[Change]) -> None:
        """Keep what changes come to, in order: their records, or none for the AoR."""
        cdef Change change
        for change in changes:
            if change.record:
                self._put(change.record)
            else:
                self.remove(change.aor)

    def put(self, record: bytes) -> None:
        """Keep a record under its AoR, in place of the one before; ValueError if it is no record."""
        self._put(record)

    cdef int _put(self, bytes record) except -1:
        cdef const uint8_t* octets = <const uint8_t*>PyBytes_AS_STRING(sound(record))
        cdef Py_ssize_t n = record_head(octets).aor_length
        cdef uint32_t digest = self.digest(record_aor(octets), n)
        return self.put_at(self.find(record_aor(octets), n, digest), digest, record)

    cdef int put_at(self, uint32_t entry, uint32_t digest, bytes record) except -1:
        # Keep a sound record in the entry of its AoR, a new one if that is 0.
        cdef const uint8_t* octets = <const uint8_t*>PyBytes_AS_STRING(record)
        cdef int64_t expires_at = record_next_expiry(octets)
        cdef int64_t before
        cdef PyObject* old
        if entry == 0:
            index_reserve(&self.index)
            entry = index_add(&self.index, digest)
            self.schedule(entry, expires_at)
            self.at(entry).record = <PyObject*>record
            self.rows += record_head(octets).rows
            Py_INCREF(record)
            self.add_gruus(octets, entry)
            return 0
        old = self.at(entry).record
        before = record_next_expiry(_octets(old))
        self.drop_gruus(_octets(old))
        self.add_gruus(octets, entry)
        self.at(entry).record = <PyObject*>record
        self.rows += record_head(octets).rows
        self.rows -= record_head(_octets(old)).rows
        Py_INCREF(record)
        # An entry never lies later than its expiry, except while it waits to be reported once more.
        if expires_at < before or before <= self.present():
            self.unlink(entry)
            self.schedule(entry, expires_at)
        Py_DECREF(<object>old)
        return 0

    def remove(self, aor: str) -> bool:
        """Forget an AoR; return whether it was there."""
        cdef uint32_t entry = self.find_text(aor)
        if entry == 0:
            return False
        self.remove_at(entry)
        return True

    cdef int remove_at(self, uint32_t entry) except -1:
        cdef PyObject* record = self.at(entry).record
        self.unlink(entry)
        self.at(entry).record = NULL
        index_drop(&self.index, entry)
        self.rows -= record_head(_octets(record)).rows
        self.drop_gruus(_octets(record))
        Py_DECREF(<object>record)
        return 0

    cdef int add_gruus(self, const uint8_t* record, uint32_t entry) except -1:
        cdef const uint8_t* row = record_rows(record)
        for _ in range(record_head(record).rows):
            if row_has_gruu(row):
                self.gruus[row_gruu(row).index] = entry
            row = &row[row_size(row)]
        return 0

    cdef int drop_gruus(self, const uint8_t* record) except -1:
        cdef const uint8_t* row = record_rows(record)
        for _ in range(record_head(record).rows):
            if row_has_gruu(row):
                self.gruus.pop(row_gruu(row).index, None)
            row = &row[row_size(row)]
        return 0

    def find_gruu(self, index: int) -> str | None:
        """Return the AoR of the instance whose temporary GRUUs are good under an index; None if none are."""
        cdef object entry = self.gruus.get(index)
        return None if entry is None else _aor(self.at(entry).record)

    def __len__(self) -> int:
        """Return the number of AoRs."""
        return self.index.count

    @property
    def contacts(self) -> int:
        """Number of rows in all records."""
        return self.rows

    def __sizeof__(self) -> int:
        """Return the octets the table itself takes, records not counted."""
        return (
            sizeof(BindingTable)
            + <size_t>self.index.block_count * BLOCK * sizeof(Entry)
            + <size_t>self.index.head_count * BLOCK * sizeof(uint32_t)
            + (<size_t>self.index.block_room + self.index.head_room) * sizeof(void*)
        )

    def page(self, cursor: int, n: int) -> tuple[int, list[bytes]]:
        """Return up to n records from a cursor on, and the cursor to go on from: 0 begins, 0 ends.

        Between the calls the table may change at will.  An AoR that is there from the first call to the last is
        delivered exactly once, with the record it has at that moment, because entries never move; one that
        comes, goes or comes back meanwhile may or may not be.  A page may be empty before the end: a call
        passes over a bounded number of places that removals left behind.
        """
        cdef uint32_t entry
        cdef uint32_t end
        cdef list records = []
        if n < 1 or cursor < 0:
            raise ValueError("page: a cursor of an earlier page and at least one record are needed")
        entry = max(<uint32_t>min(cursor, self.index.used), <uint32_t>RESERVED)
        end = <uint32_t>min(<uint64_t>entry + BLOCK, self.index.used)
        while entry < end and len(records) < n:
            if self.at(entry).record != NULL:
                records.append(<bytes>self.at(entry).record)
            entry += 1
        return (entry if entry < self.index.used else 0), records

    def flows(self) -> list[tuple[str, str]]:
        """Return (AoR, flow) of every local binding that ends with a flow: a walk over the whole table."""
        cdef uint32_t entry
        cdef list found = []
        cdef const uint8_t* row
        cdef int left
        for entry in range(RESERVED, self.index.used):
            if self.at(entry).record == NULL:
                continue
            row = record_rows(_octets(self.at(entry).record))
            left = record_head(_octets(self.at(entry).record)).rows
            while left:
                if row_head(row).lengths[FLOW] and row_is_local(row):
                    found.append((_aor(self.at(entry).record), _text(row, FLOW)))
                row = &row[row_size(row)]
                left -= 1
        return found

    # --- expiry ---------------------------------------------------------------------------------

    cdef inline int64_t present(self) noexcept nogil:
        return <int64_t>(self.tick * TICK_MS)

    cdef inline void append(self, uint32_t entry, uint32_t bucket) noexcept nogil:
        cdef uint32_t last = self.at(bucket).earlier
        self.at(entry).later = bucket
        self.at(entry).earlier = last
        self.at(last).later = entry
        self.at(bucket).earlier = entry

    cdef inline void unlink(self, uint32_t entry) noexcept nogil:
        cdef uint32_t later = self.at(entry).later
        cdef uint32_t earlier = self.at(entry).earlier
        self.at(earlier).later = later
        self.at(later).earlier = earlier

    cdef void schedule(self, uint32_t entry, int64_t expires_at) noexcept nogil:
        # Put an entry in no list into the bucket of its expiry.
        cdef uint64_t tick
        cdef int level = 0
        cdef int bucket
        if expires_at == INT64_MAX:
            self.at(entry).later = self.at(entry).earlier = entry
            return
        if expires_at <= self.present():
            self.append(entry, OVERDUE)
            return
        # Rounded up: never early, late by less than a tick.
        tick = (<uint64_t>expires_at + TICK_MS - 1) // TICK_MS
        level = (63 - __builtin_clzll(tick ^ self.tick)) // DIGIT
        bucket = (tick >> level * DIGIT) & (BUCKETS - 1)
        self.occupied[level] |= <uint64_t>1 << bucket
        self.append(entry, _head(level, bucket))

    cdef void splice(self, uint32_t bucket) noexcept nogil:
        # Move the entries of a bucket to the front of OVERDUE.
        cdef uint32_t first = self.at(bucket).later
        cdef uint32_t last = self.at(bucket).earlier
        cdef uint32_t front = self.at(OVERDUE).later
        if first == bucket:
            return
        self.at(OVERDUE).later = first
        self.at(first).earlier = OVERDUE
        self.at(last).later = front
        self.at(front).earlier = last
        self.at(bucket).later = self.at(bucket).earlier = bucket

    cdef void advance(self, uint64_t tick) noexcept nogil:
        # Make tick the present: every bucket that begins by then becomes overdue, whatever the distance.  Coarse
        # buckets go first, so that the finest, whose entries are exactly due, end up in front.
        cdef int level
        cdef int bucket
        cdef uint64_t reached
        for level in range(LEVELS - 1, -1, -1):
            reached = self.occupied[level]
            if tick >> (level + 1) * DIGIT == self.tick >> (level + 1) * DIGIT:
                reached &= <uint64_t>-1 >> (BUCKETS - 1 - ((tick >> level * DIGIT) & (BUCKETS - 1)))
            self.occupied[level] &= ~reached
            while reached:
                bucket = 63 - __builtin_clzll(reached)
                reached ^= <uint64_t>1 << bucket
                self.splice(_head(level, bucket))
        self.tick = tick

    def due(self, now_ms: int, limit: int) -> list[str]:
        """Return up to limit AoRs with a row whose time is reached (REG-17), none early, none a tick late.

        The caller removes the rows and puts or removes the record; an AoR that is left as it is comes again
        within a second.  The work of one call is bounded, also after the clock jumped: while next_due_ms() is not
        beyond now_ms, call again, even if nothing was returned.  Time that runs backwards counts as standing.
        """
        cdef uint64_t tick = _tick_of(now_ms)
        cdef uint32_t entry
        cdef int64_t expires_at
        cdef Py_ssize_t most = limit
        cdef int moved = 0
        cdef list found = []
        if tick > self.tick:
            self.advance(tick)
        while len(found) < most and moved < CASCADE:
            entry = self.at(OVERDUE).later
            if entry == OVERDUE:
                break
            expires_at = record_next_expiry(_octets(self.at(entry).record))
            if expires_at <= self.present():
                found.append(_aor(self.at(entry).record))
                expires_at = self.present() + RETRY_MS
            else:
                moved += 1
            self.unlink(entry)
            self.schedule(entry, expires_at)
        return found

    def next_due_ms(self) -> int | None:
        """Return an instant before which due has nothing to do; None if no row ever expires."""
        cdef int level
        cdef int bucket
        cdef uint64_t start
        if self.at(OVERDUE).later != OVERDUE:
            return self.present()
        for level in range(LEVELS):
            while self.occupied[level]:
                bucket = __builtin_ctzll(self.occupied[level])
                if self.at(_head(level, bucket)).later != _head(level, bucket):
                    start = self.tick >> (level + 1) * DIGIT << DIGIT | <uint64_t>bucket
                    return (start << level * DIGIT) * TICK_MS
                self.occupied[level] ^= <uint64_t>1 << bucket
        return None

    # --- fingerprints ---------------------------------------------------------------------------

    cdef bytes collect(self):
        # Key and content of each record, in the order of the entries.
        cdef bytes octets = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>self.index.count * 2 * sizeof(uint64_t))
        cdef uint64_t* words = <uint64_t*>PyBytes_AS_STRING(octets)
        cdef const uint8_t* record
        cdef uint32_t entry
        cdef Py_ssize_t i = 0
        for entry in range(RESERVED, self.index.used):
            if self.at(entry).record == NULL:
                continue
            record = _octets(self.at(entry).record)
            words[i] = record_head(record).id
            # The same on every node and in every process: these numbers are compared between them.
            words[i + 1] = siphash(0, 0, record, PyBytes_GET_SIZE(<object>self.at(entry).record))
            i += 2
        return octets

    def fingerprints(self) -> object:
        """Return (key, content) of every record: the registration id and a hash of the octets.

        This walks all records, about 0.1 s for a million: it is for comparing tables, not for a timer.
        """
        from numpy import frombuffer
        return frombuffer(self.collect(), dtype=FINGERPRINT)

    def compare(self, theirs: object) -> tuple:
        """Return what differs from the fingerprints of another table.

        The AoRs only this one has, the AoRs whose records differ, and the keys only the other one has.
        """
        from numpy import argsort, ones, searchsorted, zeros
        mine = self.fingerprints()
        theirs = theirs[argsort(theirs["key"])]
        places = searchsorted(theirs["key"], mine["key"])
        known = places < searchsorted(theirs["key"], mine["key"], side="right")
        places = places[known]
        verdicts = zeros(len(mine), dtype="u1")
        verdicts[~known] = MISSING
        verdicts[known] = DIFFERENT * (theirs["content"][places] != mine["content"][known])
        missing, different = self.sort_out(verdicts.tobytes())
        strange = ones(len(theirs), dtype=bool)
        strange[places] = False
        return missing, different, theirs["key"][strange]

    cdef tuple sort_out(self, bytes verdicts):
        # The AoRs with a verdict, which come in the order of collect.
        cdef const uint8_t* verdict = <const uint8_t*>PyBytes_AS_STRING(verdicts)
        cdef uint32_t entry
        cdef Py_ssize_t i = 0
        cdef list missing = []
        cdef list different = []
        for entry in range(RESERVED, self.index.used):
            if self.at(entry).record == NULL:
                continue
            if verdict[i] == MISSING:
                missing.append(_aor(self.at(entry).record))
            elif verdict[i] == DIFFERENT:
                different.append(_aor(self.at(entry).record))
            i += 1
        return missing, different
