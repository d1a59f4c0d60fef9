"""Writing the 200 of a REGISTER with its listing, beside the reference."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.test_parse import REGISTER
from reginfo.fast import Draft, Flow, parse_message, write_response
from tests.reference import sip_writer as reference

pytestmark = pytest.mark.benchmark(group="write")

NOW = 1_700_000_000_000
SOURCE = ("203.0.113.7", 40123)
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"


def test_write_register_ok_1_contact(benchmark: BenchmarkFixture) -> None:
    request = parse_message(REGISTER)
    draft = Draft(request.aor, None, NOW)
    draft.bind(request, 0, 600, 600, "", NOW)
    draft.finish("register")
    flow = Flow("udp", ("127.0.0.1", 5060), SOURCE)
    record = draft.record

    def write() -> bytes:
        return write_response(
            request, 200, to_tag="71bd33c0", source=flow, listing=record, now_ms=NOW, date=DATE.encode()
        )

    answer = parse_message(benchmark(write))
    assert [(contact.uri, contact.expires) for contact in answer.contacts] == [
        ("sip:alice@192.0.2.10:5060;transport=udp", 600)
    ]


def test_write_register_ok_1_contact_reference(benchmark: BenchmarkFixture) -> None:
    headers = [("Contact", "<sip:alice@192.0.2.10:5060;transport=udp>;expires=600;q=0.8"), ("Date", DATE)]

    def write() -> bytes:
        return reference.response(
            REGISTER, "SIP/2.0 200 OK", to_tag="71bd33c0", source=SOURCE, headers=headers, body=b""
        )

    assert parse_message(benchmark(write)).contact_count == 1
