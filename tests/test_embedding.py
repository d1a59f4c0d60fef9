"""What programs do that embed the server: hear of changes, keep requests, follow others, publish or not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from reginfo import KEEP, Config, Outcome, Server
from reginfo.config import (
    AdminSection,
    ImsSection,
    NotifierSection,
    PeerSection,
    PuaReginfoSection,
    RegistrarSection,
    StoreSection,
)
from reginfo.fast import Change, Flow, SipMessage, StreamFramer, parse_message, parse_reginfo, write_response
from reginfo.model import ContactEvent
from reginfo.server.listener import ChangeListener
from reginfo.store.base import Store
from tests.interop.documents import contact, document, registration
from tests.interop.peer import Compositor, Notifier, Phone, Watcher
from tests.server_fixture import PATIENCE, Address

pytestmark = pytest.mark.network

ALICE = "sip:alice@example.com"
THERE = "sip:alice@192.0.2.77"
Hook = Callable[[SipMessage, Flow], Outcome | None]


@asynccontextmanager
async def serving(
    *,
    on_request: Hook | None = None,
    store: str = "memory:",
    prepare: Callable[[Server], None] | None = None,
    **config: Any,
) -> AsyncIterator[tuple[Server, Address]]:
    """Run a server until the block ends; what prepare() does is done before it starts."""
    config.setdefault("listen", ("udp:127.0.0.1:0",))
    server = Server(
        Config(
            domains=("example.com",),
            store=StoreSection(url=store),
            admin=AdminSection(socket=""),
            notifier=NotifierSection(min_notify_interval=0, allow=("*",)),
            **config,
        ),
        on_request=on_request,
    )
    if prepare is not None:
        prepare(server)
    await server.start()
    try:
        listener = server.listeners[0]
        yield server, (listener.host, listener.port)
    finally:
        await server.close()


def in_thread(work: Callable[[], Any]) -> Any:
    """Let a peer talk to the server, which runs in the event loop of this thread."""
    return asyncio.to_thread(work)


class Heard:
    """Keeps what on_change is told."""

    def __init__(self) -> None:
        self.changes: asyncio.Queue[Change] = asyncio.Queue()

    async def __call__(self, change: Change) -> None:
        await self.changes.put(change)

    async def next(self) -> list[tuple[str, str]]:
        async with asyncio.timeout(PATIENCE):
            change = await self.changes.get()
        return [(binding.uri, event) for binding, event in change.contacts]


async def test_every_change_is_heard_in_order() -> None:
    heard = Heard()
    failed: asyncio.Queue[int] = asyncio.Queue()

    async def fails(change: Change) -> None:
        failed.put_nowait(change.seq)
        raise ValueError("of the application")

    async with serving() as (server, at):
        server.on_change(fails)
        server.on_change(heard)
        with Phone(at, ALICE) as phone:
            await in_thread(phone.register)
            await in_thread(phone.register)
            await server.location.shorten(ALICE, None, 100)
            await in_thread(phone.unregister)
            events = [await heard.next() for _ in range(4)]
        assert events == [
            [(phone.contact, event)] for event in ("registered", "refreshed", "shortened", "unregistered")
        ]
        async with asyncio.timeout(PATIENCE):
            assert [await failed.get() for _ in range(4)] == [1, 2, 3, 4]


async def test_a_listener_is_woken_where_nobody_else_is_told() -> None:
    """It would look by itself, a second later."""

    class Sleeper(ChangeListener):
        def __init__(self, store: Store) -> None:
            super().__init__(store, Heard(), None)
            self.woken = asyncio.Event()

        def wake(self) -> None:
            self.woken.set()

    async with serving() as (server, at):
        sleeper = Sleeper(server._store)
        end = server.listen(sleeper)
        with Phone(at, ALICE) as phone:
            await in_thread(phone.register)
        await asyncio.wait_for(sleeper.woken.wait(), PATIENCE)
        await end()


async def test_a_listener_with_a_name_hears_again_what_it_had_not_finished(tmp_path: Path) -> None:
    reached = asyncio.Event()

    async def stuck(change: Change) -> None:
        reached.set()
        await asyncio.Event().wait()

    heard = Heard()
    store = f"rocksdb:{tmp_path}/db"
    async with serving(store=store, prepare=lambda server: server.on_change(stuck, name="application")) as (_, at):
        with Phone(at, ALICE) as phone:
            await in_thread(phone.register)
        await asyncio.wait_for(reached.wait(), PATIENCE)
    async with serving(store=store, prepare=lambda server: server.on_change(heard, name="application")):
        assert await heard.next() == [(phone.contact, "registered")]
    async with serving(store=store, prepare=lambda server: server.on_change(heard, name="application")) as (_, at):
        with Phone(at, ALICE) as phone:
            await in_thread(phone.register)
        assert (await heard.next())[-1] == (phone.contact, "registered")
        assert heard.changes.empty()


async def test_a_hook_may_answer_instead_of_the_server() -> None:
    def refuse(request: SipMessage, flow: Flow) -> Outcome | None:
        return Outcome(403, "Not This Phone") if request.header("User-Agent") == "Other/1" else None

    async with serving(on_request=refuse) as (_, at):
        with Phone(at, ALICE) as phone:
            refused = await in_thread(lambda: phone.register(headers=["User-Agent: Other/1"]))
            assert (refused.status, refused.message.reason) == (403, "Not This Phone")
            assert (await in_thread(phone.register)).status == 200


async def test_reginfo_handle_notify_returns_what_the_predecessor_does() -> None:
    """KAM-2: 1 if a contact is bound then, 2 if none is, -1 if nothing came of it."""
    kept: asyncio.Queue[tuple[SipMessage, Flow]] = asyncio.Queue()

    def keep(request: SipMessage, flow: Flow) -> Outcome | None:
        if request.method != "NOTIFY":
            return None
        kept.put_nowait((request, flow))
        return KEEP

    with Notifier() as east:
        peer = PeerSection(name="east", uri="sip:{}:{}".format(*east.address))
        async with serving(on_request=keep, peer=(peer,)) as (server, _):

            async def handle(*contacts: str) -> tuple[int, int]:
                body = document(registration(ALICE, *contacts))
                answer = asyncio.create_task(in_thread(lambda: east.notify(body)))
                request, flow = await asyncio.wait_for(kept.get(), PATIENCE)
                return await server.reginfo_handle_notify(request, flow), (await answer).status

            assert await server.reginfo_subscribe(ALICE) == 1
            subscribe = await in_thread(east.receive_subscribe)
            east.accept(subscribe)
            assert await handle(contact(THERE)) == (1, 200)
            found = await server.location.lookup(ALICE)
            assert found is not None
            assert [(one.uri, one.origin) for one in found.bindings] == [(THERE, "peer:east")]
            own, east.tag = east.tag, "of-another-dialog"
            assert await handle(contact(THERE)) == (-1, 481)
            east.tag = own
            gone = contact(THERE, state="terminated", event="unregistered", expires=None)
            assert await handle(gone) == (2, 200)
            assert await server.location.lookup(ALICE) is None
            assert await server.reginfo_unsubscribe(ALICE) == 1


async def test_reginfo_disable_publish_holds_for_one_request() -> None:
    def quiet(request: SipMessage, flow: Flow) -> Outcome | None:
        if request.header("X-Quiet"):
            server.reginfo_disable_publish()
        return None

    with Compositor() as compositor:
        section = PuaReginfoSection(outbound_proxy="sip:{}:{}".format(*compositor.address))
        async with serving(on_request=quiet, pua_reginfo=section) as (server, at):
            with Phone(at, ALICE) as hidden, Phone(at, "sip:bob@example.com") as shown, Watcher(at, ALICE) as watcher:
                await in_thread(lambda: hidden.register(headers=["X-Quiet: yes"]))
                await in_thread(shown.register)
                publish = await in_thread(compositor.receive_publish)
                compositor.store(publish)
                assert publish.message.request_uri == "sip:bob@example.com"
                # Only what is published is kept back: watchers here are told.
                assert (await in_thread(watcher.subscribe)).status == 200
                told = await in_thread(watcher.notify)
                assert hidden.contact in told.octets.decode()
                await in_thread(hidden.register)
                publish = await in_thread(compositor.receive_publish)
                compositor.store(publish)
                assert publish.message.request_uri == ALICE


async def test_every_identity_of_an_implicit_set_leads_to_the_contacts_of_all() -> None:
    """IMS-3: whichever of them an operator or a program names."""
    ims = ImsSection(enabled=True, implicit_sets=((ALICE, "sip:al@example.com"),))
    async with serving(ims=ims) as (server, _):
        await server.location.create("sip:al@example.com", THERE, 600)
        for identity in (ALICE, "sip:al@example.com"):
            found = await server.location.targets(identity)
            assert found is not None
            assert [one.uri for one in found] == [THERE]
        assert await server.location.shorten("sip:al@example.com", None, 60) == 1
        assert await server.location.end("sip:al@example.com", None, ContactEvent.REJECTED) == 1
        assert await server.location.lookup(ALICE) is None


@pytest.mark.parametrize("takes_tcp", [True, False])
async def test_a_large_notify_goes_over_tcp_if_the_watcher_takes_it(takes_tcp: bool) -> None:
    """TRN-2, RFC 3261 18.1.1: beyond 1300 octets a congestion-controlled transport, UDP only if that is refused."""
    async with serving() as (server, at):
        for number in range(10):
            await server.location.create(ALICE, f"sip:a-rather-long-name-{number}@192.0.2.77:5060;transport=tcp", 600)
        with Watcher(at, ALICE) as watcher:
            if not takes_tcp:
                assert (await in_thread(watcher.subscribe)).status == 200
                told = await in_thread(watcher.notify)
                assert len(told.octets) > 1300
                assert told.document is not None
                assert len(told.document.registrations[0].contacts) == 10
                return
            arrived: asyncio.Queue[SipMessage] = asyncio.Queue()
            gone = asyncio.Event()

            async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                framer = StreamFramer()
                while octets := await reader.read(65_536):
                    for message in map(parse_message, framer.feed(octets)):
                        writer.write(write_response(message, 200))
                        await arrived.put(message)
                writer.close()
                gone.set()

            streams = await asyncio.start_server(take, *watcher.address)
            async with streams:
                assert (await in_thread(watcher.subscribe)).status == 200
                notify = await asyncio.wait_for(arrived.get(), PATIENCE)
                assert notify.top_via.transport == "TCP"
                assert len(parse_reginfo(notify.body).registrations[0].contacts) == 10
                # It was answered over TCP, so nothing comes by UDP.
                assert await in_thread(lambda: watcher.nothing(within=0.6))
                await server.close()
                await asyncio.wait_for(gone.wait(), PATIENCE)


async def test_a_server_at_all_addresses_follows_from_the_one_it_asks_from() -> None:
    """DLG-1: the NOTIFYs have to get here."""
    with Notifier() as east:
        peer = PeerSection(name="east", uri="sip:{}:{}".format(*east.address))
        config: dict[str, Any] = {"listen": ("udp:0.0.0.0:0",), "insecure": True, "peer": (peer,)}
        async with serving(**config) as (server, _):
            assert await server.reginfo_subscribe(ALICE) == 1
            subscribe = await in_thread(east.receive_subscribe)
            host, port = subscribe.source
            assert subscribe.message.contacts[0].uri == f"sip:reginfo@{host}:{port}"
            east.accept(subscribe)
            answer = await in_thread(lambda: east.notify(document(registration(ALICE, contact(THERE)))))
            assert answer.status == 200
            assert await server.location.lookup(ALICE) is not None


async def test_what_leads_to_a_contact_is_told_by_aor_and_by_gruu(tmp_path: Path) -> None:
    """PTH-3, GRU-6: through the Path; None where a 404 is deserved, nothing where a 480 is; also after a restart."""
    urn = "urn:uuid:00000000-0000-4000-8000-000000000001"
    edge = "<sip:edge.example.com;lr>"
    config: dict[str, Any] = {"registrar": RegistrarSection(gruu=True), "store": f"rocksdb:{tmp_path}/db"}
    async with serving(**config) as (server, at):
        with Phone(at, ALICE) as phone:
            value = f'<{phone.contact}>;q=0.1;+sip.instance="<{urn}>"'
            answer = await in_thread(lambda: phone.register(value, headers=["Supported: path, gruu", f"Path: {edge}"]))
        temporary = (dict(parse_message(answer.octets).contacts[0].parameters)["temp-gruu"] or "").strip('"')
        await server.location.create(ALICE, THERE, 600)
        found = await server.location.targets(ALICE)
        assert found is not None
        assert [(one.uri, one.routes) for one in found] == [(THERE, ()), (phone.contact, (edge,))]
    async with serving(**config) as (server, _):
        for uri in (temporary, f"{ALICE};gr={urn}"):
            found = await server.location.targets(uri)
            assert found is not None
            assert [(one.uri, one.routes) for one in found] == [(phone.contact, (edge,))]
        assert await server.location.targets(f"{ALICE};gr=urn:uuid:2") == []
        assert await server.location.targets("sip:bob@example.com") == []
        assert await server.location.targets(f"{ALICE};gr=x") is None
        await server.location.end(ALICE, None, ContactEvent.REJECTED)
        assert await server.location.targets(temporary) is None
