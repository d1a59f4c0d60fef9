"""Every metric there is: what it is called, what it counts, and its labels, which are words from closed sets.

docs/metrics.md is made of this table.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from reginfo.fast import Histogram

Kind = Literal["counter", "gauge", "histogram", "untyped"]

Readings = Mapping[str, Mapping[tuple[str, ...], float | Histogram]]
"Name of a family -> values of its labels -> what it reads now."

MICROSECONDS: Final = 1_000_000
MILLISECONDS: Final = 1_000


class Family(NamedTuple):
    """Metrics of one name."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    per_unit: int = 1
    "How many of what a histogram has counted make one base unit."


FAMILIES: Final = (
    Family("reginfo_build_info", "gauge", "Always 1; what runs is in the labels.", ("version", "python")),
    Family(
        "reginfo_ready", "gauge", "1 while new requests are served, 0 while draining or while nothing can be stored."
    ),
    Family("reginfo_registered_aors", "gauge", "Addresses-of-record with at least one contact."),
    Family("reginfo_contacts", "gauge", "Contacts bound, by the transport their URI asks for.", ("transport",)),
    Family(
        "reginfo_contact_events_total",
        "counter",
        "What became of contacts, by the events of RFC 3680, since the store was made.",
        ("event",),
    ),
    Family(
        "reginfo_registrations_total",
        "counter",
        "REGISTERs decided: add, refresh or remove a contact, or fetch, which changes nothing; accepted (2xx), failed"
        " (5xx) or rejected (all other). One that was not accepted is an add also where it would have been a refresh."
        " Challenges are not counted, nor is what a registrar behind a relay accepts.",
        ("kind", "result"),
    ),
    Family(
        "reginfo_sip_requests_total",
        "counter",
        "Well-formed requests received (in) and requests sent (out), retransmissions apart; what has not happened yet"
        " has no line.",
        ("direction", "method", "transport"),
    ),
    Family(
        "reginfo_sip_responses_total",
        "counter",
        "Responses received that a request waited for (in) and final responses sent (out), by status; one that no RFC"
        " has is counted as 4xx and the like.",
        ("direction", "code"),
    ),
    Family(
        "reginfo_sip_errors_total",
        "counter",
        "malformed: messages that are; stray_response: responses nobody waited for; retransmission: requests known"
        " already; internal: faults of this server; unanswered: its own requests sent again; timeout: given up.",
        ("reason",),
    ),
    Family(
        "reginfo_request_duration_seconds",
        "histogram",
        "From the arrival of a request to its answer, of those decided in the turn of an address-of-record.",
        ("method",),
        MICROSECONDS,
    ),
    Family("reginfo_pending_requests", "gauge", "Requests and commands that wait for their answer."),
    Family("reginfo_connections", "gauge", "Connections open, by transport.", ("transport",)),
    Family(
        "reginfo_udp_receive_drops_total",
        "counter",
        "Datagrams the system dropped: the receive buffer was full.",
    ),
    Family("reginfo_udp_send_drops_total", "counter", "Messages dropped because too many waited for a UDP socket."),
    Family(
        "reginfo_subscriptions",
        "gauge",
        "Subscriptions of watchers here (notifier), and of this server at others (subscriber).",
        ("role",),
    ),
    Family(
        "reginfo_publications",
        "gauge",
        "Publications of others here (compositor), and of this server at its compositor (publisher).",
        ("role",),
    ),
    Family(
        "reginfo_notifies_total",
        "counter",
        "NOTIFYs by state of their subscription and final answer; 408 is no answer.",
        ("state", "code"),
    ),
    Family(
        "reginfo_publishes_total", "counter", "PUBLISHes of this server by final answer; 408 is no answer.", ("code",)
    ),
    Family(
        "reginfo_notify_delay_seconds",
        "histogram",
        "From a change to the NOTIFY that tells a watcher of it, notifier.min_notify_interval included.",
        (),
        MILLISECONDS,
    ),
    Family(
        "reginfo_store_ops_total",
        "counter",
        "Commits that turns waited for, each for all requests of its turn; a conflict is decided again.",
        ("operation", "result"),
    ),
    Family("reginfo_store_duration_seconds", "histogram", "How long those took.", ("operation",), MICROSECONDS),
    Family(
        "reginfo_feed_lag_seconds",
        "gauge",
        "Age of the oldest change that a consumer of the feed has not read; 0 if it has read all.",
        ("consumer",),
    ),
    Family(
        "reginfo_peer_up",
        "gauge",
        "1 unless a configured peer that is followed does not answer, then 0; by its name.",
        ("peer",),
    ),
    Family("reginfo_webhook_pending_events", "gauge", "Contact events that wait to be delivered to webhooks."),
    Family(
        "reginfo_webhook_events_total",
        "counter",
        "What became of contact events for webhooks: delivered, failed (refused), dropped, and attempts that were"
        " retried; since each webhook has its name.",
        ("result",),
    ),
    Family(
        "reginfo_loop_lag_seconds",
        "histogram",
        "How late the event loop came to what was due, looked at forty times a second.",
        (),
        MICROSECONDS,
    ),
    Family("process_cpu_seconds_total", "counter", "Processor time of this process, user and system."),
    Family("process_resident_memory_bytes", "gauge", "Memory of this process that is in RAM."),
    Family("process_start_time_seconds", "gauge", "When this process began to serve, in seconds since the epoch."),
)

KAMAILIO: Final = (
    Family("kamailio_usrloc_registered_users", "gauge", "As reginfo_registered_aors."),
    Family("kamailio_usrloc_location_users", "gauge", "As reginfo_registered_aors."),
    Family("kamailio_usrloc_location_contacts", "gauge", "Sum of reginfo_contacts."),
    Family("kamailio_usrloc_location_expires", "untyped", "reginfo_contact_events_total of expired."),
    Family("kamailio_registrar_accepted_regs", "untyped", "reginfo_registrations_total that were accepted."),
    Family("kamailio_registrar_rejected_regs", "untyped", "reginfo_registrations_total that were not."),
    Family("kamailio_registrar_default_expire", "gauge", "registrar.default_expires."),
    Family("kamailio_registrar_default_expires_range", "gauge", "registrar.expires_jitter in percent."),
    Family("kamailio_registrar_expires_range", "gauge", "registrar.expires_jitter in percent."),
    Family("kamailio_registrar_max_expires", "gauge", "registrar.max_expires."),
    Family("kamailio_registrar_max_contacts", "gauge", "registrar.max_contacts."),
)
"Names that exporters for Kamailio gave to the same things; with admin.kamailio_metrics only."
