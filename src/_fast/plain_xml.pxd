"""Trees of plain documents, for readers that walk libxml2's structs."""

from libc.stdint cimport uint8_t
from lxml.includes.tree cimport xmlNode

cdef enum:                      # of a document that is read, by whichever parser (SEC-4)
    MAX_DEPTH = 32              # a document has 4 levels, an extension may have some more
    MAX_ELEMENTS = 20000
    MAX_ATTRIBUTES = 64         # of one element


cdef struct Chunk:
    Chunk* before


cdef struct Arena:              # whatever a tree is made of; zeroed to begin with
    Chunk* chunk
    char* pos
    char* end


# The root of a document of n octets; NULL if it is not plain, is beyond a bound, or for want of memory.
cdef xmlNode* plain_tree(const uint8_t* p, Py_ssize_t n, Arena* arena) noexcept nogil

cdef void arena_free(Arena* arena) noexcept nogil
