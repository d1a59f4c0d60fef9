"""Changes to put into stores."""

from reginfo.fast import Binding, Change, Draft

NOW_MS = 1_700_000_000_000
FOREVER_MS = NOW_MS + 3_600_000_000


def aor(number: int) -> str:
    return f"sip:user{number:06}@example.com"


def bind(draft: Draft, cseq: int = 1, expires_at: int = FOREVER_MS) -> Change:
    """Decide on the contact of draft: new the first time, a refresh after that."""
    draft.add(
        Binding(
            uri="sip:line@192.0.2.1:5060",
            call_id="843817637684230@998sdasdh09",
            cseq=cseq,
            expires_at=expires_at + cseq,
            requested=3600,
            user_agent="desk phone 1.0",
        )
    )
    change = draft.finish("register")
    assert change is not None
    return change


def end(draft: Draft) -> Change:
    """Decide that the contacts of draft end."""
    draft.remove(None, "unregistered")
    change = draft.finish("operator")
    assert change is not None
    return change


def bound(name: str, record: bytes | None = None, cseq: int = 1, expires_at: int = FOREVER_MS) -> Change:
    """A change that binds or refreshes the contact of one address-of-record."""
    return bind(Draft(name, record, NOW_MS), cseq, expires_at)


def ended(name: str, record: bytes | None) -> Change:
    """A change that ends all contacts of one address-of-record."""
    return end(Draft(name, record, NOW_MS))
