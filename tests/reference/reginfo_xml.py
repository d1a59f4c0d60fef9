"""Registration documents, written to be read: RFC 3680 section 5 and RFC 5628 over plain lxml trees.

Rows are values that pack themselves octet by octet; documents are trees of lxml, made and read with its Python API.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lxml import etree

from tests.reference.binding import registration_id
from tests.reference.records import _HEAD, _ROW
from tests.reference.uri import Refused

REGINFO = "urn:ietf:params:xml:ns:reginfo"
GRUUINFO = "urn:ietf:params:xml:ns:gruuinfo"
BINDING = "urn:reginfo:xml:ns:binding"
SCHEMAS = Path(__file__).parent / "schemas"

EVENTS = (
    "registered",
    "created",
    "refreshed",
    "shortened",
    "expired",
    "deactivated",
    "probation",
    "unregistered",
    "rejected",
)
MAX_OCTETS = 131072
MAX_DEPTH = 32
MAX_ELEMENTS = 20000
MAX_ATTRIBUTES = 64
MAX_REGISTRATIONS = 256
MAX_CONTACTS = 1024
MAX_URI = 1024
MAX_TEXT = 4096

_BLANKS = " \t\r\n"
_PARAMETER = re.compile(r';([^;=]+)(=("(?:[^"\\]|\\.)*"|[^;"]+))?', re.DOTALL)
_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_VALUE = re.compile(r"[A-Za-z0-9\-.!%*_+`'~:\[\]]+")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_PARSER = etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True)


# -- rows --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What a record holds of one contact."""

    uri: str
    contact_id: int
    expires_at: int
    event: str = "registered"
    call_id: str = ""
    cseq: int = 0
    q: int | None = None
    "Thousandths."
    params: str = ""
    display_name: str = ""
    path: str = ""
    received: str = ""
    flow: str = ""
    user_agent: str = ""
    origin: str = ""
    registered_at: int = 0
    updated_at: int = 0
    requested: int = 0
    revision: int = 1
    hidden: bool = False

    def to_octets(self) -> bytes:
        """Return the row as records hold it."""
        texts = [
            text.encode()
            for text in (
                self.uri,
                self.display_name,
                self.call_id,
                self.params,
                self.path,
                self.received,
                self.flow,
                self.user_agent,
                self.origin,
            )
        ]
        head = _ROW.pack(
            _ROW.size + sum(map(len, texts)),
            self.cseq,
            self.registered_at,
            self.updated_at,
            self.expires_at,
            self.contact_id,
            self.revision,
            self.requested,
            0,
            0xFFFF if self.q is None else self.q,
            EVENTS.index(self.event),
            int(self.hidden),
            0,
            0,
            *map(len, texts),
        )
        return head + b"".join(texts)


@dataclass(frozen=True)
class Section:
    """One AoR, its rows, and those that ended."""

    aor: str
    rows: tuple[Row, ...] = ()
    ended: tuple[Row, ...] = ()

    @property
    def record(self) -> bytes | None:
        """The record; None without rows."""
        if not self.rows:
            return None
        name = self.aor.encode()
        head = _HEAD.pack(
            1, 0, len(name), len(self.rows), 0, max(row.revision for row in self.rows), registration_id(self.aor)
        )
        return head + name + rows_octets(self.rows)


def rows_octets(rows: Iterable[Row]) -> bytes:
    """Return rows one after another, as Change.ended holds them."""
    return b"".join(row.to_octets() for row in rows)


# -- out ---------------------------------------------------------------------------------------------------


def serialize(
    sections: Sequence[Section],
    *,
    version: int,
    now_ms: int,
    since: int | None = None,
    audience: str | None = None,
    extensions: bool = False,
    kamailio: bool = False,
    temp_gruu: bool = False,
) -> etree._Element:
    """Return the tree of a document."""
    root = etree.Element(f"{{{REGINFO}}}reginfo", nsmap={None: REGINFO})
    root.set("version", str(version))
    root.set("state", "full" if since is None else "partial")
    for section in sections:
        live, ended, is_over = told(section, since, audience)
        element = etree.SubElement(root, f"{{{REGINFO}}}registration")
        element.set("aor", uri_text(section.aor))
        element.set("id", f"{registration_id(section.aor):016x}")
        element.set("state", "active" if live is not None else "terminated" if is_over else "init")
        for row in ended:
            _put_contact(element, row, True, now_ms, extensions, kamailio, temp_gruu)
        for row in live or ():
            _put_contact(element, row, False, now_ms, extensions, kamailio, temp_gruu)
    return root


def told(section: Section, since: int | None, audience: str | None) -> tuple[list[Row] | None, list[Row], bool]:
    """Return the living contacts to tell of (None if nothing lives), the ended ones, and whether any of these is news.

    A contact is one id, whoever has said something of it; it is news if anything said of it is.
    """
    rows = [row for row in section.rows if _is_for(row, audience)]
    over = [row for row in section.ended if _is_for(row, audience)]
    any_lives = False
    living, ended = [], []
    for contact_id in dict.fromkeys(row.contact_id for row in rows + over):
        mine = [row for row in rows if row.contact_id == contact_id]
        gone = [row for row in over if row.contact_id == contact_id]
        any_lives |= bool(mine)
        is_news = since is None or max(row.revision for row in mine + gone) > since
        if is_news and mine:
            # min() takes the first of equals.
            living.append(min(mine, key=lambda row: (_rank(row), -row.updated_at)))
        elif is_news:
            ended.append(gone[-1])
    return living if any_lives else None, ended, bool(ended)


def _is_for(row: Row, audience: str | None) -> bool:
    """RIC-7: peers hear of what is at home here, and nothing they have published themselves."""
    if row.hidden:
        return False
    if audience is None or not row.origin:
        return True
    if not row.origin.startswith("publication:"):
        return False
    return not audience or not row.origin.startswith(f"publication:{audience}.")


def _rank(row: Row) -> int:
    return 0 if not row.origin else 2 if row.origin.startswith("publication:") else 1


def _put_contact(
    registration: etree._Element,
    row: Row,
    is_over: bool,
    now_ms: int,
    extensions: bool,
    kamailio: bool,
    temp_gruu: bool,
) -> None:
    contact = etree.SubElement(registration, f"{{{REGINFO}}}contact")
    contact.set("id", f"{row.contact_id:016x}")
    contact.set("state", "terminated" if is_over else "active")
    contact.set("event", row.event)
    if not is_over:
        contact.set("expires", str(max(0, -((now_ms - row.expires_at) // 1000))))
    elif kamailio:
        contact.set("expires", "0")
    if is_over and row.event == "probation":
        contact.set("retry-after", str(row.requested))
    contact.set("duration-registered", str(max(0, (now_ms - row.registered_at) // 1000)))
    if row.q is not None:
        contact.set("q", f"{row.q / 1000:.3f}".rstrip("0").rstrip("."))
    if row.call_id:
        contact.set("callid", xml_text(row.call_id))
        contact.set("cseq", str(row.cseq))
    if kamailio:
        for name, text in (("received", row.received), ("path", row.path), ("user_agent", row.user_agent)):
            if text:
                contact.set(name, xml_text(text))
    etree.SubElement(contact, f"{{{REGINFO}}}uri").text = uri_text(row.uri)
    if row.display_name:
        etree.SubElement(contact, f"{{{REGINFO}}}display-name").text = xml_text(unquoted(row.display_name))
    others, gruus = split_parameters(row.params)
    for name, value in others:
        parameter = etree.SubElement(contact, f"{{{REGINFO}}}unknown-param", name=xml_text(name))
        parameter.text = xml_text(value)
    if gruus.get("pub-gruu"):
        etree.SubElement(
            contact,
            f"{{{GRUUINFO}}}pub-gruu",
            nsmap={"gr": GRUUINFO},
            uri=uri_text(unquoted(gruus["pub-gruu"])),
        )
    if temp_gruu and gruus.get("temp-gruu") and re.fullmatch("[0-9]{1,19}", gruus.get("temp-gruu-cseq", "")):
        etree.SubElement(
            contact,
            f"{{{GRUUINFO}}}temp-gruu",
            {"uri": uri_text(unquoted(gruus["temp-gruu"])), "first-cseq": gruus["temp-gruu-cseq"]},
            nsmap={"gr": GRUUINFO},
        )
    if extensions:
        binding = etree.SubElement(contact, f"{{{BINDING}}}binding", nsmap={"b": BINDING})
        binding.set("age", str(max(0, now_ms - row.updated_at)))
        for name, text in (
            ("path", row.path),
            ("received", row.received),
            ("user-agent", row.user_agent),
            ("flow", row.flow),
        ):
            if text:
                binding.set(name, xml_text(text))


def split_parameters(params: str) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Return the parameters that become unknown-param, and by name those that say something of GRUUs."""
    others, gruus = [], {}
    for match in _PARAMETER.finditer(params):
        name, value = match[1], match[3] or ""
        if name.lower() in ("pub-gruu", "temp-gruu", "temp-gruu-cseq"):
            gruus[name.lower()] = value
        else:
            others.append((name, value))
    return others, gruus


def unquoted(text: str) -> str:
    """Return a quoted-string without quotes and escapes; anything else as it is."""
    if len(text) < 2 or text[0] != '"':
        return text
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def xml_text(text: str) -> str:
    """Return text with the replacement character for what XML cannot hold."""
    return re.sub("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def uri_text(text: str) -> str:
    """Return a URI as RFC 3986 escapes it."""
    return "".join(chr(octet) if 0x20 <= octet < 0x7F else f"%{octet:02X}" for octet in text.encode())


def canonical(tree: etree._Element) -> bytes:
    """Return what a document says, whatever it was written like."""
    octets: bytes = etree.tostring(tree, method="c14n", exclusive=True)
    return octets


# -- in ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contact:
    """A contact element."""

    id: str
    uri: str
    state: str
    event: str | None
    expires: int | None = None
    retry_after: int | None = None
    duration_registered: int | None = None
    q: float | None = None
    call_id: str | None = None
    cseq: int | None = None
    display_name: str | None = None
    params: str = ""
    pub_gruu: str | None = None
    temp_gruu: str | None = None
    first_cseq: int | None = None
    path: str = ""
    received: str = ""
    user_agent: str = ""
    flow: str = ""
    age_ms: int | None = None


@dataclass(frozen=True)
class Registration:
    """A registration element."""

    aor: str
    id: str
    state: str
    contacts: tuple[Contact, ...] = ()


@dataclass(frozen=True)
class Document:
    """A registration document."""

    version: int
    state: str
    registrations: tuple[Registration, ...] = ()


def contact_like(value: Any) -> Contact:
    """Return a contact with the attributes of a value."""
    return Contact(**{name: getattr(value, name) for name in Contact.__dataclass_fields__})


def document_like(value: Any) -> Document:
    """Return a document with the attributes of a value."""
    return Document(
        value.version,
        value.state,
        tuple(
            Registration(told.aor, told.id, told.state, tuple(map(contact_like, told.contacts)))
            for told in value.registrations
        ),
    )


def parse(data: bytes, max_octets: int = MAX_OCTETS) -> Document:
    """Read a document; Refused if it is none, or beyond a limit."""
    if len(data) > max_octets:
        raise Refused("too large", 413)
    if b"\0" in data:
        raise Refused("NUL")
    try:
        root = etree.fromstring(data, _PARSER)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Refused("not well-formed") from error
    if root.getroottree().docinfo.doctype:
        raise Refused("has a DTD")
    elements = [element for element in root.iter() if isinstance(element.tag, str)]
    if len(elements) > MAX_ELEMENTS:
        raise Refused("too many elements")
    for element in elements:
        if sum(1 for _ in element.iterancestors()) >= MAX_DEPTH:
            raise Refused("nested too deeply")
        if len(element.attrib) > MAX_ATTRIBUTES:
            raise Refused("too many attributes")
    return _read_document(root)


def _read_document(root: etree._Element) -> Document:
    if root.tag != f"{{{REGINFO}}}reginfo":
        raise Refused("not a reginfo document")
    version = _number(root.get("version"))
    if version is None or version >= 2**32:
        raise Refused("version")
    state = _word(root.get("state"), ("full", "partial"))
    elements = root.findall(f"{{{REGINFO}}}registration")
    if len(elements) > MAX_REGISTRATIONS:
        raise Refused("too many registrations")
    if sum(len(element.findall(f"{{{REGINFO}}}contact")) for element in elements) > MAX_CONTACTS:
        raise Refused("too many contacts")
    by_aor: dict[str, Registration] = {}
    for element in elements:
        registration = _read_registration(element)
        known = by_aor.get(registration.aor)
        by_aor[registration.aor] = registration if known is None else _merged(known, registration)
    return Document(version, state, tuple(by_aor.values()))


def _merged(known: Registration, registration: Registration) -> Registration:
    """XML-5: one registration per AoR."""
    return replace(
        known,
        state="active" if "active" in (known.state, registration.state) else registration.state,
        contacts=tuple({contact.id: contact for contact in known.contacts + registration.contacts}.values()),
    )


def _read_registration(element: etree._Element) -> Registration:
    aor = _attribute_uri(element.get("aor"))
    contacts: dict[str, Contact] = {}
    for child in element.iterfind(f"{{{REGINFO}}}contact"):
        contact = _read_contact(child)
        contacts.pop(contact.id, None)
        contacts[contact.id] = contact
    return Registration(
        aor, _id(element), _word(element.get("state"), ("init", "active", "terminated")), tuple(contacts.values())
    )


def _read_contact(element: etree._Element) -> Contact:
    state = _word(element.get("state"), ("active", "terminated"))
    event = element.get("event")
    if event is None:
        raise Refused("no event")
    event = event.strip(_BLANKS)
    contact = Contact(
        id=_id(element),
        uri="",
        state=state,
        event=event if event in EVENTS else None,
        expires=_number(element.get("expires")),
        retry_after=_number(element.get("retry-after")),
        duration_registered=_number(element.get("duration-registered")),
        q=_q(element.get("q")),
        call_id=_text(element.get("callid")),
        cseq=_number(element.get("cseq")),
        path=_text(element.get("path")) or "",
        received=_text(element.get("received")) or "",
        user_agent=_text(element.get("user_agent")) or "",
    )
    for child in element:
        contact = _with_child(contact, child)
    if not contact.uri:
        raise Refused("no uri")
    return contact


def _with_child(contact: Contact, child: etree._Element) -> Contact:
    tag = child.tag if isinstance(child.tag, str) else ""
    if tag == f"{{{REGINFO}}}uri":
        return replace(contact, uri=_element_uri(_content(child)))
    if tag == f"{{{REGINFO}}}display-name":
        return replace(contact, display_name=_text(_content(child)))
    if tag == f"{{{REGINFO}}}unknown-param":
        return replace(contact, params=contact.params + _parameter(child))
    if tag.startswith(f"{{{GRUUINFO}}}") and "uri" in child.attrib:
        uri, first_cseq = _attribute_uri(child.get("uri")), _number(child.get("first-cseq"))
        if tag == f"{{{GRUUINFO}}}pub-gruu":
            return replace(contact, pub_gruu=uri)
        if tag == f"{{{GRUUINFO}}}temp-gruu" and first_cseq is not None:
            return replace(contact, temp_gruu=uri, first_cseq=first_cseq)
    if tag == f"{{{BINDING}}}binding":
        return _with_binding(contact, child)
    return contact


def _with_binding(contact: Contact, child: etree._Element) -> Contact:
    def given(name: str, known: str) -> str:
        return _text(child.get(name)) or "" if name in child.attrib else known

    return replace(
        contact,
        path=given("path", contact.path),
        received=given("received", contact.received),
        user_agent=given("user-agent", contact.user_agent),
        flow=given("flow", contact.flow),
        age_ms=_number(child.get("age")) if "age" in child.attrib else contact.age_ms,
    )


def _content(element: etree._Element) -> str:
    """Return the character data of an element that holds nothing else; comments and instructions do not count."""
    parts = [element.text or ""]
    for child in element:
        if child.tag not in (etree.Comment, etree.ProcessingInstruction):
            raise Refused("element or entity where text belongs")
        parts.append(child.tail or "")
    return "".join(parts)


def _word(text: str | None, words: Sequence[str]) -> str:
    if text is None or text.strip(_BLANKS) not in words:
        raise Refused(f"none of {words}")
    return text.strip(_BLANKS)


def _id(element: etree._Element) -> str:
    text = _text(element.get("id"))
    if not text:
        raise Refused("no id")
    return text


def _text(text: str | None) -> str | None:
    return text if text is not None and len(text.encode()) <= MAX_TEXT else None


def _attribute_uri(text: str | None) -> str:
    if text is None:
        raise Refused("no uri")
    return _element_uri(text, " ")


def _element_uri(text: str, blanks: str = " \t\n") -> str:
    text = re.sub(f"[{blanks}]", "", text)
    if not 0 < len(text.encode()) <= MAX_URI or re.search("[\0-\x1f\x7f]", text):
        raise Refused("uri")
    return text


def _number(text: str | None) -> int | None:
    """XML-3: digits, perhaps behind a "+" and between blanks; anything else is as good as nothing."""
    found = re.fullmatch(r"\+?([0-9]+)", (text or "").strip(_BLANKS))
    return min(int(found[1]), 2**63 - 1) if found else None


def _q(text: str | None) -> float | None:
    try:
        q = float(text or "")
    except ValueError:
        return None
    return round(q * 1000) / 1000 if 0 <= q <= 1 else None


def _parameter(element: etree._Element) -> str:
    """XML-10: with or without quotes; what could be no parameter of a Contact is left out."""
    name = (element.get("name") or "").strip(_BLANKS)
    if not _TOKEN.fullmatch(name) or len(name) > MAX_TEXT or name.lower() in ("q", "expires"):
        return ""
    value = _content(element).strip(_BLANKS)
    if len(value.encode()) > MAX_TEXT or re.search("[\0-\x1f\x7f]", value):
        return ""
    if not value:
        return f";{name}"
    if not _VALUE.fullmatch(value) and not _QUOTED.fullmatch(value):
        value = '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
    return f";{name}={value}"
