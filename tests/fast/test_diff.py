"""diff_contacts against its twin (standards.md: URI-3, URI-4, XML-9)."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo.fast import Binding, ContactDelta, apply_delta, diff_contacts
from tests.reference.binding import Contact, diff

URIS = (
    "sip:alice@192.0.2.1:5060",
    "sip:%61lice@192.0.2.1:5060",
    "sip:alice@192.0.2.1",
    "sip:alice@host.example.org",
    "sip:alice@HOST.example.org",
    "sip:alice@host.example.org;security=on",
    "sip:alice@host.example.org;security=off",
    "sip:alice@host.example.org;transport=tcp",
    "sips:alice@host.example.org",
    "sip:bob@[2001:db8::1]",
    "sip:bob@[2001:DB8:0::1]",
    "tel:+15551234",
    "TEL:+15551234",
)

contacts = st.lists(
    st.builds(Contact, st.sampled_from(URIS), st.sampled_from(("1", "2")), st.sampled_from(("", "", "peer:a")))
    | st.builds(
        Contact,
        st.sampled_from(URIS[:4]),
        st.sampled_from(("1", "2")),
        st.just(""),
        st.sampled_from((1, 2)),
        st.sampled_from(("urn:uuid:0-A", "urn:uuid:0-a", "urn:uuid:1-a")),
    ),
    max_size=8,
)


def bindings(of: list[Contact]) -> list[Binding]:
    return [
        Binding(
            uri=contact.uri,
            call_id=contact.content,
            params=f';+sip.instance="<{contact.instance}>";reg-id={contact.reg_id}' if contact.reg_id else "",
            origin=contact.origin,
            expires_at=1000,
        )
        for contact in of
    ]


def plain(binding: Binding) -> Contact:
    return Contact(binding.uri, binding.call_id, binding.origin, binding.reg_id or 0, binding.instance or "")


@given(contacts, contacts)
def test_diff_equals_the_reference(before: list[Contact], after: list[Contact]) -> None:
    """URI-3, URI-4: pairs are found by equality, one to one, however the lists are ordered."""
    delta = diff_contacts(bindings(before), bindings(after))
    added, changed, removed = diff(before, after)
    assert [plain(binding) for binding in delta.added] == added
    assert [(plain(old), plain(new)) for old, new in delta.changed] == changed
    assert [plain(binding) for binding in delta.removed] == removed


@given(contacts, contacts)
def test_applying_a_delta_turns_before_into_after(before: list[Contact], after: list[Contact]) -> None:
    old, new = bindings(before), bindings(after)
    result = apply_delta(old, diff_contacts(old, new))
    assert Counter(result) == Counter(new)


@given(contacts)
def test_nothing_differs_from_itself(same: list[Contact]) -> None:
    delta = diff_contacts(bindings(same), bindings(same))
    assert not delta
    assert delta == ContactDelta()
    assert hash(delta) == hash(ContactDelta())


def test_a_contact_keeps_its_place_and_new_ones_come_last() -> None:
    a, b, c = bindings([Contact(URIS[0], "1"), Contact(URIS[3], "1"), Contact(URIS[9], "1")])
    [changed] = bindings([Contact(URIS[0], "2")])
    assert apply_delta([a, b], diff_contacts([a, b], [changed, b, c])) == [changed, b, c]


def test_a_uri_written_differently_is_changed_not_added() -> None:
    """URI-3, URI-5: case of the host and escapes do not make another contact."""
    before = bindings([Contact(URIS[0], "1"), Contact(URIS[3], "1")])
    after = bindings([Contact(URIS[1], "1"), Contact(URIS[4], "1")])
    assert diff_contacts(before, after) == ContactDelta(changed=tuple(zip(before, after, strict=True)))


def test_equality_is_not_carried_over_a_third_uri() -> None:
    """URI-4: on equals none, none equals off, on does not equal off."""
    on, off = bindings([Contact(URIS[5], "1"), Contact(URIS[6], "1")])
    assert diff_contacts([on], [off]) == ContactDelta(added=[off], removed=[on])


def test_the_same_octets_are_paired_before_equal_ones() -> None:
    """URI-4: an equal URI does not take the partner of an identical one."""
    none, on = bindings([Contact(URIS[3], "1"), Contact(URIS[5], "1")])
    assert diff_contacts([none], [on, none]) == ContactDelta(added=[on])


@pytest.mark.parametrize("n", [2000])
def test_thousands_of_contacts_are_not_compared_with_each_other(n: int) -> None:
    """Pairs are looked up by user, host and port: 4 million comparisons would take seconds."""
    before = [Binding(uri=f"sip:u@h{i}.example.org", expires_at=1) for i in range(n)]
    after = [Binding(uri=f"sip:u@H{i}.example.org", expires_at=1) for i in reversed(range(n))]
    delta = diff_contacts(before, after)
    assert len(delta.changed) == n
    assert not delta.added
    assert not delta.removed


def test_only_bindings_are_compared() -> None:
    with pytest.raises(TypeError):
        diff_contacts(["sip:a@b"], [])  # type: ignore[list-item]
