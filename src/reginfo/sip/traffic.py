"""Requests and responses as numbers, by words from closed sets: what a stranger may write is `other`."""

from typing import Final

from reginfo.fast import TRANSPORTS, Counters, RequestCounters

METHODS: Final = ("REGISTER", "OPTIONS", "NOTIFY", "CANCEL", "ACK", "INVITE", "MESSAGE", "PUBLISH", "SUBSCRIBE")
OTHER: Final = "other"

# Those that RFCs have given a meaning; who is hostile could answer with hundreds of others.
_CODES: Final = frozenset(
    {100, 180, 181, 182, 183, 199, 200, 202, 204, 300, 301, 302, 305, 380, 400, 401, 402, 403, 404, 405, 406, 407, 408}
    | {410, 412, 413, 414, 415, 416, 417, 420, 421, 422, 423, 424, 425, 428, 429, 430, 433, 436, 437, 438, 439, 440}
    | {469, 470, 480, 481, 482, 483, 484, 485, 486, 487, 488, 489, 491, 493, 494}
    | {500, 501, 502, 503, 504, 505, 513, 555, 580, 600, 603, 604, 606, 607, 608}
)


def request_counters() -> RequestCounters:
    """Return counters of requests by method and transport."""
    return RequestCounters([*METHODS, OTHER], TRANSPORTS)


def code_of(status: int) -> str:
    """Return the word for a status: itself, or its class (4xx) if no RFC has it."""
    return str(status) if status in _CODES else f"{status // 100}xx"


def status_counters() -> Counters:
    """Return counters of responses; the slot of a status is status - 100."""
    return Counters([str(status) for status in range(100, 700)])
