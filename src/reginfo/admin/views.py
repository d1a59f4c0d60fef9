"""Registrations and bindings as the JSON that control and command line show.

The contact fields carry the names Kamailio's `ul.dump` prints; what is not set is null there, never a
word like "[not set]".
"""

from collections.abc import Sequence
from typing import Final

from reginfo.admin.control import Json
from reginfo.fast import Binding, Registration

_UNKNOWN: Final = dict.fromkeys(
    ("Socket", "Methods", "Server-Id", "Tcpconn-Id", "Keepalive", "Last-Keepalive", "KA-Roundtrip")
)

LOCAL: Final = "local"  # origin of a binding made here


def registration_fields(
    registration: Registration, now_ms: int, bindings: Sequence[Binding] | None = None
) -> dict[str, Json]:
    """Return an AoR with its contacts, all of them unless bindings are given."""
    return {
        "AoR": registration.aor,
        "Id": registration.id,
        "Revision": registration.revision,
        "State": registration.state,
        "Contacts": [
            contact_fields(binding, now_ms) for binding in (registration.bindings if bindings is None else bindings)
        ],
    }


def contact_fields(binding: Binding, now_ms: int) -> dict[str, Json]:
    """Return one contact; `Registered` and `Last-Modified` are seconds of engine time.

    What Kamailio tells and nobody knows here is null; what is shown here is in the store, so in sync with it.
    """
    return {
        "Address": binding.uri,
        "Contact-Id": binding.contact_id,
        "Display-Name": binding.display_name or None,
        "Expires": binding.expires(now_ms),
        "Q": binding.q,
        "Call-ID": binding.call_id or None,
        "CSeq": binding.cseq,
        "User-Agent": binding.user_agent or None,
        "Received": binding.received or None,
        "Path": binding.path or None,
        "Instance": binding.instance or None,
        "Reg-Id": binding.reg_id or None,
        "Params": binding.params or None,
        "Flow": binding.flow or None,
        "Event": str(binding.event),
        "Origin": binding.origin or LOCAL,
        "Registered": binding.registered_at // 1000,
        "Last-Modified": binding.updated_at // 1000,
        "State": "CS_SYNC",
        "Flags": 0,
        "CFlags": 0,
        "Ruid": binding.contact_id,
        **_UNKNOWN,
    }
