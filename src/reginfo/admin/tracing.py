"""Message traces as the JSON that control and command line show, and what they ask of who keeps them."""

from datetime import UTC, datetime
from typing import Final, Protocol

from reginfo.admin.control import Json
from reginfo.model import TracedMessage, TraceStatus

MAX_TRACE_SECONDS: Final = 86_400
MAX_TRACE_MESSAGES: Final = 1_000_000
MAX_TRACE_WAIT: Final = 5.0  # seconds a call may wait for news: less than its client waits for an answer


class Tracing(Protocol):
    """All traces of a server."""

    def start(self, wanted: str, seconds: int, count: int, is_exported: bool) -> TraceStatus:
        """Begin a trace; ValueError if it cannot be."""

    def stop(self, id: int) -> bool:
        """End a trace; False if there is none of that id."""

    def status(self) -> list[TraceStatus]:
        """Return how every trace stands."""

    async def read(self, id: int, after: int, wait: float) -> tuple[TraceStatus, int, list[TracedMessage]] | None:
        """Return how a trace stands, the next number to ask with, and messages behind that number."""


def trace_fields(trace: TraceStatus) -> dict[str, Json]:
    """Return how a trace stands; `Seconds` and `Count` are what is left, and the bound, of its life."""
    return {
        "Id": trace.id,
        "Trace": trace.wanted,
        "State": "running" if trace.is_running else "ended",
        "Seconds": trace.seconds,
        "Count": trace.max_messages,
        "Messages": trace.messages,
        "HEP": trace.is_exported,
    }


def traced_fields(message: TracedMessage) -> dict[str, Json]:
    """Return one message; octets that are no UTF-8 are escaped as in Python (`\\xff`)."""
    return {
        "Time": datetime.fromtimestamp(message.time, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "Direction": "out" if message.is_sent else "in",
        "Transport": message.transport,
        "Source": _where(message.source),
        "Destination": _where(message.destination),
        "Message": message.octets.decode(errors="backslashreplace"),
    }


def _where(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
