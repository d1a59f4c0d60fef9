"""The resources of the HTTP interface: registrations, what is done to them, and what is known besides.

A route names its handler and the structs of what goes in and comes out; the server and its OpenAPI description are
both made from that.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta

from reginfo.admin.arguments import aor_of, contact_of
from reginfo.admin.contact_events import ContactView, EventView, RegistrationView, WallMs, registration_view
from reginfo.admin.event_stream import EventStream, TooManyClients, parse_place
from reginfo.admin.history import History, HistoryView
from reginfo.admin.inventory import (
    Aor,
    Inventory,
    Limit,
    PeerView,
    Publications,
    PublicationsAsked,
    Subscriptions,
    SubscriptionsAsked,
)
from reginfo.admin.pages import pages
from reginfo.admin.rpc import Commands
from reginfo.errors import ReginfoError
from reginfo.fast import Registration
from reginfo.model import ContactEvent

NDJSON: Final = "application/x-ndjson"
EVENTS: Final = "text/event-stream"
MAX_PATTERN: Final = 256  # characters

Cursor = Annotated[int, Meta(ge=0, le=2**63 - 1, description="From the page before; 0 begins.")]
Contact = Annotated[str, Meta(min_length=1, max_length=1024, description="Contact URI or contact id.")]
Seconds = Annotated[int, Meta(ge=1, lt=2**32)]


class Problem(ReginfoError):
    """A request that is answered with an error (RFC 9457)."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Stream(NamedTuple):
    """An answer that is sent as it is made."""

    content_type: str
    octets: AsyncGenerator[bytes]


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


class Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cursor: Cursor = 0
    limit: Limit = 100
    accept: str = ""


class OfAor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    aor: Aor


class OfContact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    aor: Aor
    contact: Contact


class Listening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    aor: Annotated[str, Meta(max_length=MAX_PATTERN, description="AoR, in which * stands for any text.")] = "*"
    events: Annotated[
        str, Meta(max_length=MAX_PATTERN, description="RFC 3680 events, comma-separated; all but refreshed if empty.")
    ] = ""
    after: Annotated[str, Meta(max_length=32, description="Id of the last event that is known.")] = ""
    last_event_id: Annotated[str, Meta(max_length=32, description="As after, from a client that comes back.")] = ""


class Binding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A contact to bind."""

    expires: Seconds = 3600
    q: Annotated[float, Meta(ge=0, le=1)] | None = None
    uri: Annotated[str, Meta(max_length=1024)] | None = None
    "Where the path has an id."


class Chosen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A contact, or all of them."""

    contact: Contact | None = None


class Probation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    contact: Contact | None = None
    retry_after: Seconds = 60


class Shortening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    contact: Contact | None = None
    expires: Seconds = 60


class Done(msgspec.Struct, frozen=True):
    contacts: int
    "That were concerned."


class Registrations(msgspec.Struct, frozen=True):
    aors: list[RegistrationView]
    cursor: int | None


@dataclass(frozen=True)
class Route:
    """One operation."""

    method: str
    path: str
    summary: str
    handler: Callable[..., Awaitable[Any]]
    inputs: type[msgspec.Struct]
    "Parameters of path, query and headers."
    result: Any
    body: type[msgspec.Struct] | None = None
    streams: tuple[tuple[str, Any], ...] = ()
    "Media types of streamed answers, and of what."
    errors: tuple[int, ...] = ()


class Rest:
    """The resources of one server."""

    def __init__(
        self,
        commands: Commands,
        inventory: Inventory,
        history: History,
        stream: EventStream,
        matcher: Callable[[Sequence[str]], Callable[[str], bool]],
        now_ms: Callable[[], int],
        wall_ms: WallMs,
    ) -> None:
        """matcher(patterns) returns what tells whether an AoR is one of them; now_ms() is engine time."""
        self._commands = commands
        self._inventory = inventory
        self._history = history
        self._stream = stream
        self._matcher = matcher
        self._now_ms = now_ms
        self._wall_ms = wall_ms

    def routes(self) -> tuple[Route, ...]:
        """Return every operation."""
        aors, aor, contact = "/api/v1/aors", "/api/v1/aors/{aor}", "/api/v1/aors/{aor}/contacts/{contact}"
        found, changed = (400, 404, 503), (400, 404, 503)
        listed = ((NDJSON, RegistrationView),)
        return (
            Route(
                "GET", aors, "List registrations", self._list, Page, Registrations, streams=listed, errors=(400, 503)
            ),
            Route("GET", aor, "Show a registration", self._show, OfAor, RegistrationView, errors=found),
            Route("DELETE", aor, "End all contacts", self._end, OfAor, Done, errors=changed),
            Route("GET", contact, "Show a contact", self._show_contact, OfContact, ContactView, errors=found),
            Route("PUT", contact, "Bind a contact", self._bind, OfContact, ContactView, Binding, errors=(400, 503)),
            Route("DELETE", contact, "End a contact", self._end_contact, OfContact, Done, errors=changed),
            *(
                Route(
                    "POST", f"{aor}/{verb}", f"{verb.capitalize()} contacts", handler, OfAor, Done, body, errors=changed
                )
                for verb, handler, body in (
                    ("deactivate", self._deactivate, Chosen),
                    ("probation", self._probation, Probation),
                    ("reject", self._reject, Chosen),
                    ("shorten", self._shorten, Shortening),
                )
            ),
            Route(
                "GET",
                "/api/v1/events",
                "Hear of contact events as they happen",
                self._listen,
                Listening,
                None,
                streams=((EVENTS, EventView),),
                errors=(400, 503),
            ),
            Route("GET", "/api/v1/statistics", "Show counters", self._statistics, Nothing, dict[str, dict[str, int]]),
            Route("GET", "/api/v1/history", "Show the last hour", self._show_history, Nothing, HistoryView),
            Route("GET", "/api/v1/peers", "List peers", self._peers, Nothing, list[PeerView]),
            Route(
                "GET",
                "/api/v1/subscriptions",
                "List subscriptions",
                self._subscriptions,
                SubscriptionsAsked,
                Subscriptions,
                errors=(400,),
            ),
            Route(
                "GET",
                "/api/v1/publications",
                "List publications",
                self._publications,
                PublicationsAsked,
                Publications,
                errors=(400,),
            ),
        )

    # -- registrations --------------------------------------------------------------------------------------

    async def _list(self, given: Page) -> Registrations | Stream:
        if NDJSON in given.accept:
            return Stream(NDJSON, self._all())
        cursor, aors = given.cursor, []
        async for following, registrations in pages(self._commands.page, given.cursor, given.limit):
            cursor = following
            aors += [self._view(one) for one in registrations]
        return Registrations(aors, cursor or None)

    async def _all(self) -> AsyncGenerator[bytes]:
        async for _, registrations in pages(self._commands.page, 0, None):
            yield msgspec.json.Encoder().encode_lines([self._view(one) for one in registrations])

    async def _show(self, given: OfAor) -> RegistrationView:
        aor = aor_of(given.aor)
        registration = await self._commands.lookup(aor)
        if registration is None:
            raise Problem(404, f"{aor} has no contact")
        return self._view(registration)

    def _view(self, registration: Registration) -> RegistrationView:
        return registration_view(registration, self._now_ms(), self._wall_ms)

    async def _show_contact(self, given: OfContact) -> ContactView:
        aor = aor_of(given.aor)
        registration = await self._commands.lookup(aor)
        shown = () if registration is None else self._view(registration).contacts
        for contact in shown:
            if given.contact in (contact.id, contact.uri):
                return contact
        raise Problem(404, f"{aor} has no such contact")

    async def _bind(self, given: OfContact, body: Binding) -> ContactView:
        aor, uri = aor_of(given.aor), contact_of(body.uri or given.contact)
        try:
            await self._commands.create(aor, uri, body.expires, body.q, "")
        except ValueError as error:
            raise Problem(400, str(error)) from None
        return await self._show_contact(OfContact(aor, uri))

    async def _end(self, given: OfAor) -> Done:
        return await self._finish(given.aor, None, ContactEvent.DEACTIVATED)

    async def _end_contact(self, given: OfContact) -> Done:
        return await self._finish(given.aor, given.contact, ContactEvent.DEACTIVATED)

    async def _deactivate(self, given: OfAor, body: Chosen) -> Done:
        return await self._finish(given.aor, body.contact, ContactEvent.DEACTIVATED)

    async def _probation(self, given: OfAor, body: Probation) -> Done:
        return await self._finish(given.aor, body.contact, ContactEvent.PROBATION, body.retry_after)

    async def _reject(self, given: OfAor, body: Chosen) -> Done:
        return await self._finish(given.aor, body.contact, ContactEvent.REJECTED)

    async def _finish(self, aor: str, contact: str | None, event: ContactEvent, retry_after: int = 0) -> Done:
        aor = aor_of(aor)
        ended = await self._commands.end(aor, contact, event, retry_after)
        if not ended:
            raise Problem(404, f"{aor} has no such contact" if contact else f"{aor} has no contact")
        return Done(ended)

    async def _shorten(self, given: OfAor, body: Shortening) -> Done:
        aor = aor_of(given.aor)
        shortened = await self._commands.shorten(aor, body.contact, body.expires)
        if not shortened:
            raise Problem(404, f"{aor} has no such contact that lasts longer")
        return Done(shortened)

    # -- events -----------------------------------------------------------------------------------------------

    async def _listen(self, given: Listening) -> Stream:
        wanted = frozenset(filter(None, given.events.split(",")))
        unknown = wanted - set(ContactEvent)
        if unknown:
            raise Problem(400, f"events: {', '.join(sorted(unknown))}: not one of {', '.join(ContactEvent)}")
        known = given.last_event_id or given.after
        try:
            after = parse_place(known) if known else None
        except ValueError as error:
            raise Problem(400, f"after: {error}") from None
        events = wanted or frozenset(one for one in ContactEvent if one != ContactEvent.REFRESHED)
        octets = self._stream.listen(self._matcher([given.aor]), events, after)
        try:
            first = await anext(octets)
        except TooManyClients:
            raise Problem(503, "too many clients listen already") from None
        return Stream(EVENTS, _chained(first, octets))

    # -- what is known besides ----------------------------------------------------------------------------------

    async def _statistics(self, given: Nothing) -> dict[str, dict[str, int]]:
        return self._commands.statistics()

    async def _show_history(self, given: Nothing) -> HistoryView:
        return self._history.view()

    async def _peers(self, given: Nothing) -> list[PeerView]:
        return await self._inventory.peers()

    async def _subscriptions(self, given: SubscriptionsAsked) -> Subscriptions:
        return self._inventory.subscriptions(given)

    async def _publications(self, given: PublicationsAsked) -> Publications:
        return self._inventory.publications(given)


async def _chained(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        yield first
        async for octets in rest:
            yield octets
