"""What monitoring asks of a running server: its metrics, whether it lives, and whether it serves."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from reginfo.admin.metric_families import Family, Readings
from reginfo.fast import Histogram

_SIMPLE: Final[dict[str, Any]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "untyped": UnknownMetricFamily,
}


class Monitoring:
    """Answers for /metrics, /healthz and /readyz; nothing here is asked for more often than it is scraped."""

    def __init__(
        self,
        families: Sequence[Family],
        read: Callable[[], Readings],
        is_alive: Callable[[], bool],
        readiness: Callable[[], tuple[bool, str]],
    ) -> None:
        """read returns what each of the families reads now."""
        self._families = families
        self._read = read
        self.is_alive = is_alive
        "Tells whether the event loop turns and what is due is done."
        self.readiness = readiness
        "Tells whether new requests are served, and in a word or two why they are not."

    def exposition(self, accept: str) -> tuple[str, Iterator[bytes]]:
        """Return media type and body of the format that an Accept header asks for: OpenMetrics, or Prometheus' own.

        The body is in pieces, each made when it is asked for, as all of them take some milliseconds.  Counters and
        gauges are read with the first of them, a histogram with its own.
        """
        encode, media_type = choose_encoder(accept)
        return media_type, self._pieces(encode)

    def _pieces(self, encode: Callable[[CollectorRegistry], bytes]) -> Iterator[bytes]:
        readings = self._read()
        end = encode(CollectorRegistry())
        for family in self._families:
            registry = CollectorRegistry(auto_describe=False)
            registry.register(_Alone(_metric(family, readings[family.name])))
            yield encode(registry).removesuffix(end)
        yield end

    def paths(self) -> Mapping[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]:
        """Return what answers a GET, by path; none of it shows who is registered."""
        return {"/metrics": self._scrape, "/healthz": self._health, "/readyz": self._ready}

    async def _scrape(self, request: web.Request) -> web.Response:
        media_type, pieces = self.exposition(request.headers.get(hdrs.ACCEPT, ""))
        body = bytearray()
        for piece in pieces:
            body += piece
            await asyncio.sleep(0)  # everybody else has a turn in between
        return web.Response(body=bytes(body), headers={hdrs.CONTENT_TYPE: media_type})

    async def _health(self, request: web.Request) -> web.Response:
        is_alive = self.is_alive()
        return _verdict(is_alive, "alive" if is_alive else "nothing that is due is done")

    async def _ready(self, request: web.Request) -> web.Response:
        return _verdict(*self.readiness())


def _verdict(is_well: bool, words: str) -> web.Response:
    return web.Response(status=HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE, text=f"{words}\n")


class _Alone(Collector):
    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


def _metric(family: Family, values: Mapping[tuple[str, ...], float | Histogram]) -> Metric:
    if family.kind == "histogram":
        histograms = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for labels, value in values.items():
            assert isinstance(value, Histogram)
            buckets, total = _in_base_units(value, family.per_unit)
            histograms.add_metric(labels, buckets, total)
        return histograms
    metric: CounterMetricFamily | GaugeMetricFamily | UnknownMetricFamily = _SIMPLE[family.kind](
        family.name, family.help, labels=family.labels
    )
    for labels, value in values.items():
        assert not isinstance(value, Histogram)
        metric.add_metric(labels, value)
    return metric


def _in_base_units(histogram: Histogram, per_unit: int) -> tuple[list[tuple[str, float]], float]:
    """Return cumulative buckets by upper bound, as the exposition writes it, and the sum."""
    buckets: list[tuple[str, float]] = [
        ("+Inf" if bound is None else repr(bound / per_unit), count) for bound, count in histogram.buckets()
    ]
    return buckets, histogram.sum / per_unit
