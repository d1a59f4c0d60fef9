"""Public face of the compiled core: everything here works alone, on octets, without the engine."""

from reginfo._fast.binding import (
    ADDED,
    REFRESHED,
    REMOVED,
    STALE,
    UNCHANGED,
    Binding,
    Change,
    ContactDelta,
    Draft,
    Registration,
    apply_delta,
    diff_contacts,
    record_revision,
)
from reginfo._fast.binding_table import FINGERPRINT, BindingTable
from reginfo._fast.counters import Counters
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
from reginfo._fast.sip_writer import write_request, write_response
from reginfo._fast.transactions import LISTING, PENDING, Absorbed, Transactions
from reginfo._fast.uri import Uri, canonical_aor, parse_uri, uris_equal

__all__ = [
    "ADDED",
    "FINGERPRINT",
    "LISTING",
    "PENDING",
    "REFRESHED",
    "REMOVED",
    "STALE",
    "UNCHANGED",
    "Absorbed",
    "Binding",
    "BindingTable",
    "Change",
    "Contact",
    "ContactDelta",
    "Counters",
    "DatagramSocket",
    "DigestCredentials",
    "Draft",
    "Event",
    "Flow",
    "LoadReport",
    "NameAddr",
    "RegisterLoad",
    "Registration",
    "SipMessage",
    "SipParseError",
    "StreamFramer",
    "SubscriptionState",
    "Transactions",
    "Uri",
    "Via",
    "apply_delta",
    "canonical_aor",
    "diff_contacts",
    "echo",
    "parse_message",
    "parse_uri",
    "record_revision",
    "salvage",
    "uris_equal",
    "write_request",
    "write_response",
]
