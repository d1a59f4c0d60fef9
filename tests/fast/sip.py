"""REGISTER requests for tests: built as text, parsed by the parser under test."""

from reginfo.fast import SipMessage, parse_message


def register(
    *contacts: str,
    aor: str = "sip:alice@example.org",
    call_id: str = "c1@192.0.2.1",
    cseq: int = 1,
    extra: tuple[str, ...] = (),
) -> SipMessage:
    """Return a REGISTER with these Contact values and further header lines."""
    lines = [
        "REGISTER sip:example.org SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds;rport",
        "Max-Forwards: 70",
        f"To: <{aor}>",
        f"From: <{aor}>;tag=a48s",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} REGISTER",
        *(f"Contact: {contact}" for contact in contacts),
        *extra,
        "Content-Length: 0",
        "",
        "",
    ]
    return parse_message("\r\n".join(lines).encode())
