"""Contacts that move from one location service to another: `reg.export` gives them, `reg.import` binds them.

The fields are those of `ul.dump`; an end is told as an instant (`Expires-At`), since what is left of a lifetime is
no longer true when it arrives.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from reginfo.admin.control import Json
from reginfo.admin.views import registration_fields
from reginfo.fast import Binding, Registration, SipParseError, canonical_aor, parse_message, parse_uri, write_request

MAX_IMPORT: Final = 128  # contacts of one reg.import: some milliseconds of a turn, and one commit
MAX_LIFETIME: Final = 2**32 - 1  # seconds (RFC 3261 section 20.19)

Bind = Callable[[Sequence[tuple[str, Binding]]], Awaitable[list[bool | Exception]]]
"AoRs and bindings -> for each whether it is new, or what it was refused for (ValueError)."

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_INSTANCE = re.compile(r";\+sip\.instance=", re.IGNORECASE)
_REG_ID = re.compile(r";reg-id=", re.IGNORECASE)

_Text = Annotated[str, Meta(max_length=65_535)]
_Instant = Annotated[float, Meta(ge=0, le=2**40)]


class ImportedContact(msgspec.Struct, frozen=True):
    """One contact as `reg.import` takes it; instants are seconds since the epoch."""

    aor: _Text = msgspec.field(name="AoR")
    address: _Text = msgspec.field(name="Address")
    call_id: _Text | None = msgspec.field(name="Call-ID", default=None)
    cseq: Annotated[int, Meta(ge=0, lt=2**32)] = msgspec.field(name="CSeq", default=0)
    expires_at: _Instant | None = msgspec.field(name="Expires-At", default=None)
    expires: Annotated[int, Meta(ge=0, le=MAX_LIFETIME)] | None = msgspec.field(name="Expires", default=None)
    q: Annotated[float, Meta(ge=0, le=1)] | None = msgspec.field(name="Q", default=None)
    display_name: _Text | None = msgspec.field(name="Display-Name", default=None)
    user_agent: _Text | None = msgspec.field(name="User-Agent", default=None)
    received: _Text | None = msgspec.field(name="Received", default=None)
    path: _Text | None = msgspec.field(name="Path", default=None)
    params: _Text | None = msgspec.field(name="Params", default=None)
    instance: _Text | None = msgspec.field(name="Instance", default=None)
    reg_id: Annotated[int, Meta(ge=0, lt=2**31)] | None = msgspec.field(name="Reg-Id", default=None)
    registered: _Instant | None = msgspec.field(name="Registered", default=None)
    modified: _Instant | None = msgspec.field(name="Last-Modified", default=None)


def exported(registration: Registration, now_ms: int, wall: float) -> Json:
    """Return a registration without what is hidden, each contact with the instant at which it ends."""
    shown = [binding for binding in registration.bindings if not binding.hidden]
    fields = registration_fields(registration, now_ms, shown)
    contacts = fields["Contacts"]
    assert isinstance(contacts, list)
    for contact, binding in zip(contacts, shown, strict=True):
        contact["Expires-At"] = round(wall + (binding.expires_at - now_ms) / 1000, 3)
    return fields


def binding_of(row: object, now_ms: int, wall: float) -> tuple[str, Binding] | None:
    """Return AoR and binding of a contact as it came, None if its time is over; ValueError says what is wrong."""
    try:
        contact = msgspec.convert(row, ImportedContact)
        aor = canonical_aor(contact.aor)
        address = parse_uri(contact.address).text
        if contact.received:
            parse_uri(contact.received)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    except SipParseError as error:
        raise ValueError(error.reason) from None
    lifetime = _lifetime(contact, wall)
    if lifetime <= 0:
        return None
    for text in (contact.call_id, contact.display_name, contact.user_agent, contact.params):
        if text and _CONTROL.search(text):
            raise ValueError("control character in a text")
    return aor, Binding(
        uri=address,
        expires_at=now_ms + round(1000 * lifetime),
        call_id=contact.call_id or "",
        cseq=contact.cseq,
        q=contact.q,
        params=_params(contact),
        display_name=contact.display_name or "",
        path=path_of(contact.path),
        received=contact.received or "",
        user_agent=contact.user_agent or "",
        registered_at=_engine_ms(contact.registered, now_ms, wall),
        updated_at=_engine_ms(contact.modified, now_ms, wall),
    )


def _lifetime(contact: ImportedContact, wall: float) -> float:
    """Return the seconds that are left of a contact."""
    if contact.expires_at is not None:
        return min(contact.expires_at - wall, MAX_LIFETIME)
    if contact.expires is None:
        raise ValueError("neither Expires-At nor Expires")
    return contact.expires


def _engine_ms(seconds: float | None, now_ms: int, wall: float) -> int:
    """Return an instant as engine time; what is not said, or still to come, is now."""
    return now_ms if seconds is None else max(0, min(now_ms, now_ms - round(1000 * (wall - seconds))))


def _params(contact: ImportedContact) -> str:
    """Return the contact parameters, with instance and reg-id where they are told apart from them."""
    params = contact.params or ""
    if contact.instance and not _INSTANCE.search(params):
        if any(octet in contact.instance for octet in '"\\<>'):
            raise ValueError("Instance: no URN")
        params += f';+sip.instance="<{contact.instance}>"'
    if contact.reg_id and not _REG_ID.search(params):
        params += f";reg-id={contact.reg_id}"
    return params


def path_of(path: str | None) -> str:
    """Return the Path values of a contact (RFC 3327 section 4), if there are some; ValueError for what are none."""
    if not path:
        return ""
    if _CONTROL.search(path):
        raise ValueError("Path: control character")
    try:
        # Read by what reads it in a REGISTER: it becomes the Route of requests to the contact.
        rows = [("To", "<sip:a.invalid>"), ("From", "<sip:a.invalid>;tag=1"), ("Call-ID", "1"), ("CSeq", "1 OPTIONS")]
        octets = write_request("OPTIONS", "sip:a.invalid", [("Via", "SIP/2.0/UDP a.invalid"), *rows, ("Path", path)])
        values = parse_message(octets).path
    except SipParseError as error:
        raise ValueError(f"Path: {error.reason}") from None
    if not values:
        raise ValueError("Path: no value")
    return path
