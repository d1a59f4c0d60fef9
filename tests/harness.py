"""Engine and store without sockets, under a virtual clock: octets in, octets out."""

import itertools
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from reginfo.config import (
    AuthSection,
    CompositorSection,
    Config,
    ImsSection,
    LimitsSection,
    NotifierSection,
    PeerSection,
    PuaReginfoSection,
    RegistrarSection,
)
from reginfo.engine import Engine
from reginfo.fast import Flow, Registration, SipMessage, Transactions, digest_ha1, digest_userhash, parse_message
from reginfo.model import Command, Now
from reginfo.server import run_turn
from reginfo.server.telling import Telling
from reginfo.sip.authorization import Accounts
from reginfo.sip.gruu import KEYS, Gruus
from reginfo.sip.locating import Target
from reginfo.store.base import Store
from reginfo.store.table import TableStore

LOCAL = ("127.0.0.1", 5060)
PHONE = Flow("udp", LOCAL, ("192.0.2.10", 5060))
START_MS = 1_767_607_200_000  # Mon, 05 Jan 2026 10:00:00 GMT

ALGORITHMS = ("MD5", "SHA-256", "SHA-512-256")

T = TypeVar("T")

_branches = itertools.count(1)


def request(
    method: str = "REGISTER",
    *headers: str,
    uri: str = "sip:example.com",
    user: str = "alice",
    call_id: str = "call-1",
    cseq: int = 1,
    branch: str | None = None,
    via: str = "192.0.2.10:5060;rport",
    body: bytes = b"",
) -> bytes:
    """Write a request of a phone; every call has a fresh branch unless one is given."""
    branch = branch or f"z9hG4bK{next(_branches)}"
    rows = [
        f"{method} {uri} SIP/2.0",
        f"Via: SIP/2.0/UDP {via};branch={branch}",
        "Max-Forwards: 70",
        f"From: <sip:{user}@example.com>;tag=f1",
        f"To: <sip:{user}@example.com>",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} {method}",
        *headers,
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(rows).encode() + b"\r\n\r\n" + body


def contact(uri: str = "sip:alice@192.0.2.10:5060", expires: int | str | None = 600, extra: str = "") -> str:
    """Write a Contact row."""
    parameter = "" if expires is None else f";expires={expires}"
    return f"Contact: <{uri}>{parameter}{extra}"


class House:
    """One server's inside.  `send` runs everything to its end; time stands still until `sleep`."""

    def __init__(
        self,
        store: Store | None = None,
        domains: Iterable[str] = ("example.com",),
        transactions: Transactions | None = None,
        limits: LimitsSection | None = None,
        *,
        local: tuple[str, int] = LOCAL,
        auth: AuthSection | None = None,
        notifier: NotifierSection | None = None,
        compositor: CompositorSection | None = None,
        pua_reginfo: PuaReginfoSection | None = None,
        peers: Sequence[PeerSection] = (),
        ims: ImsSection | None = None,
        **policy: Any,
    ) -> None:
        policy.setdefault("expires_jitter", 0.0)
        self.now_ms = START_MS
        self.generation = 0
        self.names: dict[str, Sequence[tuple[str, str]]] = {}
        "Host -> (remote, local) addresses, for what is looked up."
        self.targets: dict[str, list[tuple[Target, str]]] = {}
        "Host -> what the look-up comes to, if that is more than addresses."
        self.users: dict[str, str] = {}
        "Name -> password, of the realm."
        self.accounts = Accounts()
        "Who it is to others."
        self.lookups: list[tuple[str, ...]] = []
        "What the user table was asked for."
        self.store = TableStore() if store is None else store
        self.transactions = Transactions(bytes(16)) if transactions is None else transactions
        host = f"[{local[0]}]" if ":" in local[0] else local[0]
        self.local = local
        self.config = Config(
            listen=(f"udp:{host}:{local[1]}",),
            insecure=True,
            domains=tuple(domains),
            limits=limits or LimitsSection(),
            registrar=RegistrarSection(**policy),
            auth=auth or AuthSection(enabled=False),
            notifier=notifier or NotifierSection(),
            compositor=compositor or CompositorSection(),
            pua_reginfo=pua_reginfo or PuaReginfoSection(),
            peer=tuple(peers),
            ims=ims or ImsSection(),
        )
        self.begin()

    def begin(self) -> None:
        """Start on what the store holds, as after a crash if it has been started before."""
        gruus = Gruus(bytes(KEYS), self.store.find_gruu)
        self.engine = Engine(self.config, self.transactions, bytes([self.generation]) * 32, gruus)
        self.roles = self.engine.roles
        self.engine.authorizations.follow(self.accounts)
        self.telling = Telling(self.roles, self.store, self.now)
        finish(self.telling.attach())
        self.engine.bind(self.config.listeners, self.now())
        self.engine.flows.adopt(finish(self.store.flows()))
        self.settle()

    def crash(self) -> None:
        """Lose what is in memory only, and start again; secrets are new then, too."""
        self.generation += 1
        self.transactions = Transactions(bytes([self.generation]) * 16)
        self.begin()

    def now(self) -> Now:
        return Now(self.now_ms, self.now_ms / 1000)

    def send(self, octets: bytes, flow: Flow = PHONE) -> SipMessage | None:
        """Send one message; return the parsed answer, None for silence."""
        answers = self.send_all([octets], flow)
        assert len(answers) <= 1
        return answers[0] if answers else None

    def send_all(self, batch: Sequence[bytes], flow: Flow = PHONE) -> list[SipMessage]:
        """Send a batch; return the answers in order."""
        self.engine.receive([(octets, flow) for octets in batch], self.now())
        self.find_users()
        self.settle()
        return [parse_message(octets) for octets, _ in self.engine.take_output()]

    def find_users(self) -> None:
        """Answer what the user table is asked for."""
        realm = self.config.auth.realm
        for query in self.engine.take_user_lookups():
            self.lookups.append(query)
            if len(query) == 1:
                name = query[0] if query[0] in self.users else None
            else:
                name = next((one for one in self.users if digest_userhash(query[1], one, realm) == query[0]), None)
            ha1 = {} if name is None else {one: digest_ha1(one, name, realm, self.users[name]) for one in ALGORITHMS}
            self.engine.user_found(query, name, ha1, self.now())

    def ask(self, octets: bytes, flow: Flow = PHONE) -> SipMessage:
        """Send one message that must be answered."""
        answer = self.send(octets, flow)
        assert answer is not None
        return answer

    def register(self, *headers: str, flow: Flow = PHONE, **parts: Any) -> SipMessage:
        return self.ask(request("REGISTER", *headers, **parts), flow)

    def sleep(self, seconds: float) -> None:
        """Let time pass in ticks; what expires, expires."""
        end = self.now_ms + int(seconds * 1000)
        while self.now_ms < end:
            self.now_ms = min(end, self.now_ms + 100)
            self.engine.tick(self.now())
            due = finish(self.store.due(self.now_ms, 1000))
            if due:
                self.engine.expire(due)
                self.settle()

    def command(self, command: Command) -> None:
        self.engine.command(command)
        self.settle()

    def pump(self) -> list[tuple[bytes, Flow]]:
        """Do everything that can be done at this instant; return what is sent, in order."""
        sent: list[tuple[bytes, Flow]] = []
        while True:
            self.find_users()
            self.settle()
            sent += self.engine.take_output()
            finish(self.telling.read())
            finish(self.telling.recall())
            more = self.engine.work(self.now())
            finish(self.telling.keep_state())
            sent += self.engine.take_output()
            for hop in self.engine.take_lookups():
                found = [
                    (Target(hop.transport.replace("sip", "udp"), remote, hop.port or 5060, hop.host), local)
                    for remote, local in self.names.get(hop.host, ())
                ]
                self.engine.located(hop, self.targets.get(hop.host, found), self.now())
                more = True
            if not more and not self.engine.has_works and not self.telling.lag:
                return sent

    def save(self) -> None:
        """Do what a server does once a second."""
        while finish(self.telling.save()):
            pass

    def settle(self) -> None:
        """Run turns until nothing waits; the store must not suspend."""
        while self.engine.has_works:
            works = finish(run_turn(self.engine, self.store, self.now))
            self.engine.counts.measure(works, self.now())

    def registration(self, aor: str = "sip:alice@example.com") -> Registration | None:
        record = finish(self.store.load([aor]))[0]
        return None if record is None else Registration(record)

    def bound(self, aor: str = "sip:alice@example.com") -> Registration:
        """Return the registration of an AoR that has one."""
        registration = self.registration(aor)
        assert registration is not None
        return registration

    def contacts(self, aor: str = "sip:alice@example.com") -> list[str]:
        registration = self.registration(aor)
        return [] if registration is None else [binding.uri for binding in registration.bindings]


def visible(registration: Registration | None) -> list[tuple[object, ...]]:
    """Return all there is of an AoR but its revisions: one that ends and returns takes a new one from the clock."""
    bindings = () if registration is None else registration.bindings
    return [
        (one.contact_id, one.uri, one.call_id, one.cseq, one.registered_at, one.expires_at, one.requested, one.event)
        for one in bindings
    ]


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends; an event loop would be idle weight here."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    coroutine.close()
    raise AssertionError("the store suspended")
