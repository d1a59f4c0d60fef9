"""What one engine counts: requests, responses, what went wrong, and how long requests waited for their answers."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from reginfo.engine.answers import Answers
from reginfo.engine.works import Work
from reginfo.fast import Counters, Histogram, Intake
from reginfo.model import Now
from reginfo.sip.client import Client
from reginfo.sip.incoming import Incoming
from reginfo.sip.traffic import request_counters

ERRORS: Final = ("malformed", "stray_response", "retransmission", "internal")
MALFORMED, STRAY, RETRANSMISSION, INTERNAL = range(len(ERRORS))

DURATION_BOUNDS_US: Final = (
    *(100, 250, 500),
    *(1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000),
    *(1_000_000, 2_500_000, 5_000_000, 10_000_000, 32_000_000),  # nobody waits longer (TX-6)
)
DECIDED_METHODS: Final = ("REGISTER", "SUBSCRIBE", "PUBLISH", "OPTIONS")
"What is decided in the turn of an address-of-record; everything else is answered where it is read."


class Counts:
    """Everything counted since the start."""

    def __init__(self, intake: Intake, answers: Answers, client: Client) -> None:
        self._intake = intake
        self._answers = answers
        self._client = client
        self.requests = request_counters()
        "Well-formed ones that arrived, but for the plain ones that intake counts."
        self._errors = Counters(ERRORS)
        self.durations: Mapping[str, Histogram] = {method: Histogram(DURATION_BOUNDS_US) for method in DECIDED_METHODS}
        "Microseconds from arrival to answer, by method."
        self._registers = self.durations["REGISTER"]
        self._answered = Now(0, 0.0)

    def error(self, slot: int) -> None:
        """Count something that went wrong, one of ERRORS."""
        self._errors.add(slot)

    def measure(self, works: list[Work], now: Now) -> None:
        """Take note of how long works waited whose answers have been sent."""
        self._answered = now
        self._intake.count(works, now.ms, now.us, self._registers, self._measure)

    def _measure(self, work: Work) -> None:
        if isinstance(work, Incoming):
            now = self._answered
            self.durations[work.request.method].add((now.ms - work.arrived_ms) * 1000 + now.us - work.arrived_us)

    @property
    def requests_in(self) -> dict[tuple[str, str], int]:
        """Well-formed requests that arrived, by method and transport, retransmissions apart."""
        totals = self.requests.totals()
        for method, plain in (("REGISTER", self._intake.taken), ("NOTIFY", self._intake.heard)):
            for transport, count in plain.totals().items():
                totals[method, transport] += count
        return totals

    @property
    def requests_out(self) -> dict[tuple[str, str], int]:
        """Requests sent, by method and transport, retransmissions apart."""
        return self._client.requests.totals()

    @property
    def responses_in(self) -> dict[str, int]:
        """Responses received that a request waited for, by status."""
        return _nonzero(self._client.responses)

    @property
    def responses_out(self) -> dict[str, int]:
        """Final responses sent, by status."""
        return _nonzero(self._answers.counters)

    @property
    def errors(self) -> dict[str, int]:
        """What went wrong."""
        return {
            **self._errors.totals(),
            "unanswered": self._client.retransmissions,
            "timeout": self._client.timeouts,
        }

    @property
    def registrations(self) -> dict[tuple[str, str], int]:
        """REGISTERs by what they did, or asked for, and what came of them."""
        refusals = self._answers.refusals
        results = {"accepted": self._intake.accepted, "rejected": refusals.rejected, "failed": refusals.failed}
        return {(kind, result): count for result, kinds in results.items() for kind, count in kinds.totals().items()}

    def statistics(self) -> dict[str, dict[str, int]]:
        """Return requests by method, final responses by status, and what went wrong."""
        requests: Counter[str] = Counter()
        for (method, _), count in self.requests_in.items():
            requests[method] += count
        return {"requests": dict(requests), "responses": self.responses_out, "errors": self.errors}


def _nonzero(counters: Counters) -> dict[str, int]:
    return {name: count for name, count in counters.totals().items() if count}
