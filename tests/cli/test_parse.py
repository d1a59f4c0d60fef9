"""`reginfo parse`: a message as JSON, or one line that says what is wrong."""

import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run

REGISTER = (
    b"REGISTER sip:example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK1;rport\r\n"
    b'To: "Alice" <sip:alice@example.com>\r\n'
    b"From: <sip:alice@example.com>;tag=1\r\n"
    b"Call-ID: 1@host\r\n"
    b"CSeq: 4 REGISTER\r\n"
    b"Max-Forwards: 70\r\n"
    b'Contact: <sip:alice@192.0.2.7>;q=0.5;expires=60;+sip.instance="<urn:x>";x=y, <sip:b@192.0.2.8>\r\n'
    b"Expires: 7200\r\n"
    b"Content-Length: 0\r\n"
    b"\r\n"
)


def test_a_request_is_printed_with_its_values(run: Run) -> None:
    Path("message").write_bytes(REGISTER)
    ran = run("parse", "message")
    assert (ran.code, ran.err) == (0, "")
    document = json.loads(ran.out)
    assert (document["method"], document["request_uri"]) == ("REGISTER", "sip:example.com")
    assert document["via"] == [
        {"transport": "UDP", "host": "192.0.2.7", "port": 5060, "branch": "z9hG4bK1", "received": None, "rport": 0}
    ]
    assert document["to"] == {"display_name": "Alice", "uri": "sip:alice@example.com", "parameters": {}}
    assert document["from"]["parameters"] == {"tag": "1"}
    assert document["cseq"] == {"number": 4, "method": "REGISTER"}
    assert [contact["uri"] for contact in document["contacts"]] == ["sip:alice@192.0.2.7", "sip:b@192.0.2.8"]
    assert (document["contacts"][0]["q"], document["contacts"][0]["expires"]) == (0.5, 60)
    assert document["contacts"][1]["q"] is None
    assert document["expires"] == 7200
    assert [row["name"] for row in document["headers"]][:2] == ["Via", "To"]


def test_standard_input_is_read_for_a_dash(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.stdin", io.TextIOWrapper(io.BytesIO(REGISTER.replace(b"Contact: <", b"Contact: *\r\nX: <")))
    )
    assert json.loads(run("parse", "-").out)["contacts"] == "*"


def test_a_response_has_a_status(run: Run) -> None:
    Path("message").write_bytes(
        b"SIP/2.0 200 OK\r\n"
        + REGISTER.partition(b"\r\n")[2].replace(b"Content-Length: 0", b"Content-Length: 2")
        + b"hi"
    )
    document = json.loads(run("parse", "message").out)
    assert (document["status"], document["reason"], document["body"]) == (200, "OK", "hi")
    assert "method" not in document


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (REGISTER.replace(b"CSeq: 4 REGISTER", b"CSeq: x REGISTER"), "a request like it is answered 400"),
        (b"SIP/2.0 200 OK\r\n\r\n", "it is dropped unanswered"),
    ],
)
def test_a_malformed_message_is_one_line_with_reason_offset_and_answer(run: Run, octets: bytes, text: str) -> None:
    Path("message").write_bytes(octets)
    ran = run("parse", "message")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("reginfo: message: ")
    assert " at octet " in ran.err
    assert ran.err.endswith(f"; {text}\n")
    assert ran.err.count("\n") == 1


def test_a_file_that_is_missing_is_wrong_usage(run: Run) -> None:
    ran = run("parse", "absent")
    assert ran.code == 2
    assert "No such file" in ran.err
