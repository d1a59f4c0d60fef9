"""The first two consumers of the feed: figures and log lines."""

import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo.admin.contact_counts import ContactCounts
from reginfo.admin.event_log import LogConsumer
from reginfo.fast import Binding, Change, Draft, Registration

NOW_MS = 1_700_000_000_000
USERS = ("sip:alice@example.com", "sip:bob@example.com")
CONTACTS = ("sip:a@192.0.2.7", "sip:b@192.0.2.7;transport=TCP", "sips:c@192.0.2.7")


class Journal:
    """A table and the changes that made it."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS
        self.records: dict[str, bytes] = {}
        self.changes: list[Change] = []

    def change(self, aor: str, apply: Callable[[Draft], object], cause: str = "operator") -> None:
        draft = Draft(aor, self.records.get(aor), self.now_ms)
        apply(draft)
        change = draft.finish(cause)
        if change is not None:
            self.changes.append(change)
            self.records.pop(aor, None)
            if change.record:
                self.records[aor] = change.record

    def add(self, aor: str, uri: str, seconds: int = 60, cause: str = "operator") -> None:
        binding = Binding(uri=uri, call_id="1@host", cseq=1, expires_at=self.now_ms + seconds * 1000)
        self.change(aor, lambda draft: draft.add(binding), cause)

    def remove(self, aor: str, uri: str | None) -> None:
        self.change(aor, lambda draft: draft.remove(uri, "deactivated"))

    def expire(self, aor: str) -> None:
        self.change(aor, lambda draft: draft.expire(self.now_ms), "expiry")

    def gauges(self) -> tuple[int, int]:
        return len(self.records), sum(len(Registration(record)) for record in self.records.values())


def gauges(metrics: ContactCounts) -> tuple[int, int]:
    return metrics.registered_aors, metrics.contacts


@pytest.mark.parametrize(
    ("uri", "transport"),
    [
        ("sip:a@192.0.2.7", "udp"),
        ("sip:a@192.0.2.7;lr;Transport=TCP", "tcp"),
        ("sip:a@192.0.2.7;transport=tls", "tls"),
        ("sips:a@192.0.2.7", "tls"),
        ("sips:a@192.0.2.7;transport=tcp", "tls"),
        ("sip:a@df7jal23ls0d.invalid;transport=ws", "ws"),
        ("sips:a@df7jal23ls0d.invalid;transport=ws", "wss"),
        ("sip:a@192.0.2.7;transport=sctp", "other"),
        ("sip:a@192.0.2.7;transport=%22%0a", "other"),
        ("sip:a@192.0.2.7;transport=%74cp", "tcp"),
        ("sip:a@192.0.2.7;%74ransport=tcp", "tcp"),
        ("tel:+15550100", "other"),
    ],
)
def test_contacts_are_counted_by_the_transport_they_ask_for(uri: str, transport: str) -> None:
    """Words from a closed set, whatever a phone writes."""
    journal = Journal()
    journal.add(USERS[0], uri)
    read, reset = ContactCounts(), ContactCounts()
    read.read(journal.changes)
    reset.reset(map(Registration, journal.records.values()))
    for counts in (read, reset):
        assert {word: count for word, count in counts.by_transport.items() if count} == {transport: 1}
    journal.remove(USERS[0], uri)
    read.read(journal.changes[1:])
    assert read.contacts == 0


def test_a_contact_written_in_another_way_is_the_same_one() -> None:
    """RFC 3261 section 19.1.4: an escape is what it stands for, and the newest spelling is kept."""
    journal = Journal()
    for uri in ("sip:a@192.0.2.7;transport=tcp", "sip:a@192.0.2.7;transport=%74cp", "sip:a@192.0.2.7;%74ransport=tcp"):
        journal.add(USERS[0], uri)
    journal.remove(USERS[0], "sip:a@192.0.2.7;transport=tcp")
    counts = ContactCounts()
    counts.read(journal.changes)
    assert set(counts.by_transport.values()) == {0}


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "clear", "expire"]), st.sampled_from(USERS), st.sampled_from(CONTACTS)),
    max_size=30,
)


@given(steps=STEPS, crashes=st.lists(st.integers(0, 30), max_size=3))
def test_gauges_equal_the_table_after_any_crash(steps: list[tuple[str, str, str]], crashes: list[int]) -> None:
    """After a crash a consumer goes on from the state that was saved with its cursor."""
    journal = Journal()
    for number, (step, aor, uri) in enumerate(steps):
        journal.now_ms += 7_000
        if step == "add":
            journal.add(aor, uri, seconds=10 + number)
        elif step == "remove":
            journal.remove(aor, uri)
        elif step == "clear":
            journal.remove(aor, None)
        else:
            journal.expire(aor)

    metrics = ContactCounts()
    cursor, state = 0, metrics.state()
    for crash in sorted(crashes):
        metrics.read(journal.changes[cursor:crash])
        if crash % 2:
            cursor, state = max(cursor, min(crash, len(journal.changes))), metrics.state()
        metrics = ContactCounts()
        metrics.restore(state)
    metrics.read(journal.changes[cursor:])
    assert gauges(metrics) == journal.gauges()

    undisturbed = ContactCounts()
    undisturbed.read(journal.changes)
    assert undisturbed.events == metrics.events


def test_events_are_counted_by_name() -> None:
    journal = Journal()
    journal.add(USERS[0], CONTACTS[0])
    journal.add(USERS[0], CONTACTS[1])
    journal.now_ms += 61_000
    journal.expire(USERS[0])
    metrics = ContactCounts()
    metrics.read(journal.changes)
    assert {event: count for event, count in metrics.events.items() if count} == {"created": 2, "expired": 2}
    assert gauges(metrics) == (0, 0)


def test_refreshes_are_counted_and_change_no_gauge() -> None:
    journal = Journal()
    journal.add(USERS[0], CONTACTS[0])
    for _ in range(3):
        journal.now_ms += 1_000
        journal.add(USERS[0], CONTACTS[0])
    metrics = ContactCounts()
    metrics.read(journal.changes)
    assert (metrics.events["created"], metrics.events["refreshed"]) == (1, 3)
    assert gauges(metrics) == (1, 1)


def test_a_reset_takes_the_gauges_from_the_full_state_and_keeps_the_events() -> None:
    journal = Journal()
    journal.add(USERS[0], CONTACTS[0])
    metrics = ContactCounts()
    metrics.read(journal.changes)
    journal.add(USERS[1], CONTACTS[0])
    journal.add(USERS[1], CONTACTS[1])
    metrics.reset(map(Registration, journal.records.values()))
    assert gauges(metrics) == journal.gauges() == (2, 3)
    assert metrics.events["created"] == 1


@pytest.mark.parametrize("state", [b"", b"\x00", b"\x81\xa1a\x01"])
def test_a_state_that_is_none_is_an_error(state: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        ContactCounts().restore(state)


def logged(caplog: pytest.LogCaptureFixture, level: int, changes: list[Change]) -> list[str]:
    caplog.clear()
    consumer = LogConsumer()
    consumer.restore(consumer.state())
    with caplog.at_level(level, logger="reginfo.admin.event_log"):
        consumer.read(changes)
    return [record.getMessage() for record in caplog.records]


def test_each_contact_event_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal()
    journal.add(USERS[0], CONTACTS[0])
    journal.add(USERS[0], CONTACTS[1])
    journal.now_ms += 61_000
    journal.expire(USERS[0])
    lines = logged(caplog, logging.INFO, journal.changes)
    assert [line.split(" callid")[0] for line in lines] == [
        f"created aor={USERS[0]} contact={CONTACTS[0]}",
        f"created aor={USERS[0]} contact={CONTACTS[1]}",
        f"expired aor={USERS[0]} contact={CONTACTS[0]}",
        f"expired aor={USERS[0]} contact={CONTACTS[1]}",
    ]
    assert all(" callid=1@host " in line for line in lines)
    assert " cause=expiry method=None code=None " in lines[-1]


def test_what_ended_with_its_flow_has_not_run_out(caplog: pytest.LogCaptureFixture) -> None:
    """OUT-6: both are `expired` to watchers; an operator wants to know which."""
    journal = Journal()
    binding = Binding(uri=CONTACTS[0], call_id="1@host", expires_at=NOW_MS + 60_000, flow="tcp:192.0.2.7:40000#1")
    journal.change(USERS[0], lambda draft: draft.add(binding))
    journal.change(USERS[0], lambda draft: draft.end_flow(binding.flow), "flow")
    *_, line = logged(caplog, logging.INFO, journal.changes)
    assert line.startswith("expired ")
    assert line.endswith(" cause=flow method=None code=None src=tcp:192.0.2.7:40000#1")


@pytest.mark.parametrize("method", ["REGISTER", "PUBLISH", "NOTIFY"])
def test_what_a_request_did_is_logged_at_debug_only(caplog: pytest.LogCaptureFixture, method: str) -> None:
    """Nothing above DEBUG for an accepted request."""
    cause = method.lower()
    journal = Journal()
    journal.add(USERS[0], CONTACTS[0], cause=cause)
    journal.now_ms += 1_000
    journal.add(USERS[0], CONTACTS[0], cause=cause)
    journal.change(USERS[0], lambda draft: draft.remove(None, "unregistered"), cause)
    assert logged(caplog, logging.INFO, journal.changes) == []
    lines = logged(caplog, logging.DEBUG, journal.changes)
    assert [line.split()[0] for line in lines] == ["created", "refreshed", "unregistered"]
    assert all(f" cause={cause} method={method} code=200 " in line for line in lines)


def test_what_an_operator_did_is_logged_at_info(caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal()
    journal.add(USERS[0], CONTACTS[0])
    journal.now_ms += 1_000
    journal.add(USERS[0], CONTACTS[0])
    journal.remove(USERS[0], None)
    lines = logged(caplog, logging.INFO, journal.changes)
    assert [line.split()[0] for line in lines] == ["created", "refreshed", "deactivated"]
    assert all(" cause=operator method=None code=None " in line for line in lines)


def test_an_expiry_is_logged_at_info_also_where_a_register_found_it(caplog: pytest.LogCaptureFixture) -> None:
    """A REGISTER may come before the timer: the contact that ran out leaves in its change (REG-17)."""
    journal = Journal()
    journal.add(USERS[0], CONTACTS[0], seconds=10)
    journal.now_ms += 11_000
    journal.add(USERS[0], CONTACTS[1], cause="register")
    [line] = logged(caplog, logging.INFO, journal.changes[1:])
    assert line.startswith(f"expired aor={USERS[0]} contact={CONTACTS[0]} ")
    assert " cause=expiry method=None code=None " in line


def test_a_beginning_without_events_is_said(caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal()
    journal.add(USERS[0], CONTACTS[0])
    with caplog.at_level(logging.INFO, logger="reginfo.admin.event_log"):
        LogConsumer().reset(map(Registration, journal.records.values()))
    assert [record.getMessage() for record in caplog.records] == ["contact events begin after the full state aors=1"]


def test_a_new_store_is_no_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="reginfo.admin.event_log"):
        LogConsumer().reset(())
    assert not caplog.records
