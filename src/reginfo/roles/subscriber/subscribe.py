"""The header rows of a SUBSCRIBE (RFC 6665 section 4.1.2, SUB-13)."""

from collections.abc import Callable

from reginfo.fast import write_headers
from reginfo.roles.subscriber.subscription import State, Subscription
from reginfo.sip.dialog import Way, request_rows
from reginfo.sip.subscription import DOCUMENT_TYPE, PACKAGE


def subscribe_rows(
    subscription: Subscription, way: Way | None, identity: str, named: str, contact: str, here: Callable[[], str]
) -> bytes:
    """Return the rows of the SUBSCRIBE that has the number of the subscription.

    way is that of its dialog, if it has one.  identity is From outside a dialog and contact our Contact; where they are
    empty, the address that here() says it leaves from.  named is what both are by configuration, or empty.
    """
    if subscription.dialog is None or way is None:
        transport = subscription.hop.transport
        headers = [
            ("Max-Forwards", "70"),
            ("From", f"<{identity or f'sip:reginfo@{here()}'}>;tag={subscription.tag}"),
            ("To", f"<{subscription.uri}>"),
            ("Call-ID", subscription.call_id),
        ]
        rows = write_headers(headers)
    else:
        transport = way.hop.transport
        rows = request_rows(subscription.dialog, way.routes)
    if transport == "tls" and not named:
        contact = f"sips:reginfo@{here()}"
    return rows + write_headers(
        [
            ("CSeq", f"{subscription.cseq} SUBSCRIBE"),
            ("Contact", f"<{named or contact or f'sip:reginfo@{here()}'}>"),
            ("Event", PACKAGE),
            ("Accept", DOCUMENT_TYPE),
            ("Expires", str(0 if subscription.state is State.ENDING else subscription.expires)),
        ]
    )
