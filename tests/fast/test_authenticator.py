"""The authenticator alone: hostile credentials, and what it holds at its limits."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo._fast import authenticator as module
from reginfo._fast.authenticator import ASK, CHALLENGED, IMPROPER, OLD_NONCE, PROVEN, Authenticator
from reginfo._fast.errors import SipParseError
from reginfo._fast.sip_parser import parse_message
from tests.harness import PHONE
from tests.reference import digest as reference

NOW = 1_700_000_000_000
HA1 = {"MD5": reference.hashed("MD5", b"alice:example.com:s3cret")}


def authenticator(**parts: int) -> Authenticator:
    made = Authenticator(bytes(32), "example.com", ["MD5"], ["example.com"], [], lifetime_s=300, legacy=True, **parts)
    made.put(("alice",), "alice", HA1, NOW)
    return made


def challenge(made: Authenticator, room: int = 4096, *, stale: bool = False, rows: bytes = b"") -> bytes | None:
    return made.challenge(parse_message(message("X: y")), "tag", PHONE, rows, room, NOW, stale=stale)


def nonce_of(made: Authenticator) -> str:
    answer = challenge(made)
    assert answer is not None
    return str(parse_message(answer).challenges(proxy=False)[0]["nonce"])


def message(row: str) -> bytes:
    return (
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n"
        f"To: <sip:alice@example.com>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n{row}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def good(made: Authenticator, name: str = "alice", nc: str = "00000001") -> str:
    nonce = nonce_of(made)
    proof = reference.response(
        "MD5", name, "example.com", "s3cret", "REGISTER", "sip:example.com", nonce, "auth", nc, "c"
    )
    return (
        f'Authorization: Digest username="{name}",realm="example.com",nonce="{nonce}",uri="sip:example.com",'
        f'response="{proof}",algorithm=MD5,qop=auth,nc={nc},cnonce="c"'
    )


def test_a_challenge_is_the_longest_for_which_there_is_room() -> None:
    # AUT-6, SEC-3: optional parameters go first, then the least preferred algorithms, and at last there is no answer
    made = Authenticator(bytes(32), "example.com", ["SHA-256", "MD5"], ["example.com"], [], lifetime_s=300)
    rows = b"Server: s\r\n"
    seen = [challenge(made, room, rows=rows) for room in range(1024)]
    lengths = sorted({len(answer) for answer in seen if answer})
    assert len(lengths) == 3
    for room, answer in enumerate(seen):
        fitting = [length for length in lengths if length <= room]
        assert (len(answer) if answer else None) == (fitting[-1] if fitting else None)
    short, middle, long = [parse_message(seen[length] or b"") for length in lengths]
    assert [one["algorithm"] for one in short.challenges(proxy=False)] == ["SHA-256"]
    assert [one["algorithm"] for one in middle.challenges(proxy=False)] == ["SHA-256", "MD5"]
    assert [sorted(one) for one in long.challenges(proxy=False)] == [
        ["algorithm", "charset", "nonce", "opaque", "qop", "realm", "userhash"]
    ] * 2
    assert [one.header("Server") for one in (short, middle, long)] == ["s"] * 3
    for sent in (short, middle, long):
        (nonce,) = {one["nonce"] for one in sent.challenges(proxy=False)}
        assert {one.get("stale") for one in sent.challenges(proxy=False)} == {None}
        assert made.check(parse_message(message(session(nonce, 1, "c"))), NOW).verdict == ASK


def test_a_stale_challenge_says_so_at_every_length() -> None:
    made = authenticator()
    for room in (0, 330, 4096):
        answer = challenge(made, room, stale=True)
        assert (answer is None) == (room == 0)
        if answer is not None:
            assert [one["stale"] for one in parse_message(answer).challenges(proxy=False)] == ["true"]


@pytest.mark.parametrize("realm", ['a"b', "a\\b", "a\r\nX: y", "a\0b"])
def test_a_realm_that_cannot_be_quoted_is_refused(realm: str) -> None:
    with pytest.raises(ValueError, match="realm"):
        Authenticator(bytes(32), realm, ["MD5"], [], [], lifetime_s=300)


@pytest.mark.parametrize("algorithms", [[], ["MD5", "SHA-3"]])
def test_algorithms_that_cannot_be_offered_are_refused_and_change_nothing(algorithms: list[str]) -> None:
    made = authenticator()
    with pytest.raises(ValueError, match="algorithms"):
        made.follow("elsewhere.example", algorithms, [], [], lifetime_s=1)
    (offer,) = parse_message(challenge(made, 4096) or b"").challenges(proxy=False)
    assert (offer["realm"], offer["algorithm"]) == ("example.com", "MD5")


def test_good_credentials_are_good_once() -> None:
    # AUT-6
    made = authenticator()
    request = parse_message(message(good(made)))
    proof = made.check(request, NOW)
    assert proof.verdict == PROVEN
    assert proof.identity == "sip:alice@example.com"
    assert proof.owns("sip:alice@example.com")
    assert not proof.owns("sip:bob@example.com")
    assert made.check(request, NOW).verdict == OLD_NONCE
    assert not made.check(request, NOW).owns("sip:alice@example.com")


# What parsers and comparisons have been tripped by: each replaces a parameter, is a whole row, or both.
HOSTILE = [
    "Authorization: Digest",
    "Authorization: Digest ",
    "Authorization: Digest ,",
    "Authorization: Digest =",
    'Authorization: Digest "',
    "Authorization: Digest a",
    "Authorization: Digest a=",
    "Authorization: Digest a=b,a=c",
    "Authorization: Digest realm=example.com",
    'Authorization: Digest realm="example.com",realm="example.com"',
    'Authorization: Digest realm="example.com',
    "Authorization: Digest " + ",".join(f"p{n}=v" for n in range(65)),
    "Authorization: Digest realm=" + "x" * 9000,
    "Authorization: Digest " + "realm=example.com," * 700,
    "Authorization: Basic YWxpY2U6czNjcmV0",
    "Authorization: DigestX realm=example.com",
    "Authorization: Bearer realm=example.com",
    "Authorization: digest realm=example.com,nonce=,uri=,response=",
    "Authorization:",
    'Authorization: Digest username="a\\',
    'Authorization: Digest username="\\"\\"\\"", realm="\\example.com"',
    "Authorization: Digest username*=UTF-8''%,realm=example.com",
    "Authorization: Digest username*=UTF-8''%00,realm=example.com,nonce=a,uri=b,response=c",
    'Authorization: Digest username="'
    + "a" * 300
    + '",realm="example.com",nonce="a",uri="sip:example.com",response="c"',
    "Proxy-Authorization: Digest realm=example.com",
]


@pytest.mark.parametrize("row", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_rows_prove_nothing(row: str) -> None:
    # AUT-1, AUT-6: refused by the parser (400) or by the checks
    made = authenticator()
    try:
        request = parse_message(message(row))
    except SipParseError:
        return
    assert made.check(request, NOW).verdict in (CHALLENGED, IMPROPER)
    assert made.user_count == 1


@given(st.randoms(use_true_random=False), st.integers(1, 4))
def test_changed_credentials_prove_nothing(chance: random.Random, changes: int) -> None:
    # AUT-6, SEC-2: nothing raises but the parser, and only what means the same is good
    made = authenticator()
    row = good(made)
    meant = parse_message(message(row)).authorization[0].params
    octets = bytearray(message(row))
    start = octets.index(b"Authorization: Digest ") + 22
    for _ in range(changes):
        octets[chance.randrange(start, octets.index(b"\r\nContent-Length"))] = chance.choice(
            b'",=\\ ;%*aA0\x00\x7f\xc3\xa9' if chance.random() < 0.8 else range(256)
        )
    try:
        request = parse_message(bytes(octets))
    except SipParseError:
        return
    if made.check(request, NOW).verdict == PROVEN:
        said = request.authorization[0].params
        protected = ("username", "realm", "nonce", "uri", "response", "qop", "nc", "cnonce")
        legacy = said.get("qop") is None
        assert not legacy
        assert [said[name].lower() for name in protected] == [meant[name].lower() for name in protected]


def test_an_empty_or_crooked_hash_of_the_store_is_nobodys_password() -> None:
    # AUT-12: a row without ha1 must not let in whoever hashes with nothing
    made = authenticator()
    for value in ("", "0", "x" * 32, "a" * 64):
        made.put(("alice",), "alice", {"MD5": value}, NOW)
        nonce = nonce_of(made)
        ha2 = reference.hashed("MD5", b"REGISTER:sip:example.com")
        proof = reference.hashed("MD5", f"{value}:{nonce}:00000001:c:auth:{ha2}".encode())
        row = re.sub('response="[^"]*"', f'response="{proof}"', good(made))
        row = re.sub('nonce="[^"]*"', f'nonce="{nonce}"', row, count=1)
        assert made.check(parse_message(message(row)), NOW, fresh=True).verdict == CHALLENGED


def test_the_dummy_is_nobodys_password() -> None:
    # AUT-6: what unknown users are hashed with lets nobody in
    made = authenticator()
    made.put(("olive",), None, {}, NOW)
    nonce = nonce_of(made)
    ha2 = reference.hashed("MD5", b"REGISTER:sip:example.com")
    proof = reference.hashed("MD5", f"{'0' * 32}:{nonce}:00000001:c:auth:{ha2}".encode())
    row = re.sub('response="[^"]*"', f'response="{proof}"', good(made, "olive"))
    row = re.sub('nonce="[^"]*"', f'nonce="{nonce}"', row, count=1)
    assert made.check(parse_message(message(row)), NOW, fresh=True).verdict == CHALLENGED


def test_users_and_unknown_names_are_held_up_to_their_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    # SEC-5: at n and n + 1; strangers' guesses drive no user out
    monkeypatch.setattr(module, "MAX_UNKNOWN", 5)
    made = authenticator(max_users=2)
    for n in range(20):
        made.put((f"nobody{n}",), None, {}, NOW)
        assert made.user_count == 1 + min(n + 1, 5)
    assert made.check(parse_message(message(good(made))), NOW).verdict == PROVEN
    made.put(("bob",), "bob", HA1, NOW)
    assert made.user_count == 7
    made.put(("carol",), "carol", HA1, NOW)
    assert made.user_count == 7
    assert made.check(parse_message(message(good(made))), NOW).verdict == ASK
    made.forget_users()
    assert made.user_count == 0


def test_who_did_not_exist_is_asked_for_again_after_a_minute() -> None:
    # AUT-6
    made = authenticator()
    made.put(("olive",), None, {}, NOW)
    row = parse_message(message(good(made, "olive")))
    assert made.check(row, NOW + module.UNKNOWN_MS - 1).verdict == CHALLENGED
    assert made.check(row, NOW + module.UNKNOWN_MS).verdict == ASK


def test_many_request_lines_are_not_all_remembered() -> None:
    # SEC-5: MAX_MEMORY; what is remembered has no say in what is right
    made = authenticator()
    for n in range(2 * module.MAX_MEMORY + 1):
        octets = message(good(made)).replace(b'uri="sip:example.com"', f'uri="sip:{n}@example.com"'.encode())
        assert made.check(parse_message(octets), NOW, fresh=True).verdict == CHALLENGED
    assert made.check(parse_message(message(good(made))), NOW).verdict == PROVEN


def test_a_new_realm_takes_no_nonce_over() -> None:
    # AUT-6
    made = authenticator()
    row = parse_message(message(good(made)))
    assert made.check(row, NOW).verdict == PROVEN
    made.follow("example.net", ["MD5"], ["example.com"], [], lifetime_s=300)
    assert made.check(row, NOW).verdict == CHALLENGED
    made.follow("example.com", ["MD5"], ["example.com"], [], lifetime_s=300)
    made.put(("alice",), "alice", HA1, NOW)
    assert made.check(row, NOW).verdict == OLD_NONCE  # its uses are forgotten
    with pytest.raises(ValueError, match="algorithms"):
        made.follow("example.com", ["SHA-1"], ["example.com"], [], lifetime_s=300)


def test_sessions_are_held_up_to_their_limit() -> None:
    # SEC-5, AUT-3: MAX_SESSIONS at n and n + 1; the one begun longest ago needs a new nonce to go on
    made = authenticator()
    oldest: list[str] = []
    for n in range(module.MAX_SESSIONS + 1):
        nonce = nonce_of(made)
        request = parse_message(message(session(nonce, 1, "c")))
        assert made.check(request, NOW).verdict == PROVEN
        if n < 2:
            oldest.append(nonce)
    first, second = oldest
    assert made.check(parse_message(message(session(first, 2, "c2"))), NOW).verdict == ASK
    assert made.check(parse_message(message(session(first, 2, "c2"))), NOW, fresh=True).verdict == CHALLENGED
    assert made.check(parse_message(message(session(second, 2, "c2"))), NOW).verdict == PROVEN


def session(nonce: str, nc: int, cnonce: str) -> str:
    """Write credentials of a session begun with the cnonce c."""
    begun = reference.hashed("MD5", f"{HA1['MD5']}:{nonce}:c".encode())
    ha2 = reference.hashed("MD5", b"REGISTER:sip:example.com")
    proof = reference.hashed("MD5", f"{begun}:{nonce}:{nc:08x}:{cnonce}:auth:{ha2}".encode())
    return (
        f'Authorization: Digest username="alice",realm="example.com",nonce="{nonce}",uri="sip:example.com",'
        f'response="{proof}",algorithm=MD5-sess,qop=auth,nc={nc:08x},cnonce="{cnonce}"'
    )


def test_what_is_not_proven_has_no_identity_and_no_info() -> None:
    # AUT-9
    made = authenticator()
    for row in ("X: y", "Authorization: Digest realm=example.com"):
        proof = made.check(parse_message(message(row)), NOW)
        assert (proof.identity, made.info(proof, b"", NOW)) == ("", "")
