"""Digest computations against the vectors of the requirements and the slow reference."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo.fast import digest_ha1, digest_response, digest_session_ha1, digest_userhash
from tests.reference import digest as reference

ALGORITHMS = ("MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess")
NONCE = "bm9uY2UtMDAwMQ=="
NC = "00000001"
CNONCE = "Y25vbmNlLTE="


def proof(algorithm: str, qop: str = "auth", method: str = "REGISTER") -> str:
    ha1 = digest_ha1(algorithm, "alice", "example.org", "s3cret")
    return digest_response(algorithm, ha1, method, "sip:example.org", NONCE, qop=qop, nc=NC, cnonce=CNONCE)


@pytest.mark.parametrize(
    ("algorithm", "qop", "method", "expected"),
    [
        ("MD5", "auth", "REGISTER", "c9051748c8f1f4d3f0ef58441816ba28"),
        ("MD5", "", "REGISTER", "8a756a05f799ed08cd54522a3e92a7f2"),
        ("MD5-sess", "auth", "REGISTER", "13073a5f2874eb9f431c94dc3e084733"),
        ("MD5", "auth-int", "REGISTER", "6cba2d187ec0d27ba9861edb3e2e4426"),
        ("MD5", "auth", "", "4cfce08fd8606e6935d59975489361e0"),
        ("SHA-256", "auth", "REGISTER", "edb6bf8a7da0fa3ceba59f4ebd1c9f1ebf525dc91097691acea430ec1bcfd5d0"),
        ("SHA-512-256", "auth", "REGISTER", "c98f33d8263c3f1139e53e713e04d10829529ea32ba7b020491d65529e0da281"),
    ],
)
def test_the_vectors_of_the_requirements_hold(algorithm: str, qop: str, method: str, expected: str) -> None:
    # AUT-3, AUT-9, AUT-13
    assert proof(algorithm, qop, method) == expected


def test_a_username_is_hidden_by_its_hash() -> None:
    # AUT-8, AUT-13
    expected = "435b7933096a304d3c734cfb833ec9075bd47ab1c0160321aed31c06a8c7009e"
    assert digest_userhash("SHA-256", "alice", "example.org") == expected
    hidden = digest_userhash("SHA-512-256", "J\u00e4s\u00f8n Doe", "api@example.org")
    assert hidden.startswith("793263ca")
    assert hidden.endswith("9b0b")


def test_sha_512_256_is_that_of_fips_180_4() -> None:
    # AUT-13: not the first half of a SHA-512
    ours = digest_ha1("SHA-512-256", "a", "b", "c")
    assert ours == hashlib.new("sha512_256", b"a:b:c").hexdigest() != hashlib.sha512(b"a:b:c").hexdigest()[:64]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_session_goes_on_with_the_hash_it_began_with(algorithm: str) -> None:
    # AUT-3, AUT-12: the stored H(A1) serves -sess too
    plain = algorithm.removesuffix("-sess")
    ha1 = digest_ha1(algorithm, "alice", "example.org", "s3cret")
    assert ha1 == digest_ha1(plain, "alice", "example.org", "s3cret")
    begun = digest_session_ha1(algorithm, ha1, NONCE, CNONCE)
    again = digest_response(plain, begun, "REGISTER", "sip:example.org", NONCE, qop="auth", nc=NC, cnonce=CNONCE)
    assert again == proof(plain + "-sess")


@pytest.mark.parametrize("algorithm", ["", "md", "SHA-1", "MD5-ses", "SHA-256-sess-sess", "SHA-512", "\u00e9" * 3])
def test_an_unknown_algorithm_is_an_error(algorithm: str) -> None:
    # AUT-2
    with pytest.raises(ValueError, match="algorithm"):
        digest_ha1(algorithm, "a", "b", "c")


def test_algorithm_names_have_no_case() -> None:
    # AUT-2: token, RFC 3261 7.3.1
    assert digest_ha1("md5", "a", "b", "c") == digest_ha1("MD5-SESS", "a", "b", "c")
    assert digest_ha1("sha-512-256", "a", "b", "c") == digest_ha1("SHA-512-256-Sess", "a", "b", "c")


@pytest.mark.parametrize(("qop", "cnonce"), [("", "x"), ("auth", "")])
def test_a_session_needs_qop_and_cnonce(qop: str, cnonce: str) -> None:
    # AUT-3
    with pytest.raises(ValueError, match="session"):
        digest_response("MD5-sess", "0" * 32, "REGISTER", "sip:h", "n", qop=qop, nc="00000001", cnonce=cnonce)


def test_another_qop_is_an_error() -> None:
    # AUT-5
    with pytest.raises(ValueError, match="qop"):
        digest_response("MD5", "0" * 32, "REGISTER", "sip:h", "n", qop="auth-conf")


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(
    st.sampled_from(ALGORITHMS),
    st.sampled_from(["", "auth", "auth-int"]),
    st.tuples(texts, texts, texts),
    st.sampled_from(["REGISTER", "SUBSCRIBE", ""]),
    texts,
    texts,
    st.text("0123456789abcdef", min_size=8, max_size=8),
    texts.filter(bool),
    st.binary(max_size=100),
)
def test_fast_and_reference_agree(
    algorithm: str,
    qop: str,
    who: tuple[str, str, str],
    method: str,
    uri: str,
    nonce: str,
    nc: str,
    cnonce: str,
    body: bytes,
) -> None:
    # AUT-2, AUT-3, AUT-4
    if not qop:
        algorithm = algorithm.removesuffix("-sess")
    ours = digest_response(
        algorithm, digest_ha1(algorithm, *who), method, uri, nonce, qop=qop, nc=nc, cnonce=cnonce, body=body
    )
    assert ours == reference.response(algorithm, *who, method, uri, nonce, qop, nc, cnonce, body)
    assert digest_userhash(algorithm, who[0], who[1]) == reference.hashed(algorithm, f"{who[0]}:{who[1]}".encode())


@given(st.binary(max_size=300))
def test_md5_is_that_of_hashlib(octets: bytes) -> None:
    # AUT-2: of any length, blocks and padding included
    text = octets.decode("latin-1")
    assert digest_userhash("MD5", text, "") == hashlib.md5(f"{text}:".encode()).hexdigest()


@pytest.mark.parametrize("length", [*range(50, 70), *range(114, 132), 1000])
def test_md5_at_the_edges_of_its_blocks(length: int) -> None:
    # AUT-2
    assert digest_userhash("MD5", "a" * length, "") == hashlib.md5(b"a" * length + b":").hexdigest()
