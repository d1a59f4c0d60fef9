"""Outbound: whether a REGISTER binds a flow of an instance instead of a URI (RFC 5626 section 6)."""

from ipaddress import ip_address
from typing import Final

from reginfo.fast import SipMessage, parse_uri
from reginfo.model import Outcome

OPTION_TAG: Final = "outbound"

UNTOLD_TIMER: Final = 120  # seconds in which a phone sends a keep-alive that was told no Flow-Timer (section 4.4.1)
FLOW_GRACE: Final = 30  # seconds beyond Flow-Timer until a silent connection is dead: a keep-alive may be under way

_ONE_FLOW_AT_A_TIME: Final = Outcome(400, "reg-id beside another Contact")
_FIRST_HOP_LACKS_OUTBOUND: Final = Outcome(439)


def is_direct(request: SipMessage) -> bool:
    """Tell whether a request came from its user agent without a proxy between (OUT-1)."""
    return request.via_count == 1


def is_behind_nat(request: SipMessage, source: str) -> bool:
    """Tell whether a Contact names another host than the one the request came from, an IP literal."""
    return any(not _is_host(parse_uri(one.uri).host or "", source) for one in request.contacts)


def _is_host(host: str, address: str) -> bool:
    try:
        return ip_address(host.strip("[]")) == ip_address(address)
    except ValueError:  # a name
        return False


def judge(request: SipMessage, *, any_path: bool = False) -> bool | Outcome:
    """Return whether the reg-id of a REGISTER counts, or the refusal it is owed (OUT-1 to OUT-3).

    any_path also takes `ob` on a Path URI of another proxy than the first one.
    """
    contacts = request.contacts
    lasting = [one for one in contacts if (request.expires if one.expires is None else one.expires) != 0]
    if len(lasting) > 1 and any(one.reg_id for one in lasting):
        return _ONE_FLOW_AT_A_TIME
    if not any(one.reg_id and one.instance for one in contacts):
        return False
    if OPTION_TAG not in map(str.lower, request.supported):
        return False
    if is_direct(request) or _first_hop_has_ob(request, any_path):
        return True
    return _FIRST_HOP_LACKS_OUTBOUND


def _first_hop_has_ob(request: SipMessage, any_path: bool) -> bool:
    hops = request.path  # each proxy puts itself on top, so the first hop is the last one
    return any(_has_ob(hop.uri) for hop in (hops if any_path else hops[-1:]))


def _has_ob(uri: str) -> bool:
    return any(name.lower() == "ob" for name, _ in parse_uri(uri).parameters or ())
