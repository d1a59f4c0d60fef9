"""What the examples beside this file share: a server that takes deliveries whose signature is right.

The secret is in the environment, as WEBHOOK_SECRET.  An event is acknowledged once it has been dealt with; one that
could not be is answered 502, so that the registrar delivers it again, before those that follow it.
"""

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web

from reginfo import verify_webhook

Event = dict[str, Any]
Handle = Callable[[Event], Awaitable[bool]]
"Deal with an event; False if that was not possible now."

TIMEOUT = aiohttp.ClientTimeout(total=5)


def serve(handle: Handle, port: int) -> None:
    """Take deliveries at http://127.0.0.1:PORT/ until Ctrl-C or SIGTERM."""
    secret = os.environ["WEBHOOK_SECRET"].encode()

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        if not verify_webhook(body, request.headers.get("Reginfo-Signature", ""), secret):
            return web.Response(status=401)
        return web.Response(status=204 if await handle(json.loads(body)) else 502)

    application = web.Application()
    application.router.add_post("/", receive)
    web.run_app(application, host="127.0.0.1", port=port)


async def post(url: str, document: dict[str, Any], key: str) -> bool:
    """Post JSON to an application, with the key of the event it came of; True if it was taken."""
    try:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT) as session,
            session.post(url, json=document, headers={"Idempotency-Key": key}) as response,
        ):
            return response.ok
    except (aiohttp.ClientError, TimeoutError):
        return False
