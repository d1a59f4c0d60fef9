"""Where messages go: TRN-4, TRN-5, TRN-11, TRN-14, DNS-6, MSG-16."""

import pytest

from reginfo.fast import Flow, parse_message, response_flow, salvage
from reginfo.sip.routing import addresses, fallback_flow, next_hop, own_contact
from tests.harness import LOCAL, request

SOURCE = ("203.0.113.7", 40123)
UDP = Flow("udp", LOCAL, SOURCE)
TCP = Flow("tcp", LOCAL, SOURCE, 7)


@pytest.mark.parametrize(
    ("via", "remote"),
    [
        ("192.0.2.10;rport", SOURCE),
        ("192.0.2.10:5062;rport;maddr=192.0.2.20", ("192.0.2.20", 5062)),
        ("192.0.2.10;rport;maddr=elsewhere.example.com", SOURCE),
        ("192.0.2.10:5062", ("203.0.113.7", 5062)),
        ("192.0.2.10", ("203.0.113.7", 5060)),
        ("192.0.2.10;received=198.51.100.1", ("203.0.113.7", 5060)),
        ("192.0.2.10:5062;maddr=192.0.2.20", ("192.0.2.20", 5062)),
        ("192.0.2.10;maddr=[2001:db8::1]", ("2001:db8::1", 5060)),
        ("192.0.2.10:5062;maddr=elsewhere.example.com", ("203.0.113.7", 5062)),
    ],
)
def test_over_udp_the_via_has_its_say(via: str, remote: tuple[str, int]) -> None:
    """TRN-4: maddr, else the source address with rport, else with the Via's port."""
    if "2001" in remote[0]:
        flow = Flow("udp", ("2001:db8::9", 5060), ("2001:db8::2", 40123))
    else:
        flow = UDP
    assert response_flow(parse_message(request(via=via)), flow).remote == remote


@pytest.mark.parametrize("via", ["phone.invalid:5070", "phone.invalid", "_sip._udp.example.com"])
def test_a_name_in_the_via_is_not_where_the_answer_goes_first(via: str) -> None:
    """TRN-5 comes after TRN-4: TRN-3 has added received, so the address is known and only the port is the Via's."""
    message = parse_message(request(via=via))
    port = message.top_via.port or 5060
    assert response_flow(message, UDP).remote == (SOURCE[0], port)
    towards = fallback_flow(message, TCP)
    assert towards.remote == (SOURCE[0], port)


@pytest.mark.parametrize("via", ["", "nonsense", "192.0.2.10:5062;maddr"])
def test_what_can_be_salvaged_is_answered_where_it_came_from(via: str) -> None:
    """TRN-4: a Via that is not understood says nothing."""
    message = salvage(request(via=via))
    assert message is not None
    assert response_flow(message, UDP).host == SOURCE[0]


def test_over_a_connection_the_answer_takes_it_whatever_the_via_says() -> None:
    """TRN-4: reliable transports answer where the request came from."""
    message = parse_message(request(via="192.0.2.10:5062;maddr=192.0.2.20"))
    assert response_flow(message, TCP) is TCP


@pytest.mark.parametrize(("transport", "default"), [("TCP", 5060), ("TLS", 5061), ("tls", 5061), ("SCTP", 5060)])
def test_without_its_connection_the_answer_goes_to_the_port_of_the_via(transport: str, default: int) -> None:
    """TRN-4: connect to received, at the sent-by port or the default one of the transport (TRN-1)."""
    octets = request(via="192.0.2.10").replace(b"SIP/2.0/UDP", f"SIP/2.0/{transport}".encode())
    again = fallback_flow(parse_message(octets), TCP)
    assert (again.remote, again.connection) == ((SOURCE[0], default), 0)
    again = fallback_flow(parse_message(octets.replace(b"192.0.2.10", b"192.0.2.10:5070")), TCP)
    assert again.remote == (SOURCE[0], 5070)


def test_over_tls_whoever_answers_has_to_be_the_host_of_the_via() -> None:
    """DNS-6: also where the connection of a request is gone."""
    octets = request(via="phone.example.com").replace(b"SIP/2.0/UDP", b"SIP/2.0/TLS")
    again = fallback_flow(parse_message(octets), Flow("tls", LOCAL, SOURCE, 7))
    assert again == Flow("tls", LOCAL, (SOURCE[0], 5061), domain="phone.example.com")
    assert again != Flow("tls", LOCAL, (SOURCE[0], 5061))


@pytest.mark.parametrize(
    ("transport", "contact"),
    [
        ("udp", "<sip:127.0.0.1:5060;gr>"),
        ("tcp", "<sip:127.0.0.1:5060;transport=tcp;gr>"),
        ("tls", "<sips:127.0.0.1:5060;gr>"),
        ("ws", "<sip:127.0.0.1:5060;transport=ws;gr>"),
        ("wss", "<sip:127.0.0.1:5060;transport=ws;gr>"),
    ],
)
def test_our_contact_says_ws_for_both_and_never_tls(transport: str, contact: str) -> None:
    """TRN-11: RFC 7118 section 5.4, RFC 5630 section 3.1.4."""
    assert own_contact(Flow(transport, LOCAL, SOURCE, 7)) == contact


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("sip:192.0.2.1;transport=tls", "tls:192.0.2.1:5061"),
        ("sips:192.0.2.1", "tls:192.0.2.1:5061"),
        ("sip:192.0.2.1;transport=ws", "ws:192.0.2.1:80"),
        ("sips:192.0.2.1;transport=ws", "wss:192.0.2.1:443"),
        ("sips:example.com;transport=ws", "wss:example.com"),
    ],
)
def test_what_a_uri_leads_over(uri: str, text: str) -> None:
    """TRN-11: transport=tls is still understood, and transport=ws of a sips URI is wss."""
    assert str(next_hop(uri)) == text


@pytest.mark.parametrize(
    ("rows", "uris"),
    [
        (["<sip:a@h>"], ["sip:a@h"]),
        (["sip:a@h;x=1"], ["sip:a@h"]),
        (['"A, <B>" <sip:a@h;lr>;p=1, <tel:+1>', "B <sip:b@h>"], ["sip:a@h;lr", "tel:+1", "sip:b@h"]),
        (['"A \\" <x>" <sip:a@h>'], ["sip:a@h"]),
        ([""], []),
        (['"never closed <sip:a@h>'], []),
        (['"' * 16_000, '"\\' * 8_000, "<" * 16_000, "," * 3, "<>"], [""]),
    ],
)
def test_addresses_of_a_header_are_read_without_looking_back(rows: list[str], uris: list[str]) -> None:
    """MSG-6, IMS-2: what is malformed ends its row."""
    assert list(addresses(rows)) == uris
