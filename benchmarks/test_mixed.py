"""Mixed traffic is what it says, and leads to what it says."""

from benchmarks.mixed import STEPS, WINDOW, contacts_at, measure, traffic
from reginfo.cli._peers import registrar
from reginfo.fast import parse_message


def test_mixed_traffic_has_every_step_and_client_and_leads_to_what_it_says() -> None:
    """The server holds what the generator has computed, or measure() raises."""
    offered = traffic(500, 5_000, seed=7)
    assert set(offered.steps) == {*STEPS, "register"}
    with registrar("memory") as peer:
        measure(peer, offered)
        assert contacts_at(peer) == offered.contacts
    assert traffic(500, 5_000, seed=7).requests == offered.requests
    messages = [parse_message(octets) for octets in offered.requests]
    assert {len(message.contacts) for message in messages} >= {0, 1, 3, 6}
    assert max(map(len, offered.requests)) > 1_200
    agents = {message.header("User-Agent") for message in messages}
    assert agents == {None, "reginfo-load", "desk/8.4", "c"}


def test_no_client_sends_while_it_may_wait_for_an_answer() -> None:
    callers = [parse_message(octets).call_id for octets in traffic(1_000, 3_000, seed=1).requests]
    assert all(callers[n] not in callers[max(0, n - WINDOW) : n] for n in range(len(callers)))
