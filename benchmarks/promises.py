"""What this project promises, line by line, beside what was measured."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from statistics import median

import click

from benchmarks.latency import MAX_LAG_MS, Felt

FEW = 10_000
KINDS = ("three contacts", "IMS", "mixed traffic")
"Other REGISTERs than the plain one, by what is different."


@dataclass(frozen=True)
class Line:
    """One figure and what it must not exceed."""

    work: str
    figure: float
    unit: str
    bound: float

    @property
    def holds(self) -> bool:
        return self.figure <= self.bound


class Samples:
    """Measurements by name, one for each round; what could not be measured is not a number."""

    def __init__(self) -> None:
        self._values: defaultdict[str, list[float]] = defaultdict(list)

    def add(self, name: str, value: float) -> None:
        self._values[name].append(value)
        click.echo(f"  {name}: {value:.4g}", err=True)

    def __getitem__(self, name: str) -> float:
        return median(self._values[name]) if name in self._values else nan

    def ratio(self, one: str, other: str) -> float:
        """Return the median of the ratios within each round: there both were measured within a few minutes.

        If a round lacks one of them, the ratio of both medians.
        """
        ones, others = self._values.get(one, []), self._values.get(other, [])
        if len(ones) != len(others) or not ones:
            return self[one] / self[other]
        return median(a / b for a, b in zip(ones, others, strict=True))

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def rows(self) -> list[tuple[str, list[float]]]:
        return list(self._values.items())


def lines(found: Samples, felt: Sequence[Felt], aors: int, large: int) -> list[Line]:
    """Return every promise with what was measured."""
    memory, committed, echo, peer = (
        f"refresh us, {name}, {aors} AoRs" for name in ("memory", "committed", "echo", "Kamailio")
    )
    read = "test_parse_register_10_headers_and_read_7_values"
    parse, build = "test_parse[1_contact] us", "test_serialize[1_contact] us"
    plain = f"refresh us, memory, {FEW} AoRs"
    others = [
        line
        for kind in KINDS
        for line in (
            Line(f"REGISTER, {kind}", found.ratio(f"REGISTER us, memory, {kind}", plain), "of a plain refresh", 2.0),
            Line(
                f"REGISTER, {kind}",
                found.ratio(f"REGISTER us, memory, {kind}", f"REGISTER us, Kamailio, {kind}"),
                "of Kamailio",
                1.0,
            ),
        )
    ]
    return [
        *others,
        Line("REGISTER refresh, memory", found.ratio(memory, echo), "of the echo", 3.0),
        Line("REGISTER refresh, memory", found.ratio(memory, peer), "of Kamailio", 1 / 4),
        Line("REGISTER refresh, committed", found.ratio(committed, echo), "of the echo", 5.0),
        Line("REGISTER, committed, at half load", found["delay p99 ms, committed, half load"], "ms p99", 5.0),
        Line(
            f"the same at {large:,} AoRs",
            found.ratio(f"refresh us, memory, {large} AoRs", plain),
            f"of {FEW:,}",
            1.3,
        ),
        Line(
            "SIPp's highest rate without loss",
            found.ratio("SIPp us, memory", "SIPp us, Kamailio"),
            "of Kamailio",
            1 / 3,
        ),
        Line(f"memory per AoR at {large:,}", found["bytes per AoR"], "bytes", 450),
        Line(f"restart with {large:,} bindings", found["restart s"], "s", 6),
        Line("REGISTER parsed, 7 values read", found[f"{read}[reginfo] us"], "us", 1.5),
        Line("REGISTER parsed", found.ratio(f"{read}[reginfo] us", f"{read}[sipmessage] us"), "of sipmessage", 1 / 30),
        Line("document of one contact written", found[build], "us", 1),
        Line(
            "document of one contact written",
            found.ratio(build, "test_serialize_lxml[1_contact] us"),
            "of lxml",
            1 / 10,
        ),
        Line("document of one contact read", found[parse], "us", 7),
        Line(
            "document of one contact read",
            found.ratio(parse, "test_parse_lxml_walk[1_contact] us"),
            "of lxml walked",
            1 / 1.7,
        ),
        Line(
            "NOTIFY applied",
            found.ratio("NOTIFY applied, known contact us, reginfo", "NOTIFY applied, known contact us, Kamailio"),
            "of Kamailio",
            1 / 3,
        ),
        Line(
            "REGISTER with PUBLISH",
            found.ratio("REGISTER and PUBLISH us, reginfo", "REGISTER and PUBLISH us, Kamailio"),
            "of Kamailio",
            1 / 5,
        ),
        Line(
            "PUBLISH taken",
            found.ratio("PUBLISH taken us, reginfo", "PUBLISH taken us, Kamailio"),
            "of Kamailio",
            1 / 4,
        ),
        Line("AoRs lost on the way", found["AoRs not current, reginfo"], "AoRs", 0),
        Line("one change, 100,000 watchers", found["one change, NOTIFY and 200 us"], "us each", 40),
        Line("one change, 100,000 watchers", found["one change, NOTIFY and 200 s"], "s", 10),
        Line("subscription", found["bytes per subscription"], "bytes", 1_500),
        Line("REGISTER to NOTIFY", found["REGISTER to NOTIFY p99 ms"], "ms p99", 5),
        *authentication_lines(found),
        *felt_lines(felt),
    ]


def authentication_lines(found: Samples) -> list[Line]:
    """Return what is promised of authentication."""
    kamailio = "exchange us, Kamailio"
    return [
        Line(
            "SIPp's exchange with digest",
            found.ratio("SIPp exchange us, memory", "SIPp exchange us, Kamailio"),
            "of Kamailio",
            1 / 2,
        ),
        Line("exchange, MD5", found.ratio("exchange us, MD5", kamailio), "of Kamailio", 1 / 2),
        Line("exchange, SHA-256", found.ratio("exchange us, SHA-256", kamailio), "of Kamailio with MD5", 1 / 2),
        Line(
            "REGISTER, nonce used again, MD5",
            found.ratio("refresh us, MD5", "refresh us, plain"),
            "of a plain one",
            2,
        ),
    ]


def felt_lines(felt: Sequence[Felt]) -> list[Line]:
    """Return what is promised of disturbances."""
    return [
        line
        for one in felt
        for line in (
            Line(f"REGISTER, {one.name}", one.disturbed_ms, f"ms p99, else {one.calm_ms:.2g}", one.bound_ms),
            Line(f"event loop, {one.name}", one.lag_ms, "ms late", MAX_LAG_MS),
        )
    ]


def markdown(promises: list[Line]) -> str:
    rows = ["| work | measured | | at most | |", "|---|---|---|---|---|"]
    rows += [
        f"| {one.work} | {one.figure:,.3g} | {one.unit} | {one.bound:,.3g} | {'yes' if one.holds else 'no'} |"
        for one in promises
    ]
    return "\n".join(rows)
