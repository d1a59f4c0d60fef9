"""Counting what changes did to contacts, against a loop over what they say they did."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo.fast import Binding, Change, Draft, tally_contacts
from reginfo.model import ContactEvent

NOW_MS = 1_700_000_000_000
AORS = ("sip:alice@example.com", "sip:bob@example.com")
CONTACTS = (
    "sip:a@192.0.2.7",
    "SIP:a@192.0.2.8",
    "sip:t@192.0.2.7:5060;ob",
    "sip:b@192.0.2.7;transport=tcp",
    "sip:b@192.0.2.7;TRANSPORT=udp",
    "sip:transport@192.0.2.7",
    "sip:c@transport.example",
    "sips:c@192.0.2.7",
    "tel:+15551234",
    "sip:t",
)


@given(
    st.lists(st.tuples(st.sampled_from(AORS), st.sampled_from(["add", "remove", "expire"]), st.sampled_from(CONTACTS)))
)
def test_contacts_are_counted_as_the_changes_tell_them(steps: list[tuple[str, str, str]]) -> None:
    records: dict[str, bytes] = {}
    changes: list[Change] = []
    for number, (aor, step, uri) in enumerate(steps):
        now_ms = NOW_MS + 25_000 * number
        draft = Draft(aor, records.get(aor), now_ms)
        if step == "add":
            draft.add(Binding(uri=uri, call_id="1@host", cseq=number, expires_at=now_ms + 60_000))
        elif step == "remove":
            draft.remove(None, "unregistered")
        else:
            draft.expire(now_ms)
        change = draft.finish("operator")
        if change is not None:
            changes.append(change)
            records[aor] = change.record
            if not change.record:
                del records[aor]
    events: Counter[str] = Counter()
    more: Counter[str] = Counter()
    for change in changes:
        for binding, event in change.contacts:
            events[event] += 1
            more[binding.uri] += {"registered": 1, "created": 1}.get(event, -ContactEvent(event).terminates)
    counted, aors, plain, others = tally_contacts(changes)
    assert dict(zip(ContactEvent, counted, strict=True)) == {event: events[event] for event in ContactEvent}
    assert aors == len(records)
    found: Counter[str] = Counter()
    for uri, one in others:
        found[uri] += one
    surely_plain = {uri for uri in CONTACTS if uri.startswith("sip:") and "transport" not in uri.lower()}
    assert plain == sum(more[uri] for uri in surely_plain)
    assert {uri: one for uri, one in found.items() if one} == {
        uri: one for uri, one in more.items() if one and uri not in surely_plain
    }


def test_nothing_is_counted_of_no_changes() -> None:
    assert tally_contacts([]) == ([0] * len(ContactEvent), 0, 0, [])


@pytest.mark.parametrize(
    "uri",
    ["sip:a@192.0.2.7;%74ransport=tcp", "sip:a@192.0.2.7;transport", "sip:a@192.0.2.7;xtransport=1", "sip:atransport"],
)
def test_whatever_might_say_a_transport_is_looked_at(uri: str) -> None:
    draft = Draft(AORS[0], None, NOW_MS)
    draft.add(Binding(uri=uri, call_id="1@host", cseq=1, expires_at=NOW_MS + 60_000))
    change = draft.finish("operator")
    assert change is not None
    assert tally_contacts([change])[2:] == (0, [(uri, 1)])
