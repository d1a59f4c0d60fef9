"""Refusals in the log: one line each, so many a second."""

import logging

import pytest

from reginfo.sip.refusals import LINES_PER_SECOND
from tests.harness import PHONE, House, contact, request


@pytest.fixture
def house(caplog: pytest.LogCaptureFixture) -> House:
    caplog.set_level(logging.INFO)
    return House(expires_jitter=0.0)


def test_a_refused_register_is_one_line_with_its_reason(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.register("Contact: *")
    assert [record.getMessage() for record in caplog.records] == [
        "register refused aor=sip:alice@example.com callid=call-1 method=REGISTER code=400 "
        "reason=Contact * needs Expires: 0 src=udp:192.0.2.10:5060"
    ]
    assert caplog.records[0].levelno == logging.INFO


def test_what_is_malformed_is_told_as_far_as_it_can_be_read(house: House, caplog: pytest.LogCaptureFixture) -> None:
    octets = request("REGISTER", contact()).replace(b"To: <sip:alice@example.com>", b"To: <sip:")
    house.engine.receive([(octets, PHONE)], house.now())
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("register refused aor=None callid=None method=REGISTER code=400 reason=")


def test_accepted_registers_and_other_methods_are_no_lines(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.register(contact())
    house.ask(request("FLY"))
    house.ask(request("OPTIONS", "Require: foo"))
    assert not caplog.records


@pytest.mark.parametrize(("refused", "too_many"), [(LINES_PER_SECOND, 0), (LINES_PER_SECOND + 1, 1)])
def test_lines_of_a_second_at_their_limit_and_beyond(
    house: House, caplog: pytest.LogCaptureFixture, refused: int, too_many: int
) -> None:
    for _ in range(refused):
        house.register("Contact: *")
    assert len(caplog.records) == LINES_PER_SECOND
    house.sleep(1)
    house.register("Contact: *")
    lines = [record.getMessage() for record in caplog.records[LINES_PER_SECOND:]]
    assert lines[:-1] == ([f"refusals not logged count={too_many}"] if too_many else [])
    assert lines[-1].startswith("register refused ")
