"""Log lines: one event, one line, as key=value (logfmt) or JSON, on standard error.

A message is written `logger.info("register refused aor=%s status=%d", aor, status)`: the words are the event,
the `name=%s` pairs behind them become fields of their own.  Values cannot forge a line or a field: whatever
is not plain printable ASCII is escaped, and a value with a space, quote or equals sign is quoted.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal, TextIO

# " key=%s" at the end of a message template, and any conversion inside the event's words.
_FIELDS = re.compile(r"(?: \w+=%[sdr])+\Z")
_NAME = re.compile(r" (\w+)=")
_PLAIN = re.compile(r"[!#-<>-\[\]-~]+")  # printable ASCII but space, quote, equals sign, backslash


def configure(level: str, form: Literal["logfmt", "json"], stream: TextIO | None = None) -> None:
    """Send every record of `level` and above to `stream`, standard error unless given."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else LogfmtFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class LogfmtFormatter(logging.Formatter):
    """`ts=2026-01-02T03:04:05.678Z level=info event=registered aor=sip:alice@example.com`"""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{name}={_quoted(value)}" for name, value in _fields(self, record))


class JsonFormatter(logging.Formatter):
    """The same fields as one JSON object; numbers stay numbers."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(dict(_fields(self, record))).replace("\x7f", "\\u007f")


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> Iterator[tuple[str, str | int]]:
    yield "ts", datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    yield "level", record.levelname.lower()
    template, arguments = str(record.msg), record.args
    match = _FIELDS.search(template)
    if match and isinstance(arguments, tuple):
        names = _NAME.findall(match[0])
        first = len(arguments) - len(names)
        yield "event", template[: match.start()] % arguments[:first]
        for name, value in zip(names, arguments[first:], strict=True):
            if value is not None:
                yield name, value if isinstance(value, int) else str(value)
    else:
        yield "event", record.getMessage()
    if record.exc_info:
        yield "exception", formatter.formatException(record.exc_info)


def _quoted(value: str | int) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text).replace("\x7f", "\\u007f")
