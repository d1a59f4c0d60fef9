"""The registrar through the engine: standards section 8 (REG-*)."""

import pytest
from msgspec import structs

from reginfo.fast import Flow, SipMessage
from tests.harness import LOCAL, PHONE, House, contact, request


@pytest.fixture
def house() -> House:
    return House()


def listed(answer: SipMessage) -> dict[str, int | None]:
    return {contact.uri: contact.expires for contact in answer.contacts}


A = "sip:alice@192.0.2.10:5060"
B = "sip:alice@192.0.2.11:5060"
C = "sip:alice@192.0.2.12:5060"


def test_fetch_of_unknown_aor_lists_nothing(house: House) -> None:
    """REG-5, REG-12: an empty set has no Contact row."""
    answer = house.register()
    assert (answer.status, answer.contact_count) == (200, 0)


def test_register_lists_every_binding_with_remaining_seconds_and_date(house: House) -> None:
    """REG-12."""
    house.register(contact(A, 600), call_id="a")
    house.sleep(10)
    answer = house.register(contact(B, 300), call_id="b")
    assert listed(answer) == {A: 590, B: 300}
    assert answer.header("Date") == "Mon, 05 Jan 2026 10:00:10 GMT"


def test_fetch_changes_nothing(house: House) -> None:
    """REG-5."""
    house.register(contact(A, 600))
    before = house.bound().octets
    assert listed(house.register(cseq=2)) == {A: 600}
    assert house.bound().octets == before


@pytest.mark.parametrize(
    ("headers", "granted"),
    [
        ([contact(A, 700), "Expires: 900"], 700),
        ([contact(A, None), "Expires: 900"], 900),
        ([contact(A, None)], 3600),
        ([contact(A, "-1")], 3600),
        ([contact(A, "abc")], 3600),
        ([contact(A, "")], 3600),
        ([contact(A, None), "Expires: soon"], 3600),
        ([contact(A, 7200)], 7200),
        ([contact(A, 99999999999)], 7200),
        ([contact(A, 4294967296), "Expires: 60"], 7200),
    ],
)
def test_requested_expiry(house: House, headers: list[str], granted: int) -> None:
    """REG-7, REG-8, REG-9: parameter, then header, then default; malformed is 3600; capped, never lengthened."""
    assert listed(house.register(*headers)) == {A: granted}


@pytest.mark.parametrize(("expires", "status"), [(59, 423), (1, 423), (60, 200), (0, 200), (3600, 200)])
def test_too_brief_expiry_is_423_with_min_expires(house: House, expires: int, status: int) -> None:
    """REG-9: 423 only where 0 < requested < minimum."""
    answer = house.register(contact(A, expires))
    assert answer.status == status
    assert answer.min_expires == (60 if status == 423 else None)


def test_expiry_of_an_hour_is_never_too_brief() -> None:
    """REG-9: not even below a configured minimum of more than an hour."""
    house = House(min_expires=4000, default_expires=5000)
    assert house.register(contact(A, 3600)).status == 200
    assert house.register(contact(B, 3599), cseq=2).status == 423


def test_one_too_brief_contact_fails_the_whole_request(house: House) -> None:
    """REG-9, REG-11, UAS-1."""
    answer = house.register(contact(A, 600), contact(B, 5))
    assert answer.status == 423
    assert house.contacts() == []


def test_higher_cseq_updates_and_equal_or_lower_aborts(house: House) -> None:
    """REG-10, REG-11."""
    house.register(contact(A, 600), cseq=5)
    assert house.register(contact(A, 900), cseq=5).status == 500
    assert house.register(contact(A, 900), cseq=4).status == 500
    assert listed(house.register()) == {A: 600}
    assert listed(house.register(contact(A, 900), cseq=6)) == {A: 900}


def test_other_call_id_updates_whatever_the_cseq(house: House) -> None:
    """REG-10."""
    house.register(contact(A, 600), cseq=5)
    assert listed(house.register(contact(A, 900), call_id="call-2", cseq=1)) == {A: 900}


def test_request_equal_to_the_committed_state_is_answered_and_changes_nothing(house: House) -> None:
    """REG-10 with the idempotence of absorbed retransmissions: same Call-ID, CSeq, contact and intent."""
    house.register(contact(A, 600), cseq=5)
    before = house.bound().octets
    house.sleep(100)
    answer = house.register(contact(A, 600), cseq=5)
    assert (answer.status, listed(answer)) == (200, {A: 500})
    assert house.bound().octets == before


def test_stale_contact_rolls_back_the_others(house: House) -> None:
    """REG-11: all or nothing."""
    house.register(contact(A, 600), cseq=5)
    assert house.register(contact(B, 600), contact(A, 700), cseq=5).status == 500
    assert house.contacts() == [A]


def test_expires_zero_removes_and_is_a_no_op_for_unknown_contacts(house: House) -> None:
    """REG-10."""
    house.register(contact(A, 600))
    house.register(contact(B, 600), cseq=2)
    assert listed(house.register(contact(A, 0), cseq=3)) == {B: 600}
    assert listed(house.register(contact(C, 0), cseq=4)) == {B: 600}


def test_star_removes_every_binding(house: House) -> None:
    """REG-6."""
    house.register(contact(A, 600))
    house.register(contact(B, 600), call_id="call-2", cseq=9)
    answer = house.register("Contact: *", "Expires: 0", cseq=2)
    assert (answer.status, answer.contact_count) == (200, 0)
    assert house.registration() is None


@pytest.mark.parametrize(
    "headers",
    [
        ["Contact: *"],
        ["Contact: *", "Expires: 3600"],
        ["Contact: *", "Expires: zero"],
        ["Contact: *", contact(B, 0), "Expires: 0"],
        [contact(B, 0), "Contact: *", "Expires: 0"],
        ["Contact: *;expires=0", "Expires: 0"],
        ["Contact: *, *", "Expires: 0"],
    ],
)
def test_misused_star_is_400(house: House, headers: list[str]) -> None:
    """REG-6: the sole value, without parameters, with an Expires header of 0."""
    house.register(contact(A, 600))
    assert house.register(*headers, cseq=2).status == 400
    assert house.contacts() == [A]


def test_star_with_a_cseq_not_higher_aborts_everything(house: House) -> None:
    """REG-6."""
    house.register(contact(A, 600), call_id="other")
    house.register(contact(B, 600), cseq=7)
    assert house.register("Contact: *", "Expires: 0", cseq=7).status == 500
    assert house.contacts() == [A, B]


def test_contacts_are_compared_as_uris(house: House) -> None:
    """REG-10, URI-3: an equal URI written otherwise is the same binding."""
    house.register(contact("sip:%61lice@PHONE.example.net;transport=TCP", 600))
    house.register(contact("sip:alice@phone.EXAMPLE.net;Transport=tcp", 900), cseq=2)
    assert len(house.contacts()) == 1


def test_aor_is_the_canonical_to_uri(house: House) -> None:
    """REG-4, URI-7."""
    house.register(contact(A, 600), user="%61lice")
    assert house.contacts("sip:alice@example.com") == [A]


def test_last_of_equal_contacts_in_a_request_wins(house: House) -> None:
    """REG-13."""
    assert listed(house.register(contact(A, 600), contact(A, 900))) == {A: 900}


@pytest.mark.parametrize("q", ["1.001", "2", "0.1234", ".5", "high", ""])
def test_malformed_q_is_400(house: House, q: str) -> None:
    """REG-14."""
    assert house.register(contact(A, 600, f";q={q}")).status == 400


def test_contact_parameters_are_echoed_where_they_stood(house: House) -> None:
    """REG-12, REG-14: URI parameters inside the brackets, the others outside, no q invented."""
    uri = "sip:alice@192.0.2.10;ob;x=1?Route=%3Csip:proxy.example.com%3E"
    extra = ';q=0.7;+sip.instance="<urn:uuid:00000000-0000-4000-8000-000000000001>";methods="INVITE,BYE";flag'
    echoed = house.register(contact(uri, 600, extra)).contacts[0]
    assert (echoed.uri, echoed.q) == (uri, 700)
    assert echoed.instance == "urn:uuid:00000000-0000-4000-8000-000000000001"
    assert ("methods", '"INVITE,BYE"') in echoed.parameters
    assert ("flag", None) in echoed.parameters
    assert house.register(contact(B, 600), cseq=2).contacts[1].q is None


@pytest.mark.parametrize("uri", ["tel:+15551234", "mailto:alice@example.com", "http://example.com/alice"])
def test_contacts_of_any_scheme_are_bound(house: House, uri: str) -> None:
    """REG-13, URI-6."""
    assert listed(house.register(contact(uri, 600))) == {uri: 600}


def test_sips_contact_needs_sips_everywhere(house: House) -> None:
    """REG-15."""
    sips = contact("sips:alice@192.0.2.10", 600)
    assert house.register(sips).status == 400
    assert house.register(sips, contact(A, 600), uri="sips:example.com").status == 400
    assert house.register(sips, "Path: <sip:edge.example.com;lr>", uri="sips:example.com").status == 400
    assert house.contacts() == []
    assert house.register(sips, uri="sips:example.com").status == 200


def test_max_contacts_at_n_and_beyond() -> None:
    """REG-16: 403, nothing changed; a refresh of what is bound is never refused."""
    house = House(max_contacts=2)
    assert house.register(contact(A, 600), contact(B, 600)).status == 200
    assert house.register(contact(C, 600), contact(A, 0), cseq=2).status == 200
    assert house.register(contact(A, 600), cseq=3).status == 403
    assert house.contacts() == [B, C]
    assert house.register(contact(B, 700), cseq=4).status == 200


def test_replace_oldest_makes_room() -> None:
    """REG-16 with max_contacts_policy = "replace-oldest"."""
    house = House(max_contacts=2, max_contacts_policy="replace-oldest")
    for cseq, uri in enumerate([A, B, C], 1):
        assert house.register(contact(uri, 600), cseq=cseq).status == 200
        house.sleep(1)
    assert house.contacts() == [B, C]
    three = [contact(f"sip:alice@198.51.100.{n}", 600) for n in range(3)]
    assert house.register(*three, cseq=9).status == 403
    assert house.contacts() == [B, C]


def test_contacts_per_request_at_n_and_beyond() -> None:
    """SEC-5: 32 contacts in a request, the 33rd is refused and nothing changes."""
    house = House(max_contacts=100)
    many = [contact(f"sip:alice@198.51.100.{n}", 600) for n in range(33)]
    assert house.register(*many).status == 403
    assert house.contacts() == []
    assert house.register(*many[:32]).status == 200
    assert len(house.contacts()) == 32


def test_expiry_is_exact_and_a_later_refresh_is_a_new_binding(house: House) -> None:
    """REG-17."""
    house.register(contact(A, 60))
    house.sleep(59.9)
    assert house.contacts() == [A]
    house.sleep(0.1)
    assert house.registration() is None
    answer = house.register(contact(A, 60), cseq=1)
    assert answer.status == 200
    assert house.bound().bindings[0].event == "registered"


def test_refresh_at_the_last_moment_outlives_the_old_expiry(house: House) -> None:
    """REG-17: what was acknowledged is never deleted by the old expiry."""
    house.register(contact(A, 60))
    house.now_ms += 59_999
    house.register(contact(A, 60), cseq=2)
    house.sleep(59)
    assert house.contacts() == [A]


def test_jitter_only_shortens() -> None:
    """REG-9: the granted time is spread below what was asked, never below the minimum."""
    house = House(expires_jitter=0.1)
    granted = set()
    for n in range(50):
        answer = house.register(contact(A, 1000), user=f"u{n}", call_id=f"c{n}")
        granted.add(answer.contacts[0].expires or 0)
    assert len(granted) > 10
    assert all(900 <= seconds <= 1000 for seconds in granted)
    assert listed(house.register(contact(A, 60), user="brief")) == {A: 60}


@pytest.mark.parametrize(
    ("to", "uri", "status"),
    [
        ("sip:alice@example.com", "sip:example.com", 200),
        ("sips:alice@EXAMPLE.com", "sip:example.com", 200),
        ("sip:alice@example.org", "sip:example.org", 200),
        ("sip:alice@example.org", "sip:example.com", 404),
        ("sip:alice@example.org", "sip:127.0.0.1", 200),
        ("sip:alice@example.net", "sip:example.com", 404),
        ("sip:alice@example.com", "sip:example.net", 404),
        ("tel:+15551234", "sip:example.com", 400),
        ("sip:alice@example.com", "sip:ignored@example.com", 200),
    ],
)
def test_domain_rules(to: str, uri: str, status: int) -> None:
    """REG-1, REG-4, UAS order step 5."""
    house = House(domains=["example.com", "example.org"])
    octets = request("REGISTER", contact(A, 600), uri=uri).replace(
        b"To: <sip:alice@example.com>", f"To: <{to}>".encode()
    )
    assert house.ask(octets).status == status


def test_sip_and_sips_aors_are_one(house: House) -> None:
    """URI-7."""
    house.register(contact(A, 600))
    octets = request(cseq=2).replace(b"To: <sip:", b"To: <sips:")
    assert listed(house.ask(octets)) == {A: 600}


def test_source_is_kept_where_it_differs_from_the_via(house: House) -> None:
    """REG, TRN-3: received is what a later request must be sent to."""
    house.register(contact(A, 600), flow=Flow("udp", LOCAL, ("203.0.113.7", 40123)))
    house.register(contact(B, 600), cseq=2, flow=PHONE)
    received = {binding.uri: binding.received for binding in house.bound().bindings}
    assert received == {A: "sip:203.0.113.7:40123", B: ""}


def test_registers_of_one_batch_chain_in_order(house: House) -> None:
    """REG-2: each independently, in arrival order, one commit."""
    batch = [request("REGISTER", contact(uri, 600), cseq=n) for n, uri in enumerate([A, B, C], 1)]
    batch.append(request("REGISTER", contact(A, 0), cseq=4))
    answers = house.send_all(batch)
    assert [len(answer.contacts) for answer in answers] == [1, 2, 3, 2]
    assert house.contacts() == [B, C]


def test_record_and_route_headers_leave_no_trace(house: House) -> None:
    """DLG-9: Record-Route in a REGISTER is ignored."""
    answer = house.register(contact(A, 600), "Record-Route: <sip:p.example.com;lr>")
    assert answer.status == 200
    assert answer.header("Record-Route") is None


def test_no_body_is_understood_but_an_optional_one_is_ignored(house: House) -> None:
    """MSG-18."""
    rows = [contact(A), "Content-Type: text/x-unknown"]
    answer = house.register(*rows, body=b"hello")
    assert (answer.status, answer.header("Accept")) == (415, "")
    assert house.contacts() == []
    assert house.register(*rows, "Content-Disposition: x;handling=optional", body=b"hello").status == 200
    assert house.contacts() == [A]


@pytest.mark.parametrize(
    ("listen", "local"),
    [("udp:0.0.0.0:5060", ("192.0.2.1", 5060)), ("udp:[::]:5060", ("2001:db8::1", 5060))],
)
def test_a_listener_of_all_addresses_answers_at_each(listen: str, local: tuple[str, int]) -> None:
    """SUB-12: a refresh goes to our Contact, which names the address that the first request came to."""
    house = House()
    config = structs.replace(house.config, listen=(listen,))
    house.engine.follow(config, house.now())
    host = f"[{local[0]}]" if ":" in local[0] else local[0]
    here = Flow("udp", local, ("2001:db8::99" if ":" in host else "192.0.2.10", 5060))
    assert house.ask(request("OPTIONS", uri=f"sip:{host}:5060"), here).status == 200
    assert house.ask(request("REGISTER", contact(), uri=f"sip:{host}"), here).status == 200
    assert house.ask(request("OPTIONS", uri="sip:198.51.100.1"), here).status == 404
