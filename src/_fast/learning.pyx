"""What a reginfo document says of one address-of-record, laid into a draft as rows of who says it (RIC-5, ESC-6)."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memset

from reginfo._fast._record cimport Q_UNSPECIFIED, RowHead
from reginfo._fast.binding cimport Binding, learned_binding, learned_in, unseen_ended_in
from reginfo._fast.reginfo_xml cimport ReginfoContact, ReginfoRegistration

from reginfo._fast.errors import SipParseError

cdef enum:
    ACTIVE = 1                  # of a registration, as reginfo_xml has it
    REFRESHED = 2               # events, in the order of rows and documents
    EXPIRED = 4                 # this one and those behind it end a contact
    UNREGISTERED = 7

cdef enum:
    MAX_EXPIRES_S = 30 * 86400  # whatever another server says, its word is good for so long (RIC-10)
    MAX_U32 = 0xFFFFFFFF


def learn_registration(
    draft: object,
    said: ReginfoRegistration,
    origin: str,
    *,
    full: cython.bint,
    until_ms: int64_t,
    now_ms: int64_t,
    mirror: cython.bint = False,
) -> None:
    """Make the rows of an origin what it says; contacts it names for no time last until until_ms.

    A full document, or a registration that is not active, ends the rows of the origin that it does not name.  What
    cannot be a contact is passed over (RIC-10).
    """
    learn_in(draft, said, origin, full, until_ms, now_ms, mirror)


cdef int learn_in(
    object draft, ReginfoRegistration said, str origin, bint full, int64_t until_ms, int64_t now_ms, bint mirror
) except -1:
    cdef ReginfoContact contact
    cdef int event
    for contact in said.contacts:
        try:
            if contact.active and said._state == ACTIVE:
                event = REFRESHED if contact._event < 0 else contact._event
                learned_in(draft, binding_of(contact, origin, event, until_ms, contact._expires, now_ms), mirror)
            else:
                event = UNREGISTERED if contact._event < EXPIRED else contact._event
                draft.unlearn(binding_of(contact, origin, event, now_ms, contact._retry_after, now_ms), mirror)
        except (SipParseError, ValueError):
            continue
    if full or said._state != ACTIVE:
        unseen_ended_in(draft, origin, UNREGISTERED)
    return 0


cdef Binding binding_of(
    ReginfoContact contact, str origin, int event, int64_t until_ms, int64_t requested, int64_t now_ms
):
    # A contact as a row; SipParseError or ValueError if it cannot be one.
    cdef RowHead head
    memset(&head, 0, sizeof(head))
    head.event = <uint8_t>event
    head.expires_at = until_ms
    if contact._expires >= 0:
        head.expires_at = now_ms + 1000 * min(contact._expires, <int64_t>MAX_EXPIRES_S)
    head.requested = <uint32_t>min(max(requested, <int64_t>0), <int64_t>MAX_U32)
    if 0 <= contact._cseq <= <int64_t>MAX_U32:
        head.cseq = <uint32_t>contact._cseq
    head.q = Q_UNSPECIFIED if contact._q < 0 else contact._q
    head.registered_at = max(<int64_t>1, now_ms - 1000 * min(max(contact._duration, <int64_t>0), now_ms // 1000))
    head.updated_at = max(<int64_t>1, now_ms - min(max(contact._age, <int64_t>0), now_ms))
    return learned_binding(
        &head,
        contact.uri,
        contact.display_name or "",
        contact.call_id or "",
        contact.params,
        contact.path,
        contact.received,
        contact.flow,
        contact.user_agent,
        origin,
    )
