"""`reginfo serve` as a process: what it prints, what it answers, how it leaves."""

import json
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from tests.cli.conftest import Run

pytestmark = pytest.mark.network

Spawn = Callable[..., subprocess.Popen[str]]

REGISTER = (
    "REGISTER sip:example.com SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK{cseq};rport\r\n"
    "To: <sip:alice@example.com>\r\n"
    "From: <sip:alice@example.com>;tag=1\r\n"
    "Call-ID: 1@host\r\n"
    "CSeq: {cseq} REGISTER\r\n"
    "Max-Forwards: 70\r\n"
    "Contact: <sip:alice@127.0.0.1:5070>;expires=600\r\n"
    "Content-Length: 0\r\n"
    "\r\n"
)


def start(spawn: Spawn, *arguments: str) -> tuple[subprocess.Popen[str], int]:
    """Start a server and return it with its UDP port, once it says that it is ready."""
    process = spawn("serve", "--listen", "udp:127.0.0.1:0", *arguments)
    assert process.stdout is not None
    port = 0
    for line in process.stdout:
        if match := re.search(r"udp:127\.0\.0\.1:(\d+)", line):
            port = int(match[1])
        if "ul show" in line:
            return process, port
    pytest.fail(f"the server left: {process.communicate()[1]}")


def register(port: int, cseq: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.settimeout(10)
        phone.sendto(REGISTER.format(cseq=cseq).encode(), ("127.0.0.1", port))
        return phone.recv(65535).decode()


def wait_for(stream: IO[str] | None, text: str) -> str:
    assert stream is not None
    for line in stream:
        if text in line:
            return line
    pytest.fail(f"never printed: {text}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_registers_answers_its_operator_and_leaves_with_a_summary(
    spawn: Spawn, run: Run, number: signal.Signals
) -> None:
    process, port = start(spawn, "--store", "memory:")
    assert register(port, 1).startswith("SIP/2.0 200 ")
    shown = json.loads(run("ul", "show", "alice@example.com", "--json").out)
    assert [contact["Address"] for contact in shown["Contacts"]] == ["sip:alice@127.0.0.1:5070"]

    assert run("ul", "add", "bob@example.com", "sip:bob@127.0.0.1:5071", "--q", "0.5").code == 0
    assert len(run("ul", "dump").out.splitlines()) == 2
    assert run("ul", "rm", "-y", "alice@example.com").out == "removed 1 contact\n"
    assert run("ul", "show", "alice@example.com").code == 3
    assert run("stats", "requests:REGISTER").out == "requests:REGISTER = 1\n"

    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "reginfo has stopped" in out
    assert "REGISTER 1" in out
    assert "Traceback" not in err
    assert not Path("reginfo.sock").exists()
    events = [line.split("event=")[1].split()[0] for line in err.splitlines() if "aor=sip:" in line]
    assert events == ["created", "deactivated"]  # what a phone does is there at DEBUG


def test_bindings_survive_a_restart(spawn: Spawn, run: Run) -> None:
    process, port = start(spawn)
    assert register(port, 1).startswith("SIP/2.0 200 ")
    process.kill()
    process.communicate()
    process, port = start(spawn)
    assert run("ul", "show", "alice@example.com").code == 0
    assert "expires=" in register(port, 2)


def test_sighup_reads_the_configuration_again(spawn: Spawn) -> None:
    file = Path("reginfo.toml")
    file.write_text('domains = ["example.net"]\n[store]\nurl = "memory:"')
    process, port = start(spawn)
    assert register(port, 1).startswith("SIP/2.0 404 ")
    file.write_text('domains = ["example.com"]\n[store]\nurl = "memory:"')
    process.send_signal(signal.SIGHUP)
    wait_for(process.stderr, "configuration read again")
    assert register(port, 2).startswith("SIP/2.0 200 ")


def test_a_port_in_use_is_one_line(spawn: Spawn) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        process = spawn("serve", "--listen", f"udp:127.0.0.1:{port}", "--store", "memory:")
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out == ""
    reason = "Address already in use (--listen and --admin take other addresses)"
    assert err == f"reginfo: bind 127.0.0.1:{port}: {reason}\n"
    assert "Traceback" not in err


def test_a_second_server_on_the_same_socket_is_refused(spawn: Spawn) -> None:
    start(spawn, "--store", "memory:")
    second = spawn("serve", "--listen", "udp:127.0.0.1:0", "--store", "memory:")
    _, err = second.communicate(timeout=60)
    assert second.returncode == 1
    assert err.endswith("reginfo: admin.socket reginfo.sock: another server answers there\n")
