"""Trees of plain documents: what nearly every peer writes, read without libxml2's parser.

A document is plain if it is well-formed beyond doubt (XML 1.0 section 2.1, Namespaces in XML 1.0) and means what its
octets say: lines of printable ASCII, elements, attributes, declared namespaces, the five predefined entities.
Comments, CDATA, instructions, character references, other characters and whatever looks odd are for lxml, and so is
every error.  The tree is made of libxml2's structs, as far as they are looked at, so that the same code reads both.
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from lxml.includes.tree cimport XML_ATTRIBUTE_NODE, XML_ELEMENT_NODE, XML_TEXT_NODE, xmlAttr, xmlNode, xmlNs

from reginfo._fast._chars cimport (
    ALPHA,
    DIGIT,
    HOST,
    eight_at,
    equal_to,
    is_any,
    octet_is,
    unprintable,
)
from reginfo._fast._cursor cimport (
    Cursor,
    Span,
    accept,
    at_end,
    cursor_of,
    cursor_over,
    left,
    offset,
    peek,
    run,
    skip,
    span_since,
    take,
)

cdef enum:
    MAX_NAMESPACES = 32
    MAX_NAME = 256              # octets
    CHUNK = 8192                # octets; a document of one contact fits
    ALIGNMENT = 8

cdef struct Name:               # as written: prefix:local
    Span prefix
    Span local


cdef struct Attribute:
    Name name
    Span value
    bint has_entity


cdef struct Namespace:
    Span prefix
    xmlNs* ns


cdef struct Open:               # an element whose end is still to come
    xmlNode* node
    Span name
    int namespaces              # declared outside of it


cdef struct Parser:
    Cursor cur
    Arena* arena
    Namespace[MAX_NAMESPACES] namespaces
    int namespace_count
    Attribute[MAX_ATTRIBUTES] attributes
    int attribute_count


cdef void* room(Arena* arena, size_t n) noexcept nogil:
    # n octets, zeroed; NULL for want of memory.
    cdef Chunk* chunk
    cdef size_t size
    cdef char* found
    n = (n + ALIGNMENT - 1) & ~<size_t>(ALIGNMENT - 1)
    if <size_t>(arena.end - arena.pos) < n:
        size = max(n, <size_t>CHUNK)
        chunk = <Chunk*>PyMem_RawMalloc(sizeof(Chunk) + size)
        if chunk == NULL:
            return NULL
        chunk.before = arena.chunk
        arena.chunk = chunk
        arena.pos = <char*>&chunk[1]
        arena.end = arena.pos + size
    found = arena.pos
    arena.pos += n
    memset(found, 0, n)
    return found


cdef void arena_free(Arena* arena) noexcept nogil:
    cdef Chunk* before
    while arena.chunk != NULL:
        before = arena.chunk.before
        PyMem_RawFree(arena.chunk)
        arena.chunk = before


cdef inline bint same(const Parser* parser, Span a, Span b) noexcept nogil:
    return a.length == b.length and memcmp(parser.cur.base + a.start, parser.cur.base + b.start, a.length) == 0


cdef inline bint reads(const Parser* parser, Span span, const char* text, size_t n) noexcept nogil:
    return span.length == n and memcmp(parser.cur.base + span.start, text, n) == 0


cdef inline bint take_text(Cursor* cur, const char* text, Py_ssize_t n) noexcept nogil:
    # Step over these octets if they come next.
    return left(cur) >= n and memcmp(cur.pos, text, n) == 0 and skip(cur, n)


cdef inline int skip_blanks(Cursor* cur) noexcept nogil:
    # S but for CR, which would have to become LF; returns how many.
    cdef int count = 0
    while peek(cur) == 0x20 or peek(cur) == 0x0A or peek(cur) == 0x09:
        take(cur)
        count += 1
    return count


cdef bint take_part(Cursor* cur, Span* out) noexcept nogil:
    # NCName, ASCII
    cdef Py_ssize_t start = offset(cur)
    cdef int octet = peek(cur)
    if octet < 0 or not (octet_is(<unsigned char>octet, ALPHA) or octet == 0x5F):
        return False
    run(cur, HOST)              # letters, digits, "-", "." and "_"
    out[0] = span_since(cur, start)
    return out.length <= MAX_NAME


cdef bint take_name(Cursor* cur, Name* out) noexcept nogil:
    # QName
    out.prefix.start = out.prefix.length = 0
    if not take_part(cur, &out.local):
        return False
    if accept(cur, 0x3A):
        out.prefix = out.local
        return take_part(cur, &out.local)
    return True


cdef bint take_entity(Cursor* cur, uint8_t* out) noexcept nogil:
    # A reference to a predefined entity, behind its "&".
    if take_text(cur, b"amp;", 4):
        out[0] = 0x26
    elif take_text(cur, b"lt;", 3):
        out[0] = 0x3C
    elif take_text(cur, b"gt;", 3):
        out[0] = 0x3E
    elif take_text(cur, b"quot;", 5):
        out[0] = 0x22
    elif take_text(cur, b"apos;", 5):
        out[0] = 0x27
    else:
        return False
    return True


cdef bint take_value(Cursor* cur, Attribute* out) noexcept nogil:
    # AttValue without blanks that are normalized
    cdef Py_ssize_t start
    cdef int quote = take(cur)
    cdef int octet
    cdef uint64_t octets
    cdef uint8_t replaced
    if quote != 0x22 and quote != 0x27:
        return False
    start = offset(cur)
    out.has_entity = False
    while True:
        while left(cur) >= 8:
            octets = eight_at(cur.pos)
            if is_any(unprintable(octets) | equal_to(octets, 0x3C) | equal_to(octets, 0x26)):
                break
            if is_any(equal_to(octets, <uint64_t>quote)):
                break
            skip(cur, 8)
        octet = take(cur)
        if octet == quote:
            break
        if octet < 0x20 or octet > 0x7E or octet == 0x3C:
            return False
        if octet == 0x26:
            out.has_entity = True
            if not take_entity(cur, &replaced):
                return False
    out.value.start = <unsigned int>start
    out.value.length = <unsigned int>(offset(cur) - 1 - start)
    return True


cdef uint8_t* content(Parser* parser, Span span, bint has_entity) noexcept nogil:
    # A copy that ends with a NUL, entities replaced.
    cdef uint8_t* text = <uint8_t*>room(parser.arena, span.length + 1)
    cdef uint8_t* out = text
    cdef Cursor cur
    if text == NULL:
        return NULL
    if not has_entity:
        memcpy(text, parser.cur.base + span.start, span.length)
        return text
    cur = cursor_over(parser.cur.base, span.start, <Py_ssize_t>span.start + span.length)
    while not at_end(&cur):
        if accept(&cur, 0x26):
            take_entity(&cur, out)
        else:
            out[0] = <uint8_t>take(&cur)
        out += 1
    return text


cdef xmlNode* new_text(Parser* parser, Span span, bint has_entity) noexcept nogil:
    cdef xmlNode* node = <xmlNode*>room(parser.arena, sizeof(xmlNode))
    if node == NULL:
        return NULL
    node.type = XML_TEXT_NODE
    node.content = content(parser, span, has_entity)
    return node if node.content != NULL else NULL


cdef bint is_plain_uri(Cursor cur) noexcept nogil:
    # Whether a namespace is called scheme:opaque or scheme://host/path, which are URIs beyond doubt.
    cdef bint has_host
    cdef int octet
    if not run(&cur, ALPHA) or not accept(&cur, 0x3A):
        return False
    has_host = take_text(&cur, b"//", 2)
    if at_end(&cur) or peek(&cur) == 0x2F:
        return False
    while not at_end(&cur):
        octet = take(&cur)
        if not octet_is(<unsigned char>octet, ALPHA | DIGIT) and (
            octet != 0x2D and octet != 0x2E and octet != 0x2F and octet != 0x5F and (has_host or octet != 0x3A)
        ):
            return False
    return True


cdef bint declare(Parser* parser, Span prefix, const Attribute* attribute) noexcept nogil:
    # Namespaces in XML section 3; one whose URI looks odd, and those of XML itself, are for lxml.
    cdef xmlNs* ns
    if (
        not is_plain_uri(cursor_of(parser.cur.base, attribute.value))
        or parser.namespace_count == MAX_NAMESPACES
        or (prefix.length >= 3 and memcmp(parser.cur.base + prefix.start, b"xml", 3) == 0)
        or reads(parser, attribute.value, b"http://www.w3.org/XML/1998/namespace", 36)
        or reads(parser, attribute.value, b"http://www.w3.org/2000/xmlns/", 29)
    ):
        return False
    ns = <xmlNs*>room(parser.arena, sizeof(xmlNs))
    if ns == NULL:
        return False
    ns.href = content(parser, attribute.value, False)
    parser.namespaces[parser.namespace_count].prefix = prefix
    parser.namespaces[parser.namespace_count].ns = ns
    parser.namespace_count += 1
    return ns.href != NULL


cdef bint resolve(const Parser* parser, Span prefix, xmlNs** out) noexcept nogil:
    # The namespace of a prefix; none for no prefix where there is no default.
    cdef int i = parser.namespace_count
    out[0] = NULL
    while i > 0:
        i -= 1
        if same(parser, parser.namespaces[i].prefix, prefix):
            out[0] = parser.namespaces[i].ns
            return True
    return prefix.length == 0


cdef bint take_attributes(Parser* parser) noexcept nogil:
    # All attributes of a tag, each once; namespaces are declared.
    cdef Cursor* cur = &parser.cur
    cdef Attribute* attribute
    cdef Span none
    cdef int i, count = 0
    none.start = none.length = 0
    parser.attribute_count = 0
    while skip_blanks(cur) and peek(cur) != 0x3E and peek(cur) != 0x2F:
        if count == MAX_ATTRIBUTES:
            return False
        attribute = &parser.attributes[count]
        if not take_name(cur, &attribute.name) or not accept(cur, 0x3D) or not take_value(cur, attribute):
            return False
        for i in range(count):
            # Two prefixes may stand for one namespace.
            if same(parser, parser.attributes[i].name.local, attribute.name.local) and (
                same(parser, parser.attributes[i].name.prefix, attribute.name.prefix)
                or (parser.attributes[i].name.prefix.length and attribute.name.prefix.length)
            ):
                return False
        count += 1
    for i in range(count):
        attribute = &parser.attributes[i]
        if attribute.name.prefix.length == 0 and reads(parser, attribute.name.local, b"xmlns", 5):
            if not declare(parser, none, attribute):
                return False
        elif reads(parser, attribute.name.prefix, b"xmlns", 5):
            if not declare(parser, attribute.name.local, attribute):
                return False
        else:
            parser.attributes[parser.attribute_count] = attribute[0]
            parser.attribute_count += 1
    return True


cdef bint put_attributes(Parser* parser, xmlNode* node) noexcept nogil:
    cdef xmlAttr* attribute
    cdef xmlAttr* last = NULL
    cdef xmlNs* ns
    cdef Attribute* found
    cdef int i
    for i in range(parser.attribute_count):
        found = &parser.attributes[i]
        ns = NULL
        if reads(parser, found.name.prefix, b"xml", 3):
            if reads(parser, found.name.local, b"lang", 4):
                continue    # the one that documents have; nobody asks for it
            return False
        if found.name.prefix.length and not resolve(parser, found.name.prefix, &ns):
            return False
        attribute = <xmlAttr*>room(parser.arena, sizeof(xmlAttr))
        if attribute == NULL:
            return False
        attribute.type = XML_ATTRIBUTE_NODE
        attribute.name = content(parser, found.name.local, False)
        attribute.ns = ns
        attribute.children = new_text(parser, found.value, found.has_entity)
        if attribute.name == NULL or attribute.children == NULL:
            return False
        if last == NULL:
            node.properties = attribute
        else:
            last.next = attribute
        last = attribute
    return True


cdef inline void append(xmlNode* parent, xmlNode* node) noexcept nogil:
    if parent.last == NULL:
        parent.children = node
    else:
        parent.last.next = node
    parent.last = node


cdef xmlNode* take_element(Parser* parser, Span* name) noexcept nogil:
    # The tag that begins an element, behind its "<" and up to its "/" or ">".
    cdef xmlNode* node = <xmlNode*>room(parser.arena, sizeof(xmlNode))
    cdef Name parts
    cdef Py_ssize_t start = offset(&parser.cur)
    if node == NULL or not take_name(&parser.cur, &parts):
        return NULL
    name[0] = span_since(&parser.cur, start)
    if not take_attributes(parser) or reads(parser, parts.prefix, b"xml", 3):
        return NULL
    node.type = XML_ELEMENT_NODE
    node.name = content(parser, parts.local, False)
    if node.name == NULL or not resolve(parser, parts.prefix, &node.ns) or not put_attributes(parser, node):
        return NULL
    return node


cdef bint take_content(Parser* parser, xmlNode* parent) noexcept nogil:
    # Character data up to the next "<".
    cdef Cursor* cur = &parser.cur
    cdef Py_ssize_t start = offset(cur)
    cdef uint64_t octets
    cdef uint8_t replaced
    cdef int octet
    cdef bint has_entity = False
    cdef xmlNode* node
    cdef Span span
    while True:
        while left(cur) >= 8:
            octets = eight_at(cur.pos)
            if is_any(
                unprintable(octets) | equal_to(octets, 0x3C) | equal_to(octets, 0x26) | equal_to(octets, 0x5D)
            ):
                break
            skip(cur, 8)
        octet = peek(cur)
        if octet == 0x3C:
            break
        take(cur)
        if octet == 0x26:
            has_entity = True
            if not take_entity(cur, &replaced):
                return False
        elif octet == 0x5D:
            if peek(cur) == 0x5D:
                return False    # maybe "]]>"
        elif (octet < 0x20 and octet != 0x0A and octet != 0x09) or octet > 0x7E:
            return False
    if offset(cur) == start:
        return True
    span = span_since(cur, start)
    node = new_text(parser, span, has_entity)
    if node == NULL:
        return False
    append(parent, node)
    return True


cdef bint take_declaration(Cursor* cur) noexcept nogil:
    # None, or one that says what is so without it.
    if not take_text(cur, b"<?xml", 5):
        return True
    return (
        take_text(cur, b' version="1.0"', 14)
        and (take_text(cur, b' encoding="UTF-8"', 17) or take_text(cur, b' encoding="utf-8"', 17) or True)
        and take_text(cur, b"?>", 2)
    )


cdef xmlNode* plain_tree(const uint8_t* p, Py_ssize_t n, Arena* arena) noexcept nogil:
    cdef Parser parser
    cdef Cursor* cur = &parser.cur
    cdef Open[MAX_DEPTH] open
    cdef int depth = 0, elements = 0, namespaces
    cdef xmlNode* root = NULL
    cdef xmlNode* node
    cdef Span name
    parser.cur = cursor_over(p, 0, n)
    parser.arena = arena
    parser.namespace_count = 0
    if not take_declaration(cur):
        return NULL
    skip_blanks(cur)
    while True:
        if not accept(cur, 0x3C):
            return NULL
        if accept(cur, 0x2F):
            if depth == 0:
                return NULL
            depth -= 1
            if not take_text(cur, <const char*>p + open[depth].name.start, open[depth].name.length):
                return NULL
            skip_blanks(cur)
            if not accept(cur, 0x3E):
                return NULL
            parser.namespace_count = open[depth].namespaces
        else:
            namespaces = parser.namespace_count
            node = take_element(&parser, &name)
            elements += 1
            if node == NULL or elements > MAX_ELEMENTS or depth == MAX_DEPTH:
                return NULL
            if depth:
                append(open[depth - 1].node, node)
            else:
                root = node
            if take_text(cur, b"/>", 2):
                parser.namespace_count = namespaces
            elif accept(cur, 0x3E):
                open[depth].node = node
                open[depth].name = name
                open[depth].namespaces = namespaces
                depth += 1
            else:
                return NULL
        if depth == 0:
            break
        if not take_content(&parser, open[depth - 1].node):
            return NULL
    skip_blanks(cur)
    return root if at_end(cur) else NULL
