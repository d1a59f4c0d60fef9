"""Messages out (standards.md: MSG-12 to MSG-19, TRN-3, REG-12, SEC-5)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reginfo.fast import (
    Binding,
    Draft,
    Flow,
    HeaderTemplate,
    SipMessage,
    parse_message,
    salvage,
    write_headers,
    write_request,
    write_response,
)
from tests.fast.sip import register
from tests.reference import sip_writer as reference

AOR = "sip:alice@example.org"
HERE = Flow("udp", ("192.0.2.99", 5060), ("192.0.2.1", 5060))
NAT = Flow("udp", ("192.0.2.99", 5060), ("198.51.100.7", 40123))
SIX = Flow("udp", ("2001:db8::99", 5060), ("2001:db8::1", 5060))


def request(via: str, to: str = f"<{AOR}>", extra: tuple[str, ...] = ()) -> SipMessage:
    lines = [
        "OPTIONS sip:example.org SIP/2.0",
        f"Via: {via}",
        "Max-Forwards: 70",
        f"To: {to}",
        f"From: <{AOR}>;tag=a48s",
        "Call-ID: c1",
        "CSeq: 7 OPTIONS",
        *extra,
        "Content-Length: 0",
        "",
        "",
    ]
    return parse_message("\r\n".join(lines).encode())


def listing(*bindings: Binding, now_ms: int = 0) -> bytes:
    draft = Draft(AOR, None, now_ms)
    for binding in bindings:
        draft.add(binding)
    change = draft.finish("operator")
    assert change is not None
    return change.record


def value(octets: bytes, name: str) -> str:
    [found] = [value for known, value in reference.rows_of(octets) if known == name]
    return found


# -- what a response owes to its request -------------------------------------------------------------------


def test_a_response_is_written_octet_for_octet() -> None:
    """MSG-19, TRN-3, REG-12: the whole 200 to a REGISTER."""
    contact = Binding(
        uri="sip:alice@192.0.2.1:5060",
        expires_at=600_000,
        q=0.8,
        params=';+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"',
    )
    assert (
        write_response(
            register("<sip:alice@192.0.2.1:5060>"),
            200,
            to_tag="9c41d0e7",
            source=NAT,
            listing=listing(contact),
            date=b"Mon, 05 Jan 2026 10:00:00 GMT",
            headers=[("Supported", "path")],
        )
        == b"SIP/2.0 200 OK\r\n"
        b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds;rport=40123;received=198.51.100.7\r\n"
        b"To: <sip:alice@example.org>;tag=9c41d0e7\r\n"
        b"From: <sip:alice@example.org>;tag=a48s\r\n"
        b"Call-ID: c1@192.0.2.1\r\n"
        b"CSeq: 1 REGISTER\r\n"
        b"Contact: <sip:alice@192.0.2.1:5060>;expires=600;q=0.8;"
        b'+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"\r\n'
        b"Date: Mon, 05 Jan 2026 10:00:00 GMT\r\n"
        b"Supported: path\r\n"
        b"Content-Length: 0\r\n"
        b"\r\n"
    )


@pytest.mark.parametrize(
    ("via", "source", "expected"),
    [
        ("SIP/2.0/UDP 192.0.2.1;branch=b", HERE, "SIP/2.0/UDP 192.0.2.1;branch=b"),
        ("SIP/2.0/UDP 192.0.2.1:5070;branch=b", HERE, "SIP/2.0/UDP 192.0.2.1:5070;branch=b"),
        ("SIP/2.0/UDP 192.0.2.2;branch=b", HERE, "SIP/2.0/UDP 192.0.2.2;branch=b;received=192.0.2.1"),
        ("SIP/2.0/UDP a.example.org", HERE, "SIP/2.0/UDP a.example.org;received=192.0.2.1"),
        ("SIP/2.0/UDP 192.0.2.1;rport", HERE, "SIP/2.0/UDP 192.0.2.1;rport=5060;received=192.0.2.1"),
        ("SIP/2.0/UDP 192.0.2.1;RPort ;x", NAT, "SIP/2.0/UDP 192.0.2.1;rport=40123;x;received=198.51.100.7"),
        ("SIP/2.0/UDP 192.0.2.1;rport=9", HERE, "SIP/2.0/UDP 192.0.2.1;rport=9"),
        ("SIP/2.0/UDP 192.0.2.1;received=10.0.0.1;x", NAT, "SIP/2.0/UDP 192.0.2.1;x;received=198.51.100.7"),
        ("SIP/2.0/UDP [2001:DB8:0::1];branch=b", SIX, "SIP/2.0/UDP [2001:DB8:0::1];branch=b"),
        ("SIP/2.0/UDP [2001:db8::2];rport", SIX, "SIP/2.0/UDP [2001:db8::2];rport=5060;received=2001:db8::1"),
        ("SIP/2.0/UDP h , SIP/2.0/TCP b;rport", HERE, "SIP/2.0/UDP h ;received=192.0.2.1, SIP/2.0/TCP b;rport"),
        ('SIP/2.0/UDP h;x=";rport,"', HERE, 'SIP/2.0/UDP h;x=";rport,";received=192.0.2.1'),
        ("SIP / 2.0 /\r\n UDP h\r\n ;branch=b", HERE, "SIP / 2.0 / UDP h ;branch=b;received=192.0.2.1"),
    ],
)
def test_the_top_via_says_where_the_request_came_from(via: str, source: Flow, expected: str) -> None:
    """TRN-3, MSG-16: received for a name or another address, rport when asked for, and both then."""
    found = value(write_response(request(via), 200, to_tag="t", source=source), "Via")
    assert found.replace(" ;", ";").replace(" ,", ",") == expected.replace(" ;", ";").replace(" ,", ",")


def test_without_a_source_every_via_is_copied() -> None:
    """MSG-19: all of them, in order, as they are."""
    message = request("SIP/2.0/UDP a;rport", extra=("Via: SIP/2.0/TCP b, SIP/2.0/TLS c", "v: SIP/2.0/UDP d"))
    rows = reference.rows_of(write_response(message, 200, to_tag="t"))
    assert [value for name, value in rows if name == "Via"] == [
        "SIP/2.0/UDP a;rport",
        "SIP/2.0/TCP b, SIP/2.0/TLS c",
        "SIP/2.0/UDP d",
    ]


@pytest.mark.parametrize(
    ("to", "status", "expected"),
    [
        ("<sip:a@b>", 200, "<sip:a@b>;tag=t1"),
        ("<sip:a@b>", 100, "<sip:a@b>"),
        ("<sip:a@b>;tag=x", 200, "<sip:a@b>;tag=x"),
        ("sip:a@b", 404, "sip:a@b;tag=t1"),
        ("<sip:a@b;tag=y>", 200, "<sip:a@b;tag=y>;tag=t1"),
        ('"x;tag=z" <sip:a@b>;p', 200, '"x;tag=z" <sip:a@b>;p;tag=t1'),
    ],
)
def test_to_gains_a_tag_if_it_had_none(to: str, status: int, expected: str) -> None:
    """MSG-19: except in a 100; the same for requests that were only salvaged."""
    message = request("SIP/2.0/UDP h", to)
    assert value(write_response(message, status, to_tag="t1"), "To") == expected
    salvaged = salvage(message.octets)
    assert salvaged is not None
    assert value(write_response(salvaged, status, to_tag="t1"), "To") == expected


@pytest.mark.parametrize(("status", "copied"), [(100, True), (200, False)])
def test_a_timestamp_is_copied_into_100_only(status: int, copied: bool) -> None:
    """MSG-19."""
    octets = write_response(request("SIP/2.0/UDP h", extra=("Timestamp: 54",)), status, to_tag="t")
    assert (b"Timestamp: 54\r\n" in octets) == copied


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (100, b"SIP/2.0 100 Trying"),
        (200, b"SIP/2.0 200 OK"),
        (423, b"SIP/2.0 423 Interval Too Brief"),
        (489, b"SIP/2.0 489 Bad Event"),
        (499, b"SIP/2.0 499 Bad Request"),
        (599, b"SIP/2.0 599 Server Internal Error"),
        (699, b"SIP/2.0 699 Busy Everywhere"),
    ],
)
def test_a_status_has_its_phrase_or_that_of_its_class(status: int, line: bytes) -> None:
    """TX-10, MSG-2."""
    assert write_response(request("SIP/2.0/UDP h"), status, to_tag="t").startswith(line + b"\r\n")


def test_a_reason_replaces_the_phrase_and_may_be_empty() -> None:
    """MSG-2: any UTF-8, also none."""
    message = request("SIP/2.0/UDP h")
    assert write_response(message, 403, "Zu viele Geräte").startswith("SIP/2.0 403 Zu viele Geräte\r\n".encode())
    assert write_response(message, 403, "").startswith(b"SIP/2.0 403 \r\n")


@pytest.mark.parametrize("status", [-1, 0, 99, 700])
def test_a_status_is_between_100_and_699(status: int) -> None:
    """MSG-2."""
    with pytest.raises(ValueError, match="status"):
        write_response(request("SIP/2.0/UDP h"), status)


def test_only_requests_are_answered() -> None:
    response = parse_message(write_response(request("SIP/2.0/UDP h"), 200, to_tag="t"))
    with pytest.raises(ValueError, match="answers a request"):
        write_response(response, 200)


# -- requests that could not be parsed ---------------------------------------------------------------------


def test_a_malformed_request_is_answered_with_what_is_there() -> None:
    """MSG-7, MSG-9, TRN-3: one of each single header, and received and rport all the same."""
    message = salvage(
        b"REGISTER sip:example.org SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP host;rport;branch=z9hG4bK1, SIP/2.0/UDP other\r\n"
        b"To: <sip:a@b>\r\nTo: <sip:c@d>\r\nCall-ID: one\r\nCall-ID: two\r\nCSeq: x\r\n\r\n"
    )
    assert message is not None
    assert write_response(message, 400, to_tag="t", source=NAT) == (
        b"SIP/2.0 400 Bad Request\r\n"
        b"Via: SIP/2.0/UDP host;rport=40123;branch=z9hG4bK1;received=198.51.100.7, SIP/2.0/UDP other\r\n"
        b"To: <sip:a@b>;tag=t\r\n"
        b"Call-ID: one\r\n"
        b"CSeq: x\r\n"
        b"Content-Length: 0\r\n\r\n"
    )


header_octets = st.text(st.sampled_from('ab:;,<>"\\ =\t\r\n\0@[]%é'), max_size=40).map(str.encode)


@given(st.lists(header_octets, min_size=5, max_size=5), st.booleans())
def test_whatever_is_salvaged_is_answered_in_lines(values: list[bytes], folded: bool) -> None:
    """SEC-5: no value of a malformed request becomes a header of its answer."""
    names = (b"Via", b"From", b"To", b"Call-ID", b"CSeq")
    fold = b"\r\n " if folded else b""
    rows = b"".join(name + b": " + fold + value + b"\r\n" for name, value in zip(names, values, strict=True))
    message = salvage(b"OPTIONS sip:h SIP/2.0\r\n" + rows + b"\r\n")
    if message is None:
        return
    octets = write_response(message, 400, to_tag="t", source=NAT)
    head = octets.removesuffix(b"\r\n\r\n")
    for line in head.split(b"\r\n")[1:]:
        assert line.partition(b":")[0] in (*names, b"Content-Length")
        assert not set(line) & set(b"\r\n")


# -- listing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("q", "written"),
    [
        (None, ""),
        (1.0, ";q=1"),
        (0.0, ";q=0"),
        (0.5, ";q=0.5"),
        (0.25, ";q=0.25"),
        (0.125, ";q=0.125"),
        (0.05, ";q=0.05"),
        (0.005, ";q=0.005"),
        (0.105, ";q=0.105"),
        (0.999, ";q=0.999"),
    ],
)
def test_q_is_listed_as_registered(q: float | None, written: str) -> None:
    """REG-12, REG-14, MSG-15: nothing is invented when there was none."""
    record = listing(Binding(uri="sip:a@h", expires_at=1000, q=q))
    octets = write_response(request("SIP/2.0/UDP h"), 200, listing=record)
    assert value(octets, "Contact") == f"<sip:a@h>;expires=1{written}"


@pytest.mark.parametrize(("now_ms", "left"), [(0, "61"), (1, "60"), (59_999, "1"), (60_000, "1"), (60_001, None)])
def test_live_contacts_are_listed_with_the_seconds_left(now_ms: int, left: str | None) -> None:
    """REG-12, REG-17: rounded up, never 0, and not listed when their time is over."""
    record = listing(Binding(uri="sip:a@h", expires_at=60_001))
    octets = write_response(request("SIP/2.0/UDP h"), 200, listing=record, now_ms=now_ms)
    contacts = [value for name, value in reference.rows_of(octets) if name == "Contact"]
    assert contacts == ([] if left is None else [f"<sip:a@h>;expires={left}"])


def test_contacts_are_listed_as_they_were_registered_but_published_ones() -> None:
    """REG-12: URI parameters stay in the URI, header parameters outside, in the order of registration."""
    record = listing(
        Binding(uri="sip:a@h;x=1?Route=%3Csip:r%3E", expires_at=2000, params=';y="a;b"', display_name='A "q"'),
        Binding(uri="sip:p@h", expires_at=2000, origin="peer:a"),
        Binding(uri="sip:e@h", expires_at=2000, origin="publication:a.1"),
        Binding(uri="tel:+15551234", expires_at=3000),
        Binding(uri="sip:far@h", expires_at=2**62),
    )
    octets = write_response(request("SIP/2.0/UDP h"), 200, to_tag="t", listing=record)
    rows = reference.rows_of(octets)
    assert [value for name, value in rows if name == "Contact"] == [
        '"A \\"q\\"" <sip:a@h;x=1?Route=%3Csip:r%3E>;expires=2;y="a;b"',
        "<sip:p@h>;expires=2",
        "<tel:+15551234>;expires=3",
        "<sip:far@h>;expires=4294967295",
    ]
    contacts = parse_message(octets).contacts
    assert [contact.expires for contact in contacts] == [2, 2, 3, 2**32 - 1]


def learned(*bindings: Binding, hidden: str | None = None) -> bytes:
    """Return a record of what was learned, one contact of it removed here afterwards."""
    draft = Draft("sip:a@example.com", None, 0)
    for binding in bindings:
        draft.learn(binding) if binding.origin else draft.add(binding)
    draft.finish("notify")
    if hidden:
        assert draft.remove(hidden, "deactivated")
        draft.finish("operator")
    assert draft.record is not None
    return draft.record


@pytest.mark.parametrize(
    ("bindings", "hidden", "listed"),
    [
        ([("sip:a@h", "peer:x", 2000, 10), ("sip:a@H", "peer:y", 3000, 20)], None, ["<sip:a@H>;expires=3"]),
        ([("sip:a@h", "peer:x", 2000, 20), ("sip:a@H", "peer:y", 3000, 20)], None, ["<sip:a@h>;expires=2"]),
        ([("sip:a@h", "peer:x", 2000, 10), ("sip:a@H", "", 3000, 5)], None, ["<sip:a@H>;expires=3"]),
        ([("sip:a@h", "peer:x", 2000, 10), ("sip:b@h", "peer:x", 3000, 5)], "sip:a@h", ["<sip:b@h>;expires=3"]),
        ([("sip:a@h", "peer:x", 2000, 10), ("sip:a@h", "", 1, 5)], None, ["<sip:a@h>;expires=2"]),
    ],
)
def test_a_contact_is_listed_once_by_the_row_that_speaks_for_it(
    bindings: list[tuple[str, str, int, int]], hidden: str | None, listed: list[str]
) -> None:
    """REG-12: local, then the newest peer; not what was removed here, nor what has run out."""
    record = learned(
        *(Binding(uri=uri, origin=origin, expires_at=at, updated_at=up) for uri, origin, at, up in bindings),
        hidden=hidden,
    )
    octets = write_response(request("SIP/2.0/UDP h"), 200, listing=record, now_ms=1)
    assert [value for name, value in reference.rows_of(octets) if name == "Contact"] == listed


@given(st.binary(max_size=200))
def test_a_corrupt_record_is_not_listed(octets: bytes) -> None:
    with pytest.raises(ValueError, match="corrupt record"):
        write_response(request("SIP/2.0/UDP h"), 200, listing=octets)


def test_more_contacts_than_fit_a_small_buffer_are_listed() -> None:
    """The writer grows as it must."""
    bindings = [Binding(uri=f"sip:u{i}@host{i}.example.org;transport=tcp", expires_at=9000) for i in range(500)]
    octets = write_response(request("SIP/2.0/UDP h"), 200, to_tag="t", listing=listing(*bindings))
    assert octets.count(b"\r\nContact: ") == 500
    assert octets.endswith(b"Content-Length: 0\r\n\r\n")


# -- what callers give -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\0b", "a\r\nX: y"])
@pytest.mark.parametrize("place", ["reason", "to_tag", "value", "name", "date"])
def test_a_value_that_could_end_a_line_is_refused(bad: str, place: str) -> None:
    """SEC-5: header injection is an error of the caller, wherever it tries."""
    arguments: dict[str, dict[str, Any]] = {
        "reason": {"reason": bad},
        "to_tag": {"to_tag": bad},
        "value": {"headers": [("X", bad)]},
        "name": {"headers": [(bad, "x")]},
        "date": {"date": bad.encode()},
    }
    with pytest.raises(ValueError, match=r"CR, LF or NUL|not a token"):
        write_response(request("SIP/2.0/UDP h"), 200, **arguments[place])


@pytest.mark.parametrize("name", ["", "a b", "a:", "é", "Content-Length", "content-length"])
def test_a_header_name_is_a_token_and_never_content_length(name: str) -> None:
    """MSG-4, TRN-8: there is one Content-Length, and it is right."""
    with pytest.raises(ValueError, match=r"not a token|Content-Length"):
        write_response(request("SIP/2.0/UDP h"), 200, headers=[(name, "x")])
    with pytest.raises(ValueError, match=r"not a token|Content-Length"):
        write_request("OPTIONS", "sip:h", [(name, "x")])


def test_text_that_is_not_unicode_is_refused() -> None:
    """MSG-1: UTF-8 out."""
    with pytest.raises(UnicodeEncodeError):
        write_response(request("SIP/2.0/UDP h"), 200, headers=[("X", "\ud800")])


HEADERS = [
    ("Via", "SIP/2.0/UDP 192.0.2.99;branch=z9hG4bK1"),
    ("Max-Forwards", "70"),
    ("To", "<sip:b@h>"),
    ("From", "<sip:a@h>;tag=1"),
    ("Call-ID", "c"),
    ("CSeq", "1 NOTIFY"),
    ("Content-Type", "application/reginfo+xml"),
]


def test_a_request_is_written_from_its_parts() -> None:
    """MSG-1, MSG-2: in the order given, body counted."""
    octets = write_request("NOTIFY", "sip:b@h;transport=tcp", HEADERS, b"<reginfo/>\n\0")
    assert octets == (
        b"NOTIFY sip:b@h;transport=tcp SIP/2.0\r\n"
        + b"".join(f"{name}: {value}\r\n".encode() for name, value in HEADERS)
        + b"Content-Length: 12\r\n\r\n<reginfo/>\n\0"
    )
    assert parse_message(octets).body == b"<reginfo/>\n\0"


@pytest.mark.parametrize("method", ["", "A B", "A\r\n", "REGISTER\0", "é"])
def test_a_method_is_a_token(method: str) -> None:
    """MSG-3."""
    with pytest.raises(ValueError, match="method"):
        write_request(method, "sip:h", [])


@pytest.mark.parametrize("uri", ["", "sip:a b", "sip:a\r\nX: y", "sip:a\0", "sip:\t", "sip:\x7f"])
def test_a_request_uri_is_one_word(uri: str) -> None:
    """MSG-2."""
    with pytest.raises(ValueError, match="uri"):
        write_request("OPTIONS", uri, [])


# -- against the reference ---------------------------------------------------------------------------------

hosts = st.sampled_from(("192.0.2.1", "198.51.100.7", "h.example.org", "[2001:db8::1]", "[2001:DB8:0:0::1]"))
via_params = st.lists(
    st.sampled_from(("rport", "RPORT", "branch=z9hG4bK1", "received=10.0.0.1", "ttl=3", 'x="a;b,\\"c"', "maddr=h")),
    max_size=4,
    unique_by=lambda param: param.partition("=")[0].lower(),
)
vias = st.builds(
    lambda host, port, params: ";".join([f"SIP/2.0/UDP {host}{port}", *params]),
    hosts,
    st.sampled_from(("", ":5060", ":5062")),
    via_params,
)
addresses = st.sampled_from(
    (
        "<sip:a@b>",
        "sip:a@b",
        "<sip:a@b;tag=1>;x=y",
        '"A;tag=1 \\" é" <sip:a@b>',
        "A B <sip:a@b>;tag=77",
        "<sip:a@b>;p;TAG=q",
    )
)


@given(
    st.lists(st.lists(vias, min_size=1, max_size=3), min_size=1, max_size=3),
    addresses,
    st.sampled_from((HERE, NAT, SIX)),
    st.sampled_from((100, 200, 404)),
    st.lists(
        st.tuples(st.sampled_from(("Allow", "X-Y")), st.text(st.characters(codec="utf-8", exclude_categories=["C"])))
    ),
    st.binary(max_size=20),
    st.permutations(range(5)),
)
def test_a_response_equals_the_reference_and_parses(
    via_rows: list[list[str]],
    to: str,
    source: Flow,
    status: int,
    headers: list[tuple[str, str]],
    body: bytes,
    order: list[int],
) -> None:
    """MSG-19, TRN-3: the same Via, From, Call-ID and CSeq, whatever their order and form."""
    if body:
        headers = [*headers, ("Content-Type", "text/plain")]
    rows = [
        "\r\n".join(f"{'v' if i % 2 else 'Via'}: {', '.join(values)}" for i, values in enumerate(via_rows)),
        f"t: {to}",
        "From: <sip:x@y>;tag=f",
        "i: c1@h",
        "CSeq: 0009 OPTIONS",
    ]
    octets = ("OPTIONS sip:h SIP/2.0\r\n" + "\r\n".join(rows[i] for i in order) + "\r\n\r\n").encode()
    message = parse_message(octets)
    written = write_response(message, status, "Why", to_tag="t9", source=source, headers=headers, body=body)
    assert written == reference.response(
        octets,
        f"SIP/2.0 {status} Why",
        to_tag="t9",
        source=(source.host, source.port),
        headers=headers,
        body=body,
    )
    back = parse_message(written)
    assert (back.status, back.call_id, back.cseq, back.cseq_method) == (status, "c1@h", 9, "OPTIONS")
    assert back.from_.tag == "f"
    assert len(back.vias) == len(message.vias)
    assert [via.branch for via in back.vias] == [via.branch for via in message.vias]
    assert back.body == body


# -- rows that differ in a few values ----------------------------------------------------------------------

TEMPLATE = HeaderTemplate([("From", "<{}>;tag={}"), ("Event", "reg"), ("Expires", "{}")])


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=3, max_size=3))
def test_a_template_gives_what_its_rows_with_the_values_give(values: list[str]) -> None:
    """MSG-19, SEC-5: and no value becomes a header."""
    aor, tag, expires = values
    rows = [("From", f"<{aor}>;tag={tag}"), ("Event", "reg"), ("Expires", expires)]
    if any(set(value) & set("\r\n\0") for value in values):
        with pytest.raises(ValueError, match="header value"):
            TEMPLATE.fill(*values)
    else:
        assert TEMPLATE.fill(*values) == write_headers(rows)


def test_a_template_wants_as_many_values_as_it_has_places_for() -> None:
    for values in ([], ["a", "b"], ["a", "b", "c", "d"]):
        with pytest.raises(ValueError, match="3 values"):
            TEMPLATE.fill(*values)
    with pytest.raises(ValueError, match="CR, LF or NUL"):
        HeaderTemplate([("To", "a\r\nb")])
