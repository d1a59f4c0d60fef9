"""The methods of control, under the names Kamailio's operators type.

server hands the engine's commands in as callables; here their arguments are checked and their results
become JSON.  A first positional argument "location", the table's name there, is accepted and ignored.
"""

import platform
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from reginfo.admin.arguments import aor_of, contact_of
from reginfo.admin.contact_events import rfc3339
from reginfo.admin.control import NOT_FOUND, BadArgument, Json, Method, Params, RpcError
from reginfo.admin.inventory import Inventory, PublicationsAsked, SubscriptionsAsked
from reginfo.admin.kamailio import TABLE, add_params, dump_params, selected
from reginfo.admin.pages import pages
from reginfo.admin.tracing import (
    MAX_TRACE_MESSAGES,
    MAX_TRACE_SECONDS,
    MAX_TRACE_WAIT,
    Tracing,
    trace_fields,
    traced_fields,
)
from reginfo.admin.transfer import MAX_IMPORT, Bind, binding_of, exported, path_of
from reginfo.admin.views import registration_fields
from reginfo.admin.webhooks import BadWebhook, Webhooks
from reginfo.config import MAX_PATTERNS, EventWord, WebhookSection
from reginfo.errors import ConfigError
from reginfo.fast import Registration
from reginfo.model import ContactEvent, Now

MAX_PAGE: Final = 1000  # AoRs of one ul.dump response


@dataclass(frozen=True, slots=True)
class Commands:
    """What the engine does for an operator; an aor is canonical, a change returns once it is durable."""

    lookup: Callable[[str], Awaitable[Registration | None]]
    "AoR -> its bindings."
    page: Callable[[int, int], Awaitable[tuple[int, list[Registration]]]]
    "Cursor (0 to begin), about how many -> next cursor (0 at the end), that many AoRs."
    create: Callable[[str, str, int, float | None, str], Awaitable[object]]
    "AoR, contact URI, seconds, preference, Path: a contact bound by hand is `created` (RFC 3680 5.2); ValueError if \
the AoR is none of this server's."
    end: Callable[[str, str | None, ContactEvent, int], Awaitable[int]]
    "AoR, contact URI or contact id or all, event, retry-after seconds -> number of contacts ended."
    shorten: Callable[[str, str | None, int], Awaitable[int]]
    "AoR, contact as above, seconds -> number of contacts that lasted longer."
    subscribe: Callable[[str, int], Awaitable[int]]
    "URI, seconds -> number of servers at which its registration is followed now."
    unsubscribe: Callable[[str], Awaitable[int]]
    "URI -> number of servers at which it was followed."
    statistics: Callable[[], dict[str, dict[str, int]]]
    "Group -> name -> value."
    bind: Bind
    "Bindings by AoR, in one commit: `created`, or what replaces a contact (RFC 3680 5.2)."
    flush: Callable[[], Awaitable[None]]
    "Returns once the disk has every change that is committed."
    drain: Callable[[bool], Awaitable[None]]
    "Whether it leaves for good: subscriptions and publications end then.  The server stops after it returns."


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    pass


class _Page(msgspec.Struct, forbid_unknown_fields=True):
    cursor: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 100


class _Dump(_Page, forbid_unknown_fields=True):
    brief: bool = False


class _Export(_Page, forbid_unknown_fields=True):
    aor: str | None = None


class _Aor(msgspec.Struct, forbid_unknown_fields=True):
    aor: str


class _AorContact(msgspec.Struct, forbid_unknown_fields=True):
    aor: str
    contact: str


class _AorAnyContact(msgspec.Struct, forbid_unknown_fields=True):
    aor: str
    contact: str | None = None


class _Probation(_AorAnyContact, forbid_unknown_fields=True):
    retry_after: Annotated[int, Meta(ge=1, lt=2**32)] = 60


class _Shorten(_AorAnyContact, forbid_unknown_fields=True):
    expires: Annotated[int, Meta(ge=1, lt=2**32)] = 60


class _Add(msgspec.Struct, forbid_unknown_fields=True):
    aor: str
    contact: str
    expires: Annotated[int, Meta(ge=1, lt=2**32)] = 3600
    q: Annotated[float, Meta(ge=0, le=1)] | None = None
    path: str = ""


class _Uri(msgspec.Struct, forbid_unknown_fields=True):
    uri: str


class _Subscribe(_Uri, forbid_unknown_fields=True):
    expires: Annotated[int, Meta(ge=1, lt=2**32)] = 3600


class _Webhook(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    secret: Annotated[str, Meta(min_length=16, max_length=1024)]
    name: str = ""
    events: tuple[EventWord, ...] = ()
    aors: Annotated[tuple[str, ...], Meta(max_length=MAX_PATTERNS)] = ()
    feature_tags: Annotated[tuple[str, ...], Meta(max_length=MAX_PATTERNS)] = ()


class _Name(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class _Import(msgspec.Struct, forbid_unknown_fields=True):
    contacts: Annotated[list[Any], Meta(min_length=1, max_length=MAX_IMPORT)]


class _Drain(msgspec.Struct, forbid_unknown_fields=True):
    final: bool = False


class _Statistics(msgspec.Struct, forbid_unknown_fields=True):
    name: str = "all"


class _StartTrace(msgspec.Struct, forbid_unknown_fields=True):
    wanted: str
    seconds: Annotated[int, Meta(ge=1, le=MAX_TRACE_SECONDS)] = 60
    count: Annotated[int, Meta(ge=1, le=MAX_TRACE_MESSAGES)] = 1000
    hep: bool = False


class _Id(msgspec.Struct, forbid_unknown_fields=True):
    id: Annotated[int, Meta(ge=1, le=2**63 - 1)]


class _ReadTrace(_Id, forbid_unknown_fields=True):
    cursor: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    wait: Annotated[float, Meta(ge=0, le=MAX_TRACE_WAIT)] = 0.0


_Arguments = TypeVar("_Arguments", bound=msgspec.Struct)


class Rpc:
    """The methods over one server's commands."""

    def __init__(
        self,
        commands: Commands,
        inventory: Inventory,
        clock: Callable[[], Now],
        webhooks: Webhooks,
        traces: Tracing,
    ) -> None:
        """clock returns engine time in milliseconds and wall time in seconds."""
        self._commands = commands
        self._inventory = inventory
        self._webhooks = webhooks
        self._clock = clock
        self._traces = traces
        self._up_since = clock()

    def methods(self) -> dict[str, Method]:
        """Return the methods by name."""
        table: dict[str, Method] = {
            "core.uptime": self._uptime,
            "core.version": self._version,
            "reg.create": self._add,
            "reg.deactivate": self._deactivate,
            "reg.drain": self._drain,
            "reg.export": self._export,
            "reg.import": self._import,
            "reg.peers": self._peers,
            "reg.probation": self._probation,
            "reg.publications": self._publications,
            "reg.reject": self._reject,
            "reg.shorten": self._shorten,
            "reg.subscribe": self._subscribe,
            "reg.subscriptions": self._subscriptions,
            "reg.unsubscribe": self._unsubscribe,
            "stats.get_statistics": self._statistics,
            "trace.list": self._list_traces,
            "trace.read": self._read_trace,
            "trace.start": self._start_trace,
            "trace.stop": self._stop_trace,
            "ul.add": self._add,
            "ul.dump": self._dump,
            "ul.flush": self._flush,
            "ul.lookup": self._lookup,
            "ul.rm": self._rm,
            "ul.rm_contact": self._rm_contact,
            "webhook.add": self._add_webhook,
            "webhook.list": self._list_webhooks,
            "webhook.remove": self._remove_webhook,
        }

        async def list_methods(params: Params) -> Json:
            """Return the names of all methods."""
            _arguments(params, _Nothing)
            return sorted(table)

        table["system.listMethods"] = list_methods
        return table

    async def _dump(self, params: Params) -> Json:
        """Return about `limit` registrations as `AoRs`, and `Cursor`, what to ask with next; null at the end."""
        params = dump_params(params)
        page = _arguments(params, _Dump)
        if page.brief:
            return await self._page(page.cursor, page.limit, lambda one, *_: {"AoR": one.aor})
        return await self._page(page.cursor, page.limit, lambda one, now_ms, _: registration_fields(one, now_ms))

    async def _flush(self, params: Params) -> Json:
        """Return null once the disk has every change that is committed, whatever `store.durability` is."""
        _arguments(params, _Nothing)
        await self._commands.flush()
        return None

    async def _export(self, params: Params) -> Json:
        """Return about `limit` registrations as `AoRs`, their contacts with `Expires-At`, and `Cursor` as `ul.dump`."""
        page = _arguments(params, _Export)
        if page.aor is None:
            return await self._page(page.cursor, page.limit, exported)
        registration = await self._commands.lookup(aor_of(page.aor))
        now = self._clock()
        return {"AoRs": [] if registration is None else [exported(registration, now.ms, now.wall)], "Cursor": None}

    async def _page(self, cursor: int, limit: int, show: Callable[[Registration, int, float], Json]) -> Json:
        aors: list[Json] = []
        async for following, registrations in pages(self._commands.page, cursor, limit):
            cursor = following
            now = self._clock()
            aors += [msgspec.Raw(msgspec.json.encode(show(one, now.ms, now.wall))) for one in registrations]
        return {"AoRs": aors, "Cursor": cursor or None}

    async def _import(self, params: Params) -> Json:
        """Bind contacts as far as they can be; what is wrong with one is no matter of the others."""
        rows = _arguments(params, _Import).contacts
        now = self._clock()
        failed: dict[int, str] = {}
        expired = 0
        places = []
        bindings = []
        for index, row in enumerate(rows):
            try:
                bound = binding_of(row, now.ms, now.wall)
            except ValueError as error:
                failed[index] = str(error)
                continue
            if bound is None:
                expired += 1
            else:
                places.append(index)
                bindings.append(bound)
        results = await self._commands.bind(bindings)
        for index, result in zip(places, results, strict=True):
            if isinstance(result, ValueError):
                failed[index] = str(result)
            elif isinstance(result, Exception):
                raise result
        return {
            "Added": sum(result is True for result in results),
            "Replaced": sum(result is False for result in results),
            "Expired": expired,
            "Failed": [{"Index": index, "Error": failed[index]} for index in sorted(failed)],
        }

    async def _drain(self, params: Params) -> Json:
        """End the server; with `final` it takes leave of watchers and compositors for good first."""
        final = _arguments(params, _Drain).final
        await self._commands.drain(final)
        return {"Final": final}

    async def _lookup(self, params: Params) -> Json:
        """Return the registration of an AoR."""
        return await self._show(aor_of(_arguments(params, _Aor).aor))

    async def _add(self, params: Params) -> Json:
        """Bind a contact for `expires` seconds, as `created`; return the registration."""
        params = add_params(params)
        given = _arguments(params, _Add)
        aor = aor_of(given.aor)
        contact = contact_of(given.contact)
        try:
            await self._commands.create(aor, contact, given.expires, given.q, path_of(given.path))
        except ValueError as error:
            raise BadArgument(str(error)) from None
        return await self._show(aor)

    async def _rm(self, params: Params) -> Json:
        """End all contacts of an AoR, as `deactivated`; return how many as `Removed`."""
        aor = aor_of(_arguments(params, _Aor).aor)
        return await self._end(aor, None, ContactEvent.DEACTIVATED)

    async def _rm_contact(self, params: Params) -> Json:
        """End a contact, by URI or contact id, as `deactivated`; return `Removed`."""
        given = _arguments(params, _AorContact)
        return await self._end(aor_of(given.aor), given.contact, ContactEvent.DEACTIVATED)

    async def _deactivate(self, params: Params) -> Json:
        """End a contact, or all: the phone should register again at once; return `Removed`."""
        given = _arguments(params, _AorAnyContact)
        return await self._end(aor_of(given.aor), given.contact, ContactEvent.DEACTIVATED)

    async def _probation(self, params: Params) -> Json:
        """End a contact, or all: the phone may register again after `retry_after` seconds; return `Removed`."""
        given = _arguments(params, _Probation)
        return await self._end(aor_of(given.aor), given.contact, ContactEvent.PROBATION, given.retry_after)

    async def _reject(self, params: Params) -> Json:
        """End a contact, or all: the phone should not try again; return `Removed`."""
        given = _arguments(params, _AorAnyContact)
        return await self._end(aor_of(given.aor), given.contact, ContactEvent.REJECTED)

    async def _end(self, aor: str, contact: str | None, event: ContactEvent, retry_after: int = 0) -> Json:
        removed = await self._commands.end(aor, contact, event, retry_after)
        if not removed:
            raise RpcError(NOT_FOUND, f"{aor} has no such contact" if contact else f"{aor} has no contact")
        return {"Removed": removed}

    async def _shorten(self, params: Params) -> Json:
        """Leave a contact, or all, `expires` seconds; return as `Shortened` how many lasted longer."""
        given = _arguments(params, _Shorten)
        aor = aor_of(given.aor)
        shortened = await self._commands.shorten(aor, given.contact, given.expires)
        if not shortened:
            raise RpcError(NOT_FOUND, f"{aor} has no such contact that lasts longer")
        return {"Shortened": shortened}

    async def _subscribe(self, params: Params) -> Json:
        """Follow the registration of a URI elsewhere; return as `Servers` at how many servers."""
        given = _arguments(params, _Subscribe)
        try:
            return {"Servers": await self._commands.subscribe(given.uri, given.expires)}
        except ValueError as error:
            raise BadArgument(f"uri: {error}") from None

    async def _unsubscribe(self, params: Params) -> Json:
        """Follow a URI no longer; return as `Servers` at how many servers it was followed."""
        uri = _arguments(params, _Uri).uri
        try:
            ended = await self._commands.unsubscribe(uri)
        except ValueError as error:
            raise BadArgument(f"uri: {error}") from None
        if not ended:
            raise RpcError(NOT_FOUND, f"{uri} is not followed")
        return {"Servers": ended}

    async def _peers(self, params: Params) -> Json:
        """Return the configured peers as `GET /api/v1/peers` does."""
        _arguments(params, _Nothing)
        return _shown(await self._inventory.peers())

    async def _subscriptions(self, params: Params) -> Json:
        """Return `subscriptions`, of watchers here and of this server at others, and `cursor`."""
        return _shown(self._inventory.subscriptions(_arguments(params, SubscriptionsAsked)))

    async def _publications(self, params: Params) -> Json:
        """Return `publications`, what was published here and by this server, and `cursor`."""
        return _shown(self._inventory.publications(_arguments(params, PublicationsAsked)))

    async def _statistics(self, params: Params) -> Json:
        """Return counters by group and name: all, of `group:`, or one as `group:name`; several by position."""
        wanted = params if isinstance(params, list) else [_arguments(params, _Statistics).name]
        return selected(self._commands.statistics(), wanted or ["all"])

    async def _list_webhooks(self, params: Params) -> Json:
        """Return what each webhook is owed, and what went wrong."""
        _arguments(params, _Nothing)
        return self._webhooks.describe()

    async def _add_webhook(self, params: Params) -> Json:
        """Tell a URL of contact events until the server ends or it is removed; return its `name`."""
        given = _arguments(params, _Webhook)
        try:
            section = WebhookSection(
                url=given.url, name=given.name, events=given.events, aors=given.aors, feature_tags=given.feature_tags
            )
            await self._webhooks.add(section, given.secret.encode())
        except (ConfigError, BadWebhook) as error:
            raise BadArgument(str(error)) from None
        return {"name": section.name}

    async def _remove_webhook(self, params: Params) -> Json:
        """Tell a URL that was added no longer; return its `name`."""
        name = _arguments(params, _Name).name
        if not await self._webhooks.remove(name):
            raise RpcError(NOT_FOUND, f"no temporary webhook {name}")
        return {"name": name}

    async def _start_trace(self, params: Params) -> Json:
        """Begin a trace of an AoR, an address or a network, and return it."""
        given = _arguments(params, _StartTrace)
        try:
            return trace_fields(self._traces.start(given.wanted, given.seconds, given.count, given.hep))
        except ValueError as error:
            raise BadArgument(f"trace: {error}") from None

    async def _stop_trace(self, params: Params) -> Json:
        """End a trace; what it has kept can be read no more."""
        id = _arguments(params, _Id).id
        if not self._traces.stop(id):
            raise RpcError(NOT_FOUND, f"no trace {id}")
        return {"Stopped": id}

    async def _list_traces(self, params: Params) -> Json:
        """Return the traces there are."""
        _arguments(params, _Nothing)
        return [trace_fields(status) for status in self._traces.status()]

    async def _read_trace(self, params: Params) -> Json:
        """Return the messages of a trace from `cursor` on, after `wait` seconds at most if there are none yet."""
        given = _arguments(params, _ReadTrace)
        found = await self._traces.read(given.id, given.cursor, given.wait)
        if found is None:
            raise RpcError(NOT_FOUND, f"no trace {given.id}")
        status, cursor, messages = found
        return {
            "Trace": trace_fields(status),
            "Messages": [traced_fields(message) for message in messages],
            "Cursor": cursor,
            "Missed": max(0, cursor - len(messages) - given.cursor),
        }

    async def _uptime(self, params: Params) -> Json:
        """Return `now` and `up_since` (RFC 3339), and `uptime` in seconds."""
        _arguments(params, _Nothing)
        now, since = self._clock(), self._up_since
        return {
            "now": rfc3339(round(1000 * now.wall)),
            "up_since": rfc3339(round(1000 * since.wall)),
            "uptime": (now.ms - since.ms) // 1000,
        }

    async def _version(self, params: Params) -> Json:
        """Return name and version, and that of Python."""
        _arguments(params, _Nothing)
        return f"reginfo {version('reginfo')} (Python {platform.python_version()})"

    async def _show(self, aor: str) -> Json:
        registration = await self._commands.lookup(aor)
        if registration is None:
            raise RpcError(NOT_FOUND, f"{aor} has no contact")
        return registration_fields(registration, self._clock().ms)


def _shown(view: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(view))


def _arguments(params: Params, kind: type[_Arguments]) -> _Arguments:
    """Return positional or named parameters as the struct that says what they may be."""
    if isinstance(params, list):
        names = kind.__struct_fields__
        values = params[1:] if params and params[0] == TABLE else params
        if len(values) > len(names):
            raise BadArgument(f"at most {len(names)} parameters: {', '.join(names) or 'none'}")
        params = dict(zip(names, values, strict=False))
    try:
        return msgspec.convert(params, kind)
    except msgspec.ValidationError as error:
        raise BadArgument(str(error)) from None
