"""Bindings, drafts and changes (standards.md: REG-6, REG-10, REG-11, REG-13, REG-16, REG-17, URI-4, REV-8, XML-9)."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo.fast import (
    ADDED,
    REFRESHED,
    REMOVED,
    STALE,
    UNCHANGED,
    Binding,
    Change,
    Draft,
    GruuIndexes,
    Registration,
    SipParseError,
    beyond_refreshes,
    bound_flows,
    kept_items,
    parse_message,
    piece_end,
    record_revision,
)
from reginfo.model import ContactEvent
from tests.fast.sip import register
from tests.reference.binding import Asked, ReferenceDraft, Row, contact_id, registration_id

AOR = "sip:alice@example.org"
NOW = 1_000_000
VERDICTS = {ADDED: "ADDED", REFRESHED: "REFRESHED", REMOVED: "REMOVED", UNCHANGED: "UNCHANGED", STALE: "STALE"}
PHONE = "sip:alice@192.0.2.1:5060"
INSTANCES = (
    "urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF",
    "URN:UUID:00000000-0000-1000-8000-aabbccddeeff",
    "urn:example:a%2fb",
    "urn:EXAMPLE:a%2Fb",
    "urn:example:A%2fb",
    "mac:AA",
    "mac:aa",
)
FLOWS = ("", "tcp:192.0.2.1:5060#1", "tcp:192.0.2.1:5060#12", "udp:192.0.2.1:5060/192.0.2.9:5060")
INSTANCE = ';+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>";reg-id=1'


def bound(*uris: str, now_ms: int = NOW, call_id: str = "c1@192.0.2.1", cseq: int = 1) -> bytes:
    """Return the record of an AoR with these contacts, bound for 60 s."""
    draft = Draft(AOR, None, now_ms)
    request = register(*(f"<{uri}>" for uri in uris), call_id=call_id, cseq=cseq)
    for index in range(len(uris)):
        assert draft.bind(request, index, 60, 60, "", now_ms) == ADDED
    change = draft.finish("register")
    assert change is not None
    return change.record


def finished(draft: Draft, cause: str = "register") -> Change:
    change = draft.finish(cause)
    assert change is not None
    return change


def told(change: Change) -> list[tuple[str, str]]:
    """Return what a change tells: URI and event of each contact."""
    return [(binding.uri, event) for binding, event in change.contacts]


# -- one contact -------------------------------------------------------------------------------------------


def test_a_contact_is_bound_as_the_request_says() -> None:
    """REG-10, REG-12, REG-14: everything a listing or a watcher needs is kept, as written."""
    request = register(
        f'"Alice \\"A\\" L" <{PHONE};transport=tcp>{INSTANCE};q=0.25;expires=600;methods="INVITE, BYE"',
        extra=("Path: <sip:p1.example.org;lr>", "User-Agent: Phone 1.0", "Path: <sip:p2.example.org;lr>"),
    )
    draft = Draft(AOR, None, NOW)
    flow = "udp:198.51.100.7:1024"
    assert draft.bind(request, 0, 300, 600, "sip:198.51.100.7:1024", NOW, flow, outbound=True) == ADDED
    [(binding, event)] = finished(draft).contacts
    assert event == binding.event == "registered"
    assert binding.uri == f"{PHONE};transport=tcp"
    assert binding.display_name == 'Alice "A" L'
    assert binding.q == 0.25
    assert binding.params == f'{INSTANCE};methods="INVITE, BYE"'
    assert binding.instance == "urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF"
    assert binding.reg_id == 1
    assert binding.path == "<sip:p1.example.org;lr>, <sip:p2.example.org;lr>"
    assert binding.user_agent == "Phone 1.0"
    assert binding.received == "sip:198.51.100.7:1024"
    assert binding.flow == "udp:198.51.100.7:1024"
    assert (binding.call_id, binding.cseq, binding.requested) == ("c1@192.0.2.1", 1, 600)
    assert (binding.registered_at, binding.updated_at, binding.expires_at) == (NOW, NOW, NOW + 300_000)
    assert binding.origin == ""


def test_a_refresh_keeps_identity_and_takes_everything_else_from_the_request() -> None:
    """REG-10, XML-9: a URI written differently is still the same contact."""
    draft = Draft(AOR, bound("sip:alice@HOST.example.org"), NOW + 5000)
    [before] = Registration(bound("sip:alice@HOST.example.org")).bindings
    request = register("<sip:alice@host.example.org>;q=1", call_id="other", cseq=1)
    assert draft.bind(request, 0, 60, 60, "", NOW + 5000) == REFRESHED
    change = finished(draft)
    assert change.only_refreshes
    [(binding, event)] = change.contacts
    assert event == "refreshed"
    assert binding.contact_id == before.contact_id
    assert binding.registered_at == NOW
    assert binding.updated_at == NOW + 5000
    assert (binding.uri, binding.q, binding.call_id) == ("sip:alice@host.example.org", 1.0, "other")


@pytest.mark.parametrize(
    ("call_id", "cseq", "requested", "seconds", "verdict"),
    [
        ("c1@192.0.2.1", 6, 60, 60, REFRESHED),
        ("c1@192.0.2.1", 5, 60, 60, UNCHANGED),
        ("c1@192.0.2.1", 5, 60, 59, UNCHANGED),
        ("c1@192.0.2.1", 5, 61, 60, STALE),
        ("c1@192.0.2.1", 4, 60, 60, STALE),
        ("c1@192.0.2.1", 6, 0, 0, REMOVED),
        ("c1@192.0.2.1", 5, 0, 0, STALE),
        ("c1@192.0.2.1", 4, 0, 0, STALE),
        ("C1@192.0.2.1", 4, 60, 60, REFRESHED),
        ("C1@192.0.2.1", 4, 0, 0, REMOVED),
    ],
)
def test_call_id_and_cseq_decide(call_id: str, cseq: int, requested: int, seconds: int, verdict: int) -> None:
    """REG-10, REG-11: another Call-ID or a higher CSeq acts; an equal request is a retransmission; else stale."""
    record = bound(PHONE, cseq=5)
    draft = Draft(AOR, record, NOW)
    request = register(f"<{PHONE}>", call_id=call_id, cseq=cseq)
    assert draft.bind(request, 0, seconds, requested, "", NOW) == verdict
    assert draft.changed == (verdict in (REFRESHED, REMOVED))
    assert (draft.finish("register") is None) == (verdict in (UNCHANGED, STALE))


@pytest.mark.parametrize("contact", [f"<{PHONE}>;q=0.5", f"<{PHONE}>;methods=INVITE"])
def test_the_same_cseq_with_other_values_is_stale(contact: str) -> None:
    """REG-10: a retransmission says the same; anything else needs a higher CSeq."""
    draft = Draft(AOR, bound(PHONE, cseq=5), NOW)
    assert draft.bind(register(contact, cseq=5), 0, 60, 60, "", NOW) == STALE


def test_removing_what_is_not_bound_changes_nothing() -> None:
    """REG-10: expiry 0 without a binding is no failure."""
    draft = Draft(AOR, None, NOW)
    assert draft.bind(register(f"<{PHONE}>"), 0, 0, 0, "", NOW) == UNCHANGED
    assert draft.finish("register") is None


def test_a_removed_contact_leaves_with_the_call_id_and_cseq_that_removed_it() -> None:
    """XML-8, REV-8: callid and cseq are those of the last REGISTER."""
    draft = Draft(AOR, bound(PHONE, "sip:b@192.0.2.2"), NOW)
    assert draft.bind(register(f"<{PHONE}>", call_id="another-and-longer-one", cseq=9), 0, 0, 0, "", NOW + 1) == REMOVED
    change = finished(draft)
    [(binding, event)] = change.contacts
    assert (event, binding.event) == ("unregistered", "unregistered")
    assert (binding.call_id, binding.cseq, binding.updated_at) == ("another-and-longer-one", 9, NOW + 1)
    assert [binding.uri for binding in change.after.bindings] == ["sip:b@192.0.2.2"]
    assert not change.only_refreshes


def test_folded_texts_are_stored_in_one_line() -> None:
    """MSG-4, SEC-5: a fold is one SP; nothing in a record can end a line."""
    request = register(
        f'"Alice\r\n L" <{PHONE}>', extra=("User-Agent: one\r\n\t two", "Path: <sip:a;lr>,\r\n <sip:b;lr>")
    )
    draft = Draft(AOR, None, NOW)
    draft.bind(request, 0, 60, 60, "", NOW)
    change = finished(draft)
    [(binding, _)] = change.contacts
    assert (binding.display_name, binding.user_agent, binding.path) == ("Alice L", "one two", "<sip:a;lr>, <sip:b;lr>")
    assert b"\r" not in change.record[80:]


def test_an_unreadable_user_agent_is_not_stored() -> None:
    """MSG-1, MSG-8: a header that is not needed is ignored when it is not UTF-8."""
    octets = register(f"<{PHONE}>", extra=("User-Agent: caf?",)).octets.replace(b"caf?", b"caf\xe9")
    draft = Draft(AOR, None, NOW)
    draft.bind(parse_message(octets), 0, 60, 60, "", NOW)
    [(binding, _)] = finished(draft).contacts
    assert binding.user_agent == ""


@pytest.mark.parametrize("index", [-1, 1, 31, 2**40])
def test_only_contacts_of_the_request_are_bound(index: int) -> None:
    with pytest.raises(IndexError):
        Draft(AOR, None, NOW).bind(register(f"<{PHONE}>"), index, 60, 60, "", NOW)


@pytest.mark.parametrize("n", [32, 33])
def test_the_contacts_a_message_holds_are_the_first_32(n: int) -> None:
    """SEC-5: contacts beyond the limit are counted, not held."""
    request = register(*(f"<sip:u{i}@192.0.2.1>" for i in range(n)))
    draft = Draft(AOR, None, NOW)
    assert draft.bind(request, 31, 60, 60, "", NOW) == ADDED
    with pytest.raises(IndexError):
        draft.bind(request, 32, 60, 60, "", NOW)


def test_a_star_is_no_contact() -> None:
    """REG-6: `*` is for clear()."""
    with pytest.raises(IndexError):
        Draft(AOR, None, NOW).bind(register("*", extra=("Expires: 0",)), 0, 0, 0, "", NOW)


# -- outbound ----------------------------------------------------------------------------------------------


def flow_contact(uri: str = PHONE, reg_id: int = 1, instance: str = INSTANCES[0]) -> str:
    return f'<{uri}>;+sip.instance="<{instance}>";reg-id={reg_id}'


def with_flows(*reg_ids: int, flow: str = FLOWS[1]) -> Draft:
    """Return a draft of one instance with these flows, all of one URI."""
    draft = Draft(AOR, None, NOW)
    for cseq, reg_id in enumerate(reg_ids, 1):
        request = register(flow_contact(reg_id=reg_id), cseq=cseq)
        assert draft.bind(request, 0, 60, 60, "", NOW, flow, outbound=True) == ADDED
    finished(draft)
    return draft


def test_each_flow_of_an_instance_is_a_binding() -> None:
    """OUT-4: the URI is not compared, and the contacts are told apart by their ids."""
    draft = with_flows(1, 2)
    assert draft.record is not None
    one, two = Registration(draft.record).bindings
    assert (one.uri, one.reg_id, two.uri, two.reg_id) == (PHONE, 1, PHONE, 2)
    assert one.contact_id != two.contact_id
    assert draft.count == 2
    request = register(flow_contact(reg_id=2), cseq=3)
    assert draft.bind(request, 0, 60, 60, "", NOW + 1, outbound=True) == REFRESHED
    [(binding, event)] = finished(draft).contacts
    assert (binding.contact_id, event) == (two.contact_id, "refreshed")
    assert draft.bind(register(flow_contact(reg_id=1), cseq=4), 0, 0, 0, "", NOW + 1, outbound=True) == REMOVED
    change = finished(draft)
    assert told(change) == [(PHONE, "unregistered")]
    assert [binding.reg_id for binding in change.after.bindings] == [2]


def test_ids_of_flows_depend_on_what_they_name_alone() -> None:
    """OUT-4, XML-9: in whatever order they come, another node gives the same ids."""
    ids = []
    for order in ((1, 2), (2, 1)):
        record = with_flows(*order).record
        assert record is not None
        ids.append({binding.reg_id: binding.contact_id for binding in Registration(record).bindings})
    assert ids[0] == ids[1]


def test_a_flow_registered_with_another_uri_replaces_the_contact() -> None:
    """OUT-4, XML-9: a watcher who knows contacts by URI hears that one leaves and another comes."""
    draft = with_flows(1, 2)
    other = "sip:alice@198.51.100.7:1024"
    request = register(flow_contact(other), call_id="another", cseq=7)
    assert draft.bind(request, 0, 60, 60, "", NOW + 1, FLOWS[2], outbound=True) == ADDED
    change = finished(draft)
    assert told(change) == [(PHONE, "unregistered"), (other, "registered")]
    assert (change.contacts[0][0].call_id, change.contacts[0][0].cseq) == ("another", 7)
    assert [(binding.uri, binding.reg_id) for binding in change.after.bindings] == [(PHONE, 2), (other, 1)]
    assert bound_flows(change.record) == [FLOWS[1], FLOWS[2]]


@pytest.mark.parametrize(
    ("cseq", "uri", "verdict"), [(1, PHONE, UNCHANGED), (1, f"{PHONE};x", STALE), (2, PHONE, REFRESHED)]
)
def test_a_flow_is_as_strict_about_cseq_as_a_uri(cseq: int, uri: str, verdict: int) -> None:
    """OUT-4, REG-10"""
    draft = with_flows(1)
    assert draft.bind(register(flow_contact(uri), cseq=cseq), 0, 60, 60, "", NOW, FLOWS[1], outbound=True) == verdict


@pytest.mark.parametrize(
    ("contact", "outbound"),
    [
        (flow_contact(), False),
        (f"<{PHONE}>;reg-id=1", True),
        (f'<{PHONE}>;+sip.instance="urn:x:1";reg-id=1', True),
    ],
)
def test_a_reg_id_that_does_not_count_is_not_kept(contact: str, outbound: bool) -> None:
    """OUT-2, OUT-3: no listing and no peer takes it for one that counts."""
    draft = Draft(AOR, None, NOW)
    assert draft.bind(register(contact), 0, 60, 60, "", NOW, outbound=outbound) == ADDED
    [(binding, _)] = finished(draft).contacts
    assert binding.reg_id is None
    assert "reg-id" not in binding.params


def test_a_uri_and_a_flow_do_not_touch_each_other() -> None:
    """OUT-4: what a flow is bound by is no URI, and the other way round."""
    draft = with_flows(1)
    assert draft.bind(register(f"<{PHONE}>", cseq=2), 0, 60, 60, "", NOW) == ADDED
    finished(draft)
    assert draft.bind(register(f"<{PHONE}>", cseq=3), 0, 0, 0, "", NOW) == REMOVED
    assert [binding.reg_id for binding in finished(draft).after.bindings] == [1]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (INSTANCES[0], INSTANCES[1], True),  # a UUID in any case
        ("urn:uuid:0-a", "urn:uuid:0-b", False),
        ("urn:uuid:0-a", "urn:uuid:0-a0", False),
        ("urn:example:a%2fb", "URN:Example:a%2Fb", True),  # RFC 8141: what is escaped, scheme and namespace
        ("urn:example:ab", "urn:example:aB", False),
        ("urn:example:%", "urn:EXAMPLE:%", True),
        ("urn:example:%a", "urn:EXAMPLE:%A", False),
        ("urn:uuidx:A", "urn:uuidx:a", False),
        ("urn:A", "urn:a", False),  # no URN, so lexically
        ("mac:AA", "mac:aa", False),
        ("urn", "URN", False),
        ("", "", False),
    ],
)
def test_instances_are_compared_by_the_rules_of_urns(one: str, other: str, same: bool) -> None:
    """OUT-5"""
    draft = Draft(AOR, None, NOW)
    draft.bind(register(flow_contact(instance=one)), 0, 60, 60, "", NOW, outbound=True)
    finished(draft)
    request = register(flow_contact(f"{PHONE};x", instance=other), cseq=2)
    draft.bind(request, 0, 60, 60, "", NOW, outbound=True)
    assert len(finished(draft).after) == (1 if same else 2) or not one


def test_a_flow_ends_what_is_bound_to_it() -> None:
    """OUT-6: `expired`; what has no flow or another one stays."""
    draft = with_flows(1, 2)
    assert (
        draft.bind(register(flow_contact(reg_id=2), cseq=3), 0, 60, 60, "", NOW, FLOWS[2], outbound=True) == REFRESHED
    )
    assert draft.bind(register("<sip:b@192.0.2.2>", cseq=4), 0, 60, 60, "", NOW) == ADDED
    assert finished(draft).touches_flows
    assert draft.end_flow("") == 0
    assert draft.end_flow(FLOWS[1]) == 1
    change = finished(draft, "flow")
    assert [(binding.reg_id, event) for binding, event in change.contacts] == [(1, "expired")]
    assert change.touches_flows
    assert bound_flows(change.record) == [FLOWS[2]]
    assert draft.end_flow(FLOWS[1]) == 0
    assert draft.bind(register("<sip:b@192.0.2.2>", cseq=5), 0, 60, 60, "", NOW) == REFRESHED
    assert not finished(draft).touches_flows


def test_a_contact_moved_off_its_flow_and_removed_in_one_request_touches_it() -> None:
    """OUT-6, REG-13"""
    draft = with_flows(1)
    request = register(flow_contact(), flow_contact(), cseq=2)
    assert draft.bind(request, 0, 60, 60, "", NOW, outbound=True) == REFRESHED
    assert draft.bind(request, 1, 0, 0, "", NOW, outbound=True) == REMOVED
    assert finished(draft).touches_flows


def test_a_udp_flow_is_found_by_its_remote_address() -> None:
    """OUT-6, TRN-10: an ICMP error does not say which of our addresses it was."""
    for flow, ended in ((FLOWS[3], 1), ("udp:192.0.2.1:5060", 1), ("udp:192.0.2.1:506", 0), ("udp:192.0.2.1:5060/", 0)):
        assert with_flows(1, flow=FLOWS[3]).end_flow(flow) == ended


def test_a_peers_flow_is_not_ours() -> None:
    """OUT-6: only what is registered here ends here."""
    draft = Draft(AOR, None, NOW)
    draft.learn(Binding(uri=PHONE, expires_at=NOW + 9000, origin="peer:a", flow=FLOWS[1]))
    record = finished(draft).record
    assert bound_flows(record) == []
    assert draft.end_flow(FLOWS[1]) == 0


def test_the_same_request_over_another_flow_moves_the_binding() -> None:
    """OUT-4, OUT-6: it was sent again after its connection had broken."""
    draft = with_flows(1)
    assert draft.bind(register(flow_contact(), cseq=1), 0, 60, 60, "", NOW, FLOWS[2], outbound=True) == REFRESHED
    assert bound_flows(finished(draft).record) == [FLOWS[2]]


# -- one request -------------------------------------------------------------------------------------------


def test_of_equal_contacts_in_one_request_the_last_wins() -> None:
    """REG-13: duplicates compare CSeq with the committed state only."""
    request = register(f"<{PHONE}>;q=0.1", f"<{PHONE}>;q=0.2", cseq=2)
    for record, first, last in ((None, ADDED, "registered"), (bound(PHONE), REFRESHED, "refreshed")):
        draft = Draft(AOR, record, NOW)
        assert [draft.bind(request, i, 60, 60, "", NOW) for i in (0, 1)] == [first, first]
        [(binding, event)] = finished(draft).contacts
        assert (binding.q, event) == (0.2, last)


def test_a_contact_removed_and_bound_in_one_request_is_bound() -> None:
    """REG-13: the last one wins, and it is a refresh of the committed binding."""
    request = register(f"<{PHONE}>;expires=0", f"<{PHONE}>", cseq=2)
    draft = Draft(AOR, bound(PHONE), NOW)
    assert draft.bind(request, 0, 0, 0, "", NOW) == REMOVED
    assert draft.bind(request, 1, 60, 60, "", NOW) == REFRESHED
    assert told(finished(draft)) == [(PHONE, "refreshed")]


def test_a_contact_bound_and_removed_in_one_request_was_never_there() -> None:
    """REG-13: nobody is told of a binding that no one could see."""
    request = register(f"<{PHONE}>", f"<{PHONE}>;expires=0")
    draft = Draft(AOR, None, NOW)
    assert draft.bind(request, 0, 60, 60, "", NOW) == ADDED
    assert draft.bind(request, 1, 0, 0, "", NOW) == REMOVED
    assert draft.finish("register") is None


def test_equality_that_is_not_transitive_prefers_the_same_octets() -> None:
    """URI-4: ;security=on and ;security=off are two contacts, and each finds itself."""
    on, off, none = f"{PHONE};security=on", f"{PHONE};security=off", PHONE
    draft = Draft(AOR, bound(on, off), NOW)
    assert draft.bind(register(f"<{off}>", cseq=2), 0, 90, 90, "", NOW) == REFRESHED
    assert told(finished(draft)) == [(off, "refreshed")]
    assert draft.bind(register(f"<{none}>", cseq=3), 0, 90, 90, "", NOW) == REFRESHED
    change = finished(draft)
    assert told(change) == [(none, "refreshed")]
    assert [binding.uri for binding in change.after.bindings] == [none, off]
    assert [binding.contact_id for binding in change.after.bindings] == [
        binding.contact_id for binding in Registration(bound(on, off)).bindings
    ]


def test_rollback_forgets_the_whole_request() -> None:
    """REG-11: all or nothing."""
    record = bound(PHONE, cseq=5)
    draft = Draft(AOR, record, NOW)
    draft.bind(register("<sip:b@192.0.2.2>", cseq=9), 0, 60, 60, "", NOW)
    draft.bind(register(f"<{PHONE}>", cseq=9), 0, 0, 0, "", NOW)
    assert draft.count == 1
    draft.rollback()
    assert draft.count == 1
    assert not draft.changed
    assert draft.finish("register") is None
    assert draft.record == record


# -- star, expiry, operator --------------------------------------------------------------------------------


def test_star_removes_every_binding() -> None:
    """REG-6: other Call-IDs always, the same one with a higher CSeq."""
    draft = Draft(AOR, bound(PHONE, "sip:b@192.0.2.2", cseq=5), NOW)
    assert draft.clear("c1@192.0.2.1", 6) == 2
    change = finished(draft)
    assert [event for _, event in change.contacts] == ["unregistered", "unregistered"]
    assert change.record == b""


def test_star_with_a_stale_cseq_removes_nothing() -> None:
    """REG-6: one stale binding aborts everything."""
    first = Draft(AOR, bound(PHONE, cseq=5), NOW)
    first.bind(register("<sip:b@192.0.2.2>", call_id="c2", cseq=50), 0, 60, 60, "", NOW)
    record = finished(first).record
    draft = Draft(AOR, record, NOW)
    assert draft.clear(b"c2", 50) == -1
    assert draft.finish("register") is None
    assert draft.clear("c2", 51) == 2
    change = finished(draft)
    assert change.record == b""
    assert change.after.state == "terminated"
    assert change.after.aor == AOR
    assert len(change.after) == 0
    assert {binding.cseq for binding, _ in change.contacts} == {51}


@pytest.mark.parametrize(("at", "expired"), [(NOW + 59_999, 0), (NOW + 60_000, 1)])
def test_a_binding_ends_when_its_time_is_reached(at: int, expired: int) -> None:
    """REG-17: at n, not before."""
    draft = Draft(AOR, bound(PHONE), NOW)
    assert draft.expire(at) == expired
    if expired:
        change = finished(draft, "expiry")
        assert told(change) == [(PHONE, "expired")]
        assert (change.cause, change.at_ms) == ("expiry", at)


def test_a_refresh_that_comes_too_late_is_a_new_binding() -> None:
    """REG-17, XML-9: the old contact leaves as expired, the new one has an id of its own."""
    draft = Draft(AOR, bound(PHONE), NOW)
    assert draft.bind(register(f"<{PHONE}>"), 0, 60, 60, "", NOW + 60_000) == ADDED
    change = finished(draft)
    assert told(change) == [(PHONE, "expired"), (PHONE, "registered")]
    (old, _), (new, _) = change.contacts
    assert old.contact_id != new.contact_id
    assert new.registered_at == NOW + 60_000


@pytest.mark.parametrize("event", [event for event in ContactEvent if event.terminates])
def test_an_operator_ends_a_contact_by_id_or_uri(event: ContactEvent) -> None:
    """REV-8: deactivated, probation, rejected."""
    record = bound(PHONE, "sip:b@192.0.2.2")
    first, second = Registration(record).bindings
    draft = Draft(AOR, record, NOW)
    assert draft.remove(first.contact_id, event) == 1
    assert draft.remove("sip:%62@192.0.2.2", event) == 1
    assert draft.remove(None, event) == 0
    assert told(finished(draft, "operator")) == [(PHONE, event), (second.uri, event)]


@pytest.mark.parametrize("event", ["registered", "created", "refreshed", "shortened", "lost", ""])
def test_only_an_event_that_ends_a_contact_removes_it(event: str) -> None:
    """REV-8."""
    with pytest.raises(ValueError, match=r"event|end"):
        Draft(AOR, bound(PHONE), NOW).remove(None, event)


@pytest.mark.parametrize("contact", ["", "sip:nobody@192.0.2.9", "0000000000000000", "not a uri", "x" * 16])
def test_removing_an_unknown_contact_removes_nothing(contact: str) -> None:
    draft = Draft(AOR, bound(PHONE), NOW)
    assert draft.remove(contact, "deactivated") == 0
    assert draft.finish("operator") is None


def test_the_oldest_bindings_make_room_but_none_of_this_request() -> None:
    """REG-16: replace-oldest ends what was refreshed longest ago."""
    record = bound(PHONE, "sip:b@192.0.2.2", "sip:c@192.0.2.3")
    draft = Draft(AOR, record, NOW)
    draft.bind(register(f"<{PHONE}>", cseq=2), 0, 60, 60, "", NOW + 1)
    record = finished(draft).record
    draft = Draft(AOR, record, NOW + 2)
    draft.bind(register("<sip:b@192.0.2.2>", cseq=3), 0, 60, 60, "", NOW + 2)
    draft.bind(register("<sip:d@192.0.2.4>", cseq=3), 0, 60, 60, "", NOW + 2)
    assert draft.evict_oldest(1) == 1
    assert draft.evict_oldest(5) == 1
    assert draft.evict_oldest(0) == 0
    assert told(finished(draft)) == [
        (PHONE, "deactivated"),
        ("sip:c@192.0.2.3", "deactivated"),
        ("sip:b@192.0.2.2", "refreshed"),
        ("sip:d@192.0.2.4", "registered"),
    ]


def test_an_operator_adds_and_shortens_a_contact() -> None:
    """REV-8: created, then shortened when the end moves closer, refreshed when it moves away."""
    draft = Draft(AOR, None, NOW)
    assert draft.add(Binding(uri=PHONE, expires_at=NOW + 60_000)) == 1
    [(created, event)] = finished(draft, "operator").contacts
    assert (event, created.registered_at, created.updated_at) == ("created", NOW, NOW)
    for expires_at, expected in ((NOW + 30_000, "shortened"), (NOW + 90_000, "refreshed")):
        assert draft.add(Binding(uri=PHONE, expires_at=expires_at)) == 0
        change = finished(draft, "operator")
        assert told(change) == [(PHONE, expected)]
        [binding] = change.after.bindings
        assert (binding.contact_id, binding.expires_at) == (created.contact_id, expires_at)


def test_origins_do_not_touch_each_other() -> None:
    """A REGISTER is for local rows: the same URI learned from a peer is a row of its own."""
    draft = Draft(AOR, None, NOW)
    draft.add(Binding(uri=PHONE, origin="peer:a", expires_at=NOW + 60_000))
    assert draft.bind(register(f"<{PHONE}>"), 0, 60, 60, "", NOW) == ADDED
    assert draft.bind(register(f"<{PHONE}>"), 0, 0, 0, "", NOW) == REMOVED
    assert draft.count == 0
    assert [binding.origin for binding in finished(draft).after.bindings] == ["peer:a"]


# -- revisions and identities ------------------------------------------------------------------------------


def test_a_revision_never_repeats_and_each_row_knows_its_own() -> None:
    """A new record starts at the clock in microseconds; every change adds one, also after the AoR vanished."""
    draft = Draft(AOR, None, NOW)
    draft.add(Binding(uri=PHONE, expires_at=NOW + 60_000))
    first = finished(draft)
    assert (first.base_revision, first.revision, first.before) == (0, NOW * 1000, None)
    draft.add(Binding(uri="sip:b@192.0.2.2", expires_at=NOW + 60_000))
    second = finished(draft)
    assert (second.base_revision, second.revision) == (first.revision, first.revision + 1)
    assert second.before == first.record
    assert [binding.revision for binding in second.after.bindings] == [first.revision, second.revision]
    assert record_revision(second.record) == second.revision
    draft.remove(None, "rejected")
    third = finished(draft)
    assert (third.revision, third.record, draft.record) == (second.revision + 1, b"", None)
    draft.add(Binding(uri=PHONE, expires_at=NOW + 60_000))
    fourth = finished(draft)
    assert (fourth.base_revision, fourth.revision) == (0, third.revision + 1)


def test_identifiers_depend_on_what_they_name_alone() -> None:
    """XML-6, XML-9: the same URI has the same id on every node and after every restart."""
    registration = Registration(bound(PHONE, "sip:b@192.0.2.2"))
    assert registration.id == f"{registration_id(AOR):016x}"
    assert [binding.contact_id for binding in registration.bindings] == [
        f"{contact_id(AOR, PHONE):016x}",
        f"{contact_id(AOR, 'sip:b@192.0.2.2'):016x}",
    ]


def test_an_id_that_is_taken_is_not_given_again() -> None:
    """XML-9: another URI has another id, even if the hash says otherwise."""
    draft = Draft(AOR, None, NOW)
    taken = contact_id(AOR, PHONE)
    draft.add(Binding(uri="sip:b@192.0.2.2", expires_at=NOW + 9000, contact_id=f"{taken:016x}"))
    draft.bind(register(f"<{PHONE}>"), 0, 60, 60, "", NOW)
    assert [int(binding.contact_id, 16) for binding in finished(draft).after.bindings] == [taken, taken + 1]


# -- values ------------------------------------------------------------------------------------------------


def test_a_binding_is_a_value() -> None:
    one = Binding(uri=PHONE, expires_at=5000, q=0.7, display_name='A "b" \\c', params=INSTANCE)
    same = Binding(uri=PHONE, expires_at=5000, q=0.7, display_name='A "b" \\c', params=INSTANCE)
    other = Binding(uri=PHONE, expires_at=5001)
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != PHONE
    assert one.display_name == 'A "b" \\c'
    assert (one.q, one.reg_id, one.contact_id) == (0.7, 1, "")
    assert (other.q, other.instance, other.reg_id, other.display_name) == (None, None, None, "")
    assert repr(other) == f"Binding(uri={PHONE!r}, call_id='', cseq=0, expires_at=5001, event='created')"


@pytest.mark.parametrize(("now_ms", "left"), [(0, 5), (4000, 1), (4001, 1), (4999, 1), (5000, 0), (9000, 0), (-1, 6)])
def test_seconds_left_are_rounded_up(now_ms: int, left: int) -> None:
    """REG-12: a contact that lives never shows 0."""
    assert Binding(uri=PHONE, expires_at=5000).expires(now_ms) == left


@pytest.mark.parametrize(
    "values",
    [
        {"uri": ""},
        {"uri": "sip:a b@192.0.2.1"},
        {"uri": "sip:a@192.0.2.1>"},
        {"uri": "sip:a@192.0.2.1\r\nX: y"},
        {"uri": "nothing"},
        {"call_id": "a\nb"},
        {"call_id": "a\0"},
        {"display_name": "a\rb"},
        {"user_agent": "\ud800"},
        {"path": "x" * 65536},
        {"params": "x" * 65536},
        {"params": "expires"},
        {"params": ";expires=5"},
        {"params": ";Q=1"},
        {"params": ";a=b,c"},
        {"params": ';a="b'},
        {"params": ';a="b\\'},
        {"params": ";"},
        {"params": ";a="},
        {"params": ";a;b c"},
        {"params": ";reg-id=x"},
        {"params": ";reg-id=2147483648"},
        {"q": 1.5},
        {"q": -0.1},
        {"q": float("nan")},
        {"event": "gone"},
        {"contact_id": "xyz"},
    ],
)
def test_what_a_record_must_not_hold_is_refused(values: dict[str, Any]) -> None:
    """SEC-5: nothing that ends a line, nothing that is no URI or parameter."""
    with pytest.raises(ValueError):  # noqa: PT011  each for a reason of its own
        Binding(**{"uri": PHONE, "expires_at": 1, **values})


@pytest.mark.parametrize(
    "values", [{"cseq": -1}, {"cseq": 2**32}, {"requested": 2**32}, {"expires_at": 2**63}, {"contact_id": "f" * 17}]
)
def test_a_number_out_of_its_range_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(OverflowError):
        Binding(**{"uri": PHONE, "expires_at": 1, **values})


def test_a_text_of_65535_octets_fits() -> None:
    """The limit is what a length field holds."""
    assert len(Binding(uri=PHONE, expires_at=1, user_agent="x" * 65535).user_agent) == 65535
    with pytest.raises(ValueError, match="65,535"):
        Binding(uri=PHONE, expires_at=1, user_agent="x" * 65536)


def test_a_draft_wants_its_own_record_and_a_possible_time() -> None:
    with pytest.raises(ValueError, match="another AoR"):
        Draft("sip:bob@example.org", bound(PHONE), NOW)
    with pytest.raises(ValueError, match="negative"):
        Draft(AOR, None, -1)
    with pytest.raises(ValueError, match="65,535"):
        Draft("sip:" + "x" * 65532, None, NOW)


def test_a_registration_shows_its_record() -> None:
    record = bound(PHONE, "sip:b@192.0.2.2")
    registration = Registration(record)
    assert (registration.aor, registration.state, len(registration)) == (AOR, "active", 2)
    assert registration.octets is record
    assert registration.next_expiry_ms == NOW + 60_000
    assert registration == Registration(bytes(bytearray(record)))
    assert hash(registration) == hash(Registration(record))
    assert registration != record
    assert repr(registration) == f"Registration(aor={AOR!r}, state='active', bindings=2)"


# -- octets from elsewhere ---------------------------------------------------------------------------------


def damaged(octets: bytes) -> st.SearchStrategy[bytes]:
    return st.one_of(
        st.integers(0, len(octets) - 1).map(lambda n: octets[:n]),
        st.tuples(st.integers(0, len(octets) - 1), st.integers(1, 255)).map(
            lambda t: octets[: t[0]] + bytes([octets[t[0]] ^ t[1]]) + octets[t[0] + 1 :]
        ),
        st.binary(min_size=1, max_size=64).map(lambda more: octets + more),
        st.binary(max_size=400),
    )


RECORD = bound(PHONE, "sip:b@192.0.2.2")


@given(damaged(RECORD))
def test_a_damaged_record_is_refused_or_read_within_its_bounds(octets: bytes) -> None:
    """Records come back from disk: ValueError or a view, never an octet beyond the end."""
    try:
        registration = Registration(octets)
        for binding in registration.bindings:
            repr(binding), binding.instance, binding.params, binding.path, binding.origin, hash(binding)
        draft = Draft(registration.aor, octets, NOW)
    except ValueError:
        return
    draft.remove(None, "rejected")
    draft.finish("operator")


@pytest.mark.parametrize("octets", [b"", RECORD[:-1], RECORD + b"\0", b"\x02" + RECORD[1:]])
def test_a_corrupt_record_is_a_value_error(octets: bytes) -> None:
    with pytest.raises(ValueError, match="corrupt record"):
        Registration(octets)
    with pytest.raises(ValueError, match="corrupt record"):
        Draft(AOR, octets, NOW)


def test_a_revision_is_not_read_from_less_than_a_head() -> None:
    with pytest.raises(ValueError, match="corrupt record"):
        record_revision(RECORD[:23])


def example_change(*, gone: bool) -> Change:
    draft = Draft(AOR, RECORD, NOW)
    draft.remove(None if gone else PHONE, "probation")
    change = draft.finish("operator", "peer:x")
    assert change is not None
    return change


@pytest.mark.parametrize("gone", [True, False])
def test_a_change_comes_back_from_the_journal(gone: bool) -> None:
    """All but seq and before is in the octets; seq is given by the journal's key."""
    change = example_change(gone=gone)
    assert change.seq == 0
    change.seq = 7
    back = Change.from_octets(7, change.to_octets())
    for name in [
        "seq",
        "aor",
        "base_revision",
        "revision",
        "record",
        "ended",
        "cause",
        "origin",
        "at_ms",
        "contacts",
        "after",
        "only_refreshes",
    ]:
        assert getattr(back, name) == getattr(change, name), name
    assert (change.before, back.before) == (RECORD, None)
    assert back.to_octets() == change.to_octets()
    assert repr(back) == f"Change(seq=7, aor={AOR!r}, revision={change.revision}, cause='operator')"


def test_a_sequence_number_is_given_once() -> None:
    change = example_change(gone=False)
    change.seq = 7
    change.seq = 7
    with pytest.raises(ValueError, match="once"):
        change.seq = 8


@pytest.mark.parametrize("refreshes", [True, False])
def test_a_store_is_given_the_rows_and_then_the_journal(refreshes: bool) -> None:
    """Each in order; the journal has no refreshes unless somebody wants them."""
    bind = Draft(AOR, None, NOW)
    bind.bind(register(f"<{PHONE}>"), 0, 60, 60, "", NOW)
    first = finished(bind)
    again = Draft(AOR, first.record, NOW)
    again.bind(register(f"<{PHONE}>", cseq=2), 0, 60, 60, "", NOW)
    changes = [first, finished(again), example_change(gone=True)]
    items, journalled, seq = kept_items(changes, 5, b"r", b"j", refreshes)
    assert (journalled, seq) == ([6, 7, 8] if refreshes else [6, 8], 8)
    assert items == [
        *((b"r" + AOR.encode(), change.record or None) for change in changes),
        *((b"j" + number.to_bytes(8, "big"), changes[number - 6].to_octets()) for number in journalled),
    ]


def test_changes_are_made_by_drafts() -> None:
    with pytest.raises(TypeError):
        Change()


@given(st.one_of(damaged(example_change(gone=False).to_octets()), damaged(example_change(gone=True).to_octets())))
def test_a_damaged_change_is_refused_or_read_within_its_bounds(octets: bytes) -> None:
    try:
        change = Change.from_octets(1, octets)
        change.aor, change.contacts, change.after.bindings, repr(change), beyond_refreshes([change])
        again = Change.from_octets(1, change.to_octets())
    except ValueError:
        return
    assert again.to_octets() == change.to_octets()


@pytest.mark.parametrize("gone", [False, True])
def test_a_refresh_leaves_a_record_and_ends_nothing(gone: bool) -> None:
    octets = example_change(gone=gone).to_octets()
    reasons = []
    for at in [at for at in range(48) if not octets[at]]:  # one of them holds the flags
        try:
            change = Change.from_octets(1, octets[:at] + b"\1" + octets[at + 1 :])
        except ValueError as error:
            reasons.append(str(error))
        else:
            assert not change.only_refreshes
    assert reasons.count("corrupt change: a refresh leaves a record, and ends nothing") == 1


# -- against the reference ---------------------------------------------------------------------------------

URIS = (
    "sip:alice@192.0.2.1:5060",
    "sip:%61lice@192.0.2.1:5060",
    "sip:alice@192.0.2.1",
    "sip:alice@host.example.org",
    "sip:alice@HOST.example.org;security=on",
    "sip:alice@host.example.org;security=off",
    "sip:alice@host.example.org;x=y",
)
uris = st.sampled_from(URIS)
call_ids = st.sampled_from(("c1", "c2"))
cseqs = st.integers(1, 4)
seconds = st.sampled_from((0, 1, 2, 60))
instances = st.sampled_from(INSTANCES)
reg_ids = st.sampled_from((1, 2, 256))
flow_keys = st.one_of(st.none(), st.tuples(instances, reg_ids))
asked = st.builds(
    Asked,
    uris,
    seconds,
    st.sampled_from((60, 61)),
    st.sampled_from((None, 0.5)),
    st.sampled_from(("", ";a=b")),
    st.just("") | instances,
    st.just(0) | reg_ids,
    st.booleans(),
    st.sampled_from(FLOWS),
)
ORIGINS = ("peer:a", "peer:b", "publication:a.1", "publication:2")

step = st.one_of(
    st.tuples(st.just("request"), st.lists(asked, min_size=1, max_size=4), call_ids, cseqs),
    st.tuples(st.just("clear"), call_ids, cseqs),
    st.tuples(st.just("expire")),
    st.tuples(
        st.just("remove"),
        st.one_of(st.none(), uris, uris.map(lambda uri: f"{contact_id(AOR, uri):016x}")),
        st.sampled_from(("deactivated", "rejected", "unregistered", "expired", "probation")),
        st.integers(0, 2),
    ),
    st.tuples(st.just("shorten"), st.one_of(st.none(), uris), st.sampled_from((0, 1, 30, 61))),
    st.tuples(
        st.just("learn"),
        uris,
        st.sampled_from((-1, 1, 2, 30, 60, 90)),
        st.sampled_from(ORIGINS),
        call_ids,
        cseqs,
        st.sampled_from(("registered", "created", "refreshed", "shortened")),
        st.booleans(),
        flow_keys,
    ),
    st.tuples(
        st.just("unlearn"),
        uris,
        st.sampled_from(ORIGINS),
        call_ids,
        cseqs,
        st.sampled_from(("unregistered", "expired", "probation")),
        st.booleans(),
        flow_keys,
    ),
    st.tuples(st.just("end_flow"), st.sampled_from((*FLOWS, "udp:192.0.2.1:5060", "udp:192.0.2.1:506", "tcp"))),
    st.tuples(st.just("end_unseen"), st.sampled_from(ORIGINS), st.sampled_from(("unregistered", "expired"))),
    st.tuples(st.just("evict"), st.integers(0, 3)),
    st.tuples(st.just("add"), uris, st.integers(-1, 90), st.sampled_from(("", "peer:a"))),
    st.tuples(st.just("rollback")),
    st.tuples(st.just("finish")),
    st.tuples(st.just("reload")),
    st.tuples(st.just("later"), st.sampled_from((1, 999, 1000, 2000, 70_000))),
)


def plain(binding: Binding) -> Row:
    return Row(
        uri=binding.uri,
        call_id=binding.call_id,
        cseq=binding.cseq,
        requested=binding.requested,
        expires_at=binding.expires_at,
        registered_at=binding.registered_at,
        updated_at=binding.updated_at,
        q=binding.q,
        params=binding.params,
        event=binding.event,
        contact_id=int(binding.contact_id, 16),
        revision=binding.revision,
        origin=binding.origin,
        hidden=binding.hidden,
        instance=binding.instance or "",
        reg_id=binding.reg_id or 0,
        flow=binding.flow,
    )


def params_of(flow_key: tuple[str, int] | None) -> str:
    return ';+sip.instance="<{}>";reg-id={}'.format(*flow_key) if flow_key else ""


class Pair:
    """A draft and its reference, made to do the same."""

    def __init__(self) -> None:
        self.now_ms = NOW
        self.draft = Draft(AOR, None, NOW)
        self.reference = ReferenceDraft(AOR, NOW)

    def request(self, contacts: list[Asked], call_id: str, cseq: int) -> None:
        values = [f"<{one.uri}>{'' if one.q is None else f';q={one.q}'}{one.written}" for one in contacts]
        message = register(*values, call_id=call_id, cseq=cseq)
        for index, one in enumerate(contacts):
            verdict = self.draft.bind(
                message, index, one.seconds, one.requested, "", self.now_ms, one.flow, one.outbound
            )
            assert VERDICTS[verdict] == self.reference.bind(one, call_id, cseq, self.now_ms)
            if verdict == STALE:
                self.rollback()
                return

    def clear(self, call_id: str, cseq: int) -> None:
        assert self.draft.clear(call_id, cseq) == self.reference.clear(call_id, cseq)

    def expire(self) -> None:
        assert self.draft.expire(self.now_ms) == self.reference.expire(self.now_ms)

    def remove(self, contact: str | None, event: str, retry_after: int) -> None:
        assert self.draft.remove(contact, event, retry_after) == self.reference.remove(contact, event, retry_after)

    def shorten(self, contact: str | None, seconds: int) -> None:
        assert self.draft.shorten(contact, seconds) == self.reference.shorten(contact, seconds)

    def learn(
        self,
        uri: str,
        seconds: int,
        origin: str,
        call_id: str,
        cseq: int,
        event: str,
        mirror: bool,
        flow_key: tuple[str, int] | None,
    ) -> None:
        binding = Binding(
            uri=uri,
            params=params_of(flow_key),
            expires_at=self.now_ms + seconds * 1000,
            origin=origin,
            call_id=call_id,
            cseq=cseq,
            event=event,
            updated_at=self.now_ms - 1500,
        )
        verdict = VERDICTS[self.draft.learn(binding, mirror)]
        assert verdict == self.reference.learn(plain_without_id(binding), mirror)

    def unlearn(
        self,
        uri: str,
        origin: str,
        call_id: str,
        cseq: int,
        event: str,
        mirror: bool,
        flow_key: tuple[str, int] | None,
    ) -> None:
        binding = Binding(
            uri=uri,
            params=params_of(flow_key),
            expires_at=0,
            origin=origin,
            call_id=call_id,
            cseq=cseq,
            event=event,
            requested=7,
            updated_at=self.now_ms - 1500,
        )
        verdict = VERDICTS[self.draft.unlearn(binding, mirror)]
        assert verdict == self.reference.unlearn(plain_without_id(binding), mirror)

    def end_flow(self, flow: str) -> None:
        assert self.draft.end_flow(flow) == self.reference.end_flow(flow)

    def end_unseen(self, origin: str, event: str) -> None:
        assert self.draft.end_unseen(origin, event) == self.reference.end_unseen(origin, event)

    def evict(self, n: int) -> None:
        assert self.draft.evict_oldest(n) == self.reference.evict_oldest(n)

    def add(self, uri: str, seconds: int, origin: str) -> None:
        binding = Binding(uri=uri, expires_at=self.now_ms + seconds * 1000, origin=origin)
        row = replace(plain_without_id(binding), contact_id=0)
        assert self.draft.add(binding) == self.reference.add(row)

    def later(self, ms: int) -> None:
        self.now_ms += ms

    def rollback(self) -> None:
        self.draft.rollback()
        self.reference.rollback()

    def reload(self) -> None:
        """Go on from the octets, as another process would."""
        self.rollback()
        last = self.reference.last_revision
        self.draft = Draft(AOR, self.draft.record, self.reference.now_ms)
        if self.draft.record is None:
            # Without a record nobody knows the last revision; the clock has moved on by then.
            self.now_ms = max(self.now_ms, last // 1000 + 1)
            self.reference.now_ms = self.now_ms
            self.draft = Draft(AOR, None, self.now_ms)

    def finish(self) -> None:
        before = {row.contact_id: row.flow for row in self.reference.rows if row.is_local}
        change, expected = self.draft.finish("register"), self.reference.finish()
        assert (change is None) == (expected is None)
        if change is None or expected is None:
            return
        assert (change.base_revision, change.revision) == (expected.base_revision, expected.revision)
        assert tuple(map(plain, change.after.bindings)) == expected.rows
        ended = tuple(plain(binding) for binding, event in change.contacts if ContactEvent(event).terminates)
        assert ended == expected.ended
        assert change.only_refreshes == expected.only_refreshes
        after = {row.contact_id: row.flow for row in expected.rows if row.is_local}
        moved = any(before.get(one, "") != after.get(one, "") for one in before.keys() | after.keys())
        assert change.touches_flows or not moved
        assert bound_flows(change.record) == [row.flow for row in expected.rows if row.is_local and row.flow]
        assert change.after.state == ("active" if expected.rows else "terminated")
        refreshed = len(change.contacts) if change.only_refreshes else 0
        others = [] if change.only_refreshes else [change]
        assert beyond_refreshes([change]) == beyond_refreshes([change], {"register"}) == (refreshed, others)
        assert beyond_refreshes([change, change], {"notify"}) == (0, [change, change])
        assert piece_end([change] * 5, 1, 2) == (5 if change.only_refreshes else 3)
        assert piece_end([change] * 5, 1, 2, {"notify"}) == 3
        told = [plain(binding) for binding, _ in change.contacts]
        live = [row for row in expected.rows if row.revision == expected.revision and not row.hidden]
        assert told == [*expected.ended, *live]
        again = Change.from_octets(0, change.to_octets())
        assert (again.record, again.ended) == (change.record, change.ended)


def plain_without_id(binding: Binding) -> Row:
    return Row(
        uri=binding.uri,
        call_id=binding.call_id,
        cseq=binding.cseq,
        requested=binding.requested,
        expires_at=binding.expires_at,
        registered_at=0,
        updated_at=binding.updated_at,
        q=None,
        params=binding.params,
        event=binding.event,
        contact_id=0,
        origin=binding.origin,
        instance=binding.instance or "",
        reg_id=binding.reg_id or 0,
    )


@given(st.lists(step, max_size=30))
def test_a_draft_decides_as_the_reference_does(program: list[tuple[Any, ...]]) -> None:
    """REG-6, REG-10, REG-11, REG-13, REG-17, URI-4, XML-9, OUT-3 to OUT-6: any sequence of decisions, in any order."""
    pair = Pair()
    for name, *arguments in [*program, ("finish",)]:
        getattr(pair, name)(*arguments)
        assert pair.draft.count == pair.reference.count
        assert pair.draft.changed == pair.reference.changed


@pytest.mark.parametrize("n", [1, 11, 12, 13, 24, 25, 300])
def test_any_number_of_rows_is_kept_in_order(n: int) -> None:
    """The slots of a draft grow as they must."""
    draft = Draft(AOR, None, NOW)
    for i in range(n):
        draft.add(Binding(uri=f"sip:u{i}@192.0.2.1", expires_at=NOW + 1000))
    record = finished(draft).record
    assert [binding.uri for binding in Registration(record).bindings] == [f"sip:u{i}@192.0.2.1" for i in range(n)]
    assert Draft(AOR, record, NOW).count == n


def test_events_have_the_numbers_of_the_model() -> None:
    """REV-8: compiled rows and the enumeration agree on every word."""
    for event in ContactEvent:
        assert Binding(uri=PHONE, expires_at=1, event=event).event == event


def test_a_contact_parameter_that_is_not_utf8_is_refused() -> None:
    """MSG-1: what is stored and told must be text."""
    octets = register(f'<{PHONE}>;a="caf?"').octets.replace(b"caf?", b"caf\xe9")
    with pytest.raises(SipParseError):
        Draft(AOR, None, NOW).bind(parse_message(octets), 0, 60, 60, "", NOW)


# -- GRUUs


def instance_record(gruus: GruuIndexes | None) -> bytes:
    draft = Draft(AOR, None, NOW)
    assert draft.bind(register(f"<{PHONE}>{INSTANCE}"), 0, 60, 60, "", NOW, gruus=gruus) == ADDED
    return finished(draft).record


def test_only_a_row_with_gruus_is_longer() -> None:
    """GRU-4: 12 octets, so that a record without them is what it has been, and is read as ever."""
    without, with_gruus = instance_record(None), instance_record(GruuIndexes())
    assert len(with_gruus) - len(without) == 12
    [row], [plain] = Registration(with_gruus).bindings, Registration(without).bindings
    assert (row.gruu, plain.gruu) == ((NOW * 100, 1), None)
    assert (row.uri, row.params, row.instance) == (plain.uri, plain.params, plain.instance)
    change = finished_change(with_gruus)
    assert Change.from_octets(1, change.to_octets()).ended == change.ended


def finished_change(record: bytes) -> Change:
    draft = Draft(AOR, record, NOW + 1)
    assert draft.remove(None, "probation", 30) == 1
    return finished(draft)


def test_a_row_that_only_says_it_has_gruus_is_corrupt() -> None:
    """SEC-5."""
    with_gruus = instance_record(GruuIndexes())
    with pytest.raises(ValueError, match="corrupt record"):
        Registration(with_gruus[:-12])
    with pytest.raises(ValueError, match="corrupt record"):
        Registration(with_gruus[:-1])


def test_indexes_never_come_twice() -> None:
    """GRU-4: not within a millisecond, and not if time stands or runs backwards."""
    indexes = GruuIndexes()
    drawn = [indexes.next(now_ms) for now_ms in (0, 1, 1, 0, *[2] * 300, 3, 1)]
    assert len(set(drawn)) == len(drawn)
    assert GruuIndexes().next(2**63 - 1) < 2**48
