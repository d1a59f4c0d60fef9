"""Where traced messages are sent: `[trace]`."""

from typing import Annotated

from msgspec import Meta

from reginfo.config.section import Section
from reginfo.config.values import Listener, parse_listener
from reginfo.errors import ConfigError


class TraceSection(Section, frozen=True, kw_only=True):
    """Where traced messages are sent, besides to those who follow them here."""

    hep: str = ""
    "Collector of HEPv3 packets, udp:ADDRESS:PORT; empty: none."
    capture_id: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 2001
    "What this server is called in those packets."
    password_file: str = ""
    "File with the password that the collector asks for."

    def __post_init__(self) -> None:
        if self.hep and (self.collector is None or not self.collector.port):
            raise ConfigError(
                f"trace.hep {self.hep!r} must be udp:ADDRESS:PORT with an IP address, IPv6 in brackets "
                "(udp:127.0.0.1:9060)",
                key="trace.hep",
            )
        if self.password_file and not self.hep:
            raise ConfigError("trace.password_file needs trace.hep, who the password is for", key="trace.hep")

    @property
    def collector(self) -> Listener | None:
        """Who gets HEP packets, if anybody does."""
        try:
            where = parse_listener(self.hep)
        except ConfigError:
            return None
        return where if where.transport == "udp" else None
