"""Where the values of the configuration come from: command line, environment, file, defaults."""

import difflib
import json
import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import msgspec

from reginfo.config.peer import PeerSection
from reginfo.config.section import Section
from reginfo.config.sections import Config
from reginfo.config.webhook import WebhookSection
from reginfo.errors import ConfigError

ENVIRONMENT_PREFIX = "REGINFO_"
ENVIRONMENT_FILE = "REGINFO_CONFIG"
SEARCH = (Path("reginfo.toml"), Path("/etc/reginfo/reginfo.toml"))
LISTED: Mapping[str, type[Section]] = {"peer": PeerSection, "webhook": WebhookSection}
"The tables that may stand several times, written [[peer]]; only a file can hold them."


class Loaded(NamedTuple):
    """A configuration and where each of its values came from."""

    config: Config
    origins: Mapping[str, str]
    "Dotted key -> origin, for every key."
    file: Path | None


class _Key(NamedTuple):
    """One settable value."""

    annotation: object
    default: object


class _Value(NamedTuple):
    """What one source says about one key."""

    value: object
    origin: str


def _collect(section: type[Section], prefix: str = "") -> Iterator[tuple[str, _Key]]:
    hints = get_type_hints(section, include_extras=True)
    for field in msgspec.structs.fields(section):
        if isinstance(hints[field.name], type) and issubclass(hints[field.name], Section):
            yield from _collect(hints[field.name], f"{field.name}.")
        elif field.name not in LISTED:
            yield prefix + field.name, _Key(hints[field.name], field.default)


KEYS: Mapping[str, _Key] = dict(_collect(Config))
LISTED_KEYS: Mapping[str, Mapping[str, _Key]] = {name: dict(_collect(kind)) for name, kind in LISTED.items()}
SECTIONS: Mapping[str, type[Section]] = {
    name: hint for name, hint in get_type_hints(Config).items() if isinstance(hint, type) and issubclass(hint, Section)
}


def load_config(
    file: Path | None = None,
    *,
    options: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Return the configuration in effect.

    `options` are the command line's values by dotted key; `environ` is the process environment unless given.
    Raises ConfigError.
    """
    environ = os.environ if environ is None else environ
    path = _find(file, environ)
    found = {key: _Value(entry.default, "default") for key, entry in KEYS.items()}
    found.update(dict.fromkeys(LISTED, _Value((), "default")))
    if path is not None:
        found.update(_from_file(path))
    found.update(_from_environment(environ))
    for key, value in (options or {}).items():
        found[key] = _Value(_convert(key, value, "command line"), "command line")
    return Loaded(_build(found), {key: entry.origin for key, entry in found.items()}, path)


def render(loaded: Loaded) -> str:
    """Return the configuration as TOML that loads to the same, each value with its origin as a comment."""
    lines: list[str] = []
    section = ""
    for key in KEYS:
        table, _, name = key.rpartition(".")
        if table != section:
            lines += ["", f"[{table}]"]
            section = table
        holder = getattr(loaded.config, table) if table else loaded.config
        lines.append(_line(name, getattr(holder, name), loaded.origins[key]))
    for listed, keys in LISTED_KEYS.items():
        for table in getattr(loaded.config, listed):
            lines += ["", f"[[{listed}]]"]
            lines += [_line(name, getattr(table, name), loaded.origins[listed]) for name in keys]
    return "\n".join(lines) + "\n"


def _line(name: str, value: object, origin: str) -> str:
    text = f"{name} = {_toml(value)}"
    return f"{text:<48}  # from {origin}"


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # A JSON string is a TOML basic string but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _find(file: Path | None, environ: Mapping[str, str]) -> Path | None:
    if file is not None:
        return file
    if named := environ.get(ENVIRONMENT_FILE):
        return Path(named)
    return next((path for path in SEARCH if path.is_file()), None)


def _from_file(path: Path) -> Iterator[tuple[str, _Value]]:
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error
    lines = _line_numbers(text)

    def origin(key: str) -> str:
        return f"{path} line {lines[key]}" if key in lines else str(path)

    for name, content in document.items():
        if name in LISTED:
            yield name, _Value(tuple(_tables(name, content, origin)), origin(name))
            continue
        if name in SECTIONS:
            if not isinstance(content, dict):
                raise ConfigError(f"{origin(name)}: {name} is a section: write [{name}]", key=name)
            entries = {f"{name}.{leaf}": value for leaf, value in content.items()}
        else:
            entries = {name: content}
        for key, value in entries.items():
            if key not in KEYS:
                raise ConfigError(f"{origin(key)}: {_unknown(key, is_section=isinstance(value, dict))}", key=key)
            yield key, _Value(_convert(key, value, origin(key)), origin(key))


def _tables(listed: str, content: object, origin: Callable[[str], str]) -> Iterator[Section]:
    if not isinstance(content, list) or not all(isinstance(table, dict) for table in content):
        raise ConfigError(f"{origin(listed)}: {listed} is a list of tables: write [[{listed}]]", key=listed)
    keys = LISTED_KEYS[listed]
    for number, table in enumerate(content):
        where = f"{listed}[{number}]"
        values = {}
        for name, value in table.items():
            at, key = origin(f"{where}.{name}"), f"{listed}.{name}"
            if name not in keys:
                near = difflib.get_close_matches(name, keys, n=1)
                hint = f', did you mean "{listed}.{near[0]}"?' if near else ""
                raise ConfigError(f"{at}: unknown key {key}{hint}", key=key)
            values[name] = _converted(key, keys[name], value, at)
        for name, entry in keys.items():
            if entry.default is msgspec.NODEFAULT and name not in values:
                raise ConfigError(f"{origin(where)}: {listed}.{name} is missing", key=f"{listed}.{name}")
        try:
            yield LISTED[listed](**values)
        except ConfigError as error:
            raise ConfigError(f"{origin(where)}: {error}", key=error.key) from None


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, _Value]]:
    for variable in sorted(environ):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == ENVIRONMENT_FILE:
            continue
        key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".", 1)
        origin = f"environment {variable}"
        if key in KEYS:
            yield key, _Value(_convert(key, environ[variable], origin, from_text=True), origin)
        # The prefix is shared with variables of the build; those have no section and resemble no key.
        elif "." in key or _nearest(key):
            raise ConfigError(f"{origin}: {_unknown(key)}", key=key)


def _convert(key: str, value: object, origin: str, *, from_text: bool = False) -> object:
    return _converted(key, KEYS[key], value, origin, from_text=from_text)


def _converted(key: str, entry: _Key, value: object, origin: str, *, from_text: bool = False) -> Any:
    expected = msgspec.inspect.type_info(entry.annotation)
    given = value
    if from_text and isinstance(expected, msgspec.inspect.VarTupleType):
        given = [item.strip() for item in str(value).split(",") if item.strip()]
    try:
        return msgspec.convert(given, entry.annotation, strict=not from_text)
    except msgspec.ValidationError:
        raise ConfigError(f"{origin}: {key} must be {_allowed(expected)}, not {value!r}", key=key) from None


def _allowed(expected: msgspec.inspect.Type) -> str:
    """Say in words what a key takes."""
    match expected:
        case msgspec.inspect.BoolType() | msgspec.inspect.UnionType(types=(msgspec.inspect.BoolType(), _)):
            return "true or false"
        case msgspec.inspect.IntType(ge=low, le=high):
            return f"an integer from {low} to {high}"
        case msgspec.inspect.FloatType(ge=low, le=high):
            return f"a number from {low:g} to {high:g}"
        case msgspec.inspect.LiteralType(values=values):
            return ("one of " if len(values) > 1 else "") + ", ".join(f'"{value}"' for value in values)
        case msgspec.inspect.VarTupleType(item_type=msgspec.inspect.LiteralType(values=values)):
            return "a list of " + ", ".join(f'"{value}"' for value in values)
        case msgspec.inspect.VarTupleType(max_length=int(most)):
            return f"a list of {expected.min_length or 0} to {most} strings"
        case msgspec.inspect.VarTupleType():
            return "a list of strings" if expected.min_length is None else "a list of at least one string"
        case _:
            return "a string"


def _build(found: Mapping[str, _Value]) -> Config:
    url, durability = found["store.url"], found["store.durability"]
    if url.value == "memory:" and durability.value != "memory" and durability.origin != "default":
        raise ConfigError(
            f'{durability.origin}: store.durability must be "memory" with the store "memory:"', key="store.durability"
        )
    values: dict[str, dict[str, Any]] = {"": {}, **{name: {} for name in SECTIONS}}
    for key, entry in found.items():
        section, _, name = key.rpartition(".")
        values[section][name] = entry.value
    try:
        for name, kind in SECTIONS.items():
            values[""][name] = kind(**values[name])
        return Config(**values[""])
    except ConfigError as error:
        origin = found[error.key].origin
        raise ConfigError(str(error) if origin == "default" else f"{origin}: {error}", key=error.key) from None


def _nearest(key: str) -> str | None:
    """Return the key somebody who wrote `key` had in mind, if there is one."""
    section, _, leaf = key.rpartition(".")
    same_leaf = [known for known in KEYS if leaf == known.rpartition(".")[2]]
    close = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.75)
    within = [known for known in KEYS if section and known.startswith(f"{section}.")]
    return next(iter([*same_leaf, *close, *difflib.get_close_matches(key, within, n=1)]), None)


def _unknown(key: str, *, is_section: bool = False) -> str:
    if is_section:
        near = difflib.get_close_matches(key, SECTIONS, n=1)
        return f"unknown section [{key}]" + (f', did you mean "[{near[0]}]"?' if near else "")
    nearest = _nearest(key)
    return f"unknown key {key}" + (f', did you mean "{nearest}"?' if nearest else "")


_TABLE = re.compile(r"\s*(\[\[?)\s*([\w.-]+)\s*\]")
_ASSIGNMENT = re.compile(r"\s*([\w.-]+)\s*=")


def _line_numbers(text: str) -> dict[str, int]:
    """Return the line of each key and table, for messages: tomllib keeps no positions.

    What stands in the second [[peer]] is found under peer[1].
    """
    lines: dict[str, int] = {}
    counts: Counter[str] = Counter()
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if match := _TABLE.match(line):
            name = match[2]
            lines.setdefault(name, number)
            if match[1] == "[[":
                counts[name] += 1
                name = f"{name}[{counts[name] - 1}]"
                lines.setdefault(name, number)
            table = name + "."
        elif match := _ASSIGNMENT.match(line):
            lines.setdefault(table + match[1], number)
    return lines
