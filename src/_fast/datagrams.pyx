"""Flows, and UDP datagrams in batches: recvmmsg and sendmmsg over one raw, non-blocking socket (Linux).

A Flow says which way a message came and therefore which way its answer goes (RFC 3581, RFC 5626): transport,
local and remote address and, for streams, the connection.  A DatagramSocket knows nothing of SIP or of an event loop.
Its system calls never block and keep the GIL: handing that over costs more than the copy they make.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.errno cimport EAGAIN, EINTR, EINVAL, EIO, EMSGSIZE, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset, strerror, strlen
from posix.unistd cimport close as close_descriptor

from reginfo._fast._sockets cimport (
    AF_INET,
    AF_INET6,
    CMSG_DATA,
    CMSG_FIRSTHDR,
    CMSG_LEN,
    CMSG_NXTHDR,
    CMSG_SPACE,
    IP_PKTINFO,
    IP_RECVERR,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_PKTINFO,
    IPV6_RECVERR,
    IPV6_RECVPKTINFO,
    IPV6_V6ONLY,
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    SO_EE_ORIGIN_ICMP,
    SO_EE_ORIGIN_ICMP6,
    SO_RCVBUF,
    SO_RXQ_OVFL,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOL_SOCKET,
    SOL_UDP,
    UDP_SEGMENT,
    Address,
    bind,
    cmsghdr,
    getsockname,
    getsockopt,
    htons,
    in6_pktinfo,
    in_pktinfo,
    inet_ntop,
    inet_pton,
    iovec,
    mmsghdr,
    msghdr,
    ntohs,
    recvmmsg,
    recvmsg,
    sendmmsg,
    setsockopt,
    sock_extended_err,
    sockaddr_in,
    sockaddr_in6,
    socket,
    socklen_t,
)

import cython


cdef enum:
    BATCH = 64                  # datagrams of one system call; more no longer pays
    DATAGRAM = 65536            # no UDP payload is longer (TRN-2), so nothing is ever truncated
    STRIDE = DATAGRAM + 576     # a power of two would put the start of every datagram into the same cache sets
    CONTROL_IN = 128            # room for the drop counter and the packet information
    CONTROL_OUT = 64            # room for the packet information and the length of segments
    MAX_SEGMENT = 1232          # octets: what nearly every path carries in one packet (of IPv6 each, RFC 8200 5)
    MAX_SEGMENTED = 65000       # octets of the datagrams that the kernel gets as one
    MAX_ERRORS = 1024           # unreachable peers kept until they are taken; more are only counted
    MAX_NOTICES = 1024          # error notices read in one go; the kernel wakes us again for the rest
    RETRIES = 2                 # a send that meets the error of an earlier datagram is repeated

cdef union ControlIn:
    cmsghdr head
    unsigned char octets[CONTROL_IN]

cdef union ControlOut:
    cmsghdr head
    unsigned char octets[CONTROL_OUT]

cdef union ControlError:
    cmsghdr head
    unsigned char octets[512]

cdef tuple TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")


# Addresses

cdef inline uint16_t port_of(const Address* address) noexcept nogil:
    # sin_port and sin6_port share their place
    return ntohs(address.v4.sin_port)


cdef inline socklen_t size_of(const Address* address) noexcept nogil:
    return sizeof(sockaddr_in6) if address.any.sa_family == AF_INET6 else sizeof(sockaddr_in)


cdef bint same_address(const Address* a, const Address* b) noexcept nogil:
    if a.any.sa_family != b.any.sa_family or a.v4.sin_port != b.v4.sin_port:
        return False
    if a.any.sa_family == AF_INET6:
        return (
            memcmp(&a.v6.sin6_addr, &b.v6.sin6_addr, 16) == 0
            and a.v6.sin6_scope_id == b.v6.sin6_scope_id
        )
    return a.v4.sin_addr.s_addr == b.v4.sin_addr.s_addr


cdef bint is_wildcard(const Address* address) noexcept nogil:
    cdef uint8_t zero[16]
    if address.any.sa_family == AF_INET6:
        memset(zero, 0, 16)
        return memcmp(&address.v6.sin6_addr, zero, 16) == 0
    return address.v4.sin_addr.s_addr == 0


cdef int host_text(const Address* address, char* out) noexcept nogil:
    # Write the host as NUL-terminated text of at most 46 octets and return its length.
    cdef const uint8_t* octet
    cdef int i, n = 0, value
    if address.any.sa_family == AF_INET6:
        inet_ntop(AF_INET6, &address.v6.sin6_addr, out, 46)
        return <int> strlen(out)
    octet = <const uint8_t*> &address.v4.sin_addr
    for i in range(4):
        value = octet[i]
        if value >= 100:
            out[n] = 48 + value // 100
            n += 1
        if value >= 10:
            out[n] = 48 + value // 10 % 10
            n += 1
        out[n] = 48 + value % 10
        out[n + 1] = 46
        n += 2
    out[n - 1] = 0
    return n - 1


cdef int set_address(Address* address, tuple where) except -1:
    # Fill an address from (host, port); the host is an IP literal.
    cdef bytes text
    cdef int port
    if len(where) != 2:
        raise ValueError("an address is (host, port)")
    text = (<str?> where[0]).encode("ascii", "backslashreplace")
    port = where[1]
    if not 0 <= port <= 65535:
        raise ValueError(f"port out of range: {port}")
    memset(address, 0, sizeof(Address))
    if b"\0" not in text:
        if inet_pton(AF_INET, text, &address.v4.sin_addr) == 1:
            address.any.sa_family = AF_INET
        elif inet_pton(AF_INET6, text, &address.v6.sin6_addr) == 1:
            address.any.sa_family = AF_INET6
    if address.any.sa_family == 0:
        raise ValueError(f"not an IP address: {text[:46]!r}")
    address.v4.sin_port = htons(port)
    return 0


cdef tuple address_pair(const Address* address):
    cdef char text[46]
    cdef int n = host_text(address, text)
    return (text[:n].decode("ascii"), port_of(address))


@cython.final
@cython.freelist(256)
@cython.no_gc
cdef class Flow:
    """The way a message came: transport, local address, remote address and connection (0 for UDP).

    Hosts are IP literals.  A way over TLS that is still to be made has the domain that its other side must be
    (RFC 5922 section 4); every other one has "".  Flows are immutable values: equal when all five parts are.
    """

    def __init__(
        self, transport: str, local: tuple, remote: tuple, connection: int = 0, domain: str = ""
    ) -> None:
        if transport not in TRANSPORTS:
            raise ValueError(f"unknown transport: {transport[:16]!r}")
        self.kind = TRANSPORTS.index(transport)
        set_address(&self.local_address, local)
        set_address(&self.remote_address, remote)
        self.connection = connection
        self.name = domain or None
        settle(self)

    @property
    def domain(self) -> str:
        """Return the domain that the other side of a TLS connection still to be made must be; "" for any."""
        return self.name or ""

    @property
    def transport(self) -> str:
        """Return "udp", "tcp", "tls", "ws" or "wss"."""
        return TRANSPORTS[self.kind]

    @property
    def local(self) -> tuple:
        """Return (host, port) the message came in at."""
        return address_pair(&self.local_address)

    @property
    def remote(self) -> tuple:
        """Return (host, port) the message came from."""
        return (self.host, self.remote_port)

    @property
    def host(self) -> str:
        """Return the remote host, without brackets (RFC 5952)."""
        return self.host_octets[:self.host_length].decode("ascii")

    @property
    def port(self) -> int:
        """Return the remote port."""
        return self.remote_port

    @property
    def reliable(self) -> bool:
        """Tell whether the transport is reliable in the sense of RFC 3261 section 17."""
        return self.kind != UDP

    @property
    def stream(self) -> bool:
        """Tell whether Content-Length frames its messages; a WebSocket has frames of its own (RFC 7118 section 5)."""
        return self.kind == TCP or self.kind == TLS

    @property
    def text(self) -> str:
        """Return transport and remote address for rows and logs: "udp:192.0.2.1:5060"."""
        if self.remote_address.any.sa_family == AF_INET6:
            return f"{self.transport}:[{self.host}]:{self.remote_port}"
        return f"{self.transport}:{self.host}:{self.remote_port}"

    @property
    def identity(self) -> str:
        """Return what tells this flow from every other of the process, for rows (RFC 5626 section 6).

        "tcp:192.0.2.1:5060#17" by the number of its connection, "udp:192.0.2.1:5060/198.51.100.1:5060" by both ends.
        """
        if self.connection:
            return f"{self.text}#{self.connection}"
        host, port = self.local
        return f"{self.text}/[{host}]:{port}" if ":" in host else f"{self.text}/{host}:{port}"

    def reply(self, port: int) -> Flow:
        """Return the same way to another remote port, outside any connection (TRN-4)."""
        if not 0 <= port <= 65535:
            raise ValueError(f"port out of range: {port}")
        cdef Flow flow = copy_flow(self)
        flow.remote_address.v4.sin_port = htons(port)
        settle(flow)
        return flow

    def with_remote(self, host: str, port: int) -> Flow:
        """Return a way from the same local address to another remote one, outside any connection."""
        cdef Flow flow = copy_flow(self)
        set_address(&flow.remote_address, (host, port))
        settle(flow)
        return flow

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Flow):
            return NotImplemented
        cdef Flow flow = <Flow> other
        return (
            self.kind == flow.kind
            and self.connection == flow.connection
            and self.name == flow.name
            and same_address(&self.remote_address, &flow.remote_address)
            and same_address(&self.local_address, &flow.local_address)
        )

    def __hash__(self) -> int:
        cdef uint64_t value = 14695981039346656037U     # FNV-1a
        cdef int i
        for i in range(self.host_length):
            value = (value ^ <uint8_t> self.host_octets[i]) * 1099511628211U
        value = (value ^ self.remote_port) * 1099511628211U
        value = (value ^ self.kind) * 1099511628211U
        value = (value ^ self.connection) * 1099511628211U
        return <Py_hash_t> (value >> 1)

    def __repr__(self) -> str:
        if self.connection:
            return f"<Flow {self.text} #{self.connection}>"
        return f"<Flow {self.text}>"


cdef int settle(Flow flow) except -1:
    # Derive the text and the port from the remote address.
    flow.host_length = <unsigned char> host_text(&flow.remote_address, flow.host_octets)
    flow.remote_port = port_of(&flow.remote_address)
    return 0


cdef Flow copy_flow(Flow flow):
    cdef Flow other = Flow.__new__(Flow)
    other.kind = flow.kind
    other.local_address = flow.local_address
    other.remote_address = flow.remote_address
    return other


def datagrams_among(messages: list[tuple[bytes, Flow]]) -> list[tuple[bytes, Flow]]:
    """Return what goes by UDP, in order: the very list if all does."""
    cdef tuple message
    cdef Py_ssize_t i
    for i in range(len(messages)):
        message = messages[i]
        if (<Flow?> message[1]).kind != UDP:
            return [message for message in messages if (<Flow?> message[1]).kind == UDP]
    return messages


@cython.final
@cython.no_gc_clear
cdef class DatagramSocket:
    """A bound, non-blocking UDP socket that reads and writes batches.

    The host is an IP literal, port 0 takes a free one; OSError if it cannot be bound.  Bound to the wildcard address,
    each flow carries the address its datagram was sent to and answers leave from it (RFC 3581 section 4).

    Datagrams of one length, one after the other to one address, are handed over in one piece, which the kernel cuts
    (UDP_SEGMENT): routing and the device's queue are passed through once, which is two thirds of what sending 64 costs.
    """

    cdef readonly uint64_t received
    cdef readonly uint64_t sent
    cdef readonly uint64_t dropped      # by the kernel, for want of room in the receive buffer
    cdef readonly uint64_t refused      # datagrams the kernel would not send
    cdef readonly uint64_t notices      # entries of the error queue, whatever they said
    cdef int descriptor
    cdef bint wildcard
    cdef bint segments                  # whether the kernel cuts
    cdef bint has_uncut
    cdef Address uncut                  # to where it refused to cut last
    cdef uint32_t overflow              # the kernel's drop counter as seen last
    cdef Address address
    cdef list unreachable
    cdef unsigned char* room            # BATCH datagrams; pages nobody wrote to cost nothing
    cdef mmsghdr incoming[BATCH]
    cdef iovec incoming_octets[BATCH]
    cdef Address sources[BATCH]
    cdef ControlIn incoming_control[BATCH]
    cdef mmsghdr outgoing[BATCH]
    cdef iovec outgoing_octets[BATCH]
    cdef ControlOut outgoing_control[BATCH]
    cdef int first[BATCH + 1]           # by outgoing message: its first datagram

    def __cinit__(self) -> None:
        cdef int i
        self.descriptor = -1
        self.unreachable = []
        self.room = <unsigned char*> PyMem_Malloc(<size_t> BATCH * STRIDE)
        if self.room is NULL:
            raise MemoryError
        for i in range(BATCH):
            self.incoming_octets[i].iov_base = self.room + <size_t> i * STRIDE
            self.incoming_octets[i].iov_len = DATAGRAM
            self.incoming[i].msg_hdr.msg_name = &self.sources[i]
            self.incoming[i].msg_hdr.msg_iov = &self.incoming_octets[i]
            self.incoming[i].msg_hdr.msg_iovlen = 1
            self.incoming[i].msg_hdr.msg_control = &self.incoming_control[i]
            self.clear_slot(i)

    def __init__(self, host: str, port: int, *, receive_buffer: int = 4 << 20) -> None:
        if self.descriptor >= 0:
            raise ValueError("socket is open already")
        set_address(&self.address, (host, port))
        self.wildcard = is_wildcard(&self.address)
        self.descriptor = socket(
            self.address.any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0
        )
        if self.descriptor < 0:
            self.fail("socket")
        self.option(SOL_SOCKET, SO_RCVBUF, receive_buffer)
        self.option(SOL_SOCKET, SO_RXQ_OVFL, 1)
        self.segments = self.has_option(SOL_UDP, UDP_SEGMENT)
        if self.address.any.sa_family == AF_INET6:
            self.option(IPPROTO_IPV6, IPV6_V6ONLY, 1)
            self.option(IPPROTO_IPV6, IPV6_RECVERR, 1)
            if self.wildcard:
                self.option(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
        else:
            self.option(IPPROTO_IP, IP_RECVERR, 1)
            if self.wildcard:
                self.option(IPPROTO_IP, IP_PKTINFO, 1)
        cdef socklen_t size = sizeof(Address)
        if (
            bind(self.descriptor, &self.address.any, size_of(&self.address)) < 0
            or getsockname(self.descriptor, &self.address.any, &size) < 0
        ):
            self.fail(f"bind {host}:{port}")

    def __dealloc__(self) -> None:
        self.shut()
        PyMem_Free(self.room)

    @property
    def local(self) -> tuple:
        """Return (host, port) the socket is bound to."""
        return address_pair(&self.address)

    @property
    def closed(self) -> bool:
        """Tell whether close() was called."""
        return self.descriptor < 0

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed."""
        return self.descriptor

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        self.shut()

    def receive(self, limit: int = BATCH) -> list:
        """Return the datagrams that wait, at most limit (and 64), oldest first, each with its flow; [] if none does."""
        cdef int wanted = max(1, min(limit, BATCH))
        cdef int got, i
        cdef list batch = []
        cdef tuple last = None
        self.check_open()
        got = self.pull(wanted)
        for i in range(got):
            last = self.datagram(i, last)
            batch.append(last)
        self.received += got
        return batch

    def send(self, batch: list) -> int:
        """Send datagrams in order and return how many of them are done with; what follows is to be sent later.

        Fewer than all are done only when the socket is full.  A datagram the kernel refuses is done with:
        it is counted, and its flow is among take_errors().
        """
        cdef Py_ssize_t total = len(batch), start = 0
        cdef int n, messages, done, singly = 0
        self.check_open()
        while start < total:
            n = <int> min(total - start, BATCH)
            messages = self.lay(batch, start, n, singly)
            singly = 0
            done = self.push(messages, batch, start, &singly)
            start += done
            if done < n and singly == 0:
                break
        return start

    def take_errors(self) -> list:
        """Return, once, the flows whose peer was reported unreachable since the last call (RFC 3261 section 18.4)."""
        self.check_open()
        self.drain()
        cdef list taken = self.unreachable
        self.unreachable = []
        return taken

    # C side

    cdef int check_open(self) except -1:
        if self.descriptor < 0:
            raise ValueError("socket is closed")
        return 0

    cdef int fail(self, str what) except -1:
        # The descriptor is given back here: nobody may see a half-made socket.
        cdef int code = errno
        self.shut()
        raise OSError(code, f"{what}: {strerror(code).decode()}")

    cdef int shut(self) noexcept:
        if self.descriptor >= 0:
            close_descriptor(self.descriptor)
            self.descriptor = -1
        return 0

    cdef int option(self, int level, int name, int value) except -1:
        if setsockopt(self.descriptor, level, name, &value, sizeof(int)) < 0:
            self.fail("setsockopt")
        return 0

    cdef bint has_option(self, int level, int name) noexcept:
        cdef int value
        cdef socklen_t size = sizeof(value)
        return getsockopt(self.descriptor, level, name, &value, &size) == 0

    cdef inline void clear_slot(self, int i) noexcept:
        self.incoming[i].msg_hdr.msg_namelen = sizeof(Address)
        self.incoming[i].msg_hdr.msg_controllen = CONTROL_IN

    cdef int pull(self, int wanted) except -1:
        # An error here is the news of an earlier datagram (IP_RECVERR): read it and go on.
        cdef int got, _
        for _ in range(RETRIES + 1):
            got = recvmmsg(self.descriptor, self.incoming, wanted, MSG_DONTWAIT, NULL)
            if got >= 0:
                return got
            if errno == EAGAIN:
                return 0
            self.notices += errno != EINTR      # counted even when the error queue had no room for it
            self.drain()
        return 0

    cdef tuple datagram(self, int i, tuple before):
        # A datagram with its flow, which is that of the one before if both came the same way: a proxy sends many.
        cdef msghdr* head = &self.incoming[i].msg_hdr
        cdef Flow flow
        cdef Address local = self.address
        cdef bytes octets = PyBytes_FromStringAndSize(
            <char*> self.incoming_octets[i].iov_base, self.incoming[i].msg_len
        )
        if head.msg_controllen:
            self.read_control(head, &local)
        self.clear_slot(i)
        if before is not None:
            flow = <Flow> before[1]
            if same_address(&flow.remote_address, &self.sources[i]) and same_address(&flow.local_address, &local):
                return (octets, flow)
        flow = Flow.__new__(Flow)
        flow.kind = UDP
        flow.remote_address = self.sources[i]
        flow.local_address = local
        settle(flow)
        return (octets, flow)

    cdef int read_control(self, msghdr* head, Address* local) except -1:
        cdef cmsghdr* control = CMSG_FIRSTHDR(head)
        cdef uint32_t overflow
        while control is not NULL:
            if control.cmsg_level == SOL_SOCKET and control.cmsg_type == SO_RXQ_OVFL:
                memcpy(&overflow, CMSG_DATA(control), sizeof(uint32_t))
                self.dropped += <uint32_t> (overflow - self.overflow)       # it wraps
                self.overflow = overflow
            elif control.cmsg_level == IPPROTO_IP and control.cmsg_type == IP_PKTINFO:
                local.v4.sin_addr = (<in_pktinfo*> CMSG_DATA(control)).ipi_spec_dst
            elif control.cmsg_level == IPPROTO_IPV6 and control.cmsg_type == IPV6_PKTINFO:
                local.v6.sin6_addr = (<in6_pktinfo*> CMSG_DATA(control)).ipi6_addr
            control = CMSG_NXTHDR(head, control)
        return 0

    cdef int lay(self, list batch, Py_ssize_t start, int n, int singly) except -1:
        # Lay out n datagrams for the kernel and return how many messages they are; the first `singly` have one each.
        # Borrows octets and flows: the batch holds them until push() is done.
        cdef tuple item
        cdef bytes octets
        cdef Flow flow
        cdef Flow before = None
        cdef int i, messages = 0
        for i in range(n):
            item = <tuple?> batch[start + i]
            if len(item) != 2:
                raise ValueError("an item is (octets, flow)")
            octets = <bytes?> item[0]
            flow = <Flow?> item[1]
            self.outgoing_octets[i].iov_base = PyBytes_AS_STRING(octets)
            self.outgoing_octets[i].iov_len = PyBytes_GET_SIZE(octets)
            if i > singly and self.joins(messages - 1, i, flow) and self.is_same_way(before, flow):
                self.outgoing[messages - 1].msg_hdr.msg_iovlen += 1
            else:
                self.begin(messages, flow)
                self.outgoing[messages].msg_hdr.msg_iov = &self.outgoing_octets[i]
                self.outgoing[messages].msg_hdr.msg_iovlen = 1
                self.first[messages] = i
                messages += 1
            before = flow
        self.first[messages] = n
        for i in range(messages):
            if self.outgoing[i].msg_hdr.msg_iovlen > 1:
                self.cut(&self.outgoing[i].msg_hdr, &self.outgoing_control[i])
        return messages

    cdef inline bint joins(self, int message, int i, Flow flow) noexcept:
        # All but the last of what the kernel cuts have the same length.
        cdef size_t length = self.outgoing_octets[self.first[message]].iov_len
        return (
            self.segments
            and length <= MAX_SEGMENT
            and self.outgoing_octets[i - 1].iov_len == length
            and 0 < self.outgoing_octets[i].iov_len <= length
            and <size_t> (i - self.first[message] + 1) * length <= MAX_SEGMENTED
            and not (self.has_uncut and same_address(&flow.remote_address, &self.uncut))
        )

    cdef inline bint is_same_way(self, Flow flow, Flow other) noexcept:
        return flow is other or (
            same_address(&flow.remote_address, &other.remote_address)
            and (not self.wildcard or same_address(&flow.local_address, &other.local_address))
        )

    cdef void begin(self, int message, Flow flow) noexcept:
        cdef msghdr* head = &self.outgoing[message].msg_hdr
        cdef cmsghdr* control
        head.msg_name = &flow.remote_address
        head.msg_namelen = size_of(&flow.remote_address)
        head.msg_control = NULL
        head.msg_controllen = 0
        if not self.wildcard or is_wildcard(&flow.local_address):
            return
        head.msg_control = &self.outgoing_control[message]
        memset(head.msg_control, 0, CONTROL_OUT)
        control = &self.outgoing_control[message].head
        if flow.local_address.any.sa_family == AF_INET6:
            head.msg_controllen = CMSG_SPACE(sizeof(in6_pktinfo))
            control.cmsg_level = IPPROTO_IPV6
            control.cmsg_type = IPV6_PKTINFO
            control.cmsg_len = CMSG_LEN(sizeof(in6_pktinfo))
            (<in6_pktinfo*> CMSG_DATA(control)).ipi6_addr = flow.local_address.v6.sin6_addr
        else:
            head.msg_controllen = CMSG_SPACE(sizeof(in_pktinfo))
            control.cmsg_level = IPPROTO_IP
            control.cmsg_type = IP_PKTINFO
            control.cmsg_len = CMSG_LEN(sizeof(in_pktinfo))
            (<in_pktinfo*> CMSG_DATA(control)).ipi_spec_dst = flow.local_address.v4.sin_addr

    cdef void cut(self, msghdr* head, ControlOut* room) noexcept:
        # Have the kernel cut a message where its first datagram ends.
        cdef cmsghdr* control = <cmsghdr*> &room.octets[head.msg_controllen]
        cdef uint16_t length = <uint16_t> head.msg_iov[0].iov_len
        head.msg_control = room
        head.msg_controllen += CMSG_SPACE(sizeof(length))
        memset(control, 0, CMSG_SPACE(sizeof(length)))
        control.cmsg_level = SOL_UDP
        control.cmsg_type = UDP_SEGMENT
        control.cmsg_len = CMSG_LEN(sizeof(length))
        memcpy(CMSG_DATA(control), &length, sizeof(length))

    cdef int push(self, int messages, list batch, Py_ssize_t start, int* singly) except -1:
        # Hand messages to the kernel; return how many datagrams are done with.  If it refuses what it should cut, the
        # datagrams of that message, of which there are `singly`, are to be sent one by one, and so are those that go
        # there later: its route is too narrow, goes through IPsec, or by a device without checksums of its own.
        cdef int done = 0, sent, attempts = 0
        while done < messages:
            sent = sendmmsg(self.descriptor, &self.outgoing[done], messages - done, MSG_DONTWAIT)
            if sent > 0:
                self.sent += self.first[done + sent] - self.first[done]
                done += sent
                attempts = 0
                continue
            if errno == EAGAIN:
                break
            if errno == EINTR:
                continue
            if self.outgoing[done].msg_hdr.msg_iovlen > 1 and (errno == EINVAL or errno == EMSGSIZE or errno == EIO):
                self.uncut = (<Flow> (<tuple> batch[start + self.first[done]])[1]).remote_address
                self.has_uncut = True
                singly[0] = self.first[done + 1] - self.first[done]
                break
            # Either the news of an earlier datagram or a refusal of this one: only a refusal repeats itself.
            self.notices += 1
            self.drain()
            attempts += 1
            if attempts > RETRIES:
                if self.outgoing[done].msg_hdr.msg_iovlen > 1:
                    singly[0] = self.first[done + 1] - self.first[done]
                    break
                self.refused += 1
                self.note(<Flow> (<tuple> batch[start + self.first[done]])[1])
                done += 1
                attempts = 0
        return self.first[done]

    cdef int note(self, Flow flow) except -1:
        if len(self.unreachable) < MAX_ERRORS:
            self.unreachable.append(flow)
        return 0

    cdef int drain(self) except -1:
        # Read the error queue: each entry names the destination of the datagram that failed.
        cdef msghdr head
        cdef iovec octets
        cdef Address address
        cdef ControlError control
        cdef char start[8]
        cdef int _
        for _ in range(MAX_NOTICES):
            octets.iov_base = start
            octets.iov_len = sizeof(start)
            memset(&head, 0, sizeof(head))
            memset(&address, 0, sizeof(address))
            head.msg_name = &address
            head.msg_namelen = sizeof(address)
            head.msg_iov = &octets
            head.msg_iovlen = 1
            head.msg_control = &control
            head.msg_controllen = sizeof(control)
            if recvmsg(self.descriptor, &head, MSG_ERRQUEUE | MSG_DONTWAIT) < 0:
                break
            self.notices += 1
            self.read_notice(&head, &address)
        return 0

    cdef int read_notice(self, msghdr* head, const Address* address) except -1:
        cdef cmsghdr* control = CMSG_FIRSTHDR(head)
        cdef Flow flow
        while control is not NULL:
            if (
                (control.cmsg_level == IPPROTO_IP and control.cmsg_type == IP_RECVERR)
                or (control.cmsg_level == IPPROTO_IPV6 and control.cmsg_type == IPV6_RECVERR)
            ) and is_unreachable(<sock_extended_err*> CMSG_DATA(control)):
                flow = Flow.__new__(Flow)
                flow.kind = UDP
                flow.local_address = self.address
                flow.remote_address = address[0]
                settle(flow)
                self.note(flow)
            control = CMSG_NXTHDR(head, control)
        return 0


cdef bint is_unreachable(const sock_extended_err* error) noexcept nogil:
    # RFC 3261 section 18.4: unreachable and parameter problem are told; source quench, time exceeded and
    # the path MTU (RFC 792 type 3 code 4) are not.
    if error.ee_origin == SO_EE_ORIGIN_ICMP:
        return (error.ee_type == 3 and error.ee_code != 4) or error.ee_type == 12
    if error.ee_origin == SO_EE_ORIGIN_ICMP6:       # RFC 4443
        return error.ee_type == 1 or error.ee_type == 4
    return False
