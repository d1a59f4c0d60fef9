"""What a sequence of reginfo documents adds up to: the tables of one subscription (RFC 3680 section 5.2, RIC-1).

    apply_reginfo(document, view) -> ReginfoDelta      a document applied to what is known
    diff_reginfo(before, after)   -> ReginfoDelta      what differs between the full states of two documents
"""

cimport cython
from reginfo._fast.reginfo_xml cimport (
    Reginfo,
    ReginfoContact,
    ReginfoRegistration,
    new_registration,
)

from reginfo._fast.errors import SipParseError
from reginfo._fast.uri import uris_equal

cdef enum:                      # of a view; partial documents could let it grow for ever
    MAX_REGISTRATIONS = 1024
    MAX_CONTACTS = 4096         # of one registration
    LINEAR = 8                  # contacts found by walking over them

MAX_VIEW_REGISTRATIONS: int = MAX_REGISTRATIONS
MAX_VIEW_CONTACTS: int = MAX_CONTACTS

cdef enum:
    APPLIED_ = 0
    GAP_
    STALE_

APPLIED: int = APPLIED_                 # the view knows what the sender knew
GAP: int = GAP_                         # applied, but something before it is missing: the full state has to be fetched
STALE_DOCUMENT: int = STALE_            # not newer than what is known: nothing was applied

cdef enum:
    NO_VERSION = -1
    ACTIVE = 1                          # state of a registration, as reginfo_xml has it


@cython.final
@cython.auto_pickle(False)
cdef class RegistrationDelta:
    """What became of one registration.

    added are contacts that were not known, changed pairs of a contact before and after, removed those that ended: as
    told (terminated, with the event), or as they were known if a full document does not name them any more.
    """

    cdef readonly str aor
    cdef readonly str id
    cdef readonly str state
    cdef readonly tuple added
    cdef readonly tuple changed
    cdef readonly tuple removed

    def __init__(self) -> None:
        raise TypeError("made by apply_reginfo() and diff_reginfo()")

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RegistrationDelta):
            return NotImplemented
        cdef RegistrationDelta theirs = other
        return (self.aor, self.id, self.state, self.added, self.changed, self.removed) == (
            theirs.aor, theirs.id, theirs.state, theirs.added, theirs.changed, theirs.removed
        )

    def __hash__(self) -> int:
        return hash((self.aor, self.id, self.state, self.added, self.changed, self.removed))

    def __repr__(self) -> str:
        return (
            f"RegistrationDelta(aor={self.aor!r}, state={self.state!r}, added={self.added!r}, "
            f"changed={self.changed!r}, removed={self.removed!r})"
        )


cdef RegistrationDelta new_delta(ReginfoRegistration registration, str state, list added, list changed, list removed):
    cdef RegistrationDelta delta = RegistrationDelta.__new__(RegistrationDelta)
    delta.aor = registration.aor
    delta.id = registration.id
    delta.state = state
    delta.added = tuple(added)
    delta.changed = tuple(changed)
    delta.removed = tuple(removed)
    return delta


@cython.final
@cython.auto_pickle(False)
cdef class ReginfoDelta:
    """What a document means to what was known: APPLIED, GAP or STALE_DOCUMENT, and the registrations it speaks of."""

    cdef readonly int verdict
    cdef readonly tuple registrations

    def __init__(self) -> None:
        raise TypeError("made by apply_reginfo() and diff_reginfo()")

    def __bool__(self) -> bool:
        return any(self.registrations)

    def __repr__(self) -> str:
        return f"ReginfoDelta(verdict={self.verdict}, registrations={self.registrations!r})"


cdef ReginfoDelta new_reginfo_delta(int verdict, list registrations):
    cdef ReginfoDelta delta = ReginfoDelta.__new__(ReginfoDelta)
    delta.verdict = verdict
    delta.registrations = tuple(registrations)
    return delta


@cython.final
@cython.auto_pickle(False)
cdef class ReginfoView:
    """The tables of one subscription: registrations by id, contacts by id, and the version of the last document."""

    def __cinit__(self) -> None:
        self._version = NO_VERSION

    @property
    def version(self) -> int | None:
        """Version of the last document; None before the first of a dialog."""
        return None if self._version == NO_VERSION else self._version

    @property
    def registrations(self) -> tuple[ReginfoRegistration, ...]:
        """What is known, terminated contacts left out."""
        return () if self._registrations is None else tuple(self._registrations.values())

    def restart(self) -> None:
        """Expect the first document of another dialog; what is known stays until a full one says otherwise."""
        self._version = NO_VERSION

    def reset(self) -> None:
        """Forget everything."""
        self._version = NO_VERSION
        self._registrations = None


cdef int verdict_of(Reginfo document, ReginfoView view) noexcept:
    # RIC-2, RIC-4 and XML-4; a full document makes up for whatever is missing before it.
    if view._version == NO_VERSION:
        return APPLIED_ if document.full else GAP_
    if document.version == view._version + 1:
        return APPLIED_
    if document.version > view._version:
        return APPLIED_ if document.full else GAP_
    # Kamailio's presence server passes documents on as they were published, with version 0 for ever.
    if document.full and document.version == 0 and view._version == 0:
        return APPLIED_
    return STALE_


cdef ReginfoContact contact_with_id(ReginfoRegistration known, dict index, str id):
    cdef ReginfoContact contact
    if index is not None:
        return index.get(id)
    for contact in known.contacts:
        if contact.id == id:
            return contact
    return None


cdef RegistrationDelta delta_of(ReginfoRegistration known, ReginfoRegistration told, bint full):
    # What a document says of one registration, against what was known of it.
    cdef ReginfoContact contact, before
    cdef list added = [], changed = [], removed = []
    cdef dict index = None
    cdef set named = set()
    if known is not None and len(known.contacts) > LINEAR:
        index = {contact.id: contact for contact in known.contacts}
    for contact in told.contacts:
        if contact.active and told._state != ACTIVE:
            continue            # nothing lives in a registration that is not active
        named.add(contact.id)
        before = None if known is None else contact_with_id(known, index, contact.id)
        if not contact.active:
            removed.append(contact)
        elif before is None:
            added.append(contact)
        elif before != contact:
            changed.append((before, contact))
    if known is not None and (full or told._state != ACTIVE):
        for contact in known.contacts:
            if contact.id not in named:
                removed.append(contact)
    return new_delta(told, told.state, added, changed, removed)


cdef ReginfoRegistration registration_after(ReginfoRegistration known, ReginfoRegistration told, bint full):
    # What is known of a registration once a document is applied.
    cdef ReginfoContact contact
    cdef dict kept = {}
    if known is not None and not full and told._state == ACTIVE:    # init and terminated leave nothing
        kept = {contact.id: contact for contact in known.contacts}
    elif told._state == ACTIVE and all_active(told.contacts):
        return told
    for contact in told.contacts:
        if contact.active and told._state == ACTIVE:
            kept[contact.id] = contact
        else:
            kept.pop(contact.id, None)
    return new_registration(told.aor, told.id, told._state, tuple(kept.values()))


cdef bint all_active(tuple contacts) noexcept:
    cdef ReginfoContact contact
    for contact in contacts:
        if not contact.active:
            return False
    return True


cdef tuple only_key(dict known, ReginfoRegistration told):
    # The key of a registration if it is the only one known, else None.  Compared, and not looked up: the texts of a
    # document that has just been read have no hash yet.
    cdef ReginfoRegistration only
    if len(known) != 1:
        return None
    for key, only in known.items():
        return key if only.id == told.id and only.aor == told.aor else None


cdef bint is_next_about(ReginfoRegistration told, Reginfo document, ReginfoView view) except -1:
    cdef dict known = view._registrations
    return verdict_of(document, view) == APPLIED_ and (
        not document.full or known is None or len(known) == 0 or only_key(known, told) is not None
    )


cdef ReginfoRegistration within_bounds(ReginfoRegistration registration):
    if len(registration.contacts) > MAX_CONTACTS:
        raise SipParseError("view: too many contacts", status=400)
    return registration


cdef int take_document(Reginfo document, ReginfoView view) except -1:
    cdef dict known = {} if view._registrations is None else view._registrations
    cdef dict fresh
    cdef ReginfoRegistration told, registration
    cdef Py_ssize_t more = 0
    if len(document.registrations) == 1:
        told = document.registrations[0]
        key = only_key(known, told)
        if key is not None:
            registration = within_bounds(registration_after(known[key], told, document.full))
            registration.id, registration.aor = key     # the same, held once
            known[key] = registration
            view._version = document.version
            return 0
    fresh = {}
    for told in document.registrations:
        key = (told.id, told.aor)
        registration = known.get(key)
        more += registration is None
        fresh[key] = within_bounds(registration_after(registration, told, document.full))
    if document.full or not known:
        known = fresh
    elif len(known) + more > MAX_REGISTRATIONS:
        raise SipParseError("view: too many registrations", status=400)
    else:
        known.update(fresh)
    view._registrations = known
    view._version = document.version
    return 0


def apply_reginfo(document: Reginfo, view: ReginfoView) -> ReginfoDelta:
    """Apply a document to a view and return what it means (RIC-2 to RIC-4).

    SipParseError (status 400), with nothing applied, for a document after which the view would be beyond its bounds.
    """
    cdef int verdict = verdict_of(document, view)
    cdef dict known = {} if view._registrations is None else view._registrations
    cdef list deltas = []
    cdef set named = set()
    cdef ReginfoRegistration told, gone
    if verdict == STALE_:
        return new_reginfo_delta(verdict, deltas)
    for told in document.registrations:
        key = (told.id, told.aor)
        named.add(key)
        deltas.append(delta_of(known.get(key), told, document.full))
    if document.full:
        for key, gone in known.items():
            if key not in named:
                deltas.append(new_delta(gone, "terminated", [], [], list(gone.contacts)))
    take_document(document, view)
    return new_reginfo_delta(verdict, deltas)


def diff_reginfo(before: Reginfo, after: Reginfo) -> ReginfoDelta:
    """Return what differs between the full states that two documents show.

    Registrations are the same if their AoRs are, contacts if their URIs are equal (RFC 3261 section 19.1.4): ids belong
    to a subscription.
    """
    cdef dict known = {registration.aor: registration for registration in before.registrations}
    cdef ReginfoRegistration registration, other
    cdef ReginfoContact contact, match
    cdef list deltas = [], added, changed, left, told, matches
    cdef RegistrationDelta delta
    for registration in after.registrations:
        other = known.pop(registration.aor, None)
        left = [] if other is None else [contact for contact in other.contacts if contact.active]
        added, changed = [], []
        told = [contact for contact in registration.contacts if contact.active]
        matches = counterparts(left, told)
        for contact, match in zip(told, matches):
            if match is None:
                added.append(contact)
            elif says_otherwise(match, contact):
                changed.append((match, contact))
        delta = new_delta(registration, registration.state, added, changed, left)
        if delta or (other is not None and other._state != registration._state):
            deltas.append(delta)
    for other in known.values():
        deltas.append(
            new_delta(other, "terminated", [], [], [contact for contact in other.contacts if contact.active])
        )
    return new_reginfo_delta(APPLIED_, deltas)


cdef list counterparts(list left, list told):
    # For each contact told the one with its URI, which is taken out of left, or None.  An equal URI does not take the
    # partner of an identical one.
    cdef dict same = {}
    cdef list matches = []
    cdef set taken = set()
    cdef ReginfoContact contact
    cdef Py_ssize_t i, j
    for i in reversed(range(len(left))):
        contact = left[i]
        same.setdefault(contact.uri, []).append(i)
    for contact in told:
        if same.get(contact.uri):
            j = same[contact.uri].pop()
            taken.add(j)
            matches.append(left[j])
        else:
            matches.append(None)
    left[:] = [contact for i, contact in enumerate(left) if i not in taken]
    for i in range(len(told)):
        if matches[i] is None:
            contact = told[i]
            for j in range(len(left)):
                if uris_equal((<ReginfoContact>left[j]).uri, contact.uri):
                    matches[i] = left.pop(j)
                    break
    return matches


cdef bint says_otherwise(ReginfoContact one, ReginfoContact other):
    # Ids and what time alone changes do not count.
    return (
        one._event, one._q, one.call_id, one._cseq, one.display_name, one.params, one.pub_gruu, one.temp_gruu,
        one.path, one.received, one.user_agent, one.flow,
    ) != (
        other._event, other._q, other.call_id, other._cseq, other.display_name, other.params, other.pub_gruu,
        other.temp_gruu, other.path, other.received, other.user_agent, other.flow,
    )
