"""A load of REGISTERs from one thread of C, and the plain echo that is the floor of what a server can cost.

RegisterLoad keeps a window of requests outstanding (closed loop) or offers them at a rate (open loop), repeats what is
not answered as timer E of RFC 3261 says, and checks each answer.  The GIL is free while it runs.
"""

from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset, strerror
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec, timeval
from posix.unistd cimport close as close_descriptor

from reginfo._fast._md5 cimport md5
from reginfo._fast._sockets cimport (
    AF_INET6,
    MSG_DONTWAIT,
    SK_MEMINFO_DROPS,
    SK_MEMINFO_VARS,
    SO_MEMINFO,
    SO_RCVBUF,
    SO_RCVTIMEO,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOL_SOCKET,
    Address,
    connect,
    getsockopt,
    iovec,
    mmsghdr,
    recvfrom,
    recvmmsg,
    sendmmsg,
    sendto,
    setsockopt,
    sockaddr_in,
    sockaddr_in6,
    socket,
    socklen_t,
)
from reginfo._fast.datagrams cimport Flow

import hashlib
from collections.abc import Sequence

import cython


cdef extern from "poll.h" nogil:
    cdef enum:
        POLLIN
        POLLOUT

    struct pollfd:
        int fd
        short events
        short revents

    int ppoll(pollfd* watched, unsigned long n, const timespec* timeout, const void* mask)


cdef enum:
    BATCH = 64                  # datagrams of one system call
    MAX_WINDOW = 65536          # requests outstanding
    MAX_AORS = 999999999        # nine digits in the user part
    MAX_CONTACTS = 32
    MAX_REQUEST = 8192
    MAX_ANSWER = 16384
    FIRST_CSEQ = 100000001      # nine digits from the first to the last, so that it is patched in place
    T1_MS = 500
    T2_MS = 4000
    TRANSACTION_MS = 64 * T1_MS
    SCAN_NS = 10000000          # how often overdue requests are looked for
    SPIN_NS = 2000000           # how long answers are looked for without sleeping, where the window is kept full
    SLICE_NS = 100000000        # how often signals are looked for
    ECHO_ROUND = 65536          # echoes between two looks for signals
    ECHO_PAUSE_US = 200000      # and between two looks when nothing comes
    SUBDIVISIONS = 64           # of each power of two of the histogram: 1.6 % of error
    BUCKETS = 64 * SUBDIVISIONS

cdef enum:
    USER_WIDTH = 9
    CSEQ_WIDTH = 9
    BRANCH_WIDTH = 16
    SEED_WIDTH = 16
    NONCE_WIDTH = 32            # of this project's nonces
    HASH_OCTETS = 16            # of MD5
    DIGITS_WIDTH = 2 * HASH_OCTETS
    COUNT_WIDTH = 8
    MAX_SECRET = 512            # username:realm:password
    MAX_PROOF = 256             # H(A1):nonce:nc:cnonce:qop:H(A2)
    MAX_PATCHES = 12 + MAX_CONTACTS

cdef enum Field:                # the octet that marks it in a template
    USER = 1
    CSEQ
    BRANCH
    SEED
    NONCE
    RESPONSE
    COUNT

cdef str _CNONCE = "0a4f113b"

cdef struct Patch:
    uint32_t offset
    Field field

cdef struct Slot:
    uint64_t asked_ns           # when it was due to be sent: latency counts from here
    uint64_t repeat_ns          # when it is sent again
    uint32_t interval_ms        # timer E
    uint32_t cseq
    int32_t aor                 # -1: free
    bint queued


cdef uint64_t now_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <uint64_t> t.tv_sec * 1000000000 + <uint64_t> t.tv_nsec


cdef int wait_for(int fd, short events, uint64_t ns) noexcept nogil:
    cdef pollfd watched
    cdef timespec t
    watched.fd = fd
    watched.events = events
    t.tv_sec = <long> (ns // 1000000000)
    t.tv_nsec = <long> (ns % 1000000000)
    return ppoll(&watched, 1, &t, NULL)


cdef int put_decimal(unsigned char* out, uint32_t value, int width) noexcept nogil:
    cdef int i
    for i in range(width - 1, -1, -1):
        out[i] = 48 + value % 10
        value = value // 10
    return 0


cdef int put_hex(unsigned char* out, uint64_t value, int width) noexcept nogil:
    cdef int i
    cdef unsigned char digit
    for i in range(width - 1, -1, -1):
        digit = value & 15
        out[i] = 48 + digit if digit < 10 else 87 + digit
        value >>= 4
    return 0


cdef int put_md5(unsigned char* out, const unsigned char* text, int n) noexcept nogil:
    cdef uint8_t[HASH_OCTETS] hash
    cdef int i
    md5(text, n, hash)
    for i in range(HASH_OCTETS):
        put_hex(out + 2 * i, hash[i], 2)
    return 0


cdef long decimal(const unsigned char* p, const unsigned char* end, int width) noexcept nogil:
    # Exactly width digits, or -1.
    cdef long value = 0
    cdef int i
    if end - p < width:
        return -1
    for i in range(width):
        if not 48 <= p[i] <= 57:
            return -1
        value = value * 10 + p[i] - 48
    return value


cdef int bucket_of(uint64_t ns) noexcept nogil:
    # Linear up to SUBDIVISIONS, then SUBDIVISIONS // 2 steps for each doubling.
    cdef int shift = 0
    while ns >> shift >= SUBDIVISIONS:
        shift += 1
    return shift * (SUBDIVISIONS // 2) + <int> (ns >> shift)


cdef uint64_t bucket_start(int bucket) noexcept nogil:
    cdef int shift
    if bucket < SUBDIVISIONS:
        return bucket
    shift = bucket // (SUBDIVISIONS // 2) - 1
    return <uint64_t> (bucket - shift * (SUBDIVISIONS // 2)) << shift


@cython.final
cdef class LoadReport:
    """What one run measured; times in seconds, latency from the moment a request was due to its answer."""

    cdef readonly uint64_t requests
    cdef readonly uint64_t answered
    cdef readonly uint64_t failed
    cdef readonly uint64_t lost
    cdef readonly uint64_t retransmissions
    cdef readonly uint64_t strays
    cdef readonly uint64_t receive_drops
    cdef readonly int last_failure
    cdef readonly double seconds
    cdef readonly double late       # seconds by which a request that had room left after it was due, at most
    cdef readonly object histogram

    @property
    def rate(self) -> float:
        """Return the Registration Rate: answers a second (RFC 7501)."""
        return self.answered / self.seconds if self.seconds else 0.0

    @property
    def loss(self) -> float:
        """Return the share of requests never answered."""
        return self.lost / self.requests if self.requests else 0.0

    def percentile(self, q: float) -> float:
        """Return the Registration Request Delay (RFC 6076) that q percent of the answers kept within."""
        import numpy
        if not 0 < q <= 100:
            raise ValueError(f"not a percentage: {q}")
        if self.answered == 0:
            return float("nan")
        reached = numpy.cumsum(self.histogram)
        bucket = int(numpy.searchsorted(reached, reached[reached.size - 1] * (q / 100)))
        return bucket_start(bucket) / 1e9


@cython.final
cdef class RegisterLoad:
    """REGISTERs of `aors` addresses-of-record, round and round, from one UDP socket to one registrar.

    Each AoR keeps its Call-ID, and its CSeq rises by one each time, so all but the first are refreshes.  An answer
    counts if Call-ID and CSeq are those of an outstanding request; any status but 200 is a failure.  The seed makes
    Call-IDs, tags and branches differ from those of other loads.  With `echo` the request itself is the answer.
    `parameters` follow each Contact, `rows` are further headers, such as "Supported: path".  With `nonces`, one for
    each AoR, requests have MD5 credentials of a user in the realm `domain` who has this `password`; the nonce-count
    of an AoR rises from 1.
    """

    cdef readonly int window
    cdef readonly uint32_t aors
    cdef readonly int octets            # length of each request
    cdef int descriptor
    cdef bint echo
    cdef uint32_t next_aor
    cdef uint64_t next_branch
    cdef unsigned char seed[SEED_WIDTH]
    cdef uint32_t* cseqs                # by AoR: the last CSeq sent
    cdef int32_t* slot_of               # by AoR: its outstanding request or -1
    cdef Slot* slots
    cdef unsigned char* requests        # by slot: the template, patched in place
    cdef int32_t* free_slots
    cdef int free_count
    cdef int32_t* outbox                # ring of slots to send
    cdef int outbox_start, outbox_count
    cdef Patch patches[MAX_PATCHES]
    cdef int patch_count
    cdef bytes nonces                   # by AoR, end to end
    cdef const unsigned char* nonce     # of the first
    cdef unsigned char secret[MAX_SECRET]
    cdef int secret_octets
    cdef unsigned char proof[MAX_PROOF]
    cdef int proof_octets
    cdef unsigned char* answers
    cdef mmsghdr incoming[BATCH]
    cdef iovec incoming_octets[BATCH]
    cdef mmsghdr outgoing[BATCH]
    cdef iovec outgoing_octets[BATCH]
    # of the current run
    cdef uint64_t issued, answered, failed, lost, retransmissions, strays
    cdef int last_failure
    cdef uint64_t buckets[BUCKETS]
    cdef uint64_t scanned_ns
    cdef double late_ns
    cdef bint held              # what is due next finds no room

    def __cinit__(self) -> None:
        self.descriptor = -1

    def __init__(
        self,
        host: str,
        port: int,
        *,
        aors: int,
        seed: int,
        window: int = 512,
        contacts: int = 1,
        expires: int = 3600,
        domain: str = "example.com",
        echo: bool = False,
        parameters: str = "",
        rows: Sequence[str] = (),
        nonces: Sequence[str] = (),
        password: str = "",
    ) -> None:
        if self.descriptor >= 0:
            raise ValueError("load is open already")
        if not 0 < aors <= MAX_AORS:
            raise ValueError(f"AoRs out of range: {aors}")
        if not 0 < window <= MAX_WINDOW:
            raise ValueError(f"window out of range: {window}")
        if not 0 < contacts <= MAX_CONTACTS:
            raise ValueError(f"contacts out of range: {contacts}")
        self.aors = aors
        self.window = min(window, aors)     # one request of an AoR at a time (RFC 3261 section 10.2)
        self.echo = echo
        self.open(Flow("udp", ("0.0.0.0", 0), (host, port)))
        self.allocate()
        put_hex(self.seed, seed & 0xFFFFFFFFFFFFFFFF, SEED_WIDTH)
        if nonces:
            rows = (*rows, self.authorize(domain, nonces, password))
        self.prepare(template(domain, contacts, expires, parameters, rows))

    def __dealloc__(self) -> None:
        if self.descriptor >= 0:
            close_descriptor(self.descriptor)
        PyMem_Free(self.cseqs)
        PyMem_Free(self.slot_of)
        PyMem_Free(self.slots)
        PyMem_Free(self.requests)
        PyMem_Free(self.free_slots)
        PyMem_Free(self.outbox)
        PyMem_Free(self.answers)

    def run(self, requests: int, *, rate: float = 0.0, timeout: float = 60.0) -> LoadReport:
        """Send that many requests and wait for their answers, timeout seconds in all; what is missing then is lost.

        Without a rate the window is kept full, and answers are looked for without sleeping while they come; with one,
        requests are due at even distances, and wait if the window is full.
        """
        if requests < 0 or rate < 0 or timeout <= 0:
            raise ValueError("requests, rate or timeout out of range")
        cdef LoadReport report = LoadReport.__new__(LoadReport)
        cdef uint64_t target = requests, start, deadline, until
        cdef double per_ns = rate / 1e9
        cdef uint32_t drops = self.kernel_drops()
        self.issued = self.answered = self.failed = self.lost = self.retransmissions = self.strays = 0
        self.last_failure = 0
        self.late_ns = 0
        self.held = False
        memset(self.buckets, 0, sizeof(self.buckets))
        start = self.scanned_ns = now_ns()
        deadline = start + <uint64_t> (timeout * 1e9)
        while self.issued < target or self.free_count < self.window:
            until = min(deadline, now_ns() + SLICE_NS)
            with nogil:
                self.spin(target, start, per_ns, until)
            PyErr_CheckSignals()
            if now_ns() >= deadline:
                break
        report.seconds = (now_ns() - start) / 1e9
        report.late = self.late_ns / 1e9
        self.abandon()
        report.requests = self.issued
        report.answered = self.answered
        report.failed = self.failed
        report.lost = self.lost
        report.retransmissions = self.retransmissions
        report.strays = self.strays
        report.last_failure = self.last_failure
        report.receive_drops = <uint32_t> (self.kernel_drops() - drops)
        report.histogram = [self.buckets[i] for i in range(BUCKETS)]
        return report

    # making

    cdef int open(self, Flow flow) except -1:
        cdef int size = 8 << 20
        cdef bint six = flow.remote_address.any.sa_family == AF_INET6
        self.descriptor = socket(
            flow.remote_address.any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0
        )
        if (
            self.descriptor < 0
            or setsockopt(self.descriptor, SOL_SOCKET, SO_RCVBUF, &size, sizeof(int)) < 0
            or connect(
                self.descriptor,
                &flow.remote_address.any,
                sizeof(sockaddr_in6) if six else sizeof(sockaddr_in),
            ) < 0
        ):
            raise OSError(errno, f"{flow.text}: {strerror(errno).decode()}")
        return 0

    cdef int allocate(self) except -1:
        self.cseqs = <uint32_t*> PyMem_Calloc(self.aors, sizeof(uint32_t))
        self.slot_of = <int32_t*> PyMem_Malloc(<size_t> self.aors * sizeof(int32_t))
        self.slots = <Slot*> PyMem_Calloc(self.window, sizeof(Slot))
        self.requests = <unsigned char*> PyMem_Malloc(<size_t> self.window * MAX_REQUEST)
        self.free_slots = <int32_t*> PyMem_Malloc(<size_t> self.window * sizeof(int32_t))
        self.outbox = <int32_t*> PyMem_Malloc(<size_t> self.window * sizeof(int32_t))
        self.answers = <unsigned char*> PyMem_Malloc(<size_t> BATCH * MAX_ANSWER)
        if (
            self.cseqs is NULL or self.slot_of is NULL or self.slots is NULL or self.requests is NULL
            or self.free_slots is NULL or self.outbox is NULL or self.answers is NULL
        ):
            raise MemoryError
        return 0

    cdef str authorize(self, str domain, object nonces, str password):
        # The row of credentials, with marks; what is hashed for it differs in as few places.
        cdef bytes secret = f"u{'0' * USER_WIDTH}:{domain}:{password}".encode()
        cdef str ha2 = hashlib.md5(f"REGISTER:sip:{domain}".encode()).hexdigest()
        cdef str blanks = ":".join(["0" * width for width in (DIGITS_WIDTH, NONCE_WIDTH, COUNT_WIDTH)])
        cdef bytes proof = f"{blanks}:{_CNONCE}:auth:{ha2}".encode()
        self.nonces = "".join(nonces).encode()
        self.nonce = self.nonces
        if len(nonces) != self.aors or {len(nonce) for nonce in nonces} != {NONCE_WIDTH}:
            raise ValueError(f"a nonce of {NONCE_WIDTH} octets is needed for each AoR")
        if len(secret) > MAX_SECRET:
            raise ValueError("domain and password too long")
        self.secret_octets, self.proof_octets = <int> len(secret), <int> len(proof)
        memcpy(self.secret, <const unsigned char*> secret, self.secret_octets)
        memcpy(self.proof, <const unsigned char*> proof, self.proof_octets)
        user, nonce = "\1" * USER_WIDTH, "\5" * NONCE_WIDTH
        response, count = "\6" * DIGITS_WIDTH, "\7" * COUNT_WIDTH
        return (
            f'Authorization: Digest username="u{user}",realm="{domain}",nonce="{nonce}",uri="sip:{domain}",'
            f'response="{response}",algorithm=MD5,cnonce="{_CNONCE}",qop=auth,nc={count}'
        )

    cdef int prepare(self, bytes text) except -1:
        # Runs of the octets of a Field mark where it stands: find them once, then fill every slot.
        cdef const unsigned char* p = text
        cdef int i, n = <int> len(text)
        if n > MAX_REQUEST:
            raise ValueError("request too long")
        self.octets = n
        for i in range(n):
            if p[i] <= COUNT and p[i] != SEED and (i == 0 or p[i - 1] != p[i]):
                self.patches[self.patch_count].offset = i
                self.patches[self.patch_count].field = <Field> p[i]
                self.patch_count += 1
        for i in range(self.window):
            memcpy(self.requests + <size_t> i * MAX_REQUEST, p, n)
            self.place_seed(self.requests + <size_t> i * MAX_REQUEST, n)
            self.slots[i].aor = -1
            self.free_slots[i] = self.window - 1 - i
        self.free_count = self.window
        for i in range(<int> self.aors):
            self.slot_of[i] = -1
            self.cseqs[i] = FIRST_CSEQ - 1
        for i in range(BATCH):
            self.incoming_octets[i].iov_base = self.answers + <size_t> i * MAX_ANSWER
            self.incoming_octets[i].iov_len = MAX_ANSWER
            self.incoming[i].msg_hdr.msg_iov = &self.incoming_octets[i]
            self.incoming[i].msg_hdr.msg_iovlen = 1
            self.outgoing[i].msg_hdr.msg_iov = &self.outgoing_octets[i]
            self.outgoing[i].msg_hdr.msg_iovlen = 1
        return 0

    cdef int place_seed(self, unsigned char* request, int n) noexcept nogil:
        # The seed of this generator stays: no two runs share a Call-ID, tag or branch.
        cdef int i = 0
        while i < n:
            if request[i] == SEED:
                memcpy(request + i, self.seed, SEED_WIDTH)
                i += SEED_WIDTH
            else:
                i += 1
        return 0

    cdef uint32_t kernel_drops(self) noexcept:
        cdef uint32_t values[SK_MEMINFO_VARS]
        cdef socklen_t size = sizeof(values)
        memset(values, 0, sizeof(values))
        getsockopt(self.descriptor, SOL_SOCKET, SO_MEMINFO, values, &size)
        return values[SK_MEMINFO_DROPS]

    # running; C only

    cdef int spin(self, uint64_t target, uint64_t start, double per_ns, uint64_t until) noexcept nogil:
        cdef uint64_t now = now_ns(), due, pause, heard = now
        cdef int got
        while now < until and (self.issued < target or self.free_count < self.window):
            due = target
            if per_ns > 0:
                due = min(target, <uint64_t> ((now - start) * per_ns) + 1)
                if self.issued < due and not self.held:
                    self.late_ns = max(self.late_ns, <double> (now - start) - self.issued / per_ns)
            while self.issued < due and self.free_count > 0:
                if self.slot_of[self.next_aor] >= 0:
                    break       # the round has caught up with a request that is late
                self.issue(start + <uint64_t> (self.issued / per_ns) if per_ns > 0 else now, now)
            self.held = self.issued < due or self.free_count == 0
            if now - self.scanned_ns >= SCAN_NS:
                self.repeat(now)
            self.flush()
            got = recvmmsg(self.descriptor, self.incoming, BATCH, MSG_DONTWAIT, NULL)
            now = now_ns()
            if got > 0:
                heard = now
                self.take(got, now)
            elif got == 0 or errno == EAGAIN:
                pause = min(until - now, <uint64_t> SCAN_NS) if now < until else 0
                if per_ns > 0 and self.issued < target and self.free_count > 0:
                    due = start + <uint64_t> (self.issued / per_ns)
                    pause = min(pause, due - now) if due > now else 0
                if self.outbox_count:
                    wait_for(self.descriptor, POLLIN | POLLOUT, pause)
                # Over loopback who sends pays for waking who sleeps; a registrar has no such cost where wires are.
                elif pause and (per_ns > 0 or now - heard > SPIN_NS):
                    wait_for(self.descriptor, POLLIN, pause)
                now = now_ns()
        return 0

    cdef int issue(self, uint64_t asked, uint64_t now) noexcept nogil:
        cdef int32_t index
        cdef Slot* slot
        self.free_count -= 1
        index = self.free_slots[self.free_count]
        slot = &self.slots[index]
        slot.aor = <int32_t> self.next_aor
        self.cseqs[slot.aor] += 1
        slot.cseq = self.cseqs[slot.aor]
        slot.asked_ns = asked
        slot.interval_ms = T1_MS
        slot.repeat_ns = now + <uint64_t> T1_MS * 1000000
        self.slot_of[slot.aor] = index
        self.next_aor += 1
        if self.next_aor == self.aors:
            self.next_aor = 0
        self.issued += 1
        self.patch(index)
        self.enqueue(index)
        return 0

    cdef int patch(self, int32_t index) noexcept nogil:
        cdef unsigned char* request = self.requests + <size_t> index * MAX_REQUEST
        cdef Slot* slot = &self.slots[index]
        cdef unsigned char* out
        cdef Field field
        cdef int i
        self.next_branch += 1
        for i in range(self.patch_count):
            out = request + self.patches[i].offset
            field = self.patches[i].field
            if field == USER:
                put_decimal(out, <uint32_t> slot.aor, USER_WIDTH)
            elif field == CSEQ:
                put_decimal(out, slot.cseq, CSEQ_WIDTH)
            elif field == BRANCH:
                put_hex(out, self.next_branch, BRANCH_WIDTH)
            elif field == NONCE:
                memcpy(out, self.nonce_of(slot), NONCE_WIDTH)
            elif field == COUNT:
                put_hex(out, slot.cseq - FIRST_CSEQ + 1, COUNT_WIDTH)
            else:
                self.prove(out, slot)
        return 0

    cdef const unsigned char* nonce_of(self, const Slot* slot) noexcept nogil:
        return self.nonce + <size_t> slot.aor * NONCE_WIDTH

    cdef int prove(self, unsigned char* out, const Slot* slot) noexcept nogil:
        # H(H(A1):nonce:nc:cnonce:qop:H(A2))   RFC 7616 section 3.4.1
        cdef unsigned char* p = self.proof
        put_decimal(self.secret + 1, <uint32_t> slot.aor, USER_WIDTH)
        put_md5(p, self.secret, self.secret_octets)
        p += DIGITS_WIDTH + 1
        memcpy(p, self.nonce_of(slot), NONCE_WIDTH)
        p += NONCE_WIDTH + 1
        put_hex(p, slot.cseq - FIRST_CSEQ + 1, COUNT_WIDTH)
        return put_md5(out, self.proof, self.proof_octets)

    cdef int enqueue(self, int32_t index) noexcept nogil:
        if self.slots[index].queued:
            return 0
        self.slots[index].queued = True
        self.outbox[(self.outbox_start + self.outbox_count) % self.window] = index
        self.outbox_count += 1
        return 0

    cdef int flush(self) noexcept nogil:
        cdef int n, i, sent
        cdef int32_t index
        while self.outbox_count:
            n = min(self.outbox_count, BATCH)
            for i in range(n):
                index = self.outbox[(self.outbox_start + i) % self.window]
                self.outgoing_octets[i].iov_base = self.requests + <size_t> index * MAX_REQUEST
                self.outgoing_octets[i].iov_len = self.octets
            sent = sendmmsg(self.descriptor, self.outgoing, n, MSG_DONTWAIT)
            if sent < 0:
                if errno == EAGAIN:
                    return 0
                sent = 1        # refused or unreachable: lost like any datagram, and repeated like it
            for i in range(sent):
                index = self.outbox[(self.outbox_start + i) % self.window]
                self.slots[index].queued = False
            self.outbox_start = (self.outbox_start + sent) % self.window
            self.outbox_count -= sent
        return 0

    cdef int repeat(self, uint64_t now) noexcept nogil:
        cdef int32_t i
        cdef Slot* slot
        self.scanned_ns = now
        for i in range(self.window):
            slot = &self.slots[i]
            if slot.aor < 0 or now < slot.repeat_ns or slot.queued:
                continue
            if now - slot.asked_ns >= <uint64_t> TRANSACTION_MS * 1000000:
                self.lost += 1
                self.release(i)
                continue
            slot.interval_ms = min(slot.interval_ms * 2, T2_MS)
            slot.repeat_ns = now + <uint64_t> slot.interval_ms * 1000000
            self.retransmissions += 1
            self.enqueue(i)
        return 0

    cdef int release(self, int32_t index) noexcept nogil:
        self.slot_of[self.slots[index].aor] = -1
        self.slots[index].aor = -1
        self.free_slots[self.free_count] = index
        self.free_count += 1
        return 0

    cdef int take(self, int got, uint64_t now) noexcept nogil:
        cdef int i, status
        cdef int32_t index
        for i in range(got):
            status = 0
            index = self.match(
                <const unsigned char*> self.incoming_octets[i].iov_base, self.incoming[i].msg_len, &status
            )
            if index < 0:
                self.strays += 1
                continue
            if status < 200:
                continue        # provisional
            if status == 200:
                self.answered += 1
                if now > self.slots[index].asked_ns:
                    self.buckets[bucket_of(now - self.slots[index].asked_ns)] += 1
                else:
                    self.buckets[0] += 1
            else:
                self.failed += 1
                self.last_failure = status
            self.release(index)
        return 0

    cdef int32_t match(self, const unsigned char* p, unsigned int n, int* status) noexcept nogil:
        # Return the outstanding request an answer belongs to, or -1.
        cdef const unsigned char* end = p + n
        cdef long aor = -1, cseq = -1
        cdef int32_t index
        if n < 16:
            return -1
        if memcmp(p, b"SIP/2.0 ", 8) == 0:
            status[0] = <int> decimal(p + 8, end, 3)
        elif self.echo and memcmp(p, b"REGISTER ", 9) == 0:
            status[0] = 200
        else:
            return -1
        while p < end:
            while p < end and p[0] != 10:
                p += 1
            p += 1
            if end - p < 8 or p[0] == 13:
                break
            if (p[0] | 32) != 99:           # "c"
                continue
            if (p[1] | 32) == 97 and (p[4] == 45) and p[7] == 58:         # Call-ID:
                p = after_blanks(p + 8, end)
                aor = decimal(p, end, USER_WIDTH)
                p += USER_WIDTH + 1
                if end - p < SEED_WIDTH or memcmp(p, self.seed, SEED_WIDTH) != 0:
                    return -1
            elif (p[1] | 32) == 115 and (p[2] | 32) == 101 and p[4] == 58:      # CSeq:
                p = after_blanks(p + 5, end)
                cseq = decimal(p, end, CSEQ_WIDTH)
        if aor < 0 or aor >= self.aors or cseq < 0:
            return -1
        index = self.slot_of[aor]
        if index < 0 or self.slots[index].cseq != <uint32_t> cseq:
            return -1
        return index

    cdef int abandon(self) noexcept:
        # What is outstanding at the end is lost; an answer that comes later is a stray of the next run.
        cdef int32_t i
        self.outbox_start = self.outbox_count = 0
        for i in range(self.window):
            self.slots[i].queued = False
            if self.slots[i].aor >= 0:
                self.lost += 1
                self.release(i)
        return 0


cdef const unsigned char* after_blanks(const unsigned char* p, const unsigned char* end) noexcept nogil:
    while p < end and (p[0] == 32 or p[0] == 9):
        p += 1
    return p


cdef bytes template(str domain, int contacts, int expires, str parameters, object rows):
    user, cseq, branch, seed = "\1" * USER_WIDTH, "\2" * CSEQ_WIDTH, "\3" * BRANCH_WIDTH, "\4" * SEED_WIDTH
    lines = [
        f"REGISTER sip:{domain} SIP/2.0",
        f"Via: SIP/2.0/UDP load.invalid;rport;branch=z9hG4bK{seed}{branch}",
        "Max-Forwards: 70",
        f"From: <sip:u{user}@{domain}>;tag={seed}{user}",
        f"To: <sip:u{user}@{domain}>",
        f"Call-ID: {user}-{seed}@load.invalid",
        f"CSeq: {cseq} REGISTER",
        *(f"Contact: <sip:u{user}@192.0.2.{i + 1}:5060>{parameters}" for i in range(contacts)),
        f"Expires: {expires}",
        *rows,
        "User-Agent: reginfo-load",
        "Content-Length: 0",
        "",
        "",
    ]
    return "\r\n".join(lines).encode("ascii")


def echo(descriptor: int) -> None:
    """Send every datagram of a blocking UDP socket back, one recvfrom and one sendto each, until a signal raises."""
    cdef unsigned char octets[65536]
    cdef Address source
    cdef socklen_t size
    cdef ssize_t n = 0
    cdef int fd = descriptor, failure = 0, _round
    cdef timeval pause      # a signal that comes just before recvfrom does not interrupt it
    pause.tv_sec = 0
    pause.tv_usec = ECHO_PAUSE_US
    if setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &pause, sizeof(pause)) < 0:
        raise OSError(errno, strerror(errno).decode())
    while True:
        with nogil:
            for _round in range(ECHO_ROUND):
                size = sizeof(Address)
                n = recvfrom(fd, octets, sizeof(octets), 0, &source.any, &size)
                if n < 0:
                    failure = errno     # before the GIL is taken again
                    break
                sendto(fd, octets, n, 0, &source.any, size)
        if n < 0 and failure != EINTR and failure != EAGAIN:
            raise OSError(failure, strerror(failure).decode())
        PyErr_CheckSignals()
