"""The sections of the configuration and what each of their keys may be."""

import os
import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from reginfo.config.ims import ImplicitSet, parse_identity
from reginfo.config.peer import PeerSection
from reginfo.config.section import Octets, Seconds, Section
from reginfo.config.trace import TraceSection
from reginfo.config.values import (
    Listener,
    canonical_domain,
    check_database,
    check_route,
    check_uri,
    is_network,
    parse_address,
    parse_listener,
    parse_network,
)
from reginfo.config.webhook import MAX_WEBHOOKS, WebhookSection
from reginfo.errors import ConfigError
from reginfo.fast import parse_uri

MAX_SOCKET_PATH = 107  # sun_path of unix(7) less its NUL
MAX_SERVER_HEADER = 128  # it is in every response, also in one to a small request of a spoofed source
MAX_IDENTITIES = 32  # of an implicit set: its NOTIFYs tell every contact once for each
MAX_REALM = 64  # it is in every challenge, as the header above; and Kamailio's column is that wide

Durability = Literal["memory", "batched", "committed", "synced"]
DigestAlgorithm = Literal["MD5", "SHA-256", "SHA-512-256"]
# scheme "://" host [ ":" port ]   RFC 6454 section 6.2
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?|null")


def _check_order(section: str, lowest: int, default: int, highest: int) -> None:
    if not lowest <= default <= highest:
        raise ConfigError(
            f"{section}.default_expires must lie between min_expires and max_expires: "
            f"{lowest} <= {default} <= {highest} does not hold",
            key=f"{section}.default_expires",
        )


class RegistrarSection(Section, frozen=True, kw_only=True):
    """What a REGISTER is granted (RFC 3261 10.3)."""

    mode: Literal["registrar", "relay"] = "registrar"
    "Whether bindings are kept here, or a REGISTER goes on to `upstream` and what it binds there is followed."
    upstream: str = ""
    "Relay mode: SIP URI of the registrar that REGISTERs are forwarded to."
    default_expires: Seconds = 3600
    "Seconds granted when the REGISTER asks for none."
    min_expires: Annotated[int, Meta(ge=0, le=3600)] = 60
    "A shorter request below one hour gets 423 with Min-Expires; 0: never."
    max_expires: Seconds = 7200
    "Longest time granted, in seconds."
    expires_jitter: Annotated[float, Meta(ge=0, le=0.5)] = 0.1
    "Share of the granted time taken off at random, so that refreshes spread."
    max_contacts: Annotated[int, Meta(ge=1, le=10_000)] = 10
    "Bindings that an address-of-record may have."
    max_contacts_policy: Literal["reject", "replace-oldest"] = "reject"
    "Beyond `max_contacts`: answer 403, or end the bindings updated longest ago."
    path_mode: Literal["strict", "lazy"] = "strict"
    "A Path from a phone without `Supported: path`: 420 (RFC 3327 section 5.3), or taken."
    service_route: tuple[str, ...] = ()
    "SIP URIs with `;lr` that every registered phone is told as its Service-Route (RFC 3608)."
    flow_timer: Annotated[int, Meta(ge=0, le=86_400)] = 0
    "Seconds within which a phone with outbound sends a keep-alive (RFC 5626 section 4.4.1); 0: not told."
    ob_on_any_path: bool = False
    "Outbound through proxies needs no `;ob` on the first Path URI."
    end_with_connection_behind_nat: bool = False
    "A contact whose host is not where its connection came from ends with that connection."
    gruu: bool = False
    "Give each contact with `+sip.instance` a public and a temporary GRUU (RFC 5627)."

    def __post_init__(self) -> None:
        _check_order("registrar", self.min_expires, self.default_expires, self.max_expires)
        for uri in self.service_route:
            check_route(uri, "registrar.service_route")
        if self.upstream:
            check_uri(self.upstream, "registrar.upstream")
        elif self.mode == "relay":
            raise ConfigError(
                'registrar.mode = "relay" needs registrar.upstream, the URI of the registrar behind this server',
                key="registrar.upstream",
            )


class AuthSection(Section, frozen=True, kw_only=True):
    """Who has to prove who they are, and how (RFC 3261 22, RFC 7616, RFC 8760)."""

    enabled: bool | None = None
    "Challenge REGISTER, SUBSCRIBE and PUBLISH. Unset, it is on as soon as an address is public and `insecure` is not \
set; within a Config it is decided."
    realm: str = ""
    "Realm of the challenge, and the domain of the users; unset, the first domain. Within a Config never empty."
    algorithms: Annotated[tuple[DigestAlgorithm, ...], Meta(min_length=1)] = ("SHA-256", "MD5")
    "Algorithms offered, the preferred first."
    db_url: str = "sqlite:///subscriber.db"
    "Database with the table `subscriber`: `sqlite:///FILE` or `postgresql://USER@HOST/DATABASE`."
    nonce_lifetime: Annotated[int, Meta(ge=1, le=86_400)] = 300
    "Seconds that a nonce is good for."
    legacy_clients: bool = True
    "Take credentials without `qop`, as clients of RFC 2069 send them."
    max_cached_users: Annotated[int, Meta(ge=1, le=10_000_000)] = 100_000
    "Users whose hashes are kept in memory."

    def __post_init__(self) -> None:
        if not self.realm.isprintable() or len(self.realm) > MAX_REALM or {'"', "\\"} & set(self.realm):
            raise ConfigError(
                f"auth.realm must be printable text of at most {MAX_REALM} characters without quotes and backslashes",
                key="auth.realm",
            )
        if len(set(self.algorithms)) < len(self.algorithms):
            raise ConfigError("auth.algorithms names one twice", key="auth.algorithms")
        check_database(self.db_url, "auth.db_url")


class LimitsSection(Section, frozen=True, kw_only=True):
    """Caps on what a sender can make this server hold or read; what lies beyond has a defined answer."""

    max_message: Annotated[int, Meta(ge=512, le=65_535)] = 65_535
    "Octets of a datagram; 513 beyond it."
    max_stream_message: Octets = 262_144
    "Octets of a message over a connection; 513 beyond it, and the connection is closed."
    max_body: Annotated[int, Meta(ge=0, le=2**24)] = 131_072
    "Octets of a body; 413 beyond it."
    max_uri: Annotated[int, Meta(ge=64, le=8192)] = 1024
    "Octets of the Request-URI; 414 beyond it."
    max_contacts_per_request: Annotated[int, Meta(ge=1, le=32)] = 32
    "Contacts in one REGISTER; 403 beyond it."
    max_connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 4096
    "Connections; one more is closed."
    max_connections_per_address: Annotated[int, Meta(ge=1, le=1_000_000)] = 64
    "Connections from one address; one more is closed."
    stream_message_timeout: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    "Seconds that a message may take to be complete; then its connection is closed."
    handshake_timeout: Annotated[float, Meta(ge=1, le=3600)] = 10.0
    "Seconds that TLS or the opening of a WebSocket may take."
    idle_timeout: Annotated[float, Meta(ge=33, le=86_400)] = 120.0
    "Seconds of silence after which a connection is closed."


class TlsSection(Section, frozen=True, kw_only=True):
    """Who we are over TLS, and who others have to be (RFC 3261 26.3.1, RFC 5922)."""

    certificate: str = ""
    "File of PEM: the certificate of this server, then those between it and its root."
    key: str = ""
    "File of PEM with its private key, not encrypted; empty: it is in `certificate`."
    ca: str = ""
    "File of PEM with the certificates of those who vouch for others; empty: those that the system trusts."
    verify_client: Literal["off", "optional", "required"] = "off"
    "Whether clients are asked for a certificate, and whether they need one."
    verify_server: bool = True
    "Connect only to servers whose certificate is of the domain wanted (RFC 5922)."
    min_version: Literal["1.2", "1.3"] = "1.2"
    "Oldest version of TLS that is spoken."

    def __post_init__(self) -> None:
        if self.verify_client != "off" and not self.ca:
            raise ConfigError(
                f'tls.verify_client = "{self.verify_client}" needs tls.ca, the certificates of who vouches for them',
                key="tls.ca",
            )


class WebsocketSection(Section, frozen=True, kw_only=True):
    """Which web pages may connect over WebSocket (RFC 6455 10.2)."""

    origins: tuple[str, ...] = ()
    'Web pages that may connect, as browsers name them; `"*"`: any.'

    def __post_init__(self) -> None:
        for origin in self.origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ConfigError(
                    f'websocket.origins: {origin!r} is no origin: write "https://HOST" or "https://HOST:PORT", '
                    'in lower case and without a path, or "*" for any',
                    key="websocket.origins",
                )


class StoreSection(Section, frozen=True, kw_only=True):
    """Where registrations live and when an answer may rely on it."""

    url: str = "rocksdb:reginfo.db"
    "`rocksdb:FOLDER`, or `memory:` where nothing outlives the process."
    durability: Durability = "committed"
    "What a 200 OK may rely on: nothing, the next 100 ms, the operating system, the disk."

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
    "Path of the unix socket for the operator's commands; empty: none."
    listen: str = ""
    "Address and port of the HTTP interface and its dashboard; empty: none."
    token_file: str = "reginfo.token"
    "File with the token that whoever uses HTTP has to show; made if it is not there."
    kamailio_metrics: bool = False
    "Also export the names that exporters for Kamailio use, for panels that have them."

    def __post_init__(self) -> None:
        if self.listen:
            parse_address(self.listen, "admin.listen")
        if len(os.fsencode(self.socket)) > MAX_SOCKET_PATH or "\0" in self.socket:
            raise ConfigError(f"admin.socket must be a path of at most {MAX_SOCKET_PATH} octets", key="admin.socket")

    @property
    def address(self) -> tuple[str, int] | None:
        """Where HTTP is served; None: nowhere."""
        return parse_address(self.listen, "admin.listen") if self.listen else None


class PuaReginfoSection(Section, frozen=True, kw_only=True):
    """Publishing registrations and following those of other servers, in the words of Kamailio's module."""

    publish_reginfo: bool = True
    "PUBLISH every change to `outbound_proxy`; without one nothing is sent."
    default_domain: str = ""
    "Domain of an address-of-record given without one; empty: the first of `domains`."
    outbound_proxy: str = ""
    "SIP URI that every PUBLISH and SUBSCRIBE is sent to."
    server_address: str = ""
    "SIP URI of this server; empty: `sip:reginfo@` and the first address of `listen`."
    subscribe: tuple[str, ...] = ()
    "SIP URIs of addresses-of-record to follow from the start."
    subscribe_on_register: bool = False
    "Relay mode: follow each address-of-record whose REGISTER got 200 upstream."

    def __post_init__(self) -> None:
        if self.default_domain:
            msgspec.structs.force_setattr(self, "default_domain", canonical_domain(self.default_domain))
        for key in ("outbound_proxy", "server_address"):
            if getattr(self, key):
                check_uri(getattr(self, key), f"pua_reginfo.{key}")
        for uri in self.subscribe:
            check_uri(uri, "pua_reginfo.subscribe")


class NotifierSection(Section, frozen=True, kw_only=True):
    """What a SUBSCRIBE for Event: reg is granted, and to whom (RFC 3680, RFC 6665)."""

    default_expires: Seconds = 3761
    "Seconds granted when the SUBSCRIBE asks for none."
    min_expires: Annotated[int, Meta(ge=0, le=3600)] = 60
    "A shorter request below one hour gets 423 with Min-Expires; 0: never."
    max_expires: Seconds = 600_000
    "Longest time granted, in seconds."
    min_notify_interval: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    "Seconds between two NOTIFYs of one subscription that changes ask for (RFC 3680 section 4.10)."
    allow: tuple[str, ...] = ()
    "Patterns of watcher URIs, besides the owner of the address-of-record; `*` for any text."
    max_subscriptions: Annotated[int, Meta(ge=1, le=10_000_000)] = 100_000
    "Subscriptions altogether; 503 beyond it."
    max_subscriptions_per_aor: Annotated[int, Meta(ge=1, le=10_000_000)] = 100
    "Subscriptions to one address-of-record; 403 beyond it."
    max_subscriptions_per_watcher: Annotated[int, Meta(ge=1, le=10_000_000)] = 1_000
    "Subscriptions of one watcher; 403 beyond it."

    def __post_init__(self) -> None:
        _check_order("notifier", self.min_expires, self.default_expires, self.max_expires)


class CompositorSection(Section, frozen=True, kw_only=True):
    """Who may PUBLISH registration state here, and for how long (RFC 3903)."""

    enabled: bool = True
    "Take PUBLISH for `Event: reg`; otherwise it gets 405."
    publishers: tuple[str, ...] = ()
    "Addresses, networks or patterns of URIs that may publish, besides the servers of `[[peer]]`."
    default_expires: Seconds = 3600
    "Seconds granted when the PUBLISH asks for none."
    min_expires: Annotated[int, Meta(ge=0, le=3600)] = 0
    "A shorter request gets 423 with Min-Expires; 0: never."
    max_expires: Seconds = 7200
    "Longest time granted, in seconds."
    max_publications: Annotated[int, Meta(ge=1, le=10_000_000)] = 1_000_000
    "Publications altogether; 503 beyond it."
    max_publications_per_aor: Annotated[int, Meta(ge=1, le=1_000)] = 16
    "Publications for one address-of-record; 403 beyond it."

    def __post_init__(self) -> None:
        _check_order("compositor", self.min_expires, self.default_expires, self.max_expires)
        for publisher in self.publishers:
            if is_network(publisher):
                parse_network(publisher, "compositor.publishers")


class ImsSection(Section, frozen=True, kw_only=True):
    """Users with several public identities that are registered together (TS 24.229)."""

    enabled: bool = False
    "Tell phones and watchers of all identities of a user, and ask who watches by the rules of IMS."
    implicit_sets: tuple[Annotated[tuple[str, ...], Meta(min_length=1, max_length=MAX_IDENTITIES)], ...] = ()
    "Identities that are registered as soon as one of them is; the first is the one phones register."
    barred: tuple[str, ...] = ()
    "Those of them that may register, but are told to nobody and watch nothing."

    def __post_init__(self) -> None:
        named: set[str] = set()
        for one in self.sets:
            if not one.told or one.identities[0].wildcard or not one.home.startswith("sip:"):
                raise ConfigError(
                    f"ims.implicit_sets: {one.home} must be a SIP URI without wildcard, and one of its set not barred",
                    key="ims.implicit_sets",
                )
            for identity in one.identities:
                text = identity.wildcard or identity.uri
                if text in named:
                    raise ConfigError(f"ims.implicit_sets names {text} twice", key="ims.implicit_sets")
                named.add(text)
        for uri in self.barred:
            if parse_identity(uri, "ims.barred").uri not in named:
                raise ConfigError(f"ims.barred: {uri!r} is in no set of ims.implicit_sets", key="ims.barred")

    @property
    def sets(self) -> list[ImplicitSet]:
        """The sets as values."""
        barred = frozenset(parse_identity(uri, "ims.barred").uri for uri in self.barred)
        return [
            ImplicitSet(tuple(parse_identity(text, "ims.implicit_sets") for text in identities), barred)
            for identities in self.implicit_sets
        ]


class LogSection(Section, frozen=True, kw_only=True):
    """Lines on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    "The least that is logged; what an accepted request did is said at `debug`."
    format: Literal["logfmt", "json"] = "logfmt"
    "`key=value` pairs, or an object per line."


class Config(Section, frozen=True, kw_only=True):
    """Everything `reginfo serve` can be told."""

    listen: Annotated[tuple[str, ...], Meta(min_length=1)] = ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060")
    "Addresses to serve: `udp:`, `tcp:`, `tls:`, `ws:` or `wss:` before `ADDRESS:PORT`."
    domains: Annotated[tuple[str, ...], Meta(min_length=1)] = ("example.com",)
    "Domains whose addresses-of-record are registered here."
    insecure: bool = False
    "Accept that nobody is authenticated on an address other than loopback."
    server_header: str = ""
    "Value of the Server header in responses; empty: none."
    registrar: RegistrarSection = RegistrarSection()
    auth: AuthSection = AuthSection()
    pua_reginfo: PuaReginfoSection = PuaReginfoSection()
    notifier: NotifierSection = NotifierSection()
    compositor: CompositorSection = CompositorSection()
    limits: LimitsSection = LimitsSection()
    ims: ImsSection = ImsSection()
    tls: TlsSection = TlsSection()
    websocket: WebsocketSection = WebsocketSection()
    store: StoreSection = StoreSection()
    admin: AdminSection = AdminSection()
    log: LogSection = LogSection()
    trace: TraceSection = TraceSection()
    peer: tuple[PeerSection, ...] = ()
    webhook: tuple[WebhookSection, ...] = ()

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "domains", tuple(map(canonical_domain, self.domains)))
        if not self.server_header.isprintable() or len(self.server_header) > MAX_SERVER_HEADER:
            raise ConfigError(
                f"server_header must be printable text on one line of at most {MAX_SERVER_HEADER} characters",
                key="server_header",
            )
        self._decide_auth()
        secure = [listener for listener in self.listeners if listener.is_secure]
        if secure and not self.tls.certificate:
            raise ConfigError(
                f"listen {secure[0]} needs tls.certificate, a file of PEM with the certificate of this server",
                key="tls.certificate",
            )
        names = [peer.name for peer in self.peer]
        if len(set(names)) < len(names):
            raise ConfigError("peer.name must be unique", key="peer")
        hooks = [webhook.name for webhook in self.webhook]
        if len(set(hooks)) < len(hooks):
            raise ConfigError(
                "webhook.name must be unique: it is host and path of the URL if none is given", key="webhook"
            )
        for webhook in self.webhook:
            if bool(webhook.secret_file) == bool(webhook.secret_env):
                raise ConfigError(
                    f"webhook {webhook.name} needs secret_file, a file with the secret its deliveries are signed with, "
                    "or secret_env, the environment variable that holds it",
                    key="webhook",
                )
        if len(hooks) > MAX_WEBHOOKS:
            raise ConfigError(f"at most {MAX_WEBHOOKS} webhooks are possible", key="webhook")

    def _decide_auth(self) -> None:
        """Fill in what [auth] leaves to the rest, and refuse a public address where nobody is authenticated."""
        exposed = [listener for listener in self.listeners if not listener.is_loopback]
        enabled = self.auth.enabled
        if enabled is None:
            enabled = bool(exposed) and not self.insecure
        elif exposed and not enabled and not self.insecure:
            raise ConfigError(
                f"listen {exposed[0]} is reachable from the network while nobody is authenticated: set auth.enabled = "
                "true (reginfo user add makes users), insecure = true to accept that, or listen on 127.0.0.1",
                key="auth.enabled",
            )
        auth = msgspec.structs.replace(self.auth, enabled=enabled, realm=self.auth.realm or self.domains[0])
        msgspec.structs.force_setattr(self, "auth", auth)

    @property
    def default_domain(self) -> str:
        """Domain of an address-of-record given without one."""
        return self.pua_reginfo.default_domain or self.domains[0]

    @property
    def extensions(self) -> tuple[str, ...]:
        """Option-tags of what a REGISTER may require here, in lower case (REG-18, UAS-2)."""
        return ("path", "outbound", "gruu") if self.registrar.gruu else ("path", "outbound")

    @property
    def own_hosts(self) -> tuple[str, ...]:
        """Hosts that mean this server in a Request-URI, besides the domains."""
        named = self.pua_reginfo.server_address
        address = [(parse_uri(named).host or "").lower()] if named else []
        return tuple(dict.fromkeys([*(listener.sip_host for listener in self.listeners), *address]))

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
            elif listener.transport != "tcp" or listener._replace(transport="udp") not in given:
                wanted[listener] = None
        return tuple(wanted)
