"""What people type and read at Kamailio, where it is not what is natural here: positions of parameters, names."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from reginfo.admin.control import NOT_FOUND, BadArgument, Params, RpcError

TABLE: Final = "location"
FOREVER: Final = 2**32 - 1  # seconds: the longest there is

Statistics = Mapping[str, Mapping[str, int]]


class _Add(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """The parameters of `ul.add` behind the table, as `kamctl ul add` gives them."""

    aor: str
    contact: str
    expires: Annotated[int, Meta(ge=0, le=FOREVER)] = 3600
    "0: it does not end."
    q: Annotated[float, Meta(ge=0, le=1)] | None = None
    path: str = ""
    "`.`: there is none."
    flags: int = 0
    branch_flags: int = 0
    methods: int = 0


def add_params(params: Params) -> Params:
    """Return the parameters of `ul.add` by name if they begin with the table; flags and methods mean nothing here."""
    if not isinstance(params, list) or params[:1] != [TABLE]:
        return params
    try:
        given = msgspec.convert(params[1:], _Add)
    except msgspec.ValidationError as error:
        raise BadArgument(str(error)) from None
    path = "" if given.path == "." else given.path
    return {
        "aor": given.aor,
        "contact": given.contact,
        "expires": given.expires or FOREVER,
        "q": given.q,
        "path": path,
    }


def dump_params(params: Params) -> Params:
    """Return the parameters of `ul.dump` by name if they begin with `brief`."""
    if isinstance(params, list) and params[:1] == ["brief"]:
        return {"brief": True, **dict(zip(("cursor", "limit"), params[1:], strict=False))}
    return params


def selected(statistics: Statistics, wanted: Sequence[Any]) -> dict[str, dict[str, int]]:
    """Return what is wanted: `all`, groups as `group:` or `group`, counters as `group:name` or `name`.

    RpcError for what is not there.
    """
    found: dict[str, dict[str, int]] = {}
    for one in wanted:
        if not isinstance(one, str):
            raise BadArgument("a name is text")
        for group, values in _selected(statistics, one).items():
            found.setdefault(group, {}).update(values)
    return found


def _selected(statistics: Statistics, wanted: str) -> Statistics:
    if wanted == "all":
        return statistics
    group, colon, name = wanted.partition(":")
    if not name and group in statistics:
        return {group: statistics[group]}
    if colon:
        groups = [group] if group in statistics else []
    else:
        groups, name = list(statistics), wanted
    found = {group: {name: statistics[group][name]} for group in groups if name in statistics[group]}
    if not found:
        raise RpcError(NOT_FOUND, f"no statistics {wanted}")
    return found
