"""What is heard within a subscription to the registrations of another server, NOTIFY by NOTIFY (RFC 6665 4.1.3).

Nearly all of them are like the one before: in the same dialog, from the same place, with one more document about the
one address-of-record, in a subscription that goes on.  Those are recognised and heard here; a NOTIFY that is new in
anything but that, or bad, is left to whoever keeps the subscription, and nothing has changed then.
"""

cimport cython
from libc.stdint cimport int64_t
from libc.string cimport memcmp

from reginfo._fast._chars cimport DIGIT, is_word, octet_is
from reginfo._fast._cursor cimport (
    Cursor,
    Span,
    accept,
    at_end,
    cursor_of,
    is_span,
    is_text,
    left,
    peek,
    skip,
    skip_lws,
    take,
)
from reginfo._fast.datagrams cimport UDP, Flow
from reginfo._fast.reginfo_view cimport ReginfoView, is_next_about, take_document
from reginfo._fast.reginfo_xml cimport Reginfo, ReginfoRegistration, read_reginfo
from reginfo._fast.sip_parser cimport (
    HEADER_CONTENT_ENCODING,
    HEADER_CONTENT_TYPE,
    HEADER_EVENT,
    HEADER_SUBSCRIPTION_STATE,
    METHOD_NOTIFY,
    SipMessage,
    base,
)

from reginfo._fast.errors import SipParseError
from reginfo._fast.uri import canonical_aor


cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF     # what is not due at all
NEVER_MS = NEVER

cdef enum:
    MAX_DIGITS = 9                  # of seconds that are taken as they are
    NOT_LIKE_THE_LAST = -1

REFRESH_AHEAD_MS = REFRESH_AHEAD


def refresh_delay_ms(granted: cython.longlong) -> int:
    """Return the milliseconds until a grant of so many seconds is refreshed: 32 seconds before its end, at half time if
    it is short (SUB-15)."""
    return refresh_delay(granted)


@cython.auto_pickle(False)
cdef class Subscribed:
    """What the NOTIFYs of one subscription read and move.  Instants are milliseconds of engine time."""

    def __init__(
        self, uri: str, aor: str, origin: str, expires: int64_t, stale_grace_ms: int64_t, mirrors: bool, entitled: bool
    ) -> None:
        """expires are the seconds asked for; entitled is whether the server may say something about the AoR (RIC-10).

        stale_grace_ms is for how long what was learned is kept when nothing is heard any more (RIC-9).
        """
        self.uri = uri
        self.aor = aor
        self.origin = origin
        self.expires = expires
        self.stale_grace_ms = stale_grace_ms
        self.mirrors = mirrors
        self.is_entitled = entitled
        self.view = ReginfoView()
        self.tag = ""
        self.expires_at = self.refresh_at = self.retry_at = self.timer_n = self.ended_at = self.timer_at = NEVER

    def enter(self, remote_tag: str, target: str, cseq: int, host: str | None) -> None:
        """Be in the dialog that a NOTIFY belongs to.

        host is where it came from if it came over UDP: what is there is taken for the server from now on.
        """
        self.remote_tag = remote_tag
        self.remote_target = target
        self.remote_cseq = cseq
        self.host = host

    def leave(self) -> None:
        """Be in no dialog."""
        self.remote_tag = None
        self.expires_at = self.refresh_at = self.timer_n = NEVER

    def lasts(self, seconds: int64_t, now_ms: int64_t) -> None:
        """Take for how long it is granted from now on."""
        last(self, seconds, now_ms)

    @property
    def stale_at(self) -> int:
        """When what was learned is not kept any longer."""
        return self.stale()

    @property
    def timer_n_due(self) -> int:
        """When timer N is due; not while a SUBSCRIBE is under way, which may be to the next server by then (DNS-5)."""
        return self.timer_n_due_()

    @property
    def next_due(self) -> int:
        """The instant of the first timer."""
        return self.first_due()

    def believed_until(self, now_ms: int64_t) -> int:
        """Return until when a contact is believed of which no time was told (RFC 3680 section 5.3: expires may be
        left out): as long as the subscription, or what it has left behind, or as was asked for if none was granted."""
        if self.expires_at == NEVER and self.stale() == NEVER:
            return now_ms + self.expires * 1000
        return min(self.expires_at, self.stale())

    cdef int64_t stale(self) noexcept:
        return NEVER if self.ended_at == NEVER else self.ended_at + self.stale_grace_ms

    cdef int64_t first_due(self) noexcept:
        return min(self.expires_at, self.refresh_at, self.retry_at, self.stale(), self.timer_n_due_())

    cdef int64_t timer_n_due_(self) noexcept:
        return NEVER if self.is_busy else self.timer_n

    cdef int64_t told_seconds(self, SipMessage request, Flow flow) except -2:
        # For how long a NOTIFY like the last one says that the subscription goes on, else NOT_LIKE_THE_LAST.
        cdef const unsigned char* octets = base(request)
        cdef Span value
        if (
            not self.is_active
            or not self.is_entitled
            or self.remote_tag is None
            or request.method_id != METHOD_NOTIFY
            or request.cseq < self.remote_cseq
            or request.body_span.length == 0
            or request.contact_count != 1
            or request.first[HEADER_CONTENT_ENCODING]
            or flow.kind != UDP
            or self.host is None
            or not is_text(self.host, <const unsigned char*>flow.host_octets, flow.host_length)
            or not is_span(self.tag, octets, request.to_value.tag)
            or not is_span(self.remote_tag, octets, request.from_value.tag)
            or not is_span(self.remote_target, octets, request.contact[0].uri)
        ):
            return NOT_LIKE_THE_LAST
        value = value_of(request, HEADER_EVENT)
        if value.length != 3 or memcmp(&octets[value.start], b"reg", 3) != 0:
            return NOT_LIKE_THE_LAST
        value = value_of(request, HEADER_CONTENT_TYPE)
        if value.length != 23 or not is_word(&octets[value.start], b"application/reginfo+xml", 23):
            return NOT_LIKE_THE_LAST
        return active_seconds(octets, value_of(request, HEADER_SUBSCRIPTION_STATE))

    cdef Reginfo hear(self, SipMessage request, int64_t seconds, int64_t now_ms, Py_ssize_t max_octets):
        # The document of such a NOTIFY, once the subscription has followed it; None if there is more to it.
        cdef Reginfo document
        cdef ReginfoRegistration said
        try:
            document = read_reginfo(request.body, max_octets)
            if len(document.registrations) != 1:
                return None
            said = document.registrations[0]
            if said.aor != self.uri and said.aor != self.aor and canonical_aor(said.aor) != self.aor:
                return None
            if not is_next_about(said, document, self.view):
                return None
            take_document(document, self.view)
        except SipParseError:
            return None
        self.refetched = False
        self.remote_cseq = request.cseq
        self.timer_n = self.ended_at = NEVER
        last(self, seconds, now_ms)
        return document


cdef inline void last(Subscribed subscribed, int64_t seconds, int64_t now_ms) noexcept:
    subscribed.expires_at = now_ms + 1000 * seconds
    subscribed.refresh_at = now_ms + refresh_delay(seconds)


cdef inline Span value_of(SipMessage request, int header) noexcept:
    cdef Span none
    if request.first[header]:
        return request.row[request.first[header] - 1].value
    none.start = none.length = 0
    return none


cdef inline bint skip_word(Cursor* cur, const char* word, Py_ssize_t n) noexcept nogil:
    return left(cur) >= n and is_word(cur.pos, <const unsigned char*>word, n) and skip(cur, n)


cdef int64_t active_seconds(const unsigned char* octets, Span value) noexcept nogil:
    # Of "active;expires=" with seconds and nothing else (RFC 6665 section 8.4).
    cdef Cursor cur = cursor_of(octets, value)
    cdef int64_t seconds = 0
    if not skip_word(&cur, b"active", 6):
        return NOT_LIKE_THE_LAST
    skip_lws(&cur)
    if not accept(&cur, c";"):
        return NOT_LIKE_THE_LAST
    skip_lws(&cur)
    if not skip_word(&cur, b"expires", 7) or not accept(&cur, c"=") or not 0 < left(&cur) <= MAX_DIGITS:
        return NOT_LIKE_THE_LAST
    while not at_end(&cur):
        if not octet_is(<unsigned char>peek(&cur), DIGIT):
            return NOT_LIKE_THE_LAST
        seconds = 10 * seconds + take(&cur) - 0x30
    return seconds
