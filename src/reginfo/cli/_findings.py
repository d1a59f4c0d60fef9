"""What `reginfo doctor` looks at: each check is one finding, with the command that puts right what is wrong."""

import ctypes
import errno
import os
import platform
import resource
import shutil
import socket
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, NamedTuple

from reginfo.admin.control import ControlClient
from reginfo.config import Config, Listener
from reginfo.errors import ServerUnreachable
from reginfo.net.descriptors import RESERVED_DESCRIPTORS

RMEM_MAX: Final = Path("/proc/sys/net/core/rmem_max")
RMEM_WANTED: Final = 4 << 20  # octets a UDP listener asks for: some tenths of a second of REGISTERs
FREE_OCTETS: Final = 1 << 30  # RocksDB merges files beside those it has
UNSYNCHRONISED: Final = 5  # TIME_ERROR of adjtimex(2)
TIMEX_OCTETS: Final = 512  # more than struct timex has on any system
PACKAGES: Final = ("click", "lxml", "msgspec", "numpy", "rich", "rocksdict", "uvloop")


class Finding(NamedTuple):
    """One thing looked at."""

    check: str
    ok: bool
    found: str
    remedy: str | None = None
    "A command, where something is wrong."


def findings(config: Config) -> Iterator[Finding]:
    """Look at everything a server with this configuration needs of its machine."""
    yield _versions()
    yield _compiled()
    yield _descriptors(config)
    yield _receive_buffer()
    yield _clock()
    yield from _store(config)
    running = _is_running(config)
    yield _control(config, running)
    for listener in config.listeners:
        yield _port(listener, running)


def _versions() -> Finding:
    names = {"reginfo": version("reginfo"), "Python": platform.python_version()}
    absent = []
    for package in PACKAGES:
        try:
            names[package] = version(package)
        except PackageNotFoundError:
            absent.append(package)
    found = ", ".join(f"{name} {number}" for name, number in names.items())
    if absent:
        return Finding("versions", False, f"{', '.join(absent)} missing", f"{sys.executable} -m pip install reginfo")
    return Finding("versions", True, found)


def _compiled() -> Finding:
    """Tell how src/_fast was compiled; lxml is bound to by the layout of its structures."""
    try:
        from reginfo.fast import parse_message, parse_reginfo

        parse_message(
            b"OPTIONS sip:a.invalid SIP/2.0\r\nVia: SIP/2.0/UDP a.invalid;branch=z9hG4bK1\r\nTo: <sip:a>\r\n"
            b"From: <sip:a>;tag=1\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n"
        )
        parse_reginfo(b'<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="full"/>')
    except (ImportError, ValueError) as error:
        return Finding("compiled", False, str(error), f"{sys.executable} -m pip install --force-reinstall reginfo")
    built = Path(sys.modules[parse_message.__module__].__file__ or "")
    kind = next((one for one in ("sanitize", "debug", "trace") if f"build/{one}" in built.as_posix()), None)
    if kind is not None:
        return Finding("compiled", False, f"a {kind} build: {built.parent}", "unset PYTHONPATH")
    return Finding("compiled", True, f"{built.parent}")


def _descriptors(config: Config) -> Finding:
    """Compare the hard limit, to which a server raises its own, with what its connections may take."""
    streams = sum(listener.transport != "udp" for listener in config.listeners)
    wanted = config.limits.max_connections * streams + RESERVED_DESCRIPTORS
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        return Finding(
            "open files", True, "unlimited" if hard == resource.RLIM_INFINITY else f"{hard}, {wanted} wanted"
        )
    return Finding("open files", False, f"{hard}, {wanted} wanted for limits.max_connections", f"ulimit -Hn {wanted}")


def _receive_buffer() -> Finding:
    try:
        most = int(RMEM_MAX.read_text())
    except (OSError, ValueError):
        return Finding("rmem_max", True, "not told by this system")
    if most >= RMEM_WANTED:
        return Finding("rmem_max", True, str(most))
    found = f"{most}: bursts of UDP beyond it are lost"
    return Finding("rmem_max", False, found, f"sysctl -w net.core.rmem_max={RMEM_WANTED}")


def _clock() -> Finding:
    """Ask the kernel whether somebody keeps its clock right; expiries that other servers are told depend on it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "adjtimex"):
        return Finding("clock", True, "not told by this system")
    state = libc.adjtimex(ctypes.create_string_buffer(TIMEX_OCTETS))
    if state < 0:
        return Finding("clock", True, f"not told by this system: {os.strerror(ctypes.get_errno())}")
    if state == UNSYNCHRONISED:
        return Finding("clock", False, "not synchronised", "timedatectl set-ntp true")
    return Finding("clock", True, "synchronised")


def _store(config: Config) -> Iterator[Finding]:
    folder = config.store.folder
    if folder is None:
        yield Finding("store", True, "in memory: nothing survives the end of the server")
        return
    # The nearest folder that is there: what is missing will be made in it.
    there = next(one for one in [folder.absolute(), *folder.absolute().parents] if one.exists())
    if not there.is_dir():
        yield Finding("store", False, f"{there} is no folder", f"mv {there} {there}.old")
        return
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        user = os.environ.get("USER", str(os.getuid()))
        yield Finding("store", False, f"{there} cannot be written", f"chown -R {user} {there}")
    elif there == folder.absolute() and there.stat().st_mode & 0o077:
        yield Finding("store", False, f"{folder} can be read by others", f"chmod 700 {folder}")
    else:
        yield Finding("store", True, str(folder))
    free = shutil.disk_usage(there).free
    found = f"{free >> 20} MiB free at {there}"
    yield Finding("disk", free >= FREE_OCTETS, found, None if free >= FREE_OCTETS else f"du -xh {there} | sort -h")


def _is_running(config: Config) -> bool:
    try:
        ControlClient(config.admin.socket, timeout=1.0).close()
    except (ServerUnreachable, OSError):
        return False
    return True


def _control(config: Config, running: bool) -> Finding:
    path = Path(config.admin.socket)
    if not config.admin.socket:
        return Finding("control", True, "off")
    if running:
        return Finding("control", True, f"a server answers at {path}")
    if path.exists() and not path.is_socket():
        return Finding("control", False, f"{path} is no socket", f"mv {path} {path}.old")
    if not os.access(path.absolute().parent, os.W_OK | os.X_OK):
        return Finding(
            "control", False, f"no socket can be made in {path.absolute().parent}", f"mkdir -p {path.parent}"
        )
    return Finding("control", True, f"{path}: no server runs")


def _port(listener: Listener, running: bool) -> Finding:
    """Tell whether an address can be bound; the server that runs has it already."""
    check = f"listen {listener}"
    kind = socket.SOCK_DGRAM if listener.transport == "udp" else socket.SOCK_STREAM
    try:
        with socket.socket(socket.AF_INET6 if ":" in listener.host else socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((listener.host, listener.port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE and running:
            return Finding(check, True, "in use by the server that runs")
        return Finding(check, False, error.strerror or str(error), _remedy(error.errno, listener, kind))
    return Finding(check, True, "free")


def _remedy(number: int | None, listener: Listener, kind: int) -> str:
    if number == errno.EADDRINUSE:
        return f"ss -{'u' if kind == socket.SOCK_DGRAM else 't'}lnp sport = :{listener.port}"
    if number == errno.EACCES:
        return f"sysctl -w net.ipv4.ip_unprivileged_port_start={listener.port}"
    return "ip -br address"
