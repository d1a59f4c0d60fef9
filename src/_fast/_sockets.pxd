# The socket interface of the kernel as datagrams and load use it: declarations only (Linux).
from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef extern from "sys/types.h" nogil:
    ctypedef unsigned int socklen_t


cdef extern from "netinet/in.h" nogil:
    cdef enum:
        AF_INET
        AF_INET6
        INET6_ADDRSTRLEN
        IPPROTO_IP
        IPPROTO_IPV6
        IPV6_V6ONLY
        IPV6_RECVERR
        IPV6_RECVPKTINFO
        IPV6_PKTINFO
        IP_RECVERR
        IP_PKTINFO

    struct in_addr:
        uint32_t s_addr

    struct in6_addr:
        uint8_t s6_addr[16]

    struct sockaddr:
        uint16_t sa_family

    struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port
        in_addr sin_addr

    struct sockaddr_in6:
        uint16_t sin6_family
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id

    struct in_pktinfo:
        int ipi_ifindex
        in_addr ipi_spec_dst
        in_addr ipi_addr

    struct in6_pktinfo:
        in6_addr ipi6_addr
        unsigned int ipi6_ifindex


cdef extern from * nogil:
    """
    #include <netinet/udp.h>
    #ifndef SOL_UDP
    #define SOL_UDP 17
    #endif
    #ifndef UDP_SEGMENT         /* glibc before 2.29; whether the kernel has it shows at run time */
    #define UDP_SEGMENT 103
    #endif
    """
    cdef enum:
        SOL_UDP
        UDP_SEGMENT


cdef extern from "arpa/inet.h" nogil:
    uint16_t htons(uint16_t value)
    uint16_t ntohs(uint16_t value)
    int inet_pton(int family, const char* text, void* address)
    const char* inet_ntop(int family, const void* address, char* text, socklen_t size)


cdef extern from "sys/socket.h" nogil:
    cdef enum:
        SOCK_DGRAM
        SOCK_NONBLOCK
        SOCK_CLOEXEC
        SOL_SOCKET
        SO_RCVBUF
        SO_RCVTIMEO
        SO_SNDBUF
        SO_RXQ_OVFL
        SO_MEMINFO
        MSG_DONTWAIT
        MSG_ERRQUEUE

    struct iovec:
        void* iov_base
        size_t iov_len

    struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags

    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len

    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type

    int socket(int family, int kind, int protocol)
    int bind(int fd, const sockaddr* address, socklen_t length)
    int connect(int fd, const sockaddr* address, socklen_t length)
    int getsockname(int fd, sockaddr* address, socklen_t* length)
    int getsockopt(int fd, int level, int name, void* value, socklen_t* length)
    int setsockopt(int fd, int level, int name, const void* value, socklen_t length)
    ssize_t recvmsg(int fd, msghdr* message, int flags)
    ssize_t recvfrom(int fd, void* octets, size_t n, int flags, sockaddr* source, socklen_t* length)
    ssize_t sendto(int fd, const void* octets, size_t n, int flags, const sockaddr* to, socklen_t length)
    int recvmmsg(int fd, mmsghdr* messages, unsigned int n, int flags, void* timeout)
    int sendmmsg(int fd, mmsghdr* messages, unsigned int n, int flags)
    cmsghdr* CMSG_FIRSTHDR(msghdr* message)
    cmsghdr* CMSG_NXTHDR(msghdr* message, cmsghdr* previous)
    unsigned char* CMSG_DATA(cmsghdr* control)
    size_t CMSG_SPACE(size_t n)
    size_t CMSG_LEN(size_t n)


cdef extern from "linux/sock_diag.h" nogil:
    cdef enum:
        SK_MEMINFO_DROPS
        SK_MEMINFO_VARS


cdef extern from "linux/errqueue.h" nogil:
    cdef enum:
        SO_EE_ORIGIN_ICMP
        SO_EE_ORIGIN_ICMP6

    struct sock_extended_err:
        uint32_t ee_errno
        uint8_t ee_origin
        uint8_t ee_type
        uint8_t ee_code


cdef union Address:                     # 28 octets instead of the 128 of sockaddr_storage
    sockaddr any
    sockaddr_in v4
    sockaddr_in6 v6
