"""Mixed traffic: what a registrar is sent by different clients in one hour, in random order from a seed.

The same octets go to every server.  What they lead to is computed while they are written, and compared with what the
server holds in the end; every answer has to be a 2xx.

    python -m benchmarks.mixed [--requests 100000]
"""

import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

import click

from benchmarks.sipp_table import KamailioPeer, kamailio
from benchmarks.window import pour
from reginfo.admin.control import ControlClient
from reginfo.cli._peers import Peer, registrar
from reginfo.fast import DatagramSocket, Flow

WINDOW = 128  # requests without an answer: fewer than there are phones
DOMAIN = "example.com"
WARM = 0.1  # of the requests come before the measurement, while most are the first of their AoR

# What a phone of an IMS network sends: 1.4 kB, half of them parameters.
IMS_PARAMETERS = (
    ';+sip.instance="<urn:gsma:imei:35625205-011234-0>";+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel"'
    ";+g.3gpp.smsip;+g.3gpp.mid-call;+g.3gpp.srvcc-alerting;audio;video;q=1.0"
)
IMS_ROWS = (
    "Path: <sip:term@pcscf1.visited.example.org:5060;lr>",
    "Supported: path, gruu, 100rel, timer",
    'P-Visited-Network-ID: "visited.example.org"',
    "P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=2341001234567890abcdef",
    "P-Charging-Vector: icid-value=1234bc9876e0f2d4;icid-generated-at=192.0.6.8;orig-ioi=visited.example.org",
    "Security-Verify: ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;spi-c=983227540;spi-s=427023956;port-c=31000",
    "Security-Client: ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;spi-c=12345678;spi-s=87654321;port-c=8000;port-s=8001",
    "Allow: INVITE, ACK, CANCEL, BYE, UPDATE, MESSAGE, OPTIONS, REFER, INFO, PRACK, NOTIFY",
    "Accept: application/sdp, application/3gpp-ims+xml, message/sip",
    "X-Padding: " + "p" * 86,
)


class Client(NamedTuple):
    """A kind of phone."""

    share: int
    "Percent of all."
    contacts: int = 1
    parameters: str = ""
    "Behind each of its Contacts."
    rows: tuple[str, ...] = ()
    "Its further headers."
    compact: bool = False
    "Short header names."
    one_row: bool = False
    "All contacts in one header, their lifetimes there instead of in Expires."


CLIENTS = {
    "plain": Client(35, rows=("User-Agent: reginfo-load",)),
    "desk": Client(
        20,
        parameters=';q=0.8;audio;mobility="fixed";duplex="full"',
        rows=(
            "User-Agent: desk/8.4",
            "Allow: INVITE, ACK, CANCEL, BYE, REFER, OPTIONS, NOTIFY, INFO",
            "Supported: path",
        ),
    ),
    "compact": Client(15, compact=True, rows=("k: path", "User-Agent: c")),
    "three devices": Client(10, contacts=3),
    "three devices in a row": Client(5, contacts=3, one_row=True, rows=("Organization: Example, Inc.",)),
    "IMS": Client(15, parameters=IMS_PARAMETERS, rows=IMS_ROWS),
}
"Kinds of phones; a phone stays what it is."

STEPS = {"refresh": 72, "change": 10, "fetch": 8, "remove": 5, "remove all": 5}
"What the registered do next, in percent; who is not registered registers, or asks first."
ASK_FIRST = 0.1

_SHORT = {"Via": "v", "From": "f", "To": "t", "Call-ID": "i", "Contact": "m", "Content-Length": "l"}


@dataclass
class Phone:
    """One AoR and its devices."""

    user: int
    client: Client
    cseq: int = 0
    moves: int = 0
    "How often it has changed its addresses."
    bound: set[str] = field(default_factory=set)

    @property
    def addresses(self) -> list[str]:
        devices = range(1, self.client.contacts + 1)
        return [f"sip:u{self.user:09}@192.0.2.{device}:{5060 + self.moves % 50_000}" for device in devices]


@dataclass(frozen=True)
class Traffic:
    """REGISTERs in order, and what they lead to."""

    requests: list[bytes]
    steps: Counter[str]
    contacts: int
    "Bound in the end."


def traffic(aors: int, count: int, seed: int) -> Traffic:
    """Return mixed traffic of that many AoRs, none of which sends again while it may wait for an answer."""
    random = Random(seed)
    kinds, shares = list(CLIENTS.values()), [client.share for client in CLIENTS.values()]
    phones = [Phone(user, client) for user, client in enumerate(random.choices(kinds, shares, k=aors))]
    steps = random.choices(list(STEPS), list(STEPS.values()), k=count)
    waiting: deque[int] = deque(maxlen=min(2 * WINDOW, aors // 2))
    requests: list[bytes] = []
    done: Counter[str] = Counter()
    for number, step in enumerate(steps):
        while (user := random.randrange(aors)) in waiting:
            pass
        waiting.append(user)
        phone = phones[user]
        if not phone.bound:
            step = "fetch" if random.random() < ASK_FIRST else "register"
        done[step] += 1
        requests.append(request(phone, contacts_of(phone, step), number, seed))
    return Traffic(requests, done, sum(len(phone.bound) for phone in phones))


def contacts_of(phone: Phone, step: str) -> list[str]:
    """Let a phone take a step, and return the Contacts and Expires of its REGISTER."""
    if step == "fetch":
        return []
    if step == "remove all":
        phone.bound.clear()
        return ["Contact: *", "Expires: 0"]
    left = phone.addresses
    if step == "remove":
        phone.bound.clear()
        return [f"Contact: <{address}>;expires=0" for address in left]
    gone: list[str] = []
    if step == "change":
        phone.moves += 1
        gone = [f"<{address}>;expires=0" for address in left]
    phone.bound = set(phone.addresses)
    client = phone.client
    lifetime = ";expires=3600" if client.one_row else ""
    values = [*gone, *(f"<{address}>{client.parameters}{lifetime}" for address in phone.addresses)]
    if client.one_row:
        return ["Contact: " + ", ".join(values)]
    return [*(f"Contact: {value}" for value in values), "Expires: 3600"]


def request(phone: Phone, contacts: Sequence[str], number: int, seed: int) -> bytes:
    """Write the next REGISTER of a phone."""
    phone.cseq += 1
    aor = f"sip:u{phone.user:09}@{DOMAIN}"
    rows = [
        f"Via: SIP/2.0/UDP load.invalid;rport;branch=z9hG4bK{seed:x}.{number:x}",
        "Max-Forwards: 70",
        f"From: <{aor}>;tag={seed:x}{phone.user}",
        f"To: <{aor}>",
        f"Call-ID: {phone.user}-{seed:x}@load.invalid",
        f"CSeq: {phone.cseq} REGISTER",
        *contacts,
        *phone.client.rows,
        "Content-Length: 0",
    ]
    if phone.client.compact:
        split = (row.partition(":") for row in rows)
        rows = [f"{_SHORT.get(name, name)}:{value}" for name, _, value in split]
    return "\r\n".join([f"REGISTER sip:{DOMAIN} SIP/2.0", *rows, "", ""]).encode()


def send(peer: Peer, requests: Sequence[bytes]) -> None:
    """Send requests with a full window; raises if one is refused."""
    sender = DatagramSocket("127.0.0.1", 0)
    try:
        pour(sender, Flow("udp", sender.local, (peer.host, peer.port)), requests, WINDOW)
    finally:
        sender.close()


def contacts_at(peer: Peer) -> int:
    """Return how many contacts a registrar says it has."""
    if isinstance(peer, KamailioPeer):
        return peer.contacts()
    with ControlClient(f"/proc/{peer.pid}/cwd/reginfo.sock") as client:
        return int(client.call("stats.get_statistics", ["usrloc:contacts"])["usrloc"]["contacts"])


class Run(NamedTuple):
    """What mixed traffic cost a server."""

    cpu_us: float
    "For each REGISTER."
    rate: float


def measure(peer: Peer, offered: Traffic) -> Run:
    """Send all of it to an empty registrar, which has to answer 200 and to hold in the end what it led to."""
    warm = round(WARM * len(offered.requests))
    send(peer, offered.requests[:warm])
    count = len(offered.requests) - warm
    began, before = time.monotonic(), peer.cpu()
    send(peer, offered.requests[warm:])
    after, seconds = peer.cpu(), time.monotonic() - began
    assert before is not None
    assert after is not None
    if (held := contacts_at(peer)) != offered.contacts:
        raise click.ClickException(f"{peer.name} has {held} contacts instead of {offered.contacts}")
    return Run((after - before) / count * 1e6, count / seconds)


@click.command()
@click.option("--aors", default=10_000, show_default=True, type=click.IntRange(100, 1_000_000))
@click.option("--requests", default=100_000, show_default=True, type=click.IntRange(1_000, 1_000_000))
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0))
def main(aors: int, requests: int, seed: int) -> None:
    """Measure mixed traffic at both registrars."""
    offered = traffic(aors, requests, seed)
    click.echo(", ".join(f"{number:,} {step}" for step, number in offered.steps.most_common()))
    for server in (registrar("memory"), registrar("committed"), kamailio()):
        with server as peer:
            run = measure(peer, offered)
        click.echo(f"{peer.name}: {run.cpu_us:.1f} us of CPU for each REGISTER, {run.rate:,.0f} a second")


if __name__ == "__main__":
    main()
