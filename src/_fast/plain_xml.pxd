"""Trees of plain documents, for readers that walk libxml2's structs."""

from libc.stdint cimport uint8_t
from lxml.includes.tree cimport xmlNode

cdef struct Chunk:
    Chunk* before


cdef struct Arena:              # whatever a tree is made of; zeroed to begin with
    Chunk* chunk
    char* pos
    char* end


# The root of a document of n octets, which has no more attributes in an element and elements in each other than
# reginfo_xml lets pass; NULL if it is not plain, or for want of memory.
cdef xmlNode* plain_tree(const uint8_t* p, Py_ssize_t n, Arena* arena) noexcept nogil

cdef void arena_free(Arena* arena) noexcept nogil
