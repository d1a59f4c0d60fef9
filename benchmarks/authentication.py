"""What it costs to prove who a phone is: the whole exchange, and a REGISTER with a nonce used again.

This registrar and Kamailio have the same users, in the same SQLite file.  CPU is that of the server for each exchange
of a REGISTER, its challenge, the REGISTER with credentials and the 200.

    python -m benchmarks.authentication [--rounds 5]
"""

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import click

from benchmarks.events import PATIENCE, WINDOW, cpu
from benchmarks.promises import FEW, Samples, authentication_lines, markdown
from benchmarks.sipp_table import AUTHENTICATE, PASSWORD, Server, climb, kamailio, loss_free, sipp_users
from reginfo.cli._peers import Peer, registrar
from reginfo.cli.bench import Bench
from reginfo.fast import SipMessage, digest_ha1, digest_response, parse_message
from tests.interop.kamailio import DOMAIN
from tests.server_fixture import Address, RunningServer, running_server

REFRESHES = 200_000
PASSES = 3  # of one exchange for each name
LIFETIME = 86_400  # seconds of a nonce: none ends within a run
COUNT, CNONCE = "00000001", "0a4f113b"
URI = f"sip:{DOMAIN}"

NAMES = [f"u{number:09}" for number in range(FEW)]
"Of the users of the own generator."


def auth_section(algorithm: str) -> str:
    return f'[auth]\nenabled = true\nalgorithms = ["{algorithm}"]\nnonce_lifetime = {LIFETIME}\n'


@contextmanager
def user_table() -> Iterator[Path]:
    """Yield a SQLite file with the users of SIPp and of the own generator, imported from a file in SIPp's form."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows = ["SEQUENTIAL", *sipp_users(), *sipp_users(NAMES)]
        (folder / "users.csv").write_text("\n".join(rows) + "\n")
        (folder / "reginfo.toml").write_text(auth_section("MD5"))
        command = [sys.executable, "-m", "reginfo", "user", "import", "-c", "reginfo.toml", "users.csv"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        yield folder / "subscriber.db"


@contextmanager
def authenticating(users: Path, algorithm: str = "MD5", options: str = "") -> Iterator[RunningServer]:
    """Run this project's registrar with its bindings in memory."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copy(users, folder / "subscriber.db")
        options = f'store = {{ url = "memory:" }}\n[log]\nlevel = "warning"\n{options}{auth_section(algorithm)}'
        with running_server(folder, [DOMAIN], options) as server:
            yield server


@contextmanager
def reginfo(users: Path, algorithm: str) -> Iterator[Peer]:
    with authenticating(users, algorithm) as server:
        yield Peer("reginfo memory", *server.udp, server.process.pid)


# --- phones


def register(name: str, cseq: int = 1, *rows: str) -> bytes:
    """Write a REGISTER whose Call-ID is the name of its user."""
    head = [
        f"REGISTER {URI} SIP/2.0",
        f"Via: SIP/2.0/UDP load.invalid;rport;branch=z9hG4bK{name}.{cseq}",
        "Max-Forwards: 70",
        f"From: <sip:{name}@{DOMAIN}>;tag=f{cseq}",
        f"To: <sip:{name}@{DOMAIN}>",
        f"Call-ID: {name}",
        f"CSeq: {cseq} REGISTER",
        f"Contact: <sip:{name}@192.0.2.1:5060>",
        "Expires: 3600",
        *rows,
        "Content-Length: 0",
    ]
    return "\r\n".join([*head, "", ""]).encode()


def converse(address: Address, first: Iterable[bytes], follow: Callable[[SipMessage], bytes | None]) -> None:
    """Send requests over UDP, a window of them at a time, and what follows from their answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phones:
        phones.connect(address)
        phones.settimeout(PATIENCE)
        waiting = iter(first)
        outstanding = sum(phones.send(octets) > 0 for octets in islice(waiting, WINDOW))
        while outstanding:
            octets = follow(parse_message(phones.recv(65_536))) or next(waiting, None)
            if octets is None:
                outstanding -= 1
            else:
                phones.send(octets)


def nonces(address: Address, names: Sequence[str]) -> list[str]:
    """Return a nonce for each of the names."""
    found: dict[str, str] = {}

    def take(answer: SipMessage) -> None:
        assert answer.status == 401, answer.octets
        found[answer.call_id] = answer.www_authenticate[0].params["nonce"]

    converse(address, map(register, names), take)
    return [found[name] for name in names]


def exchange(address: Address, names: Sequence[str], algorithm: str = "MD5") -> None:
    """Register every name by one exchange."""
    registered = set()
    secrets = {name: digest_ha1(algorithm, name, DOMAIN, PASSWORD) for name in names}

    def prove(answer: SipMessage) -> bytes | None:
        name = answer.call_id
        if answer.status == 200:
            registered.add(name)
            return None
        assert answer.status == 401, answer.octets
        nonce = answer.www_authenticate[0].params["nonce"]
        proof = digest_response(algorithm, secrets[name], "REGISTER", URI, nonce, qop="auth", nc=COUNT, cnonce=CNONCE)
        row = (
            f'Authorization: Digest username="{name}",realm="{DOMAIN}",nonce="{nonce}",uri="{URI}",'
            f'response="{proof}",algorithm={algorithm},cnonce="{CNONCE}",qop=auth,nc={COUNT}'
        )
        return register(name, 2, row)

    converse(address, map(register, names), prove)
    assert registered == set(names)


# --- what is measured


def exchanges(samples: Samples, users: Path) -> None:
    """Add what an exchange costs with phones of one's own, which know every algorithm."""
    servers: dict[str, Server] = {
        "MD5": lambda: reginfo(users, "MD5"),
        "SHA-256": lambda: reginfo(users, "SHA-256"),
        "Kamailio": lambda: kamailio(users),
    }
    for name, server in servers.items():
        with server() as peer:
            algorithm = "SHA-256" if name == "SHA-256" else "MD5"
            address = (peer.host, peer.port)
            exchange(address, NAMES, algorithm)
            before = cpu(peer)
            for _ in range(PASSES):
                exchange(address, NAMES, algorithm)
            samples.add(f"exchange us, {name}", (cpu(peer) - before) / (PASSES * len(NAMES)) * 1e6)


def sipp_exchanges(samples: Samples, users: Path) -> None:
    """Add what SIPp's exchange costs at its highest rate without loss, once every user has been here."""
    servers: dict[str, Server] = {"memory": lambda: reginfo(users, "MD5"), "Kamailio": lambda: kamailio(users)}
    for name, server in servers.items():
        with server() as peer:
            exchange((peer.host, peer.port), [row.partition(";")[0] for row in sipp_users()])
            steps = [run for run in climb(peer, AUTHENTICATE) if loss_free(run)]
        if steps and steps[-1].cpu_us is not None:
            samples.add(f"SIPp exchange us, {name}", steps[-1].cpu_us)
            samples.add(f"SIPp exchange rate, {name}", steps[-1].rate)


def reused_nonces(samples: Samples, users: Path) -> None:
    """Add what a refresh costs with a nonce that is used again, and without authentication."""
    with registrar("memory") as peer:
        samples.add("refresh us, plain", _refresh(peer))
    with reginfo(users, "MD5") as peer:
        samples.add("refresh us, MD5", _refresh(peer, nonces((peer.host, peer.port), NAMES)))


def _refresh(peer: Peer, held: Sequence[str] = ()) -> float:
    load = Bench(peer, FEW, nonces=held, password=PASSWORD)
    load.fill()
    run = load.refresh(REFRESHES)
    assert run.cpu_us is not None
    assert not run.ineffective, run
    return run.cpu_us


def measure(samples: Samples) -> None:
    """Add one round."""
    with user_table() as users:
        sipp_exchanges(samples, users)
        exchanges(samples, users)
        reused_nonces(samples, users)


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 20))
def main(rounds: int) -> None:
    """Measure what authentication costs, and print a table."""
    samples = Samples()
    for _ in range(rounds):
        measure(samples)
    click.echo(markdown(authentication_lines(samples)))


if __name__ == "__main__":
    main()
