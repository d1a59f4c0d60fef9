"""`reginfo trace` against a real server."""

import json
import signal
import subprocess

import click
import pytest

from reginfo.admin.control import Json, Params
from tests.cli.conftest import Registrar, Run, Serve, Spawn


def started(spawn: Spawn, registrar: Registrar, *arguments: str) -> subprocess.Popen[str]:
    """Return a trace that is on."""
    process = spawn("trace", *arguments, "--socket", registrar.socket)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("tracing "), line
    return process


def test_messages_are_shown_with_time_transport_and_addresses(spawn: Spawn, run: Run, registrar: Registrar) -> None:
    process = started(spawn, registrar, "tracer@example.com", "--count", "2")
    assert run("register", "tracer@example.com", "sip:desk@192.0.2.1", "--server", registrar.udp).code == 0
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "ended after 2 messages\n")
    lines = out.splitlines()
    server = registrar.udp.removeprefix("sip:")
    first = lines[0].split("  ")
    assert first[1:3] == ["<-", "UDP"]
    assert first[3].endswith(f" -> {server}")
    assert lines[1] == "REGISTER sip:example.com SIP/2.0"
    assert "Contact: <sip:desk@192.0.2.1>" in out
    second = next(line for line in lines[1:] if "  ->  " in line).split("  ")
    assert second[2] == "UDP"
    assert second[3].startswith(f"{server} -> ")
    assert "SIP/2.0 200 OK" in lines


def test_json_is_a_document_for_each_message(spawn: Spawn, run: Run, registrar: Registrar) -> None:
    process = started(spawn, registrar, "127.0.0.0/8", "--json", "--count", "2")
    assert run("ping", registrar.tcp).code == 0
    out, _ = process.communicate()
    one, two = map(json.loads, out.splitlines())
    assert sorted(one) == ["Destination", "Direction", "Message", "Source", "Time", "Transport"]
    assert (one["Direction"], two["Direction"], one["Transport"]) == ("in", "out", "tcp")
    assert (one["Source"], one["Destination"]) == (two["Destination"], two["Source"])
    assert one["Message"].startswith("OPTIONS ")


def test_control_characters_do_not_reach_the_terminal(spawn: Spawn, run: Run, registrar: Registrar) -> None:
    process = started(spawn, registrar, "hostile@example.com", "--count", "2")
    run("register", "hostile@example.com", '"\x1b[2J" <sip:x@192.0.2.1>', "--server", registrar.udp)
    run("register", "hostile@example.com", "--server", registrar.udp)
    out, _ = process.communicate()
    assert "\x1b" not in out


def test_ctrl_c_ends_the_trace_in_the_server(spawn: Spawn, run: Run, registrar: Registrar) -> None:
    process = started(spawn, registrar, "192.0.2.77", "--seconds", "600")
    listed = run("trace", "--socket", registrar.socket)
    assert [line.split("  ")[1] for line in listed.out.splitlines() if "running" in line] == ["192.0.2.77"]
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 0
    listed = run("trace", "--json", "--socket", registrar.socket)
    assert "192.0.2.77" not in listed.out


def test_ctrl_c_ends_a_trace_that_has_not_been_told_of(
    run: Run, registrar: Registrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo = click.echo

    def interrupted(message: str = "", *, err: bool = False) -> None:
        if message.startswith("tracing "):
            raise KeyboardInterrupt
        echo(message, err=err)

    with monkeypatch.context() as patch:
        patch.setattr(click, "echo", interrupted)
        assert run("trace", "192.0.2.78", "--socket", registrar.socket).code == 0
    assert "192.0.2.78" not in run("trace", "--json", "--socket", registrar.socket).out


def test_where_no_trace_runs_it_says_how_to_start_one(run: Run, serve: Serve) -> None:
    async def none(_given: Params) -> Json:
        return []

    serve({"trace.list": none})
    assert run("trace") == (0, "", "no trace runs; reginfo trace AOR starts one\n")


def test_what_cannot_be_traced_is_wrong_usage(run: Run, registrar: Registrar) -> None:
    ran = run("trace", "nonsense", "--socket", registrar.socket)
    assert (ran.code, ran.out) == (2, "")
    assert "neither an address-of-record" in ran.err
    ran = run("trace", "192.0.2.1", "--hep", "--socket", registrar.socket)
    assert ran.code == 2
    assert "trace.hep is empty" in ran.err
    assert run("trace", "192.0.2.1", "--seconds", "0").code == 2
