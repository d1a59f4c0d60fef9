"""The configuration: one TOML file, environment and command line over it, strict about every key.

A value is looked up on the command line, then in the environment (`REGINFO_REGISTRAR__MAX_EXPIRES`), then in
the file, then in the defaults below.  Nothing is guessed: an unknown key, a wrong type or a number out of
range is a ConfigError that says where it stands and what is allowed.  docs/configuration.md is the reference.
"""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

import msgspec
from msgspec import Meta

from reginfo.errors import ConfigError

ENVIRONMENT_PREFIX = "REGINFO_"
ENVIRONMENT_FILE = "REGINFO_CONFIG"
SEARCH = (Path("reginfo.toml"), Path("/etc/reginfo/reginfo.toml"))

SIP_PORT = 5060  # RFC 3261 19.1.2: UDP and TCP
MAX_SOCKET_PATH = 107  # sun_path of unix(7) less its NUL
MAX_SERVER_HEADER = 128  # it is in every response, also in one to a small request of a spoofed source

Transport = Literal["udp", "tcp"]
Durability = Literal["memory", "batched", "committed", "synced"]

Seconds = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Octets = Annotated[int, Meta(ge=512, le=2**24)]


class Listener(NamedTuple):
    """One address to accept SIP on."""

    transport: Transport
    host: str
    "IP address, IPv6 without brackets, in its canonical text."
    port: int
    "0 lets the system choose."

    @property
    def is_loopback(self) -> bool:
        return ip_address(self.host).is_loopback

    @property
    def sip_host(self) -> str:
        """The address as the host of a SIP URI: IPv6 in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    def __str__(self) -> str:
        return f"{self.transport}:{self.sip_host}:{self.port}"


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A table of the file; field order is the order of --print-config."""


class RegistrarSection(Section, frozen=True, kw_only=True):
    """What a REGISTER is granted (RFC 3261 10.3)."""

    mode: Literal["registrar"] = "registrar"
    default_expires: Seconds = 3600
    min_expires: Annotated[int, Meta(ge=0, le=3600)] = 60
    max_expires: Seconds = 7200
    expires_jitter: Annotated[float, Meta(ge=0, le=0.5)] = 0.1
    max_contacts: Annotated[int, Meta(ge=1, le=10_000)] = 10
    max_contacts_policy: Literal["reject", "replace-oldest"] = "reject"

    def __post_init__(self) -> None:
        if not self.min_expires <= self.default_expires <= self.max_expires:
            raise ConfigError(
                "registrar.default_expires must lie between min_expires and max_expires: "
                f"{self.min_expires} <= {self.default_expires} <= {self.max_expires} does not hold",
                key="registrar.default_expires",
            )


class LimitsSection(Section, frozen=True, kw_only=True):
    """Caps on what a sender can make this server hold or read; what lies beyond has a defined answer."""

    max_message: Annotated[int, Meta(ge=512, le=65_535)] = 65_535
    max_stream_message: Octets = 262_144
    max_body: Annotated[int, Meta(ge=0, le=2**24)] = 131_072
    max_uri: Annotated[int, Meta(ge=64, le=8192)] = 1024
    max_contacts_per_request: Annotated[int, Meta(ge=1, le=32)] = 32
    max_connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 4096
    max_connections_per_address: Annotated[int, Meta(ge=1, le=1_000_000)] = 64
    stream_message_timeout: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    idle_timeout: Annotated[float, Meta(ge=33, le=86_400)] = 120.0


class StoreSection(Section, frozen=True, kw_only=True):
    """Where registrations live and when an answer may rely on it."""

    url: str = "rocksdb:reginfo.db"
    durability: Durability = "committed"

    def __post_init__(self) -> None:
        scheme, _, path = self.url.partition(":")
        if not ((scheme == "memory" and not path) or (scheme == "rocksdb" and path and path.isprintable())):
            raise ConfigError(f'store.url must be "rocksdb:FOLDER" or "memory:", not {self.url!r}', key="store.url")
        if scheme == "memory":
            msgspec.structs.force_setattr(self, "durability", "memory")

    @property
    def folder(self) -> Path | None:
        """Folder of the embedded store; None when nothing outlives the process."""
        scheme, _, path = self.url.partition(":")
        return Path(path) if scheme == "rocksdb" else None


class AdminSection(Section, frozen=True, kw_only=True):
    """Control of the running server."""

    socket: str = "reginfo.sock"

    def __post_init__(self) -> None:
        if len(os.fsencode(self.socket)) > MAX_SOCKET_PATH or "\0" in self.socket:
            raise ConfigError(f"admin.socket must be a path of at most {MAX_SOCKET_PATH} octets", key="admin.socket")


class LogSection(Section, frozen=True, kw_only=True):
    """Lines on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["logfmt", "json"] = "logfmt"


class Config(Section, frozen=True, kw_only=True):
    """Everything `reginfo serve` can be told."""

    listen: Annotated[tuple[str, ...], Meta(min_length=1)] = ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060")
    domains: Annotated[tuple[str, ...], Meta(min_length=1)] = ("example.com",)
    insecure: bool = False
    server_header: str = ""
    registrar: RegistrarSection = RegistrarSection()
    limits: LimitsSection = LimitsSection()
    store: StoreSection = StoreSection()
    admin: AdminSection = AdminSection()
    log: LogSection = LogSection()

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "domains", tuple(map(canonical_domain, self.domains)))
        if not self.server_header.isprintable() or len(self.server_header) > MAX_SERVER_HEADER:
            raise ConfigError(
                f"server_header must be printable text on one line of at most {MAX_SERVER_HEADER} characters",
                key="server_header",
            )
        exposed = [listener for listener in self.listeners if not listener.is_loopback]
        if exposed and not self.insecure:
            raise ConfigError(
                f"listen {exposed[0]} is reachable from the network while nobody is authenticated: "
                "set insecure = true to accept that, or listen on 127.0.0.1",
                key="insecure",
            )

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Addresses to bind, in order; every UDP port is a TCP port too, right behind it (RFC 3261 18.2.1).

        Where udp asks for port 0, the tcp listener of port 0 behind it means the port udp was given.
        """
        given = [parse_listener(text) for text in self.listen]
        wanted: dict[Listener, None] = {}
        for listener in given:
            if listener.transport == "udp":
                wanted[listener] = wanted[listener._replace(transport="tcp")] = None
            elif listener._replace(transport="udp") not in given:
                wanted[listener] = None
        return tuple(wanted)


class Loaded(NamedTuple):
    """A configuration and where each of its values came from."""

    config: Config
    origins: Mapping[str, str]
    "Dotted key -> origin, for every key."
    file: Path | None


# ---- values with a grammar of their own

# listen = transport ":" ( IPv4address / "[" IPv6address "]" ) [ ":" port ]
_LISTEN = re.compile(r"(?P<transport>[a-z]+):(?:\[(?P<six>[^\]]+)\]|(?P<four>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?")

# hostname = *( domainlabel "." ) toplabel [ "." ]   RFC 3261 25.1
_HOSTNAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z](?:[a-z0-9-]*[a-z0-9])?\.?")


def parse_listener(text: str) -> Listener:
    """Return the address that `udp:192.0.2.1:5060` or `tcp:[2001:db8::1]` names."""
    match = _LISTEN.fullmatch(text)
    transport = match["transport"] if match else ""
    port = int(match["port"] or SIP_PORT) if match else SIP_PORT
    if match and transport in ("udp", "tcp") and port <= 0xFFFF:
        try:
            host = ip_address(match["six"] or match["four"])
        except ValueError:
            pass
        else:
            # A zone is no part of an address in SIP (RFC 3261 25.1).
            if (host.version == 6) == bool(match["six"]) and "%" not in text:
                return Listener("udp" if transport == "udp" else "tcp", str(host), port)
    raise ConfigError(
        f"listen {text!r} must be udp:ADDRESS:PORT or tcp:ADDRESS:PORT with an IP address, IPv6 in brackets "
        "(udp:127.0.0.1:5060, tcp:[::1]:5060)",
        key="listen",
    )


def canonical_domain(text: str) -> str:
    """Return a domain as the host of a canonical AoR is written: lower case, IPv6 in brackets."""
    domain = text.lower()
    if _HOSTNAME.fullmatch(domain):
        return domain
    try:
        if "%" in domain:
            raise ValueError("a zone is no part of an address in SIP")
        address = ip_address(domain.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ConfigError(f"domains: {text!r} is neither a host name nor an address", key="domains") from None
    return f"[{address}]" if address.version == 6 else str(address)


# ---- where values come from


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
        else:
            yield prefix + field.name, _Key(hints[field.name], field.default)


KEYS: Mapping[str, _Key] = dict(_collect(Config))
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
        text = f"{name} = {_toml(getattr(holder, name))}"
        lines.append(f"{text:<48}  # from {loaded.origins[key]}")
    return "\n".join(lines) + "\n"


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
    annotation = KEYS[key].annotation
    expected = msgspec.inspect.type_info(annotation)
    given = value
    if from_text and isinstance(expected, msgspec.inspect.VarTupleType):
        given = [item.strip() for item in str(value).split(",") if item.strip()]
    try:
        return msgspec.convert(given, annotation, strict=not from_text)
    except msgspec.ValidationError:
        raise ConfigError(f"{origin}: {key} must be {_allowed(expected)}, not {value!r}", key=key) from None


def _allowed(expected: msgspec.inspect.Type) -> str:
    """Say in words what a key takes."""
    match expected:
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType(ge=low, le=high):
            return f"an integer from {low} to {high}"
        case msgspec.inspect.FloatType(ge=low, le=high):
            return f"a number from {low:g} to {high:g}"
        case msgspec.inspect.LiteralType(values=values):
            return ("one of " if len(values) > 1 else "") + ", ".join(f'"{value}"' for value in values)
        case msgspec.inspect.VarTupleType():
            return "a list of at least one string"
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


_TABLE = re.compile(r"\s*\[\[?\s*([\w.-]+)\s*\]")
_ASSIGNMENT = re.compile(r"\s*([\w.-]+)\s*=")


def _line_numbers(text: str) -> dict[str, int]:
    """Return the line of each key and table, for messages: tomllib keeps no positions."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if match := _TABLE.match(line):
            table = match[1] + "."
            lines.setdefault(match[1], number)
        elif match := _ASSIGNMENT.match(line):
            lines.setdefault(table + match[1], number)
    return lines
