"""Dialogs of SUBSCRIBE: who talks to whom, in which order, and by which route (RFC 3261 section 12, RFC 6665).

Values only: a step forward is another dialog.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from reginfo.fast import HeaderTemplate, NameAddr, SipMessage, parse_uri, write_headers
from reginfo.sip.routing import Hop, next_hop, request_uri


class Dialog(msgspec.Struct, frozen=True, gc=False):
    """One side of a dialog (RFC 3261 section 12: what both sides keep)."""

    call_id: str
    local_uri: str
    local_tag: str
    remote_uri: str
    remote_tag: str
    "Empty towards a peer of RFC 2543, which has none (MSG-9)."
    target: str
    "Contact of the other side."
    routes: tuple[str, ...]
    "Route set in the order it is sent, each a value of Route."
    remote_cseq: int
    "CSeq of the last request of the other side."

    @property
    def is_secure(self) -> bool:
        """True if everything in it goes by sips."""
        return self.target[:5].lower() == "sips:"


class Way(msgspec.Struct, frozen=True, gc=False):
    """How a request inside a dialog gets to the other side."""

    uri: str
    "Request-URI."
    routes: tuple[str, ...]
    "Route values, in order."
    hop: Hop


def dialog_of(request: SipMessage, local_tag: str) -> Dialog:
    """Return the dialog that a request begins whose receiver answers under local_tag (RFC 3261 12.1.1).

    For the notifier that request is the SUBSCRIBE; for the subscriber, the first NOTIFY (RFC 6665 4.4.1).
    """
    return Dialog(
        call_id=request.call_id,
        local_uri=request.to.uri,
        local_tag=local_tag,
        remote_uri=request.from_.uri,
        remote_tag=request.from_.tag or "",
        target=request.contacts[0].uri,
        routes=tuple(map(route_value, request.record_routes)),
        remote_cseq=request.cseq,
    )


def route_value(route: NameAddr) -> str:
    """Return a value of Record-Route as it stands in a response and in Route, with its parameters."""
    parameters = (f";{name}" if value is None else f";{name}={value}" for name, value in route.parameters)
    return f"<{route.uri}>" + "".join(parameters)


def refreshed(dialog: Dialog, request: SipMessage) -> Dialog:
    """Return the dialog after a request of the other side; its Contact is the new target (DLG-6)."""
    return replace(dialog, target=target_of(request, dialog.target), remote_cseq=request.cseq)


def target_of(request: SipMessage, before: str) -> str:
    """Return where the other side is after a request of it: at its Contact, or where it was before if it has none."""
    return request.contacts[0].uri if request.contact_count and not request.contact_star else before


def way_of(dialog: Dialog) -> Way:
    """Return the way of the next request in a dialog (DLG-4); SipParseError if no route leads there."""
    return way_along(dialog.target, dialog.routes)


def way_along(remote_target: str, routes: tuple[str, ...]) -> Way:
    """Return the way to a remote target, loose or strict as the first route wants it (DLG-4, RFC 3261 12.2.1.1).

    SipParseError if no route leads there.
    """
    target = request_uri(remote_target)
    if not routes:
        return Way(target, (), next_hop(target))
    first = routes[0][1 : routes[0].index(">")]
    if any(name.lower() == "lr" for name, _ in parse_uri(first).parameters):
        return Way(target, routes, next_hop(first))
    return Way(request_uri(first), (*routes[1:], f"<{target}>"), next_hop(first))


_ROWS: Final = HeaderTemplate([("Max-Forwards", "70"), ("From", "<{}>;tag={}"), ("To", "<{}>{}"), ("Call-ID", "{}")])


def request_rows(dialog: Dialog, routes: tuple[str, ...]) -> bytes:
    """Return the rows every request of this side has but Via, CSeq and what its method adds (RFC 3261 12.2.1.1)."""
    tag = f";tag={dialog.remote_tag}" if dialog.remote_tag else ""
    rows = _ROWS.fill(dialog.local_uri, dialog.local_tag, dialog.remote_uri, tag, dialog.call_id)
    return rows + write_headers([("Route", route) for route in routes]) if routes else rows
