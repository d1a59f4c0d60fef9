"""Locating servers: DNS-1 to DNS-4 and TRN-5, and answers of DNS that mean no good."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo.fast import SipParseError, parse_message
from reginfo.model import Naptr, Srv
from reginfo.sip.locating import (
    HOST,
    MAX_QUERIES,
    MAX_RECORDS,
    MAX_TARGETS,
    NAPTR,
    SRV,
    Answer,
    Query,
    Target,
    in_order,
    locate,
)
from reginfo.sip.routing import Hop, next_hop, parse_hop, sent_by
from tests.harness import request
from tests.reference.srv_order import orders

ALL = ("udp", "tcp", "tls")
D = "example.test"

Records = Mapping[tuple[str, str], Sequence[object]]


def ask(
    hop: Hop | str,
    records: Records,
    transports: Collection[str] = ALL,
    draw: Callable[[int], int] = lambda highest: 0,
) -> tuple[list[str], list[list[str]]]:
    """Return the targets, and the questions of each round, as text."""
    procedure = locate(next_hop(hop) if isinstance(hop, str) else hop, transports, draw)
    rounds: list[list[str]] = []
    try:
        wanted = next(procedure)
        while True:
            rounds.append([f"{query.kind} {query.name}" for query in wanted])
            answers: list[Answer] = [records.get((query.kind, query.name), ()) for query in wanted]  # type: ignore[misc]
            wanted = procedure.send(answers)
    except StopIteration as found:
        return [f"{target.transport}:{target.host}:{target.port}" for target in found.value], rounds


def pointer(
    service: str, name: str, order: int = 10, preference: int = 10, flags: str = "s", regexp: str = ""
) -> Naptr:
    return Naptr(order, preference, flags, service, regexp, name)


@pytest.mark.parametrize(
    ("uri", "hop"),
    [
        ("sip:192.0.2.1", Hop("udp", "192.0.2.1", 5060)),
        ("sip:[2001:db8::1]", Hop("udp", "2001:db8::1", 5060)),
        ("sips:192.0.2.1", Hop("tls", "192.0.2.1", 5061)),
        ("sip:example.test", Hop("sip", D, 0)),
        ("sips:example.test", Hop("sips", D, 0)),
        ("sip:EXAMPLE.test:5060", Hop("udp", D, 5060)),
        ("sips:example.test:5071", Hop("tls", D, 5071)),
        ("sip:example.test;transport=tcp", Hop("tcp", D, 0)),
        ("sips:example.test;transport=tcp", Hop("tls", D, 0)),
        ("sip:example.test;transport=TLS", Hop("tls", D, 0)),
        ("sip:a@elsewhere.test;maddr=example.test", Hop("sip", D, 0)),
        ("sip:a@elsewhere.test;maddr=192.0.2.1", Hop("udp", "192.0.2.1", 5060)),
    ],
)
def test_a_uri_says_what_is_looked_for(uri: str, hop: Hop) -> None:
    """DNS-1, DNS-2, DNS-3: TARGET is maddr or the host; transport and port as far as the URI says them."""
    assert next_hop(uri) == hop
    assert parse_hop(str(hop)) == hop


def test_a_uri_of_no_known_transport_leads_nowhere() -> None:
    """DNS-2: transport= given is taken at its word."""
    with pytest.raises(SipParseError):
        next_hop("sip:example.test;transport=carrier-pigeon")


def test_an_address_is_asked_of_nobody() -> None:
    """DNS-2, DNS-3: literal -> given or default port."""
    assert ask("sip:192.0.2.1", {}) == (["udp:192.0.2.1:5060"], [])
    assert ask("sips:[2001:db8::1]:5099", {}) == (["tls:2001:db8::1:5099"], [])


def test_a_port_asks_for_addresses_alone() -> None:
    """DNS-3: name and port -> A and AAAA only, even port 5060, in the order of the system; UDP (DNS-2)."""
    records: Records = {(HOST, D): ["2001:db8::1", "192.0.2.1"], (SRV, f"_sip._udp.{D}"): [Srv(0, 0, 9, "x.test")]}
    found = ["udp:2001:db8::1:5060", "udp:192.0.2.1:5060"]
    assert ask("sip:example.test:5060", records) == (found, [[f"HOST {D}"]])


def test_naptr_says_transport_and_name_in_its_order() -> None:
    """DNS-2: order, then preference; SIPS is kept for a sip URI if there is TLS, what is not reached is not."""
    records: Records = {
        (NAPTR, D): [
            pointer("SIP+D2U", f"_sip._udp.{D}", 20, 1),
            pointer("SIP+D2T", f"_sip._tcp.{D}", 10, 50),
            pointer("sips+d2t", f"_sips._tcp.{D}", 10, 40, "S"),
            pointer("SIP+D2S", f"_sip._sctp.{D}", 1, 1),
        ],
        (SRV, f"_sip._udp.{D}"): [Srv(0, 0, 5060, "u.test")],
        (SRV, f"_sip._tcp.{D}"): [Srv(0, 0, 5062, "t.test")],
        (SRV, f"_sips._tcp.{D}"): [Srv(0, 0, 5061, "s.test")],
        (HOST, "u.test"): ["192.0.2.1"],
        (HOST, "t.test"): ["192.0.2.2"],
        (HOST, "s.test"): ["192.0.2.3"],
    }
    tls, tcp, udp = "tls:192.0.2.3:5061", "tcp:192.0.2.2:5062", "udp:192.0.2.1:5060"
    found, rounds = ask("sip:example.test", records)
    assert found == [tls, tcp, udp]
    assert rounds == [
        [f"NAPTR {D}", f"SRV _sips._tcp.{D}", f"SRV _sip._tcp.{D}", f"SRV _sip._udp.{D}"],
        ["HOST s.test", "HOST t.test", "HOST u.test"],
    ]
    assert ask("sip:example.test", records, ("udp", "tcp"))[0] == [tcp, udp]
    assert ask("sips:example.test", records)[0] == [tls]
    assert ask("sips:example.test", records, ("udp", "tcp"))[0] == []


def test_naptr_for_what_we_do_not_speak_is_an_answer() -> None:
    """DNS-2: a domain that has SIP by TLS alone is not spoken to in the clear."""
    records: Records = {(NAPTR, D): [pointer("SIPS+D2T", f"_sips._tcp.{D}")], (HOST, D): ["192.0.2.1"]}
    assert ask("sip:example.test", records, ("udp", "tcp"))[0] == []


@pytest.mark.parametrize(
    "useless",
    [
        [pointer("E2U+sip", f"_sip._udp.{D}")],
        [pointer("SIP+D2U", f"_sip._udp.{D}", flags="u")],
        [pointer("SIP+D2U", f"_sip._udp.{D}", flags="")],
        [pointer("SIP+D2U", ".", regexp="!^.*$!sip:info@evil.test!")],
        [pointer("SIP+D2U", f"_sip._udp.{D}", regexp="!^.*$!sip:info@evil.test!")],
        [pointer("SIP+D2U", ".")],
        [pointer("SIP+D2U", "a b.test"), pointer("SIP+D2U", "x" * 300)],
        [Srv(0, 0, 1, "wrong.test"), "nonsense"],
    ],
)
def test_naptr_of_no_use_counts_as_none(useless: Sequence[object]) -> None:
    """DNS-2: wrong flags, other services and rewriting rules are passed over, and SRV is asked."""
    records: Records = {
        (NAPTR, D): useless,
        (SRV, f"_sip._udp.{D}"): [Srv(0, 0, 5070, "u.test")],
        (HOST, "u.test"): ["192.0.2.1"],
    }
    assert ask("sip:example.test", records)[0] == ["udp:192.0.2.1:5070"]


def test_naptr_that_leads_to_itself_ends() -> None:
    """DNS-2: a replacement is asked for SRV once, whatever it names."""
    records: Records = {(NAPTR, D): [pointer("SIP+D2U", D, n) for n in range(5)], (HOST, D): ["192.0.2.1"]}
    found, rounds = ask("sip:example.test", records, ("udp",))
    assert found == ["udp:192.0.2.1:5060"]
    assert rounds[1:] == [[f"SRV {D}"], [f"HOST {D}"]]


def test_without_naptr_the_transports_we_have_are_asked_for() -> None:
    """DNS-2: no NAPTR -> SRV of _sips._tcp, _sip._tcp, _sip._udp; no SRV -> UDP (sip) or TLS (sips) at the host."""
    records: Records = {
        (SRV, f"_sip._tcp.{D}"): [Srv(0, 0, 5062, "t.test")],
        (SRV, f"_sip._udp.{D}"): [Srv(0, 0, 5060, "u.test")],
        (HOST, "u.test"): ["192.0.2.1"],
        (HOST, "t.test"): ["192.0.2.2"],
        (HOST, D): ["192.0.2.9"],
    }
    assert ask("sip:example.test", records)[0] == ["tcp:192.0.2.2:5062", "udp:192.0.2.1:5060"]
    assert ask("sip:example.test;transport=udp", records)[0] == ["udp:192.0.2.1:5060"]
    assert ask("sip:example.test;transport=udp", records)[1][0] == [f"SRV _sip._udp.{D}"]
    host = {(HOST, D): ["192.0.2.9"]}
    assert ask("sip:example.test", host)[0] == ["udp:192.0.2.9:5060"]
    assert ask("sip:example.test", host, ("tcp",))[0] == ["tcp:192.0.2.9:5060"]
    assert ask("sips:example.test", host)[0] == ["tls:192.0.2.9:5061"]
    assert ask("sip:example.test;transport=tcp", host)[0] == ["tcp:192.0.2.9:5060"]
    assert ask("sip:example.test;transport=ws", host)[0] == []
    assert ask("sip:nowhere.test", host)[0] == []


def test_a_service_that_is_not_there_is_not_sought_at_the_host() -> None:
    """DNS-4: target "." alone means no service, beside others it is passed over."""
    none, some = Srv(0, 0, 0, "."), Srv(1, 0, 5060, "u.test")
    records: Records = {(SRV, f"_sip._udp.{D}"): [none], (HOST, D): ["192.0.2.9"], (HOST, "u.test"): ["192.0.2.1"]}
    assert ask("sip:example.test", records, ("udp",))[0] == []
    assert ask("sip:example.test", {**records, (SRV, f"_sip._udp.{D}"): [none, some]})[0] == ["udp:192.0.2.1:5060"]


@pytest.mark.parametrize("host", ["phone.invalid", "invalid"])
def test_names_that_never_exist_are_asked_of_nobody(host: str) -> None:
    """TRN-14: the Via and Contact of a browser."""
    assert ask(f"sip:{host}", {(HOST, host): ["192.0.2.1"]}) == ([], [])


def test_the_domain_that_was_asked_for_stays_with_the_target() -> None:
    """DNS-6: what a certificate has to name is not what SRV says."""
    procedure = locate(next_hop("sips:example.test"), ALL, lambda highest: 0)
    assert Query(NAPTR, D) in next(procedure)
    procedure.send([(), [Srv(0, 0, 5061, "s.other.test")]])
    with pytest.raises(StopIteration) as found:
        procedure.send([["192.0.2.1"]])
    assert found.value.value == [Target("tls", "192.0.2.1", 5061, D)]


# -- hostile answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [MAX_TARGETS, MAX_TARGETS + 1])
def test_targets_are_bounded(count: int) -> None:
    """DNS-3: a name of many addresses."""
    records = {(HOST, D): [f"192.0.2.{n}" for n in range(count)]}
    assert len(ask("sip:example.test:5060", records)[0]) == MAX_TARGETS


@pytest.mark.parametrize("count", [MAX_QUERIES - 1, MAX_QUERIES])
def test_queries_are_bounded(count: int) -> None:
    """DNS-3: one for SRV, one for each host it names."""
    records: dict[tuple[str, str], Sequence[object]] = {
        (SRV, f"_sip._udp.{D}"): [Srv(n, 0, 5060, f"h{n}.test") for n in range(count)]
    }
    _, rounds = ask("sip:example.test;transport=udp", records)
    assert [len(one) for one in rounds] == [1, MAX_QUERIES - 1]


@pytest.mark.parametrize("count", [MAX_RECORDS, MAX_RECORDS + 1])
def test_records_are_bounded(count: int) -> None:
    """DNS-4: the most preferred of them are taken."""
    records = [Srv(priority, 0, 5060, "h.test") for priority in reversed(range(count))]
    assert [one.priority for one in in_order(records, lambda highest: 0)] == list(range(MAX_RECORDS))
    pointers = [pointer("SIP+D2U", f"_{n}.test", n) for n in range(count)]
    asked = ask("sip:example.test", {(NAPTR, D): pointers}, ("udp",))[1][1]
    assert asked == [f"SRV _{n}.test" for n in range(MAX_QUERIES - 2)]


_TEXT = st.one_of(
    st.sampled_from([".", "", D, f"_sip._udp.{D}", "a.test", "192.0.2.1", "::1", "localhost", "x" * 300, "a..b"]),
    st.text(max_size=8),
)
_NUMBER = st.integers(0, 65535)
_RECORD = st.one_of(
    st.builds(
        Naptr, _NUMBER, _NUMBER, st.sampled_from(["s", "S", "a", "u", ""]),
        st.sampled_from(["SIP+D2U", "SIP+D2T", "SIPS+D2T", "SIP+D2X", "E2U+sip", ""]), st.sampled_from(["", "!.*!x!"]),
        _TEXT,
    ),
    st.builds(Srv, _NUMBER, _NUMBER, _NUMBER, _TEXT),
    _TEXT,
)  # fmt: skip


@given(st.data(), st.sampled_from(["sip:example.test", "sips:example.test", "sip:example.test;transport=udp"]))
def test_no_answer_does_harm(data: st.DataObject, uri: str) -> None:
    """DNS-2 to DNS-4: whatever DNS says, the questions end, and what comes of them are addresses and ports."""
    procedure = locate(next_hop(uri), ALL, lambda highest: data.draw(st.integers(0, highest)))
    asked = 0
    targets: list[Target] = []
    try:
        wanted = next(procedure)
        while True:
            asked += len(wanted)
            assert 0 < asked <= MAX_QUERIES
            answers = data.draw(st.lists(st.lists(_RECORD, max_size=6), min_size=len(wanted), max_size=len(wanted)))
            wanted = procedure.send(answers)  # type: ignore[arg-type]
    except StopIteration as found:
        targets = found.value
    assert len(targets) <= MAX_TARGETS
    for target in targets:
        assert target.transport in ALL
        assert 0 < target.port < 65536
        assert target.domain == D


# -- the order of SRV -----------------------------------------------------------------------------------------

_SRVS = st.lists(
    st.builds(Srv, st.integers(0, 2), st.integers(0, 3), st.just(5060), st.sampled_from("abcd")),
    max_size=4,
    unique=True,
)


@given(_SRVS)
def test_the_order_is_that_of_the_reference_for_every_draw(records: list[Srv]) -> None:
    """DNS-4: every sequence of draws there is comes to the order that RFC 2782 gives it."""
    for draws, order, _ in orders(records):
        left = list(draws)
        assert in_order(records, lambda highest, left=left: left.pop(0)) == list(order)  # type: ignore[misc]
        assert not left


def test_weights_are_shares() -> None:
    """DNS-4: over every draw, who is first as often as its weight says; weight 0 is hardly ever."""
    records = [Srv(1, 0, 5060, "a"), Srv(1, 30, 5060, "b"), Srv(1, 10, 5060, "c"), Srv(2, 99, 5060, "d")]
    highest = 40
    first: Counter[str] = Counter()
    for number in range(highest + 1):
        draws = iter([number])
        first[in_order(records, lambda most, draws=draws: next(draws, 0))[0].target] += 1  # type: ignore[misc]
    assert first == {"a": 1, "b": 30, "c": 10}
    chance: Counter[str] = Counter()
    for _, order, likely in orders([Srv(1, 1, 5060, "a"), Srv(1, 3, 5060, "b")]):
        chance[order[0].target] += likely  # type: ignore[assignment]
    assert chance == {"a": Fraction(2, 5), "b": Fraction(3, 5)}


# -- responses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("via", "hop"),
    [
        ("TCP 192.0.2.10", Hop("tcp", "192.0.2.10", 5060)),
        ("TLS 192.0.2.10", Hop("tls", "192.0.2.10", 5061)),
        ("TCP [2001:db8::1]:5070", Hop("tcp", "2001:db8::1", 5070)),
        ("TCP Phone.example.test:5060", Hop("tcp", "phone.example.test", 5060)),
        ("TCP example.test", Hop("tcp", D, 0)),
        ("TLS example.test", Hop("tls", D, 0)),
    ],
)
def test_a_via_says_where_else_its_response_may_go(via: str, hop: Hop) -> None:
    """TRN-5: address -> there; name and port -> A and AAAA; name alone -> SRV of the Via's transport."""
    octets = request(via="192.0.2.10:5060").replace(b"UDP 192.0.2.10:5060", via.encode())
    assert sent_by(parse_message(octets)) == hop
    if hop.host == D:
        name = f"_sips._tcp.{D}" if hop.transport == "tls" else f"_sip._tcp.{D}"
        assert ask(hop, {})[1][0] == [f"SRV {name}"]
