"""Where a response goes: RFC 3261 section 18.2.2 with RFC 3581 section 4.

Since every request gets `received` when its Via names anything but its source (TRN-3), the name look-ups of
RFC 3263 section 5 (TRN-5) never arise here: the address is always known.
"""

from ipaddress import ip_address

from reginfo.fast import Flow, SipMessage, SipParseError

DEFAULT_PORT = 5060
DEFAULT_TLS_PORT = 5061


def response_flow(request: SipMessage, flow: Flow) -> Flow:
    """Return the flow the response to request takes, request having come over flow (TRN-4).

    A reliable transport answers on its connection.  Over UDP maddr goes first, then the source port if the
    request asked for it (rport), else the port of the Via.
    """
    if flow.reliable or request.via_rport:
        return flow
    try:
        via = request.top_via
    except SipParseError:
        return flow  # a malformed request is refused where it came from
    if via.maddr is not None and _is_address(via.maddr):
        return flow.with_remote(via.maddr.strip("[]"), via.port or DEFAULT_PORT)
    port = via.port or DEFAULT_PORT
    return flow if port == flow.port else flow.reply(port)


def fallback_flow(request: SipMessage, flow: Flow) -> Flow:
    """Return where to connect for a response whose connection is gone (TRN-4): received, Via port or default."""
    via = request.top_via
    default = DEFAULT_TLS_PORT if via.transport.upper() == "TLS" else DEFAULT_PORT
    return flow.reply(via.port or default)


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    # A zone (RFC 4007) means something to the sender only, and RFC 3261 25.1 has none.
    return "%" not in host
