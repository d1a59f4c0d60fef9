"""What the compiled parsers raise."""


class SipParseError(ValueError):
    """Malformed SIP input.

    Carries what an answer needs and nothing of the input itself: a reason in lower case naming the header,
    the offset of the offending octet, and the status owed (RFC 3261 section 8.2).
    """

    reason: str
    "What is wrong, e.g. `CSeq: method differs from the request line`."
    offset: int
    "Octets before the fault, counted from the start of the message (or of the text given)."
    status: int | None
    "The final response owed; None when nothing is owed: the input is dropped."
    head: bytes
    "Stream framing only: the header section of the offending message, as far as it was received."

    def __init__(self, reason: str, *, offset: int = 0, status: int | None = 400, head: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset
        self.status = status
        self.head = head

    def __str__(self) -> str:
        return f"{self.reason} (at octet {self.offset})"
