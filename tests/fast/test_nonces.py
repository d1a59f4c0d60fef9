"""Nonces: made without being kept, good for one realm and time, each use once."""

import base64
import hmac
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reginfo._fast.nonces import Nonces
from tests.reference.nonces import ReferenceNonces

KEY = bytes(range(32))
NOW = 1_700_000_000_000


def nonces(lifetime_s: int = 300, capacity: int = 8, key: bytes = KEY, realm: str = "example.com") -> Nonces:
    return Nonces(key, realm, lifetime_s, capacity)


@given(st.binary(min_size=32, max_size=32), st.text(st.characters(codec="ascii"), max_size=200))
def test_a_nonce_is_its_number_and_an_hmac_of_128_bits(key: bytes, realm: str) -> None:
    # AUT-6: nobody else can make one
    text = base64.urlsafe_b64decode(nonces(key=key, realm=realm).issue(NOW))
    assert text[:8] == (NOW // 1000).to_bytes(4, "big") + (1).to_bytes(4, "big")
    assert text[8:] == hmac.digest(key, text[:8] + sha256(realm.encode()).digest(), "sha256")[:16]


def test_no_two_are_alike_and_none_is_kept() -> None:
    # TX-7, AUT-6
    made = nonces()
    assert len({made.issue(NOW) for _ in range(1000)}) == 1000
    assert len(made) == 0


def test_those_of_another_key_or_realm_are_foreign() -> None:
    # AUT-6
    nonce = nonces().issue(NOW)
    assert nonces().use(nonce, 1, NOW)
    assert not nonces(key=KEY[::-1]).use(nonce, 1, NOW)
    assert not nonces(realm="example.net").use(nonce, 1, NOW)


@given(st.text(max_size=40) | st.binary(min_size=24, max_size=24).map(lambda b: base64.urlsafe_b64encode(b).decode()))
def test_what_was_not_made_here_is_never_good(text: str) -> None:
    # AUT-6, SEC-3
    made = nonces()
    assert not made.use(text, 1, NOW)
    assert len(made) == 0


@given(st.integers(0, 31), st.sampled_from("ABCabc012-_= !\u00e9"))
def test_one_changed_character_makes_it_foreign(place: int, other: str) -> None:
    # AUT-6
    made = nonces()
    nonce = made.issue(NOW)
    changed = nonce[:place] + other + nonce[place + 1 :]
    assert made.use(changed, 1, NOW) == (changed == nonce)


def test_it_is_good_up_to_the_end_of_its_life() -> None:
    # AUT-6
    made = nonces(lifetime_s=300)
    nonce = made.issue(NOW)
    assert made.use(nonce, 1, NOW + 299_999)
    assert not made.use(nonce, 2, NOW + 300_000)
    assert not made.use(made.issue(NOW), 1, NOW + 300_000)


def test_beyond_the_limit_the_oldest_is_forgotten_and_stays_unusable() -> None:
    # AUT-6, SEC-5: at n and n + 1
    made = nonces(capacity=8)
    issued = [made.issue(NOW) for _ in range(10)]
    for nonce in issued[1:9]:
        assert made.use(nonce, 1, NOW)
    assert len(made) == 8
    assert made.use(issued[1], 2, NOW)
    assert made.use(issued[9], 1, NOW)
    assert len(made) == 8
    assert not made.use(issued[1], 3, NOW)  # what it was used for is forgotten
    assert not made.use(issued[0], 1, NOW)  # and so may be that of an older one
    assert made.use(issued[2], 2, NOW)


def test_what_is_at_its_end_makes_room_first() -> None:
    # AUT-6
    made = nonces(lifetime_s=10, capacity=100)
    for second in range(1000):
        assert made.use(made.issue(NOW + 1000 * second), 1, NOW + 1000 * second)
    assert len(made) <= 11


@pytest.mark.parametrize(("key", "capacity"), [(b"", 8), (bytes(31), 8), (KEY, 0), (KEY, 1 << 31)])
def test_a_bad_key_or_capacity_is_refused(key: bytes, capacity: int) -> None:
    with pytest.raises(ValueError, match=r"key|capacity"):
        nonces(key=key, capacity=capacity)


class Uses(RuleBasedStateMachine):
    """AUT-6: whatever is used in whatever order, a use is taken once."""

    @initialize()
    def begin(self) -> None:
        self.now_s = NOW // 1000
        self.fast = nonces(lifetime_s=60, capacity=3)
        self.slow = ReferenceNonces(60, 3)
        self.issued: list[str] = []

    @rule()
    def issue(self) -> None:
        nonce = self.fast.issue(self.now_s * 1000)
        self.slow.made(nonce, self.now_s)
        self.issued.append(nonce)

    @rule(seconds=st.integers(0, 40))
    def sleep(self, seconds: int) -> None:
        self.now_s += seconds

    @precondition(lambda self: self.issued)
    @rule(data=st.data(), nc=st.integers(1, 200) | st.integers(2**32 - 70, 2**32 - 1))
    def use(self, data: st.DataObject, nc: int) -> None:
        nonce = data.draw(st.sampled_from(self.issued[-6:]))
        assert self.fast.use(nonce, nc, self.now_s * 1000) == self.slow.use(nonce, nc, self.now_s)

    @invariant()
    def is_bounded(self) -> None:
        if hasattr(self, "fast"):
            assert len(self.fast) == len(self.slow) <= 3


TestUses = Uses.TestCase
