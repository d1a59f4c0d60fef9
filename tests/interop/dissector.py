"""What tshark says of messages on loopback: a second opinion on their syntax."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from lxml import etree

from tests.interop.kamailio import PAUSE
from tests.server_fixture import PATIENCE, Address, loopback_address

# Expert information counts from severity PI_WARN on, or if its group is PI_MALFORMED, as Wireshark numbers them.
WARNING = 0x600000
MALFORMED = 0x7000000


@dataclass(frozen=True)
class Dissected:
    """One SIP message, as the dissector decoded it."""

    source: Address
    destination: Address
    method: str | None
    "Of a request."
    status: int | None
    "Of a response."
    fields: dict[str, tuple[str, ...]]
    "Every value by the name of its field, such as `sip.Call-ID` and `reginfo.registration.aor`."
    warnings: tuple[str, ...]
    "Expert information that finds fault."
    malformed: bool
    "Whether dissecting it failed half-way."
    is_xml: bool
    "Whether the body was dissected as XML."

    def first(self, name: str) -> str | None:
        """Return the first value of a field."""
        return next(iter(self.fields.get(name, ())), None)

    @property
    def unknown_xml(self) -> tuple[str, ...]:
        """What of its XML is not part of a registration document: the dissector has a definition of those."""
        names = ("xml.tag", "xml.attribute", "xml.unrecognized")
        return tuple(value for name in names for value in self.fields.get(name, ()))


class Capture:
    """A capture that is going on; `messages` once it has ended."""

    def __init__(self) -> None:
        self.messages: list[Dissected] = []


@contextmanager
def captured(folder: Path, *ports: int) -> Iterator[Capture]:
    """Capture UDP from and to ports during a block; afterwards the dissected SIP messages are in `messages`."""
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("tshark is not installed")
    file = folder / f"{time.monotonic_ns()}.pcapng"
    capture = Capture()
    # Datagrams of one's own show in the file that it has begun, and that all before them are in it.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as marker:
        marker.bind((loopback_address(), 0))
        sink = marker.getsockname()
        wanted = " or ".join(f"port {port}" for port in ports)
        command = [tshark, "-q", "-i", "lo", "-f", f"udp and ({wanted} or host {sink[0]})", "-w", str(file)]
        with (folder / "tshark.log").open("wb") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            _marked(marker, sink, file, process, folder / "tshark.log")
            yield capture
            _marked(marker, sink, file, process, folder / "tshark.log")
        finally:
            process.terminate()
            process.wait()
    capture.messages = _dissect(tshark, file, ports)


def _marked(marker: socket.socket, sink: Address, file: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    mark = os.urandom(16)
    deadline = time.monotonic() + PATIENCE
    while not (file.exists() and mark in file.read_bytes()):
        if process.poll() is not None:
            said = log.read_text(errors="replace").strip()
            pytest.skip(f"tshark cannot capture on loopback: {said[-500:]}")
        assert time.monotonic() < deadline, "the capture does not get ahead"
        marker.sendto(mark, sink)
        time.sleep(5 * PAUSE)


def _dissect(tshark: str, file: Path, ports: tuple[int, ...]) -> list[Dissected]:
    command = [tshark, "-r", str(file), "-T", "pdml", "-Y", "sip"]
    for port in ports:
        command += ["-d", f"udp.port=={port},sip"]
    packets = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    root = etree.fromstring(packets, etree.XMLParser(resolve_entities=False, huge_tree=True))
    return [_message(packet) for packet in root.iterfind("packet")]


def _message(packet: etree._Element) -> Dissected:
    fields: dict[str, list[str]] = {}
    for field in packet.iter("field"):
        fields.setdefault(str(field.get("name")), []).append(str(field.get("show")))
    experts = zip(
        fields.get("_ws.expert.message", ()),
        fields.get("_ws.expert.severity", ()),
        fields.get("_ws.expert.group", ()),
        strict=True,
    )
    warnings = tuple(
        message for message, severity, group in experts if int(severity, 0) >= WARNING or int(group, 0) == MALFORMED
    )
    names = {str(proto.get("name")) for proto in packet.iter("proto")}
    status = fields.get("sip.Status-Code")
    return Dissected(
        source=(fields["ip.src"][0], int(fields["udp.srcport"][0])),
        destination=(fields["ip.dst"][0], int(fields["udp.dstport"][0])),
        method=None if status else fields["sip.Method"][0],
        status=int(status[0]) if status else None,
        fields={name: tuple(values) for name, values in fields.items()},
        warnings=warnings,
        malformed=any("malformed" in name for name in [*names, *fields]),
        is_xml="xml" in names,
    )
