"""What is learned from a document, beside the same written on properties (standards.md: RIC-5, RIC-10, ESC-6)."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reginfo.fast import Draft, ReginfoRegistration, learn_registration, parse_reginfo
from tests.interop import documents
from tests.reference.learning import learn_registration as slow

AOR = "sip:alice@example.org"
NOW_MS = 1_767_607_200_000
NUMBERS = st.sampled_from(["", "0", "1", "600", str(2**32 - 1), str(2**32), str(10**15), "x"])

numbers = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("expires", "retry-after", "duration-registered", "cseq"), NUMBERS)
)
texts = st.fixed_dictionaries(
    {},
    optional={
        "callid": st.sampled_from(["", "one", "two", "a\u00e4"]),
        "q": st.sampled_from(["0", "0.5", "1", "1.5", "x"]),
        "path": st.sampled_from(["&lt;sip:p@h;lr&gt;", ""]),
        "received": st.just("sip:192.0.2.1:5061"),
        "user_agent": st.just("Phone/1.0"),
    },
)
EVENTS = ["registered", "created", "refreshed", "shortened", "expired", "probation", "rejected", "unheard-of"]
URIS = ["sip:a@192.0.2.1", "sip:b@192.0.2.2;transport=tcp", "SIP:A@192.0.2.1", "nonsense", "tel:+15551234"]
INSIDES = ["", '<display-name>A "quoted" \\ name</display-name>', '<unknown-param name="x">y</unknown-param>']


@st.composite
def contacts(draw: st.DrawFn) -> str:
    attributes = {
        "id": draw(st.sampled_from("1234")),
        "state": draw(st.sampled_from(["active", "active", "terminated"])),
        "event": draw(st.sampled_from(EVENTS)),
        **draw(numbers),
        **draw(texts),
    }
    rows = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    return f"<contact {rows}><uri>{draw(st.sampled_from(URIS))}</uri>{draw(st.sampled_from(INSIDES))}</contact>"


@st.composite
def registrations(draw: st.DrawFn) -> ReginfoRegistration:
    state = draw(st.sampled_from(["active", "active", "active", "init", "terminated"]))
    told = documents.registration(AOR, *draw(st.lists(contacts(), max_size=4)), state=state)
    return parse_reginfo(documents.document(told)).registrations[0]


steps = st.tuples(registrations(), st.booleans(), st.booleans(), st.sampled_from([1, 5_000, 700_000]))


def play(learn: Any, told: list[tuple[ReginfoRegistration, bool, bool, int]]) -> list[tuple[object, ...]]:
    """Return what comes of documents about an AoR that has a contact of its own, one after the other."""
    record = None
    now_ms = NOW_MS
    found: list[tuple[object, ...]] = []
    for said, full, mirror, later_ms in told:
        now_ms += later_ms
        draft = Draft(AOR, record, now_ms)
        learn(draft, said, "peer:east", full=full, until_ms=now_ms + 60_000, now_ms=now_ms, mirror=mirror)
        change = draft.finish("notify", "peer:east")
        record = draft.record
        found.append((record, None if change is None else (change.ended, change.only_refreshes)))
    return found


@given(st.lists(steps, max_size=4))
def test_what_is_learned_is_what_the_properties_of_a_document_say(
    told: list[tuple[ReginfoRegistration, bool, bool, int]],
) -> None:
    """RIC-5, RIC-10: and what cannot be a contact is passed over."""
    assert play(learn_registration, told) == play(slow, told)
