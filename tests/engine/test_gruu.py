"""GRUUs through the engine: GRU-1 to GRU-8, GRU-7 and XML-11 in documents (RFC 5627, RFC 5628)."""

import re
from typing import Any

import pytest

from reginfo.config import NotifierSection
from reginfo.fast import SipMessage, parse_reginfo
from reginfo.sip.gruu import KEYS, Gruus
from reginfo.store.table import TableStore
from tests.harness import PHONE, House, contact, request

AOR = "sip:alice@example.com"
DESK = "sip:desk@192.0.2.10:5060"
CELL = "sip:cell@192.0.2.11:5060"
URN = "urn:uuid:00000000-0000-4000-8000-00000000ab01"
OTHER_URN = "urn:uuid:00000000-0000-4000-8000-00000000ab02"
ASKS = "Supported: gruu"


def instance(urn: str = URN, extra: str = "") -> str:
    return f';+sip.instance="<{urn}>"{extra}'


def bind(house: House, uri: str = DESK, urn: str = URN, *rows: str, expires: int = 600, **parts: Any) -> SipMessage:
    answer = house.register(contact(uri, expires, instance(urn)), *(rows or (ASKS,)), **parts)
    assert answer.status == 200
    return answer


def gruus_of(answer: SipMessage, uri: str = DESK) -> tuple[str | None, str | None]:
    """Return the public and the temporary GRUU of a listed contact."""
    [one] = [one for one in answer.contacts if one.uri == uri]
    given = dict(one.parameters)
    public, temporary = given.get("pub-gruu"), given.get("temp-gruu")
    return public and public.strip('"'), temporary and temporary.strip('"')


def temporary(answer: SipMessage, uri: str = DESK) -> str:
    found = gruus_of(answer, uri)[1]
    assert found is not None
    return found


def status(house: House, uri: str, method: str = "OPTIONS", *rows: str) -> int:
    return house.ask(request(method, *rows, uri=uri)).status


@pytest.fixture
def house() -> House:
    return House(gruu=True)


# -- what a phone is told


def test_a_registered_instance_is_told_both_gruus(house: House) -> None:
    """GRU-2, GRU-3, GRU-5: with the instance, and without a word about gruu in Require or Supported."""
    answer = bind(house)
    public, temp = gruus_of(answer)
    assert public == f"{AOR};gr={URN}"
    assert temp is not None
    assert re.fullmatch(r"sip:tgruu\.[A-Za-z0-9_-]{36}@example\.com;gr", temp)
    assert answer.contacts[0].instance == URN
    assert (answer.require, answer.supported) == ([], ["path", "outbound"])


@pytest.mark.parametrize("rows", [("Supported: path",), ("Supported: gruux",), ("Supported:",)])
def test_who_does_not_ask_for_gruus_is_told_none(house: House, rows: tuple[str, ...]) -> None:
    """GRU-5: +sip.instance is told always; the GRUUs are there when they are asked for."""
    answer = bind(house, DESK, URN, *rows)
    assert gruus_of(answer) == (None, None)
    assert answer.contacts[0].instance == URN
    assert gruus_of(house.register(ASKS, cseq=2))[0] == f"{AOR};gr={URN}"


def test_no_gruus_unless_they_are_configured() -> None:
    """GRU-5, UAS-2: nor is gruu known then."""
    house = House()
    assert gruus_of(bind(house)) == (None, None)
    answer = house.register(contact(CELL), "Require: gruu")
    assert (answer.status, answer.headers("Unsupported")) == (420, ["gruu"])


def test_gruu_may_be_required_where_it_is_configured(house: House) -> None:
    """UAS-2, UAS-4, REG-18."""
    assert house.register(contact(), "Require: gruu").status == 200
    assert house.ask(request("OPTIONS", "Require: gruu")).supported == ["path", "outbound", "gruu"]


def test_a_contact_without_instance_has_no_gruu(house: House) -> None:
    """GRU-1."""
    house.register(contact(CELL), ASKS)
    assert gruus_of(bind(house, cseq=2), CELL) == (None, None)
    assert [one.gruu is not None for one in house.bound().bindings] == [False, True]


def test_what_a_phone_says_of_gruus_is_ignored_and_never_told(house: House) -> None:
    """GRU-2: also without GRUUs here."""
    lie = ';pub-gruu="sip:x@example.com;gr=1";temp-gruu="sip:tgruu.y@example.com;gr";TEMP-GRUU-CSEQ=1;a=b'
    for where in (house, House()):
        answer = where.register(contact(DESK, 600, instance(extra=lie)))
        assert [name for name, _ in answer.contacts[0].parameters if "gruu" in name.lower()] == []
        assert dict(answer.contacts[0].parameters)["a"] == "b"
    assert gruus_of(house.register(ASKS, cseq=2))[0] == f"{AOR};gr={URN}"


def test_a_sips_contact_has_sips_gruus(house: House) -> None:
    """GRU-5, RFC 5630 5.2.1."""
    sips = "sips:desk@192.0.2.10"
    octets = request("REGISTER", contact(sips, 600, instance()), ASKS, uri="sips:example.com")
    public, temp = gruus_of(house.ask(octets), sips)
    assert public == f"sips:alice@example.com;gr={URN}"
    assert temp is not None
    assert temp.startswith("sips:tgruu.")
    assert status(house, public) == status(house, temp) == 200


def test_an_instance_is_escaped_in_its_public_gruu(house: House) -> None:
    """GRU-2, URI-2: %HH of a URN stays what it is, and is compared after one unescaping."""
    urn = "urn:example:a%20b=c"
    public, _ = gruus_of(bind(house, DESK, urn))
    assert public == f"{AOR};gr=urn:example:a%2520b%3Dc"
    assert status(house, public) == 200


@pytest.mark.parametrize(
    "uri",
    [AOR, "sip:%61lice@EXAMPLE.com", f"{AOR};gr={URN}", f"sip:tgruu.{'A' * 36}@example.com;gr", "tel:+1555"],
)
def test_a_contact_that_leads_back_is_403(house: House, uri: str) -> None:
    """GRU-1: for an instance with an expiry that is not zero; nothing changes."""
    assert house.register(contact(uri, 600, instance())).status == 403
    assert house.contacts() == []
    assert house.register(contact(uri, 0, instance()), cseq=2).status == 200
    assert house.register(contact(uri, 600), cseq=3).status == 200


@pytest.mark.parametrize("uri", [f"{DESK};bnc", f"{DESK};transport=tcp;BNC", "sip:192.0.2.10;bnc"])
def test_a_bulk_contact_is_refused(house: House, uri: str) -> None:
    """GRU-8: never 2xx with a user part; without gin, which nobody here knows, it would be told to watchers."""
    assert house.register(contact(uri)).status == 400
    answer = house.register(contact(uri), "Require: gin")
    assert (answer.status, answer.headers("Unsupported")) == (420, ["gin"])
    assert house.contacts() == []
    assert house.register(contact("sip:desk@192.0.2.10;bncx;x=bnc")).status == 200


# -- how long a temporary GRUU is good


def test_each_refresh_makes_a_new_one_and_the_old_ones_stay_good(house: House) -> None:
    """GRU-3, GRU-4."""
    first = temporary(bind(house))
    second = temporary(bind(house, cseq=2))
    assert first != second
    assert status(house, first) == status(house, second) == 200
    assert [one.gruu and one.gruu[1] for one in house.bound().bindings] == [1]


def test_a_retransmission_is_answered_with_the_same_gruus(house: House) -> None:
    """GRU-4, TX-3: also by way of the committed state, once it is no retransmission any more."""
    octets = request("REGISTER", contact(DESK, 600, instance()), ASKS)
    first = house.ask(octets)
    assert gruus_of(house.ask(octets)) == gruus_of(first)
    assert gruus_of(house.ask(octets.replace(b"z9hG4bK", b"z9hG4bKother"))) == gruus_of(first)


def test_a_flow_whose_contact_moves_keeps_the_temporary_ones(house: House) -> None:
    """GRU-3, OUT-2: the instance was registered all the time, and with one Call-ID."""
    supported = "Supported: gruu, outbound, path"
    desk, cell = (contact(uri, 600, instance(extra=";reg-id=1")) for uri in (DESK, CELL))
    first = temporary(house.register(desk, supported))
    second = temporary(house.register(cell, supported, cseq=2), CELL)
    assert first != second
    assert [one.uri for one in house.bound().bindings] == [CELL]
    assert status(house, first) == status(house, second) == 200


def test_another_call_id_ends_the_former_ones(house: House) -> None:
    """GRU-3: 404 afterwards, also for those of other contacts of the instance, which all tell the new one."""
    first = temporary(bind(house))
    bind(house, CELL, cseq=2)
    answer = bind(house, call_id="call-2")
    assert temporary(answer) == temporary(answer, CELL)
    assert status(house, first) == 404
    assert status(house, temporary(answer)) == 200
    assert {one.gruu for one in house.bound().bindings} == {house.bound().bindings[0].gruu}


def test_only_the_instance_that_began_anew_loses_its_gruus(house: House) -> None:
    """GRU-3."""
    kept = temporary(bind(house, CELL, OTHER_URN), CELL)
    lost = temporary(bind(house, cseq=2))
    bind(house, call_id="call-2")
    assert (status(house, lost), status(house, kept)) == (404, 200)


@pytest.mark.parametrize("how", ["unregister", "star", "expiry"])
def test_the_end_of_the_last_contact_ends_them(house: House, how: str) -> None:
    """GRU-3, GRU-4: the same Call-ID takes another index then; the public one is 480."""
    public, first = gruus_of(bind(house))
    assert public is not None
    assert first is not None
    if how == "unregister":
        house.register(contact(DESK, 0, instance()), cseq=2)
    elif how == "star":
        house.register("Contact: *", "Expires: 0", cseq=2)
    else:
        house.sleep(601)
    assert (status(house, first), status(house, public)) == (404, 480)
    again = temporary(bind(house, cseq=3))
    assert again != first
    assert (status(house, first), status(house, again), status(house, public)) == (404, 200, 200)


def test_a_contact_of_the_instance_is_left_after_another_ended(house: House) -> None:
    """GRU-3: they are good until the last one is gone."""
    first = temporary(bind(house))
    bind(house, CELL, cseq=2)
    house.register(contact(DESK, 0, instance()), cseq=3)
    assert status(house, first) == 200


def test_gruus_outlive_a_restart() -> None:
    """GRU-4: the index is in the row, and the next one is another."""
    store = TableStore()
    house = House(store, gruu=True)
    first = temporary(bind(house))
    house.crash()
    house.sleep(0.1)
    assert status(house, first) == 200
    assert temporary(house.register(ASKS, cseq=2)) == first
    second = temporary(bind(house, call_id="call-2"))
    assert (status(house, first), status(house, second)) == (404, 200)


def test_temporary_gruus_have_nothing_in_common(house: House) -> None:
    """GRU-4: those of one instance no more than those of two."""
    made = [temporary(bind(house, cseq=cseq)).removeprefix("sip:tgruu.")[:36] for cseq in range(1, 30)]
    assert len(set(made)) == len(made)
    for place in range(21):
        assert len({text[place] for text in made}) > 5
        assert len({text[22 + place] for text in made if place < 13} or range(6)) > 5


# -- who is reached by one


def test_another_user_agent_is_not_reached_by_a_gruu(house: House) -> None:
    """GRU-6: gr is not stripped when a GRUU is looked up."""
    bind(house, CELL, OTHER_URN)
    assert status(house, f"{AOR};gr={URN}") == 480
    assert status(house, f"{AOR};gr={OTHER_URN.upper().replace('URN:UUID', 'urn:uuid')}") == 200


@pytest.mark.parametrize(
    "uri",
    [
        f"{AOR};gr=desk",
        f"{AOR};gr",
        "sip:tgruu.x@example.com;gr",
        f"sip:tgruu.{'A' * 36}@example.com;gr",
        f"{AOR};GR=1",
    ],
)
@pytest.mark.parametrize("method", ["OPTIONS", "SUBSCRIBE", "PUBLISH"])
def test_what_nobody_here_has_made_is_404(house: House, uri: str, method: str) -> None:
    """GRU-6."""
    bind(house)
    assert status(house, uri, method, "Event: reg", "Contact: <sip:w@192.0.2.10>") == 404


def test_a_forged_gruu_is_404(house: House) -> None:
    """GRU-4: each character counts."""
    made = temporary(bind(house))
    for place in range(len("sip:tgruu."), made.index("@")):
        forged = made[:place] + ("A" if made[place] != "A" else "B") + made[place + 1 :]
        assert status(house, forged) == 404


def test_registration_state_is_watched_by_a_public_gruu_but_not_by_a_temporary_one(house: House) -> None:
    """GRU-6: the document names the AoR, which a temporary GRUU hides."""
    public, temp = gruus_of(bind(house))
    rows = ("Event: reg", "Contact: <sip:alice@192.0.2.10>")
    assert status(house, public or "", "SUBSCRIBE", *rows) == 200
    assert status(house, temp or "", "SUBSCRIBE", *rows) == 403
    assert status(house, f"{AOR};gr={OTHER_URN}", "SUBSCRIBE", *rows) == 480


def test_gr_is_a_parameter_like_any_other_without_gruus() -> None:
    """GRU-6."""
    assert status(House(), f"{AOR};gr=desk") == 200


# -- documents


def document(house: House, watcher: str) -> str:
    """Return the first document a watcher is told."""
    octets = request("SUBSCRIBE", "Event: reg", "Contact: <sip:w@192.0.2.10>", uri=AOR, call_id=watcher)
    octets = octets.replace(b"<sip:alice@example.com>;tag", f"<{watcher}>;tag".encode())
    house.engine.receive([(octets, PHONE)], house.now())
    [body] = [octets.partition(b"\r\n\r\n")[2] for octets, _ in house.pump() if octets.startswith(b"NOTIFY")]
    return body.decode()


def test_documents_tell_public_gruus_to_all_and_temporary_ones_to_who_may_register() -> None:
    """GRU-7, XML-11: same values on all contacts of an instance, first-cseq of the oldest that is good."""
    house = House(gruu=True, notifier=NotifierSection(allow=("sip:app@example.com",)))
    bind(house, cseq=7)
    answer = bind(house, CELL, cseq=8)
    own = parse_reginfo(document(house, AOR).encode()).registrations[0].contacts
    assert {one.pub_gruu for one in own} == {f"{AOR};gr={URN}"}
    assert {(one.temp_gruu, one.first_cseq) for one in own} == {(temporary(answer), 7)}
    others = parse_reginfo(document(house, "sip:app@example.com").encode()).registrations[0].contacts
    assert {(one.pub_gruu, one.temp_gruu) for one in others} == {(f"{AOR};gr={URN}", None)}


def test_documents_are_valid_and_name_no_gruu_among_the_parameters() -> None:
    """GRU-7, XML-10."""
    house = House(gruu=True)
    bind(house)
    body = document(house, AOR)
    assert body.count("<gr:pub-gruu") == body.count("<gr:temp-gruu") == 1
    assert 'name="pub-gruu"' not in body


def test_without_gruus_documents_know_none() -> None:
    """XML-11."""
    house = House()
    bind(house)
    assert "gruu" not in document(house, AOR)


# -- the recipe


def test_the_recipe_is_kept() -> None:
    """GRU-4: other keys make other GRUUs, and know none of these."""
    mine, theirs = Gruus(bytes(KEYS), lambda index: None), Gruus(bytes([1]) * KEYS, lambda index: None)
    user = mine.mint(2**48 - 1, b"call-1", 2**32 - 1)
    assert mine.index_of(user.decode()) == 2**48 - 1
    assert theirs.index_of(user.decode()) is None
    assert theirs.mint(2**48 - 1, b"call-1", 2**32 - 1) != user
    assert mine.mint(2**48 - 1, b"call-2", 2**32 - 1) != user
    for text in ("", "tgruu.", user.decode() + "A", user.decode()[:-1], user.decode().upper(), "tgruu.é" * 6):
        assert mine.index_of(text) is None
