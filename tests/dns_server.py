"""A name server on the loopback interface: it serves what a test puts into it, over UDP and TCP."""

import asyncio
import socket
from typing import Any, Self

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class DnsServer(asyncio.DatagramProtocol):
    """Answers from its records; an alias is answered with what it leads to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        "(name, type) of each question, in order."
        self.is_silent = False
        self.garbage = b""
        "Sent instead of every answer."
        self.longest = 65_535
        "Octets of a datagram; a longer answer is asked for over TCP."
        self._records: dict[tuple[str, str], dns.rrset.RRset] = {}

    def add(self, name: str, kind: str, *values: str, ttl: int = 300) -> None:
        """Serve records of a kind at a name."""
        self._records[name.lower(), kind] = dns.rrset.from_text(f"{name}.", ttl, "IN", kind, *values)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        while True:
            self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
            try:
                self._streams = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            except OSError:  # somebody else has this port
                self._transport.close()
            else:
                return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()
        self._streams.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(2), "big")
        answer = self._answer(dns.message.from_wire(await reader.readexactly(length))).to_wire(max_size=65_535)
        writer.write(len(answer).to_bytes(2, "big") + answer)
        writer.close()

    @property
    def port(self) -> int:
        port: int = self._transport.get_extra_info("sockname")[1]
        return port

    def resolver(self) -> dns.asyncresolver.Resolver:
        """Return a resolver that asks this server alone."""
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = self.port
        return resolver

    def datagram_received(self, data: bytes, addr: Any) -> None:
        try:
            question = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return
        answer = self._answer(question)
        if len(answer.to_wire(max_size=65_535)) > self.longest:
            answer.answer.clear()
            answer.flags |= dns.flags.TC
        if not self.is_silent:
            self._transport.sendto(self.garbage or answer.to_wire(max_size=65_535), addr)

    def _answer(self, question: dns.message.Message) -> dns.message.Message:
        name = question.question[0].name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.question[0].rdtype)
        self.asked.append((name, kind))
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.AA | dns.flags.RA
        alias = self._records.get((name, "CNAME"))
        if alias is not None:
            answer.answer.append(alias)
            name = alias[0].target.to_text(omit_final_dot=True).lower()
        found = self._records.get((name, kind))
        if found is not None:
            answer.answer.append(found)
        elif all(served != name for served, _ in self._records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer


def dead_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    """Return a port of 127.0.0.1 that nobody listens at."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
