"""Screening: what RFC 3261 section 8.2 asks of every request before its method sees it.

Only what the request itself shows is asked here, in the order of section 8.2: method, Request-URI, extensions, and
for a REGISTER whether its address-of-record belongs to the domain it was sent to (section 10.3 steps 1 and 5).
What a verdict is answered with is the caller's.
"""

from collections.abc import Iterable

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp

from reginfo._fast.sip_parser cimport (
    METHOD_ACK,
    METHOD_OPTIONS,
    METHOD_REGISTER,
    METHOD_UNKNOWN,
    SipMessage,
    base,
)
from reginfo._fast.uri cimport HOST_NAME, SCHEME_OTHER, Host, host_octets

GO_ON = GO_ON_
NO_ANSWER = NO_ANSWER_                      # ACK
UNKNOWN_METHOD = UNKNOWN_METHOD_            # 501
METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED_    # 405
URI_TOO_LONG = URI_TOO_LONG_                # 414
UNSUPPORTED_SCHEME = UNSUPPORTED_SCHEME_    # 416
FOREIGN_DOMAIN = FOREIGN_DOMAIN_            # 404
UNKNOWN_EXTENSION = UNKNOWN_EXTENSION_      # 420
AOR_NOT_SIP = AOR_NOT_SIP_                  # 400
AOR_OF_OTHER_DOMAIN = AOR_OF_OTHER_DOMAIN_  # 404


@cython.final
@cython.auto_pickle(False)
cdef class Screen:
    """The checks of one server: the methods it serves and the hosts it answers for."""

    def __init__(
        self,
        methods: Iterable[str],
        domains: Iterable[str],
        addresses: Iterable[str],
        max_uri: cython.Py_ssize_t,
        extensions: Iterable[str] = (),
    ) -> None:
        """domains have addresses-of-record; addresses are the server's own, good in a Request-URI only.

        Both are hosts as a canonical AoR shows them; max_uri is in octets.  extensions are the option-tags, in lower
        case, that a REGISTER may require.
        """
        self._methods = frozenset(methods)
        self._domains = frozenset([domain.encode() for domain in domains])
        self._hosts = self._domains | frozenset([address.encode() for address in addresses])
        self._max_uri = max_uri
        self._extensions = frozenset(extensions)
        self._written = self._canonical = b""

    def check(self, request: SipMessage, here: str = "") -> int:
        """Return GO_ON, or the first of the other verdicts that applies to a parsed request.

        here is one more address of this server, where a listener has all of them.
        """
        return self.verdict(request, here.encode())

    def unknown(self, request: SipMessage) -> list[str]:
        """Return the option-tags in Require that are not understood with this method, each once and as written.

        All that is understood concerns REGISTER (UAS-2); an OPTIONS asks what a REGISTER could.
        """
        concerned = request.method_id == METHOD_REGISTER or request.method_id == METHOD_OPTIONS
        known = self._extensions if concerned else frozenset()
        return [tag for tag in dict.fromkeys(request.require) if tag.lower() not in known]

    cdef bytes host(self, const Host* host, const unsigned char* octets):
        # In canonical form.  Nearly all requests name one host, so the last one is remembered as it was written.
        cdef Py_ssize_t n = host.text.length
        cdef bytes canonical
        if PyBytes_GET_SIZE(self._written) == n and memcmp(
            PyBytes_AS_STRING(self._written), &octets[host.text.start], n
        ) == 0:
            return self._canonical
        canonical = host_octets(host, octets)
        if canonical in self._hosts:
            self._written = PyBytes_FromStringAndSize(<const char*>&octets[host.text.start], n)
            self._canonical = canonical
        return canonical

    cdef int verdict(self, SipMessage request, bytes here=b"") except -1:
        cdef bytes host, aor_host
        if request.method_id == METHOD_ACK:
            return NO_ANSWER_
        if request.method not in self._methods:
            return UNKNOWN_METHOD_ if request.method_id == METHOD_UNKNOWN else METHOD_NOT_ALLOWED_
        if request.request_uri_value.text.length > self._max_uri:
            return URI_TOO_LONG_
        if request.request_uri_value.kind == SCHEME_OTHER:
            return UNSUPPORTED_SCHEME_
        host = self.host(&request.request_uri_value.host, base(request))
        if host not in self._hosts and (not here or host != here):
            return FOREIGN_DOMAIN_
        if request.has_require and self.unknown(request):
            return UNKNOWN_EXTENSION_
        if request.method_id != METHOD_REGISTER:
            return GO_ON_
        if request.to_uri.kind == SCHEME_OTHER:
            return AOR_NOT_SIP_
        if request.to_uri.text.length > self._max_uri:
            return AOR_OF_OTHER_DOMAIN_
        aor_host = self.host(&request.to_uri.host, base(request))
        if aor_host not in self._domains:
            return AOR_OF_OTHER_DOMAIN_
        # An address in the Request-URI names this server, whatever it serves.
        if request.request_uri_value.host.kind == HOST_NAME and host != aor_host and host in self._domains:
            return AOR_OF_OTHER_DOMAIN_
        return GO_ON_
