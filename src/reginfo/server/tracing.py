"""The traces of a server, with the collector that its configuration names."""

import asyncio
import os
import socket
from pathlib import Path

from reginfo.config import TraceSection
from reginfo.errors import ConfigError
from reginfo.net.collector import Collector
from reginfo.net.hep import Hep
from reginfo.net.trace import Traces
from reginfo.server.accounts import read_secret


def open_traces(loop: asyncio.AbstractEventLoop, section: TraceSection) -> Traces:
    """Return traces, none of them on; ConfigError if the password cannot be read or no way leads to the collector."""
    where = section.collector
    if where is None:
        return Traces(loop, None)
    password = read_secret(Path(section.password_file), "trace.password_file") if section.password_file else ""
    try:
        collector = Collector(loop, where.host, where.port, Hep(section.capture_id, socket.gethostname(), password))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ConfigError(f"trace.hep {section.hep}: {reason}", key="trace.hep") from error
    return Traces(loop, collector)
