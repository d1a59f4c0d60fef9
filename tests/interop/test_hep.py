"""What sngrep, as the collector, makes of a trace: it writes packets of what it was told, which tshark dissects."""

import asyncio
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.server_fixture import PATIENCE, free_port
from tests.test_tracing import phone, shown, talk, traced_server

pytestmark = pytest.mark.network

FIELDS = ("frame.time_epoch", "ip.src", "ip.dst", "udp.srcport", "udp.dstport", "udp.payload")


def found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


async def listening(port: int) -> None:
    """Wait until somebody has a port of 127.0.0.1 for UDP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return
        await asyncio.sleep(0.02)


def dissected(file: Path) -> list[list[str]]:
    """Return the fields of each packet of a whole capture file."""
    told = [argument for field in FIELDS for argument in ("-e", field)]
    command = [found("tshark"), "-r", str(file), "-T", "fields", *told]
    return [line.split("\t") for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines()]


@pytest.mark.parametrize("transport", ["udp", "tls", "ws"])
async def test_sngrep_sees_what_passed(tmp_path: Path, transport: str) -> None:
    """HEP3 specification: addresses, ports, times and payload are those of the message, inside TLS as well.

    sngrep writes every message as a datagram.
    """
    found("tshark")
    port = free_port("127.0.0.1")
    capture = tmp_path / "capture.pcap"
    command = [found("sngrep"), "-F", "-N", "-q", "-L", f"udp:127.0.0.1:{port}", "-O", str(capture)]
    before = time.time()
    sngrep = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        async with asyncio.timeout(3 * PATIENCE):
            await listening(port)
            async with traced_server(tmp_path, f"udp:127.0.0.1:{port}") as (server, context):
                server.traces.start("alice@example.com", 60, 8, True)
                async with phone(server, transport, context) as it:
                    await talk(it)
                    while server.traces.is_on:
                        await asyncio.sleep(0.01)
            while len(packets := dissected(capture)) < 8:
                assert sngrep.poll() is None
                await asyncio.sleep(0.1)
    finally:
        sngrep.terminate()
        sngrep.wait()
    after = time.time()
    for packet, (is_sent, octets) in zip(packets, it.passed, strict=True):
        source, destination = (it.remote, it.local) if is_sent else (it.local, it.remote)
        assert before - 0.001 <= float(packet[0]) <= after
        assert packet[1:5] == [source[0], destination[0], str(source[1]), str(destination[1])]
        assert bytes.fromhex(packet[5]) == shown(octets)
