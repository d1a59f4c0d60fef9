"""Public face of the compiled core: everything here works alone, on octets, without the engine."""

from reginfo._fast.datagrams import DatagramSocket, Flow
from reginfo._fast.errors import SipParseError
from reginfo._fast.load import LoadReport, RegisterLoad, echo
from reginfo._fast.sip_parser import (
    Contact,
    DigestCredentials,
    Event,
    NameAddr,
    SipMessage,
    StreamFramer,
    SubscriptionState,
    Via,
    parse_message,
    salvage,
)
from reginfo._fast.uri import Uri, canonical_aor, parse_uri, uris_equal

__all__ = [
    "Contact",
    "DatagramSocket",
    "DigestCredentials",
    "Event",
    "Flow",
    "LoadReport",
    "NameAddr",
    "RegisterLoad",
    "SipMessage",
    "SipParseError",
    "StreamFramer",
    "SubscriptionState",
    "Uri",
    "Via",
    "canonical_aor",
    "echo",
    "parse_message",
    "parse_uri",
    "salvage",
    "uris_equal",
]
