"""Absorbed retransmissions: fingerprints, tags, two generations, a bounded ring of answers."""

import sys

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reginfo._fast.datagrams import Flow
from reginfo._fast.transactions import LISTING, PENDING, Absorbed, Transactions
from tests.reference.transactions import ReferenceTransactions

KEY = bytes(range(16))
NOW = 1_700_000_000_000
J = 32_000
REQUEST = b"REGISTER sip:example.com SIP/2.0\r\nCall-ID: 1\r\n\r\n"


def flow(host: str = "192.0.2.1", port: int = 5060, transport: str = "udp", local: int = 5060) -> Flow:
    address = "2001:db8::1" if ":" in host else "192.0.2.100"
    return Flow(transport, (address, local), (host, port))


def test_the_same_octets_from_the_same_source_have_one_fingerprint() -> None:
    # TX-3, TX-4: a retransmission is the same octets from the same address
    transactions = Transactions(KEY)
    first = transactions.fingerprint(REQUEST, flow())
    assert first == transactions.fingerprint(bytes(bytearray(REQUEST)), flow())
    assert first == transactions.fingerprint(REQUEST, flow(local=5070))
    assert 0 < first < 1 << 64


@pytest.mark.parametrize(
    ("octets", "source"),
    [
        (REQUEST[:-1], flow()),
        (REQUEST + b"\0", flow()),
        (REQUEST.replace(b"1", b"2"), flow()),
        (b"", flow()),
        (REQUEST, flow(host="192.0.2.2")),
        (REQUEST, flow(host="192.0.2.11")),
        (REQUEST, flow(port=5061)),
        (REQUEST, flow(transport="tcp")),
        (REQUEST, flow(host="2001:db8::2")),
    ],
)
def test_other_octets_or_another_source_have_another_fingerprint(octets: bytes, source: Flow) -> None:
    # TX-4: a stranger's copy is not a retransmission
    transactions = Transactions(KEY)
    assert transactions.fingerprint(octets, source) != transactions.fingerprint(REQUEST, flow())


def test_fingerprints_and_tags_depend_on_the_key() -> None:
    # MSG-12: nobody outside can compute them
    one, other = Transactions(KEY), Transactions(KEY[::-1])
    assert one.fingerprint(REQUEST, flow()) != other.fingerprint(REQUEST, flow())
    assert one.tag(1) != other.tag(1)
    assert one.tag(1) == Transactions(KEY).tag(1)


def test_a_tag_is_sixteen_hexadecimal_digits_and_not_the_fingerprint() -> None:
    # MSG-12, MSG-19: the same tag in every response to a request
    transactions = Transactions(KEY)
    tags = {transactions.tag(number) for number in range(1000)}
    assert len(tags) == 1000
    assert all(len(tag) == 16 and set(tag) <= set("0123456789abcdef") for tag in tags)
    assert transactions.tag(2**64 - 1) != f"{2**64 - 1:016x}"


@pytest.mark.parametrize("answer", [PENDING, LISTING, b"SIP/2.0 200 OK\r\n\r\n", b""])
def test_an_answer_is_remembered_for_32_s_at_least_and_64_s_at_most(answer: bytes | Absorbed) -> None:
    # TX-3, timer J
    for start in (0, 1, J - 1):
        transactions = Transactions(KEY)
        transactions.find(1, NOW)
        transactions.remember(7, answer, NOW + start)
        assert transactions.find(7, NOW + start) is answer
        assert transactions.find(7, NOW + start + J - 1) is answer
        assert transactions.find(7, NOW + start + 2 * J) is None
    assert transactions.find(8, NOW) is None


def test_the_last_answer_is_the_one_that_is_remembered() -> None:
    # TX-3: Trying, then Completed; the first may lie in the older generation
    transactions = Transactions(KEY)
    transactions.remember(7, PENDING, NOW)
    transactions.remember(7, b"first", NOW + J)
    assert transactions.find(7, NOW + J) == b"first"
    transactions.remember(7, LISTING, NOW + J + 1)
    assert transactions.find(7, NOW + J + 1) is LISTING


def test_what_was_forgotten_is_new() -> None:
    transactions = Transactions(KEY)
    transactions.remember(7, PENDING, NOW)
    transactions.remember(7, b"answer", NOW + J)
    transactions.remember(8, LISTING, NOW + J)
    transactions.forget(7)
    transactions.forget(7)
    assert transactions.find(7, NOW + J) is None
    assert transactions.find(8, NOW + J) is LISTING


def test_beyond_the_capacity_the_older_generation_goes_first() -> None:
    # SEC-3: bounded, n and n+1
    transactions = Transactions(KEY, capacity=100)
    for number in range(200):
        transactions.remember(number, LISTING, NOW)
    assert len(transactions) == 200
    assert all(transactions.find(number, NOW) for number in range(200))
    transactions.remember(200, LISTING, NOW)
    assert len(transactions) == 101
    assert [number for number in range(201) if transactions.find(number, NOW)] == list(range(100, 201))


def test_beyond_the_ring_the_oldest_answer_is_lost_and_no_other_one_taken_for_it() -> None:
    # SEC-3: bounded, n and n+1
    transactions = Transactions(KEY, answers=3)
    for number in range(3):
        transactions.remember(number, b"%d" % number, NOW)
    assert [transactions.find(number, NOW) for number in range(3)] == [b"0", b"1", b"2"]
    transactions.remember(3, b"3", NOW)
    assert [transactions.find(number, NOW) for number in range(4)] == [None, b"1", b"2", b"3"]


def test_beyond_the_octets_the_oldest_answers_are_lost() -> None:
    # SEC-3: large answers are as bounded as many are; n and n+1 octets
    transactions = Transactions(KEY, answers=10, answer_octets=30)
    for number in range(3):
        transactions.remember(number, bytes(10), NOW)
    assert all(transactions.find(number, NOW) for number in range(3))
    transactions.remember(3, b"x", NOW)
    assert [number for number in range(4) if transactions.find(number, NOW)] == [1, 2, 3]
    transactions.remember(4, bytes(29), NOW)
    assert [number for number in range(5) if transactions.find(number, NOW)] == [3, 4]
    transactions.remember(5, bytes(1000), NOW)
    assert [number for number in range(6) if transactions.find(number, NOW)] == [5]
    for number in range(6, 30):
        transactions.remember(number, b"x", NOW)
    assert [number for number in range(30) if transactions.find(number, NOW)] == list(range(20, 30))


def test_fingerprints_that_share_half_of_their_bits_are_told_apart() -> None:
    transactions = Transactions(KEY)
    for upper in range(10):
        transactions.remember(upper << 32 | 5, b"%d" % upper, NOW)
    assert [transactions.find(upper << 32 | 5, NOW) for upper in range(11)] == [*(b"%d" % n for n in range(10)), None]


def test_answers_are_held_once_and_given_back() -> None:
    answer = bytes(1000)
    before = sys.getrefcount(answer)
    transactions = Transactions(KEY, answers=2)
    transactions.remember(1, answer, NOW)
    assert sys.getrefcount(answer) == before + 1
    transactions.remember(2, b"x", NOW)
    transactions.remember(3, b"y", NOW)
    assert sys.getrefcount(answer) == before
    transactions.remember(4, answer, NOW)
    del transactions
    assert sys.getrefcount(answer) == before


@pytest.mark.parametrize("key", [b"", bytes(15), bytes(17), bytes(32)])
def test_a_key_of_another_length_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match="16 octets"):
        Transactions(key)


@pytest.mark.parametrize("limits", [(0, 1), (1, 0), (-1, 1), (2**31, 1), (1, 2**31)])
def test_limits_out_of_range_are_refused(limits: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="capacity"):
        Transactions(KEY, *limits)


def test_arguments_of_another_type_are_refused() -> None:
    transactions = Transactions(KEY)
    for wrong in (None, "text", 7, bytearray(b"x")):
        with pytest.raises(TypeError):
            transactions.remember(1, wrong, NOW)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        transactions.fingerprint(REQUEST, None)  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        transactions.find(2**64, NOW)
    assert len(transactions) == 0


FINGERPRINTS = st.integers(1, 12).map(lambda number: number * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)


class TransactionsMachine(RuleBasedStateMachine):
    """Transactions and the reference get the same calls."""

    @initialize(capacity=st.integers(1, 10), answers=st.integers(1, 5), octets=st.integers(1, 60))
    def begin(self, capacity: int, answers: int, octets: int) -> None:
        self.now = NOW
        self.fast = Transactions(KEY, capacity, answers, octets)
        self.slow = ReferenceTransactions(capacity, answers, octets)
        self.count = 0

    @rule(fingerprint=FINGERPRINTS, kind=st.sampled_from([PENDING, LISTING, None]))
    def remember(self, fingerprint: int, kind: Absorbed | None) -> None:
        self.count += 1
        answer = kind or b"answer %d" % self.count
        self.fast.remember(fingerprint, answer, self.now)
        self.slow.remember(fingerprint, answer, self.now)

    @rule(fingerprint=FINGERPRINTS)
    def find(self, fingerprint: int) -> None:
        assert self.fast.find(fingerprint, self.now) == self.slow.find(fingerprint, self.now)

    @rule(fingerprint=FINGERPRINTS)
    def forget(self, fingerprint: int) -> None:
        self.fast.forget(fingerprint)
        self.slow.forget(fingerprint)

    @rule(ahead=st.sampled_from([1, 1_000, J - 1, J, 2 * J - 1, 2 * J, 10 * J]))
    def wait(self, ahead: int) -> None:
        self.now += ahead

    @invariant()
    def agree(self) -> None:
        assert len(self.fast) == len(self.slow)


TestTransactionsMachine = TransactionsMachine.TestCase
TestTransactionsMachine.settings = settings(stateful_step_count=40)


def test_no_token_comes_twice_and_none_can_be_told_from_another() -> None:
    # MSG-12
    one, other = Transactions(KEY), Transactions(bytes(16))
    tokens = [one.token() for _ in range(1000)] + [other.token() for _ in range(1000)]
    assert len(set(tokens)) == 2000
    assert {len(token) for token in tokens} == {16}
