"""Nonces of digest authentication: made without being kept, remembered from their first right use on.

    nonce = base64url(number || HMAC-SHA256-128(key, number || SHA-256(realm))), number = seconds of issue || count

Whoever is only challenged leaves nothing behind.  A nonce that was used rightly is held with a window of nonce-counts
(RFC 7616 section 3.4.3, the scheme of RFC 4303 section 3.4.3): the highest, and which of the 64 up to it have come.
Of more nonces than there is room for, those first used longest ago are forgotten, and with them every nonce that
is no younger: what is forgotten could otherwise be used again.
"""

from collections import OrderedDict

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from reginfo._fast._index cimport (
    BLOCK_BITS,
    BLOCK_MASK,
    Index,
    index_add,
    index_close,
    index_drop,
    index_first,
    index_open,
    index_reserve,
)
from reginfo._fast._sha256 cimport mac_of, mac_open, sha256
from reginfo._fast._siphash cimport load_u64, siphash

cdef enum:
    KEY_OCTETS = 32
    NUMBER_OCTETS = 8
    RAW_OCTETS = 24         # number and MAC
    WINDOW = 64             # nonce-counts below the highest that are told apart

MAX_NONCES = 1 << 20        # in use at a time, 64 octets each: one per phone of a large registrar


cdef inline Use* _use(const Index* index, uint32_t entry) noexcept nogil:
    return &(<Use*>index.blocks[entry >> BLOCK_BITS])[entry & BLOCK_MASK]


cdef const uint8_t* _alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
cdef uint8_t[256] _place        # of an octet in the alphabet, 0 if it has none
for _i in range(64):
    _place[_alphabet[_i]] = _i


cdef void _encode(const uint8_t* raw, uint8_t* text) noexcept nogil:
    # base64url of RFC 4648 section 5; three octets are four digits
    cdef uint32_t three
    cdef int i, digit
    for i in range(RAW_OCTETS // 3):
        three = <uint32_t>raw[3 * i] << 16 | <uint32_t>raw[3 * i + 1] << 8 | raw[3 * i + 2]
        for digit in range(4):
            text[4 * i + digit] = _alphabet[three >> (18 - 6 * digit) & 63]


@cython.final
@cython.auto_pickle(False)
cdef class Nonces:
    """The nonces of one realm; key is 32 secret octets, lifetime_s is from issue on."""

    def __cinit__(self, key: bytes, realm: str, lifetime_s: int, capacity: int = MAX_NONCES) -> None:
        cdef const uint8_t* octets = <const uint8_t*>PyBytes_AS_STRING(key)
        cdef bytes name
        if len(key) != KEY_OCTETS:
            raise ValueError("the key of Nonces is 32 octets")
        if not 1 <= capacity < 1 << 31:
            raise ValueError("capacity is between 1 and 2**31 - 1")
        mac_open(&self.mac, octets)
        self.hash_key[0] = siphash(load_u64(octets), load_u64(&octets[8]), b"nonces", 6)
        self.hash_key[1] = siphash(load_u64(&octets[16]), load_u64(&octets[24]), b"nonces", 6)
        name = realm.encode()
        sha256(<const uint8_t*>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), self.realm_hash)
        self.lifetime_s = lifetime_s
        self.capacity = capacity
        self.sessions = OrderedDict()
        index_open(&self.index, sizeof(Use), 1)

    def __dealloc__(self) -> None:
        index_close(&self.index)

    def __len__(self) -> int:
        """Return how many nonces are held."""
        return self.index.count

    def issue(self, now_ms: int64_t) -> str:
        """Return a new nonce."""
        return self.make(now_ms).decode("ascii")

    def use(self, nonce: str, nc: uint32_t, now_ms: int64_t) -> bool:
        """Take a right use of a nonce with this nonce-count; False if it is not ours, too old, or a replay."""
        cdef bytes text = nonce.encode()
        return self.look(text, now_ms) >= UNUSED and self.spend(text, nc, now_ms)

    cdef bytes make(self, int64_t now_ms):
        cdef uint8_t[NONCE_OCTETS] text
        self.count += 1
        self.write(<uint64_t>(now_ms // 1000) << 32 | self.count, text)
        return PyBytes_FromStringAndSize(<char*>text, NONCE_OCTETS)

    cdef void write(self, uint64_t number, uint8_t* text) noexcept:
        # The nonce of a number.
        cdef uint8_t[NUMBER_OCTETS + HASH_OCTETS] message
        cdef uint8_t[NUMBER_OCTETS + HASH_OCTETS] raw   # of which the end is cut off
        cdef int i
        for i in range(NUMBER_OCTETS):
            message[i] = raw[i] = <uint8_t>(number >> (56 - 8 * i))
        memcpy(&message[NUMBER_OCTETS], self.realm_hash, HASH_OCTETS)
        mac_of(&self.mac, message, NUMBER_OCTETS + HASH_OCTETS, &raw[NUMBER_OCTETS])
        _encode(raw, text)

    cdef uint64_t number_of(self, bytes nonce) noexcept:
        # Of a nonce that write() made; anything else has some number, too.
        cdef const uint8_t* text = <const uint8_t*>PyBytes_AS_STRING(nonce)
        cdef uint64_t number = 0
        cdef int i
        for i in range(10):
            number = number << 6 | _place[text[i]]
        return number << 4 | _place[text[10]] >> 2

    cdef bint is_ours(self, bytes nonce, uint64_t number) noexcept:
        # In a time that does not depend on where they differ.
        cdef const uint8_t* text = <const uint8_t*>PyBytes_AS_STRING(nonce)
        cdef uint8_t[NONCE_OCTETS] right
        cdef uint8_t differ = 0
        cdef int i
        self.write(number, right)
        for i in range(NONCE_OCTETS):
            differ |= text[i] ^ right[i]
        return differ == 0

    cdef uint32_t find(self, bytes nonce) noexcept:
        # The entry of a nonce of NONCE_OCTETS, or 0.
        cdef const uint8_t* text = <const uint8_t*>PyBytes_AS_STRING(nonce)
        cdef uint32_t hash = <uint32_t>siphash(self.hash_key[0], self.hash_key[1], text, NONCE_OCTETS)
        cdef uint32_t entry = index_first(&self.index, hash)
        while entry:
            if _use(&self.index, entry).link.hash == hash and memcmp(
                _use(&self.index, entry).text, text, NONCE_OCTETS
            ) == 0:
                break
            entry = _use(&self.index, entry).link.chain
        return entry

    cdef int look(self, bytes nonce, int64_t now_ms) except -1:
        # What a nonce is; of one that is held, without a hash.
        cdef uint64_t number
        cdef uint32_t entry
        if PyBytes_GET_SIZE(nonce) != NONCE_OCTETS:
            return FORGED
        entry = self.find(nonce)
        if entry:
            number = _use(&self.index, entry).number
        else:
            number = self.number_of(nonce)
            if not self.is_ours(nonce, number):
                return FORGED
            if number <= self.horizon:
                return EXPIRED
        if self.is_over(number, now_ms):
            return EXPIRED
        return USED if entry else UNUSED

    cdef bint is_over(self, uint64_t number, int64_t now_ms) noexcept:
        return now_ms // 1000 - <int64_t>(number >> 32) >= self.lifetime_s

    cdef bint is_ending(self, bytes nonce, int64_t now_ms) except -1:
        # Whether the last quarter of the life of a nonce in use has begun.
        cdef uint32_t entry = self.find(nonce)
        cdef int64_t age_s = now_ms // 1000 - <int64_t>(_use(&self.index, entry).number >> 32)
        return entry == 0 or 4 * age_s >= 3 * self.lifetime_s

    cdef bint spend(self, bytes nonce, uint32_t nc, int64_t now_ms) except -1:
        # Use a nonce that is ours and in time; False for a nonce-count that came before, or may have.
        cdef uint32_t entry = self.find(nonce)
        cdef Use* use
        cdef uint32_t ahead
        if entry == 0:
            self.remember(nonce, nc, now_ms)
            return True
        use = _use(&self.index, entry)
        if nc > use.highest:
            ahead = nc - use.highest
            use.seen = (use.seen << ahead if ahead < WINDOW else 0) | 1
            use.highest = nc
            return True
        ahead = use.highest - nc
        if ahead >= WINDOW or use.seen >> ahead & 1:
            return False
        use.seen |= <uint64_t>1 << ahead
        return True

    cdef int remember(self, bytes nonce, uint32_t nc, int64_t now_ms) except -1:
        cdef const uint8_t* text = <const uint8_t*>PyBytes_AS_STRING(nonce)
        cdef uint32_t entry
        cdef Use* use
        cdef int left = 2
        # Those at the end of their life go first, two for each that comes.
        while left and self.oldest and self.is_over(_use(&self.index, self.oldest).number, now_ms):
            self.forget_oldest()
            left -= 1
        if self.index.count >= self.capacity:
            self.forget_oldest()
        index_reserve(&self.index)
        entry = index_add(&self.index, <uint32_t>siphash(self.hash_key[0], self.hash_key[1], text, NONCE_OCTETS))
        use = _use(&self.index, entry)
        use.younger = 0
        use.highest = nc
        use.seen = 1
        use.number = self.number_of(nonce)
        memcpy(use.text, text, NONCE_OCTETS)
        if self.youngest:
            _use(&self.index, self.youngest).younger = entry
        else:
            self.oldest = entry
        self.youngest = entry
        return 0

    cdef int forget_oldest(self) except -1:
        cdef uint32_t entry = self.oldest
        cdef Use* use = _use(&self.index, entry)
        self.horizon = max(self.horizon, use.number)
        if self.sessions:
            self.sessions.pop(<bytes>use.text[:NONCE_OCTETS], None)
        self.oldest = use.younger
        if self.oldest == 0:
            self.youngest = 0
        index_drop(&self.index, entry)
        return 0
