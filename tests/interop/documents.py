"""Registration documents (RFC 3680) for raw peers: written as given, right or wrong, and read with lxml."""

from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

NAMESPACE = "urn:ietf:params:xml:ns:reginfo"
MEDIA_TYPE = "application/reginfo+xml"

_PARSER = etree.XMLParser(resolve_entities=False, no_network=True)


def contact(
    uri: str,
    *,
    id: str = "c1",
    state: str = "active",
    event: str = "registered",
    expires: int | None = 600,
    call_id: str = "peer-1",
    cseq: int = 1,
    **others: str,
) -> str:
    """Write a contact; `expires` None leaves the attribute out, further attributes are written as they are named."""
    given = {"id": id, "state": state, "event": event, "callid": call_id, "cseq": str(cseq)} | others
    if expires is not None:
        given["expires"] = str(expires)
    attributes = "".join(f" {name}={quoteattr(value)}" for name, value in given.items())
    return f"<contact{attributes}><uri>{escape(uri)}</uri></contact>"


def registration(aor: str, *contacts: str, id: str = "r1", state: str = "active") -> str:
    """Write a registration."""
    return f'<registration aor={quoteattr(aor)} id="{id}" state="{state}">{"".join(contacts)}</registration>'


def document(*registrations: str, version: int = 0, state: str = "full") -> bytes:
    """Write a document."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<reginfo xmlns="{NAMESPACE}" version="{version}" state="{state}">'
        f"{''.join(registrations)}</reginfo>\n"
    ).encode()


@dataclass(frozen=True)
class Contact:
    """A contact element."""

    uri: str
    attributes: dict[str, str]

    @property
    def state(self) -> str:
        """Its state."""
        return self.attributes["state"]

    @property
    def event(self) -> str:
        """The event that led to its state."""
        return self.attributes["event"]


@dataclass(frozen=True)
class Registration:
    """A registration element."""

    aor: str
    id: str
    state: str
    contacts: tuple[Contact, ...]

    @property
    def events(self) -> dict[str, tuple[str, str]]:
        """State and event of its contacts, by URI."""
        return {contact.uri: (contact.state, contact.event) for contact in self.contacts}


@dataclass(frozen=True)
class Document:
    """A registration document."""

    version: int
    state: str
    registrations: tuple[Registration, ...]
    root: etree._Element

    @property
    def registration(self) -> Registration:
        """Its only registration."""
        (found,) = self.registrations
        return found


def parse(octets: bytes) -> Document:
    """Read a document; lxml.etree.XMLSyntaxError if it is none."""
    root = etree.fromstring(octets, _PARSER)
    assert root.tag == f"{{{NAMESPACE}}}reginfo", root.tag
    return Document(
        int(root.attrib["version"]),
        root.attrib["state"],
        tuple(
            Registration(
                element.attrib["aor"],
                element.attrib["id"],
                element.attrib["state"],
                tuple(
                    Contact(
                        (child.findtext(f"{{{NAMESPACE}}}uri") or "").strip(),
                        {str(name): str(value) for name, value in child.attrib.items()},
                    )
                    for child in element.iterfind(f"{{{NAMESPACE}}}contact")
                ),
            )
            for element in root.iterfind(f"{{{NAMESPACE}}}registration")
        ),
        root,
    )
