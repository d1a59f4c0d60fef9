"""Raw SIP peers over UDP: octets out, checked messages in, everything with a deadline and nothing behind one's back.

The one exception is what RFC 3261 17.2 asks of a server transaction: a request that comes again is not reported again,
and is answered again if it has been answered.
"""

import hashlib
import itertools
import re
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from tests.interop import documents
from tests.interop.documents import MEDIA_TYPE, Document
from tests.reference.sip_parser import Message, SubscriptionState, parse_message
from tests.server_fixture import PATIENCE, Address, loopback_address

_numbers = itertools.count(1)

Match = Callable[["Received"], bool]


@dataclass(frozen=True)
class Received:
    """A message that arrived, and where from."""

    message: Message
    octets: bytes
    source: Address

    @property
    def method(self) -> str:
        """Method of the request, or of the request that is answered."""
        return self.message.cseq_method

    @property
    def status(self) -> int:
        """Status of a response, 0 of a request."""
        return self.message.status

    @property
    def call_id(self) -> str:
        """The Call-ID."""
        return self.message.call_id

    @property
    def branch(self) -> str | None:
        """Branch of the top Via."""
        return self.message.vias[0].branch

    def header(self, name: str) -> str | None:
        """Return the first row of a header, by its long name."""
        return self.message.single(name.lower().encode())

    @property
    def names(self) -> list[str]:
        """The names of its headers, long and in lower case, in their order."""
        return [name.decode() for name, _ in self.message.rows]

    @property
    def from_tag(self) -> str:
        """The tag of From."""
        assert self.message.from_ is not None
        return self.message.from_.tag or ""

    @property
    def to_tag(self) -> str:
        """The tag of To, empty without one."""
        assert self.message.to is not None
        return self.message.to.tag or ""

    @property
    def body(self) -> bytes:
        """The body."""
        return self.message.body

    @cached_property
    def document(self) -> Document | None:
        """The registration document in the body, None without one."""
        return documents.parse(self.body) if self.body else None

    @property
    def subscription_state(self) -> SubscriptionState:
        """The Subscription-State header, which must be there."""
        found = self.message.subscription_state
        assert found is not None, self.octets
        return found


class Peer:
    """A UDP socket on an address and port of its own, which talks to one server unless told otherwise."""

    def __init__(self, target: Address | None = None, port: int = 0) -> None:
        self.target = target
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind((loopback_address(), port))
        host, bound = self.socket.getsockname()
        self.address: Address = (host, bound)
        "Where it listens."
        self.repeated: list[Received] = []
        "Requests that came again."
        self._inbox: list[Received] = []
        self._answers: dict[tuple[str | None, str, Address], bytes | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def uri(self, user: str = "") -> str:
        """Return a URI that leads to it."""
        host, port = self.address
        return f"sip:{user}@{host}:{port}" if user else f"sip:{host}:{port}"

    def send(self, octets: bytes, to: Address | None = None) -> None:
        """Send a datagram."""
        address = to or self.target
        assert address is not None
        self.socket.sendto(octets, address)

    def compose(
        self,
        method: str,
        uri: str,
        headers: Sequence[str] = (),
        body: bytes = b"",
        *,
        from_: str | None = None,
        to: str | None = None,
        call_id: str | None = None,
        cseq: int = 1,
        branch: str | None = None,
    ) -> bytes:
        """Write a request; From and To are whole values, by default the URI it goes to."""
        host, port = self.address
        rows = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch={branch or new_branch()}",
            "Max-Forwards: 70",
            f"From: {from_ or f'<{uri}>;tag={new_token()}'}",
            f"To: {to or f'<{uri}>'}",
            f"Call-ID: {call_id or new_token()}",
            f"CSeq: {cseq} {method}",
            *headers,
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join(rows).encode() + b"\r\n\r\n" + body

    def request(
        self,
        method: str,
        uri: str,
        headers: Sequence[str] = (),
        body: bytes = b"",
        *,
        from_: str | None = None,
        to: str | None = None,
        call_id: str | None = None,
        cseq: int = 1,
        timeout: float = PATIENCE,
    ) -> Received:
        """Send a request and return its final response."""
        return self.exchange(
            self.compose(method, uri, headers, body, from_=from_, to=to, call_id=call_id, cseq=cseq), timeout=timeout
        )

    def exchange(self, octets: bytes, timeout: float = PATIENCE, to: Address | None = None) -> Received:
        """Send octets whose top Via leads here and return the final response."""
        branch = re.search(rb"branch=([^;,\s]+)", octets)
        assert branch is not None
        name = branch[1].decode()
        self.send(octets, to)
        return self.receive(lambda found: found.status >= 200 and found.branch == name, f"answer to {name}", timeout)

    def receive(self, match: Match = lambda _: True, what: str = "a message", timeout: float = PATIENCE) -> Received:
        """Return the first message that matches; what does not is kept for later."""
        found = self._wait(match, timeout)
        assert found is not None, f"{what} did not arrive within {timeout} s; waiting are {self._summary()}"
        return found

    def receive_request(self, method: str, timeout: float = PATIENCE) -> Received:
        """Return the first request of a method."""
        return self.receive(lambda found: found.message.method == method, method, timeout)

    def receive_requests(self, method: str, number: int, timeout: float = PATIENCE) -> list[Received]:
        """Return the first requests of a method, in their order."""
        return [self.receive_request(method, timeout) for _ in range(number)]

    def nothing(self, match: Match = lambda _: True, within: float = 0.0) -> bool:
        """Tell whether nothing that matches has arrived, nor does within some seconds; what does is kept."""
        found = self._wait(match, within)
        if found is not None:
            self._inbox.insert(0, found)
        return found is None

    def pending(self, match: Match = lambda _: True) -> list[Received]:
        """Return all that has arrived and matches, without waiting."""
        found = []
        while (received := self._wait(match, 0.0)) is not None:
            found.append(received)
        return found

    def answer(
        self,
        request: Received,
        status: int = 200,
        headers: Sequence[str] = (),
        body: bytes = b"",
        *,
        phrase: str = "Told",
        tag: str | None = None,
    ) -> None:
        """Answer a request, and answer it the same way when it comes again."""
        message = request.message
        rows = [f"SIP/2.0 {status} {phrase}"]
        for name, label in ((b"via", "Via"), (b"record-route", "Record-Route"), (b"from", "From"), (b"to", "To")):
            for row, value in message.rows:
                if row == name:
                    tagged = name == b"to" and not request.to_tag
                    rows.append(f"{label}: {value.decode()}{f';tag={tag or new_token()}' if tagged else ''}")
        rows += [f"Call-ID: {message.call_id}", f"CSeq: {message.cseq} {message.cseq_method}", *headers]
        rows.append(f"Content-Length: {len(body)}")
        octets = "\r\n".join(rows).encode() + b"\r\n\r\n" + body
        self._answers[_transaction(request)] = octets
        self.send(octets, request.source)

    def _wait(self, match: Match, timeout: float) -> Received | None:
        for index, kept in enumerate(self._inbox):
            if match(kept):
                return self._inbox.pop(index)
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            self.socket.settimeout(max(left, 0.0))
            try:
                octets, source = self.socket.recvfrom(65_536)
            except (TimeoutError, BlockingIOError):
                return None
            received = Received(parse_message(octets), octets, source)
            if received.message.is_request and self._repeats(received):
                continue
            if match(received):
                return received
            self._inbox.append(received)

    def _repeats(self, received: Received) -> bool:
        key = _transaction(received)
        if key not in self._answers:
            self._answers[key] = None
            return False
        self.repeated.append(received)
        if (known := self._answers[key]) is not None:
            self.send(known, received.source)
        return True

    def _summary(self) -> list[str]:
        return [received.octets.partition(b"\r\n")[0].decode(errors="replace") for received in self._inbox]


def _transaction(request: Received) -> tuple[str | None, str, Address]:
    return request.branch, request.message.method, request.source


def new_branch() -> str:
    """Return a branch that nobody has used."""
    return f"z9hG4bK{next(_numbers)}{secrets.token_hex(6)}"


def new_token() -> str:
    """Return a tag or Call-ID that nobody has used."""
    return f"{next(_numbers)}{secrets.token_hex(6)}"


class Phone(Peer):
    """Registers contacts of one address-of-record (RFC 3261 10.2)."""

    def __init__(self, target: Address, aor: str, port: int = 0) -> None:
        super().__init__(target, port)
        self.aor = aor
        self.call_id = new_token()
        self.cseq = 0

    @property
    def contact(self) -> str:
        """Its own contact URI."""
        return self.uri(self.aor.partition(":")[2].partition("@")[0])

    def register(
        self,
        contacts: str | Sequence[str] | None = None,
        expires: int = 600,
        headers: Sequence[str] = (),
        *,
        password: str | None = None,
        timeout: float = PATIENCE,
    ) -> Received:
        """Register URIs, or whole Contact values if they have angle brackets; its own by default, none for a fetch.

        With a password one 401 is answered.
        """
        given = self.contact if contacts is None else contacts
        listed = [given] if isinstance(given, str) else list(given)
        rows = [f"Contact: {item if '<' in item or item == '*' else f'<{item}>'}" for item in listed]
        rows += [f"Expires: {expires}", *headers] if listed else list(headers)
        answered = self._register(rows, timeout)
        if answered.status == 401 and password is not None:
            answered = self._register([*rows, self._credentials(answered, password)], timeout)
        return answered

    def unregister(self, contacts: str | Sequence[str] | None = None) -> Received:
        """Remove URIs, its own by default; `*` for all."""
        return self.register(contacts, expires=0)

    def _register(self, rows: Sequence[str], timeout: float) -> Received:
        self.cseq += 1
        return self.request(
            "REGISTER",
            self._registrar,
            rows,
            from_=f"<{self.aor}>;tag={new_token()}",
            to=f"<{self.aor}>",
            call_id=self.call_id,
            cseq=self.cseq,
            timeout=timeout,
        )

    @property
    def _registrar(self) -> str:
        return "sip:" + self.aor.rpartition("@")[2]

    def _credentials(self, challenge: Received, password: str) -> str:
        values = challenge.message.values(b"www-authenticate")
        asked = dict(re.findall(r'(\w+)="?([^",]+)"?', values[0].decode()))
        user = self.aor.partition(":")[2].partition("@")[0]

        def md5(text: str) -> str:
            return hashlib.md5(text.encode()).hexdigest()

        secret = md5(f"{user}:{asked['realm']}:{password}")
        target = md5(f"REGISTER:{self._registrar}")
        row = f'Digest username="{user}",realm="{asked["realm"]}",nonce="{asked["nonce"]}",uri="{self._registrar}"'
        if "qop" in asked:
            cnonce = new_token()
            response = md5(f"{secret}:{asked['nonce']}:00000001:{cnonce}:auth:{target}")
            row += f',qop=auth,nc=00000001,cnonce="{cnonce}"'
        else:
            response = md5(f"{secret}:{asked['nonce']}:{target}")
        return f'Authorization: {row},response="{response}",algorithm=MD5'


class Watcher(Peer):
    """Subscribes to one address-of-record and collects its NOTIFYs (RFC 6665 4.1)."""

    def __init__(self, target: Address, aor: str, *, user: str = "watcher", port: int = 0) -> None:
        super().__init__(target, port)
        self.aor = aor
        self.user = user
        self.notifications: list[Received] = []
        "All NOTIFYs so far."
        self._begin()

    def _begin(self) -> None:
        self.call_id = new_token()
        self.tag = new_token()
        self.cseq = 0
        self.remote: str | None = None
        "To in the dialog."
        self.remote_target: str | None = None

    def subscribe(
        self,
        expires: int | None = 600,
        headers: Sequence[str] = (),
        *,
        event: str = "reg",
        accept: str | None = MEDIA_TYPE,
    ) -> Received:
        """Subscribe, in the dialog if there is one, and return the answer; NOTIFYs are taken with `notify`."""
        self.cseq += 1
        rows = [f"Event: {event}", f"Contact: <{self.uri(self.user)}>"]
        rows += [] if accept is None else [f"Accept: {accept}"]
        rows += [] if expires is None else [f"Expires: {expires}"]
        answered = self.request(
            "SUBSCRIBE",
            self.remote_target or self.aor,
            [*rows, *headers],
            from_=f"<{self.uri(self.user)}>;tag={self.tag}",
            to=self.remote or f"<{self.aor}>",
            call_id=self.call_id,
            cseq=self.cseq,
        )
        if 200 <= answered.status < 300:
            self._learn(answered, answered.header("to"))
        return answered

    def unsubscribe(self) -> Received:
        """End the subscription and return the answer."""
        return self.subscribe(0)

    def restart(self) -> None:
        """Forget the dialog, so that the next SUBSCRIBE begins another."""
        self._begin()

    def notify(self, status: int = 200, headers: Sequence[str] = (), timeout: float = PATIENCE) -> Received:
        """Return the next NOTIFY of the subscription, answered."""
        found = self.receive(
            lambda one: one.message.method == "NOTIFY" and one.call_id == self.call_id and one.to_tag == self.tag,
            "NOTIFY",
            timeout,
        )
        self.answer(found, status, headers)
        self.notifications.append(found)
        self._learn(found, found.header("from"))
        return found

    def until(self, match: Match, what: str = "a NOTIFY that matches", timeout: float = PATIENCE) -> Received:
        """Take NOTIFYs until one matches, and return it."""
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            assert left > 0, f"{what} did not arrive within {timeout} s"
            if match(found := self.notify(timeout=left)):
                return found

    def _learn(self, message: Received, remote: str | None) -> None:
        self.remote = self.remote or remote
        contacts = message.message.contacts
        if contacts:
            self.remote_target = contacts[0].uri


class Publisher(Peer):
    """Publishes documents for one address-of-record (RFC 3903 4)."""

    def __init__(self, target: Address, aor: str, port: int = 0) -> None:
        super().__init__(target, port)
        self.aor = aor
        self.entity_tag: str | None = None
        "Of the last success; sent as SIP-If-Match unless told otherwise."

    def publish(
        self,
        body: bytes = b"",
        expires: int | None = 600,
        headers: Sequence[str] = (),
        *,
        if_match: str | None = "",
        event: str = "reg",
        media_type: str = MEDIA_TYPE,
    ) -> Received:
        """Publish: initially, or as a modification once there is an entity-tag.  if_match None leaves that out."""
        matched = self.entity_tag if if_match == "" else if_match
        rows = [f"Event: {event}"]
        rows += [] if expires is None else [f"Expires: {expires}"]
        rows += [] if matched is None else [f"SIP-If-Match: {matched}"]
        rows += [f"Content-Type: {media_type}"] if body else []
        answered = self.request("PUBLISH", self.aor, [*rows, *headers], body)
        if 200 <= answered.status < 300:
            self.entity_tag = answered.message.sip_etag
        elif answered.status == 412:
            self.entity_tag = None
        return answered

    def refresh(self, expires: int = 600) -> Received:
        """Prolong what is published."""
        assert self.entity_tag is not None
        return self.publish(b"", expires)

    def remove(self) -> Received:
        """Withdraw what is published."""
        answered = self.refresh(0)
        self.entity_tag = None
        return answered


class Compositor(Peer):
    """Takes PUBLISHes, and answers them as it is told (RFC 3903 6)."""

    def receive_publish(self, aor: str | None = None, timeout: float = PATIENCE) -> Received:
        """Return the next PUBLISH, unanswered."""
        return self.receive(
            lambda found: found.message.method == "PUBLISH" and aor in (None, found.message.request_uri),
            f"PUBLISH for {aor or 'any'}",
            timeout,
        )

    def store(self, publish: Received, entity_tag: str | None = None, expires: int | None = None) -> str:
        """Answer 200 with a new entity-tag, which is returned, and the lifetime that was asked for."""
        given = entity_tag or new_token()
        granted = publish.message.expires if expires is None else expires
        self.answer(publish, 200, [f"SIP-ETag: {given}", f"Expires: {granted}"], phrase="OK")
        return given

    def publication(self, aor: str | None = None, timeout: float = PATIENCE) -> Received:
        """Return the next PUBLISH, answered 200."""
        found = self.receive_publish(aor, timeout)
        self.store(found)
        return found


class Notifier(Peer):
    """Takes one SUBSCRIBE and sends NOTIFYs in its dialog (RFC 6665 4.2)."""

    def __init__(self, target: Address | None = None, port: int = 0) -> None:
        super().__init__(target, port)
        self.tag = new_token()
        self.cseq = 0
        self.subscription: Received | None = None

    def receive_subscribe(self, timeout: float = PATIENCE) -> Received:
        """Return the next SUBSCRIBE, unanswered."""
        return self.receive_request("SUBSCRIBE", timeout)

    def accept(self, subscribe: Received, expires: int | None = None, headers: Sequence[str] = ()) -> None:
        """Answer 200; it is the dialog of this SUBSCRIBE that `notify` uses from now on."""
        granted = subscribe.message.expires if expires is None else expires
        self.subscription = subscribe
        rows = [f"Expires: {granted}", f"Contact: <{self.uri('notifier')}>", *headers]
        self.answer(subscribe, 200, rows, phrase="OK", tag=self.tag)

    def notify(
        self,
        body: bytes = b"",
        state: str = "active;expires=600",
        *,
        changes: Mapping[str, str | None] | None = None,
        timeout: float = PATIENCE,
    ) -> Received:
        """Send a NOTIFY in the dialog and return its answer; `changes` replaces headers, and drops those that are None.

        It goes where the SUBSCRIBE came from.
        """
        subscribe = self.subscription
        assert subscribe is not None
        self.cseq += 1
        rows: dict[str, str | None] = {
            "Event": "reg",
            "Subscription-State": state,
            "Contact": f"<{self.uri('notifier')}>",
            "Content-Type": MEDIA_TYPE if body else None,
        } | dict(changes or {})
        octets = self.compose(
            "NOTIFY",
            subscribe.message.contacts[0].uri,
            [f"{name}: {value}" for name, value in rows.items() if value is not None],
            body,
            from_=f"<{subscribe.message.request_uri}>;tag={self.tag}",
            to=subscribe.header("from"),
            call_id=subscribe.call_id,
            cseq=self.cseq,
        )
        return self.exchange(octets, timeout, subscribe.source)


class Neighbour(Compositor, Notifier):
    """What stands at the outbound proxy of pua_reginfo: takes its PUBLISHes and its SUBSCRIBEs."""
