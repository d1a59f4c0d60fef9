"""The exposition and the answers to health checks, without a server."""

import re
from collections.abc import Mapping

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from reginfo.admin.metric_families import FAMILIES, KAMAILIO, MILLISECONDS, Family
from reginfo.admin.monitoring import Monitoring
from reginfo.fast import Histogram
from tests.metric_table import DOCUMENT, written

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
SOME = (
    Family("reginfo_things_total", "counter", "Things.", ("kind",)),
    Family("reginfo_level", "gauge", 'A "level"\nover two lines.'),
    Family("reginfo_wait_seconds", "histogram", "Waits.", (), MILLISECONDS),
    Family("kamailio_module_things", "untyped", "Things."),
)


def monitoring(readings: Mapping[str, Mapping[tuple[str, ...], float | Histogram]]) -> Monitoring:
    return Monitoring(SOME, lambda: readings, lambda: True, lambda: (True, "serving"))


def some_readings() -> dict[str, dict[tuple[str, ...], float | Histogram]]:
    waits = Histogram([5, 250])
    for wait_ms in (3, 100, 100, 1_000):
        waits.add(wait_ms)
    return {
        "reginfo_things_total": {("a",): 7, ('b"\n',): 2},
        "reginfo_level": {(): 1.5},
        "reginfo_wait_seconds": {(): waits},
        "kamailio_module_things": {(): 9},
    }


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain", OPENMETRICS])
def test_what_is_read_is_what_a_scrape_parses(accept: str) -> None:
    media_type, pieces = monitoring(some_readings()).exposition(accept)
    octets = b"".join(pieces)
    is_open = accept == OPENMETRICS
    assert media_type.startswith("application/openmetrics-text" if is_open else "text/plain; version=0.0.4")
    families = (parse_openmetrics if is_open else parse_text)(octets.decode())
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value for family in families for sample in family.samples
    }
    assert samples == {
        ("reginfo_things_total", "a"): 7,
        ("reginfo_things_total", 'b"\n'): 2,
        ("reginfo_level",): 1.5,
        ("reginfo_wait_seconds_bucket", "0.005"): 1,
        ("reginfo_wait_seconds_bucket", "0.25"): 3,
        ("reginfo_wait_seconds_bucket", "+Inf"): 4,
        ("reginfo_wait_seconds_count",): 4,
        ("reginfo_wait_seconds_sum",): 1.203,
        ("kamailio_module_things",): 9,
    }


def test_every_scrape_reads_anew() -> None:
    readings = some_readings()
    subject = monitoring(readings)
    assert b"\nreginfo_level 1.5\n" in b"".join(subject.exposition("")[1])
    readings["reginfo_level"][()] = 2.5
    assert b"\nreginfo_level 2.5\n" in b"".join(subject.exposition("")[1])


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_an_exposition_is_in_pieces_so_that_others_have_a_turn_in_between(accept: str) -> None:
    *pieces, end = monitoring(some_readings()).exposition(accept)[1]
    assert [piece.count(b"# TYPE ") for piece in pieces] == [1] * len(SOME)
    assert end == (b"# EOF\n" if accept else b"")


def test_nothing_is_read_before_somebody_asks() -> None:
    Monitoring(SOME, lambda: pytest.fail("read too early"), lambda: True, lambda: (True, ""))


@pytest.mark.parametrize("family", FAMILIES + KAMAILIO, ids=lambda family: family.name)
def test_names_are_as_prometheus_wants_them(family: Family) -> None:
    assert re.fullmatch(r"(reginfo|process|kamailio)_[a-z_]+", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert family.help.endswith(".")
    assert not set(family.labels) & {"aor", "contact", "le", "instance", "job"}
    if family.kind == "histogram":
        assert family.name.endswith("_seconds")


def test_the_tables_of_the_documentation_are_current() -> None:
    assert DOCUMENT.read_text("utf-8") == written(), "run `make metric-table`"
