"""The real Kamailio as a peer: a registrar with pua_reginfo, a presence server, and a plain upstream registrar.

Each runs in a folder that the caller gives, on a loopback address of its own, in the foreground, and answers before its
block begins.  It ends with its block, and with the process that started it, however that ends.
"""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from tests.server_fixture import PATIENCE, Address, loopback_address

HERE = Path(__file__).resolve().parent
SCRIPTS = Path("/usr/share/kamailio")
"Where Debian keeps the tables of Kamailio's databases."

PAUSE = 0.01
"Seconds between two looks at what is about to change."
STOPPING = 5.0
"Seconds until what does not stop is killed."
MEMORY = 64
"MiB of shared memory."
RECEIVE_BUFFER = 1 << 22
"Octets, as ours has: 512 NOTIFYs at once are more than it has otherwise."

DOMAIN = "example.com"

# Users whom the upstream registrar answers otherwise than 200.
CHALLENGED = "challenged"
"401, unless the digest fits PASSWORD."
PASSWORD = "s3cret"
MOVED = "moved"
"302 with MOVED_TO as Contact."
MOVED_TO = "sip:other.example.com"
BRIEF = "brief"
"423, if Expires is less than MIN_EXPIRES."
MIN_EXPIRES = 600
BUSY = "busy"
"503 with RETRY_AFTER."
RETRY_AFTER = 30
FORBIDDEN = "forbidden"
"403."
SILENT = "silent"
"No answer."

T = TypeVar("T")
Server = TypeVar("Server", bound="Kamailio")


def eventually(look: Callable[[], T | None], what: str = "what was expected", timeout: float = PATIENCE) -> T:
    """Return the first truthy value that look gives before the deadline."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(PAUSE)
    return found


@dataclass(frozen=True)
class Row:
    """One contact of the location table, as Kamailio dumps it."""

    aor: str
    uri: str
    expires: int | None
    "Seconds left; None for what is no number there, such as `deleted`."
    q: float
    call_id: str
    cseq: int
    user_agent: str | None
    received: str | None
    path: str | None
    instance: str | None
    reg_id: int
    state: str


class Kamailio:
    """A Kamailio that runs."""

    def __init__(
        self,
        name: str,
        folder: Path,
        template: str,
        words: dict[str, str],
        debug: int,
        options: str,
        memory: int = MEMORY,
    ) -> None:
        self.name = name
        self.folder = folder
        self.host = loopback_address()
        self.port, self._control = _free_ports(self.host)
        self._log = folder / f"{name}.log"
        known = words | {
            "HOST": self.host,
            "PORT": str(self.port),
            "CONTROL": str(self._control),
            "FOLDER": str(folder),
            "DEBUG": str(debug),
            "OPTIONS": options,
        }
        # Values may hold words themselves: the server's own address is known only here.
        filled = (HERE / template).read_text()
        for _ in range(2):
            filled = re.sub(r"@([A-Z_]+)@", lambda word: known[word[1]], filled)
        configuration = folder / f"{name}.cfg"
        configuration.write_text(filled)
        run = folder / f"{name}.run"
        run.mkdir()
        command = [
            "kamailio",
            "-DD",
            "-E",
            "-f",
            str(configuration),
            "-P",
            str(run / "pid"),
            "-Y",
            str(run),
            "-b",
            str(RECEIVE_BUFFER),
        ]
        command += ["-w", str(folder), "-m", str(memory)]
        with self._log.open("wb") as log:
            # -DD stays in the foreground.  Should this process die, the first process of Kamailio is told to end, and
            # ends its children; a group of its own lets them be killed should that one crash.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"PATH": os.environ.get("PATH", "") + ":/usr/sbin"},
                start_new_session=True,
            )
        try:
            eventually(self._answers, f"{name} answers")
        except BaseException:
            self.stop()
            raise

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"{self.name} did not start:\n{self.log[-4000:]}"
        with suppress(ConnectionRefusedError, TimeoutError):
            return self.options(timeout=0.2).startswith(b"SIP/2.0 200 ")
        return False

    def options(self, user: str = "", headers: str = "", timeout: float = PATIENCE) -> bytes:
        """Send an OPTIONS and return its answer."""
        with _datagrams(self.address) as asker:
            here = "{}:{}".format(*asker.getsockname())
            token = os.urandom(8).hex()
            asker.settimeout(timeout)
            asker.send(
                f"OPTIONS {self.uri(user)} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{token}\r\n"
                f"From: <sip:{here}>;tag={token}\r\nTo: <{self.uri(user)}>\r\nCall-ID: {token}\r\nCSeq: 1 OPTIONS\r\n"
                f"Max-Forwards: 70\r\n{headers}Content-Length: 0\r\n\r\n".encode()
            )
            return asker.recv(65_536)

    @property
    def address(self) -> Address:
        """Where it listens, over UDP."""
        return self.host, self.port

    def uri(self, user: str = "") -> str:
        """Return a URI that leads to it."""
        return f"sip:{user}@{self.host}:{self.port}" if user else f"sip:{self.host}:{self.port}"

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._log.read_text(errors="replace")

    def rpc(self, method: str, *parameters: str | float, timeout: float = PATIENCE) -> Any:
        """Call a method over JSON-RPC and return its result; TimeoutError if it does not answer."""
        with _datagrams((self.host, self._control)) as asker:
            asker.settimeout(timeout)
            asker.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode())
            answer = json.loads(asker.recv(65_536))
        assert "error" not in answer, answer
        return answer["result"]

    def ul_dump(self, timeout: float = PATIENCE) -> list[Row]:
        """Return the location table."""
        return [
            _row(record["Info"]["AoR"], contact["Contact"])
            for domain in self.rpc("ul.dump", timeout=timeout)["Domains"]
            for record in domain["Domain"]["AoRs"]
            for contact in record["Info"]["Contacts"]
        ]

    def contacts(self, aor: str) -> dict[str, Row]:
        """Return the rows of one address-of-record, which is a user alone unless use_domain is set, by URI."""
        return {row.uri: row for row in self.ul_dump() if row.aor == aor}

    def statistics(self, group: str = "all") -> dict[str, int]:
        """Return the counters of a group by `group:name`."""
        wanted = group if group == "all" else f"{group}:"
        pairs = (line.split(" = ") for line in self.rpc("stats.get_statistics", wanted))
        return {name: int(value) for name, value in pairs}

    @property
    def pids(self) -> list[int]:
        """Its processes, the one that was started first."""
        return [entry["PID"] for entry in self.rpc("core.psx")]

    def stop(self) -> None:
        """End all its processes."""
        deadline = time.monotonic() + STOPPING
        self.process.terminate()
        while self.process.poll() is None and time.monotonic() < deadline:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.2)
                break
            # The first process may have missed it while it went to sleep, a child while it was forked.
            os.killpg(self.process.pid, signal.SIGTERM)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass(frozen=True)
class Target:
    """Where a request for an address-of-record goes."""

    uri: str
    next_hop: str | None
    "Where it is sent if not to the URI itself: first Path value or received address."


class Registrar(Kamailio):
    """A registrar with pua_reginfo."""

    def subscribe(self, aor: str | None = None, expires: int | None = None) -> None:
        """Let it call reginfo_subscribe; what is not given is what it was started with."""
        headers = "" if aor is None else f"X-AoR: {aor}\r\n"
        headers += "" if expires is None else f"X-Expires: {expires}\r\n"
        answer = self.options("sub", headers)
        assert answer.startswith(b"SIP/2.0 200 "), answer

    def lookup(self, aor: str) -> Target | None:
        """Return where it would send a request for an address-of-record, None for an answer of 404."""
        answer = self.options(headers=f"X-Lookup: {aor}\r\n").decode()
        if answer.startswith("SIP/2.0 404 "):
            return None
        assert answer.startswith("SIP/2.0 200 "), answer
        told = dict(re.findall(r"^X-(Target|Next-Hop): (.*?)\r$", answer, re.MULTILINE))
        return Target(told["Target"], told.get("Next-Hop"))


@dataclass(frozen=True)
class Presentity:
    """One published document, as the presence server stores it."""

    user: str
    entity_tag: str
    expires_at: int
    body: bytes


class PresenceServer(Kamailio):
    """A presence server for Event: reg."""

    def presentities(self) -> list[Presentity]:
        """Return the documents it holds."""
        with closing(sqlite3.connect(f"file:{self.folder}/presence.db?mode=ro", uri=True, timeout=PATIENCE)) as tables:
            found = tables.execute("SELECT username, etag, expires, body FROM presentity ORDER BY id").fetchall()
        return [
            Presentity(user, etag, expires, body if isinstance(body, bytes) else body.encode())
            for user, etag, expires, body in found
        ]


def _free_ports(host: str) -> tuple[int, int]:
    """Return two ports of an address that nobody uses."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        one.bind((host, 0))
        other.bind((host, 0))
        return one.getsockname()[1], other.getsockname()[1]


def _datagrams(address: Address) -> socket.socket:
    """Return a socket that talks to one address only."""
    asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asker.bind((loopback_address(), 0))
    asker.connect(address)
    return asker


def _row(aor: str, contact: dict[str, Any]) -> Row:
    def given(name: str) -> str | None:
        return None if contact[name] in ("[not set]", "") else str(contact[name])

    return Row(
        aor=aor,
        uri=contact["Address"],
        expires=contact["Expires"] if isinstance(contact["Expires"], int) else None,
        q=float(contact["Q"]),
        call_id=contact["Call-ID"],
        cseq=contact["CSeq"],
        user_agent=given("User-Agent"),
        received=given("Received"),
        path=given("Path"),
        instance=given("Instance"),
        reg_id=contact["Reg-Id"],
        state=contact["State"],
    )


@contextmanager
def _until_end(server: Server) -> Iterator[Server]:
    """Stop a server at the end of a block, which it has to survive."""
    try:
        yield server
        assert server.process.poll() is None, f"{server.name} died:\n{server.log[-4000:]}"
    finally:
        server.stop()


@contextmanager
def registrar(
    folder: Path,
    outbound_proxy: Address | str,
    *,
    name: str = "registrar",
    aor: str = f"sip:alice@{DOMAIN}",
    expires: int = 600,
    domain: str = DOMAIN,
    default_domain: str | None = None,
    server_address: str | None = None,
    publish: bool = True,
    use_domain: bool = False,
    transaction_timeout: float = 30.0,
    debug: int = 0,
    options: str = "",
    memory: int = MEMORY,
) -> Iterator[Registrar]:
    """Run a registrar that PUBLISHes by way of outbound_proxy and applies NOTIFYs; `subscribe` makes it SUBSCRIBE.

    The answer to a NOTIFY has X-Verdict with what reginfo_handle_notify returned.  Contacts may live one second only,
    and their expiry is noticed within one.  `options` are further lines of its configuration.
    """
    tables = folder / "dbtext"
    tables.mkdir()
    for table in ("version", "pua"):
        (tables / table).write_bytes((SCRIPTS / "dbtext" / "kamailio" / table).read_bytes())
    words = {
        "AOR": aor,
        "EXPIRES": str(expires),
        "DOMAIN": domain,
        "DEFAULT_DOMAIN": domain if default_domain is None else default_domain,
        "OUTBOUND_PROXY": outbound_proxy if isinstance(outbound_proxy, str) else "sip:{}:{}".format(*outbound_proxy),
        "SERVER_ADDRESS": "sip:reginfo@@HOST@:@PORT@" if server_address is None else server_address,
        "PUBLISH": str(int(publish)),
        "USE_DOMAIN": str(int(use_domain)),
        "PATIENCE_MS": str(round(transaction_timeout * 1000)),
    }
    with _until_end(Registrar(name, folder, "registrar.cfg", words, debug, options, memory)) as server:
        yield server


@contextmanager
def presence_server(
    folder: Path,
    *,
    name: str = "presence",
    domain: str = DOMAIN,
    expiry_check: int = 100,
    transaction_timeout: float = 30.0,
    debug: int = 0,
    options: str = "",
    guard: str = "",
    memory: int = MEMORY,
) -> Iterator[PresenceServer]:
    """Run a presence server for Event: reg; guard is what its script does with a request first.

    It looks for expired documents every expiry_check seconds, and refuses a PUBLISH with 500 that comes while it
    deletes one: wait for that.
    """
    with closing(sqlite3.connect(folder / "presence.db")) as tables:
        # Whoever reads then, such as `presentities`, keeps nobody from writing.
        tables.execute("PRAGMA journal_mode=WAL")
        for script in ("standard", "presence"):
            tables.executescript((SCRIPTS / "db_sqlite" / f"{script}-create.sql").read_text())
    words = {
        "DOMAIN": domain,
        "EXPIRY_CHECK": str(expiry_check),
        "GUARD": guard,
        "PATIENCE_MS": str(round(transaction_timeout * 1000)),
    }
    with _until_end(PresenceServer(name, folder, "presence.cfg", words, debug, options, memory)) as server:
        yield server


@contextmanager
def upstream_registrar(
    folder: Path,
    *,
    name: str = "upstream",
    domain: str = DOMAIN,
    path: Literal["off", "lazy", "strict"] = "off",
    debug: int = 0,
    options: str = "",
) -> Iterator[Kamailio]:
    """Run a registrar that stands behind a relay: it keeps Path, and the received parameter of its first value.

    `path` is for a Path without `Supported: path`: off keeps it, lazy does not, strict answers 420; only the latter two
    repeat Path in the answer.  Without Path, a phone was received from where its REGISTER came from.  The users named
    at the top of this module get other answers than 200.
    """
    words = {
        "DOMAIN": domain,
        "PATH_MODE": {"off": "0", "lazy": "1", "strict": "2"}[path],
        "CHALLENGED": CHALLENGED,
        "PASSWORD": PASSWORD,
        "MOVED": MOVED,
        "MOVED_TO": MOVED_TO,
        "BRIEF": BRIEF,
        "MIN_EXPIRES": str(MIN_EXPIRES),
        "BUSY": BUSY,
        "RETRY_AFTER": str(RETRY_AFTER),
        "FORBIDDEN": FORBIDDEN,
        "SILENT": SILENT,
    }
    with _until_end(Kamailio(name, folder, "upstream.cfg", words, debug, options)) as server:
        yield server
