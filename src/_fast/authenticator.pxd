"""Layout of the authenticator, for the intake."""

from libc.stdint cimport int64_t, uint32_t

from reginfo._fast.datagrams cimport Flow
from reginfo._fast.nonces cimport Nonces
from reginfo._fast.sip_parser cimport Parameter, SipMessage

cdef enum:      # what a request proves
    CHALLENGED_ = 0     # nothing, or what is wrong: 401
    IMPROPER_           # credentials that are not as they have to be: 400
    ASK_                # the user has to be looked up first
    OLD_NONCE_              # the password, with a nonce that is too old or was used: 401 with stale
    PROVEN_


cdef class User:
    cdef readonly str name          # None of one that does not exist
    cdef readonly frozenset identities     # its addresses-of-record
    cdef str first                  # of these that with its name, None without one
    cdef tuple ha1                  # by DigestHash, None where there is none
    cdef int64_t probed_ms          # when it was last read because of a wrong password


cdef class Proof:
    cdef readonly int verdict
    cdef readonly str fault         # what is improper
    cdef readonly tuple query       # what to ask for: username, or algorithm and its hash
    cdef readonly bint attempted    # there were credentials for this realm
    cdef User user
    cdef int hash
    cdef uint32_t nc
    cdef bint session
    cdef bint whole                 # auth-int
    cdef bytes username             # parameters as they were sent, None of one that was not
    cdef bytes extended             # username*
    cdef bytes hashed_name          # userhash
    cdef bytes realm
    cdef bytes nonce
    cdef bytes uri
    cdef bytes response
    cdef bytes algorithm
    cdef bytes opaque
    cdef bytes qop
    cdef bytes cnonce
    cdef bytes count                # nc
    cdef bytes ha1                  # that the response was made with
    cdef bytes ha2                  # of the answer, unless that depends on its body


cdef class Authenticator:
    cdef Nonces nonces
    cdef bytes nonce_key
    cdef bytes realm
    cdef str realm_text
    cdef bytes usual_uri            # what most phones register at
    cdef tuple algorithms
    cdef list offers                # challenges, each shorter than the one before
    cdef list stale_offers
    cdef bint[4] offered            # by DigestHash
    cdef frozenset domains
    cdef frozenset hosts
    cdef bytes opaque
    cdef bint legacy
    cdef Py_ssize_t max_users
    cdef Py_ssize_t max_unknown
    cdef object users               # OrderedDicts, oldest first
    cdef object unknown
    cdef list ha2s                  # per DigestHash, of request lines and of their answers: dicts

    cdef bytes challenge_to(
        self,
        SipMessage request,
        str to_tag,
        Flow source,
        bytes rows,
        Py_ssize_t room,
        int64_t now_ms,
        bint stale,
    )
    cdef list offers_of(self, str tail)
    cdef Proof examine(self, SipMessage request, int64_t now_ms, bint fresh)
    cdef bint spend(self, Proof proof, int64_t now_ms) except -1
    cdef str info_of(self, Proof proof, bytes body, int64_t now_ms)
    cdef bint owns(self, Proof proof, str aor) except -1
    cdef Proof read(self, SipMessage request)
    cdef int keep(self, Proof proof, const unsigned char* p, Parameter* parameter) except -1
    cdef str fault_in(self, Proof proof, SipMessage request)
    cdef bint serves(self, bytes uri, SipMessage request) except -1
    cdef int name(self, User user, str name) except -1
    cdef User known(self, object key, int64_t now_ms)
    cdef bytes right_ha1(self, Proof proof, SipMessage request, User user)
    cdef tuple ha2s_of(self, int hash, SipMessage request, bytes uri)
