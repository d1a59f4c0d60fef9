"""Writing, reading, applying and comparing registration documents, beside twins over lxml and dicts."""

import pytest
from lxml import etree
from pytest_benchmark.fixture import BenchmarkFixture

from reginfo.fast import (
    APPLIED,
    Reginfo,
    ReginfoView,
    Registration,
    apply_reginfo,
    diff_reginfo,
    parse_reginfo,
    serialize_reginfo,
)
from tests.fast.test_reginfo_view import Model, differences, plain
from tests.reference import reginfo_xml as reference

NOW = 1_700_000_000_000
SIZES = {"1_contact": 1, "10_contacts": 10, "1000_contacts": 1000}


def section_of(size: int, *, cseq: int = 1) -> reference.Section:
    """Return an AoR with that many contacts of phones."""
    return reference.Section(
        "sip:alice@example.com",
        tuple(
            reference.Row(
                uri=f"sip:alice@192.0.2.{number % 256}:{5060 + number};transport=udp",
                contact_id=number + 1,
                expires_at=NOW + 600_000,
                event="refreshed",
                call_id=f"a84b4c76e667{number}@192.0.2.10",
                cseq=cseq,
                q=800,
                params=f';+sip.instance="<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6b{number:02x}>";reg-id=1',
                registered_at=NOW - 3_600_000,
                updated_at=NOW,
            )
            for number in range(size)
        ),
    )


def document_of(size: int, *, version: int = 0, cseq: int = 1) -> bytes:
    record = section_of(size, cseq=cseq).record
    assert record is not None
    return serialize_reginfo([Registration(record)], version=version, now_ms=NOW)


@pytest.fixture(params=SIZES)
def size(request: pytest.FixtureRequest) -> int:
    return SIZES[request.param]


# -- writing -----------------------------------------------------------------------------------------------


@pytest.mark.benchmark(group="reginfo-serialize")
def test_serialize(benchmark: BenchmarkFixture, size: int) -> None:
    record = section_of(size).record
    assert record is not None
    registrations = [Registration(record)]
    octets = benchmark(serialize_reginfo, registrations, version=7, now_ms=NOW)
    expected = reference.serialize([section_of(size)], version=7, now_ms=NOW)
    assert reference.canonical(etree.fromstring(octets)) == reference.canonical(expected)


@pytest.mark.benchmark(group="reginfo-serialize")
def test_serialize_lxml(benchmark: BenchmarkFixture, size: int) -> None:
    """The tree is built and written with lxml from values that are there already."""
    rows = section_of(size).rows

    def build() -> bytes:
        root = etree.Element("reginfo", xmlns=reference.REGINFO, version="7", state="full")
        registration = etree.SubElement(root, "registration", aor="sip:alice@example.com", id="1", state="active")
        for row in rows:
            contact = etree.SubElement(
                registration,
                "contact",
                {
                    "id": f"{row.contact_id:016x}",
                    "state": "active",
                    "event": row.event,
                    "expires": str((row.expires_at - NOW) // 1000),
                    "duration-registered": str((NOW - row.registered_at) // 1000),
                    "q": "0.8",
                    "callid": row.call_id,
                    "cseq": str(row.cseq),
                },
            )
            etree.SubElement(contact, "uri").text = row.uri
            for parameter in row.params[1:].split(";"):
                name, _, value = parameter.partition("=")
                etree.SubElement(contact, "unknown-param", name=name).text = value
        octets: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8")
        return octets

    read = parse_reginfo(benchmark(build), max_octets=1 << 20)
    assert [told.uri for told in read.registrations[0].contacts] == [row.uri for row in rows]


# -- reading -----------------------------------------------------------------------------------------------


@pytest.mark.benchmark(group="reginfo-parse")
def test_parse(benchmark: BenchmarkFixture, size: int) -> None:
    octets = document_of(size)
    read: Reginfo = benchmark(parse_reginfo, octets, max_octets=len(octets))
    assert reference.document_like(read) == reference.parse(octets, len(octets))


@pytest.mark.benchmark(group="reginfo-parse")
def test_parse_lxml_walk(benchmark: BenchmarkFixture, size: int) -> None:
    """The tree is walked with lxml, nothing is checked, and what is found is kept in plain dicts."""
    octets = document_of(size)
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    names = {name: f"{{{reference.REGINFO}}}{name}" for name in ("registration", "contact", "uri", "unknown-param")}

    def walk() -> list[tuple[dict[str, str], list[dict[str, object]]]]:
        root = etree.fromstring(octets, parser)
        registrations = []
        for registration in root.iterfind(names["registration"]):
            contacts = []
            for element in registration.iterfind(names["contact"]):
                contact: dict[str, object] = dict(element.attrib)
                for child in element:
                    if child.tag == names["uri"]:
                        contact["uri"] = child.text
                    elif child.tag == names["unknown-param"]:
                        contact[f"param {child.get('name')}"] = child.text
                contacts.append(contact)
            registrations.append((dict(registration.attrib), contacts))
        return registrations

    [(_, contacts)] = benchmark(walk)
    assert len(contacts) == size


@pytest.mark.benchmark(group="reginfo-parse")
def test_parse_lxml_tree_alone(benchmark: BenchmarkFixture, size: int) -> None:
    """What no reading over lxml can go below."""
    octets = document_of(size)
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    assert len(benchmark(etree.fromstring, octets, parser)[0]) == size


# -- applying and comparing --------------------------------------------------------------------------------


@pytest.mark.benchmark(group="reginfo-apply")
def test_apply_full(benchmark: BenchmarkFixture, size: int) -> None:
    """All contacts have been refreshed since."""
    before = parse_reginfo(document_of(size), max_octets=1 << 20)
    after = parse_reginfo(document_of(size, version=1, cseq=2), max_octets=1 << 20)

    def known() -> tuple[tuple[object, ...], dict[str, object]]:
        view = ReginfoView()
        apply_reginfo(before, view)
        return (after, view), {}

    delta = benchmark.pedantic(apply_reginfo, setup=known, rounds=200)  # type: ignore[no-untyped-call]
    assert delta.verdict == APPLIED
    assert len(delta.registrations[0].changed) == size


@pytest.mark.benchmark(group="reginfo-apply")
def test_apply_full_model(benchmark: BenchmarkFixture, size: int) -> None:
    before = reference.parse(document_of(size), 1 << 20)
    after = reference.parse(document_of(size, version=1, cseq=2), 1 << 20)

    def known() -> tuple[tuple[object, ...], dict[str, object]]:
        model = Model()
        model.apply(before)
        return (model, after), {}

    _, [delta] = benchmark.pedantic(Model.apply, setup=known, rounds=20)  # type: ignore[no-untyped-call]
    assert len(delta.changed) == size


@pytest.mark.benchmark(group="reginfo-diff")
def test_diff(benchmark: BenchmarkFixture, size: int) -> None:
    """All contacts have been refreshed since."""
    before = parse_reginfo(document_of(size), max_octets=1 << 20)
    after = parse_reginfo(document_of(size, version=1, cseq=2), max_octets=1 << 20)
    _, [delta] = plain(benchmark(diff_reginfo, before, after))
    assert len(delta.changed) == size


@pytest.mark.benchmark(group="reginfo-diff")
def test_diff_model(benchmark: BenchmarkFixture) -> None:
    """10 contacts: the model compares each with each."""
    before = reference.parse(document_of(10))
    after = reference.parse(document_of(10, version=1, cseq=2))
    [delta] = benchmark(differences, before, after)
    assert len(delta.changed) == 10
