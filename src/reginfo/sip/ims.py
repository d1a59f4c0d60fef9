"""Implicit registration sets as a registrar and notifier of IMS need them (3GPP TS 24.229 section 5.4)."""

import re
from collections.abc import Iterable
from contextlib import suppress

from reginfo.config import ImplicitSet, ImsSection, PublicIdentity, covering
from reginfo.fast import Binding, SipMessage, SipParseError, canonical_aor
from reginfo.sip.peers import Sender, identity_of
from reginfo.sip.routing import addresses


class ImplicitSets:
    """The sets of one configuration; who is in none is a set alone."""

    def __init__(self, section: ImsSection) -> None:
        self._sets: dict[str, ImplicitSet] = {}
        self._ranges: list[tuple[re.Pattern[str], ImplicitSet]] = []
        for one in section.sets:
            for identity in one.identities:
                if identity.wildcard:
                    self._ranges.append((covering(identity.wildcard, "ims.implicit_sets"), one))
                else:
                    self._sets[identity.uri] = one

    def of(self, aor: str) -> ImplicitSet:
        """Return the set of a canonical AoR: the one that names it, else the first with a wildcard that covers it."""
        found = self._sets.get(aor)
        if found is None:
            found = next((one for pattern, one in self._ranges if pattern.fullmatch(aor)), None)
        return ImplicitSet((PublicIdentity(aor),)) if found is None else found

    def home(self, aor: str) -> str:
        """Return the AoR under which the contacts of an identity are."""
        return self.of(aor).home

    def associated(self, aor: str) -> str:
        """Return the value of P-Associated-URI: distinct identities, the default one first (IMS-5, RFC 7315 4.1)."""
        return ", ".join(f"<{one.uri}>" for one in self.of(aor).told if not one.wildcard)

    def may_watch(self, aor: str, request: SipMessage, sender: Sender) -> bool:
        """Tell whether a SUBSCRIBE is from an identity of the user that is not barred (IMS-2)."""
        user = self.of(aor)
        if sender.asserted or not sender.proven:
            return self._is_of(user, sender.identity)
        return any(sender.owns(one.uri) for one in user.identities) and self._is_of(user, identity_of(request))

    def _is_of(self, user: ImplicitSet, identity: str) -> bool:
        return identity not in user.barred and self.of(identity) == user


def asserted_identity(request: SipMessage) -> str | None:
    """Return who a proxy says a request is from (RFC 3325 section 9.1): a canonical AoR, else the URI as it is.

    None if it says nothing, empty if nobody can tell what it says.
    """
    rows = request.headers("P-Asserted-Identity")
    uris = list(addresses(rows))
    for uri in uris:
        with suppress(SipParseError):
            return canonical_aor(uri)
    return next(iter(uris), "") if rows else None


def is_on_path(identity: str, bindings: Iterable[Binding]) -> bool:
    """Tell whether an identity is that of a proxy which a contact was registered through (IMS-2)."""
    for uri in addresses(one.path for one in bindings):
        with suppress(SipParseError):
            if canonical_aor(uri) == identity:
                return True
    return False
