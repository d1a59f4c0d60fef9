"""`reginfo webhook`: a receiver in one command, and what the server says of its webhooks."""

import json
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from reginfo.admin.control import INVALID_PARAMS, ControlClient, RpcError
from tests.cli.conftest import OPTIONS, Registrar, Run, Spawn, reached
from tests.server_fixture import running_server

pytestmark = pytest.mark.network


def listening(process: "subprocess.Popen[str]") -> str:
    """Wait until a receiver is a webhook, and return its name."""
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("listening as webhook "), line
    return line.split()[-1]


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip()


def test_a_receiver_prints_what_happens_until_it_has_enough(run: Run, spawn: Spawn, registrar: Registrar) -> None:
    at = ("--socket", registrar.socket)
    receiver = spawn("webhook", "listen", "hook-a@example.com", "--count", "2", *at)
    name = listening(receiver)
    listed = run("webhook", "list", *at).out
    assert listed == f"{name}  pending 0  delivered 0  failed 0  dropped 0\n"
    run("create", "hook-other@example.com", "sip:phone@192.0.2.1", *at)
    run("create", "hook-a@example.com", "sip:phone@192.0.2.1", *at)
    assert line(receiver)[10:] == "sip:hook-a@example.com  created      sip:phone@192.0.2.1  expires 3600"
    run("deactivate", "-y", "hook-a@example.com", *at)
    assert line(receiver)[10:] == "sip:hook-a@example.com  deactivated  sip:phone@192.0.2.1"
    assert receiver.wait(30) == 0
    nothing = "there is no webhook; docs/webhooks.md says how to have one\n"
    assert run("webhook", "list", *at) == (0, "", nothing)


def test_events_are_chosen_and_printed_as_json(run: Run, spawn: Spawn, registrar: Registrar) -> None:
    at = ("--socket", registrar.socket)
    chosen = ("--event", "shortened", "--event", "rejected")
    receiver = spawn("webhook", "listen", "hook-b*@example.com", *chosen, "--json", *at)
    name = listening(receiver)
    run("create", "hook-b1@example.com", "sip:phone@192.0.2.1", *at)
    run("shorten", "hook-b1@example.com", *at)
    event = json.loads(line(receiver))
    assert (event["aor"], event["event"], event["cause"]) == ("sip:hook-b1@example.com", "shortened", "operator")
    run("reject", "-y", "hook-b1@example.com", *at)
    assert json.loads(line(receiver))["event"] == "rejected"
    [listed] = map(json.loads, run("webhook", "list", "--json", *at).out.splitlines())
    assert (listed["name"], listed["temporary"], listed["dropped"]) == (name, True, 0)
    receiver.send_signal(signal.SIGINT)
    assert receiver.wait(30) == 0
    assert run("webhook", "list", *at).out == ""


def test_what_is_not_signed_is_refused(run: Run, spawn: Spawn, registrar: Registrar) -> None:
    at = ("--socket", registrar.socket)
    receiver = spawn("webhook", "listen", *at)
    listening(receiver)
    [listed] = map(json.loads, run("webhook", "list", "--json", *at).out.splitlines())
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(listed["url"], b"{}", method="POST"), timeout=10)
    assert refused.value.code == 401
    refused.value.close()
    assert receiver.stderr is not None
    assert receiver.stderr.readline() == "a delivery with a wrong signature was refused\n"
    receiver.send_signal(signal.SIGTERM)
    assert receiver.wait(30) == 0


def test_a_receiver_ends_with_its_server(tmp_path: Path, spawn: Spawn) -> None:
    with running_server(tmp_path, ["example.com"], OPTIONS) as server:
        receiver = spawn("webhook", "listen", "--socket", reached(server).socket)
        listening(receiver)
    assert receiver.wait(30) == 4
    assert receiver.stderr is not None
    assert receiver.stderr.read().startswith("reginfo: no server at ")


def test_a_webhook_is_added_once_and_within_bounds(registrar: Registrar) -> None:
    hook = {"url": "http://127.0.0.1:9/", "secret": "s" * 16}
    with ControlClient(registrar.socket) as client:
        for wrong in (
            {"secret": "short"},
            {"url": "ftp://127.0.0.1/"},
            {"name": "a b"},
            {"events": ["lost"]},
            {"feature_tags": ["a=b"]},
            {"color": 1},
        ):
            with pytest.raises(RpcError) as refused:
                client.call("webhook.add", {**hook, **wrong})
            assert refused.value.code == INVALID_PARAMS, wrong
        names = [client.call("webhook.add", {**hook, "name": f"many{number}"})["name"] for number in range(16)]
        for name in ("many3", "one-more"):
            with pytest.raises(RpcError, match=r"already|more than 16"):
                client.call("webhook.add", {**hook, "name": name})
        for name in names:
            assert client.call("webhook.remove", [name]) == {"name": name}
        with pytest.raises(RpcError, match="no temporary webhook many0"):
            client.call("webhook.remove", ["many0"])


def test_without_a_server_the_socket_is_named(run: Run) -> None:
    for command in ("list", "listen"):
        assert run("webhook", command) == (4, "", "reginfo: no server at reginfo.sock: No such file or directory\n")
