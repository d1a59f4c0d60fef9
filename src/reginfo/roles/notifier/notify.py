"""The header rows of a NOTIFY (RFC 6665 section 4.2.2)."""

from typing import Final

from reginfo.fast import HeaderTemplate
from reginfo.roles.notifier.subscription import Saved, Subscription
from reginfo.sip.dialog import Way, request_rows
from reginfo.sip.subscription import DOCUMENT_TYPE, PACKAGE

_ROWS: Final = HeaderTemplate(
    [
        ("CSeq", "{} NOTIFY"),
        ("Contact", "{}"),
        ("Event", PACKAGE + "{}"),
        ("Subscription-State", "{}"),
        ("Content-Type", DOCUMENT_TYPE),
    ]
)


def notify_rows(subscription: Subscription, saved: Saved, way: Way, now_ms: int) -> bytes:
    """Return the rows of the NOTIFY that has the number of the subscription."""
    if subscription.ending is None:
        state = f"active;expires={max(0, subscription.expires_at - now_ms) // 1000}"
    else:
        state = f"terminated;reason={subscription.ending}"
    event_id = "" if saved.event_id is None else f";id={saved.event_id}"
    rows = _ROWS.fill(str(subscription.cseq), saved.contact, event_id, state)
    return request_rows(saved.dialog(subscription.id), way.routes) + rows
