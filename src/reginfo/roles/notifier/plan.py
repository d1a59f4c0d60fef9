"""What a SUBSCRIBE comes to: the subscription it begins, or as it will be once this one is answered 200."""

from msgspec import structs

from reginfo.fast import NUMBER_BLOCK
from reginfo.model import Now
from reginfo.roles.notifier.subscription import Saved, Subscription, encode
from reginfo.sip.dialog import dialog_of, target_of, way_along
from reginfo.sip.incoming import Incoming
from reginfo.sip.routing import own_contact


class Plan:
    """The subscription under an id, with the record its watcher is told of; seconds as granted, 0 to end it."""

    __slots__ = ("expires", "id", "octets", "record", "saved")

    def __init__(self, id: str, saved: Saved, expires: int, record: bytes | None) -> None:
        self.id = id
        self.saved = saved
        self.octets = encode(saved)
        self.expires = expires
        self.record = record


def plan_of(
    work: Incoming, id: str, known: Subscription | None, granted: int, peer: str, record: bytes | None, now: Now
) -> Plan:
    """Return what a SUBSCRIBE makes of the subscription it belongs to, or begins (RFC 6665 section 4.2.1).

    SipParseError if no NOTIFY could ever get to its Contact.
    """
    request = work.request
    expires_at = now.ms + granted * 1000
    if known is not None and request.to.tag is not None:
        before = known.saved
        target = target_of(request, before.target)
        saved = structs.replace(before, target=target, remote_cseq=request.cseq, expires_at=expires_at)
    else:
        dialog = dialog_of(request, id)
        secure = request.request_uri[:5].lower() == "sips:" or dialog.is_secure
        saved = Saved(
            aor=work.aor,
            call_id=dialog.call_id,
            local_uri=dialog.local_uri,
            remote_uri=dialog.remote_uri,
            remote_tag=dialog.remote_tag,
            target=dialog.target,
            routes=dialog.routes,
            remote_cseq=dialog.remote_cseq,
            contact=own_contact(work.flow, secure=secure),
            event_id=request.event.id if request.event else None,
            watcher=work.sender.identity,
            peer=peer,
            expires_at=expires_at,
            reserved=NUMBER_BLOCK,
        )
    way_along(saved.target, saved.routes)
    return Plan(id, saved, granted, record)
