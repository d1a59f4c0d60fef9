"""Where a response goes whose connection is gone: RFC 3261 section 18.2.2.

Since every request gets `received` when its Via names anything but its source (TRN-3), the name look-ups of
RFC 3263 section 5 (TRN-5) never arise: the address is always known.
"""

from reginfo.fast import Flow, SipMessage

DEFAULT_PORT = 5060
DEFAULT_TLS_PORT = 5061


def fallback_flow(request: SipMessage, flow: Flow) -> Flow:
    """Return where to connect (TRN-4): received, at the port of the Via or the default one."""
    via = request.top_via
    default = DEFAULT_TLS_PORT if via.transport.upper() == "TLS" else DEFAULT_PORT
    return flow.reply(via.port or default)
