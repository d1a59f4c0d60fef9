"""Registration documents out and in, against their twin and the schemas (standards.md: XML-1 to XML-11, SEC-4, REV-8).

What is written is valid, says what the twin says and is read again as it was meant; what is read either is a document
or raises SipParseError, whatever was done to it.
"""

import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lxml import etree

from reginfo._fast.reginfo_xml import (
    MAX_DOCUMENT_CONTACTS,
    MAX_DOCUMENT_DEPTH,
    MAX_DOCUMENT_ELEMENTS,
    MAX_DOCUMENT_OCTETS,
    MAX_DOCUMENT_REGISTRATIONS,
    MAX_DOCUMENT_TEXT,
    MAX_DOCUMENT_URI,
    MAX_ELEMENT_ATTRIBUTES,
    REGINFO_HEAD,
    Reginfo,
    ReginfoContact,
    ReginfoRegistration,
    parse_reginfo,
    reginfo_is_newer,
    reginfo_tail,
    serialize_reginfo,
)
from reginfo.fast import Registration, SipParseError, canonical_aor
from tests import strategies
from tests.interop.documents import contact, document, registration
from tests.reference import reginfo_xml as reference
from tests.reference.binding import registration_id
from tests.reference.reginfo_xml import Row, Section, rows_octets
from tests.reference.uri import Refused

NOW = 1_700_000_000_000
AOR = "sip:alice@example.org"
SCHEMA = etree.XMLSchema(etree.parse(reference.SCHEMAS / "reginfo.xsd"))
KAMAILIO_ATTRIBUTES = ("received", "path", "user_agent")
"What pua_reginfo adds to a contact, in no namespace and in no schema."

# -- what is written ---------------------------------------------------------------------------------------

uris = st.builds("sip:{}@{}".format, strategies.users, strategies.hosts) | st.sampled_from(
    [
        "sip:192.0.2.1:5060;transport=tcp",
        "sip:a&b'c@[2001:db8::1]:5061;x=<y>?h=\"",
        "sip:ž終\U0001f600\x7f@h",
        "sip:nul%00\x00\x01\n@h",
        "tel:+15551234;phone-context=example.org",
    ]
)
texts = st.text(max_size=12) | st.sampled_from(
    ["", "<&>\"']]>", "\t\r\n", "\0\x01\x1f\x7f", "\ufffd\ufffe\uffff\uefbf\ufeff"]
)
names = st.sampled_from(["+sip.instance", "reg-id", "methods", "x", "Q1"]) | strategies.tokens.filter(
    lambda name: name.lower() not in ("q", "expires")
)
values = st.sampled_from(
    ["", "=1", "=[::1]", '=""', '="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"', '="\\"\\\\;\t&"']
)
gruu_parameters = st.sampled_from(
    [
        ';pub-gruu="sip:alice@example.org;gr=urn:uuid:f81d4fae"',
        ';PUB-GRUU="sip:b&c@example.org;gr"',
        ";pub-gruu",
        ';temp-gruu="sip:tgruu.7hs==jd7v@example.org;gr"',
        ';temp-gruu="sip:\\"<&@example.org;gr"',
        ";temp-gruu-cseq=4711",
        ";temp-gruu-cseq=0",
        ";temp-gruu-cseq",
        ";temp-gruu-cseq=" + "9" * 19,
        ";temp-gruu-cseq=" + "9" * 20,
        ";temp-gruu-cseq=x",
        ';temp-gruu-cseq="1"',
        ';temp-gruu-cseq="<&>"',
    ]
)
parameters = st.lists(st.builds(";{}{}".format, names, values) | gruu_parameters, max_size=5).map("".join)
instants = st.integers(NOW - 10_000, NOW + 10_000) | st.sampled_from([0, NOW - 1, NOW, NOW + 1, NOW + 1000, 2**62])
origins = st.sampled_from(["", "", "peer:a", "peer:b", "publication:a.1", "publication:b.2", "publication:ab.3"])
displays = st.one_of(
    st.just(""), strategies.tokens, texts.map(lambda text: '"' + re.sub(r'(["\\])', r"\\\1", text) + '"')
)


def rows(first_id: int) -> st.SearchStrategy[Row]:
    """Return rows of a few contacts; several may be about the same one."""
    return st.builds(
        Row,
        uri=uris,
        contact_id=st.integers(first_id, first_id + 3),
        expires_at=instants,
        event=st.sampled_from(reference.EVENTS),
        call_id=texts,
        cseq=st.integers(0, 2**32 - 1),
        q=st.none() | st.integers(0, 1000),
        params=parameters,
        display_name=displays,
        path=texts,
        received=texts,
        flow=texts,
        user_agent=texts,
        origin=origins,
        registered_at=instants,
        updated_at=instants,
        requested=st.integers(0, 2**32 - 1),
        revision=st.integers(1, 5),
        hidden=st.sampled_from([False, False, False, True]),
    )


@st.composite
def sections(draw: st.DrawFn, most: int = 3) -> list[Section]:
    """Draw what is known of a few AoRs."""
    aors = draw(st.lists(st.sampled_from([AOR, "sip:example.org", "tel:+1", 'sip:ž&"<@h']), max_size=most, unique=True))
    found = []
    for number, aor in enumerate(aors):
        few = st.lists(rows(16 * number), max_size=5).map(tuple)
        many = st.lists(rows(16 * number), min_size=17, max_size=20).map(tuple)
        found.append(Section(aor, draw(few | few | few | many), draw(few)))
    return found


options = st.fixed_dictionaries(
    {
        "since": st.none() | st.integers(0, 5),
        "audience": st.sampled_from([None, None, "", "a", "ab"]),
        "extensions": st.booleans(),
        "kamailio": st.booleans(),
        "temp_gruu": st.booleans(),
    }
)


def check_schema(octets: bytes, *, kamailio: bool = False) -> None:
    """Assert that a document is valid, but for what Kamailio adds."""
    root = etree.fromstring(octets)
    if kamailio:
        for element in root.iter(f"{{{reference.REGINFO}}}contact"):
            for name in KAMAILIO_ATTRIBUTES:
                element.attrib.pop(name, None)
    # XML Schema allows the brackets of RFC 2732 everywhere in a URI, libxml2 those of RFC 3986 in an authority only.
    for element in root.iter():
        for name in {"aor", "uri"} & set(map(str, element.attrib)):
            element.set(name, _without_brackets(element.attrib[name]))
        if element.tag == f"{{{reference.REGINFO}}}uri":
            element.text = _without_brackets(element.text or "")
    SCHEMA.assertValid(root)


def _without_brackets(uri: str) -> str:
    return uri.replace("[", "%5B").replace("]", "%5D")


def same_infoset(octets: bytes, tree: etree._Element) -> None:
    assert reference.canonical(etree.fromstring(octets)) == reference.canonical(tree)


def tail_of(section: Section, **options: Any) -> bytes:
    return reginfo_tail(section.record, section.aor, now_ms=NOW, ended=rows_octets(section.ended), **options)


@given(sections(), options, st.integers(0, 2**32 - 1))
def test_a_document_about_registrations_is_valid_and_equals_the_reference(
    told: list[Section], given_options: dict[str, Any], version: int
) -> None:
    """XML-1, XML-2, XML-5 to XML-11, RIC-7: full or partial, for everybody, for peers, for Kamailio."""
    told = [replace(section, ended=()) for section in told if section.rows]
    records = [Registration(section.record or b"") for section in told]
    octets = serialize_reginfo(records, version=version, now_ms=NOW, **given_options)
    check_schema(octets, kamailio=given_options["kamailio"])
    same_infoset(octets, reference.serialize(told, version=version, now_ms=NOW, **given_options))
    assert outcome(parse_reginfo, octets) == outcome(reference.parse, octets)


@given(sections(most=1).filter(bool), options)
@example([Section(AOR)], {"since": None, "audience": None})
@example([Section(AOR)], {"since": 0, "audience": ""})
def test_a_tail_is_valid_and_equals_the_reference(told: list[Section], given_options: dict[str, Any]) -> None:
    """XML-1, REV-5, REV-7, REV-8: what ended is told with the state it left; nothing new is no document."""
    [section] = told
    tail = tail_of(section, **given_options)
    since, audience = given_options["since"], given_options.get("audience")
    if since is not None:
        gone = rows_octets(section.ended)
        assert reginfo_is_newer(section.record, since, ended=gone, audience=audience) is bool(tail)
    if not tail:
        assert since is not None
        living, ended, _ = reference.told(section, given_options["since"], given_options["audience"])
        assert not living
        assert not ended
        return
    octets = REGINFO_HEAD + b"7" + tail
    check_schema(octets, kamailio=given_options.get("kamailio", False))
    same_infoset(octets, reference.serialize(told, version=7, now_ms=NOW, **given_options))
    assert outcome(parse_reginfo, octets) == outcome(reference.parse, octets)


def as_told_for(section: Section, identity: str) -> Section:
    """Return what is told of another identity that has the contacts of an AoR."""
    name = registration_id(identity)

    def told(row: Row) -> Row:
        others, _ = reference.split_parameters(row.params)
        params = "".join(f";{name}={value}" if value else f";{name}" for name, value in others)
        event = "created" if row.event == "registered" else row.event
        return replace(row, contact_id=row.contact_id ^ name, event=event, params=params)

    return Section(identity, tuple(map(told, section.rows)), tuple(map(told, section.ended)))


others = st.lists(
    st.tuples(
        st.sampled_from([AOR, "sip:al@example.org", "tel:+15551234", "sip:ep7@example.org", 'sip:&"<@h']),
        st.sampled_from(["", "", "sip:ep!.*!@example.org", 'sip:<&>!"!@h']),
    ),
    min_size=1,
    unique_by=lambda one: one[0],
)


@given(sections(most=1).filter(lambda told: bool(told) and told[0].aor == AOR), others, options)
@example([Section(AOR)], [(AOR, "")], {"since": None, "audience": None})
@example([Section(AOR)], [("tel:1", "sip:!.!@h")], {"since": 0, "audience": None})
def test_every_identity_of_a_set_is_told_as_the_reference_tells_it(
    told: list[Section], identities: list[tuple[str, str]], given_options: dict[str, Any]
) -> None:
    """IMS-3, IMS-4: one registration for each, ids of its own, no GRUUs but those of the AoR."""
    [section] = told
    tail = tail_of(section, identities=identities, **given_options)
    assert bool(tail) is bool(tail_of(section, **given_options))
    if not tail:
        return
    octets = REGINFO_HEAD + b"7" + tail
    check_schema(octets, kamailio=given_options.get("kamailio", False))
    each = [section if identity == AOR else as_told_for(section, identity) for identity, _ in identities]
    tree = reference.serialize(each, version=7, now_ms=NOW, **given_options)
    for element, (_, wildcard) in zip(tree, identities, strict=True):
        if wildcard:
            space = "urn:3gpp:ns:extRegExp:1.0"
            added = etree.SubElement(element, f"{{{space}}}wildcardedIdentity", nsmap={None: space})
            added.text = reference.uri_text(wildcard)
    same_infoset(octets, tree)
    assert outcome(parse_reginfo, octets) == outcome(reference.parse, octets)


clean = st.text("abcXYZ019 <>&\"';=%/@\tžö終\U0001f600\u0085\u2028", max_size=12)
clean_rows = st.builds(
    Row,
    uri=st.builds("sip:{}@{}".format, strategies.users, strategies.hosts),
    contact_id=st.integers(0, 2**64 - 1),
    expires_at=st.integers(NOW, NOW + 10_000),
    event=st.sampled_from(reference.EVENTS[:4]),
    call_id=clean,
    cseq=st.integers(0, 2**32 - 1),
    q=st.none() | st.integers(0, 1000),
    params=st.lists(
        st.builds(";{}{}".format, names, st.sampled_from(["", "=1", '=""', '=" a "', '="<&>\\"\\\\;"'])), max_size=5
    ).map("".join),
    display_name=displays,
    path=clean,
    received=clean,
    flow=clean,
    user_agent=clean,
    registered_at=st.integers(NOW - 10_000, NOW),
    updated_at=st.integers(NOW - 10_000, NOW),
)


@given(st.lists(clean_rows, max_size=20, unique_by=lambda row: row.contact_id).map(tuple))
def test_what_is_written_is_read_again(told: tuple[Row, ...]) -> None:
    """XML-8 to XML-10: every text and number survives the way over XML."""
    section = Section(AOR, told)
    read = parse_reginfo(REGINFO_HEAD + b"4294967295" + tail_of(section, extensions=True))
    assert reference.document_like(read) == reference.Document(
        2**32 - 1,
        "full",
        (
            reference.Registration(
                AOR,
                read.registrations[0].id,
                "active" if told else "init",
                tuple(
                    reference.Contact(
                        id=f"{row.contact_id:016x}",
                        uri=row.uri,
                        state="active",
                        event=row.event,
                        expires=-((NOW - row.expires_at) // 1000),
                        duration_registered=(NOW - row.registered_at) // 1000,
                        q=None if row.q is None else row.q / 1000,
                        call_id=row.call_id or None,
                        cseq=row.cseq if row.call_id else None,
                        display_name=reference.xml_text(reference.unquoted(row.display_name))
                        if row.display_name
                        else None,
                        params=row.params,
                        path=row.path,
                        received=row.received,
                        flow=row.flow,
                        user_agent=row.user_agent,
                        age_ms=NOW - row.updated_at,
                    )
                    for row in told
                ),
            ),
        ),
    )


PHONE = Row(
    uri="sip:alice@192.0.2.1:5060;transport=tcp",
    contact_id=0x76,
    expires_at=NOW + 59_001,
    event="shortened",
    call_id="a84b4c76e66710@192.0.2.1",
    cseq=314159,
    q=250,
    params=';+sip.instance="<urn:uuid:f81d4fae>";reg-id=1;ob;pub-gruu="sip:alice@example.org;gr=1"'
    ';temp-gruu="sip:t.1@example.org;gr";temp-gruu-cseq=7',
    display_name='"Alice \\"A\\" & <L>"',
    path="<sip:p1.example.org;lr>",
    received="sip:198.51.100.7:1024",
    flow="tcp:198.51.100.7:1024",
    user_agent='Phone "1"',
    registered_at=NOW - 7322_999,
    updated_at=NOW - 1500,
)
GOLDEN = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="3" state="full">'
    b'<registration aor="sip:alice@example.org" id="14f6fc19149f20b0" state="active">'
    b'<contact id="0000000000000077" state="terminated" event="probation" retry-after="120" '
    b'duration-registered="1700000000"><uri>sip:alice@192.0.2.2</uri>'
    b'<b:binding xmlns:b="urn:reginfo:xml:ns:binding" age="1700000000000"/></contact>'
    b'<contact id="0000000000000076" state="active" event="shortened" expires="60" duration-registered="7322" '
    b'q="0.25" callid="a84b4c76e66710@192.0.2.1" cseq="314159"><uri>sip:alice@192.0.2.1:5060;transport=tcp</uri>'
    b"<display-name>Alice &quot;A&quot; &amp; &lt;L&gt;</display-name>"
    b'<unknown-param name="+sip.instance">&quot;&lt;urn:uuid:f81d4fae&gt;&quot;</unknown-param>'
    b'<unknown-param name="reg-id">1</unknown-param><unknown-param name="ob"></unknown-param>'
    b'<gr:pub-gruu xmlns:gr="urn:ietf:params:xml:ns:gruuinfo" uri="sip:alice@example.org;gr=1"/>'
    b'<gr:temp-gruu xmlns:gr="urn:ietf:params:xml:ns:gruuinfo" uri="sip:t.1@example.org;gr" first-cseq="7"/>'
    b'<b:binding xmlns:b="urn:reginfo:xml:ns:binding" age="1500" path="&lt;sip:p1.example.org;lr&gt;" '
    b'received="sip:198.51.100.7:1024" user-agent="Phone &quot;1&quot;" flow="tcp:198.51.100.7:1024"/>'
    b"</contact></registration></reginfo>"
)


def test_a_document_octet_by_octet() -> None:
    """XML-2, XML-8, XML-10, XML-11: attributes, children and escapes as they go over the wire."""
    gone = Row("sip:alice@192.0.2.2", 0x77, NOW, event="probation", requested=120)
    section = Section(AOR, (PHONE,), (gone,))
    octets = REGINFO_HEAD + b"3" + tail_of(section, extensions=True, temp_gruu=True)
    assert octets.decode() == GOLDEN.decode()
    check_schema(octets)


def test_temporary_gruus_are_told_on_demand_only() -> None:
    """XML-11, SEC-7."""
    octets = REGINFO_HEAD + b"3" + tail_of(Section(AOR, (PHONE,)))
    [[told]] = [registration.contacts for registration in parse_reginfo(octets).registrations]
    assert (told.pub_gruu, told.temp_gruu, told.first_cseq) == ("sip:alice@example.org;gr=1", None, None)
    assert told.params == ';+sip.instance="<urn:uuid:f81d4fae>";reg-id=1;ob'


@pytest.mark.parametrize("number", ["", '"1"', '"<&"', '"1\\" x=\\"1"', "x", "1x", "[::1]", "9" * 20])
def test_a_temporary_gruu_without_a_number_is_not_told(number: str) -> None:
    """XML-1, XML-11, SEC-4: what a REGISTER calls a number goes into no attribute unless it is one."""
    row = replace(PHONE, params=f';temp-gruu="sip:t.1@example.org;gr";temp-gruu-cseq={number}')
    octets = REGINFO_HEAD + b"3" + tail_of(Section(AOR, (row,)), temp_gruu=True)
    check_schema(octets)
    assert b"temp-gruu" not in octets


def test_kamailio_is_told_in_its_own_words() -> None:
    """KAM, XML-3: what ended has an expiry too, and three attributes are in no schema; nothing else differs."""
    section = Section(AOR, (PHONE,), (Row("sip:b@192.0.2.2", 1, NOW, event="expired"),))
    usual, peer = (etree.fromstring(REGINFO_HEAD + b"0" + tail_of(section, kamailio=kind)) for kind in (False, True))
    gone, lives = peer.iter(f"{{{reference.REGINFO}}}contact")
    assert gone.attrib.pop("expires") == "0"
    assert [lives.attrib.pop(name) for name in KAMAILIO_ATTRIBUTES] == [PHONE.received, PHONE.path, PHONE.user_agent]
    assert reference.canonical(peer) == reference.canonical(usual)


def test_a_registration_without_contacts_is_init() -> None:
    """REV-4, REV-7."""
    assert tail_of(Section(AOR)).endswith(b'state="init"></registration></reginfo>')
    assert tail_of(Section(AOR), since=0) == b""


def test_the_last_contact_gone_is_told_as_terminated() -> None:
    """REV-7, REV-10."""
    gone = replace(PHONE, event="expired", revision=3)
    tail = tail_of(Section(AOR, (), (gone,)), since=2)
    assert b'state="terminated"><contact' in tail
    assert tail_of(Section(AOR, (), (gone,)), since=3) == b""


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_corrupt_rows_are_refused(cut: int) -> None:
    section = Section(AOR, (PHONE,))
    with pytest.raises(ValueError, match="corrupt record"):
        reginfo_tail((section.record or b"")[:-cut], AOR, now_ms=NOW)
    with pytest.raises(ValueError, match="corrupt record"):
        reginfo_is_newer((section.record or b"")[:-cut], 0)
    with pytest.raises(ValueError, match="corrupt rows"):
        reginfo_tail(section.record, AOR, now_ms=NOW, ended=PHONE.to_octets()[:-cut])
    with pytest.raises(ValueError, match="corrupt rows"):
        reginfo_is_newer(section.record, 0, ended=PHONE.to_octets()[:-cut])


@pytest.mark.parametrize("version", [-1, 2**32])
def test_a_version_has_32_bits(version: int) -> None:
    """XML-4."""
    with pytest.raises(OverflowError):
        serialize_reginfo([], version=version, now_ms=NOW)


# -- what is read ------------------------------------------------------------------------------------------


def outcome(read: Callable[[bytes], Reginfo | reference.Document], octets: bytes) -> object:
    """Return what is read, or the status it is refused with."""
    try:
        found = read(octets)
    except (SipParseError, Refused) as error:
        return error.status
    return reference.document_like(found) if isinstance(found, Reginfo) else found


def only_contact(octets: bytes) -> ReginfoContact:
    [told] = parse_reginfo(octets).registrations
    [found] = told.contacts
    return found


def refusal(octets: bytes) -> str:
    with pytest.raises(SipParseError) as caught:
        parse_reginfo(octets)
    assert caught.value.status == 400
    return caught.value.reason


RICH = GOLDEN.replace(
    b"</contact></registration>",
    b'<x:y xmlns:x="urn:x" a="b"><z/><!-- c --></x:y></contact><!-- c --><?p i?></registration>'
    b'<registration aor="sip:b@h" id="r" state="init"/>'
    b'<registration aor="sip:alice@example.org" id="s" state="terminated"><contact id="1" state="terminated" '
    b'event="expired" received="sip:r" path="p" user_agent="&#x31;"><uri><![CDATA[sip:c]]></uri>'
    b"</contact></registration>",
)


def test_every_beginning_of_a_document_is_read_or_refused() -> None:
    """SEC-4, RIC-8."""
    for n in range(len(RICH)):
        assert outcome(parse_reginfo, RICH[:n]) == 400
    assert outcome(parse_reginfo, RICH) == outcome(reference.parse, RICH) != 400


damage = st.lists(
    st.tuples(
        st.integers(0, len(RICH) - 1),
        st.integers(0, 2),
        st.binary(max_size=2)
        | st.sampled_from([b"<", b">", b"&", b'"', b"=", b"</", b"<!--", b"<!D", b"]]>", b"/", b" ", b"\0"]),
    ),
    min_size=1,
    max_size=3,
)


@given(damage)
@example([(0, 0, b"\xff\xfe")])
@example([(0, 0, b"\xef\xbb\xbf")])
@example([(0, 0, b"<!DOCTYPE x>")])
def test_a_damaged_document_is_read_like_the_reference_or_refused(where: list[tuple[int, int, bytes]]) -> None:
    """SEC-4: a value or SipParseError, nothing else."""
    octets = RICH
    for at, n, new in where:
        octets = octets[:at] + new + octets[at + n :]
    assert outcome(parse_reginfo, octets) == outcome(reference.parse, octets)


@given(
    st.binary(max_size=200)
    | st.text(max_size=100).map(str.encode)
    | st.text("<>/=\"'!-?[]&#;ax \n", max_size=60).map(str.encode)
)
def test_anything_else_is_refused(octets: bytes) -> None:
    """SEC-4."""
    with pytest.raises(SipParseError) as caught:
        parse_reginfo(octets)
    assert caught.value.status == 400
    assert 0 <= caught.value.offset <= len(octets)


@pytest.mark.parametrize("octets", ["<a/>", bytearray(b"<a/>"), None])
def test_only_bytes_are_read(octets: Any) -> None:
    with pytest.raises(TypeError):
        parse_reginfo(octets)


ONE = document(registration(AOR, contact("sip:a@h")))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"<reginfo", b"<reginf0", "document: not well-formed"),
        (b"params:xml:ns:reginfo", b"params:xml:ns:other", "document: not a reginfo document"),
        (b' version="0"', b"", "reginfo: version is no number of 32 bits"),
        (b' version="0"', b' version="-1"', "reginfo: version is no number of 32 bits"),
        (b' version="0"', b' version="4294967296"', "reginfo: version is no number of 32 bits"),
        (b' version="0"', b' version="18446744073709551616"', "reginfo: version is no number of 32 bits"),
        (b' version="0"', b' version="0 1"', "reginfo: version is no number of 32 bits"),
        (b' state="full"', b"", "reginfo: state is neither full nor partial"),
        (b' state="full"', b' state="Full"', "reginfo: state is neither full nor partial"),
        (b' aor="sip:alice@example.org"', b"", "registration: aor is missing"),
        (b"sip:alice@example.org", b"", "aor: empty"),
        (b"sip:alice@example.org", b"sip:a&#13;&#10;b", "aor: control character"),
        (b"sip:alice@example.org", b"sip:a&#x7f;b", "aor: control character"),
        (b' id="r1"', b"", "registration: id is missing or too long"),
        (b' id="r1"', b' id=""', "registration: id is missing or too long"),
        (b' id="r1" state="active"', b' id="r1"', "registration: state is none of init, active, terminated"),
        (b' id="r1" state="active"', b' id="r1" state="x"', "registration: state is none of init, active, terminated"),
        (b' id="c1"', b"", "contact: id is missing or too long"),
        (b' id="c1" state="active"', b' id="c1"', "contact: state is neither active nor terminated"),
        (b' id="c1" state="active"', b' id="c1" state="init"', "contact: state is neither active nor terminated"),
        (b' event="registered"', b"", "contact: event is missing"),
        (b"<uri>sip:a@h</uri>", b"", "contact: uri is missing"),
        (b"<uri>sip:a@h</uri>", b"<uri/>", "uri: empty"),
        (b"<uri>sip:a@h</uri>", b"<uri>&#13;</uri>", "uri: control character"),
        (b"<uri>sip:a@h</uri>", b"<uri><b>sip:a@h</b></uri>", "document: element or entity where text belongs"),
        (b"sip:a@h", b"sip:&unknown;", "document: not well-formed"),
        (b"sip:a@h", b"sip:&#0;", "document: not well-formed"),
        (b"sip:a@h", b"sip:\xff", "document: not well-formed"),
        (b"sip:a@h", b"sip:\xed\xa0\x80", "document: not well-formed"),
        (b"sip:a@h", b"sip:\xef\xbf\xbf", "document: not well-formed"),
        (b"sip:a@h", b"sip:\0", "document: NUL"),
        (b"<reginfo", b"<!DOCTYPE reginfo><reginfo", "document: has a DTD"),
        (b"</uri>", b"<!-- ", "document: comment without end"),
        (b"</uri>", b"<![CDATA[", "document: CDATA without end"),
        (b"</uri>", b"<? ", "document: instruction without end"),
        (b"</contact></registration></reginfo>\n", b"</contact", "document: tag without end"),
        (b"</contact></registration></reginfo>\n", b"<a", "document: tag without end"),
        (b"</contact></registration></reginfo>\n", b"<a b='", "document: value without end"),
    ],
)
def test_what_is_no_document_is_refused(old: bytes, new: bytes, reason: str) -> None:
    """XML-1, XML-2, XML-4, SEC-4, RIC-8."""
    octets = ONE.replace(old, new, 1)
    assert octets != ONE
    assert refusal(octets) == reason
    assert outcome(reference.parse, octets) == 400


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"urn:ietf", b"urn:ietf"),
        (b' id="c1"', b' id="c1" new="1" x:id="c2" xmlns:x="urn:x"'),
        (b"<uri>", b"<new/><x:uri xmlns:x='urn:x'>sip:other@h</x:uri><uri>"),
        (b"<uri>", b"<uri xmlns=''>sip:other@h</uri><uri>"),
        (b"<contact", b"<x:contact xmlns:x='urn:x'><x:y/></x:contact><contact"),
        (b"<registration", b"<x:registration xmlns:x='urn:x' aor='&#10;'/><registration"),
        (b"sip:a@h", b"\n\t  sip:a\n  @h "),
        (b"sip:a@h", b"sip:<!-- c -->a<?p i?>@h"),
        (b"sip:a@h", b"<![CDATA[sip:]]>&#97;&#x40;h"),
        (b' aor="', b' aor=" '),
        (b' version="0"', b' version=" +000 "'),
        (b'"active"', b'" active\t"'),
        (b'"registered"', b'" registered\n"'),
        (b' expires="600"', b' expires="+0600"'),
        (b"<?xml", b"\xef\xbb\xbf<?xml"),
        (b' encoding="UTF-8"', b""),
        (b' encoding="UTF-8"', b' encoding="us-ascii"'),
    ],
)
def test_what_does_not_matter_is_passed_over(old: bytes, new: bytes) -> None:
    """XML-3, XML-1: other namespaces, unknown names, blanks around values, comments and CDATA."""
    octets = ONE.replace(old, new)
    assert parse_reginfo(octets) == parse_reginfo(ONE)
    assert outcome(reference.parse, octets) == outcome(reference.parse, ONE)


def test_prefixes_do_not_matter() -> None:
    """XML-1."""
    octets = re.sub(rb"<(/?)(?=[a-z])", rb"<\1p:", ONE).replace(b"xmlns=", b"xmlns:p=")
    assert parse_reginfo(octets) == parse_reginfo(ONE)


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("0", 0),
        (" 007\n", 7),
        ("+5", 5),
        ("4294967296", 2**32),
        ("9223372036854775807", 2**63 - 1),
        ("18446744073709551615", 2**63 - 1),
        ("9" * 40, 2**63 - 1),
        ("", None),
        ("+", None),
        ("-1", None),
        ("1 2", None),
        ("0x1", None),
        ("1.0", None),
        ("forever", None),
        ("\u0661", None),
    ],
)
def test_numbers(written: str, number: int | None) -> None:
    """XML-3, XML-8: junk in an optional attribute is as good as no attribute."""
    names = {"expires": "expires", "retry-after": "retry_after", "duration-registered": "duration_registered"}
    octets = document(registration(AOR, contact("sip:a@h", expires=None)))
    octets = octets.replace(b' cseq="1"', "".join(f' {name}="{written}"' for name in (*names, "cseq")).encode())
    found = only_contact(octets)
    assert [getattr(found, name) for name in (*names.values(), "cseq")] == [number] * 4
    assert outcome(parse_reginfo, octets) == outcome(reference.parse, octets)


@pytest.mark.parametrize(
    ("written", "q"),
    [
        ("0", 0.0),
        ("1", 1.0),
        ("0.25", 0.25),
        (" 0.333 ", 0.333),
        ("1.001", None),
        ("-0.1", None),
        ("", None),
        ("nan", None),
    ],
)
def test_q(written: str, q: float | None) -> None:
    """XML-2, XML-3."""
    assert only_contact(document(registration(AOR, contact("sip:a@h", q=written)))).q == q


@pytest.mark.parametrize("event", reference.EVENTS)
@pytest.mark.parametrize("state", ["active", "terminated"])
def test_events(event: str, state: str) -> None:
    """REV-8."""
    found = only_contact(document(registration(AOR, contact("sip:a@h", state=state, event=event))))
    assert (found.event, found.state, found.active) == (event, state, state == "active")


def test_an_unknown_event_is_none() -> None:
    """XML-3: a word of a later standard does no harm."""
    assert only_contact(document(registration(AOR, contact("sip:a@h", event="moved")))).event is None


@pytest.mark.parametrize(
    ("written", "params"),
    [
        ('<unknown-param name="reg-id">1</unknown-param>', ";reg-id=1"),
        ('<unknown-param name="ob"/>', ";ob"),
        ('<unknown-param name="x"> </unknown-param>', ";x"),
        ('<unknown-param name="x">"&lt;u&gt;"</unknown-param>', ';x="<u>"'),
        ('<unknown-param name="x">&lt;u&gt;</unknown-param>', ';x="<u>"'),
        ('<unknown-param name="x">a"b\\</unknown-param>', ';x="a\\"b\\\\"'),
        ('<unknown-param name="x">"a" b"</unknown-param>', ';x="\\"a\\" b\\""'),
        ('<unknown-param name="x">a<!-- c -->b</unknown-param>', ";x=ab"),
        ('<unknown-param name="a">1</unknown-param><unknown-param name="b"/>', ";a=1;b"),
        ("<unknown-param>1</unknown-param>", ""),
        ('<unknown-param name="">1</unknown-param>', ""),
        ('<unknown-param name="a;b">1</unknown-param>', ""),
        ('<unknown-param name="a=b"/>', ""),
        ('<unknown-param name="Q">1</unknown-param>', ""),
        ('<unknown-param name="expires">1</unknown-param>', ""),
        ('<unknown-param name="x">a&#13;&#10;Via: b</unknown-param>', ""),
        (f'<unknown-param name="x">{"a" * MAX_DOCUMENT_TEXT}</unknown-param>', f";x={'a' * MAX_DOCUMENT_TEXT}"),
        (f'<unknown-param name="x">{"a" * (MAX_DOCUMENT_TEXT + 1)}</unknown-param>', ""),
    ],
)
def test_unknown_parameters(written: str, params: str) -> None:
    """XML-10, SEC-5: with or without quotes, and only what can stand in a Contact."""
    octets = ONE.replace(b"</uri>", b"</uri>" + written.encode())
    assert only_contact(octets).params == params
    assert outcome(parse_reginfo, octets) == outcome(reference.parse, octets)


@pytest.mark.parametrize(
    ("written", "gruus"),
    [
        ('<g:pub-gruu uri="sip:p"/>', ("sip:p", None, None)),
        ('<g:temp-gruu uri=" sip:t" first-cseq="3"/>', (None, "sip:t", 3)),
        ('<g:temp-gruu uri="sip:t" cseq="3"/>', (None, None, None)),
        ('<g:temp-gruu uri="sip:t" first-cseq="x"/>', (None, None, None)),
        ('<g:pub-gruu/><g:temp-gruu first-cseq="3"/>', (None, None, None)),
        ('<g:pub-gruu uri="sip:p"/><g:temp-gruu uri="sip:t" first-cseq="3"/>', ("sip:p", "sip:t", 3)),
        ('<pub-gruu uri="sip:p"/>', (None, None, None)),
    ],
)
def test_gruus(written: str, gruus: tuple[str | None, str | None, int | None]) -> None:
    """XML-11."""
    octets = ONE.replace(b"</uri>", b"</uri>" + written.encode())
    octets = octets.replace(b"<reginfo", b'<reginfo xmlns:g="urn:ietf:params:xml:ns:gruuinfo"')
    found = only_contact(octets)
    assert (found.pub_gruu, found.temp_gruu, found.first_cseq) == gruus
    assert outcome(parse_reginfo, octets) == outcome(reference.parse, octets)


def test_what_kamailio_says_in_no_namespace_is_read() -> None:
    """XML-3, KAM."""
    found = only_contact(
        document(registration(AOR, contact("sip:a@h", received="sip:r", path="<sip:p;lr>", user_agent="UA 1")))
    )
    assert (found.received, found.path, found.user_agent) == ("sip:r", "<sip:p;lr>", "UA 1")


def test_of_contacts_with_one_id_the_last_one_counts() -> None:
    """XML-9, RIC-1; of other AoRs it is another contact."""
    twice = registration(AOR, contact("sip:a@h"), contact("sip:b@h", id="c2"), contact("sip:c@h"))
    other = registration("sip:bob@example.org", contact("sip:d@h"), id="r2")
    first, second = parse_reginfo(document(twice, other)).registrations
    assert [told.uri for told in first.contacts] == ["sip:b@h", "sip:c@h"]
    assert [told.uri for told in second.contacts] == ["sip:d@h"]


@pytest.mark.parametrize(
    ("one", "other", "merged"),
    [
        ("active", "active", "active"),
        ("active", "terminated", "active"),
        ("init", "active", "active"),
        ("init", "terminated", "terminated"),
        ("terminated", "init", "init"),
    ],
)
def test_registrations_of_one_aor_are_merged(one: str, other: str, merged: str) -> None:
    """XML-5: the id is that of the first; of contacts with one id the last one counts."""
    octets = document(
        registration(AOR, contact("sip:a@h"), contact("sip:b@h", id="c2"), state=one),
        registration(AOR, contact("sip:c@h"), state=other, id="r2"),
    )
    [told] = parse_reginfo(octets).registrations
    assert (told.id, told.state) == ("r1", merged)
    assert [found.uri for found in told.contacts] == ["sip:c@h", "sip:b@h"]


@pytest.mark.parametrize(
    "aor", ["sip:example.org", "sip:@example.org", "tel:+15551234", "urn:x", "nonsense", "sip:a@[::1"]
)
def test_what_an_aor_means_is_not_for_the_parser_to_say(aor: str) -> None:
    """RIC-10, XML-7: without a user, or no SIP URI at all, it is read as it stands; who uses it makes it canonical."""
    [told] = parse_reginfo(document(registration(aor, contact("sip:a@h")))).registrations
    assert told.aor == aor
    try:
        meant = canonical_aor(aor)
    except SipParseError:
        return
    assert meant.startswith(("sip:", "tel:"))


# -- limits ------------------------------------------------------------------------------------------------


def test_octets_are_limited_before_anything_is_read() -> None:
    """SEC-4, SEC-5: 413, whatever it is."""
    padded = ONE + b" " * (MAX_DOCUMENT_OCTETS - len(ONE))
    assert parse_reginfo(padded) == parse_reginfo(ONE)
    for octets in (padded + b" ", b"\0" * (MAX_DOCUMENT_OCTETS + 1)):
        with pytest.raises(SipParseError) as caught:
            parse_reginfo(octets)
        assert (caught.value.status, caught.value.reason) == (413, "document: too large")
    assert parse_reginfo(ONE, max_octets=len(ONE)) == parse_reginfo(ONE)
    with pytest.raises(SipParseError) as caught:
        parse_reginfo(ONE, max_octets=len(ONE) - 1)
    assert caught.value.status == 413


def nested(levels: int) -> bytes:
    """Return a document with an extension that many levels deep, the document being the first."""
    return document("<x>" * (levels - 1) + "</x>" * (levels - 1))


def with_elements(count: int) -> bytes:
    return document("<x/>" * (count - 1))


def with_attributes(count: int) -> bytes:
    """Return a document whose first child has that many attributes."""
    return document("<x " + " ".join(f"a{number}='='" for number in range(count)) + "/>")


def with_registrations(count: int) -> bytes:
    return document(*(registration(f"sip:{number}@h", id=str(number)) for number in range(count)))


def with_contacts(count: int) -> bytes:
    half = [
        f'<contact id="{number}" state="active" event="created"><uri>a:b</uri></contact>' for number in range(count)
    ]
    return document(registration("sip:a@h", *half[::2]), registration("sip:b@h", *half[1::2], id="r2"))


def with_aor(length: int) -> bytes:
    return document(registration(("sip:a@" + "h" * length)[:length]))


def with_uri(length: int) -> bytes:
    return document(registration(AOR, contact("\n " + ("sip:a@" + "h" * length)[:length] + " ")))


def with_contact_id(length: int) -> bytes:
    return document(registration(AOR, contact("sip:a@h", id="i" * length)))


LIMITS = [
    (nested, MAX_DOCUMENT_DEPTH, "document: nested too deeply"),
    (with_elements, MAX_DOCUMENT_ELEMENTS, "document: too many elements"),
    (with_attributes, MAX_ELEMENT_ATTRIBUTES, "document: too many attributes"),
    (with_registrations, MAX_DOCUMENT_REGISTRATIONS, "document: too many registrations"),
    (with_contacts, MAX_DOCUMENT_CONTACTS, "document: too many contacts"),
    (with_aor, MAX_DOCUMENT_URI, "aor: too long"),
    (with_uri, MAX_DOCUMENT_URI, "uri: too long"),
    (with_contact_id, MAX_DOCUMENT_TEXT, "contact: id is missing or too long"),
]


@pytest.mark.parametrize(("make", "most", "reason"), LIMITS, ids=lambda value: getattr(value, "__name__", None))
def test_limits(make: Callable[[int], bytes], most: int, reason: str) -> None:
    """SEC-4: as much as allowed is read, one more is refused."""
    assert outcome(parse_reginfo, make(most)) == outcome(reference.parse, make(most)) != 400
    assert refusal(make(most + 1)) == reason
    assert outcome(reference.parse, make(most + 1)) == 400


@pytest.mark.parametrize("make", [nested, with_elements, with_attributes])
def test_what_would_cost_lxml_most_is_counted_before(make: Callable[[int], bytes]) -> None:
    """SEC-4: the count is what refuses it, for behind it there is nothing that lxml could read."""
    limit = next(most for function, most, _ in LIMITS if function is make)
    octets = make(limit + 1)
    assert refusal(octets[: octets.rindex(b"<")]) != "document: not well-formed"


def test_long_texts_are_dropped_where_they_are_optional() -> None:
    """SEC-4."""
    fits, too_long = "t" * MAX_DOCUMENT_TEXT, "t" * (MAX_DOCUMENT_TEXT + 1)
    for text, read in ((fits, fits), (too_long, None)):
        octets = document(
            registration(AOR, contact("sip:a@h", call_id=text, path=text, received=text, user_agent=text))
        )
        found = only_contact(octets.replace(b"</uri>", f"</uri><display-name>{text}</display-name>".encode()))
        assert (found.call_id, found.display_name) == (read, read)
        assert (found.path, found.received, found.user_agent) == ((read or "",) * 3)


def test_text_is_measured_in_octets() -> None:
    """SEC-4."""
    text = "ž" * (MAX_DOCUMENT_TEXT // 2)
    assert only_contact(document(registration(AOR, contact("sip:a@h", call_id=text)))).call_id == text
    assert only_contact(document(registration(AOR, contact("sip:a@h", call_id=text + "a")))).call_id is None


# -- values ------------------------------------------------------------------------------------------------


def parts(read: Reginfo) -> Iterator[Reginfo | ReginfoRegistration | ReginfoContact]:
    yield read
    for told in read.registrations:
        yield told
        yield from told.contacts


def test_values_cannot_be_changed() -> None:
    """XML-1: what was read once is the same for everybody."""
    for value in parts(parse_reginfo(RICH)):
        attributes = [name for name in dir(value) if not name.startswith("_")]
        assert attributes
        for name in (*attributes, "other"):
            with pytest.raises(AttributeError):
                setattr(value, name, getattr(value, name, None))
            with pytest.raises(AttributeError):
                delattr(value, name)
        assert all(not isinstance(getattr(value, name), list | dict | set) for name in attributes)


@pytest.mark.parametrize("kind", [Reginfo, ReginfoRegistration, ReginfoContact])
def test_values_are_made_by_reading_only(kind: type) -> None:
    with pytest.raises(TypeError, match="parse_reginfo"):
        kind()
    with pytest.raises(TypeError):
        type("Sub", (kind,), {})


def test_values_are_equal_if_they_say_the_same() -> None:
    for value, same in zip(parts(parse_reginfo(RICH)), parts(parse_reginfo(RICH)), strict=True):
        assert value == same
        assert hash(value) == hash(same)
        assert value != "another"
        with pytest.raises(TypeError):
            pickle.dumps(value)
    assert len(set(parts(parse_reginfo(RICH)))) == len(list(parts(parse_reginfo(RICH))))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'version="0"', b'version="1"'),
        (b'state="full"', b'state="partial"'),
        (b"alice", b"bob"),
        (b'id="r1"', b'id="r2"'),
        (b'id="r1" state="active"', b'id="r1" state="init"'),
        (b'id="c1"', b'id="c2"'),
        (b'id="c1" state="active"', b'id="c1" state="terminated"'),
        (b'event="registered"', b'event="created"'),
        (b'expires="600"', b'expires="601"'),
        (b'expires="600"', b""),
        (b'callid="peer-1"', b'callid="peer-2"'),
        (b'cseq="1"', b'cseq="2"'),
        (b"sip:a@h", b"sip:b@h"),
        (b"</uri>", b"</uri><display-name/>"),
        (b"</uri>", b"</uri><unknown-param name='x'/>"),
        (b"</uri>", b"</uri><b:binding xmlns:b='urn:reginfo:xml:ns:binding' age='0'/>"),
    ],
)
def test_values_differ_if_one_says_something_else(old: bytes, new: bytes) -> None:
    octets = ONE.replace(old, new)
    assert octets != ONE
    assert parse_reginfo(octets) != parse_reginfo(ONE)


@pytest.mark.parametrize("value", list(parts(parse_reginfo(ONE))), ids=lambda value: type(value).__name__)
def test_representations_are_short(value: Reginfo | ReginfoRegistration | ReginfoContact) -> None:
    """SEC-6: no more than says which one it is."""
    assert repr(value).startswith(f"{type(value).__name__}(")
    assert "callid" not in repr(value)


def test_what_was_malformed_leaves_nothing_behind_for_the_next_document() -> None:
    """SEC-4: each is read by itself, though one parser reads all."""
    octets = REGINFO_HEAD + b"7" + reginfo_tail(Section(AOR, (PHONE,)).record, AOR, now_ms=NOW)
    whole = parse_reginfo(octets)
    for cut in range(len(octets)):
        with pytest.raises(SipParseError):
            parse_reginfo(octets[:cut])
        assert parse_reginfo(octets) == whole
    with pytest.raises(SipParseError):
        parse_reginfo(octets + b"<")
    with pytest.raises(SipParseError):
        parse_reginfo(octets + b"x")
    assert parse_reginfo(octets) == whole
