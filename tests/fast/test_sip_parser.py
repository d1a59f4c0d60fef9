"""Messages: one table per rule (MSG-1 to MSG-19, TRN-7, REG-6, REG-8, REG-14, SEC-5)."""

import contextlib
import gc
import os
import resource

import pytest

from reginfo.fast import SipParseError, parse_message, salvage

START = "REGISTER sip:example.org SIP/2.0"
ROWS = {
    "Via": "SIP/2.0/UDP 10.0.0.5:5060;rport;branch=z9hG4bKr2",
    "Max-Forwards": "70",
    "From": "<sip:alice@example.org>;tag=f1a2",
    "To": "<sip:alice@example.org>",
    "Call-ID": "reg-77@10.0.0.5",
    "CSeq": "2 REGISTER",
    "Content-Length": "0",
}
RESPONSE = {
    "Via": "SIP/2.0/UDP 10.0.0.5;branch=z9hG4bKr2;received=192.0.2.9",
    "From": "<sip:alice@example.org>;tag=f1a2",
    "To": "<sip:alice@example.org>;tag=9c41d0e7",
    "Call-ID": "reg-77@10.0.0.5",
    "CSeq": "1 REGISTER",
}


def octets(*extra: str, start: str = START, body: bytes = b"", **rows: str | None) -> bytes:
    """A REGISTER with rows replaced (None: left out), named with `_` for `-`, and extra lines."""
    lines = dict(ROWS)
    for name, value in rows.items():
        name = name.replace("_", "-")
        if value is None:
            del lines[name]
        else:
            lines[name] = value
    text = [start, *(f"{name}: {value}" for name, value in lines.items()), *extra, "", ""]
    return "\r\n".join(text).encode() + body


def response(status_line: str, **rows: str) -> bytes:
    lines = {**RESPONSE, **{name.replace("_", "-"): value for name, value in rows.items()}}
    return "\r\n".join([status_line, *(f"{name}: {value}" for name, value in lines.items()), "", ""]).encode()


def refusal(data: bytes, *, stream: bool = False) -> SipParseError:
    with pytest.raises(SipParseError) as caught:
        parse_message(data, stream=stream)
    assert 0 <= caught.value.offset <= len(data)
    return caught.value


# Start line


def test_request_line() -> None:
    """MSG-2"""
    message = parse_message(octets(start="REGISTER sips:Example.ORG:5070;x=y sip/2.0"))
    assert message.is_request
    assert message.method == "REGISTER"
    assert message.request_uri == "sips:Example.ORG:5070;x=y"
    assert (message.request_scheme, message.request_host, message.request_port) == ("sips", "example.org", 5070)
    assert message.version == "SIP/2.0"
    assert (message.status, message.reason) == (0, "")


@pytest.mark.parametrize(
    "start",
    [
        "REGISTER  sip:example.org SIP/2.0",
        "REGISTER sip:example.org  SIP/2.0",
        "REGISTER sip:example.org SIP/2.0 ",
        "REGISTER sip:example.org; lr SIP/2.0",
        "REGISTER <sip:example.org> SIP/2.0",
        "REGISTER sip:example.org?Route=%3Csip:x%3E SIP/2.0",
        "REGISTER sip:2001:db8::10 SIP/2.0",
        "REGISTER sip:example.org",
        "REGISTER sip:example.org SIP/2",
        "REGISTER sip:example.org HTTP/1.1",
        "REGISTER sip:example.org SIP/2.0\r\n folded",
        "REGISTER example.org SIP/2.0",
    ],
)
def test_malformed_request_line_is_400(start: str) -> None:
    """MSG-2"""
    assert refusal(octets(start=start)).status == 400


@pytest.mark.parametrize(
    "data", [b"", b"\r\n\r\n", b" \r\n", b"\0" * 9, b"REGISTER", b"\x00\x01\r\n\r\n", b": x\r\n\r\n"]
)
def test_what_has_no_start_line_is_dropped(data: bytes) -> None:
    """TRN-15, MSG-2"""
    assert refusal(data).status is None
    assert salvage(data) is None


def test_other_version_is_505() -> None:
    """MSG-2"""
    assert refusal(octets(start="REGISTER sip:h SIP/7.0")).status == 505


def test_other_scheme_is_left_to_the_engine() -> None:
    """MSG-2: it is owed a 416, after the checks that come first."""
    message = parse_message(octets(start="REGISTER soap.beep://192.0.2.103:3002 SIP/2.0"))
    assert (message.request_scheme, message.request_host, message.request_port) == ("soap.beep", "", None)


def test_method_is_a_case_sensitive_token() -> None:
    """MSG-3"""
    for method in ("register", "RE%47ISTER", "!odd-Method_*+`.%'~"):
        assert parse_message(octets(start=f"{method} sip:h SIP/2.0", CSeq=f"1 {method}")).method == method


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        ("SIP/2.0 200 OK", 200, "OK"),
        ("SIP/2.0 100 ", 100, ""),
        ("SIP/2.0 404", 404, ""),
        ("sip/2.0 699 = 2**3 * 19**2 но", 699, "= 2**3 * 19**2 но"),
    ],
)
def test_status_line(line: str, status: int, reason: str) -> None:
    """MSG-2"""
    message = parse_message(response(line))
    assert not message.is_request
    assert (message.status, message.reason) == (status, reason)
    assert (message.method, message.cseq_method, message.request_uri) == ("REGISTER", "REGISTER", "")


@pytest.mark.parametrize(
    "line",
    ["SIP/2.0 099 x", "SIP/2.0 700 x", "SIP/2.0 20 OK", "SIP/2.0 4294967301 x", "SIP/2.0 2OO OK", "SIP/2.0  200 OK"],
)
def test_malformed_status_line_is_dropped(line: str) -> None:
    """MSG-2"""
    assert refusal(response(line)).status is None


def test_malformed_response_and_ack_are_dropped() -> None:
    """MSG-2, AUT-1: nothing is ever sent for them."""
    assert refusal(response("SIP/2.0 200 OK", CSeq="9292394834772304023312 OPTIONS")).status is None
    assert refusal(octets(start="ACK sip:h SIP/2.0", CSeq="1 ACK", Via="x")).status is None


# Rows


def test_compact_and_long_names_in_any_case() -> None:
    """MSG-4, MSG-5"""
    data = (
        b"REGISTER sip:h SIP/2.0\r\nv: SIP/2.0/UDP h\r\nF: <sip:a@h>\r\nt: <sip:b@h>\r\ni: 1\r\ncSEQ: 1 REGISTER\r\n"
        b"M: <sip:c@h>\r\nk: path\r\nS: hi\r\no: reg\r\nu: reg, presence\r\nc: text/plain\r\ne: gzip\r\nL: 0\r\n\r\n"
    )
    message = parse_message(data)
    assert message.top_via.host == "h"
    assert message.from_.uri == "sip:a@h"
    assert message.to.uri == "sip:b@h"
    assert message.call_id == "1"
    assert message.contacts[0].uri == "sip:c@h"
    assert message.supported == ["path"]
    assert message.header("subject") == message.header("S") == "hi"
    assert message.event is not None
    assert message.event.package == "reg"
    assert message.allow_events == ["reg", "presence"]
    assert message.content_type == "text/plain"
    assert message.header("Content-Encoding") == "gzip"


def test_blanks_before_the_colon_name_the_same_header() -> None:
    """MSG-4: no policy check can be passed by with a blank."""
    message = parse_message(octets("X-Bypass \t: lol", Call_ID=None).replace(b"To: ", b"Call-ID  : q@h\r\nTo\t: "))
    assert message.header("X-Bypass") == "lol"
    assert message.call_id == "q@h"


def test_fold_is_one_space() -> None:
    """MSG-4"""
    message = parse_message(
        octets("Subject: a  b \r\n\t \r\n  c\r\n ", "X:", "Y:\r\n y", To="\r\n <sip:b@h>\r\n ;\r\n tag\r\n = 5")
    )
    assert message.header("Subject") == "a  b c"
    assert message.header("X") == ""
    assert message.header("Y") == "y"
    assert message.to.tag == "5"
    assert ("To", "<sip:b@h> ; tag = 5") in message.rows()


@pytest.mark.parametrize(
    "row",
    ["no colon", ": no name", "na me: x", "na(me: x", "X: bare\rcr", "X: bare\nlf", "X: end\r", "é: x", "X: a\r\r\n b"],
)
def test_malformed_row_is_400(row: str) -> None:
    """MSG-1, MSG-4"""
    assert refusal(octets(row)).status == 400


def test_missing_empty_line_is_400() -> None:
    """MSG-1"""
    assert refusal(octets()[:-2]).status == 400


def test_list_headers_in_any_mix_of_rows() -> None:
    """MSG-6"""
    message = parse_message(
        octets(
            "Require: a, b",
            "Supported: x",
            "Require: c",
            "Supported:",
            "Supported: y,z",
            'Route: "a, b" <sip:p1;lr>, <sip:p2,x@h;lr>',
            "Route: <sip:p3>",
        )
    )
    assert message.require == ["a", "b", "c"]
    assert message.has_require
    assert message.supported == message.headers("k") == ["x", "y", "z"]
    assert [route.uri for route in message.routes] == ["sip:p1;lr", "sip:p2,x@h;lr", "sip:p3"]
    assert message.headers("route") == ['"a, b" <sip:p1;lr>', "<sip:p2,x@h;lr>", "<sip:p3>"]
    assert message.proxy_require == message.path == message.record_routes == message.service_route == []


def test_rows_of_other_headers_are_not_split() -> None:
    """MSG-6"""
    message = parse_message(octets("Subject: a, b", "X-Y: 1, 2", "x-y: 3"))
    assert message.headers("Subject") == ["a, b"]
    assert message.headers("X-y") == ["1, 2", "3"]
    assert message.headers("absent") == []
    assert message.header("absent") is message.header("not a name") is None


@pytest.mark.parametrize(
    "row",
    [
        "To: <sip:b@h>",
        "f: <sip:b@h>",
        "i: 2",
        "CSeq: 2 REGISTER",
        "Max-Forwards: 70",
        "l: 0",
    ],
)
def test_single_value_header_given_twice_is_400(row: str) -> None:
    """MSG-7"""
    assert refusal(octets(row)).status == 400


@pytest.mark.parametrize(
    "row",
    [
        "Expires: 1",
        "Min-Expires: 1",
        "Event: reg",
        "Subscription-State: active",
        "SIP-ETag: 1",
        "SIP-If-Match: 1",
        "Date: x",
        "Content-Type: text/plain",
    ],
)
def test_optional_single_value_header_given_twice_is_400(row: str) -> None:
    """MSG-7"""
    parse_message(octets(row))
    assert refusal(octets(row, row)).status == 400


def test_malformed_headers_nobody_needs_are_ignored() -> None:
    """MSG-8, MSG-15"""
    message = parse_message(
        octets("Date: Fri, 01 Jan 2010 16:00:00 EST", "X-Odd: ;;,,;;,;", 'Warning: "', "User-Agent: \\")
    )
    assert message.user_agent == "\\"


def test_header_that_is_not_utf8_matters_only_where_it_is_read() -> None:
    """MSG-1"""
    message = parse_message(octets("User-Agent: ?", "Subject: ?").replace(b"?", b"\xff"))
    assert message.user_agent is None
    with pytest.raises(SipParseError):
        message.header("Subject")


@pytest.mark.parametrize("name", ["To", "From", "Call-ID", "CSeq", "Via"])
def test_missing_mandatory_header_is_400(name: str) -> None:
    """MSG-9"""
    rows = octets().split(b"\r\n")
    without = b"\r\n".join(row for row in rows if not row.startswith(name.encode() + b":"))
    error = refusal(without)
    assert error.status == 400
    assert error.reason == f"{name}: missing"


def test_rfc_2543_peer_is_accepted() -> None:
    """MSG-9"""
    message = parse_message(
        octets(Max_Forwards=None, Content_Length=None, Via="SIP/2.0/UDP h", From="sip:a@h;user=phone")
    )
    assert message.max_forwards is None
    assert message.from_.tag is None
    assert message.top_via.branch is None


# CSeq, Max-Forwards, Call-ID


@pytest.mark.parametrize(
    ("value", "number"), [("0 REGISTER", 0), ("0009\r\n  REGISTER", 9), ("4294967295\tREGISTER", 2**32 - 1)]
)
def test_cseq(value: str, number: int) -> None:
    """MSG-10"""
    message = parse_message(octets(CSeq=value))
    assert (message.cseq, message.cseq_method) == (number, "REGISTER")


@pytest.mark.parametrize(
    "value",
    [
        "4294967296 REGISTER",
        "36893488147419103232 REGISTER",
        "REGISTER",
        "1",
        "1REGISTER",
        "-1 REGISTER",
        "1 REGISTER x",
        "",
        "1 OPTIONS",
        "1 register",
    ],
)
def test_malformed_cseq_is_400(value: str) -> None:
    """MSG-10"""
    assert refusal(octets(CSeq=value)).status == 400


def test_cseq_of_an_unknown_method_is_501() -> None:
    """MSG-10"""
    assert refusal(octets(start="NEWMETHOD sip:h SIP/2.0", CSeq="1 INVITE")).status == 501


@pytest.mark.parametrize(("value", "number"), [("0", 0), ("0068", 68), ("255", 255)])
def test_max_forwards(value: str, number: int) -> None:
    """MSG-10"""
    assert parse_message(octets(Max_Forwards=value)).max_forwards == number


@pytest.mark.parametrize("value", ["256", "300", "-1", "x", "", "7 0", "9" * 40])
def test_malformed_max_forwards_is_400(value: str) -> None:
    """MSG-10"""
    assert refusal(octets(Max_Forwards=value)).status == 400


@pytest.mark.parametrize("value", ["a", "a@b", "w%ZK-!.*_+'@w`~)(><:\\/\"][?}{", "x" * 256])
def test_call_id_is_kept_as_it_is(value: str) -> None:
    """MSG-3, MSG-11"""
    assert parse_message(octets(Call_ID=value)).call_id == value


@pytest.mark.parametrize("value", ["", "@b", "a@", "a@b@c", "a b", "a;b", "é", "x" * 257])
def test_malformed_call_id_is_400(value: str) -> None:
    """MSG-3, SEC-5"""
    assert refusal(octets(Call_ID=value)).status == 400


# Addresses


@pytest.mark.parametrize(
    ("value", "display", "uri", "tag"),
    [
        ("sip:a@h", None, "sip:a@h", None),
        ("sip:a@h;tag=1", None, "sip:a@h", "1"),
        ("<sip:a@h;tag=1>", None, "sip:a@h;tag=1", None),
        ("caller<sip:a@h>;TAG=x", "caller", "sip:a@h", "x"),
        ("T. Watson <sip:a@h>", "T. Watson", "sip:a@h", None),
        ('"Bell, A. \\"B\\" \\\\" <sip:a@h> ; tag = 1', 'Bell, A. "B" \\', "sip:a@h", "1"),
        ('"%Z%45"<sip:a@h>', "%Z%45", "sip:a@h", None),
        ('"" <sip:a@h>', "", "sip:a@h", None),
        ('"NUL:\\\0 Jürgen" <sip:a@h>', "NUL:\0 Jürgen", "sip:a@h", None),
        ('"a\r\n b" <sip:a@h>', "a b", "sip:a@h", None),
        ('<urn:x:y>;x="a;b,c>";tag=1', None, "urn:x:y", "1"),
        ("<sip:a@h>;x=[2001:db8::1];lr", None, "sip:a@h", None),
    ],
)
def test_name_addr(value: str, display: str | None, uri: str, tag: str | None) -> None:
    """MSG-13, MSG-14, MSG-3"""
    for address in (parse_message(octets(From=value)).from_, parse_message(octets(To=value)).to):
        assert (address.display_name, address.uri, address.tag) == (display, uri, tag)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sip:a@h?x=1",
        "sip:a@h,sip:b@h",
        "<sip:a@h",
        "<sip:a@h>>",
        "< sip:a@h>",
        "<sip:a@h >",
        "<sip:a @h>",
        "Bell, A. <sip:a@h>",
        '"a <sip:a@h>',
        '"a\\" <sip:a@h>',
        '"a" b <sip:a@h>',
        "a;b <sip:a@h>",
        "é <sip:a@h>",
        "<sip:a@h>;",
        "<sip:a@h>;;tag=1",
        "<sip:a@h>;tag=",
        "<sip:a@h>;tag",
        '<sip:a@h>;tag="x"',
        "<sip:a@h>;tag=1;TAG=1",
        '<sip:a@h>;x="',
        '<sip:a@h>;x="\\',
        "<sip:a@h>;x=a b",
        "<sip:a@h> x",
        "<urn:>",
        "<>",
        '"\x1b[2J" <sip:a@h>',
        '"\0" <sip:a@h>',
    ],
)
def test_malformed_address_is_400(value: str) -> None:
    """MSG-8, MSG-13, MSG-14"""
    assert refusal(octets(From=value)).status == 400
    assert refusal(octets(To=value)).status == 400
    if "tag" not in value and value != "sip:a@h,sip:b@h":
        assert refusal(octets(f"Contact: {value}")).status == 400


def test_quoted_strings_are_utf8() -> None:
    """MSG-1"""
    for bad in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xc3"):
        assert refusal(octets(To='"?" <sip:a@h>').replace(b"?", bad)).status == 400
    for good in ("é", "€", "😀", "\ud7ff", "\uffff"):
        assert parse_message(octets(To=f'"{good}" <sip:a@h>')).to.display_name == good


@pytest.mark.parametrize("value", ["<tel:+1>", "isbn:2983792873"])
def test_aor_needs_a_sip_uri(value: str) -> None:
    """REG-4"""
    message = parse_message(octets(To=value))
    with pytest.raises(SipParseError) as caught:
        assert message.aor
    assert caught.value.status == 400


def test_aor_is_that_of_to() -> None:
    """URI-7"""
    assert parse_message(octets(To="<sips:%61@Example.ORG:5070;x=y>;tag=1")).aor == "sip:a@example.org:5070"


def test_malformed_route_is_400_where_it_is_read() -> None:
    """MSG-8"""
    message = parse_message(octets("Path: <sip:p;lr>, nonsense", "Record-Route: <sip:r;lr>", "Service-Route:"))
    assert [route.uri for route in message.record_routes] == ["sip:r;lr"]
    for name in ("path", "service_route"):
        with pytest.raises(SipParseError):
            getattr(message, name)


# Via


def test_via_with_everything() -> None:
    """MSG-16"""
    via = parse_message(
        octets(
            Via="SIP  /  2.0\r\n / UDP  h.example : 5070 ;branch=\r\n z9hG4bK1"
            ";received=[2001:db8::9:255];rport=40123;maddr=224.2.0.1;ttl=16;x"
        )
    ).top_via
    assert (via.transport, via.host, via.port, via.branch) == ("UDP", "h.example", 5070, "z9hG4bK1")
    assert (via.received, via.rport, via.maddr, via.ttl) == ("[2001:db8::9:255]", 40123, "224.2.0.1", 16)
    assert via.parameters[-1] == ("x", None)


def test_via_without_anything() -> None:
    """MSG-16"""
    via = parse_message(octets(Via="SIP/2.0/UNKNOWN [2001:db8::9:1]")).top_via
    assert (via.transport, via.host, via.port, via.branch) == ("UNKNOWN", "[2001:db8::9:1]", None, None)
    assert (via.received, via.rport, via.maddr, via.ttl, via.parameters) == (None, None, None, None, ())


def test_valueless_rport_is_zero() -> None:
    """TRN-3"""
    assert parse_message(octets(Via="SIP/2.0/UDP h;rport")).top_via.rport == 0


def test_received_may_be_ipv6_without_brackets() -> None:
    """MSG-16"""
    assert parse_message(octets(Via="SIP/2.0/UDP [::1];received=2001:db8::9:255")).top_via.received == "2001:db8::9:255"


def test_vias_keep_their_order_over_rows() -> None:
    """MSG-6"""
    message = parse_message(octets("v: SIP/2.0/TCP c", Via='SIP/2.0/UDP a , SIP/2.0/TLS b;x="1,2"'))
    assert [(via.transport, via.host) for via in message.vias] == [("UDP", "a"), ("TLS", "b"), ("TCP", "c")]
    assert message.via_count == 3
    assert message.top_via.host == "a"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "SIP/2.0/",
        "SIP/2.0/UDP",
        "SIP/2.0/UDP ",
        "SIP/2.0 h",
        "SIP/2.0/UDP h:",
        "SIP/2.0/UDP h:0",
        "SIP/2.0/UDP h:65536",
        "SIP/2.0/UDP h;",
        "SIP/2.0/UDP h;;,;,,",
        "SIP/2.0/UDP h,",
        "SIP/2.0/UDP h;branch=",
        "SIP/2.0/UDP h;branch",
        'SIP/2.0/UDP h;branch="x"',
        "SIP/2.0/UDP h;rport=x",
        "SIP/2.0/UDP h;rport=65536",
        "SIP/2.0/UDP h;ttl=256",
        "SIP/2.0/UDP h;ttl",
        "SIP/2.0/UDP h;branch=1;branch=2",
        "SIP/2.0/UDP h x",
        "SIP/2.0/UDP 1.2.3.256",
        "SIP/2.0/UDP [::1",
    ],
)
def test_malformed_via_is_400(value: str) -> None:
    """MSG-8, MSG-16, MSG-17"""
    assert refusal(octets(Via=value)).status == 400
    assert refusal(octets(f"Via: {value}")).status == 400


# Contact


def test_contact_with_everything() -> None:
    """REG-12, OUT-3: every other parameter is kept as written."""
    message = parse_message(
        octets(
            'm: "A, B" <sip:a@h;x=y?z=1>;q=0.7;expires=60;+sip.instance="<urn:uuid:1-2>"'
            ';reg-id=3;audio;Methods="INVITE, ACK"'
        )
    )
    [contact] = message.contacts
    assert (contact.display_name, contact.uri) == ("A, B", "sip:a@h;x=y?z=1")
    assert (contact.q, contact.expires, contact.instance, contact.reg_id) == (700, 60, "urn:uuid:1-2", 3)
    assert contact.parameters == (("audio", None), ("Methods", '"INVITE, ACK"'))


def test_contact_without_anything() -> None:
    """REG-7, REG-14"""
    [contact] = parse_message(octets("Contact: sip:a@h")).contacts
    assert (contact.q, contact.expires, contact.instance, contact.reg_id) == (None, None, None, None)
    assert contact.parameters == ()


def test_parameters_without_brackets_are_the_headers() -> None:
    """MSG-13, REG-12"""
    bare, within = parse_message(octets("Contact: sip:a@h;unknownparam, <sip:b@h;unknownparam>")).contacts
    assert (bare.uri, bare.parameters) == ("sip:a@h", (("unknownparam", None),))
    assert (within.uri, within.parameters) == ("sip:b@h;unknownparam", ())


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("0060", 60),
        ("4294967295", 2**32 - 1),
        ("4294967296", 2**32 - 1),
        ("9" * 99, 2**32 - 1),
        ("-1", 3600),
        ("abc", 3600),
        ("", 3600),
        ("1.5", 3600),
    ],
)
def test_expires_is_never_refused(value: str, seconds: int) -> None:
    """REG-8, MSG-15"""
    message = parse_message(octets(f"Contact: <sip:a@h>;expires={value}", f"Expires: {value}"))
    assert message.contacts[0].expires == seconds
    assert message.expires == seconds


@pytest.mark.parametrize(
    ("value", "thousandths"),
    [("0", 0), ("1", 1000), ("0.", 0), ("1.", 1000), ("0.5", 500), ("0.333", 333), ("1.000", 1000)],
)
def test_q(value: str, thousandths: int) -> None:
    """MSG-15, REG-14"""
    assert parse_message(octets(f"Contact: <sip:a@h>;q={value}")).contacts[0].q == thousandths


@pytest.mark.parametrize("value", ["", "2", "1.001", "0.3333", "1.0000", ".5", "-0", "0,5", "00", '"1"', "0.5x"])
def test_malformed_q_is_400(value: str) -> None:
    """REG-14"""
    assert refusal(octets(f"Contact: <sip:a@h>;q={value}")).status == 400


@pytest.mark.parametrize("value", ["0", "2147483648", "x", "", "-1"])
def test_malformed_reg_id_is_400(value: str) -> None:
    """OUT-3, REG-19"""
    assert refusal(octets(f"Contact: <sip:a@h>;reg-id={value}")).status == 400
    assert parse_message(octets("Contact: <sip:a@h>;reg-id=2147483647")).contacts[0].reg_id == 2**31 - 1


def test_contacts_out_of_the_ordinary_are_seen() -> None:
    """OUT-3, REG-15: what most REGISTERs have nothing of is asked once."""
    for contacts, has_reg_id, is_plain in (
        ("*", False, True),
        ('<sip:a@h>, <sip:b@h>;+sip.instance="<urn:x>"', False, True),
        ("<sip:a@h>, <sip:b@h>;reg-id=3", True, False),
        ("<sip:a@h>, <sips:b@h>", False, False),
    ):
        message = parse_message(octets(f"Contact: {contacts}"))
        assert (message.has_reg_id, message.has_plain_contacts) == (has_reg_id, is_plain)


@pytest.mark.parametrize(
    ("rows", "unbinds"),
    [
        (["Contact: *", "Expires: 0"], True),
        (["Contact: <sip:a@h>"], False),
        (["Contact: <sip:a@h>", "Expires: 0"], True),
        (["Contact: <sip:a@h>", "Expires: 60"], False),
        (["Contact: <sip:a@h>;expires=0", "Expires: 60"], True),
        (["Contact: <sip:a@h>;expires=0, <sip:b@h>"], False),
        (["Contact: <sip:a@h>;expires=0, <sip:b@h>", "Expires: 0"], True),
        (["Contact: <sip:a@h>;expires=60", "Expires: 0"], False),
        (["Expires: 0"], False),
    ],
)
def test_what_asks_for_nothing_but_removal_is_told_from_what_binds(rows: list[str], unbinds: bool) -> None:
    """REG-7: the expires of a contact goes before the Expires of all; a fetch asks for neither."""
    assert parse_message(octets(*rows)).unbinds == unbinds


@pytest.mark.parametrize("value", ["urn:x", '"urn:x"', '"<urn:x"', '"<u r>"', '"<urn:x>" '])
def test_instance_of_another_form_is_no_instance(value: str) -> None:
    """OUT-5"""
    [contact] = parse_message(octets(f"Contact: <sip:a@h>;+sip.instance={value}")).contacts
    assert contact.instance == ("urn:x" if value.endswith(" ") else None)


def test_star() -> None:
    """REG-6"""
    message = parse_message(octets("Contact: *", "Expires: 0"))
    assert message.contact_star
    assert message.contacts == []
    assert message.contact_count == 0
    assert not parse_message(octets()).contact_star


@pytest.mark.parametrize(
    "row", ["*;x=y", "*, <sip:a@h>", "<sip:a@h>, *", "*\r\nContact: <sip:a@h>", "<sip:a@h>\r\nm: *", "*\r\nm: *", "**"]
)
def test_star_beside_anything_is_400(row: str) -> None:
    """REG-6"""
    assert refusal(octets(f"Contact: {row}")).status == 400


@pytest.mark.parametrize("count", [1, 2, 3, 32, 33, 200])
def test_contacts_are_counted_beyond_those_held(count: int) -> None:
    """SEC-5"""
    message = parse_message(octets("Contact: " + ",".join(f"<sip:c{i}@h>;q=0.5" for i in range(count))))
    assert message.contact_count == count
    assert [contact.uri for contact in message.contacts] == [f"sip:c{i}@h" for i in range(min(count, 32))]
    assert refusal(octets("Contact: " + "<sip:c@h>," * count + "nonsense")).status == 400


# Body and media


def test_datagram_surplus_is_dropped() -> None:
    """TRN-7: the dblreq row of RFC 4475."""
    assert parse_message(octets(body=b"INVITE sip:x SIP/2.0\r\n")).body == b""
    message = parse_message(octets("Content-Type: text/plain", Content_Length="3", body=b"a\0bc"))
    assert message.body == b"a\0b"


def test_datagram_without_length_runs_to_its_end() -> None:
    """TRN-7"""
    assert parse_message(octets("c: text/plain", Content_Length=None, body=b"abc")).body == b"abc"


@pytest.mark.parametrize("value", ["1", "-999", "x", "", "0x0", "4294967328", "18446744073709551616", "0 0"])
def test_short_or_malformed_length_is_400(value: str) -> None:
    """TRN-7, TRN-8"""
    assert refusal(octets(Content_Length=value)).status == 400


def test_stream_needs_the_exact_length() -> None:
    """TRN-8"""
    assert parse_message(octets(), stream=True).body == b""
    assert refusal(octets(Content_Length=None), stream=True).status == 400
    assert refusal(octets(body=b"x"), stream=True).status == 400
    assert refusal(octets(Content_Length="1"), stream=True).status == 400


def test_body_needs_a_content_type() -> None:
    """MSG-18"""
    assert refusal(octets(Content_Length="1", body=b"x")).reason == "Content-Type: missing"
    assert refusal(octets("Content-Type: text", Content_Length="1", body=b"x")).status == 400
    assert parse_message(octets("Content-Type: text / plain ; charset=x", Content_Length="1", body=b"x")).body == b"x"


def test_accept_is_checked_where_it_decides() -> None:
    """SUB-2"""

    def subscribe(row: str) -> bytes:
        return octets(row, start="SUBSCRIBE sip:h SIP/2.0", CSeq="1 SUBSCRIBE")

    row = "Accept: application/reginfo+xml;q=0.5, text/*,\r\n */*"
    assert parse_message(subscribe(row)).accept == ["application/reginfo+xml;q=0.5", "text/*", "*/*"]
    assert parse_message(subscribe("Accept:")).accept == []
    assert refusal(subscribe("Accept: AAAA")).status == 400
    assert parse_message(octets("Accept: AAAA")).accept == ["AAAA"]


# Events


def test_event() -> None:
    """SUB-1, MSG-11"""
    event = parse_message(octets("Event: Reg.winfo ; ID=7;x")).event
    assert event is not None
    assert (event.package, event.id, event.parameters) == ("Reg.winfo", "7", (("ID", "7"), ("x", None)))
    assert parse_message(octets()).event is None
    for value in ("", ";id=1", "reg presence", "reg;", "reg;id=1;id=2"):
        with pytest.raises(SipParseError):
            assert parse_message(octets(f"Event: {value}")).event


def test_subscription_state() -> None:
    """SUB-6"""
    state = parse_message(
        octets("Subscription-State: Terminated;reason=timeout;retry-after=99999999999;expires=-1")
    ).subscription_state
    assert state is not None
    assert (state.state, state.reason, state.expires, state.retry_after) == ("terminated", "timeout", None, 2**32 - 1)
    assert parse_message(octets()).subscription_state is None


def test_numbers_of_answers() -> None:
    """REG-9, TX-11"""
    message = parse_message(
        response("SIP/2.0 423 x", Min_Expires="60", Retry_After="120 (busy);duration=9", SIP_ETag="a.1")
    )
    assert (message.min_expires, message.retry_after, message.sip_etag) == (60, 120, "a.1")
    assert parse_message(response("SIP/2.0 503 x", Retry_After="9" * 30)).retry_after == 2**32 - 1
    message = parse_message(response("SIP/2.0 503 x", Min_Expires="x"))
    assert (message.min_expires, message.retry_after, message.sip_etag, message.sip_if_match) == (
        None,
        None,
        None,
        None,
    )


# Digest


def test_digest_credentials() -> None:
    """AUT-4, AUT-5: either form of quoting."""
    message = parse_message(
        octets(
            'Authorization: Digest username="a\\"b" , realm=example.org,nonce="bm9uY2U==",\r\n uri=sip:h,nc="00000001"',
            "Authorization: NoOneKnowsThisScheme opaque-data=here",
        )
    )
    digest, other = message.authorization
    assert digest.scheme == "Digest"
    assert digest.params == {
        "username": 'a"b',
        "realm": "example.org",
        "nonce": "bm9uY2U==",
        "uri": "sip:h",
        "nc": "00000001",
    }
    assert (other.scheme, other.params) == ("NoOneKnowsThisScheme", {})
    assert parse_message(octets()).authorization == []


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Digest",
        "Digest ",
        "Digest username",
        'Digest username="1", realm="x", nonce="',
        'Digest username="1",',
        "Digest ,=,=;",
        'Digest a="1";b="2"',
        "Digest a=1,A=2",
        "Digest a=",
        'Digest a="\0"',
    ],
)
def test_malformed_digest_is_400(value: str) -> None:
    """AUT-6, MSG-8"""
    assert refusal(octets(f"Authorization: {value}")).status == 400


def test_challenges_are_not_comma_joined_rows() -> None:
    """MSG-6, AUT-2"""
    message = parse_message(
        response(
            "SIP/2.0 401 x", WWW_Authenticate='Digest realm="r",qop="auth,auth-int"\r\nWWW-Authenticate: Digest realm=q'
        )
    )
    assert [challenge.params for challenge in message.www_authenticate] == [
        {"realm": "r", "qop": "auth,auth-int"},
        {"realm": "q"},
    ]


def test_challenges_that_are_malformed_are_left_out() -> None:
    """AUT-2, AUT-11: what is not understood is ignored, and costs none of the others."""
    rows = [
        "Basic realm=r",
        "Digest",
        'Digest realm="r',
        "Digest realm=a,realm=b",
        'Digest realm="\udcff"',
        "digest realm=q",
    ]
    head = "\r\n".join(f"WWW-Authenticate: {row}" for row in rows) + "\r\nProxy-Authenticate: Digest realm=p\r\n"
    data = response("SIP/2.0 401 x", X="y").replace(b"X: y\r\n", head.encode("utf-8", "surrogateescape"))
    message = parse_message(data)
    assert message.challenges(proxy=False) == [{"realm": "q"}]
    assert message.challenges(proxy=True) == [{"realm": "p"}]
    assert parse_message(octets()).challenges(proxy=False) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            'qop=auth,rspauth="00",cnonce="a\\"b",nc=00000001',
            {"qop": "auth", "rspauth": "00", "cnonce": 'a"b', "nc": "00000001"},
        ),
        ('nextnonce="n"', {"nextnonce": "n"}),
        ("nextnonce=", {}),
        ("", {}),
        ('nextnonce="\udcff"', {}),
    ],
)
def test_authentication_info_is_read_if_it_can_be(value: str, expected: dict[str, str]) -> None:
    """AUT-9"""
    data = response("SIP/2.0 200 x", X="y").replace(
        b"X: y\r\n", f"Authentication-Info: {value}\r\n".encode("utf-8", "surrogateescape")
    )
    assert parse_message(data).authentication_info == expected
    assert parse_message(octets()).authentication_info == {}


# Limits


@pytest.mark.parametrize("excess", [0, 1])
def test_headers_have_a_limit(excess: int) -> None:
    """SEC-5"""
    data = octets(*(f"X{i}: {i}" for i in range(128 - len(ROWS) + excess)))
    if excess:
        assert refusal(data).status == 400
    else:
        assert len(parse_message(data).rows()) == 128


@pytest.mark.parametrize("excess", [0, 1])
def test_header_section_has_a_limit(excess: int) -> None:
    """SEC-5"""
    room = 16384 - len(octets("X: "))
    data = octets("X: " + "x" * (room + excess))
    if excess:
        assert refusal(data).status == 400
    else:
        assert parse_message(data).header("X") == "x" * room


@pytest.mark.parametrize("excess", [0, 1])
def test_vias_have_a_limit(excess: int) -> None:
    """SEC-5"""
    data = octets(Via=",".join(["SIP/2.0/UDP h"] * (70 + excess)))
    if excess:
        assert refusal(data).status == 400
    else:
        assert len(parse_message(data).vias) == 70


@pytest.mark.parametrize("excess", [0, 1])
def test_parameters_have_a_limit(excess: int) -> None:
    """SEC-5"""
    data = octets(To="<sip:a@h>" + "".join(f";p{i}" for i in range(64 + excess)))
    if excess:
        assert refusal(data).status == 400
    else:
        assert len(parse_message(data).to.parameters) == 64


def test_message_has_a_limit() -> None:
    """SEC-5"""
    assert refusal(octets(body=b"x" * 262144)).status == 513


def test_thousands_of_contact_rows_are_refused_as_contacts() -> None:
    """SEC-5, REG-16: not as headers, whose limit they pass first."""
    assert refusal(octets(*(f"Contact: <sip:1@h{i}>" for i in range(2000)))).status == 403
    assert refusal(octets(*(f"X: {i}" for i in range(5000)))).status == 400


# Salvage


def test_salvage_keeps_what_an_answer_copies() -> None:
    """MSG-19"""
    data = octets("broken", "X: stray\rcr", "Y: n\0l", Via="SIP/2.0/UDP h;branch=z;rport", To='"open <sip:a@h>')
    message = salvage(data)
    assert message is not None
    assert message.salvaged
    assert message.is_request
    assert (message.method, message.cseq, message.call_id) == ("REGISTER", 2, "reg-77@10.0.0.5")
    assert message.top_via.rport == 0
    assert message.from_.tag == "f1a2"
    assert message.header("To") == '"open <sip:a@h>'
    assert message.header("X") is message.header("Y") is None
    with pytest.raises(SipParseError):
        assert message.to.tag


@pytest.mark.parametrize("start", ["ACK sip:h SIP/2.0", "SIP/2.0 200 OK", "", "nonsense", "\0"])
def test_nothing_is_salvaged_where_nothing_is_owed(start: str) -> None:
    """AUT-1, TRN-6"""
    assert salvage(octets(start=start)) is None


def test_salvage_stops_at_the_limits() -> None:
    """SEC-5"""
    message = salvage(octets(*(f"X: {i}" for i in range(500))))
    assert message is not None
    assert len(message.rows()) == 128
    assert salvage(b"OPTIONS " + b"x" * 99999) is None


# All of it


def test_every_prefix_parses_or_raises() -> None:
    """MSG-1: nothing is read beyond the end."""
    data = octets('Contact: "A" <sip:a@h>;q=0.1', 'Authorization: Digest a="b"', "Event: reg;id=1", Content_Length=None)
    for end in range(len(data)):
        assert refusal(data[:end]).status in (None, 400)
        salvage(data[:end])
    parse_message(data)


def test_every_octet_flipped_parses_or_raises() -> None:
    """MSG-1"""
    data = octets('Contact: "A" <sip:a@h>;q=0.1', "Content-Type: text/plain", Content_Length=None, body=b"x")
    for i in range(len(data)):
        for flip in (0x01, 0x20, 0x80):
            changed = data[:i] + bytes([data[i] ^ flip]) + data[i + 1 :]
            with contextlib.suppress(SipParseError):
                parse_message(changed)


@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer keeps what was freed")
def test_nothing_leaks() -> None:
    """SEC-3"""
    good = octets(*(f"Contact: <sip:a@h{i}>;q=0.5" for i in range(40)))
    bad = octets(To="<sip:a")

    def work(rounds: int) -> None:
        for _ in range(rounds):
            message = parse_message(good)
            assert len(message.contacts) == 32
            assert message.rows()
            with contextlib.suppress(SipParseError):
                parse_message(bad)
            salvage(bad)

    work(500)
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work(3000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2048
