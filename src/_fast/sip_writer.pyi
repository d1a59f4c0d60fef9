from collections.abc import Callable, Sequence

from reginfo._fast.datagrams import Flow
from reginfo._fast.sip_parser import SipMessage

def received_uri(request: SipMessage, source: Flow) -> str: ...
def write_response(
    request: SipMessage,
    status: int,
    reason: str | None = None,
    *,
    to_tag: str = "",
    source: Flow | None = None,
    headers: Sequence[tuple[str, str]] = (),
    listing: bytes | None = None,
    now_ms: int = 0,
    date: bytes = b"",
    body: bytes = b"",
    granted: bytes | None = None,
    mint: Callable[[int, bytes, int], bytes] | None = None,
) -> bytes: ...
def write_headers(headers: Sequence[tuple[str, str]]) -> bytes: ...
def write_request_rows(method: str, uri: str, via: str, rows: bytes, body: bytes = b"") -> bytes: ...
def write_request(method: str, uri: str, headers: Sequence[tuple[str, str]], body: bytes = b"") -> bytes: ...
