"""The methods of control, under the names Kamailio's operators type.

server hands the engine's commands in as callables; here their arguments are checked and their results
become JSON.  A first positional argument "location", the table's name there, is accepted and ignored.
"""

import platform
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from reginfo.admin.control import INVALID_PARAMS, NOT_FOUND, Json, Method, Params, RpcError
from reginfo.admin.views import registration_fields
from reginfo.fast import Registration, SipParseError, canonical_aor, parse_uri

MAX_PAGE: Final = 1000  # AoRs of one ul.dump response
TABLE: Final = "location"


@dataclass(frozen=True, slots=True)
class Commands:
    """What the engine does for an operator; an aor is canonical, a change returns once it is durable."""

    ul_lookup: Callable[[str], Awaitable[Registration | None]]
    "AoR -> its bindings."
    ul_page: Callable[[int, int], Awaitable[tuple[int, list[Registration]]]]
    "Cursor (0 to begin), about how many -> next cursor (0 at the end), that many AoRs."
    ul_add: Callable[[str, str, int, float | None], Awaitable[object]]
    "AoR, contact URI, seconds, preference: a contact bound by hand is `created` (RFC 3680 section 5.2)."
    ul_rm: Callable[[str], Awaitable[int]]
    "AoR -> number of contacts removed."
    ul_rm_contact: Callable[[str, str], Awaitable[int]]
    "AoR, contact URI or contact id -> number of contacts removed."
    statistics: Callable[[], Awaitable[dict[str, dict[str, int]]]]
    "Group -> name -> value."


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    pass


class _Page(msgspec.Struct, forbid_unknown_fields=True):
    cursor: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 100


class _Aor(msgspec.Struct, forbid_unknown_fields=True):
    aor: str


class _AorContact(msgspec.Struct, forbid_unknown_fields=True):
    aor: str
    contact: str


class _Add(msgspec.Struct, forbid_unknown_fields=True):
    aor: str
    contact: str
    expires: Annotated[int, Meta(ge=1, lt=2**32)] = 3600
    q: Annotated[float, Meta(ge=0, le=1)] | None = None


class _Statistics(msgspec.Struct, forbid_unknown_fields=True):
    name: str = "all"


_Arguments = TypeVar("_Arguments", bound=msgspec.Struct)


class Rpc:
    """The methods over one server's commands."""

    def __init__(self, commands: Commands, clock: Callable[[], tuple[int, float]]) -> None:
        """clock returns engine time in milliseconds and wall time in seconds."""
        self._commands = commands
        self._clock = clock
        self._up_since = clock()

    def methods(self) -> dict[str, Method]:
        """Return the methods by name."""
        table: dict[str, Method] = {
            "core.uptime": self._uptime,
            "core.version": self._version,
            "stats.get_statistics": self._statistics,
            "ul.add": self._add,
            "ul.dump": self._dump,
            "ul.lookup": self._lookup,
            "ul.rm": self._rm,
            "ul.rm_contact": self._rm_contact,
        }

        async def list_methods(params: Params) -> Json:
            _arguments(params, _Nothing)
            return sorted(table)

        table["system.listMethods"] = list_methods
        return table

    async def _dump(self, params: Params) -> Json:
        page = _arguments(params, _Page)
        cursor, registrations = await self._commands.ul_page(page.cursor, page.limit)
        now_ms, _ = self._clock()
        return {
            "AoRs": [registration_fields(registration, now_ms) for registration in registrations],
            "Cursor": cursor or None,
        }

    async def _lookup(self, params: Params) -> Json:
        return await self._show(_aor(_arguments(params, _Aor).aor))

    async def _add(self, params: Params) -> Json:
        given = _arguments(params, _Add)
        aor = _aor(given.aor)
        await self._commands.ul_add(aor, _contact(given.contact), given.expires, given.q)
        return await self._show(aor)

    async def _rm(self, params: Params) -> Json:
        aor = _aor(_arguments(params, _Aor).aor)
        removed = await self._commands.ul_rm(aor)
        if not removed:
            raise RpcError(NOT_FOUND, f"{aor} has no contact")
        return {"Removed": removed}

    async def _rm_contact(self, params: Params) -> Json:
        given = _arguments(params, _AorContact)
        aor = _aor(given.aor)
        removed = await self._commands.ul_rm_contact(aor, given.contact)
        if not removed:
            raise RpcError(NOT_FOUND, f"{aor} has no such contact")
        return {"Removed": removed}

    async def _statistics(self, params: Params) -> Json:
        wanted = _arguments(params, _Statistics).name
        statistics = await self._commands.statistics()
        if wanted == "all":
            return statistics
        group, _, name = wanted.partition(":")
        values = statistics.get(group)
        if values is None or (name and name not in values):
            raise RpcError(NOT_FOUND, f"no statistics {wanted}")
        return {group: {name: values[name]} if name else values}

    async def _uptime(self, params: Params) -> Json:
        _arguments(params, _Nothing)
        now_ms, wall = self._clock()
        since_ms, since = self._up_since
        return {"Now": int(wall), "Up-Since": int(since), "Uptime": (now_ms - since_ms) // 1000}

    async def _version(self, params: Params) -> Json:
        _arguments(params, _Nothing)
        return f"reginfo {version('reginfo')} (Python {platform.python_version()})"

    async def _show(self, aor: str) -> Json:
        registration = await self._commands.ul_lookup(aor)
        if registration is None:
            raise RpcError(NOT_FOUND, f"{aor} has no contact")
        return registration_fields(registration, self._clock()[0])


def _arguments(params: Params, kind: type[_Arguments]) -> _Arguments:
    """Return positional or named parameters as the struct that says what they may be."""
    if isinstance(params, list):
        names = kind.__struct_fields__
        values = params[1:] if params and params[0] == TABLE else params
        if len(values) > len(names):
            raise RpcError(INVALID_PARAMS, f"at most {len(names)} parameters: {', '.join(names) or 'none'}")
        params = dict(zip(names, values, strict=False))
    try:
        return msgspec.convert(params, kind)
    except msgspec.ValidationError as error:
        raise RpcError(INVALID_PARAMS, str(error)) from None


def _aor(text: str) -> str:
    """Return the canonical AoR; `alice@example.com` is taken for a SIP URI."""
    uri = text if text.lower().startswith(("sip:", "sips:")) else f"sip:{text}"
    try:
        return canonical_aor(uri)
    except SipParseError as error:
        raise RpcError(INVALID_PARAMS, f"aor: {error.reason}") from None


def _contact(text: str) -> str:
    try:
        return parse_uri(text).text
    except SipParseError as error:
        raise RpcError(INVALID_PARAMS, f"contact: {error.reason}") from None
