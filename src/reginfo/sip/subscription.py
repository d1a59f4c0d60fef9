"""Subscriptions of RFC 6665: what ends one, what a subscriber does next, and how both are said.

Pure tables and functions; who holds subscriptions asks them.
"""

from enum import Enum
from typing import Final

from reginfo.fast import SubscriptionState
from reginfo.model import Outcome

PACKAGE: Final = "reg"
"The event package of RFC 3680; compared octet by octet (SUB-1)."

ALLOW_EVENTS: Final = ("Allow-Events", PACKAGE)
BAD_EVENT: Final = Outcome(489, headers=(ALLOW_EVENTS,))
"What any other package gets (SUB-2, ESC-1)."

DOCUMENT_TYPE: Final = "application/reginfo+xml"

DEFAULT_EXPIRES: Final = 3761  # seconds; RFC 3680 section 4.4

TIMER_N_MS: Final = 32_000
"64*T1 from sending SUBSCRIBE to the NOTIFY that has to follow (RFC 6665 section 4.1.2.4)."

ENDS_SUBSCRIPTION: Final = frozenset({404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604})
"Answers to NOTIFY or to a refresh after which there is no subscription any more (SUB-9, SUB-16)."


class Renewal(Enum):
    """What a subscriber does when its subscription has been terminated (SUB-18, RFC 6665 section 4.1.3)."""

    NOW = "now"
    "In a new dialog, at once."
    LATER = "later"
    "In a new dialog, after retry-after, or after a back-off if none was given."
    NEVER = "never"


_RENEWALS: Final = {
    "deactivated": Renewal.NOW,
    "timeout": Renewal.NOW,
    "probation": Renewal.LATER,
    "giveup": Renewal.LATER,
    "rejected": Renewal.NEVER,
    "noresource": Renewal.NEVER,
    "invariant": Renewal.NEVER,
}


def renewal_after(state: SubscriptionState) -> tuple[Renewal, int]:
    """Return what to do after a terminated Subscription-State, and the seconds to wait if it says so (SUB-18)."""
    renewal = _RENEWALS.get((state.reason or "").lower(), Renewal.LATER)
    return renewal, (state.retry_after or 0) if renewal is Renewal.LATER else 0


def accepts_documents(accept: list[str], present: bool) -> bool:
    """Tell whether an Accept covers the one document there is (SUB-2, REV-2); absent, it does."""
    if not present:
        return True
    ranges = {value.partition(";")[0].strip().lower() for value in accept}
    return bool(ranges & {DOCUMENT_TYPE, "application/*", "*/*"})


def back_off_s(failures: int, chance: float, base_s: int = 30) -> float:
    """Return the seconds to wait after so many failures in a row: half to all of min(1800, base * 2^n) (OUT-9).

    chance is drawn from 0 to 1.
    """
    longest: float = min(1800, base_s << min(failures, 16))
    return longest * (0.5 + chance / 2)
