"""The configuration: sources, precedence, and what every refusal says."""

import math
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from reginfo.config import (
    KEYS,
    AuthSection,
    Config,
    LimitsSection,
    Listener,
    Loaded,
    StoreSection,
    canonical_domain,
    load_config,
    parse_listener,
    render,
)
from reginfo.config.sources import LISTED_KEYS, _toml
from reginfo.errors import ConfigError

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a reginfo.toml of the working directory out of the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("reginfo.config.sources.SEARCH", (Path("reginfo.toml"), tmp_path / "etc" / "reginfo.toml"))


def load(text: str = "", environ: dict[str, str] | None = None, **options: object) -> Loaded:
    file = Path("given.toml")
    file.write_text(text, encoding="utf-8")
    return load_config(file, environ=environ or {}, options={k.replace("__", "."): v for k, v in options.items()})


def refusal(text: str = "", environ: dict[str, str] | None = None, **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text, environ, **options)
    return str(caught.value)


# ---- sources


def test_tcp_stands_behind_the_udp_listener_of_its_address() -> None:
    """TRN-1: whatever was written first, UDP chooses the port that both get."""
    config = Config(listen=("tcp:127.0.0.1:0", "tcp:[::1]:0", "udp:127.0.0.1:0"))
    assert list(map(str, config.listeners)) == ["tcp:[::1]:0", "udp:127.0.0.1:0", "tcp:127.0.0.1:0"]


def test_defaults_serve_example_com_on_loopback() -> None:
    config = load_config(environ={}).config
    assert config == Config()
    assert [str(listener) for listener in config.listeners] == ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"]
    assert config.domains == ("example.com",)


def test_command_line_beats_environment_beats_file_beats_default() -> None:
    text = "[registrar]\nmin_expires = 1\ndefault_expires = 10\nmax_expires = 11\n"
    environ = {"REGINFO_REGISTRAR__DEFAULT_EXPIRES": "20", "REGINFO_REGISTRAR__MAX_EXPIRES": "21"}
    loaded = load(text, environ, registrar__max_expires=31)
    registrar = loaded.config.registrar
    assert (registrar.min_expires, registrar.default_expires, registrar.max_expires) == (1, 20, 31)
    assert loaded.origins["registrar.min_expires"] == "given.toml line 2"
    assert loaded.origins["registrar.default_expires"] == "environment REGINFO_REGISTRAR__DEFAULT_EXPIRES"
    assert loaded.origins["registrar.max_expires"] == "command line"
    assert loaded.origins["registrar.max_contacts"] == "default"


def test_search_takes_the_first_file_there_is(tmp_path: Path) -> None:
    def domain(**environ: str) -> str:
        return load_config(environ=environ).config.domains[0]

    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "reginfo.toml").write_text('domains = ["etc.example"]')
    assert domain() == "etc.example"
    Path("reginfo.toml").write_text('domains = ["here.example"]')
    assert domain() == "here.example"
    Path("named.toml").write_text('domains = ["named.example"]')
    assert domain(REGINFO_CONFIG="named.toml") == "named.example"
    Path("given.toml").write_text('domains = ["given.example"]')
    assert load_config(Path("given.toml"), environ={"REGINFO_CONFIG": "named.toml"}).config.domains == (
        "given.example",
    )


def test_a_named_file_that_is_missing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: No such file"):
        load_config(Path("absent.toml"), environ={})
    with pytest.raises(ConfigError, match=r"absent\.toml: No such file"):
        load_config(environ={"REGINFO_CONFIG": "absent.toml"})


def test_environment_reads_every_type() -> None:
    config = load(
        environ={
            "REGINFO_LISTEN": "udp:127.0.0.1:0, tcp:[::1]:0",
            "REGINFO_INSECURE": "true",
            "REGINFO_REGISTRAR__EXPIRES_JITTER": "0",
            "REGINFO_LIMITS__IDLE_TIMEOUT": "64.5",
            "REGINFO_LOG__LEVEL": "debug",
        }
    ).config
    assert config.listen == ("udp:127.0.0.1:0", "tcp:[::1]:0")
    assert config.insecure
    assert config.registrar.expires_jitter == 0
    assert config.limits.idle_timeout == 64.5
    assert config.log.level == "debug"


@pytest.mark.parametrize(
    "variable",
    [
        "REGINFO_DEBUG",
        "REGINFO_SAN",
        "REGINFO_TRACE",
        "REGINFO_ANNOTATE",
        "REGINFO_STRICT",
        "REGINFO_REQUIRE_PEERS",
        "OTHER_LISTEN",
    ],
)
def test_variables_of_the_build_are_no_settings(variable: str) -> None:
    assert load(environ={variable: "1"}).config == Config()


# ---- refusals


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[registrar]\nmax_expire = 5",
            'given.toml line 2: unknown key registrar.max_expire, did you mean "registrar.max_expires"?',
        ),
        (
            "[registrar]\n\nmaxexpires = 5",
            'given.toml line 3: unknown key registrar.maxexpires, did you mean "registrar.max_expires"?',
        ),
        ("max_expires = 5", 'given.toml line 1: unknown key max_expires, did you mean "registrar.max_expires"?'),
        ('domain = ["example.com"]', 'given.toml line 1: unknown key domain, did you mean "domains"?'),
        ("colour = 5", "given.toml line 1: unknown key colour"),
        (
            "[registrars]\nmax_expires = 5",
            'given.toml line 1: unknown section [registrars], did you mean "[registrar]"?',
        ),
        ("[webhooks]\nurl = 5", "given.toml line 1: unknown section [webhooks]"),
        ("registrar = 5", "given.toml line 1: registrar is a section: write [registrar]"),
        (
            "insecure = false\n[registrar.max_expires]\nvalue = 5",
            "given.toml line 2: registrar.max_expires must be an integer from 1 to 4294967295, not {'value': 5}",
        ),
        (
            "registrar.max_expire = 5",
            'given.toml line 1: unknown key registrar.max_expire, did you mean "registrar.max_expires"?',
        ),
    ],
)
def test_an_unknown_key_says_where_it_is_and_what_was_meant(text: str, message: str) -> None:
    assert refusal(text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[registrar]\nmax_expires = 0", "registrar.max_expires must be an integer from 1 to 4294967295, not 0"),
        (
            "[registrar]\nmax_expires = 4294967296",
            "registrar.max_expires must be an integer from 1 to 4294967295, not 4294967296",
        ),
        (
            '[registrar]\nmax_expires = "7200"',
            "registrar.max_expires must be an integer from 1 to 4294967295, not '7200'",
        ),
        ("[registrar]\nmax_expires = true", "registrar.max_expires must be an integer from 1 to 4294967295, not True"),
        ("[registrar]\nmin_expires = 3601", "registrar.min_expires must be an integer from 0 to 3600, not 3601"),
        ("[registrar]\nexpires_jitter = 0.51", "registrar.expires_jitter must be a number from 0 to 0.5, not 0.51"),
        ("[registrar]\nexpires_jitter = nan", "registrar.expires_jitter must be a number from 0 to 0.5, not nan"),
        ("[registrar]\nmax_contacts = 0", "registrar.max_contacts must be an integer from 1 to 10000, not 0"),
        (
            '[registrar]\nmax_contacts_policy = "drop"',
            'registrar.max_contacts_policy must be one of "reject", "replace-oldest", not \'drop\'',
        ),
        ('[registrar]\nmode = "proxy"', 'registrar.mode must be one of "registrar", "relay", not \'proxy\''),
        ("[limits]\nmax_message = 65536", "limits.max_message must be an integer from 512 to 65535, not 65536"),
        (
            "[limits]\nmax_contacts_per_request = 33",
            "limits.max_contacts_per_request must be an integer from 1 to 32, not 33",
        ),
        ("[limits]\nidle_timeout = 32", "limits.idle_timeout must be a number from 33 to 86400, not 32"),
        ("[store]\nurl = 5", "store.url must be a string, not 5"),
        ('insecure = "yes"', "insecure must be true or false, not 'yes'"),
        ('listen = "udp:127.0.0.1:5060"', "listen must be a list of at least one string, not 'udp:127.0.0.1:5060'"),
        ("listen = []", "listen must be a list of at least one string, not []"),
        ("domains = [5]", "domains must be a list of at least one string, not [5]"),
    ],
)
def test_a_value_out_of_bounds_says_what_is_allowed(text: str, message: str) -> None:
    """SEC-5: each cap is named, settable and bounded itself."""
    line = text.count("\n") + 1
    assert refusal(text) == f"given.toml line {line}: {message}"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "REGINFO_REGISTRAR__MAX_EXPIRE",
            "5",
            'unknown key registrar.max_expire, did you mean "registrar.max_expires"?',
        ),
        ("REGINFO_DOMIANS", "a.example", 'unknown key domians, did you mean "domains"?'),
        ("REGINFO_COLOUR__RED", "5", "unknown key colour.red"),
        (
            "REGINFO_REGISTRAR__MAX_EXPIRES",
            "soon",
            "registrar.max_expires must be an integer from 1 to 4294967295, not 'soon'",
        ),
        ("REGINFO_LISTEN", " , ", "listen must be a list of at least one string, not ' , '"),
    ],
)
def test_the_environment_is_as_strict_as_the_file(variable: str, value: str, message: str) -> None:
    assert refusal(environ={variable: value}) == f"environment {variable}: {message}"


@pytest.mark.parametrize("text", ["listen = [", 'a = "\\q"', "a = 1\na = 2"])
def test_what_is_no_toml_is_refused_with_its_position(text: str) -> None:
    message = refusal(text)
    assert message.startswith("given.toml: not TOML: ")
    assert "line" in message or "end of document" in message


def test_octets_that_are_no_text_are_refused() -> None:
    Path("binary.toml").write_bytes(b'a = "\xff"')
    with pytest.raises(ConfigError, match="not TOML"):
        load_config(Path("binary.toml"), environ={})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[registrar]\ndefault_expires = 30", "given.toml line 2: registrar.default_expires must lie between"),
        (
            "[registrar]\nmax_expires = 600",
            "registrar.default_expires must lie between min_expires and max_expires: 60 <= 3600 <= 600 does not hold",
        ),
        ('[store]\nurl = "sqlite:x"', 'given.toml line 2: store.url must be "rocksdb:FOLDER" or "memory:"'),
        ('[store]\nurl = "rocksdb:"', "given.toml line 2: store.url must be"),
        ('[store]\nurl = "memory:x"', "given.toml line 2: store.url must be"),
        ('[store]\nurl = "memory:"\ndurability = "synced"', 'given.toml line 3: store.durability must be "memory"'),
        (
            '[admin]\nsocket = "' + "s" * 108 + '"',
            "given.toml line 2: admin.socket must be a path of at most 107 octets",
        ),
        ('server_header = "a\\r\\nb"', "given.toml line 1: server_header must be printable text on one line"),
        (f'server_header = "{"x" * 129}"', "given.toml line 1: server_header must be printable text on one line of"),
        ('listen = ["udp:[::1%lo]:0"]', "given.toml line 1: listen 'udp:[::1%lo]:0' must be TRANSPORT:ADDRESS:PORT"),
        ('domains = ["[fe80::1%lo]"]', "given.toml line 1: domains: '[fe80::1%lo]' is neither a host name nor"),
        ('[store]\nurl = "rocksdb:a\\u0000b"', "given.toml line 2: store.url must be"),
        ('[admin]\nsocket = "a\\u0000b"', "given.toml line 2: admin.socket must be a path"),
        ("listen = " + "[" * 5000, "given.toml: n"),  # nested too deeply, or not TOML
    ],
)
def test_values_that_do_not_go_together_are_refused(text: str, message: str) -> None:
    assert refusal(text).startswith(message)


# ---- listen, domains, store


@pytest.mark.parametrize(
    ("text", "listener"),
    [
        ("udp:127.0.0.1:5060", Listener("udp", "127.0.0.1", 5060)),
        ("tcp:192.0.2.1:0", Listener("tcp", "192.0.2.1", 0)),
        ("tcp:[2001:DB8:0::1]:65535", Listener("tcp", "2001:db8::1", 65535)),
        ("udp:[::1]", Listener("udp", "::1", 5060)),
        ("udp:0.0.0.0", Listener("udp", "0.0.0.0", 5060)),
    ],
)
def test_listener_forms(text: str, listener: Listener) -> None:
    assert parse_listener(text) == listener
    assert parse_listener(str(listener)) == listener
    assert (listener.sip_host == listener.host) == (":" not in listener.host)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "udp",
        "udp:",
        "udp:localhost:5060",
        "udp:::1:5060",
        "udp:[127.0.0.1]:5060",
        "udp:127.0.0.1:65536",
        "udp:127.0.0.1:-1",
        "udp:127.0.0.1:",
        "sctp:127.0.0.1:5060",
        "127.0.0.1:5060",
        "udp:127.0.0.1:5060 ",
        "udp:[::1]5060",
    ],
)
def test_other_listener_forms_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="must be TRANSPORT:ADDRESS:PORT"):
        parse_listener(text)


def test_every_udp_port_is_a_tcp_port_too() -> None:
    """TRN-1"""
    config = Config(listen=("udp:127.0.0.1:5070", "tcp:127.0.0.1:5080", "udp:[::1]:0"))
    assert [str(listener) for listener in config.listeners] == [
        "udp:127.0.0.1:5070",
        "tcp:127.0.0.1:5070",
        "tcp:127.0.0.1:5080",
        "udp:[::1]:0",
        "tcp:[::1]:0",
    ]


def test_no_other_transport_is_taken_for_the_tcp_of_a_udp_port() -> None:
    """TRN-1: WebSocket on a free port, beside UDP on one."""
    config = Config(listen=("udp:127.0.0.1:0", "ws:127.0.0.1:0"))
    assert [listener.transport for listener in config.listeners] == ["udp", "tcp", "ws"]


PUBLIC = pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "[::]", "[2001:db8::1]", "[::ffff:192.0.2.1]"])


@PUBLIC
def test_a_public_address_authenticates_everybody_unless_told_otherwise(address: str) -> None:
    listen = f'listen = ["tcp:127.0.0.1:5060", "udp:{address}:5060"]\n'
    assert load(listen).config.auth.enabled
    assert load(listen + "[auth]\nenabled = true").config.auth.enabled
    assert load(listen + "insecure = true\n[auth]\nenabled = true").config.auth.enabled


@PUBLIC
def test_a_public_address_where_nobody_is_authenticated_needs_insecure(address: str) -> None:
    listen = f'listen = ["udp:{address}:5060"]\n'
    message = refusal(listen + "[auth]\nenabled = false")
    assert message.startswith(f"given.toml line 3: listen {parse_listener(f'udp:{address}')} is reachable")
    assert "auth.enabled = true" in message
    assert "insecure = true" in message
    for text in ("insecure = true", "insecure = true\n[auth]\nenabled = false"):
        config = load(listen + text).config
        assert config.insecure
        assert config.auth.enabled is False


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "[::1]"])
def test_a_loopback_address_does_not_need_insecure(address: str) -> None:
    config = load(f'listen = ["tcp:{address}:5060"]').config
    assert (config.insecure, config.auth.enabled) == (False, False)
    assert load(f'listen = ["tcp:{address}:5060"]\n[auth]\nenabled = true').config.auth.enabled


# ---- auth


def test_the_realm_is_the_first_domain_unless_named() -> None:
    assert load('domains = ["A.example", "b.example"]').config.auth.realm == "a.example"
    assert load('domains = ["a.example"]\n[auth]\nrealm = "Our Phones"').config.auth.realm == "Our Phones"
    assert len(AuthSection(realm="r" * 64).realm) == 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('realm = "a\\"b"', "auth.realm must be printable text of at most 64 characters without quotes"),
        ('realm = "a\\\\b"', "auth.realm must be printable text"),
        ('realm = "a\\r\\nb"', "auth.realm must be printable text"),
        (f'realm = "{"r" * 65}"', "auth.realm must be printable text"),
        ('enabled = "on"', "auth.enabled must be true or false, not 'on'"),
        ("algorithms = []", 'auth.algorithms must be a list of "MD5", "SHA-256", "SHA-512-256", not []'),
        ('algorithms = ["md5"]', 'auth.algorithms must be a list of "MD5", "SHA-256", "SHA-512-256", not [\'md5\']'),
        ('algorithms = ["MD5", "MD5"]', "auth.algorithms names one twice"),
        ("nonce_lifetime = 0", "auth.nonce_lifetime must be an integer from 1 to 86400, not 0"),
        ("max_cached_users = 0", "auth.max_cached_users must be an integer from 1 to 10000000, not 0"),
        ('db_url = "subscriber.db"', 'auth.db_url must be "sqlite:///FILE"'),
        ('db_url = "sqlite:///"', 'auth.db_url must be "sqlite:///FILE"'),
        ('db_url = "sqlite:///a\\u0000b"', 'auth.db_url must be "sqlite:///FILE"'),
        ('db_url = "mysql://kamailio@db/kamailio"', 'auth.db_url must be "sqlite:///FILE"'),
        ('db_url = "postgresql://[::1/x"', 'auth.db_url must be "sqlite:///FILE"'),
    ],
)
def test_a_value_of_auth_that_cannot_be_used_is_named(text: str, message: str) -> None:
    assert refusal(f"[auth]\n{text}").startswith(f"given.toml line 2: {message}")


@pytest.mark.parametrize("url", ["postgresql://me:hunter2@db/users", "postgres://me@db/users?password=hunter2"])
def test_a_password_in_the_address_of_the_database_is_refused_and_not_repeated(url: str) -> None:
    """SEC-6: what --print-config shows and logs repeat holds no secret."""
    message = refusal(f'[auth]\ndb_url = "{url}"')
    assert "must not hold a password" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("Example.COM", "example.com"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8:0::1]", "[2001:db8::1]"),
        ("2001:db8::1", "[2001:db8::1]"),
        ("localhost", "localhost"),
        ("a-b.example", "a-b.example"),
    ],
)
def test_domains_are_written_as_in_a_canonical_aor(text: str, canonical: str) -> None:
    """URI-7"""
    assert canonical_domain(text) == canonical


@pytest.mark.parametrize("text", ["", "a b", "-a.example", "a..b", "sip:example.com", "example.com:5060", "1.2.3"])
def test_other_domains_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="neither a host name nor an address"):
        canonical_domain(text)


def test_nothing_outlives_a_memory_store() -> None:
    assert StoreSection(url="memory:").durability == "memory"
    assert StoreSection(url="memory:").folder is None
    assert StoreSection(url="rocksdb:/var/lib/reginfo").folder == Path("/var/lib/reginfo")


# ---- printing and documentation


def keyed(printed: str) -> Iterator[tuple[str, str]]:
    """Yield each assignment of a printed configuration with its dotted key."""
    table = ""
    for line in printed.splitlines():
        if line.startswith("["):
            table = line.strip("[]") + "."
        elif " = " in line:
            yield table + line.split(" = ")[0], line


def test_printed_configuration_loads_to_the_same_and_names_origins() -> None:
    loaded = load(
        'server_header = "say \\"hi\\" \\\\"\n[limits]\nmax_uri = 2048',
        {"REGINFO_DOMAINS": "a.example,b.example"},
        store__url="rocksdb:other",
    )
    printed = render(loaded)
    assert load(printed).config == loaded.config
    assert loaded.config.auth.realm == "a.example"
    origins = {key: line.split("  # from ")[1] for key, line in keyed(printed)}
    assert origins["limits.max_uri"] == "given.toml line 3"
    assert origins["domains"] == "environment REGINFO_DOMAINS"
    assert origins["store.url"] == "command line"
    assert origins["insecure"] == "default"
    assert set(origins) == set(KEYS)


def test_every_key_is_documented_with_its_default() -> None:
    documented = DOCUMENT.read_text(encoding="utf-8")
    sections = {"": ""}
    for part in documented.split("\n## ")[1:]:
        heading, _, text = part.partition("\n")
        sections[heading.strip("[]")] = text
    sections[""] = sections["Top level"]
    for key, line in keyed(render(load_config(environ={}))):
        section, _, name = key.rpartition(".")
        value = line.split(" = ")[1].split("  # from")[0].strip()
        assert f"| `{name}` | `{value}` |" in sections[section], key
    for listed, keys in LISTED_KEYS.items():
        for name, entry in keys.items():
            assert f"| `{name}` | " in sections[listed], name
            assert entry.default is msgspec.NODEFAULT or f"| `{name}` | `{_toml(entry.default)}` |" in sections[listed]


# ---- what belongs together


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[registrar]\nmode = "relay"', "registrar.upstream"),
        ('[pua_reginfo]\noutbound_proxy = "tel:+1"', "is not a SIP or SIPS URI"),
        ('[pua_reginfo]\nsubscribe = ["alice"]', "pua_reginfo.subscribe: 'alice' is not a SIP URI"),
        (
            '[registrar]\nservice_route = ["sip:p.example.com"]',
            "service_route: 'sip:p.example.com' needs ;lr",
        ),
        ('[registrar]\nservice_route = ["tel:1"]', "registrar.service_route: 'tel:1' is not a SIP"),
        ("[notifier]\nmax_expires = 60", "notifier.default_expires must lie between"),
        ('[compositor]\npublishers = ["192.0.2.0/99"]', "neither an IP address nor a network"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(text: str, message: str) -> None:
    assert message in refusal(text)


# ---- peers

PEER = '[[peer]]\nname = "east"\nuri = "sip:192.0.2.1:5060"\n'


def test_peers_are_tables_of_a_file_and_print_as_such() -> None:
    loaded = load(PEER + 'domains = ["Example.COM"]\n' + PEER.replace("east", "west") + 'mode = "mirror"')
    assert [(peer.name, peer.mode, peer.domains) for peer in loaded.config.peer] == [
        ("east", "follow", ("example.com",)),
        ("west", "mirror", ()),
    ]
    assert load(render(loaded)).config == loaded.config


def test_a_peer_is_recognised_by_its_addresses_or_that_of_its_uri() -> None:
    [one, other, nobody] = load(
        PEER
        + PEER.replace("east", "west")
        + 'addresses = ["198.51.100.0/24", "2001:db8::1"]\n'
        + '[[peer]]\nname = "named"\nuri = "sip:named.example.com"'
    ).config.peer
    assert list(map(str, one.networks)) == ["192.0.2.1/32"]
    assert list(map(str, other.networks)) == ["198.51.100.0/24", "2001:db8::1/128"]
    assert nobody.networks == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('peer = "east"', "peer is a list of tables: write [[peer]]"),
        ('[[peer]]\nname = "east"', "given.toml line 1: peer.uri is missing"),
        (PEER + PEER, "peer.name must be unique"),
        (PEER + "\n" + PEER.replace("east", "a b"), "given.toml line 5: peer.name 'a b' must be"),
        (PEER + 'mod = "mirror"', 'given.toml line 4: unknown key peer.mod, did you mean "peer.mode"?'),
        (PEER + 'mode = "both"', 'line 4: peer.mode must be one of "follow", "mirror", not \'both\''),
        (PEER + 'addresses = ["east"]', "peer.addresses: 'east' is neither an IP address nor a network"),
        (PEER.replace("sip:192.0.2.1:5060", "east"), "peer.uri: 'east' is not a SIP URI"),
    ],
)
def test_a_peer_that_cannot_be_used_is_named(text: str, message: str) -> None:
    assert message in refusal(text)


# ---- implicit registration sets

SETS = """[ims]
enabled = true
implicit_sets = [
  ["sip:al@Example.com", "tel:+1555", "sip:ep7@example.com sip:ep!.*!@example.com"],
  ["sip:b@example.com"],
]
barred = ["sip:al@example.com"]
"""


def test_implicit_sets_are_lists_of_identities_and_print_as_such() -> None:
    """IMS-3, IMS-4"""
    loaded = load(SETS)
    first, second = loaded.config.ims.sets
    assert first.home == "sip:al@example.com"
    assert [one.uri for one in first.identities] == ["sip:al@example.com", "tel:+1555", "sip:ep7@example.com"]
    assert [one.uri for one in first.told] == ["tel:+1555", "sip:ep7@example.com"]
    assert first.told[1].wildcard == "sip:ep!.*!@example.com"
    assert [one.uri for one in second.told] == ["sip:b@example.com"]
    assert load(render(loaded)).config == loaded.config


@pytest.mark.parametrize(
    ("sets", "barred", "message"),
    [
        ('["alice"]', "", "ims.implicit_sets: 'alice' is neither a SIP nor a tel URI"),
        ('["tel:+1555"]', "", "tel:+1555 must be a SIP URI without wildcard"),
        ('["sip:a@h sip:!.*!@h"]', "", "sip:a@h must be a SIP URI without wildcard"),
        ('["sip:a@h"]', '"sip:a@h"', "one of its set not barred"),
        ('["sip:a@h"], ["sip:A@h", "sip:a@H"]', "", "ims.implicit_sets names sip:a@h twice"),
        ('["sip:a@h"]', '"sip:b@h"', "ims.barred: 'sip:b@h' is in no set"),
        ('["sip:a@h", "sip:b@h sip:c!.*!@h"]', "", "'sip:c!.*!@h' does not cover 'sip:b@h'"),
        ('["sip:a@h", "sip:b@h sip:.*@h"]', "", "'sip:.*@h' must be a SIP URI with !regular expression!"),
        ('["sip:a@h", "sip:b@h sip:!(!@h"]', "", "ims.implicit_sets: 'sip:!(!@h': "),
        ('["sip:a@h", "tel:1 sip:!.*!@h"]', "", "'tel:1' is neither"),
        ('"sip:a@h"', "", "ims.implicit_sets"),
        ("[]", "", "ims.implicit_sets"),
        (str([f"sip:{n}@h" for n in range(33)]), "", "ims.implicit_sets"),
    ],
)
def test_a_set_that_cannot_be_used_is_named(sets: str, barred: str, message: str) -> None:
    assert message in refusal(f"[ims]\nimplicit_sets = [{sets}]\nbarred = [{barred}]")


def test_a_set_has_32_identities_at_most() -> None:
    [one] = load(f"[ims]\nimplicit_sets = [{[f'sip:{n}@h' for n in range(32)]}]").config.ims.sets
    assert len(one.told) == 32


# ---- webhooks

WEBHOOK = '[[webhook]]\nurl = "https://App.example.com:8443/hook/"\nsecret_file = "hook.secret"\n'


def test_webhooks_are_tables_of_a_file_and_print_as_such() -> None:
    more = 'name = "app"\nevents = ["registered", "expired"]\nfeature_tags = ["+sip.instance"]\ntimeout = 2'
    loaded = load(WEBHOOK + WEBHOOK + more)
    first, second = loaded.config.webhook
    assert (first.name, first.events, first.max_pending) == ("app.example.com:8443/hook", (), 10_000)
    assert (second.name, second.events, second.timeout) == ("app", ("registered", "expired"), 2.0)
    assert load(render(loaded)).config == loaded.config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('webhook = "https://h/"', "webhook is a list of tables: write [[webhook]]"),
        ('[[webhook]]\nsecret_file = "s"', "given.toml line 1: webhook.url is missing"),
        ('[[webhook]]\nurl = "https://h/"', "webhook h needs secret_file, a file with the secret"),
        (WEBHOOK + 'secret_env = "HOOK"', "webhook app.example.com:8443/hook needs secret_file"),
        (WEBHOOK + WEBHOOK, "webhook.name must be unique"),
        (WEBHOOK + 'name = "a b"', "webhook.name 'a b' must be 1 to 64 letters"),
        (WEBHOOK + 'event = ["expired"]', 'line 4: unknown key webhook.event, did you mean "webhook.events"?'),
        (WEBHOOK + 'events = ["lost"]', 'webhook.events must be a list of "created", "deactivated", "expired"'),
        (WEBHOOK + 'feature_tags = ["a=b"]', "webhook.feature_tags: 'a=b' is no name of a Contact parameter"),
        (WEBHOOK + f"aors = {['sip:*'] * 101}", "line 4: webhook.aors must be a list of 0 to 100 strings"),
        (WEBHOOK + "max_pending = 50_001", "webhook.max_pending must be an integer from 1 to 50000"),
        (WEBHOOK + "timeout = 0", "webhook.timeout must be a number from 0.1 to 60"),
        (WEBHOOK.replace("https:", "ftp:"), 'webhook.url must be "https://HOST/PATH"'),
        (WEBHOOK.replace("App.example.com:8443", ""), 'webhook.url must be "https://HOST/PATH"'),
        (WEBHOOK.replace("8443", "99999"), 'webhook.url must be "https://HOST/PATH"'),
        (WEBHOOK.replace("App", "user:secret@App"), "webhook.url must hold neither a password nor a fragment"),
        (WEBHOOK.replace("hook/", "a b"), 'webhook.url must be "https://HOST/PATH"'),
        ("".join(WEBHOOK.replace("hook/", f"{n}") for n in range(33)), "at most 32 webhooks are possible"),
    ],
)
def test_a_webhook_that_cannot_be_used_is_named(text: str, message: str) -> None:
    assert message in refusal(text)


def test_32_webhooks_are_possible() -> None:
    assert len(load("".join(WEBHOOK.replace("hook/", f"{n}") for n in range(32))).config.webhook) == 32


def test_timeouts_and_counts_are_finite() -> None:
    """SEC-5"""
    assert all(math.isfinite(getattr(LimitsSection(), name)) for name in LimitsSection.__struct_fields__)
