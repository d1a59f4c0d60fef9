"""What can be counted of a running server, in one place: for `reginfo stats` and for /metrics alike."""

import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol

from reginfo.admin.contact_counts import ContactCounts
from reginfo.admin.metric_families import Readings
from reginfo.config import Config
from reginfo.engine import Engine
from reginfo.fast import Histogram
from reginfo.model import ContactEvent
from reginfo.net.trace import Traces
from reginfo.server.lag import LoopLag
from reginfo.server.sockets import Sockets
from reginfo.sip.routing import next_hop
from reginfo.sip.traffic import code_of
from reginfo.store.base import Store
from reginfo.store.clock import Clock
from reginfo.store.measured import MeasuredRecords

_STATM: Final = Path("/proc/self/statm")
_PAGE_SIZE: Final = os.sysconf("SC_PAGE_SIZE")

_KAMAILIO_METHODS: Final = (
    "REGISTER",
    "SUBSCRIBE",
    "NOTIFY",
    "PUBLISH",
    "OPTIONS",
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "MESSAGE",
)

WEBHOOK_RESULTS: Final = ("delivered", "failed", "dropped", "retried")


class Lagging(Protocol):
    """A consumer of the feed."""

    @property
    def lag(self) -> int:
        """Changes it has not read yet."""


class Figures:
    """Reads everything that is counted; nothing here is linear in what is bound."""

    def __init__(
        self,
        config: Config,
        engine: Engine,
        store: Store,
        records: MeasuredRecords,
        clock: Clock,
        sockets: Sockets,
        lag: LoopLag,
        contacts: ContactCounts,
        consumers: Mapping[str, Lagging],
        webhooks: Callable[[], Mapping[str, int]],
        traces: Traces,
    ) -> None:
        """webhooks() returns the figures of all webhooks together."""
        self._traces = traces
        self._engine = engine
        self._store = store
        self._records = records
        self._clock = clock
        self._sockets = sockets
        self._lag = lag
        self._contacts = contacts
        self._consumers = consumers
        self._webhooks = webhooks
        self._began = time.monotonic()
        self._start_time = time.time()
        self._build = (version("reginfo"), platform.python_version())
        self.follow(config)

    def follow(self, config: Config) -> None:
        """Show the limits of another configuration from now on."""
        self._registrar = config.registrar
        self._peers = {peer.name: next_hop(peer.uri) for peer in config.peer}

    def statistics(self) -> dict[str, dict[str, int]]:
        """Return every counter, by group."""
        engine, contacts = self._engine, self._contacts
        statistics: dict[str, dict[str, int]] = {
            "core": {
                "uptime": int(time.monotonic() - self._began),
                "pending": engine.pending,
                "loop_lag_ms": self._lag.longest_ms(self._clock.now().ms),
            },
            **engine.statistics(),
            "feed": {
                "registered_aors": contacts.registered_aors,
                "contacts": contacts.contacts,
                "lag": max(consumer.lag for consumer in self._consumers.values()),
            },
            "events": dict(contacts.events),
            "subscriptions": self._subscriptions(),
            "publications": self._publications(),
            "webhooks": dict(self._webhooks()),
            "trace": {
                "running": len(self._traces),
                "messages": self._traces.messages,
                "exported": self._traces.exported,
                "export_drops": self._traces.dropped,
            },
            "usrloc": {"registered_aors": len(self._store), "contacts": self._store.contacts},
        }
        for group, values in self._kamailio().items():
            statistics.setdefault(group, {}).update(values)
        received = statistics["requests"]
        statistics["core"] |= {f"rcv_requests_{one.lower()}": received.get(one, 0) for one in _KAMAILIO_METHODS}
        statistics["core"]["rcv_requests"] = sum(received.values())
        return statistics

    def _subscriptions(self) -> dict[str, int]:
        roles = self._engine.roles
        return {"notifier": len(roles.notifier), "subscriber": len(roles.subscriber)}

    def _publications(self) -> dict[str, int]:
        roles = self._engine.roles
        return {"compositor": len(roles.compositor), "publisher": len(roles.publisher)}

    # -- health -----------------------------------------------------------------------------------------

    def is_alive(self) -> bool:
        """Tell whether the event loop turns and what is due is done."""
        return self._engine.is_draining or self._lag.is_ticking(self._clock.now().ms)

    def readiness(self) -> tuple[bool, str]:
        """Tell whether new requests are served, and if not, why."""
        if self._engine.is_draining:
            return False, "draining"
        if not self._store.takes_changes:
            return False, "the store takes no changes"
        return True, "serving"

    # -- metrics ----------------------------------------------------------------------------------------

    def readings(self) -> Readings:
        """Return what each metric reads now."""
        counts, contacts = self._engine.counts, self._contacts
        notifier, subscriber = self._engine.roles.notifier, self._engine.roles.subscriber
        webhooks = self._webhooks()
        return {
            "reginfo_build_info": {self._build: 1},
            "reginfo_ready": _one(self.readiness()[0]),
            "reginfo_registered_aors": _one(contacts.registered_aors),
            "reginfo_contacts": _by_word(contacts.by_transport),
            "reginfo_contact_events_total": _by_word(contacts.events),
            "reginfo_registrations_total": _by_words(counts.registrations),
            "reginfo_sip_requests_total": {
                **{("in", *labels): count for labels, count in counts.requests_in.items() if count},
                **{("out", *labels): count for labels, count in counts.requests_out.items() if count},
            },
            "reginfo_sip_responses_total": {
                **_by_code({("in", int(status)): count for status, count in counts.responses_in.items()}),
                **_by_code({("out", int(status)): count for status, count in counts.responses_out.items()}),
            },
            "reginfo_sip_errors_total": _by_word(counts.errors),
            "reginfo_request_duration_seconds": _by_word(counts.durations),
            "reginfo_pending_requests": _one(self._engine.pending),
            "reginfo_connections": _by_word(self._sockets.connections),
            "reginfo_udp_receive_drops_total": _one(self._sockets.receive_drops),
            "reginfo_udp_send_drops_total": _one(self._sockets.send_drops),
            "reginfo_subscriptions": _by_word(self._subscriptions()),
            "reginfo_publications": _by_word(self._publications()),
            "reginfo_notifies_total": _by_code(notifier.notifies),
            "reginfo_publishes_total": _by_status(self._engine.roles.publisher.publishes),
            "reginfo_notify_delay_seconds": _one(notifier.delays),
            "reginfo_store_ops_total": {
                ("commit", result): count for result, count in self._records.commits.totals().items()
            },
            "reginfo_store_duration_seconds": {("commit",): self._records.durations},
            "reginfo_feed_lag_seconds": _by_word(
                {name: self._seconds_behind(consumer) for name, consumer in self._consumers.items()}
            ),
            "reginfo_peer_up": _by_word(
                {name: int(subscriber.down_since_ms(hop) is None) for name, hop in self._peers.items()}
            ),
            "reginfo_webhook_pending_events": _one(webhooks["pending"]),
            "reginfo_webhook_events_total": _by_word({word: webhooks[word] for word in WEBHOOK_RESULTS}),
            "reginfo_loop_lag_seconds": _one(self._lag.delays),
            "process_cpu_seconds_total": _one(time.process_time()),
            "process_resident_memory_bytes": _one(int(_STATM.read_text().split()[1]) * _PAGE_SIZE),
            "process_start_time_seconds": _one(self._start_time),
            **{
                f"kamailio_{group}_{name}": _one(value)
                for group, values in self._kamailio().items()
                for name, value in values.items()
            },
        }

    def _kamailio(self) -> dict[str, dict[str, int]]:
        """Return the counters that Kamailio has as well, by its names of group and counter."""
        contacts, registrar = self._contacts, self._registrar
        registrations = self._engine.counts.registrations.items()
        accepted = sum(count for (_, result), count in registrations if result == "accepted")
        jitter = round(100 * registrar.expires_jitter)
        return {
            "usrloc": {
                "registered_users": contacts.registered_aors,
                "location_users": contacts.registered_aors,
                "location_contacts": contacts.contacts,
                "location_expires": contacts.events[ContactEvent.EXPIRED],
            },
            "registrar": {
                "accepted_regs": accepted,
                "rejected_regs": sum(count for _, count in registrations) - accepted,
                "default_expire": registrar.default_expires,
                "default_expires_range": jitter,
                "expires_range": jitter,
                "max_expires": registrar.max_expires,
                "max_contacts": registrar.max_contacts,
            },
        }

    def _seconds_behind(self, consumer: Lagging) -> float:
        """Return the age of the oldest change a consumer has not read; of the oldest in memory if that is older."""
        changed_ms = self._store.changed_ms(self._store.last_seq - consumer.lag + 1)
        return 0.0 if changed_ms is None else max(0, self._clock.now().ms - changed_ms) / 1000


def _one(value: float | Histogram) -> Mapping[tuple[str, ...], float | Histogram]:
    return {(): value}


def _by_words(values: Mapping[tuple[str, str], int]) -> Mapping[tuple[str, ...], int]:
    return {(one, other): value for (one, other), value in values.items()}


def _by_code(counts: Mapping[tuple[str, int], int]) -> Mapping[tuple[str, ...], int]:
    totals: Counter[tuple[str, ...]] = Counter()
    for (word, status), count in counts.items():
        totals[word, code_of(status)] += count
    return totals


def _by_status(counts: Mapping[int, int]) -> Mapping[tuple[str, ...], int]:
    totals: Counter[tuple[str, ...]] = Counter()
    for status, count in counts.items():
        totals[(code_of(status),)] += count
    return totals


def _by_word(values: Mapping[str, float] | Mapping[str, Histogram]) -> Mapping[tuple[str, ...], float | Histogram]:
    return {(word,): value for word, value in values.items()}
