"""Locating SIP servers (RFC 3263), without I/O: which DNS records are wanted, and what they come to.

    procedure = locate(hop, transports, draw)
    wanted = next(procedure)               what is to be asked at once
    wanted = procedure.send(answers)       one answer for each question, empty where there is none
    StopIteration.value                    the servers, in the order in which they are tried

Answers come from whoever owns the domain, and whose domain is asked about others say in a Contact: everything in them
is bounded here, and what is not understood counts as not there.  Aliases (CNAME) are the resolver's.
"""

import re
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from typing import Final, NamedTuple

from reginfo.model import Naptr, Srv
from reginfo.sip.routing import Hop, default_port, is_literal

MAX_QUERIES: Final = 16  # about one hop; of what is beyond nothing is known
MAX_RECORDS: Final = 16  # taken of one answer
MAX_TARGETS: Final = 8  # tried for one request: with the silence of timer F that is four minutes

NAPTR: Final = "NAPTR"
SRV: Final = "SRV"
HOST: Final = "HOST"  # A and AAAA, as the system's resolver knows them

_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9])?")  # what is asked for further (RFC 1035 2.3.1)
_SERVICE: Final = re.compile(r"SIPS?\+D2[A-Z]", re.IGNORECASE)
_TRANSPORT_OF: Final = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls", "SIP+D2W": "ws", "SIPS+D2W": "wss"}
_SRV_PREFIX: Final = {"tls": "_sips._tcp", "tcp": "_sip._tcp", "udp": "_sip._udp"}  # in the order of RFC 3263 4.1
_SECURE: Final = frozenset({"tls", "wss"})


class Query(NamedTuple):
    """What is asked of DNS."""

    kind: str
    "NAPTR, SRV or HOST."
    name: str


class Target(NamedTuple):
    """A server that may be tried."""

    transport: str
    host: str
    "An IP address."
    port: int
    domain: str
    "What was looked for: its certificate has to say this, whatever DNS says (DNS-6)."


Answer = Sequence[Naptr] | Sequence[Srv] | Sequence[str]
Draw = Callable[[int], int]
"Returns a number from 0 to its argument, each as likely as the others."

_Known = dict[Query, Answer]
_Asking = Generator[list[Query], Sequence[Answer], None]
_Place = tuple[str, str, int]  # transport, host name, port


def locate(hop: Hop, transports: Collection[str], draw: Draw) -> Generator[list[Query], Sequence[Answer], list[Target]]:
    """Return the servers of a hop that these transports reach (DNS-2 to DNS-4)."""
    domain = hop.host
    if is_literal(domain):
        return [Target(hop.transport, domain, hop.port, domain)]
    if f".{domain}".endswith(".invalid"):  # never there (RFC 6761 6.4, RFC 7118 section 5)
        return []
    known: _Known = {}
    if hop.port or (hop.transport not in _SRV_PREFIX and hop.transport not in ("sip", "sips")):
        places = [(hop.transport, domain, hop.port or default_port(hop.transport))]
    else:
        places = yield from _services(hop, transports, draw, known)
    places = [place for place in places if place[0] in transports]
    yield from _ask(known, [Query(HOST, host) for _, host, _ in places])
    found: dict[Target, None] = {}
    for transport, host, port in places:
        for address in known.get(Query(HOST, host), ()):
            if isinstance(address, str) and is_literal(address):
                found[Target(transport, address, port, domain)] = None
    return list(found)[:MAX_TARGETS]


def _ask(known: _Known, queries: Iterable[Query]) -> _Asking:
    """Have answered what is not known yet, as far as that is allowed."""
    wanted = [query for query in dict.fromkeys(queries) if query not in known and _NAME.fullmatch(query.name)]
    wanted = wanted[: MAX_QUERIES - len(known)]
    if wanted:
        answers = yield wanted
        known.update(zip(wanted, answers, strict=True))


def _services(
    hop: Hop, transports: Collection[str], draw: Draw, known: _Known
) -> Generator[list[Query], Sequence[Answer], list[_Place]]:
    """Return the hosts that serve a domain, in order: by NAPTR, by SRV, or else itself (RFC 3263 4.1, 4.2)."""
    domain = hop.host
    if hop.transport in ("sip", "sips"):
        ours = [one for one in _SRV_PREFIX if one in transports and (one in _SECURE or hop.transport == "sip")]
    else:
        ours = [hop.transport]
    names = [(transport, f"{_SRV_PREFIX[transport]}.{domain}") for transport in ours]
    # All at once: a name server that does not answer is waited for once.
    first = [Query(SRV, name) for _, name in names]
    if hop.transport in ("sip", "sips"):
        first.insert(0, Query(NAPTR, domain))
    yield from _ask(known, first)
    pointers = _pointers(known.get(Query(NAPTR, domain), ()))
    if pointers:
        names = [
            (transport, name)
            for transport, name in pointers
            if transport in transports and (transport in _SECURE or hop.transport == "sip")
        ]
        yield from _ask(known, [Query(SRV, name) for _, name in names])
    places: list[_Place] = []
    is_told = False
    for transport, name in names:
        records = [one for one in known.get(Query(SRV, name), ()) if isinstance(one, Srv)]
        is_told |= bool(records)
        places += [(transport, one.target, one.port) for one in in_order(_usable(records), draw)]
    if is_told or not names:
        return places  # "." alone: there is no such service, and no address is one
    transport = "udp" if not pointers and "udp" in ours else names[0][0]
    return [(transport, domain, default_port(transport))]


def _pointers(answer: Answer) -> list[tuple[str, str]]:
    """Return (transport, SRV name) of the SIP services among NAPTR records, in order (RFC 3263 section 4.1).

    The transport is empty if it is none of SIP's that is known here: there is a service, which we do not reach.
    """
    records = [one for one in answer if isinstance(one, Naptr) and _is_pointer(one)]
    records.sort(key=lambda one: (one.order, one.preference))
    return [(_TRANSPORT_OF.get(one.service.upper(), ""), one.replacement) for one in records[:MAX_RECORDS]]


def _is_pointer(record: Naptr) -> bool:
    # The flag has to say that SRV records come next; a rewriting rule has no place in it (RFC 3263 section 4.1).
    return (
        record.flags.lower() == "s"
        and not record.regexp
        and _SERVICE.fullmatch(record.service) is not None
        and _NAME.fullmatch(record.replacement) is not None
    )


def _usable(records: Iterable[Srv]) -> list[Srv]:
    return [one for one in records if one.port and _NAME.fullmatch(one.target) and not is_literal(one.target)]


def in_order(records: Iterable[Srv], draw: Draw) -> list[Srv]:
    """Return SRV records in the order in which they are tried (DNS-4, RFC 2782): by priority, then drawn by weight."""
    by_priority: dict[int, list[Srv]] = {}
    for record in sorted(records, key=lambda one: (one.priority, one.weight > 0))[:MAX_RECORDS]:
        by_priority.setdefault(record.priority, []).append(record)
    ordered: list[Srv] = []
    for left in by_priority.values():
        while left:
            drawn = draw(sum(one.weight for one in left))
            for record in left:
                drawn -= record.weight
                if drawn <= 0:
                    break
            left.remove(record)
            ordered.append(record)
    return ordered
