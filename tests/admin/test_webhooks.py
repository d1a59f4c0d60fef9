"""Webhooks of a server in this process: what is sent, what its answers lead to, what a restart finds."""

import asyncio
import email.utils
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from reginfo import Config, Server, verify_webhook
from reginfo.admin import webhooks
from reginfo.admin.delivery import Outbox
from reginfo.admin.posting import seconds_of
from reginfo.admin.signatures import sign_webhook
from reginfo.admin.webhooks import Webhook
from reginfo.config import AdminSection, StoreSection, WebhookSection
from reginfo.errors import ConfigError, FeedGap
from reginfo.fast import Change
from reginfo.model import ContactEvent
from reginfo.server.webhooks import WebhookListener
from reginfo.store.base import Cursor
from reginfo.store.embedded import EmbeddedStore
from reginfo.store.table import TableStore
from tests.admin.receiver import SECRET, Receiver, receiving
from tests.server_fixture import PATIENCE, free_port
from tests.store.samples import aor, bound

pytestmark = pytest.mark.network

ALICE, BOB = "sip:alice@example.com", "sip:bob@example.com"
CONTACT = "sip:phone@192.0.2.1"
DELAY = 0.01


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a back-off last hundredths of a second."""
    monkeypatch.setattr(Outbox, "_delay", lambda self, failures: DELAY)


def hook(tmp_path: Path, url: str, **keys: Any) -> WebhookSection:
    secret = tmp_path / "hook.secret"
    secret.write_text(f"{SECRET}\n")
    return WebhookSection(url=url, secret_file=str(secret), **keys)


def config(*hooks: WebhookSection, store: str = "memory:") -> Config:
    listen = ("udp:127.0.0.1:0",)
    return Config(listen=listen, store=StoreSection(url=store), admin=AdminSection(socket=""), webhook=hooks)


@asynccontextmanager
async def serving(*hooks: WebhookSection, store: str = "memory:") -> AsyncIterator[Server]:
    server = Server(config(*hooks, store=store))
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


def told(receiver: Receiver) -> list[tuple[str, str]]:
    return [(event["aor"], event["event"]) for event in receiver.acknowledged]


def figures(server: Server) -> dict[str, int]:
    return server.statistics()["webhooks"]


async def test_an_event_is_one_signed_request(tmp_path: Path) -> None:
    async with receiving() as receiver, serving(hook(tmp_path, receiver.url)) as server:
        before = time.time()
        await server.location.create(ALICE, CONTACT, 600, 0.5)
        await until(lambda: bool(receiver.acknowledged))
        [event], [headers] = receiver.acknowledged, receiver.headers
        assert headers["Content-Type"] == "application/json"
        assert headers["User-Agent"].startswith("reginfo/")
        assert (event["aor"], event["event"], event["cause"], event["origin"]) == (
            ALICE,
            "created",
            "operator",
            "local",
        )
        assert event["id"] == f"{event['seq']}-0" == headers["Idempotency-Key"]
        assert (event["contact"]["uri"], event["contact"]["expires"], event["contact"]["q"]) == (CONTACT, 600, 0.5)
        assert event["contact"]["instance"] is None
        assert abs(webhooks_time(event["time"]) - before) < PATIENCE
        await until(lambda: figures(server)["delivered"] == 1)


def webhooks_time(text: str) -> float:
    from datetime import datetime

    assert text.endswith("Z")
    return datetime.fromisoformat(text).timestamp()


async def test_refreshes_are_told_if_asked_for(tmp_path: Path) -> None:
    quiet, chatty = Receiver(), Receiver()
    async with receiving(receiver=quiet), receiving(receiver=chatty):
        every = tuple(str(event) for event in ContactEvent)
        hooks = hook(tmp_path, quiet.url), hook(tmp_path, chatty.url, events=every)
        async with serving(*hooks) as server:
            for _ in range(2):
                await server.location.create(ALICE, CONTACT, 600)
            await server.location.shorten(ALICE, None, 60)
            await server.location.end(ALICE, None, ContactEvent.REJECTED)
            await until(lambda: len(chatty.acknowledged) == 4 and len(quiet.acknowledged) >= 3)
    assert [event for _, event in told(chatty)][-2:] == ["shortened", "rejected"]
    assert "refreshed" not in [event for _, event in told(quiet)]


async def test_events_aors_and_feature_tags_choose(tmp_path: Path) -> None:
    async with receiving() as receiver:
        chosen = hook(
            tmp_path,
            receiver.url,
            events=("registered",),
            aors=("sip:a*@example.com",),
            feature_tags=("+g.oma.sip-im",),
        )
        async with serving(chosen) as server:
            phone = '+sip.instance="<urn:a;+g.oma.x>";+g.oma.sip-im'
            await asyncio.to_thread(register, server, "bob", f"{phone}")
            await asyncio.to_thread(register, server, "al", '+sip.instance="<urn:;+g.oma.sip-im>"')
            await asyncio.to_thread(register, server, "alice", phone)
            await server.location.end("sip:alice@example.com", None, ContactEvent.REJECTED)
            await asyncio.to_thread(register, server, "amy", "+G.OMA.SIP-IM")
            await until(lambda: len(receiver.acknowledged) == 2)
    assert told(receiver) == [(ALICE, "registered"), ("sip:amy@example.com", "registered")]


def register(server: Server, user: str, parameters: str) -> None:
    import socket

    listener = server.listeners[0]
    request = (
        f"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bK{user}\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:{user}@example.com>;tag=f\r\nTo: <sip:{user}@example.com>\r\n"
        f"Call-ID: {user}\r\nCSeq: 1 REGISTER\r\nContact: <sip:{user}@192.0.2.1>;{parameters}\r\n"
        "Content-Length: 0\r\n\r\n"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.settimeout(PATIENCE)
        phone.sendto(request.encode(), (listener.host, listener.port))
        assert phone.recv(65_535).startswith(b"SIP/2.0 200 ")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_what_may_work_later_is_tried_again_with_the_same_key(tmp_path: Path, status: int) -> None:
    async with receiving() as receiver, serving(hook(tmp_path, receiver.url)) as server:
        receiver.answer = lambda event: status if len(receiver.seen) < 3 else 200
        await server.location.create(ALICE, CONTACT, 600)
        await server.location.end(ALICE, None, ContactEvent.DEACTIVATED)
        await until(lambda: len(receiver.acknowledged) == 2)
        assert [event["event"] for event in receiver.seen] == ["created"] * 3 + ["deactivated"]
        assert receiver.seen[0] == receiver.seen[2]
        assert (figures(server)["retried"], figures(server)["failed"]) == (2, 0)


@pytest.mark.parametrize("status", [301, 307, 400, 404, 410])
async def test_a_refusal_is_counted_and_not_tried_again(tmp_path: Path, status: int) -> None:
    async with receiving() as receiver, serving(hook(tmp_path, receiver.url)) as server:
        receiver.answer = lambda event: (
            web.Response(status=status, headers={"Location": receiver.url}) if event["aor"] == ALICE else 200
        )
        await server.location.create(ALICE, CONTACT, 600)
        await server.location.create(BOB, CONTACT, 600)
        await until(lambda: figures(server)["failed"] == figures(server)["delivered"] == 1)
        assert told(receiver) == [(BOB, "created")]
        assert len(receiver.seen) == 2
        [listed] = server._administration.webhooks.describe()
        assert (listed["last_error"], listed["pending"], listed["next_try"]) == (f"answered {status}", 0, None)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [("2", 2, 2), ("soon", 0, 0), ("-1", 0, 0), ("9" * 12, 0, 0), ("date", 25, 30), ("", 0, 0)],
)
def test_retry_after_is_seconds_or_a_date(header: str, least: float, most: float) -> None:
    value = email.utils.formatdate(time.time() + 29, usegmt=True) if header == "date" else header
    assert least <= seconds_of(value) <= most


async def test_a_receiver_that_does_not_answer_delays_nobody_else(tmp_path: Path) -> None:
    """Not the registrar either: its answers do not depend on any of it."""
    stuck = asyncio.Event()

    async def never(request: web.Request) -> web.Response:
        await stuck.wait()
        return web.Response()

    application = web.Application()
    application.router.add_post("/hook", never)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    silent = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    async with (
        receiving() as receiver,
        serving(hook(tmp_path, silent, timeout=0.2), hook(tmp_path, receiver.url)) as server,
    ):
        await server.location.create(ALICE, CONTACT, 600)
        await until(lambda: bool(receiver.acknowledged))
        await until(lambda: figures(server)["retried"] > 0)
        listed = {one["url"]: one for one in server._administration.webhooks.describe()}
        assert listed[silent]["last_error"] == "no answer within 0.2 s"
        assert listed[silent]["pending"] == 1
    stuck.set()
    await runner.cleanup()


async def test_what_a_receiver_has_not_taken_is_told_after_a_restart(tmp_path: Path) -> None:
    store, port = f"rocksdb:{tmp_path}/db", free_port("127.0.0.1")
    section = hook(tmp_path, f"http://127.0.0.1:{port}/hook")
    async with serving(section, store=store) as server:
        await server.location.create(ALICE, CONTACT, 600)
        await server.location.create(BOB, CONTACT, 600)
        await until(lambda: figures(server)["pending"] == 2)
    async with receiving(port) as receiver:
        async with serving(section, store=store) as server:
            await until(lambda: figures(server)["delivered"] == 2)
            await server.location.end(ALICE, None, ContactEvent.REJECTED)
            await until(lambda: figures(server)["delivered"] == 3)
        async with serving(section, store=store) as server:
            assert figures(server) == {**figures(server), "delivered": 3, "pending": 0}
            await server.location.end(BOB, None, ContactEvent.REJECTED)
            await until(lambda: figures(server)["delivered"] == 4)
    assert told(receiver) == [(ALICE, "created"), (BOB, "created"), (ALICE, "rejected"), (BOB, "rejected")]


async def test_the_feed_is_held_before_anything_of_a_start_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ends with its connection is committed then, and a commit cuts the journal behind who is attached."""
    attached, attach = [], TableStore.attach

    async def noted(self: TableStore, name: str, wants_refreshes: bool) -> Cursor | None:
        attached.append((name, wants_refreshes))
        return await attach(self, name, wants_refreshes)

    monkeypatch.setattr(TableStore, "attach", noted)
    every = hook(tmp_path, "http://127.0.0.1:9/all", events=("refreshed",), name="all")
    async with serving(every, hook(tmp_path, "http://127.0.0.1:9/some", name="some")):
        assert attached[:2] == [("webhook:all", True), ("webhook:some", False)]


def pending_webhook(**keys: Any) -> Webhook:
    """Return a webhook that nobody delivers."""
    section = WebhookSection(url="http://127.0.0.1:9/", name="app", **keys)
    return Webhook(section, SECRET.encode(), lambda aor: True, lambda engine_ms: engine_ms)


async def test_what_the_journal_no_longer_holds_after_a_restart_is_dropped_and_counted(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "db", ring=2, journal=8, journal_step=2)
    listener = WebhookListener(store, webhook := pending_webhook())
    await listener.attach()
    await store.commit([bound(aor(number)) for number in range(5)])
    await listener._read()
    await listener._save()
    assert len(webhook.outbox) == 5
    await store.commit(
        [bound(aor(number)) for number in range(5, 11)]
    )  # by a server that was killed before it read them
    await store.close()

    store = EmbeddedStore(tmp_path / "db", ring=2, journal=8, journal_step=2)
    listener = WebhookListener(store, webhook := pending_webhook())
    await listener.attach()
    await listener._read()
    oldest = 11 - len(await changes_held(store)) + 1
    assert oldest > 1
    assert webhook.outbox.counts.dropped == oldest - 1
    assert len(webhook.outbox) == 11 - webhook.outbox.counts.dropped
    await store.close()


async def changes_held(store: EmbeddedStore) -> list[Change]:
    try:
        return await store.changes(0, 100)
    except FeedGap as gap:
        return await store.changes(gap.oldest - 1, 100)


async def test_who_asks_for_refreshes_later_misses_nothing_else(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "db", ring=1)
    listener = WebhookListener(store, pending_webhook())
    await listener.attach()
    await listener._save()
    first = bound(aor(1))
    await store.commit([first])
    await store.commit([refresh := bound(aor(1), first.record, 2)])
    await store.commit([bound(aor(2))])
    await store.close()

    store = EmbeddedStore(tmp_path / "db", ring=1)
    listener = WebhookListener(store, webhook := pending_webhook(events=("created", "refreshed")))
    await listener.attach()
    await store.commit([bound(aor(1), refresh.record, 3)])
    await listener._read()
    assert [entry.key[0] for entry in webhook.outbox._entries] == [1, 3, 4]
    await store.close()


async def test_another_filter_does_not_change_what_is_owed(tmp_path: Path) -> None:
    store, port = f"rocksdb:{tmp_path}/db", free_port("127.0.0.1")
    keys = {"url": f"http://127.0.0.1:{port}/hook", "name": "app"}
    async with serving(hook(tmp_path, aors=(ALICE,), **keys), store=store) as server:
        await server.location.create(ALICE, CONTACT, 600)
        await server.location.create(BOB, CONTACT, 600)
        await until(lambda: figures(server)["pending"] == 1)
    async with receiving(port) as receiver, serving(hook(tmp_path, aors=(BOB,), **keys), store=store) as server:
        await server.location.end(BOB, None, ContactEvent.REJECTED)
        await server.location.end(ALICE, None, ContactEvent.REJECTED)
        await until(lambda: len(receiver.acknowledged) == 2)
        await until(lambda: server._administration.webhooks.statistics()["pending"] == 0)
    assert sorted(told(receiver)) == [(ALICE, "created"), (BOB, "rejected")]


async def test_webhooks_come_change_and_go_while_serving(tmp_path: Path) -> None:
    async with receiving() as receiver, serving() as server:
        section = hook(tmp_path, receiver.url)
        await server.location.create(ALICE, CONTACT, 600)
        server.reload(config(section))
        await until(lambda: figures(server)["webhooks"] == 1)
        await server.location.create(BOB, CONTACT, 600)
        await until(lambda: len(receiver.acknowledged) == 1)
        server.reload(config(hook(tmp_path, receiver.url, events=("rejected",))))
        server.reload(config(hook(tmp_path, receiver.url, events=("rejected",))))
        await until(lambda: server._administration._configuring.done())
        await server.location.create("sip:carol@example.com", CONTACT, 600)
        await server.location.end(BOB, None, ContactEvent.REJECTED)
        await until(lambda: len(receiver.acknowledged) == 2)
        (tmp_path / "hook.secret").write_text("short\n")
        with pytest.raises(ConfigError, match="no secret of at least 16 characters"):
            server.reload(config(section))
        assert figures(server)["webhooks"] == 1
        server.reload(config())
        await until(lambda: figures(server)["webhooks"] == 0)
        await server.location.end(ALICE, None, ContactEvent.REJECTED)
    assert told(receiver) == [(BOB, "created"), (BOB, "rejected")]


async def test_a_configuration_read_while_the_server_ends_begins_nothing(tmp_path: Path) -> None:
    async with receiving() as receiver:
        async with serving() as server:
            pass
        section = hook(tmp_path, receiver.url)
        server._administration.follow(config(section), {section.name: SECRET.encode()})
        await server._administration._configuring
        assert server._administration.webhooks.describe() == []


async def test_one_that_has_failed_ends_without_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: webhooks.Webhook) -> None:
        raise OSError("no more descriptors")

    async with receiving() as receiver:
        section = hook(tmp_path, receiver.url)
        with monkeypatch.context() as broken:
            broken.setattr(webhooks.Webhook, "run", fail)
            async with serving(section) as server:
                await until(lambda: server._administration.webhooks._running[section.name].task.done())
                server._administration.follow(config(), {})
                await server._administration._configuring
                assert server._administration.webhooks.describe() == []


async def test_a_temporary_webhook_ends_when_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "ABANDON_SECONDS", 0.05)
    async with serving() as server:
        hooks = server._administration.webhooks
        url = f"http://127.0.0.1:{free_port('127.0.0.1')}/"
        await hooks.add(WebhookSection(url=url, name="gone"), SECRET.encode())
        await server.location.create(ALICE, CONTACT, 600)
        await until(lambda: not hooks.describe())


@pytest.mark.parametrize("environment", [None, "", "short"])
async def test_a_secret_of_the_environment_is_there_and_long_enough(
    monkeypatch: pytest.MonkeyPatch, environment: str | None
) -> None:
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    if environment is not None:
        monkeypatch.setenv("HOOK_SECRET", environment)
    section = WebhookSection(url="http://127.0.0.1:9/", secret_env="HOOK_SECRET")
    with pytest.raises(ConfigError, match="environment variable HOOK_SECRET holds no secret"):
        await Server(config(section)).start()


BODY = b'{"seq":1}'


@pytest.mark.parametrize(
    ("body", "header", "secret", "now", "good"),
    [
        (BODY, None, SECRET, 1_000, True),
        (BODY, None, SECRET, 1_300, True),
        (BODY, None, SECRET, 1_301, False),
        (BODY, None, SECRET, 699, False),
        (BODY + b" ", None, SECRET, 1_000, False),
        (BODY, None, SECRET + "x", 1_000, False),
        (BODY, "", SECRET, 1_000, False),
        (BODY, "t=1000", SECRET, 1_000, False),
        (BODY, "t=1000,v1=" + "0" * 64, SECRET, 1_000, False),
        (BODY, "t=\u0661,v1=" + "0" * 64, SECRET, 1_000, False),
    ],
)
def test_a_signature_is_of_its_body_secret_and_time(
    body: bytes, header: str | None, secret: str, now: float, good: bool
) -> None:
    signed = sign_webhook(BODY, SECRET.encode(), 1_000.9)
    assert verify_webhook(body, signed if header is None else header, secret.encode(), now=now) is good


def test_a_signature_is_that_of_any_other_program() -> None:
    """As `printf '1000.{}' | openssl dgst -sha256 -hmac key` has it."""
    digest = "c32de42341dece79a1511c9e7f74a2734112edcfcf48943c976faf07047065db"
    assert sign_webhook(b"{}", b"key", 1000) == f"t=1000,v1={digest}"
