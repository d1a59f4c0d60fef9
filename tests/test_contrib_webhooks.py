"""The examples of contrib/webhooks, behind the real server and before what they tell."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from aiohttp import web

from reginfo.admin.control import ControlClient
from reginfo.admin.signatures import HEADER, sign_webhook
from tests.admin.receiver import SECRET
from tests.conftest import ROOT
from tests.interop.kamailio import eventually
from tests.interop.peer import Phone
from tests.server_fixture import PATIENCE, RunningServer, free_port, running_server

CONTRIB = ROOT / "contrib" / "webhooks"

pytestmark = pytest.mark.network


class Application:
    """What an example posts to: it fails once, then takes everything."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.taken: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def receive(self, request: web.Request) -> web.Response:
        document = await request.json()
        self.posts.append((request.headers["Idempotency-Key"], document))
        if len(self.posts) == 1:
            return web.Response(status=500)
        self.taken.put_nowait(document)
        return web.Response()

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(2 * PATIENCE):
            return await self.taken.get()


@asynccontextmanager
async def application() -> AsyncIterator[tuple[Application, str]]:
    taker = Application()
    served = web.Application()
    served.router.add_post("/", taker.receive)
    runner = web.AppRunner(served, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield taker, f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@contextmanager
def example(name: str, *arguments: str) -> Generator[int, None, None]:
    """Run an example until the block ends; give the port it listens on."""
    port = free_port("127.0.0.1")
    command = [sys.executable, str(CONTRIB / name), *arguments, "--port", str(port)]
    environment = {**os.environ, "WEBHOOK_SECRET": SECRET, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        hangs = threading.Timer(6 * PATIENCE, process.kill)
        hangs.start()
        try:
            assert process.stdout is not None
            assert "Running on" in process.stdout.readline()
            yield port
        finally:
            hangs.cancel()
            process.terminate()
            process.communicate()


@contextmanager
def server_with_hook(folder: Path, port: int, options: str = "") -> Generator[RunningServer, None, None]:
    (folder / "hook.secret").write_text(SECRET)
    hook = f'[[webhook]]\nurl = "http://127.0.0.1:{port}/"\nsecret_file = "hook.secret"\n{options}'
    with running_server(folder, ["example.com"], f'[store]\nurl = "memory:"\n{hook}') as server:
        yield server


def call(folder: Path, method: str, *arguments: object) -> None:
    """Do what an operator does."""
    with ControlClient(str(folder / "reginfo.sock")) as client:
        client.call(method, list(arguments))


async def test_a_phone_is_woken_by_its_push_service(tmp_path: Path) -> None:
    phone = "sip:alice@192.0.2.1;pn-provider=apns;pn-prid=ZTY4ZDJlMzODE1NmUgKi0K;pn-param=TEAM.app"
    events = 'events = ["shortened", "deactivated", "expired"]'
    async with application() as (taker, url):
        with example("push_gateway.py", url) as port, server_with_hook(tmp_path, port, events):
            call(tmp_path, "ul.add", "alice@example.com", phone)
            call(tmp_path, "ul.add", "alice@example.com", "sip:desk@192.0.2.2")
            call(tmp_path, "reg.shorten", "alice@example.com")
            assert await taker.next() == {
                "provider": "apns",
                "prid": "ZTY4ZDJlMzODE1NmUgKi0K",
                "param": "TEAM.app",
                "aor": "sip:alice@example.com",
                "reason": "shortened",
            }
            call(tmp_path, "reg.deactivate", "alice@example.com")
            assert (await taker.next())["reason"] == "deactivated"
    assert taker.posts[0] == taker.posts[1]  # the one that failed came again, with its key
    assert len(taker.posts) == 3


async def test_a_mailbox_hears_that_its_user_came_online(tmp_path: Path) -> None:
    async with application() as (taker, url):
        events = 'events = ["registered", "created"]'
        with example("voicemail.py", url) as port, server_with_hook(tmp_path, port, events) as server:
            with Phone(server.udp, "sip:alice@example.com") as phone:
                phone.register()
                phone.unregister()
            call(tmp_path, "ul.add", "bob@example.com", "sip:bob@192.0.2.2")
            online = [await taker.next(), await taker.next()]
    assert {(one["mailbox"], one["contact"]) for one in online} == {
        ("alice@example.com", phone.contact),
        ("bob@example.com", "sip:bob@192.0.2.2"),
    }


@contextmanager
def redis_at(program: Path, folder: Path, port: int) -> Generator[redis.Redis, None, None]:
    """Run a Redis server that keeps nothing on the disk."""
    command = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        client = redis.Redis(port=port, decode_responses=True)
        try:
            eventually(lambda: answers(client), "an answer of Redis")
            yield client
        finally:
            client.close()
            process.terminate()


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_events_are_in_a_redis_stream_once_and_in_order(tmp_path: Path, redis_server: Path) -> None:
    at = free_port("127.0.0.1")
    with (
        example("redis_stream.py", f"redis://127.0.0.1:{at}/0") as port,
        server_with_hook(tmp_path, port),
    ):
        call(tmp_path, "ul.add", "alice@example.com", "sip:a@192.0.2.1")  # Redis is not there yet
        call(tmp_path, "reg.deactivate", "alice@example.com")
        call(tmp_path, "ul.add", "alice@example.com", "sip:b@192.0.2.2")
        with redis_at(redis_server, tmp_path, at) as client:
            eventually(lambda: client.xlen("registrations") == 3)
            entries: Any = client.xrange("registrations")
            fields = [entry for _, entry in entries]
            assert [one["event"] for one in fields] == ["created", "deactivated", "created"]
            assert [json.loads(one["json"])["id"] for one in fields] == [one["id"] for one in fields]
            deliver_again(port, json.loads(fields[0]["json"]))
            assert client.xlen("registrations") == 3


def deliver_again(port: int, event: dict[str, Any]) -> None:
    """Deliver an event as the registrar would if an answer had been lost."""
    body = json.dumps(event).encode()
    headers = {HEADER: sign_webhook(body, SECRET.encode(), time.time()), "Idempotency-Key": event["id"]}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", body, headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        assert response.status == 204
