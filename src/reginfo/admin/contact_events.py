"""Contact events as JSON, the same for webhooks and the event stream.

What is not set is null.  Times are RFC 3339, in UTC with milliseconds.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from reginfo.admin.control import Json
from reginfo.admin.views import LOCAL
from reginfo.fast import Binding, Change

WallMs = Callable[[int], int]
"Milliseconds of engine time -> milliseconds since the epoch."


def event_key(seq: int, index: int) -> str:
    """Return what an event is known by: the number of its change, and its place among the contacts of that."""
    return f"{seq}-{index}"


def event_fields(change: Change, index: int, binding: Binding, event: str, wall_ms: WallMs) -> dict[str, Json]:
    """Return what happened to the contact that is at index in change.contacts; the same whenever it is asked for."""
    return {
        "seq": change.seq,
        "id": event_key(change.seq, index),
        "aor": change.aor,
        "event": event,
        "cause": change.cause,
        "origin": change.origin or LOCAL,
        "time": _time(wall_ms(change.at_ms)),
        "contact": contact_fields(binding, change.at_ms, wall_ms),
    }


def contact_fields(binding: Binding, now_ms: int, wall_ms: WallMs) -> dict[str, Json]:
    """Return one contact as it is at an engine time."""
    return {
        "id": binding.contact_id,
        "uri": binding.uri,
        "display_name": binding.display_name or None,
        "expires": binding.expires(now_ms),
        "q": binding.q,
        "call_id": binding.call_id or None,
        "cseq": binding.cseq,
        "user_agent": binding.user_agent or None,
        "received": binding.received or None,
        "path": binding.path or None,
        "instance": binding.instance or None,
        "reg_id": binding.reg_id or None,
        "params": binding.params or None,
        "flow": binding.flow or None,
        "event": str(binding.event),
        "origin": binding.origin or LOCAL,
        "registered": _time(wall_ms(binding.registered_at)),
        "updated": _time(wall_ms(binding.updated_at)),
    }


def _time(wall_ms: int) -> str:
    return datetime.fromtimestamp(wall_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
