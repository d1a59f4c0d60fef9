"""The HTTP of webhooks: one POST, and what its answer says.  Loaded by a server that has a webhook."""

import email.utils
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from types import TracebackType
from typing import Final, NamedTuple, Self

import aiohttp

from reginfo.errors import ReginfoError

MAX_ANSWER: Final = 65_536  # octets read of an answer, so that its connection can be used again
KEEPALIVE_SECONDS: Final = 1.5  # receivers close idle connections after 2 s or more: a request into that would fail
USER_AGENT: Final = f"reginfo/{version('reginfo')}"


class Unanswered(ReginfoError):
    """A request got no answer."""


class Answer(NamedTuple):
    """What a receiver says."""

    status: int
    retry_after: float
    "Seconds; 0 if it asks for none."


class Poster:
    """Connections to one URL; to be used as an asynchronous context."""

    def __init__(self, url: str, seconds: float, connections: int) -> None:
        """An answer has to come within so many seconds, over so many connections at most."""
        self._url = url
        self._seconds = seconds
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=KEEPALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=seconds),
            headers={"User-Agent": USER_AGENT, "Content-Type": "application/json"},
            skip_auto_headers=["Accept-Encoding"],  # of what is answered only the status matters
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post JSON and return the answer, whatever its status; redirects are not followed.  Raises Unanswered."""
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                await response.content.read(MAX_ANSWER)
                return Answer(response.status, seconds_of(response.headers.get("Retry-After", "")))
        except TimeoutError:
            raise Unanswered(f"no answer within {self._seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unanswered(str(error) or type(error).__name__) from error


def seconds_of(retry_after: str) -> float:
    """Return what Retry-After says (RFC 9110 section 10.2.3), in seconds from now; 0 if it says nothing."""
    if re.fullmatch(r"[0-9]{1,9}", retry_after, re.ASCII):
        return float(retry_after)
    with suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    return 0.0
