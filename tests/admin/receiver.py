"""A receiver of webhooks that answers as it is told, and keeps what it has acknowledged."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from reginfo import verify_webhook

SECRET = "correct horse battery"

Answer = Callable[[dict[str, Any]], int | web.Response]


class Receiver:
    """Where deliveries arrive; `acknowledged` are the events answered 2xx, `seen` all of them, in order."""

    def __init__(self) -> None:
        self.answer: Answer = lambda event: 204
        self.seen: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.acknowledged: list[dict[str, Any]] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        assert verify_webhook(body, request.headers["Reginfo-Signature"], SECRET.encode())
        event = json.loads(body)
        assert event["id"] == request.headers["Idempotency-Key"]
        self.seen.append(event)
        self.headers.append(dict(request.headers))
        answer = self.answer(event)
        response = web.Response(status=answer) if isinstance(answer, int) else answer
        if 200 <= response.status < 300:
            self.acknowledged.append(event)
        return response


@asynccontextmanager
async def receiving(port: int = 0, receiver: Receiver | None = None) -> AsyncIterator[Receiver]:
    """Run a receiver, on a port of the system's choice unless one is given."""
    receiver = receiver or Receiver()
    application = web.Application()
    application.router.add_post("/hook", receiver.receive)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        receiver.port = runner.addresses[0][1]
        yield receiver
    finally:
        await runner.cleanup()
