"""A pool of fixed-size entries under a linear hash: no operation touches more than a handful of them.

W. Litwin, "Linear hashing: a new tool for file and table addressing" (VLDB 1980).  Buckets are split one at
a time in a fixed order, one with every entry added, so there is no rehash to wait for and the load stays at
one entry per bucket.  Entries never move: the number of one is good until the entry is dropped.

The owner embeds Link as the first member of its entry, walks the chain of a hash itself
(index_first, then Link.chain until 0) and compares keys as it sees fit.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport uint32_t


cdef extern from * nogil:
    void __builtin_prefetch(const void*)

cdef enum:
    BLOCK_BITS = 12
    BLOCK = 1 << BLOCK_BITS     # entries, or buckets, that are allocated at a time
    BLOCK_MASK = BLOCK - 1
    AHEAD = 8                   # buckets whose entries are fetched before they are split


cdef struct Link:
    uint32_t hash
    uint32_t chain      # next entry of the bucket, or of the free list; 0 ends either


cdef struct Index:
    size_t stride       # octets of an entry
    char** blocks       # the entries, BLOCK in each
    uint32_t** heads    # the first entry of each bucket, BLOCK in each
    uint32_t block_count
    uint32_t block_room
    uint32_t head_count
    uint32_t head_room
    uint32_t used       # entry numbers handed out so far; the lowest are reserved for the owner
    uint32_t reserved
    uint32_t free       # first dropped entry
    uint32_t count      # entries in use
    uint32_t mask       # buckets are 0 .. mask + split
    uint32_t split      # next bucket to be split


cdef inline Link* index_link(const Index* index, uint32_t entry) noexcept nogil:
    return <Link*>&index.blocks[entry >> BLOCK_BITS][(entry & BLOCK_MASK) * index.stride]


cdef inline uint32_t* index_head(const Index* index, uint32_t digest) noexcept nogil:
    # Buckets below split exist twice already, so there one more bit of the hash counts.
    cdef uint32_t bucket = digest & index.mask
    if bucket < index.split:
        bucket = digest & (2 * index.mask + 1)
    return &index.heads[bucket >> BLOCK_BITS][bucket & BLOCK_MASK]


cdef inline uint32_t index_first(const Index* index, uint32_t digest) noexcept nogil:
    return index_head(index, digest)[0]


cdef inline void** _directory(void** directory, uint32_t count, uint32_t* room) except NULL:
    # One place more in a directory of blocks: a thousand pointers lead to four million entries.
    cdef uint32_t wanted = 2 * room[0] if room[0] else 16
    if count < room[0]:
        return directory
    directory = <void**>PyMem_Realloc(directory, wanted * sizeof(void*))
    if directory == NULL:
        raise MemoryError
    room[0] = wanted
    return directory


cdef inline int index_reserve(Index* index) except -1:
    """Make the next index_add succeed."""
    cdef void* block
    if not index.free and index.used == index.block_count << BLOCK_BITS:
        if index.used > <uint32_t>-BLOCK - 1:
            raise MemoryError
        index.blocks = <char**>_directory(<void**>index.blocks, index.block_count, &index.block_room)
        block = PyMem_Calloc(BLOCK, index.stride)
        if block == NULL:
            raise MemoryError
        index.blocks[index.block_count] = <char*>block
        index.block_count += 1
    if (index.mask + 1 + index.split) >> BLOCK_BITS == index.head_count:
        index.heads = <uint32_t**>_directory(<void**>index.heads, index.head_count, &index.head_room)
        block = PyMem_Malloc(BLOCK * sizeof(uint32_t))
        if block == NULL:
            raise MemoryError
        index.heads[index.head_count] = <uint32_t*>block
        index.head_count += 1
    return 0


cdef inline void index_clear(Index* index) noexcept nogil:
    """Forget all entries but the reserved ones, and keep the memory."""
    index.used = index.reserved
    index.free = 0
    index.count = 0
    index.mask = 0
    index.split = 0
    index.heads[0][0] = 0


cdef inline int index_open(Index* index, size_t stride, uint32_t reserved) except -1:
    """Make an empty index of a zeroed struct; entry 0 and all others below reserved (at most BLOCK) are the owner's."""
    index.stride = stride
    index.reserved = reserved
    index_reserve(index)
    index_clear(index)
    return 0


cdef inline void index_close(Index* index) noexcept:
    cdef uint32_t i
    for i in range(index.block_count):
        PyMem_Free(index.blocks[i])
    for i in range(index.head_count):
        PyMem_Free(index.heads[i])
    PyMem_Free(index.blocks)
    PyMem_Free(index.heads)


cdef inline void _split(Index* index) noexcept nogil:
    # Deal the chain of bucket `split` out to itself and to its twin one round higher.
    cdef uint32_t bit = index.mask + 1
    cdef uint32_t twin = index.split + bit
    cdef uint32_t* low = &index.heads[index.split >> BLOCK_BITS][index.split & BLOCK_MASK]
    cdef uint32_t* high = &index.heads[twin >> BLOCK_BITS][twin & BLOCK_MASK]
    cdef uint32_t entry = low[0]
    cdef uint32_t following
    cdef uint32_t* target
    cdef Link* link
    low[0] = 0
    high[0] = 0
    while entry:
        link = index_link(index, entry)
        following = link.chain
        target = high if link.hash & bit else low
        link.chain = target[0]
        target[0] = entry
        entry = following
    index.split += 1
    if index.split == bit:
        index.mask = 2 * index.mask + 1
        index.split = 0
    # Buckets are split in order, but their entries lie anywhere: those of a later one are fetched by then.
    target = &index.heads[index.split >> BLOCK_BITS][index.split & BLOCK_MASK]
    if (index.split & BLOCK_MASK) + AHEAD < BLOCK and index.split + AHEAD <= index.mask:
        __builtin_prefetch(index_link(index, target[AHEAD]))


cdef inline uint32_t index_add(Index* index, uint32_t digest) noexcept nogil:
    """Return the number of a new entry under a hash; index_reserve comes first."""
    cdef uint32_t entry = index.free
    cdef uint32_t* head
    cdef Link* link
    if entry:
        link = index_link(index, entry)
        index.free = link.chain
    else:
        entry = index.used
        link = index_link(index, entry)
        index.used += 1
    head = index_head(index, digest)
    link.hash = digest
    link.chain = head[0]
    head[0] = entry
    index.count += 1
    if index.count > index.mask + 1 + index.split:
        _split(index)
    return entry


cdef inline void index_drop(Index* index, uint32_t entry) noexcept nogil:
    """Take an entry out of its chain; its number will be given to another one."""
    cdef Link* link = index_link(index, entry)
    cdef uint32_t* place = index_head(index, link.hash)
    while place[0] != entry:
        place = &index_link(index, place[0]).chain
    place[0] = link.chain
    link.chain = index.free
    index.free = entry
    index.count -= 1
