"""Responses written line by line: RFC 3261 section 8.2.6.2, RFC 3581 section 4."""

import ipaddress
import re
from collections.abc import Sequence

COPIED = {
    "via": "Via",
    "v": "Via",
    "from": "From",
    "f": "From",
    "to": "To",
    "t": "To",
    "call-id": "Call-ID",
    "i": "Call-ID",
    "cseq": "CSeq",
}


def rows_of(octets: bytes) -> list[tuple[str, str]]:
    """Return the header rows of a message, unfolded."""
    head = octets.partition(b"\r\n\r\n")[0].decode()
    lines = re.sub(r"[ \t]*\r\n[ \t]+", " ", head).split("\r\n")[1:]
    return [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]


def split_unquoted(text: str, separator: str) -> list[str]:
    """Split at a separator that is not part of a quoted-string."""
    return re.findall(rf'(?:[^{separator}"]|"(?:[^"\\]|\\.)*")+', text)


def marked_via(value: str, host: str, port: int) -> str:
    """Return a Via row whose first value says where the request came from."""
    top, *others = split_unquoted(value, ",")
    first, *params = split_unquoted(top, ";")
    names = [param.strip().lower() for param in params]
    sent_by = first.split()[-1]
    sent_host = sent_by.partition("]")[0].strip("[") if sent_by.startswith("[") else sent_by.partition(":")[0]
    try:
        differs = ipaddress.ip_address(sent_host) != ipaddress.ip_address(host)
    except ValueError:
        differs = True
    if "rport" in names or differs:
        params = [param for param in params if param.partition("=")[0].strip().lower() != "received"]
        params = [f"rport={port}" if param.strip().lower() == "rport" else param for param in params]
        params.append(f"received={host}")
    return ",".join([";".join([first, *params]), *others])


def response(
    request: bytes,
    status_line: str,
    *,
    to_tag: str,
    source: tuple[str, int],
    headers: Sequence[tuple[str, str]],
    body: bytes,
) -> bytes:
    """Return the response to a well-formed request."""
    lines = [status_line]
    top = True
    for name, row in rows_of(request):
        known = COPIED.get(name.lower())
        if known is None:
            continue
        value = row
        if known == "Via" and top:
            value = marked_via(value, *source)
            top = False
        tagged = re.search(r";\s*tag\s*=", value.rpartition(">")[2], re.IGNORECASE)
        if known == "To" and not tagged and " 100 " not in status_line:
            value += f";tag={to_tag}"
        lines.append(f"{known}: {value}")
    lines += [f"{name}: {value}" for name, value in headers]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body
