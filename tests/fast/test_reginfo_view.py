"""What documents add up to, and what differs between two, beside a model (standards.md: RIC-1 to RIC-5, RIC-8)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reginfo._fast.reginfo_view import (
    APPLIED,
    GAP,
    MAX_VIEW_CONTACTS,
    MAX_VIEW_REGISTRATIONS,
    STALE_DOCUMENT,
    ReginfoDelta,
    ReginfoView,
    RegistrationDelta,
    apply_reginfo,
    diff_reginfo,
)
from reginfo.fast import Reginfo, SipParseError, parse_reginfo, uris_equal
from tests.interop import documents
from tests.reference.reginfo_xml import Contact, Document, Registration, contact_like, document_like

AOR = "sip:alice@example.org"
BOB = "sip:bob@example.org"

# -- documents from values ---------------------------------------------------------------------------------


def read(told: Document) -> Reginfo:
    """Return a document that says what a value says."""
    return parse_reginfo(
        documents.document(
            *(
                documents.registration(
                    registration.aor,
                    *map(written, registration.contacts),
                    id=registration.id,
                    state=registration.state,
                )
                for registration in told.registrations
            ),
            version=told.version,
            state=told.state,
        )
    )


def written(contact: Contact) -> str:
    assert contact.event is not None
    return documents.contact(
        contact.uri,
        id=contact.id,
        state=contact.state,
        event=contact.event,
        expires=contact.expires,
        call_id=contact.call_id or "",
        cseq=contact.cseq or 0,
        **({"path": contact.path} if contact.path else {}),
    )


def alive(id: str, uri: str = "sip:a@192.0.2.1", *, cseq: int = 1, event: str = "registered") -> Contact:
    return Contact(id, uri, "active", event, expires=600, call_id="c", cseq=cseq)


def over(id: str, event: str = "expired") -> Contact:
    return Contact(id, "sip:a@192.0.2.1", "terminated", event, call_id="c", cseq=1)


def of_alice(*contacts: Contact, version: int = 0, state: str = "full", registration: str = "active") -> Document:
    """Return a document about one AoR."""
    return Document(version, state, (Registration(AOR, "r1", registration, contacts),))


# -- the model ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Delta:
    """What became of a registration."""

    aor: str
    id: str
    state: str
    added: tuple[Contact, ...] = ()
    changed: tuple[tuple[Contact, Contact], ...] = ()
    removed: tuple[Contact, ...] = ()


def plain(delta: ReginfoDelta) -> tuple[int, list[Delta]]:
    """Return verdict and deltas as values of the model."""
    return delta.verdict, [
        Delta(
            one.aor,
            one.id,
            one.state,
            tuple(map(contact_like, one.added)),
            tuple((contact_like(old), contact_like(new)) for old, new in one.changed),
            tuple(map(contact_like, one.removed)),
        )
        for one in delta.registrations
    ]


Rows = dict[str, Contact]


@dataclass
class Model:
    """A table per registration, a row per contact (RIC-1), copied whole for each document."""

    version: int | None = None
    tables: dict[tuple[str, str], tuple[str, Rows]] = field(default_factory=dict)

    def verdict(self, told: Document) -> int:
        """RIC-2, RIC-4."""
        is_full = told.state == "full"
        if self.version is None or told.version > self.version + 1:
            return APPLIED if is_full else GAP
        if told.version == self.version + 1:
            return APPLIED
        # A presence server passes on what was published, with version 0 for ever.
        return APPLIED if is_full and told.version == self.version == 0 else STALE_DOCUMENT

    def apply(self, told: Document) -> tuple[int, list[Delta]]:
        """RIC-3: a full document flushes, a partial one overwrites what it names."""
        verdict = self.verdict(told)
        if verdict == STALE_DOCUMENT:
            return verdict, []
        is_full = told.state == "full"
        before, self.tables = self.tables, {} if is_full else dict(self.tables)
        deltas = []
        for registration in told.registrations:
            key = (registration.id, registration.aor)
            known = before[key][1] if key in before else {}
            lives = registration.state == "active"
            named = [contact for contact in registration.contacts if lives or contact.state == "terminated"]
            active = {contact.id: contact for contact in named if contact.state == "active"}
            ended = [contact for contact in named if contact.state == "terminated"]
            ids = {contact.id for contact in named}
            left = [] if lives and not is_full else [row for id, row in known.items() if id not in ids]
            deltas.append(
                Delta(
                    registration.aor,
                    registration.id,
                    registration.state,
                    tuple(contact for id, contact in active.items() if id not in known),
                    tuple((known[id], new) for id, new in active.items() if id in known and known[id] != new),
                    (*ended, *left),
                )
            )
            gone = {contact.id for contact in (*ended, *left)}
            rows = active if is_full else {id: row for id, row in (known | active).items() if id not in gone}
            self.tables[key] = (registration.state, rows)
        for (id, aor), (_, rows) in before.items():
            if (id, aor) not in self.tables:
                deltas.append(Delta(aor, id, "terminated", removed=tuple(rows.values())))
        self.version = told.version
        return verdict, deltas

    @property
    def registrations(self) -> list[Registration]:
        """What is known."""
        return [Registration(aor, id, state, tuple(rows.values())) for (id, aor), (state, rows) in self.tables.items()]


def known_to(view: ReginfoView) -> list[Registration]:
    return [
        Registration(one.aor, one.id, one.state, tuple(map(contact_like, one.contacts))) for one in view.registrations
    ]


# -- apply -------------------------------------------------------------------------------------------------

contacts = st.builds(
    Contact,
    id=st.sampled_from("123"),
    uri=st.sampled_from(["sip:a@192.0.2.1", "sip:a@192.0.2.2", "sip:%61@192.0.2.1"]),
    state=st.sampled_from(["active", "active", "terminated"]),
    event=st.sampled_from(["registered", "refreshed"]),
    expires=st.sampled_from([600, 601]),
    call_id=st.just("c"),
    cseq=st.integers(1, 2),
)
many_contacts = st.lists(
    st.builds(replace, contacts, id=st.integers(0, 12).map(str)),
    min_size=9,
    max_size=13,
    unique_by=lambda told: told.id,
)


def registration_of(aor: str) -> st.SearchStrategy[Registration]:
    return st.builds(
        Registration,
        aor=st.just(aor),
        # Some senders repeat ids: they belong to an AoR.
        id=st.sampled_from([aor, aor, aor, "r"]),
        state=st.sampled_from(["active", "active", "active", "active", "init", "terminated"]),
        contacts=(st.lists(contacts, max_size=3, unique_by=lambda told: told.id) | many_contacts).map(tuple),
    )


told_documents = st.builds(
    Document,
    version=st.integers(0, 6),
    state=st.sampled_from(["full", "partial", "partial"]),
    registrations=st.lists(st.sampled_from([AOR, BOB, "sip:c@h"]), max_size=3, unique=True).flatmap(
        lambda aors: st.tuples(*map(registration_of, aors))
    ),
)


@given(st.lists(told_documents, max_size=8))
@example([of_alice(alive("1"), version=version, state=state) for version, state in ((0, "full"), (0, "full"))])
@example([of_alice(alive("1")), of_alice(alive("1"), version=1, state="partial", registration="terminated")])
def test_applying_equals_the_model(told: list[Document]) -> None:
    """RIC-1 to RIC-5: whatever arrives, in whatever order; the sum of what is said is what is known."""
    view, model = ReginfoView(), Model()
    summed: dict[tuple[str, str], Rows] = {}
    for document in told:
        delta = apply_reginfo(read(document), view)
        assert plain(delta) == model.apply(document)
        assert bool(delta) == any(one.added or one.changed or one.removed for one in plain(delta)[1])
        assert (view.version, known_to(view)) == (model.version, model.registrations)
        add_up(summed, plain(delta)[1])
        assert summed == {(one.id, one.aor): rows_of(one) for one in known_to(view) if one.contacts}


def rows_of(registration: Registration) -> Rows:
    return {contact.id: contact for contact in registration.contacts}


def add_up(summed: dict[tuple[str, str], Rows], deltas: Iterable[Delta]) -> None:
    for delta in deltas:
        rows = summed.setdefault((delta.id, delta.aor), {})
        rows.update({contact.id: contact for contact in (*delta.added, *(new for _, new in delta.changed))})
        for contact in delta.removed:
            rows.pop(contact.id, None)
        if not rows:
            del summed[delta.id, delta.aor]


def history(steps: Iterable[list[Contact]]) -> Iterator[tuple[Document, Document]]:
    """Yield what a notifier says of an AoR step by step, as partial and as full document."""
    rows: Rows = {}
    for version, step in enumerate(steps):
        before = bool(rows)
        rows |= {contact.id: contact for contact in step}
        rows = {id: row for id, row in rows.items() if row.state == "active"}
        state = "active" if rows else "terminated" if before or step else "init"
        yield (
            of_alice(*step, version=version, state="partial" if version else "full", registration=state),
            of_alice(*rows.values(), version=version, registration=state),
        )


steps = st.lists(st.lists(contacts, max_size=3, unique_by=lambda told: told.id), min_size=1, max_size=8)


@given(steps, st.data())
def test_a_watcher_that_lost_nothing_knows_what_the_notifier_knows(
    told: list[list[Contact]], data: st.DataObject
) -> None:
    """RIC-2, RIC-3: late copies of earlier documents change nothing."""
    view = ReginfoView()
    sent: list[Document] = []
    for partial, full in history(told):
        sent.append(partial)
        assert apply_reginfo(read(partial), view).verdict == APPLIED
        assert {row.id: row for one in known_to(view) for row in one.contacts} == rows_of(full.registrations[0])
        if partial.version:
            again = data.draw(st.sampled_from(sent))
            delta = apply_reginfo(read(again), view)
            assert (delta.verdict, delta.registrations) == (STALE_DOCUMENT, ())
            assert view.version == partial.version


@given(steps, st.data())
def test_a_full_document_makes_up_for_what_was_lost(told: list[list[Contact]], data: st.DataObject) -> None:
    """RIC-2 to RIC-4: whatever was lost or came in another order before it."""
    view = ReginfoView()
    sent = list(history(told))
    for partial, _ in data.draw(st.lists(st.sampled_from(sent), max_size=6)):
        apply_reginfo(read(partial), view)
    last = replace(sent[-1][1], version=len(sent))
    assert apply_reginfo(read(last), view).verdict == APPLIED
    assert known_to(view) == list(last.registrations)


@pytest.mark.parametrize(
    ("first", "second", "state", "verdict"),
    [
        (None, 0, "full", APPLIED),
        (None, 7, "full", APPLIED),
        (None, 0, "partial", GAP),
        (7, 8, "full", APPLIED),
        (7, 8, "partial", APPLIED),
        (7, 9, "full", APPLIED),
        (7, 9, "partial", GAP),
        (7, 7, "full", STALE_DOCUMENT),
        (7, 7, "partial", STALE_DOCUMENT),
        (7, 6, "full", STALE_DOCUMENT),
        (7, 0, "full", STALE_DOCUMENT),
        (0, 0, "full", APPLIED),
        (0, 0, "partial", STALE_DOCUMENT),
        (0, 2**32 - 1, "full", APPLIED),
        (2**32 - 1, 0, "full", STALE_DOCUMENT),
        (2**32 - 1, 2**32 - 1, "full", STALE_DOCUMENT),
    ],
)
def test_versions(first: int | None, second: int, state: str, verdict: int) -> None:
    """RIC-2, RIC-4, XML-4; of version 0 alone there may be several, which a presence server passes on."""
    view = ReginfoView()
    if first is not None:
        apply_reginfo(read(of_alice(alive("1"), version=first)), view)
    delta = apply_reginfo(read(of_alice(alive("2"), version=second, state=state)), view)
    assert delta.verdict == verdict
    assert view.version == (first if verdict == STALE_DOCUMENT else second)
    known = [row.id for one in view.registrations for row in one.contacts]
    if verdict == STALE_DOCUMENT:
        assert (known, bool(delta)) == (["1"], False)
    else:
        assert known == (["2"] if state == "full" or first is None else ["1", "2"])


def test_contacts_that_a_full_document_does_not_name_have_ended() -> None:
    """RIC-3, RIC-5: as they were known; so have those of a registration that it does not name."""
    view = ReginfoView()
    bob = Registration(BOB, "r2", "active", (alive("3"),))
    both = of_alice(alive("1"), alive("2"))
    apply_reginfo(read(replace(both, registrations=(*both.registrations, bob))), view)
    verdict, deltas = plain(apply_reginfo(read(of_alice(alive("2"), version=1)), view))
    assert verdict == APPLIED
    assert deltas == [
        Delta(AOR, "r1", "active", removed=(alive("1"),)),
        Delta(BOB, "r2", "terminated", removed=(alive("3"),)),
    ]
    assert known_to(view) == [Registration(AOR, "r1", "active", (alive("2"),))]


def test_contacts_that_a_partial_document_does_not_name_stay() -> None:
    """RIC-3."""
    view = ReginfoView()
    apply_reginfo(read(of_alice(alive("1"), alive("2"))), view)
    new = alive("1", cseq=2, event="refreshed")
    verdict, deltas = plain(apply_reginfo(read(of_alice(over("2"), new, alive("3"), version=1, state="partial")), view))
    assert verdict == APPLIED
    assert deltas == [Delta(AOR, "r1", "active", (alive("3"),), ((alive("1"), new),), (over("2"),))]
    assert known_to(view) == [Registration(AOR, "r1", "active", (new, alive("3")))]


def test_a_contact_born_and_dead_between_two_documents_is_told_once() -> None:
    """REV-6, REV-10."""
    view = ReginfoView()
    apply_reginfo(read(of_alice(alive("1"))), view)
    [delta] = apply_reginfo(read(of_alice(over("2", "probation"), version=1, state="partial")), view).registrations
    assert [(gone.id, gone.event) for gone in delta.removed] == [("2", "probation")]
    assert not delta.added
    assert [row.id for row in view.registrations[0].contacts] == ["1"]


@pytest.mark.parametrize("registration", ["init", "terminated"])
@pytest.mark.parametrize("state", ["full", "partial"])
def test_nothing_lives_in_a_registration_that_is_not_active(registration: str, state: str) -> None:
    """RIC-5: all that was known has ended, even what the document calls active."""
    view = ReginfoView()
    apply_reginfo(read(of_alice(alive("1"), alive("2"), alive("3"))), view)
    told = of_alice(over("1"), alive("2", cseq=2), alive("4"), version=1, state=state, registration=registration)
    [delta] = plain(apply_reginfo(read(told), view))[1]
    assert delta == Delta(AOR, "r1", registration, removed=(over("1"), alive("2"), alive("3")))
    assert known_to(view) == [Registration(AOR, "r1", registration)]


def test_registrations_of_several_aors_do_not_mix_if_their_ids_do() -> None:
    """RIC-1, XML-6: a sender that repeats ids does not move contacts from one AoR to another."""
    view = ReginfoView()
    alice, bob = Registration(AOR, "r", "active", (alive("1"),)), Registration(BOB, "r", "active", (alive("1"),))
    apply_reginfo(read(Document(0, "full", (alice, bob))), view)
    assert known_to(view) == [alice, bob]
    apply_reginfo(read(Document(1, "partial", (replace(bob, contacts=(alive("2"),)),))), view)
    assert known_to(view) == [alice, replace(bob, contacts=(alive("1"), alive("2")))]
    deltas = plain(apply_reginfo(read(Document(2, "full", ())), view))[1]
    assert [(delta.aor, [gone.id for gone in delta.removed]) for delta in deltas] == [(AOR, ["1"]), (BOB, ["1", "2"])]


def test_another_dialog_begins_at_any_version() -> None:
    """RIC-2, RIC-9: what is known stays until a full document says otherwise."""
    view = ReginfoView()
    apply_reginfo(read(of_alice(alive("1"), version=9)), view)
    view.restart()
    assert view.version is None
    assert known_to(view) == [Registration(AOR, "r1", "active", (alive("1"),))]
    [delta] = plain(apply_reginfo(read(of_alice(alive("2"), version=0)), view))[1]
    assert (delta.added, delta.removed) == ((alive("2"),), (alive("1"),))


def test_nothing_is_known_after_a_reset() -> None:
    view = ReginfoView()
    apply_reginfo(read(of_alice(alive("1"), version=9)), view)
    view.reset()
    assert (view.version, view.registrations) == (None, ())
    assert apply_reginfo(read(of_alice(alive("1"), version=0, state="partial")), view).verdict == GAP


# -- bounds ------------------------------------------------------------------------------------------------


def crowd(first: int, count: int) -> tuple[Contact, ...]:
    return tuple(Contact(str(number), "a:b", "active", "created") for number in range(first, first + count))


def bulk(told: Document) -> Reginfo:
    """Return a document of many contacts, written as briefly as possible."""
    return parse_reginfo(
        documents.document(
            *(
                f'<registration aor="{one.aor}" id="{one.id}" state="active">'
                + "".join(
                    f'<contact id="{c.id}" state="active" event="created"><uri>a:b</uri></contact>'
                    for c in one.contacts
                )
                + "</registration>"
                for one in told.registrations
            ),
            version=told.version,
            state=told.state,
        )
    )


def test_contacts_of_a_registration_are_bounded() -> None:
    """SEC-4, RIC-8: partial documents cannot make a view grow for ever; one too many, and nothing of it is applied."""
    view = ReginfoView()
    for version, first in enumerate(range(0, MAX_VIEW_CONTACTS, 1024)):
        apply_reginfo(bulk(of_alice(*crowd(first, 1024), version=version, state="partial")), view)
    version = MAX_VIEW_CONTACTS // 1024
    known = view.registrations
    assert len(known[0].contacts) == MAX_VIEW_CONTACTS
    bob = Registration(BOB, "r2", "active", crowd(0, 1))
    one_more = of_alice(*crowd(MAX_VIEW_CONTACTS, 1), version=version, state="partial")
    for document in (one_more, replace(one_more, registrations=(bob, *one_more.registrations))):
        with pytest.raises(SipParseError) as caught:
            apply_reginfo(bulk(document), view)
        assert (caught.value.status, caught.value.reason) == (400, "view: too many contacts")
        assert (view.version, view.registrations) == (version - 1, known)
    assert apply_reginfo(bulk(of_alice(*crowd(0, 1024), version=version, state="partial")), view).verdict == APPLIED


def test_registrations_are_bounded() -> None:
    """SEC-4, RIC-8."""

    def some(first: int, count: int, version: int) -> Reginfo:
        told = (Registration(f"sip:{number}@h", str(number), "active") for number in range(first, first + count))
        return bulk(Document(version, "partial", tuple(told)))

    view = ReginfoView()
    for version, first in enumerate(range(0, MAX_VIEW_REGISTRATIONS, 256)):
        apply_reginfo(some(first, 256, version), view)
    known = view.registrations
    assert len(known) == MAX_VIEW_REGISTRATIONS
    with pytest.raises(SipParseError) as caught:
        apply_reginfo(some(MAX_VIEW_REGISTRATIONS, 1, 9), view)
    assert (caught.value.status, caught.value.reason) == (400, "view: too many registrations")
    assert (view.version, view.registrations) == (MAX_VIEW_REGISTRATIONS // 256 - 1, known)


@pytest.mark.parametrize("wrong", [None, "", 1])
def test_only_documents_are_applied_and_compared(wrong: Any) -> None:
    document = read(of_alice())
    for call in (
        lambda: apply_reginfo(wrong, ReginfoView()),
        lambda: apply_reginfo(document, wrong),
        lambda: diff_reginfo(wrong, document),
        lambda: diff_reginfo(document, wrong),
    ):
        with pytest.raises(TypeError):
            call()  # type: ignore[no-untyped-call]


# -- values ------------------------------------------------------------------------------------------------


def test_deltas_are_values() -> None:
    before, after = read(of_alice(alive("1"))), read(of_alice(alive("2", "sip:b@h")))
    delta, same = diff_reginfo(before, after), diff_reginfo(before, after)
    assert delta.registrations == same.registrations
    assert hash(delta.registrations) == hash(same.registrations)
    assert delta.registrations != diff_reginfo(after, before).registrations
    assert delta.registrations[0] != "another"
    for value in (delta, delta.registrations[0]):
        assert repr(value).startswith(type(value).__name__)
        for name in [name for name in dir(value) if not name.startswith("_")]:
            with pytest.raises(AttributeError):
                setattr(value, name, getattr(value, name))


@pytest.mark.parametrize("kind", [RegistrationDelta, ReginfoDelta])
def test_deltas_are_made_by_comparing_only(kind: type) -> None:
    with pytest.raises(TypeError, match="made by"):
        kind()


def test_a_view_is_changed_by_documents_only() -> None:
    view = ReginfoView()
    for name in ("version", "registrations"):
        with pytest.raises(AttributeError):
            setattr(view, name, None)


# -- diff --------------------------------------------------------------------------------------------------

DIFFERENT_URIS = (
    "sip:alice@192.0.2.1:5060",
    "sip:%61lice@192.0.2.1:5060",
    "sip:alice@host.example.org",
    "sip:alice@HOST.example.org",
    "sip:alice@host.example.org;security=on",
    "sip:alice@host.example.org;security=off",
    "tel:+15551234",
    "nonsense",
)
compared = st.builds(
    Contact,
    id=st.integers(0, 20).map(str),
    uri=st.sampled_from(DIFFERENT_URIS),
    state=st.sampled_from(["active", "active", "active", "terminated"]),
    event=st.just("registered"),
    expires=st.integers(1, 3),
    call_id=st.sampled_from(["c", "d"]),
    cseq=st.just(1),
    path=st.sampled_from(["", "<sip:p;lr>"]),
)
full_states = st.lists(st.sampled_from([AOR, BOB]), max_size=2, unique=True).flatmap(
    lambda aors: st.tuples(
        *(
            st.builds(
                Registration,
                aor=st.just(aor),
                id=st.sampled_from(["r1", "r2"]).map(aor.__add__),
                state=st.sampled_from(["init", "active"]),
                contacts=st.lists(compared, max_size=6, unique_by=lambda told: told.id).map(tuple),
            )
            for aor in aors
        )
    )
)


def pairs_of(before: list[Contact], after: list[Contact]) -> dict[int, int]:
    """Return the places in before by those in after: the same octets first, then equal URIs, one to one (URI-4)."""
    pairs: dict[int, int] = {}
    for is_same in (str.__eq__, uris_equal):
        for i, new in enumerate(after):
            for j, old in enumerate(before):
                if i not in pairs and j not in pairs.values() and is_same(old.uri, new.uri):
                    pairs[i] = j
    return pairs


def substance(contact: Contact) -> Contact:
    """Return a contact without what belongs to a subscription, what time alone changes, and how its URI is written."""
    return replace(contact, id="", uri="", expires=None, duration_registered=None, age_ms=None)


def differences(before: Document, after: Document) -> list[Delta]:
    known = {one.aor: one for one in before.registrations}
    deltas = []
    for new in after.registrations:
        old = known.pop(new.aor, None)
        mine = [contact for contact in (old.contacts if old else ()) if contact.state == "active"]
        theirs = [contact for contact in new.contacts if contact.state == "active"]
        pairs = pairs_of(mine, theirs)
        delta = Delta(
            new.aor,
            new.id,
            new.state,
            tuple(contact for i, contact in enumerate(theirs) if i not in pairs),
            tuple(
                (mine[pairs[i]], contact)
                for i, contact in enumerate(theirs)
                if i in pairs and substance(mine[pairs[i]]) != substance(contact)
            ),
            tuple(contact for j, contact in enumerate(mine) if j not in pairs.values()),
        )
        if delta.added or delta.changed or delta.removed or (old and old.state != new.state):
            deltas.append(delta)
    for old in known.values():
        gone = tuple(contact for contact in old.contacts if contact.state == "active")
        deltas.append(Delta(old.aor, old.id, "terminated", removed=gone))
    return deltas


@given(full_states, full_states)
def test_diff_equals_the_model(before: tuple[Registration, ...], after: tuple[Registration, ...]) -> None:
    """URI-3, URI-4, XML-6, XML-9: AoRs and URIs say what is the same; ids belong to a subscription."""
    old, new = Document(0, "full", before), Document(5, "full", after)
    assert plain(diff_reginfo(read(old), read(new))) == (APPLIED, differences(old, new))


@given(full_states)
def test_nothing_differs_from_itself(told: tuple[Registration, ...]) -> None:
    document = read(Document(0, "full", told))
    delta = diff_reginfo(document, document)
    assert not delta
    assert delta.registrations == ()
    assert document_like(document) == Document(0, "full", told)


def test_an_equal_uri_does_not_take_the_partner_of_an_identical_one() -> None:
    """URI-4, as for bindings."""
    none, on = alive("1", "sip:a@h"), alive("2", "sip:a@h;security=on")
    [delta] = plain(diff_reginfo(read(of_alice(none)), read(of_alice(on, none))))[1]
    assert delta == Delta(AOR, "r1", "active", added=(on,))


def test_what_time_alone_changes_is_no_difference() -> None:
    before = of_alice(replace(alive("1"), expires=600))
    after = of_alice(replace(alive("7"), expires=1), version=3)
    assert not diff_reginfo(read(before), read(after)).registrations


def test_a_thousand_identical_uris_are_not_compared_with_each_other() -> None:
    """Half a million comparisons would take a tenth of a second and more."""
    uris = [f"sip:u@h{number}.example.org" for number in range(1000)]

    def told(version: int, order: Iterable[str], event: str) -> Reginfo:
        rows = (f'<contact id="{uri}" state="active" event="{event}"><uri>{uri}</uri></contact>' for uri in order)
        return parse_reginfo(documents.document(documents.registration(AOR, *rows), version=version))

    [delta] = diff_reginfo(told(0, uris, "registered"), told(1, reversed(uris), "refreshed")).registrations
    assert [len(part) for part in (delta.added, delta.changed, delta.removed)] == [0, 1000, 0]
