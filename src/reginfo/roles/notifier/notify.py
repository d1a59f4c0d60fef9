"""The header rows of a NOTIFY (RFC 6665 section 4.2.2)."""

from reginfo.fast import write_headers
from reginfo.roles.notifier.subscription import Saved, Subscription
from reginfo.sip.dialog import Way, request_headers
from reginfo.sip.subscription import DOCUMENT_TYPE, PACKAGE


def notify_rows(subscription: Subscription, saved: Saved, way: Way, now_ms: int) -> bytes:
    """Return the rows of the NOTIFY that has the number of the subscription."""
    if subscription.ending is None:
        left = max(0, subscription.expires_at - now_ms) // 1000
        state = f"active;expires={left}"
    else:
        state = f"terminated;reason={subscription.ending}"
    return write_headers(
        [
            *request_headers(saved.dialog(subscription.id), way.routes),
            ("CSeq", f"{subscription.cseq} NOTIFY"),
            ("Contact", saved.contact),
            ("Event", PACKAGE if saved.event_id is None else f"{PACKAGE};id={saved.event_id}"),
            ("Subscription-State", state),
            ("Content-Type", DOCUMENT_TYPE),
        ]
    )
