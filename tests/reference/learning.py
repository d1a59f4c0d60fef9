"""What a reginfo document says of one address-of-record, laid into a draft, on the properties of its contacts."""

from typing import Final

from reginfo.fast import Binding, Draft, ReginfoContact, ReginfoRegistration, SipParseError
from reginfo.model import ContactEvent

MAX_EXPIRES_S: Final = 30 * 86_400  # whatever another server says, its word is good for so long (RIC-10)
MAX_CSEQ: Final = 2**32 - 1

_ENDS: Final = frozenset(str(event) for event in ContactEvent if event.terminates)


def learn_registration(
    draft: Draft,
    said: ReginfoRegistration,
    origin: str,
    *,
    full: bool,
    until_ms: int,
    now_ms: int,
    mirror: bool = False,
) -> None:
    """Make the rows of an origin what it says; contacts it names for no time last until until_ms.

    A full document, or a registration that is not active, ends the rows of the origin that it does not name.  What
    cannot be a contact is passed over (RIC-10).
    """
    for contact in said.contacts:
        try:
            if contact.state == "active" and said.state == "active":
                draft.learn(_binding(contact, origin, "", until_ms, now_ms), mirror)
            else:
                ended = contact.event if contact.event in _ENDS else ContactEvent.UNREGISTERED
                draft.unlearn(_binding(contact, origin, ended, now_ms, now_ms), mirror)
        except (SipParseError, ValueError):
            continue
    if full or said.state != "active":
        draft.end_unseen(origin, ContactEvent.UNREGISTERED)


def _binding(contact: ReginfoContact, origin: str, ended: str | None, until_ms: int, now_ms: int) -> Binding:
    """Return a contact as a row, ended by an event or not; SipParseError or ValueError if it cannot be one."""
    expires = contact.expires
    requested = contact.retry_after if ended else expires
    return Binding(
        uri=contact.uri,
        expires_at=until_ms if expires is None else now_ms + 1000 * min(expires, MAX_EXPIRES_S),
        call_id=contact.call_id or "",
        cseq=contact.cseq if contact.cseq is not None and contact.cseq <= MAX_CSEQ else 0,
        q=contact.q,
        params=contact.params,
        display_name=contact.display_name or "",
        path=contact.path,
        received=contact.received,
        flow=contact.flow,
        user_agent=contact.user_agent,
        origin=origin,
        event=ended or contact.event or ContactEvent.REFRESHED,
        requested=min(requested or 0, 2**32 - 1),
        registered_at=max(1, now_ms - 1000 * min(contact.duration_registered or 0, now_ms // 1000)),
        updated_at=max(1, now_ms - min(contact.age_ms or 0, now_ms)),
    )
