"""A turn of works is decided as if each were decided alone (REG-10, REG-11)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo.config import Config, RegistrarSection
from reginfo.engine.decisions import Decisions
from reginfo.fast import Change, Draft, Flow, Outcome, Registering, RegisterPolicy, SipMessage, parse_message
from reginfo.model import Command, Now, StateItem
from reginfo.roles.registrar import Registrar
from tests.harness import PHONE, request

NOW = Now(1_700_000_000_000, 1_700_000_000.0, 0)
CONFIG = Config(registrar=RegistrarSection(max_contacts=3, expires_jitter=0.5))
CONTACTS = (
    "Contact: <sip:a@192.0.2.10>;expires=600",
    "Contact: <sip:A@192.0.2.10:5060>;expires=0",
    "Contact: <sip:b@192.0.2.11>;expires=5",
    "Contact: <sip:c@192.0.2.12>, <sip:d@192.0.2.12>;q=0.5",
    "Contact: <sips:a@192.0.2.10>",
    'Contact: <sip:a@192.0.2.10>;reg-id=1;+sip.instance="<urn:uuid:00000000-0000-0000-0000-000000000001>"',
)
ROWS = ("Path: <sip:proxy.example.com;lr>", "Supported: path", "Expires: 0")


class EachAlone(Registrar):
    """The same registrar on the general road only."""

    @property
    def plain(self) -> None:
        return None


class Stumbling(Registrar):
    """A registrar with a fault that shows when the contacts are bound already."""

    @property
    def plain(self) -> None:
        return None

    def decide(self, request: SipMessage, draft: Draft, received: str, flow: Flow, spread: int, now_ms: int) -> Outcome:
        assert super().decide(request, draft, received, flow, spread, now_ms).status == 200
        raise RuntimeError("a fault of ours")


class Speechless(Registrar):
    """The same on the compiled road: there is no outcome for the verdict."""

    @property
    def plain(self) -> tuple[RegisterPolicy, dict[int, Outcome]]:
        both = super().plain
        assert both is not None
        return both[0], {}


registers = st.builds(
    lambda user, cseq, call, rows, repeated, reliable, fingerprint: (
        user,
        request("REGISTER", *rows, user=user, call_id=call, cseq=cseq, branch="z9hG4bK1"),
        repeated,
        reliable,
        fingerprint,
    ),
    st.sampled_from(("alice", "bob")),
    st.integers(1, 4),
    st.sampled_from(("c1", "c2")),
    st.builds(
        lambda contacts, rows: [*contacts, *rows],
        st.just(["Contact: *"]) | st.lists(st.sampled_from(CONTACTS), max_size=3, unique=True),
        st.lists(st.sampled_from(ROWS), unique=True),
    ),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**64 - 1),
)


def works_of(
    asked: list[tuple[str, bytes, bool, bool, int]], ends: list[tuple[int, str]]
) -> list[Registering | Command]:
    works: list[Registering | Command] = []
    for user, octets, repeated, reliable, fingerprint in asked:
        flow = Flow("tcp", PHONE.local, PHONE.remote, 7) if reliable else PHONE
        work = Registering(parse_message(octets), f"sip:{user}@example.com", flow, fingerprint, NOW.ms)
        work.repeated = repeated
        works.append(work)
    for place, user in ends:
        end = Command(f"sip:{user}@example.com", lambda draft, _: draft.remove(None, "unregistered"), "rpc")
        works.insert(place % (len(works) + 1), end)
    return works


def seen(work: Registering | Command) -> tuple[object, ...]:
    change = None if work.change is None else work.change.to_octets()
    if isinstance(work, Command):
        return (change, work.result)
    return (repr(work.outcome), change, work.listing, work.moves_flow)


def decided(
    registrar: Registrar, works: list[Registering | Command], records: dict[str, bytes | None]
) -> tuple[list[Change], list[StateItem]]:
    return Decisions(registrar, lambda: None).decide(works, records, NOW)


@given(st.lists(registers, max_size=8), st.lists(st.tuples(st.integers(0, 8), st.sampled_from(("alice", "bob")))))
def test_the_compiled_road_decides_as_the_general_one(
    asked: list[tuple[str, bytes, bool, bool, int]], ends: list[tuple[int, str]]
) -> None:
    records: dict[str, bytes | None] = {"sip:alice@example.com": None}
    draft = Draft("sip:bob@example.com", None, NOW.ms - 1000)
    plain = Registrar(CONFIG).plain
    assert plain is not None
    draft.register(parse_message(request("REGISTER", CONTACTS[0], user="bob", call_id="c1")), plain[0], 0, "", NOW.ms)
    assert draft.finish("register") is not None
    records[draft.aor] = draft.record
    found, expected = works_of(asked, ends), works_of(asked, ends)
    changes, _ = decided(Registrar(CONFIG), found, records)
    wanted, _ = decided(EachAlone(CONFIG), expected, records)
    assert [seen(work) for work in found] == [seen(work) for work in expected]
    assert [change.to_octets() for change in changes] == [change.to_octets() for change in wanted]
    assert [id(work.change) for work in found if work.change is not None] == [id(change) for change in changes]


@pytest.mark.parametrize("kind", [Stumbling, Speechless])
def test_a_decision_that_raises_costs_its_request_alone(kind: type[Registrar]) -> None:
    """REG-11: others of the turn are decided, and what it had decided until then is forgotten."""
    faults: list[int] = []
    works = works_of([("alice", request("REGISTER", CONTACTS[0]), False, False, 1)], [(1, "alice")])
    changes, _ = Decisions(kind(CONFIG), lambda: faults.append(1)).decide(works, {"sip:alice@example.com": None}, NOW)
    assert (changes, faults) == ([], [1])
    assert isinstance(works[0], Registering)
    assert works[0].outcome.status == 500
    assert isinstance(works[1], Command)
    assert (works[1].error, works[1].result) == (None, 0)
