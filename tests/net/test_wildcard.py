"""A server on several UDP addresses, one of them the wildcard (standards.md: TRN-4)."""

import asyncio
import socket
from pathlib import Path

import pytest

from reginfo.config import AdminSection, Config, StoreSection
from reginfo.fast import parse_message
from reginfo.server import Server
from tests.harness import request
from tests.net.loops import on_uvloop

pytestmark = pytest.mark.network


def test_the_answer_leaves_from_the_address_and_port_that_were_asked(tmp_path: Path) -> None:
    """TRN-4: RFC 3581 section 4, also where the socket that was asked has no address of its own."""

    @on_uvloop
    async def check() -> None:
        server = Server(
            Config(
                listen=("udp:0.0.0.0:0", "udp:127.0.0.1:0"),
                insecure=True,
                store=StoreSection(url="memory:"),
                admin=AdminSection(socket=str(tmp_path / "control.sock")),
            )
        )
        await server.start()
        loop = asyncio.get_running_loop()
        try:
            ports = [listener.port for listener in server.listeners if listener.transport == "udp"]
            for asked in (("127.0.0.5", ports[0]), ("127.0.0.1", ports[1])):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
                    phone.settimeout(10)
                    phone.bind(("127.0.0.1", 0))
                    phone.sendto(request(), asked)
                    answer, source = await loop.run_in_executor(None, phone.recvfrom, 65536)
                    assert (parse_message(answer).status, source) == (200, asked)
        finally:
            await server.close()

    check()
