"""`reg.export` and `reg.import`: every field there and back, and what is wrong with one contact is told of it alone."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo.admin.control import INVALID_PARAMS
from reginfo.admin.transfer import MAX_IMPORT, binding_of, exported
from reginfo.fast import Binding, Draft, Registration
from tests.admin.test_rpc import ALICE, NOW_MS, Table, call, refusal, table

__all__ = ["call", "table"]

WALL = NOW_MS / 1000
CONTACT: dict[str, Any] = {
    "AoR": ALICE,
    "Address": "sip:alice@192.0.2.1:5070;transport=tcp",
    "Expires-At": WALL + 600,
    "Q": 0.5,
    "Call-ID": "1@host",
    "CSeq": 7,
    "User-Agent": "Phone/1.0 (é)",
    "Received": "sip:198.51.100.7:4000",
    "Path": "<sip:edge.example.com;lr>, <sip:b.example.net;lr>",
    "Params": ';methods="INVITE,ACK";kamailio-flags=3',
    "Instance": "urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF",
    "Reg-Id": 1,
    "Display-Name": 'A "desk" phone',
    "Registered": WALL - 100,
    "Last-Modified": WALL - 50,
}


def test_an_imported_contact_is_created_with_all_it_had(call: Callable[..., Any]) -> None:
    result = call("reg.import", {"contacts": [CONTACT]})
    assert result == {"Added": 1, "Replaced": 0, "Expired": 0, "Failed": []}
    [registration] = call("reg.export")["AoRs"]
    [contact] = registration["Contacts"]
    assert registration["AoR"] == ALICE
    expected = {name: value for name, value in CONTACT.items() if name not in ("AoR", "Params")}
    assert {name: contact[name] for name in expected} == expected
    assert contact["Params"] == CONTACT["Params"] + f';+sip.instance="<{CONTACT["Instance"]}>";reg-id=1'
    assert (contact["Event"], contact["Origin"]) == ("created", "local")


def test_what_was_exported_is_imported_as_it_was(call: Callable[..., Any], table: Table) -> None:
    call("reg.import", {"contacts": [CONTACT, {**CONTACT, "Address": "sip:alice@192.0.2.2", "Q": None, "Reg-Id": 2}]})
    before = call("reg.export")["AoRs"]
    table.records.clear()
    contacts = [{"AoR": one["AoR"], **contact} for one in before for contact in one["Contacts"]]
    call("reg.import", {"contacts": contacts})
    after = call("reg.export")["AoRs"]
    for one in (*before, *after):
        del one["Revision"]
        one["Contacts"].sort(key=lambda contact: contact["Address"])
        for contact in one["Contacts"]:
            del contact["Contact-Id"]
    assert after == before


def test_a_contact_that_is_there_is_replaced_and_one_whose_time_is_over_is_not_bound(
    call: Callable[..., Any], table: Table
) -> None:
    call("reg.import", {"contacts": [CONTACT]})
    late = {**CONTACT, "AoR": "sip:late@example.com", "Expires-At": WALL}
    result = call("reg.import", {"contacts": [{**CONTACT, "CSeq": 9}, late]})
    assert result == {"Added": 0, "Replaced": 1, "Expired": 1, "Failed": []}
    assert list(table.records) == [ALICE]
    assert call("ul.lookup", [ALICE])["Contacts"][0]["CSeq"] == 9


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"AoR": "tel:+1"}, ""),
        ({"AoR": None}, "Expected `str`, got `null` - at `$.AoR`"),
        ({"AoR": "sip:alice@example.net"}, "is not of example.com"),
        ({"Address": "nonsense"}, ""),
        ({"Address": "sip:a@b\r\nX: y"}, ""),
        ({"Received": "somewhere"}, ""),
        ({"Path": "somewhere"}, "Path: "),
        ({"Path": "<sip:a;lr>\r\nX: y"}, "Path: control character"),
        ({"User-Agent": "x\r\ny"}, "control character"),
        ({"Call-ID": "\x7f"}, "control character"),
        ({"Params": "methods"}, "params: ';' expected"),
        ({"Params": ";expires=3"}, "params: q and expires have their own place"),
        ({"Instance": 'x">;a="'}, "Instance: no URN"),
        ({"Q": 7}, "<= 1.0 - at `$.Q`"),
        ({"CSeq": -1}, ">= 0 - at `$.CSeq`"),
        ({"Expires-At": "soon"}, "Expected `float"),
        ({"Expires-At": None}, "neither Expires-At nor Expires"),
    ],
)
def test_a_contact_that_cannot_be_bound_is_named_and_the_others_are_bound(
    call: Callable[..., Any], changed: dict[str, Any], reason: str
) -> None:
    other = {**CONTACT, "AoR": "sip:bob@example.com"}
    result = call("reg.import", {"contacts": [{**CONTACT, **changed}, other]})
    [failure] = result["Failed"]
    assert (result["Added"], failure["Index"]) == (1, 0)
    assert reason in failure["Error"]
    assert failure["Error"]


@pytest.mark.parametrize("contacts", [[], [CONTACT] * (MAX_IMPORT + 1), "alice", None])
def test_a_request_holds_some_contacts_and_not_too_many(call: Callable[..., Any], contacts: Any) -> None:
    assert refusal(call, "reg.import", {"contacts": contacts}) == INVALID_PARAMS
    assert call("reg.import", {"contacts": [CONTACT] * MAX_IMPORT})["Replaced"] == MAX_IMPORT - 1


def test_what_is_hidden_is_not_exported() -> None:
    draft = Draft(ALICE, None, NOW_MS)
    draft.learn(Binding(uri="sip:a@192.0.2.1", origin="peer:east", expires_at=NOW_MS + 60_000, call_id="1"))
    draft.add(Binding(uri="sip:b@192.0.2.2", expires_at=NOW_MS + 60_000, call_id="2"))
    draft.remove("sip:a@192.0.2.1", "deactivated")
    change = draft.finish("operator")
    assert change is not None
    document: Any = exported(Registration(change.record), NOW_MS, WALL)
    assert [contact["Address"] for contact in document["Contacts"]] == ["sip:b@192.0.2.2"]


JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda one: st.lists(one, max_size=3))


@given(JSON)
def test_nothing_but_a_contact_is_one(row: Any) -> None:
    with pytest.raises(ValueError, match="Expected `object`"):
        binding_of(row, NOW_MS, WALL)


@given(st.sampled_from(sorted(CONTACT)), JSON | st.integers())
def test_whatever_stands_in_a_field_is_bound_or_refused(name: str, value: Any) -> None:
    with suppress(ValueError):
        bound = binding_of({**CONTACT, name: value}, NOW_MS, WALL)
        assert bound is None or bound[1].expires_at > NOW_MS
