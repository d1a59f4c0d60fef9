"""Log lines: one event is one line, and no value can forge another."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from reginfo.admin import logs

HOSTILE = 'x\r\nts=0 level=error event=forged aor="sip:root@example.com"\x00\x1b[2J\x7f\x85\u2028\ud800\\'


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield logging.getLogger("reginfo.test")
    root.handlers[:] = handlers
    root.setLevel(level)


def fields(line: str) -> dict[str, str]:
    """Split a logfmt line into its fields, as a log collector does."""
    found = {}
    while line:
        name, _, rest = line.partition("=")
        if rest.startswith('"'):
            value, end = json.JSONDecoder().raw_decode(rest)
            line = rest[end:].removeprefix(" ")
        else:
            value, _, line = rest.partition(" ")
        assert name not in found
        found[name] = value
    return found


def test_event_and_fields_come_from_the_message_template(logger: logging.Logger) -> None:
    stream = io.StringIO()
    logs.configure("info", "logfmt", stream)
    logger.warning("register refused aor=%s status=%d reason=%s", "sip:alice@example.com", 403, "Too many contacts")
    logged = fields(stream.getvalue().removesuffix("\n"))
    assert logged.pop("ts").endswith("Z")
    assert logged == {
        "level": "warning",
        "event": "register refused",
        "aor": "sip:alice@example.com",
        "status": "403",
        "reason": "Too many contacts",
    }


def test_json_has_the_same_fields_with_their_types(logger: logging.Logger) -> None:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    logger.info("%s aor=%s code=%d src=%s", "registered", "sip:alice@example.com", 200, None)
    logged = json.loads(stream.getvalue())
    assert logged.pop("ts").endswith("Z")
    assert logged == {"level": "info", "event": "registered", "aor": "sip:alice@example.com", "code": 200}


@pytest.mark.parametrize("form", ["logfmt", "json"])
@pytest.mark.parametrize("template", ["register refused aor=%s", "register refused %s", "%s aor=sip:alice@example.com"])
def test_control_octets_are_escaped_so_that_one_event_is_one_line(
    logger: logging.Logger, form: str, template: str
) -> None:
    """SEC-5: output never splits CR/LF from data (header injection, here into logs)."""
    stream = io.StringIO()
    logs.configure("info", "json" if form == "json" else "logfmt", stream)
    logger.info(template, HOSTILE)
    written = stream.getvalue()
    assert written.count("\n") == 1
    assert written[:-1].isascii()
    assert written[:-1].isprintable()
    logged = json.loads(written) if form == "json" else fields(written[:-1])
    assert logged["level"] == "info"
    assert template.replace("%s", HOSTILE) in (logged["event"], f"register refused aor={logged.get('aor')}")


def test_nothing_below_the_level_is_written(logger: logging.Logger) -> None:
    stream = io.StringIO()
    logs.configure("warning", "logfmt", stream)
    logger.info("quiet")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_an_exception_stays_on_its_line(logger: logging.Logger, form: str) -> None:
    stream = io.StringIO()
    logs.configure("info", "json" if form == "json" else "logfmt", stream)
    try:
        raise ValueError("bad\nnews")
    except ValueError:
        logger.exception("failed")
    written = stream.getvalue()
    assert written.count("\n") == 1
    assert "ValueError: bad" in written


def test_a_message_without_fields_is_all_event(logger: logging.Logger) -> None:
    stream = io.StringIO()
    logs.configure("info", "logfmt", stream)
    logger.info("100% sure a=b")
    assert fields(stream.getvalue()[:-1])["event"] == "100% sure a=b"
