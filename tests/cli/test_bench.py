"""`reginfo bench` and the table of `make bench-sipp` (words of RFC 6076 and RFC 7501)."""

import csv
import dataclasses
import json
import math
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import sipp_table
from reginfo.cli._measurements import Measurement, markdown, middle
from reginfo.cli._peers import Peer, await_answer, echo_server, free_port
from reginfo.cli.bench import Bench
from reginfo.config import parse_listener
from reginfo.errors import ReginfoError
from tests.cli.conftest import Run
from tests.server_fixture import running_server

network = pytest.mark.network

RUN = Measurement(
    server="reginfo memory",
    generator="own",
    phase="refresh",
    aors=10_000,
    offered=0.0,
    requests=1000,
    rate=100_000.0,
    cpu_us=4.0,
    lost=0,
    failed=0,
    retransmissions=0,
    p50_ms=0.5,
    p99_ms=1.0,
    p999_ms=2.0,
    bytes_per_binding=None,
    generator_drops=0,
)


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], str]]:
    """Run registrars that give every request the same final status; yield how to start one."""
    stoppers: list[tuple[threading.Thread, socket.socket]] = []

    def start(status: bytes) -> str:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while (received := server.recvfrom(65536))[0] != b"stop":
                request, source = received
                kept = [line for line in request.split(b"\r\n") if line.startswith((b"Call-ID:", b"CSeq:"))]
                server.sendto(b"\r\n".join([b"SIP/2.0 " + status, *kept, b"", b""]), source)

        thread = threading.Thread(target=serve)
        thread.start()
        stoppers.append((thread, server))
        return f"udp:127.0.0.1:{server.getsockname()[1]}"

    yield start
    for thread, server in stoppers:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stopper:
            stopper.sendto(b"stop", server.getsockname())
        thread.join()
        server.close()


@network
def test_a_running_server_is_measured_in_the_words_of_the_rfcs(run: Run, answering: Callable[[bytes], str]) -> None:
    target = answering(b"200 OK")
    ran = run("bench", "server", "--target", target, "--aors", "20", "--requests", "40", "--rounds", "2")
    assert ran.code == 0
    for words in ("Registration Rate", "Registration Request Delay", "Ineffective Registration Attempts", "p99.9"):
        assert words in ran.out


@network
def test_json_csv_and_plot_hold_the_same_runs(run: Run, answering: Callable[[bytes], str], tmp_path: Path) -> None:
    table, plot = tmp_path / "out.csv", tmp_path / "out.png"
    files = ("--csv", str(table), "--plot", str(plot))
    common = ("bench", "server", "--aors", "10", "--requests", "20", "--rounds", "2", "--json")
    ran = run(*common, "--target", answering(b"200 OK"), *files)
    runs = json.loads(ran.out)
    assert [(one["phase"], one["requests"], one["ineffective"]) for one in runs] == [
        ("register", 10, 0),
        ("refresh", 40, 0),
    ]
    with table.open(newline="") as file:
        assert [row["phase"] for row in csv.DictReader(file)] == ["register", "refresh"]
    assert plot.read_bytes().startswith(b"\x89PNG")


@network
def test_ineffective_attempts_end_with_1(run: Run, answering: Callable[[bytes], str]) -> None:
    """Exit codes: 1 if some calls failed."""
    ran = run("bench", "server", "--target", answering(b"503 No"), "--aors", "2", "--requests", "2", "--rounds", "1")
    assert ran.code == 1
    assert "100 % (0 lost, 2 failed)" in ran.out


@pytest.mark.parametrize("target", ["127.0.0.1:5060", "tcp:127.0.0.1:5060", "udp:localhost:5060", "udp::5060"])
def test_a_target_that_is_no_udp_address_is_a_usage_error(run: Run, target: str) -> None:
    assert run("bench", "server", "--target", target).code == 2


@network
def test_echo_says_where_it_listens_and_sends_back(spawn: Callable[..., "subprocess.Popen[str]"]) -> None:
    process = spawn("bench", "echo")
    assert process.stdout is not None
    where = parse_listener(process.stdout.readline().strip())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.sendto(b"\0octets", (where.host, where.port))
        assert client.recv(100) == b"\0octets"
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 1


@network
def test_the_echo_is_measured_with_its_cpu_and_memory() -> None:
    with echo_server() as peer:
        load = Bench(peer, 100)
        filled, refreshed = load.fill(), load.refresh(2000)
    assert (filled.phase, filled.requests, refreshed.phase, refreshed.requests) == ("register", 100, "refresh", 2000)
    assert filled.bytes_per_binding is not None
    assert refreshed.cpu_us is not None


@network
def test_a_server_that_does_not_start_is_told_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("no such option")
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(ReginfoError, match="did not start: no such option"):
            await_answer(Peer("reginfo", "127.0.0.1", free_port(), ended.pid), tmp_path)


def test_the_middle_of_runs_is_their_median_and_losses_add_up() -> None:
    runs = [
        dataclasses.replace(RUN, rate=rate, cpu_us=cpu, lost=1) for rate, cpu in ((1.0, 9.0), (5.0, 2.0), (3.0, 4.0))
    ]
    medians = middle(runs)
    assert (medians.rate, medians.cpu_us, medians.lost, medians.requests) == (3.0, 4.0, 3, 3000)
    assert middle([dataclasses.replace(RUN, cpu_us=None)]).cpu_us is None


def test_the_table_is_markdown_with_a_dash_for_what_is_not_known() -> None:
    lines = markdown([RUN, dataclasses.replace(RUN, p50_ms=math.nan, cpu_us=None)]).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert set(lines[1]) == {"|", "-"}
    assert "| 100,000 " in lines[2]
    assert lines[3].count(" - ") == 4


def test_percentiles_of_sipp_are_the_bounds_of_its_classes() -> None:
    name = "ResponseTimeRepartition1_"
    row = {f"{name}<1": "50", f"{name}<5": "49", f"{name}>=5": "1", "other": "x"}
    assert [sipp_table.sipp_percentile(row, q) for q in (50, 51, 99, 99.9)] == [1.0, 5.0, 5.0, math.inf]
    assert math.isnan(sipp_table.sipp_percentile({}, 50))


def test_of_sipps_steps_the_highest_that_was_loss_free_in_every_round_is_kept() -> None:
    """Never quote a rate with retransmissions."""
    step = dataclasses.replace(RUN, generator="SIPp", offered=5000.0, rate=5000.0)
    higher = dataclasses.replace(step, offered=10_000.0, rate=10_000.0)
    repeated = dataclasses.replace(higher, retransmissions=1)
    other = dataclasses.replace(RUN, server="Kamailio")
    assert [run.offered for run in sipp_table.table([step, higher, step, higher])] == [10_000.0]
    assert [run.offered for run in sipp_table.table([step, higher, step, repeated])] == [5000.0]
    assert [run.server for run in sipp_table.table([other, RUN, other, RUN])] == ["Kamailio", "reginfo memory"]


def test_each_of_sipps_scenarios_keeps_its_own_step() -> None:
    step = dataclasses.replace(RUN, generator="SIPp", offered=5000.0, rate=5000.0)
    watch = dataclasses.replace(step, phase="watch", offered=500.0, rate=500.0)
    lossy = dataclasses.replace(watch, offered=1000.0, rate=1000.0, lost=1)
    kept = sipp_table.table([step, watch, lossy, RUN])
    assert [(run.generator, run.phase, run.offered) for run in kept if run.generator == "SIPp"] == [
        ("SIPp", "refresh", 5000.0),
        ("SIPp", "watch", 500.0),
    ]


@network
@pytest.mark.parametrize(
    ("scenario", "requests"),
    [
        (sipp_table.WATCHER, {"REGISTER": 200, "SUBSCRIBE": 400}),
        (sipp_table.PUBLISHER, {"REGISTER": 200, "PUBLISH": 600}),
    ],
)
def test_sipp_plays_watchers_and_publishers_to_their_end(
    run: Run,
    sipp: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scenario: sipp_table.Scenario,
    requests: dict[str, int],
) -> None:
    monkeypatch.setattr(sipp_table, "STEP_SECONDS", 1)
    options = '[store]\nurl = "memory:"\n[compositor]\npublishers = ["127.0.0.1"]\n'
    with running_server(tmp_path, ["example.com"], options) as server:
        peer = Peer("reginfo", *server.udp, server.process.pid)
        assert sipp_table.sipp_step(peer, 200).lost == 0
        step = sipp_table.sipp_step(peer, 200, scenario)
        counted = json.loads(run("stats", "--json", "--socket", str(tmp_path / "reginfo.sock")).out)
    assert (step.phase, step.requests, step.lost, step.retransmissions) == (scenario.phase, 200, 0, 0)
    assert step.p99_ms < math.inf
    assert {method: counted["requests"].get(method) for method in requests} == requests
    assert set(counted["responses"]) == {"200"}
    assert counted["subscriptions"]["notifier"] == counted["publications"]["compositor"] == 0


@network
def test_kamailio_and_sipp_are_driven_as_the_table_needs(
    kamailio: Path, sipp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sipp_table, "STEP_SECONDS", 1)
    with sipp_table.kamailio() as peer:
        step = sipp_table.sipp_step(peer, 200)
        filled = Bench(peer, 500).fill()
    assert (step.requests, step.lost, step.generator) == (200, 0, "SIPp")
    assert filled.requests == 500
    assert filled.failed == 0
    assert filled.bytes_per_binding is not None
    assert 500 < filled.bytes_per_binding < 5000


@pytest.mark.parametrize(
    ("arguments", "operations"),
    [
        (["parse", "--rounds", "2"], {"parse a REGISTER": 2000, "parse a reginfo document": 2000}),
        (
            ["store", "--aors", "200", "--durability", "batched"],
            {"bind in a store (batched)": 192, "refresh in a store (batched)": 192, "load from a store": 192},
        ),
    ],
)
def test_what_parts_cost_is_told_as_text_json_csv_and_plot(
    run: Run, tmp_path: Path, arguments: list[str], operations: dict[str, int]
) -> None:
    table, plot = tmp_path / "out.csv", tmp_path / "out.png"
    ran = run("bench", *arguments, "--json", "--csv", str(table), "--plot", str(plot))
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert {one["operation"]: one["operations"] for one in found} == operations
    assert all(0 < one["us"] <= one["p99_us"] for one in found)
    with table.open(newline="") as file:
        assert [row["operation"] for row in csv.DictReader(file)] == list(operations)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert run("bench", *arguments).out.count(" us  p99 ") == len(operations)
