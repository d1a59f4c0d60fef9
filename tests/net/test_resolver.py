"""Look-ups of hosts that others have named."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import dns.resolver
import pytest

from reginfo.model import Naptr, Srv
from reginfo.net import resolver as module
from reginfo.net.resolver import MAX_ADDRESSES, MAX_CACHED, MAX_RECORDS, Resolver, local_towards
from tests.dns_server import DnsServer


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DnsServer]:
    async with DnsServer() as server:
        monkeypatch.setattr(module, "system_dns", server.resolver)
        yield server


async def test_hosts_that_are_slow_to_find_hold_up_no_other_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-3: a hundred Contacts with names whose servers do not answer, while the store has to be synced"""
    answered = threading.Event()

    def wait(host: str, port: None, **options: Any) -> Any:
        answered.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    resolver = Resolver()
    lookups = [asyncio.create_task(resolver.ask("HOST", f"h{number}.example")) for number in range(100)]
    await asyncio.sleep(0.05)
    try:
        async with asyncio.timeout(2):
            assert await asyncio.get_running_loop().run_in_executor(None, lambda: "synced") == "synced"
    finally:
        answered.set()
    assert await asyncio.gather(*lookups) == [[]] * 100


def test_the_local_address_is_the_one_of_the_way_there() -> None:
    """DNS-3: what no way leads to is not usable (RFC 7984), and what is no address is not looked up here."""
    assert local_towards("127.0.0.1") == "127.0.0.1"
    assert local_towards("localhost") is local_towards("999.0.0.1") is local_towards("1.2") is None


async def test_hosts_are_the_systems_with_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS-3: A and AAAA are the system's, so that its hosts file counts."""
    assert "127.0.0.1" in await Resolver().ask("HOST", "localhost")
    for count in (MAX_ADDRESSES, MAX_ADDRESSES + 1):
        found = [(socket.AF_INET, 2, 17, "", (f"192.0.2.{n}", 0)) for n in range(count)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, found=found, **__: found)
        assert len(await Resolver().ask("HOST", f"h{count}.example")) == MAX_ADDRESSES


@pytest.mark.network
async def test_records_come_from_dns_as_they_are(server: DnsServer) -> None:
    """DNS-2, DNS-3: through an alias too, and nothing where there is nothing."""
    server.add("example.test", "NAPTR", '10 20 "s" "SIP+D2U" "" _sip._udp.example.test.')
    server.add("_sip._udp.example.test", "CNAME", "_Sip.Other.test.")
    server.add("_sip.other.test", "SRV", "1 2 5070 A.example.test.", "0 0 0 .")
    resolver = Resolver()
    assert list(await resolver.ask("NAPTR", "example.test")) == [
        Naptr(10, 20, "s", "SIP+D2U", "", "_sip._udp.example.test")
    ]
    found = await resolver.ask("SRV", "_sip._udp.example.test")
    assert sorted(found) == [Srv(0, 0, 0, "."), Srv(1, 2, 5070, "a.example.test")]
    assert not await resolver.ask("SRV", "_sip._tcp.example.test")
    assert not await resolver.ask("NAPTR", "x" * 64 + ".test")


@pytest.mark.network
async def test_long_answers_are_asked_for_over_tcp_and_endless_ones_not_read(server: DnsServer) -> None:
    """DNS-2, SEC-3: whoever owns a zone chooses what is in it, and 64 KiB are a sixth of a second to read."""
    server.longest = 512
    for name, count in (("long", 20), ("endless", 2000)):
        server.add(f"{name}.test", "SRV", *(f"{n} 0 5060 h{n}.test." for n in range(count)))
    resolver = Resolver()
    assert len(await resolver.ask("SRV", "long.test")) == 20
    assert not await resolver.ask("SRV", "endless.test")


@pytest.mark.network
async def test_the_records_remembered_of_an_answer_are_bounded(server: DnsServer) -> None:
    """SEC-3: those that go first are kept."""
    for count in (MAX_RECORDS, MAX_RECORDS + 1):
        server.add(f"s{count}.test", "SRV", *(f"{n} 0 5060 h.test." for n in reversed(range(count))))
        server.add(f"n{count}.test", "NAPTR", *(f'{n} 1 "s" "SIP+D2U" "" h.test.' for n in reversed(range(count))))
        for kind, name in (("SRV", f"s{count}.test"), ("NAPTR", f"n{count}.test")):
            found = await Resolver().ask(kind, name)
            assert sorted(one[0] for one in found if not isinstance(one, str)) == list(range(MAX_RECORDS))


@pytest.mark.network
async def test_an_answer_is_remembered_for_its_lifetime(server: DnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS-3: a second question is not asked before the TTL is over; nothing is remembered for 30 s."""
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    server.add("_sip._udp.example.test", "SRV", "1 2 5070 a.example.test.", ttl=60)
    resolver = Resolver()
    for name, lifetime in (("_sip._udp.example.test", 60), ("_sip._tcp.example.test", 30)):
        server.asked.clear()
        for later, times in ((0, 1), (lifetime - 1, 1), (1, 2)):
            now += later
            await resolver.ask("SRV", name)
            assert len(server.asked) == times, (name, later)


@pytest.mark.network
async def test_a_silent_name_server_is_waited_for_a_bounded_time(
    server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS-2: silence is as if nothing were there, and so is nonsense."""
    monkeypatch.setattr(module, "QUERY_TIMEOUT", 0.05)
    server.is_silent = True
    assert not await Resolver().ask("NAPTR", "example.test")
    server.is_silent = False
    server.garbage = b"\x00\x01 is no answer"
    assert not await Resolver().ask("NAPTR", "example.test")


async def test_without_name_servers_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS-2: a host without /etc/resolv.conf still has its hosts file."""

    def none() -> Any:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(module, "system_dns", none)
    assert not await Resolver().ask("SRV", "_sip._udp.example.test")


async def test_the_memory_of_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-3: whoever is asked about is named by others."""

    async def none(name: str) -> list[str]:
        return []

    monkeypatch.setattr(module, "_hosts", none)
    resolver = Resolver()
    for number in range(MAX_CACHED + 1):
        await resolver.ask("HOST", f"h{number}.example")
        assert len(resolver) == min(number + 1, MAX_CACHED)
