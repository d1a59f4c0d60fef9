"""What DNS and the hosts file say, and the local address that each host is reached from."""

import asyncio
import importlib
import logging
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from reginfo.model import Naptr, Srv

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver as Dns

logger = logging.getLogger(__name__)

QUERY_TIMEOUT: Final = 3.0  # seconds for NAPTR and SRV: without an answer the host itself is tried
MAX_ADDRESSES: Final = 16  # of one name
MAX_ANSWER: Final = 2048  # octets of an answer over TCP: some forty servers, and five milliseconds to read
MAX_RECORDS: Final = 64  # of one answer that are remembered, those that go first
MAX_LOOKUPS: Final = 16  # at once; whoever waits longer for a turn than a lookup may take is not served any more
MAX_CACHED: Final = 4096  # answers
MAX_TTL: Final = 3600.0  # seconds an answer is believed, whatever it says
NEGATIVE_TTL: Final = 30.0  # seconds that nothing, or no answer, is believed

# Of their own: whoever subscribes names the hosts, and what they make wait must not be the loop's other threads, in
# which the store is synced.
_threads = ThreadPoolExecutor(MAX_LOOKUPS, "reginfo-lookup")

Records = Sequence[Naptr] | Sequence[Srv] | Sequence[str]

_Info = tuple[int, int, int, str, Any]


def system_dns() -> "Dns":
    """Return a resolver that asks the name servers of the system; raises dns.exception.DNSException."""
    # Loaded by whoever needs it: it takes a tenth of a second, which no command with an IP address has to spend.
    dns: Dns = importlib.import_module("dns.asyncresolver").Resolver()
    return dns


class Resolver:
    """Answers questions about names, and remembers the answers for as long as they are good."""

    def __init__(self) -> None:
        self._cache: dict[tuple[str, str], tuple[Records, float]] = {}
        self._turns = asyncio.Semaphore(MAX_LOOKUPS)

    async def ask(self, kind: str, name: str) -> Records:
        """Return the records of a kind (NAPTR or SRV) at a name, or its addresses (HOST); none if there are none."""
        known = self._cache.pop((kind, name), None)
        if known is None or known[1] <= time.monotonic():
            if kind == "HOST":
                known = await _hosts(name), time.monotonic() + NEGATIVE_TTL  # of their lifetime nothing is said
            else:
                async with self._turns:
                    records, ttl = await _records(kind, name)
                known = records, time.monotonic() + min(ttl, MAX_TTL)
        while len(self._cache) >= MAX_CACHED:
            del self._cache[next(iter(self._cache))]
        self._cache[kind, name] = known
        return known[0]

    def __len__(self) -> int:
        """Return the number of answers remembered."""
        return len(self._cache)


async def _records(kind: str, name: str) -> tuple[Records, float]:
    """Return what DNS has, and the seconds for which that is good."""
    loop = asyncio.get_running_loop()
    dns = await loop.run_in_executor(_threads, importlib.import_module, "dns.exception")
    try:
        resolver = await loop.run_in_executor(_threads, system_dns)  # it reads /etc/resolv.conf
        answer = await resolver.resolve(
            f"{name}.", kind, raise_on_no_answer=False, lifetime=QUERY_TIMEOUT, backend=_Bounded()
        )
        if answer.rrset is None:
            return (), NEGATIVE_TTL
        records: list[Any] = [_naptr(one) for one in answer.rrset] if kind == "NAPTR" else [*map(_srv, answer.rrset)]
        # The first number says which go first, order or priority.
        return sorted(records, key=itemgetter(0))[:MAX_RECORDS], answer.rrset.ttl
    except (dns.DNSException, OSError, EOFError, UnicodeError, ValueError) as error:
        logger.debug("no answer of dns kind=%s name=%s reason=%s", kind, name, type(error).__name__)
        return (), NEGATIVE_TTL


class _Bounded:
    """The sockets of dnspython, over which no long answer comes in: its records would be read one by one."""

    def __init__(self) -> None:
        self._backend = importlib.import_module("dns.asyncbackend").get_backend("asyncio")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    async def make_socket(self, family: int, kind: int, *where: Any) -> Any:
        made = await self._backend.make_socket(family, kind, *where)
        if kind == socket.SOCK_STREAM:
            receive = made.recv

            async def bounded(size: int, timeout: float | None) -> bytes:
                if size > MAX_ANSWER:
                    raise EOFError("the answer is too long")
                octets: bytes = await receive(size, timeout)
                return octets

            made.recv = bounded
        return made


def _naptr(record: Any) -> Naptr:
    flags, service, regexp = (
        value.decode("ascii", "replace") for value in (record.flags, record.service, record.regexp)
    )
    return Naptr(record.order, record.preference, flags, service, regexp, _text(record.replacement))


def _srv(record: Any) -> Srv:
    return Srv(record.priority, record.weight, record.port, _text(record.target))


def _text(name: Any) -> str:
    return str(name.to_text(omit_final_dot=True)).lower()


async def _hosts(name: str) -> list[str]:
    """Return the addresses that the system has for a name, in the order of preference (RFC 6724).

    It asks for A and AAAA at once and knows the hosts file.
    """
    ask = partial(socket.getaddrinfo, name, None, type=socket.SOCK_DGRAM)
    try:
        found: Sequence[_Info] = await asyncio.get_running_loop().run_in_executor(_threads, ask)
    except (OSError, UnicodeError) as error:
        logger.debug("host not found host=%s reason=%s", name, error)
        return []
    return [str(where[0]).partition("%")[0] for _, _, _, _, where in found[:MAX_ADDRESSES]]


def local_towards(address: str) -> str | None:
    """Return the address the system would send from to an IP address; None if it knows no way."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            socket.inet_pton(family, address)  # connect() would look up what is none, and wait for it
            probe.connect((address, 9))  # a datagram socket only looks up its route
        except OSError:
            return None
        return str(probe.getsockname()[0]).partition("%")[0]
