"""The server's half of digest authentication (RFC 3261 section 22, RFC 7616, RFC 8760).

    examine ─> CHALLENGED, IMPROPER, ASK (then put() what the store says, and examine afresh), OLD_NONCE or PROVEN
    spend   ─> the nonce-count of a proof is taken: False if it came before, which makes the proof OLD_NONCE

Who does not exist and who gives a wrong password take the same road, hash by hash.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from hashlib import sha256
from unicodedata import normalize
from urllib.parse import unquote_to_bytes

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcmp

from reginfo._fast._chars cimport HEX, TOKEN, hex_value, lower, octet_is, same_ignoring_case
from reginfo._fast._cursor cimport Cursor, Span, accept, at_end, cursor_of, run, span_since
from reginfo._fast.digest cimport (
    HASHES,
    MD5,
    NO_HASH,
    ha2_of,
    hash_named,
    hashed,
    response_of,
    session_ha1,
)
from reginfo._fast._writer cimport Writer, put, writer_free, writer_init, writer_take
from reginfo._fast.datagrams cimport Flow
from reginfo._fast.nonces cimport FORGED, NONCE_OCTETS, UNUSED, Nonces
from reginfo._fast.sip_parser cimport (
    HEADER_AUTHORIZATION,
    METHOD_UNKNOWN,
    Parameter,
    SipMessage,
    base,
    next_auth_param,
    unquoted,
)
from reginfo._fast.sip_writer cimport put_copied, put_end
from reginfo._fast.uri cimport SCHEME_OTHER, SipUri, find_uri_fault, host_octets

from reginfo._fast.errors import SipParseError
from reginfo._fast.uri import canonical_aor

cdef enum:
    END_OCTETS = 21         # of an answer without a body: Content-Length and the empty line
    MAX_USERNAME = 256      # octets; users who do not exist are remembered by what strangers call them

CHALLENGED = CHALLENGED_
IMPROPER = IMPROPER_
ASK = ASK_
OLD_NONCE = OLD_NONCE_
PROVEN = PROVEN_

MAX_UNKNOWN = 16384     # names remembered for not existing, or for not existing with the right password
UNKNOWN_MS = 60_000     # after which who did not exist is looked up again, and a wrong password leads to a look-up
MAX_MEMORY = 256        # H(A2) kept: the request lines of phones are few
MAX_SESSIONS = 1 << 16  # of -sess that go on with the cnonce they began with; beyond it the oldest needs a new nonce

cdef int64_t _unknown_ms = UNKNOWN_MS
cdef Py_ssize_t _max_memory = MAX_MEMORY
cdef Py_ssize_t _max_sessions = MAX_SESSIONS
cdef Py_ssize_t[4] _digits                  # of a response, by DigestHash
_digits[:] = [0, 32, 64, 64]
cdef tuple _DUMMY = (b"", b"0" * 32, b"0" * 64, b"0" * 64)
cdef bytes _AUTH = b"auth"
cdef tuple _NAMES = ("", "MD5", "SHA-256", "SHA-512-256")
cdef object _reserved = re.compile(r"[^A-Za-z0-9_.!~*'()&=+$,;?/-]")


@cython.final
@cython.auto_pickle(False)
cdef class User:
    """What is known of who a request may come from."""

    def __init__(self) -> None:
        raise TypeError("made by an Authenticator")


@cython.final
@cython.no_gc   # nothing it holds leads back to it
@cython.auto_pickle(False)
cdef class Proof:
    """What the credentials of a request come to."""

    def __init__(self) -> None:
        raise TypeError("made by an Authenticator")

    @property
    def identity(self) -> str:
        """Who it is: the user in the realm, as a canonical address-of-record if that is one."""
        return "" if self.user is None else self.user.name

    def owns(self, aor: str) -> bool:
        """Tell whether a canonical address-of-record is the user's own (RFC 3261 section 26.3.2.1)."""
        return self.verdict == PROVEN_ and aor in self.user.identities


cdef inline bint _same(bytes a, bytes b) noexcept:
    # In a time that does not depend on where they differ.
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(a)
    cdef const unsigned char* q = <const unsigned char*>PyBytes_AS_STRING(b)
    cdef Py_ssize_t i
    cdef unsigned char differ = 0
    if PyBytes_GET_SIZE(a) != PyBytes_GET_SIZE(b):
        return False
    for i in range(PyBytes_GET_SIZE(a)):
        differ |= p[i] ^ q[i]
    return differ == 0


cdef inline bint _is(const unsigned char* p, Span span, const char* word, Py_ssize_t n) noexcept:
    return span.length == n and same_ignoring_case(&p[span.start], <const unsigned char*>word, n)


cdef bint _are_digits(bytes text, Py_ssize_t n) noexcept:
    # LHEX of RFC 7616
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(text)
    cdef Py_ssize_t i
    if PyBytes_GET_SIZE(text) != n:
        return False
    for i in range(n):
        if not octet_is(p[i], HEX) or p[i] != lower(p[i]):
            return False
    return True


cdef uint32_t _number(bytes digits) noexcept:
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(digits)
    cdef uint32_t value = 0
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(digits)):
        value = value << 4 | <uint32_t>hex_value(p[i])
    return value


cdef bytes _method(SipMessage request):
    return PyBytes_FromStringAndSize(
        <const char*>base(request) + request.method_span.start, request.method_span.length
    )


cdef str _escaped(str user):
    # As the user part of a URI.
    return _reserved.sub(lambda found: "".join([f"%{octet:02X}" for octet in found[0].encode()]), user)


cdef bytes _extended(bytes value):
    # ext-value = charset "'" [ language ] "'" value-chars   RFC 8187 3.2.1; empty if it is none, or not in UTF-8
    cdef list parts = value.split(b"'")
    if len(parts) != 3 or parts[0].lower() != b"utf-8":
        return b""
    return unquote_to_bytes(parts[2])


cdef bytes _value(const unsigned char* p, Span span, bytes usual):
    # unquoted(), without a new object for what nearly everybody says.
    cdef Py_ssize_t quotes = 1 if span.length > 1 and p[span.start] == c'"' else 0
    cdef Py_ssize_t n = PyBytes_GET_SIZE(usual)
    if span.length - 2 * quotes == n and memcmp(&p[span.start + quotes], PyBytes_AS_STRING(usual), n) == 0:
        return usual
    return unquoted(p, span)


cdef Proof _improper(Proof proof, str fault):
    proof.verdict = IMPROPER_
    proof.fault = fault
    return proof


@cython.final
@cython.auto_pickle(False)
cdef class Authenticator:
    """Checks credentials for one realm."""

    def __init__(
        self,
        key: bytes,
        realm: str,
        algorithms: Iterable[str],
        domains: Iterable[str],
        hosts: Iterable[str],
        *,
        lifetime_s: int,
        legacy: bool = False,
        max_users: int = 100_000,
    ) -> None:
        """key is 32 secret octets; algorithms are offered, the preferred first; hosts are this server's beside domains.

        legacy takes clients of RFC 2069, which send no qop.
        """
        self.nonce_key = key
        self.users = OrderedDict()
        self.unknown = OrderedDict()
        self.follow(
            realm, algorithms, domains, hosts, lifetime_s=lifetime_s, legacy=legacy, max_users=max_users
        )

    def follow(
        self,
        realm: str,
        algorithms: Iterable[str],
        domains: Iterable[str],
        hosts: Iterable[str],
        *,
        lifetime_s: int,
        legacy: bool = False,
        max_users: int = 100_000,
    ) -> None:
        """Go on by other rules; of another realm no nonce is taken over."""
        cdef bint session
        cdef bytes name
        cdef bytes wanted = realm.encode()
        cdef tuple preferred = tuple(algorithms)
        cdef set hashes = set()
        if not realm.isprintable() or '"' in realm or "\\" in realm:
            raise ValueError("realm: printable text without quotes and backslashes")
        for algorithm in preferred:
            name = algorithm.encode()
            hashes.add(hash_named(<const unsigned char*>PyBytes_AS_STRING(name), len(name), &session))
        if not hashes or <int>NO_HASH in hashes:
            raise ValueError("algorithms: none, or an unknown one")
        if self.realm != wanted:
            self.nonces = Nonces(self.nonce_key, realm, lifetime_s)
            # With the table the uses are gone: should the realm come back, its nonces must not.
            self.nonce_key = sha256(self.nonce_key).digest()
        self.nonces.lifetime_s = lifetime_s
        self.realm = wanted
        self.realm_text = realm
        self.usual_uri = b"sip:" + wanted
        self.opaque = hashed(MD5, wanted)[:8]
        self.domains = frozenset(domains)
        self.hosts = frozenset([host.encode() for host in (*self.domains, *hosts)])
        self.legacy = legacy
        self.max_users = max_users
        self.max_unknown = MAX_UNKNOWN
        self.algorithms = preferred
        for i in range(<int>HASHES):
            self.offered[i] = i in hashes
        self.offers = self.offers_of("")
        self.stale_offers = self.offers_of(",stale=true")
        self.ha2s = [{} for _ in range(<int>HASHES)]
        self.forget_users()

    # -- users ----------------------------------------------------------------------------------------

    def forget_users(self) -> None:
        """Read every user again when it is needed next."""
        self.users.clear()
        self.unknown.clear()

    @property
    def user_count(self) -> int:
        """Users held, those that do not exist included."""
        return len(self.users) + len(self.unknown)

    def put(self, query: tuple[str, ...], name: str | None, ha1: Mapping[str, str], now_ms: int64_t) -> None:
        """Take what the store has for a query of a Proof: the username, None without one, and H(A1) by algorithm."""
        cdef User user = User.__new__(User)
        cdef bint session
        cdef bytes octets
        cdef int hash
        user.ha1 = (None,) * <int>HASHES
        user.identities = frozenset()
        user.probed_ms = now_ms
        self.users.pop(query, None)
        self.unknown.pop(query, None)
        if name is None:
            if len(self.unknown) >= self.max_unknown:
                self.unknown.popitem(last=False)
            self.unknown[query] = user
            return
        known = [None] * <int>HASHES
        for algorithm, value in ha1.items():
            octets = algorithm.encode()
            hash = hash_named(<const unsigned char*>PyBytes_AS_STRING(octets), len(octets), &session)
            octets = value.lower().encode()
            if _are_digits(octets, _digits[hash]) and hash != NO_HASH:  # an empty one would be anybody's password
                known[hash] = octets
        user.ha1 = tuple(known)
        self.name(user, name)
        user.probed_ms = now_ms - _unknown_ms   # no wrong password has led here so far
        if len(self.users) >= self.max_users:
            self.users.popitem(last=False)
        self.users[query] = user

    cdef int name(self, User user, str name) except -1:
        # Give a user its addresses-of-record (RFC 3261 section 26.3.2.1).  Who is called user@domain, of a domain
        # served here, has that one.  A realm that is a domain serves it: its alice is not the alice of the others.
        # Any other realm serves every domain.
        local, at, domain = name.rpartition("@")
        if at and domain.lower() in self.domains:
            wanted = [f"sip:{_escaped(local)}@{domain}"]
            first = wanted[0]
        else:
            first = f"sip:{_escaped(name)}@{self.realm_text}"
            served = [self.realm_text] if self.realm_text in self.domains else self.domains
            wanted = [f"sip:{_escaped(name)}@{host}" for host in served]
        try:
            user.identities = frozenset([canonical_aor(one) for one in wanted])
            user.name = canonical_aor(first)
            user.first = user.name if user.name in user.identities else None
        except SipParseError:  # no URI has such a user, or the realm is no host
            user.name = f"{name}@{self.realm_text}"
        return 0

    cdef User known(self, object key, int64_t now_ms):
        # What is held of a user, None if the store has to be asked.
        cdef User user = (<dict>self.users).get(key)
        if user is None:
            user = (<dict>self.unknown).get(key)
            if user is not None and now_ms - user.probed_ms >= _unknown_ms:
                return None
        return user

    # -- challenges -----------------------------------------------------------------------------------

    def challenge(
        self,
        request: SipMessage,
        to_tag: str,
        source: Flow,
        rows: bytes,
        room: cython.Py_ssize_t,
        now_ms: int64_t,
        *,
        stale: bool = False,
    ) -> bytes | None:
        """Return the 401 to a request with the longest challenge that lets it have at most so many octets of room.

        The algorithms come most preferred first (RFC 8760 section 2.3); what is optional is left out before the least
        preferred of them, and at last there is no answer: None.  rows are header rows that it has, too.
        """
        return self.challenge_to(request, to_tag, source, rows, room, now_ms, stale)

    cdef bytes challenge_to(
        self,
        SipMessage request,
        str to_tag,
        Flow source,
        bytes rows,
        Py_ssize_t room,
        int64_t now_ms,
        bint stale,
    ):
        cdef Writer w
        cdef tuple offer
        cdef bytes text
        cdef Py_ssize_t length
        writer_init(&w)
        try:
            put_copied(&w, request, 401, None, to_tag, source, False)
            put(&w, PyBytes_AS_STRING(rows), PyBytes_GET_SIZE(rows))
            for length, offer in self.stale_offers if stale else self.offers:
                if w.size + length + END_OCTETS <= room:
                    text = self.nonces.make(now_ms).join(offer)
                    put(&w, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
                    put_end(&w, b"")
                    return writer_take(&w)
            return None
        finally:
            writer_free(&w)

    cdef list offers_of(self, str tail):
        # Challenges, each shorter than the one before: octets, and the text around the nonces.
        cdef list offers = []
        cdef Py_ssize_t n = len(self.algorithms)
        cdef bytes head = f'WWW-Authenticate: Digest realm="{self.realm_text}",nonce="'.encode()
        cdef str optional = f',opaque="{self.opaque.decode()}",charset=UTF-8,userhash=true'
        for count, end in ((n, optional), *[(i, "") for i in range(n, 0, -1)]):
            rests = [
                f'",qop="auth,auth-int",algorithm={one}{tail}{end}\r\n'.encode() for one in self.algorithms[:count]
            ]
            offer = (head, *[rest + head for rest in rests[:count - 1]], rests[count - 1])
            offers.append((sum([len(part) for part in offer]) + count * NONCE_OCTETS, offer))
        return offers

    # -- credentials ----------------------------------------------------------------------------------

    def check(self, request: SipMessage, now_ms: int64_t, fresh: bool = False) -> Proof:
        """Return what a request proves; a PROVEN one has taken its nonce-count.

        fresh if the store was asked for this very request.
        """
        proof = self.examine(request, now_ms, fresh)
        if proof.verdict == PROVEN_:
            self.spend(proof, now_ms)
        return proof

    def info(self, proof: Proof, body: bytes, now_ms: int64_t) -> str:
        """Return the value of Authentication-Info in a 2xx to a PROVEN request, empty for any other."""
        return self.info_of(proof, body, now_ms) if proof.verdict == PROVEN_ else ""

    def recall(self, request: SipMessage, now_ms: int64_t) -> str:
        """Return info() of a request without a body that was PROVEN before, empty if that cannot be told any more."""
        proof = self.examine(request, now_ms, True)
        return self.info_of(proof, b"", now_ms) if proof.verdict == PROVEN_ else ""

    cdef Proof examine(self, SipMessage request, int64_t now_ms, bint fresh):
        # RFC 7616 section 3.4; the nonce-count is left to spend().
        cdef Proof proof = self.read(request)
        cdef User user
        cdef int nonce
        if proof.verdict != ASK_:
            return proof
        nonce = self.nonces.look(proof.nonce, now_ms)
        user = self.known(proof.query, now_ms)
        if user is None and nonce != FORGED and not fresh:
            return proof
        proof.ha1 = self.right_ha1(proof, request, user)
        if proof.ha1 is None:
            # The password may be new.  A store asked for every wrong one would be anybody's to keep busy; asked for
            # none, the answer would come later where somebody does not exist.
            if user is not None and fresh:
                user.probed_ms = now_ms
            elif user is not None and nonce != FORGED and now_ms - user.probed_ms >= _unknown_ms:
                return proof
            proof.verdict = CHALLENGED_
            return proof
        proof.user = user
        proof.verdict = PROVEN_ if nonce >= UNUSED else OLD_NONCE_
        return proof

    cdef bint spend(self, Proof proof, int64_t now_ms) except -1:
        # Take the nonce-count of a PROVEN request.  A nonce of RFC 2069 has none and is good once.
        if not self.nonces.spend(proof.nonce, proof.nc, now_ms):
            proof.verdict = OLD_NONCE_
            return False
        if proof.session and proof.nonce not in self.nonces.sessions:
            if len(self.nonces.sessions) >= _max_sessions:
                self.nonces.sessions.popitem(last=False)
            self.nonces.sessions[proof.nonce] = (proof.query, proof.user.ha1[proof.hash], proof.ha1)
        return True

    cdef bint owns(self, Proof proof, str aor) except -1:
        # Most have one, and comparing with that touches less memory than a set.
        return aor == proof.user.first or aor in proof.user.identities

    cdef Proof read(self, SipMessage request):
        # The credentials for this realm, with verdict ASK if there is nothing wrong with them so far.
        cdef Proof proof = Proof.__new__(Proof)
        cdef const unsigned char* p = base(request)
        cdef Cursor cur
        cdef Parameter parameter
        cdef Span scheme
        cdef int i
        if request.first[HEADER_AUTHORIZATION] == 0:
            return proof
        for i in range(request.first[HEADER_AUTHORIZATION] - 1, request.row_count):
            if request.row[i].id != HEADER_AUTHORIZATION:
                continue
            cur = cursor_of(p, request.row[i].value)
            run(&cur, TOKEN)
            scheme = span_since(&cur, request.row[i].value.start)
            if not _is(p, scheme, b"digest", 6):
                continue    # Basic and what nobody knows are no credentials (RFC 3261 section 22.1)
            proof = Proof.__new__(Proof)
            while not at_end(&cur) and next_auth_param(&cur, &parameter) == NULL:
                self.keep(proof, p, &parameter)
                accept(&cur, c",")
            if proof.realm is None:
                return _improper(proof, "Authorization: realm missing")
            proof.hash = MD5
            if proof.algorithm is not None:
                proof.hash = hash_named(
                    <const unsigned char*>PyBytes_AS_STRING(proof.algorithm),
                    PyBytes_GET_SIZE(proof.algorithm),
                    &proof.session,
                )
            if proof.realm == self.realm and proof.hash != NO_HASH and self.offered[proof.hash]:
                proof.attempted = True
                proof.fault = self.fault_in(proof, request)
                proof.verdict = ASK_ if proof.fault is None else IMPROPER_
                return proof
            proof = Proof.__new__(Proof)
        return proof

    cdef int keep(self, Proof proof, const unsigned char* p, Parameter* parameter) except -1:
        # The parameters of RFC 7616 section 3.4; others are ignored.
        cdef Span name = parameter.name
        cdef Span value = parameter.value
        if _is(p, name, b"nonce", 5):
            proof.nonce = unquoted(p, value)
        elif _is(p, name, b"uri", 3):
            proof.uri = _value(p, value, self.usual_uri)
        elif _is(p, name, b"response", 8):
            proof.response = unquoted(p, value)
        elif _is(p, name, b"username", 8):
            proof.username = unquoted(p, value)
        elif _is(p, name, b"realm", 5):
            proof.realm = _value(p, value, self.realm)
        elif _is(p, name, b"cnonce", 6):
            proof.cnonce = unquoted(p, value)
        elif _is(p, name, b"nc", 2):
            proof.count = unquoted(p, value)
        elif _is(p, name, b"qop", 3):
            proof.qop = _value(p, value, _AUTH)
            if proof.qop is not _AUTH:
                proof.qop = proof.qop.lower()
        elif _is(p, name, b"algorithm", 9):
            proof.algorithm = _value(p, value, b"MD5")
        elif _is(p, name, b"opaque", 6):
            proof.opaque = _value(p, value, self.opaque)
        elif _is(p, name, b"username*", 9):
            proof.extended = unquoted(p, value)
        elif _is(p, name, b"userhash", 8):
            proof.hashed_name = _value(p, value, b"false").lower()
        return 0

    cdef str fault_in(self, Proof proof, SipMessage request):
        cdef bytes name
        if proof.nonce is None or proof.uri is None or proof.response is None:
            return "Authorization: nonce, uri or response missing"
        if not _are_digits(proof.response, _digits[proof.hash]):
            return "Authorization: response is not made of as many digits as its algorithm makes"
        if proof.opaque is not None and proof.opaque != self.opaque:
            return "Authorization: opaque is not that of the challenge"
        if proof.qop is None:
            if not self.legacy:
                return "Authorization: qop missing"
            if proof.session:
                return "Authorization: -sess without qop"
            proof.nc = 1
        elif proof.qop != b"auth" and proof.qop != b"auth-int":
            return "Authorization: qop was not offered"
        else:
            proof.whole = proof.qop == b"auth-int"
            if not proof.cnonce or proof.count is None:
                return "Authorization: cnonce or nc missing"
            if not _are_digits(proof.count, 8) and not _are_digits(proof.count.lower(), 8):
                return "Authorization: nc is not 8 hexadecimal digits"
            proof.nc = _number(proof.count)
            if proof.nc == 0:
                return "Authorization: nc begins with 00000001"
        if proof.hashed_name is not None and proof.hashed_name not in (b"true", b"false"):
            return "Authorization: userhash is true or false"
        if (proof.username is None) == (proof.extended is None):
            return "Authorization: one username is needed"
        if not self.serves(proof.uri, request):
            return "Authorization: uri is not served here"
        name = proof.username if proof.extended is None else _extended(proof.extended)
        if not name or PyBytes_GET_SIZE(name) > MAX_USERNAME:
            return "Authorization: malformed username"
        if proof.hashed_name == b"true":
            if proof.extended is not None or not _are_digits(name.lower(), _digits[proof.hash]):
                return "Authorization: malformed userhash"
            proof.query = (name.decode("ascii").lower(), _NAMES[proof.hash])
            return None
        try:
            proof.query = (name.decode() if name.isascii() else normalize("NFC", name.decode()),)
        except UnicodeDecodeError:
            return "Authorization: username is not UTF-8"
        return None

    cdef bint serves(self, bytes uri, SipMessage request) except -1:
        # Whether a request for this URI would be for this server; one like the Request-URI is.
        cdef SipUri parts
        cdef Py_ssize_t fault = 0
        cdef Span asked = request.request_uri_value.text
        cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(uri)
        if PyBytes_GET_SIZE(uri) == asked.length and same_ignoring_case(p, base(request) + asked.start, asked.length):
            return True
        if find_uri_fault(p, 0, PyBytes_GET_SIZE(uri), &parts, &fault) != NULL or parts.kind == SCHEME_OTHER:
            return False
        return host_octets(&parts.host, p) in self.hosts

    cdef bytes right_ha1(self, Proof proof, SipMessage request, User user):
        # The H(A1) that the response was made with, None if it was made with another password.
        cdef int hash = proof.hash
        cdef bytes ha1 = None if user is None else <bytes>user.ha1[hash]
        cdef bint exists = ha1 is not None
        cdef bytes ha2, begun
        cdef tuple known
        cdef bint right
        if not exists:
            ha1 = _DUMMY[hash]
        if proof.whole:
            ha2 = ha2_of(hash, _method(request), proof.uri, request.body)
        else:
            ha2, proof.ha2 = self.ha2s_of(hash, request, proof.uri)
        if proof.session:
            # The session began with the first cnonce; clients that begin one with each request are taken as well.
            known = self.nonces.sessions.get(proof.nonce)
            if known is not None and known[0] == proof.query and known[1] == ha1:
                begun = known[2]
                if _same(
                    response_of(hash, begun, proof.nonce, proof.count, proof.cnonce, proof.qop, ha2), proof.response
                ):
                    return begun
            ha1 = session_ha1(hash, ha1, proof.nonce, proof.cnonce)
        right = _same(
            response_of(hash, ha1, proof.nonce, proof.count, proof.cnonce, proof.qop, ha2), proof.response
        )
        return ha1 if right and exists else None

    cdef tuple ha2s_of(self, int hash, SipMessage request, bytes uri):
        # H(A2) of the request and of its answer.  Phones send few request lines again and again.
        cdef dict memory = self.ha2s[hash]
        cdef tuple key = (request.method_id, uri)
        cdef tuple both = memory.get(key)
        if both is None:
            both = (ha2_of(hash, _method(request), uri, None), ha2_of(hash, b"", uri, None))
            if request.method_id == METHOD_UNKNOWN:
                return both
            if len(memory) >= _max_memory:
                memory.clear()
            memory[key] = both
        return both

    cdef str info_of(self, Proof proof, bytes body, int64_t now_ms):
        # RFC 7616 section 3.5
        cdef bytes ha2
        cdef bytes text
        cdef bytes cnonce = proof.cnonce
        if proof.qop is None:
            return f'nextnonce="{self.nonces.make(now_ms).decode()}"'
        ha2 = ha2_of(proof.hash, b"", proof.uri, body) if proof.whole else proof.ha2
        ha2 = response_of(proof.hash, proof.ha1, proof.nonce, proof.count, cnonce, proof.qop, ha2)
        if b'"' in cnonce or b"\\" in cnonce:
            cnonce = cnonce.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        text = b"".join(
            (b"qop=", proof.qop, b',rspauth="', ha2, b'",cnonce="', cnonce, b'",nc=', proof.count)
        )
        if self.nonces.is_ending(proof.nonce, now_ms):
            text += b',nextnonce="' + self.nonces.make(now_ms) + b'"'
        return text.decode()
