"""What goes wrong with connections is said, but not in a flood of lines."""

import asyncio
import logging
import ssl
from pathlib import Path

import pytest

from reginfo.config import TlsSection
from reginfo.fast import Flow
from reginfo.net.connection import StreamLimits
from reginfo.net.fault_log import FaultLog
from reginfo.net.stream import StreamServer
from reginfo.net.tls import Tls
from tests.certificates import Authority
from tests.net.loops import on_uvloop

FLOW = Flow("tls", ("127.0.0.1", 5061), ("192.0.2.1", 40_000), 3)


def test_one_line_a_second_of_a_kind(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    log = FaultLog(lambda: now)
    for _ in range(1000):
        log.tell("tls handshake failed", FLOW, "no cipher")
    log.tell("connection cut", FLOW, "idle")
    now = 1.0
    log.tell("tls handshake failed", FLOW, "no cipher")
    log.tell("connection cut", FLOW, "idle")
    assert [record.getMessage() for record in caplog.records] == [
        f"tls handshake failed flow={FLOW.text} reason=no cipher",
        f"connection cut flow={FLOW.text} reason=idle",
        "tls handshake failed, not logged count=999",
        f"tls handshake failed flow={FLOW.text} reason=no cipher",
        f"connection cut flow={FLOW.text} reason=idle",
    ]


@pytest.mark.network
def test_failed_handshakes_of_a_listener_are_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Twenty clients that do not trust the certificate, within a second of the listener's clock: one line."""
    caplog.set_level(logging.INFO)
    certificate, key = Authority(tmp_path).certify("server", "DNS:localhost")

    @on_uvloop
    async def check() -> None:
        server = StreamServer(
            asyncio.get_running_loop(),
            "127.0.0.1",
            0,
            lambda batch: None,
            lambda flow: None,
            lambda error, flow: None,
            limits=StreamLimits(),
            is_pressed=lambda: False,
            transport="tls",
            tls=Tls.load(TlsSection(certificate=str(certificate), key=str(key))),
        )
        server.faults = FaultLog(lambda: 0.0)
        await server.start()
        for _ in range(20):
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.open_connection(
                    *server.local, ssl=ssl.create_default_context(), server_hostname="localhost"
                )
        while server._held:  # each is let go when its alert has come
            await asyncio.sleep(0.001)
        await server.close()

    check()
    lines = [record.getMessage() for record in caplog.records if "handshake" in record.getMessage()]
    assert len(lines) == 1
