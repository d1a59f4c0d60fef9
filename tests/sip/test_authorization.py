"""The client's half of digest authentication: which challenge is answered, with what, and how often."""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo.fast import (
    LAST_CSEQ,
    Flow,
    Request,
    SipMessage,
    digest_response,
    parse_message,
    write_headers,
    write_response,
)
from reginfo.sip.authorization import (
    LAST_COUNT,
    MAX_CHALLENGES,
    MAX_PLACES,
    MAX_REALMS,
    MAX_VALUE,
    Account,
    Accounts,
    Challenge,
    Realm,
    Session,
    challenge_of,
    challenges_of,
)
from reginfo.sip.peers import Networks
from reginfo.sip.routing import Hop
from reginfo.sip.sender import renumbered
from tests.reference import digest as reference
from tests.sip.test_client import HEADERS, World

ALICE = Account("alice", "s3cret")
NONCE = "bm9uY2UtMDAwMQ=="
CNONCE = "Y25vbmNlLTE="
PLACE = Hop("udp", "192.0.2.11", 5060)
REGISTER = Request("REGISTER", "sip:example.org", b"")
NOBODY = Networks(())


def challenge(**given: str) -> dict[str, str]:
    return {"realm": "example.org", "nonce": NONCE, "qop": "auth,auth-int", **given}


def understood(**given: str) -> Challenge:
    found = challenge_of(challenge(**given), is_proxy=False)
    assert found is not None
    return found


def params(text: str) -> dict[str, str]:
    """Return the parameters of credentials as a server reads them."""
    row = f"Authorization: {text}"
    octets = (
        "REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nMax-Forwards: 70\r\nFrom: <sip:x>;tag=1\r\n"
    )
    octets += f"To: <sip:x>\r\nCall-ID: x\r\nCSeq: 1 REGISTER\r\n{row}\r\nContent-Length: 0\r\n\r\n"
    [found] = parse_message(octets.encode()).authorization
    assert found.scheme == "Digest"
    return found.params


# -- what is sent


@pytest.mark.parametrize(
    ("given_", "response"),
    [
        ({"algorithm": "MD5"}, "c9051748c8f1f4d3f0ef58441816ba28"),
        ({}, "c9051748c8f1f4d3f0ef58441816ba28"),
        ({"algorithm": "MD5-sess"}, "13073a5f2874eb9f431c94dc3e084733"),
        ({"algorithm": "MD5", "qop": "auth-int"}, "6cba2d187ec0d27ba9861edb3e2e4426"),
        (
            {"algorithm": "SHA-256", "userhash": "true"},
            "edb6bf8a7da0fa3ceba59f4ebd1c9f1ebf525dc91097691acea430ec1bcfd5d0",
        ),
        ({"algorithm": "SHA-512-256"}, "c98f33d8263c3f1139e53e713e04d10829529ea32ba7b020491d65529e0da281"),
    ],
)
def test_the_vectors_of_the_requirements_hold_for_the_client(given_: dict[str, str], response: str) -> None:
    """AUT-3, AUT-8, AUT-13: also with the user name hashed, which is no part of the proof."""
    session = Session(ALICE, understood(**given_), CNONCE)
    found = params(session.credentials(REGISTER).text)
    assert (found["response"], found["nc"], found["cnonce"]) == (response, "00000001", CNONCE)
    assert found.get("algorithm") == given_.get("algorithm")
    if "userhash" in given_:
        assert found["username"] == "435b7933096a304d3c734cfb833ec9075bd47ab1c0160321aed31c06a8c7009e"
        assert found["userhash"] == "true"
    else:
        assert found["username"] == "alice"
        assert "userhash" not in found


def test_a_server_of_rfc_2069_gets_neither_qop_nor_nc_and_each_nonce_once() -> None:
    """AUT-3, AUT-13"""
    parameters = challenge()
    del parameters["qop"]
    found = challenge_of(parameters, is_proxy=False)
    assert found is not None
    session = Session(ALICE, found, CNONCE)
    assert session.is_usable
    sent = params(session.credentials(REGISTER).text)
    assert sent["response"] == "8a756a05f799ed08cd54522a3e92a7f2"
    assert not {"qop", "nc", "cnonce"} & set(sent)
    assert not session.is_usable


def test_the_nonce_count_rises_and_has_an_end() -> None:
    """AUT-11: nc counted per nonce, 8 digits."""
    session = Session(ALICE, understood(), CNONCE)
    assert [params(session.credentials(REGISTER).text)["nc"] for _ in range(3)] == ["00000001", "00000002", "00000003"]
    session.count = LAST_COUNT - 1
    assert session.is_usable
    assert params(session.credentials(REGISTER).text)["nc"] == "ffffffff"
    assert not session.is_usable


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "sha-512-256", "MD5-sess", "SHA-256-SESS", "SHA-512-256-sess"])
@pytest.mark.parametrize("qop", ["auth", "auth-int"])
def test_a_session_goes_on_with_its_first_cnonce(algorithm: str, qop: str) -> None:
    """AUT-2, AUT-3: the second request as the reference computes it; auth-int covers the body."""
    session = Session(ALICE, understood(algorithm=algorithm, qop=qop), CNONCE)
    request = Request("PUBLISH", "sip:A@Example.org;x=Y", b"", b"state")
    session.credentials(request)
    sent = params(session.credentials(request).text)
    named = algorithm.upper().replace("-SESS", "-sess")
    assert sent["uri"] == request.uri  # AUT-4: as sent, byte for byte
    assert sent["response"] == reference.response(
        named, "alice", "example.org", "s3cret", "PUBLISH", request.uri, NONCE, qop, "00000002", CNONCE, b"state"
    )
    assert len(sent["response"]) == (32 if "MD5" in algorithm else 64)


@given(st.text(min_size=1, max_size=30).filter(str.isprintable), st.text(max_size=30).filter(str.isprintable))
def test_what_was_quoted_is_computed_with_plainly_and_quoted_again(realm: str, opaque: str) -> None:
    """AUT-4, AUT-5: quoting is undone for the hash, and done for the header."""
    session = Session(ALICE, understood(realm=realm, opaque=opaque), CNONCE)
    text = session.credentials(REGISTER).text
    sent = params(text)
    assert (sent["realm"], sent["opaque"], sent["nonce"]) == (realm, opaque, NONCE)
    expected = reference.response(
        "MD5", "alice", realm, "s3cret", "REGISTER", "sip:example.org", NONCE, "auth", "00000001", CNONCE
    )
    assert sent["response"] == expected
    assert 'response="' in text
    assert ",qop=auth,nc=00000001" in text


def test_names_and_passwords_are_hashed_in_nfc() -> None:
    """AUT-8"""
    [plain, composed] = [
        Session(Account(f"J{letter}", f"p{letter}"), understood(), CNONCE).credentials(REGISTER).text
        for letter in ("a\u0308", "\u00e4")
    ]
    assert plain == composed


# -- what is understood


@pytest.mark.parametrize(
    "parameters",
    [
        challenge(algorithm="SHA-1"),
        challenge(algorithm="MD5-sess-sess"),
        challenge(qop="auth-conf"),
        challenge(qop=""),
        {"realm": "r", "nonce": "n", "algorithm": "MD5-sess"},
        {"realm": "r", "qop": "auth"},
        {"nonce": "n", "qop": "auth"},
        challenge(nonce="a\tb"),
        challenge(realm="a\x07b"),
        challenge(opaque="\x00"),
        challenge(nonce="x" * (MAX_VALUE + 1)),
        challenge(realm="\u00e4" * (MAX_VALUE // 2 + 1)),
        challenge(opaque="x" * (MAX_VALUE + 1)),
    ],
)
def test_what_cannot_be_answered_is_not_understood(parameters: dict[str, str]) -> None:
    """AUT-2, AUT-11"""
    assert challenge_of(parameters, is_proxy=False) is None


def test_values_have_a_limit() -> None:
    """AUT-11: MAX_VALUE is understood, see above for one more."""
    assert understood(nonce="x" * MAX_VALUE, realm="y" * MAX_VALUE, opaque="z" * MAX_VALUE).nonce == "x" * MAX_VALUE


@pytest.mark.parametrize(
    ("qop", "expected"), [("auth", "auth"), ("auth-int, AUTH", "auth"), ("auth-int", "auth-int"), ("x,auth", "auth")]
)
def test_auth_is_preferred_to_auth_int(qop: str, expected: str) -> None:
    """AUT-11: auth-int where nothing else is offered."""
    assert understood(qop=qop).qop == expected


def response_with(*rows: tuple[str, str], status: int = 401) -> SipMessage:
    request = "REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:x>;tag=1\r\nTo: <sip:x>\r\n"
    request += "Call-ID: x\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    return parse_message(write_response(parse_message(request.encode()), status, headers=rows))


def offer(realm: str = "example.org", nonce: str = NONCE, **more: str) -> str:
    written = {"realm": f'"{realm}"', "nonce": f'"{nonce}"', "qop": '"auth,auth-int"', **more}
    return "Digest " + ",".join(f"{name}={value}" for name, value in written.items())


def asks(*offers: str) -> list[tuple[str, str]]:
    return [("WWW-Authenticate", one) for one in offers]


def test_the_topmost_challenge_that_is_understood_is_taken() -> None:
    """AUT-2 (RFC 8760 2.4): Basic, unknown algorithms and what is malformed are passed over, whatever their place."""
    response = response_with(
        *asks(
            'Basic realm="example.org"',
            "Digest",
            'Digest realm="example.org',
            'Digest realm="example.org",realm="twice",nonce="x"',
            offer(algorithm="SHA-3"),
            offer(algorithm="SHA-256"),
            offer(algorithm="MD5"),
        )
    )
    [found] = challenges_of(response).values()
    assert found.algorithm == "SHA-256"


def test_each_realm_of_proxy_and_server_is_taken_and_no_more_than_a_few() -> None:
    """AUT-11: MAX_REALMS of a response, one more is not understood."""
    rows = [("Proxy-Authenticate", offer("other")), *asks(offer("one"), offer("other"))]
    assert list(challenges_of(response_with(*rows))) == [
        Realm(False, "one"),
        Realm(False, "other"),
        Realm(True, "other"),
    ]
    assert list(challenges_of(response_with(*rows), "one")) == [Realm(False, "one")]
    for count in (MAX_REALMS, MAX_REALMS + 1):
        hostile = response_with(*asks(*(offer(f"realm{number}") for number in range(count))))
        assert len(challenges_of(hostile)) == MAX_REALMS


# -- the client


def world(account: Account = ALICE, hop: Hop = PLACE, networks: Networks = NOBODY) -> World:
    made = World()
    accounts = Accounts()
    accounts.add(account, hop, networks)
    made.client.authorizations.follow(accounts)
    return made


def sent(messages: Sequence[tuple[SipMessage, Flow]]) -> SipMessage:
    [(message, _)] = messages
    return message


def test_a_challenge_is_answered_under_the_next_cseq() -> None:
    """AUT-11, TX-9: same Call-ID, From and To, CSeq one more, a branch of its own; the sender hears only the end."""
    place = world()
    first = sent(place.send(PLACE))
    assert first.authorization == []
    second = sent(place.answer(first, 401, *asks(offer(opaque='"o"'))))
    assert (second.call_id, second.from_.tag, second.to.uri) == (first.call_id, first.from_.tag, first.to.uri)
    assert (first.cseq, second.cseq) == (1, 2)
    assert second.top_via.branch != first.top_via.branch
    [credentials] = second.authorization
    assert credentials.params["uri"] == second.request_uri
    assert credentials.params["opaque"] == "o"
    assert credentials.params["response"] == reference.response(
        "MD5", "alice", "example.org", "s3cret", "PUBLISH", "sip:a@example.test", NONCE, "auth", "00000001",
        credentials.params["cnonce"],
    )  # fmt: skip
    assert place.answers == []
    assert place.numbers == [2]
    place.answer(second, 200)
    assert place.answers == [200]
    assert len(place.client) == 0


def test_the_next_requests_bring_their_credentials_along() -> None:
    """AUT-11: preemptive, nc one more; elsewhere none."""
    place = world()
    place.answer(sent(place.answer(sent(place.send(PLACE)), 401, *asks(offer()))), 200)
    for nc in ("00000002", "00000003"):
        again = sent(place.send(PLACE))
        assert again.cseq == 1
        assert [one.params["nc"] for one in again.authorization] == [nc]
        place.answer(again, 200)
    assert sent(place.send(Hop("udp", "192.0.2.12", 5060))).authorization == []


@pytest.mark.parametrize(
    ("hop", "networks", "is_known"),
    [
        (PLACE, NOBODY, True),
        (Hop("tcp", "192.0.2.11", 5060), NOBODY, True),
        (Hop("udp", "192.0.2.11", 5062), NOBODY, False),
        (Hop("udp", "192.0.2.12", 5060), NOBODY, False),
        (Hop("udp", "192.0.2.12", 5062), Networks([ip_network("192.0.2.12")]), True),
    ],
)
def test_nobody_else_gets_a_proof_of_the_password(hop: Hop, networks: Networks, is_known: bool) -> None:
    """AUT-11: credentials go where the URI of the peer leads, and to its addresses; never to who else asks."""
    place = world(networks=networks)
    left = place.answer(sent(place.send(hop)), 401, *asks(offer()))
    assert bool(left) == is_known
    assert place.answers == ([] if is_known else [401])
    assert len(place.client.authorizations.known) == is_known


def test_a_secure_account_is_not_for_an_insecure_place() -> None:
    """AUT-11"""
    accounts = Accounts()
    accounts.add(ALICE, Hop("tls", "192.0.2.11", 5061), NOBODY)
    assert accounts.of(Hop("tcp", "192.0.2.11", 5061)) is None
    assert accounts.of(Hop("tls", "192.0.2.11", 5061)) == ALICE


def test_an_account_for_a_realm_is_for_no_other() -> None:
    """AUT-11"""
    place = world(Account("alice", "s3cret", "mine"))
    place.answer(sent(place.send(PLACE)), 401, *asks(offer("other")))
    assert place.answers == [401]
    assert sent(place.answer(sent(place.send(PLACE)), 401, *asks(offer("other"), offer("mine")))).authorization


def test_what_is_relayed_is_the_phones_to_answer() -> None:
    """AUT-11: a request with a Via of somebody else is not ours."""
    place = world()
    place.vias = [("Via", "SIP/2.0/UDP 192.0.2.99;branch=z9hG4bKphone")]
    request = sent(place.send(PLACE))
    assert request.via_count == 2
    assert place.answer(request, 401, *asks(offer())) == []
    assert place.answers == [401]


def test_two_realms_get_a_row_each() -> None:
    """AUT-11: a proxy asks with 407, then the server behind it with 401."""
    place = world()
    second = sent(place.answer(sent(place.send(PLACE)), 407, ("Proxy-Authenticate", offer("proxy"))))
    assert second.header("Proxy-Authorization") is not None
    assert second.authorization == []
    third = sent(place.answer(second, 401, *asks(offer("server"))))
    assert third.cseq == 3
    assert 'realm="proxy"' in (third.header("Proxy-Authorization") or "")
    assert "nc=00000002" in (third.header("Proxy-Authorization") or "")
    assert [one.params["realm"] for one in third.authorization] == ["server"]
    place.answer(third, 200)
    assert place.answers == [200]
    fourth = sent(place.send(PLACE))
    assert "nc=00000003" in (fourth.header("Proxy-Authorization") or "")
    assert fourth.authorization[0].params["nc"] == "00000002"


def test_rejected_credentials_are_not_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    """AUT-11: a fresh nonce does not make a wrong password right; said once, without the password."""
    place = world()
    for number in range(2):
        second = sent(place.answer(sent(place.send(PLACE)), 401, *asks(offer(nonce=f"a{number}"))))
        assert place.answer(second, 401, *asks(offer(nonce=f"b{number}"))) == []
    assert place.answers == [401, 401]
    [record] = caplog.records
    assert record.getMessage() == "password refused at=udp:192.0.2.11:5060 user=alice"
    assert sent(place.send(PLACE)).authorization == []


def test_a_stale_nonce_is_replaced() -> None:
    """AUT-11: stale=true is the exception, also for the nonce that was given a moment ago."""
    place = world()
    second = sent(place.answer(sent(place.send(PLACE)), 401, *asks(offer(nonce="old"))))
    third = sent(place.answer(second, 401, *asks(offer(nonce="new", stale="TRUE"))))
    assert [third.authorization[0].params[name] for name in ("nonce", "nc")] == ["new", "00000001"]
    place.answer(third, 200)
    assert place.answers == [200]


def test_a_nonce_that_is_stale_and_the_same_counts_on() -> None:
    """AUT-11: nc is counted per nonce; a server that wants a higher one gets it."""
    place = world()
    second = sent(place.answer(sent(place.send(PLACE)), 401, *asks(offer())))
    third = sent(place.answer(second, 401, *asks(offer(stale="true"))))
    assert [third.authorization[0].params[name] for name in ("nonce", "nc")] == [NONCE, "00000002"]


def test_a_server_that_has_forgotten_its_nonces_is_answered_once_more() -> None:
    """AUT-11: what it rejects came along unasked; the nonce it gives now is new."""
    place = world()
    place.answer(sent(place.answer(sent(place.send(PLACE)), 401, *asks(offer(nonce="old")))), 200)
    second = sent(place.send(PLACE))
    assert second.authorization[0].params["nonce"] == "old"
    third = sent(place.answer(second, 401, *asks(offer(nonce="new"))))
    assert third.authorization[0].params["nonce"] == "new"
    assert place.answer(third, 401, *asks(offer(nonce="newer"))) == []
    assert place.answers == [200, 401]


def test_a_server_that_asks_for_ever_is_left() -> None:
    """AUT-11: MAX_CHALLENGES are answered for one request, one more is not."""
    place = world()
    request = sent(place.send(PLACE))
    for number in range(MAX_CHALLENGES):
        request = sent(place.answer(request, 401, *asks(offer(nonce=f"n{number}", stale="true"))))
    assert place.answer(request, 401, *asks(offer(nonce="last", stale="true"))) == []
    assert place.answers == [401]
    assert request.cseq == 1 + MAX_CHALLENGES


def test_another_realm_with_each_answer_is_left_as_well() -> None:
    """AUT-11: MAX_REALMS are kept of one place."""
    place = world()
    for turn in range(3):
        request = sent(place.send(PLACE))
        for number in range(MAX_CHALLENGES):
            request = sent(place.answer(request, 401, *asks(offer(f"r{turn}.{number}"))))
            assert len(request.authorization) <= MAX_REALMS
        assert place.answer(request, 401, *asks(offer("last"))) == []
    assert place.answers == [401] * 3


def test_places_have_a_limit() -> None:
    """AUT-11: MAX_PLACES are remembered, of one more the first has to ask again."""
    place = world(networks=Networks([ip_network("198.51.100.0/24")]))
    for number in range(MAX_PLACES + 1):
        hop = Hop("udp", "198.51.100.1", 1000 + number)
        place.answer(sent(place.answer(sent(place.send(hop)), 401, *asks(offer()))), 200)
        assert len(place.client.authorizations.known) == min(number + 1, MAX_PLACES)
    assert sent(place.send(Hop("udp", "198.51.100.1", 1000))).authorization == []
    assert sent(place.send(Hop("udp", "198.51.100.1", 1001))).authorization


def test_requests_that_were_under_way_share_the_first_nonce() -> None:
    """AUT-11: each is asked, and goes again with the next nc of one nonce."""
    place = world()
    requests = [sent(place.send(PLACE)) for _ in range(3)]
    again = [
        sent(place.answer(request, 401, *asks(offer(nonce=f"n{number}")))) for number, request in enumerate(requests)
    ]
    assert [[one.authorization[0].params[name] for name in ("nonce", "nc")] for one in again] == [
        ["n0", "00000001"],
        ["n0", "00000002"],
        ["n0", "00000003"],
    ]


def test_a_late_refusal_does_not_end_a_newer_session() -> None:
    """AUT-11: the nonce that is good meanwhile goes on."""
    place = world()
    requests = [sent(place.send(PLACE)) for _ in range(2)]
    first, second = [sent(place.answer(request, 401, *asks(offer(nonce="old")))) for request in requests]
    third = sent(place.answer(first, 401, *asks(offer(nonce="new", stale="true"))))
    place.answer(third, 200)
    assert place.answer(second, 401, *asks(offer(nonce="old"))) == []
    assert place.answers == [200, 401]
    assert sent(place.send(PLACE)).authorization[0].params["nonce"] == "new"


def info(request: SipMessage, *, password: str = "s3cret", **more: Any) -> tuple[str, str]:
    """Write what a server that knows the password adds to its 200."""
    got = request.authorization[0].params
    proof = reference.response(
        "MD5", "alice", got["realm"], password, "", got["uri"], got["nonce"], got["qop"], got["nc"], got["cnonce"]
    )
    said = {"qop": "auth", "rspauth": f'"{proof}"', "cnonce": f'"{got["cnonce"]}"', "nc": got["nc"], **more}
    return "Authentication-Info", ",".join(f"{name}={value}" for name, value in said.items() if value)


def accepted(place: World, **more: Any) -> SipMessage:
    """Have a request answered 200 with Authentication-Info; return the next one."""
    second = sent(place.answer(sent(place.send(PLACE)), 401, *asks(offer())))
    place.answer(second, 200, info(second, **more))
    assert place.answers == [200]
    return sent(place.send(PLACE))


def test_the_next_nonce_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    """AUT-9: nextnonce begins at 1 again."""
    following = accepted(world(), nextnonce='"next"')
    assert [following.authorization[0].params[name] for name in ("nonce", "nc")] == ["next", "00000001"]
    assert not caplog.records


@pytest.mark.parametrize(
    "more", [{}, {"cnonce": "", "nc": ""}, {"nextnonce": '""'}, {"nextnonce": f'"{"x" * (MAX_VALUE + 1)}"'}]
)
def test_without_a_next_nonce_the_one_there_is_goes_on(more: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """AUT-9"""
    following = accepted(world(), **more)
    assert [following.authorization[0].params[name] for name in ("nonce", "nc")] == [NONCE, "00000002"]
    assert not caplog.records


@pytest.mark.parametrize(
    "more",
    [
        {"password": "other"},
        {"rspauth": '"00"'},
        {"cnonce": '"other"'},
        {"nc": "00000002"},
        {"qop": "auth-conf"},
        {"nextnonce": '"next"', "rspauth": '"\u00e4"'},
    ],
)
def test_a_server_that_does_not_know_the_password_is_told_of(more: Any, caplog: pytest.LogCaptureFixture) -> None:
    """AUT-9: the 200 counts, since rspauth could be left out as well; its nonces do not."""
    following = accepted(world(), **more)
    assert following.authorization == []
    [record] = caplog.records
    assert record.getMessage() == "server does not know the password at=udp:192.0.2.11:5060 user=alice"


def test_a_last_cseq_is_not_gone_beyond() -> None:
    """AUT-11, MSG-10"""
    for cseq, expected in ((LAST_CSEQ - 1, LAST_CSEQ), (LAST_CSEQ, None)):
        rows = write_headers([*HEADERS[:-1], ("CSeq", f"{cseq} PUBLISH"), ("Subject", "CSeq: 1")])
        found = renumbered(Request("PUBLISH", "sip:x", rows, b"b"))
        if expected is None:
            assert found is None
        else:
            assert found is not None
            assert found[0].rows == rows.replace(str(cseq).encode(), str(expected).encode())
            assert found[1] == expected


def test_a_request_that_moves_on_to_the_next_server_counts_on() -> None:
    """AUT-11, DNS-5: what a server had refused to take has used its nonce-count."""
    hop = Hop("sip", "example.test", 0)
    place = world(hop=hop)
    place.hosts = ("192.0.2.11", "192.0.2.12")
    second = sent(place.answer(sent(place.send(hop)), 401, *asks(offer())))
    third = sent(place.answer(second, 503))
    assert third.cseq == second.cseq
    assert third.authorization[0].params["nc"] == "00000002"
    fourth = sent(place.answer(third, 401, *asks(offer(nonce="elsewhere", stale="true"))))
    assert fourth.authorization[0].params["nonce"] == "elsewhere"


def test_a_server_that_a_name_leads_to_is_known_by_its_address() -> None:
    """AUT-11, DNS-1: inside a dialog it is reached by its Contact; no other port is it, nor what it has left."""
    hop = Hop("sip", "example.test", 0)
    place = world(hop=hop)
    place.hosts = ("192.0.2.11",)
    place.answer(sent(place.send(hop)), 200)
    assert place.answer(sent(place.send(PLACE)), 401, *asks(offer()))
    assert not place.answer(sent(place.send(Hop("udp", "192.0.2.11", 5062))), 401, *asks(offer()))
    place.hosts = ("192.0.2.12",)
    place.sleep(31_000)
    place.answer(sent(place.send(hop)), 200)
    assert place.answer(sent(place.send(Hop("udp", "192.0.2.12", 5060))), 401, *asks(offer()))
    assert not place.answer(sent(place.send(Hop("tcp", "192.0.2.11", 5060))), 401, *asks(offer()))


def test_accounts_that_change_are_followed_and_nonces_forgotten() -> None:
    """AUT-11"""
    place = world()
    second = sent(place.answer(sent(place.send(PLACE)), 401, *asks(offer())))
    place.client.authorizations.follow(Accounts())
    place.answer(second, 401, *asks(offer(nonce="new")))
    assert place.answers == [401]
    assert sent(place.send(PLACE)).authorization == []


def test_a_proof_is_what_the_compiled_core_computes() -> None:
    """AUT-3: one implementation, not a second one."""
    session = Session(ALICE, understood(algorithm="SHA-256"), CNONCE)
    proof = digest_response(
        "SHA-256", ALICE.ha1("SHA-256", "example.org"), "REGISTER", "sip:example.org", NONCE, qop="auth", nc="00000001",
        cnonce=CNONCE,
    )  # fmt: skip
    assert f'response="{proof}"' in session.credentials(REGISTER).text
