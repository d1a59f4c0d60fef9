"""`reginfo serve`: run the registrar."""

import asyncio
import errno
import gc
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reginfo.admin import logs
from reginfo.config import AdminSection, AuthSection, Config, Listener, Loaded, load_config, render
from reginfo.errors import ConfigError

if TYPE_CHECKING:
    from reginfo.server import Server

logger = logging.getLogger(__name__)

GC_THRESHOLDS = (1_000, 3, 1_000)  # of objects: milliseconds each; what is kept for long is hardly ever garbage
SCENARIO = Path("benchmarks/sipp/register.xml")  # where the working directory is a checkout; for example.com


@click.command()
@click.option("-c", "--config", "file", type=click.Path(path_type=Path), help="TOML file; see docs/configuration.md.")
@click.option(
    "--listen",
    multiple=True,
    metavar="TRANSPORT:ADDRESS:PORT",
    help="Address to serve by udp, tcp, tls, ws or wss; may be repeated.",
)
@click.option("--domain", "domains", multiple=True, metavar="NAME", help="Domain to serve; may be repeated.")
@click.option("--store", metavar="URL", help='"rocksdb:FOLDER" or "memory:".')
@click.option("--durability", metavar="LEVEL", help="memory, batched, committed or synced.")
@click.option("--admin", metavar="ADDRESS:PORT", help="Address to serve the dashboard and HTTP interface at.")
@click.option("--check-config", is_flag=True, help="Check the configuration and exit (78 if it cannot be used).")
@click.option("--print-config", is_flag=True, help="Print each value and where it came from, as TOML, and exit.")
def serve(
    file: Path | None,
    listen: tuple[str, ...],
    domains: tuple[str, ...],
    store: str | None,
    durability: str | None,
    admin: str | None,
    check_config: bool,
    print_config: bool,
) -> None:
    """Run the registrar until SIGTERM or Ctrl-C.

    \b
    Examples:
      reginfo serve
      reginfo serve -c /etc/reginfo/reginfo.toml --check-config
    """
    given = {
        "listen": listen or None,
        "domains": domains or None,
        "store.url": store,
        "store.durability": durability,
        "admin.listen": admin,
    }
    options = {key: value for key, value in given.items() if value is not None}
    loaded = load_config(file, options=options)
    if print_config:
        click.echo(render(loaded), nl=False)
    elif check_config:
        from reginfo.net.tls import tls_of
        from reginfo.server.accounts import open_accounts
        from reginfo.server.webhooks import open_secrets

        tls_of(loaded.config)
        open_accounts(loaded.config)
        open_secrets(loaded.config)
        with _explained(loaded):
            asyncio.run(_find_users(loaded.config.auth))
        click.echo(f"{loaded.file or 'defaults'}: ok")
    else:
        _run(loaded, options)


async def _find_users(section: AuthSection) -> None:
    from reginfo.store.credentials import open_credentials

    if section.enabled:
        credentials = open_credentials(section)
        try:
            await credentials.start()
        finally:
            await credentials.close()


@contextmanager
def _explained(loaded: Loaded) -> Iterator[None]:
    """Say why there have to be users, where nothing that was configured says so, and what to do about a busy port."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise OSError(error.errno, f"{error.strerror} (--listen and --admin take other addresses)") from error
    except ConfigError as error:
        exposed = [listener for listener in loaded.config.listeners if not listener.is_loopback]
        if error.key != "auth.db_url" or loaded.origins["auth.enabled"] != "default" or not exposed:
            raise
        reason = f"users are asked for because {exposed[0]} is reachable from the network"
        raise ConfigError(f"{error} ({reason})", key=error.key) from None


def _run(loaded: Loaded, options: Mapping[str, object]) -> None:
    import uvloop

    from reginfo.server import Server
    from reginfo.server.notify_socket import NotifySocket

    config = loaded.config
    logs.configure(config.log.level, config.log.format)
    # Its default action would end a start that reads a large store; the configuration was read a moment ago.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    server = Server(config)
    manager = NotifySocket(os.environ)
    gc.set_threshold(*GC_THRESHOLDS)

    def ready() -> None:
        gc.freeze()  # what is there now stays
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, read_again)
        show_box(loaded, server.listeners, server.dashboard)
        manager.ready(f"serving {', '.join(map(str, server.listeners))}")
        manager.watch(loop)

    def read_again() -> None:
        manager.reloading()
        manager.ready(reload(server, loaded.file, options))

    with _explained(loaded):
        uvloop.run(server.run(ready, lambda: manager.stopping("finishing what is pending")))
    click.echo(summary(server))


def reload(server: "Server", file: Path | None, options: Mapping[str, object]) -> str:
    """Read the configuration again (SIGHUP); one that cannot be used changes nothing.  Return what came of it."""
    try:
        config = load_config(file, options=options).config
        server.reload(config)
    except ConfigError as error:
        logger.error("configuration kept reason=%s", error)
        return f"configuration kept: {error}"
    logs.configure(config.log.level, config.log.format)
    logger.info("configuration read again file=%s", file)
    return "configuration read again"


def show_box(loaded: Loaded, listeners: Sequence[Listener], dashboard: str = "") -> None:
    """Say what listens, in a box on a terminal, and what to try; dashboard is its address, empty without one."""
    status, hints = status_text(loaded, listeners), hints_text(loaded.config, listeners, dashboard)
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.panel import Panel
        from rich.text import Text

        Console().print(Panel(Text(status), expand=False))
    else:
        click.echo(f"{status}\n" if hints else status)
    # Not in the box: a frame breaks the longer lines, and what is pasted would have its border in it.
    if hints:
        click.echo(hints)
    sys.stdout.flush()


def status_text(loaded: Loaded, listeners: Sequence[Listener]) -> str:
    """Return what the start-up box says."""
    config = loaded.config
    rows = [
        ("domains", ", ".join(config.domains)),
        ("listening", ", ".join(map(str, listeners))),
        ("store", f"{config.store.url} ({config.store.durability})"),
        ("control", config.admin.socket or "off"),
        ("configured", str(loaded.file or "by default")),
    ]
    return "\n".join(["reginfo is ready", *(f"  {name:<11}{value}" for name, value in rows)])


def hints_text(config: Config, listeners: Sequence[Listener], dashboard: str = "") -> str:
    """Return what to try; every line can be pasted as it stands."""
    suggestions = []
    plain = next((listener for listener in listeners if listener.transport in ("udp", "tcp")), None)
    if plain is not None:
        first = str(plain)
        server = "" if first == "udp:127.0.0.1:5060" else f" --server {first.removeprefix('udp:')}"
        if plain.transport != "udp":
            server = f" --server 'sip:{first.partition(':')[2]};transport={plain.transport}'"
        alice = f"alice@{config.domains[0]}"
        if config.auth.enabled:
            server += " --user alice"
        suggestions += [
            f"{_program()} watch {alice}{server}",
            f"{_program()} register {alice} sip:alice@192.0.2.7:5060{server}",
        ]
    if config.admin.socket:
        default = config.admin.socket == AdminSection().socket
        option = "" if default else f" --socket {config.admin.socket}"
        suggestions += [f"{_program()} webhook listen{option}", f"{_program()} ul show{option}"]
    udp = next((listener for listener in listeners if listener.transport == "udp"), None)
    if udp is not None and SCENARIO.is_file() and not config.auth.enabled:
        target = str(udp).removeprefix("udp:")
        users = r"<(printf 'SEQUENTIAL\nalice\nbob\n')"
        suggestions.append(f"sipp {target} -sf {SCENARIO} -inf {users} -m 1000 -r 500")
    if dashboard:
        suggestions.append(f"dashboard  {dashboard}")
    return "" if not suggestions else "\n".join(["try now", *(f"  {line}" for line in suggestions)])


def _program() -> str:
    """Return how this program is called from the shell it was started in."""
    if Path(sys.argv[0]).name == "__main__.py":
        return f"{sys.executable} -m reginfo"
    return "reginfo" if shutil.which("reginfo") else os.path.relpath(sys.argv[0])


def summary(server: "Server") -> str:
    """Return the last words: what this run held and did."""
    lines = ["", "reginfo has stopped"]
    for group, values in sorted(server.statistics().items()):
        shown = ", ".join(f"{name} {value}" for name, value in values.items() if value)
        if shown:
            lines.append(f"  {group:<15}{shown}")
    return "\n".join(lines)
