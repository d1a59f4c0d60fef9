"""Metrics and health of a whole server: true, complete, and what Prometheus accepts."""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from reginfo.admin.metric_families import FAMILIES, KAMAILIO
from reginfo.config import AdminSection, Config, PuaReginfoSection, StoreSection
from reginfo.errors import StoreUnavailable
from reginfo.server import Server
from reginfo.server.figures import WEBHOOK_RESULTS
from tests.harness import contact, request
from tests.test_server import NO_JITTER, UdpPhone, serving, udp_phone

pytestmark = pytest.mark.network

CONTRIB = Path(__file__).parents[1] / "contrib"
RULES = CONTRIB / "prometheus" / "rules.yml"
DASHBOARD = CONTRIB / "grafana" / "reginfo.json"

Samples = dict[tuple[str, ...], float]


def scrape(server: Server) -> str:
    return b"".join(server._administration.monitoring().exposition("text/plain")[1]).decode()


def samples(server: Server) -> Samples:
    """Return what a scrape says, by name and sorted labels; buckets apart."""
    return {
        (sample.name, *(f"{label}={sample.labels[label]}" for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(scrape(server))
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


def names(text: str) -> set[str]:
    """Return the metrics that an expression reads."""
    return set(re.findall(r"\b(?:reginfo|process|kamailio)_\w+", text))


def expressions() -> Iterator[str]:
    """Yield every expression of rules and dashboard."""
    yield from re.findall(r"expr: (\|\n(?: {10,}.*\n)+|.*)", RULES.read_text())
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in dashboard["templating"]["list"]:
        yield json.dumps(variable["query"])


async def test_statistics_and_metrics_say_the_same(tmp_path: Path) -> None:
    async with serving(tmp_path, registrar=NO_JITTER) as server, udp_phone(server) as phone:
        await phone.ask(request("REGISTER", contact()))
        await phone.ask(request("REGISTER", contact(), cseq=2))
        await phone.ask(request("REGISTER", contact(expires=5), cseq=3))
        await phone.ask(request("OPTIONS", uri="sip:example.com"))
        await server._readers["contact_counts"].pump()
        said, statistics = samples(server), server.statistics()
    assert said["reginfo_registered_aors",] == statistics["feed"]["registered_aors"] == 1
    assert said["reginfo_contacts", "transport=udp"] == statistics["feed"]["contacts"] == 1
    for event, count in statistics["events"].items():
        assert said["reginfo_contact_events_total", f"event={event}"] == count
    for reason, count in statistics["errors"].items():
        assert said["reginfo_sip_errors_total", f"reason={reason}"] == count
    for method, count in statistics["requests"].items():
        assert said.get(("reginfo_sip_requests_total", "direction=in", f"method={method}", "transport=udp"), 0) == count
    assert statistics["responses"] == {"200": 3, "423": 1}
    for status, count in statistics["responses"].items():
        assert said["reginfo_sip_responses_total", f"code={status}", "direction=out"] == count
    for result in WEBHOOK_RESULTS:
        assert said["reginfo_webhook_events_total", f"result={result}"] == statistics["webhooks"][result]
    for role in ("subscriptions", "publications"):
        for word, count in statistics[role].items():
            assert said[f"reginfo_{role}", f"role={word}"] == count
    assert said["reginfo_registrations_total", "kind=add", "result=accepted"] == 1
    assert said["reginfo_registrations_total", "kind=refresh", "result=accepted"] == 1
    assert said["reginfo_registrations_total", "kind=add", "result=rejected"] == 1
    assert said["reginfo_request_duration_seconds_count", "method=REGISTER"] == 3
    assert 0 < said["reginfo_request_duration_seconds_sum", "method=REGISTER"] < 10
    assert said["reginfo_store_ops_total", "operation=commit", "result=ok"] == 2
    assert said["reginfo_pending_requests",] == statistics["core"]["pending"] == 0


async def test_a_watcher_and_a_connection_are_counted(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, udp_phone(server) as watcher:
        host, port = watcher.transport.get_extra_info("sockname")
        rows = ("Event: reg", "Expires: 600", f"Contact: <sip:w@{host}:{port}>")
        await watcher.ask(request("SUBSCRIBE", *rows, uri="sip:alice@example.com", call_id="watch"))
        async with asyncio.timeout(10):
            while not (said := samples(server)).get(("reginfo_notifies_total", "code=200", "state=active")):
                await asyncio.sleep(0.01)
        assert said["reginfo_subscriptions", "role=notifier"] == 1
        assert said["reginfo_sip_requests_total", "direction=out", "method=NOTIFY", "transport=udp"] == 1
        assert said["reginfo_sip_responses_total", "code=200", "direction=in"] == 1
        assert said["reginfo_request_duration_seconds_count", "method=SUBSCRIBE"] == 1
        assert said["reginfo_connections", "transport=tcp"] == 0


async def test_publishes_are_counted_by_final_answer(tmp_path: Path) -> None:
    """The other side answers 200 without an entity-tag, which accepts nothing (EPA-2), but is an answer."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(UdpPhone, local_addr=("127.0.0.1", 0))
    host, port = transport.get_extra_info("sockname")
    publisher = PuaReginfoSection(outbound_proxy=f"sip:{host}:{port}")
    async with serving(tmp_path, pua_reginfo=publisher) as server, udp_phone(server) as phone:
        assert ("reginfo_publishes_total", "code=200") not in samples(server)
        await phone.ask(request("REGISTER", contact()))
        async with asyncio.timeout(10):
            while not (said := samples(server)).get(("reginfo_publishes_total", "code=200")):
                await asyncio.sleep(0.01)
        assert said["reginfo_publications", "role=publisher"] == 1
    transport.close()


async def test_a_consumer_that_reads_nothing_falls_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as server, udp_phone(server) as phone:
        log = server._readers["log"]
        now = server._clock.now
        monkeypatch.setattr(log, "pump", lambda *args: server._readers["contact_counts"].pump(*args))
        await phone.ask(request("REGISTER", contact()))
        await server._readers["contact_counts"].pump()
        monkeypatch.setattr(server._clock, "now", lambda: now()._replace(ms=now().ms + 60_000))
        said = samples(server)
        assert 60 <= said["reginfo_feed_lag_seconds", "consumer=log"] < 70
        assert said["reginfo_feed_lag_seconds", "consumer=contact_counts"] == 0
        monkeypatch.undo()


async def test_a_server_is_ready_until_it_drains(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        monitoring = server._administration.monitoring()
        assert monitoring.readiness() == (True, "serving")
        assert samples(server)["reginfo_ready",] == 1
        server._engine.drain(10)
        assert monitoring.readiness() == (False, "draining")
        assert samples(server)["reginfo_ready",] == 0


async def test_a_server_is_not_ready_while_its_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be refused only is left to others; it comes back by itself."""

    def fail(*args: object) -> None:
        raise StoreUnavailable("no disk", retry_after=1)

    store = StoreSection(url=f"rocksdb:{tmp_path / 'store'}")
    async with serving(tmp_path, store=store) as server, udp_phone(server) as phone:
        disk = server._store._disk  # type: ignore[attr-defined]
        monkeypatch.setattr(disk, "write", fail)
        answer = await phone.ask(request("REGISTER", contact()))
        assert answer.status == 503
        assert server.figures.readiness() == (False, "the store takes no changes")
        assert samples(server)["reginfo_store_ops_total", "operation=commit", "result=failed"] == 1
        monkeypatch.undo()


async def test_a_server_whose_ticker_has_ended_is_not_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as server:
        async with asyncio.timeout(10):
            while not server._administration.monitoring().is_alive():
                await asyncio.sleep(0.01)
        now = server._clock.now
        monkeypatch.setattr(server._clock, "now", lambda: now()._replace(ms=now().ms + 10_001))
        assert not server._administration.monitoring().is_alive()


@asynccontextmanager
async def serving_http(folder: Path, **admin: Any) -> AsyncIterator[tuple[Server, ClientSession]]:
    """Run a server with HTTP until the block ends, and a client without the token."""
    section = AdminSection(
        socket=str(folder / "control.sock"), listen="127.0.0.1:0", token_file=str(folder / "token"), **admin
    )
    server = Server(Config(listen=("udp:127.0.0.1:0",), store=StoreSection(url="memory:"), admin=section))
    await server.start()
    try:
        async with ClientSession(server.dashboard.partition("#")[0]) as client:
            yield server, client
    finally:
        await server.close()


async def test_health_is_answered_over_http_without_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(path: str) -> tuple[int, str]:
        async with client.get(path) as response:
            return response.status, await response.text()

    async with serving_http(tmp_path) as (server, client):
        async with asyncio.timeout(10):
            while (await ask("/healthz"))[0] != 200:
                await asyncio.sleep(0.01)
        assert await ask("/healthz") == (200, "alive\n")
        assert await ask("/readyz") == (200, "serving\n")
        monkeypatch.setattr(server._lag, "tick", lambda now_ms: None)
        server._lag._ticked_ms -= 10_001
        assert await ask("/healthz") == (503, "nothing that is due is done\n")
        server._engine.drain(10)
        assert await ask("/readyz") == (503, "draining\n")
        assert await ask("/healthz") == (200, "alive\n")  # what is under way is finished, and nothing else done


async def test_probes_are_told_of_a_drain_while_it_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving_http(tmp_path) as (server, client):
        commit = server._records.commit
        may_end = asyncio.Event()

        async def slow(*what: Any) -> list[int]:
            await may_end.wait()
            return await commit(*what)

        monkeypatch.setattr(server._records, "commit", slow)
        adding = asyncio.create_task(server.location.create("sip:alice@example.com", "sip:a@192.0.2.7", 60))
        async with asyncio.timeout(10):
            while not server._turns:
                await asyncio.sleep(0)
        closing = asyncio.create_task(server.close())
        async with client.get("/readyz") as response:
            assert (response.status, await response.text()) == (503, "draining\n")
        may_end.set()
        await closing
        assert await adding == 1


async def test_a_scrape_negotiates_its_format(tmp_path: Path) -> None:
    accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"  # Prometheus'
    async with serving_http(tmp_path) as (_, client):
        async with client.get("/metrics", headers={"Accept": accept}) as response:
            assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
            assert (await response.text()).endswith("# EOF\n")
        async with client.get("/metrics") as response:
            assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert "reginfo_ready 1.0\n" in await response.text()


@pytest.mark.parametrize("kamailio_metrics", [False, True])
async def test_a_scrape_has_every_family_and_no_other(tmp_path: Path, promtool: Path, kamailio_metrics: bool) -> None:
    """And promtool has nothing to say against it."""
    serving_all = serving_http(tmp_path, kamailio_metrics=kamailio_metrics)
    async with serving_all as (_, client), client.get("/metrics") as response:
        text = await response.text()
    families = FAMILIES + KAMAILIO if kamailio_metrics else FAMILIES
    assert re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE) == [(one.name, one.kind) for one in families]
    check = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (check.returncode, check.stdout + check.stderr) == (0, "")
    read = set().union(*map(names, expressions()))
    exposed = {one.name for one in FAMILIES}
    for part in ("bucket", "count", "sum"):
        exposed |= {f"{one.name}_{part}" for one in FAMILIES if one.kind == "histogram"}
    assert read <= exposed
    assert exposed & read >= {one.name for one in FAMILIES if one.kind != "histogram"}, "nobody looks at it"


@pytest.mark.parametrize("command", [("check", "rules", RULES), ("test", "rules", RULES.with_name("rules.test.yml"))])
def test_the_rules_are_good(promtool: Path, command: tuple[str, ...]) -> None:
    done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_and_has_its_words() -> None:
    rules = RULES.read_text()
    alerts = re.findall(r"- alert: (\w+)", rules)
    assert len(alerts) == len(re.findall(r"summary:", rules)) == len(re.findall(r"description:", rules))
    tested = RULES.with_name("rules.test.yml").read_text()
    for alert in alerts:
        assert len(re.findall(rf"alertname: {alert}\b", tested)) == 2  # once silent, once not


def test_the_dashboard_is_one_that_can_be_imported() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            assert target["expr"].count("(") == target["expr"].count(")")


def test_expressions_of_the_dashboard_are_promql(promtool: Path, tmp_path: Path) -> None:
    """Each of them is a rule that promtool can read, once Grafana's variables have values."""
    rules = []
    for number, panel in enumerate(json.loads(DASHBOARD.read_text())["panels"]):
        for index, target in enumerate(panel.get("targets", ())):
            expression = target["expr"].replace("$__rate_interval", "5m")
            rules.append({"record": f"panel:{number}_{index}", "expr": re.sub(r"\$\w+", ".*", expression)})
    document = tmp_path / "panels.yml"
    document.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))  # JSON is YAML
    done = subprocess.run([promtool, "check", "rules", document], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
