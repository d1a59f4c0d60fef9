"""Which NOTIFY is taken for what a subscription is told (RFC 6665 section 4.1.3, SUB-17)."""

from typing import Final

from reginfo.fast import Flow, SipMessage
from reginfo.model import Outcome
from reginfo.roles.subscriber.subscription import Subscription
from reginfo.sip.admission import UNKNOWN_ENCODING, is_encoded
from reginfo.sip.peers import Peers
from reginfo.sip.subscription import BAD_EVENT, DOCUMENT_TYPE, PACKAGE

NO_CONTACT: Final = Outcome(400, "Contact: exactly one is needed")

_NO_SUBSCRIPTION: Final = Outcome(481)
_OLD_CSEQ: Final = Outcome(500, "CSeq is lower than that of the last request")
_NO_STATE: Final = Outcome(400, "Subscription-State is missing or malformed")
_NOT_THE_PEER: Final = Outcome(403, "Not the server that was subscribed at")
_NO_DOCUMENT: Final = Outcome(415, headers=(("Accept", DOCUMENT_TYPE),))


def refuse(request: SipMessage, flow: Flow, subscription: Subscription | None, peers: Peers) -> Outcome | None:
    """Return the refusal owed to a NOTIFY with the Call-ID of a subscription; nothing of its body is looked at."""
    if subscription is None or request.to.tag != subscription.tag:
        return _NO_SUBSCRIPTION
    dialog = subscription.dialog
    if dialog is not None and dialog.remote_tag != (request.from_.tag or ""):
        return _NO_SUBSCRIPTION  # another branch of a fork (SUB-14)
    event = request.event
    if event is None or event.package != PACKAGE:
        return BAD_EVENT
    if event.id is not None:
        return _NO_SUBSCRIPTION
    if subscription.peer is not None and not peers.may_be(subscription.peer, flow):
        return _NOT_THE_PEER
    if dialog is not None and request.cseq < subscription.remote_cseq:
        return _OLD_CSEQ
    state = request.subscription_state
    if state is None or not state.state:
        return _NO_STATE
    if request.body and is_encoded(request):
        return UNKNOWN_ENCODING
    if request.body and not _is_document(request):
        return _NO_DOCUMENT
    if dialog is None and request.contact_count != 1:
        return NO_CONTACT
    return None


def _is_document(request: SipMessage) -> bool:
    return (request.content_type or "").partition(";")[0].strip().lower() == DOCUMENT_TYPE
